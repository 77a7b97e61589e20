//! `[serve.mqtt]`: from which broker records are taken, and where their outcomes go.
//!
//! ```toml
//! [serve.mqtt]
//! broker = "mqtts://broker.example"
//! client_id = "edgesentry-1"
//! topics = ["edgesentry/{device_id}/records"]
//! outcomes = "edgesentry/{device_id}/outcomes"
//! ```

use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use super::topics::{DEVICE, Topics};
use edgesentry_rs::error::Error;
use edgesentry_rs::secret::Secret;
use edgesentry_rs::settings::list;

/// What is taken from an MQTT broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {
    /// `mqtt://HOST:1883`, or `mqtts://HOST:8883` for TLS. It must speak MQTT 5.
    pub broker: String,
    /// The client identifier, of this node alone: under it the broker keeps what comes while the node is away.
    pub client_id: String,
    /// Topic filters. A level that is `{device_id}` is any device, and the record must be of the device it names. The
    /// messages of a filter without it have no outcomes.
    #[serde(default = "topics", deserialize_with = "list")]
    pub topics: Vec<String>,
    /// Where the outcome of a message goes that names no response topic, `{device_id}` being the device of the topic on
    /// which the message came; nowhere by default.
    #[serde(default)]
    pub outcomes: Option<String>,
    /// Topics with `{device_id}` as a level, at or below which a message may ask for its outcome. By default only below
    /// the level of the device in the topic on which the message came.
    #[serde(default, deserialize_with = "list")]
    pub responses: Vec<String>,
    /// Seconds that a record is tried which the stores do not take although they take others; then its outcome is an
    /// error, and its device sends it again.
    #[serde(default = "hold_seconds")]
    pub hold_seconds: u64,
    /// A user of the broker.
    #[serde(default)]
    pub username: Option<String>,
    /// The password of the user.
    #[serde(default)]
    pub password: Option<Secret>,
    /// PEM file of the authorities of the broker; by default those of the system.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// PEM file of a client certificate, with `key`.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Messages that the broker sends before the first of them is acknowledged.
    #[serde(default = "in_flight")]
    pub in_flight: u16,
    /// The largest message. The broker sends no larger one, and forgets it.
    #[serde(default = "message_bytes")]
    pub message_bytes: u32,
    /// Seconds that the broker keeps messages while the node is away.
    #[serde(default = "session_seconds")]
    pub session_seconds: u32,
    /// Seconds of silence after which the connection is tried.
    #[serde(default = "keep_alive_seconds")]
    pub keep_alive_seconds: u16,
}

fn topics() -> Vec<String> {
    vec![format!("edgesentry/{DEVICE}/records")]
}

fn hold_seconds() -> u64 {
    30
}

fn in_flight() -> u16 {
    256
}

fn message_bytes() -> u32 {
    1 << 20
}

fn session_seconds() -> u32 {
    86_400
}

fn keep_alive_seconds() -> u16 {
    30
}

/// Where a broker is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl MqttSettings {
    /// Where the broker is.
    pub(super) fn broker(&self) -> Result<Broker, Error> {
        let wrong = || {
            let problem = "mqtt://HOST:PORT or mqtts://HOST:PORT is wanted, user and password apart from it";
            Error::Config(format!("serve.mqtt.broker: {problem}"))
        };
        let url = Url::parse(&self.broker).map_err(|_| wrong())?;
        let tls = match url.scheme() {
            "mqtt" => false,
            "mqtts" => true,
            _ => return Err(wrong()),
        };
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let host = url.host_str().filter(|_| bare && matches!(url.path(), "" | "/")).ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Broker { host, port: url.port().unwrap_or(if tls { 8883 } else { 1883 }), tls })
    }

    /// What is subscribed to, and where outcomes may go.
    pub(super) fn topics(&self) -> Result<Topics, Error> {
        Topics::new(&self.topics, self.outcomes.as_ref(), &self.responses)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(more: Value) -> MqttSettings {
        let mut all = json!({"client_id": "node", "broker": "mqtt://broker.example"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn a_broker_is_a_url() {
        let broker = |url: &str| settings(json!({ "broker": url })).broker();
        let of = |host: &str, port, tls| Broker { host: host.to_owned(), port, tls };
        assert_eq!(broker("mqtt://broker.example").unwrap(), of("broker.example", 1883, false));
        assert_eq!(broker("mqtts://broker.example").unwrap(), of("broker.example", 8883, true));
        assert_eq!(broker("mqtts://[::1]:9000/").unwrap(), of("::1", 9000, true));
        for wrong in
            ["broker.example", "http://x", "mqtt://", "mqtt://me:secret@x", "mqtt://x/y", "mqtt://x?a"]
        {
            let error = broker(wrong).unwrap_err().to_string();
            assert!(error.contains("serve.mqtt.broker") && !error.contains("secret"), "{wrong}: {error}");
        }
    }
}
