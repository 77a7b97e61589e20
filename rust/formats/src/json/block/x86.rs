//! All unsafe code for text: the instructions of AVX-512 and AVX2, and the calls into functions compiled for them.
//!
//! Invariants:
//!
//! * An [`Avx512`] exists only if the CPU has AVX-512 F, BW and VBMI2, BMI1 and POPCNT, an [`Avx2`] only if it has AVX2,
//!   BMI1 and POPCNT: the only features that code here is compiled for. A [`Zmm`] is made only with an `Avx512` or from
//!   another `Zmm`, and a [`YmmPair`] in the same way with an `Avx2`, so every instruction here is available when it runs.
//! * Memory is accessed through references to arrays of exactly the size moved, with unaligned instructions. No address
//!   is computed here and no alignment is assumed.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::{BLOCK, Block, Step};

/// The proof that the CPU has AVX-512.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// Asks the CPU.
    #[inline(always)]
    pub(super) fn detect() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("popcnt");
        has_all.then_some(Self(()))
    }
}

/// A block in one register.
#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512i);

/// Runs a step, compiled for AVX-512.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,popcnt")]
fn compiled_for_avx512<S: Step>(cpu: Avx512, step: S) -> S::Output {
    step.compute::<Zmm>(Some(cpu))
}

impl Block for Zmm {
    type Cpu = Avx512;

    #[inline(always)]
    fn run<S: Step>(cpu: Avx512, step: S) -> S::Output {
        // SAFETY: the CPU has the features that the function is compiled for.
        unsafe { compiled_for_avx512(cpu, step) }
    }

