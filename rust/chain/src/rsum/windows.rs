//! The windows of 128-bit coefficients; sorts their digits by bucket. The parts of the sum that do not depend on the
//! width of the vectors.

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::traits::Identity;

use super::RSum;

/// Points summed at once, a limit that keeps memory below 8 MiB.
const CHUNK: usize = 16384;

/// Multiplications per point and window: one mixed addition.
const ADDITION: usize = 7;
/// Multiplications per bucket: one addition to each of the two running sums.
const BUCKET: usize = 17;

/// One window: `width` bits of the coefficient from bit `shift` on.
pub(super) struct Window {
    shift: u32,
    pub(super) width: u32,
    /// Buckets 1 ..= `buckets`; the first is number `first_bucket` of all. A multiple of eight.
    pub(super) buckets: usize,
    pub(super) first_bucket: usize,
}

/// The windows, lowest first. Digits of all but the top one are signed, from -2^(width-1) to 2^(width-1) - 1; digits of
/// the top one absorb the carry, from 0 to 2^width.
pub(super) struct Windows(Vec<Window>);

impl Windows {
    /// Returns the cheapest cut for this number of points.
    pub(super) fn for_points(points: usize) -> Self {
        (10..=32).map(Self::cut).min_by_key(|windows| windows.cost(points)).unwrap_or_else(|| Self::cut(16))
    }

    pub(super) fn iter(&self) -> core::slice::Iter<'_, Window> {
        self.0.iter()
    }

    /// Returns `count` windows of nearly equal width, the narrower ones on top.
    fn cut(count: u32) -> Self {
        let (mut shift, mut first_bucket) = (0, 0);
        let windows = (0..count).map(|i| {
            let width = 128 / count + u32::from(i < 128 % count);
            let buckets = if i + 1 == count { 1 << width } else { 1 << (width - 1) };
            let window = Window { shift, width, buckets, first_bucket };
            shift += width;
            first_bucket += buckets;
            window
        });
        Self(windows.collect())
    }

    fn buckets(&self) -> usize {
        self.0.iter().map(|window| window.buckets).sum()
    }

    fn cost(&self, points: usize) -> usize {
        points * self.0.len() * ADDITION + self.buckets() * BUCKET
    }
}

/// The non-zero digits, sorted by bucket.
pub(super) struct Entries {
    /// 2·point + (1 if the point is to be subtracted), then one entry for the point past the last.
    pub(super) sorted: Vec<u32>,
    /// Bucket `b` has the entries `starts[b] .. starts[b + 1]`.
    pub(super) starts: Vec<u32>,
}

impl Entries {
    pub(super) fn sort(windows: &Windows, coefficients: &[u128]) -> Self {
        const ZERO: u32 = u32::MAX;
        let n = coefficients.len();
        let lower = &windows.0[..windows.0.len() - 1];
        // Half the range of a window, added to each lower digit, makes all of them unsigned, without a carry.
        let bias = lower.iter().fold(0u128, |bias, w| bias | 1 << (w.shift + w.width - 1));

        // 2·bucket + sign of every digit, window by window, and the entries per bucket, shifted up one place.
        let mut codes = vec![ZERO; n * windows.0.len()];
        let mut starts = vec![0u32; windows.buckets() + 1];
        for (i, &coefficient) in coefficients.iter().enumerate() {
            let (biased, carry) = coefficient.overflowing_add(bias);
            for (w, window) in windows.0.iter().enumerate() {
                let bits = (biased >> window.shift) as u32 & ((1 << window.width) - 1);
                let digit = if w < lower.len() {
                    bits as i32 - (1 << (window.width - 1))
                } else {
                    (bits | u32::from(carry) << window.width) as i32
                };
                if digit != 0 {
                    let bucket = window.first_bucket as u32 + digit.unsigned_abs() - 1;
                    codes[w * n + i] = 2 * bucket + u32::from(digit < 0);
                    starts[bucket as usize + 1] += 1;
                }
            }
        }
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }

        let mut next = starts.clone();
        let mut sorted = vec![2 * n as u32; total as usize + 1];
        for codes in codes.chunks_exact(n.max(1)) {
            for (i, &code) in codes.iter().enumerate() {
                if code != ZERO {
                    let next = &mut next[(code >> 1) as usize];
                    sorted[*next as usize] = 2 * i as u32 + (code & 1);
                    *next += 1;
                }
            }
        }
        Self { sorted, starts }
    }
}

impl Entries {
    /// Cuts the list into `N` runs of nearly equal length, at bucket boundaries.
    pub(super) fn runs<const N: usize>(&self) -> [Run; N] {
        let count = self.starts.len() - 1;
        let total = self.sorted.len() - 1;
        let cut = |lane: usize| self.starts[..count].partition_point(|&s| (s as usize) < lane * total / N);
        core::array::from_fn(|lane| {
            let last_bucket = if lane + 1 == N { count } else { cut(lane + 1) };
            let mut run = Run { at: 0, end: 0, bucket: cut(lane), last_bucket, stride: 1 };
            run.settle(self);
            run
        })
    }
}

/// The run of buckets that one lane sums.
pub(super) struct Run {
    /// The next entry, and the end of the current bucket's entries.
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) bucket: usize,
    last_bucket: usize,
    /// 1, or 0 once the run is finished and `at` stays at the padding entry.
    pub(super) stride: usize,
}

impl Run {
    /// Moves from a complete bucket to the next.
    pub(super) fn next_bucket(&mut self, entries: &Entries) {
        self.bucket += 1;
        self.settle(entries);
    }

    /// Moves to the next non-empty bucket, from `bucket` on, or to the padding.
    fn settle(&mut self, entries: &Entries) {
        while self.bucket < self.last_bucket && entries.starts[self.bucket] == entries.starts[self.bucket + 1]
        {
            self.bucket += 1;
        }
        if self.bucket < self.last_bucket {
            self.at = entries.starts[self.bucket] as usize;
            self.end = entries.starts[self.bucket + 1] as usize;
        } else {
            (self.at, self.end, self.stride) = (entries.sorted.len() - 1, usize::MAX, 0);
        }
    }
}

/// Decodes and sums the points chunk by chunk, which bounds the memory.
pub(super) fn by_chunks<P>(
    encodings: &[[u8; 32]],
    coefficients: &[u128],
    decompress_all: impl Fn(&[[u8; 32]], &mut dyn FnMut(usize, Option<P>)),
    multiscalar: impl Fn(Vec<P>, &[u128]) -> EdwardsPoint,
) -> RSum {
    let mut sum = EdwardsPoint::identity();
    let mut undecodable = Vec::new();
    for (chunk, (encodings, coefficients)) in
        encodings.chunks(CHUNK).zip(coefficients.chunks(CHUNK)).enumerate()
    {
        // With the point of the padding entries.
        let mut points = Vec::with_capacity(encodings.len() + 1);
        let mut kept = Vec::with_capacity(encodings.len());
        decompress_all(encodings, &mut |index, point| match point {
            Some(point) => {
                points.push(point);
                kept.push(coefficients[index]);
            }
            None => undecodable.push((chunk * CHUNK + index) as u32),
        });
        sum += multiscalar(points, &kept);
    }
    RSum { sum, undecodable }
}
