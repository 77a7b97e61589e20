//! `eds erase`: erases the payload of a record.

use std::time::Duration;

use clap::Args;
use edgesentry_chain::Hash;
use edgesentry_formats::describe;
use edgesentry_formats::times::to_rfc3339;
use edgesentry_rs::log::{EraseError, ErasedReplaced, Eraser, Erasure, ErasureState, Finished};
use edgesentry_rs::settings::{self, Access};
use serde_json::{Value, json};

use super::{checkpoint, device_id};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::{Opened, StoreArgs};
use crate::text::{count, name, sentence, shown};

/// Permanently erase the payload of a record; the record stays, and the transparency log records the erasure
///
/// The log gets a leaf with the reason, a checkpoint is signed, and then every version of the payload is
/// deleted. If eds serve writes the log, the command waits for its next checkpoint. Repeating the command
/// continues after an interruption, and reports the same. The reason stays in the log: do not name a person.
/// Exit code 0 if no version of the payload remains in the store, 3 if one remains, for example under Object Lock.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds erase lift-01 17 --reason \"request 2026-114\"
  eds erase lift-01 17 --reason \"request 2026-114\" --ledger postgres://db/audit \\
      --payload-store s3://audit-payloads
  eds erase --again                                after a restore of the payload store
  eds erase --replaced HASH --reason \"request 2026-114\"    a replaced record")]
pub(crate) struct Erase {
    /// The device
    #[arg(value_name = "DEVICE", value_parser = device_id, required_unless_present_any = ["again", "replaced"])]
    device: Option<String>,
    /// The sequence of the record
    #[arg(value_name = "SEQUENCE", required_unless_present_any = ["again", "replaced"])]
    sequence: Option<u64>,
    /// The reason, which every reader of the log sees
    #[arg(long, value_name = "TEXT", required_unless_present = "again")]
    reason: Option<String>,
    /// Delete the payloads of all erasures in the log again, as after a restore of the payload store
    #[arg(long, conflicts_with_all = ["device", "sequence", "reason", "replaced"])]
    again: bool,
    /// The hash of a record that eds checkpoint recover has replaced: delete its payload, which no record has any more
    #[arg(long, value_name = "HASH", conflicts_with_all = ["device", "sequence"])]
    replaced: Option<Hash>,
    #[command(flatten)]
    stores: StoreArgs,
}

impl Erase {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let opened = self.stores.open(Access::Existing)?;
        let eraser = eraser(&opened)?;
        if let (Some(hash), Some(reason)) = (self.replaced, &self.reason) {
            let erased = opened.runtime.block_on(eraser.erase_replaced(hash, reason));
            return replaced(&erased.map_err(|error| failure(&error))?, output);
        }
        match (&self.device, self.sequence, &self.reason) {
            (Some(device), Some(sequence), Some(reason)) => {
                let interval = opened.settings.log.interval_seconds.max(1);
                // Two intervals: the batch of the first may be under way.
                let wait = Duration::from_secs(interval.saturating_mul(2).saturating_add(10));
                let erasing = eraser.erase(device, sequence, reason, wait);
                let erasure = opened.runtime.block_on(erasing).map_err(|error| failure(&error))?;
                conclude(&erasure, reason, output)
            }
            _ => {
                let again = opened.runtime.block_on(eraser.erase_again());
                all(&again.map_err(|error| checkpoint::failure(&error))?, output)
            }
        }
    }
}

/// Returns the eraser of a ledger with a transparency log.
pub(super) fn eraser(opened: &Opened) -> Result<Eraser, Failure> {
    let stores = settings::Stores { ledger: opened.ledger.clone(), payloads: opened.payloads.clone() };
    opened.runtime.block_on(stores.eraser(&opened.settings)).map_err(|error| failure(&error))
}

fn failure(error: &EraseError) -> Failure {
    match error {
        EraseError::Log(error) => checkpoint::failure(error),
        EraseError::Open(error) => error.clone().into(),
        EraseError::Off
        | EraseError::Reason
        | EraseError::NoRecord { .. }
        | EraseError::NotReplaced { .. }
        | EraseError::SamePayload { .. } => Failure::usage(error.code(), error.to_string()),
        error => Failure::unfinished(error.code(), describe(error)),
    }
}

fn conclude(erasure: &Erasure, reason: &str, output: &Output) -> Result<Exit, Failure> {
    if erasure.reason != reason {
        output.note("note: the erasure was requested before; the log has the first reason");
    }
    let failure = kept(erasure);
    let exit = failure.as_ref().map_or(Exit::Holds, |failure| failure.exit);
    let (content, text) = (content(erasure), text(erasure));
    output.answer(&Answer { ok: failure.is_none(), name: "erasure", content: &content, text, failure })?;
    Ok(exit)
}

