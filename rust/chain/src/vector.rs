//! Lanes of 32 and 64 bits, with the operations that batches of signatures and hashes need.
//!
//! The code above these traits is written once. [`ifma`] has the instructions of AVX-512 and [`avx2`] those of AVX2.
//! Models compute the same results in plain Rust on any CPU, and the tests carry the bounds of the lanes through the same
//! code.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod ifma;
#[cfg(test)]
pub(crate) mod interval;
#[cfg(test)]
mod lane_tests;
#[cfg(test)]
pub(crate) mod plain_lanes;
#[cfg(test)]
mod tests;

/// The instructions that a computation may use, from the fewest to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Instructions {
    /// Those of every CPU, and those that the libraries choose.
    Plain,
    /// Also AVX2.
    Avx2,
    /// Also AVX-512 F, DQ and IFMA.
    Avx512,
}

/// The highest level of instructions that is used, for tests and benchmarks.
static HIGHEST: AtomicU8 = AtomicU8::new(Instructions::Avx512 as u8);

impl Instructions {
    /// Uses at most these from now on, in the whole process.
    pub fn limit(self) {
        HIGHEST.store(self as u8, Relaxed);
    }

    /// Returns true if the limit allows these. The CPU may lack them.
    #[cfg(target_arch = "x86_64")]
    fn may_be_used(self) -> bool {
        self as u8 <= HIGHEST.load(Relaxed)
    }
}

/// A register. A value of a type that needs instructions exists only if the CPU has them, so the methods are safe.
pub(crate) trait Register: Copy {
    /// The proof that the CPU has the instructions.
    type Cpu: Copy;

    /// Runs a step as a function of its own, compiled for the instructions.
    fn run<S: Step>(cpu: Self::Cpu, step: S) -> S::Output;
}

/// `N` lanes of 32 bits, 8 or 16.
pub(crate) trait Words<const N: usize>: Register {
    /// Loads all lanes, lane 0 first.
    fn load(cpu: Self::Cpu, lanes: &[u32; N]) -> Self;

    /// Like [`Words::load`], from little-endian bytes.
    fn load_bytes(cpu: Self::Cpu, lanes: &[[u8; 4]; N]) -> Self;

    /// Returns the lanes, lane 0 first.
    fn lanes(self) -> [u32; N];

    /// Returns the sum, mod 2^32.
    fn add(self, other: Self) -> Self;

    /// Returns the exclusive or.
    fn xor(self, other: Self) -> Self;

    /// Rotates each lane to the right by `BITS`.
    fn rotate<const BITS: i32>(self) -> Self;

    /// Returns vectors of which vector `i` has lane `i` of every row.
    fn transpose(rows: [Self; N]) -> [Self; N];
}

/// `N` lanes of 64 bits, 4 or 8.
pub(crate) trait Longs<const N: usize>: Register {
    /// Loads all lanes, lane 0 first.
    fn load(cpu: Self::Cpu, lanes: &[u64; N]) -> Self;

    /// Returns the lanes, lane 0 first.
    fn lanes(self) -> [u64; N];

    /// Returns the sum, mod 2^64.
    fn add(self, other: Self) -> Self;

    /// Shifts each lane to the right by `BITS`.
    fn shift<const BITS: i32>(self) -> Self;

    /// Rotates each lane to the right by `BITS`.
    fn rotate<const BITS: i32>(self) -> Self;

    /// Returns the exclusive or of three vectors.
    fn xor(self, b: Self, c: Self) -> Self;

    /// Returns the bits of `b` at ones and those of `c` at zeros.
    fn choose(self, b: Self, c: Self) -> Self;

    /// Returns the bits that at least two of three vectors have.
    fn majority(self, b: Self, c: Self) -> Self;

    /// Returns vectors of which vector `i` has lane `i` of every row.
    fn transpose(rows: [Self; N]) -> [Self; N];
}

/// Eight lanes of 64 bits, with products.
pub(crate) trait Vector: Register {
    /// Loads eight lanes, lane 0 first.
    fn load(cpu: Self::Cpu, lanes: &[u64; 8]) -> Self;

    /// Copies a value to all lanes. Another vector is the proof.
    fn fill(self, value: u64) -> Self;

    /// Returns the lanes, lane 0 first.
    fn lanes(self) -> [u64; 8];

    /// Returns the sum, mod 2^64.
    fn add(self, other: Self) -> Self;

    /// Returns the difference, mod 2^64.
    fn sub(self, other: Self) -> Self;

    /// Returns the bits that both have.
    fn and(self, other: Self) -> Self;

    /// Shifts each lane to the right by `BITS`.
    fn shr<const BITS: u32>(self) -> Self;

    /// Returns 19 times each lane, mod 2^64.
    fn times_19(self) -> Self;

