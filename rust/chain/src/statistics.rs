//! Statistics of the sequences and times of a chain: rate, gaps, silence, a clock that ran backwards.
//!
//! Statistics are not verdicts. Times are those of the clock of the device.

use std::collections::BTreeMap;

use crate::record::AuditRecord;

/// Runs of sequences remembered per device, to detect repeated records. A chain in order is one run. Beyond this limit
/// `duplicates` is a lower bound, and `missing` an upper one.
const MAX_RUNS: usize = 1 << 16;

/// Without an explicit threshold, intervals of at least this number of medians are gaps.
const GAP_MEDIANS: u64 = 10;

/// The statistics of one device, fed record by record in the order found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatistics {
    /// Records found, including repeated ones.
    pub records: u64,
    /// Records with a sequence seen before.
    pub duplicates: u64,
    /// The earliest time of a record, Unix milliseconds.
    pub earliest_ms: u64,
    /// The latest time of a record, Unix milliseconds.
    pub latest_ms: u64,
    /// The longest time from one record to the next in milliseconds, and the sequence of the later one.
    pub longest_gap: Option<(u64, u64)>,
    /// How often a record had an earlier time than the previous record.
    pub clock_backwards: u64,
    /// The largest of these steps in milliseconds, and the sequence of its record.
    pub furthest_back: Option<(u64, u64)>,
    /// The first and the last sequence of each run.
    runs: BTreeMap<u64, u64>,
    intervals: Intervals,
    before_ms: u64,
}

impl DeviceStatistics {
    /// Counts a record. All records are of one device.
    pub fn push(&mut self, record: &AuditRecord) {
        let time = record.timestamp_ms;
        self.records += 1;
        let is_first = self.records == 1;
        if !self.see(record.sequence) {
            self.duplicates += 1;
            return;
        }
        if is_first {
            (self.earliest_ms, self.latest_ms, self.before_ms) = (time, time, time);
            return;
        }
        self.earliest_ms = self.earliest_ms.min(time);
        self.latest_ms = self.latest_ms.max(time);
        match time.checked_sub(self.before_ms) {
            Some(interval) => {
                self.intervals.push(interval);
                if self.longest_gap.is_none_or(|(longest, _)| interval > longest) {
                    self.longest_gap = Some((interval, record.sequence));
                }
            }
            None => {
                let step = self.before_ms - time;
                self.clock_backwards += 1;
                if self.furthest_back.is_none_or(|(furthest, _)| step > furthest) {
                    self.furthest_back = Some((step, record.sequence));
                }
            }
        }
        self.before_ms = time;
    }

    /// Returns the lowest sequence.
    pub fn first_sequence(&self) -> u64 {
        self.runs.first_key_value().map_or(0, |(first, _)| *first)
    }

    /// Returns the highest sequence.
    pub fn last_sequence(&self) -> u64 {
        self.runs.last_key_value().map_or(0, |(_, last)| *last)
    }

    /// Returns the number of sequences without a record between the lowest and the highest.
    pub fn missing(&self) -> u64 {
        let mut missing: u64 = 0;
        let mut before: Option<u64> = None;
        for (first, last) in &self.runs {
            if let Some(before) = before {
                missing = missing.saturating_add(first - before - 1);
            }
            before = Some(*last);
        }
        missing
    }

    /// Returns the records per hour, from the earliest to the latest; `None` if they have the same time.
    pub fn rate_per_hour(&self) -> Option<f64> {
        let span_ms = self.latest_ms.checked_sub(self.earliest_ms).filter(|span| *span > 0)?;
        Some((self.records - self.duplicates - 1) as f64 * 3_600_000.0 / span_ms as f64)
    }

    /// Returns the median time between consecutive records in milliseconds, to one part in sixteen.
    pub fn interval_median_ms(&self) -> Option<u64> {
        self.intervals.median()
    }

    /// Counts the intervals between consecutive records that are longer than `gap_ms` milliseconds, or than ten
    /// medians. The intervals are accurate to one part in sixteen.
    pub fn gaps(&self, gap_ms: Option<u64>) -> u64 {
        let median = || self.interval_median_ms().map(|median| median.max(1).saturating_mul(GAP_MEDIANS));
        gap_ms.or_else(median).map_or(0, |gap| self.intervals.longer_than(gap))
    }

    /// Remembers a sequence. Returns false if it was seen before.
    fn see(&mut self, sequence: u64) -> bool {
        if let Some(mut run) = self.runs.last_entry()
            && run.get().checked_add(1) == Some(sequence)
        {
            run.insert(sequence);
            return true;
        }
        let below = self.runs.range(..=sequence).next_back().map(|(first, last)| (*first, *last));
        if below.is_some_and(|(_, last)| sequence <= last) {
            return false;
        }
        let joins_below = below.filter(|(_, last)| last.checked_add(1) == Some(sequence));
        let above = sequence.checked_add(1).and_then(|next| self.runs.remove(&next));
        let last = above.unwrap_or(sequence);
        match joins_below {
            Some((first, _)) => {
                self.runs.insert(first, last);
            }
            None if self.runs.len() < MAX_RUNS => {
                self.runs.insert(sequence, last);
            }
            // Keep the first and the last sequence exact.
            None => self.widen(sequence),
        }
        true
    }

