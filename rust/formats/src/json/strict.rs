//! The authoritative decoder of records: exactly the seven fields, each once, of the right type and length.

use std::borrow::Cow;
use std::fmt;

use edgesentry_chain::{AuditRecord, Hash};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::bytes::bytes_from_text;
use crate::columns::{ColumnNames, Meaning};

pub(super) const EXPECTED: &str = "an audit record: an object with exactly the seven fields";

/// The reason why an entry is not a record, and its byte offset in the entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) problem: String,
}

pub(super) fn record(entry: &[u8]) -> Result<AuditRecord, Fault> {
    parse(entry, |text| serde_json::from_str(text))
}

/// Like [`record`], for an object whose fields have these names, and which may have others that are left out.
pub(super) fn named_record(entry: &[u8], names: &ColumnNames) -> Result<AuditRecord, Fault> {
    parse(entry, |text| {
        let mut input = serde_json::Deserializer::from_str(text);
        let fields = Named(names).deserialize(&mut input)?;
        input.end()?;
        Ok(fields)
    })
}

fn parse(
    entry: &[u8],
    fields: impl FnOnce(&str) -> Result<Fields, serde_json::Error>,
) -> Result<AuditRecord, Fault> {
    let start = entry.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    match entry.get(start) {
        Some(b'{') => {}
        Some(0xef) if entry[start..].starts_with(b"\xef\xbb\xbf") => {
            return Err(Fault {
                offset: start,
                problem: "a byte order mark: save the file without it".into(),
            });
        }
        _ => return Err(Fault { offset: start, problem: "not an object".into() }),
    }
    let text = std::str::from_utf8(entry)
        .map_err(|error| Fault { offset: error.valid_up_to(), problem: "not valid UTF-8".into() })?;
    let fields = fields(text).map_err(|error| fault(text, &error))?;
    Ok(AuditRecord {
        device_id: fields.device_id,
        sequence: fields.sequence,
        timestamp_ms: fields.timestamp_ms,
        payload_hash: Hash(fields.payload_hash.0),
        signature: fields.signature.0,
        prev_record_hash: Hash(fields.prev_record_hash.0),
        object_ref: fields.object_ref,
    })
}

fn fault(text: &str, error: &serde_json::Error) -> Fault {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => text.match_indices('\n').nth(line - 2).map_or(0, |(at, _)| at + 1),
    };
    let offset = (line_start + error.column().saturating_sub(1)).min(text.len());
    let problem = error.to_string();
    // serde_json counts from the entry, not from the file; the caller adds the position.
    let problem =
        problem.rsplit_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem).to_owned();
    // A device may have chosen the name of an unknown field, so its displayed length is limited.
    let problem =
        if problem.len() > 300 { problem.chars().take(200).collect::<String>() + "…" } else { problem };
    Fault { offset, problem }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    device_id: String,
    sequence: u64,
    timestamp_ms: u64,
    payload_hash: Bytes<32>,
    signature: Bytes<64>,
    prev_record_hash: Bytes<32>,
    object_ref: String,
}

/// Reads an object whose fields have other names.
struct Named<'n>(&'n ColumnNames);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Named<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Fields, A::Error> {
        let names = self.0;
        let (mut device_id, mut sequence, mut timestamp_ms, mut payload_hash) = (None, None, None, None);
        let (mut signature, mut prev_record_hash, mut object_ref) = (None, None, None);
        while let Some(name) = object.next_key::<Cow<'de, str>>()? {
            let index = match names.meaning(&name) {
                Meaning::Field(index) => index,
                Meaning::Ignored => {
                    object.next_value::<IgnoredAny>()?;
                    continue;
                }
                Meaning::Unknown => return Err(A::Error::custom(format_args!("unknown field `{name}`"))),
            };
            let repeated = match index {
                0 => device_id.replace(object.next_value()?).is_some(),
                1 => sequence.replace(object.next_value()?).is_some(),
                2 => timestamp_ms.replace(object.next_value()?).is_some(),
                3 => payload_hash.replace(object.next_value()?).is_some(),
                4 => signature.replace(object.next_value()?).is_some(),
                5 => prev_record_hash.replace(object.next_value()?).is_some(),
                _ => object_ref.replace(object.next_value()?).is_some(),
            };
            if repeated {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
        }
        let missing = |index: usize| A::Error::custom(format_args!("missing field `{}`", names.of(index)));
        Ok(Fields {
            device_id: device_id.ok_or_else(|| missing(0))?,
            sequence: sequence.ok_or_else(|| missing(1))?,
            timestamp_ms: timestamp_ms.ok_or_else(|| missing(2))?,
            payload_hash: payload_hash.ok_or_else(|| missing(3))?,
            signature: signature.ok_or_else(|| missing(4))?,
            prev_record_hash: prev_record_hash.ok_or_else(|| missing(5))?,
            object_ref: object_ref.ok_or_else(|| missing(6))?,
        })
    }
}

struct Bytes<const N: usize>([u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes<N>, D::Error> {
        deserializer.deserialize_any(BytesVisitor::<N>)
    }
}

struct BytesVisitor<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for BytesVisitor<N> {
    type Value = Bytes<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes, as an array of integers, as {} hex digits or in base64", 2 * N)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes<N>, E> {
        if let Some(bytes) = bytes_from_text(text) {
            return Ok(Bytes(bytes));
        }
        match hex::decode_to_slice(text, &mut [0; N]) {
            Ok(()) => Err(E::custom("expected hex digits")),
            Err(hex::FromHexError::InvalidHexCharacter { .. }) => {
                Err(E::custom(format_args!("expected {} hex digits, found other characters", 2 * N)))
            }
            Err(_) => Err(E::custom(format_args!("expected {} hex digits, found {}", 2 * N, text.len()))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Bytes<N>, A::Error> {
        let mut bytes = [0; N];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let ByteValue(value) =
                sequence.next_element()?.ok_or_else(|| A::Error::invalid_length(at, &self))?;
            *byte = value;
        }
        if sequence.next_element::<ByteValue>()?.is_some() {
            return Err(A::Error::invalid_length(N + 1, &self));
        }
        Ok(Bytes(bytes))
    }
}

/// A byte, from 0 to 255 or, for signed bytes, from -128.
struct ByteValue(u8);

impl<'de> Deserialize<'de> for ByteValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteValue, D::Error> {
        struct ByteVisitor;

        impl Visitor<'_> for ByteVisitor {
            type Value = ByteValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte")
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<ByteValue, E> {
                let wrong = |_| E::invalid_value(serde::de::Unexpected::Unsigned(value), &self);
                u8::try_from(value).map(ByteValue).map_err(wrong)
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<ByteValue, E> {
                let wrong = |_| E::invalid_value(serde::de::Unexpected::Signed(value), &self);
                i8::try_from(value).map(|byte| ByteValue(byte as u8)).map_err(wrong)
            }
        }

        deserializer.deserialize_any(ByteVisitor)
    }
}
