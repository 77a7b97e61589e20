//! The receiver of records, and the source of their receipts.

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::ServiceTime;
use crate::error::Error;
use crate::rejection::Outcome;
use crate::submission::Submission;

/// A receiver of records: a service in this process, or a client of one.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Returns the outcome of each record, in order.
    async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>>;

    /// Returns the source of receipts; `None` if the sink has none.
    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        None
    }

    /// Returns the last time that the service gave with a response; `None` if the sink has none.
    fn service_time(&self) -> Option<ServiceTime> {
        None
    }
}

/// The transparency log of a service, as a device reads it. The answers are claims until they are verified.
#[async_trait]
pub trait ReceiptSource: Send + Sync {
    /// Returns the proof that records of a device are in the log, from sequence `first` on and at most up to `last`.
    /// It may end earlier.
    ///
    /// # Errors
    /// The service fails or has no proof: [`ProblemCode::NotLogged`](crate::wire::ProblemCode::NotLogged),
    /// [`ProblemCode::RecordMissing`](crate::wire::ProblemCode::RecordMissing) and others.
    async fn receipt(&self, device_id: &str, first: u64, last: u64) -> Result<Bytes, Error>;

    /// Returns the proof that the log of size `to` extends that of size `from`.
    ///
    /// # Errors
    /// The service fails, or has no proof.
    async fn consistency(&self, from: u64, to: u64) -> Result<Bytes, Error>;
}
