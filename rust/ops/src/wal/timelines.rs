//! The timelines of an archive: their origins, the current one, and the log along the way to it.
//!
//! Every promotion begins a timeline. A server that is promoted after a failover and a restored copy that is adopted
//! ([`crate::adopt`]) archive theirs; log that the parent wrote after the branch is not on the way to the child.

use serde::Serialize;

use super::gaps::Inventory;
use super::name::{Lsn, Segment};

/// An older timeline counts as the current one only if it was archived this much later than the newest one: after a
/// failover the old primary may archive its last segments late.
const LATE_MS: u64 = 10 * 60 * 1000;

/// A timeline without a file for this long before the last file of all is no longer written.
const HOUR_MS: u64 = 3600 * 1000;

/// A part of a line: the log of one timeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Span {
    /// The timeline.
    pub timeline: u32,
    /// Its begin; 0 if unknown.
    pub begin: Lsn,
    /// The position at which the next timeline leaves it; `None` for the last one.
    pub end: Option<Lsn>,
}

/// The way to a timeline: its ancestors, oldest first, and itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line(Vec<Span>);

impl Line {
    /// Returns the timeline that it leads to.
    pub fn timeline(&self) -> u32 {
        self.0.last().map_or(1, |span| span.timeline)
    }

    /// Returns its parts, oldest first.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// Returns true if it contains a timeline.
    pub fn has(&self, timeline: u32) -> bool {
        self.0.iter().any(|span| span.timeline == timeline)
    }

    /// Returns true if it passes through a position of a timeline.
    pub fn passes(&self, timeline: u32, position: Lsn) -> bool {
        let on_it = |span: &Span| span.timeline == timeline && span.end.is_none_or(|end| position <= end);
        self.0.iter().any(on_it)
    }

    /// Returns the timeline before the last one, and the position at which it was left.
    pub fn parent(&self) -> Option<(u32, Lsn)> {
        let span = self.0.len().checked_sub(2).and_then(|at| self.0.get(at))?;
        Some((span.timeline, span.end?))
    }

    /// Returns its timelines from a segment on, each with the number of the segment in which it begins. A segment on
    /// none of its timelines leads nowhere else.
    pub(super) fn from(&self, segment: Segment, segment_bytes: u64) -> Vec<(u32, u64)> {
        let start = segment.number(segment_bytes);
        let rest = self.0.iter().skip_while(|span| span.timeline != segment.timeline).skip(1);
        let rest = rest.map(|span| (span.timeline, span.begin.0 / segment_bytes.max(1)));
        std::iter::once((segment.timeline, start)).chain(rest).collect()
    }
}

/// A timeline beside the followed one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Branch {
    /// The timeline.
    pub timeline: u32,
    /// The last timeline that it shares with the line.
    pub shared: u32,
    /// The position at which the two part, or `None` if no shared part is known.
    pub parted: Option<Lsn>,
    /// Its last complete segment after that.
    pub newest: Segment,
    /// The time at which its last file was archived, Unix milliseconds.
    pub last_ms: u64,
}

impl Inventory {
    /// Returns the way to a timeline by its history; one without a history has no known ancestors.
    pub fn line(&self, timeline: u32) -> Line {
        let ancestors = self.histories.get(&timeline).map_or(&[][..], |history| &history.0);
        let mut begin = Lsn(0);
        let mut spans = Vec::with_capacity(ancestors.len() + 1);
        for (ancestor, end) in ancestors {
            spans.push(Span { timeline: *ancestor, begin, end: Some(*end) });
            begin = *end;
        }
        spans.push(Span { timeline, begin, end: None });
        Line(spans)
    }

    /// Returns every timeline that has files, the oldest first.
    pub fn timelines(&self) -> Vec<u32> {
        let mut timelines: Vec<u32> = self.activity.keys().copied().collect();
        timelines.extend(self.histories.keys());
        timelines.extend(self.segments.iter().map(|(timeline, _)| timeline));
        timelines.sort_unstable();
        timelines.dedup();
        timelines
    }

