//! BLAKE3 of many short inputs, sixteen at a time if the CPU has AVX-512, or eight if it has AVX2. The library hashes one
//! at a time below a chunk of 1,024 bytes.

use std::sync::LazyLock;

use crate::key::Scheme;
use crate::record::{RECORD_SIGNATURE_CONTEXT, record_signature_hasher};
use crate::record_ref::RecordRef;
use crate::vector::{Step, Words, each};

/// The size of a chunk: longer inputs are hashed one at a time.
const CHUNK: usize = 1024;
const BLOCK: usize = 64;

/// The block of a lane that has ended.
static NO_BLOCK: [u8; BLOCK] = [0; BLOCK];

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

    fn of_record(self, record: &RecordRef<'_>) -> [u8; 32] {
        match self {
            Self::Hash => record.hash().0,
            Self::RecordSignature => record.signed_message(Scheme::Record),
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

/// Fewer inputs than this are hashed one by one.
const LANES_PAY: usize = 4;

/// An input: its bytes and zeros to the end of a block. It has at least one block.
#[derive(Clone, Copy, Default)]
struct Input<'a> {
    blocks: &'a [[u8; BLOCK]],
    length: usize,
}

impl Input<'_> {
    fn bytes(&self) -> &[u8] {
        &self.blocks.as_flattened()[..self.length]
    }
}

/// Returns the hashes, or the digests to sign, of at most [`LANES`] records, in order; those after the last record mean
/// nothing. `scratch` is a buffer that the caller reuses.
pub(crate) fn hash_records<'s, 'r: 's>(
    function: Function,
    records: impl Iterator<Item = &'s RecordRef<'r>>,
    scratch: &mut Vec<u8>,
) -> [[u8; 32]; LANES] {
    scratch.clear();
    let mut results = [[0; 32]; LANES];
    let (mut places, mut sizes, mut count) = ([0; LANES], [0; LANES], 0);
    for (place, record) in records.enumerate() {
        if record.canonical_size() > CHUNK {
            // No lanes for it, and no copy: many records can share one text of gigabytes.
            results[place] = function.of_record(record);
            continue;
        }
        let start = scratch.len();
        record.write(scratch, function == Function::Hash);
        (places[count], sizes[count]) = (place, scratch.len() - start);
        scratch.resize(scratch.len().next_multiple_of(BLOCK), 0);
        count += 1;
    }
    let mut rest = scratch.as_chunks().0;
    let mut inputs = [Input::default(); LANES];
    for (input, length) in inputs[..count].iter_mut().zip(sizes) {
        // Canonical bytes are never empty.
        let blocks;
        (blocks, rest) = rest.split_at(length.div_ceil(BLOCK));
        *input = Input { blocks, length };
    }
    let hashes = hash_many(function, &inputs[..count]);
    places[..count].iter().zip(hashes).for_each(|(place, hash)| results[*place] = hash);
    results
}

