//! `eds report`: a report that was kept as JSON, for people and for pipelines.

use std::path::PathBuf;

use clap::Args;
use edgesentry_formats::{Destinations, MAX_FILE_BYTES, describe, read_report};

use super::verify_chain::{self, Reports};
use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::output::Output;

/// Show a report that eds verify-chain --json wrote, or write it as a page or for a pipeline
///
/// Verifies nothing: the report is as trustworthy as the place where it was kept. The exit code is that of the
/// verification.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds verify-chain export.json --keys keys.json --json > verdict.json
  eds report verdict.json
  eds report verdict.json --html report.html")]
pub(crate) struct Report {
    /// The report; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    reports: Reports,
}

impl Report {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let mut destinations = Destinations::default();
        destinations.read("the report", &self.file);
        let places = self.reports.places(&mut destinations)?;
        let json = match inputs::is_stdin(&self.file) {
            true => inputs::start(&self.file, MAX_FILE_BYTES as usize)?,
            false => inputs::bytes(&self.file, "report_unreadable")?,
        };
        let report = read_report(&json).map_err(|error| {
            Failure::usage("report_unreadable", format!("{}: {}", self.file.display(), describe(&error)))
        })?;
        let exit = verify_chain::conclude(output, &report, None)?;
        self.reports.write(&places, &report)?;
        Ok(exit)
    }
}