    /// Returns the timeline on which the archive is written now: the newest one, among the descendants of the adopted
    /// copy if there is one; an older one if it was archived long after the newest one's last file.
    pub fn current(&self) -> Option<u32> {
        let last_ms = |timeline: u32| self.activity.get(&timeline).map_or(0, |(_, last)| *last);
        self.candidates().into_iter().rev().reduce(|chosen, older| {
            if last_ms(older) > last_ms(chosen).saturating_add(LATE_MS) { older } else { chosen }
        })
    }

    /// Returns a newer timeline than [`Inventory::current`], if there is one. Then only times favor the older one,
    /// and copying objects changes their times.
    pub fn newer_than_current(&self) -> Option<u32> {
        self.candidates().last().copied().filter(|newest| Some(*newest) != self.current())
    }

    /// Returns the timelines that may be the current one.
    fn candidates(&self) -> Vec<u32> {
        let comes_from = |timeline: &u32| match &self.adopted {
            Some(adopted) => self.line(*timeline).has(adopted.timeline),
            None => true,
        };
        self.timelines().into_iter().filter(comes_from).collect()
    }

    /// Returns the time at which the first file of a timeline was archived, Unix milliseconds.
    pub fn born_ms(&self, timeline: u32) -> u64 {
        self.activity.get(&timeline).map_or(0, |(first, _)| *first)
    }

    /// Returns the way on from a segment: along the current timeline if that passes through it, else to the newest
    /// one that does.
    pub fn line_through(&self, timeline: u32, position: Lsn) -> Line {
        let passing = |candidate: &u32| self.line(*candidate).passes(timeline, position);
        let current = self.current().filter(passing);
        let to = current.or_else(|| self.timelines().into_iter().rev().find(passing));
        self.line(to.unwrap_or(timeline))
    }

    /// Returns the timelines with log that is not on a line: their log is missing at its end.
    pub fn beside(&self, line: &Line) -> Vec<Branch> {
        let number = |position: Lsn| position.0 / self.segment_bytes.max(1);
        let branch = |timeline: u32| {
            let other = self.line(timeline);
            let newest = self.segments.range((timeline, 0)..=(timeline, u64::MAX)).next_back()?.1;
            let last_ms = self.activity.get(&timeline).map_or(0, |(_, last)| *last);
            let mut shared = other.spans().iter().filter_map(|span| {
                let same = line.spans().iter().find(|same| same.timeline == span.timeline)?;
                Some((span.timeline, [span.end, same.end].into_iter().flatten().min()))
            });
            let (shared, parted) = shared.next_back().unwrap_or((timeline, None));
            // Up to the end of the segment in which they part, both may have it.
            let goes_on = !line.has(timeline) || parted.is_some_and(|parted| newest > number(parted));
            goes_on.then(|| Branch {
                timeline,
                shared,
                parted,
                newest: Segment::at(timeline, newest, self.segment_bytes),
                last_ms,
            })
        };
        self.timelines().into_iter().filter_map(branch).collect()
    }

    /// Returns true if a timeline beside the current one is still archived: within the last hour of archiving, and
    /// well after the current one began.
    pub fn is_living(&self, branch: &Branch) -> bool {
        let began = self.current().map_or(0, |current| self.born_ms(current));
        branch.last_ms > began.saturating_add(LATE_MS)
            && branch.last_ms.saturating_add(HOUR_MS) > self.newest_ms
    }

    /// Returns the file in which a line holds the segment of a number: complete, or its beginning.
    pub(crate) fn on_line(&self, line: &Line, number: u64) -> Option<(Segment, bool)> {
        let bytes = self.segment_bytes.max(1);
        let holds = |span: &&Span| {
            span.begin.0 / bytes <= number && span.end.is_none_or(|end| number <= end.0 / bytes)
        };
        let spans: Vec<u32> = line.spans().iter().rev().filter(holds).map(|span| span.timeline).collect();
        let complete = spans.iter().find(|timeline| self.segments.contains(&(**timeline, number)));
        let found = complete.map(|timeline| (*timeline, true)).or_else(|| {
            let begun = spans.iter().find(|timeline| self.beginnings.contains(&(**timeline, number)));
            begun.map(|timeline| (*timeline, false))
        });
        found.map(|(timeline, complete)| (Segment::at(timeline, number, bytes), complete))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gaps::History;
    use super::*;
    use crate::adopt::Adopted;

    const BYTES: u64 = 16 << 20;
    const MINUTE: u64 = 60_000;

    /// Timeline, its history, its segments, first and last archive time in minutes.
    type Row<'a> = (u32, &'a str, std::ops::RangeInclusive<u64>, (u64, u64));

