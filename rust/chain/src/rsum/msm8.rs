//! Sums z_i·R_i by Pippenger's method, eight lanes wide; the method is that of `msm4`.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};

use super::RSum;
use super::decompress8::Decompress;
use super::point8::{Niels8, PackedNiels, PackedPoint, Point8};
use super::windows::{Entries, Windows, by_chunks};
use crate::vector::{Step, Vector, each};

/// See [`super::r_sum`].
pub(super) fn r_sum<V: Vector>(cpu: V::Cpu, encodings: &[[u8; 32]], coefficients: &[u128]) -> RSum {
    by_chunks(
        encodings,
        coefficients,
        |encodings, each| decompress_all::<V>(cpu, encodings, each),
        |points, coefficients| multiscalar::<V>(cpu, points, coefficients),
    )
}

/// Decodes all encodings, in order.
pub(super) fn decompress_all<V: Vector>(
    cpu: V::Cpu,
    encodings: &[[u8; 32]],
    each: &mut dyn FnMut(usize, Option<PackedNiels>),
) {
    for (group, eight) in encodings.chunks(8).enumerate() {
        // Pad a short last group with its first encoding.
        let encodings = core::array::from_fn(|i| eight.get(i).unwrap_or(&eight[0]));
        let (points, valid) = V::run(cpu, Decompress::<V> { cpu, encodings });
        for (i, point) in points.into_iter().enumerate().take(eight.len()) {
            each(8 * group + i, (valid >> i & 1 == 1).then_some(point));
        }
    }
}

/// Returns Σ coefficients[i]·points[i].
fn multiscalar<V: Vector>(cpu: V::Cpu, mut points: Vec<PackedNiels>, coefficients: &[u128]) -> EdwardsPoint {
    let windows = Windows::for_points(points.len());
    // The point of the padding entries, one past the last.
    points.push(PackedNiels::IDENTITY);
    let entries = Entries::sort(&windows, coefficients);
    let buckets = V::run(cpu, FillBuckets::<V> { cpu, points: &points, entries: &entries });
    let encoding = V::run(cpu, SumWindows::<V> { cpu, windows: &windows, buckets: &buckets });
    CompressedEdwardsY(encoding).decompress().expect("a sum of points of the curve is on the curve")
}

/// Computes the sums of the entries of all buckets.
struct FillBuckets<'a, V: Vector> {
    cpu: V::Cpu,
    points: &'a [PackedNiels],
    entries: &'a Entries,
}

impl<V: Vector> Step for FillBuckets<'_, V> {
    type Output = Vec<PackedPoint>;

    #[inline(always)]
    fn compute(self) -> Vec<PackedPoint> {
        let Self { cpu, points, entries } = self;
        let mut buckets = vec![PackedPoint::IDENTITY; entries.starts.len() - 1];
        let mut runs = entries.runs::<8>();
        let identity = Point8::<V>::identity(cpu);
        let mut sum = identity;
        while runs.iter().any(|run| run.stride != 0) {
            // No bucket ends within the next `steps` steps.
            let steps = runs.iter().map(|run| run.end - run.at).min().unwrap_or(0);
            let mut at = each!(8, lane => runs[lane].at);
            let stride = each!(8, lane => runs[lane].stride);
            for _ in 0..steps {
                let entry = each!(8, lane => entries.sorted[at[lane]]);
                let mut negate = 0;
                for lane in 0..8 {
                    negate |= ((entry[lane] & 1) as u8) << lane;
                    at[lane] += stride[lane];
                    // The list ends with the padding entry, so there is always a next one.
                    V::prefetch(cpu, &points[(entries.sorted[at[lane]] >> 1) as usize].0);
                }
                let point = Niels8::load(cpu, each!(8, lane => &points[(entry[lane] >> 1) as usize]), negate);
                sum = sum.add_niels(&point);
            }
            let mut done = 0;
            for (lane, run) in runs.iter_mut().enumerate() {
                run.at = at[lane];
                if run.at == run.end {
                    buckets[run.bucket] = sum.pack(lane);
                    done |= 1 << lane;
                    run.next_bucket(entries);
                }
            }
            sum = sum.select(&identity, done);
        }
        buckets
    }
}

/// Computes the encoding of Σ over windows of 2^shift · Σ k·bucket_k.
///
/// Lane q has the buckets k = q L + 1 ..= q L + L of every window; L is an eighth of its buckets. From the top bucket
/// down, it sums them (`run`) and sums the sums (`total`): Σ k·bucket_k = total + q L·run.
struct SumWindows<'a, V: Vector> {
    cpu: V::Cpu,
    windows: &'a Windows,
    buckets: &'a [PackedPoint],
}

impl<V: Vector> Step for SumWindows<'_, V> {
    type Output = [u8; 32];

    #[inline(always)]
    fn compute(self) -> [u8; 32] {
        let Self { cpu, windows, buckets } = self;
        let identity = Point8::<V>::identity(cpu);
        let mut sum = identity;
        for window in windows.iter().rev() {
            let eighth = window.buckets / 8;
            let buckets = &buckets[window.first_bucket..][..window.buckets];
            let mut run = identity;
            let mut total = identity;
            for i in (0..eighth).rev() {
                let eight = Point8::load(cpu, each!(8, q => &buckets[q * eighth + i]));
                run = eight.add_cached(cpu, &run.cached());
                total = total.add_cached(cpu, &run.cached());
            }
            // q times the run of lane q, by the bits of q.
            let run_2 = run.double(cpu);
            let run_4 = run_2.double(cpu);
            let weighted = identity
                .select(&run, 0b1010_1010)
                .add_cached(cpu, &identity.select(&run_2, 0b1100_1100).cached())
                .add_cached(cpu, &identity.select(&run_4, 0b1111_0000).cached());
            // 2^width·sum + L·weighted + total: the doublings by L serve both.
            let shared = eighth.trailing_zeros();
            for _ in shared..window.width {
                sum = sum.double(cpu);
            }
            sum = sum.add_cached(cpu, &weighted.cached());
            for _ in 0..shared {
                sum = sum.double(cpu);
            }
            sum = sum.add_cached(cpu, &total.cached());
        }
        let sum = sum.add_cached(cpu, &sum.swap::<4>().cached());
        let sum = sum.add_cached(cpu, &sum.swap::<2>().cached());
        let sum = sum.add_cached(cpu, &sum.swap::<1>().cached());
        encode(cpu, &sum)
    }
}

/// Returns the encoding of the point in lane 0.
#[inline(always)]
fn encode<V: Vector>(cpu: V::Cpu, point: &Point8<V>) -> [u8; 32] {
    let (x, y) = point.affine(&point.z2.invert(cpu));
    let (x, y) = (x.0[0].lanes()[0], each!(5, i => y.0[i].lanes()[0]));
    let words = [
        y[0] | y[1] << 51,
        y[1] >> 13 | y[2] << 38,
        y[2] >> 26 | y[3] << 25,
        y[3] >> 39 | y[4] << 12 | (x & 1) << 63,
    ];
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.chunks_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}
