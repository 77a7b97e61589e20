//! Metrics of witnesses: those that the transparency log asks, and this process as a witness.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register;

/// The statuses of a witness.
const STATUSES: [u16; 8] = [200, 400, 403, 404, 409, 422, 500, 503];

/// The result of a request to a witness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Asked {
    /// It has cosigned.
    Cosigned,
    /// It did not respond in time, or responded with an error.
    Unreachable,
    /// Its cosignature does not hold.
    Invalid,
    /// It knows an older checkpoint than the log has a cosignature of: its state was lost or restored.
    Behind,
    /// It knows a checkpoint that the log does not extend, or a larger one.
    Conflict,
}

impl Asked {
    /// Every result.
    pub const ALL: [Asked; 5] =
        [Asked::Cosigned, Asked::Unreachable, Asked::Invalid, Asked::Behind, Asked::Conflict];

    /// Returns `cosigned`, `unreachable`, `invalid`, `behind` or `conflict`.
    pub fn name(self) -> &'static str {
        match self {
            Asked::Cosigned => "cosigned",
            Asked::Unreachable => "unreachable",
            Asked::Invalid => "invalid",
            Asked::Behind => "behind",
            Asked::Conflict => "conflict",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct WitnessResult {
    witness: String,
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Status {
    status: u16,
}

pub(super) struct WitnessMetrics {
    asked: Family<WitnessResult, Counter>,
    state: Family<WitnessResult, Gauge>,
    witnesses: Mutex<BTreeSet<String>>,
    quorum_missing: Gauge,
    cosigned_size: Gauge,
    cosigned_at: Gauge<f64, AtomicU64>,
    answers: Family<Status, Counter>,
    evidence: Gauge,
    rolled_back: Counter,
}

impl WitnessMetrics {
    pub(super) fn new(r: &mut Registry) -> WitnessMetrics {
        let help = "Requests of the transparency log to a witness, by result";
        let asked = register(r, "log_witness_requests", help, Family::<WitnessResult, Counter>::default());
        let help = "1 for the result of the last request of this node to a witness, until another result; behind stays until the \
                    witness has caught up";
        let state = register(r, "log_witness_state", help, Family::<WitnessResult, Gauge>::default());
        let help = "1 if the last checkpoint of the transparency log lacks a quorum of cosignatures";
        let quorum_missing = register(r, "log_quorum_missing", help, Gauge::default());
        let help = "Leaves under the last checkpoint of the transparency log that a quorum has cosigned";
        let cosigned_size = register(r, "log_cosigned_size", help, Gauge::default());
        let help =
            "Time at which a quorum had cosigned the last cosigned checkpoint, Unix time; 0 before the first";
        let cosigned_at = register(r, "log_cosigned_timestamp_seconds", help, Gauge::default());
        let help = "Responses of this witness to add-checkpoint, by HTTP status";
        let answers = register(r, "witness_answers", help, Family::<Status, Counter>::default());
        for status in STATUSES {
            drop(answers.get_or_create(&Status { status }));
        }
        let help = "Proofs in the state of this witness that a log has signed two roots for one size";
        let evidence = register(r, "witness_two_roots", help, Gauge::default());
        let help =
            "Requests with a cosignature by this witness that its state lacks: it was lost or restored";
        let rolled_back = register(r, "witness_rolled_back", help, Counter::default());
        let witnesses = Mutex::default();
        WitnessMetrics {
            asked,
            state,
            witnesses,
            quorum_missing,
            cosigned_size,
            cosigned_at,
            answers,
            evidence,
            rolled_back,
        }
    }
}

impl WitnessMetrics {
    fn forget(&self) {
        self.quorum_missing.set(0);
        for witness in self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for result in Asked::ALL {
                let name = WitnessResult { witness: witness.clone(), result: result.name() };
                self.state.get_or_create(&name).set(0);
            }
        }
    }
}

impl super::Metrics {
    /// Creates the series of a witness that the transparency log asks.
    pub(crate) fn log_witness(&self, witness: &str) {
        let metrics = &self.0.witness;
        metrics.witnesses.lock().unwrap_or_else(PoisonError::into_inner).insert(witness.to_owned());
        for result in Asked::ALL {
            let name = WitnessResult { witness: witness.to_owned(), result: result.name() };
            drop((metrics.asked.get_or_create(&name), metrics.state.get_or_create(&name)));
        }
    }

    /// Records the result of a request to a witness, and the result that stands for the state of the witness.
    pub(crate) fn log_witness_asked(&self, witness: &str, asked: Asked, state: Asked) {
        let metrics = &self.0.witness;
        for result in Asked::ALL {
            let name = WitnessResult { witness: witness.to_owned(), result: result.name() };
            metrics.state.get_or_create(&name).set((result == state).into());
            if result == asked {
                metrics.asked.get_or_create(&name).inc();
            }
        }
    }

    /// Forgets the results of a node that no longer asks, because another one writes the log.
    pub(crate) fn log_written_elsewhere(&self) {
        self.0.witness.forget();
    }

    /// Records whether the last checkpoint has a quorum.
    pub(crate) fn log_quorum(&self, is_missing: bool) {
        self.0.witness.quorum_missing.set(is_missing.into());
    }

    /// Records the last checkpoint with a quorum, and its time in Unix seconds.
    pub(crate) fn log_cosigned(&self, size: u64, at: u64) {
        self.0.witness.cosigned_size.set(i64::try_from(size).unwrap_or(i64::MAX));
        self.0.witness.cosigned_at.set(at as f64);
    }

    /// Counts a response of this witness.
    pub(crate) fn witness_answered(&self, status: u16) {
        self.0.witness.answers.get_or_create(&Status { status }).inc();
    }

    /// Records the number of logs' contradictions in the state of this witness.
    pub fn witness_two_roots(&self, pieces: u64) {
        self.0.witness.evidence.set(i64::try_from(pieces).unwrap_or(i64::MAX));
    }

    /// Counts a request with a cosignature by this witness that its state lacks.
    pub(crate) fn witness_rolled_back(&self) {
        self.0.witness.rolled_back.inc();
    }
}
