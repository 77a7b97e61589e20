//! Metrics of a monitor of a transparency log.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::log::Origin;
use super::{counter, register};

/// The classes of findings.
const CLASSES: [&str; 2] = ["tamper", "unverifiable"];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

pub(super) struct MonitorMetrics {
    info: Family<Origin, Gauge>,
    size: Gauge,
    verified_at: Gauge<f64, AtomicU64>,
    findings: Family<Class, Gauge>,
    failures: Counter,
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
        MonitorMetrics { info, size, verified_at, findings, failures }
    }
}

impl super::Metrics {
    /// Records the log that this process monitors.
    pub fn monitor_origin(&self, origin: &str) {
        let info = &self.0.monitor.info;
        info.clear();
        info.get_or_create(&Origin { origin: origin.to_owned() }).set(1);
    }

    /// Records a round of a monitor: size and time of the verified checkpoint, and the open findings by class.
    pub(crate) fn monitor_round(&self, (size, at_ms): (u64, u64), findings: [(&'static str, usize); 2]) {
        let monitor = &self.0.monitor;
        monitor.size.set(i64::try_from(size).unwrap_or(i64::MAX));
        monitor.verified_at.set(at_ms as f64 / 1000.0);
        for (class, open) in findings {
            monitor.findings.get_or_create(&Class { class }).set(i64::try_from(open).unwrap_or(i64::MAX));
        }
    }

    /// Counts a round of a monitor in which a place could not be read, or the state failed.
    pub fn monitor_failed(&self) {
        self.0.monitor.failures.inc();
    }
}
