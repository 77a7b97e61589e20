//! Computes the bounds claimed in `field4` and `point4`: the largest value of every limb is carried through each
//! formula, and every operation asserts the limits of its instructions.
//!
//! Limbs are unsigned and every operation but a subtraction grows with its operands, so the largest inputs give the
//! largest results. The formulas are repeated here; `field_tests` and `tests` show that the vector code computes them.

use super::field4::TWO_P;

/// The largest value of each limb; the smallest is zero.
#[derive(Clone, Copy)]
struct Max([u64; 10]);

const FULL: [u64; 10] = limbs((1 << 26) - 1, (1 << 25) - 1);
/// Constants and canonical elements: full limbs.
const CANONICAL: Max = Max(FULL);
const TIGHT: Max = Max(limbs((1 << 26) + (1 << 15), (1 << 25) + (1 << 14)));
/// 2^27.59 and 2^26.59, rounded down.
const LOOSE: Max = Max(limbs(202_030_798, 101_015_399));
const ONE: Max = Max([1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

const fn limbs(even: u64, odd: u64) -> [u64; 10] {
    [even, odd, even, odd, even, odd, even, odd, even, odd]
}

/// Returns the part of a lane that `vpmuludq` reads.
fn operand(limb: u64) -> u128 {
    assert!(limb < 1 << 32, "{limb} does not fit an operand");
    limb.into()
}

impl Max {
    fn within(self, bound: Max) -> Max {
        assert!(self.0.iter().zip(bound.0).all(|(limb, bound)| *limb <= bound), "{:?}", self.0);
        self
    }

    fn add(self, g: Max) -> Max {
        Max(std::array::from_fn(|i| self.0[i] + g.0[i]))
    }

    fn sub(self, g: Max) -> Max {
        let two_p = TWO_P.map(u64::from);
        // No limb goes below zero.
        g.within(Max(two_p));
        self.add(Max(two_p))
    }

    fn mul(self, g: Max) -> Max {
        self.within(LOOSE.add(LOOSE));
        Self::product(self, g.within(LOOSE), |g, _| operand(19 * g))
    }

    fn square(self) -> Max {
        self.within(LOOSE);
        // 38 times an odd limb is one factor; 19 times a limb and twice the other are two.
        Self::product(self, self, |g, odd| operand(if odd { 38 * g } else { 19 * g }) / (1 + u128::from(odd)))
    }

    fn product(f: Max, g: Max, times_19: impl Fn(u64, bool) -> u128) -> Max {
        let mut columns = [0u128; 10];
        for i in 0..10 {
            for j in 0..10 {
                let both_odd = i % 2 == 1 && j % 2 == 1;
                let f = operand(if both_odd { 2 * f.0[i] } else { f.0[i] });
                let g = if i + j < 10 { operand(g.0[j]) } else { times_19(g.0[j], j % 2 == 1) };
                columns[(i + j) % 10] += f * g;
            }
        }
        Max(columns.map(|column| u64::try_from(column).expect("a column fits 64 bits"))).carry()
    }

    fn carry(self) -> Max {
        let mut h = self.0;
        for _ in 0..2 {
            let c: [u64; 10] = std::array::from_fn(|i| h[i] >> (26 - i % 2));
            let into = |i: usize| if i == 0 { c[9].checked_mul(19).expect("it fits") } else { c[i - 1] };
            h = std::array::from_fn(|i| h[i].min(FULL[i]).checked_add(into(i)).expect("it fits"));
        }
        Max(h).within(TIGHT)
    }
}

#[test]
fn tight_is_below_twice_p() {
    // floor(value / 2^230) is below 2^26 - 1, so the value is below 2^256 - 2^230 < 2p.
    let top = (0..9).fold(0, |carry, i| (TIGHT.0[i] + carry) >> (26 - i % 2)) + TIGHT.0[9];
    assert!(top < (1 << 26) - 1);
    // The input of `canonical`: any limbs below 2^31.
    Max([(1 << 31) - 1; 10]).carry();
}

#[test]
fn products_hold_at_their_bounds() {
    LOOSE.add(LOOSE).mul(LOOSE);
    LOOSE.square();
    TIGHT.add(TIGHT).add(TIGHT).within(LOOSE);
    TIGHT.sub(TIGHT).within(LOOSE);
}

#[test]
fn point_formulas_keep_to_the_bounds() {
    let complete = |a: Max, b: Max, c: Max, d: Max| {
        let (e, f, g, h) = (b.sub(a), d.sub(c), d.add(c), b.add(a));
        for (first, second) in [(f, e), (h, g), (f, g), (h, e)] {
            first.mul(second);
        }
    };
    let (sum, difference) = (TIGHT.add(TIGHT), TIGHT.sub(TIGHT));
    // A negated point: its first two coordinates are swapped, its third is 2p - t.
    let (sum_or_difference, minus) = (Max(limbs(LOOSE.0[0], LOOSE.0[1])), Max([0; 10]).sub(TIGHT));
    sum.within(sum_or_difference);
    difference.within(sum_or_difference);
    for t2d in [TIGHT.mul(TIGHT).mul(CANONICAL), minus] {
        let [a, b, c] = [difference.mul(sum_or_difference), sum.mul(sum_or_difference), TIGHT.mul(t2d)];
        complete(a, b, c, sum); // add_niels
        complete(a, b, c, TIGHT.mul(sum)); // add_cached
    }
    // double
    let square = TIGHT.square();
    let (e, g, h) = (TIGHT.mul(TIGHT).add(TIGHT.mul(TIGHT)), square.sub(square), square.add(square));
    let f = square.add(square).add(square).sub(square);
    for (first, second) in [(f, e), (h, g), (f, g), (h, e)] {
        first.mul(second);
    }
    // A limb in memory has 32 bits.
    for limb in [TIGHT, sum, difference, minus].iter().flat_map(|f| f.0) {
        operand(limb);
    }
}

#[test]
fn decompression_keeps_to_the_bounds() {
    let y = CANONICAL;
    let yy = y.square();
    let (u, v) = (yy.sub(ONE), yy.mul(CANONICAL).add(ONE));
    let v3 = v.square().mul(v);
    v3.square().mul(v).mul(u);
    // A power is a product of tight elements.
    let power = TIGHT.square().mul(TIGHT);
    let x = power.mul(v3).mul(u);
    let vxx = x.square().mul(v);
    vxx.sub(yy).add(ONE).carry();
    vxx.add(yy).sub(ONE).carry();
    x.mul(CANONICAL).carry();
    Max([0; 10]).sub(CANONICAL).carry();
}
