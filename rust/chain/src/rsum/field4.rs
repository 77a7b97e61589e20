//! Four field elements of GF(2^255 - 19) side by side, one per 64-bit lane of AVX2 vectors.
//!
//! Radix 2^25.5: limb `i` has weight 2^ceil(25.5 i), so even limbs hold 26 bits and odd limbs 25. Limbs are unsigned.
//! There are two ranges, and each function states the ranges of its operands and result:
//!
//! * *tight*: even limbs < 2^26 + 2^15, odd limbs < 2^25 + 2^14 (the last carry is not propagated); the value is below
//!   2p. [`Fe4::carry`], `mul` and `square` return tight elements.
//! * *loose*: even limbs < 2^27.59, odd limbs < 2^26.59: a sum of up to three tight elements, or a difference of two.
//!
//! `mul(f, g)` takes `g` loose and `f` up to twice as large (even limbs < 2^28.59, odd < 2^27.59):
//!
//! * The 32-bit operands of `vpmuludq` fit: 19 g < 2^31.84, and the doubled odd limbs of f are < 2^28.59.
//! * A column is at most (1 + 19·4 + 38·5/4) = 124.5 even-limb products, because odd limbs are half as large. It is
//!   below 124.5 · 2^(28.59 + 27.59) < 2^63.15, and the carries added to it do not reach 2^64.
//!
//! `bounds_tests` computes these bounds, and those of every formula built on them.
//!
//! `mul` reads only the low 32 bits of each lane of its operands. Only the loop counts are variable time, but constant
//! time is not guaranteed: the inputs are public.

use core::arch::x86_64::*;

use super::avx2::pin;

/// Bits of an even limb.
const EVEN: u64 = (1 << 26) - 1;
/// Bits of an odd limb.
const ODD: u64 = (1 << 25) - 1;

/// 2p, limb by limb: a subtraction adds it so that no limb goes below zero.
pub(super) const TWO_P: [u32; 10] = [
    (1 << 27) - 38,
    (1 << 26) - 2,
    (1 << 27) - 2,
    (1 << 26) - 2,
    (1 << 27) - 2,
    (1 << 26) - 2,
    (1 << 27) - 2,
    (1 << 26) - 2,
    (1 << 27) - 2,
    (1 << 26) - 2,
];

/// Four field elements; vector `i` holds limb `i` of all four.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Fe4(pub(super) [__m256i; 10]);

/// Sums 32 x 32 -> 64 bit products of the named vectors.
macro_rules! dot {
    ($a:ident $b:ident $(, $c:ident $d:ident)*) => {{
        let sum = _mm256_mul_epu32($a, $b);
        $(let sum = _mm256_add_epi64(sum, _mm256_mul_epu32($c, $d));)*
        sum
    }};
}

/// f². A macro, so that the compiler inlines it in the loop of `square_times`: a call would copy 320 bytes per step.
macro_rules! square {
    ($f:expr) => {{
        let [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9] = $f.0;
        let [d0, d1, d2, d3, d4, d5, d6, d7] =
            [f0, f1, f2, f3, f4, f5, f6, f7].map(|f| _mm256_add_epi64(f, f));
        // An odd limb is below 2^26.59, so 38 times it still fits 32 bits.
        let [w6, w8] = [f6, f8].map(|f| _mm256_mullo_epi32(f, _mm256_set1_epi32(19)));
        let [w5, w7, w9] = [f5, f7, f9].map(|f| _mm256_mullo_epi32(f, _mm256_set1_epi32(38)));
        let h0 = dot!(f0 f0, d1 w9, d2 w8, d3 w7, d4 w6, f5 w5);
        let h1 = dot!(d0 f1, f2 w9, d3 w8, f4 w7, d5 w6);
        let h2 = dot!(d0 f2, d1 f1, d3 w9, d4 w8, d5 w7, f6 w6);
        let h3 = dot!(d0 f3, d1 f2, f4 w9, d5 w8, f6 w7);
        let h4 = dot!(d0 f4, d1 d3, f2 f2, d5 w9, d6 w8, f7 w7);
        let h5 = dot!(d0 f5, d1 f4, d2 f3, f6 w9, d7 w8);
        let h6 = dot!(d0 f6, d1 d5, d2 f4, d3 f3, d7 w9, f8 w8);
        let h7 = dot!(d0 f7, d1 f6, d2 f5, d3 f4, f8 w9);
        let h8 = dot!(d0 f8, d1 d7, d2 f6, d3 d5, f4 f4, f9 w9);
        let h9 = dot!(d0 f9, d1 f8, d2 f7, d3 f6, d4 f5);
        Self([h0, h1, h2, h3, h4, h5, h6, h7, h8, h9]).carry()
    }};
}

