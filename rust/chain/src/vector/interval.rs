//! Intervals in place of lanes: the code under test carries the bounds of its values through its own formulas, and
//! every operation asserts the limits of its instruction.

use super::{Register, Step, Vector};

/// The smallest and the largest value of a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Interval {
    /// Returns all values up to `max`.
    pub(crate) fn up_to(max: u64) -> Self {
        Self { min: 0, max }
    }

    fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Returns the product of the largest values, which must fit the 52 bits that a product reads.
    fn product(a: Self, b: Self) -> u128 {
        assert!(a.max >> 52 == 0 && b.max >> 52 == 0, "{a:?} and {b:?} do not fit a product");
        u128::from(a.max) * u128::from(b.max)
    }
}

impl Register for Interval {
    type Cpu = ();

    fn run<S: Step>((): (), step: S) -> S::Output {
        step.compute()
    }
}

impl Vector for Interval {
    fn load((): (), lanes: &[u64; 8]) -> Self {
        lanes.iter().fold(Self { min: lanes[0], max: lanes[0] }, |all, &lane| {
            all.union(Self { min: lane, max: lane })
        })
    }

    fn fill(self, value: u64) -> Self {
        Self { min: value, max: value }
    }

    fn lanes(self) -> [u64; 8] {
        panic!("an interval has no lanes")
    }

    fn add(self, other: Self) -> Self {
        Self {
            min: self.min.checked_add(other.min).expect("the sum fits 64 bits"),
            max: self.max.checked_add(other.max).expect("the sum fits 64 bits"),
        }
    }

    fn sub(self, other: Self) -> Self {
        Self {
            min: self.min.checked_sub(other.max).expect("no lane goes below zero"),
            max: self.max.checked_sub(other.min).expect("no lane goes below zero"),
        }
    }

    fn and(self, other: Self) -> Self {
        Self::up_to(self.max.min(other.max))
    }

    fn shr<const BITS: u32>(self) -> Self {
        Self { min: self.min >> BITS, max: self.max >> BITS }
    }

    fn times_19(self) -> Self {
        let times = |value: u64| value.checked_mul(19).expect("the product fits 64 bits");
        Self { min: times(self.min), max: times(self.max) }
    }

    fn add_low(self, a: Self, b: Self) -> Self {
        let low = Self::product(a, b).min((1 << 52) - 1) as u64;
        self.add(Self::up_to(low))
    }

    fn add_high(self, a: Self, b: Self) -> Self {
        let high = (Self::product(a, b) >> 52) as u64;
        self.add(Self::up_to(high))
    }

    fn zeros(self) -> u8 {
        0b0101_0101
    }

    fn select(self, other: Self, _: u8) -> Self {
        self.union(other)
    }

    fn swap<const DISTANCE: usize>(self) -> Self {
        self
    }

    fn transpose(_: [Self; 8]) -> [Self; 8] {
        panic!("an interval has no lanes")
    }

    fn column(_: [Self; 8], _: usize) -> [u64; 8] {
        panic!("an interval has no lanes")
    }

    fn prefetch((): (), _: &[[u64; 8]; 2]) {}
}
