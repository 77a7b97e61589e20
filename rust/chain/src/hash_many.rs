//! BLAKE3 of many short inputs, sixteen at a time if the CPU has AVX-512. The library hashes one at a time below a
//! chunk of 1,024 bytes.

use std::sync::LazyLock;

use crate::record::{AuditRecord, RECORD_SIGNATURE_CONTEXT, record_signature_hasher};
use crate::vector::{Step, Words};

/// The size of a chunk: longer inputs are hashed one at a time.
const CHUNK: usize = 1024;
const BLOCK: usize = 64;

/// The initial value of BLAKE3.
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

// Flags of a block.
const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const ROOT: u32 = 8;
const DERIVE_KEY_MATERIAL: u32 = 64;

/// The word that each round takes, at each place.
const SCHEDULE: [[u8; 16]; 7] = {
    const PERMUTATION: [u8; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut schedule = [[0; 16]; 7];
    let mut round = 0;
    while round < 7 {
        let mut at = 0;
        while at < 16 {
            schedule[round][at] =
                if round == 0 { at as u8 } else { schedule[round - 1][PERMUTATION[at] as usize] };
            at += 1;
        }
        round += 1;
    }
    schedule
};

/// The function to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// BLAKE3.
    Hash,
    /// BLAKE3 derive-key with the context of record signatures.
    RecordSignature,
}

impl Function {
    fn of(self, input: &[u8]) -> [u8; 32] {
        match self {
            Self::Hash => blake3::hash(input).into(),
            Self::RecordSignature => record_signature_hasher().update(input).finalize().into(),
        }
    }

    fn key_and_flags(self) -> ([u32; 8], u32) {
        match self {
            Self::Hash => (IV, 0),
            Self::RecordSignature => (*RECORD_SIGNATURE_KEY, DERIVE_KEY_MATERIAL),
        }
    }
}

/// The key that BLAKE3 derives from the context of record signatures.
static RECORD_SIGNATURE_KEY: LazyLock<[u32; 8]> = LazyLock::new(|| {
    let key = blake3::hazmat::hash_derive_key_context(RECORD_SIGNATURE_CONTEXT);
    let (words, _) = key.as_chunks::<4>();
    std::array::from_fn(|i| u32::from_le_bytes(words[i]))
});

/// The number of inputs that are hashed together.
pub(crate) const LANES: usize = 16;

/// Returns the hashes, or the digests to sign, of at most [`LANES`] records, in order; those after the last record mean
/// nothing. `scratch` is a buffer that the caller reuses.
pub(crate) fn hash_records<'r>(
    function: Function,
    records: impl Iterator<Item = &'r AuditRecord>,
    scratch: &mut Vec<u8>,
) -> [[u8; 32]; LANES] {
    scratch.clear();
    let (mut ends, mut count) = ([0; LANES + 1], 0);
    for record in records {
        record.write_canonical(scratch, function == Function::Hash);
        count += 1;
        ends[count] = scratch.len();
    }
    let mut inputs: [&[u8]; LANES] = [&[]; LANES];
    for (at, input) in inputs[..count].iter_mut().enumerate() {
        *input = &scratch[ends[at]..ends[at + 1]];
    }
    hash_many(function, &inputs, count)
}

/// Returns the results of the first `count` inputs, in order.
fn hash_many(function: Function, inputs: &[&[u8]; LANES], count: usize) -> [[u8; 32]; LANES] {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = crate::vector::ifma::Cpu::detect() {
        return in_lanes::<crate::vector::ifma::ZmmWords>(cpu, function, inputs, count);
    }
    one_by_one(function, inputs, count)
}

fn one_by_one(function: Function, inputs: &[&[u8]; LANES], count: usize) -> [[u8; 32]; LANES] {
    let mut hashes = [[0; 32]; LANES];
    for (hash, input) in hashes[..count].iter_mut().zip(inputs) {
        *hash = function.of(input);
    }
    hashes
}

/// Like [`hash_many`], by vectors.
fn in_lanes<W: Words>(
    cpu: W::Cpu,
    function: Function,
    inputs: &[&[u8]; LANES],
    count: usize,
) -> [[u8; 32]; LANES] {
    // A few are not worth the sixteen lanes.
    if count < 4 || inputs.iter().any(|input| input.len() > CHUNK) {
        return one_by_one(function, inputs, count);
    }
    W::run(cpu, Sixteen::<W> { cpu, function, inputs })
}

/// The results of sixteen inputs of one chunk each.
struct Sixteen<'a, W: Words> {
    cpu: W::Cpu,
    function: Function,
    inputs: &'a [&'a [u8]; LANES],
}

