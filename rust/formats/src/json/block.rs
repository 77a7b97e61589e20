//! 64 bytes of text at a time: integers, hex digits, strings and braces of records, by AVX-512 or AVX2.
//!
//! The code above the trait [`Block`] is written once. [`x86`] has the instructions of the CPU, and [`Plain`] computes the
//! same results in plain Rust on any CPU, for tests and fuzz targets. Without these instructions the callers decode byte
//! by byte, which is faster than the model.

#[cfg(target_arch = "x86_64")]
mod x86;

/// The number of bytes in a block.
pub(super) const BLOCK: usize = 64;
/// The number of bytes before a block that its integers may begin in.
const BEFORE: usize = 3;

/// 64 bytes in registers. Masks have a bit for each byte, bit 0 for byte 0. A value of a type that needs instructions
/// exists only if the CPU has them, so the methods are safe.
pub(super) trait Block: Copy {
    /// The proof that the CPU has the instructions.
    type Cpu: Copy;

    /// Runs a step as a function of its own, compiled for the instructions.
    fn run<S: Step>(cpu: Self::Cpu, step: S) -> S::Output;

    /// Loads 64 bytes.
    fn load(cpu: Self::Cpu, bytes: &[u8; BLOCK]) -> Self;

    /// Copies a value to all bytes. Another block is the proof.
    fn fill(self, value: u8) -> Self;

    /// Returns the mask of the bytes that are equal.
    fn equal(self, other: Self) -> u64;

    /// Returns the mask of the bytes with the highest bit set.
    fn high_bits(self) -> u64;

    /// Returns the sum of each byte, mod 256.
    fn add(self, other: Self) -> Self;

    /// Returns the sum of each byte, 255 at most.
    fn add_saturating(self, other: Self) -> Self;

    /// Returns the lower byte of each pair.
    fn min(self, other: Self) -> Self;

    /// Copies the highest bit of each byte of `other` that has it set.
    fn or_high_bits(self, other: Self) -> Self;

    /// Returns the entry of the table at the low four bits of each byte, 0 for a byte with the highest bit set.
    fn lookup(self, table: &[u8; 16]) -> Self;

    /// Writes the bytes at the ones of a mask to the front of `out`, in order. The bytes of `out` after them have any
    /// value.
    fn compress(self, mask: u64, out: &mut [u8; BLOCK]);

    /// Returns the bytes of 64 hex digits.
    fn hex(self) -> Option<[u8; BLOCK / 2]>;
}

/// A part of the computation that is compiled as a function of its own.
pub(super) trait Step {
    type Output;

    /// Computes the step; without a CPU, byte by byte. Must be inlined, so that it is compiled for the instructions of
    /// the function that runs it.
    fn compute<B: Block>(self, cpu: Option<B::Cpu>) -> Self::Output;
}

/// Runs a step with the best instructions of the CPU.
#[inline(always)]
pub(super) fn run<S: Step>(step: S) -> S::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(cpu) = x86::Avx512::detect() {
            return x86::Zmm::run(cpu, step);
        }
        if let Some(cpu) = x86::Avx2::detect() {
            return x86::YmmPair::run(cpu, step);
        }
    }
    step.compute::<Plain>(None)
}

/// Runs a step byte by byte, by the model and by all instructions that the CPU has, for tests and fuzz targets.
pub(super) fn run_all<S: Step + Copy>(step: S) -> Vec<S::Output> {
    let mut outputs = vec![step.compute::<Plain>(None), Plain::run((), step)];
    #[cfg(target_arch = "x86_64")]
    {
        outputs.extend(x86::Avx512::detect().map(|cpu| x86::Zmm::run(cpu, step)));
        outputs.extend(x86::Avx2::detect().map(|cpu| x86::YmmPair::run(cpu, step)));
    }
    outputs
}

