//! All unsafe code of the AVX2 path: the call into it, and the moves between memory and vectors.
//!
//! Invariants:
//!
//! * Code compiled for AVX2 is entered only through [`r_sum`], after a check that the CPU has AVX2.
//! * Memory is accessed through references to arrays of exactly the size moved, with unaligned instructions. No address
//!   is computed here and no alignment is assumed.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::RSum;
use crate::vector::avx2::Cpu;

/// Computes the sum by the AVX2 path, or returns `None` if the CPU lacks AVX2.
pub(super) fn r_sum(encodings: &[[u8; 32]], coefficients: &[u128]) -> Option<RSum> {
    Cpu::detect()?;
    // SAFETY: the CPU has AVX2, the only feature the function is compiled for.
    Some(unsafe { super::msm4::r_sum(encodings, coefficients) })
}

/// Loads `low` into lanes 0 and 1, `high` into lanes 2 and 3.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_halves(low: &[u64; 2], high: &[u64; 2]) -> __m256i {
    // SAFETY: both references are valid for reads of 16 bytes; the load needs no alignment.
    let (low, high) =
        unsafe { (_mm_loadu_si128(low.as_ptr().cast()), _mm_loadu_si128(high.as_ptr().cast())) };
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
}

/// Returns the four lanes of a vector, lane 0 first.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn lanes(vector: __m256i) -> [u64; 4] {
    let mut lanes = [0; 4];
    // SAFETY: `lanes` is valid for a write of 32 bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), vector) };
    lanes
}

/// Returns the same ten vectors, forced into registers at this point and opaque to the optimizer.
///
/// Ten accumulators and the operands of one row of a product fit the sixteen registers. Otherwise the compiler reorders
/// the additions and spills a third of its results.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn pin(vectors: [__m256i; 10]) -> [__m256i; 10] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h, mut i, mut j] = vectors;
    // SAFETY: the asm block has no instruction; the registers are unchanged.
    unsafe {
        core::arch::asm!(
            "/* {0} {1} {2} {3} {4} {5} {6} {7} {8} {9} */",
            inout(ymm_reg) a, inout(ymm_reg) b, inout(ymm_reg) c, inout(ymm_reg) d, inout(ymm_reg) e,
            inout(ymm_reg) f, inout(ymm_reg) g, inout(ymm_reg) h, inout(ymm_reg) i, inout(ymm_reg) j,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    [a, b, c, d, e, f, g, h, i, j]
}

/// Prefetches the two cache lines of a 128-byte value.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn prefetch(value: &[[u64; 2]; 8]) {
    _mm_prefetch::<_MM_HINT_T0>(value[0].as_ptr().cast());
    _mm_prefetch::<_MM_HINT_T0>(value[4].as_ptr().cast());
}
