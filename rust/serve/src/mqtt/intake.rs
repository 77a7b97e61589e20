//! Messages on their way from the broker to their decision.
//!
//! Records are tried together as they come. A device of which a record fails for the moment is tried apart from then on,
//! so that it holds up nobody else; after [`MqttSettings::hold_seconds`](super::MqttSettings) its record is answered
//! with an error and stays with the device. While the stores fail for all devices nothing is answered, and the broker
//! keeps what comes.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use rumqttc::{AsyncClient, ManualAck, Publish, PublishNotice};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::held::Held;
use super::outcomes::{Outcomes, Reply};
use super::{MAX_BACKOFF, MqttSource, pauses_anew};
use crate::answer;
use crate::failures::may_pass;
use crate::identity::SenderKey;
use crate::problem::Problem;
use edgesentry_rs::admission::{Outcome, Submission};
use edgesentry_rs::error::{Error, NotTried};
use edgesentry_rs::wire::{Answer, parse_submission};

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::transport::mqtt::intake";

/// Devices that are tried again at once.
const CONCURRENT_RETRIES: usize = 8;

/// A message, in the order in which it came: how it is acknowledged, and when.
pub(super) type Arrived = (Option<ManualAck>, oneshot::Receiver<Option<PublishNotice>>);

/// A message whose record is not decided yet.
pub(super) struct Message {
    submission: Submission,
    reply: Reply,
    answered: oneshot::Sender<Option<PublishNotice>>,
    key: SenderKey,
}

/// Under which key the rejections of a sender count: that of its device if the broker vouches for it.
fn sender_key(device_id: &str, bound: bool) -> SenderKey {
    SenderKey::of(("mqtt", bound.then_some(device_id)))
}

impl Message {
    pub(super) fn device_id(&self) -> &str {
        &self.submission.record.device_id
    }
}

type Tried = Vec<(Message, Result<Outcome, Error>)>;

/// Records that were tried together.
struct Round {
    tried: Tried,
    /// Whether they are those of devices of which a record failed before.
    again: bool,
}

