//! The key ring file: device ids and public keys.

use std::collections::BTreeMap;
use std::fmt;

use edgesentry_chain::{KeyError, KeyRing, RingKey, Scheme, escape};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::kind::FileKind;
use crate::public_key::public_key;
use crate::recognise::other_bytes;

/// The reason why a key ring cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file starts with a byte order mark.
    #[error("key ring: it begins with a byte order mark; save it as UTF-8 without one")]
    ByteOrderMark,
    /// The file is not JSON of the expected form.
    #[error("key ring: {0}")]
    Json(serde_json::Error),
    /// The file is of another kind.
    #[error("{0}")]
    OtherFile(String),
    /// A key is malformed or weak, or starts at the same sequence as another.
    #[error("key ring: device {device:?}: register a valid key")]
    Key {
        /// The device.
        device: String,
        /// The cause.
        #[source]
        source: KeyError,
    },
    /// A key appears under both schemes.
    #[error("key ring")]
    TwoSchemes(#[source] KeyError),
}

/// Parses a key ring. Each device has a key as hex, `{"lift-01": "64 hex digits"}`, or with its scheme and the first
/// sequence it signs, `{"lift-01": {"key": "64 hex digits", "scheme": "record", "valid_from": 1}}`, or a list of
/// either. A key without a scheme gets `default_scheme`; without `valid_from` it signs from sequence 1.
///
/// Rejects unknown fields, repeated devices or fields, weak keys, and one key under both schemes.
///
/// ```
/// use edgesentry_chain::Scheme;
/// use edgesentry_formats::{read_key_ring, write_key_ring};
/// let json = r#"{"lift-01": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"}"#;
/// let ring = read_key_ring(json.as_bytes(), Scheme::PayloadHash)?;
/// assert_eq!(read_key_ring(write_key_ring(&ring).as_bytes(), Scheme::Record)?, ring);
/// # Ok::<(), edgesentry_formats::KeysError>(())
/// ```
///
/// # Errors
/// The text is not of this form, or a key is malformed, weak, or in conflict with another one.
pub fn read_key_ring(json: &[u8], default_scheme: Scheme) -> Result<KeyRing, KeysError> {
    if byte_order_mark(json) {
        return Err(KeysError::ByteOrderMark);
    }
    // Not `other_file`, which reads key rings.
    let other = || match FileKind::of(json) {
        Some(kind) => Some(kind.instead_of("a key ring")),
        None => other_bytes(json, "a key ring"),
    };
    let RingFile(devices) = serde_json::from_slice(json)
        .map_err(|error| other().map_or(KeysError::Json(error), KeysError::OtherFile))?;
    let mut ring = KeyRing::new();
    for (device, entries) in devices {
        for entry in entries {
            insert(&mut ring, &device, entry, default_scheme).map_err(|source| refused(&device, source))?;
        }
    }
    Ok(ring)
}

fn refused(device: &str, source: KeyError) -> KeysError {
    match source {
        source @ KeyError::TwoSchemes { .. } => KeysError::TwoSchemes(source),
        source => KeysError::Key { device: device.to_owned(), source },
    }
}

fn insert(ring: &mut KeyRing, device: &str, entry: Entry, default_scheme: Scheme) -> Result<(), KeyError> {
    let key = public_key(&entry.key)?;
    let scheme = entry.scheme.map_or(Ok(default_scheme), |scheme| scheme.parse())?;
    let valid_from = entry.valid_from;
    // The ring accepts a repeated key; in a file, it is a mistake.
    if ring.keys(device).into_iter().flatten().any(|key| key.valid_from == valid_from) {
        return Err(KeyError::SameStart { device_id: device.to_owned(), valid_from });
    }
    ring.insert(device, RingKey { key, scheme, valid_from })
}

