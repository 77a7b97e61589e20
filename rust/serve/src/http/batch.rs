//! `POST /api/v1/ingest/batch`: many records as NDJSON; responds line by line while they arrive.
//!
//! A batch is in progress, and holds its place, until the sender has taken its response.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use edgesentry_chain::AuditRecord;
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::schema::Wire;
use crate::answer;
use crate::app::{App, QUEUE_TIMEOUT, State};
use crate::bodies::{BodyError, Line, Lines, Room, reader};
use crate::identity::{Peer, Sender, SenderKey};
use crate::json;
use crate::problem::Problem;
use crate::shares::{Pool, Share};
use edgesentry_rs::admission::{OutcomeKind, Submission};
use edgesentry_rs::wire::{self, Answer, ProblemCode, parse_submission};

/// Records and bytes of text in one call of the service.
const UNIT_RECORDS: usize = 1024;
const UNIT_BYTES: usize = 4 << 20;
/// How long to wait for a line before the lines received so far are handed over.
const GATHER_TIMEOUT: Duration = Duration::from_millis(10);
/// Bytes of answers that wait for a sender who reads them only after sending everything.
const MAX_WAITING_BYTES: usize = 32 << 20;

/// Ingest many records: NDJSON, one record with its payload per line; the outcomes are NDJSON too, one per line in
/// order, then a summary
#[utoipa::path(
    post, path = "/api/v1/ingest/batch", tag = "ingest",
    request_body(content = Wire, content_type = "application/x-ndjson", description = "One record per line; Content-Encoding may be gzip or zstd"),
    responses(
        (status = 200, description = "One outcome per line, then a line with a summary", body = Answer, content_type = "application/x-ndjson"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 415, description = "encoding_unknown"),
        (status = 503, description = "busy, with Retry-After"),
    ),
    security((), ("certificate" = []), ("token" = ["ingest"]))
)]
pub(super) async fn batch(
    State(app): State,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let sender = app.sender(&peer, &headers)?;
    let key = sender.key(&peer);
    let reader = reader(&headers, body, app.limits.stall())?;
    let room = Room::new(&app.bodies, key);
    let lines = Lines::new(reader, room, app.limits.body_bytes, app.limits.batch_bytes);
    let place = app.batches.take(key, 1, QUEUE_TIMEOUT).await;
    let place = Arc::new(place.ok_or_else(|| Problem::busy("too many batches at once"))?);
    let (answers, answered) = mpsc::unbounded_channel();
    let waiting = Arc::new(Semaphore::new(MAX_WAITING_BYTES));
    let outgoing = Outgoing {
        answers,
        waiting: Arc::clone(&waiting),
        pool: Arc::clone(app.answers()),
        key,
        stall: app.limits.stall(),
    };
    let incoming = Incoming { app, peer, sender, key, lines };
    let working = Arc::clone(&place);
    tokio::spawn(async move {
        take_in(incoming, outgoing).await;
        drop(working);
    });
    // The piece handed out last counts until the next is requested, which means that it was taken.
    let state = (answered, waiting, place, None::<Share>);
    let text = futures::stream::unfold(state, |(mut answered, waiting, place, last)| async move {
        drop(last);
        let (text, share): (Bytes, Share) = answered.recv().await?;
        waiting.add_permits(text.len());
        Some((Ok::<_, std::convert::Infallible>(text), (answered, waiting, place, Some(share))))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(text)).into_response())
}

/// The lines of a batch.
struct Incoming {
    app: Arc<App>,
    peer: Peer,
    sender: Sender,
    key: SenderKey,
    lines: Lines,
}

/// The response of a batch.
struct Outgoing {
    answers: mpsc::UnboundedSender<(Bytes, Share)>,
    /// The limit of waiting bytes of this batch.
    waiting: Arc<Semaphore>,
    /// The limit of waiting bytes of all batches.
    pool: Arc<Pool>,
    key: SenderKey,
    stall: Duration,
}

/// The last line of the response.
#[derive(Serialize, Default)]
struct Summary {
    lines: u64,
    accepted: u64,
    duplicate: u64,
    rejected: u64,
    error: u64,
    /// Why the rest of the body was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<wire::Problem>,
}

#[derive(Serialize)]
struct Last {
    summary: Summary,
}

/// One line: a record sent to the service, or an immediate answer.
enum Slot {
    Sent(Arc<AuditRecord>),
    Answered(Box<Answer>),
}

/// The lines of a unit, and the memory that they hold until they are answered.
struct Pending {
    slots: Vec<Slot>,
    share: Option<Share>,
}

impl Pending {
    fn hold(&mut self, more: Option<Share>) {
        match (&mut self.share, more) {
            (Some(share), Some(more)) => share.merge(more),
            (None, more) => self.share = more,
            (Some(_), None) => {}
        }
    }
}

async fn take_in(incoming: Incoming, outgoing: Outgoing) {
    let (app, key) = (Arc::clone(&incoming.app), incoming.key);
    let service = app.service().clone();
    // Unit by unit, the lines whose outcomes the service has yet to return.
    let (slots, mut waiting) = mpsc::unbounded_channel::<Pending>();
    let (ending, end) = oneshot::channel::<Option<BodyError>>();
    let units = units(incoming, slots, ending);
    let mut answered = std::pin::pin!(service.ingest_stream(units));
    let mut summary = Summary::default();
    while let Some(outcomes) = answered.next().await {
        let Ok(unit) = waiting.try_recv() else { break };
        let mut outcomes = outcomes.into_iter();
        let mut text = Vec::with_capacity(unit.slots.len() * 96);
        let Pending { slots, share } = unit;
        for slot in slots {
            let answer = match slot {
                Slot::Answered(answer) => *answer,
                Slot::Sent(record) => {
                    let outcome = outcomes.next().unwrap_or(Err(edgesentry_rs::Error::Stopped));
                    app.note(key, &record.device_id, &outcome);
                    answer::decided(&record, outcome)
                }
            };
            summary.add(answer, &mut text);
        }
        drop(share);
        if !outgoing.send(text).await {
            return;
        }
    }
    summary.problem = end.await.ok().flatten().map(|error| Problem::from(error).into_document());
    let mut text = Vec::new();
    write_line(&mut text, &Last { summary });
    outgoing.send(text).await;
}

