//! Metrics of the transparency log.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register;

/// The codes of errors of a round.
const CODES: [&str; 12] = [
    "internal",
    "ledger_tampered",
    "log_behind",
    "log_checkpoint",
    "log_damaged",
    "log_forked",
    "log_inconsistent",
    "log_not_opened",
    "log_origin",
    "log_quorum_missing",
    "log_signer",
    "store",
];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(super) struct Origin {
    pub(super) origin: String,
}

pub(super) struct LogMetrics {
    info: Family<Origin, Gauge>,
    leader: Gauge,
    size: Gauge,
    signed_at: Gauge<f64, AtomicU64>,
    waiting: Gauge,
    erasures: Gauge,
    oldest_erasure_at: Gauge<f64, AtomicU64>,
    refusals: Family<Code, Counter>,
    stopped: Family<Code, Gauge>,
}

impl LogMetrics {
    pub(super) fn new(r: &mut Registry) -> LogMetrics {
        let help = "The transparency log that this node may write; 0 if its settings have none";
        let info = register(r, "log_info", help, Family::<Origin, Gauge>::default());
        drop(info.get_or_create(&Origin { origin: String::new() }));
        let help = "Whether this node writes the transparency log";
        let leader = register(r, "log_leader", help, Gauge::default());
        let help = "Leaves under the last checkpoint of the transparency log";
        let size = register(r, "log_checkpoint_size", help, Gauge::default());
        let help =
            "When the last checkpoint of the transparency log was signed, Unix time; 0 before the first";
        let signed_at = register(r, "log_checkpoint_timestamp_seconds", help, Gauge::default());
        let help = "Records that no checkpoint of the transparency log covers yet";
        let waiting = register(r, "log_records_waiting", help, Gauge::default());
        let help = "Erasures whose payloads are not deleted yet";
        let erasures = register(r, "log_erasures_open", help, Gauge::default());
        let help = "When the oldest erasure was requested whose payload is not deleted yet, Unix time; 0 if there is none, \
                    and without those that Object Lock keeps";
        let oldest_erasure_at = register(r, "log_erasures_oldest_timestamp_seconds", help, Gauge::default());
        let help = "Rounds of the transparency log that failed, by the code of the error";
        let refusals = register(r, "log_refusals", help, Family::<Code, Counter>::default());
        let help = "1 if the last round of this node failed with this code, until a round succeeds";
        let stopped = register(r, "log_stopped", help, Family::<Code, Gauge>::default());
        for code in CODES {
            drop(refusals.get_or_create(&Code { code }));
            drop(stopped.get_or_create(&Code { code }));
        }
        LogMetrics { info, leader, size, signed_at, waiting, erasures, oldest_erasure_at, refusals, stopped }
    }
}

impl super::Metrics {
    /// Records the name of the transparency log that this node may write.
    pub(crate) fn log_origin(&self, origin: &str) {
        let info = &self.0.log.info;
        info.clear();
        info.get_or_create(&Origin { origin: origin.to_owned() }).set(1);
    }

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

    /// Records the erasures that are not finished: their number, and when the oldest one was requested.
    pub(crate) fn log_erasures(&self, open: u64, oldest_at_ms: Option<u64>) {
        self.0.log.erasures.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.0.log.oldest_erasure_at.set(oldest_at_ms.unwrap_or(0) as f64 / 1000.0);
    }

    /// Records the end of a round of the transparency log: the code of its error, if it failed.
    pub(crate) fn log_round(&self, failed: Option<&'static str>) {
        let log = &self.0.log;
        for code in CODES {
            log.stopped.get_or_create(&Code { code }).set((failed == Some(code)).into());
        }
        if let Some(code) = failed {
            log.refusals.get_or_create(&Code { code }).inc();
        }
    }
}