    fn widen(&mut self, sequence: u64) {
        let first = self.first_sequence();
        if sequence < first {
            if let Some(last) = self.runs.remove(&first) {
                self.runs.insert(sequence, last);
            }
        } else if let Some(mut run) = self.runs.last_entry()
            && *run.get() < sequence
        {
            run.insert(sequence);
        }
    }
}

/// A histogram of times, in steps of one part in sixteen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Intervals(BTreeMap<u16, u64>);

impl Intervals {
    fn push(&mut self, interval: u64) {
        *self.0.entry(step(interval)).or_default() += 1;
    }

    fn median(&self) -> Option<u64> {
        let middle = self.0.values().sum::<u64>().div_ceil(2);
        let mut below = 0;
        self.0.iter().find_map(|(step, count)| {
            below += count;
            (below >= middle).then(|| lowest_of(*step))
        })
    }

    fn longer_than(&self, limit: u64) -> u64 {
        self.0.range(step(limit) + 1..).map(|(_, count)| count).sum()
    }
}

/// Returns the step of a time: the time itself below 16; above, its power of two and the four bits after the first.
fn step(interval: u64) -> u16 {
    match interval.checked_ilog2() {
        None | Some(0..4) => interval as u16,
        Some(power) => ((power - 3) * 16) as u16 + (interval >> (power - 4) & 15) as u16,
    }
}

fn lowest_of(step: u16) -> u64 {
    match step {
        0..16 => u64::from(step),
        _ => (16 + u64::from(step % 16)) << (step / 16 - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;

    fn of(records: &[(u64, u64)]) -> DeviceStatistics {
        let mut statistics = DeviceStatistics::default();
        for (sequence, timestamp_ms) in records {
            statistics.push(&AuditRecord {
                device_id: "lift-01".into(),
                sequence: *sequence,
                timestamp_ms: *timestamp_ms,
                payload_hash: Hash::ZERO,
                signature: [0; 64],
                prev_record_hash: Hash::ZERO,
                object_ref: String::new(),
            });
        }
        statistics
    }

    #[test]
    fn a_chain_in_order_is_one_run() {
        let statistics = of(&[(1, 1000), (2, 2000), (3, 3000), (4, 103_000)]);
        assert_eq!(
            (statistics.first_sequence(), statistics.last_sequence(), statistics.missing()),
            (1, 4, 0)
        );
        assert_eq!(statistics.longest_gap, Some((100_000, 4)));
        assert_eq!(statistics.interval_median_ms(), Some(lowest_of(step(1000))));
        assert_eq!(
            (statistics.gaps(None), statistics.gaps(Some(100_000_000)), statistics.gaps(Some(1))),
            (1, 0, 3)
        );
        assert_eq!(statistics.rate_per_hour(), Some(3.0 * 3_600_000.0 / 102_000.0));
    }

    #[test]
    fn repeated_missing_and_late_records_are_told_apart() {
        let statistics = of(&[(5, 10), (7, 30), (6, 20), (6, 20), (9, 5)]);
        assert_eq!((statistics.records, statistics.duplicates, statistics.missing()), (5, 1, 1));
        assert_eq!((statistics.clock_backwards, statistics.furthest_back), (2, Some((15, 9))));
        assert_eq!((statistics.earliest_ms, statistics.latest_ms), (5, 30));
        assert_eq!(of(&[(u64::MAX, u64::MAX), (0, 0), (u64::MAX, 0)]).missing(), u64::MAX - 1);
        assert_eq!(of(&[(1, 1)]).rate_per_hour(), None);
    }

    #[test]
    fn a_step_holds_times_that_differ_by_at_most_a_sixteenth() {
        for interval in (0..2000).chain([u64::MAX, u64::MAX - 1, 1 << 63, (1 << 40) + 12345]) {
            let lowest = lowest_of(step(interval));
            assert!(lowest <= interval && interval - lowest <= interval / 16, "{interval} {lowest}");
            assert_eq!(step(lowest), step(interval));
        }
    }

    #[test]
    fn so_many_runs_are_kept_and_no_more() {
        let records: Vec<(u64, u64)> = (0..MAX_RUNS as u64 + 10).map(|at| (1 + 2 * at, at)).collect();
        let statistics = of(&records);
        assert_eq!(statistics.runs.len(), MAX_RUNS);
        assert_eq!(statistics.last_sequence(), records.last().map_or(0, |(sequence, _)| *sequence));
    }
}
