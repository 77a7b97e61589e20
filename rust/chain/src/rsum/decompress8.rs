//! Decodes points, eight at a time (RFC 8032, 5.1.3), with an exact check of the canonical rule.

use super::field8::{Fe8, ONE};
use super::point8::{Niels8, PackedNiels};
use super::portable::is_reduced;
use crate::vector::{Step, Vector};

/// d = -121665/121666.
pub(super) const D: [u64; 5] =
    [929955233495203, 466365720129213, 1662059464998953, 2033849074728123, 1442794654840575];

/// A square root of -1: 2^((p-1)/4).
pub(super) const SQRT_M1: [u64; 5] =
    [1718705420411056, 234908883556509, 2233514472574048, 2117202627021982, 765476049583133];

/// Decodes eight encodings. The bit of an encoding is 0 if it is not canonical or not on the curve; its point is then
/// meaningless.
pub(super) struct Decompress<'a, V: Vector> {
    pub(super) cpu: V::Cpu,
    pub(super) encodings: [&'a [u8; 32]; 8],
}

impl<V: Vector> Step for Decompress<'_, V> {
    type Output = ([PackedNiels; 8], u8);

    #[inline(always)]
    fn compute(self) -> Self::Output {
        let Self { cpu, encodings } = self;
        let y = Fe8::<V>::from_bytes(cpu, encodings);
        let (signs, reduced) = signs_and_reduced(encodings);
        let (x, on_curve) = root(cpu, &y);
        let zero = x.zeros();
        let x = x.select(&negative(&x), odd(&x) ^ signs);
        let valid = on_curve & reduced & !(zero & signs);
        (Niels8::new(&x, &y).pack(), valid)
    }
}

/// Returns the sign bits of eight encodings, and whether y is below p in each.
#[inline(always)]
pub(super) fn signs_and_reduced(encodings: [&[u8; 32]; 8]) -> (u8, u8) {
    let (mut signs, mut reduced) = (0, 0);
    for (lane, bytes) in encodings.iter().enumerate() {
        signs |= (bytes[31] >> 7) << lane;
        reduced |= u8::from(is_reduced(bytes)) << lane;
    }
    (signs, reduced)
}

/// Returns the lanes in which a canonical element is odd.
#[inline(always)]
pub(super) fn odd<V: Vector>(f: &Fe8<V>) -> u8 {
    !f.0[0].and(f.0[0].fill(1)).zeros()
}

/// Returns a canonical x for each y, and the lanes in which it is on the curve with y.
#[inline(always)]
pub(super) fn root<V: Vector>(cpu: V::Cpu, y: &Fe8<V>) -> (Fe8<V>, u8) {
    let any = y.0[0];
    let one = Fe8::fill(any, &ONE).wide();
    let yy = y.square();
    let u = yy.wide().sub(&one).carry();
    let v = yy.times(&Fe8::fill(any, &D)).add(&one).carry();
    // x = u v³ (u v⁷)^((p-5)/8), the root of u/v if it has one, or of -u/v.
    let v3 = v.square().mul(&v);
    let v7 = v3.square().mul(&v);
    let power = v7.mul(&u).pow_p58(cpu);
    let x = power.mul(&v3).mul(&u);
    let vxx = x.square().times(&v);
    let is_root = vxx.sub(&u.wide()).carry().zeros(); // v x² = u
    let is_root_of_minus = vxx.add(&u.wide()).carry().zeros(); // v x² = -u
    let x = x.select(&x.mul(&Fe8::fill(any, &SQRT_M1)), is_root_of_minus & !is_root);
    (x.canonical(), is_root | is_root_of_minus)
}

/// Returns -f.
#[inline(always)]
pub(super) fn negative<V: Vector>(f: &Fe8<V>) -> Fe8<V> {
    Fe8::fill(f.0[0], &[0; 5]).wide().sub(&f.wide()).carry()
}
