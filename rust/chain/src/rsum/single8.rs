//! Verifies signatures one by one, eight lanes wide.
//!
//! A table of a point P has, for each window i of a scalar, 1·2^(wi)·P to 2^(w-1)·2^(wi)·P as affine points, so a product
//! is one addition a window, without doublings. B has a table, and so has a key with several signatures. For other keys
//! each lane has the multiples of its own key, and doubles.

use std::sync::OnceLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED;

use super::decompress8::{Decompress, odd, signs_and_reduced};
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
/// From this number on, so does a table with windows of eight bits.
const WIDE_TABLE_PAYS: usize = 256;

/// The number of groups of eight that share an inversion.
const SHARE: usize = 64;

/// Returns, in order, whether [8](s·B - k·A - R) = 0 holds for each signature, with an R that decodes canonically.
/// Signatures under one key are adjacent.
///
/// R is first compared with the encoding of s·B - k·A, which is the only canonical one. Only an R that differs is decoded:
/// it may differ by a component of small order.
pub(super) fn hold<V: Vector>(cpu: V::Cpu, signatures: &[Single]) -> Vec<bool> {
    static BASE: OnceLock<Table> = OnceLock::new();
    let base = BASE.get_or_init(|| Table::new::<V>(cpu, ED25519_BASEPOINT_COMPRESSED.as_bytes(), 8));
    let mut holds = vec![true; signatures.len()];
    let (mut sums, mut differ) = (Vec::with_capacity(SHARE), Vec::new());
    let mut add = |places: &[usize], minus_key: Option<&Table>| {
        for eight in places.chunks(8) {
            // Pad a short last group with its first signature.
            let places: [usize; 8] = core::array::from_fn(|lane| *eight.get(lane).unwrap_or(&eight[0]));
            let eight = places.map(|place| &signatures[place]);
            let sum = V::run(cpu, Sum::<V> { cpu, base, minus_key, signatures: eight });
            sums.push(Eight { places, sum });
            if sums.len() == SHARE {
                differ.extend(V::run(cpu, Differ { cpu, sums: &sums, signatures }));
                sums.clear();
            }
        }
    };
    let (mut first, mut scattered) = (0, Vec::new());
    for group in signatures.chunk_by(|a, b| a.minus_key == b.minus_key) {
        let places: Vec<usize> = (first..first + group.len()).collect();
        first += group.len();
        if group.len() >= TABLE_PAYS {
            let width = if group.len() >= WIDE_TABLE_PAYS { 8 } else { 4 };
            add(&places, Some(&Table::new::<V>(cpu, &group[0].minus_key, width)));
        } else {
            scattered.extend(places);
        }
    }
    add(&scattered, None);
    differ.extend(V::run(cpu, Differ { cpu, sums: &sums, signatures }));
    for eight in differ.chunks(8) {
        let each = core::array::from_fn(|lane| eight.get(lane).unwrap_or(&eight[0]));
        let encodings = each.map(|(place, _)| &signatures[*place].r);
        let good = V::run(cpu, Equal::<V> { cpu, sums: each.map(|(_, sum)| sum), encodings });
        for (lane, (place, _)) in eight.iter().enumerate() {
            holds[*place] = good >> lane & 1 == 1;
        }
    }
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

        let mut denominators = Vec::with_capacity(points.len());
        for point in &points {
            denominators.push(point.z2);
        }
        let mut multiples = vec![PackedNiels::IDENTITY; 8 * points.len() + 1];
        for (i, (point, inverse)) in points.iter().zip(invert_all(cpu, &denominators)).enumerate() {
            let (x, y) = point.affine(&inverse);
            for (q, packed) in Niels8::new(&x, &y).pack().into_iter().enumerate() {
                multiples[q * points.len() + i] = packed;
            }
        }
        multiples
    }
}

/// Computes s·B - k·A for eight signatures.
struct Sum<'a, V: Vector> {
    cpu: V::Cpu,
    base: &'a Table,
    /// The multiples of -A, if all have one key.
    minus_key: Option<&'a Table>,
    signatures: [&'a Single; 8],
}

