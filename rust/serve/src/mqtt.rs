//! Records from an MQTT 5 broker.
//!
//! A message has the body of `POST /api/v1/ingest`. It is acknowledged when its record is decided (accepted and
//! durable, a duplicate, rejected, or left with its device because of an error) and its outcome has reached the broker;
//! the broker sends unacknowledged messages again. No state of a connection outlives it: the next one reuses its packet
//! identifiers for other messages.

mod broker;
mod connection;
mod held;
mod intake;
mod outcomes;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::future::BoxFuture;
use rumqttc::{
    AckMode, AsyncClient, MqttOptions, PersistedAckMode, PersistedSession, SessionStore, SessionStoreKey,
    TlsConfiguration, Transport,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::connection::{Connection, Ended};
use self::topics::Topics;
use super::failures::StoreFailures;
use super::rates::Rejections;
pub use super::settings::MqttSettings;
use super::settings::RateSettings;
use edgesentry_device::loopback::is_loopback_host;
use edgesentry_device::tls::client_config;

use edgesentry_rs::error::Error;
use edgesentry_rs::ingest::storage::IngestService;

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::transport::mqtt";

/// The backoff between attempts to connect, and to reach the stores.
const MIN_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// How long a broker may take to respond.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);
/// The version of the [`PersistedSession`] that this module creates.
const FORMAT: u16 = 1;

/// Receives records from a broker.
pub struct MqttSource {
    service: IngestService,
    settings: MqttSettings,
    topics: Topics,
    options: MqttOptions,
    place: String,
    failures: Arc<StoreFailures>,
    rejections: Arc<Rejections>,
}

impl MqttSource {
    /// Checks the settings; it does not connect yet.
    pub fn new(service: IngestService, settings: &MqttSettings) -> Result<MqttSource, Error> {
        let broker = settings.broker()?;
        let topics = settings.topics()?;
        let wrong = |problem: &str| Error::Config(format!("serve.mqtt.{problem}"));
        if settings.client_id.is_empty() {
            return Err(wrong("client_id must be set and unique to this node"));
        }
        let place = format!("{}:{}", broker.host, broker.port);
        if settings.password.is_some() && !broker.tls && !is_loopback_host(&broker.host) {
            warn!(target: TARGET, broker = %place, "the password crosses the network in plain text; use mqtts://");
        }
        let mut options = MqttOptions::new(settings.client_id.clone(), (broker.host, broker.port));
        let identity = match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => Some((certificate.as_path(), key.as_path())),
            (None, None) => None,
            _ => return Err(wrong("certificate and key must be set together")),
        };
        if broker.tls {
            let config = client_config(settings.ca.as_deref(), identity)?;
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config))));
        } else if settings.ca.is_some() || identity.is_some() {
            return Err(wrong("broker: ca and certificate are for mqtts:// only"));
        }
        match (&settings.username, &settings.password) {
            (Some(user), Some(password)) => {
                options.set_credentials(user.as_str(), password.reveal().as_bytes().to_vec());
            }
            (Some(user), None) => drop(options.set_username(user.as_str())),
            (None, None) => {}
            (None, Some(_)) => return Err(wrong("password: username must be set too")),
        }
        options
            .set_ack_mode(AckMode::Manual)
            // The broker keeps messages that arrive meanwhile.
            .set_clean_start(false)
            .set_session_store(NothingOfOurs { session_seconds: settings.session_seconds })
            .set_session_expiry_interval(Some(settings.session_seconds))
            .set_receive_maximum(Some(settings.in_flight.max(1)))
            .set_max_packet_size(Some(settings.message_bytes.max(1024)))
            .set_keep_alive(settings.keep_alive_seconds.max(5))
            .set_connect_timeout(BROKER_TIMEOUT);
        if topics.leaves_outcomes_out() {
            warn!(target: TARGET, "serve.mqtt.topics: messages on topics without {{device_id}} have no outcomes");
        }
        let settings = settings.clone();
        let failures = Arc::default();
        let rejections = Arc::new(Rejections::new(&RateSettings::default()));
        Ok(MqttSource { service, settings, topics, options, place, failures, rejections })
    }

    /// Shares the failures of the stores and the limit of rejections with other transports.
    pub(super) fn sharing(self, failures: &Arc<StoreFailures>, rejections: &Arc<Rejections>) -> MqttSource {
        MqttSource { failures: Arc::clone(failures), rejections: Arc::clone(rejections), ..self }
    }

    /// Returns how long to retry records that the stores do not store although they store others.
    fn hold(&self) -> Duration {
        Duration::from_secs(self.settings.hold_seconds.max(1))
    }

    /// Ingests records until `stop`; then finishes those in progress and leaves the broker. Reconnects when a
    /// connection breaks.
    pub async fn run(self, stop: CancellationToken) {
        let metrics = self.service.metrics().clone();
        metrics.mqtt_connected(&self.place, false);
        let mut pauses = pauses_anew();
        loop {
            let mut connected = false;
            let ended = self.connection().run(&stop, || {
                connected = true;
                metrics.mqtt_connected(&self.place, true);
                info!(target: TARGET, broker = %self.place, "receiving records from the broker");
            });
            let ended = ended.await;
            // At once: the backoff before the next attempt is long when the broker stays away.
            metrics.mqtt_connected(&self.place, false);
            match ended {
                Ended::Asked => return,
                Ended::Broken(problem) => {
                    if connected {
                        pauses = pauses_anew();
                    }
                    let pause = pauses.next().unwrap_or(MAX_BACKOFF);
                    warn!(target: TARGET, broker = %self.place, error = %problem, retry_seconds = pause.as_secs_f64(),
                        "not receiving records from the broker");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => return,
                    }
                }
            }
        }
    }

    fn connection(&self) -> Connection<'_> {
        // Unbounded: the tasks that decide records must not wait for the connection, which may wait for them. The
        // messages to the broker are small: one acknowledgement and one outcome each.
        let (client, events) = AsyncClient::builder(self.options.clone()).unbounded().build();
        Connection::new(self, client, events)
    }
}

fn pauses_anew() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(MIN_BACKOFF)
        .with_max_delay(MAX_BACKOFF)
        .without_max_times()
        .with_jitter()
        .build()
}

type Stored<'a, T> = BoxFuture<'a, Result<T, Box<dyn std::error::Error + Send + Sync>>>;

/// The session state before a connection: nothing that we sent awaits an acknowledgement. An outcome that was lost is
/// sent again when its message comes again, so nothing needs to be kept.
#[derive(Debug)]
struct NothingOfOurs {
    session_seconds: u32,
}

impl SessionStore for NothingOfOurs {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Stored<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: FORMAT,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(self.session_seconds),
            outgoing_inflight_upper_limit: None,
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async { Ok(Some(session)) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
