//! `edgesentry.telemetry`: subscriber, metrics, and events for Python's `logging`.
//!
//! Worker threads never wait for the interpreter: events that Python requests go into a queue. Threads that call in
//! from Python pass them to `logging` while they wait and before they return.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::telemetry::{
    LogFormat, LogOutput, OtlpProtocol, TelemetrySettings, TraceContext, subscriber,
};
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};

use crate::service::service_failure;

/// Maximum number of queued events. Further events are dropped and counted.
const MAX_WAITING_EVENTS: usize = 1 << 16;
/// Number of events passed on at a time.
const BATCH_EVENTS: usize = 1024;
/// The targets of events; each is a logger, with dots.
const TARGETS: [&str; 5] = [
    "edgesentry_rs",
    "edgesentry_rs::agent",
    "edgesentry_rs::ingest::storage",
    "edgesentry_rs::ingest::verify",
    "edgesentry_rs::ledger::postgres::connect",
];

/// The levels of the loggers of `TARGETS`, as numbers of `logging`; no level until the loggers are read.
static LEVELS: [AtomicUsize; TARGETS.len()] = [const { AtomicUsize::new(usize::MAX) }; TARGETS.len()];
static EVENTS: Mutex<VecDeque<Told>> = Mutex::new(VecDeque::new());
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Locked while a thread passes events on; `WANTED` is set if another call requests this meanwhile.
static HANDING_OVER: Mutex<()> = Mutex::new(());
static WANTED: AtomicBool = AtomicBool::new(false);
/// The process that owns the queued events; a fork has a copy of them that it must not pass on.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Installs the subscriber, with all output disabled.
pub(crate) fn install() {
    // This is the first subscriber of this module, so it is accepted.
    let _ = subscriber::install_with(vec![Queueing.with_filter(Wanted).boxed()]);
}

/// A queued event.
struct Told {
    at: f64,
    metadata: &'static Metadata<'static>,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

enum Value {
    Text(String),
    Unsigned(u64),
    Signed(i64),
    Flag(bool),
}

/// Returns the number of a level in `logging`.
fn number(level: Level) -> usize {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

/// A filter for the events that a logger accepts.
struct Wanted;

impl Wanted {
    fn lowest(target: &str) -> usize {
        let level = |at: usize| LEVELS[at].load(Ordering::Relaxed);
        match TARGETS.iter().position(|each| *each == target) {
            Some(at) => level(at),
            None if target.starts_with("edgesentry_rs::") => {
                (0..TARGETS.len()).map(level).min().unwrap_or(usize::MAX)
            }
            None => usize::MAX,
        }
    }

    fn wants(metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && number(*metadata.level()) >= Wanted::lowest(metadata.target())
    }
}

impl<S: Subscriber> Filter<S> for Wanted {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        Wanted::wants(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Wanted::wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let lowest = LEVELS.iter().map(|level| level.load(Ordering::Relaxed)).min().unwrap_or(usize::MAX);
        Some(match lowest {
            0..=5 => LevelFilter::TRACE,
            6..=10 => LevelFilter::DEBUG,
            11..=20 => LevelFilter::INFO,
            21..=30 => LevelFilter::WARN,
            31..=40 => LevelFilter::ERROR,
            _ => LevelFilter::OFF,
        })
    }
}

/// A layer that queues events.
struct Queueing;

impl<S: Subscriber> Layer<S> for Queueing {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if events().len() >= MAX_WAITING_EVENTS {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            Metrics::global().count_dropped_events(1);
            return;
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut told = Told { at, metadata: event.metadata(), message: String::new(), fields: Vec::new() };
        event.record(&mut told);
        events().push_back(told);
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = edgesentry_chain::escape::sentence(&text).into_owned();
        } else {
            self.fields.push((field.name(), Value::Text(text)));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), Value::Text(value.to_owned())));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), Value::Unsigned(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), Value::Signed(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), Value::Flag(value)));
    }
}

fn events() -> MutexGuard<'static, VecDeque<Told>> {
    EVENTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the levels of the loggers; every call into the runtime starts with it.
pub(crate) fn ask_loggers(py: Python<'_>) -> PyResult<()> {
    OWNER.store(std::process::id(), Ordering::Relaxed);
    let names: Vec<String> = TARGETS.iter().map(|target| target.replace("::", ".")).collect();
    let levels =
        py.import("edgesentry._logging")?.call_method1("levels", (names,))?.extract::<Vec<usize>>()?;
    let mut changed = false;
    for (known, level) in LEVELS.iter().zip(levels) {
        changed |= known.swap(level, Ordering::Relaxed) != level;
    }
    if changed {
        tracing::callsite::rebuild_interest_cache();
    }
    Ok(())
}