    fn inventory(rows: &[Row<'_>]) -> Inventory {
        let mut inventory = Inventory { segment_bytes: BYTES, ..Inventory::default() };
        for (timeline, history, numbers, (first, last)) in rows {
            inventory.segments.extend(numbers.clone().map(|number| (*timeline, number)));
            inventory.activity.insert(*timeline, (first * MINUTE, last * MINUTE));
            if !history.is_empty() {
                inventory.histories.insert(*timeline, History::read(*timeline, history).unwrap());
            }
        }
        inventory
    }

    const TWO: &str = "1\t0/6000100\tx\n";
    const THREE: &str = "1\t0/6000100\tx\n2\t0/8000000\ty\n";
    /// It leaves timeline 1 before timeline 2 does.
    const FOUR: &str = "1\t0/4000000\tx\n";

    #[test]
    fn lines_follow_histories() {
        let there =
            inventory(&[(1, "", 3..=9, (0, 9)), (2, TWO, 6..=8, (10, 12)), (3, THREE, 8..=9, (13, 14))]);
        let line = there.line(3);
        assert!(line.passes(1, Lsn(0x600_0100)) && !line.passes(1, Lsn(0x600_0101)));
        assert!(line.passes(2, Lsn(0x700_0000)) && line.passes(3, Lsn(u64::MAX)) && !line.passes(4, Lsn(0)));
        assert_eq!(line.parent(), Some((2, Lsn(0x800_0000))));
        assert_eq!(there.line(1).parent(), None);
        assert_eq!(there.current(), Some(3));
        // Log that timeline 1 wrote after the branch is beside the line.
        let beside = there.beside(&line);
        assert_eq!(beside.len(), 1, "{beside:?}");
        assert_eq!((beside[0].timeline, beside[0].parted), (1, Some(Lsn(0x600_0100))));
        // Seen from timeline 1, both others are beside the line.
        let beside: Vec<u32> = there.beside(&there.line(1)).iter().map(|branch| branch.timeline).collect();
        assert_eq!(beside, [2, 3]);
        // A backup after the branch leads along its own timeline.
        assert_eq!(there.line_through(1, Lsn(0x900_0000)).timeline(), 1);
        assert_eq!(there.line_through(1, Lsn(0x500_0000)).timeline(), 3);
    }

    #[test]
    fn the_current_timeline_is_the_one_that_is_written() {
        // A copy of an earlier version archived timeline 2 once, and the original continues.
        let polluted = inventory(&[(1, "", 3..=90, (0, 900)), (2, TWO, 6..=6, (10, 10))]);
        assert_eq!((polluted.current(), polluted.newer_than_current()), (Some(1), Some(2)));
        // An old primary archives its last segment late.
        let failed_over = inventory(&[(1, "", 3..=6, (0, 12)), (2, TWO, 6..=6, (10, 10))]);
        assert_eq!((failed_over.current(), failed_over.newer_than_current()), (Some(2), None));
        // A copy was adopted: only its descendants count.
        let mut adopted =
            inventory(&[(1, "", 3..=9, (0, 90)), (2, TWO, 6..=8, (10, 12)), (4, FOUR, 4..=5, (20, 20))]);
        adopted.adopted = Some(Adopted { copy: "x".to_owned(), timeline: 4, adopted_at_ms: 20 * MINUTE });
        assert_eq!(adopted.current(), Some(4));
        adopted.adopted = Some(Adopted { copy: "x".to_owned(), timeline: 2, adopted_at_ms: 10 * MINUTE });
        assert_eq!(adopted.current(), Some(2));
    }
}
