//! `eds verify-chain`: verifies exports, and ledgers in place.

mod given;
mod in_place;
mod reports;
mod required;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use edgesentry_chain::{Checks, Claim, Claims, Level, Order, Payloads, ProvidedBy, Report, Verdict};
use edgesentry_formats::{Destinations, hint_erasures, layout_path};

use self::given::{Given, GivenArgs};
use self::in_place::InPlace;
use self::reports::Places;
pub(super) use self::reports::Reports;
pub(super) use self::required::uncovered;
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Columns, Running};
use crate::output::{Answer, Output};
use crate::page;
use crate::render;

/// Verify exports or a ledger: always the links; also signatures, payloads, heads and log if you pass the input for them
///
/// Reads JSON arrays, NDJSON (both also gzipped or zstd-compressed), Arrow IPC and Parquet; the format is
/// recognized by content. Several files are one input: a chain may continue from one file to the next. With
/// --ledger it reads the records of a ledger instead.
#[derive(Args, Debug)]
#[command(
    visible_alias = "verify",
    after_help = "\
Examples:
  eds verify-chain export.json --keys keys.json
  eds verify-chain 2026-01.parquet 2026-02.parquet --keys keys.json --heads heads.json
  eds verify-chain export.json --keys keys.json --require signatures --json > verdict.json
  eds verify-chain export.json --keys keys.json --html report.html --junit report.xml --github
  zcat export.ndjson.gz | eds verify-chain - --keys keys.json
  eds verify-chain s3://bucket/prefix/ --keys keys.json \\
      --ignore day --column timestamp_ms=event_time
  eds verify-chain range.parquet --manifest range.parquet.manifest.json --keys keys.json
  eds verify-chain export.parquet --keys keys.json \\
      --checkpoint checkpoint --policy policy --require log
  eds verify-chain --ledger edgesentry.db --payload-store --keys keys.json --heads heads.json

The key ring is JSON: {\"lift-01\": \"<64 hex digits>\"}, or
{\"lift-01\": {\"key\": \"<64 hex digits>\", \"scheme\": \"record\", \"valid_from\": 1}}."
)]
pub(crate) struct VerifyChain {
    /// Exports to verify, in order: files, directories with all files in them, s3://BUCKET/KEY; - is stdin
    #[arg(required_unless_present = "ledger", value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    columns: Columns,
    /// Order of the records of a chain: position (their order in the files, for exports) or sequence (their sequence
    /// numbers, for tables, whose rows have no order)
    #[arg(long, value_name = "ORDER", default_value = "position", hide_possible_values = true)]
    #[arg(conflicts_with = "ledger")]
    order: OrderName,
    #[command(flatten)]
    given: GivenArgs,
    /// Levels that must be verified in full, with inputs from you: signatures, payloads, heads, log. If one is not, the
    /// command exits with 2, or with 1 if there are findings. heads requires both ends of each chain: a trusted head, and
    /// a beginning at sequence 1 or after a trusted start head. log requires a policy with a witness quorum
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', value_parser = required::level())]
    #[arg(hide_possible_values = true)]
    require: Vec<Level>,
    #[command(flatten)]
    reports: Reports,
    #[command(flatten)]
    in_place: InPlace,
    #[command(flatten)]
    running: Running,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OrderName {
    Position,
    Sequence,
}

impl From<OrderName> for Order {
    fn from(name: OrderName) -> Order {
        match name {
            OrderName::Position => Order::Position,
            OrderName::Sequence => Order::Sequence,
        }
    }
}

impl VerifyChain {
    pub(super) fn called_by(&mut self, arguments: &[OsString]) {
        self.reports.command_line = page::command_line(arguments);
    }

    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        // Before anything is read: a long verification must not end in a usage error.
        self.refuse_missing_inputs()?;
        let places = self.report_places()?;
        let given = self.given.read(&self.files)?;
        let (report, other_file) = if self.in_place.is_given() {
            (self.in_place.verify(given, &self.running, output)?, None)
        } else {
            self.verify_files(&given)?
        };
        let uncovered = required::uncovered(&self.require, &report.coverage);
        let exit = conclude(output, &report, other_file.or(uncovered))?;
        self.reports.write(&places, &report)?;
        Ok(exit)
    }

    /// Returns the destinations of the reports, which must not be inputs.
    fn report_places(&self) -> Result<Places, Failure> {
        let mut destinations = Destinations::default();
        for file in &self.files {
            destinations.read("an input", file);
        }
        self.given.read_by(&self.files, &mut destinations);
        self.in_place.read_stores(&mut destinations)?;
        self.reports.places(&mut destinations)
    }

    /// Verifies the files; the failure means that a file differs from the one in the manifest.
    fn verify_files(&self, given: &Given) -> Result<(Report, Option<Failure>), Failure> {
        let described = self.given.described(&self.files)?.zip(given.manifest.as_ref());
        let difference = described.map(|(file, manifest)| manifest.difference(file)).transpose()?.flatten();
        let claim = |what| Claim { by: ProvidedBy::Manifest, what };
        let manifest = given.manifest.as_ref();
        let start_heads = manifest.filter(|_| given.start_heads.is_none());
        let checks = Checks {
            keys: given.keys.as_ref(),
            payloads: given.payloads.as_ref().map(|folder| folder as &dyn Payloads),
            heads: given.heads.as_ref(),
            start_heads: given.start_heads.as_ref(),
            claims: Claims {
                heads: manifest.map(|manifest| claim(&manifest.heads)),
                start_heads: start_heads.map(|manifest| claim(&manifest.start_heads)),
                ..Claims::default()
            },
        };
        let log = given.log_check();
        let names = self.columns.names()?;
        let sources = inputs::sources(&self.files)?.into_iter().map(|source| source.named(&names));
        let mut report =
            self.running.verify_with_log(self.order.into(), sources.collect(), &checks, log.as_ref())?;
        if let ([export], None) = (&self.files[..], &log) {
            hint_erasures(&mut report, &layout_path(export));
        }
        Ok((report, difference.map(|difference| Failure::unfinished("manifest_mismatch", difference))))
    }

    fn refuse_missing_inputs(&self) -> Result<(), Failure> {
        let mut providers = self.given.providers();
        self.in_place.add_to(&mut providers);
        required::missing(&self.require, &providers, self.in_place.is_given()).map_or(Ok(()), Err)
    }
}

/// Writes the report. The exit code is that of the verdict, or else of the failure beside it.
pub(super) fn conclude(output: &Output, report: &Report, beside: Option<Failure>) -> Result<Exit, Failure> {
    let exit = match report.verdict {
        Verdict::Findings => Exit::Findings,
        Verdict::NothingToVerify => Exit::Unfinished,
        Verdict::Valid => beside.as_ref().map_or(Exit::Holds, |failure| failure.exit),
    };
    let failure = beside.map(|failure| Failure { exit, ..failure });
    let text = render::report(report);
    output.answer(&Answer { ok: exit == Exit::Holds, name: "report", content: report, text, failure })?;
    Ok(exit)
}