impl<V: Vector> Step for Sum<'_, V> {
    type Output = Point8<V>;

    #[inline(always)]
    fn compute(self) -> Point8<V> {
        let Self { cpu, base, minus_key, signatures } = self;
        let k = each!(8, lane => &signatures[lane].k);
        let sum = match minus_key {
            Some(table) => Point8::<V>::identity(cpu).add_product(cpu, table, k),
            None => {
                let (key, _) = decompress::<V>(cpu, each!(8, lane => &signatures[lane].minus_key));
                let key = Point8::<V>::identity(cpu).add_niels(&Niels8::load(cpu, each!(8, i => &key[i]), 0));
                key.times(cpu, k)
            }
        };
        sum.add_product(cpu, base, each!(8, lane => &signatures[lane].s))
    }
}

/// The sums of eight signatures, and the places of these.
struct Eight<V> {
    places: [usize; 8],
    sum: Point8<V>,
}

/// Compares the encodings of sums with R. Returns the places of the signatures for which they differ, with the sums.
struct Differ<'a, V: Vector> {
    cpu: V::Cpu,
    sums: &'a [Eight<V>],
    signatures: &'a [Single],
}

impl<V: Vector> Step for Differ<'_, V> {
    type Output = Vec<(usize, PackedNiels)>;

    #[inline(always)]
    fn compute(self) -> Self::Output {
        let Self { cpu, sums, signatures } = self;
        let mut denominators = Vec::with_capacity(sums.len());
        for eight in sums {
            denominators.push(eight.sum.z2);
        }
        let mut differ = Vec::new();
        for (Eight { places, sum }, inverse) in sums.iter().zip(invert_all(cpu, &denominators)) {
            let (x, y) = sum.affine(&inverse);
            let encodings = each!(8, lane => &signatures[places[lane]].r);
            let is_equal = y.wide().sub(&Fe8::from_bytes(cpu, encodings).wide()).carry().zeros();
            let (signs, reduced) = signs_and_reduced(encodings);
            let same = is_equal & reduced & !(odd(&x) ^ signs);
            if same != 0xff {
                let points = Niels8::new(&x, &y).pack();
                // A place that pads its group is there twice.
                for (lane, place) in places.iter().enumerate().filter(|(lane, _)| same >> lane & 1 == 0) {
                    differ.push((*place, points[lane]));
                }
            }
        }
        differ
    }
}

/// Computes [8](P - R) = 0 for eight points P and encodings of R.
struct Equal<'a, V: Vector> {
    cpu: V::Cpu,
    sums: [&'a PackedNiels; 8],
    encodings: [&'a [u8; 32]; 8],
}

impl<V: Vector> Step for Equal<'_, V> {
    type Output = u8;

    #[inline(always)]
    fn compute(self) -> u8 {
        let Self { cpu, sums, encodings } = self;
        let (r, decoded) = decompress::<V>(cpu, encodings);
        let sum = Point8::<V>::identity(cpu).add_niels(&Niels8::load(cpu, sums, 0));
        let sum = sum.add_niels(&Niels8::load(cpu, each!(8, lane => &r[lane]), 0xff));
        decoded & sum.double(cpu).double(cpu).double(cpu).identities()
    }
}

/// Returns the inverse of each element, for the cost of one inversion. None is zero.
#[inline(always)]
fn invert_all<V: Vector>(cpu: V::Cpu, elements: &[Fe8<V>]) -> Vec<Fe8<V>> {
    let Some(first) = elements.first() else { return Vec::new() };
    // The product of the elements before each.
    let mut inverses = Vec::with_capacity(elements.len());
    let mut product = Fe8::fill(first.0[0], &ONE);
    for element in elements {
        inverses.push(product);
        product = product.mul(element);
    }
    let mut inverse = product.invert(cpu);
    for (place, element) in inverses.iter_mut().zip(elements).rev() {
        *place = inverse.mul(place);
        inverse = inverse.mul(element);
    }
    inverses
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
