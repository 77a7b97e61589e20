//! Tests every path against the portable one, and all against the decoding rule. The model of AVX-512 IFMA runs on every
//! CPU, the instructions and AVX2 on CPUs that have them.
#![allow(clippy::unwrap_used)]

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use sha2::{Digest, Sha512};

use super::{
    RSum, Single, avx2_r_sum, ifma_r_sum, ifma_singles, modelled_r_sum, modelled_singles, portable, r_sum,
};

/// Returns 64 bytes that depend only on the two numbers.
fn random(stream: u64, i: u64) -> [u8; 64] {
    Sha512::digest([stream.to_le_bytes(), i.to_le_bytes()].concat()).into()
}

fn coefficient(stream: u64, i: u64) -> u128 {
    u128::from_le_bytes(random(stream, i)[..16].try_into().unwrap())
}

fn coefficients(stream: u64, n: usize) -> Vec<u128> {
    (0..n as u64).map(|i| coefficient(stream, i)).collect()
}

fn point(stream: u64, i: u64) -> EdwardsPoint {
    EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order_wide(&random(stream, i)))
}

fn points(stream: u64, n: usize) -> Vec<[u8; 32]> {
    (0..n as u64).map(|i| point(stream, i).compress().0).collect()
}

/// Returns the sum by each path that this CPU has.
fn every_path(encodings: &[[u8; 32]], coefficients: &[u128]) -> Vec<RSum> {
    let paths = [ifma_r_sum(encodings, coefficients), avx2_r_sum(encodings, coefficients)];
    let always = [r_sum(encodings, coefficients), modelled_r_sum(encodings, coefficients)];
    paths.into_iter().flatten().chain(always).collect()
}

/// Checks that all paths agree, and returns their result.
fn check(encodings: &[[u8; 32]], coefficients: &[u128]) -> (EdwardsPoint, Vec<u32>) {
    let slow = portable::r_sum(encodings, coefficients);
    for fast in every_path(encodings, coefficients) {
        assert_eq!(fast.undecodable, slow.undecodable);
        assert_eq!(fast.sum.compress(), slow.sum.compress());
    }
    (slow.sum, slow.undecodable)
}

/// Returns p + k, little endian, for -19 <= k < 19.
fn p_plus(k: i32) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = (0xed + k) as u8;
    bytes[31] = 0x7f;
    bytes
}

fn small(k: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = k;
    bytes
}

fn with_sign(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes[31] |= 0x80;
    bytes
}

#[test]
fn random_points_of_every_length() {
    for n in [0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 255, 1000, 2048, 4097] {
        let (_, bad) = check(&points(1, n), &coefficients(2, n));
        assert!(bad.is_empty());
    }
}

#[test]
fn more_than_one_chunk() {
    let few = points(3, 500);
    let many: Vec<_> = (0..16390).map(|i| few[i % 500]).chain([[0xff; 32], few[7]]).collect();
    let (_, bad) = check(&many, &coefficients(4, many.len()));
    assert_eq!(bad, [16390]);
}

#[test]
fn random_strings() {
    for n in [1, 6, 50, 3000] {
        let strings: Vec<[u8; 32]> = (0..n as u64).map(|i| random(5, i)[..32].try_into().unwrap()).collect();
        let (_, bad) = check(&strings, &coefficients(6, n));
        assert!(n < 50 || (n / 3..n * 2 / 3).contains(&bad.len()));
    }
}

#[test]
fn non_canonical_encodings() {
    // One at a time, to see a verdict for each; then all together among points.
    let mut all = points(7, 3);
    for k in 0..19 {
        for encoding in [p_plus(k), with_sign(p_plus(k))] {
            assert_eq!(check(&[encoding], &[1]).1, [0], "p + {k}");
            all.push(encoding);
        }
    }
    for zero_x in [small(1), p_plus(-1)] {
        assert_eq!(check(&[zero_x], &[1]).1, [0u32; 0]);
        assert_eq!(check(&[with_sign(zero_x)], &[1]).1, [0]);
        all.extend([zero_x, with_sign(zero_x)]);
    }
    for encoding in [small(0), small(2), p_plus(-2), p_plus(-3), p_plus(-18)] {
        for encoding in [encoding, with_sign(encoding)] {
            check(&[encoding], &[coefficient(8, 0)]);
            all.push(encoding);
        }
    }
    // Values of y that equal p in all bytes but one.
    for byte in 1..32 {
        let mut encoding = p_plus(5);
        encoding[byte] ^= 1;
        check(&[encoding], &[3]);
        all.push(encoding);
    }
    check(&all, &coefficients(9, all.len()));
}

#[test]
fn torsion_is_summed_exactly() {
    let torsion: Vec<_> = EIGHT_TORSION.iter().map(|t| t.compress().0).collect();
    for (t, expected) in torsion.iter().zip(EIGHT_TORSION) {
        assert_eq!(check(&[*t], &[1]), (expected, vec![]));
        assert_eq!(check(&[*t], &[8]), (EdwardsPoint::identity(), vec![]));
    }
    for round in 0..20 {
        check(&torsion, &coefficients(10 + round, 8));
    }
    let mixed: Vec<_> =
        (0..800).map(|i| (point(30, i) + EIGHT_TORSION[i as usize % 8]).compress().0).collect();
    let (sum, _) = check(&mixed, &coefficients(31, 800));
    assert!(!sum.is_torsion_free());
    let many: Vec<_> = (0..1000).map(|i| torsion[i * i % 8]).collect();
    check(&many, &coefficients(32, 1000));
}

