//! Four points of edwards25519 side by side, and their packed forms in memory.
//!
//! The formulas are those of Hisil, Wong, Carter and Dawson, "Twisted Edwards Curves Revisited" (2008), for a = -1: 3.1
//! for additions, with one operand stored as (y + x, y - x, 2d·t), and 3.3 for doublings. On this curve, -1 is a square
//! and d is not, so they are complete: no pair of points is an exception, including equal and opposite points, the
//! identity, and points of small order.
//!
//! Coordinates of [`Ext4`] are tight and all values between two multiplications are loose, except F in the formulas. F
//! is below 2^28.33 and is always the first operand of `mul` (bounds in `field4`).

use core::arch::x86_64::*;

use super::avx2::{lanes, load_halves};
use super::field4::Fe4;

/// 2d, for d = -121665/121666.
const D2: [u32; 10] =
    [45281625, 27714825, 36363642, 13898781, 229458, 15978800, 54557047, 27058993, 29715967, 9444199];

/// One in radix 2^25.5.
pub(super) const ONE: [u32; 10] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Four points in extended coordinates: x = X/Z, y = Y/Z, xy = T/Z. Tight.
#[derive(Clone, Copy)]
pub(super) struct Ext4 {
    pub(super) x: Fe4,
    pub(super) y: Fe4,
    pub(super) z: Fe4,
    pub(super) t: Fe4,
}

/// Four affine points as (y + x, y - x, 2d·xy). Loose; the high halves of the lanes are unspecified.
pub(super) struct Niels4 {
    yp: Fe4,
    ym: Fe4,
    t2d: Fe4,
}

/// Four points as (Y + X, Y - X, 2d·T, 2Z). Loose.
pub(super) struct Cached4 {
    yp: Fe4,
    ym: Fe4,
    t2d: Fe4,
    z2: Fe4,
}

/// One affine point in memory: 15 pairs of 32-bit limbs. Pairs 0..4 of y + x, of y - x and of 2d·xy, then their
/// fifth pairs. Two cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct PackedNiels(pub(super) [[u64; 2]; 8]);

/// One extended point in memory: pairs 0..4 of X, Y, Z and T, then their fifth pairs.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct PackedExt([[u64; 2]; 10]);