/// Passes the queued events to `logging`. An exception of a handler is reported as unraisable and does not affect the
/// result of the call, unless it is meant to end the program.
pub(crate) fn hand_over(py: Python<'_>) -> PyResult<()> {
    if OWNER.load(Ordering::Relaxed) != std::process::id() {
        return Ok(());
    }
    WANTED.store(true, Ordering::SeqCst);
    loop {
        // Another thread already does this, or this one, if a handler calls us. It checks the queue again afterwards.
        let Ok(_alone) = HANDING_OVER.try_lock() else { return Ok(()) };
        if !WANTED.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        // Only the events queued at this time, so that the loop ends.
        let mut left = events().len();
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        while left > 0 {
            let batch: Vec<Told> = {
                let mut events = events();
                let count = events.len().min(BATCH_EVENTS).min(left);
                events.drain(..count).collect()
            };
            if batch.is_empty() {
                break;
            }
            left -= batch.len();
            emit(py, batch)?;
        }
        if dropped > 0 {
            reported(py, py.import("edgesentry._logging")?.call_method1("dropped", (dropped,)).map(|_| ()))?;
        }
    }
}

fn emit(py: Python<'_>, batch: Vec<Told>) -> PyResult<()> {
    let list = PyList::empty(py);
    for Told { at, metadata, message, fields } in batch {
        let values = PyDict::new(py);
        for (name, value) in fields {
            match value {
                Value::Text(text) => values.set_item(name, text)?,
                Value::Unsigned(number) => values.set_item(name, number)?,
                Value::Signed(number) => values.set_item(name, number)?,
                Value::Flag(flag) => values.set_item(name, flag)?,
            }
        }
        let (name, level) = (metadata.target().replace("::", "."), number(*metadata.level()));
        let (file, line) = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or(0));
        list.append((name, level, at, file, line, message, values))?;
    }
    reported(py, py.import("edgesentry._logging")?.call_method1("emit", (list,)).map(|_| ()))
}

fn reported(py: Python<'_>, done: PyResult<()>) -> PyResult<()> {
    match done {
        Err(error) if error.is_instance_of::<PyException>(py) => {
            error.write_unraisable(py, None);
            Ok(())
        }
        done => done,
    }
}

/// Returns the trace of the caller, from `edgesentry.telemetry.trace_context`.
pub(crate) fn trace_context(py: Python<'_>) -> PyResult<TraceContext> {
    let headers = py.import("edgesentry.telemetry")?.getattr("_trace")?.call_method0("get")?;
    let headers: Option<(String, Option<String>)> = headers.extract()?;
    Ok(headers
        .map_or_else(TraceContext::default, |(parent, state)| TraceContext::parse(&parent, state.as_deref())))
}

/// Implements `edgesentry.telemetry.init`.
#[pyfunction]
#[pyo3(signature = (log, filter, output, otlp_endpoint, otlp_protocol, otlp_timeout_seconds, service_name))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn init_telemetry(
    py: Python<'_>,
    log: Option<&str>,
    filter: Option<String>,
    output: &str,
    otlp_endpoint: Option<String>,
    otlp_protocol: &str,
    otlp_timeout_seconds: u64,
    service_name: String,
) -> PyResult<()> {
    let wrong = |name: &str, value: &str, all: &str| {
        PyValueError::new_err(format!("{name} must be one of {all}, not {value:?}"))
    };
    let settings = TelemetrySettings {
        log_format: match log {
            None => LogFormat::Off,
            Some("json") => LogFormat::Json,
            Some("text") => LogFormat::Text,
            Some(other) => return Err(wrong("log", other, "'json', 'text' and None")),
        },
        log_output: match output {
            "stderr" => LogOutput::Stderr,
            "stdout" => LogOutput::Stdout,
            other => return Err(wrong("output", other, "'stderr' and 'stdout'")),
        },
        log_filter: filter,
        otlp_endpoint,
        otlp_protocol: match otlp_protocol {
            "grpc" => OtlpProtocol::Grpc,
            "http" => OtlpProtocol::Http,
            other => return Err(wrong("otlp_protocol", other, "'grpc' and 'http'")),
        },
        otlp_timeout_seconds,
        service_name,
        metrics_listen: None,
    };
    let done = py.detach(|| subscriber::init(&settings, "edgesentry_rs=info"));
    done.map_err(|error| service_failure(py, error))
}

/// Implements `edgesentry.telemetry.shutdown`.
#[pyfunction]
pub(crate) fn end_telemetry(py: Python<'_>) -> PyResult<()> {
    hand_over(py)?;
    py.detach(subscriber::shutdown);
    Ok(())
}

/// Returns the metrics of this process in the Prometheus text format, with every series from the start.
///
/// They do not depend on the log level. docs/reference/telemetry.md lists them.
#[pyfunction]
pub(crate) fn metrics_text(py: Python<'_>) -> String {
    py.detach(|| Metrics::global().text())
}
