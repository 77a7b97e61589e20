//! Connections: the network policy applies at accept, before TLS begins, and every wait for a caller has a timeout.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::activity::{Activity, Bounds, Watched};
use super::app::App;
use super::console::Console;
use super::http::router;
use super::identity::{Peer, SenderKey, devices_of};
use super::mqtt::MqttSource;
use super::policy::NetworkPolicy;
use super::settings::{ServeLimits, ServeSettings};
use super::shares::Pool;
use super::stall::Stalling;
use super::tls::ServerTls;
use edgesentry_rs::error::Error;
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::log::LogReader;
use edgesentry_rs::telemetry::metrics::{Metrics, Resource};

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::transport::server";

/// The pause after a failed accept, such as one without a free file descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// How often unused rates are removed.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes that a caller may send over HTTP/2 before they are read, per stream and per connection.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;

/// How a service ended. Exhaustive: the exit code follows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// Every request in progress has got its response.
    Finished,
    /// The timeout passed, and the remaining requests were cut off.
    CutOff,
}

/// The ingest service on the network.
pub struct Server {
    listeners: Vec<TcpListener>,
    mqtt: Option<MqttSource>,
    shared: Arc<Shared>,
}

struct Shared {
    policy: NetworkPolicy,
    limits: ServeLimits,
    tls: Option<ServerTls>,
    connections: Arc<Pool>,
    handshakes: Arc<Pool>,
    bounds: Arc<Bounds>,
    served: Arc<dyn Served>,
    router: Router,
    stop: CancellationToken,
}

/// What a server serves.
pub(super) trait Served: Send + Sync {
    /// Reports not ready from now on.
    fn stop(&self);

    /// Frees memory that is not needed any more.
    fn tidy(&self) {}
}

/// The ingest service, with its console if that is enabled.
struct Service {
    app: Arc<App>,
    console: Option<Arc<Console>>,
}

impl Served for Service {
    fn stop(&self) {
        self.app.stop();
        if let Some(console) = &self.console {
            console.stop();
        }
    }

    fn tidy(&self) {
        self.app.tidy();
        if let Some(console) = &self.console {
            console.tidy();
        }
    }
}

/// The routes of a server, and the limit of their responses.
pub(super) struct Routes {
    pub(super) router: Router,
    pub(super) answers: Arc<Pool>,
    pub(super) served: Arc<dyn Served>,
}

impl Server {
    /// Listens, but accepts no connections yet.
    pub async fn bind(service: IngestService, settings: &ServeSettings) -> Result<Server, Error> {
        Server::bind_with_log(service, settings, None).await
    }

    /// Listens like [`Server::bind`], and serves the transparency log of the ledger.
    pub async fn bind_with_log(
        service: IngestService,
        settings: &ServeSettings,
        log: Option<LogReader>,
    ) -> Result<Server, Error> {
        let mqtt = settings.mqtt.as_ref().map(|mqtt| MqttSource::new(service.clone(), mqtt)).transpose()?;
        let metrics = service.metrics().clone();
        let console = Console::new(&service, settings, log.as_ref())?.map(Arc::new);
        let app = Arc::new(App::new(service, settings, log));
        let mqtt = mqtt.map(|mqtt| mqtt.sharing(app.failures(), app.rejections()));
        let answers = Arc::clone(app.answers());
        let router = router(Arc::clone(&app), console.clone());
        let served = Arc::new(Service { app, console });
        let server = Server::listen(settings, &metrics, Routes { router, answers, served }).await?;
        Ok(Server { mqtt, ..server })
    }

    /// Listens, for these routes.
    pub(super) async fn listen(
        settings: &ServeSettings,
        metrics: &Metrics,
        routes: Routes,
    ) -> Result<Server, Error> {
        let mut listeners = Vec::new();
        for address in &settings.listen {
            let listener = TcpListener::bind(address).await;
            listeners.push(listener.map_err(|error| {
                Error::unusable(format!("serve.listen: cannot listen on {address}"), error)
            })?);
        }
        if listeners.is_empty() {
            return Err(Error::Config("serve.listen: expected at least one address".to_owned()));
        }
        let tls = settings.tls.as_ref().map(ServerTls::load).transpose()?;
        let elsewhere = settings.listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(address) = elsewhere.filter(|_| tls.is_none() && !settings.tokens.is_empty()) {
            warn!(target: TARGET, %address, "tokens cross the network in plain text: without serve.tls, let only a proxy with TLS connect");
        }
        let limits = &settings.limits;
        let requests = Pool::new(metrics, Resource::Requests, limits.requests);
        let (connections, per_address) = (limits.connections, limits.connections_per_address);
        let shared = Shared {
            policy: NetworkPolicy::new(settings.allow.iter().copied()),
            limits: settings.limits.clone(),
            tls,
            connections: Pool::limited(metrics, Resource::Connections, connections, per_address),
            handshakes: Pool::new(metrics, Resource::Handshakes, limits.handshakes),
            bounds: Arc::new(Bounds { requests, answers: routes.answers }),
            router: routes.router,
            served: routes.served,
            stop: CancellationToken::new(),
        };
        Ok(Server { listeners, mqtt: None, shared: Arc::new(shared) })
    }

