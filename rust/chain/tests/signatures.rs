//! The signature predicate on constructed cases: small-order and mixed-order points, non-canonical encodings, S + L.
//! Each states the verdict of docs/reference/spec.md, steps 2 and 3, with the reason.
#![allow(clippy::unwrap_used)]

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier};
use edgesentry_chain::internals::SUMS_OF_R;
use edgesentry_chain::{Device, KeyError, PublicKey, Scheme, Signed, verify_signature, verify_signatures};
use proptest::prelude::*;
use sha2::{Digest, Sha512};

const MESSAGE: &[u8] = b"the lift door was closed";

fn challenge(r: &[u8; 32], a: &[u8; 32], message: &[u8]) -> Scalar {
    let digest = Sha512::new().chain_update(r).chain_update(a).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&digest.into())
}

/// Signs with secret scalar `a`; R is encoded as `r` and represents nonce·B plus any component.
fn sign_with(r: [u8; 32], nonce: Scalar, a: Scalar, key: &PublicKey, message: &[u8]) -> [u8; 64] {
    let s = nonce + challenge(&r, key.as_bytes(), message) * a;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(s.as_bytes());
    signature
}

fn secret() -> (Scalar, PublicKey) {
    let a = Scalar::from_bytes_mod_order([9; 32]);
    (a, PublicKey::from_bytes((B * a).compress().0).unwrap())
}

/// Returns the verdict on a signature alone, after a check that it is the same first, last and inside larger batches.
fn verdict(key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let case = Signed { key, message, signature };
    let alone = verify_signature(&case);
    let honest_key = SigningKey::from_bytes(&[3; 32]);
    let honest_public = PublicKey::from_bytes(honest_key.verifying_key().to_bytes()).unwrap();
    let honest_signature = honest_key.sign(MESSAGE).to_bytes();
    let honest = Signed { key: &honest_public, message: MESSAGE, signature: &honest_signature };
    for size in [1, 2, 3, 9, 40, 300] {
        for at in [0, size / 2, size - 1] {
            let mut batch = vec![honest; size];
            batch[at] = case;
            let expected = if alone { vec![] } else { vec![at] };
            assert_eq!(verify_signatures(&batch), expected, "case at {at} of {size}");
        }
    }
    alone
}

#[test]
fn keys_of_small_order_are_refused() {
    for point in EIGHT_TORSION {
        let error = PublicKey::from_bytes(point.compress().0).unwrap_err();
        assert!(matches!(error, KeyError::SmallOrder(_)), "{error}");
    }
}

#[test]
fn keys_of_mixed_order_are_refused() {
    for torsion in &EIGHT_TORSION[1..] {
        let error = PublicKey::from_bytes((B + torsion).compress().0).unwrap_err();
        assert!(matches!(error, KeyError::Torsion(_)), "{error}");
    }
}

#[test]
fn keys_in_non_canonical_encoding_are_refused() {
    for low in 0xed..=0xffu8 {
        for sign in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, sign);
            let error = PublicKey::from_bytes(bytes).unwrap_err();
            assert!(matches!(error, KeyError::NotCanonical(_)), "{error}");
        }
    }
    // y = 1 and y = −1 have x = 0, which has no negative.
    let mut one = [0; 32];
    (one[0], one[31]) = (1, 0x80);
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    for bytes in [one, minus_one] {
        assert!(matches!(PublicKey::from_bytes(bytes), Err(KeyError::NotCanonical(_))));
    }
    // Not on the curve.
    let mut off = [0; 32];
    off[0] = 2;
    assert!(matches!(PublicKey::from_bytes(off), Err(KeyError::NotCanonical(_))));
}

#[test]
fn an_honest_signature_holds() {
    let (a, key) = secret();
    let nonce = Scalar::from_bytes_mod_order([5; 32]);
    let signature = sign_with((B * nonce).compress().0, nonce, a, &key, MESSAGE);
    assert!(verdict(&key, MESSAGE, &signature));
    assert!(!verdict(&key, b"another message", &signature));
}

#[test]
fn an_honest_signature_holds_under_a_key_that_was_checked_before() {
    for seed in 0..8 {
        let signing = SigningKey::from_bytes(&[seed; 32]);
        let key = PublicKey::from_checked_bytes(signing.verifying_key().to_bytes()).unwrap();
        let signature = signing.sign(MESSAGE).to_bytes();
        assert!(verify_signature(&Signed { key: &key, message: MESSAGE, signature: &signature }));
    }
}

