//! All unsafe code for AVX-512: its instructions, and the calls into functions compiled for them.
//!
//! Invariants:
//!
//! * A [`Cpu`] exists only if the CPU has AVX-512 F, DQ and IFMA, the only features that code here is compiled for. A
//!   [`Zmm`] is made only with a `Cpu` or from another `Zmm`, so every instruction here is available when it runs.
//! * Memory is accessed through references to arrays of exactly the size moved, with unaligned instructions. No address
//!   is computed here and no alignment is assumed.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::{Instructions, Longs, Register, Step, Vector, Words};

/// The proof that the CPU has the instructions.
#[derive(Clone, Copy)]
pub(crate) struct Cpu(());

impl Cpu {
    /// Asks the CPU, if the instructions may be used.
    pub(crate) fn detect() -> Option<Self> {
        let has_all = Instructions::Avx512.may_be_used()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512ifma");
        has_all.then_some(Self(()))
    }
}

/// Eight lanes of 64 bits in a register.
#[derive(Clone, Copy)]
pub(crate) struct Zmm(__m512i);

impl Register for Zmm {
    type Cpu = Cpu;

    #[inline(always)]
    fn run<S: Step>(_: Cpu, step: S) -> S::Output {
        // SAFETY: the CPU has the features that the function is compiled for.
        unsafe { compiled(step) }
    }
}

/// Sixteen lanes of 32 bits in a register.
#[derive(Clone, Copy)]
pub(crate) struct ZmmWords(__m512i);

impl Register for ZmmWords {
    type Cpu = Cpu;

    #[inline(always)]
    fn run<S: Step>(_: Cpu, step: S) -> S::Output {
        // SAFETY: the CPU has the features that the function is compiled for.
        unsafe { compiled(step) }
    }
}

/// Runs a step, compiled for the instructions.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn compiled<S: Step>(step: S) -> S::Output {
    step.compute()
}

