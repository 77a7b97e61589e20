//! Requests and responses.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use edgesentry_chain::escape;
use edgesentry_formats::times::{now_ms, parse_http_date};
use http_body_util::{BodyExt, Full, LengthLimitError};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::proxy::Proxy;
use super::{Client, Replies, Response as Whole};
use crate::clock::ServiceTime;
use crate::error::{Error, describe};
use crate::rejection::{Outcome, OutcomeKind};
use crate::submission::Submission;
use crate::wire::response::{is_retryable, read_problem, rejected};
use crate::wire::{Answer, Problem, ProblemCode, write_submission};

/// The longest response to one record.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// The longest proof: 1024 records that a service accepts, each with 63 hashes, and a note.
const MAX_PROOF_BYTES: usize = 8 << 20;

/// Characters of the target of a redirect in a message.
const MAX_SHOWN_TARGET: usize = 200;

/// The outcome of one record.
pub(super) type Reply = Result<Outcome, Error>;

/// A failed attempt, and how long to wait before the next.
pub(super) struct Call {
    pub(super) error: Error,
    pub(super) pause: Duration,
}

impl Client {
    /// Sends one record in one request.
    pub(super) async fn single(&self, submission: &Submission) -> Result<Outcome, Call> {
        let mut body = Vec::with_capacity(1024 + 2 * submission.payload.len());
        write_submission(submission, &mut body);
        let response = self.call(Method::POST, "api/v1/ingest", "application/json", body).await?;
        match response.status() {
            StatusCode::ACCEPTED => Ok(Outcome::Accepted),
            StatusCode::OK => Ok(Outcome::Duplicate),
            _ => {
                let (problem, call) = self.refused(response).await;
                match problem.code {
                    ProblemCode::Rejected(code) => {
                        Ok(rejected(submission, code, problem.expected, problem.actual))
                    }
                    _ => Err(call),
                }
            }
        }
    }

    /// Sends one request of any kind.
    pub(super) async fn any(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Whole, Call> {
        self.limited(method, path, content_type, body, self.0.settings.response_bytes).await
    }

    /// Sends one request of any kind, and reads a response of at most `limit` bytes.
    pub(super) async fn limited(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
        limit: usize,
    ) -> Result<Whole, Call> {
        let response = self.call(method, path, content_type, body).await?;
        let status = response.status().as_u16();
        Ok(Whole { status, body: self.body(response, limit).await? })
    }

    /// Reads a body of at most `limit` bytes.
    async fn body(&self, response: Response<Incoming>, limit: usize) -> Result<Bytes, Call> {
        let limited = http_body_util::Limited::new(response.into_body(), limit);
        match timeout(self.0.settings.timeout, limited.collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let problem = format!("the response has more than {limit} bytes, the limit of the client");
                let error = self.error(ProblemCode::ResponseInvalid, &problem, false);
                Err(Call { error, pause: Duration::ZERO })
            }
            Ok(Err(error)) => Err(self.broken(&format!("the response ended early: {}", describe(&*error)))),
            Err(_) => Err(self.broken("the response stalled")),
        }
    }

    /// Reads a proof.
    pub(super) async fn read_proof(&self, path: &str) -> Result<Bytes, Call> {
        self.fetched(Method::GET, path, Vec::new(), MAX_PROOF_BYTES).await
    }

    /// Sends one request, and reads a successful response of at most `limit` bytes.
    pub(super) async fn fetched(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        limit: usize,
    ) -> Result<Bytes, Call> {
        let response = self.call(method, path, "application/json", body).await?;
        if !response.status().is_success() {
            return Err(self.refused(response).await.1);
        }
        self.body(response, limit).await
    }

    /// Sends many records in one request.
    pub(super) async fn many(&self, submissions: &[&Submission]) -> Replies {
        let mut body = Vec::new();
        for submission in submissions {
            write_submission(submission, &mut body);
            body.push(b'\n');
        }
        let called = self.call(Method::POST, "api/v1/ingest/batch", "application/x-ndjson", body).await;
        let response = match called {
            Ok(response) if response.status() == StatusCode::OK => response,
            Ok(response) => return (Vec::new(), Some(self.refused(response).await.1)),
            Err(call) => return (Vec::new(), Some(call)),
        };
        let mut body = response.into_body();
        let (mut replies, mut text) = (Vec::new(), Vec::new());
        // Only an outcome is progress: a response of single bytes would never end.
        let mut until = Instant::now() + self.0.settings.timeout;
        while replies.len() < submissions.len() {
            let piece = match timeout_at(until, body.frame()).await {
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Ok(Some(Err(error))) => return (replies, Some(self.broken(&describe(&error)))),
                Ok(None) => return (replies, Some(self.broken("the response ended early"))),
                Err(_) => return (replies, Some(self.broken("the response stalled"))),
            };
            text.extend_from_slice(&piece);
            let mut begun = 0;
            while let Some(end) = memchr::memchr(b'\n', &text[begun..]) {
                let line = &text[begun..begun + end];
                begun += end + 1;
                let answer: Answer = match serde_json::from_slice(line) {
                    Ok(answer) => answer,
                    // The summary, before the outcome of every record.
                    Err(_) => return (replies, Some(self.cut_short(line))),
                };
                if let Some(submission) = submissions.get(replies.len()) {
                    replies.push(self.reply(submission, answer));
                }
            }
            if begun > 0 {
                until = Instant::now() + self.0.settings.timeout;
            }
            text.drain(..begun);
            if text.len() > MAX_RESPONSE_BYTES {
                return (replies, Some(self.broken("the response does not follow docs/reference/http.md")));
            }
        }
        // Read the body to its end, so that the connection can be used again.
        let rest = http_body_util::Limited::new(body, MAX_RESPONSE_BYTES);
        let _ = timeout(self.0.settings.timeout, rest.collect()).await;
        (replies, None)
    }

