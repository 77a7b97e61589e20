//! Checks pages of text with delta-encoded lengths (DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY).
//!
//! The decoder allocates as many lengths as the page declares, and a value that repeats a prefix of the previous one
//! can be much longer than the page. This module counts both before decoding, and reads the lengths as the decoder
//! does.

/// Maximum number of values in a delta block; writers use 128 to 2048.
const MAX_BLOCK_VALUES: u64 = 64 << 10;

/// Returns the size of the values beyond that of the page itself, in bytes: the prefixes that they repeat.
///
/// If `prefixed`, `values` starts with the lengths of these prefixes, followed by those of the suffixes. At most
/// `max_count` values are read. Returns `None` if the page is damaged.
pub(super) fn repeated_bytes(values: &[u8], prefixed: bool, max_count: u64) -> Option<u64> {
    let mut input = Input { rest: values };
    let mut repeated = 0u64;
    if prefixed {
        let prefixes = input.lengths(max_count, |length| repeated = repeated.saturating_add(length))?;
        return (input.lengths(max_count, |_| {})? == prefixes).then_some(repeated);
    }
    input.lengths(max_count, |_| {})?;
    Some(0)
}

struct Input<'a> {
    rest: &'a [u8],
}

impl Input<'_> {
    /// Reads a run of lengths. Returns their number.
    fn lengths(&mut self, max_count: u64, mut each: impl FnMut(u64)) -> Option<u64> {
        let (block, minis, count) = (self.number()?, self.number()?, self.number()?);
        let mut value = self.signed()? as i32;
        let sound = count <= max_count
            && (128..=MAX_BLOCK_VALUES).contains(&block)
            && block.is_multiple_of(128)
            && (1..=block).contains(&minis)
            && block.is_multiple_of(32 * minis);
        if !sound {
            return None;
        }
        let mini = (block / minis) as usize;
        let mut left = count;
        let mut take = |value: i32, left: &mut u64| {
            *left -= 1;
            u64::try_from(value).ok().map(&mut each)
        };
        if left > 0 {
            take(value, &mut left)?;
        }
        while left > 0 {
            let smallest = self.signed()? as i32;
            let widths = self.bytes(minis as usize)?;
            for width in widths {
                if left == 0 {
                    // Miniblocks without values take no bytes, regardless of their widths.
                    break;
                }
                if *width > 32 {
                    return None;
                }
                let packed = self.bytes(usize::from(*width) * mini / 8)?;
                for at in 0..mini.min(usize::try_from(left).ok()?) {
                    let difference = unpacked(packed, at, *width);
                    value = value.wrapping_add(smallest).wrapping_add(difference as i32);
                    take(value, &mut left)?;
                }
            }
        }
        Some(count)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let [byte] = *self.bytes(1)? else { return None };
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        self.number().map(|zigzag| (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }
}

impl<'a> Input<'a> {
    fn bytes(&mut self, size: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        Some(bytes)
    }
}

/// Returns the number at index `at` of a sequence of `width`-bit numbers, packed from the lowest bit up.
fn unpacked(packed: &[u8], at: usize, width: u8) -> u32 {
    let width = usize::from(width);
    let first = at * width;
    let mut word = [0u8; 8];
    let bytes = &packed[first / 8..packed.len().min(first / 8 + 8)];
    word[..bytes.len()].copy_from_slice(bytes);
    let value = u64::from_le_bytes(word) >> (first % 8);
    (value & ((1u64 << width) - 1)) as u32
}
