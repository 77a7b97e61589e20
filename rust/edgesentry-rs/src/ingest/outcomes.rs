//! The outcomes and errors of records, in metrics and events.

use std::sync::Arc;

use edgesentry_chain::AuditRecord;
use tracing::{error, info, warn};

use super::verify;
use crate::admission::{Outcome, Rejection, RejectionCode};
use crate::error::{Component, StoreError};
use crate::ledger::Entry;
use crate::telemetry::metrics::Metrics;

/// The established target of these events.
const TARGET: &str = "edgesentry_rs::ingest::storage";

/// Returns the record of an entry.
pub(super) fn record_of(entry: &Entry) -> &AuditRecord {
    shared_record_of(entry)
}

pub(super) fn shared_record_of(entry: &Entry) -> &Arc<AuditRecord> {
    match entry {
        Entry::Record(stored) => stored.admitted().record(),
        Entry::Doubtful(admitted) => admitted.record(),
        Entry::Rejected(rejection) => &rejection.record,
    }
}

/// Records the outcome of a record, once it is certain.
pub(super) fn record_outcome(metrics: &Metrics, record: &AuditRecord, outcome: &Outcome) {
    metrics.count(outcome);
    verify::log_outcome(record, outcome);
    let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
    match outcome {
        Outcome::Accepted => {
            info!(target: TARGET, device_id, sequence, object_ref = record.object_ref, "record accepted")
        }
        // The verification logs it.
        Outcome::Duplicate => {}
        Outcome::Rejected(Rejection { code: RejectionCode::PayloadHashMismatch, .. }) => {
            warn!(target: TARGET, device_id, sequence, "payload hash mismatch — record rejected");
        }
        Outcome::Rejected(rejection) => {
            let reason = rejection.code.name();
            warn!(target: TARGET, device_id, sequence, reason, "integrity policy rejected record");
        }
    }
}

/// Records that a store has failed to store a record.
pub(super) fn record_error(metrics: &Metrics, record: &AuditRecord, problem: &StoreError) {
    metrics.count_error(problem.component);
    let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
    let text = problem.describe();
    match problem.component {
        Component::RawDataStore => {
            error!(target: TARGET, device_id, sequence, error = text, "raw data store write failed")
        }
        Component::AuditLedger | Component::Outbox | Component::Archive | Component::TransparencyLog => {
            error!(target: TARGET, device_id, sequence, error = text, "audit ledger append failed")
        }
        Component::OperationLog => {
            error!(target: TARGET, device_id, sequence, error = text, "operation log write failed")
        }
    }
}
