//! Metrics of a monitor of a transparency log.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::log::Origin;
use super::{counter, register};
use crate::log::WitnessState;

/// The classes of findings.
const CLASSES: [&str; 2] = ["tamper", "unverifiable"];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Witness {
    witness: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct WitnessStateLabels {
    witness: String,
    state: &'static str,
}

pub(super) struct MonitorMetrics {
    info: Family<Origin, Gauge>,
    size: Gauge,
    verified_at: Gauge<f64, AtomicU64>,
    findings: Family<Class, Gauge>,
    failures: Counter,
    failed_rounds: Gauge,
    witness_state: Family<WitnessStateLabels, Gauge>,
    witness_size: Family<Witness, Gauge>,
}

impl MonitorMetrics {
    pub(super) fn new(r: &mut Registry) -> MonitorMetrics {
        let help = "The transparency log that this process monitors; 0 if it monitors none";
        let info = register(r, "monitor_info", help, Family::<Origin, Gauge>::default());
        drop(info.get_or_create(&Origin { origin: String::new() }));
        let help = "Leaves under the last checkpoint that the monitor verified";
        let size = register(r, "monitor_verified_size", help, Gauge::default());
        let help =
            "When the monitor last verified the checkpoint that the log shows, Unix time; 0 before the first";
        let verified_at = register(r, "monitor_verified_timestamp_seconds", help, Gauge::default());
        let help = "Findings of the monitor that are not acknowledged, by class";
        let findings = register(r, "monitor_findings", help, Family::<Class, Gauge>::default());
        for class in CLASSES {
            drop(findings.get_or_create(&Class { class }));
        }
        let failures =
            counter(r, "monitor_failures", "Rounds of the monitor in which a place could not be read");
        let help =
            "Rounds of the monitor in succession in which a place could not be read; 0 after a good one";
        let failed_rounds = register(r, "monitor_failed_rounds", help, Gauge::default());
        let help = "1 for the result of the last comparison with a witness";
        let witness_state = Family::<WitnessStateLabels, Gauge>::default();
        let witness_state = register(r, "monitor_witness_state", help, witness_state);
        let help = "Leaves under the last checkpoint that a witness has shown to the monitor";
        let witness_size = register(r, "monitor_witness_size", help, Family::<Witness, Gauge>::default());
        MonitorMetrics {
            info,
            size,
            verified_at,
            findings,
            failures,
            failed_rounds,
            witness_state,
            witness_size,
        }
    }
}

impl super::Metrics {
    /// Records the log that this process monitors.
    pub fn monitor_origin(&self, origin: &str) {
        let info = &self.0.monitor.info;
        info.clear();
        info.get_or_create(&Origin { origin: origin.to_owned() }).set(1);
    }

    /// Records the state of a monitor: size and time of the verified checkpoint, and the open findings by class.
    pub(crate) fn monitor_state(&self, (size, at_ms): (u64, u64), findings: [(&'static str, usize); 2]) {
        let monitor = &self.0.monitor;
        monitor.size.set(i64::try_from(size).unwrap_or(i64::MAX));
        monitor.verified_at.set(at_ms as f64 / 1000.0);
        for (class, open) in findings {
            monitor.findings.get_or_create(&Class { class }).set(i64::try_from(open).unwrap_or(i64::MAX));
        }
    }

    /// Records the comparison of a monitor with a witness, and the size of the witness's checkpoint.
    pub(crate) fn monitor_witness(&self, witness: &str, state: WitnessState, size: Option<u64>) {
        let monitor = &self.0.monitor;
        for each in WitnessState::ALL {
            let labels = WitnessStateLabels { witness: witness.to_owned(), state: each.name() };
            monitor.witness_state.get_or_create(&labels).set((each == state).into());
        }
        let labels = Witness { witness: witness.to_owned() };
        let size = size.map_or(0, |size| i64::try_from(size).unwrap_or(i64::MAX));
        monitor.witness_size.get_or_create(&labels).set(size);
    }

    /// Counts a round of a monitor: with true, a place could not be read.
    pub(crate) fn monitor_round(&self, has_failed: bool) {
        if has_failed {
            self.monitor_failed();
        } else {
            self.0.monitor.failed_rounds.set(0);
        }
    }

    /// Counts a round of a monitor in which a place could not be read, or the state failed.
    pub fn monitor_failed(&self) {
        self.0.monitor.failures.inc();
        self.0.monitor.failed_rounds.inc();
    }
}
