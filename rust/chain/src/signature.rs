//! The single predicate for all signatures, alone or in a batch (docs/reference/spec.md, step 3).

use std::cell::Cell;
use std::collections::HashMap;

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};

use crate::challenge::{challenge, challenges};
use crate::key::{PublicKey, Scheme};
use crate::record::AuditRecord;
use crate::rsum::{Single, decode_canonical, has_ifma, ifma_singles, r_sum};

/// Returns the 32 bytes that `scheme` signs for this record.
pub fn signed_message(record: &AuditRecord, scheme: Scheme) -> [u8; 32] {
    match scheme {
        Scheme::PayloadHash => record.payload_hash.0,
        Scheme::Record => record.signing_digest(),
    }
}

/// One signature to verify.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The key, already validated.
    pub key: &'a PublicKey,
    /// The signed message; for a record, the result of [`signed_message`].
    pub message: &'a [u8],
    /// R, then S.
    pub signature: &'a [u8; 64],
}

/// Verifies one signature: R decodes canonically, S < L and `[8](S·B − k·A − R) = 0`.
pub fn verify_signature(signed: &Signed<'_>) -> bool {
    s_is_reduced(signed) && single_holds(&Terms::new(signed, challenge(signed)), signed.key)
}

/// Verifies many signatures at once. Returns the ascending indices of those that [`verify_signature`] rejects.
///
/// A batch of n signatures under m keys is one sum of n + m + 1 points. If it fails, it is split until every bad
/// signature is found. If many are bad, each is verified alone, and so are those of the next batch of this thread: a
/// forged export costs little more than one-by-one verification.
pub fn verify_signatures(batch: &[Signed<'_>]) -> Vec<usize> {
    thread_local! {
        /// True if the last batch had many bad signatures. It decides the way, never the result.
        static MANY_WERE_BAD: Cell<bool> = const { Cell::new(false) };
    }
    let (mut search, entries) = Search::new(batch, challenges(batch));
    if MANY_WERE_BAD.get() {
        search.decide_singly(entries)
    } else {
        search.decide(entries)
    }
    let one_in = if has_ifma() { 1024 } else { 16 };
    MANY_WERE_BAD.set(search.bad.len() * one_in > batch.len());
    search.ascending()
}

/// Like [`verify_signatures`], for signatures that are probably bad.
pub(crate) fn verify_singly(batch: &[Signed<'_>]) -> Vec<usize> {
    let (mut search, entries) = Search::new(batch, challenges(batch));
    search.decide_singly(entries);
    search.ascending()
}

/// Up to this number, the signatures of a failed batch are verified one by one.
const SMALL: usize = 8;
/// From this number of signatures on, eight lanes are faster than one.
const LANES_PAY: usize = 4;
/// The number of signatures of a failed batch that are sampled before it is split.
const SAMPLE: usize = 16;

/// Returns true if S is below the order L of the base point.
fn s_is_reduced(signed: &Signed<'_>) -> bool {
    /// L, little endian.
    const ORDER: [u64; 4] = [0x5812_631a_5cf5_d3ed, 0x14de_f9de_a2f7_9cd6, 0, 0x1000_0000_0000_0000];
    let (words, _) = signed.signature.as_chunks::<8>();
    let s = [7, 6, 5, 4].map(|i| u64::from_le_bytes(words[i]));
    let [a, b, c, d] = ORDER;
    s < [d, c, b, a]
}

/// The parts of one signature, with the hash of step 3.3 before it is reduced to k.
struct Terms {
    r: [u8; 32],
    s: [u8; 32],
    k: [u8; 64],
}

impl Terms {
    fn new(signed: &Signed<'_>, k: [u8; 64]) -> Terms {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&signed.signature[..32]);
        s.copy_from_slice(&signed.signature[32..]);
        Terms { r, s, k }
    }
}

struct Entry {
    index: usize,
    key: usize,
    terms: Terms,
}

fn single_holds(terms: &Terms, key: &PublicKey) -> bool {
    let Some(r) = decode_canonical(&terms.r) else { return false };
    let (k, s) = (Scalar::from_bytes_mod_order_wide(&terms.k), Scalar::from_bytes_mod_order(terms.s));
    let sum = EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, key.minus_point(), &s);
    (sum - r).mul_by_cofactor().is_identity()
}

/// Searches for the bad signatures of one batch.
struct Search<'a> {
    keys: Vec<&'a PublicKey>,
    /// The indices of the bad signatures, in any order.
    bad: Vec<usize>,
    /// Signatures that failed sums may still cost before the rest is verified one by one.
    credit: i64,
}