impl Ext4 {
    /// Returns the identity in all lanes.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn identity() -> Self {
        let zero = Fe4([_mm256_setzero_si256(); 10]);
        let one = Fe4::splat(&ONE);
        Self { x: zero, y: one, z: one, t: zero }
    }

    /// Returns P + Q for an affine Q. 7M.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn add_niels(&self, q: &Niels4) -> Self {
        let a = self.y.sub(&self.x).mul(&q.ym);
        let b = self.y.add(&self.x).mul(&q.yp);
        let c = self.t.mul(&q.t2d);
        let d = self.z.add(&self.z);
        Self::complete(&a, &b, &c, &d)
    }

    /// Returns P + Q. 8M.
    #[target_feature(enable = "avx2")]
    pub(super) fn add_cached(&self, q: &Cached4) -> Self {
        let a = self.y.sub(&self.x).mul(&q.ym);
        let b = self.y.add(&self.x).mul(&q.yp);
        let c = self.t.mul(&q.t2d);
        let d = self.z.mul(&q.z2);
        Self::complete(&a, &b, &c, &d)
    }

    /// Computes the second half of an addition. A, B and C are tight and D is at most 2Z.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn complete(a: &Fe4, b: &Fe4, c: &Fe4, d: &Fe4) -> Self {
        let e = b.sub(a);
        let f = d.sub(c); // below 2^27 + 2^27
        let g = d.add(c);
        let h = b.add(a);
        Self { x: f.mul(&e), y: h.mul(&g), z: f.mul(&g), t: h.mul(&e) }
    }

    /// Returns 2P. 5M + 3S.
    #[target_feature(enable = "avx2")]
    pub(super) fn double(&self) -> Self {
        let xx = self.x.square();
        let yy = self.y.square();
        let zz = self.z.square();
        let xy = self.x.mul(&self.y);
        let e = xy.add(&xy);
        let g = yy.sub(&xx);
        let h = yy.add(&xx);
        let f = zz.add(&zz).add(&xx).sub(&yy); // 2Z² - G, below 2^26.59 + 2^27 + 2^27
        Self { x: f.mul(&e), y: h.mul(&g), z: f.mul(&g), t: h.mul(&e) }
    }

    /// Returns the form that `add_cached` takes. 1M.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn cached(&self) -> Cached4 {
        Cached4 {
            yp: self.y.add(&self.x),
            ym: self.y.sub(&self.x),
            t2d: self.t.mul(&Fe4::splat(&D2)),
            z2: self.z.add(&self.z),
        }
    }

    /// Selects, lane by lane, `other` if the mask is all ones.
    #[target_feature(enable = "avx2")]
    pub(super) fn select(&self, other: &Self, mask: __m256i) -> Self {
        Self {
            x: self.x.select(&other.x, mask),
            y: self.y.select(&other.y, mask),
            z: self.z.select(&other.z, mask),
            t: self.t.select(&other.t, mask),
        }
    }

    /// Permutes the lanes in the order given by the immediate of `vpermq`.
    #[target_feature(enable = "avx2")]
    pub(super) fn permute<const ORDER: i32>(&self) -> Self {
        let mut p = *self;
        for coordinate in [&mut p.x, &mut p.y, &mut p.z, &mut p.t] {
            for limb in &mut coordinate.0 {
                *limb = _mm256_permute4x64_epi64::<ORDER>(*limb);
            }
        }
        p
    }

    /// Loads four points from memory.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn load(points: [&PackedExt; 4]) -> Self {
        let rows = points.map(|p| &p.0);
        let [x4, y4, z4, t4] = transpose(rows, 8);
        let clean = |quad: [__m256i; 4], last| {
            let mut f = unpair(quad, last);
            for limb in f.0.iter_mut().step_by(2) {
                *limb = _mm256_and_si256(*limb, _mm256_set1_epi64x(0xffff_ffff));
            }
            f
        };
        Self {
            x: clean(transpose(rows, 0), x4),
            y: clean(transpose(rows, 2), y4),
            z: clean(transpose(rows, 4), z4),
            t: clean(transpose(rows, 6), t4),
        }
    }

    /// Returns the four points in their memory form.
    #[target_feature(enable = "avx2")]
    pub(super) fn pack(&self) -> [PackedExt; 4] {
        let [x, y, z, t] = [&self.x, &self.y, &self.z, &self.t].map(|f| pair(f));
        core::array::from_fn(|l| {
            PackedExt([
                [x[0][l], x[1][l]],
                [x[2][l], x[3][l]],
                [y[0][l], y[1][l]],
                [y[2][l], y[3][l]],
                [z[0][l], z[1][l]],
                [z[2][l], z[3][l]],
                [t[0][l], t[1][l]],
                [t[2][l], t[3][l]],
                [x[4][l], y[4][l]],
                [z[4][l], t[4][l]],
            ])
        })
    }
}

impl Niels4 {
    /// Returns four affine points with coordinates `x` and `y`, both tight.
    #[target_feature(enable = "avx2")]
    pub(super) fn new(x: &Fe4, y: &Fe4) -> Self {
        Self { yp: y.add(x), ym: y.sub(x), t2d: x.mul(y).mul(&Fe4::splat(&D2)) }
    }

