//! Verifies signatures one by one, eight lanes wide.
//!
//! A table of a point P has, for each window i of a scalar, 1·2^(wi)·P to 2^(w-1)·2^(wi)·P as affine points, so a product
//! is one addition a window, without doublings. B has a table, and so has a key with several signatures. For other keys
//! each lane has the multiples of its own key, and doubles.

use std::sync::OnceLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED;

use super::decompress8::Decompress;
use super::field8::{Fe8, ONE};
use super::point8::{Cached8, Niels8, PackedNiels, Point8};
use crate::vector::{Step, Vector, each};

/// A signature with its key: the encoding of -A, R, S, and the challenge reduced to k. S is below the order.
pub(crate) struct Single {
    pub(crate) minus_key: [u8; 32],
    pub(crate) r: [u8; 32],
    pub(crate) s: [u8; 32],
    pub(crate) k: [u8; 32],
}

/// From this number of signatures under one key on, a table of its multiples costs less than it saves.
const TABLE_PAYS: usize = 12;

/// Returns, in order, whether [8](s·B - k·A - R) = 0 holds for each signature, with an R that decodes canonically.
/// Signatures under one key are adjacent.
pub(super) fn hold<V: Vector>(cpu: V::Cpu, signatures: &[Single]) -> Vec<bool> {
    static BASE: OnceLock<Table> = OnceLock::new();
    let base = BASE.get_or_init(|| Table::new::<V>(cpu, ED25519_BASEPOINT_COMPRESSED.as_bytes(), 8));
    let mut holds = vec![false; signatures.len()];
    let mut check = |places: &[usize], minus_key: Option<&Table>| {
        for eight in places.chunks(8) {
            // Pad a short last group with its first signature.
            let signatures = core::array::from_fn(|lane| &signatures[*eight.get(lane).unwrap_or(&eight[0])]);
            let good = V::run(cpu, Singles::<V> { cpu, base, minus_key, signatures });
            for (lane, &place) in eight.iter().enumerate() {
                holds[place] = good >> lane & 1 == 1;
            }
        }
    };
    let (mut first, mut scattered) = (0, Vec::new());
    for group in signatures.chunk_by(|a, b| a.minus_key == b.minus_key) {
        let places: Vec<usize> = (first..first + group.len()).collect();
        first += group.len();
        if group.len() >= TABLE_PAYS {
            check(&places, Some(&Table::new::<V>(cpu, &group[0].minus_key, 4)));
        } else {
            scattered.extend(places);
        }
    }
    check(&scattered, None);
    holds
}

/// Multiples of a point, for windows of `width` bits.
struct Table {
    width: u32,
    /// The multiples, window by window, then the identity.
    multiples: Vec<PackedNiels>,
}

/// The windows of a scalar below 2^253, for a width that divides 8.
fn windows(width: u32) -> usize {
    256 / width as usize
}

impl Table {
    /// Makes the table of the point that `encoding` decodes to. `width` is 4 or 8.
    fn new<V: Vector>(cpu: V::Cpu, encoding: &[u8; 32], width: u32) -> Self {
        Self { width, multiples: V::run(cpu, Multiples::<V> { cpu, encoding, width }) }
    }

    /// Returns the multiple of a window whose factor is the magnitude of a digit.
    #[inline(always)]
    fn multiple(&self, window: usize, digit: i8) -> &PackedNiels {
        match usize::from(digit.unsigned_abs()) {
            0 => &self.multiples[self.multiples.len() - 1],
            factor => &self.multiples[(window << (self.width - 1)) + factor - 1],
        }
    }
}

/// Returns the digits of a scalar below 2^253, lowest first: -2^(width-1) to 2^(width-1) - 1. `width` is 4 or 8.
#[inline(always)]
fn digits(scalar: &[u8; 32], width: u32) -> [i8; 64] {
    let mut digits = [0; 64];
    // Half the range of a window, added to each digit, makes all of them unsigned.
    let (half, bias) = (1i16 << (width - 1), if width == 8 { 0x80 } else { 0x88 });
    let mut carry = 0;
    for (byte, digits) in scalar.iter().zip(digits.chunks_exact_mut(8 / width as usize)) {
        let mut biased = i16::from(*byte) + bias + carry;
        carry = biased >> 8;
        for digit in digits {
            *digit = ((biased & (2 * half - 1)) - half) as i8;
            biased >>= width;
        }
    }
    digits
}

/// Computes the multiples of a table. Lane q has the windows q n ..= q n + n - 1; n is an eighth of them.
struct Multiples<'a, V: Vector> {
    cpu: V::Cpu,
    encoding: &'a [u8; 32],
    width: u32,
}