    #[inline(always)]
    fn load(_: Avx512, bytes: &[u8; BLOCK]) -> Self {
        // SAFETY: the CPU has AVX-512 F; the reference is valid for a read of 64 bytes, and no alignment is needed.
        Self(unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn fill(self, value: u8) -> Self {
        // SAFETY: a block exists, so the CPU has AVX-512 F.
        Self(unsafe { _mm512_set1_epi8(value as i8) })
    }

    #[inline(always)]
    fn equal(self, other: Self) -> u64 {
        // SAFETY: a block exists, so the CPU has AVX-512 BW.
        unsafe { _mm512_cmpeq_epi8_mask(self.0, other.0) }
    }

    #[inline(always)]
    fn high_bits(self) -> u64 {
        // SAFETY: a block exists, so the CPU has AVX-512 BW.
        unsafe { _mm512_movepi8_mask(self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a block exists, so the CPU has AVX-512 BW.
        Self(unsafe { _mm512_add_epi8(self.0, other.0) })
    }

    #[inline(always)]
    fn add_saturating(self, other: Self) -> Self {
        // SAFETY: a block exists, so the CPU has AVX-512 BW.
        Self(unsafe { _mm512_adds_epu8(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: a block exists, so the CPU has AVX-512 BW.
        Self(unsafe { _mm512_min_epu8(self.0, other.0) })
    }

    #[inline(always)]
    fn or_high_bits(self, other: Self) -> Self {
        // SAFETY: a block exists, so the CPU has AVX-512 F. The bits are those of self | other & 0x80.
        Self(unsafe { _mm512_ternarylogic_epi64::<0b1111_1000>(self.0, other.0, _mm512_set1_epi8(-128)) })
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16]) -> Self {
        // SAFETY: a block exists, so the CPU has AVX-512 BW; the reference is valid for a read of 16 bytes, and no
        // alignment is needed.
        Self(unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, self.0)
        })
    }

    #[inline(always)]
    fn compress(self, mask: u64, out: &mut [u8; BLOCK]) {
        // SAFETY: a block exists, so the CPU has AVX-512 VBMI2; the reference is valid for a write of 64 bytes, and no
        // alignment is needed. A store that compresses takes hundreds of cycles on some CPUs.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_maskz_compress_epi8(mask, self.0)) }
    }

    #[inline(always)]
    fn hex(self) -> Option<[u8; BLOCK / 2]> {
        // SAFETY: a block exists, so the CPU has AVX-512 F and BW; `bytes` is valid for a write of 32 bytes, and no
        // alignment is needed.
        unsafe {
            let lower = _mm512_or_si512(self.0, _mm512_set1_epi8(0x20));
            let digit = _mm512_sub_epi8(self.0, _mm512_set1_epi8(b'0' as i8));
            let letter = _mm512_sub_epi8(lower, _mm512_set1_epi8(b'a' as i8));
            let is_digit = _mm512_cmplt_epu8_mask(digit, _mm512_set1_epi8(10));
            let is_letter = _mm512_cmplt_epu8_mask(letter, _mm512_set1_epi8(6));
            if is_digit | is_letter != u64::MAX {
                return None;
            }
            let nibbles = _mm512_mask_add_epi8(digit, is_letter, letter, _mm512_set1_epi8(10));
            // 16 times the first of each pair, and the second.
            let pairs = _mm512_maddubs_epi16(nibbles, _mm512_set1_epi16(0x01_10));
            let mut bytes = [0; BLOCK / 2];
            _mm256_storeu_si256(bytes.as_mut_ptr().cast(), _mm512_cvtepi16_epi8(pairs));
            Some(bytes)
        }
    }
}

/// The proof that the CPU has AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// Asks the CPU.
    #[inline(always)]
    pub(super) fn detect() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("popcnt");
        has_all.then_some(Self(()))
    }
}

/// A block in two registers.
#[derive(Clone, Copy)]
pub(super) struct YmmPair([__m256i; 2]);

/// Runs a step, compiled for AVX2.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,popcnt")]
fn compiled_for_avx2<S: Step>(cpu: Avx2, step: S) -> S::Output {
    step.compute::<YmmPair>(Some(cpu))
}

impl Block for YmmPair {
    type Cpu = Avx2;

    #[inline(always)]
    fn run<S: Step>(cpu: Avx2, step: S) -> S::Output {
        // SAFETY: the CPU has the features that the function is compiled for.
        unsafe { compiled_for_avx2(cpu, step) }
    }

    #[inline(always)]
    fn load(_: Avx2, bytes: &[u8; BLOCK]) -> Self {
        let half: *const __m256i = bytes.as_ptr().cast();
        // SAFETY: the CPU has AVX2; the reference is valid for a read of 64 bytes, two halves of 32, and no alignment is
        // needed.
        Self(unsafe { [_mm256_loadu_si256(half), _mm256_loadu_si256(half.add(1))] })
    }

    #[inline(always)]
    fn fill(self, value: u8) -> Self {
        // SAFETY: a block exists, so the CPU has AVX2.
        Self([unsafe { _mm256_set1_epi8(value as i8) }; 2])
    }

    #[inline(always)]
    fn equal(self, other: Self) -> u64 {
        let ([a, b], [c, d]) = (self.0, other.0);
        // SAFETY: a block exists, so the CPU has AVX2.
        Self(unsafe { [_mm256_cmpeq_epi8(a, c), _mm256_cmpeq_epi8(b, d)] }).high_bits()
    }

    #[inline(always)]
    fn high_bits(self) -> u64 {
        let [a, b] = self.0;
        // SAFETY: a block exists, so the CPU has AVX2.
        let (low, high) = unsafe { (_mm256_movemask_epi8(a), _mm256_movemask_epi8(b)) };
        u64::from(low as u32) | u64::from(high as u32) << 32
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let ([a, b], [c, d]) = (self.0, other.0);
        // SAFETY: a block exists, so the CPU has AVX2.
        Self(unsafe { [_mm256_add_epi8(a, c), _mm256_add_epi8(b, d)] })
    }

    #[inline(always)]
    fn add_saturating(self, other: Self) -> Self {
        let ([a, b], [c, d]) = (self.0, other.0);
        // SAFETY: a block exists, so the CPU has AVX2.
        Self(unsafe { [_mm256_adds_epu8(a, c), _mm256_adds_epu8(b, d)] })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        let ([a, b], [c, d]) = (self.0, other.0);
        // SAFETY: a block exists, so the CPU has AVX2.
        Self(unsafe { [_mm256_min_epu8(a, c), _mm256_min_epu8(b, d)] })
    }

    #[inline(always)]
    fn or_high_bits(self, other: Self) -> Self {
        let ([a, b], [c, d]) = (self.0, other.0);
        // SAFETY: a block exists, so the CPU has AVX2.
        Self(unsafe {
            let high = _mm256_set1_epi8(-128);
            [_mm256_or_si256(a, _mm256_and_si256(c, high)), _mm256_or_si256(b, _mm256_and_si256(d, high))]
        })
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16]) -> Self {
        let [a, b] = self.0;
        // SAFETY: a block exists, so the CPU has AVX2; the reference is valid for a read of 16 bytes, and no alignment is
        // needed.
        Self(unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            [_mm256_shuffle_epi8(table, a), _mm256_shuffle_epi8(table, b)]
        })
    }