/// Formats the ring for [`read_key_ring`], every key with its scheme and first sequence, sorted by device.
pub fn write_key_ring(ring: &KeyRing) -> String {
    let devices: Vec<String> = ring.iter().map(|(device, keys)| device_text(device, keys)).collect();
    if devices.is_empty() {
        return "{}\n".to_owned();
    }
    format!("{{\n{}\n}}\n", devices.join(",\n"))
}

fn device_text(device: &str, keys: &[RingKey]) -> String {
    let device = serde_json::Value::from(device).to_string();
    let device = escape::json(&device);
    let keys: Vec<String> = keys
        .iter()
        .map(|RingKey { key, scheme, valid_from }| {
            format!("{{\"key\": \"{key}\", \"scheme\": \"{scheme}\", \"valid_from\": {valid_from}}}")
        })
        .collect();
    match keys.as_slice() {
        [key] => format!("  {device}: {key}"),
        keys => format!("  {device}: [\n    {}\n  ]", keys.join(",\n    ")),
    }
}

/// Returns true if a text starts with a byte order mark of UTF-8 or UTF-16.
pub(crate) fn byte_order_mark(text: &[u8]) -> bool {
    text.starts_with(b"\xef\xbb\xbf") || text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff")
}

/// A key in the file.
struct Entry {
    key: String,
    scheme: Option<String>,
    valid_from: u64,
}

impl Entry {
    fn bare(key: &str) -> Entry {
        Entry { key: key.to_owned(), scheme: None, valid_from: 1 }
    }
}

struct RingFile(BTreeMap<String, Vec<Entry>>);

impl<'de> Deserialize<'de> for RingFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RingFile, D::Error> {
        deserializer.deserialize_map(RingVisitor).map(RingFile)
    }
}

struct RingVisitor;

impl<'de> Visitor<'de> for RingVisitor {
    type Value = BTreeMap<String, Vec<Entry>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of devices and their keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut devices = BTreeMap::new();
        while let Some(device) = map.next_key::<String>()? {
            let entries = map.next_value_seed(KeysOf(&device))?;
            if devices.contains_key(&device) {
                return Err(A::Error::custom(format!(
                    "device {device:?} appears twice; list its keys in one entry"
                )));
            }
            devices.insert(device, entries);
        }
        Ok(devices)
    }
}

/// Parses the keys of a device; every error names it.
struct KeysOf<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for KeysOf<'_> {
    type Value = Vec<Entry>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Entry>, D::Error> {
        deserializer
            .deserialize_any(KeysVisitor { list: true })
            .map_err(|error| D::Error::custom(format!("device {:?}: {error}", self.0)))
    }
}

/// Parses a key as text or object or, at the outer level, a list of them.
struct KeysVisitor {
    list: bool,
}

impl<'de> DeserializeSeed<'de> for KeysVisitor {
    type Value = Vec<Entry>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Entry>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Vec<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key of 64 hex digits or an object with \"key\"")?;
        if self.list { f.write_str(", or a list of them") } else { Ok(()) }
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Vec<Entry>, E> {
        Ok(vec![Entry::bare(key)])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<Entry>, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Rich {
            key: String,
            #[serde(default, deserialize_with = "given")]
            scheme: Option<String>,
            #[serde(default = "first")]
            valid_from: u64,
        }
        fn first() -> u64 {
            1
        }
        // A null is not a scheme.
        fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
            String::deserialize(deserializer).map(Some)
        }
        let Rich { key, scheme, valid_from } =
            Rich::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        if valid_from == 0 {
            return Err(A::Error::custom("valid_from is 0, but sequences start at 1"));
        }
        Ok(vec![Entry { key, scheme, valid_from }])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Entry>, A::Error> {
        if !self.list {
            return Err(A::Error::custom("a list of keys within a list; list them once"));
        }
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element_seed(KeysVisitor { list: false })? {
            entries.extend(entry);
        }
        if entries.is_empty() {
            return Err(A::Error::custom("it has no key; give it one or leave it out"));
        }
        Ok(entries)
    }
}
