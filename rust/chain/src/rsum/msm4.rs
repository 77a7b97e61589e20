//! Sums z_i·R_i by Pippenger's method, four lanes wide.
//!
//! A coefficient is cut into signed digits, one per window; a digit d of window w puts ±R_i in bucket |d| of w. The
//! entries of all windows are sorted by bucket. The sorted list is cut into four runs at bucket boundaries, and each
//! lane sums one run. The accumulator of a lane stays in registers until its bucket is complete, so each step gathers
//! an affine point, never a bucket. The weighted sum of the buckets of a window is then computed with one quarter of
//! the buckets per lane.

use core::arch::x86_64::*;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};

use super::RSum;
use super::avx2::{lanes, prefetch};
use super::decompress4::decompress;
use super::point4::{Ext4, Niels4, PackedExt, PackedNiels};
use super::windows::{Entries, Windows, by_chunks};

/// See [`super::r_sum`].
#[target_feature(enable = "avx2")]
pub(super) fn r_sum(encodings: &[[u8; 32]], coefficients: &[u128]) -> RSum {
    by_chunks(
        encodings,
        coefficients,
        |encodings, each| decompress_all(encodings, each),
        |points, coefficients| multiscalar(points, coefficients),
    )
}

/// Decodes all encodings, in order.
#[target_feature(enable = "avx2")]
pub(super) fn decompress_all(encodings: &[[u8; 32]], each: &mut dyn FnMut(usize, Option<PackedNiels>)) {
    for (group, four) in encodings.chunks(4).enumerate() {
        // Pad a short last group with its first encoding.
        let (points, valid) = decompress(core::array::from_fn(|i| four.get(i).unwrap_or(&four[0])));
        for i in 0..four.len() {
            each(4 * group + i, valid[i].then_some(points[i]));
        }
    }
}

/// Returns Σ coefficients[i]·points[i].
#[target_feature(enable = "avx2")]
pub(super) fn multiscalar(mut points: Vec<PackedNiels>, coefficients: &[u128]) -> EdwardsPoint {
    let windows = Windows::for_points(points.len());
    // The point of the padding entries, one past the last.
    points.push(PackedNiels::IDENTITY);
    let entries = Entries::sort(&windows, coefficients);
    let buckets = fill_buckets(&points, &entries);
    let lanes = sum_windows(&windows, &buckets);
    let pairs = lanes.add_cached(&lanes.permute::<0b01_00_11_10>().cached());
    let sum = pairs.add_cached(&pairs.permute::<0b10_11_00_01>().cached());
    to_dalek(&sum)
}

/// Returns the sums of the entries of all buckets.
#[target_feature(enable = "avx2")]
fn fill_buckets(points: &[PackedNiels], entries: &Entries) -> Vec<PackedExt> {
    let mut buckets = vec![PackedExt::IDENTITY; entries.starts.len() - 1];
    let mut runs = entries.runs::<4>();

    let identity = Ext4::identity();
    let mut sum = identity;
    while runs.iter().any(|run| run.stride != 0) {
        // No bucket ends within the next `steps` steps.
        let steps = runs.iter().map(|run| run.end - run.at).min().unwrap_or(0);
        let mut at = [0, 1, 2, 3].map(|lane| runs[lane].at);
        let stride = [0, 1, 2, 3].map(|lane| runs[lane].stride);
        for _ in 0..steps {
            let entry = at.map(|at| entries.sorted[at]);
            for lane in 0..4 {
                at[lane] += stride[lane];
                // The list ends with the padding entry, so there is always a next one.
                prefetch(&points[(entries.sorted[at[lane]] >> 1) as usize].0);
            }
            let point = Niels4::load(entry.map(|e| &points[(e >> 1) as usize]), entry.map(|e| e & 1));
            sum = sum.add_niels(&point);
        }
        let packed = sum.pack();
        let mut done = [0; 4];
        for lane in 0..4 {
            let run = &mut runs[lane];
            run.at = at[lane];
            if run.at == run.end {
                buckets[run.bucket] = packed[lane];
                done[lane] = -1;
                run.next_bucket(entries);
            }
        }
        sum = sum.select(&identity, _mm256_set_epi64x(done[3], done[2], done[1], done[0]));
    }
    buckets
}

/// Returns Σ over windows of 2^shift · Σ k·bucket_k, as the sum of the four lanes.
///
/// Lane q has the buckets k = q L + 1 ..= q L + L of every window; L is a quarter of its buckets. From the top bucket
/// down, it sums them (`run`) and sums the sums (`total`): Σ k·bucket_k = total + q L·run.
#[target_feature(enable = "avx2")]
fn sum_windows(windows: &Windows, buckets: &[PackedExt]) -> Ext4 {
    let identity = Ext4::identity();
    let lane = |i: usize| {
        let mut mask = [0; 4];
        mask[i] = -1;
        _mm256_set_epi64x(mask[3], mask[2], mask[1], mask[0])
    };
    let mut sum = identity;
    for window in windows.iter().rev() {
        let quarter = window.buckets / 4;
        let buckets = &buckets[window.first_bucket..][..window.buckets];
        let mut run = identity;
        let mut run_cached = identity.cached();
        let mut total = identity;
        for i in (0..quarter).rev() {
            let four = Ext4::load([0, 1, 2, 3].map(|q| &buckets[q * quarter + i]));
            run = four.add_cached(&run_cached);
            run_cached = run.cached();
            total = total.add_cached(&run_cached);
        }
        let run_2 = run.double();
        let run_3 = run_2.add_cached(&run_cached);
        let weighted = identity.select(&run, lane(1)).select(&run_2, lane(2)).select(&run_3, lane(3));
        // 2^width·sum + L·weighted + total: the doublings by L serve both.
        let shared = quarter.trailing_zeros();
        for _ in shared..window.width {
            sum = sum.double();
        }
        sum = sum.add_cached(&weighted.cached());
        for _ in 0..shared {
            sum = sum.double();
        }
        sum = sum.add_cached(&total.cached());
    }
    sum
}

/// Converts lane 0 to a point of curve25519-dalek, through its encoding.
#[target_feature(enable = "avx2")]
fn to_dalek(point: &Ext4) -> EdwardsPoint {
    let inverse = point.z.invert();
    let [x, y] = [&point.x, &point.y].map(|f| f.mul(&inverse).canonical().0.map(|limb| lanes(limb)[0]));
    let mut words = [0u64; 4];
    for (i, limb) in y.into_iter().enumerate() {
        let bit = (51 * i).div_ceil(2);
        words[bit / 64] |= limb << (bit % 64);
        if bit % 64 > 38 {
            words[bit / 64 + 1] |= limb >> (64 - bit % 64);
        }
    }
    words[3] |= (x[0] & 1) << 63;
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.chunks_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    CompressedEdwardsY(bytes).decompress().expect("a sum of points of the curve is on the curve")
}