/// Returns the results of at most [`LANES`] inputs, in order.
fn hash_many(function: Function, inputs: &[Input<'_>]) -> [[u8; 32]; LANES] {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = crate::vector::ifma::Cpu::detect() {
        return in_lanes::<crate::vector::ifma::ZmmWords, 16>(cpu, function, inputs);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = crate::vector::avx2::Cpu::detect() {
        return in_lanes::<crate::vector::avx2::YmmWords, 8>(cpu, function, inputs);
    }
    let mut hashes = [[0; 32]; LANES];
    one_by_one(function, inputs, &mut hashes);
    hashes
}

fn one_by_one(function: Function, inputs: &[Input<'_>], hashes: &mut [[u8; 32]]) {
    for (hash, input) in hashes.iter_mut().zip(inputs) {
        *hash = function.of(input.bytes());
    }
}

/// Like [`hash_many`], by vectors.
fn in_lanes<W: Words<N>, const N: usize>(
    cpu: W::Cpu,
    function: Function,
    inputs: &[Input<'_>],
) -> [[u8; 32]; LANES] {
    let mut hashes = [[0; 32]; LANES];
    for (inputs, hashes) in inputs.chunks(N).zip(hashes.chunks_mut(N)) {
        let (mut lanes, mut short) = ([Input::default(); N], 0);
        for (lane, input) in lanes.iter_mut().zip(inputs).filter(|(_, input)| input.length <= CHUNK) {
            *lane = *input;
            short += 1;
        }
        if short < LANES_PAY {
            one_by_one(function, inputs, hashes);
            continue;
        }
        let found = W::run(cpu, Group::<W, N> { cpu, function, lanes: &lanes });
        for ((hash, found), input) in hashes.iter_mut().zip(found).zip(inputs) {
            *hash = if input.length <= CHUNK { found } else { function.of(input.bytes()) };
        }
    }
    hashes
}

/// The results of inputs of at most one chunk each. A lane without blocks is unused.
struct Group<'a, W: Words<N>, const N: usize> {
    cpu: W::Cpu,
    function: Function,
    lanes: &'a [Input<'a>; N],
}

impl<W: Words<N>, const N: usize> Step for Group<'_, W, N> {
    type Output = [[u8; 32]; N];

    #[inline(always)]
    fn compute(self) -> Self::Output {
        let Self { cpu, function, lanes } = self;
        let (key, flags) = function.key_and_flags();
        let mut chaining = [W::load(cpu, &[0; N]); 8];
        for (value, key) in chaining.iter_mut().zip(key) {
            *value = W::load(cpu, &[key; N]);
        }
        let mut hashes = [[0; 32]; N];
        let mut block = 0;
        let mut is_open = true;
        while is_open {
            let (mut rows, mut lengths, mut lane_flags) = ([&NO_BLOCK; N], [0; N], [0; N]);
            let (mut ended, mut open) = (0u32, 0u32);
            for lane in 0..N {
                let Input { blocks, length } = lanes[lane];
                rows[lane] = blocks.get(block).unwrap_or(&NO_BLOCK);
                lengths[lane] = length.saturating_sub(block * BLOCK).min(BLOCK) as u32;
                let is_last = block + 1 == blocks.len();
                lane_flags[lane] = flags
                    | if block == 0 { CHUNK_START } else { 0 }
                    | if is_last { CHUNK_END | ROOT } else { 0 };
                ended |= u32::from(is_last) << lane;
                open |= u32::from(block + 1 < blocks.len());
            }
            is_open = open != 0;
            let lengths_and_flags = [W::load(cpu, &lengths), W::load(cpu, &lane_flags)];
            chaining = compress(cpu, &chaining, rows, lengths_and_flags);
            if ended != 0 {
                let mut rows = [chaining[0]; N];
                rows[..8].copy_from_slice(&chaining);
                for (lane, row) in W::transpose(rows).into_iter().enumerate() {
                    if ended >> lane & 1 == 1 {
                        for (bytes, word) in hashes[lane].as_chunks_mut().0.iter_mut().zip(row.lanes()) {
                            *bytes = word.to_le_bytes();
                        }
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
fn compress<W: Words<N>, const N: usize>(
    cpu: W::Cpu,
    chaining: &[W; 8],
    blocks: [&[u8; BLOCK]; N],
    [lengths, flags]: [W; 2],
) -> [W; 8] {
    let zero = W::load(cpu, &[0; N]);
    let mut m = [zero; 16];
    for (part, words) in m.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        let mut rows = [zero; N];
        for (row, block) in rows.iter_mut().zip(blocks) {
            *row = W::load_bytes(cpu, &block.as_chunks().0.as_chunks().0[part]);
        }
        *words = W::transpose(rows);
    }
    let mut v = [zero; 16];
    v[..8].copy_from_slice(chaining);
    for i in 0..4 {
        v[8 + i] = W::load(cpu, &[IV[i]; N]);
    }
    // The counter of the chunk, in 12 and 13, is zero.
    v[14] = lengths;
    v[15] = flags;
    each!(7, round => {
        let word = |at: usize| m[usize::from(SCHEDULE[round][at])];
        mix(&mut v, [0, 4, 8, 12], word(0), word(1));
        mix(&mut v, [1, 5, 9, 13], word(2), word(3));
        mix(&mut v, [2, 6, 10, 14], word(4), word(5));
        mix(&mut v, [3, 7, 11, 15], word(6), word(7));
        mix(&mut v, [0, 5, 10, 15], word(8), word(9));
        mix(&mut v, [1, 6, 11, 12], word(10), word(11));
        mix(&mut v, [2, 7, 8, 13], word(12), word(13));
        mix(&mut v, [3, 4, 9, 14], word(14), word(15));
    });
    let mut next = *chaining;
    for (i, value) in next.iter_mut().enumerate() {
        *value = v[i].xor(v[i + 8]);
    }
    next
}

/// The quarter round.
#[inline(always)]
fn mix<W: Words<N>, const N: usize>(v: &mut [W; 16], [a, b, c, d]: [usize; 4], x: W, y: W) {
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
    use crate::key::Scheme;
    use crate::record::AuditRecord;
    use crate::vector::plain_lanes::PlainLanes;

    /// Checks every way for inputs of these lengths.
    fn check(lengths: &[usize]) {
        let padded: Vec<Vec<[u8; BLOCK]>> = lengths
            .iter()
            .enumerate()
            .map(|(i, length)| {
                let mut bytes: Vec<u8> = (0..*length).map(|at| (at * 251 + i * 7) as u8).collect();
                bytes.resize(length.div_ceil(BLOCK).max(1) * BLOCK, 0);
                bytes.as_chunks().0.to_vec()
            })
            .collect();
        let inputs: Vec<Input<'_>> =
            padded.iter().zip(lengths).map(|(blocks, length)| Input { blocks, length: *length }).collect();
        for function in [Function::Hash, Function::RecordSignature] {
            for group in inputs.chunks(LANES) {
                let expected: Vec<[u8; 32]> = group.iter().map(|input| function.of(input.bytes())).collect();
                let ways = [
                    in_lanes::<PlainLanes<u32, 16>, 16>((), function, group),
                    in_lanes::<PlainLanes<u32, 8>, 8>((), function, group),
                    hash_many(function, group),
                ];
                for hashes in ways.iter().chain(&with_instructions(function, group)) {
                    assert_eq!(hashes[..group.len()], expected, "{function:?}");
                }
            }
        }
    }

    /// Returns the results by the instructions that the CPU has.
    fn with_instructions(function: Function, inputs: &[Input<'_>]) -> Vec<[[u8; 32]; LANES]> {
        let mut ways = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use crate::vector::{avx2, ifma};
            let sixteen = |cpu| in_lanes::<ifma::ZmmWords, 16>(cpu, function, inputs);
            let eight = |cpu| in_lanes::<avx2::YmmWords, 8>(cpu, function, inputs);
            ways.extend(ifma::Cpu::detect().map(sixteen));
            ways.extend(avx2::Cpu::detect().map(eight));
        }
        ways
    }

    #[test]
    fn hashes_are_those_of_the_library() {
        check(&[0]);
        check(&[200; 40]);
        check(&(0..=4096).collect::<Vec<_>>());
        check(&[64, 0, 128, 1, 1024, 63, 65, 1023, 960, 961, 5, 127, 129, 256, 3, 2]);
        check(&[100, 100, 100, 1025, 100, 100, 5000, 100]);
    }

    #[test]
    fn inputs_of_any_lengths_are_hashed_together() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut below = |limit: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % limit) as usize
        };
        for _ in 0..200 {
            let limit = [65, 300, 1025, 4097][below(4)];
            let lengths: Vec<usize> = (0..1 + below(40)).map(|_| below(limit)).collect();
            check(&lengths);
        }
    }

    /// A record is hashed as by [`RecordRef::hash`] if its group is full, or if it has few records.
    #[test]
    fn hashes_of_records_are_those_of_their_canonical_bytes() {
        let record = |at: usize| AuditRecord {
            device_id: "lift-01".into(),
            sequence: at as u64 * 1000,
            timestamp_ms: 1_700_000_000_000,
            payload_hash: crate::Hash::of(&at.to_le_bytes()),
            signature: [at as u8; 64],
            prev_record_hash: crate::Hash::of(b"previous"),
            object_ref: "x".repeat((at * 5 % LANES).pow(3)),
        };
        let records: Vec<AuditRecord> = (0..LANES).map(record).collect();
        let records: Vec<RecordRef<'_>> = records.iter().map(RecordRef::from).collect();
        let mut scratch = Vec::new();
        for count in 0..=LANES {
            let some = || records[..count].iter();
            let hashes = hash_records(Function::Hash, some(), &mut scratch);
            assert!(some().zip(hashes).all(|(record, hash)| record.hash().0 == hash));
            let messages = hash_records(Function::RecordSignature, some(), &mut scratch);
            assert!(
                some()
                    .zip(messages)
                    .all(|(record, message)| record.signed_message(Scheme::Record) == message)
            );
            assert!(scratch.len() <= LANES * CHUNK, "long records are not copied");
        }
    }
}