    /// Adds the low 52 bits of the product of the low 52 bits of each factor.
    fn add_low(self, a: Self, b: Self) -> Self;

    /// Adds the high 52 bits of the product of the low 52 bits of each factor.
    fn add_high(self, a: Self, b: Self) -> Self;

    /// Returns a bit for each lane, 1 if the lane is zero; bit 0 is lane 0.
    fn zeros(self) -> u8;

    /// Selects, lane by lane, `other` if the bit of the lane is 1.
    fn select(self, other: Self, mask: u8) -> Self;

    /// Moves lane i to lane i ^ `DISTANCE`, for a distance of 1, 2 or 4.
    fn swap<const DISTANCE: usize>(self) -> Self;

    /// Returns vectors of which vector `i` has lane `i` of every row.
    fn transpose(rows: [Self; 8]) -> [Self; 8];

    /// Returns one lane of each row.
    fn column(rows: [Self; 8], lane: usize) -> [u64; 8];

    /// Fetches the two cache lines of a value into the cache.
    fn prefetch(cpu: Self::Cpu, value: &[[u64; 8]; 2]);
}

/// A part of the computation that is compiled as a function of its own.
pub(crate) trait Step {
    type Output;

    /// Computes the step. Must be inlined, so that it is compiled for the instructions of the function that runs it.
    fn compute(self) -> Self::Output;
}

/// Evaluates an expression for each of five limbs, eight lanes, and seven or sixteen rounds. `core::array::from_fn` is a
/// function that is not compiled for the instructions, and neither is its closure.
macro_rules! each {
    (5, $i:ident => $value:expr) => {
        $crate::vector::each!(@ $i => $value, 0 1 2 3 4)
    };
    (7, $i:ident => $value:expr) => {
        $crate::vector::each!(@ $i => $value, 0 1 2 3 4 5 6)
    };
    (8, $i:ident => $value:expr) => {
        $crate::vector::each!(@ $i => $value, 0 1 2 3 4 5 6 7)
    };
    (16, $i:ident => $value:expr) => {
        $crate::vector::each!(@ $i => $value, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $i:ident => $value:expr, $($at:literal)*) => {
        [$({
            let $i: usize = $at;
            $value
        }),*]
    };
}

pub(crate) use each;

/// The model of the instructions.
#[derive(Clone, Copy)]
pub(crate) struct Plain([u64; 8]);

/// The bits that `add_low` and `add_high` read.
const FACTOR: u64 = (1 << 52) - 1;

impl Plain {
    fn each(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self(core::array::from_fn(|i| f(self.0[i], other.0[i])))
    }

    fn product(a: Self, b: Self, shift: u32) -> Self {
        a.each(b, |a, b| ((u128::from(a & FACTOR) * u128::from(b & FACTOR)) >> shift) as u64 & FACTOR)
    }
}

impl Register for Plain {
    type Cpu = ();

    fn run<S: Step>((): (), step: S) -> S::Output {
        step.compute()
    }
}

impl Vector for Plain {
    fn load((): (), lanes: &[u64; 8]) -> Self {
        Self(*lanes)
    }

    fn fill(self, value: u64) -> Self {
        Self([value; 8])
    }

    fn lanes(self) -> [u64; 8] {
        self.0
    }

    fn add(self, other: Self) -> Self {
        self.each(other, u64::wrapping_add)
    }

    fn sub(self, other: Self) -> Self {
        self.each(other, u64::wrapping_sub)
    }

    fn and(self, other: Self) -> Self {
        self.each(other, |a, b| a & b)
    }

    fn shr<const BITS: u32>(self) -> Self {
        Self(self.0.map(|lane| lane >> BITS))
    }

    fn times_19(self) -> Self {
        Self(self.0.map(|lane| lane.wrapping_mul(19)))
    }

    fn add_low(self, a: Self, b: Self) -> Self {
        self.add(Self::product(a, b, 0))
    }

    fn add_high(self, a: Self, b: Self) -> Self {
        self.add(Self::product(a, b, 52))
    }

    fn zeros(self) -> u8 {
        self.0.iter().enumerate().fold(0, |mask, (i, &lane)| mask | u8::from(lane == 0) << i)
    }

    fn select(self, other: Self, mask: u8) -> Self {
        Self(core::array::from_fn(|i| if mask >> i & 1 == 1 { other.0[i] } else { self.0[i] }))
    }

    fn swap<const DISTANCE: usize>(self) -> Self {
        Self(core::array::from_fn(|i| self.0[i ^ DISTANCE]))
    }

    fn transpose(rows: [Self; 8]) -> [Self; 8] {
        core::array::from_fn(|i| Self(Self::column(rows, i)))
    }

    fn column(rows: [Self; 8], lane: usize) -> [u64; 8] {
        rows.map(|row| row.0[lane])
    }

    fn prefetch((): (), _: &[[u64; 8]; 2]) {}
}
