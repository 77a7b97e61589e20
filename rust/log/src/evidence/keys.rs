//! Keys that the writer of a bundle claims, as text.

use edgesentry_chain::{KeyError, KeyRing, PublicKey, RingKey, Scheme};

use crate::hash::MAX_SIZE;
use crate::text::{decode_base64, encode_base64, parse_decimal, take_line};

/// The reason why keys cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleKeysError {
    /// A line is malformed or out of order.
    #[error(
        "line {0} of keys is not `key BASE64 VALID_FROM SCHEME HEX`, or not in the order of devices and sequences"
    )]
    Line(usize),
    /// A key is refused.
    #[error("line {line} of keys: {source}")]
    Key {
        /// The line.
        line: usize,
        /// The cause.
        source: KeyError,
    },
    /// A key begins at a sequence that has no place in a bundle.
    #[error("a key of device {0:?} begins at sequence 2^63 or later")]
    ValidFrom(String),
}

/// Reads keys.
///
/// ```
/// use edgesentry_chain::KeyRing;
/// use edgesentry_log::{read_bundle_keys, write_bundle_keys};
/// let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
/// let text = format!("key bGlmdC0wMQ== 1 record {key}\n");
/// let ring: KeyRing = read_bundle_keys(text.as_bytes())?;
/// assert!(ring.key_at("lift-01", 7).is_some());
/// assert_eq!(write_bundle_keys(&ring)?, text);
/// # Ok::<(), edgesentry_log::BundleKeysError>(())
/// ```
///
/// # Errors
/// The bytes are not the output of [`write_bundle_keys`], or a key is weak or has two schemes.
pub fn read_bundle_keys(bytes: &[u8]) -> Result<KeyRing, BundleKeysError> {
    let mut text = std::str::from_utf8(bytes).map_err(|_| BundleKeysError::Line(1))?;
    let mut ring = KeyRing::new();
    let mut last: Option<(String, u64)> = None;
    let mut number = 0;
    while !text.is_empty() {
        number += 1;
        let line = take_line(&mut text).and_then(key_of).ok_or(BundleKeysError::Line(number))?;
        let (device_id, valid_from, scheme, key) = line;
        let at = (device_id, valid_from);
        if last.as_ref().is_some_and(|last| *last >= at) {
            return Err(BundleKeysError::Line(number));
        }
        let refused = |source| BundleKeysError::Key { line: number, source };
        let key: PublicKey = key.parse().map_err(refused)?;
        ring.insert(&at.0, RingKey { key, scheme, valid_from }).map_err(refused)?;
        last = Some(at);
    }
    Ok(ring)
}

/// Writes the keys of a ring.
///
/// # Errors
/// [`BundleKeysError::ValidFrom`].
pub fn write_bundle_keys(ring: &KeyRing) -> Result<String, BundleKeysError> {
    let mut text = String::new();
    for (device_id, keys) in ring.iter() {
        for RingKey { key, scheme, valid_from } in keys {
            if *valid_from > MAX_SIZE {
                return Err(BundleKeysError::ValidFrom(device_id.chars().take(60).collect()));
            }
            let device = encode_base64(device_id.as_bytes());
            text.push_str(&format!("key {device} {valid_from} {scheme} {key}\n"));
        }
    }
    Ok(text)
}

fn key_of(line: &str) -> Option<(String, u64, Scheme, &str)> {
    let mut words = line.strip_prefix("key ")?.split(' ');
    let (device, valid_from, scheme, key) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let device_id = String::from_utf8(decode_base64(device)?).ok()?;
    let valid_from = parse_decimal(valid_from).filter(|valid_from| *valid_from > 0)?;
    let is_hex = key.len() == 64 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_whole = is_hex && words.next().is_none();
    is_whole.then_some((device_id, valid_from, scheme.parse().ok()?, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const OTHER: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

    #[test]
    fn keys_have_one_encoding() {
        let line = |device: &str, from: u64, key: &str| {
            format!("key {} {from} record {key}\n", encode_base64(device.as_bytes()))
        };
        let good = line("a", 1, KEY) + &line("a", 5, OTHER) + &line("b", 1, KEY);
        assert_eq!(write_bundle_keys(&read_bundle_keys(good.as_bytes()).unwrap()).unwrap(), good);
        for bad in [
            line("b", 1, KEY) + &line("a", 1, KEY),
            line("a", 1, KEY) + &line("a", 1, KEY),
            line("a", 0, KEY),
            line("a", 1, &KEY.to_uppercase()),
            line("a", 1, &"0".repeat(64)),
            line("a", 1, KEY).replace(" record", "  record"),
            line("a", 1, KEY).replace("record", "ed25519"),
            line("a", 1, KEY).replace('\n', ""),
            line("a", 1, KEY).replace('\n', " \n"),
            line("a", 1, KEY).replace("YQ==", "YR=="),
            line("a", 1, KEY) + &line("b", 1, KEY).replace("record", "payload-hash"),
            "\n".to_owned(),
        ] {
            assert!(read_bundle_keys(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
