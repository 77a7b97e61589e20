//! The models of the instructions for lanes of 32 and of 64 bits, for tests.

use super::{Longs, Register, Step, Words};

/// Lanes in memory.
#[derive(Clone, Copy)]
pub(crate) struct PlainLanes<T, const N: usize>([T; N]);

impl<T: Copy, const N: usize> PlainLanes<T, N> {
    fn zip(self, other: Self, f: impl Fn(T, T) -> T) -> Self {
        Self(core::array::from_fn(|i| f(self.0[i], other.0[i])))
    }

    fn columns(rows: [Self; N]) -> [Self; N] {
        core::array::from_fn(|i| Self(rows.map(|row| row.0[i])))
    }
}

impl<T: Copy, const N: usize> Register for PlainLanes<T, N> {
    type Cpu = ();

    fn run<S: Step>((): (), step: S) -> S::Output {
        step.compute()
    }
}

impl<const N: usize> Words<N> for PlainLanes<u32, N> {
    fn load((): (), lanes: &[u32; N]) -> Self {
        Self(*lanes)
    }

    fn load_bytes((): (), lanes: &[[u8; 4]; N]) -> Self {
        Self(lanes.map(u32::from_le_bytes))
    }

    fn lanes(self) -> [u32; N] {
        self.0
    }

    fn add(self, other: Self) -> Self {
        self.zip(other, u32::wrapping_add)
    }

    fn xor(self, other: Self) -> Self {
        self.zip(other, |a, b| a ^ b)
    }

    fn rotate<const BITS: i32>(self) -> Self {
        Self(self.0.map(|lane| lane.rotate_right(BITS as u32)))
    }

    fn transpose(rows: [Self; N]) -> [Self; N] {
        Self::columns(rows)
    }
}

impl<const N: usize> Longs<N> for PlainLanes<u64, N> {
    fn load((): (), lanes: &[u64; N]) -> Self {
        Self(*lanes)
    }

    fn lanes(self) -> [u64; N] {
        self.0
    }

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }

    fn shift<const BITS: i32>(self) -> Self {
        Self(self.0.map(|lane| lane >> BITS))
    }

    fn rotate<const BITS: i32>(self) -> Self {
        Self(self.0.map(|lane| lane.rotate_right(BITS as u32)))
    }

    fn xor(self, b: Self, c: Self) -> Self {
        self.zip(b, |a, b| a ^ b).zip(c, |a, c| a ^ c)
    }

    fn choose(self, b: Self, c: Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i] & b.0[i] | !self.0[i] & c.0[i]))
    }

    fn majority(self, b: Self, c: Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i] & b.0[i] | self.0[i] & c.0[i] | b.0[i] & c.0[i]))
    }

    fn transpose(rows: [Self; N]) -> [Self; N] {
        Self::columns(rows)
    }
}
