//! Counters, histograms and gauges of the ingest service, in the Prometheus text format.
//!
//! Every series exists from the beginning, at 0: a counter that starts at 1 never shows an increase. A record counts
//! once for each time it is sent, when its outcome is certain, regardless of retries of a store or changes of its
//! device's keys; a decision of the ledger counts together with its entry in the operation log.

mod log;
mod monitor;
mod stamp;
mod witness;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use edgesentry_formats::times;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use self::log::LogMetrics;
use self::monitor::MonitorMetrics;
use self::stamp::StampMetrics;
pub(crate) use self::stamp::Stamped;
pub use self::witness::Asked;
use self::witness::WitnessMetrics;
use crate::admission::{Outcome, RejectionCode};
use crate::error::Component;
use crate::ledger::Rejections;

/// The `Content-Type` of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Upper bounds of the buckets of both histograms, in seconds.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0];

/// The rejections that prove that device and ledger hold different histories: resending the same records cannot fix
/// them. A gap is not one of them: sending the missing records fixes it.
pub const CHAIN_BREAKS: [RejectionCode; 2] = [RejectionCode::PrevHashMismatch, RejectionCode::Fork];

/// A place where records wait.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Queue {
    /// For the checks of their hashes and signatures.
    Verify,
    /// For the writes of their payloads.
    Payload,
    /// For their commit.
    Commit,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Queue; 3] = [Queue::Verify, Queue::Payload, Queue::Commit];

    /// Returns `verify`, `payload` or `commit`.
    pub fn name(self) -> &'static str {
        match self {
            Queue::Verify => "verify",
            Queue::Payload => "payload",
            Queue::Commit => "commit",
        }
    }
}

