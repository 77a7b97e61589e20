//! `eds drill report`: the results of a quarter's drills.

use std::path::PathBuf;

use clap::Args;
use edgesentry_formats::times;
use edgesentry_formats::{Destination, Destinations, ReportKind};
use edgesentry_ops::check::Status;
use edgesentry_ops::drill::quarter::{self, Quarter, Summary};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::inputs::public_key;
use crate::output::{Answer, Output};
use crate::outputs::save;

/// Summarize the drills of a quarter from the reports in a directory: Markdown on stdout, or files
///
/// Short and partial runs are listed and do not count. Exit code 0 if every drill ran in full in the quarter
/// and the last full run of each passed, 1 if the last full run of a drill failed or a signature is not
/// valid, 3 if a drill did not run or could not finish.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill report drills
  eds drill report drills --quarter 2026Q4 --markdown 2026Q4.md --html 2026Q4.html
  eds drill report drills --public-key d75a98…511a  only reports signed with this key count")]
pub(super) struct Report {
    /// Directory of reports, as in --report-dir of the drills
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The quarter [default: the current one]
    #[arg(long, value_name = "QUARTER")]
    quarter: Option<Quarter>,
    /// The previous quarter
    #[arg(long, conflicts_with = "quarter")]
    last_quarter: bool,
    /// Public key: only reports that are signed with it count, and one whose signature is not valid fails the quarter
    #[arg(long, alias = "key", value_name = "HEX")]
    public_key: Option<String>,
    /// Remove the reports in the directory whose retention (--keep-days) has ended
    #[arg(long)]
    remove_expired: bool,
    /// File for the report in Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// File for the report as an HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Report {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let now_ms = times::now_ms();
        let current = Quarter::of(now_ms);
        let quarter = match self.quarter {
            Some(quarter) => quarter,
            None if self.last_quarter => current.before(),
            None => current,
        };
        let [markdown, html] = self.destinations()?;
        if !self.folder.is_dir() {
            let message =
                format!("{}: there is no such directory; name that of --report-dir", self.folder.display());
            return Err(Failure::usage("io", message));
        }
        let key = self.public_key.as_deref().map(public_key).transpose()?;
        let summary = Summary::of_quarter(&self.folder, quarter, key.as_ref())?;
        let mut written = Vec::new();
        let files = [(&self.markdown, markdown, summary.markdown()), (&self.html, html, summary.html())];
        for (path, destination, text) in files {
            let (Some(path), Some(destination)) = (path, destination) else { continue };
            save(&destination, path, &text)?;
            written.push(path.display().to_string());
        }
        let mut text = match written.as_slice() {
            [] => summary.markdown(),
            files => format!("{quarter}: {}\n", files.join(", ")),
        };
        let mut removed = Vec::new();
        if self.remove_expired {
            let paths = quarter::remove_expired(&self.folder, now_ms)?;
            removed.extend(paths.iter().map(|path| path.display().to_string()));
            text.push_str(&format!("{} expired files were removed\n", removed.len()));
        }
        let status = summary.status();
        let exit = match status {
            Status::Passed => Exit::Holds,
            Status::Failed => Exit::Findings,
            Status::Unknown => Exit::Unfinished,
        };
        let runs = summary.runs.iter().map(|run| {
            let report = &run.report;
            json!({
                "drill": report.drill,
                "extent": report.extent,
                "status": run.status,
                "signature": run.signature.to_string(),
                "started_at_ms": report.started_at_ms,
            })
        });
        let content = json!({
            "quarter": quarter.to_string(),
            "status": status,
            "runs": runs.collect::<Vec<_>>(),
            "files": written,
            "removed": removed,
        });
        output.answer(&Answer {
            ok: exit == Exit::Holds,
            name: "quarter",
            content: &content,
            text,
            failure: None,
        })?;
        Ok(exit)
    }

    /// Returns the destinations of Markdown and HTML. They must not be inputs, or existing files of another kind.
    fn destinations(&self) -> Result<[Option<Destination>; 2], Failure> {
        let mut destinations = Destinations::default();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "json") {
                destinations.read("the report of a drill", &entry.path());
            }
        }
        let mut place = |option, path: &Option<PathBuf>, kind| {
            path.as_ref().map(|path| destinations.place_report(option, path, kind)).transpose()
        };
        Ok([
            place("--markdown", &self.markdown, ReportKind::Drills)?,
            place("--html", &self.html, ReportKind::Html)?,
        ])
    }
}