/// Decodes N integers from 0 to 255, with a comma after each but the last, from `start` on, which is after the opening
/// bracket. Returns them with the position after the last digit. `None` if the text is none of these or has them in an
/// unusual form: white space before a comma, or too near to the end of the text.
#[inline(always)]
pub(super) fn integers<B: Block, const N: usize>(
    cpu: B::Cpu,
    text: &[u8],
    start: usize,
) -> Option<([u8; N], usize)> {
    const TENS: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90];
    const HUNDREDS: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 100, 200, 0, 0, 0, 0, 0, 0, 0];
    // Makes the highest bit of an integer over 255: added to its last two digits.
    const EXCESS: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 128 - 56, 128, 128, 128, 128, 128, 128, 128];

    let mut values = [0; 2 * BLOCK];
    let mut count = 0;
    let mut at = start;
    loop {
        let window: &[u8; BEFORE + BLOCK] = text.get(at.checked_sub(BEFORE)?..)?.first_chunk()?;
        // Each byte, and the bytes one, two and three places before it.
        let byte = B::load(cpu, window[3..].first_chunk()?);
        let byte1 = B::load(cpu, window[2..].first_chunk()?);
        let byte2 = B::load(cpu, window[1..].first_chunk()?);
        let byte3 = B::load(cpu, window.first_chunk()?);
        let (index0, index1, index2, index3) = (index(byte), index(byte1), index(byte2), index(byte3));
        let [digit, digit1, digit2, digit3] =
            [!index0.high_bits(), !index1.high_bits(), !index2.high_bits(), !index3.high_bits()];

        // The integer that ends before this byte, if one does.
        let tens_and_units = index2.lookup(&TENS).add(index1.add(index1.fill(INDEX.wrapping_neg())));
        let hundreds = index3.or_high_bits(index2);
        let value = hundreds.lookup(&HUNDREDS).add(tens_and_units);
        let is_over_255 = hundreds.lookup(&EXCESS).add(tens_and_units).high_bits();

        let space = space(byte);
        // White space after the last integer is allowed: it ends the array here.
        let last = (byte.equal(byte.fill(b']')) | space) & digit1;
        let until_last = last ^ last.wrapping_sub(1);
        let ends = byte.equal(byte.fill(b',')) & digit1 | last;
        let allowed = digit | ends | space & !digit1;
        let is_long = digit & digit1 & digit2 & digit3;
        let has_leading_zero = digit & byte1.equal(byte1.fill(b'0')) & !digit2;
        let wrong = !allowed | is_long | has_leading_zero | is_over_255 & ends;
        if wrong & until_last != 0 {
            return None;
        }
        let ends = ends & until_last;
        value.compress(ends, values.get_mut(count..)?.first_chunk_mut()?);
        count += ends.count_ones() as usize;
        if last != 0 {
            let end = at + last.trailing_zeros() as usize;
            return if count == N { Some((*values.first_chunk()?, end)) } else { None };
        }
        at += BLOCK;
    }
}

/// The index of the digit 0 in the tables of digits.
const INDEX: u8 = 0x76;

/// Returns the index of each digit in a table: its value and [`INDEX`], of which a lookup takes the low four bits. The
/// index of any other byte has the highest bit set, and finds 0.
#[inline(always)]
fn index<B: Block>(block: B) -> B {
    block.add(block.fill(b'0'.wrapping_neg())).add_saturating(block.fill(INDEX))
}

/// Decodes N bytes from 2 N hex digits and the closing quote. Returns them with the position after the quote.
#[inline(always)]
pub(super) fn hex<B: Block, const N: usize>(
    cpu: B::Cpu,
    text: &[u8],
    start: usize,
) -> Option<([u8; N], usize)> {
    const { assert!(N.is_multiple_of(BLOCK / 2)) };
    let end = start + 2 * N;
    if *text.get(end)? != b'"' {
        return None;
    }
    let mut bytes = [0; N];
    let blocks = text[start..end].as_chunks().0;
    for (bytes, block) in bytes.as_chunks_mut().0.iter_mut().zip(blocks) {
        *bytes = B::load(cpu, block).hex()?;
    }
    Some((bytes, end + 1))
}

/// Returns the length of a string that has neither escapes nor control characters, up to its closing quote. `None` if it
/// has, or if it ends too near to the end of the text.
#[inline(always)]
pub(super) fn plain_string<B: Block>(cpu: B::Cpu, rest: &[u8]) -> Option<usize> {
    for (number, block) in rest.as_chunks().0.iter().enumerate() {
        let block = B::load(cpu, block);
        let quotes = block.equal(block.fill(b'"'));
        let control = block.min(block.fill(0x1f)).equal(block);
        let ends = quotes | block.equal(block.fill(b'\\')) | control;
        if ends != 0 {
            let end = ends.trailing_zeros();
            return (quotes >> end & 1 == 1).then_some(number * BLOCK + end as usize);
        }
    }
    None
}

