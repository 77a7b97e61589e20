//! `eds ops retention`: deletes objects that the archive no longer needs.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Args;
use edgesentry_formats::times::now_ms;
use edgesentry_ops::retention::{Contents, Policy, apply, plan};
use serde_json::json;

use super::session::{Session, size};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;
use crate::text::count;

const CARE: Style = AnsiColor::Yellow.on_default().bold();

/// Delete old backups, dumps and write-ahead log; without --apply only list them with the reasons
///
/// The command keeps the base backups of the last days, the newest one before them, and the write-ahead log
/// from the first segment of the oldest kept backup on; and the dumps of the last days, at least the newest.
#[derive(Args, Debug)]
pub(super) struct Retention {
    /// Delete the listed files
    #[arg(long)]
    apply: bool,
    /// Days that base backups are kept
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    backups: u64,
    /// Days that dumps are kept
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    dumps: u64,
    #[command(flatten)]
    file: ConfigFile,
}

impl Retention {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let archive = session.archive()?;
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        let policy = Policy { backups: days(self.backups), dumps: days(self.dumps), ..Policy::default() };
        let contents = session.wait(Contents::of(&archive))?;
        let plan = plan(&contents, &policy, now_ms());
        let mut text = String::new();
        for (what, why) in &plan.keep {
            text.push_str(&format!("keep    {what}: {why}\n"));
        }
        for deletion in &plan.delete {
            let bytes = size(deletion.size_bytes);
            text.push_str(&format!("{CARE}delete{CARE:#}  {} ({bytes}): {}\n", deletion.what, deletion.why));
        }
        let objects: usize = plan.delete.iter().map(|deletion| deletion.keys.len()).sum();
        let objects = count(objects as u64, "object");
        if self.apply {
            session
                .wait_or("deleted files stay deleted; run it again to continue", apply(&archive, &plan))?;
            text.push_str(&format!("{objects} deleted\n"));
        } else if !plan.delete.is_empty() {
            text.push_str(&format!("nothing was deleted; --apply deletes {objects}\n"));
        } else {
            text.push_str("nothing to delete\n");
        }
        let content = json!({"applied": self.apply, "plan": plan});
        output.answer(&Answer { ok: true, name: "retention", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }
}
