//! Eight points of edwards25519 side by side, and their forms in memory.
//!
//! The formulas are those of `point4`, complete for all points of the curve. A point is kept as (Y + X, Y - X, 2Z, T):
//! these are the values that the next addition needs, so each sum or difference of products is carried only once.

use super::field8::{Fe8, ONE, TWO_P, Wide};
use crate::vector::{Step, Vector, each};

/// 2d, for d = -121665/121666.
const D2: [u64; 5] = [1859910466990425, 932731440258426, 1072319116312658, 1815898335770999, 633789495995903];

/// 4d.
const D4: [u64; 5] =
    [1468021120295602, 1865462880516853, 2144638232625316, 1379996857856750, 1267578991991807];

/// Eight points (Y + X, Y - X, 2Z, T) with x = X/Z, y = Y/Z and xy = T/Z.
#[derive(Clone, Copy)]
pub(super) struct Point8<V> {
    pub(super) yp: Fe8<V>,
    pub(super) ym: Fe8<V>,
    pub(super) z2: Fe8<V>,
    pub(super) t: Fe8<V>,
}

/// Eight affine points as (y + x, y - x, 2d·xy).
#[derive(Clone, Copy)]
pub(super) struct Niels8<V> {
    pub(super) yp: Fe8<V>,
    pub(super) ym: Fe8<V>,
    pub(super) t2d: Fe8<V>,
}

/// Eight points as (2(Y + X), 2(Y - X), 4d·T, 2Z): an operand of an addition.
#[derive(Clone, Copy)]
pub(super) struct Cached8<V> {
    pub(super) yp2: Fe8<V>,
    pub(super) ym2: Fe8<V>,
    pub(super) t4d: Fe8<V>,
    pub(super) z2: Fe8<V>,
}

/// An affine point in memory, in two cache lines: y + x and the limbs 0 to 2 of 2d·xy; y - x and the limbs 3 and 4.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct PackedNiels(pub(super) [[u64; 8]; 2]);

/// A point in memory: the limbs of Y + X, Y - X, 2Z and T, then four zeros.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct PackedPoint([[u64; 8]; 3]);

impl PackedNiels {
    /// (1, 1, 0).
    pub(super) const IDENTITY: Self = Self([[1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]]);
}

impl PackedPoint {
    /// (1, 1, 2, 0).
    pub(super) const IDENTITY: Self =
        Self([[1, 0, 0, 0, 0, 1, 0, 0], [0, 0, 2, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]);
}

impl<V: Vector> Point8<V> {
    /// Returns the identity in all lanes.
    #[inline(always)]
    pub(super) fn identity(cpu: V::Cpu) -> Self {
        let zero = V::load(cpu, &[0; 8]);
        let one = Fe8::fill(zero, &ONE);
        Self { yp: one, ym: one, z2: Fe8::fill(zero, &[2, 0, 0, 0, 0]), t: Fe8::fill(zero, &[0; 5]) }
    }

    /// Returns P + Q for an affine Q. 7M.
    #[inline(always)]
    pub(super) fn add_niels(&self, q: &Niels8<V>) -> Self {
        let a = self.ym.times(&q.ym);
        let b = self.yp.times(&q.yp);
        let c = self.t.times(&q.t2d);
        Self::complete(&a, &b, &c, &self.z2.wide())
    }

    /// Returns P + Q. 8M.
    #[inline(always)]
    pub(super) fn add_cached(&self, cpu: V::Cpu, q: &Cached8<V>) -> Self {
        V::run(cpu, AddCached { p: self, q })
    }

    /// Computes the second half of an addition.
    #[inline(always)]
    fn complete(a: &Wide<V>, b: &Wide<V>, c: &Wide<V>, d: &Wide<V>) -> Self {
        Self::from_factors(b.sub(a).carry(), d.sub(c).carry(), d.add(c).carry(), b.add(a).carry())
    }

    /// Returns the point (E F, G H, F G, E H).
    #[inline(always)]
    fn from_factors(e: Fe8<V>, f: Fe8<V>, g: Fe8<V>, h: Fe8<V>) -> Self {
        let (x, y, z) = (e.times(&f), g.times(&h), f.times(&g));
        Self { yp: y.add(&x).carry(), ym: y.sub(&x).carry(), z2: z.add(&z).carry(), t: e.mul(&h) }
    }

