//! Bytes as text, in the forms of databases and programming languages.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Padding is optional; spare bits must be zero, so that different texts never give the same bytes.
const FORM: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, FORM);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, FORM);

/// Parses N bytes from hex digits, hex digits after `\x` or `0x` (PostgreSQL, MySQL), or base64 of either alphabet with
/// or without padding. For the 32 and 64 bytes of a record, the length determines the form.
///
/// ```
/// use edgesentry_formats::bytes_from_text;
/// let bytes = Some([0xff; 32]);
/// assert_eq!(bytes_from_text(&"ff".repeat(32)), bytes);
/// assert_eq!(bytes_from_text(&format!("\\x{}", "ff".repeat(32))), bytes);
/// assert_eq!(bytes_from_text("//////////////////////////////////////////8="), bytes);
/// assert_eq!(bytes_from_text("__________________________________________8"), bytes);
/// assert_eq!(bytes_from_text::<32>("ff"), None);
/// ```
pub fn bytes_from_text<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digits =
        ["\\x", "\\X", "0x", "0X"].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    if digits.len() == 2 * N {
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        return Some(bytes);
    }
    let unpadded = (4 * N).div_ceil(3);
    if text.len() != unpadded && text.len() != unpadded.next_multiple_of(4) {
        return None;
    }
    let length = BASE64.decode_slice(text, &mut bytes).or_else(|_| BASE64_URL.decode_slice(text, &mut bytes));
    (length == Ok(N)).then_some(bytes)
}
