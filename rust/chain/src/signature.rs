//! The single predicate for all signatures, alone or in a batch (docs/reference/spec.md, step 3).

use std::collections::HashMap;

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use sha2::{Digest, Sha512};

use crate::key::{PublicKey, Scheme};
use crate::record::AuditRecord;
use crate::rsum::{decode_canonical, r_sum};

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
    Terms::of(signed).is_some_and(|terms| single_holds(&terms, signed.key))
}

/// Verifies many signatures at once. Returns the ascending indices of those that [`verify_signature`] rejects.
///
/// A batch of n signatures under m keys is one sum of n + m + 1 points. If it fails, it is split until every bad
/// signature is found. If a sample shows that many are bad, each is verified alone, so that a forged export costs
/// little more than one-by-one verification.
pub fn verify_signatures(batch: &[Signed<'_>]) -> Vec<usize> {
    let mut bad = Vec::new();
    let mut keys: Vec<&PublicKey> = Vec::new();
    let mut entries: Vec<Entry> = Vec::with_capacity(batch.len());
    let mut known: HashMap<*const PublicKey, usize> = HashMap::new();
    let mut last_key = 0;
    for (index, signed) in batch.iter().enumerate() {
        // Step 3.2 for S; R is decoded in the sum.
        let Some(terms) = Terms::of(signed) else {
            bad.push(index);
            continue;
        };
        if keys.get(last_key).is_none_or(|key| !std::ptr::eq(*key, signed.key)) {
            last_key = *known.entry(std::ptr::from_ref(signed.key)).or_insert_with(|| {
                keys.push(signed.key);
                keys.len() - 1
            });
        }
        entries.push(Entry { index, key: last_key, terms });
    }
    let mut search = Search { keys: &keys, bad: &mut bad, credit: 4 * entries.len() as i64 };
    search.decide(entries);
    bad.sort_unstable();
    bad
}

/// Up to this number, the signatures of a failed batch are verified one by one.
const SMALL: usize = 8;
/// The number of signatures of a failed batch that are sampled before it is split.
const SAMPLE: usize = 16;

/// The parts of one signature, with k of step 3.3.
struct Terms {
    r: [u8; 32],
    s: Scalar,
    k: Scalar,
}

impl Terms {
    fn of(signed: &Signed<'_>) -> Option<Terms> {
        let (r, s) = signed.signature.split_at(32);
        let s: [u8; 32] = s.try_into().ok()?;
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s))?;
        let mut hasher = Sha512::new();
        hasher.update(r);
        hasher.update(signed.key.as_bytes());
        hasher.update(signed.message);
        let k = Scalar::from_bytes_mod_order_wide(&hasher.finalize().into());
        Some(Terms { r: r.try_into().ok()?, s, k })
    }
}

struct Entry {
    index: usize,
    key: usize,
    terms: Terms,
}

fn single_holds(terms: &Terms, key: &PublicKey) -> bool {
    let Some(r) = decode_canonical(&terms.r) else { return false };
    let sum = EdwardsPoint::vartime_double_scalar_mul_basepoint(&terms.k, key.minus_point(), &terms.s);
    (sum - r).mul_by_cofactor().is_identity()
}

/// Searches for the bad signatures of one batch.
struct Search<'a> {
    keys: &'a [&'a PublicKey],
    bad: &'a mut Vec<usize>,
    /// Signatures that failed sums may still cost before the rest is verified one by one.
    credit: i64,
}

impl Search<'_> {
    fn decide(&mut self, mut entries: Vec<Entry>) {
        let size = entries.len();
        if size <= 2 || self.batch_holds(&mut entries) || entries.is_empty() {
            if size <= 2 {
                self.decide_singly(&entries);
            }
            return;
        }
        let stride = entries.len().div_ceil(SAMPLE);
        let sampled = entries.iter().step_by(stride);
        let bad = sampled.filter(|entry| !single_holds(&entry.terms, self.keys[entry.key])).count();
        if bad * 4 >= SAMPLE.min(entries.len()) {
            self.decide_singly(&entries);
        } else {
            self.split(entries);
        }
    }

    /// Splits `entries`, which contain a bad signature.
    fn split(&mut self, mut entries: Vec<Entry>) {
        if entries.len() <= SMALL || self.credit <= 0 {
            return self.decide_singly(&entries);
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

    fn decide_singly(&mut self, entries: &[Entry]) {
        let bad = entries.iter().filter(|entry| !single_holds(&entry.terms, self.keys[entry.key]));
        self.bad.extend(bad.map(|entry| entry.index));
    }

    /// Returns true if [8](Σ z·s·B − Σ z·k·A − Σ z·R) = 0 over the entries whose R decodes. Removes the others and
    /// reports them as bad.
    fn batch_holds(&mut self, entries: &mut Vec<Entry>) -> bool {
        let coefficients = coefficients(entries, self.keys);
        let encodings: Vec<[u8; 32]> = entries.iter().map(|entry| entry.terms.r).collect();
        let r = r_sum(&encodings, &coefficients);

        let mut undecodable = r.undecodable.iter().map(|index| *index as usize).peekable();
        let mut base_scalar = Scalar::ZERO;
        let mut key_scalars = vec![Scalar::ZERO; self.keys.len()];
        for (at, (entry, z)) in entries.iter().zip(&coefficients).enumerate() {
            if undecodable.next_if_eq(&at).is_some() {
                self.bad.push(entry.index);
                continue;
            }
            let z = Scalar::from(*z);
            base_scalar += z * entry.terms.s;
            key_scalars[entry.key] += z * entry.terms.k;
        }
        let mut gone = r.undecodable.iter().map(|index| *index as usize).peekable();
        let mut at = 0;
        entries.retain(|_| {
            let keep = gone.next_if_eq(&at).is_none();
            at += 1;
            keep
        });

        let points = self.keys.iter().map(|key| key.minus_point());
        let used = key_scalars.iter().zip(points).filter(|(scalar, _)| **scalar != Scalar::ZERO);
        let (key_scalars, points): (Vec<&Scalar>, Vec<&EdwardsPoint>) = used.unzip();
        let keys_sum = EdwardsPoint::vartime_multiscalar_mul(key_scalars, points);
        let sum = EdwardsPoint::mul_base(&base_scalar) + keys_sum - r.sum;
        sum.mul_by_cofactor().is_identity()
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
    let mut transcript = Vec::with_capacity(entries.len() * 96);
    for entry in entries {
        transcript.extend_from_slice(&entry.terms.r);
        transcript.extend_from_slice(entry.terms.s.as_bytes());
        transcript.extend_from_slice(entry.terms.k.as_bytes());
    }
    hasher.update(&transcript);
    let mut stream = vec![0u8; entries.len() * 16];
    hasher.finalize_xof().fill(&mut stream);
    stream.chunks_exact(16).map(|bytes| u128::from_le_bytes(bytes.try_into().expect("16 bytes"))).collect()
}