    /// Returns the addresses that it listens on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Returns a function that loads the certificates again; the service also watches them.
    pub fn reload(&self) -> impl Fn() -> Result<(), Error> + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.tls.as_ref().map_or(Ok(()), ServerTls::reload)
    }

    /// Serves until `shutdown` is ready; then accepts no connection, request or message, and finishes those in
    /// progress.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Stopped {
        let (shared, tasks) = (self.shared, TaskTracker::new());
        let accepting: Vec<_> = self
            .listeners
            .into_iter()
            .map(|listener| tokio::spawn(accept(Arc::clone(&shared), listener, tasks.clone())))
            .collect();
        if let Some(mqtt) = self.mqtt {
            tasks.spawn(mqtt.run(shared.stop.clone()));
        }
        let watch = {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move { futures::join!(watch(&shared), tidy(&shared)) })
        };
        shutdown.await;
        info!(target: TARGET, "shutting down: finishing requests in progress");
        shared.served.stop();
        shared.stop.cancel();
        watch.abort();
        for listener in accepting {
            // The result of the task carries no information.
            let _ = listener.await;
        }
        tasks.close();
        match timeout(shared.limits.shutdown(), tasks.wait()).await {
            Ok(()) => Stopped::Finished,
            Err(_) => {
                warn!(target: TARGET, connections = tasks.len(), "requests in progress did not finish in time");
                Stopped::CutOff
            }
        }
    }
}

async fn watch(shared: &Shared) {
    if let Some(tls) = &shared.tls {
        tls.watch().await;
    }
}

async fn tidy(shared: &Shared) {
    loop {
        tokio::time::sleep(TIDY_INTERVAL).await;
        shared.served.tidy();
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(target: TARGET, error = %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let address = address.ip().to_canonical();
        if !shared.policy.allows(address) {
            warn!(target: TARGET, %address, "connection denied by the network policy");
            continue;
        }
        let Some(place) = shared.connections.try_take(SenderKey::at(address), 1) else {
            debug!(target: TARGET, %address, "too many connections");
            continue;
        };
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            connection(&shared, stream, address).await;
            drop(place);
        });
    }
}

async fn connection(shared: &Shared, stream: TcpStream, address: IpAddr) {
    // Responses are small, and callers wait for them.
    let _ = stream.set_nodelay(true);
    let stream = Stalling::new(stream, shared.limits.stall());
    let Some(tls) = &shared.tls else {
        return http1(shared, stream, Peer { address, devices: None }).await;
    };
    let handshake = handshake(shared, tls, stream, address);
    let stream = match timeout(shared.limits.handshake(), handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(target: TARGET, %address, error = %error, "TLS handshake failed"),
        Err(_) => return debug!(target: TARGET, %address, "TLS handshake took too long"),
    };
    let session = stream.get_ref().1;
    let devices = session.peer_certificates().and_then(<[_]>::first).map(|leaf| devices_of(leaf));
    let peer = Peer { address, devices };
    if session.alpn_protocol() == Some(b"h2") {
        http2(shared, stream, peer).await;
    } else {
        http1(shared, stream, peer).await;
    }
}

type TlsStream<S> = tokio_rustls::server::TlsStream<S>;

async fn handshake<S>(
    shared: &Shared,
    tls: &ServerTls,
    stream: S,
    address: IpAddr,
) -> std::io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    // A connection without a hello holds no place.
    let place = shared.handshakes.take(SenderKey::at(address), 1, shared.limits.handshake()).await;
    let _place = place.ok_or(std::io::ErrorKind::TimedOut)?;
    hello.into_stream(tls.current()).await
}

async fn http1<S>(shared: &Shared, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &shared.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header())
        .max_buf_size(limits.header_bytes.max(8 << 10))
        .max_headers(100);
    let activity = Activity::default();
    let service = Watched::new(shared.router.clone(), peer, activity.clone(), Arc::clone(&shared.bounds));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let serve = async {
        tokio::select! {
            ended = &mut connection => ended,
            () = shared.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    until_stalled(limits, &activity, serve).await;
}

/// Serves a connection until it ends, or until its caller takes nothing of a response for too long: then it cuts the
/// connection off, and frees everything held for it.
async fn until_stalled(
    limits: &ServeLimits,
    activity: &Activity,
    serve: impl Future<Output = hyper::Result<()>>,
) {
    tokio::select! {
        ended = serve => if let Err(error) = ended {
            debug!(target: TARGET, error = %error, "connection ended");
        },
        () = activity.stalled_for(limits.stall()) => debug!(target: TARGET, "the client does not read the response"),
    }
}

async fn http2<S>(shared: &Shared, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &shared.limits;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(256 << 10)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(Some(limits.header()))
        .keep_alive_timeout(limits.handshake());
    let activity = Activity::default();
    let service = Watched::new(shared.router.clone(), peer, activity.clone(), Arc::clone(&shared.bounds));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let serve = async {
        tokio::select! {
            ended = &mut connection => ended,
            () = async { tokio::select! {
                () = shared.stop.cancelled() => {}
                () = activity.idle_for(limits.header()) => {}
            } } => {
                connection.as_mut().graceful_shutdown();
                // Without a request the cut loses nothing.
                tokio::select! {
                    ended = &mut connection => ended,
                    () = activity.idle_for(limits.handshake()) => Ok(()),
                }
            }
        }
    };
    until_stalled(limits, &activity, serve).await;
}
