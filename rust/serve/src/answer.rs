//! Converts the outcome of a record into its answer.

use edgesentry_chain::AuditRecord;

use super::problem::Problem;
use edgesentry_rs::admission::Outcome;
use edgesentry_rs::error::Error;
use edgesentry_rs::wire::Answer;

/// Returns the answer to a record that reached the service.
pub(super) fn decided(record: &AuditRecord, outcome: Result<Outcome, Error>) -> Answer {
    let name = match &outcome {
        Ok(outcome) => outcome.name(),
        Err(_) => "error",
    };
    let answer = of(record, name);
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
            Answer { retryable, ..explained(answer, &Problem::from(error)) }
        }
    }
}

/// Returns the answer to a record that did not reach the service.
pub(super) fn refused(record: &AuditRecord, problem: &Problem, retryable: bool) -> Answer {
    let outcome = if retryable { "error" } else { "rejected" };
    Answer { retryable, ..explained(of(record, outcome), problem) }
}

/// Returns the answer to a line or a message that does not hold a record.
pub(super) fn malformed(problem: &Problem) -> Answer {
    explained(Answer { outcome: "rejected".to_owned(), ..Answer::default() }, problem)
}

fn explained(answer: Answer, problem: &Problem) -> Answer {
    let (reason, detail) = (problem.code().to_owned(), problem.detail().to_owned());
    Answer { reason: Some(reason), detail: Some(detail), ..answer }
}

fn of(record: &AuditRecord, outcome: &str) -> Answer {
    Answer {
        device_id: Some(record.device_id.chars().take(1024).collect()),
        sequence: Some(record.sequence),
        outcome: outcome.to_owned(),
        ..Answer::default()
    }
}