    /// Returns 2P. 5M + 3S.
    #[inline(always)]
    pub(super) fn double(&self, cpu: V::Cpu) -> Self {
        V::run(cpu, Double { p: self })
    }

    /// Returns the form that `add_cached` takes. 1M.
    #[inline(always)]
    pub(super) fn cached(&self) -> Cached8<V> {
        let (yp, ym) = (self.yp.wide(), self.ym.wide());
        Cached8 {
            yp2: yp.add(&yp).carry(),
            ym2: ym.add(&ym).carry(),
            t4d: self.t.mul(&Fe8::fill(self.t.0[0], &D4)),
            z2: self.z2,
        }
    }

    /// Returns canonical x and y, given 1/(2Z).
    #[inline(always)]
    pub(super) fn affine(&self, inverse: &Fe8<V>) -> (Fe8<V>, Fe8<V>) {
        let (yp, ym) = (self.yp.wide(), self.ym.wide());
        (yp.sub(&ym).carry().mul(inverse).canonical(), yp.add(&ym).carry().mul(inverse).canonical())
    }

    /// Returns the lanes of the identity: X = 0 and Y = Z.
    #[inline(always)]
    pub(super) fn identities(&self) -> u8 {
        let (yp, ym) = (self.yp.wide(), self.ym.wide());
        yp.sub(&ym).carry().zeros() & yp.add(&ym).sub(&self.z2.wide()).carry().zeros()
    }

    /// Selects, lane by lane, `other` if the bit of the lane is 1.
    #[inline(always)]
    pub(super) fn select(&self, other: &Self, mask: u8) -> Self {
        Self {
            yp: self.yp.select(&other.yp, mask),
            ym: self.ym.select(&other.ym, mask),
            z2: self.z2.select(&other.z2, mask),
            t: self.t.select(&other.t, mask),
        }
    }

    /// Moves lane i to lane i ^ `DISTANCE`.
    #[inline(always)]
    pub(super) fn swap<const DISTANCE: usize>(&self) -> Self {
        Self {
            yp: self.yp.swap::<DISTANCE>(),
            ym: self.ym.swap::<DISTANCE>(),
            z2: self.z2.swap::<DISTANCE>(),
            t: self.t.swap::<DISTANCE>(),
        }
    }

    /// Loads eight points from memory.
    #[inline(always)]
    pub(super) fn load(cpu: V::Cpu, points: [&PackedPoint; 8]) -> Self {
        let [a0, a1, a2, a3, a4, b0, b1, b2] =
            V::transpose(each!(8, lane => V::load(cpu, &points[lane].0[0])));
        let [b3, b4, c0, c1, c2, c3, c4, d0] =
            V::transpose(each!(8, lane => V::load(cpu, &points[lane].0[1])));
        let [d1, d2, d3, d4, ..] = V::transpose(each!(8, lane => V::load(cpu, &points[lane].0[2])));
        Self {
            yp: Fe8([a0, a1, a2, a3, a4]),
            ym: Fe8([b0, b1, b2, b3, b4]),
            z2: Fe8([c0, c1, c2, c3, c4]),
            t: Fe8([d0, d1, d2, d3, d4]),
        }
    }

    /// Returns the point of one lane in its memory form.
    #[inline(always)]
    pub(super) fn pack(&self, lane: usize) -> PackedPoint {
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (self.yp.0, self.ym.0);
        let ([c0, c1, c2, c3, c4], [d0, d1, d2, d3, d4]) = (self.z2.0, self.t.0);
        let zero = a0.fill(0);
        PackedPoint([
            V::column([a0, a1, a2, a3, a4, b0, b1, b2], lane),
            V::column([b3, b4, c0, c1, c2, c3, c4, d0], lane),
            V::column([d1, d2, d3, d4, zero, zero, zero, zero], lane),
        ])
    }
}

impl<V: Vector> Cached8<V> {
    /// Selects, lane by lane, `other` if the bit of the lane is 1.
    #[inline(always)]
    pub(super) fn select(&self, other: &Self, mask: u8) -> Self {
        Self {
            yp2: self.yp2.select(&other.yp2, mask),
            ym2: self.ym2.select(&other.ym2, mask),
            t4d: self.t4d.select(&other.t4d, mask),
            z2: self.z2.select(&other.z2, mask),
        }
    }

