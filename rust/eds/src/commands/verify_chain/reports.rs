//! Other forms of the report: a page for people, files and annotations for pipelines.

use std::path::PathBuf;

use clap::Args;
use edgesentry_chain::Report;
use edgesentry_formats::{Destination, Destinations, ReportKind};

use crate::exit::Failure;
use crate::inputs::is_stdin;
use crate::output::write_stderr;
use crate::outputs::save;
use crate::page::{self, Circumstances};
use crate::pipeline::{github, junit, sarif};

/// Where else the report goes. The answer on stdout and the exit code stay what they are.
#[derive(Args, Debug)]
#[command(next_help_heading = "Reports")]
pub(in crate::commands) struct Reports {
    /// Also write the report as one self-contained HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write it as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also write it as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Also write annotations of GitHub Actions to stderr
    #[arg(long)]
    github: bool,
    /// How the verification was called, as the page shows it; empty if that is not known.
    #[arg(skip)]
    pub(in crate::commands) command_line: String,
}

/// The destinations of a run's reports.
#[derive(Default)]
pub(in crate::commands) struct Places {
    html: Option<Destination>,
    junit: Option<Destination>,
    sarif: Option<Destination>,
}

impl Reports {
    /// Rejects destinations that cannot be written, or that would overwrite an input, before anything is read.
    pub(in crate::commands) fn places(&self, destinations: &mut Destinations) -> Result<Places, Failure> {
        let mut place =
            |option: &str, path: &Option<PathBuf>, kind| -> Result<Option<Destination>, Failure> {
                let Some(path) = path else { return Ok(None) };
                if is_stdin(path) {
                    let message =
                        format!("{option} writes a file, and stdout has the result; pass a file name");
                    return Err(Failure::usage("usage", message));
                }
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                    let message =
                        format!("{option}: there is no directory {}; create it first", folder.display());
                    return Err(Failure::usage("usage", message));
                }
                Ok(Some(destinations.place_report(option, path, kind)?))
            };
        Ok(Places {
            html: place("--html", &self.html, ReportKind::Html)?,
            junit: place("--junit", &self.junit, ReportKind::Junit)?,
            sarif: place("--sarif", &self.sarif, ReportKind::Sarif)?,
        })
    }

    pub(in crate::commands) fn write(&self, places: &Places, report: &Report) -> Result<(), Failure> {
        if let (Some(path), Some(place)) = (&self.html, &places.html) {
            let command = Some(self.command_line.clone()).filter(|command| !command.is_empty());
            save(place, path, &page::render(report, &Circumstances::now(command)))?;
        }
        if let (Some(path), Some(place)) = (&self.junit, &places.junit) {
            save(place, path, &junit::junit(report))?;
        }
        if let (Some(path), Some(place)) = (&self.sarif, &places.sarif) {
            save(place, path, &format!("{:#}\n", sarif::sarif(report)))?;
        }
        if self.github {
            write_stderr(&github::annotations(report));
        }
        Ok(())
    }
}
