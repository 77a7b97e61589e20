//! The two ways to sum the R of a batch, for benchmarks. Not part of the interface.

use curve25519_dalek::edwards::EdwardsPoint;

use crate::rsum;

/// Returns the sum of `coefficients[i]`·R_i over the encodings that decode, by the fastest method of this CPU.
pub fn r_sum(encodings: &[[u8; 32]], coefficients: &[u128]) -> EdwardsPoint {
    rsum::r_sum(encodings, coefficients).sum
}

/// Returns the same sum, computed by curve25519-dalek.
pub fn r_sum_portable(encodings: &[[u8; 32]], coefficients: &[u128]) -> EdwardsPoint {
    rsum::portable_r_sum(encodings, coefficients).sum
}