#[test]
fn all_sums_of_the_r_of_a_batch_agree() {
    let points: Vec<EdwardsPoint> = (1..=20_u64).map(|at| B * Scalar::from(at)).collect();
    let mut encodings: Vec<[u8; 32]> = points.iter().map(|point| point.compress().0).collect();
    encodings[7] = [0xff; 32];
    let coefficients: Vec<u128> = (0..20).map(|at| u128::MAX / 3 - at * at).collect();
    let scalars = coefficients.iter().map(|z| Scalar::from(*z));
    let terms = points.iter().zip(scalars).enumerate().filter(|(at, _)| *at != 7);
    let expected: EdwardsPoint = terms.map(|(_, (point, z))| point * z).sum();
    for (name, sum_of_r) in SUMS_OF_R {
        let Some((sum, undecodable)) = sum_of_r(&encodings, &coefficients) else {
            assert!(name.starts_with("AVX"), "{name}");
            continue;
        };
        assert_eq!((sum, &undecodable[..]), (expected, &[7][..]), "{name}");
    }
}

#[test]
fn s_plus_l_is_refused() {
    let (a, key) = secret();
    let nonce = Scalar::from_bytes_mod_order([5; 32]);
    let mut signature = sign_with((B * nonce).compress().0, nonce, a, &key, MESSAGE);
    // L = 2^252 + 27742317777372353535851937790883648493, little endian.
    let l = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut carry = 0u16;
    for (byte, l) in signature[32..].iter_mut().zip(l) {
        carry += u16::from(*byte) + u16::from(l);
        *byte = carry as u8;
        carry >>= 8;
    }
    assert_eq!(carry, 0);
    assert!(!verdict(&key, MESSAGE, &signature));
}

#[test]
fn s_of_the_largest_bytes_is_refused() {
    let (_, key) = secret();
    let mut signature = [0xff; 64];
    signature[..32].copy_from_slice(&B.compress().0);
    assert!(!verdict(&key, MESSAGE, &signature));
}

#[test]
fn r_with_a_torsion_part_holds_because_the_equation_has_the_cofactor() {
    let (a, key) = secret();
    let nonce = Scalar::from_bytes_mod_order([5; 32]);
    for torsion in &EIGHT_TORSION[1..] {
        let r = (B * nonce + torsion).compress().0;
        let signature = sign_with(r, nonce, a, &key, MESSAGE);
        assert!(verdict(&key, MESSAGE, &signature));
        // Verifiers without the cofactor reject it: their predicate differs.
        let strict = ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()).unwrap();
        assert!(strict.verify_strict(MESSAGE, &Signature::from_bytes(&signature)).is_err());
    }
}

#[test]
fn r_of_small_order_holds_when_the_equation_does() {
    // The owner of the key can always choose the nonce 0; this is not a forgery.
    let (a, key) = secret();
    for torsion in EIGHT_TORSION {
        let signature = sign_with(torsion.compress().0, Scalar::ZERO, a, &key, MESSAGE);
        assert!(verdict(&key, MESSAGE, &signature));
    }
}

#[test]
fn r_in_non_canonical_encoding_is_refused_even_if_the_equation_would_hold() {
    let (a, key) = secret();
    // y = p + 1 encodes the identity, y = p a point of order 4, with either sign.
    let mut encodings = Vec::new();
    for low in 0xed..=0xffu8 {
        for sign in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, sign);
            encodings.push(bytes);
        }
    }
    let mut negative_zero = [0; 32];
    (negative_zero[0], negative_zero[31]) = (1, 0x80);
    encodings.push(negative_zero);
    let mut negative_zero = [0xff; 32];
    negative_zero[0] = 0xec;
    encodings.push(negative_zero);
    for r in encodings {
        let signature = sign_with(r, Scalar::ZERO, a, &key, MESSAGE);
        assert!(!verdict(&key, MESSAGE, &signature), "{r:02x?}");
    }
}

#[test]
fn r_off_the_curve_is_refused() {
    let (a, key) = secret();
    let mut r = [0; 32];
    r[0] = 2;
    assert!(!verdict(&key, MESSAGE, &sign_with(r, Scalar::ZERO, a, &key, MESSAGE)));
}

