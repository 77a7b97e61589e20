//! Outcomes that are sent to devices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use rumqttc::{AsyncClient, Publish, PublishNotice, PublishOptions, PublishProperties, QoS};
use tracing::warn;

use super::MqttSource;
use super::topics::Bound;
use crate::json;
use edgesentry_rs::wire::Answer;

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::transport::mqtt::outcomes";

/// The longest correlation data that is returned with an outcome.
const MAX_CORRELATION_BYTES: usize = 1024;

/// The destination of the outcome of a message.
pub(super) struct Reply {
    topic: Option<String>,
    correlation_data: Option<Bytes>,
}

impl Reply {
    /// A message on a topic that is not bound to one device gets no outcome: any client could have sent it.
    pub(super) fn new(source: &MqttSource, bound: &[Bound], message: &Publish) -> Reply {
        let properties = message.properties.as_ref();
        let response = properties.and_then(|properties| properties.response_topic.as_deref());
        let [bound] = bound else {
            return Reply { topic: None, correlation_data: None };
        };
        let topic = source.topics.reply_to(bound, response).unwrap_or_else(|topic| {
            let device_id = bound.device_id.as_str();
            warn!(target: TARGET, device_id, topic, "a response topic is not its sender's own; the outcome is not sent");
            None
        });
        let correlation_data = properties.and_then(|properties| properties.correlation_data.clone());
        let correlation_data = correlation_data.filter(|data| {
            let fits = data.len() <= MAX_CORRELATION_BYTES;
            if !fits {
                warn!(target: TARGET, bytes = data.len(), "correlation data is too long; the outcome is sent without it");
            }
            fits
        });
        Reply { topic, correlation_data }
    }
}

/// Sends outcomes.
pub(super) struct Outcomes<'a> {
    pub(super) client: &'a AsyncClient,
    /// The largest packet that the broker accepts.
    pub(super) largest: Arc<AtomicU32>,
}

impl Outcomes<'_> {
    /// Sends an outcome if there is a topic for it; the notice resolves when the broker has it.
    pub(super) async fn send(&self, reply: Reply, answer: &Answer) -> Result<Option<PublishNotice>, String> {
        let Reply { topic: Some(topic), correlation_data } = reply else { return Ok(None) };
        let text = json::text(answer);
        let size = text.len() + topic.len() + correlation_data.as_ref().map_or(0, Bytes::len) + 256;
        if size > self.largest.load(Ordering::Relaxed) as usize {
            warn!(target: TARGET, topic, size, "the outcome exceeds the broker's maximum packet size");
            return Ok(None);
        }
        let properties = PublishProperties {
            content_type: Some("application/json".to_owned()),
            correlation_data,
            ..PublishProperties::default()
        };
        let options = PublishOptions::new(QoS::AtLeastOnce).properties(properties);
        let sent = self.client.publish_tracked(topic, text, options).await;
        sent.map(Some).map_err(|error| format!("an outcome cannot be sent: {error}"))
    }
}
