//! Metrics of the transparency log.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register;

/// The codes of errors that stop a log until the operator acts.
const CODES: [&str; 7] =
    ["ledger_tampered", "internal", "log_behind", "log_damaged", "log_forked", "log_inconsistent", "store"];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

pub(super) struct LogMetrics {
    leader: Gauge,
    size: Gauge,
    signed_at: Gauge<f64, AtomicU64>,
    waiting: Gauge,
    refusals: Family<Code, Counter>,
}

impl LogMetrics {
    pub(super) fn new(r: &mut Registry) -> LogMetrics {
        let help = "Whether this node writes the transparency log";
        let leader = register(r, "log_leader", help, Gauge::default());
        let help =
            "Leaves under the last checkpoint of the transparency log, as of the last round of this node";
        let size = register(r, "log_checkpoint_size", help, Gauge::default());
        let help =
            "When the last checkpoint of the transparency log was signed, Unix time; 0 before the first";
        let signed_at = register(r, "log_checkpoint_timestamp_seconds", help, Gauge::default());
        let help = "Records that are not in the transparency log yet, as of the last round of this node";
        let waiting = register(r, "log_records_waiting", help, Gauge::default());
        let help = "Rounds in which the transparency log did not go on, by the code of the error";
        let refusals = register(r, "log_refusals", help, Family::<Code, Counter>::default());
        for code in CODES {
            drop(refusals.get_or_create(&Code { code }));
        }
        LogMetrics { leader, size, signed_at, waiting, refusals }
    }
}

impl super::Metrics {
    /// Records whether this node writes the transparency log.
    pub(crate) fn log_leader(&self, leads: bool) {
        self.0.log.leader.set(leads.into());
    }

    /// Records the progress of the transparency log.
    pub(crate) fn log_progress(&self, size: u64, signed_at_ms: u64, waiting: u64) {
        self.0.log.size.set(i64::try_from(size).unwrap_or(i64::MAX));
        self.0.log.signed_at.set(signed_at_ms as f64 / 1000.0);
        self.0.log.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Counts a failed round of the transparency log.
    pub(crate) fn count_log_refusal(&self, code: &'static str) {
        self.0.log.refusals.get_or_create(&Code { code }).inc();
    }
}