/// Returns the failure of an erasure whose payload the store keeps.
fn kept(erasure: &Erasure) -> Option<Failure> {
    let problem = match &erasure.state {
        ErasureState::Erased { .. } => return None,
        ErasureState::Kept { problem, .. } => problem.as_str(),
        ErasureState::Waiting => "its leaf is not under a checkpoint yet",
    };
    let Erasure { device_id, sequence, .. } = erasure;
    let message = format!("device {device_id:?}, sequence {sequence}: the payload is not erased: {problem}");
    Some(Failure::unfinished("erase_kept", message))
}

/// Reports the erasure of the payload of a replaced record.
fn replaced(erased: &ErasedReplaced, output: &Output) -> Result<Exit, Failure> {
    let ErasedReplaced { device_id, sequence, payload_hash, versions, problem } = erased;
    let failure = problem.as_ref().map(|problem| {
        let message =
            format!("device {device_id:?}, sequence {sequence}: the payload is not erased: {problem}");
        Failure::unfinished("erase_kept", message)
    });
    let exit = failure.as_ref().map_or(Exit::Holds, |failure| failure.exit);
    let content = json!({
        "device_id": device_id,
        "sequence": sequence,
        "payload_hash": payload_hash.to_string(),
        "versions": versions,
        "problem": problem,
    });
    let state = if failure.is_none() { "erased" } else { "not erased" };
    let text = format!(
        "{} sequence {sequence}, a replaced record: {state}\n  versions  {versions}\n  payload   {payload_hash}\n",
        name(device_id)
    );
    output.answer(&Answer {
        ok: failure.is_none(),
        name: "erased_replaced",
        content: &content,
        text,
        failure,
    })?;
    Ok(exit)
}

/// Reports a pass over all erasures.
fn all(finished: &Finished, output: &Output) -> Result<Exit, Failure> {
    let left: Vec<Value> = finished.left.iter().map(content).collect();
    let Finished { erased, left_count, stopped, .. } = finished;
    let content = json!({"erased": erased, "left": left, "left_count": left_count, "stopped": stopped});
    let mut text = format!("{} erased, {left_count} left\n", count(*erased, "payload"));
    finished.left.iter().for_each(|erasure| text.push_str(&self::text(erasure)));
    if *stopped {
        text.push_str("stopped, because the payload store cannot be reached; repeat the command\n");
    }
    let failure = finished.left.iter().find_map(kept);
    let exit = failure.as_ref().map_or(Exit::Holds, |failure| failure.exit);
    output.answer(&Answer { ok: failure.is_none(), name: "erasures", content: &content, text, failure })?;
    Ok(exit)
}

fn content(erasure: &Erasure) -> Value {
    let (problem, retry_at_ms, erased_at_ms) = match &erasure.state {
        ErasureState::Waiting => (None, None, None),
        ErasureState::Kept { problem, retry_at_ms } => (Some(problem), *retry_at_ms, None),
        ErasureState::Erased { at_ms } => (None, None, Some(*at_ms)),
    };
    json!({
        "device_id": erasure.device_id,
        "sequence": erasure.sequence,
        "payload_hash": erasure.payload_hash.to_string(),
        "reason": erasure.reason,
        "requested_at_ms": erasure.requested_at_ms,
        "leaf": erasure.leaf,
        "versions": erasure.versions,
        "state": erasure.state.name(),
        "problem": problem,
        "retry_at_ms": retry_at_ms,
        "erased_at_ms": erased_at_ms,
    })
}

pub(super) fn text(erasure: &Erasure) -> String {
    let state = match &erasure.state {
        ErasureState::Erased { at_ms } => format!("erased at {}", to_rfc3339(*at_ms)),
        ErasureState::Kept { problem, .. } => format!("not erased: {}", sentence(problem)),
        ErasureState::Waiting => "not erased yet".to_owned(),
    };
    let leaf = erasure.leaf.map_or_else(|| "none yet".to_owned(), |leaf| leaf.to_string());
    let versions = match erasure.versions {
        None => "not looked for yet".to_owned(),
        Some(0) => "none: the store did not have the payload".to_owned(),
        Some(versions) => versions.to_string(),
    };
    format!(
        "{} sequence {}: {state}\n  leaf      {leaf}\n  versions  {versions}\n  payload   {}\n  reason    {}\n",
        name(&erasure.device_id),
        erasure.sequence,
        erasure.payload_hash,
        shown(&erasure.reason)
    )
}
