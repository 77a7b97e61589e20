//! One connection to a broker, from start to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rumqttc::{
    AsyncClient, Event, EventLoop, Packet, PubAck, PubAckReason, Publish, PublishResult, QoS,
    SubscribeReasonCode,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::intake::{Arrived, Intake};
use super::{BROKER_TIMEOUT, MqttSource};
use edgesentry_rs::error::describe;

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::transport::mqtt::connection";

/// How a connection ended.
pub(super) enum Ended {
    /// As requested.
    Asked,
    /// By a failure, with the reason.
    Broken(String),
}

/// A connection, and its events that were not read yet.
pub(super) struct Connection<'a> {
    source: &'a MqttSource,
    client: AsyncClient,
    events: EventLoop,
}

/// Handles the packets of the broker.
struct Arriving {
    messages: mpsc::Sender<Publish>,
    /// The largest packet that the broker accepts.
    largest: Arc<AtomicU32>,
    connected: mpsc::Sender<()>,
}

/// A task that is aborted when the handle is dropped.
struct Task(JoinHandle<String>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<'a> Connection<'a> {
    pub(super) fn new(source: &'a MqttSource, client: AsyncClient, events: EventLoop) -> Connection<'a> {
        Connection { source, client, events }
    }

    pub(super) async fn run(self, stop: &CancellationToken, mut connected: impl FnMut()) -> Ended {
        let Connection { source, client, events } = self;
        let in_flight = usize::from(source.settings.in_flight.max(1));
        let (messages, mut arrived) = mpsc::channel(in_flight);
        let (greeted, mut greeting) = mpsc::channel(1);
        let largest = Arc::new(AtomicU32::new(u32::MAX));
        let arriving = Arriving { messages, largest: Arc::clone(&largest), connected: greeted };
        // A separate task: it must go on during a commit.
        let mut polling = Task(tokio::spawn(arriving.poll(events)));
        for filter in source.topics.subscribed() {
            if let Err(error) = client.try_subscribe(filter.to_owned(), QoS::AtLeastOnce) {
                return Ended::Broken(format!("{filter}: {error}"));
            }
        }
        let (taken, acknowledged) = mpsc::unbounded_channel();
        let work = async {
            let intake = Intake::new(source, &client, largest, taken);
            futures::try_join!(intake.run(&mut arrived, stop), acknowledge(&client, acknowledged))
        };
        let mut work = std::pin::pin!(work);
        let mut live = false;
        loop {
            tokio::select! {
                Some(()) = greeting.recv() => {
                    live = true;
                    connected();
                }
                ended = &mut polling.0 => return Ended::Broken(why(ended)),
                worked = &mut work => if let Err(problem) = worked { return Ended::Broken(problem) } else { break },
            }
        }
        // All received messages are decided and acknowledged, but the packets may not be sent yet.
        if live && client.disconnect_with_timeout(BROKER_TIMEOUT).await.is_ok() {
            let _ = tokio::time::timeout(BROKER_TIMEOUT * 2, &mut polling.0).await;
        }
        Ended::Asked
    }
}

fn why(ended: Result<String, tokio::task::JoinError>) -> String {
    ended.unwrap_or_else(|error| error.to_string())
}

impl Arriving {
    /// Drives the connection until it breaks; returns the reason.
    async fn poll(self, mut events: EventLoop) -> String {
        loop {
            let packet = match events.poll().await {
                Ok(Event::Incoming(packet)) => packet,
                Ok(_) => continue,
                Err(error) => return describe(&error),
            };
            match packet {
                Packet::ConnAck(accepted) => {
                    if let Some(largest) =
                        accepted.properties.and_then(|properties| properties.max_packet_size)
                    {
                        self.largest.store(largest, Ordering::Relaxed);
                    }
                }
                Packet::SubAck(answer) => {
                    let granted = |code: &SubscribeReasonCode| {
                        matches!(code, SubscribeReasonCode::Success(QoS::AtLeastOnce | QoS::ExactlyOnce))
                    };
                    if let Some(code) = answer.return_codes.iter().find(|code| !granted(code)) {
                        return format!("the broker does not grant the subscription at QoS 1: {code:?}");
                    }
                    // Only now is the connection usable: without a subscription it delivers nothing.
                    let _ = self.connected.try_send(());
                }
                Packet::Publish(message) => {
                    // Some brokers exceed the agreed messages in flight. Then the whole connection waits: the receiver
                    // of the channel waits for the stores, and never for this task. An error means that the node is
                    // leaving; the broker keeps the message.
                    let _ = self.messages.send(message).await;
                }
                Packet::Disconnect(reason) => {
                    return format!("the broker has ended the connection: {:?}", reason.reason_code);
                }
                _ => {}
            }
        }
    }
}

/// Acknowledges messages in the order of arrival, each when the broker has its outcome. The broker sends messages again
/// that are undecided when the service stops, and those behind them.
async fn acknowledge(
    client: &AsyncClient,
    mut arrived: mpsc::UnboundedReceiver<Arrived>,
) -> Result<(), String> {
    while let Some((ack, answer)) = arrived.recv().await {
        let Ok(notice) = answer.await else { return Ok(()) };
        if let Some(notice) = notice {
            match notice.wait_async().await {
                Ok(PublishResult::Qos1(PubAck {
                    reason: PubAckReason::Success | PubAckReason::NoMatchingSubscribers,
                    ..
                })) => {}
                // The record is decided, and sending the message again would change nothing.
                Ok(refused) => {
                    warn!(target: TARGET, answer = ?refused, "the broker rejected an outcome")
                }
                Err(error) => return Err(format!("an outcome was not sent: {error}")),
            }
        }
        if let Some(ack) = ack {
            client.manual_ack(ack).await.map_err(|error| describe(&error))?;
        }
    }
    Ok(())
}
