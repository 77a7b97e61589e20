//! `eds ops note-unit`: the result of a systemd unit or a cron job, for alerts.

use std::path::PathBuf;

use clap::Args;
use edgesentry_ops::textfile::{Textfile, UNIT_FAILED};
use serde_json::json;

use super::session::Session;
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;
use crate::text::name;

/// Write the outcome of a systemd unit or a cron job for Prometheus; for OnFailure= and OnSuccess=
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ops note-unit edgesentry-backup --failed --config /etc/eds/ops.toml")]
pub(super) struct NoteUnit {
    /// The name of the unit
    #[arg(value_name = "UNIT")]
    unit: String,
    /// The last run failed; without this option it succeeded
    #[arg(long)]
    failed: bool,
    /// File for the textfile collector of node_exporter, name.prom [default: ops.textfile of the settings]
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
}

impl NoteUnit {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let path = session.metrics_file(self.metrics_file.as_deref())?;
        let sample = UNIT_FAILED.sample(&self.unit, f64::from(u8::from(self.failed)));
        Textfile::open(path)?.set(&[sample])?;
        let outcome = if self.failed { "failed" } else { "succeeded" };
        let text = format!("{} {outcome}: noted in {}\n", name(&self.unit), path.display());
        let content = json!({"unit": self.unit, "failed": self.failed});
        output.answer(&Answer { ok: true, name: "unit", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }
}
