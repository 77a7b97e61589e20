//! Converts the outcome of a record into its answer.

use edgesentry_chain::AuditRecord;

use super::problem::Problem;
use edgesentry_rs::admission::{Outcome, OutcomeKind};
use edgesentry_rs::error::Error;
use edgesentry_rs::wire::Answer;

/// Returns the answer to a record that reached the service.
pub(super) fn decided(record: &AuditRecord, outcome: Result<Outcome, Error>) -> Answer {
    let answer = of(record, outcome.as_ref().ok().map(Outcome::kind));
    match outcome {
        Ok(Outcome::Rejected(rejection)) => Answer {
            reason: Some(rejection.code.into()),
            expected: Some(rejection.expected.to_string()),
            actual: Some(rejection.actual.to_string()),
            ..answer
        },
        Ok(_) => answer,
        Err(error) => {
            let retryable = error.is_retryable();
            Answer { retryable, ..explained(answer, &Problem::from(error)) }
        }
    }
}

/// Returns the answer to a record that did not reach the service.
pub(super) fn refused(record: &AuditRecord, problem: &Problem, retryable: bool) -> Answer {
    let outcome = (!retryable).then_some(OutcomeKind::Rejected);
    Answer { retryable, ..explained(of(record, outcome), problem) }
}

/// Returns the answer to a line or a message that does not hold a record.
pub(super) fn malformed(problem: &Problem) -> Answer {
    explained(Answer { outcome: Some(OutcomeKind::Rejected), ..Answer::default() }, problem)
}

fn explained(answer: Answer, problem: &Problem) -> Answer {
    let (reason, detail) = (problem.code().clone(), problem.detail().to_owned());
    Answer { reason: Some(reason), detail: Some(detail), ..answer }
}

/// None for an error.
fn of(record: &AuditRecord, outcome: Option<OutcomeKind>) -> Answer {
    Answer {
        device_id: Some(record.device_id.chars().take(1024).collect()),
        sequence: Some(record.sequence),
        outcome,
        ..Answer::default()
    }
}
