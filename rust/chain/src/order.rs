//! Whether a chain is whole but for the order in which its records came.
//!
//! A chain breaks into runs where a link fails. Sorted by sequence, the runs of a whole chain follow each other: every
//! run but the first begins behind the end of another. The sum over all ends less the sum over all beginnings is then
//! that of the last end less the first beginning, in whatever order they were added. Only failing links cost anything.
//!
//! The terms are keyed by chance, once a process, so that nobody can choose records whose sums agree.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use crate::segment::Link;

static KEY: LazyLock<[u8; 32]> = LazyLock::new(|| {
    let mut key = [0; 32];
    for (number, word) in key.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&RandomState::new().hash_one(number).to_le_bytes());
    }
    key
});

/// Where the runs of a chain end and begin.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Breaks {
    /// Over all breaks: the place that the record before holds, less the place that the record behind continues.
    sum: u128,
    /// The lowest place that a run continues.
    lowest: Place,
    /// The highest place at which a run ends.
    highest: Place,
}

/// A sequence and the record hash there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    sequence: u64,
    hash: [u8; 32],
}

impl Place {
    fn held_by(link: &Link) -> Place {
        Place { sequence: link.sequence, hash: *link.hash.as_bytes() }
    }

    /// A record of sequence 0 continues none: the largest number stands for that.
    fn continued_by(link: &Link) -> Place {
        Place { sequence: link.sequence.wrapping_sub(1), hash: *link.prev.as_bytes() }
    }

    fn term(&self) -> u128 {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..].copy_from_slice(&self.hash);
        let mut term = [0; 16];
        term.copy_from_slice(&blake3::keyed_hash(&KEY, &bytes).as_bytes()[..16]);
        u128::from_le_bytes(term)
    }
}

impl Breaks {
    /// The break between a record and the one behind it, which does not continue it.
    pub(crate) fn between(before: &Link, link: &Link) -> Breaks {
        let (highest, lowest) = (Place::held_by(before), Place::continued_by(link));
        Breaks { sum: highest.term().wrapping_sub(lowest.term()), lowest, highest }
    }

    pub(crate) fn add(&mut self, other: &Breaks) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.lowest = self.lowest.min(other.lowest);
        self.highest = self.highest.max(other.highest);
    }

    /// Whether the records, sorted by sequence, hold each sequence once and link to each other; `first` and `last` are
    /// those found first and last.
    pub(crate) fn are_only_order(&self, first: &Link, last: &Link, records: u64) -> bool {
        let (beginning, end) = (Place::continued_by(first), Place::held_by(last));
        let (lowest, highest) = (self.lowest.min(beginning), self.highest.max(end));
        let found = self.sum.wrapping_add(end.term()).wrapping_sub(beginning.term());
        highest.sequence.checked_sub(lowest.sequence) == Some(records)
            && found == highest.term().wrapping_sub(lowest.term())
    }
}
