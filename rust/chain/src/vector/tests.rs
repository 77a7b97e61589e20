//! Tests the instructions for products against the model, with lanes of every kind.
#![cfg(target_arch = "x86_64")]

use super::ifma::{Cpu, Zmm};
use super::{Plain, Vector};

/// Returns vectors with zeros, ones at every place, and mixed bits.
pub(super) fn samples() -> Vec<[u64; 8]> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state ^ state >> 29
    };
    let mut samples = vec![[0; 8], [u64::MAX; 8], [0, 1, 2, 3, 4, 5, 6, 7], [(1 << 52) - 1; 8], [1 << 52; 8]];
    samples.extend((0..20).map(|_| std::array::from_fn(|_| next())));
    samples.extend((0..20).map(|_| std::array::from_fn(|lane| next() >> (8 * lane))));
    samples
}

/// Checks one operation of three vectors.
fn check(
    cpu: Cpu,
    real: impl Fn(Zmm, Zmm, Zmm) -> [u64; 8],
    model: impl Fn(Plain, Plain, Plain) -> [u64; 8],
) {
    let samples = samples();
    for (i, a) in samples.iter().enumerate() {
        for (j, b) in samples.iter().enumerate() {
            let c = &samples[(i * 7 + j * 3) % samples.len()];
            let real = real(Zmm::load(cpu, a), Zmm::load(cpu, b), Zmm::load(cpu, c));
            assert_eq!(real, model(Plain::load((), a), Plain::load((), b), Plain::load((), c)));
        }
    }
}

macro_rules! check_all {
    ($cpu:ident: $(|$a:ident, $b:ident, $c:ident| $operation:expr;)*) => {
        $(check($cpu, |$a, $b, $c| $operation, |$a, $b, $c| $operation);)*
    };
}

#[test]
fn instructions_for_products_are_those_of_the_model() {
    let Some(cpu) = Cpu::detect() else { return };
    check_all!(cpu:
        |a, _b, _c| a.lanes();
        |a, _b, _c| a.fill(0x8000_0000_0000_0001).lanes();
        |a, b, _c| a.add(b).lanes();
        |a, b, _c| a.sub(b).lanes();
        |a, b, _c| a.and(b).lanes();
        |a, _b, _c| a.shr::<51>().lanes();
        |a, _b, _c| a.shr::<7>().lanes();
        |a, _b, _c| a.times_19().lanes();
        |a, b, c| a.add_low(b, c).lanes();
        |a, b, c| a.add_high(b, c).lanes();
        |a, _b, _c| [a.zeros().into(); 8];
        |a, b, _c| a.select(b, 0b0110_1001).lanes();
        |a, _b, _c| a.swap::<1>().lanes();
        |a, _b, _c| a.swap::<2>().lanes();
        |a, _b, _c| a.swap::<4>().lanes();
    );
    let samples = samples();
    for rows in samples.as_chunks::<8>().0 {
        let real = Zmm::transpose(rows.map(|row| Zmm::load(cpu, &row)));
        let model = Plain::transpose(rows.map(|row| Plain::load((), &row)));
        assert_eq!(real.map(Zmm::lanes), model.map(Plain::lanes));
        for lane in 0..8 {
            let real = Zmm::column(rows.map(|row| Zmm::load(cpu, &row)), lane);
            assert_eq!(real, Plain::column(rows.map(|row| Plain::load((), &row)), lane));
        }
    }
}