/// A resource that callers hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Resource {
    /// Connections.
    Connections,
    /// TLS handshakes in progress.
    Handshakes,
    /// Requests in progress, until the last byte of their responses.
    Requests,
    /// Bytes of request bodies.
    BodyBytes,
    /// Bytes of responses that are not taken yet.
    AnswerBytes,
    /// Batches in progress, until their responses are taken.
    Batches,
    /// Exports in progress.
    Exports,
    /// Proofs of the transparency log in the making.
    Proofs,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Resource; 8] = [
        Resource::Connections,
        Resource::Handshakes,
        Resource::Requests,
        Resource::BodyBytes,
        Resource::AnswerBytes,
        Resource::Batches,
        Resource::Exports,
        Resource::Proofs,
    ];

    /// Returns `connections`, `handshakes`, `requests`, `body_bytes`, `answer_bytes`, `batches`, `exports` or `proofs`.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Connections => "connections",
            Resource::Handshakes => "handshakes",
            Resource::Requests => "requests",
            Resource::BodyBytes => "body_bytes",
            Resource::AnswerBytes => "answer_bytes",
            Resource::Batches => "batches",
            Resource::Exports => "exports",
            Resource::Proofs => "proofs",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ResourceName {
    resource: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Part {
    component: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct QueueName {
    queue: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Broker {
    broker: String,
}

/// The reason of a deletion of rejections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    Number,
    Age,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct CauseName {
    cause: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// The metrics of a service. Cheap to clone; clones are the same metrics.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    accepted: Counter,
    duplicate: Counter,
    rejected: Vec<(RejectionCode, Counter)>,
    errors: Vec<(Component, Counter)>,
    chain_break: Counter,
    signature_fail: Counter,
    ingest: Histogram,
    operation_log_insert: Histogram,
    queues: Vec<(Queue, Gauge)>,
    last_success: Gauge<f64, AtomicU64>,
    events_dropped: Counter,
    mqtt_connected: Family<Broker, Gauge>,
    rejections_kept: Family<Reason, Gauge>,
    rejections_pruned: [(Cause, Counter); 2],
    held: Family<ResourceName, Gauge>,
    limits: Family<ResourceName, Gauge>,
    refused: Family<ResourceName, Counter>,
    rejections_limited: Counter,
    log: LogMetrics,
    witness: WitnessMetrics,
    stamp: StampMetrics,
    monitor: MonitorMetrics,
}

tokio::task_local! {
    /// The metrics of the service for which a ledger currently works.
    static WORKING_FOR: Metrics;
}

impl Metrics {
    /// Creates new metrics, all at 0.
    #[allow(clippy::new_without_default)] // A default would look like the global ones.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("edgesentry");
        let r = &mut registry;
        let accepted =
            counter(r, "ingest_accepted", "Records that were accepted: they and their payloads are durable");
        let duplicate = counter(r, "ingest_duplicate", "Records that the ledger already held");
        let rejected = Family::<Reason, Counter>::default();
        let rejected = register(r, "ingest_rejected", "Records that were rejected, by reason", rejected);
        let errors = Family::<Part, Counter>::default();
        let errors = register(r, "ingest_error", "Records that a store failed to keep, by store", errors);
        let chain_break = counter(
            r,
            "chain_break",
            "Records that were rejected because device and ledger hold different histories: prev_hash_mismatch and fork",
        );
        let signature_fail =
            counter(r, "signature_fail", "Records that were rejected because their signature is not valid");
        let ingest = Histogram::new(SECONDS);
        let ingest = register(
            r,
            "ingest_duration_seconds",
            "Time from a call with up to a few thousand records to its outcomes",
            ingest,
        );
        let insert = Histogram::new(SECONDS);
        let help = "Time to insert a group of entries into the operation log, failed ones included";
        let operation_log_insert = register(r, "operation_log_insert_duration_seconds", help, insert);
        let queues = Family::<QueueName, Gauge>::default();
        let queues =
            register(r, "ingest_queue_depth", "Waiting records, by the queue that they wait in", queues);
        let last_success = Gauge::<f64, AtomicU64>::default();
        let help = "When a record was last accepted, Unix time; 0 before the first";
        let last_success = register(r, "ingest_last_success_timestamp_seconds", help, last_success);
        let events_dropped = counter(
            r,
            "telemetry_dropped_events",
            "Events that Python's logging did not get because too many waited",
        );
        let mqtt = Family::<Broker, Gauge>::default();
        let help = "1 while records are received from the MQTT broker, 0 while it cannot be reached";
        let mqtt_connected = register(r, "mqtt_connected", help, mqtt);
        let kept = Family::<Reason, Gauge>::default();
        let help = "Rejections in the operation log of the ledger, by reason, as last counted by this node";
        let rejections_kept = register(r, "rejections_kept", help, kept);
        for code in RejectionCode::ALL {
            drop(rejections_kept.get_or_create(&Reason { reason: code.name() }));
        }
        let pruned = Family::<CauseName, Counter>::default();
        let help = "Rejections that were deleted from the operation log: too many of a reason, or too old";
        let pruned = register(r, "rejections_pruned", help, pruned);
        let of = |cause: &'static str| pruned.get_or_create(&CauseName { cause }).clone();
        let rejections_pruned = [(Cause::Number, of("number")), (Cause::Age, of("age"))];
        let held = Family::<ResourceName, Gauge>::default();
        let held = register(r, "resource_held", "Resources that callers use", held);
        let limits = Family::<ResourceName, Gauge>::default();
        let limits = register(r, "resource_limit", "Limit of the resources that callers can use", limits);
        let refused = Family::<ResourceName, Counter>::default();
        let help = "Connections, requests and parts of bodies that were refused because of a limit";
        let refused = register(r, "resource_refused", help, refused);
        for resource in Resource::ALL {
            let name = ResourceName { resource: resource.name() };
            // Each series exists from the beginning.
            drop((held.get_or_create(&name), limits.get_or_create(&name), refused.get_or_create(&name)));
        }
        let help = "Records that were not examined, because too many records of their sender were rejected";
        let rejections_limited = counter(r, "ingest_rejections_limited", help);
        let log = LogMetrics::new(r);
        let witness = WitnessMetrics::new(r);
        let stamp = StampMetrics::new(r);
        let monitor = MonitorMetrics::new(r);
        let build = Family::<Build, Gauge>::default();
        let build = register(r, "build_info", "Version of the running program; always 1", build);
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        Metrics(Arc::new(Inner {
            accepted,
            duplicate,
            rejected: RejectionCode::ALL
                .map(|code| (code, rejected.get_or_create(&Reason { reason: code.name() }).clone()))
                .into(),
            errors: Component::SERVICE
                .map(|part| (part, errors.get_or_create(&Part { component: part.name() }).clone()))
                .into(),
            chain_break,
            signature_fail,
            ingest,
            operation_log_insert,
            queues: Queue::ALL
                .map(|queue| (queue, queues.get_or_create(&QueueName { queue: queue.name() }).clone()))
                .into(),
            last_success,
            events_dropped,
            mqtt_connected,
            rejections_kept,
            rejections_pruned,
            held,
            limits,
            refused,
            rejections_limited,
            log,
            witness,
            stamp,
            monitor,
            registry,
        }))
    }

    /// Returns the metrics of this process, the default of every service.
    pub fn global() -> Metrics {
        static GLOBAL: OnceLock<Metrics> = OnceLock::new();
        GLOBAL.get_or_init(Metrics::new).clone()
    }

    /// Returns all metrics in the Prometheus text format, version 0.0.4.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(8192);
        // Writing to a string does not fail.
        let _ = prometheus_text::encode(&mut text, &self.0.registry);
        text
    }

    /// Counts events that were dropped.
    pub fn count_dropped_events(&self, events: u64) {
        self.0.events_dropped.inc_by(events);
    }

    /// Sets whether the broker is connected.
    pub fn mqtt_connected(&self, broker: &str, connected: bool) {
        let broker = Broker { broker: broker.to_owned() };
        self.0.mqtt_connected.get_or_create(&broker).set(connected.into());
    }

    /// Sets the number of rejections in a ledger, and counts the deleted ones.
    pub(crate) fn observe_rejections(&self, kept: &[Rejections], by_number: u64, by_age: u64) {
        for Rejections { reason, kept, .. } in kept {
            let gauge = self.0.rejections_kept.get_or_create(&Reason { reason });
            gauge.set(i64::try_from(*kept).unwrap_or(i64::MAX));
        }
        for (cause, counter) in &self.0.rejections_pruned {
            counter.inc_by(if *cause == Cause::Number { by_number } else { by_age });
        }
    }

    /// Returns the metrics of a resource with this limit.
    pub fn held(&self, resource: Resource, limit: usize) -> Held {
        let name = ResourceName { resource: resource.name() };
        self.0.limits.get_or_create(&name).set(i64::try_from(limit).unwrap_or(i64::MAX));
        let held = self.0.held.get_or_create(&name).clone();
        let refused = self.0.refused.get_or_create(&name).clone();
        Held { held, refused }
    }

    /// Counts a record that was refused unread, because its sender has reached the limit of rejections.
    pub fn count_limited_rejection(&self) {
        self.0.rejections_limited.inc();
    }

    /// Counts an outcome.
    pub(crate) fn count(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted => {
                self.0.accepted.inc();
                self.0.last_success.set(times::now_ms() as f64 / 1e3);
            }
            Outcome::Duplicate => drop(self.0.duplicate.inc()),
            Outcome::Rejected(rejection) => {
                increment(&self.0.rejected, rejection.code);
                if CHAIN_BREAKS.contains(&rejection.code) {
                    self.0.chain_break.inc();
                }
                if rejection.code == RejectionCode::SignatureInvalid {
                    self.0.signature_fail.inc();
                }
            }
        }
    }

    /// Counts a record that a store failed to store.
    pub(crate) fn count_error(&self, component: Component) {
        increment(&self.0.errors, component);
    }

    /// Observes the duration of a call, or of a part of a large one.
    pub(crate) fn observe_ingest(&self, time: Duration) {
        self.0.ingest.observe(time.as_secs_f64());
    }

    /// Counts records as waiting until the result is dropped.
    pub(crate) fn waiting(&self, queue: Queue, records: usize) -> Waiting {
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        let gauge = self.0.queues.iter().find(|(each, _)| *each == queue).map(|(_, gauge)| gauge.clone());
        let gauge = gauge.unwrap_or_default();
        gauge.inc_by(records);
        Waiting { gauge, records }
    }

    /// Runs `work` of a ledger with these metrics for its durations.
    pub(crate) async fn working<T>(&self, work: impl Future<Output = T>) -> T {
        WORKING_FOR.scope(self.clone(), work).await
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    register(registry, name, help, Counter::default())
}

fn increment<L: PartialEq>(counters: &[(L, Counter)], label: L) {
    if let Some((_, counter)) = counters.iter().find(|(each, _)| *each == label) {
        counter.inc();
    }
}

/// The metrics of one resource.
pub struct Held {
    held: Gauge,
    refused: Counter,
}

impl Held {
    /// Sets the held amount.
    pub fn set(&self, held: usize) {
        self.held.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    /// Counts a refusal.
    pub fn refused(&self) {
        self.refused.inc();
    }
}

/// Waiting records.
pub(crate) struct Waiting {
    gauge: Gauge,
    records: i64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gauge.dec_by(self.records);
    }
}

/// Observes the duration of `insert`, the insert of a ledger's operation log, also if it fails or is cancelled. It
/// counts on the metrics of the service that the ledger works for, else on the global ones.
pub(crate) async fn timing_operation_log<T>(insert: impl Future<Output = T>) -> T {
    struct Timer(Instant);
    impl Drop for Timer {
        fn drop(&mut self) {
            observe_operation_log(self.0.elapsed());
        }
    }
    let _timer = Timer(Instant::now());
    insert.await
}

/// Observes the duration of the insert of a ledger's operation log, see [`timing_operation_log`].
pub(crate) fn observe_operation_log(insert: Duration) {
    let metrics = WORKING_FOR.try_with(Metrics::clone).unwrap_or_else(|_| Metrics::global());
    metrics.0.operation_log_insert.observe(insert.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the value of a series.
    fn value(text: &str, series: &str) -> Option<f64> {
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series));
        line?.rsplit_once(' ')?.1.parse().ok()
    }

    #[test]
    fn every_series_begins_at_zero() {
        let text = Metrics::new().text();
        let mut series: Vec<String> =
            ["accepted", "duplicate"].map(|name| format!("ingest_{name}_total")).into();
        series.extend(
            RejectionCode::ALL.map(|code| format!("ingest_rejected_total{{reason=\"{}\"}}", code.name())),
        );
        series.extend(
            Component::SERVICE.map(|part| format!("ingest_error_total{{component=\"{}\"}}", part.name())),
        );
        series.extend(Queue::ALL.map(|queue| format!("ingest_queue_depth{{queue=\"{}\"}}", queue.name())));
        series.extend(
            ["chain_break_total", "signature_fail_total", "ingest_last_success_timestamp_seconds"]
                .map(String::from),
        );
        series
            .extend(RejectionCode::ALL.map(|code| format!("rejections_kept{{reason=\"{}\"}}", code.name())));
        series.extend(["number", "age"].map(|cause| format!("rejections_pruned_total{{cause=\"{cause}\"}}")));
        for histogram in ["ingest_duration_seconds", "operation_log_insert_duration_seconds"] {
            series.push(format!("{histogram}_count"));
            series.extend(["2", "3", "+Inf"].map(|le| format!("{histogram}_bucket{{le=\"{le}\"}}")));
        }
        for series in series {
            assert_eq!(value(&text, &format!("edgesentry_{series}")), Some(0.0), "{series} in {text}");
        }
        let build = format!("edgesentry_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(value(&text, &build), Some(1.0), "{text}");
    }

    #[tokio::test]
    async fn times_count_in_the_metrics_of_the_ledger() {
        let (mine, count) = (Metrics::new(), "edgesentry_operation_log_insert_duration_seconds_count");
        mine.working(timing_operation_log(async {})).await;
        // A cancelled call is measured, too.
        let hangs = mine.working(timing_operation_log(std::future::pending::<()>()));
        assert!(tokio::time::timeout(Duration::from_millis(1), hangs).await.is_err());
        assert_eq!(value(&mine.text(), count), Some(2.0));
        let before = value(&Metrics::global().text(), count);
        timing_operation_log(async {}).await;
        assert!(value(&Metrics::global().text(), count) > before);
    }

    #[test]
    fn records_that_no_longer_wait_are_subtracted() {
        let metrics = Metrics::new();
        let waiting = metrics.waiting(Queue::Commit, 3);
        let depth = "edgesentry_ingest_queue_depth{queue=\"commit\"}";
        assert_eq!(value(&metrics.text(), depth), Some(3.0));
        drop(waiting);
        assert_eq!(value(&metrics.text(), depth), Some(0.0));
    }
}
