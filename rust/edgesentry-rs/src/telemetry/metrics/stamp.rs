//! Metrics of time stamps of the transparency log.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Tsa {
    tsa: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct TsaResult {
    tsa: String,
    result: &'static str,
}

/// The result of a request to a time stamping authority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stamped {
    /// It was not asked yet.
    Never,
    /// A valid stamp of this time, Unix milliseconds.
    At(u64),
    /// No valid answer.
    Failed,
}

pub(super) struct StampMetrics {
    asked: Family<TsaResult, Counter>,
    failing: Family<Tsa, Gauge>,
    at: Family<Tsa, Gauge<f64, AtomicU64>>,
}

impl StampMetrics {
    pub(super) fn new(r: &mut Registry) -> StampMetrics {
        let help = "Requests for a time stamp of the transparency log, by result";
        let asked = register(r, "log_tsa_requests", help, Family::<TsaResult, Counter>::default());
        let help = "1 if the last request to a time stamping authority had no valid answer";
        let failing = register(r, "log_tsa_failing", help, Family::<Tsa, Gauge>::default());
        let help = "Time in the last time stamp of the transparency log, Unix time; 0 before the first";
        let at =
            register(r, "log_tsa_timestamp_seconds", help, Family::<Tsa, Gauge<f64, AtomicU64>>::default());
        StampMetrics { asked, failing, at }
    }
}

impl super::Metrics {
    /// Records the result of a request to a time stamping authority.
    pub(crate) fn log_stamped(&self, tsa: &str, stamped: Stamped) {
        let (metrics, name) = (&self.0.stamp, Tsa { tsa: tsa.to_owned() });
        let asked = |result| metrics.asked.get_or_create(&TsaResult { tsa: tsa.to_owned(), result }).clone();
        let (stamps, failures) = (asked("stamped"), asked("failed"));
        match stamped {
            Stamped::Never => {}
            Stamped::At(time_ms) => {
                stamps.inc();
                metrics.at.get_or_create(&name).set(time_ms as f64 / 1000.0);
            }
            Stamped::Failed => {
                failures.inc();
            }
        }
        metrics.failing.get_or_create(&name).set((stamped == Stamped::Failed).into());
        drop(metrics.at.get_or_create(&name));
    }
}
