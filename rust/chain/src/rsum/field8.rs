//! Eight field elements of GF(2^255 - 19) side by side, one per lane.
//!
//! Radix 2^51: limb `i` has weight 2^(51 i). There are two forms:
//!
//! * [`Fe8`]: limbs are below 2^51 + 2^16, the value is below 2p, and every limb fits the 52 bits that a product reads.
//! * [`Wide`]: the columns of a product, or the sum or difference of few of them, before the carries. Sums cost one
//!   addition per limb, and one [`Wide::carry`] makes the result an `Fe8`.
//!
//! A product of two limbs is split at bit 52, so its high part counts twice in the next column. A column has up to five
//! low parts below 2^52, twice up to five high parts below 2^51, and 19 times the column that is five above it: it is
//! below 2^60. `interval_tests` computes the bounds of every formula by the code itself.
//!
//! Only the loop counts are variable time, but constant time is not guaranteed: the inputs are public.

use crate::vector::{Step, Vector, each};

/// The bits of a limb.
const LIMB: u64 = (1 << 51) - 1;

/// 1024 p, limb by limb: a subtraction adds it so that no limb goes below zero.
const BIAS: [u64; 5] = [((1 << 51) - 19) << 10, LIMB << 10, LIMB << 10, LIMB << 10, LIMB << 10];

/// 2p, limb by limb.
pub(super) const TWO_P: [u64; 5] = [2 * (LIMB - 18), 2 * LIMB, 2 * LIMB, 2 * LIMB, 2 * LIMB];

/// One.
pub(super) const ONE: [u64; 5] = [1, 0, 0, 0, 0];

/// Eight field elements; vector `i` holds limb `i` of all eight.
#[derive(Clone, Copy)]
pub(super) struct Fe8<V>(pub(super) [V; 5]);

/// Eight field elements before the carries.
#[derive(Clone, Copy)]
pub(super) struct Wide<V>(pub(super) [V; 5]);

impl<V: Vector> Fe8<V> {
    /// Copies one element to all lanes. `any` is the proof that the CPU has the instructions.
    #[inline(always)]
    pub(super) fn fill(any: V, limbs: &[u64; 5]) -> Self {
        Self(each!(5, i => any.fill(limbs[i])))
    }

    /// Reads eight canonical encodings of 255 bits (bit 255 is ignored).
    #[inline(always)]
    pub(super) fn from_bytes(cpu: V::Cpu, bytes: [&[u8; 32]; 8]) -> Self {
        let limbs = each!(8, lane => unpack_limbs(bytes[lane]));
        Self(each!(5, i => V::load(cpu, &each!(8, lane => limbs[lane][i]))))
    }

    /// Returns the element as columns.
    #[inline(always)]
    pub(super) fn wide(&self) -> Wide<V> {
        Wide(self.0)
    }

    /// Selects, lane by lane, `other` if the bit of the lane is 1.
    #[inline(always)]
    pub(super) fn select(&self, other: &Self, mask: u8) -> Self {
        Self(each!(5, i => self.0[i].select(other.0[i], mask)))
    }

    /// Moves lane i to lane i ^ `DISTANCE`.
    #[inline(always)]
    pub(super) fn swap<const DISTANCE: usize>(&self) -> Self {
        Self(each!(5, i => self.0[i].swap::<DISTANCE>()))
    }

    /// Returns the columns of f · g.
    #[inline(always)]
    pub(super) fn times(&self, g: &Self) -> Wide<V> {
        let zero = self.0[0].fill(0);
        let (mut low, mut high) = ([zero; 9], [zero; 9]);
        for (i, &f) in self.0.iter().enumerate() {
            for (j, &g) in g.0.iter().enumerate() {
                low[i + j] = low[i + j].add_low(f, g);
                high[i + j] = high[i + j].add_high(f, g);
            }
        }
        Wide::fold(low, high)
    }

    /// Returns the columns of f².
    #[inline(always)]
    pub(super) fn squared(&self) -> Wide<V> {
        let zero = self.0[0].fill(0);
        let (mut low, mut high) = ([zero; 9], [zero; 9]);
        for i in 0..5 {
            for j in i + 1..5 {
                low[i + j] = low[i + j].add_low(self.0[i], self.0[j]);
                high[i + j] = high[i + j].add_high(self.0[i], self.0[j]);
            }
        }
        // A limb of 52 bits cannot be doubled before the product.
        for column in 1..8 {
            low[column] = low[column].add(low[column]);
            high[column] = high[column].add(high[column]);
        }
        for (i, &f) in self.0.iter().enumerate() {
            low[2 * i] = low[2 * i].add_low(f, f);
            high[2 * i] = high[2 * i].add_high(f, f);
        }
        Wide::fold(low, high)
    }

    /// Returns f · g.
    #[inline(always)]
    pub(super) fn mul(&self, g: &Self) -> Self {
        self.times(g).carry()
    }

    /// Returns f².
    #[inline(always)]
    pub(super) fn square(&self) -> Self {
        self.squared().carry()
    }

    /// Returns f^(2^k).
    #[inline(always)]
    fn square_times(&self, cpu: V::Cpu, k: u32) -> Self {
        V::run(cpu, SquareTimes { f: *self, k })
    }