impl<'a> Search<'a> {
    /// Returns the search, and the signatures to decide: those whose S is reduced (step 3.2).
    fn new(batch: &[Signed<'a>], challenges: Vec<[u8; 64]>) -> (Search<'a>, Vec<Entry>) {
        // A signature without a challenge would not be verified.
        assert_eq!(challenges.len(), batch.len(), "each signature has a challenge");
        let (mut keys, mut bad): (Vec<&PublicKey>, _) = (Vec::new(), Vec::new());
        let mut entries: Vec<Entry> = Vec::with_capacity(batch.len());
        let mut known: HashMap<*const PublicKey, usize> = HashMap::new();
        let mut last_key = 0;
        for (index, (signed, k)) in batch.iter().zip(challenges).enumerate() {
            if !s_is_reduced(signed) {
                bad.push(index);
                continue;
            }
            if keys.get(last_key).is_none_or(|key| !std::ptr::eq(*key, signed.key)) {
                last_key = *known.entry(std::ptr::from_ref(signed.key)).or_insert_with(|| {
                    keys.push(signed.key);
                    keys.len() - 1
                });
            }
            entries.push(Entry { index, key: last_key, terms: Terms::new(signed, k) });
        }
        let sums = if has_ifma() { 1 } else { 4 };
        (Search { keys, bad, credit: sums * entries.len() as i64 }, entries)
    }

    fn ascending(mut self) -> Vec<usize> {
        self.bad.sort_unstable();
        self.bad
    }

    fn decide(&mut self, mut entries: Vec<Entry>) {
        let size = entries.len();
        if size <= 2 || self.batch_holds(&mut entries) || entries.is_empty() {
            if size <= 2 {
                self.decide_singly(entries);
            }
            return;
        }
        let stride = entries.len().div_ceil(SAMPLE);
        if self.hold(&entries.iter().step_by(stride).collect::<Vec<_>>()).contains(&false) {
            self.decide_singly(entries);
        } else {
            self.split(entries);
        }
    }

    /// Splits `entries`, which contain a bad signature.
    fn split(&mut self, mut entries: Vec<Entry>) {
        if entries.len() <= SMALL || self.credit <= 0 {
            return self.decide_singly(entries);
        }
        let mut right = entries.split_off(entries.len() / 2);
        let mut left = entries;
        let left_holds = self.try_batch(&mut left);
        // If the left half holds, the bad signature is in the right half, without another sum.
        let right_holds = !left_holds && self.try_batch(&mut right);
        if !left_holds {
            self.split(left);
        }
        if !right_holds {
            self.split(right);
        }
    }

    fn try_batch(&mut self, entries: &mut Vec<Entry>) -> bool {
        let size = entries.len() as i64;
        let holds = self.batch_holds(entries);
        self.credit += if holds { size } else { -size };
        holds
    }

    fn decide_singly(&mut self, mut entries: Vec<Entry>) {
        entries.sort_unstable_by_key(|entry| entry.key);
        let holds = self.hold(&entries.iter().collect::<Vec<_>>());
        let bad = entries.iter().zip(holds).filter(|(_, holds)| !holds);
        self.bad.extend(bad.map(|(entry, _)| entry.index));
    }

    /// Verifies each signature alone. Returns, in order, whether it holds. It is fastest if those under one key are
    /// adjacent.
    fn hold(&self, entries: &[&Entry]) -> Vec<bool> {
        let alone = |entry: &&Entry| single_holds(&entry.terms, self.keys[entry.key]);
        let single = |entry: &&Entry| {
            let Terms { r, s, ref k } = entry.terms;
            let mut minus_key = *self.keys[entry.key].as_bytes();
            minus_key[31] ^= 0x80;
            Single { minus_key, r, s, k: Scalar::from_bytes_mod_order_wide(k).to_bytes() }
        };
        let in_lanes = || ifma_singles(&entries.iter().map(single).collect::<Vec<_>>());
        let enough = (entries.len() >= LANES_PAY).then(in_lanes).flatten();
        enough.unwrap_or_else(|| entries.iter().map(alone).collect())
    }

    /// Returns true if [8](Σ z·s·B − Σ z·k·A − Σ z·R) = 0 over the entries whose R decodes. Removes the others and
    /// reports them as bad.
    fn batch_holds(&mut self, entries: &mut Vec<Entry>) -> bool {
        let coefficients = coefficients(entries, &self.keys);
        let encodings: Vec<[u8; 32]> = entries.iter().map(|entry| entry.terms.r).collect();
        let r = r_sum(&encodings, &coefficients);

        let mut undecodable = r.undecodable.iter().map(|index| *index as usize).peekable();
        let mut base_scalar = Products::default();
        let mut key_scalars = vec![Products::default(); self.keys.len()];
        for (at, (entry, z)) in entries.iter().zip(&coefficients).enumerate() {
            if undecodable.next_if_eq(&at).is_some() {
                self.bad.push(entry.index);
                continue;
            }
            base_scalar.add(*z, &entry.terms.s);
            key_scalars[entry.key].add(*z, &entry.terms.k);
        }
        let mut gone = r.undecodable.iter().map(|index| *index as usize).peekable();
        let mut at = 0;
        entries.retain(|_| {
            let keep = gone.next_if_eq(&at).is_none();
            at += 1;
            keep
        });

        let points = self.keys.iter().map(|key| key.minus_point());
        let scalars = key_scalars.iter().map(Products::reduce);
        let used = scalars.zip(points).filter(|(scalar, _)| *scalar != Scalar::ZERO);
        let (key_scalars, points): (Vec<Scalar>, Vec<&EdwardsPoint>) = used.unzip();
        let keys_sum = EdwardsPoint::vartime_multiscalar_mul(key_scalars, points);
        let sum = EdwardsPoint::mul_base(&base_scalar.reduce()) + keys_sum - r.sum;
        sum.mul_by_cofactor().is_identity()
    }
}

/// A sum of products of a coefficient and a number of up to 512 bits, reduced mod L only at the end.
#[derive(Clone, Copy, Default)]
struct Products {
    /// Little endian. A product has 640 bits, so the sum of a batch does not reach the last word's end.
    words: [u64; 11],
}

impl Products {
    /// Adds z times a little-endian number of at most 64 bytes.
    fn add<const N: usize>(&mut self, z: u128, number: &[u8; N]) {
        const { assert!(N <= 64 && N.is_multiple_of(8)) };
        for (shift, z) in [z as u64, (z >> 64) as u64].into_iter().enumerate() {
            let mut carry = 0;
            for (i, word) in number.as_chunks::<8>().0.iter().enumerate() {
                (self.words[i + shift], carry) =
                    z.carrying_mul_add(u64::from_le_bytes(*word), self.words[i + shift], carry);
            }
            let mut at = N / 8 + shift;
            while carry != 0 {
                let (sum, over) = self.words[at].overflowing_add(carry);
                self.words[at] = sum;
                (carry, at) = (u64::from(over), at + 1);
            }
        }
    }

