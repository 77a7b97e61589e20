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

use rumqttc::{matches, valid_filter, valid_topic};
use serde::Deserialize;
use url::Url;

use super::super::settings::list;
use crate::error::Error;
use crate::secret::Secret;

/// Stands for the device in a topic.
const DEVICE: &str = "{device_id}";

/// What is taken from an MQTT broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {
    /// `mqtt://HOST:1883`, or `mqtts://HOST:8883` for TLS. It must speak MQTT 5.
    pub broker: String,
    /// The client identifier, of this node alone: under it the broker keeps what comes while the node is away.
    pub client_id: String,
    /// Topic filters. A level that is `{device_id}` is any device, and the record must be of the device it names.
    #[serde(default = "topics", deserialize_with = "list")]
    pub topics: Vec<String>,
    /// Where the outcome of a message goes that names no response topic; nowhere by default.
    #[serde(default)]
    pub outcomes: Option<String>,
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

    /// What is subscribed to.
    pub(super) fn filters(&self) -> Result<Vec<Filter>, Error> {
        if self.topics.is_empty() {
            return Err(Error::Config("serve.mqtt.topics: there is no topic to subscribe to".to_owned()));
        }
        let filters: Vec<Filter> =
            self.topics.iter().map(|topic| Filter::new(topic)).collect::<Result<_, _>>()?;
        if let Some(outcomes) = &self.outcomes {
            let example = outcomes_topic(outcomes, "device");
            if !valid_topic(&example) {
                let problem = "serve.mqtt.outcomes: a topic without wildcards is wanted";
                return Err(Error::Config(problem.to_owned()));
            }
            if filters.iter().any(|filter| filter.matches(&example)) {
                let problem = "serve.mqtt.outcomes: outcomes must not go where records are taken from";
                return Err(Error::Config(problem.to_owned()));
            }
        }
        Ok(filters)
    }
}

/// The topic for the outcomes of a device.
pub(super) fn outcomes_topic(pattern: &str, device_id: &str) -> String {
    pattern.replace(DEVICE, device_id)
}

/// A topic filter whose level for the device is known.
#[derive(Debug)]
pub(super) struct Filter {
    /// What the broker is asked for.
    pub(super) subscribed: String,
    /// The filter without the share it belongs to.
    plain: String,
    /// Which level of a topic names the device.
    device: Option<usize>,
}

impl Filter {
    fn new(pattern: &str) -> Result<Filter, Error> {
        let wrong = |problem: &str| Error::Config(format!("serve.mqtt.topics: {pattern:?}: {problem}"));
        let levels: Vec<&str> = pattern.split('/').collect();
        let share = if levels[0] == "$share" { 2 } else { 0 };
        if levels.len() <= share {
            return Err(wrong("$share/GROUP/FILTER is wanted"));
        }
        let mut named = levels[share..].iter().enumerate().filter(|(_, level)| **level == DEVICE);
        let device = named.next().map(|(level, _)| level);
        if named.next().is_some() || levels.iter().any(|level| level.contains(DEVICE) && *level != DEVICE) {
            return Err(wrong("{device_id} is wanted once, as a level of its own"));
        }
        let subscribed = pattern.replace(DEVICE, "+");
        let plain = subscribed.splitn(share + 1, '/').last().unwrap_or_default().to_owned();
        if !valid_filter(&plain) {
            return Err(wrong("it is no topic filter"));
        }
        Ok(Filter { subscribed, plain, device })
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        matches(topic, &self.plain)
    }

    /// Whether a message on this topic may carry a record of the device.
    pub(super) fn allows(&self, topic: &str, device_id: &str) -> bool {
        self.device.is_none_or(|level| topic.split('/').nth(level) == Some(device_id))
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

    #[test]
    fn a_level_of_a_topic_names_the_device() {
        let filter = Filter::new("fleet/{device_id}/records/#").unwrap();
        assert_eq!(filter.subscribed, "fleet/+/records/#");
        assert!(filter.matches("fleet/lift-01/records/door") && !filter.matches("fleet/lift-01/outcomes"));
        assert!(filter.allows("fleet/lift-01/records", "lift-01"));
        assert!(!filter.allows("fleet/lift-01/records", "lift-02"));
        let shared = Filter::new("$share/nodes/{device_id}/records").unwrap();
        assert_eq!(shared.subscribed, "$share/nodes/+/records");
        assert!(shared.matches("lift-01/records") && shared.allows("lift-01/records", "lift-01"));
        assert!(Filter::new("records").unwrap().allows("records", "any"));
        for wrong in ["", "a/#/b", "a+", "$share/nodes", "{device_id}/{device_id}", "lift-{device_id}/x"] {
            assert!(Filter::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn outcomes_are_not_taken_for_records() {
        let with = |more: Value| settings(more).filters();
        assert!(with(json!({"outcomes": "edgesentry/{device_id}/outcomes"})).is_ok());
        assert!(with(json!({"outcomes": "edgesentry/{device_id}/records"})).is_err());
        assert!(with(json!({"topics": ["#"], "outcomes": "any/where"})).is_err());
        assert!(with(json!({"outcomes": "edgesentry/+/outcomes"})).is_err());
        assert!(with(json!({"topics": []})).is_err());
    }
}
