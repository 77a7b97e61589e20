//! The parts that the text formats share: base64, decimals, names, lines.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::hash::MAX_SIZE;

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes, if `text` is their one canonical encoding: padded, no bit set behind the last byte, nothing else.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text).ok()?;
    (encode_base64(&bytes) == text).then_some(bytes)
}

/// A decimal of ASCII digits without leading zero, at most [`MAX_SIZE`].
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|value| *value <= MAX_SIZE)
}

/// Whether `name` can be the name of a note key.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// Takes a line off the front, without its line feed; none if no line feed is left.
pub(crate) fn take_line<'a>(text: &mut &'a str) -> Option<&'a str> {
    let (line, rest) = text.split_once('\n')?;
    *text = rest;
    Some(line)
}
