//! Error responses: RFC 9457 problem documents with stable codes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::bodies::BodyError;
use super::json::Json;
use super::scope::Scope;
use super::tokens::Token;
use edgesentry_rs::admission::{Rejection, RejectionCode};
use edgesentry_rs::error::{Error, describe};
use edgesentry_rs::wire::{self, Malformed, ProblemCode};

/// Seconds after which a retry of a failed store makes sense.
const RETRY_SECONDS: u64 = 1;

/// A problem document, and when a retry makes sense.
#[derive(Debug)]
pub(super) struct Problem {
    document: wire::Problem,
    retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<ProblemCode>,
        detail: impl Into<String>,
    ) -> Problem {
        let code = code.into();
        let document = wire::Problem {
            kind: format!("urn:edgesentry:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Problem").into(),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            ..wire::Problem::default()
        };
        Problem { document, retry_after: None }
    }

    pub(super) fn code(&self) -> &ProblemCode {
        &self.document.code
    }

    pub(super) fn detail(&self) -> &str {
        &self.document.detail
    }

    /// Returns the document.
    pub(super) fn into_document(self) -> wire::Problem {
        self.document
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, ProblemCode::Malformed, detail)
    }

    pub(super) fn unauthenticated(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, ProblemCode::Unauthenticated, detail)
    }

    pub(super) fn unknown_token() -> Problem {
        Problem::unauthenticated(
            "the service does not know this token; its hash must be in the settings of the service: see eds token",
        )
    }

    pub(super) fn scope(token: &Token, scope: Scope) -> Problem {
        let (name, had) = (&token.name, token.scopes().map(Scope::name).collect::<Vec<_>>().join(", "));
        let detail = format!("the token {name} lacks the scope {}; it has {had}", scope.name());
        Problem::new(StatusCode::FORBIDDEN, ProblemCode::ScopeMissing, detail)
    }

    /// The sender may not send records of this device.
    pub(super) fn other_device(device_id: &str) -> Problem {
        let shown: String = device_id.chars().take(200).collect();
        let detail = format!("the sender's certificate or token does not belong to device {shown:?}");
        Problem::new(StatusCode::FORBIDDEN, ProblemCode::DeviceMismatch, detail)
    }

    pub(super) fn rate_limited(wait: std::time::Duration) -> Problem {
        Problem::limited(wait, "the device exceeds the configured rate; send again later")
    }

    /// Too many records of the sender were rejected.
    pub(super) fn rejections_limited(wait: std::time::Duration) -> Problem {
        Problem::limited(
            wait,
            "too many records of this sender were rejected recently, so this one was not examined; fix the cause of \
             the rejections, and send again later",
        )
    }

    fn limited(wait: std::time::Duration, detail: &'static str) -> Problem {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, ProblemCode::RateLimited, detail);
        Problem { retry_after: Some(seconds.max(1)), ..problem }
    }

    pub(super) fn busy(detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, ProblemCode::Busy, detail);
        Problem { retry_after: Some(RETRY_SECONDS), ..problem }
    }

    pub(super) fn not_ready(detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, ProblemCode::NotReady, detail);
        Problem { retry_after: Some(RETRY_SECONDS), ..problem }
    }

    pub(super) fn internal(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, ProblemCode::Internal, detail)
    }
}

/// Returns the status of a rejection: 422 if the record itself, its payload, key or signature is at fault, 409 if it
/// conflicts with the ledger or the payload store.
fn status_of(code: RejectionCode) -> StatusCode {
    match code {
        RejectionCode::OutOfRange
        | RejectionCode::PayloadHashMismatch
        | RejectionCode::UnknownDevice
        | RejectionCode::KeyNotValidAtSequence
        | RejectionCode::SignatureInvalid
        | RejectionCode::SuccessionInvalid
        | RejectionCode::ObjectRefInvalid
        | RejectionCode::StoreRefused => StatusCode::UNPROCESSABLE_ENTITY,
        RejectionCode::Fork
        | RejectionCode::SequenceGap
        | RejectionCode::SequenceDuplicate
        | RejectionCode::PrevHashMismatch
        | RejectionCode::ObjectConflict => StatusCode::CONFLICT,
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Problem {
        let Rejection { code, expected, actual, record } = rejection;
        let detail = format!("expected {expected}, found {actual}");
        let Problem { document, retry_after } = Problem::new(status_of(code), code, detail);
        let document = wire::Problem {
            device_id: Some(record.device_id.chars().take(1024).collect()),
            sequence: Some(record.sequence),
            expected: Some(expected.to_string()),
            actual: Some(actual.to_string()),
            ..document
        };
        Problem { document, retry_after }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        // The location of a store stays inside the service; it is in the log.
        match &error {
            // Without "send again": the operator has to fix the store first.
            Error::Store(store) if !store.is_retryable() => {
                let detail = format!(
                    "{}: cannot {}; nothing was stored, and a retry fails until the store is repaired: see the log of \
                     the service",
                    store.component, store.action
                );
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, ProblemCode::Store, detail)
            }
            Error::Store(store) => {
                let detail =
                    format!("{}: cannot {}; nothing was stored, send again", store.component, store.action);
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, ProblemCode::Store, detail);
                Problem { retry_after: Some(RETRY_SECONDS), ..problem }
            }
            Error::NotTried { .. } if !error.is_retryable() => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.code(), error.to_string())
            }
            Error::Registry { .. } => {
                Problem::new(StatusCode::CONFLICT, ProblemCode::Registry, error.to_string())
            }
            _ if error.is_retryable() => {
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), error.to_string());
                Problem { retry_after: Some(RETRY_SECONDS), ..problem }
            }
            _ => Problem::internal(describe(&error)),
        }
    }
}

impl From<edgesentry_rs::error::StoreError> for Problem {
    fn from(error: edgesentry_rs::error::StoreError) -> Problem {
        Problem::from(Error::from(error))
    }
}

impl From<Malformed> for Problem {
    fn from(error: Malformed) -> Problem {
        Problem::malformed(error.to_string())
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Problem {
        let detail = error.to_string();
        match error {
            BodyError::TooLong(_) => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ProblemCode::TooLarge, detail)
            }
            BodyError::TooMany(_) => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ProblemCode::TooManyRecords, detail)
            }
            BodyError::TooSlow => Problem::new(StatusCode::REQUEST_TIMEOUT, ProblemCode::TooSlow, detail),
            BodyError::Encoding(_) => {
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ProblemCode::EncodingUnknown, detail)
            }
            BodyError::Broken(_) => Problem::malformed(detail),
            BodyError::NoMemory => Problem::busy(detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { document, retry_after } = self;
        let status = StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
