//! The answer to one record.

use edgesentry_chain::AuditRecord;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::error::Error;
use crate::ingest::verify::Outcome;

/// What became of a record.
#[derive(Serialize, Deserialize, ToSchema, Clone, Debug, PartialEq, Eq)]
#[schema(as = Outcome)]
pub(in crate::transport) struct Answer {
    /// The line of a batch, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::transport) line: Option<u64>,
    /// The device; none where the line is no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::transport) device_id: Option<String>,
    /// The sequence; none where the line is no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::transport) sequence: Option<u64>,
    /// `accepted`, `duplicate`, `rejected`, or `error`: nothing was decided, see `retryable`.
    pub(in crate::transport) outcome: String,
    /// The reason of a rejection, or the code of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::transport) reason: Option<String>,
    /// What the failed check expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::transport) expected: Option<String>,
    /// What it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::transport) actual: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::transport) detail: Option<String>,
    /// Whether sending it again may help.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::transport) retryable: bool,
}

impl Answer {
    pub(in crate::transport) fn new(record: &AuditRecord, outcome: Result<Outcome, Error>) -> Answer {
        let name = match &outcome {
            Ok(outcome) => outcome.name(),
            Err(_) => "error",
        };
        let answer = Answer::of(record, name);
        match outcome {
            Ok(Outcome::Rejected(rejection)) => Answer {
                reason: Some(rejection.code.name().to_owned()),
                expected: Some(rejection.expected),
                actual: Some(rejection.actual),
                ..answer
            },
            Ok(_) => answer,
            Err(error) => {
                let retryable = error.is_retryable();
                let problem = Problem::from(error);
                let (reason, detail) = (problem.code().to_owned(), problem.detail().to_owned());
                Answer { reason: Some(reason), detail: Some(detail), retryable, ..answer }
            }
        }
    }

    /// A record that was not handed to the service.
    pub(in crate::transport) fn refused(record: &AuditRecord, problem: &Problem, retryable: bool) -> Answer {
        let outcome = if retryable { "error" } else { "rejected" };
        let (reason, detail) = (problem.code().to_owned(), problem.detail().to_owned());
        Answer { reason: Some(reason), detail: Some(detail), retryable, ..Answer::of(record, outcome) }
    }

    /// A line that is no record.
    pub(in crate::transport) fn malformed(problem: &Problem) -> Answer {
        Answer {
            line: None,
            device_id: None,
            sequence: None,
            outcome: "rejected".to_owned(),
            reason: Some(problem.code().to_owned()),
            expected: None,
            actual: None,
            detail: Some(problem.detail().to_owned()),
            retryable: false,
        }
    }

    fn of(record: &AuditRecord, outcome: &str) -> Answer {
        Answer {
            line: None,
            device_id: Some(record.device_id.chars().take(1024).collect()),
            sequence: Some(record.sequence),
            outcome: outcome.to_owned(),
            reason: None,
            expected: None,
            actual: None,
            detail: None,
            retryable: false,
        }
    }
}
