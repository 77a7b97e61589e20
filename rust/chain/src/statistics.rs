//! Statistics of the sequences and times of a chain: rate, gaps, silence, a clock that jumped.
//!
//! Statistics are not verdicts. Times are those of the clock of the device.

use std::collections::BTreeMap;

use crate::record::AuditRecord;

/// Runs of sequences remembered per device, to detect repeated records. A chain in order is one run. Beyond this limit
/// `duplicates` is a lower bound, and `missing` an upper one.
const MAX_RUNS: usize = 1 << 16;

/// Without an explicit threshold, intervals of at least this number of medians are gaps.
const GAP_MEDIANS: u64 = 10;

/// Without an explicit threshold, a step forward is a jump only above so many milliseconds: 30 minutes, below any error of
/// a time zone.
const JUMP_MS: u64 = 30 * 60 * 1000;

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
    /// The time of the record with the lowest sequence, Unix milliseconds.
    pub first_ms: u64,
    /// The time of the record with the highest sequence, Unix milliseconds.
    pub last_ms: u64,
    /// The longest time from one record to the next in milliseconds, and the sequence of the later one.
    pub longest_gap: Option<(u64, u64)>,
    /// How often a record had an earlier time than the previous record.
    pub clock_backwards: u64,
    /// The largest of these steps in milliseconds, and the sequence of its record.
    pub furthest_back: Option<(u64, u64)>,
    /// The largest step forward to a record from that of the sequence before it, in milliseconds, and the sequence of the later
    /// one. [`DeviceStatistics::jumps`] tells whether it is a jump.
    pub furthest_forward: Option<(u64, u64)>,
    /// How many records are later than the time of [`DeviceStatistics::read_at`]; `None` without one.
    pub ahead: Option<u64>,
    /// The first and the last sequence of each run.
    runs: BTreeMap<u64, u64>,
    intervals: Intervals,
    /// The intervals to a record from that of the sequence before it.
    forward: Intervals,
    before: (u64, u64),
    read_at_ms: Option<u64>,
}

impl DeviceStatistics {
    /// Returns statistics that count the records later than the time of the reader, Unix milliseconds.
    pub fn read_at(now_ms: Option<u64>) -> DeviceStatistics {
        DeviceStatistics { ahead: now_ms.map(|_| 0), read_at_ms: now_ms, ..DeviceStatistics::default() }
    }

    /// Counts a record. All records are of one device.
    pub fn push(&mut self, record: &AuditRecord) {
        let (sequence, time) = (record.sequence, record.timestamp_ms);
        self.records += 1;
        let is_first = self.records == 1;
        let ends = (self.first_sequence(), self.last_sequence());
        if !self.see(sequence) {
            self.duplicates += 1;
            return;
        }
        if self.read_at_ms.is_some_and(|now_ms| time > now_ms) {
            self.ahead = self.ahead.map(|ahead| ahead + 1);
        }
        if is_first || sequence < ends.0 {
            self.first_ms = time;
        }
        if is_first || sequence > ends.1 {
            self.last_ms = time;
        }
        if is_first {
            (self.earliest_ms, self.latest_ms, self.before) = (time, time, (sequence, time));
            return;
        }
        self.earliest_ms = self.earliest_ms.min(time);
        self.latest_ms = self.latest_ms.max(time);
        let (before, before_ms) = std::mem::replace(&mut self.before, (sequence, time));
        let Some(interval) = time.checked_sub(before_ms) else {
            self.clock_backwards += 1;
            keep_larger(&mut self.furthest_back, before_ms - time, sequence);
            return;
        };
        self.intervals.push(interval);
        keep_larger(&mut self.longest_gap, interval, sequence);
        // The time of missing records passed, too.
        if before.checked_add(1) == Some(sequence) {
            self.forward.push(interval);
            keep_larger(&mut self.furthest_forward, interval, sequence);
        }
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
        gap_ms.or_else(|| self.ten_medians()).map_or(0, |gap| self.intervals.longer_than(gap))
    }

