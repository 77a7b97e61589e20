//! `eds verify-proof`: verifies a proof of the transparency log, offline.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use edgesentry_chain::AuditRecord;
use edgesentry_formats::times::{parse_seconds, to_rfc3339};
use edgesentry_formats::{Malformed, other_file, read_start};
use edgesentry_log::{
    Checkpoint, Expected, MAX_NOTE_BYTES, MAX_POLICY_BYTES, MAX_RUN_PROOF_BYTES, Note, Policy, ProofFile,
    ProofFileError, Proven, Statement, StatementKind,
};
use serde_json::{Value, json};

use crate::commands::{Sequences, device_id, sequences};
use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::output::{Answer, Output};
use crate::text::name;

/// Verify a proof from the transparency log offline: inclusion of records or a head, absence, or consistency
///
/// The policy names the keys of the log and of its witnesses; it must come from you, not from the operator of the
/// log. Without --record, --device, --sequence or --expect, every valid proof passes: read the printed statement, or
/// pass the options for the statement that you expect. Without --min-size or --max-age, a proof of an old checkpoint
/// passes too.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds verify-proof record.proof --policy policy.txt --record record.json
  eds verify-proof run.proof --policy policy.txt --device lift-01 --sequence 4711-4720
  eds verify-proof head.proof --policy policy.txt --device lift-01 --max-age 1h
  eds verify-proof absent.proof --policy policy.txt --device lift-99 --expect absence
  eds verify-proof grown.proof --policy policy.txt --previous checkpoint-of-may")]
pub(crate) struct VerifyProof {
    /// The proof; - is stdin
    #[arg(value_name = "FILE")]
    proof: PathBuf,
    /// Trusted keys of the log and of its witnesses, and the quorum
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The proof must be of this record, or have it in its run: a file with one record; - is stdin
    #[arg(long, value_name = "RECORD")]
    record: Option<PathBuf>,
    /// The proof must be about this device
    #[arg(long, value_name = "ID", value_parser = device_id)]
    device: Option<String>,
    /// The record or the head must have this sequence; a run of records must have these, such as 4711-4720
    #[arg(long, value_name = "N", value_parser = sequences)]
    sequence: Option<Sequences>,
    /// The proof must be of this kind
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    expect: Option<StatementKind>,
    /// The older checkpoint that you kept; the proof must show that the log extends it
    #[arg(long, value_name = "CHECKPOINT")]
    previous: Option<PathBuf>,
    /// Refuse a proof of a checkpoint with fewer leaves
    #[arg(long, value_name = "N")]
    min_size: Option<u64>,
    /// Refuse a proof of a checkpoint whose witnesses signed it longer ago, such as 90s, 15m, 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    max_age: Option<u64>,
}

fn kinds() -> impl TypedValueParser<Value = StatementKind> {
    PossibleValuesParser::new(StatementKind::ALL.map(StatementKind::name)).map(|name| {
        let kind = StatementKind::ALL.into_iter().find(|kind| kind.name() == name);
        kind.unwrap_or(StatementKind::Record)
    })
}

