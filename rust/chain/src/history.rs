//! What a chain has said so far, to tell a repeated record, a fork and a late record apart (step 4.4).

use std::collections::{HashMap, HashSet};

use crate::hash::Hash;

/// Records at positions from here on are not remembered: 2^24 of them take 128 MiB. A sequence that runs
/// backwards beyond that is still found, as `sequence_out_of_order`, but no longer called duplicate or fork.
pub(crate) const HISTORY_LIMIT: u64 = 1 << 24;

/// Runs are cut here, so that growing one never copies much.
const RUN_LENGTH: usize = 1 << 15;

/// Sequence and hash prefix of every record of a chain, in the order found, as runs of ascending sequences.
#[derive(Clone, Default, Debug, PartialEq)]
pub(crate) struct History {
    runs: Vec<Run>,
}

#[derive(Clone, Debug, PartialEq)]
struct Run {
    first_sequence: u64,
    first_index: u64,
    prefixes: Vec<u64>,
}

impl Run {
    fn next_sequence(&self) -> Option<u64> {
        self.first_sequence.checked_add(self.prefixes.len() as u64)
    }
}

/// What the history says of a record whose sequence runs backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing stood at this sequence before.
    Never,
    /// The same record did.
    Same,
    /// Another record did; the first eight bytes of its hash.
    Other(u64),
}

impl History {
    pub(crate) fn push(&mut self, sequence: u64, hash: &Hash, index: u64) {
        if index >= HISTORY_LIMIT {
            return;
        }
        match self.runs.last_mut() {
            Some(run) if run.next_sequence() == Some(sequence) && run.prefixes.len() < RUN_LENGTH => {
                run.prefixes.push(hash.prefix());
            }
            _ => self.runs.push(Run {
                first_sequence: sequence,
                first_index: index,
                prefixes: vec![hash.prefix()],
            }),
        }
    }

    /// Appends the history that follows this one.
    pub(crate) fn append(&mut self, mut next: History) {
        let joins = match (self.runs.last(), next.runs.first()) {
            (Some(last), Some(first)) => {
                last.next_sequence() == Some(first.first_sequence)
                    && last.prefixes.len() + first.prefixes.len() <= RUN_LENGTH
            }
            _ => false,
        };
        if joins {
            let first = next.runs.remove(0);
            if let Some(last) = self.runs.last_mut() {
                last.prefixes.extend_from_slice(&first.prefixes);
            }
        }
        self.runs.append(&mut next.runs);
    }

    /// For each (sequence, index) of a record that ran backwards: what stood there before it. One pass over
    /// the runs, whatever their number and the number of queries.
    pub(crate) fn look_up(&self, queries: &[(u64, u64)]) -> HashMap<u64, Seen> {
        let mut sequences: Vec<u64> = queries.iter().map(|(sequence, _)| *sequence).collect();
        sequences.sort_unstable();
        sequences.dedup();
        let asked: HashSet<u64> = queries.iter().map(|(_, index)| *index).collect();

        let mut first_seen: HashMap<u64, u64> = HashMap::new();
        let mut seen: HashSet<(u64, u64)> = HashSet::new();
        let mut answers = HashMap::new();
        for run in &self.runs {
            // A record that ran backwards begins a run.
            if asked.contains(&run.first_index)
                && let Some(prefix) = run.prefixes.first()
            {
                let answer = match first_seen.get(&run.first_sequence) {
                    None => Seen::Never,
                    Some(_) if seen.contains(&(run.first_sequence, *prefix)) => Seen::Same,
                    Some(other) => Seen::Other(*other),
                };
                answers.insert(run.first_index, answer);
            }
            let from = sequences.partition_point(|sequence| *sequence < run.first_sequence);
            for sequence in &sequences[from..] {
                let offset = (sequence - run.first_sequence) as usize;
                let Some(prefix) = run.prefixes.get(offset) else { break };
                first_seen.entry(*sequence).or_insert(*prefix);
                seen.insert((*sequence, *prefix));
            }
        }
        answers
    }
}