    /// Loads four points from memory; point `i` is negated if `negate[i]` is 1 (it is 0 or 1).
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn load(points: [&PackedNiels; 4], negate: [u32; 4]) -> Self {
        let rows = points.map(|p| &p.0);
        let signs = _mm256_sub_epi64(
            _mm256_setzero_si256(),
            _mm256_set_epi64x(
                i64::from(negate[3]),
                i64::from(negate[2]),
                i64::from(negate[1]),
                i64::from(negate[0]),
            ),
        );
        // -(y + x, y - x, t) is (y - x, y + x, -t): the swap of the first two changes only an address.
        let at = negate.map(|n| 2 * n as usize);
        let [yp4, ym4, t4, _] = transpose(rows, 6);
        let yp = unpair(transpose_at(rows, at), _mm256_blendv_epi8(yp4, ym4, signs));
        let ym = unpair(transpose_at(rows, at.map(|a| 2 - a)), _mm256_blendv_epi8(ym4, yp4, signs));
        // 2p - t is !t + (2p + 1), pair by pair: t is tight, so no 32-bit half borrows from the other.
        let [t0, t1, t2, t3] = transpose(rows, 4);
        let bias = |even: i64| {
            let two_p_plus_1 = ((1i64 << 26) - 1) << 32 | (even + 1);
            _mm256_and_si256(signs, _mm256_set1_epi64x(two_p_plus_1))
        };
        let (first, other) = (bias((1 << 27) - 38), bias((1 << 27) - 2));
        let flip = |t: __m256i, bias| _mm256_add_epi32(_mm256_xor_si256(t, signs), bias);
        let t2d =
            unpair([flip(t0, first), flip(t1, other), flip(t2, other), flip(t3, other)], flip(t4, other));
        Self { yp, ym, t2d }
    }

    /// Returns the four points in their memory form.
    #[target_feature(enable = "avx2")]
    pub(super) fn pack(&self) -> [PackedNiels; 4] {
        let [yp, ym, t] = [&self.yp, &self.ym, &self.t2d].map(|f| pair(f));
        core::array::from_fn(|l| {
            PackedNiels([
                [yp[0][l], yp[1][l]],
                [yp[2][l], yp[3][l]],
                [ym[0][l], ym[1][l]],
                [ym[2][l], ym[3][l]],
                [t[0][l], t[1][l]],
                [t[2][l], t[3][l]],
                [yp[4][l], ym[4][l]],
                [t[4][l], 0],
            ])
        })
    }
}

impl PackedNiels {
    /// (1, 1, 0).
    pub(super) const IDENTITY: Self = Self([[1, 0], [0, 0], [1, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0]]);
}

impl PackedExt {
    /// (0, 1, 1, 0).
    pub(super) const IDENTITY: Self =
        Self([[0, 0], [0, 0], [1, 0], [0, 0], [1, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0]]);
}

/// Transposes the words 2·at .. 2·at + 4 of four rows: vector `i` holds word 2·at + i of every row.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose<const N: usize>(rows: [&[[u64; 2]; N]; 4], at: usize) -> [__m256i; 4] {
    transpose_at(rows, [at; 4])
}

/// Like [`transpose`], with an offset for each row.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_at<const N: usize>(rows: [&[[u64; 2]; N]; 4], at: [usize; 4]) -> [__m256i; 4] {
    let halves = |i: usize| {
        let even = load_halves(&rows[0][at[0] + i], &rows[2][at[2] + i]);
        let odd = load_halves(&rows[1][at[1] + i], &rows[3][at[3] + i]);
        (_mm256_unpacklo_epi64(even, odd), _mm256_unpackhi_epi64(even, odd))
    };
    let ((a, b), (c, d)) = (halves(0), halves(1));
    [a, b, c, d]
}

/// Splits pairs into limbs. The even limbs keep the odd ones in the high halves of their lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn unpair(quad: [__m256i; 4], last: __m256i) -> Fe4 {
    let [a, b, c, d] = quad;
    let high = |v| _mm256_srli_epi64::<32>(v);
    Fe4([a, high(a), b, high(b), c, high(c), d, high(d), last, high(last)])
}

/// Joins limbs into pairs, even low and odd high, lane by lane.
#[inline]
#[target_feature(enable = "avx2")]
fn pair(f: &Fe4) -> [[u64; 4]; 5] {
    core::array::from_fn(|i| lanes(_mm256_or_si256(f.0[2 * i], _mm256_slli_epi64::<32>(f.0[2 * i + 1]))))
}