impl VerifyProof {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let files = [Some(&self.proof), Some(&self.policy), self.record.as_ref(), self.previous.as_ref()];
        inputs::refuse_second_stdin(files.into_iter().flatten())?;
        let policy = policy(&self.policy)?;
        let previous = self.previous.as_deref().map(checkpoint).transpose()?.map(|(note, _)| note);
        let record = self.record.as_deref().map(record).transpose()?;
        let expected = Expected {
            kind: self.expect,
            record: record.as_ref(),
            device_id: self.device.as_deref(),
            sequence: self.sequence.map(|sequence| sequence.first),
            last_sequence: self.sequence.and_then(|sequence| sequence.last),
            previous: previous.as_ref(),
            min_size: self.min_size,
            max_age: self.max_age.map(inputs::max_age).transpose()?,
        };
        let bytes = read(&self.proof, MAX_RUN_PROOF_BYTES)
            .map_err(|problem| Failure::usage("proof_unreadable", problem))?;
        let proven = ProofFile::parse(&bytes).and_then(|proof| proof.verify(&policy, &expected));
        let proven = proven.map_err(|error| self.failure(&error, &bytes))?;
        let (content, text) = (content(&proven), text(&proven));
        output.answer(&Answer { ok: true, name: "proof", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }

    fn failure(&self, error: &ProofFileError, bytes: &[u8]) -> Failure {
        let file = name(&self.proof.display().to_string());
        let other = (error.code() == "proof_malformed").then(|| other_file(bytes, "a proof")).flatten();
        if let Some(problem) = other {
            return Failure::unfinished(error.code(), format!("{file}: {problem}"));
        }
        let (exit, remedy) = match error.code() {
            "proof_malformed" => (Exit::Unfinished, ""),
            "proof_incomplete" if matches!(error, ProofFileError::NoPrevious) => {
                (Exit::Usage, "; pass --previous")
            }
            "proof_incomplete" => (Exit::Usage, "; pass --record"),
            _ => (Exit::Findings, ""),
        };
        Failure { code: error.code(), message: format!("{file}: {error}{remedy}"), exit }
    }
}

/// Reads a policy.
pub(crate) fn policy(path: &Path) -> Result<Policy, Failure> {
    let bytes =
        read(path, MAX_POLICY_BYTES).map_err(|problem| Failure::usage("policy_unreadable", problem))?;
    Policy::parse(&bytes).map_err(|error| Failure::usage("policy", format!("{}: {error}", path.display())))
}

/// Reads a checkpoint.
pub(crate) fn checkpoint(path: &Path) -> Result<(Note, Checkpoint), Failure> {
    let bytes =
        read(path, MAX_NOTE_BYTES).map_err(|problem| Failure::usage("checkpoint_unreadable", problem))?;
    let failed = |error: &dyn std::fmt::Display| {
        Failure::usage("checkpoint", format!("{}: not a checkpoint: {error}", path.display()))
    };
    let note = Note::parse(&bytes).map_err(|error| failed(&error))?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| failed(&error))?;
    Ok((note, checkpoint))
}

fn record(path: &Path) -> Result<AuditRecord, Failure> {
    inputs::single_record(path)?.map_err(|Malformed { expected, actual }| {
        let path = path.display();
        let message = format!("{path}: not a record: expected {expected}, found {actual}");
        Failure::usage("record_malformed", message)
    })
}

/// Reads a file up to one byte behind the limit, which the parser then refuses.
fn read(path: &Path, limit: usize) -> Result<Vec<u8>, String> {
    let read = || {
        let limit = limit as u64 + 1;
        if inputs::is_stdin(path) {
            read_start(std::io::stdin().lock(), limit)
        } else {
            read_start(File::open(path)?, limit)
        }
    };
    read().map_err(|error: std::io::Error| format!("{}: cannot read: {error}", path.display()))
}

fn content(proven: &Proven) -> Value {
    let trusted = &proven.checkpoint;
    let checkpoint = trusted.checkpoint();
    let cosigned: Vec<Value> = trusted
        .cosigned()
        .iter()
        .map(|cosigned| json!({"witness": cosigned.witness, "time": cosigned.time}))
        .collect();
    let (index, hash) = match &proven.statement {
        Statement::Record { index, record } => (Some(*index), Some(record.hash().to_string())),
        Statement::Run { records, .. } => (None, records.last().map(|record| record.hash().to_string())),
        Statement::Leaf { index, .. } => (Some(*index), None),
        Statement::Head(entry) => (None, Some(entry.record_hash.to_string())),
        Statement::Absent(_) | Statement::Extends(_) => (None, None),
    };
    let previous = match &proven.statement {
        Statement::Extends(older) => Some(json!({"size": older.size(), "root": older.root().to_string()})),
        _ => None,
    };
    json!({
        "kind": proven.statement.kind().name(),
        "statement": proven.to_string(),
        "device_id": proven.statement.device_id(),
        "sequence": proven.statement.sequence(),
        "to_sequence": proven.statement.last_sequence(),
        "record_hash": hash,
        "index": index,
        "previous": previous,
        "checkpoint": {
            "origin": checkpoint.origin(),
            "size": checkpoint.size(),
            "root": checkpoint.root().to_string(),
            "cosigned": cosigned,
            "quorum_time": trusted.quorum_time(),
        },
    })
}

fn text(proven: &Proven) -> String {
    let mut text = format!("valid: {proven}\n");
    for cosigned in proven.checkpoint.cosigned() {
        let time = to_rfc3339(cosigned.time.saturating_mul(1000));
        text.push_str(&format!("  cosigned by {} at {time}\n", name(&cosigned.witness)));
    }
    text
}
