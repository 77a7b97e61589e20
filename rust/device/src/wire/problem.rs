//! Why a request cannot be done: a problem document (RFC 9457) with a stable code.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

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
    pub code: Cow<'static, str>,
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
    code: String,
    detail: String,
    expected: Option<String>,
    actual: Option<String>,
}

impl From<Read> for Problem {
    fn from(read: Read) -> Problem {
        let Read { code, detail, expected, actual } = read;
        Problem { code: code.into(), detail, expected, actual, ..Problem::default() }
    }
}
