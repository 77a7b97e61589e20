//! A subscriber for programs that have none: logs, and traces by OTLP.
//!
//! It is installed once for the process and can be reconfigured at any time. A disabled part costs no more than no
//! subscriber.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use edgesentry_chain::escape;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::{fmt, reload};

use super::otlp::Exporter;
use super::{LogFormat, LogOutput, TelemetrySettings};
use crate::error::Error;

/// A layer of the program.
pub type ExtraLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The target of events that name an address on which a service listens.
pub const LISTENING: &str = "edgesentry_rs::transport::listening";

/// Installs the subscriber unless it is installed, and applies `settings`. `default_filter` selects the logged events
/// if neither `RUST_LOG` nor the settings do.
///
/// # Errors
/// The filter or the endpoint cannot be used, or the program has a subscriber of its own.
pub fn init(settings: &TelemetrySettings, default_filter: &str) -> Result<(), Error> {
    install(Vec::new)?.set(settings, default_filter, false)
}

/// Does the same for a service, whose events of the target [`LISTENING`] are logged under any filter.
///
/// # Errors
/// See [`init`].
pub fn init_service(settings: &TelemetrySettings, default_filter: &str) -> Result<(), Error> {
    install(Vec::new)?.set(settings, default_filter, true)
}

/// Installs the subscriber with further layers, and everything else disabled.
///
/// # Errors
/// The program has a subscriber of its own.
pub fn install_with(layers: Vec<ExtraLayer>) -> Result<(), Error> {
    install(|| layers).map(|_| ())
}

/// Sends the pending spans and disables traces; takes at most some seconds, even if the collector does not respond.
pub fn shutdown() {
    if let Some(Ok(installed)) = INSTALLED.get() {
        // Without a collector there is nothing to send.
        let _ = installed.set_traces(None);
    }
}

static INSTALLED: OnceLock<Result<Installed, Error>> = OnceLock::new();

type LogFilter = reload::Handle<EnvFilter, Registry>;
type TraceFilter = reload::Handle<FilterFn<fn(&Metadata<'_>) -> bool>, Registry>;

struct Installed {
    json: LogFilter,
    text: LogFilter,
    to_stdout: Arc<AtomicBool>,
    traces: TraceFilter,
    exporter: Exporter,
    /// Serializes changes of the settings.
    setting: Mutex<()>,
}

fn install(layers: impl FnOnce() -> Vec<ExtraLayer>) -> Result<&'static Installed, Error> {
    INSTALLED.get_or_init(|| Installed::new(layers())).as_ref().map_err(Clone::clone)
}

impl Installed {
    fn new(mut layers: Vec<ExtraLayer>) -> Result<Installed, Error> {
        let to_stdout = Arc::new(AtomicBool::new(false));
        let output = |form| Output { to_stdout: Arc::clone(&to_stdout), form };
        let (json_filter, json) = reload::Layer::new(EnvFilter::new("off"));
        let (text_filter, text) = reload::Layer::new(EnvFilter::new("off"));
        let lines = fmt::layer().json().with_span_list(false).log_internal_errors(false);
        layers.push(lines.with_writer(output(LogFormat::Json)).with_filter(json_filter).boxed());
        let lines = fmt::layer().compact().with_ansi(false).log_internal_errors(false);
        layers.push(lines.with_writer(output(LogFormat::Text)).with_filter(text_filter).boxed());
        let exporter = Exporter::default();
        let (trace_filter, traces) = reload::Layer::new(nothing());
        layers.push(exporter.layer().with_filter(trace_filter).boxed());
        tracing::subscriber::set_global_default(Registry::default().with(layers)).map_err(|_| {
            Error::Config("telemetry: the program already has a tracing subscriber; use that one".to_owned())
        })?;
        Ok(Installed { json, text, to_stdout, traces, exporter, setting: Mutex::default() })
    }

    fn set(&self, settings: &TelemetrySettings, default_filter: &str, is_service: bool) -> Result<(), Error> {
        let _alone = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let variable = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.trim().is_empty());
        let (place, wanted) = match (&variable, &settings.log_filter) {
            (Some(text), _) => ("RUST_LOG", text.as_str()),
            (None, Some(text)) => ("telemetry.log_filter", text.as_str()),
            (None, None) => ("the default filter", default_filter),
        };
        let filter = || {
            let always = if is_service { format!(",{LISTENING}=info") } else { String::new() };
            EnvFilter::try_new(format!("{wanted}{always}"))
                .map_err(|error| Error::unusable(format!("{place}: invalid log filter {wanted:?}"), error))
        };
        let is_terminal = || match settings.log_output {
            LogOutput::Stderr => io::stderr().is_terminal(),
            LogOutput::Stdout => io::stdout().is_terminal(),
        };
        let (json, text) = match settings.log_format {
            LogFormat::Text => (EnvFilter::new("off"), filter()?),
            LogFormat::Auto if is_terminal() => (EnvFilter::new("off"), filter()?),
            LogFormat::Auto | LogFormat::Json => (filter()?, EnvFilter::new("off")),
            LogFormat::Off => (EnvFilter::new("off"), EnvFilter::new("off")),
        };
        self.set_traces(Some(settings))?;
        self.to_stdout.store(settings.log_output == LogOutput::Stdout, Ordering::Relaxed);
        reloaded(self.json.reload(json))?;
        reloaded(self.text.reload(text))
    }

    fn set_traces(&self, settings: Option<&TelemetrySettings>) -> Result<(), Error> {
        let endpoint = settings.and_then(|settings| Some((settings, settings.otlp_endpoint.as_deref()?)));
        match endpoint {
            Some((settings, endpoint)) => {
                self.exporter.start(settings, endpoint)?;
                reloaded(self.traces.reload(traced()))
            }
            None => {
                // First the source, then the pending spans.
                reloaded(self.traces.reload(nothing()))?;
                self.exporter.stop();
                Ok(())
            }
        }
    }
}

/// Never fails: the subscriber is never dropped.
fn reloaded(done: Result<(), reload::Error>) -> Result<(), Error> {
    done.map_err(|error| Error::internal("telemetry: the subscriber cannot be changed", error))
}

fn nothing() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    let none: fn(&Metadata<'_>) -> bool = |_| false;
    FilterFn::new(none).with_max_level_hint(LevelFilter::OFF)
}

/// Matches our spans, warnings and errors only: the exporter, whose connections have spans too, would export itself.
fn traced() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    let ours: fn(&Metadata<'_>) -> bool = |metadata| {
        let most = if metadata.is_span() { Level::INFO } else { Level::WARN };
        let target = metadata.target();
        (target == "edgesentry_rs" || target.starts_with("edgesentry_rs::")) && *metadata.level() <= most
    };
    FilterFn::new(ours).with_max_level_hint(LevelFilter::INFO)
}

/// The output of log lines, and their format.
#[derive(Clone)]
struct Output {
    to_stdout: Arc<AtomicBool>,
    form: LogFormat,
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        Lines { to_stdout: self.to_stdout.load(Ordering::Relaxed), form: self.form }
    }
}

/// Writes each event as one line, inert for a terminal and for a runner. An event arrives in one piece.
struct Lines {
    to_stdout: bool,
    form: LogFormat,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = match self.form {
            LogFormat::Json => escape::json(line),
            LogFormat::Text | LogFormat::Auto | LogFormat::Off => escape::sentence(line),
        };
        let line = format!("{line}\n");
        if self.to_stdout {
            io::stdout().write_all(line.as_bytes())?;
        } else {
            io::stderr().write_all(line.as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.to_stdout { io::stdout().flush() } else { io::stderr().flush() }
    }
}
