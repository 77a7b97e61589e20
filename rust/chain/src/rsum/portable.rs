//! The sum, computed by curve25519-dalek for any CPU.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;

use super::RSum;

/// See [`super::r_sum`].
pub(crate) fn r_sum(encodings: &[[u8; 32]], coefficients: &[u128]) -> RSum {
    let mut points = Vec::with_capacity(encodings.len());
    let mut scalars = Vec::with_capacity(encodings.len());
    let mut undecodable = Vec::new();
    for (index, (encoding, &coefficient)) in encodings.iter().zip(coefficients).enumerate() {
        match decode_canonical(encoding) {
            Some(point) => {
                points.push(point);
                scalars.push(Scalar::from(coefficient));
            }
            None => undecodable.push(index as u32),
        }
    }
    RSum { sum: EdwardsPoint::vartime_multiscalar_mul(&scalars, &points), undecodable }
}

/// Decodes a point exactly by RFC 8032, 5.1.3: dalek alone also accepts y >= p, and x = 0 with the sign bit set.
pub(crate) fn decode_canonical(encoding: &[u8; 32]) -> Option<EdwardsPoint> {
    let negative_zero = encoding[31] >> 7 == 1 && has_zero_x(encoding);
    if !is_reduced(encoding) || negative_zero {
        return None;
    }
    CompressedEdwardsY(*encoding).decompress()
}

/// Returns true if the low 255 bits are below p: they are not if the bytes are 0xed..=0xff, 0xff × 30, 0x7f.
pub(super) fn is_reduced(encoding: &[u8; 32]) -> bool {
    encoding[0] < 0xed || encoding[31] & 0x7f != 0x7f || encoding[1..31].iter().any(|&byte| byte != 0xff)
}

/// Returns true if y, below p, is 1 or p - 1: x² = (y² - 1)/(d y² + 1) is zero only for these.
fn has_zero_x(encoding: &[u8; 32]) -> bool {
    let (first, middle, last) = (encoding[0], &encoding[1..31], encoding[31] & 0x7f);
    (first == 1 && last == 0 && middle.iter().all(|&byte| byte == 0))
        || (first == 0xec && last == 0x7f && middle.iter().all(|&byte| byte == 0xff))
}