impl Fe4 {
    /// Copies one element to all four lanes.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn splat(limbs: &[u32; 10]) -> Self {
        Self(core::array::from_fn(|i| _mm256_set1_epi64x(i64::from(limbs[i]))))
    }

    /// Reads four canonical encodings of 255 bits (bit 255 is ignored). Tight.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn from_bytes(bytes: [&[u8; 32]; 4]) -> Self {
        let limbs = bytes.map(unpack_limbs);
        Self(core::array::from_fn(|i| _mm256_set_epi64x(limbs[3][i], limbs[2][i], limbs[1][i], limbs[0][i])))
    }

    /// Returns f + g, limb by limb: tight + tight is loose.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn add(&self, g: &Self) -> Self {
        let mut h = *self;
        for (h, &g) in h.0.iter_mut().zip(&g.0) {
            *h = _mm256_add_epi64(*h, g);
        }
        h
    }

    /// Returns f - g + 2p, limb by limb: `g` must be tight; tight - tight is loose.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn sub(&self, g: &Self) -> Self {
        let mut h = *self;
        for ((h, &g), bias) in h.0.iter_mut().zip(&g.0).zip(TWO_P) {
            *h = _mm256_sub_epi64(_mm256_add_epi64(*h, _mm256_set1_epi64x(i64::from(bias))), g);
        }
        h
    }

    /// Returns 2p - f for a tight `f`.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn neg(&self) -> Self {
        Self::splat(&TWO_P).sub_limbs(self)
    }

    /// Returns f - g without a bias: every limb of `g` must be at most that of `f`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sub_limbs(&self, g: &Self) -> Self {
        let mut h = *self;
        for (h, &g) in h.0.iter_mut().zip(&g.0) {
            *h = _mm256_sub_epi64(*h, g);
        }
        h
    }

    /// Selects, lane by lane, `other` if the mask is all ones and `self` if it is zero.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn select(&self, other: &Self, mask: __m256i) -> Self {
        let mut h = *self;
        for (h, &o) in h.0.iter_mut().zip(&other.0) {
            *h = _mm256_blendv_epi8(*h, o, mask);
        }
        h
    }

    /// Returns f · g. `f` up to twice loose, `g` loose; tight.
    #[inline(never)]
    #[target_feature(enable = "avx2")]
    pub(super) fn mul(&self, g: &Self) -> Self {
        let [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9] = self.0;
        let [g0, g1, g2, g3, g4, g5, g6, g7, g8, g9] = g.0;
        let [d1, d3, d5, d7, d9] = [f1, f3, f5, f7, f9].map(|f| _mm256_add_epi64(f, f));
        // `mullo`, because the compiler has no reason to widen it. With `mul_epu32`, it drops the zero extension if
        // only the low half of the product is used, and then multiplies 64 by 64 bits.
        let n = _mm256_set1_epi32(19);
        let [w1, w2, w3, w4, w5, w6, w7, w8, w9] =
            [g1, g2, g3, g4, g5, g6, g7, g8, g9].map(|g| _mm256_mullo_epi32(g, n));
        let zero = _mm256_setzero_si256();
        let [mut h0, mut h1, mut h2, mut h3, mut h4, mut h5, mut h6, mut h7, mut h8, mut h9] = [zero; 10];
        macro_rules! row {
            ($f:ident $d:ident, $($h:ident $g:ident $k:ident $l:ident),*) => {
                $($h = _mm256_add_epi64($h, _mm256_mul_epu32($f, $g));
                $k = _mm256_add_epi64($k, _mm256_mul_epu32($d, $l));)*
                [h0, h1, h2, h3, h4, h5, h6, h7, h8, h9] = pin([h0, h1, h2, h3, h4, h5, h6, h7, h8, h9]);
            };
        }
        row!(f0 f0, h0 g0 h1 g1, h2 g2 h3 g3, h4 g4 h5 g5, h6 g6 h7 g7, h8 g8 h9 g9);
        row!(f1 d1, h1 g0 h2 g1, h3 g2 h4 g3, h5 g4 h6 g5, h7 g6 h8 g7, h9 g8 h0 w9);
        row!(f2 f2, h2 g0 h3 g1, h4 g2 h5 g3, h6 g4 h7 g5, h8 g6 h9 g7, h0 w8 h1 w9);
        row!(f3 d3, h3 g0 h4 g1, h5 g2 h6 g3, h7 g4 h8 g5, h9 g6 h0 w7, h1 w8 h2 w9);
        row!(f4 f4, h4 g0 h5 g1, h6 g2 h7 g3, h8 g4 h9 g5, h0 w6 h1 w7, h2 w8 h3 w9);
        row!(f5 d5, h5 g0 h6 g1, h7 g2 h8 g3, h9 g4 h0 w5, h1 w6 h2 w7, h3 w8 h4 w9);
        row!(f6 f6, h6 g0 h7 g1, h8 g2 h9 g3, h0 w4 h1 w5, h2 w6 h3 w7, h4 w8 h5 w9);
        row!(f7 d7, h7 g0 h8 g1, h9 g2 h0 w3, h1 w4 h2 w5, h3 w6 h4 w7, h5 w8 h6 w9);
        row!(f8 f8, h8 g0 h9 g1, h0 w2 h1 w3, h2 w4 h3 w5, h4 w6 h5 w7, h6 w8 h7 w9);
        row!(f9 d9, h9 g0 h0 w1, h1 w2 h2 w3, h3 w4 h4 w5, h5 w6 h6 w7, h7 w8 h8 w9);
        Self([h0, h1, h2, h3, h4, h5, h6, h7, h8, h9]).carry()
    }

    /// Returns f². `f` loose; tight.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn square(&self) -> Self {
        square!(self)
    }

    /// Returns f^(2^k), `k` at least 1. `f` loose; tight.
    #[inline(never)]
    #[target_feature(enable = "avx2")]
    pub(super) fn square_times(&self, k: u32) -> Self {
        let mut h = *self;
        for _ in 0..k {
            h = square!(h);
        }
        h
    }

    /// Reduces the columns of a product, or any limbs below 2^31, to tight limbs. The value is unchanged mod p.
    ///
    /// All carries move up one limb at once, twice. Column 9 has no term times 19: in a product it is below 2^58.6, so
    /// 19 times the first carry out of it is below 2^37.8, and the second carry into limb 1 is below 2^12.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn carry(&self) -> Self {
        let even = _mm256_set1_epi64x(EVEN as i64);
        let odd = _mm256_set1_epi64x(ODD as i64);
        let mut h = self.0;
        for _ in 0..2 {
            let c = [
                _mm256_srli_epi64::<26>(h[0]),
                _mm256_srli_epi64::<25>(h[1]),
                _mm256_srli_epi64::<26>(h[2]),
                _mm256_srli_epi64::<25>(h[3]),
                _mm256_srli_epi64::<26>(h[4]),
                _mm256_srli_epi64::<25>(h[5]),
                _mm256_srli_epi64::<26>(h[6]),
                _mm256_srli_epi64::<25>(h[7]),
                _mm256_srli_epi64::<26>(h[8]),
                _mm256_srli_epi64::<25>(h[9]),
            ];
            let c18 = _mm256_add_epi64(_mm256_slli_epi64::<1>(c[9]), _mm256_slli_epi64::<4>(c[9]));
            h[0] = _mm256_add_epi64(_mm256_and_si256(h[0], even), _mm256_add_epi64(c[9], c18));
            for i in 1..10 {
                let mask = if i % 2 == 0 { even } else { odd };
                h[i] = _mm256_add_epi64(_mm256_and_si256(h[i], mask), c[i - 1]);
            }
        }
        Self(h)
    }

    /// Returns the unique representative below p, in full 26 and 25 bit limbs. Limbs of `f` below 2^31.
    #[target_feature(enable = "avx2")]
    pub(super) fn canonical(&self) -> Self {
        let mut h = self.carry().0;
        // f < 2p, so f >= p exactly when f + 19 reaches bit 255; q is that bit.
        let mut q = _mm256_set1_epi64x(19);
        for (i, &limb) in h.iter().enumerate() {
            let t = _mm256_add_epi64(limb, q);
            q = if i % 2 == 0 { _mm256_srli_epi64::<26>(t) } else { _mm256_srli_epi64::<25>(t) };
        }
        // f - q p = f + 19 q - 2^255 q: add 19 q and drop bit 255.
        let mut c = _mm256_mul_epu32(q, _mm256_set1_epi64x(19));
        for (i, limb) in h.iter_mut().enumerate() {
            let t = _mm256_add_epi64(*limb, c);
            if i % 2 == 0 {
                c = _mm256_srli_epi64::<26>(t);
                *limb = _mm256_and_si256(t, _mm256_set1_epi64x(EVEN as i64));
            } else {
                c = _mm256_srli_epi64::<25>(t);
                *limb = _mm256_and_si256(t, _mm256_set1_epi64x(ODD as i64));
            }
        }
        Self(h)
    }

    /// Returns all ones in the lanes in which `f`, with limbs below 2^31, is zero mod p.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn is_zero(&self) -> __m256i {
        let h = self.canonical().0;
        let any = h.iter().skip(1).fold(h[0], |any, &limb| _mm256_or_si256(any, limb));
        _mm256_cmpeq_epi64(any, _mm256_setzero_si256())
    }

    /// Returns f^((p-5)/8) = f^(2^252 - 3). `f` tight; tight.
    #[target_feature(enable = "avx2")]
    pub(super) fn pow_p58(&self) -> Self {
        let (t250, _) = self.pow_2_250();
        t250.square_times(2).mul(self)
    }

    /// Returns 1/f = f^(p-2) = f^(2^255 - 21), and 0 for 0. `f` tight; tight.
    #[target_feature(enable = "avx2")]
    pub(super) fn invert(&self) -> Self {
        let (t250, t11) = self.pow_2_250();
        t250.square_times(5).mul(&t11)
    }

    /// Returns f^(2^250 - 1) and f^11: the addition chain of Bernstein, "Curve25519" (2006).
    #[target_feature(enable = "avx2")]
    fn pow_2_250(&self) -> (Self, Self) {
        let t2 = self.square();
        let t9 = t2.square_times(2).mul(self);
        let t11 = t9.mul(&t2);
        let t5 = t11.square().mul(&t9); // 2^5 - 1
        let t10 = t5.square_times(5).mul(&t5);
        let t20 = t10.square_times(10).mul(&t10);
        let t40 = t20.square_times(20).mul(&t20);
        let t50 = t40.square_times(10).mul(&t10);
        let t100 = t50.square_times(50).mul(&t50);
        let t200 = t100.square_times(100).mul(&t100);
        (t200.square_times(50).mul(&t50), t11)
    }
}

/// Returns the ten limbs of one little-endian encoding, without bit 255.
#[inline]
fn unpack_limbs(bytes: &[u8; 32]) -> [i64; 10] {
    let (words, _) = bytes.as_chunks::<8>();
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| u64::from_le_bytes(words[i]));
    // Limb i starts at bit ceil(25.5 i).
    [
        a & EVEN,
        (a >> 26) & ODD,
        (a >> 51 | b << 13) & EVEN,
        (b >> 13) & ODD,
        b >> 38,
        c & ODD,
        (c >> 25) & EVEN,
        (c >> 51 | d << 13) & ODD,
        (d >> 12) & EVEN,
        (d >> 38) & ODD,
    ]
    .map(|limb| limb as i64)
}