impl<V: Vector> Step for Multiples<'_, V> {
    type Output = Vec<PackedNiels>;

    #[inline(always)]
    fn compute(self) -> Vec<PackedNiels> {
        let Self { cpu, encoding, width } = self;
        let (half, eighth) = (1usize << (width - 1), windows(width) / 8);
        let (point, _) = decompress::<V>(cpu, [encoding; 8]);
        let mut first = Point8::<V>::identity(cpu).add_niels(&Niels8::load(cpu, each!(8, q => &point[q]), 0));
        for q in 1..8 {
            let mut doubled = first;
            for _ in 0..width as usize * eighth {
                doubled = doubled.double(cpu);
            }
            first = first.select(&doubled, 0xff << q);
        }
        let mut points = Vec::with_capacity(eighth * half);
        for _ in 0..eighth {
            let step = first.cached();
            points.push(first);
            for _ in 1..half {
                first = first.add_cached(cpu, &step);
                points.push(first);
            }
            first = first.double(cpu);
        }

        // One inversion for all: `products[i]` is the product of the first i denominators.
        let mut product = Fe8::fill(first.t.0[0], &ONE);
        let mut products = Vec::with_capacity(points.len());
        for point in &points {
            products.push(product);
            product = product.mul(&point.z2);
        }
        let mut inverse = product.invert(cpu);
        let mut multiples = vec![PackedNiels::IDENTITY; 8 * points.len() + 1];
        for (i, point) in points.iter().enumerate().rev() {
            let own = inverse.mul(&products[i]);
            inverse = inverse.mul(&point.z2);
            let (x, y) = point.affine(&own);
            for (q, packed) in Niels8::new(&x, &y).pack().into_iter().enumerate() {
                multiples[q * points.len() + i] = packed;
            }
        }
        multiples
    }
}

/// Computes [8](s·B - k·A - R) = 0 for eight signatures; bit i is signature i.
struct Singles<'a, V: Vector> {
    cpu: V::Cpu,
    base: &'a Table,
    /// The multiples of -A, if all have one key.
    minus_key: Option<&'a Table>,
    signatures: [&'a Single; 8],
}

impl<V: Vector> Step for Singles<'_, V> {
    type Output = u8;

    #[inline(always)]
    fn compute(self) -> u8 {
        let Self { cpu, base, minus_key, signatures } = self;
        let (r, decoded) = decompress::<V>(cpu, each!(8, lane => &signatures[lane].r));
        let k = each!(8, lane => &signatures[lane].k);
        let sum = match minus_key {
            Some(table) => Point8::<V>::identity(cpu).add_product(cpu, table, k),
            None => {
                let (key, _) = decompress::<V>(cpu, each!(8, lane => &signatures[lane].minus_key));
                let key = Point8::<V>::identity(cpu).add_niels(&Niels8::load(cpu, each!(8, i => &key[i]), 0));
                key.times(cpu, k)
            }
        };
        let sum = sum.add_product(cpu, base, each!(8, lane => &signatures[lane].s));
        let sum = sum.add_niels(&Niels8::load(cpu, each!(8, lane => &r[lane]), 0xff));
        decoded & sum.double(cpu).double(cpu).double(cpu).identities()
    }
}

#[inline(always)]
fn decompress<V: Vector>(cpu: V::Cpu, encodings: [&[u8; 32]; 8]) -> ([PackedNiels; 8], u8) {
    V::run(cpu, Decompress::<V> { cpu, encodings })
}

impl<V: Vector> Point8<V> {
    /// Returns P + scalar·Q, by the table of Q.
    #[inline(always)]
    fn add_product(&self, cpu: V::Cpu, table: &Table, scalars: [&[u8; 32]; 8]) -> Self {
        let windows = windows(table.width);
        let digits = each!(8, lane => digits(scalars[lane], table.width));
        let mut sum = *self;
        for window in 0..windows {
            let mut negate = 0;
            for (lane, digits) in digits.iter().enumerate() {
                negate |= u8::from(digits[window] < 0) << lane;
                let next = (window + 1) % windows;
                V::prefetch(cpu, &table.multiple(next, digits[next]).0);
            }
            let points = each!(8, lane => table.multiple(window, digits[lane][window]));
            sum = sum.add_niels(&Niels8::load(cpu, points, negate));
        }
        sum
    }

    /// Returns scalar·P.
    #[inline(always)]
    fn times(&self, cpu: V::Cpu, scalars: [&[u8; 32]; 8]) -> Self {
        let digits = each!(8, lane => digits(scalars[lane], 4));
        let identity = Self::identity(cpu);
        let step = self.cached();
        let mut multiples = [identity.cached(); 9];
        let mut multiple = identity;
        for cached in &mut multiples[1..] {
            multiple = multiple.add_cached(cpu, &step);
            *cached = multiple.cached();
        }
        let mut product = identity;
        for window in (0..windows(4)).rev() {
            for _ in 0..4 {
                product = product.double(cpu);
            }
            let digits = each!(8, lane => digits[lane][window]);
            product = product.add_cached(cpu, &Cached8::choose(&multiples, digits));
        }
        product
    }
}

impl<V: Vector> Cached8<V> {
    /// Selects, lane by lane, the multiple of a digit from -8 to 8.
    #[inline(always)]
    fn choose(multiples: &[Self; 9], digits: [i8; 8]) -> Self {
        let mask = |is: &dyn Fn(i8) -> bool| {
            digits.iter().enumerate().fold(0, |mask, (lane, digit)| mask | u8::from(is(*digit)) << lane)
        };
        let mut chosen = multiples[0];
        for (i, multiple) in (0u8..).zip(multiples).skip(1) {
            chosen = chosen.select(multiple, mask(&|digit| digit.unsigned_abs() == i));
        }
        chosen.negate(mask(&|digit| digit < 0))
    }
}
