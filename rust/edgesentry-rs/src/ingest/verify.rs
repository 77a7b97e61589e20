//! The events of admission, under their established targets.

use edgesentry_chain::AuditRecord;
use tracing::debug;

pub use crate::admission::{
    Admitted, Chain, CheckedValue, DeviceKeys, MAX_ID_BYTES, MAX_PAYLOAD_BYTES, MAX_SEQUENCE, Outcome,
    RegisteredKey, Registry, Rejection, RejectionCode, Submission,
};
use crate::admission::{Rotation, decide};

/// Checks, on all threads, everything that needs no chain: numbers in range, payload hash, key, signature, in this
/// order; the first failure is the rejection. A device takes no new key of its own here.
pub fn admit(submissions: Vec<Submission>, registry: &Registry) -> Vec<Result<Admitted, Rejection>> {
    let results = decide(submissions, registry, Rotation::Operator);
    for rejection in results.iter().filter_map(|result| result.as_ref().err()) {
        log_rejection(rejection);
    }
    results
}

/// Logs the result of the verification, once it is final.
pub(super) fn log_outcome(record: &AuditRecord, outcome: &Outcome) {
    let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
    match outcome {
        Outcome::Accepted => debug!(device_id, sequence, "record verified and accepted"),
        Outcome::Duplicate => debug!(device_id, sequence, "duplicate record rejected"),
        Outcome::Rejected(rejection) => log_rejection(rejection),
    }
}

fn log_rejection(Rejection { code, expected, record, .. }: &Rejection) {
    let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
    match code {
        RejectionCode::SignatureInvalid => debug!(device_id, sequence, "signature verification failed"),
        RejectionCode::Fork => debug!(device_id, sequence, "duplicate record rejected"),
        RejectionCode::SequenceGap | RejectionCode::SequenceDuplicate => {
            // The next sequence of the chain, from `judge`.
            let expected = match expected {
                CheckedValue::Sequence(next) => Some(*next),
                _ => None,
            };
            debug!(device_id, expected, actual = sequence, "sequence out of order");
        }
        RejectionCode::PrevHashMismatch => {
            debug!(device_id, sequence, "prev_record_hash mismatch — chain broken");
        }
        _ => {}
    }
}
