//! All unsafe code of lanes for AVX2: its instructions, and the calls into functions compiled for them.
//!
//! Invariants:
//!
//! * A [`Cpu`] exists only if the CPU has AVX2, the only feature that code here is compiled for. A [`YmmWords`] or
//!   [`YmmLongs`] is made only with a `Cpu` or from another one, so every instruction here is available when it runs.
//! * Memory is accessed through references to arrays of exactly the size moved, with unaligned instructions. No address
//!   is computed here and no alignment is assumed.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::{Instructions, Longs, Register, Step, Words};

/// The proof that the CPU has the instructions.
#[derive(Clone, Copy)]
pub(crate) struct Cpu(());

impl Cpu {
    /// Asks the CPU, if the instructions may be used.
    pub(crate) fn detect() -> Option<Self> {
        (Instructions::Avx2.may_be_used() && is_x86_feature_detected!("avx2")).then_some(Self(()))
    }
}

/// Eight lanes of 32 bits in a register.
#[derive(Clone, Copy)]
pub(crate) struct YmmWords(__m256i);

/// Four lanes of 64 bits in a register.
#[derive(Clone, Copy)]
pub(crate) struct YmmLongs(__m256i);

impl Register for YmmWords {
    type Cpu = Cpu;

    #[inline(always)]
    fn run<S: Step>(_: Cpu, step: S) -> S::Output {
        // SAFETY: the CPU has the feature that the function is compiled for.
        unsafe { compiled(step) }
    }
}

impl Register for YmmLongs {
    type Cpu = Cpu;

    #[inline(always)]
    fn run<S: Step>(_: Cpu, step: S) -> S::Output {
        // SAFETY: the CPU has the feature that the function is compiled for.
        unsafe { compiled(step) }
    }
}

/// Runs a step, compiled for the instructions.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn compiled<S: Step>(step: S) -> S::Output {
    step.compute()
}

/// The places of bytes for a shuffle that rotates lanes of `size` bytes to the right by `bytes`.
const fn rotation(size: u8, bytes: u8) -> Places {
    let mut places = [0; 32];
    let mut at = 0;
    while at < 32 {
        let lane = at & !(size - 1);
        // Each half of a vector counts from 0.
        places[at as usize] = (lane | (at + bytes) & (size - 1)) & 15;
        at += 1;
    }
    Places(places)
}

#[repr(align(32))]
struct Places([u8; 32]);

