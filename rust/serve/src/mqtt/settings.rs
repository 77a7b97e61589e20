//! `[serve.mqtt]`: the broker of records, and the topics of their outcomes.
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

/// The subscription to an MQTT broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {
    /// `mqtt://HOST:1883`, or `mqtts://HOST:8883` for TLS. It must speak MQTT 5.
    pub broker: String,
    /// The client identifier, unique to this node: under it the broker keeps messages while the node is away.
    pub client_id: String,
    /// Topic filters. A level `{device_id}` matches any device, and the record must be of that device. Messages of a
    /// filter without it have no outcomes.
    #[serde(default = "topics", deserialize_with = "list")]
    pub topics: Vec<String>,
    /// The topic of outcomes for messages without a response topic; `{device_id}` is the device of the message's topic.
    /// None by default.
    #[serde(default)]
    pub outcomes: Option<String>,
    /// Topics with `{device_id}` as a level, at or below which a message may request its outcome. By default only below
    /// the level of the device in the message's topic.
    #[serde(default, deserialize_with = "list")]
    pub responses: Vec<String>,
    /// Seconds to retry a record that the stores do not store although they store others; then its outcome is an error,
    /// and its device sends it again.
    #[serde(default = "hold_seconds")]
    pub hold_seconds: u64,
    /// The user name at the broker.
    #[serde(default)]
    pub username: Option<String>,
    /// Its password.
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
    /// The largest message in bytes. The broker drops larger ones.
    #[serde(default = "message_bytes")]
    pub message_bytes: u32,
    /// Seconds that the broker keeps messages while the node is away.
    #[serde(default = "session_seconds")]
    pub session_seconds: u32,
    /// Seconds of silence before the connection is probed.
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

/// The address of a broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl MqttSettings {
    /// Parses the address of the broker.
    pub(super) fn broker(&self) -> Result<Broker, Error> {
        let wrong = || {
            let problem = "expected mqtt://HOST:PORT or mqtts://HOST:PORT, without user and password";
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

    /// Returns the subscriptions, and the topics of outcomes.
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
