//! Why a request cannot be done: a problem document (RFC 9457) with a stable code.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rejection::RejectionCode;

macro_rules! problem_codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal;)*) => {
        /// The stable code of a problem: docs/reference/errors.md.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum ProblemCode {
            $($(#[doc = $doc])* $variant,)*
            /// The service rejects the record; the code is the reason.
            Rejected(RejectionCode),
            /// A code of a newer service, or the status that a proxy returned, such as `http_418`; empty if there is none.
            Other(String),
        }

        impl ProblemCode {
            /// The code as it is sent, such as `rate_limited`.
            pub fn as_str(&self) -> &str {
                match self {
                    $(ProblemCode::$variant => $name,)*
                    ProblemCode::Rejected(reason) => reason.name(),
                    ProblemCode::Other(code) => code,
                }
            }
        }

        impl From<String> for ProblemCode {
            fn from(code: String) -> ProblemCode {
                match code.as_str() {
                    $($name => ProblemCode::$variant,)*
                    name => match RejectionCode::by_name(name) {
                        Some(reason) => ProblemCode::Rejected(reason),
                        None => ProblemCode::Other(code),
                    },
                }
            }
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name,)*];
    };
}

problem_codes! {
    /// A resource limit is reached.
    Busy = "busy";
    /// The sender's certificate or token is not one of the device.
    DeviceMismatch = "device_mismatch";
    /// The service does not support the `Content-Encoding`.
    EncodingUnknown = "encoding_unknown";
    /// An unexpected error of the service.
    Internal = "internal";
    /// The request or the record cannot be parsed.
    Malformed = "malformed";
    /// The route does not support the method.
    MethodNotAllowed = "method_not_allowed";
    /// The transparency log has no checkpoint yet.
    NoCheckpoint = "no_checkpoint";
    /// The service has no transparency log.
    NoLog = "no_log";
    /// The transparency log does not have the record yet.
    NotLogged = "not_logged";
    /// The service ended a batch without an outcome for the record.
    NoAnswer = "no_answer";
    /// The route does not exist.
    NotFound = "not_found";
    /// The stores do not take records, or the service is shutting down.
    NotReady = "not_ready";
    /// An earlier record of the device could not be stored.
    NotTried = "not_tried";
    /// The sender sends too fast, or too many of its records were rejected.
    RateLimited = "rate_limited";
    /// The ledger does not have the record.
    RecordMissing = "record_missing";
    /// The device registry refuses the change.
    Registry = "registry";
    /// For the client, the response is not that of a service.
    ResponseInvalid = "response_invalid";
    /// The token lacks the scope of the route.
    ScopeMissing = "scope_missing";
    /// The service is shutting down.
    Stopped = "stopped";
    /// A store failed.
    Store = "store";
    /// The body exceeds the limit.
    TooLarge = "too_large";
    /// The batch exceeds the limit.
    TooManyRecords = "too_many_records";
    /// The body stalled.
    TooSlow = "too_slow";
    /// Credentials are missing or unknown.
    Unauthenticated = "unauthenticated";
    /// The client cannot reach the service.
    Unreachable = "unreachable";
}

impl Default for ProblemCode {
    /// No code.
    fn default() -> ProblemCode {
        ProblemCode::Other(String::new())
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<&str> for ProblemCode {
    fn from(code: &str) -> ProblemCode {
        code.to_owned().into()
    }
}

impl From<RejectionCode> for ProblemCode {
    fn from(reason: RejectionCode) -> ProblemCode {
        ProblemCode::Rejected(reason)
    }
}

impl Serialize for ProblemCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProblemCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ProblemCode, D::Error> {
        Ok(String::deserialize(deserializer)?.into())
    }
}

/// A problem document.
#[derive(Serialize, Deserialize, Clone, Default, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(title = "Problem"))]
#[serde(from = "Read")]
pub struct Problem {
    /// `urn:edgesentry:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the status means.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// A stable code: a rejection's reason, or that of an error.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub code: ProblemCode,
    /// What, where, what to do.
    pub detail: String,
    /// The device of a rejected record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The sequence of a rejected record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// What the failed check expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What it found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}

/// The fields that a client acts on, all optional: the document of a proxy may have others.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Read {
    code: ProblemCode,
    detail: String,
    expected: Option<String>,
    actual: Option<String>,
}

impl From<Read> for Problem {
    fn from(read: Read) -> Problem {
        let Read { code, detail, expected, actual } = read;
        Problem { code, detail, expected, actual, ..Problem::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_sent_as_it_was_read() {
        for name in NAMES {
            let code = ProblemCode::from(*name);
            assert!(!matches!(code, ProblemCode::Other(_) | ProblemCode::Rejected(_)), "{name}");
            assert_eq!(code.as_str(), *name);
        }
        for reason in RejectionCode::ALL {
            assert_eq!(ProblemCode::from(reason.name()), ProblemCode::Rejected(reason));
        }
        let newer: Problem = serde_json::from_str(r#"{"code": "of_a_newer_service"}"#).unwrap();
        assert_eq!(newer.code, ProblemCode::Other("of_a_newer_service".to_owned()));
        assert_eq!(serde_json::to_string(&newer.code).unwrap(), r#""of_a_newer_service""#);
    }
}