    fn reply(&self, submission: &Submission, answer: Answer) -> Reply {
        let reason = answer.reason.unwrap_or_default();
        match (answer.outcome, reason) {
            (Some(OutcomeKind::Accepted), _) => Ok(Outcome::Accepted),
            (Some(OutcomeKind::Duplicate), _) => Ok(Outcome::Duplicate),
            (Some(OutcomeKind::Rejected), ProblemCode::Rejected(code)) => {
                Ok(rejected(submission, code, answer.expected, answer.actual))
            }
            // Nothing was decided, or for a reason that only a newer service knows.
            (None | Some(OutcomeKind::Rejected), code) => {
                Err(self.error(code, &answer.detail.unwrap_or_default(), answer.retryable))
            }
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, Call> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.0.base))
            .header(header::CONTENT_TYPE, content_type);
        if let Some(token) = &self.0.settings.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        if let Some(authorization) = self.0.proxy.as_ref().and_then(Proxy::authorization) {
            request = request.header(header::PROXY_AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Call { error: Error::unusable("url or token", error), pause: Duration::ZERO })?;
        match timeout(self.0.settings.timeout, self.0.http.request(request)).await {
            Ok(Ok(response)) => {
                self.note_date(&response);
                Ok(response)
            }
            Ok(Err(error)) => Err(self.broken(&describe(&error))),
            Err(_) => Err(self.broken("no response in time")),
        }
    }

    /// Keeps the time of a successful response: others may come from something in between.
    fn note_date(&self, response: &Response<Incoming>) {
        let date = response.headers().get(header::DATE).filter(|_| response.status().is_success());
        if let Some(service_ms) = date.and_then(|date| parse_http_date(date.to_str().ok()?)) {
            let time = ServiceTime { service_ms, device_ms: now_ms() };
            *self.0.service_time.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
        }
    }

    /// Reads the problem from an unsuccessful response.
    async fn refused(&self, response: Response<Incoming>) -> (Problem, Call) {
        let status = response.status();
        let retryable = is_retryable(status.as_u16());
        let pause = response.headers().get(header::RETRY_AFTER);
        let pause = pause
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map_or(Duration::ZERO, Duration::from_secs);
        let target = response.headers().get(header::LOCATION).filter(|_| status.is_redirection());
        let redirect = target.map(|target| {
            let target = String::from_utf8_lossy(target.as_bytes());
            escape::name(&target.chars().take(MAX_SHOWN_TARGET).collect::<String>()).into_owned()
        });
        let limited = http_body_util::Limited::new(response.into_body(), MAX_RESPONSE_BYTES);
        let body = timeout(self.0.settings.timeout, limited.collect()).await;
        let body =
            body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let mut problem = read_problem(status.as_u16(), &body);
        if problem.detail.is_empty() {
            problem.detail = match redirect {
                Some(target) => format!(
                    "the response is a redirect to {target}, which is not followed, so that the token goes to this URL \
                     alone; pass the URL of the service itself"
                ),
                None => status.canonical_reason().unwrap_or("unknown status").to_owned(),
            };
        }
        let error = self.error(problem.code.clone(), &problem.detail, retryable);
        (problem, Call { error, pause })
    }

    fn cut_short(&self, line: &[u8]) -> Call {
        #[derive(Deserialize)]
        struct Last {
            summary: Summary,
        }
        #[derive(Deserialize)]
        struct Summary {
            problem: Option<Problem>,
        }
        let last: Option<Last> = serde_json::from_slice(line).ok();
        match last.and_then(|last| last.summary.problem) {
            Some(problem) => {
                // The service had no room or no time; the same body may be sent again.
                let retryable = matches!(problem.code, ProblemCode::Busy | ProblemCode::TooSlow);
                Call { error: self.error(problem.code, &problem.detail, retryable), pause: Duration::ZERO }
            }
            None => self.broken("some records have no outcome"),
        }
    }

    fn broken(&self, problem: &str) -> Call {
        let problem = match &self.0.proxy {
            Some(proxy) => format!("{problem} (through the proxy {})", proxy.place()),
            None => problem.to_owned(),
        };
        Call { error: self.error(ProblemCode::Unreachable, &problem, true), pause: Duration::ZERO }
    }

    fn error(&self, code: ProblemCode, detail: &str, retryable: bool) -> Error {
        Error::Service { place: self.url().into(), code, detail: detail.to_owned(), retryable }
    }
}
