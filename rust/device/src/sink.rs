//! The receiver of records.

use async_trait::async_trait;

use crate::error::Error;
use crate::rejection::Outcome;
use crate::submission::Submission;

/// A receiver of records: a service in this process, or a client of one.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Returns the outcome of each record, in order.
    async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>>;
}
