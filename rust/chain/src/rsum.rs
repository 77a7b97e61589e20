//! Σ z_i·R_i over the encodings of points R_i: the part of batch Ed25519 verification that grows with the batch. And the
//! verification of signatures one by one on the same points, for batches with many bad ones.
//!
//! Variable time throughout: the signatures, public keys and coefficients of a batch are public to the verifier. Never
//! use it with a secret.

use curve25519_dalek::edwards::EdwardsPoint;

use crate::vector::Plain;
#[cfg(target_arch = "x86_64")]
use crate::vector::ifma::{Cpu, Zmm};

pub(crate) use self::portable::{decode_canonical, r_sum as portable_r_sum};
pub(crate) use self::single8::Single;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod decompress4;
mod decompress8;
#[cfg(target_arch = "x86_64")]
mod field4;
mod field8;
#[cfg(target_arch = "x86_64")]
mod msm4;
mod msm8;
#[cfg(target_arch = "x86_64")]
mod point4;
mod point8;
mod portable;
mod single8;
mod windows;

#[cfg(all(test, target_arch = "x86_64"))]
mod bounds_tests;
#[cfg(all(test, target_arch = "x86_64"))]
mod field_tests;
#[cfg(test)]
mod interval_tests;
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
    ifma_r_sum(encodings, coefficients)
        .or_else(|| avx2_r_sum(encodings, coefficients))
        .unwrap_or_else(|| portable_r_sum(encodings, coefficients))
}

/// Computes the sum with AVX-512 IFMA, or returns `None` if the CPU lacks it.
pub(crate) fn ifma_r_sum(encodings: &[[u8; 32]], coefficients: &[u128]) -> Option<RSum> {
    #[cfg(target_arch = "x86_64")]
    return Cpu::detect().map(|cpu| msm8::r_sum::<Zmm>(cpu, encodings, coefficients));
    #[cfg(not(target_arch = "x86_64"))]
    return None;
}

/// Computes the sum with AVX2, or returns `None` if the CPU lacks it.
pub(crate) fn avx2_r_sum(encodings: &[[u8; 32]], coefficients: &[u128]) -> Option<RSum> {
    #[cfg(target_arch = "x86_64")]
    return avx2::r_sum(encodings, coefficients);
    #[cfg(not(target_arch = "x86_64"))]
    return None;
}

/// Returns true if the CPU has AVX-512 IFMA.
pub(crate) fn has_ifma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return Cpu::detect().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Verifies signatures one by one, or returns `None` if the CPU lacks AVX-512 IFMA. Signatures under one key are
/// adjacent.
pub(crate) fn ifma_singles(signatures: &[Single]) -> Option<Vec<bool>> {
    #[cfg(target_arch = "x86_64")]
    return Cpu::detect().map(|cpu| single8::hold::<Zmm>(cpu, signatures));
    #[cfg(not(target_arch = "x86_64"))]
    return None;
}

/// Verifies by a model of the instructions of AVX-512 IFMA, on any CPU.
#[cfg(test)]
pub(crate) fn modelled_singles(signatures: &[Single]) -> Vec<bool> {
    single8::hold::<Plain>((), signatures)
}

/// Computes the sum by a model of the instructions of AVX-512 IFMA, on any CPU.
pub(crate) fn modelled_r_sum(encodings: &[[u8; 32]], coefficients: &[u128]) -> RSum {
    msm8::r_sum::<Plain>((), encodings, coefficients)
}
