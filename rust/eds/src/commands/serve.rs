//! `eds serve`: the ingest service on the network.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use edgesentry_formats::describe;
use edgesentry_rs::IngestService;
use edgesentry_rs::log::{Eraser, Stores};
use edgesentry_rs::settings::Access;
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::telemetry::subscriber::{self, LISTENING};
use edgesentry_rs::telemetry::{LogFormat, TelemetrySettings};
use edgesentry_serve::metrics::MetricsServer;
use edgesentry_serve::{ServeSettings, Server, Stopped};
use futures::FutureExt;
use futures::future::BoxFuture;
use sd_notify::NotifyState;
use serde_json::json;
use tracing::{info, warn};

use crate::commands::checkpoint;
use crate::exit::{Exit, Failure};
use crate::interrupt::{self, Hangups};
use crate::output::{Answer, Output};
use crate::remarks::log_filter;
use crate::stores::{Asked, Opened, StoreArgs};

/// The target of events of the service; it is part of the interface.
const SERVER: &str = "edgesentry_rs::transport::server";
/// The default log filter of a service.
const LOGGED: &str = "edgesentry_rs=info";

/// The log of a service.
#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// Format of the log on stderr: text, json, off, or auto: text on a terminal, json elsewhere [default: as configured, or
    /// auto]
    #[arg(long, value_name = "FORMAT", value_parser = log_format(), hide_possible_values = true)]
    log_format: Option<LogFormat>,
}

/// Parses an address to listen on.
pub(crate) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080 or [::]:8080")
}

fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    let named = |name: String| LogFormat::ALL.into_iter().find(|format| format.name() == name);
    PossibleValuesParser::new(LogFormat::ALL.map(LogFormat::name))
        .map(move |name| named(name).unwrap_or_default())
}

impl LogArgs {
    /// Starts the log.
    pub(crate) fn start(&self, settings: &TelemetrySettings) -> Result<(), Failure> {
        let log_format = self.log_format.unwrap_or(settings.log_format);
        let settings = TelemetrySettings { log_format, ..settings.clone() };
        Ok(subscriber::init_service(&settings, log_filter(LOGGED))?)
    }
}

/// Run the ingest service over HTTP until SIGTERM or Ctrl-C
///
/// All other options are settings in the section [serve]: allowed networks, TLS, client certificates, tokens,
/// limits. Without settings it listens on 127.0.0.1:8080 for this machine only, without TLS, and allows no
/// reads. On SIGTERM it accepts no more requests and finishes those in progress; SIGHUP reloads certificates.
/// Exit code 0 after that, and if it is asked to stop before it listens (for example while the database does not
/// respond); 3 if requests had to be cut off or a store failed. It logs to stderr: text on a terminal,
/// otherwise one JSON object a line. RUST_LOG or [telemetry] filter it; the default is edgesentry_rs=info.
/// GET /metrics is for Prometheus.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds serve --ledger sqlite:edgesentry.db
  eds serve --config /etc/eds/eds.toml
  EDS_SERVE__LISTEN=0.0.0.0:8080 EDS_SERVE__ALLOW=10.0.0.0/8 eds serve --create")]
pub(crate) struct Serve {
    /// Address to listen on; may be given several times [default: as configured, or 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    listen: Vec<SocketAddr>,
    /// Create a missing ledger file or payload directory
    #[arg(long)]
    create: bool,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl Serve {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        raise_file_limit();
        // From here on, before the database responds.
        let mut asked = interrupt::asked().boxed();
        let access = if self.create { Access::Create } else { Access::Existing };
        let Some(opened) = self.stores.open_unless(access, &mut asked)? else {
            return stopped(output, Ended::BeforeListening);
        };
        self.log.start(&opened.settings.telemetry)?;
        let ended = opened.runtime.block_on(self.serve(&opened, asked))?;
        stopped(output, ended)
    }

    async fn serve(&self, opened: &Opened, mut asked: Asked) -> Result<Ended, Failure> {
        let listening = tokio::select! {
            listening = self.listen(opened) => listening?,
            () = &mut asked => return Ok(Ended::BeforeListening),
        };
        let Listening { server, metrics, pruning, sequencing, scheme } = listening;
        let pruning = tokio::spawn(pruning);
        let sequencing = sequencing.map(tokio::spawn);
        let ledger = opened.ledger.place();
        let announce = |address| {
            info!(target: LISTENING, url = %format!("{scheme}://{address}"), ledger, "listening");
        };
        let stopped = serve_until(server, &mut asked, announce).await;
        pruning.abort();
        if let Some(sequencing) = sequencing {
            sequencing.abort();
        }
        if let Some(metrics) = metrics {
            metrics.stop().await;
        }
        Ok(match stopped {
            Stopped::Finished => Ended::Finished,
            Stopped::CutOff => Ended::CutOff,
        })
    }