#[test]
fn extreme_coefficients() {
    let half = 1u128 << 127;
    let extremes = [0, 1, 2, 127, 128, 129, 255, 256, u128::MAX, u128::MAX - 1, half, half - 1, half + 1];
    for c in extremes {
        for n in [1, 2, 5, 100, 600] {
            check(&points(33, n), &vec![c; n]);
        }
    }
    for bit in 0..128 {
        check(&points(34, 2), &[1 << bit, u128::MAX << bit]);
    }
    let mixed: Vec<_> = (0..2600).map(|i| extremes[i % extremes.len()]).collect();
    check(&points(35, 2600), &mixed);
}

#[test]
fn equal_and_opposite_points() {
    for n in [2, 3, 4, 9, 64, 1000] {
        check(&vec![points(36, 1)[0]; n], &vec![coefficient(37, 0); n]);
        check(&vec![points(36, 1)[0]; n], &coefficients(38, n));
    }
    for n in [1, 2, 100, 1024] {
        let opposite: Vec<_> =
            (0..n).flat_map(|i| [point(39, i), -point(39, i)]).map(|p| p.compress().0).collect();
        let equal: Vec<_> = (0..n).flat_map(|i| [coefficient(40, i); 2]).collect();
        assert_eq!(check(&opposite, &equal).0, EdwardsPoint::identity());
    }
}

#[test]
fn nothing_decodes() {
    for n in [1usize, 4, 5, 1000] {
        let (sum, bad) = check(&vec![[0xff; 32]; n], &coefficients(41, n));
        assert_eq!((sum, bad), (EdwardsPoint::identity(), (0..n as u32).collect()));
    }
}

#[test]
#[should_panic = "one coefficient per encoding"]
fn lengths_must_agree() {
    r_sum(&[[0; 32]], &[]);
}

/// Returns signature `i`, under key `key`, with a component of small order in R.
fn single(key: u64, i: u64, torsion: usize) -> Single {
    let scalar = |stream| Scalar::from_bytes_mod_order_wide(&random(stream, i));
    let (a, r, k) = (Scalar::from_bytes_mod_order_wide(&random(50, key)), scalar(51), scalar(52));
    Single {
        minus_key: (-EdwardsPoint::mul_base(&a)).compress().0,
        r: (EdwardsPoint::mul_base(&r) + EIGHT_TORSION[torsion]).compress().0,
        s: (r + k * a).to_bytes(),
        k: k.to_bytes(),
    }
}

/// Returns 2^bit, little endian.
fn power_of_two(bit: usize) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[bit / 8] = 1 << (bit % 8);
    bytes
}

/// Checks the verdicts of the model and of the instructions.
fn check_singles(signatures: &[Single], expected: &[bool]) {
    assert_eq!(modelled_singles(signatures), expected);
    if let Some(holds) = ifma_singles(signatures) {
        assert_eq!(holds, expected);
    }
}

#[test]
fn single_signatures_hold_up_to_components_of_small_order() {
    // With a table of the key for many under one key, a larger one for more, none for few.
    for (keys, n) in [(1, 1), (1, 7), (1, 30), (3, 50), (9, 20), (40, 40), (1, 300)] {
        let made: Vec<Single> =
            (0..n).map(|i| single(i * keys / n, i, if i % 3 == 0 { i as usize % 8 } else { 0 })).collect();
        check_singles(&made, &vec![true; n as usize]);
    }
}

#[test]
fn single_signatures_with_a_fault_do_not_hold() {
    for (keys, n) in [(1, 50), (50, 50), (1, 600)] {
        let mut made: Vec<Single> = (0..n).map(|i| single(i * keys / n, i, 0)).collect();
        let mut expected = vec![true; n as usize];
        for (i, single) in made.iter_mut().enumerate().filter(|(i, _)| i % 2 == 1) {
            expected[i] = false;
            match i % 10 {
                1 => single.s[i % 31] ^= 1,
                3 => single.k[i % 31] ^= 0x80,
                5 => single.r = p_plus(1),
                7 => single.r = points(53, 1)[0],
                _ => single.r[31] ^= 0x80,
            }
        }
        check_singles(&made, &expected);
    }
}

#[test]
fn scalars_at_the_ends_of_their_range() {
    let (zero, one) = ([0; 32], small(1));
    let largest = (-Scalar::ONE).to_bytes();
    let mut powers: Vec<[u8; 32]> = (0..252).map(power_of_two).collect();
    powers.extend([zero, one, largest]);
    for n in [3, 30] {
        let minus_key = (-point(54, 0)).compress().0;
        let scalars: Vec<([u8; 32], [u8; 32])> =
            powers.iter().flat_map(|s| [zero, one, largest].map(|k| (*s, k))).collect();
        let made: Vec<Single> = scalars
            .iter()
            .map(|&(s, k)| {
                let of = |bytes| Scalar::from_bytes_mod_order(bytes);
                let r = EdwardsPoint::mul_base(&of(s)) - point(54, 0) * of(k);
                Single { minus_key, r: r.compress().0, s, k }
            })
            .collect();
        for few in made.chunks(n) {
            check_singles(few, &vec![true; few.len()]);
        }
    }
}
