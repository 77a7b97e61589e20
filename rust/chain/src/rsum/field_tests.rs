//! Tests the four-lane field against a plain model with 16-bit digits, with limbs at their bounds.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::avx2::lanes;
use super::field4::Fe4;
use super::field8::Fe8;
use crate::vector::ifma::{Cpu, Zmm};
use crate::vector::{Plain, Vector};

/// A number below 2^256 in 16-bit digits, not always reduced.
type Model = [u64; 16];

/// Carries, and folds 2^256 = 38 until no digits are left above.
fn fold(mut digits: [u64; 33]) -> Model {
    for _ in 0..4 {
        for i in 0..32 {
            digits[i + 1] += digits[i] >> 16;
            digits[i] &= 0xffff;
        }
        for i in 16..33 {
            digits[i - 16] += 38 * core::mem::take(&mut digits[i]);
        }
    }
    core::array::from_fn(|i| digits[i])
}

fn model(limbs: [u64; 10]) -> Model {
    let mut digits = [0; 33];
    for (i, limb) in limbs.into_iter().enumerate() {
        let bit = (51 * i).div_ceil(2);
        let wide = u128::from(limb) << (bit % 16);
        for k in 0..5 {
            digits[bit / 16 + k] += (wide >> (16 * k)) as u64 & 0xffff;
        }
    }
    fold(digits)
}

fn times(a: Model, b: Model) -> Model {
    let mut digits = [0; 33];
    for i in 0..16 {
        for j in 0..16 {
            digits[i + j] += a[i] * b[j];
        }
    }
    fold(digits)
}

/// Returns the representative below p: a model is below 2^256 = 2p + 38, so p is subtracted at most twice.
fn reduced(mut a: Model) -> Model {
    for _ in 0..2 {
        let mut b = a;
        b[0] += 19;
        for i in 0..15 {
            b[i + 1] += b[i] >> 16;
            b[i] &= 0xffff;
        }
        if b[15] >> 15 != 0 {
            b[15] -= 1 << 15; // a + 19 - 2^255
            a = b;
        }
    }
    a
}

/// Returns a^exponent; the exponent is given from its top bit down.
fn power(a: Model, exponent: impl Iterator<Item = bool>) -> Model {
    let mut one = [0; 16];
    one[0] = 1;
    exponent.fold(one, |x, bit| if bit { times(times(x, x), a) } else { times(x, x) })
}

#[target_feature(enable = "avx2")]
fn pack(limbs: [[u64; 10]; 4]) -> Fe4 {
    let lane = |l: usize, i: usize| limbs[l][i] as i64;
    Fe4(core::array::from_fn(|i| _mm256_set_epi64x(lane(3, i), lane(2, i), lane(1, i), lane(0, i))))
}

#[target_feature(enable = "avx2")]
fn limbs(f: &Fe4) -> [[u64; 10]; 4] {
    let rows = f.0.map(|v| lanes(v));
    core::array::from_fn(|l| rows.map(|row| row[l]))
}

/// Returns limbs up to the given bounds of an even and an odd limb: all at the bound, all zero, mixed, random.
fn samples(even: u64, odd: u64) -> Vec<[u64; 10]> {
    let bound = |i: usize| if i.is_multiple_of(2) { even } else { odd };
    let mut samples = vec![core::array::from_fn(bound), [0; 10], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]];
    for only in 0..10 {
        samples.push(core::array::from_fn(|i| if i == only { bound(i) } else { 0 }));
        samples.push(core::array::from_fn(|i| if i == only { 0 } else { bound(i) }));
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..40 {
        samples.push(core::array::from_fn(|i| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 20) % (bound(i) + 1)
        }));
    }
    samples
}

const TIGHT: (u64, u64) = ((1 << 26) + (1 << 15), (1 << 25) + (1 << 14));
/// 2^27.59 and half of it, rounded down.
const LOOSE: (u64, u64) = (202_030_798, 101_015_399);

