//! The outbox behind a runtime of its own, which runs on the thread of the caller.

#[cfg(feature = "http")]
mod http;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_device::error::describe;
use edgesentry_device::wire::{ProblemCode, parse_response, write_submission};
use edgesentry_device::{
    AuditRecord, Device, Error, Flushed, Hash, Head, Outbox as DeviceOutbox, Outcome, Sink, Submission,
};
use edgesentry_update::State;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::codes::{
    EDGESENTRY_INVALID_ARGUMENT, EDGESENTRY_OUTBOX, EDGESENTRY_REJECTED, EDGESENTRY_SIGNER,
    EDGESENTRY_TRY_AGAIN, Status,
};
use crate::last_error::fail;
use crate::update::Outcome as UpdateOutcome;

/// The longest response that is read.
pub(crate) const MAX_RESPONSE_BYTES: usize = 64 << 10;
/// For messages: the program, not this library, knows the URL.
const PLACE: &str = "the service";

pub(crate) struct Outbox {
    runtime: Runtime,
    outbox: DeviceOutbox,
    /// The text to which records of this outbox point.
    pub(crate) device_id: String,
}

/// Returns the status of an error, and keeps its text.
fn failed(error: &Error) -> Status {
    let status = match error {
        Error::Signer(_) => EDGESENTRY_SIGNER,
        _ if error.is_retryable() => EDGESENTRY_TRY_AGAIN,
        _ => EDGESENTRY_OUTBOX,
    };
    fail(status, format_args!("{}", describe(error)))
}

/// Waits for work on the thread of the caller. A function that an outbox calls must not call it: it would wait for itself.
fn run<T>(runtime: &Runtime, work: impl Future<Output = Result<T, Error>>) -> Result<T, Status> {
    if Handle::try_current().is_ok() {
        let text = format_args!("outbox: used by a function that an outbox has called; return from it first");
        return Err(fail(EDGESENTRY_INVALID_ARGUMENT, text));
    }
    runtime.block_on(work).map_err(|error| failed(&error))
}

impl Outbox {
    pub(crate) fn open(path: &Path, device: Device) -> Result<Outbox, Status> {
        let device_id = device.device_id().to_owned();
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| {
            fail(EDGESENTRY_OUTBOX, format_args!("cannot start the runtime of the outbox: {error}"))
        })?;
        let outbox = run(&runtime, DeviceOutbox::open(path, device))?;
        Ok(Outbox { runtime, outbox, device_id })
    }

    pub(crate) fn sign(
        &self,
        timestamp_ms: u64,
        payload: &[u8],
        object_ref: &str,
    ) -> Result<AuditRecord, Status> {
        let payload = Bytes::copy_from_slice(payload);
        run(&self.runtime, self.outbox.sign(timestamp_ms, payload, object_ref))
    }

    /// Signs a clock record, and returns its sequence.
    pub(crate) fn sign_clock(
        &self,
        timestamp_ms: u64,
        boot_counter: Option<u64>,
        uptime_ms: Option<u64>,
    ) -> Result<u64, Status> {
        let signed = self.outbox.sign_clock(timestamp_ms, boot_counter, uptime_ms);
        run(&self.runtime, signed).map(|record| record.sequence)
    }

    pub(crate) fn note_service_time(&self, service_time_ms: u64) -> Result<(), Status> {
        run(&self.runtime, self.outbox.note_service_time(service_time_ms))
    }

    /// Signs the succession of the key, and returns its sequence.
    pub(crate) fn succeed(&self, timestamp_ms: u64, successor: Device) -> Result<u64, Status> {
        run(&self.runtime, self.outbox.succeed(timestamp_ms, successor)).map(|record| record.sequence)
    }

    /// Sends the waiting records by `post`, which returns status and body of a response, or `None`.
    pub(crate) fn flush(
        &self,
        post: impl Fn(&[u8]) -> Option<(u16, Vec<u8>)> + Send + Sync,
    ) -> Result<Flushed, Status> {
        run(&self.runtime, self.outbox.flush(&Posting(post)))
    }

    /// Sends the waiting records to a service, for at most `limit`.
    #[cfg(feature = "http")]
    pub(crate) fn flush_to(
        &self,
        settings: edgesentry_device::client::ClientSettings,
        limit: std::time::Duration,
    ) -> Result<Flushed, Status> {
        let until = tokio::time::Instant::now() + limit;
        let client = edgesentry_device::Client::new(settings).map_err(|error| {
            fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("service: {}", describe(&error)))
        })?;
        run(&self.runtime, async {
            let flushed = self.outbox.flush(&http::Limited::new(client, until)).await;
            // The connections of the client, which is gone, end now and not at the next call.
            tokio::task::yield_now().await;
            flushed
        })
    }

    /// Signs the record of the outcome of an update.
    pub(crate) fn record_update(&self, outcome: UpdateOutcome<'_>, timestamp_ms: u64) -> Result<(), Status> {
        match outcome {
            Ok((state, verified)) => {
                run(&self.runtime, self.outbox.record_update(state, verified, timestamp_ms)).map(drop)
            }
            Err((manifest, refusal)) => {
                run(&self.runtime, self.outbox.refuse_update(manifest, refusal, timestamp_ms)).map(drop)
            }
        }
    }

    /// Returns the state that completes an interrupted update, if there is one.
    pub(crate) fn unfinished_update(&self, state: &State) -> Result<Option<State>, Status> {
        run(&self.runtime, self.outbox.unfinished_update(state))
    }

    pub(crate) fn finish_update(&self) -> Result<(), Status> {
        run(&self.runtime, self.outbox.finish_update())
    }

    pub(crate) fn waiting(&self) -> Result<u64, Status> {
        run(&self.runtime, self.outbox.waiting())
    }

    /// Returns the last signed record of the chain.
    pub(crate) fn head(&self) -> Result<Head, Status> {
        let head = run(&self.runtime, self.outbox.head())?;
        Ok(head.unwrap_or(Head { sequence: 0, hash: Hash::ZERO }))
    }

    pub(crate) fn close(self) {
        self.runtime.block_on(self.outbox.close());
    }
}

/// Returns the status of a rejection, and keeps its text.
pub(crate) fn rejected(flushed: &Flushed) -> Result<(), Status> {
    let Some(rejection) = &flushed.rejection else { return Ok(()) };
    let text = format_args!(
        "the service rejects sequence {}: {}: expected {}, got {}; it stays in the outbox",
        rejection.sequence, rejection.code, rejection.expected, rejection.actual
    );
    Err(fail(EDGESENTRY_REJECTED, text))
}

struct Posting<F>(F);

#[async_trait]
impl<F: Fn(&[u8]) -> Option<(u16, Vec<u8>)> + Send + Sync> Sink for Posting<F> {
    async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        let mut outcomes = Vec::with_capacity(submissions.len());
        for submission in submissions {
            let mut body = Vec::new();
            write_submission(&submission, &mut body);
            let outcome = match (self.0)(&body) {
                Some((status, response)) => parse_response(&submission, PLACE, status, &response),
                None => Err(Error::Service {
                    place: Arc::from(PLACE),
                    code: ProblemCode::Unreachable,
                    detail: "the program has no response".to_owned(),
                    retryable: true,
                }),
            };
            let goes_on = outcome.as_ref().is_ok_and(Outcome::is_success);
            outcomes.push(outcome);
            // The outbox keeps this record and those behind it.
            if !goes_on {
                break;
            }
        }
        outcomes
    }
}
