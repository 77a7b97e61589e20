//! The windows of 128-bit coefficients; sorts their digits by bucket.

/// Multiplications per point and window: one mixed addition.
const ADDITION: usize = 7;
/// Multiplications per bucket: one addition to each of the two running sums.
const BUCKET: usize = 17;

/// One window: `width` bits of the coefficient from bit `shift` on.
pub(super) struct Window {
    shift: u32,
    pub(super) width: u32,
    /// Buckets 1 ..= `buckets`; the first is number `first_bucket` of all. A multiple of four.
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