/// What is not decided yet.
pub(super) struct Intake<'a> {
    source: &'a MqttSource,
    client: &'a AsyncClient,
    outcomes: Outcomes<'a>,
    arrived: mpsc::UnboundedSender<Arrived>,
    fresh: Vec<Message>,
    held: Held,
    /// Messages that are not answered yet.
    open: usize,
    rounds: FuturesUnordered<BoxFuture<'a, Round>>,
    trying: bool,
    trying_again: bool,
    again_at: Instant,
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        source: &'a MqttSource,
        client: &'a AsyncClient,
        largest: Arc<AtomicU32>,
        arrived: mpsc::UnboundedSender<Arrived>,
    ) -> Intake<'a> {
        Intake {
            source,
            client,
            outcomes: Outcomes { client, largest },
            arrived,
            fresh: Vec::new(),
            held: Held::default(),
            open: 0,
            rounds: FuturesUnordered::new(),
            trying: false,
            trying_again: false,
            again_at: Instant::now(),
            pauses: Box::new(pauses_anew()),
        }
    }

    /// Takes messages in, as many together as are there, until it is asked to stop; then finishes what is under way.
    pub(super) async fn run(
        mut self,
        messages: &mut mpsc::Receiver<Publish>,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let most = messages.max_capacity();
        let mut taken = Vec::new();
        loop {
            let stopping = stop.is_cancelled();
            if stopping && self.rounds.is_empty() {
                return Ok(());
            }
            if !stopping {
                self.begin_rounds();
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {}
                Some(round) = self.rounds.next(), if !self.rounds.is_empty() => {
                    if !self.settle(round).await? {
                        return Ok(());
                    }
                }
                // A broker that sends more than was agreed to be in flight waits.
                count = messages.recv_many(&mut taken, most), if !stopping && self.open < most => {
                    if count == 0 {
                        // The connection has ended, which another tells.
                        return std::future::pending().await;
                    }
                    for message in taken.drain(..) {
                        self.take(&message).await?;
                    }
                }
                () = tokio::time::sleep_until(self.again_at), if !stopping && !self.trying_again && self.held.waits() => {}
            }
        }
    }

    /// A message that has come: answered at once, or to be tried.
    async fn take(&mut self, message: &Publish) -> Result<(), String> {
        let (answered, answer) = oneshot::channel();
        // Acknowledged in the order in which they came, as MQTT wants it.
        if self.arrived.send((self.client.prepare_ack(message), answer)).is_err() {
            return Err("acknowledgements have ended".to_owned());
        }
        self.open += 1;
        let topic = String::from_utf8_lossy(&message.topic);
        let bound = self.source.topics.bound(&topic);
        let reply = Reply::new(self.source, &bound, message);
        let submission = match parse_submission(&message.payload) {
            Ok(submission) => submission,
            Err(error) => {
                let problem = Problem::from(error);
                warn!(target: TARGET, topic = %topic, problem = problem.detail(), "a message is not a record");
                return self.answer(reply, answered, &answer::malformed(&problem)).await;
            }
        };
        let device_id = &submission.record.device_id;
        if !bound.iter().all(|bound| bound.device_id == *device_id) {
            warn!(target: TARGET, topic = %topic, device_id, "a message carries a record of another device than its topic says");
            let problem = Problem::other_device(device_id);
            let refused = answer::refused(&submission.record, &problem, false);
            return self.answer(reply, answered, &refused).await;
        }
        let key = sender_key(device_id, !bound.is_empty());
        let known = self.source.service.knows(device_id);
        if let Err(wait) = self.source.rejections.check(key, device_id, known) {
            self.source.service.metrics().count_limited_rejection();
            let refused = answer::refused(&submission.record, &Problem::rejections_limited(wait), true);
            return self.answer(reply, answered, &refused).await;
        }
        let message = Message { submission, reply, answered, key };
        if self.held.has(message.device_id()) {
            self.held.push(message);
        } else {
            self.fresh.push(message);
        }
        Ok(())
    }

    /// Tries what can be tried now.
    fn begin_rounds(&mut self) {
        let service = self.source.service.clone();
        if !self.trying && !self.fresh.is_empty() {
            self.trying = true;
            let (fresh, service) = (std::mem::take(&mut self.fresh), service.clone());
            self.rounds
                .push(async move { Round { tried: attempt(&service, fresh).await, again: false } }.boxed());
        }
        if !self.trying_again && self.held.waits() && self.again_at <= Instant::now() {
            self.trying_again = true;
            // Each device by itself: one must not fail with another.
            let attempts: Vec<_> = self
                .held
                .take()
                .into_iter()
                .map(|messages| {
                    let service = service.clone();
                    async move { attempt(&service, messages).await }
                })
                .collect();
            let tried = futures::stream::iter(attempts).buffer_unordered(CONCURRENT_RETRIES).concat();
            self.rounds.push(async move { Round { tried: tried.await, again: true } }.boxed());
        }
    }

    /// Answers what was decided and keeps the rest for another try; false if the service has stopped.
    async fn settle(&mut self, round: Round) -> Result<bool, String> {
        let Round { tried, again } = round;
        *(if again { &mut self.trying_again } else { &mut self.trying }) = false;
        let mut failed: Vec<(String, Vec<Message>, Error)> = Vec::new();
        for (message, outcome) in tried {
            self.source.failures.observe(message.device_id(), &outcome);
            if let Ok(outcome) = &outcome {
                self.source.rejections.count(message.key, outcome);
            }
            match outcome {
                Err(Error::Stopped) => return Ok(false),
                Err(error) if may_pass(&error) => {
                    match failed.iter_mut().find(|(device_id, ..)| device_id == message.device_id()) {
                        Some((_, messages, _)) => messages.push(message),
                        None => failed.push((message.device_id().to_owned(), vec![message], error)),
                    }
                }
                // Also an error that no other try would mend: the record stays with its device.
                outcome => {
                    self.held.decided(message.device_id());
                    self.decide(message, outcome).await?;
                }
            }
        }
        let records: usize = failed.iter().map(|(_, messages, _)| messages.len()).sum();
        let error = failed.first().map(|(.., error)| error.clone());
        for (device_id, messages, error) in failed {
            self.held.put_back(&device_id, messages, error);
        }
        self.move_to_held();
        self.give_up().await?;
        self.held.tidy();
        if error.is_none() && again {
            self.pauses = Box::new(pauses_anew());
        }
        if let Some(error) = error.filter(|_| again || self.again_at <= Instant::now()) {
            // Often enough that no device waits much longer than it has to.
            let pause = self.pauses.next().unwrap_or(MAX_BACKOFF).min(self.source.hold() / 3);
            self.again_at = Instant::now() + pause;
            warn!(target: TARGET, records, error = %error, retry_seconds = pause.as_secs_f64(), "messages wait for the stores");
        }
        Ok(true)
    }

    /// Messages that came while an earlier record of their device failed stay behind it.
    fn move_to_held(&mut self) {
        for message in std::mem::take(&mut self.fresh) {
            if self.held.has(message.device_id()) {
                self.held.push(message);
            } else {
                self.fresh.push(message);
            }
        }
    }

    /// Answers records that the stores have not taken for too long while they took others.
    async fn give_up(&mut self) -> Result<(), String> {
        let hold = self.source.hold();
        let for_all = self.source.failures.are_for_all();
        // If nothing else can come any more, it could never be seen that the stores take others.
        let full = self.held.len() >= usize::from(self.source.settings.in_flight.max(1));
        if for_all && !full {
            return Ok(());
        }
        for (messages, error) in self.held.give_up(hold, !for_all) {
            let why = NotTried::behind(&error);
            let mut error = Some(error);
            for message in messages {
                let record = &message.submission.record;
                let error = error.take().unwrap_or_else(|| why.error(record));
                warn!(target: TARGET, device_id = record.device_id, sequence = record.sequence, error = %error,
                    "a record was not stored; its device is asked to send it again");
                self.decide(message, Err(error)).await?;
            }
        }
        Ok(())
    }

    async fn decide(&mut self, message: Message, outcome: Result<Outcome, Error>) -> Result<(), String> {
        let Message { submission, reply, answered, .. } = message;
        self.answer(reply, answered, &answer::decided(&submission.record, outcome)).await
    }

    /// Sends an outcome; its message is acknowledged when the broker has it.
    async fn answer(
        &mut self,
        reply: Reply,
        answered: oneshot::Sender<Option<PublishNotice>>,
        answer: &Answer,
    ) -> Result<(), String> {
        let notice = self.outcomes.send(reply, answer).await?;
        self.open -= 1;
        // Without a receiver the connection ends.
        let _ = answered.send(notice);
        Ok(())
    }
}

async fn attempt(service: &edgesentry_rs::ingest::storage::IngestService, messages: Vec<Message>) -> Tried {
    let submissions = messages.iter().map(|message| message.submission.clone()).collect();
    let outcomes = service.ingest_many(submissions).await;
    messages.into_iter().zip(outcomes).collect()
}
