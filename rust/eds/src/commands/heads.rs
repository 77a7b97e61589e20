//! `eds heads`: the snapshot that `--heads` later checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use edgesentry_chain::{Checks, Finding, FindingCode, Head, Heads, Scheme, check_extension};
use edgesentry_formats::times;
use edgesentry_formats::{Destination, Destinations, Snapshot};
use edgesentry_rs::extension::Extension;

use crate::commands::scheme;
use crate::envelope;
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Columns, Running};
use crate::operations::{self, HEADS_LAST_SUCCESS, HEADS_REWRITTEN, Textfile};
use crate::output::{Answer, Output};
use crate::outputs;
use crate::remote::RemoteArgs;
use crate::render;
use crate::stores::InsteadOfFiles;
use crate::text::{count, number};

/// Write the heads of an export or a ledger: the last sequence and hash of each chain
///
/// Keep the snapshot where the writers of the ledger cannot change it. eds verify-chain --heads then checks
/// later exports against it, and detects truncated chains and missing devices. With --ledger, the command writes the heads
/// that the ledger stores, and reads records only to compare them with an earlier snapshot. With --url, it uses the ledger
/// of a service; the token needs the scope read.
///
/// A snapshot is replaced only by heads that extend it: every chain must still hold the record at the old
/// head, and its links must hold from there on. If a chain was truncated, rewritten or left out, that is a
/// finding, exit code 1, and nothing is replaced. Every state of the snapshot is kept under its time in the
/// history.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds heads export.json -o heads.json
  eds heads export.json --keys keys.json -o heads.json      refuse bad signatures as well
  eds heads --ledger edgesentry.db -o heads.json
  EDS_TOKEN=eds_... eds heads --url https://audit.example -o heads.json
  eds verify-chain next-export.json --heads heads.json")]
pub(crate) struct WriteHeads {
    /// Exports to read, in order; - is stdin
    #[arg(required_unless_present_any = ["ledger", "RemoteArgs"], conflicts_with = "RemoteArgs", value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    columns: Columns,
    /// File to write the snapshot to [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Key ring: check the signatures too before writing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ledger", "RemoteArgs"])]
    keys: Option<PathBuf>,
    /// Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme(), hide_possible_values = true, requires = "keys", conflicts_with_all = ["ledger", "RemoteArgs"])]
    scheme: Option<Scheme>,
    /// Heads after which the chains must begin, for an export that starts mid-chain
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ledger", "RemoteArgs"])]
    start_heads: Option<PathBuf>,
    /// Write the snapshot even if links or signatures do not hold
    #[arg(long)]
    force: bool,
    /// Directory for a dated copy of every state of the snapshot [default: heads.d for heads.json]
    #[arg(long, value_name = "DIR", requires = "output")]
    history: Option<PathBuf>,
    /// Replace heads that the chains no longer extend, after a restore; the reason goes into the log of the history
    #[arg(long, value_name = "REASON", requires = "output")]
    accept_rewrite: Option<String>,
    /// File for the textfile collector of node_exporter, name.prom [default with --ledger: ops.textfile of
    /// the settings]
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
    #[command(flatten)]
    ledger: InsteadOfFiles,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    running: Running,
}

/// The heads of a run, and the findings.
struct Taken {
    heads: Heads,
    /// Chains that do not extend the previous heads.
    rewritten: u64,
    /// Other findings by code.
    broken: BTreeMap<FindingCode, u64>,
    /// All findings that are kept.
    findings: Vec<Finding>,
    /// The metrics file.
    metrics_file: Option<PathBuf>,
}

