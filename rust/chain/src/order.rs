//! Checks whether a chain is complete except for the order of its records.
//!
//! A chain breaks into runs at each failing link. Sorted by sequence, the runs of a complete chain follow each other:
//! every run but the first continues the end of another. In any order of addition, the sum over all ends minus the sum
//! over all starts then equals the last end minus the first start. Only failing links add to the cost.
//!
//! The terms are keyed with a random key per process, so that an attacker cannot choose records with equal sums.

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

/// The ends and starts of the runs of a chain.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Breaks {
    /// Over all breaks: the place of the previous record minus the place that the next record continues.
    sum: u128,
    /// The lowest place that a run continues.
    lowest: Place,
    /// The highest place at which a run ends.
    highest: Place,
}

/// A sequence and its record hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    sequence: u64,
    hash: [u8; 32],
}

impl Place {
    fn held_by(link: &Link) -> Place {
        Place { sequence: link.sequence, hash: *link.hash.as_bytes() }
    }

    /// Returns the place that a record continues. For sequence 0 there is none, so the sequence wraps to the largest
    /// number.
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
    /// Returns the break between a record and the next one, which does not continue it.
    pub(crate) fn between(before: &Link, link: &Link) -> Breaks {
        let (highest, lowest) = (Place::held_by(before), Place::continued_by(link));
        Breaks { sum: highest.term().wrapping_sub(lowest.term()), lowest, highest }
    }

    pub(crate) fn add(&mut self, other: &Breaks) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.lowest = self.lowest.min(other.lowest);
        self.highest = self.highest.max(other.highest);
    }

    /// Returns true if the records, sorted by sequence, contain each sequence once and link to each other; `first` and
    /// `last` are the first and last records found.
    pub(crate) fn are_only_order(&self, first: &Link, last: &Link, records: u64) -> bool {
        let (beginning, end) = (Place::continued_by(first), Place::held_by(last));
        let (lowest, highest) = (self.lowest.min(beginning), self.highest.max(end));
        let found = self.sum.wrapping_add(end.term()).wrapping_sub(beginning.term());
        highest.sequence.checked_sub(lowest.sequence) == Some(records)
            && found == highest.term().wrapping_sub(lowest.term())
    }
}
