//! `eds verify-chain`: judges exports.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use edgesentry_chain::{Checks, Coverage, Payloads, Report, Scheme, Verdict};

use crate::commands::scheme;
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Running};
use crate::output::{Answer, Output};
use crate::render;
use crate::text::{count, number};

/// Verify exports: links always, signatures, payloads and heads where their input is given
///
/// Reads JSON arrays, NDJSON (both also gzipped or zstd-compressed), Arrow IPC and Parquet; the format is
/// recognised by content. Several files are one input: a chain may continue from one file to the next.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds verify-chain export.json --keys keys.json
  eds verify-chain 2026-01.parquet 2026-02.parquet --keys keys.json --heads heads.json
  eds verify-chain export.json --keys keys.json --require signatures --json > verdict.json
  zcat export.ndjson.gz | eds verify-chain - --keys keys.json

The key ring is JSON: {\"lift-01\": \"<64 hex digits>\"}, or
{\"lift-01\": {\"key\": \"<64 hex digits>\", \"scheme\": \"record\", \"valid_from\": 1}}.")]
pub(crate) struct VerifyChain {
    /// Exports to verify, in order; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Key ring: check the signatures
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Scheme of keys that name none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme, requires = "keys")]
    scheme: Option<Scheme>,
    /// Folder of payloads: hash them again
    #[arg(long, value_name = "DIR")]
    payloads: Option<PathBuf>,
    /// Trusted heads, as written by eds heads: find truncated chains and missing devices
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    /// Heads after which the chains must begin, for an export that starts mid-chain
    #[arg(long, value_name = "FILE")]
    start_heads: Option<PathBuf>,
    /// Levels that must be covered in full, or the exit code is not 0
    #[arg(long, value_name = "LEVELS", value_delimiter = ',')]
    require: Vec<Required>,
    #[command(flatten)]
    running: Running,
}

/// A level that can be required.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Required {
    Signatures,
    Payloads,
    Heads,
}

impl VerifyChain {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        // Before anything is read: a long verification must not end in a usage error.
        self.refuse_missing_inputs()?;
        let keys = self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?;
        let heads = self.heads.as_deref().map(inputs::heads).transpose()?;
        let start_heads = self.start_heads.as_deref().map(inputs::heads).transpose()?;
        let payloads = self.payloads.as_deref().map(inputs::payloads).transpose()?;
        let checks = Checks {
            keys: keys.as_ref(),
            payloads: payloads.as_ref().map(|folder| folder as &dyn Payloads),
            heads: heads.as_ref(),
            start_heads: start_heads.as_ref(),
        };
        let report = self.running.verify(inputs::sources(&self.files)?, &checks)?;
        let uncovered = self.uncovered(&report.coverage);
        conclude(output, &report, uncovered)
    }

    fn refuse_missing_inputs(&self) -> Result<(), Failure> {
        for level in &self.require {
            let (given, name, option) = match level {
                Required::Signatures => (self.keys.is_some(), "signatures", "--keys FILE"),
                Required::Payloads => (self.payloads.is_some(), "payloads", "--payloads DIR"),
                Required::Heads => (self.heads.is_some(), "heads", "--heads FILE"),
            };
            if !given {
                let message = format!("--require {name} needs {option}; nothing was read");
                return Err(Failure::usage("required_input_missing", message));
            }
        }
        Ok(())
    }

    /// Records or devices that a required level did not cover.
    fn uncovered(&self, coverage: &Coverage) -> Option<Failure> {
        let mut gaps = Vec::new();
        for level in &self.require {
            match level {
                Required::Signatures => {
                    let unchecked = coverage.signatures.as_ref().map_or(0, |signatures| signatures.unchecked);
                    if unchecked > 0 {
                        let records = count(unchecked, "record");
                        gaps.push(format!("signatures of {records} could not be checked for want of a key"));
                    }
                }
                Required::Payloads => {
                    let checked = coverage.payloads.as_ref().map_or(0, |payloads| payloads.checked);
                    if checked < coverage.records {
                        let missed = number(coverage.records - checked);
                        gaps.push(format!("{missed} payloads were not checked"));
                    }
                }
                Required::Heads => {
                    let without = coverage.heads.as_ref().map_or(0, |heads| heads.devices_without);
                    if without > 0 {
                        gaps.push(format!("{} without a trusted head", count(without, "device")));
                    }
                }
            }
        }
        if gaps.is_empty() {
            return None;
        }
        let message = format!("not everything that --require names was covered: {}", gaps.join("; "));
        Some(Failure::usage("required_not_covered", message))
    }
}

/// Writes the report; the exit code is that of the verdict, or else of what was required and not covered.
pub(super) fn conclude(
    output: &Output,
    report: &Report,
    uncovered: Option<Failure>,
) -> Result<Exit, Failure> {
    let exit = match report.verdict {
        Verdict::Findings => Exit::Findings,
        Verdict::NothingToVerify => Exit::Unfinished,
        Verdict::Valid => uncovered.as_ref().map_or(Exit::Holds, |failure| failure.exit),
    };
    let failure = uncovered.map(|failure| Failure { exit, ..failure });
    let text = render::report(report);
    output.answer(&Answer { ok: exit == Exit::Holds, name: "report", content: report, text, failure })?;
    Ok(exit)
}
