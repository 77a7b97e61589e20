//! The model of the instructions for sixteen lanes, for tests.

use super::{Register, Step, Words};

/// Sixteen lanes in memory.
#[derive(Clone, Copy)]
pub(crate) struct PlainWords([u32; 16]);

impl Register for PlainWords {
    type Cpu = ();

    fn run<S: Step>((): (), step: S) -> S::Output {
        step.compute()
    }
}

impl Words for PlainWords {
    fn load((): (), lanes: &[u32; 16]) -> Self {
        Self(*lanes)
    }

    fn lanes(self) -> [u32; 16] {
        self.0
    }

    fn add(self, other: Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }

    fn xor(self, other: Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    fn rotate<const BITS: i32>(self) -> Self {
        Self(self.0.map(|lane| lane.rotate_right(BITS as u32)))
    }
}
