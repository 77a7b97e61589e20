//! Signatures alone, scheme payload-hash: the file is parsed first, then the signatures are timed under rayon.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use ed25519_dalek::{Signature, VerifyingKey};
use ed25519_zebra::VerificationKeyBytes;
use rand::Rng;
use rayon::prelude::*;
use sha2::{Digest, Sha512};

use crate::export::{read_keys, read_records};
use crate::outcome::Outcome;

/// Records per batch of the libraries' own batch verifiers.
const BATCH: usize = 1024;
/// Records per merged batch of [`bare`].
const MERGED_BATCH: usize = 4096;

/// A signature to check.
pub struct Signed {
    /// Index into the keys.
    key: usize,
    message: [u8; 32],
    signature: Signature,
}

/// Parses an export, then times one verifier on its signatures.
pub fn measure(
    peer: &'static str,
    file: &Path,
    keys: &Path,
    verify: fn(&[Signed], &[VerifyingKey]) -> bool,
) -> Result<Outcome> {
    let start = Instant::now();
    let (signed, keys) = read(file, keys)?;
    let start_signatures = Instant::now();
    let ok = verify(&signed, &keys);
    let signatures = start_signatures.elapsed();
    Outcome::new(peer, signed.len(), start.elapsed(), Some(signatures), ok)
}

/// Checks each signature separately, without stopping at an invalid one.
pub fn dalek_strict(signed: &[Signed], keys: &[VerifyingKey]) -> bool {
    let bad = signed
        .par_iter()
        .filter(|item| keys[item.key].verify_strict(&item.message, &item.signature).is_err())
        .count();
    bad == 0
}

/// ed25519-dalek's batch: two points per signature.
pub fn dalek_batch(signed: &[Signed], keys: &[VerifyingKey]) -> bool {
    signed.par_chunks(BATCH).all(|batch| {
        let messages: Vec<&[u8]> = batch.iter().map(|item| item.message.as_slice()).collect();
        let signatures: Vec<Signature> = batch.iter().map(|item| item.signature).collect();
        let keys: Vec<VerifyingKey> = batch.iter().map(|item| keys[item.key]).collect();
        ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok()
    })
}

/// ed25519-zebra's batch: merges the terms of one key.
pub fn zebra_batch(signed: &[Signed], keys: &[VerifyingKey]) -> bool {
    let keys: Vec<VerificationKeyBytes> =
        keys.iter().map(|key| VerificationKeyBytes::from(key.to_bytes())).collect();
    signed.par_chunks(BATCH).all(|batch| {
        let mut verifier = ed25519_zebra::batch::Verifier::new();
        for item in batch {
            let signature = ed25519_zebra::Signature::from_bytes(&item.signature.to_bytes());
            verifier.queue((keys[item.key], signature, &item.message));
        }
        verifier.verify(rand::rng()).is_ok()
    })
}

/// The batch equation on curve25519-dalek, terms of one key merged: n + keys + 1 points for n signatures.
pub fn bare(signed: &[Signed], keys: &[VerifyingKey]) -> bool {
    let points: Vec<EdwardsPoint> = keys.iter().map(VerifyingKey::to_edwards).collect();
    signed.par_chunks(MERGED_BATCH).all(|batch| batch_holds(batch, keys, &points) == Some(true))
}

/// [8](Σ z·R + Σ (Σ z·k)·A − (Σ z·S)·B) = identity, z random; `None` if an R or S does not decode.
fn batch_holds(batch: &[Signed], keys: &[VerifyingKey], key_points: &[EdwardsPoint]) -> Option<bool> {
    let mut random = rand::rng();
    let mut scalars = Vec::with_capacity(batch.len() + keys.len() + 1);
    let mut points = Vec::with_capacity(batch.len() + keys.len() + 1);
    let mut of_base = Scalar::ZERO;
    let mut of_keys = vec![Scalar::ZERO; keys.len()];
    for item in batch {
        let mut z = [0; 16];
        random.fill_bytes(&mut z);
        let z = Scalar::from(u128::from_le_bytes(z));
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(*item.signature.s_bytes()))?;
        let hash = Sha512::new()
            .chain_update(item.signature.r_bytes())
            .chain_update(keys[item.key].as_bytes())
            .chain_update(item.message);
        of_base -= z * s;
        of_keys[item.key] += z * Scalar::from_hash(hash);
        scalars.push(z);
        points.push(CompressedEdwardsY(*item.signature.r_bytes()).decompress()?);
    }
    scalars.push(of_base);
    points.push(ED25519_BASEPOINT_POINT);
    scalars.extend(of_keys);
    points.extend(key_points);
    Some(EdwardsPoint::vartime_multiscalar_mul(&scalars, &points).mul_by_cofactor().is_identity())
}

fn read(file: &Path, keys: &Path) -> Result<(Vec<Signed>, Vec<VerifyingKey>)> {
    let mut index_of = HashMap::new();
    let mut verifying_keys = Vec::new();
    for (device, key) in read_keys(keys)? {
        let mut bytes = [0; 32];
        hex::decode_to_slice(&key, &mut bytes)
            .with_context(|| format!("the key of {device} is not 64 hex digits"))?;
        let key = VerifyingKey::from_bytes(&bytes)
            .with_context(|| format!("the key of {device} is not a public key"))?;
        index_of.insert(device, verifying_keys.len());
        verifying_keys.push(key);
    }
    let signed = read_records(file)?
        .into_iter()
        .map(|record| {
            let key = index_of.get(&record.device_id);
            Ok(Signed {
                key: *key.with_context(|| format!("no key for device {}", record.device_id))?,
                message: record.payload_hash,
                signature: Signature::from_bytes(&record.signature),
            })
        })
        .collect::<Result<_>>()?;
    Ok((signed, verifying_keys))
}
