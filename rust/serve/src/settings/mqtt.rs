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
    vec!["edgesentry/{device_id}/records".to_owned()]
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