#[test]
fn two_faults_do_not_cancel_in_a_batch() {
    let (a, key) = secret();
    let nonce = Scalar::from_bytes_mod_order([5; 32]);
    let r: EdwardsPoint = B * nonce;
    let s = nonce + challenge(&r.compress().0, key.as_bytes(), MESSAGE) * a;
    let with_s = |s: Scalar| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r.compress().0);
        signature[32..].copy_from_slice(s.as_bytes());
        signature
    };
    // Without coefficients S + 1 and S − 1 would sum to a valid pair.
    let (more, less) = (with_s(s + Scalar::ONE), with_s(s - Scalar::ONE));
    let batch = [more, less].map(|signature| signature);
    let batch: Vec<Signed<'_>> =
        batch.iter().map(|signature| Signed { key: &key, message: MESSAGE, signature }).collect();
    assert_eq!(verify_signatures(&batch), [0, 1]);
    let many: Vec<Signed<'_>> = batch.iter().cycle().take(64).copied().collect();
    assert_eq!(verify_signatures(&many), (0..64).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Honest and mutated signatures in every mix: the batch reports exactly those that fail alone, and agrees with the
    /// published predicates if they have no special case (no torsion, canonical encodings).
    #[test]
    fn batch_and_single_agree(
        devices in 1usize..5,
        size in 1usize..400,
        faults in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..512), 0..40),
    ) {
        let keys: Vec<SigningKey> = (0..devices).map(|at| SigningKey::from_bytes(&[at as u8 + 1; 32])).collect();
        let public: Vec<PublicKey> =
            keys.iter().map(|key| PublicKey::from_bytes(key.verifying_key().to_bytes()).unwrap()).collect();
        let messages: Vec<[u8; 32]> = (0..size).map(|at| *blake3::hash(&at.to_le_bytes()).as_bytes()).collect();
        let mut signatures: Vec<[u8; 64]> =
            messages.iter().enumerate().map(|(at, m)| keys[at % devices].sign(m).to_bytes()).collect();
        for (at, bit) in faults {
            signatures[at.index(size)][bit / 8] ^= 1 << (bit % 8);
        }
        let batch: Vec<Signed<'_>> = (0..size)
            .map(|at| Signed { key: &public[at % devices], message: &messages[at], signature: &signatures[at] })
            .collect();
        let alone: Vec<usize> = (0..size).filter(|at| !verify_signature(&batch[*at])).collect();
        prop_assert_eq!(&verify_signatures(&batch), &alone);
        let dalek: Vec<usize> = (0..size)
            .filter(|at| {
                let signature = Signature::from_bytes(&signatures[*at]);
                keys[at % devices].verifying_key().verify(&messages[*at], &signature).is_err()
            })
            .collect();
        prop_assert_eq!(&alone, &dalek);
    }
}

#[test]
fn every_density_of_faults_is_named_exactly() {
    let device = Device::from_seed("d", [1; 32], Scheme::Record);
    let key = device.public_key().unwrap();
    let signing = SigningKey::from_bytes(&[1; 32]);
    let messages: Vec<[u8; 32]> =
        (0..1000u32).map(|at| *blake3::hash(&at.to_le_bytes()).as_bytes()).collect();
    let honest: Vec<[u8; 64]> = messages.iter().map(|message| signing.sign(message).to_bytes()).collect();
    for every in [1, 2, 3, 5, 16, 62, 63, 100, 333, 999] {
        let mut signatures = honest.clone();
        let bad: Vec<usize> = (0..1000).filter(|at| at % every == every / 2).collect();
        for at in &bad {
            signatures[*at][40] ^= 1;
        }
        let batch: Vec<Signed<'_>> = messages
            .iter()
            .zip(&signatures)
            .map(|(message, signature)| Signed { key: &key, message, signature })
            .collect();
        assert_eq!(verify_signatures(&batch), bad, "every {every}");
    }
}

#[test]
fn the_debug_text_of_a_device_has_no_seed() {
    let device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
    let expected = "Device { device_id: \"lift-01\", scheme: Record, head: None, key: \"redacted\" }";
    assert_eq!(format!("{device:?}"), expected);
}
