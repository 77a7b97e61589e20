//! The heads file: trusted heads, which `eds heads` writes and `--heads` checks.

use std::fmt;
use std::sync::Arc;

use edgesentry_chain::{Head, Heads, escape};
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::keys::byte_order_mark;
use crate::recognise::other_file;

/// The supported version.
const VERSION: u64 = 1;

/// The reason why a heads file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadsError {
    /// The file starts with a byte order mark.
    #[error("heads: it begins with a byte order mark; save it as UTF-8 without one")]
    ByteOrderMark,
    /// The file is not JSON of the expected form.
    #[error("heads: {0}")]
    Json(serde_json::Error),
    /// The file is of another kind.
    #[error("{0}")]
    OtherFile(String),
    /// The version is not supported.
    #[error(
        "heads: version {0} is not supported, only version 1; write the heads again or use a newer release"
    )]
    Version(u64),
}

/// Parses `{"version": 1, "heads": {"lift-01": {"sequence": 7, "hash": "64 hex digits"}}}`. Rejects unknown fields and
/// repeated devices.
///
/// ```
/// use edgesentry_formats::{read_heads, write_heads};
/// let heads = read_heads(br#"{"version": 1, "heads": {}}"#)?;
/// assert!(heads.is_empty());
/// assert_eq!(read_heads(write_heads(&heads).as_bytes())?, heads);
/// # Ok::<(), edgesentry_formats::HeadsError>(())
/// ```
///
/// # Errors
/// The text is not of this form; the error names the device.
pub fn read_heads(json: &[u8]) -> Result<Heads, HeadsError> {
    if byte_order_mark(json) {
        return Err(HeadsError::ByteOrderMark);
    }
    // A later version may have unknown fields.
    if let Ok(Versioned { version }) = serde_json::from_slice(json)
        && version != VERSION
    {
        return Err(HeadsError::Version(version));
    }
    let file: HeadsFile =
        serde_json::from_slice(json).map_err(|error| match other_file(json, "a heads snapshot") {
            Some(words) => HeadsError::OtherFile(words),
            None => HeadsError::Json(error),
        })?;
    Ok(file.heads)
}

/// Formats the heads for [`read_heads`], one line each, sorted by device.
pub fn write_heads(heads: &Heads) -> String {
    let mut text = format!("{{\n  \"version\": {VERSION},\n  \"heads\": {{");
    for (at, (device, head)) in heads.iter().enumerate() {
        let separator = if at == 0 { "" } else { "," };
        let device = serde_json::Value::from(&**device).to_string();
        let device = escape::json(&device);
        let Head { sequence, hash } = head;
        text += &format!("{separator}\n    {device}: {{\"sequence\": {sequence}, \"hash\": \"{hash}\"}}");
    }
    text += if heads.is_empty() { "}\n}\n" } else { "\n  }\n}\n" };
    text
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadsFile {
    #[serde(rename = "version")]
    _version: u64,
    #[serde(deserialize_with = "heads")]
    heads: Heads,
}

fn heads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Heads, D::Error> {
    deserializer.deserialize_map(HeadsVisitor)
}

struct HeadsVisitor;

impl<'de> Visitor<'de> for HeadsVisitor {
    type Value = Heads;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of devices and their heads")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Heads, A::Error> {
        let mut heads = Heads::new();
        while let Some(device) = map.next_key::<Arc<str>>()? {
            let head = map.next_value_seed(HeadOf(&device))?;
            if heads.contains_key(&device) {
                return Err(A::Error::custom(format!("device {device:?} appears twice; keep one head")));
            }
            heads.insert(device, head);
        }
        Ok(heads)
    }
}

/// Parses a head; its errors name the device.
struct HeadOf<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for HeadOf<'_> {
    type Value = Head;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Head, D::Error> {
        Head::deserialize(deserializer)
            .map_err(|error| D::Error::custom(format!("device {:?}: {error}", self.0)))
    }
}