impl WriteHeads {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        if self.accept_rewrite.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
            return Err(Failure::usage(
                "usage",
                "--accept-rewrite: a reason is required, for the log of the history",
            ));
        }
        let place = self.place()?.filter(|(_, destination)| !destination.is_stdout());
        let snapshot = match &place {
            Some((path, destination)) => Snapshot::open(destination, path, self.history.as_deref())?,
            None => None,
        };
        let old = snapshot.as_ref().and_then(Snapshot::before);
        let is_of_ledger = self.ledger.is_given() || self.remote.is_given();
        let taken = if is_of_ledger { self.of_ledger(old)? } else { self.of_files(old)? };
        let textfile = taken.metrics_file.as_deref().map(Textfile::open).transpose()?;
        let is_refused = taken.rewritten > 0 && self.accept_rewrite.is_none();
        if is_refused || (!taken.broken.is_empty() && !self.force) {
            // Releases the lock for other runs.
            drop(snapshot);
            if let Some(textfile) = textfile {
                textfile.set(&[HEADS_REWRITTEN.sample("", taken.devices() as f64)])?;
            }
            return taken.refuse(output, place.map(|(path, _)| path));
        }
        if !taken.broken.is_empty() {
            output.note(
                "warning: the chains do not hold; verifications with this snapshot trust them as they are",
            );
        }
        let text = match &place {
            None => envelope::terminal_safe(&edgesentry_formats::write_heads(&taken.heads)),
            Some((path, destination)) => {
                self.write(&taken, snapshot, path, destination, output)?;
                String::new()
            }
        };
        if let Some(textfile) = textfile {
            let now = times::now_ms() as f64 / 1000.0;
            textfile.set(&[HEADS_LAST_SUCCESS.sample("", now), HEADS_REWRITTEN.sample("", 0.0)])?;
        }
        output.answer(&Answer { ok: true, name: "heads", content: &taken.heads, text, failure: None })?;
        Ok(Exit::Holds)
    }

    /// Replaces the snapshot, or writes to a stream.
    fn write(
        &self,
        taken: &Taken,
        snapshot: Option<Snapshot>,
        path: &Path,
        destination: &Destination,
        output: &Output,
    ) -> Result<(), Failure> {
        let rewrite = self.accept_rewrite.as_deref().filter(|_| taken.rewritten > 0);
        match snapshot {
            Some(snapshot) => snapshot.replace(&taken.heads, rewrite).map(|_| ())?,
            None => outputs::save(destination, path, &edgesentry_formats::write_heads(&taken.heads))?,
        }
        let mut note = format!("{}: {} written", path.display(), count(taken.heads.len() as u64, "head"));
        if rewrite.is_some() {
            note.push_str(&format!(", {} of them rewritten", number(taken.rewritten)));
        }
        output.note(&note);
        Ok(())
    }

    /// Returns the destination of the snapshot, which must not be an input.
    fn place(&self) -> Result<Option<(&Path, Destination)>, Failure> {
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
        self.remote.read_files(&mut destinations);
        let destination = destinations.place("--output", path)?;
        if let Some(metrics) = &self.metrics_file {
            destinations.place("--metrics-file", metrics)?;
        }
        Ok(Some((path, destination)))
    }

    fn of_ledger(&self, old: Option<&Heads>) -> Result<Taken, Failure> {
        let opened = match self.remote.service()? {
            Some(service) => service.opened(),
            None => self.ledger.open(None)?,
        };
        let handle = opened.runtime.handle();
        let extension = self
            .running
            .run(|options, progress| Extension::of(&opened.ledger, old, options, handle, progress))??;
        let Extension { heads, rewritten: mut findings, broken, broken_counts } = extension;
        let rewritten = findings.len() as u64;
        findings.extend(broken);
        if heads.is_empty() && rewritten == 0 {
            let message = format!("{}: no record in the ledger, so there is no head", opened.ledger.place());
            return Err(Failure::unfinished("nothing_to_verify", message));
        }
        let metrics_file = match &self.metrics_file {
            Some(file) => Some(file.clone()),
            None => operations::metrics_file(&opened.settings)?,
        };
        Ok(Taken { heads, rewritten, broken: broken_counts, findings, metrics_file })
    }

    fn of_files(&self, old: Option<&Heads>) -> Result<Taken, Failure> {
        let keys = self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?;
        let starts = self.start_heads.as_deref().map(inputs::heads).transpose()?;
        // A chain that begins after the old head continues it, because its first link is checked.
        let continues = |device_id: &Arc<str>, head: &Head| {
            starts.as_ref().and_then(|starts| starts.get(device_id)).is_some_and(|start| start == head)
        };
        let (continued, ended): (Heads, Heads) = old
            .into_iter()
            .flatten()
            .map(|(device_id, head)| (Arc::clone(device_id), *head))
            .partition(|(device_id, head)| continues(device_id, head));
        let checks = Checks {
            keys: keys.as_ref(),
            start_heads: starts.as_ref(),
            heads: old.map(|_| &ended),
            ..Checks::default()
        };
        let names = self.columns.names()?;
        let sources = inputs::sources(&self.files)?.into_iter().map(|source| source.named(&names));
        let report = self.running.verify(sources.collect(), &checks)?;
        let at_start = |device_id: &str, _| continued.get(device_id).map(|head| head.hash);
        let mut findings = check_extension(&continued, &report.heads, at_start);
        if report.heads.is_empty() && old.is_none() {
            let message = "no record in the input, so there is no head to write";
            return Err(Failure::unfinished("nothing_to_verify", message));
        }
        let is_of_heads =
            |code: &FindingCode| matches!(code, FindingCode::HeadMismatch | FindingCode::DeviceMissing);
        let (of_heads, broken): (BTreeMap<_, u64>, BTreeMap<_, u64>) =
            report.counts.into_iter().partition(|(code, _)| is_of_heads(code));
        let rewritten = findings.len() as u64 + of_heads.values().sum::<u64>();
        findings.extend(report.findings);
        let metrics_file = self.metrics_file.clone();
        Ok(Taken { heads: report.heads, rewritten, broken, findings, metrics_file })
    }
}

impl Taken {
    /// Returns the number of chains that do not extend the previous heads, or that are broken after them.
    fn devices(&self) -> u64 {
        let devices: BTreeSet<_> = self.findings.iter().map(|finding| &finding.device_id).collect();
        self.rewritten.max(devices.len() as u64).max(1)
    }

    /// Reports why nothing was written.
    fn refuse(self, output: &Output, path: Option<&Path>) -> Result<Exit, Failure> {
        if self.rewritten == 0 {
            return Err(self.broken_chains());
        }
        let (text, failure) = (render::list(&self.findings), Some(self.rewrite(path)));
        output.answer(&Answer { ok: false, name: "findings", content: &self.findings, text, failure })?;
        Ok(Exit::Findings)
    }

    fn rewrite(&self, path: Option<&Path>) -> Failure {
        let message = format!(
            "{}: {} cut, rewritten or gone since these heads were taken, so nothing was replaced; keep the ledger and \
             the heads as evidence. Only if records are missing by intent, after a restore, use --accept-rewrite REASON",
            path.map_or_else(String::new, |path| path.display().to_string()),
            count(self.rewritten, "chain"),
        );
        Failure { code: "heads_rewritten", message, exit: Exit::Findings }
    }

    fn broken_chains(&self) -> Failure {
        let mut kinds: Vec<(&FindingCode, &u64)> = self.broken.iter().collect();
        kinds.sort_by_key(|(code, _)| code.rank());
        let counts = kinds.into_iter().map(|(code, total)| format!("{code} {}", number(*total)));
        let message = format!(
            "no snapshot was written, because the chains do not hold ({}) and later exports would be trusted \
             against it; see eds verify-chain for each finding, or write it anyway with --force",
            counts.collect::<Vec<_>>().join(", ")
        );
        Failure { code: "chain_broken", message, exit: Exit::Findings }
    }
}