fn assert_tight(f: [u64; 10]) {
    assert!((0..10).all(|i| f[i] <= if i.is_multiple_of(2) { TIGHT.0 } else { TIGHT.1 }), "{f:?}");
}

#[target_feature(enable = "avx2")]
fn check_products() {
    let (first, second) = (samples(2 * LOOSE.0, 2 * LOOSE.1), samples(LOOSE.0, LOOSE.1));
    for &f in &first {
        for g in second.chunks_exact(4) {
            let product = limbs(&pack([f; 4]).mul(&pack([g[0], g[1], g[2], g[3]])));
            for (lane, &g) in product.into_iter().zip(g) {
                assert_tight(lane);
                assert_eq!(reduced(model(lane)), reduced(times(model(f), model(g))));
            }
        }
    }
    for f in second {
        for lanes in [limbs(&pack([f; 4]).square()), limbs(&pack([f; 4]).square_times(1))] {
            assert_tight(lanes[3]);
            assert_eq!(reduced(model(lanes[3])), reduced(times(model(f), model(f))));
        }
    }
}

#[target_feature(enable = "avx2")]
fn check_sums() {
    for f in samples(TIGHT.0, TIGHT.1) {
        for g in samples(TIGHT.0, TIGHT.1) {
            let (f4, g4) = (pack([f; 4]), pack([g; 4]));
            let difference = limbs(&f4.sub(&g4))[1];
            assert!((0..10).all(|i| difference[i] <= if i.is_multiple_of(2) { LOOSE.0 } else { LOOSE.1 }));
            // f - g and g sum to f.
            let back = limbs(&f4.sub(&g4).carry().add(&g4))[2];
            assert_eq!(reduced(model(back)), reduced(model(f)));
            let negative = limbs(&g4.neg().add(&g4))[0];
            assert_eq!(reduced(model(negative)), [0; 16]);
        }
    }
}

#[target_feature(enable = "avx2")]
fn check_canonical() {
    let p: [u64; 10] = core::array::from_fn(|i| match i {
        0 => (1 << 26) - 19,
        i if i.is_multiple_of(2) => (1 << 26) - 1,
        _ => (1 << 25) - 1,
    });
    let near = |k: i64| {
        let mut f = p;
        f[0] = (f[0] as i64 + k) as u64;
        f
    };
    let twice = p.map(|limb| 2 * limb);
    let mut cases = samples(LOOSE.0, LOOSE.1);
    cases.extend(samples((1 << 31) - 1, (1 << 31) - 1));
    cases.extend([p, near(-1), near(1), near(18), near(19), twice, near(-2)]);
    for f in cases {
        let canonical = limbs(&pack([f; 4]).canonical())[0];
        let full = |i: usize| if i.is_multiple_of(2) { 26 } else { 25 };
        assert!((0..10).all(|i| canonical[i] >> full(i) == 0));
        assert_eq!(model(canonical), reduced(model(f)));
        let zero = lanes(pack([f, p, twice, near(-1)]).is_zero()).map(|mask| mask != 0);
        assert_eq!(zero, [reduced(model(f)) == [0; 16], true, true, false]);
    }
}

#[target_feature(enable = "avx2")]
fn check_powers() {
    for f in samples(TIGHT.0, TIGHT.1).into_iter().step_by(5) {
        // (p - 5)/8 = 2^252 - 3 and p - 2 = 2^255 - 21, bit by bit from the top.
        let p58 = power(model(f), (0..252).rev().map(|bit| bit != 1));
        let inverse = power(model(f), (0..255).rev().map(|bit| bit != 4 && bit != 2));
        let f = pack([f; 4]);
        assert_eq!(reduced(model(limbs(&f.pow_p58())[0])), reduced(p58));
        assert_eq!(reduced(model(limbs(&f.invert())[3])), reduced(inverse));
    }
}

#[test]
fn the_field_agrees_with_the_model() {
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2, the only feature the functions are compiled for.
        unsafe {
            check_products();
            check_sums();
            check_canonical();
            check_powers();
        }
    }
}

