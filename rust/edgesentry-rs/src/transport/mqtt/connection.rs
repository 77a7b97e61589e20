//! One connection to a broker, from its beginning to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rumqttc::{
    AsyncClient, Event, EventLoop, ManualAck, Packet, PubAck, PubAckReason, Publish, PublishNotice,
    PublishOptions, PublishProperties, PublishResult, QoS, SubscribeReasonCode,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::settings::outcomes_topic;
use super::{LONGEST_PAUSE, MqttSource, PATIENCE, pauses_anew};
use crate::error::describe;
use crate::ingest::verify::Submission;
use crate::transport::http::{Answer, Problem, submission};

/// How a connection ended.
pub(super) enum Ended {
    /// As asked for.
    Asked,
    /// Otherwise, and why.
    Broken(String),
}

/// A connection, and what was not yet taken from it.
pub(super) struct Connection<'a> {
    source: &'a MqttSource,
    client: AsyncClient,
    events: EventLoop,
}

/// What the broker says of itself and of messages.
struct Arriving {
    messages: mpsc::Sender<Publish>,
    /// The largest packet that the broker takes.
    largest: Arc<AtomicU32>,
    connected: mpsc::Sender<()>,
}

/// How a message that is decided is acknowledged, and its outcome that is on its way.
type Decided = (Option<ManualAck>, Option<PublishNotice>);

/// Ends a task with whoever waits for it.
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
        // Its own task: it must go on while a commit is waited for.
        let mut polling = Task(tokio::spawn(arriving.poll(events)));
        for filter in &source.filters {
            if let Err(error) = client.try_subscribe(filter.subscribed.clone(), QoS::AtLeastOnce) {
                return Ended::Broken(format!("{}: {error}", filter.subscribed));
            }
        }
        let (decided, acknowledged) = mpsc::unbounded_channel();
        let work = async {
            let taking = take_in(source, &client, &largest, &mut arrived, decided, stop);
            futures::try_join!(taking, acknowledge(&client, acknowledged))
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
        // All that was taken is decided and acknowledged, but perhaps not yet on its way.
        if live && client.disconnect_with_timeout(PATIENCE).await.is_ok() {
            let _ = tokio::time::timeout(PATIENCE * 2, &mut polling.0).await;
        }
        Ended::Asked
    }
}

fn why(ended: Result<String, tokio::task::JoinError>) -> String {
    ended.unwrap_or_else(|error| error.to_string())
}

impl Arriving {
    /// Keeps the connection going until it breaks; answers why it did.
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
                    // A connection from which nothing can come is none.
                    let _ = self.connected.try_send(());
                }
                Packet::Publish(message) => {
                    // Some brokers send more than was agreed to be in flight. They wait then, with all that the
                    // connection has: whoever takes messages out waits for the stores, and never for this task.
                    // An error says that we are leaving; the broker keeps the message.
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

/// Takes messages in, as many together as are there, until it is asked to stop.
async fn take_in(
    source: &MqttSource,
    client: &AsyncClient,
    largest: &AtomicU32,
    arrived: &mut mpsc::Receiver<Publish>,
    decided: mpsc::UnboundedSender<Decided>,
    stop: &CancellationToken,
) -> Result<(), String> {
    loop {
        let mut messages = Vec::new();
        let most = arrived.max_capacity();
        let taken = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            taken = arrived.recv_many(&mut messages, most) => taken,
        };
        if taken == 0 {
            // The connection has ended, which another tells.
            return std::future::pending().await;
        }
        let Some(answers) = decide(source, &messages, stop).await else { return Ok(()) };
        for (message, answer) in messages.into_iter().zip(answers) {
            let notice = tell(source, client, largest, &message, &answer).await?;
            if decided.send((client.prepare_ack(&message), notice)).is_err() {
                return Ok(());
            }
        }
    }
}

