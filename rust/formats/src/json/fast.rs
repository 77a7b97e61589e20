//! Decodes the usual form of a record without a general parser.
//!
//! For every input that this decoder accepts, the strict decoder returns the same result (a test and a fuzz target
//! check this). All other forms are left to the strict decoder.

use edgesentry_chain::{FIELDS, Hash, RecordRef};

use super::block::{self, Block, Step};

/// Decodes the record in the first `length` bytes of `text`, which may be longer. `None` means only that this decoder
/// does not support the form. The text of the record is that of the input.
pub(super) fn record(text: &[u8], length: usize) -> Option<RecordRef<'_>> {
    block::run(Record { text, length })
}

/// The decoding of a record, as [`record`].
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) text: &'a [u8],
    pub(super) length: usize,
}

impl<'a> Step for Record<'a> {
    type Output = Option<RecordRef<'a>>;

    #[inline(always)]
    fn compute<B: Block>(self, cpu: Option<B::Cpu>) -> Option<RecordRef<'a>> {
        let mut input = Cursor::<B> { text: self.text, at: 0, cpu };
        let mut device_id = None;
        let mut sequence = None;
        let mut timestamp_ms = None;
        let mut payload_hash = None;
        let mut signature = None;
        let mut prev_record_hash = None;
        let mut object_ref = None;

        input.expect(b'{')?;
        let mut field = 0;
        loop {
            field = input.name(field)?;
            match field {
                0 => set(&mut device_id, input.field_text()?)?,
                1 => set(&mut sequence, input.field_integer()?)?,
                2 => set(&mut timestamp_ms, input.field_integer()?)?,
                3 => set(&mut payload_hash, input.field_bytes::<32>()?)?,
                4 => set(&mut signature, input.field_bytes::<64>()?)?,
                5 => set(&mut prev_record_hash, input.field_bytes::<32>()?)?,
                _ => set(&mut object_ref, input.field_text()?)?,
            }
            field += 1;
            match input.next_token()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        input.skip_space_to(self.length)?;
        Some(RecordRef {
            device_id: device_id?,
            sequence: sequence?,
            timestamp_ms: timestamp_ms?,
            payload_hash: Hash(payload_hash?),
            signature: signature?,
            prev_record_hash: Hash(prev_record_hash?),
            object_ref: object_ref?,
        })
    }
}

/// The names of the fields with zeros after them, and their lengths.
const NAMES: [(u128, usize); FIELDS.len()] = {
    let mut names = [(0, 0); FIELDS.len()];
    let mut field = 0;
    while field < FIELDS.len() {
        let name = FIELDS[field].as_bytes();
        assert!(name.len() <= 16);
        let mut at = 0;
        while at < name.len() {
            names[field].0 |= (name[at] as u128) << (8 * at);
            at += 1;
        }
        names[field].1 = name.len();
        field += 1;
    }
    names
};

#[inline(always)]
fn set<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

struct Cursor<'a, B: Block> {
    text: &'a [u8],
    at: usize,
    cpu: Option<B::Cpu>,
}

impl<'a, B: Block> Cursor<'a, B> {
    #[inline(always)]
    fn peek_token(&mut self) -> Option<u8> {
        loop {
            match *self.text.get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    #[inline(always)]
    fn next_token(&mut self) -> Option<u8> {
        let byte = self.peek_token()?;
        self.at += 1;
        Some(byte)
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next_token()? == byte).then_some(())
    }

    /// Skips white space up to `length`, the end of the entry. Returns `None` for any other byte.
    #[inline(always)]
    fn skip_space_to(&self, length: usize) -> Option<()> {
        let rest = self.text.get(self.at..length)?;
        rest.iter().all(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).then_some(())
    }

    /// Reads the name of a field and returns its number. `usual` is the number of the field that devices write next.
    #[inline(always)]
    fn name(&mut self, usual: usize) -> Option<usize> {
        self.expect(b'"')?;
        let text = u128::from_le_bytes(*self.text.get(self.at..)?.first_chunk()?);
        let is_name = |field: &usize| {
            NAMES.get(*field).is_some_and(|(name, length)| {
                (text ^ name) << (128 - 8 * length) == 0 && self.text.get(self.at + length) == Some(&b'"')
            })
        };
        let field = Some(usual).filter(is_name).or_else(|| (0..NAMES.len()).find(is_name))?;
        self.at += NAMES[field].1 + 1;
        Some(field)
    }

    /// Reads a string without escapes and control characters.
    #[inline(always)]
    fn plain_string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let rest = self.text.get(self.at..)?;
        let by_blocks = match self.cpu {
            Some(cpu) => block::plain_string::<B>(cpu, rest),
            None => None,
        };
        let length = match by_blocks {
            Some(length) => length,
            None => rest.iter().position(|byte| *byte == b'"' || *byte == b'\\' || *byte < 0x20)?,
        };
        if rest[length] != b'"' {
            return None;
        }
        self.at += length + 1;
        Some(&rest[..length])
    }

    #[inline(always)]
    fn field_text(&mut self) -> Option<&'a str> {
        self.expect(b':')?;
        std::str::from_utf8(self.plain_string()?).ok()
    }

    #[inline(always)]
    fn field_integer(&mut self) -> Option<u64> {
        self.expect(b':')?;
        let is_zero = self.peek_token()? == b'0';
        let start = self.at;
        let mut value = 0u64;
        loop {
            let (digits, length) = digits(*self.text.get(self.at..)?.first_chunk()?);
            self.at += length;
            value = value.checked_mul(POWERS_OF_TEN[length])?.checked_add(digits)?;
            if length < 8 {
                break;
            }
        }
        let length = self.at - start;
        (length == 1 || length > 1 && !is_zero).then_some(value)
    }

    /// Reads an array of N integers from 0 to 255, or 2 N hex digits.
    #[inline(always)]
    fn field_bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.expect(b':')?;
        let is_hex = self.peek_token()? == b'"';
        if let Some(cpu) = self.cpu {
            let start = self.at + 1;
            if is_hex {
                if let Some((bytes, end)) = block::hex::<B, N>(cpu, self.text, start) {
                    self.at = end;
                    return Some(bytes);
                }
            } else if self.text[self.at] == b'['
                && let Some((bytes, end)) = block::integers::<B, N>(cpu, self.text, start)
            {
                self.at = end;
                self.expect(b']')?;
                return Some(bytes);
            }
        }
        let mut bytes = [0u8; N];
        if is_hex {
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
        let (digits, others) = digits_and_others(word);
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

const POWERS_OF_TEN: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Returns the value of each byte that is a digit, and the highest bit of each of the other bytes, up to the first byte
/// that is neither digit nor comma.
#[inline(always)]
fn digits_and_others(word: u64) -> (u64, u64) {
    // An addition carries only out of a byte that is neither digit nor comma.
    let digits = word ^ 0x3030_3030_3030_3030;
    (digits, (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080)
}

/// Returns the integer of the digits at the start of eight bytes, and their number.
#[inline(always)]
fn digits(text: [u8; 8]) -> (u64, usize) {
    let (digits, others) = digits_and_others(u64::from_le_bytes(text));
    let length = others.trailing_zeros() / 8;
    // Shift the digits to the end, with zeros before them.
    let digits = digits.checked_shl(64 - 8 * length).unwrap_or(0);
    // Pairs of digits, then of pairs, then of those.
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let value = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    (value, length as usize)
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