    #[inline(always)]
    fn compress(self, mask: u64, out: &mut [u8; BLOCK]) {
        let mut bytes = [0; BLOCK];
        let half: *mut __m256i = bytes.as_mut_ptr().cast();
        let [a, b] = self.0;
        // SAFETY: a block exists, so the CPU has AVX2; `bytes` is valid for a write of 64 bytes, two halves of 32, and no
        // alignment is needed.
        unsafe {
            _mm256_storeu_si256(half, a);
            _mm256_storeu_si256(half.add(1), b);
        }
        let mut count = 0;
        for (bytes, mask) in bytes.as_chunks::<8>().0.iter().zip(mask.to_le_bytes()) {
            // Each group of eight writes eight bytes, and the next one overwrites those behind its ones.
            if let Some(out) = out.get_mut(count..).and_then(|out| out.first_chunk_mut::<8>()) {
                let (bytes, order) = (i64::from_le_bytes(*bytes), ONES[usize::from(mask)]);
                // SAFETY: the CPU has AVX2.
                let front = unsafe { _mm_shuffle_epi8(_mm_cvtsi64_si128(bytes), _mm_cvtsi64_si128(order)) };
                // SAFETY: the CPU has AVX2.
                *out = unsafe { _mm_cvtsi128_si64(front) }.to_le_bytes();
            }
            count += mask.count_ones() as usize;
        }
    }

    #[inline(always)]
    fn hex(self) -> Option<[u8; BLOCK / 2]> {
        let [a, b] = self.0;
        // SAFETY: a block exists, so the CPU has AVX2; `bytes` is valid for a write of 32 bytes, and no alignment is
        // needed.
        unsafe {
            let (low, high) = (hex_pairs(a)?, hex_pairs(b)?);
            // The instruction packs each half of the registers by itself.
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(low, high));
            let mut bytes = [0; BLOCK / 2];
            _mm256_storeu_si256(bytes.as_mut_ptr().cast(), packed);
            Some(bytes)
        }
    }
}

/// The places of the ones of each byte, in order, lowest byte first.
static ONES: [i64; 256] = {
    let mut table = [0; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut bit, mut place) = (0, 0);
        while bit < 8 {
            if mask >> bit & 1 == 1 {
                table[mask] |= bit << (8 * place);
                place += 1;
            }
            bit += 1;
        }
        mask += 1;
    }
    table
};

/// Returns the values of 32 hex digits by pairs, each in 16 bits.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn hex_pairs(digits: __m256i) -> Option<__m256i> {
    // SAFETY: by the caller.
    unsafe {
        let lower = _mm256_or_si256(digits, _mm256_set1_epi8(0x20));
        let digit = _mm256_sub_epi8(digits, _mm256_set1_epi8(b'0' as i8));
        let letter = _mm256_sub_epi8(lower, _mm256_set1_epi8(b'a' as i8));
        let is_digit = _mm256_cmpeq_epi8(_mm256_min_epu8(digit, _mm256_set1_epi8(9)), digit);
        let is_letter = _mm256_cmpeq_epi8(_mm256_min_epu8(letter, _mm256_set1_epi8(5)), letter);
        if _mm256_movemask_epi8(_mm256_or_si256(is_digit, is_letter)) != -1 {
            return None;
        }
        let letter = _mm256_add_epi8(letter, _mm256_set1_epi8(10));
        let nibbles = _mm256_blendv_epi8(digit, letter, is_letter);
        // 16 times the first of each pair, and the second.
        Some(_mm256_maddubs_epi16(nibbles, _mm256_set1_epi16(0x01_10)))
    }
}
