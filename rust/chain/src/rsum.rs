//! Σ z_i·R_i over the encodings of points R_i: the part of batch Ed25519 verification that grows with the batch.
//!
//! Variable time throughout: the signatures, public keys and coefficients of a batch are public to the verifier. Never
//! use it with a secret.

use curve25519_dalek::edwards::EdwardsPoint;

pub(crate) use self::portable::{decode_canonical, r_sum as portable_r_sum};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod decompress4;
#[cfg(target_arch = "x86_64")]
mod field4;
#[cfg(target_arch = "x86_64")]
mod msm4;
#[cfg(target_arch = "x86_64")]
mod point4;
mod portable;
#[cfg(target_arch = "x86_64")]
mod windows;

#[cfg(all(test, target_arch = "x86_64"))]
mod bounds_tests;
#[cfg(all(test, target_arch = "x86_64"))]
mod field_tests;
#[cfg(test)]
mod tests;

/// Σ z_i·R_i over the encodings that decode canonically. The others are listed in `undecodable` (ascending indices) and
/// count as the identity.
pub(crate) struct RSum {
    /// The exact sum, including components of small order.
    pub(crate) sum: EdwardsPoint,
    /// Indices of the encodings that are not canonical encodings of points, ascending.
    pub(crate) undecodable: Vec<u32>,
}

/// Returns Σ coefficients[i]·R_i. R_i is the point that `encodings[i]` decodes to by RFC 8032, 5.1.3, exactly: y is
/// below p, x exists, and the sign bit is 0 if x is. No cofactor is cleared. The slices have the same length.
pub(crate) fn r_sum(encodings: &[[u8; 32]], coefficients: &[u128]) -> RSum {
    assert_eq!(encodings.len(), coefficients.len(), "one coefficient per encoding");
    #[cfg(target_arch = "x86_64")]
    if let Some(sum) = avx2::r_sum(encodings, coefficients) {
        return sum;
    }
    portable::r_sum(encodings, coefficients)
}
