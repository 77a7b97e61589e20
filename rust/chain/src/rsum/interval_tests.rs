//! Computes the bounds claimed in `field8` and `point8`, by the code itself on intervals.

use super::decompress8::{negative, root};
use super::field8::{Fe8, ONE, TWO_P, Wide};
use super::point8::{Cached8, Niels8, Point8, negate_lanes};
use crate::vector::interval::Interval;

/// The largest limb.
const TIGHT: u64 = (1 << 51) + (1 << 16);

fn tight() -> Fe8<Interval> {
    Fe8([Interval::up_to(TIGHT); 5])
}

fn assert_tight(f: &Fe8<Interval>) {
    assert!(f.0.iter().all(|limb| limb.max <= TIGHT), "{f:?}", f = f.0);
}

fn assert_columns(f: &Wide<Interval>, bits: u32) {
    assert!(f.0.iter().all(|column| column.max >> bits == 0), "{f:?}", f = f.0);
}

fn assert_tight_point(p: &Point8<Interval>) {
    [&p.yp, &p.ym, &p.z2, &p.t].into_iter().for_each(assert_tight);
}

fn point() -> Point8<Interval> {
    Point8 { yp: tight(), ym: tight(), z2: tight(), t: tight() }
}

#[test]
fn an_element_is_below_twice_p() {
    // The carry out of the top limb is at most one more than its own bits, so the value is below 2^255 + 2^221.
    let top = (0..4).fold(0, |carry, _| (TIGHT + carry) >> 51) + TIGHT;
    assert!(top < TWO_P[4]);
    let canonical = tight().canonical();
    assert!(canonical.0.iter().all(|limb| limb.max >> 51 == 0));
}

#[test]
fn products_hold_at_their_bounds() {
    assert_columns(&tight().times(&tight()), 60);
    assert_columns(&tight().squared(), 60);
    assert_tight(&tight().mul(&tight()));
    assert_tight(&tight().square());
    assert_tight(&tight().pow_p58(()));
    assert_tight(&tight().invert(()));
    // The largest columns that the carry takes.
    assert_tight(&Wide([Interval::up_to((1 << 62) - 1); 5]).carry());
}

#[test]
fn point_formulas_keep_to_the_bounds() {
    let negated = negate_lanes([Interval::up_to(TIGHT); 5], 0xff);
    for t2d in [tight(), negated] {
        assert_tight_point(&point().add_niels(&Niels8 { yp: tight(), ym: tight(), t2d }));
    }
    let cached = point().cached();
    let Cached8 { yp2, ym2, t4d, z2 } = &cached;
    [yp2, ym2, t4d, z2].into_iter().for_each(assert_tight);
    assert_tight_point(&point().add_cached((), &cached));
    assert_tight_point(&point().double(()));
    assert_tight_point(&Point8::identity(()));
    let (x, y) = point().affine(&tight());
    [&x, &y].into_iter().for_each(assert_tight);
    let Cached8 { yp2, ym2, t4d, z2 } = cached.negate(0xff);
    [&yp2, &ym2, &z2].into_iter().for_each(assert_tight);
    assert_tight_point(&point().add_cached((), &Cached8 { yp2, ym2, t4d, z2 }));
    point().identities();
    let niels = Niels8::new(&tight(), &tight());
    [&niels.yp, &niels.ym, &niels.t2d].into_iter().for_each(assert_tight);
}

#[test]
fn decompression_keeps_to_the_bounds() {
    let y = Fe8([Interval::up_to((1 << 51) - 1); 5]);
    let (x, _) = root((), &y);
    assert_tight(&x);
    assert_tight(&negative(&x));
    assert_tight(&Fe8::fill(y.0[0], &ONE));
}
