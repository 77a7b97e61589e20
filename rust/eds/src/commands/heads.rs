//! `eds heads`: the snapshot that `--heads` later checks.

use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_chain::{Checks, Heads, Report, Scheme, Verdict};
use edgesentry_formats::{Destination, Destinations};

use crate::commands::scheme;
use crate::envelope;
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Running};
use crate::output::{Answer, Output};
use crate::outputs::{self, save};
use crate::stores::InsteadOfFiles;
use crate::text::{count, number};

/// Write the heads of an export or a ledger: the last sequence and hash of each chain
///
/// Keep the snapshot where nobody who can change the ledger can change it. Later exports are then checked
/// against it with eds verify-chain --heads, which finds chains cut off and devices left out. The heads of a
/// ledger are those that it continues its chains from; its records are not read.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds heads export.json -o heads.json
  eds heads export.json --keys keys.json -o heads.json      refuse bad signatures as well
  eds heads --ledger edgesentry.db -o heads.json
  eds verify-chain next-export.json --heads heads.json")]
pub(crate) struct WriteHeads {
    /// Exports to read, in order; - is stdin
    #[arg(required_unless_present = "ledger", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where to write the snapshot [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Key ring: check the signatures too before writing
    #[arg(long, value_name = "FILE", conflicts_with = "ledger")]
    keys: Option<PathBuf>,
    /// Scheme of keys that name none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme, requires = "keys", conflicts_with = "ledger")]
    scheme: Option<Scheme>,
    /// Heads after which the chains must begin, for an export that starts mid-chain
    #[arg(long, value_name = "FILE", conflicts_with = "ledger")]
    start_heads: Option<PathBuf>,
    /// Write the snapshot even where the chains do not hold
    #[arg(long, conflicts_with = "ledger")]
    force: bool,
    #[command(flatten)]
    ledger: InsteadOfFiles,
    #[command(flatten)]
    running: Running,
}

impl WriteHeads {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let destination = self.destination()?;
        let heads = if self.ledger.is_given() { self.of_ledger()? } else { self.of_files(output)? };
        let snapshot = edgesentry_formats::write_heads(&heads);
        let text = match destination.filter(|(_, destination)| !destination.is_stdout()) {
            None => format!("{}\n", envelope::terminal_safe(snapshot.trim_end())),
            Some((path, destination)) => {
                save(&destination, path, &snapshot)?;
                let heads = count(heads.len() as u64, "head");
                output.note(&format!("{}: {heads} written", path.display()));
                String::new()
            }
        };
        output.answer(&Answer { ok: true, name: "heads", content: &heads, text, failure: None })?;
        Ok(Exit::Holds)
    }

    /// Where the snapshot goes: over nothing that is read.
    fn destination(&self) -> Result<Option<(&Path, Destination)>, Failure> {
        let Some(path) = &self.output else { return Ok(None) };
        let mut destinations = Destinations::default();
        for file in &self.files {
            destinations.read("an input", file);
        }
        outputs::read(
            &mut destinations,
            [("the key ring", self.keys.as_ref()), ("start heads", self.start_heads.as_ref())],
        );
        if self.ledger.is_given() {
            self.ledger.read(None, &mut destinations)?;
        }
        Ok(Some((path, destinations.place("--output", path)?)))
    }

    fn of_ledger(&self) -> Result<Heads, Failure> {
        let opened = self.ledger.open(None)?;
        let heads = opened.wait(opened.ledger.heads())?;
        if heads.is_empty() {
            let message = format!("{}: no record in the ledger, so there is no head", opened.ledger.place());
            return Err(Failure::unfinished("nothing_to_verify", message));
        }
        Ok(heads)
    }

    fn of_files(&self, output: &Output) -> Result<Heads, Failure> {
        let keys = self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?;
        let start_heads = self.start_heads.as_deref().map(inputs::heads).transpose()?;
        let checks = Checks { keys: keys.as_ref(), start_heads: start_heads.as_ref(), ..Checks::default() };
        let report = self.running.verify(inputs::sources(&self.files)?, &checks)?;
        if report.heads.is_empty() {
            let message = "no record in the input, so there is no head to write";
            return Err(Failure::unfinished("nothing_to_verify", message));
        }
        if report.verdict == Verdict::Findings {
            if !self.force {
                return Err(refusal(&report));
            }
            output.note(
                "warning: the chains do not hold; whoever trusts this snapshot trusts them as they are",
            );
        }
        Ok(report.heads)
    }
}

fn refusal(report: &Report) -> Failure {
    let counts = report.counts.iter().map(|(code, total)| format!("{code} {}", number(*total)));
    let counts: Vec<String> = counts.collect();
    let message = format!(
        "no snapshot was written, because the chains do not hold ({}) and later exports would be trusted \
         against it; see eds verify-chain for each finding, or write it all the same with --force",
        counts.join(", ")
    );
    Failure { code: "chain_broken", message, exit: Exit::Findings }
}
