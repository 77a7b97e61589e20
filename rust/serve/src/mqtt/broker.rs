//! The broker and the topics of the settings.

use url::Url;

use super::MqttSettings;
use super::topics::Topics;
use edgesentry_rs::error::Error;

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
