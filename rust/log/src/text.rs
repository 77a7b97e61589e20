//! Parts shared by the text formats: base64, decimals, names, lines.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::hash::MAX_SIZE;

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes `text` if it is canonical base64. This engine requires padding, and rejects white space and set bits after
/// the last byte.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Parses a decimal of ASCII digits without leading zero, at most [`MAX_SIZE`].
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|value| *value <= MAX_SIZE)
}

/// Returns true if `name` is a valid name of a note key.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// Takes a line from the front, without its line feed. Returns `None` if no line feed is left.
pub(crate) fn take_line<'a>(text: &mut &'a str) -> Option<&'a str> {
    let (line, rest) = text.split_once('\n')?;
    *text = rest;
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_from_its_canonical_form_alone() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_ \n";
        for bytes in [b"".as_slice(), b"a", b"ab", b"abc"] {
            assert_eq!(decode_base64(&encode_base64(bytes)).as_deref(), Some(bytes));
        }
        for a in alphabet {
            for b in alphabet {
                for c in alphabet {
                    for text in [[b'A', *a, *b, *c].as_slice(), &[*a, *b, *c]] {
                        let text = std::str::from_utf8(text).unwrap();
                        if let Some(bytes) = decode_base64(text) {
                            assert_eq!(encode_base64(&bytes), text);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn decimals_have_one_form() {
        for (text, value) in [("0", 0), ("10", 10), ("9223372036854775807", MAX_SIZE)] {
            assert_eq!(parse_decimal(text), Some(value));
        }
        for text in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "9223372036854775808", "١"] {
            assert_eq!(parse_decimal(text), None, "{text}");
        }
    }
}