    /// Returns the sum mod L.
    fn reduce(&self) -> Scalar {
        let part = |words: &[u64]| {
            let mut bytes = [0; 64];
            for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
                *bytes = word.to_le_bytes();
            }
            Scalar::from_bytes_mod_order_wide(&bytes)
        };
        // 2^512 is the square of 2^256.
        let two_256 = part(&[0, 0, 0, 0, 1]);
        part(&self.words[..8]) + part(&self.words[8..]) * two_256 * two_256
    }
}

/// Derives one 128-bit coefficient per signature from BLAKE3 over all parts of the signatures. The coefficients are
/// fixed only after all of R, S, k and A, so an attacker cannot choose a signature to suit its coefficient.
fn coefficients(entries: &[Entry], keys: &[&PublicKey]) -> Vec<u128> {
    let mut hasher = blake3::Hasher::new_derive_key("edgesentry 2026 batch coefficients v1");
    for key in keys {
        hasher.update(key.as_bytes());
    }
    // k binds A and the message.
    let mut transcript = Vec::with_capacity(entries.len() * 128);
    for entry in entries {
        transcript.extend_from_slice(&entry.terms.r);
        transcript.extend_from_slice(&entry.terms.s);
        transcript.extend_from_slice(&entry.terms.k);
    }
    hasher.update(&transcript);
    let mut stream = vec![0u8; entries.len() * 16];
    hasher.finalize_xof().fill(&mut stream);
    stream.chunks_exact(16).map(|bytes| u128::from_le_bytes(bytes.try_into().expect("16 bytes"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;

    #[test]
    #[should_panic(expected = "each signature has a challenge")]
    fn a_signature_without_a_challenge_is_never_valid() {
        let key = Device::from_seed("lift-01", [7; 32], Scheme::Record).public_key().unwrap();
        let signed = Signed { key: &key, message: b"door closed", signature: &[0; 64] };
        Search::new(&[signed; 3], challenges(&[signed; 2]));
    }

    #[test]
    fn an_honest_batch_holds_as_one_sum() {
        let mut devices = [1, 2, 3].map(|seed| Device::from_seed("lift-01", [seed; 32], Scheme::PayloadHash));
        let keys = devices.each_ref().map(|device| device.public_key().unwrap());
        let records: Vec<AuditRecord> = (0..40_usize)
            .map(|at| devices[at * at % 3].sign(1, &at.to_le_bytes(), "1.bin").unwrap())
            .collect();
        let signed = |at: usize| {
            let AuditRecord { payload_hash, signature, .. } = &records[at];
            Signed { key: &keys[at * at % 3], message: &payload_hash.0, signature }
        };
        let honest: Vec<Signed<'_>> = (0..40).map(signed).collect();
        let (mut search, mut entries) = Search::new(&honest, challenges(&honest));
        assert!(search.batch_holds(&mut entries));
        assert_eq!((entries.len(), search.bad.len(), search.keys.len()), (40, 0, 2));

        // The R of one signature decodes to no point, and another signature is of another message.
        let (mut broken, mut moved) = (records[7].signature, honest.clone());
        broken[..32].copy_from_slice(&[0xff; 32]);
        moved[7].signature = &broken;
        let (mut search, mut entries) = Search::new(&moved, challenges(&moved));
        assert!(search.batch_holds(&mut entries));
        assert_eq!((entries.len(), &search.bad[..]), (39, &[7][..]));
        moved[20].message = b"another message";
        let (mut search, mut entries) = Search::new(&moved, challenges(&moved));
        assert!(!search.batch_holds(&mut entries));
    }

    #[test]
    fn products_are_summed_mod_the_order() {
        let numbers: [[u8; 64]; 4] =
            [[0xff; 64], [0; 64], [0x80; 64], std::array::from_fn(|i| (i * 37 % 251) as u8)];
        let coefficients = [u128::MAX, 1, u128::MAX, 0x0123_4567_89ab_cdef_0011_2233_4455_6677];
        let (mut products, mut expected) = (Products::default(), Scalar::ZERO);
        for _ in 0..1000 {
            for (number, z) in numbers.iter().zip(coefficients) {
                products.add(z, number);
                expected += Scalar::from(z) * Scalar::from_bytes_mod_order_wide(number);
                let (short, _) = number.as_chunks::<32>();
                products.add(z, &short[0]);
                expected += Scalar::from(z) * Scalar::from_bytes_mod_order(short[0]);
            }
        }
        assert_eq!(products.reduce(), expected);
    }
}