/// What becomes of each message; none if the service ends before that is certain.
async fn decide(source: &MqttSource, messages: &[Publish], stop: &CancellationToken) -> Option<Vec<Answer>> {
    let mut answers: Vec<Option<Answer>> = vec![None; messages.len()];
    let mut waiting: Vec<(usize, Submission)> = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        match read(source, message) {
            Ok(submission) => waiting.push((at, submission)),
            Err(answer) => answers[at] = Some(*answer),
        }
    }
    let mut pauses = pauses_anew();
    while !waiting.is_empty() {
        let submissions = waiting.iter().map(|(_, submission)| submission.clone()).collect();
        let outcomes = source.service.ingest_many(submissions).await;
        let (mut again, mut failed) = (Vec::new(), None);
        for ((at, submission), outcome) in waiting.into_iter().zip(outcomes) {
            match outcome {
                Ok(outcome) => answers[at] = Some(Answer::new(&submission.record, Ok(outcome))),
                Err(crate::Error::Stopped) => return None,
                Err(error) => {
                    failed.get_or_insert(error);
                    again.push((at, submission));
                }
            }
        }
        waiting = again;
        if let Some(error) = failed {
            // The broker holds back what comes after them: it waits as well as anybody.
            let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
            warn!(records = waiting.len(), error = %error, retry_seconds = pause.as_secs_f64(),
                "messages wait for the stores");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return None,
            }
        }
    }
    answers.into_iter().collect()
}

/// The record of a message, or what is answered at once.
fn read(source: &MqttSource, message: &Publish) -> Result<Submission, Box<Answer>> {
    let topic = String::from_utf8_lossy(&message.topic);
    let submission = submission(&message.payload).map_err(|problem| {
        warn!(topic = %topic, problem = problem.detail(), "a message is no record");
        Box::new(Answer::malformed(&problem))
    })?;
    let device_id = &submission.record.device_id;
    if !source.filters.iter().any(|filter| filter.matches(&topic) && filter.allows(&topic, device_id)) {
        warn!(topic = %topic, device_id, "a message carries a record of another device than its topic says");
        let problem = Problem::other_device(device_id);
        return Err(Box::new(Answer::refused(&submission.record, &problem, false)));
    }
    Ok(submission)
}

/// Sends the outcome of a message where its sender wants it; the notice says when it has arrived.
async fn tell(
    source: &MqttSource,
    client: &AsyncClient,
    largest: &AtomicU32,
    message: &Publish,
    answer: &Answer,
) -> Result<Option<PublishNotice>, String> {
    let asked = message.properties.as_ref();
    let topic = asked.and_then(|properties| properties.response_topic.clone()).or_else(|| {
        let pattern = source.settings.outcomes.as_ref()?;
        Some(outcomes_topic(pattern, answer.device_id.as_deref()?))
    });
    let Some(topic) = topic else { return Ok(None) };
    // An outcome that came back as a message would have an outcome, and so on.
    if !rumqttc::valid_topic(&topic) || source.filters.iter().any(|filter| filter.matches(&topic)) {
        warn!(topic, "no outcome can be sent to this topic");
        return Ok(None);
    }
    let text = serde_json::to_vec(answer).unwrap_or_default();
    let correlation_data = asked.and_then(|properties| properties.correlation_data.clone());
    let size = text.len() + topic.len() + correlation_data.as_ref().map_or(0, bytes::Bytes::len) + 256;
    if size > largest.load(Ordering::Relaxed) as usize {
        warn!(topic, size, "the broker does not take an outcome as large as this");
        return Ok(None);
    }
    let properties = PublishProperties {
        content_type: Some("application/json".to_owned()),
        correlation_data,
        ..PublishProperties::default()
    };
    let options = PublishOptions::new(QoS::AtLeastOnce).properties(properties);
    let sent = client.publish_tracked(topic, text, options).await;
    sent.map(Some).map_err(|error| format!("an outcome cannot be sent: {error}"))
}

/// Acknowledges messages in the order in which they came, each when the broker has its outcome.
async fn acknowledge(
    client: &AsyncClient,
    mut decided: mpsc::UnboundedReceiver<Decided>,
) -> Result<(), String> {
    while let Some((ack, notice)) = decided.recv().await {
        if let Some(notice) = notice {
            match notice.wait_async().await {
                Ok(PublishResult::Qos1(PubAck {
                    reason: PubAckReason::Success | PubAckReason::NoMatchingSubscribers,
                    ..
                })) => {}
                // Its record is decided all the same, and sending the message again would change nothing.
                Ok(refused) => warn!(answer = ?refused, "the broker does not take an outcome"),
                Err(error) => return Err(format!("an outcome was not sent: {error}")),
            }
        }
        if let Some(ack) = ack {
            client.manual_ack(ack).await.map_err(|error| describe(&error))?;
        }
    }
    Ok(())
}
