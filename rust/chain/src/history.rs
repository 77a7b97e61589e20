//! The records seen so far in a chain, to distinguish a repeated record, a fork and a late record (step 4.4).

use crate::hash::Hash;

/// Records from this position on are not remembered. A sequence that runs backwards after it is still found, as
/// `sequence_out_of_order`, but not as duplicate or fork. 2^24 records take 128 MiB. Each record that does not follow
/// its predecessor takes 16 bytes more, and at most 24 bytes more during a lookup.
pub(crate) const HISTORY_LIMIT: u64 = 1 << 24;

/// Sequence and hash prefix of every record of a chain, in the order found, as runs of ascending sequences.
#[derive(Clone, Default, Debug, PartialEq)]
pub(crate) struct History {
    runs: Vec<Run>,
    prefixes: Vec<u64>,
}

/// Positions and prefixes are fewer than [`HISTORY_LIMIT`], so 32 bits hold them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    first_sequence: u64,
    first_index: u32,
    /// The index of its first prefix.
    start: u32,
}

/// How a record whose sequence runs backwards relates to the previous records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// No record had this sequence before.
    Never,
    /// The same record was there before.
    Same,
    /// Another record was there before; the first eight bytes of its hash.
    Other(u64),
}

/// A record at one of the sequences looked up.
#[derive(Clone, Copy)]
struct Place {
    sequence: u64,
    /// The index of its prefix.
    at: u32,
    /// The run that it starts, if it runs backwards.
    backwards: Option<std::num::NonZeroU32>,
}

impl History {
    pub(crate) fn push(&mut self, sequence: u64, hash: &Hash, index: u64) {
        if index >= HISTORY_LIMIT {
            return;
        }
        if self.next_sequence() != Some(sequence) {
            let start = self.prefixes.len() as u32;
            self.runs.push(Run { first_sequence: sequence, first_index: index as u32, start });
        }
        self.prefixes.push(hash.prefix());
    }

    /// Appends the history that follows this one.
    pub(crate) fn append(&mut self, next: History) {
        let Some(first) = next.runs.first() else { return };
        let joins = self.next_sequence() == Some(first.first_sequence);
        let offset = self.prefixes.len() as u32;
        let runs = next.runs.iter().skip(usize::from(joins));
        self.runs.extend(runs.map(|run| Run { start: run.start + offset, ..*run }));
        self.prefixes.extend_from_slice(&next.prefixes);
    }

    /// Returns the sequence that continues the last run.
    fn next_sequence(&self) -> Option<u64> {
        let last = self.runs.last()?;
        last.first_sequence.checked_add(self.prefixes.len() as u64 - u64::from(last.start))
    }

    /// Returns the prefixes of a run.
    fn prefixes(&self, run: usize) -> &[u64] {
        let end = self.runs.get(run + 1).map_or(self.prefixes.len(), |next| next.start as usize);
        &self.prefixes[self.runs[run].start as usize..end]
    }

    /// Returns true if the first record of `run` has a lower sequence than the previous record.
    fn runs_backwards(&self, run: usize) -> bool {
        let Some(before) = run.checked_sub(1) else { return false };
        let last = self.runs[before].first_sequence + (self.prefixes(before).len() as u64 - 1);
        self.runs[run].first_sequence < last
    }

    /// Calls `name` for each record whose sequence runs backwards, in no particular order, with its position in the
    /// input and its relation to the previous records.
    pub(crate) fn name_backwards(&self, mut name: impl FnMut(u64, Seen)) {
        let mut places = self.places();
        places.sort_unstable_by_key(|place| (place.sequence, place.at));
        for group in places.chunk_by_mut(|a, b| a.sequence == b.sequence) {
            let first = group[0].at;
            let first_prefix = self.prefixes[first as usize];
            group.sort_unstable_by_key(|place| (self.prefixes[place.at as usize], place.at));
            let mut before = None;
            for place in &*group {
                let prefix = self.prefixes[place.at as usize];
                let seen = match before {
                    _ if place.at == first => Seen::Never,
                    Some(before) if before == prefix => Seen::Same,
                    _ => Seen::Other(first_prefix),
                };
                before = Some(prefix);
                if let Some(run) = place.backwards {
                    name(u64::from(self.runs[run.get() as usize].first_index), seen);
                }
            }
        }
    }

    /// Returns all records at sequences at which a record runs backwards.
    fn places(&self) -> Vec<Place> {
        let backwards = (1..self.runs.len()).filter(|run| self.runs_backwards(*run));
        let mut sequences: Vec<u64> = backwards.map(|run| self.runs[run].first_sequence).collect();
        sequences.sort_unstable();
        sequences.dedup();
        let mut places = Vec::new();
        if sequences.is_empty() {
            return places;
        }
        for (number, run) in self.runs.iter().enumerate() {
            let length = self.prefixes(number).len() as u64;
            let from = sequences.partition_point(|sequence| *sequence < run.first_sequence);
            for sequence in &sequences[from..] {
                let offset = sequence - run.first_sequence;
                if offset >= length {
                    break;
                }
                let begins = offset == 0 && self.runs_backwards(number);
                places.push(Place {
                    sequence: *sequence,
                    at: run.start + offset as u32,
                    backwards: std::num::NonZeroU32::new(number as u32).filter(|_| begins),
                });
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(sequences: impl IntoIterator<Item = u64>) -> History {
        let mut history = History::default();
        for (sequence, index) in sequences.into_iter().zip(0..) {
            history.push(sequence, &Hash::of(&sequence.to_le_bytes()), index);
        }
        history
    }

    /// Only a record that does not follow its predecessor takes more memory.
    #[test]
    fn consecutive_records_are_one_run() {
        let firsts =
            |history: &History| -> Vec<u64> { history.runs.iter().map(|run| run.first_sequence).collect() };
        assert_eq!(firsts(&history([1, 2, 3, 4, 7, 8, 2, 3])), [1, 7, 2]);
        assert_eq!(firsts(&history([u64::MAX - 1, u64::MAX, 0, 1])), [u64::MAX - 1, 0]);
        for (next, expected) in [(5..8, &[1, 3][..]), (6..8, &[1, 3, 6]), (1..3, &[1, 3, 1])] {
            let mut joined = history([1, 3, 4]);
            joined.append(history(next));
            assert_eq!(firsts(&joined), expected);
        }
    }
}