    /// Returns the unique representative below p, with limbs of 51 bits.
    #[inline(always)]
    pub(super) fn canonical(&self) -> Self {
        let limb = self.0[0].fill(LIMB);
        // f < 2p, so f >= p exactly when f + 19 reaches bit 255; q is that bit.
        let mut q = self.0[0].fill(19);
        for h in self.0 {
            q = h.add(q).shr::<51>();
        }
        // f - q p = f + 19 q - 2^255 q: add 19 q and drop bit 255.
        let mut carry = q.times_19();
        let mut canonical = self.0;
        for h in &mut canonical {
            let sum = h.add(carry);
            carry = sum.shr::<51>();
            *h = sum.and(limb);
        }
        Self(canonical)
    }

    /// Returns the lanes in which the element is zero mod p.
    #[inline(always)]
    pub(super) fn zeros(&self) -> u8 {
        let [a, b, c, d, e] = self.canonical().0;
        a.add(b).add(c).add(d.add(e)).zeros()
    }

    /// Returns f^((p-5)/8) = f^(2^252 - 3).
    #[inline(always)]
    pub(super) fn pow_p58(&self, cpu: V::Cpu) -> Self {
        let (t250, _) = self.pow_2_250(cpu);
        t250.square_times(cpu, 2).mul(self)
    }

    /// Returns 1/f = f^(p-2) = f^(2^255 - 21), and 0 for 0.
    #[inline(always)]
    pub(super) fn invert(&self, cpu: V::Cpu) -> Self {
        let (t250, t11) = self.pow_2_250(cpu);
        t250.square_times(cpu, 5).mul(&t11)
    }

    /// Returns f^(2^250 - 1) and f^11: the addition chain of Bernstein, "Curve25519" (2006).
    #[inline(always)]
    fn pow_2_250(&self, cpu: V::Cpu) -> (Self, Self) {
        let t2 = self.square();
        let t9 = t2.square_times(cpu, 2).mul(self);
        let t11 = t9.mul(&t2);
        let t5 = t11.square().mul(&t9); // 2^5 - 1
        let t10 = t5.square_times(cpu, 5).mul(&t5);
        let t20 = t10.square_times(cpu, 10).mul(&t10);
        let t40 = t20.square_times(cpu, 20).mul(&t20);
        let t50 = t40.square_times(cpu, 10).mul(&t10);
        let t100 = t50.square_times(cpu, 50).mul(&t50);
        let t200 = t100.square_times(cpu, 100).mul(&t100);
        (t200.square_times(cpu, 50).mul(&t50), t11)
    }
}

impl<V: Vector> Wide<V> {
    /// Adds the parts of the products, each column with its high parts from the column below and 19 times the column
    /// that is five above.
    #[inline(always)]
    fn fold(low: [V; 9], high: [V; 9]) -> Self {
        let mut columns = [low[0]; 10];
        for k in 0..9 {
            let twice = high[k].add(high[k]);
            columns[k + 1] = if k < 8 { low[k + 1].add(twice) } else { twice };
        }
        Self(each!(5, k => columns[k].add(columns[k + 5].times_19())))
    }

    /// Returns f + g.
    #[inline(always)]
    pub(super) fn add(&self, g: &Self) -> Self {
        Self(each!(5, i => self.0[i].add(g.0[i])))
    }

    /// Returns f - g + 1024 p.
    #[inline(always)]
    pub(super) fn sub(&self, g: &Self) -> Self {
        Self(each!(5, i => self.0[i].add(self.0[i].fill(BIAS[i])).sub(g.0[i])))
    }

    /// Carries each limb once: columns below 2^62 become limbs below 2^51 + 2^16.
    #[inline(always)]
    pub(super) fn carry(&self) -> Fe8<V> {
        let h = self.0;
        let limb = h[0].fill(LIMB);
        let carry = each!(5, i => h[i].shr::<51>());
        let h = each!(5, i => h[i].and(limb));
        Fe8([
            h[0].add_low(carry[4], limb.fill(19)),
            h[1].add(carry[0]),
            h[2].add(carry[1]),
            h[3].add(carry[2]),
            h[4].add(carry[3]),
        ])
    }
}

/// f^(2^k).
struct SquareTimes<V> {
    f: Fe8<V>,
    k: u32,
}

impl<V: Vector> Step for SquareTimes<V> {
    type Output = Fe8<V>;

    #[inline(always)]
    fn compute(self) -> Fe8<V> {
        let mut f = self.f;
        for _ in 0..self.k {
            f = f.square();
        }
        f
    }
}

/// Returns the five limbs of one little-endian encoding, without bit 255.
#[inline(always)]
fn unpack_limbs(bytes: &[u8; 32]) -> [u64; 5] {
    let (words, _) = bytes.as_chunks::<8>();
    let (a, b) = (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]));
    let (c, d) = (u64::from_le_bytes(words[2]), u64::from_le_bytes(words[3]));
    let limbs = [a, a >> 51 | b << 13, b >> 38 | c << 26, c >> 25 | d << 39, d >> 12];
    each!(5, i => limbs[i] & LIMB)
}
