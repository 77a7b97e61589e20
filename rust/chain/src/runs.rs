//! Chains whose records come in any order, as in a table: their place is their sequence.
//!
//! A run is a segment of consecutive sequences. Runs that touch are joined, so records in any order become one run if none
//! is missing. Two segments with the same sequence are contested: only their records, sorted together, decide which
//! findings they have.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::segment::{Found, Segment};

/// The order of the records of a chain. Exhaustive: each place that joins segments decides about each order.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The order in which the input has them, as in an export.
    #[default]
    Position,
    /// The order of [`AuditRecord::cmp_in_table`](crate::AuditRecord::cmp_in_table), as in a table.
    Sequence,
}

/// The runs of a chain by first sequence. They neither overlap nor touch.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) enum Runs {
    #[default]
    None,
    /// Most chains have one run, and a map of it would take 200 bytes more.
    One(Box<Segment>),
    /// In the order of their sequences: every chain has two while one file is missing between others.
    Two([Box<Segment>; 2]),
    /// At least three.
    Many(BTreeMap<u64, Box<Segment>>),
}

impl Runs {
    fn of(mut runs: BTreeMap<u64, Box<Segment>>) -> Runs {
        if runs.len() > 2 {
            return Runs::Many(runs);
        }
        let mut first = || runs.pop_first().map(|(_, run)| run);
        match (first(), first()) {
            (Some(one), Some(next)) => Runs::Two([one, next]),
            (Some(one), None) => Runs::One(one),
            (None, _) => Runs::None,
        }
    }

