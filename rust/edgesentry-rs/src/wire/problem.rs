//! Why a request cannot be done: a problem document (RFC 9457) with a stable code.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A problem document.
#[derive(Serialize, Deserialize, ToSchema, Clone, Default, Debug, PartialEq, Eq)]
#[schema(title = "Problem")]
#[serde(default)]
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