/// Moves bytes by one instruction. The compiler would replace it, and move others across it, with up to twice as many.
#[inline]
#[target_feature(enable = "avx2")]
fn shuffle(mut vector: __m256i, places: &'static Places) -> __m256i {
    // SAFETY: the instruction reads the 32 bytes of the reference.
    unsafe {
        core::arch::asm!(
            "vpshufb {0}, {0}, ymmword ptr [{1}]",
            inout(ymm_reg) vector, in(reg) places.0.as_ptr(),
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    vector
}

impl Words<8> for YmmWords {
    #[inline(always)]
    fn load(_: Cpu, lanes: &[u32; 8]) -> Self {
        // SAFETY: the CPU has AVX2; the reference is valid for a read of 32 bytes, and no alignment is needed.
        Self(unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn load_bytes(_: Cpu, lanes: &[[u8; 4]; 8]) -> Self {
        // SAFETY: the CPU has AVX2; the reference is valid for a read of 32 bytes, and no alignment is needed.
        Self(unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn lanes(self) -> [u32; 8] {
        let mut lanes = [0; 8];
        // SAFETY: a vector exists, so the CPU has AVX2; `lanes` is valid for a write of 32 bytes, and no alignment is
        // needed.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), self.0) };
        lanes
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX2.
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX2.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn rotate<const BITS: i32>(self) -> Self {
        const { assert!(BITS > 0 && BITS < 32) };
        // SAFETY: a vector exists, so the CPU has AVX2.
        Self(unsafe {
            match BITS {
                8 => shuffle(self.0, const { &rotation(4, 1) }),
                16 => shuffle(self.0, const { &rotation(4, 2) }),
                _ => _mm256_or_si256(
                    _mm256_srl_epi32(self.0, _mm_cvtsi32_si128(BITS)),
                    _mm256_sll_epi32(self.0, _mm_cvtsi32_si128(32 - BITS)),
                ),
            }
        })
    }

    #[inline(always)]
    fn transpose(rows: [Self; 8]) -> [Self; 8] {
        let [Self(r0), Self(r1), Self(r2), Self(r3), Self(r4), Self(r5), Self(r6), Self(r7)] = rows;
        // SAFETY: vectors exist, so the CPU has AVX2.
        unsafe {
            let [a0, a1, a2, a3] = fours(r0, r1, r2, r3);
            let [b0, b1, b2, b3] = fours(r4, r5, r6, r7);
            [
                Self(_mm256_permute2x128_si256::<0x20>(a0, b0)),
                Self(_mm256_permute2x128_si256::<0x20>(a1, b1)),
                Self(_mm256_permute2x128_si256::<0x20>(a2, b2)),
                Self(_mm256_permute2x128_si256::<0x20>(a3, b3)),
                Self(_mm256_permute2x128_si256::<0x31>(a0, b0)),
                Self(_mm256_permute2x128_si256::<0x31>(a1, b1)),
                Self(_mm256_permute2x128_si256::<0x31>(a2, b2)),
                Self(_mm256_permute2x128_si256::<0x31>(a3, b3)),
            ]
        }
    }
}

/// Transposes four lanes of 32 bits of four vectors in each half.
///
/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
unsafe fn fours(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> [__m256i; 4] {
    // SAFETY: the caller's.
    unsafe {
        let (low, high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let (low_2, high_2) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        [
            _mm256_unpacklo_epi64(low, low_2),
            _mm256_unpackhi_epi64(low, low_2),
            _mm256_unpacklo_epi64(high, high_2),
            _mm256_unpackhi_epi64(high, high_2),
        ]
    }
}

impl Longs<4> for YmmLongs {
    #[inline(always)]
    fn load(_: Cpu, lanes: &[u64; 4]) -> Self {
        // SAFETY: the CPU has AVX2; the reference is valid for a read of 32 bytes, and no alignment is needed.
        Self(unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn lanes(self) -> [u64; 4] {
        let mut lanes = [0; 4];
        // SAFETY: a vector exists, so the CPU has AVX2; `lanes` is valid for a write of 32 bytes, and no alignment is
        // needed.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), self.0) };
        lanes
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX2.
        Self(unsafe { _mm256_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn shift<const BITS: i32>(self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX2.
        Self(unsafe { _mm256_srli_epi64::<BITS>(self.0) })
    }

    #[inline(always)]
    fn rotate<const BITS: i32>(self) -> Self {
        const { assert!(BITS > 0 && BITS < 64) };
        // SAFETY: a vector exists, so the CPU has AVX2.
        Self(unsafe {
            match BITS {
                8 => shuffle(self.0, const { &rotation(8, 1) }),
                _ => _mm256_or_si256(
                    _mm256_srl_epi64(self.0, _mm_cvtsi32_si128(BITS)),
                    _mm256_sll_epi64(self.0, _mm_cvtsi32_si128(64 - BITS)),
                ),
            }
        })
    }

    #[inline(always)]
    fn xor(self, b: Self, c: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX2.
        Self(unsafe { _mm256_xor_si256(_mm256_xor_si256(self.0, b.0), c.0) })
    }

    #[inline(always)]
    fn choose(self, b: Self, c: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX2.
        Self(unsafe { _mm256_xor_si256(c.0, _mm256_and_si256(self.0, _mm256_xor_si256(b.0, c.0))) })
    }

    #[inline(always)]
    fn majority(self, b: Self, c: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX2.
        Self(unsafe {
            let either = _mm256_or_si256(self.0, b.0);
            _mm256_or_si256(_mm256_and_si256(self.0, b.0), _mm256_and_si256(c.0, either))
        })
    }

    #[inline(always)]
    fn transpose([Self(r0), Self(r1), Self(r2), Self(r3)]: [Self; 4]) -> [Self; 4] {
        // SAFETY: vectors exist, so the CPU has AVX2.
        unsafe {
            let (a, b) = (_mm256_unpacklo_epi64(r0, r1), _mm256_unpacklo_epi64(r2, r3));
            let (c, d) = (_mm256_unpackhi_epi64(r0, r1), _mm256_unpackhi_epi64(r2, r3));
            [
                Self(_mm256_permute2x128_si256::<0x20>(a, b)),
                Self(_mm256_permute2x128_si256::<0x20>(c, d)),
                Self(_mm256_permute2x128_si256::<0x31>(a, b)),
                Self(_mm256_permute2x128_si256::<0x31>(c, d)),
            ]
        }
    }
}