/// Returns the index after the brace that closes the object at the start of `text`.
#[inline(always)]
pub(super) fn object_end<B: Block>(cpu: B::Cpu, text: &[u8]) -> Option<usize> {
    let mut depth = 0u64;
    // All ones in a string.
    let mut in_string = 0;
    // The first byte of the block is escaped.
    let mut is_escaped = false;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let block = match rest.first_chunk() {
            Some(block) => B::load(cpu, block),
            None => {
                let mut block = [0; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                B::load(cpu, &block)
            }
        };
        let mut quotes = block.equal(block.fill(b'"'));
        let backslashes = block.equal(block.fill(b'\\'));
        if backslashes != 0 || is_escaped {
            (quotes, is_escaped) = unescaped(quotes, backslashes, in_string != 0, is_escaped);
        }
        let strings = in_string ^ parity(quotes);
        in_string = ((strings as i64) >> 63) as u64;
        let open = block.equal(block.fill(b'{'));
        let mut braces = (open | block.equal(block.fill(b'}'))) & !strings;
        while braces != 0 {
            let brace = braces.trailing_zeros();
            if open >> brace & 1 == 1 {
                depth += 1;
            } else {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + brace as usize + 1);
                }
            }
            braces &= braces - 1;
        }
        at += BLOCK;
    }
    None
}

/// Returns the quotes that no backslash in their string escapes, and whether the byte after the block is escaped.
fn unescaped(quotes: u64, backslashes: u64, mut in_string: bool, mut is_escaped: bool) -> (u64, bool) {
    let mut left = 0;
    for at in 0..BLOCK {
        if is_escaped {
            is_escaped = false;
        } else if quotes >> at & 1 == 1 {
            left |= 1 << at;
            in_string = !in_string;
        } else {
            is_escaped = in_string && backslashes >> at & 1 == 1;
        }
    }
    (left, is_escaped)
}

/// Returns, for each bit, whether the number of ones up to it is odd.
#[inline(always)]
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Returns the mask of white space.
#[inline(always)]
fn space<B: Block>(block: B) -> u64 {
    // At the low four bits of each white space the byte itself, and elsewhere a byte with other low bits.
    const SPACE: [u8; 16] = [b' ', 0, 0, 0, 0, 0, 0, 0, 0, b'\t', b'\n', 0, 0, b'\r', 0, 0];
    block.lookup(&SPACE).equal(block)
}

/// The model of the instructions.
#[derive(Clone, Copy)]
pub(super) struct Plain([u8; BLOCK]);

impl Plain {
    fn each(self, other: Self, f: impl Fn(u8, u8) -> u8) -> Self {
        Self(core::array::from_fn(|i| f(self.0[i], other.0[i])))
    }

    fn mask(self, is_one: impl Fn(usize, u8) -> bool) -> u64 {
        self.0.iter().enumerate().fold(0, |mask, (i, byte)| mask | u64::from(is_one(i, *byte)) << i)
    }
}

impl Block for Plain {
    type Cpu = ();

    fn run<S: Step>((): (), step: S) -> S::Output {
        step.compute::<Self>(Some(()))
    }

    fn load((): (), bytes: &[u8; BLOCK]) -> Self {
        Self(*bytes)
    }

    fn fill(self, value: u8) -> Self {
        Self([value; BLOCK])
    }

    fn equal(self, other: Self) -> u64 {
        self.mask(|i, byte| byte == other.0[i])
    }

    fn high_bits(self) -> u64 {
        self.mask(|_, byte| byte & 0x80 != 0)
    }

    fn add(self, other: Self) -> Self {
        self.each(other, u8::wrapping_add)
    }

    fn add_saturating(self, other: Self) -> Self {
        self.each(other, u8::saturating_add)
    }

    fn min(self, other: Self) -> Self {
        self.each(other, u8::min)
    }

    fn or_high_bits(self, other: Self) -> Self {
        self.each(other, |byte, other| byte | other & 0x80)
    }

    fn lookup(self, table: &[u8; 16]) -> Self {
        Self(self.0.map(|byte| if byte & 0x80 != 0 { 0 } else { table[usize::from(byte & 15)] }))
    }

    fn compress(self, mask: u64, out: &mut [u8; BLOCK]) {
        let bytes = (0..BLOCK).filter(|i| mask >> i & 1 == 1).map(|i| self.0[i]);
        out.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    }

    fn hex(self) -> Option<[u8; BLOCK / 2]> {
        let mut bytes = [0; BLOCK / 2];
        hex::decode_to_slice(self.0, &mut bytes).ok()?;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests;