    /// Returns -Q in the lanes whose bit is 1.
    #[inline(always)]
    pub(super) fn negate(&self, mask: u8) -> Self {
        Self {
            yp2: self.yp2.select(&self.ym2, mask),
            ym2: self.ym2.select(&self.yp2, mask),
            t4d: negate_lanes(self.t4d.0, mask),
            z2: self.z2,
        }
    }
}

/// P + Q.
struct AddCached<'a, V> {
    p: &'a Point8<V>,
    q: &'a Cached8<V>,
}

impl<V: Vector> Step for AddCached<'_, V> {
    type Output = Point8<V>;

    #[inline(always)]
    fn compute(self) -> Point8<V> {
        let Self { p, q } = self;
        // All four are twice those of the formula, and so is every coordinate of the sum four times.
        let a = p.ym.times(&q.ym2);
        let b = p.yp.times(&q.yp2);
        let c = p.t.times(&q.t4d);
        let d = p.z2.times(&q.z2);
        Point8::complete(&a, &b, &c, &d)
    }
}

/// 2P.
struct Double<'a, V> {
    p: &'a Point8<V>,
}

impl<V: Vector> Step for Double<'_, V> {
    type Output = Point8<V>;

    #[inline(always)]
    fn compute(self) -> Point8<V> {
        // Twice E = 2XY, G = Y² - X², H = Y² + X² and F = 2Z² - G, from the sum and the difference of Y and X.
        let Point8 { yp, ym, z2, .. } = *self.p;
        let (plus, minus, g) = (yp.squared(), ym.squared(), yp.times(&ym));
        let g = g.add(&g);
        Point8::from_factors(
            plus.sub(&minus).carry(),
            z2.squared().sub(&g).carry(),
            g.carry(),
            plus.add(&minus).carry(),
        )
    }
}

impl<V: Vector> Niels8<V> {
    /// Returns eight affine points with coordinates `x` and `y`.
    #[inline(always)]
    pub(super) fn new(x: &Fe8<V>, y: &Fe8<V>) -> Self {
        Self {
            yp: y.wide().add(&x.wide()).carry(),
            ym: y.wide().sub(&x.wide()).carry(),
            t2d: x.mul(y).mul(&Fe8::fill(x.0[0], &D2)),
        }
    }

    /// Loads eight points from memory; point `i` is negated if bit `i` is 1.
    #[inline(always)]
    pub(super) fn load(cpu: V::Cpu, points: [&PackedNiels; 8], negate: u8) -> Self {
        // -(y + x, y - x, t) is (y - x, y + x, -t): the swap of the first two changes only an address.
        let first = each!(8, lane => usize::from(negate >> lane & 1));
        let [a0, a1, a2, a3, a4, a5, a6, a7] =
            V::transpose(each!(8, lane => V::load(cpu, &points[lane].0[first[lane]])));
        let [b0, b1, b2, b3, b4, b5, b6, b7] =
            V::transpose(each!(8, lane => V::load(cpu, &points[lane].0[1 - first[lane]])));
        let t = [
            a5.select(b5, negate),
            a6.select(b6, negate),
            a7.select(b7, negate),
            b5.select(a5, negate),
            b6.select(a6, negate),
        ];
        Self { yp: Fe8([a0, a1, a2, a3, a4]), ym: Fe8([b0, b1, b2, b3, b4]), t2d: negate_lanes(t, negate) }
    }

    /// Returns the eight points in their memory form.
    #[inline(always)]
    pub(super) fn pack(&self) -> [PackedNiels; 8] {
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (self.yp.0, self.ym.0);
        let [t0, t1, t2, t3, t4] = self.t2d.0;
        let first = V::transpose([a0, a1, a2, a3, a4, t0, t1, t2]);
        let second = V::transpose([b0, b1, b2, b3, b4, t3, t4, t4]);
        each!(8, lane => PackedNiels([first[lane].lanes(), second[lane].lanes()]))
    }
}

/// Returns 2p - t in the lanes whose bit is 1: its limbs fit 52 bits without a carry.
#[inline(always)]
pub(super) fn negate_lanes<V: Vector>(t: [V; 5], negate: u8) -> Fe8<V> {
    Fe8(each!(5, i => t[i].select(t[i].fill(TWO_P[i]).sub(t[i]), negate)))
}
