//! `eds ops watch-postgres`: slots, standbys and write-ahead log, for alerts.

use std::path::PathBuf;

use clap::Args;
use edgesentry_formats::times::now_ms;
use edgesentry_ops::source::Source;
use edgesentry_ops::textfile::{POSTGRES_OBSERVED, Textfile};
use edgesentry_ops::watch;
use serde_json::json;

use super::session::Session;
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;
use crate::text::count;

/// Write metrics of PostgreSQL's slots, standbys and write-ahead log for Prometheus
///
/// The metrics go to ops.textfile, which node_exporter serves; run the command every minute. The role needs pg_monitor.
#[derive(Args, Debug)]
pub(super) struct WatchPostgres {
    /// File for the textfile collector of node_exporter, name.prom [default: ops.textfile of the settings]
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
}

impl WatchPostgres {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let path = session.metrics_file(self.metrics_file.as_deref())?;
        let textfile = Textfile::open(path)?;
        let mut samples = session.wait(async {
            let source = Source::connect(&session.settings).await?;
            watch::look(&source).await
        })?;
        samples.push(POSTGRES_OBSERVED.sample("", (now_ms() / 1000) as f64));
        textfile.renew(&watch::FAMILIES, &samples)?;
        let series = samples.len() as u64;
        let text = format!("{}: {} set\n", path.display(), count(series, "value"));
        let content = json!({"metrics_file": path, "series": series});
        output.answer(&Answer { ok: true, name: "watched", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }
}