    fn into_map(self) -> BTreeMap<u64, Box<Segment>> {
        match self {
            Runs::None => BTreeMap::new(),
            Runs::One(run) => BTreeMap::from([(run.first.sequence, run)]),
            Runs::Two(runs) => runs.map(|run| (run.first.sequence, run)).into(),
            Runs::Many(runs) => runs,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Runs::None => 0,
            Runs::One(_) => 1,
            Runs::Two(_) => 2,
            Runs::Many(runs) => runs.len(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Segment> {
        let (few, many): (&[Box<Segment>], _) = match self {
            Runs::None => (&[], None),
            Runs::One(run) => (std::slice::from_ref(run), None),
            Runs::Two(runs) => (&runs[..], None),
            Runs::Many(runs) => (&[], Some(runs)),
        };
        few.iter().chain(many.into_iter().flat_map(BTreeMap::values)).map(|run| &**run)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        let (few, many): (&mut [Box<Segment>], _) = match self {
            Runs::None => (&mut [], None),
            Runs::One(run) => (std::slice::from_mut(run), None),
            Runs::Two(runs) => (&mut runs[..], None),
            Runs::Many(runs) => (&mut [], Some(runs)),
        };
        few.iter_mut().chain(many.into_iter().flat_map(BTreeMap::values_mut)).map(|run| &mut **run)
    }

    pub(crate) fn into_segments(self) -> impl Iterator<Item = Segment> {
        let (few, many) = match self {
            Runs::None => ([None, None], None),
            Runs::One(run) => ([Some(run), None], None),
            Runs::Two(runs) => (runs.map(Some), None),
            Runs::Many(runs) => ([None, None], Some(runs)),
        };
        few.into_iter().flatten().chain(many.into_iter().flat_map(BTreeMap::into_values)).map(|run| *run)
    }

    pub(crate) fn last(&self) -> Option<&Segment> {
        match self {
            Runs::None => None,
            Runs::One(run) | Runs::Two([_, run]) => Some(&**run),
            Runs::Many(runs) => runs.last_key_value().map(|(_, run)| &**run),
        }
    }

    /// Returns the run with this sequence.
    pub(crate) fn at_mut(&mut self, sequence: u64) -> Option<&mut Segment> {
        let run = match self {
            Runs::None => return None,
            Runs::One(run) => run,
            Runs::Two([run, next]) if sequence < next.first.sequence => run,
            Runs::Two([_, run]) => run,
            Runs::Many(runs) => runs.range_mut(..=sequence).next_back()?.1,
        };
        Some(&mut **run).filter(|run| (run.first.sequence..=run.last.sequence).contains(&sequence))
    }

    /// Removes the run of exactly these sequences.
    pub(crate) fn take(&mut self, first: u64, last: u64) -> Option<Segment> {
        let run = self.at_mut(first)?;
        if (run.first.sequence, run.last.sequence) != (first, last) {
            return None;
        }
        let mut runs = std::mem::take(self).into_map();
        let taken = runs.remove(&first);
        *self = Runs::of(runs);
        taken.map(|run| *run)
    }

    /// Adds a run, and joins it with those that it touches or overlaps. The result does not depend on the order in which
    /// runs are added, except for the findings of contested runs, which are verified again.
    pub(crate) fn insert(&mut self, device_id: &Arc<str>, run: Segment, found: &mut Found) {
        let mut run = Box::new(run);
        *self = match std::mem::take(self) {
            Runs::None => Runs::One(run),
            Runs::One(own) if are_near(&own, &run) => Runs::One(join(device_id, own, run, found)),
            Runs::One(own) if own.first.sequence < run.first.sequence => Runs::Two([own, run]),
            Runs::One(own) => Runs::Two([run, own]),
            own => {
                let mut runs = own.into_map();
                let (first, last) = (run.first.sequence, run.last.sequence);
                let before = runs.range(..first).next_back().filter(|(_, before)| are_near(before, &run));
                let touching = before.into_iter().chain(runs.range(first..=last.saturating_add(1)));
                let touching: Vec<u64> = touching.map(|(at, _)| *at).collect();
                for at in touching {
                    if let Some(other) = runs.remove(&at) {
                        run = join(device_id, other, run, found);
                    }
                }
                runs.insert(run.first.sequence, run);
                Runs::of(runs)
            }
        };
    }

    pub(crate) fn merge(&mut self, device_id: &Arc<str>, other: Runs, found: &mut Found) {
        for run in other.into_segments() {
            self.insert(device_id, run, found);
        }
    }

    /// Joins all runs: the sequences between two of them are missing.
    pub(crate) fn joined(self, device_id: &Arc<str>, found: &mut Found) -> Option<Segment> {
        let mut runs = self.into_segments();
        let mut chain = runs.next()?;
        for run in runs {
            chain.append(device_id, run, found);
        }
        Some(chain)
    }
}

/// Returns true if two runs touch or overlap.
fn are_near(a: &Segment, b: &Segment) -> bool {
    let reaches =
        |one: &Segment, other: &Segment| other.first.sequence <= one.last.sequence.saturating_add(1);
    reaches(a, b) && reaches(b, a)
}

fn join(device_id: &Arc<str>, a: Box<Segment>, b: Box<Segment>, found: &mut Found) -> Box<Segment> {
    let (mut low, high) = if a.first.sequence <= b.first.sequence { (a, b) } else { (b, a) };
    if low.contested || high.contested || low.last.sequence >= high.first.sequence {
        low.contest(*high);
    } else {
        low.append(device_id, *high, found);
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;
    use crate::segment::Link;

    /// Returns runs of one record each, which are linked.
    fn runs(sequences: &[u64]) -> Runs {
        let (mut runs, mut found) = (Runs::default(), Found::default());
        for sequence in sequences {
            let hash = |sequence: u64| Hash::of(&sequence.to_le_bytes());
            let link = Link {
                sequence: *sequence,
                hash: hash(*sequence),
                prev: hash(sequence.wrapping_sub(1)),
                timestamp_ms: 0,
                index: *sequence,
            };
            runs.insert(&"a".into(), Segment::new(link, Order::Sequence), &mut found);
        }
        assert_eq!(found.findings, []);
        runs
    }

    fn ranges(runs: &Runs) -> Vec<(u64, u64)> {
        runs.iter().map(|run| (run.first.sequence, run.last.sequence)).collect()
    }

    #[test]
    fn runs_that_touch_are_joined() {
        assert_eq!(ranges(&runs(&[5, 7, 1, 6, 2])), [(1, 2), (5, 7)]);
        assert_eq!(ranges(&runs(&[3, 5, 4, 4])), [(3, 5)]);
        assert_eq!(ranges(&runs(&[9, 1, 5, 4, 8])), [(1, 1), (4, 5), (8, 9)]);
        assert_eq!(ranges(&runs(&[9, 1, 5, 2, 3, 4])), [(1, 5), (9, 9)]);
        assert_eq!(ranges(&runs(&[1, 3, 7, 5])), [(1, 1), (3, 3), (5, 5), (7, 7)]);
        assert_eq!(ranges(&runs(&[u64::MAX, 0, u64::MAX - 1])), [(0, 0), (u64::MAX - 1, u64::MAX)]);
    }

    #[test]
    fn a_run_is_found_by_its_sequences() {
        let mut runs = runs(&[1, 2, 3, 6]);
        let at = [0, 1, 3, 4, 6, 7].map(|sequence| runs.at_mut(sequence).map(|run| run.first.sequence));
        assert_eq!(at, [None, Some(1), Some(1), None, Some(6), None]);
        for (first, last) in [(1, 2), (2, 3), (1, 4), (1, 6)] {
            assert!(runs.take(first, last).is_none(), "{first} {last}");
        }
        assert_eq!(runs.take(1, 3).map(|run| run.span.records), Some(3));
        assert_eq!(ranges(&runs), [(6, 6)]);
    }
}
