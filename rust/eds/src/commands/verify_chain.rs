//! `eds verify-chain`: judges exports, and ledgers in place.

mod in_place;
mod reports;
mod required;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_chain::{Checks, Payloads, Report, Scheme, Verdict};
use edgesentry_formats::Destinations;
use edgesentry_rs::export::Manifest;

use self::in_place::InPlace;
use self::reports::{Places, Reports};
use self::required::Required;
use crate::commands::scheme;
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Running};
use crate::output::{Answer, Output};
use crate::outputs;
use crate::page;
use crate::render;

/// Verify exports or a ledger: links always, signatures, payloads and heads where their input is given
///
/// Reads JSON arrays, NDJSON (both also gzipped or zstd-compressed), Arrow IPC and Parquet; the format is
/// recognised by content. Several files are one input: a chain may continue from one file to the next. With
/// --ledger it reads the records of a ledger instead.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds verify-chain export.json --keys keys.json
  eds verify-chain 2026-01.parquet 2026-02.parquet --keys keys.json --heads heads.json
  eds verify-chain export.json --keys keys.json --require signatures --json > verdict.json
  eds verify-chain export.json --keys keys.json --html report.html --junit report.xml --github
  zcat export.ndjson.gz | eds verify-chain - --keys keys.json
  eds verify-chain range.parquet --manifest range.parquet.manifest.json --keys keys.json
  eds verify-chain --ledger edgesentry.db --payload-store --keys keys.json --heads heads.json

The key ring is JSON: {\"lift-01\": \"<64 hex digits>\"}, or
{\"lift-01\": {\"key\": \"<64 hex digits>\", \"scheme\": \"record\", \"valid_from\": 1}}.")]
pub(crate) struct VerifyChain {
    /// Exports to verify, in order; - is stdin
    #[arg(required_unless_present = "ledger", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Key ring: check the signatures
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Scheme of keys that name none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme, requires = "keys")]
    scheme: Option<Scheme>,
    /// Folder of payloads: hash them again
    #[arg(long, value_name = "DIR", conflicts_with = "ledger")]
    payloads: Option<PathBuf>,
    /// Trusted heads, as written by eds heads: find truncated chains and missing devices
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    /// Heads after which the chains must begin, for an export that starts mid-chain
    #[arg(long, value_name = "FILE", conflicts_with = "ledger")]
    start_heads: Option<PathBuf>,
    /// Manifest of the export: its heads and start heads where none are given, and whether it is that very file
    #[arg(long, value_name = "FILE", conflicts_with = "ledger")]
    manifest: Option<PathBuf>,
    /// Levels that must be covered in full, or the exit code is not 0
    #[arg(long, value_name = "LEVELS", value_delimiter = ',')]
    require: Vec<Required>,
    #[command(flatten)]
    reports: Reports,
    #[command(flatten)]
    in_place: InPlace,
    #[command(flatten)]
    running: Running,
}

impl VerifyChain {
    pub(super) fn called_by(&mut self, arguments: &[OsString]) {
        self.reports.command_line = page::command_line(arguments);
    }

    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        // Before anything is read: a long verification must not end in a usage error.
        self.refuse_missing_inputs()?;
        let places = self.report_places()?;
        let keys = self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?;
        let heads = self.heads.as_deref().map(inputs::heads).transpose()?;
        let (report, other_file) = if self.in_place.is_given() {
            (self.in_place.verify(keys, heads, &self.running, output)?, None)
        } else {
            let manifest = self.manifest.as_deref().map(|path| self.read_manifest(path)).transpose()?;
            let (manifest, other_file) = manifest.unzip();
            let start_heads = self.start_heads.as_deref().map(inputs::heads).transpose()?;
            let payloads = self.payloads.as_deref().map(inputs::payloads).transpose()?;
            let checks = Checks {
                keys: keys.as_ref(),
                payloads: payloads.as_ref().map(|folder| folder as &dyn Payloads),
                heads: heads.as_ref().or(manifest.as_ref().map(|manifest| &manifest.heads)),
                start_heads: start_heads.as_ref().or(manifest.as_ref().map(|manifest| &manifest.start_heads)),
            };
            (self.running.verify(inputs::sources(&self.files)?, &checks)?, other_file.flatten())
        };
        let uncovered = required::uncovered(&self.require, &report.coverage);
        let exit = conclude(output, &report, other_file.or(uncovered))?;
        self.reports.write(&places, &report)?;
        Ok(exit)
    }

    /// Where the reports go: over nothing that is read.
    fn report_places(&self) -> Result<Places, Failure> {
        let mut destinations = Destinations::default();
        for file in &self.files {
            destinations.read("an input", file);
        }
        outputs::read(
            &mut destinations,
            [
                ("the key ring", self.keys.as_ref()),
                ("heads", self.heads.as_ref()),
                ("start heads", self.start_heads.as_ref()),
                ("the manifest", self.manifest.as_ref()),
            ],
        );
        if let Some(payloads) = &self.payloads {
            destinations.read_folder("payloads", payloads);
        }
        self.in_place.read_stores(&mut destinations)?;
        self.reports.places(&mut destinations)
    }

    fn refuse_missing_inputs(&self) -> Result<(), Failure> {
        let in_place = &self.in_place;
        for level in &self.require {
            let (given, name, option) = match (level, in_place.is_given()) {
                (Required::Signatures, false) => (self.keys.is_some(), "signatures", "--keys FILE"),
                (Required::Payloads, false) => (self.payloads.is_some(), "payloads", "--payloads DIR"),
                (Required::Heads, false) => {
                    (self.heads.is_some() || self.manifest.is_some(), "heads", "--heads FILE")
                }
                (Required::Signatures, true) => {
                    (self.keys.is_some() || in_place.registered, "signatures", "--keys FILE or --registered")
                }
                (Required::Payloads, true) => (in_place.reads_payloads(), "payloads", "--payload-store"),
                (Required::Heads, true) => {
                    (self.heads.is_some() || in_place.registered, "heads", "--heads FILE or --registered")
                }
            };
            if !given {
                let message = format!("--require {name} needs {option}; nothing was read");
                return Err(Failure::usage("required_input_missing", message));
            }
        }
        Ok(())
    }

    /// The manifest, and whether the file is another than it describes.
    fn read_manifest(&self, path: &Path) -> Result<(Manifest, Option<Failure>), Failure> {
        let [file] = self.files.as_slice() else {
            return Err(Failure::usage("usage", "--manifest describes one file; name just that file"));
        };
        if inputs::is_stdin(file) {
            return Err(Failure::usage("usage", "--manifest describes a file; stdin (-) is none"));
        }
        let manifest = Manifest::read(path)?;
        let difference = manifest.difference(file)?;
        Ok((manifest, difference.map(|difference| Failure::unfinished("manifest_mismatch", difference))))
    }
}

/// Writes the report; the exit code is that of the verdict, or else of what was wrong beside it.
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