/// Returns the number of limbs in radix 2^51.
fn model_51(limbs: [u64; 5]) -> Model {
    let mut digits = [0; 33];
    for (i, limb) in limbs.into_iter().enumerate() {
        let bit = 51 * i;
        let wide = u128::from(limb) << (bit % 16);
        for k in 0..5 {
            digits[bit / 16 + k] += (wide >> (16 * k)) as u64 & 0xffff;
        }
    }
    fold(digits)
}

fn pack_8<V: Vector>(cpu: V::Cpu, limbs: [[u64; 5]; 8]) -> Fe8<V> {
    Fe8(std::array::from_fn(|i| V::load(cpu, &limbs.map(|limbs| limbs[i]))))
}

fn limbs_8<V: Vector>(f: &Fe8<V>) -> [[u64; 5]; 8] {
    let rows = f.0.map(V::lanes);
    std::array::from_fn(|lane| rows.map(|row| row[lane]))
}

/// Checks the field of eight lanes with limbs up to their bound.
fn check_eight<V: Vector>(cpu: V::Cpu) {
    const TIGHT: u64 = (1 << 51) + (1 << 16);
    let p = [(1 << 51) - 19, (1 << 51) - 1, (1 << 51) - 1, (1 << 51) - 1, (1 << 51) - 1];
    let near = |k: i64| [(p[0] as i64 + k) as u64, p[1], p[2], p[3], p[4]];
    let mut cases: Vec<[u64; 5]> = samples(TIGHT - 1, TIGHT - 1)
        .into_iter()
        .map(|limbs| [limbs[0], limbs[1], limbs[2], limbs[3], limbs[4]])
        .collect();
    cases.extend([p, near(-1), near(1), near(18), near(19), near(-2)]);
    for (at, f) in cases.iter().enumerate() {
        let eight: [[u64; 5]; 8] = std::array::from_fn(|lane| cases[(at + 5 * lane) % cases.len()]);
        let (first, second) = (pack_8::<V>(cpu, [*f; 8]), pack_8::<V>(cpu, eight));
        let results = [
            first.mul(&second),
            second.square(),
            first.wide().add(&second.wide()).carry(),
            first.wide().sub(&second.wide()).carry().wide().add(&second.wide()).carry(),
            second.canonical(),
        ]
        .map(|result| limbs_8(&result));
        let zeros = second.zeros();
        for (lane, g) in eight.into_iter().enumerate() {
            let (f, g) = (model_51(*f), model_51(g));
            let sum = fold(std::array::from_fn(|i| if i < 16 { f[i] + g[i] } else { 0 }));
            let expected = [times(f, g), times(g, g), sum, f, g];
            for (result, expected) in results.iter().zip(expected) {
                assert!(result[lane].iter().all(|limb| *limb < TIGHT));
                assert_eq!(reduced(model_51(result[lane])), reduced(expected));
            }
            assert!(results[4][lane].iter().all(|limb| limb >> 51 == 0));
            assert_eq!(model_51(results[4][lane]), reduced(g));
            assert_eq!(zeros >> lane & 1 == 1, reduced(g) == [0; 16]);
        }
        if at % 9 == 0 {
            let p58 = power(model_51(*f), (0..252).rev().map(|bit| bit != 1));
            let inverse = power(model_51(*f), (0..255).rev().map(|bit| bit != 4 && bit != 2));
            assert_eq!(reduced(model_51(limbs_8(&first.pow_p58(cpu))[7])), reduced(p58));
            assert_eq!(reduced(model_51(limbs_8(&first.invert(cpu))[0])), reduced(inverse));
        }
    }
}

#[test]
fn the_field_of_eight_lanes_agrees_with_the_model() {
    check_eight::<Plain>(());
    if let Some(cpu) = Cpu::detect() {
        check_eight::<Zmm>(cpu);
    }
}
