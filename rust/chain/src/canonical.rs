//! The canonical encoding (postcard): strings as varint length and UTF-8, integers as LEB128 varints, hashes and keys
//! raw, an option as 00, or as 01 and its value.
//!
//! Each value has exactly one encoding: [`Reader`] rejects all others.

/// The reason why bytes are not a canonical encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// The bytes end within a field.
    #[error("the bytes end within a field")]
    Truncated,
    /// Bytes follow the last field.
    #[error("{0} bytes follow the last field")]
    Trailing(usize),
    /// A varint is longer than needed, or its value does not fit into 64 bits.
    #[error("a varint is longer than needed or exceeds 64 bits")]
    Varint,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// The byte before an option is neither 00 nor 01.
    #[error("the byte before an option is {0:#04x}, expected 00 or 01")]
    OptionByte(u8),
    /// A signature does not have 64 bytes.
    #[error("a signature has {0} bytes, expected 64")]
    SignatureLength(u64),
}

/// Receives canonical bytes: a vector that grows, a hash, or a [`Buffer`] of the caller.
pub trait Output {
    /// Appends one byte.
    fn write_byte(&mut self, byte: u8) {
        self.write_bytes(&[byte]);
    }
    /// Appends bytes.
    fn write_bytes(&mut self, bytes: &[u8]);
}

impl Output for Vec<u8> {
    fn write_byte(&mut self, byte: u8) {
        self.push(byte);
    }

    fn write_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Output for blake3::Hasher {
    fn write_bytes(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

/// A buffer of fixed size. It drops the bytes that do not fit, and counts them.
///
/// ```
/// use edgesentry_chain::canonical::{Buffer, write_text};
/// let mut bytes = [0; 4];
/// let mut buffer = Buffer::new(&mut bytes);
/// write_text(&mut buffer, "abc");
/// assert_eq!(buffer.size(), 4);
/// assert_eq!(bytes, *b"\x03abc");
/// ```
#[derive(Debug)]
pub struct Buffer<'a> {
    bytes: &'a mut [u8],
    size: usize,
}

impl<'a> Buffer<'a> {
    /// Creates an empty buffer over `bytes`.
    pub fn new(bytes: &'a mut [u8]) -> Buffer<'a> {
        Buffer { bytes, size: 0 }
    }

    /// Returns the number of bytes written, including those that did not fit.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Output for Buffer<'_> {
    fn write_bytes(&mut self, bytes: &[u8]) {
        let rest = self.bytes.get_mut(self.size..).unwrap_or_default();
        let fitting = rest.len().min(bytes.len());
        rest[..fitting].copy_from_slice(&bytes[..fitting]);
        self.size += bytes.len();
    }
}

/// Appends an integer as LEB128 varint.
pub fn write_varint(out: &mut impl Output, mut value: u64) {
    while value >= 0x80 {
        out.write_byte(value as u8 | 0x80);
        value >>= 7;
    }
    out.write_byte(value as u8);
}

/// Returns the number of bytes of an integer as LEB128 varint.
pub(crate) const fn varint_size(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Returns the number of bytes of a string as varint length and UTF-8.
pub(crate) const fn text_size(text: &str) -> usize {
    varint_size(text.len() as u64) + text.len()
}

/// Appends a string as varint length and UTF-8.
pub fn write_text(out: &mut impl Output, text: &str) {
    write_varint(out, text.len() as u64);
    out.write_bytes(text.as_bytes());
}

/// Reads values from the front of a slice. Returned strings and bytes borrow from it; the reader allocates nothing.
///
/// ```
/// use edgesentry_chain::canonical::{CanonicalError, Reader};
/// let mut reader = Reader::new(&[2, b'o', b'k', 0x80, 0x01]);
/// assert_eq!(reader.text()?, "ok");
/// assert_eq!(reader.varint()?, 128);
/// reader.finish()?;
/// // 128 again, one byte longer than needed.
/// assert_eq!(Reader::new(&[0x80, 0x81, 0x00]).varint(), Err(CanonicalError::Varint));
/// # Ok::<(), CanonicalError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Creates a reader at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Returns the bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// The bytes end.
    pub fn byte(&mut self) -> Result<u8, CanonicalError> {
        self.rest.split_off_first().copied().ok_or(CanonicalError::Truncated)
    }

    /// Reads an integer.
    ///
    /// # Errors
    /// The bytes end, or the integer is not written in its shortest form.
    pub fn varint(&mut self) -> Result<u64, CanonicalError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds only the last bit.
            if shift == 63 && byte > 1 {
                return Err(CanonicalError::Varint);
            }
            value |= bits << shift;
            if byte < 0x80 {
                // A final zero byte is redundant, except for the value zero.
                return if byte == 0 && shift > 0 { Err(CanonicalError::Varint) } else { Ok(value) };
            }
        }
        Err(CanonicalError::Varint)
    }

    /// Reads the next `length` bytes.
    ///
    /// # Errors
    /// The bytes end.
    pub fn bytes(&mut self, length: u64) -> Result<&'a [u8], CanonicalError> {
        let length = usize::try_from(length).map_err(|_| CanonicalError::Truncated)?;
        self.rest.split_off(..length).ok_or(CanonicalError::Truncated)
    }

    /// Reads an array, such as a hash or a key.
    ///
    /// # Errors
    /// The bytes end.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CanonicalError> {
        self.bytes(N as u64)?.try_into().map_err(|_| CanonicalError::Truncated)
    }

    /// Reads a string.
    ///
    /// # Errors
    /// The bytes end, or the string is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, CanonicalError> {
        let length = self.varint()?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| CanonicalError::NotUtf8)
    }

    /// Reads the byte before an option. Returns true if its value follows.
    ///
    /// # Errors
    /// The bytes end, or the tag is neither 0 nor 1.
    pub fn option(&mut self) -> Result<bool, CanonicalError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(CanonicalError::OptionByte(other)),
        }
    }

    /// Checks that no bytes are left.
    ///
    /// # Errors
    /// Bytes are left.
    pub fn finish(self) -> Result<(), CanonicalError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CanonicalError::Trailing(self.rest.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_an_integer_is_that_of_its_bytes() {
        for bits in 0..=u64::BITS {
            let least = 1u64.checked_shl(bits).unwrap_or(0);
            for value in [least, least.wrapping_sub(1), least.wrapping_add(1)] {
                let mut bytes = Vec::new();
                write_varint(&mut bytes, value);
                assert_eq!(varint_size(value), bytes.len(), "{value}");
            }
        }
    }
}
