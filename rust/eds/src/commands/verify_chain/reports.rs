//! The report in further forms: a page for people, files and annotations for pipelines.

use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_chain::Report;

use crate::exit::Failure;
use crate::inputs::is_stdin;
use crate::output::write_stderr;
use crate::page::{self, Circumstances};
use crate::pipeline::{github, junit, sarif};

/// Where else the report goes. The answer on stdout and the exit code stay what they are.
#[derive(Args, Debug)]
#[command(next_help_heading = "Reports")]
pub(super) struct Reports {
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
    /// How the command was called, as the page shows it.
    #[arg(skip)]
    pub(super) command_line: String,
}

impl Reports {
    /// Refuses what could never be written, before anything is read.
    pub(super) fn refuse_bad_targets(&self) -> Result<(), Failure> {
        let targets = [("--html", &self.html), ("--junit", &self.junit), ("--sarif", &self.sarif)];
        for (option, target) in targets {
            let Some(path) = target else { continue };
            if is_stdin(path) {
                let message = format!("{option} writes a file, and stdout has the answer; name a file");
                return Err(Failure::usage("usage", message));
            }
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                let message = format!("{option}: there is no folder {}; make it first", folder.display());
                return Err(Failure::usage("usage", message));
            }
        }
        Ok(())
    }

    pub(super) fn write(&self, report: &Report) -> Result<(), Failure> {
        if let Some(path) = &self.html {
            let command = Some(self.command_line.clone());
            save(path, &page::render(report, &Circumstances::now(command)))?;
        }
        if let Some(path) = &self.junit {
            save(path, &junit::junit(report))?;
        }
        if let Some(path) = &self.sarif {
            save(path, &format!("{:#}\n", sarif::sarif(report)))?;
        }
        if self.github {
            write_stderr(&github::annotations(report));
        }
        Ok(())
    }
}

fn save(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| Failure::unfinished("io", format!("cannot write {}: {error}", path.display())))
}
