//! Decodes points, four at a time (RFC 8032, 5.1.3), with an exact check of the canonical rule.

use core::arch::x86_64::*;

use super::avx2::lanes;
use super::field4::Fe4;
use super::point4::{Niels4, ONE, PackedNiels};
use super::portable::is_reduced;

/// d = -121665/121666.
const D: [u32; 10] =
    [56195235, 13857412, 51736253, 6949390, 114729, 24766616, 60832955, 30306712, 48412415, 21499315];

/// A square root of -1: 2^((p-1)/4).
const SQRT_M1: [u32; 10] =
    [34513072, 25610706, 9377949, 3500415, 12389472, 33281959, 41962654, 31548777, 326685, 11406482];

/// Decodes four encodings. The flag of an encoding is false if it is not canonical or not on the curve; its point is
/// then meaningless.
#[target_feature(enable = "avx2")]
pub(super) fn decompress(encodings: [&[u8; 32]; 4]) -> ([PackedNiels; 4], [bool; 4]) {
    let one = Fe4::splat(&ONE);
    let y = Fe4::from_bytes(encodings);
    let yy = y.square();
    let u = yy.sub(&one);
    let v = yy.mul(&Fe4::splat(&D)).add(&one);
    // x = u v³ (u v⁷)^((p-5)/8), the root of u/v if it has one, or of -u/v.
    let v3 = v.square().mul(&v);
    let v7 = v3.square().mul(&v);
    let power = v7.mul(&u).pow_p58();
    let x = power.mul(&v3).mul(&u);
    let vxx = x.square().mul(&v);
    let is_root = vxx.sub(&yy).add(&one).is_zero(); // v x² = u
    let is_root_of_minus = vxx.add(&yy).sub(&one).is_zero(); // v x² = -u
    let on_curve = lanes(_mm256_or_si256(is_root, is_root_of_minus));
    let x = x.select(&x.mul(&Fe4::splat(&SQRT_M1)), _mm256_andnot_si256(is_root, is_root_of_minus));

    let x = x.canonical();
    let x_is_zero = lanes(x.is_zero());
    let sign = encodings.map(|bytes| i64::from(bytes[31] >> 7));
    let signs = _mm256_set_epi64x(sign[3], sign[2], sign[1], sign[0]);
    let odd = _mm256_and_si256(x.0[0], _mm256_set1_epi64x(1));
    let keep = _mm256_cmpeq_epi64(odd, signs);
    let x = x.neg().carry().select(&x, keep);

    let valid = core::array::from_fn(|i| {
        on_curve[i] != 0 && is_reduced(encodings[i]) && !(x_is_zero[i] != 0 && sign[i] == 1)
    });
    (Niels4::new(&x, &y).pack(), valid)
}