impl<W: Words> Step for Sixteen<'_, W> {
    type Output = [[u8; 32]; LANES];

    #[inline(always)]
    fn compute(self) -> Self::Output {
        let Self { cpu, function, inputs } = self;
        let (key, flags) = function.key_and_flags();
        let mut chaining = [W::load(cpu, &[0; 16]); 8];
        for (value, key) in chaining.iter_mut().zip(key) {
            *value = W::load(cpu, &[key; 16]);
        }
        let mut hashes = [[0; 32]; LANES];
        let mut block = 0;
        let mut is_open = true;
        while is_open {
            let at = block * BLOCK;
            let (mut words, mut lengths, mut lane_flags) = ([[0; 16]; 16], [0; 16], [0; 16]);
            let mut ended = 0u16;
            is_open = false;
            for (lane, input) in inputs.iter().enumerate() {
                let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty() || at == 0) else { continue };
                let mut bytes = [0; BLOCK];
                let length = rest.len().min(BLOCK);
                bytes[..length].copy_from_slice(&rest[..length]);
                for (row, word) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    row[lane] = u32::from_le_bytes(*word);
                }
                lengths[lane] = length as u32;
                lane_flags[lane] = flags | if block == 0 { CHUNK_START } else { 0 };
                if rest.len() <= BLOCK {
                    lane_flags[lane] |= CHUNK_END | ROOT;
                    ended |= 1 << lane;
                } else {
                    is_open = true;
                }
            }
            let lengths_and_flags = [W::load(cpu, &lengths), W::load(cpu, &lane_flags)];
            chaining = compress(cpu, &chaining, &words, lengths_and_flags);
            if ended != 0 {
                for (i, value) in chaining.iter().enumerate() {
                    let lanes = value.lanes();
                    for lane in (0..16).filter(|lane| ended >> lane & 1 == 1) {
                        hashes[lane][4 * i..][..4].copy_from_slice(&lanes[lane].to_le_bytes());
                    }
                }
            }
            block += 1;
        }
        hashes
    }
}

/// Compresses one block of each lane and returns the chaining values.
#[inline(always)]
fn compress<W: Words>(
    cpu: W::Cpu,
    chaining: &[W; 8],
    words: &[[u32; 16]; 16],
    [lengths, flags]: [W; 2],
) -> [W; 8] {
    let zero = W::load(cpu, &[0; 16]);
    let mut m = [zero; 16];
    for (vector, words) in m.iter_mut().zip(words) {
        *vector = W::load(cpu, words);
    }
    let mut v = [zero; 16];
    v[..8].copy_from_slice(chaining);
    for i in 0..4 {
        v[8 + i] = W::load(cpu, &[IV[i]; 16]);
    }
    // The counter of the chunk, in 12 and 13, is zero.
    v[14] = lengths;
    v[15] = flags;
    for schedule in &SCHEDULE {
        let word = |at: usize| m[usize::from(schedule[at] & 15)];
        mix(&mut v, [0, 4, 8, 12], word(0), word(1));
        mix(&mut v, [1, 5, 9, 13], word(2), word(3));
        mix(&mut v, [2, 6, 10, 14], word(4), word(5));
        mix(&mut v, [3, 7, 11, 15], word(6), word(7));
        mix(&mut v, [0, 5, 10, 15], word(8), word(9));
        mix(&mut v, [1, 6, 11, 12], word(10), word(11));
        mix(&mut v, [2, 7, 8, 13], word(12), word(13));
        mix(&mut v, [3, 4, 9, 14], word(14), word(15));
    }
    let mut next = *chaining;
    for (i, value) in next.iter_mut().enumerate() {
        *value = v[i].xor(v[i + 8]);
    }
    next
}

/// The quarter round.
#[inline(always)]
fn mix<W: Words>(v: &mut [W; 16], [a, b, c, d]: [usize; 4], x: W, y: W) {
    v[a] = v[a].add(v[b]).add(x);
    v[d] = v[d].xor(v[a]).rotate::<16>();
    v[c] = v[c].add(v[d]);
    v[b] = v[b].xor(v[c]).rotate::<12>();
    v[a] = v[a].add(v[b]).add(y);
    v[d] = v[d].xor(v[a]).rotate::<8>();
    v[c] = v[c].add(v[d]);
    v[b] = v[b].xor(v[c]).rotate::<7>();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::plain_words::PlainWords;

    /// Checks both ways for inputs of these lengths.
    fn check(lengths: &[usize]) {
        let inputs: Vec<Vec<u8>> = lengths
            .iter()
            .enumerate()
            .map(|(i, length)| (0..*length).map(|at| (at * 251 + i * 7) as u8).collect())
            .collect();
        for function in [Function::Hash, Function::RecordSignature] {
            for group in inputs.chunks(LANES) {
                let expected: Vec<[u8; 32]> = group.iter().map(|input| function.of(input)).collect();
                let count = group.len();
                let mut inputs: [&[u8]; LANES] = [&[]; LANES];
                inputs.iter_mut().zip(group).for_each(|(place, input)| *place = input);
                let modelled = in_lanes::<PlainWords>((), function, &inputs, count);
                assert_eq!(modelled[..count], expected, "{function:?}");
                assert_eq!(hash_many(function, &inputs, count)[..count], expected, "{function:?}");
            }
        }
    }

    #[test]
    fn hashes_are_those_of_the_library() {
        check(&[0]);
        check(&[200; 40]);
        check(&(0..1030).collect::<Vec<_>>());
        check(&[64, 0, 128, 1, 1024, 63, 65, 1023, 960, 961, 5, 127, 129, 256, 3, 2]);
        check(&[100, 100, 100, 1025, 100, 100, 5000, 100]);
    }
}