    /// Prepares the service until it can accept records.
    async fn listen(&self, opened: &Opened) -> Result<Listening, Failure> {
        let mut settings = ServeSettings::of(&opened.settings)?;
        if !self.listen.is_empty() {
            settings.listen.clone_from(&self.listen);
        }
        let service =
            IngestService::start(opened.ledger.clone(), opened.payloads()?, opened.settings.ingest.clone());
        service.observe_rejections().await;
        let pruning = service.clone().keep_rejections_bounded().boxed();
        let log = match opened.settings.log.is_on() {
            true => {
                let file = opened.settings.ledger_file();
                let (ledger, s3) = (&*opened.ledger, &opened.settings.s3);
                Some(opened.settings.log.open_reader(ledger, file.as_deref(), s3).await?)
            }
            false => None,
        };
        let server = Server::bind_with_log(service, &settings, log).await?;
        let metrics = match &opened.settings.telemetry.metrics_listen {
            Some(listen) => Some(MetricsServer::start(listen, Metrics::global()).await?),
            None => None,
        };
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let sequencing = sequencing(opened).await?;
        Ok(Listening { server, metrics, pruning, sequencing, scheme })
    }
}

/// Serves until it is asked to stop: announces the addresses, reports to systemd, and reloads certificates at SIGHUP.
pub(crate) async fn serve_until(server: Server, asked: &mut Asked, announce: impl Fn(SocketAddr)) -> Stopped {
    // Before the service announces its addresses.
    let hangups = Hangups::take();
    for address in server.addresses() {
        announce(address);
    }
    let reload = server.reload();
    let reloading = tokio::spawn(reload_on_hangup(hangups, reload));
    // Without systemd there is no socket to notify.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let watchdog = tokio::spawn(watchdog());
    let stopped = server
        .run(async {
            asked.await;
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
        })
        .await;
    reloading.abort();
    watchdog.abort();
    stopped
}

/// The parts of a service that is not serving yet.
struct Listening {
    server: Server,
    metrics: Option<MetricsServer>,
    pruning: BoxFuture<'static, ()>,
    sequencing: Option<BoxFuture<'static, ()>>,
    scheme: &'static str,
}

/// The writer of the transparency log, if there is one in the settings.
async fn sequencing(opened: &Opened) -> Result<Option<BoxFuture<'static, ()>>, Failure> {
    let settings = &opened.settings;
    if !settings.log.is_on() {
        return Ok(None);
    }
    let file = settings.ledger_file();
    let log = settings.log.open(&*opened.ledger, file.as_deref(), &settings.s3, Stores::Existing).await?;
    // A log that was not opened is a mistake of the operator; other problems of the log do not stop ingest.
    log.opened().await.map_err(|error| checkpoint::failure(&error))?;
    let interval = Duration::from_secs(settings.log.interval_seconds.max(1));
    let eraser = Eraser::new(log.clone(), opened.ledger.clone(), opened.payloads()?);
    Ok(Some(log.keep(eraser, interval, Metrics::global()).boxed()))
}

/// How a service ended.
enum Ended {
    /// It was stopped before it accepted anything.
    BeforeListening,
    /// Requests in flight completed.
    Finished,
    /// Requests in flight took too long.
    CutOff,
}

fn stopped(output: &Output, ended: Ended) -> Result<Exit, Failure> {
    let (stopped, text, failure) = match ended {
        Ended::BeforeListening => {
            ("before_listening", "stopped before it listened; nothing was ingested\n", None)
        }
        Ended::Finished => ("finished", "stopped; requests in progress were finished\n", None),
        Ended::CutOff => {
            let message = "some requests did not finish in serve.limits.shutdown_seconds and were cut off";
            ("cut_off", "", Some(Failure::unfinished("cut_off", message)))
        }
    };
    let ok = failure.is_none();
    let content = json!({ "stopped": stopped });
    output.answer(&Answer { ok, name: "serve", content: &content, text: text.to_owned(), failure })?;
    Ok(if ok { Exit::Holds } else { Exit::Unfinished })
}

async fn reload_on_hangup(mut hangups: Hangups, reload: impl Fn() -> Result<(), edgesentry_rs::Error>) {
    loop {
        hangups.next().await;
        if let Err(error) = reload() {
            warn!(target: SERVER, error = %describe(&error), "certificates cannot be loaded; the previous ones stay in use");
        }
    }
}

/// Notifies systemd that the runtime still runs tasks, if the watchdog is on.
pub(crate) async fn watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    loop {
        tokio::time::sleep(limit / 3).await;
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}

/// Raises the limit of open files to the maximum: every connection is one.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // If that fails, the old limit remains.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
