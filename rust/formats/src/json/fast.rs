//! Decodes the usual form of a record without a general parser.
//!
//! For every input that this decoder accepts, the strict decoder returns the same result (a test and a fuzz target
//! check this). All other forms are left to the strict decoder.

use edgesentry_chain::{AuditRecord, Hash};

/// Decodes the record in the first `length` bytes of `text`, which may be longer. `None` means only that this decoder
/// does not support the form.
pub(super) fn record(text: &[u8], length: usize) -> Option<AuditRecord> {
    let mut input = Cursor { text, at: 0 };
    let mut device_id = None;
    let mut sequence = None;
    let mut timestamp_ms = None;
    let mut payload_hash = None;
    let mut signature = None;
    let mut prev_record_hash = None;
    let mut object_ref = None;

    input.expect(b'{')?;
    loop {
        match input.plain_string()? {
            b"device_id" => set(&mut device_id, input.field_text()?)?,
            b"sequence" => set(&mut sequence, input.field_integer()?)?,
            b"timestamp_ms" => set(&mut timestamp_ms, input.field_integer()?)?,
            b"payload_hash" => set(&mut payload_hash, input.field_bytes::<32>()?)?,
            b"signature" => set(&mut signature, input.field_bytes::<64>()?)?,
            b"prev_record_hash" => set(&mut prev_record_hash, input.field_bytes::<32>()?)?,
            b"object_ref" => set(&mut object_ref, input.field_text()?)?,
            _ => return None,
        }
        match input.next_token()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    input.skip_space_to(length)?;
    Some(AuditRecord {
        device_id: device_id?.to_owned(),
        sequence: sequence?,
        timestamp_ms: timestamp_ms?,
        payload_hash: Hash(payload_hash?),
        signature: signature?,
        prev_record_hash: Hash(prev_record_hash?),
        object_ref: object_ref?.to_owned(),
    })
}

fn set<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek_token(&mut self) -> Option<u8> {
        loop {
            match *self.text.get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn next_token(&mut self) -> Option<u8> {
        let byte = self.peek_token()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next_token()? == byte).then_some(())
    }

    /// Skips white space up to `length`, the end of the entry. Returns `None` for any other byte.
    fn skip_space_to(&self, length: usize) -> Option<()> {
        let rest = self.text.get(self.at..length)?;
        rest.iter().all(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).then_some(())
    }

    /// Reads a string without escapes and control characters.
    fn plain_string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let rest = self.text.get(self.at..)?;
        let length = rest.iter().position(|byte| *byte == b'"' || *byte == b'\\' || *byte < 0x20)?;
        if rest[length] != b'"' {
            return None;
        }
        self.at += length + 1;
        Some(&rest[..length])
    }

    fn field_text(&mut self) -> Option<&'a str> {
        self.expect(b':')?;
        std::str::from_utf8(self.plain_string()?).ok()
    }

    fn field_integer(&mut self) -> Option<u64> {
        self.expect(b':')?;
        self.peek_token()?;
        let rest = self.text.get(self.at..)?;
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 || (rest[0] == b'0' && length > 1) {
            return None;
        }
        let mut value = 0u64;
        for digit in &rest[..length] {
            value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        }
        self.at += length;
        Some(value)
    }

    /// Reads an array of N integers from 0 to 255, or 2 N hex digits.
    fn field_bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.expect(b':')?;
        let mut bytes = [0u8; N];
        if self.peek_token()? == b'"' {
            hex::decode_to_slice(self.plain_string()?, &mut bytes).ok()?;
            return Some(bytes);
        }
        self.expect(b'[')?;
        for at in (0..N).step_by(2) {
            let end = if at + 2 == N { b']' } else { b',' };
            let pair = match self.pair(end) {
                Some(pair) => pair,
                None => [self.byte(b',')?, self.byte(end)?],
            };
            bytes[at..at + 2].copy_from_slice(&pair);
        }
        Some(bytes)
    }

    /// Reads two integers from 0 to 255, each directly followed by its delimiter: eight bytes of text hold both. Two at
    /// a time, because the next read depends on the result of this one. `None` leaves the position unchanged: the
    /// integers may still be there in another form.
    #[inline(always)]
    fn pair(&mut self, delimiter: u8) -> Option<[u8; 2]> {
        let word: [u8; 8] = self.text.get(self.at..self.at + 8)?.try_into().ok()?;
        let word = u64::from_le_bytes(word);
        // As in `byte`. An addition carries only out of a byte that is neither digit nor comma.
        let digits = word ^ 0x3030_3030_3030_3030;
        let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
        let first = others.trailing_zeros() / 8;
        let second = (others & others.wrapping_sub(1)).trailing_zeros() / 8;
        if second > 7 || (word >> (8 * first)) as u8 != b',' || (word >> (8 * second)) as u8 != delimiter {
            return None;
        }
        let pair = [
            integer(digits as u32, first)?,
            integer((digits >> (8 * (first + 1))) as u32, second - first - 1)?,
        ];
        self.at += second as usize + 1;
        Some(pair)
    }

    /// Reads one integer from 0 to 255 and its delimiter.
    #[inline(always)]
    fn byte(&mut self, delimiter: u8) -> Option<u8> {
        if matches!(*self.text.get(self.at)?, b' ' | b'\n' | b'\r' | b'\t') {
            self.peek_token()?;
        }
        let word = self.text.get(self.at..self.at + 4)?;
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        // Digits become 0 to 9; other bytes get their highest bit set.
        let digits = word ^ 0x3030_3030;
        let others = (digits.wrapping_add(0x7676_7676) | digits) & 0x8080_8080;
        let length = others.trailing_zeros() / 8;
        let value = integer(digits, length)?;
        self.at += length as usize;
        let next = *self.text.get(self.at)?;
        if next == delimiter {
            self.at += 1;
        } else {
            self.expect(delimiter)?;
        }
        Some(value)
    }
}

/// Returns the integer from 0 to 255 of `length` digits, 0 to 9 each, from the lowest byte up.
#[inline(always)]
fn integer(digits: u32, length: u32) -> Option<u8> {
    if length == 0 || length > 3 || (length > 1 && digits & 0xff == 0) {
        return None;
    }
    // Shift the digits to the end: hundreds, tens and units in bytes 1 to 3.
    let [_, hundreds, tens, units] = (digits << (32 - 8 * length)).to_le_bytes().map(u32::from);
    u8::try_from(hundreds * 100 + tens * 10 + units).ok()
}