impl Summary {
    fn add(&mut self, answer: Answer, text: &mut Vec<u8>) {
        self.lines += 1;
        match answer.outcome {
            Some(OutcomeKind::Accepted) => self.accepted += 1,
            Some(OutcomeKind::Duplicate) => self.duplicate += 1,
            Some(OutcomeKind::Rejected) => self.rejected += 1,
            None => self.error += 1,
        }
        write_line(text, &Answer { line: Some(self.lines), ..answer });
    }
}

fn write_line(text: &mut Vec<u8>, value: &impl Serialize) {
    text.extend_from_slice(json::text(value).as_bytes());
    text.push(b'\n');
}

impl Outgoing {
    /// Sends text to the sender; returns false if it has gone, or if no room appears in time because it reads nothing.
    async fn send(&self, mut text: Vec<u8>) -> bool {
        text.shrink_to_fit();
        let room = async {
            let bytes = u32::try_from(text.len().min(MAX_WAITING_BYTES)).unwrap_or(u32::MAX);
            let permits = timeout(self.stall, self.waiting.acquire_many(bytes)).await.ok()?.ok()?;
            permits.forget();
            self.pool.take(self.key, text.len(), self.stall).await
        };
        let share = tokio::select! {
            share = room => share,
            () = self.answers.closed() => None,
        };
        let Some(share) = share else { return false };
        self.answers.send((text.into(), share)).is_ok()
    }
}

/// Splits the records of a batch into units for the service, and sends the lines of each unit to `slots`.
fn units(
    incoming: Incoming,
    slots: mpsc::UnboundedSender<Pending>,
    ending: oneshot::Sender<Option<BodyError>>,
) -> impl Stream<Item = Vec<Submission>> + Send {
    let reading = Reading { incoming, lines: 0, held_back: HashSet::new() };
    futures::stream::unfold(Some((reading, slots, ending)), |state| async move {
        let (mut reading, slots, ending) = state?;
        let (unit, lines, end) = reading.unit().await;
        let empty = lines.slots.is_empty();
        // The receiver of `slots` handles them in this order.
        let _ = slots.send(lines);
        match end {
            None => Some((unit, Some((reading, slots, ending)))),
            Some(end) => {
                let _ = ending.send(end);
                (!empty).then_some((unit, None))
            }
        }
    })
}

struct Reading {
    incoming: Incoming,
    lines: u64,
    /// Devices with a record that was not handed on: the records behind it would only be gaps.
    held_back: HashSet<SenderKey>,
}

type Unit = (Vec<Submission>, Pending, Option<Option<BodyError>>);

impl Reading {
    /// Reads the next unit, and the end of the body if it comes.
    async fn unit(&mut self) -> Unit {
        let mut pending = Pending { slots: Vec::new(), share: None };
        let (mut unit, mut bytes) = (Vec::new(), 0);
        while pending.slots.len() < UNIT_RECORDS && bytes < UNIT_BYTES {
            let next = self.incoming.lines.next();
            // A slow sender gets its answers without delay, too.
            let next = if pending.slots.is_empty() {
                next.await
            } else {
                match timeout(GATHER_TIMEOUT, next).await {
                    Ok(next) => next,
                    Err(_) => break,
                }
            };
            let Line { text, share } = match next {
                Ok(Some(line)) => line,
                Ok(None) => return (unit, pending, Some(None)),
                Err(error) => return (unit, pending, Some(Some(error))),
            };
            if text.iter().all(u8::is_ascii_whitespace) {
                // There may be millions of empty lines: let other tasks run.
                tokio::task::consume_budget().await;
                continue;
            }
            let most = self.incoming.app.limits.batch_records;
            if self.lines == most {
                return (unit, pending, Some(Some(BodyError::TooMany(most))));
            }
            self.lines += 1;
            bytes += text.len();
            match self.decide(&text) {
                Ok(submission) => {
                    pending.hold(share);
                    pending.slots.push(Slot::Sent(Arc::clone(&submission.record)));
                    unit.push(submission);
                }
                Err(answer) => pending.slots.push(Slot::Answered(answer)),
            }
        }
        (unit, pending, None)
    }

    /// Returns the record to send on, or the immediate answer.
    fn decide(&mut self, text: &[u8]) -> Result<Submission, Box<Answer>> {
        let submission =
            parse_submission(text).map_err(|error| Box::new(answer::malformed(&error.into())))?;
        let Incoming { app, peer, sender, key, .. } = &self.incoming;
        let record = &submission.record;
        let device = SenderKey::of(&record.device_id);
        if self.held_back.contains(&device) {
            let error = edgesentry_rs::error::NotTried::BehindPassing.error(record);
            return Err(Box::new(answer::decided(record, Err(error))));
        }
        app.authorize(peer, sender, *key, &submission).map_err(|problem| {
            let retryable = *problem.code() == ProblemCode::RateLimited;
            if retryable {
                self.held_back.insert(device);
            }
            Box::new(answer::refused(record, &problem, retryable))
        })?;
        Ok(submission)
    }
}