    /// Counts the steps forward between records of consecutive sequences that are longer than `jump_ms` milliseconds, or than
    /// ten medians and 30 minutes: a clock that was set forward, or a device that recorded nothing. The intervals are
    /// accurate to one part in sixteen.
    pub fn jumps(&self, jump_ms: Option<u64>) -> u64 {
        let derived = || self.ten_medians().map(|medians| medians.max(JUMP_MS));
        jump_ms.or_else(derived).map_or(0, |jump| self.forward.longer_than(jump))
    }

    fn ten_medians(&self) -> Option<u64> {
        self.interval_median_ms().map(|median| median.max(1).saturating_mul(GAP_MEDIANS))
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

/// Keeps the larger step, and the first one of equal steps.
fn keep_larger(largest: &mut Option<(u64, u64)>, step: u64, sequence: u64) {
    if largest.is_none_or(|(kept, _)| step > kept) {
        *largest = Some((step, sequence));
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
        fill(&mut statistics, records);
        statistics
    }

    fn fill(statistics: &mut DeviceStatistics, records: &[(u64, u64)]) {
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
    fn the_first_of_equal_steps_is_kept() {
        let statistics = of(&[(1, 10), (2, 30), (3, 20), (4, 40), (5, 30)]);
        assert_eq!((statistics.longest_gap, statistics.furthest_forward), (Some((20, 2)), Some((20, 2))));
        assert_eq!(statistics.furthest_back, Some((10, 3)));
    }

    #[test]
    fn repeated_missing_and_late_records_are_distinguished() {
        let statistics = of(&[(5, 10), (7, 30), (6, 20), (6, 20), (9, 5)]);
        assert_eq!((statistics.records, statistics.duplicates, statistics.missing()), (5, 1, 1));
        assert_eq!((statistics.clock_backwards, statistics.furthest_back), (2, Some((15, 9))));
        assert_eq!((statistics.earliest_ms, statistics.latest_ms), (5, 30));
        assert_eq!(statistics.rate_per_hour(), Some(3.0 * 3_600_000.0 / 25.0));
        assert_eq!(of(&[(u64::MAX, u64::MAX), (0, 0), (u64::MAX, 0)]).missing(), u64::MAX - 1);
        assert_eq!(of(&[(1, 1)]).rate_per_hour(), None);
    }

    #[test]
    fn a_jump_is_a_long_step_without_missing_records() {
        let hour = 3_600_000;
        // The device records each second; its clock is set forward by an hour, then it is off, then it is set back.
        let mut records: Vec<(u64, u64)> = (1..=20).map(|at| (at, at * 1000)).collect();
        records.extend([(21, 21_000 + hour), (22, 22_000 + hour), (40, 40_000 + 9 * hour), (41, 41_000)]);
        let statistics = of(&records);
        assert_eq!((statistics.jumps(None), statistics.furthest_forward), (1, Some((hour + 1000, 21))));
        assert_eq!((statistics.gaps(None), statistics.longest_gap), (2, Some((8 * hour + 18_000, 40))));
        assert_eq!((statistics.jumps(Some(2 * hour)), statistics.jumps(Some(500))), (0, 21));
        assert_eq!(statistics.jumps(Some(u64::MAX)), 0);
        assert_eq!((statistics.clock_backwards, statistics.furthest_back), (1, Some((9 * hour - 1000, 41))));
        assert_eq!((statistics.first_ms, statistics.last_ms), (1000, 41_000));
        // A step of 25 minutes is below 30.
        let late: Vec<(u64, u64)> =
            (1..=20).map(|at| (at, at * 1000)).chain([(21, 21_000 + 25 * 60 * 1000)]).collect();
        assert_eq!(of(&late).jumps(None), 0);
        // Ten medians of a device that records each day are more than 30 minutes.
        let daily: Vec<(u64, u64)> = (1..9).map(|at| (at, at * 24 * hour)).collect();
        assert_eq!(of(&daily).jumps(None), 0);
        assert_eq!((of(&[]).jumps(None), of(&[(1, 1)]).jumps(Some(1))), (0, 0));
        assert_eq!(of(&[(u64::MAX, 0), (0, hour)]).furthest_forward, None);
    }

    /// The same figures from a list of all records.
    fn model(records: &[(u64, u64)], now_ms: u64, jump_ms: u64) -> [Option<(u64, u64)>; 6] {
        let mut seen = std::collections::BTreeMap::new();
        let mut kept: Vec<(u64, u64)> = Vec::new();
        for (sequence, time) in records {
            if seen.insert(*sequence, ()).is_none() {
                kept.push((*sequence, *time));
            }
        }
        let pairs: Vec<_> = kept.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let forward = pairs.iter().filter(|(a, b)| b.0 == a.0 + 1 && b.1 >= a.1);
        let forward: Vec<(u64, u64)> = forward.map(|(a, b)| (b.1 - a.1, b.0)).collect();
        let back = pairs.iter().filter(|(a, b)| b.1 < a.1);
        let back: Vec<(u64, u64)> = back.map(|(a, b)| (a.1 - b.1, b.0)).collect();
        // The first of the largest.
        let largest = |steps: &[(u64, u64)]| steps.iter().rev().max_by_key(|(length, _)| *length).copied();
        let jumps = forward.iter().filter(|(length, _)| step(*length) > step(jump_ms)).count() as u64;
        let ahead = kept.iter().filter(|(_, time)| *time > now_ms).count() as u64;
        [
            largest(&forward),
            largest(&back),
            kept.iter().min().copied(),
            kept.iter().max().copied(),
            Some((jumps, ahead)),
            Some((back.len() as u64, kept.len() as u64)),
        ]
    }

    proptest::proptest! {
        #[test]
        fn statistics_are_those_of_a_list_of_all_records(
            records in proptest::collection::vec((1_u64..24, 0_u64..5000), 0..40),
            (now_ms, jump_ms) in (0_u64..5000, 0_u64..5000),
        ) {
            let mut found = DeviceStatistics::read_at(Some(now_ms));
            fill(&mut found, &records);
            let end = |sequence, time| (found.records > 0).then_some((sequence, time));
            let figures = [
                found.furthest_forward,
                found.furthest_back,
                end(found.first_sequence(), found.first_ms),
                end(found.last_sequence(), found.last_ms),
                Some((found.jumps(Some(jump_ms)), found.ahead.unwrap_or(u64::MAX))),
                Some((found.clock_backwards, found.records - found.duplicates)),
            ];
            proptest::prop_assert_eq!(figures, model(&records, now_ms, jump_ms));
        }
    }

    #[test]
    fn records_of_the_future_are_counted_for_a_reader_with_a_clock() {
        let mut found = DeviceStatistics::read_at(Some(20));
        fill(&mut found, &[(1, 10), (2, 20), (3, 21), (3, 21), (4, u64::MAX)]);
        assert_eq!((found.ahead, of(&[(1, 10)]).ahead), (Some(2), None));
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
        let records: Vec<(u64, u64)> = (0..MAX_RUNS as u64 + 10).map(|at| (10 + 4 * at, at)).collect();
        let mut statistics = of(&records);
        let last = records[records.len() - 1].0;
        let ends = |statistics: &DeviceStatistics| {
            (statistics.runs.len(), statistics.first_sequence(), statistics.last_sequence())
        };
        assert_eq!(ends(&statistics), (MAX_RUNS, 10, last));
        // One in the middle, one before all others, one after them.
        for (sequence, first, last) in [(12, 10, last), (2, 2, last), (last + 5, 2, last + 5)] {
            fill(&mut statistics, &[(sequence, 0)]);
            assert_eq!(ends(&statistics), (MAX_RUNS, first, last));
        }
    }
}
