//! The response of a service to one record.

use std::sync::Arc;

use super::problem::{Problem, ProblemCode};
use crate::error::Error;
use crate::rejection::{Outcome, Rejection, RejectionCode};
use crate::submission::Submission;

/// Returns the outcome of one record from the response to `POST /api/v1/ingest`, for programs with an HTTP client of their
/// own. `place` is the URL, for messages.
///
/// # Errors
/// The service decided nothing; [`Error::is_retryable`] tells whether the record may be sent again.
pub fn parse_response(
    submission: &Submission,
    place: &str,
    status: u16,
    body: &[u8],
) -> Result<Outcome, Error> {
    match status {
        202 => return Ok(Outcome::Accepted),
        200 => return Ok(Outcome::Duplicate),
        _ => {}
    }
    let problem = read_problem(status, body);
    match problem.code {
        ProblemCode::Rejected(code) => Ok(rejected(submission, code, problem.expected, problem.actual)),
        code => {
            let detail =
                if problem.detail.is_empty() { "no problem document".to_owned() } else { problem.detail };
            Err(Error::Service { place: place.into(), code, detail, retryable: is_retryable(status) })
        }
    }
}

/// Returns true if a request with this response may succeed later.
pub(crate) fn is_retryable(status: u16) -> bool {
    matches!(status, 408 | 429 | 502 | 503 | 504)
}

/// Reads the problem of an unsuccessful response. Without a problem document, the code is that of the status.
pub(crate) fn read_problem(status: u16, body: &[u8]) -> Problem {
    let mut problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    if problem.code == ProblemCode::default() {
        problem = Problem { code: ProblemCode::Other(format!("http_{status}")), ..Problem::default() };
    }
    problem
}

/// Returns a rejection in the words of the service.
pub(crate) fn rejected(
    submission: &Submission,
    code: RejectionCode,
    expected: Option<String>,
    actual: Option<String>,
) -> Outcome {
    Outcome::Rejected(Rejection {
        code,
        expected: expected.unwrap_or_default().into(),
        actual: actual.unwrap_or_default().into(),
        record: Arc::clone(&submission.record),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use edgesentry_chain::{Device, Scheme};

    use super::*;

    #[test]
    fn a_response_decides_about_its_record() {
        let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
        let record = device.sign(1, b"open", "1.bin").unwrap();
        let submission = Submission { record: Arc::new(record), payload: Bytes::from_static(b"open") };
        let parse = |status, body: &str| parse_response(&submission, "http://here", status, body.as_bytes());
        assert_eq!(parse(202, "").unwrap(), Outcome::Accepted);
        assert_eq!(parse(200, "{}").unwrap(), Outcome::Duplicate);
        let fork = parse(409, r#"{"code":"fork","expected":"a","actual":"b"}"#).unwrap();
        let fork = fork.rejection().unwrap();
        assert_eq!((fork.code, fork.expected.to_string().as_str()), (RejectionCode::Fork, "a"));
        let busy = parse(503, r#"{"code":"busy","detail":"later"}"#).unwrap_err();
        assert_eq!((busy.is_retryable(), busy.to_string().as_str()), (true, "http://here: busy: later"));
        for (status, retryable) in
            [(401, false), (404, false), (429, true), (500, false), (504, true), (0, false)]
        {
            let error = parse(status, "<html>").unwrap_err();
            assert_eq!(error.is_retryable(), retryable, "{status}");
            assert!(error.to_string().contains(&format!("http_{status}: no problem document")));
        }
    }
}
