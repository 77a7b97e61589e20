//! The ways to verify a batch, for tests, benchmarks and fuzzing. Not part of the interface.

use curve25519_dalek::edwards::EdwardsPoint;

use crate::rsum;
pub use crate::vector::Instructions;

/// Returns the sum of `coefficients[i]`·R_i over the encodings that decode, and the indices of the others. `None` if
/// this CPU lacks the instructions.
pub type SumOfR = fn(&[[u8; 32]], &[u128]) -> Option<(EdwardsPoint, Vec<u32>)>;

/// Each way with its name. All results are equal.
pub const SUMS_OF_R: [(&str, SumOfR); 5] = [
    ("ours", |encodings, coefficients| parts(Some(rsum::r_sum(encodings, coefficients)))),
    ("AVX-512 IFMA", |encodings, coefficients| parts(rsum::ifma_r_sum(encodings, coefficients))),
    ("AVX2", |encodings, coefficients| parts(rsum::avx2_r_sum(encodings, coefficients))),
    ("model of AVX-512 IFMA", |encodings, coefficients| {
        parts(Some(rsum::modelled_r_sum(encodings, coefficients)))
    }),
    ("curve25519-dalek", |encodings, coefficients| {
        parts(Some(rsum::portable_r_sum(encodings, coefficients)))
    }),
];

fn parts(sum: Option<rsum::RSum>) -> Option<(EdwardsPoint, Vec<u32>)> {
    sum.map(|sum| (sum.sum, sum.undecodable))
}