impl Words<16> for ZmmWords {
    #[inline(always)]
    fn load(_: Cpu, lanes: &[u32; 16]) -> Self {
        // SAFETY: the CPU has AVX-512 F; the reference is valid for a read of 64 bytes, and no alignment is needed.
        Self(unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn load_bytes(_: Cpu, lanes: &[[u8; 4]; 16]) -> Self {
        // SAFETY: the CPU has AVX-512 F; the reference is valid for a read of 64 bytes, and no alignment is needed.
        Self(unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn lanes(self) -> [u32; 16] {
        let mut lanes = [0; 16];
        // SAFETY: a vector exists, so the CPU has AVX-512 F; `lanes` is valid for a write of 64 bytes, and no alignment
        // is needed.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), self.0) };
        lanes
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn rotate<const BITS: i32>(self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_ror_epi32::<BITS>(self.0) })
    }

    #[inline(always)]
    fn transpose(rows: [Self; 16]) -> [Self; 16] {
        let (rows, _) = rows.as_chunks::<4>();
        // SAFETY: vectors exist, so the CPU has AVX-512 F.
        unsafe {
            let [a0, a1, a2, a3] = fours(rows[0]);
            let [b0, b1, b2, b3] = fours(rows[1]);
            let [c0, c1, c2, c3] = fours(rows[2]);
            let [d0, d1, d2, d3] = fours(rows[3]);
            let [r0, r4, r8, r12] = quads(a0, b0, c0, d0);
            let [r1, r5, r9, r13] = quads(a1, b1, c1, d1);
            let [r2, r6, r10, r14] = quads(a2, b2, c2, d2);
            let [r3, r7, r11, r15] = quads(a3, b3, c3, d3);
            [
                Self(r0),
                Self(r1),
                Self(r2),
                Self(r3),
                Self(r4),
                Self(r5),
                Self(r6),
                Self(r7),
                Self(r8),
                Self(r9),
                Self(r10),
                Self(r11),
                Self(r12),
                Self(r13),
                Self(r14),
                Self(r15),
            ]
        }
    }
}

/// Transposes four lanes of 32 bits of four vectors in each quarter.
///
/// # Safety
///
/// The CPU has AVX-512 F.
#[inline(always)]
unsafe fn fours([a, b, c, d]: [ZmmWords; 4]) -> [__m512i; 4] {
    // SAFETY: the caller's.
    unsafe {
        let (low, high) = (_mm512_unpacklo_epi32(a.0, b.0), _mm512_unpackhi_epi32(a.0, b.0));
        let (low_2, high_2) = (_mm512_unpacklo_epi32(c.0, d.0), _mm512_unpackhi_epi32(c.0, d.0));
        [
            _mm512_unpacklo_epi64(low, low_2),
            _mm512_unpackhi_epi64(low, low_2),
            _mm512_unpacklo_epi64(high, high_2),
            _mm512_unpackhi_epi64(high, high_2),
        ]
    }
}

impl Longs<8> for Zmm {
    #[inline(always)]
    fn load(cpu: Cpu, lanes: &[u64; 8]) -> Self {
        <Self as Vector>::load(cpu, lanes)
    }

    #[inline(always)]
    fn lanes(self) -> [u64; 8] {
        Vector::lanes(self)
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Vector::add(self, other)
    }

    #[inline(always)]
    fn shift<const BITS: i32>(self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_srl_epi64(self.0, _mm_cvtsi32_si128(BITS)) })
    }

    #[inline(always)]
    fn rotate<const BITS: i32>(self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_ror_epi64::<BITS>(self.0) })
    }

    #[inline(always)]
    fn xor(self, b: Self, c: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_ternarylogic_epi64::<0b1001_0110>(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn choose(self, b: Self, c: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_ternarylogic_epi64::<0b1100_1010>(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn majority(self, b: Self, c: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_ternarylogic_epi64::<0b1110_1000>(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn transpose(rows: [Self; 8]) -> [Self; 8] {
        Vector::transpose(rows)
    }
}

impl Vector for Zmm {
    #[inline(always)]
    fn load(_: Cpu, lanes: &[u64; 8]) -> Self {
        // SAFETY: the CPU has AVX-512 F; the reference is valid for a read of 64 bytes, and no alignment is needed.
        Self(unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn fill(self, value: u64) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_set1_epi64(value as i64) })
    }

    #[inline(always)]
    fn lanes(self) -> [u64; 8] {
        let mut lanes = [0; 8];
        // SAFETY: a vector exists, so the CPU has AVX-512 F; `lanes` is valid for a write of 64 bytes, and no alignment
        // is needed.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), self.0) };
        lanes
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_sub_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_and_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_srli_epi64::<BITS>(self.0) })
    }

    #[inline(always)]
    fn times_19(self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F and DQ.
        Self(unsafe { _mm512_mullo_epi64(self.0, _mm512_set1_epi64(19)) })
    }

    #[inline(always)]
    fn add_low(self, a: Self, b: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 IFMA.
        Self(unsafe { _mm512_madd52lo_epu64(self.0, a.0, b.0) })
    }

    #[inline(always)]
    fn add_high(self, a: Self, b: Self) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 IFMA.
        Self(unsafe { _mm512_madd52hi_epu64(self.0, a.0, b.0) })
    }

    #[inline(always)]
    fn zeros(self) -> u8 {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        unsafe { _mm512_testn_epi64_mask(self.0, self.0) }
    }

    #[inline(always)]
    fn select(self, other: Self, mask: u8) -> Self {
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_mask_blend_epi64(mask, self.0, other.0) })
    }

    #[inline(always)]
    fn swap<const DISTANCE: usize>(self) -> Self {
        const { assert!(DISTANCE == 1 || DISTANCE == 2 || DISTANCE == 4) };
        // SAFETY: a vector exists, so the CPU has AVX-512 F.
        Self(unsafe {
            match DISTANCE {
                1 => _mm512_permutex_epi64::<0b10_11_00_01>(self.0),
                2 => _mm512_permutex_epi64::<0b01_00_11_10>(self.0),
                _ => _mm512_shuffle_i64x2::<0b01_00_11_10>(self.0, self.0),
            }
        })
    }

    #[inline(always)]
    fn transpose(rows: [Self; 8]) -> [Self; 8] {
        let [Self(r0), Self(r1), Self(r2), Self(r3), Self(r4), Self(r5), Self(r6), Self(r7)] = rows;
        // SAFETY: vectors exist, so the CPU has AVX-512 F.
        unsafe {
            let [c0, c2, c4, c6] = quads(
                _mm512_unpacklo_epi64(r0, r1),
                _mm512_unpacklo_epi64(r2, r3),
                _mm512_unpacklo_epi64(r4, r5),
                _mm512_unpacklo_epi64(r6, r7),
            );
            let [c1, c3, c5, c7] = quads(
                _mm512_unpackhi_epi64(r0, r1),
                _mm512_unpackhi_epi64(r2, r3),
                _mm512_unpackhi_epi64(r4, r5),
                _mm512_unpackhi_epi64(r6, r7),
            );
            [Self(c0), Self(c1), Self(c2), Self(c3), Self(c4), Self(c5), Self(c6), Self(c7)]
        }
    }

    #[inline(always)]
    fn column(rows: [Self; 8], lane: usize) -> [u64; 8] {
        // SAFETY: vectors exist, so the CPU has AVX-512 F. The permutation reads the low three bits of an index.
        let column = unsafe {
            let lane = _mm512_set1_epi64(lane as i64);
            let mut column = _mm512_setzero_si512();
            for (i, row) in rows.into_iter().enumerate() {
                column = _mm512_mask_permutexvar_epi64(column, 1 << i, lane, row.0);
            }
            column
        };
        Vector::lanes(Self(column))
    }

    #[inline(always)]
    fn prefetch(_: Cpu, value: &[[u64; 8]; 2]) {
        // SAFETY: a prefetch reads no value, at any address.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(value[0].as_ptr().cast());
            _mm_prefetch::<_MM_HINT_T0>(value[1].as_ptr().cast());
        }
    }
}

/// Transposes the quarters of 128 bits of four vectors.
///
/// # Safety
///
/// The CPU has AVX-512 F.
#[inline(always)]
unsafe fn quads(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; 4] {
    // SAFETY: the caller's.
    unsafe {
        let low = _mm512_shuffle_i64x2::<0b01_00_01_00>(a, b);
        let high = _mm512_shuffle_i64x2::<0b11_10_11_10>(a, b);
        let low_2 = _mm512_shuffle_i64x2::<0b01_00_01_00>(c, d);
        let high_2 = _mm512_shuffle_i64x2::<0b11_10_11_10>(c, d);
        [
            _mm512_shuffle_i64x2::<0b10_00_10_00>(low, low_2),
            _mm512_shuffle_i64x2::<0b11_01_11_01>(low, low_2),
            _mm512_shuffle_i64x2::<0b10_00_10_00>(high, high_2),
            _mm512_shuffle_i64x2::<0b11_01_11_01>(high, high_2),
        ]
    }
}
