//! Evidence of a changed ledger: a file beside the signed checkpoints, outside of the database, that is written once.

use bytes::Bytes;
use edgesentry_chain::Hash;
use edgesentry_formats::times::now_ms;
use edgesentry_log::TamperedProblem;
use serde::Serialize;
use tracing::error;

use super::{LogError, TransparencyLog};
use crate::error::{StoreError, describe};
use crate::ledger::{BatchLeaves, BatchRow, LogTablesError};
use crate::objects::Write;

const FOLDER: &str = "log/evidence/";

/// The contradiction between the ledger and the log.
#[derive(Serialize)]
struct Evidence<'e> {
    code: &'static str,
    origin: &'e str,
    /// When it was found first; 0 while the file is named.
    found_at_ms: u64,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    /// `missing`, `link`, `head`, or `heads` if all heads together differ from the last checkpoint.
    problem: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    /// The canonical bytes of the record that shows the change, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
}

impl<'e> Evidence<'e> {
    /// Returns the evidence of an error; `None` if it is not about a changed ledger.
    fn of(failure: &'e LogError, origin: &'e str) -> Option<Evidence<'e>> {
        let mut evidence = Evidence {
            code: failure.code(),
            origin,
            found_at_ms: 0,
            message: failure.to_string(),
            device_id: None,
            sequence: None,
            problem: "heads",
            expected: None,
            found: None,
            record: None,
        };
        match failure {
            LogError::Tables(LogTablesError::Tampered(tampered)) => {
                let (problem, hashes) = match tampered.problem {
                    TamperedProblem::Link { expected, actual } => ("link", Some((expected, actual))),
                    TamperedProblem::Head { expected, actual } => ("head", Some((expected, actual))),
                    _ => ("missing", None),
                };
                evidence.problem = problem;
                evidence.expected = hashes.map(|(expected, _)| expected.to_string());
                evidence.found = hashes.map(|(_, actual)| actual.to_string());
                evidence.device_id = Some(&tampered.device_id);
                evidence.sequence = Some(tampered.sequence);
                evidence.record = tampered.record.as_ref().map(hex::encode);
            }
            LogError::Tables(LogTablesError::Heads { expected, actual, .. }) => {
                evidence.expected = Some(expected.to_string());
                evidence.found = Some(actual.to_string());
            }
            _ => return None,
        }
        Some(evidence)
    }
}

impl TransparencyLog {
    /// Emits an event if the log stops, and keeps the evidence of a changed ledger. Retryable errors and another leader
    /// cause neither.
    pub(super) async fn report(&self, failure: &LogError) {
        if failure.is_retryable() {
            return;
        }
        let code = failure.code();
        let Some(evidence) = Evidence::of(failure, self.origin()) else {
            error!(code, error = %failure, "the transparency log cannot continue");
            return;
        };
        let (device_id, sequence) = (evidence.device_id, evidence.sequence);
        let (expected, found) = (evidence.expected.clone(), evidence.found.clone());
        let kept = self.keep_evidence(evidence).await;
        let kept = kept.unwrap_or_else(|error| format!("not kept: {}", describe(&error)));
        error!(
            code,
            device_id,
            sequence,
            expected,
            found,
            evidence = kept,
            error = %failure,
            "the ledger was changed without the service; the transparency log stops"
        );
    }

    /// Writes the evidence, unless the same evidence is there, and returns its key.
    async fn keep_evidence(&self, mut evidence: Evidence<'_>) -> Result<String, StoreError> {
        // The name depends on the contradiction only: the rounds that find it again write nothing more.
        let key = format!("{FOLDER}{}.json", Hash::of(&to_json(&evidence)));
        evidence.found_at_ms = now_ms();
        self.lock.objects().put(&key, Bytes::from(to_json(&evidence)), Write::IfAbsent).await?;
        Ok(key)
    }

    /// Writes the positions of a batch of a log before they are withdrawn: the hashes of its runs may be all that shows
    /// further changes.
    pub(super) async fn keep_positions(
        &self,
        origin: &str,
        batch: &BatchRow,
        leaves: BatchLeaves,
    ) -> Result<(), StoreError> {
        let runs = leaves.runs.iter().map(|(index, run)| {
            serde_json::json!({
                "index": index,
                "device_id": run.device_id,
                "first_sequence": run.first_sequence,
                "records": run.records,
                "prev_hash": run.prev_hash.to_string(),
                "head_hash": run.head_hash.to_string(),
            })
        });
        let withdrawn = serde_json::json!({
            "code": "log_withdrawn",
            "origin": origin,
            "first_index": batch.first_index,
            "size": batch.size,
            "runs": runs.collect::<Vec<_>>(),
            "events": leaves.events.iter().map(|(index, leaf)| (index, hex::encode(leaf))).collect::<Vec<_>>(),
        });
        let bytes = withdrawn.to_string().into_bytes();
        let key = format!("{FOLDER}{}.json", Hash::of(&bytes));
        self.lock.objects().put(&key, Bytes::from(bytes), Write::IfAbsent).await.map(|_| ())
    }

    /// Returns the keys of all evidence, below the location of the lock.
    ///
    /// # Errors
    /// The lock cannot be reached.
    pub async fn evidence(&self) -> Result<Vec<String>, StoreError> {
        let objects = self.lock.objects().list(FOLDER).await?;
        Ok(objects.into_iter().map(|object| object.key).collect())
    }
}

fn to_json(evidence: &Evidence<'_>) -> Vec<u8> {
    // Strings and numbers only, which are always JSON.
    let mut json = serde_json::to_vec_pretty(evidence).unwrap_or_default();
    json.push(b'\n');
    json
}
