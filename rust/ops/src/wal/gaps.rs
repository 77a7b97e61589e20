//! Checks that all of the write-ahead log that a backup needs is archived: arithmetic of names, and timelines.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde::Serialize;

use super::name::{Lsn, Segment, WalName, receiving_key};
use super::packed;
use super::timelines::Line;
use crate::adopt::{self, Adopted};
use crate::archive::{Archive, Identity};
use crate::data_folder;
use crate::error::Error;

/// The origin of a timeline: its ancestors, oldest first, each with the position at which it was left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History(pub Vec<(u32, Lsn)>);

/// The longest history file that is read: a line for each of thousands of promotions.
const MAX_HISTORY_BYTES: u64 = 1 << 20;

impl History {
    /// Parses the history file of a timeline: lines of timeline, position and reason. As in PostgreSQL, the numbers
    /// of timelines only grow, so that the way back to the first one has no cycle.
    ///
    /// # Errors
    /// A sentence about the first wrong line.
    pub fn read(timeline: u32, text: &str) -> Result<History, String> {
        let mut ancestors: Vec<(u32, Lsn)> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut fields = line.split_whitespace();
            let ancestor = fields.next().and_then(|field| field.parse::<u32>().ok());
            let position = fields.next().and_then(|field| field.parse::<Lsn>().ok());
            let ancestor = ancestor.zip(position);
            let (ancestor, position) =
                ancestor.ok_or_else(|| format!("not a line of a timeline history: {line:?}"))?;
            let follows = ancestors.last().is_none_or(|(last, left)| *last < ancestor && *left <= position);
            if ancestor == 0 || ancestor >= timeline || !follows {
                return Err(format!("timeline {timeline} cannot branch from there: {line:?}"));
            }
            ancestors.push((ancestor, position));
        }
        Ok(History(ancestors))
    }

    /// Reads the history of a timeline from the file of a server.
    pub(crate) fn of_file(timeline: u32, file: &Path) -> Result<History, Error> {
        let missing = || Error::io("read", file)(io::ErrorKind::NotFound.into());
        let text = data_folder::text(file)?.ok_or_else(missing)?;
        History::read(timeline, &text)
            .map_err(|problem| Error::Archive { place: file.display().to_string(), problem })
    }
}

/// The write-ahead log in an archive.
#[derive(Clone, Default, Debug)]
pub struct Inventory {
    /// The size of a segment.
    pub segment_bytes: u64,
    /// Complete segments, by timeline and number.
    pub segments: BTreeSet<(u32, u64)>,
    /// Segments of which only the beginning is archived.
    pub beginnings: BTreeSet<(u32, u64)>,
    /// The origins of the timelines.
    pub histories: BTreeMap<u32, History>,
    /// The time at which the newest segment was archived, Unix milliseconds.
    pub newest_ms: u64,
    /// The times at which the first and the last complete file of each timeline were archived, Unix milliseconds.
    pub activity: BTreeMap<u32, (u64, u64)>,
    /// The restored copy that writes the archive now.
    pub adopted: Option<Adopted>,
}

impl Inventory {
    /// Lists an archive and reads its histories.
    ///
    /// # Errors
    /// The archive or a history cannot be read.
    pub async fn of(archive: &Archive) -> Result<Inventory, Error> {
        let identity = archive.existing_identity().await?;
        let segment_bytes = identity.wal_segment_bytes;
        let adopted = adopt::adopted(archive).await?;
        let mut inventory = Inventory { segment_bytes, adopted, ..Inventory::default() };
        for object in archive.objects().list("wal/").await? {
            match WalName::of_key(&object.key) {
                Some(WalName::Segment(segment)) if segment.is_possible(segment_bytes) => {
                    inventory.segments.insert((segment.timeline, segment.number(segment_bytes)));
                    inventory.newest_ms = inventory.newest_ms.max(object.modified_ms);
                    inventory.note(segment.timeline, object.modified_ms);
                }
                Some(WalName::Partial(segment)) if segment.is_possible(segment_bytes) => {
                    inventory.beginnings.insert((segment.timeline, segment.number(segment_bytes)));
                }
                Some(WalName::History(timeline)) => {
                    let history = read_history(archive, timeline, identity).await?;
                    inventory.histories.insert(timeline, history);
                    inventory.note(timeline, object.modified_ms);
                }
                Some(WalName::Segment(_) | WalName::Partial(_) | WalName::Backup(..)) | None => {}
            }
        }
        for object in archive.objects().list("partial/").await? {
            let name = object.key.strip_prefix("partial/").and_then(|name| name.strip_suffix(".zst"));
            let segment = name.and_then(|name| name.parse::<Segment>().ok());
            let is_possible = |segment: &Segment| {
                receiving_key(*segment) == object.key && segment.is_possible(segment_bytes)
            };
            if let Some(segment) = segment.filter(is_possible) {
                inventory.beginnings.insert((segment.timeline, segment.number(segment_bytes)));
                inventory.newest_ms = inventory.newest_ms.max(object.modified_ms);
            }
        }
        Ok(inventory)
    }

    /// Notes that a file of a timeline was archived at a time.
    fn note(&mut self, timeline: u32, at_ms: u64) {
        let (first, last) = self.activity.entry(timeline).or_insert((at_ms, at_ms));
        *first = at_ms.min(*first);
        *last = at_ms.max(*last);
    }
}

pub(crate) async fn read_history(
    archive: &Archive,
    timeline: u32,
    identity: Identity,
) -> Result<History, Error> {
    let (folder, key) = (archive.temporary()?, WalName::History(timeline).key());
    let (packed, file) = (folder.path().join("packed"), folder.path().join("history"));
    archive.fetch(&key, &packed).await?;
    let subject = WalName::History(timeline).subject(identity);
    let (content, _) = packed::unpack(archive, &packed, &file, &subject)?;
    if content.size > MAX_HISTORY_BYTES {
        return Err(archive.problem(format!("{key}: not a timeline history ({} bytes)", content.size)));
    }
    let text = std::fs::read_to_string(&file).map_err(Error::io("read", &file))?;
    History::read(timeline, &text).map_err(|problem| archive.problem(format!("{key}: {problem}")))
}

/// A range of missing segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Gap {
    /// The first segment.
    pub first: Segment,
    /// The last segment.
    pub last: Segment,
    /// The number of segments.
    pub segments: u64,
}

/// The archived write-ahead log from a segment on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Coverage {
    /// The segment at which it must begin.
    pub from: Segment,
    /// The last complete segment, or `None` if there is none from the beginning on.
    pub newest: Option<Segment>,
    /// A segment after it of which the beginning is archived.
    pub receiving: Option<Segment>,
    /// The missing segments in between.
    pub gaps: Vec<Gap>,
}

/// Returns the archived log from `from` on, along a line.
pub fn coverage(inventory: &Inventory, line: &Line, from: Segment) -> Coverage {
    let bytes = inventory.segment_bytes;
    let start = from.number(bytes);
    let timelines = line.from(from, bytes);
    // A timeline ends in the segment in which the next begins.
    let end_of = |at: usize| timelines.get(at + 1).map_or(u64::MAX, |(_, begin)| *begin);
    let ends = (0..timelines.len()).filter_map(|at| {
        let (timeline, begin) = timelines[at];
        let first = begin.max(start);
        let range = (timeline, first)..=(timeline, end_of(at).max(first));
        inventory.segments.range(range).next_back().map(|(_, number)| (*number, at))
    });
    let newest = ends.max();
    // The newest timeline that has begun by then holds a segment; the last one of all may be in an older one only.
    let holder = |number: u64| (0..timelines.len()).rev().find(|at| timelines[*at].1 <= number).unwrap_or(0);
    let at = |number: u64| Segment::at(timelines[holder(number)].0, number, bytes);
    let mut there: BTreeSet<u64> = newest.iter().map(|(number, _)| *number).collect();
    for (index, (timeline, begin)) in timelines.iter().enumerate() {
        let next = timelines[index + 1..].iter().map(|(_, begin)| *begin).min().unwrap_or(u64::MAX);
        let (first, last) = ((*begin).max(start), next.saturating_sub(1));
        let held = (first <= last).then(|| inventory.segments.range((*timeline, first)..=(*timeline, last)));
        there.extend(held.into_iter().flatten().map(|(_, number)| *number));
    }
    // From one archived segment to the next, not number by number: an attacker may have added a distant name.
    let newest_number = newest.map_or(0, |(number, _)| number);
    let mut gaps: Vec<Gap> = Vec::new();
    let mut next = start;
    for number in there.into_iter().filter(|number| *number <= newest_number) {
        if number > next {
            gaps.push(Gap { first: at(next), last: at(number - 1), segments: number - next });
        }
        next = number + 1;
    }
    let newest = newest.map(|(number, at)| Segment::at(timelines[at].0, number, bytes));
    let next = newest.map_or(start, |newest| newest.number(bytes) + 1);
    let receiving =
        timelines.iter().rev().find(|(timeline, _)| inventory.beginnings.contains(&(*timeline, next)));
    let receiving = receiving.map(|(timeline, _)| Segment::at(*timeline, next, bytes));
    Coverage { from, newest, receiving, gaps }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 16 << 20;

    fn inventory(segments: &[(u32, std::ops::RangeInclusive<u64>)], histories: &[(u32, &str)]) -> Inventory {
        let mut inventory = Inventory { segment_bytes: BYTES, ..Inventory::default() };
        for (timeline, numbers) in segments {
            inventory.segments.extend(numbers.clone().map(|number| (*timeline, number)));
        }
        for (timeline, text) in histories {
            inventory.histories.insert(*timeline, History::read(*timeline, text).unwrap());
        }
        inventory
    }

    /// Returns the coverage from a segment of timeline 1 on.
    fn along(inventory: &Inventory, number: u64) -> Coverage {
        let line = inventory.line_through(1, Lsn(number * BYTES));
        coverage(inventory, &line, Segment::at(1, number, BYTES))
    }

    fn names(coverage: &Coverage) -> Vec<(String, String, u64)> {
        let name = |gap: &Gap| (gap.first.to_string(), gap.last.to_string(), gap.segments);
        coverage.gaps.iter().map(name).collect()
    }

    #[test]
    fn missing_ranges_are_named() {
        let there = inventory(&[(1, 3..=5), (1, 9..=9), (1, 0xFF..=0x101)], &[]);
        let found = along(&there, 3);
        let expected = [
            ("000000010000000000000006".to_owned(), "000000010000000000000008".to_owned(), 3),
            ("00000001000000000000000A".to_owned(), "0000000100000000000000FE".to_owned(), 245),
        ];
        assert_eq!(names(&found), expected);
        assert_eq!(found.newest.unwrap().to_string(), "000000010000000100000001");
        assert_eq!(along(&there, 0x100).gaps, []);
        let nothing = along(&there, 0x200);
        assert_eq!((nothing.newest, nothing.gaps.len()), (None, 0));
    }

    #[test]
    fn a_name_that_is_far_off_is_a_gap_like_others() {
        let there = inventory(&[(1, 3..=5), (1, 1 << 40..=1 << 40)], &[]);
        let found = along(&there, 3);
        let segments: Vec<u64> = found.gaps.iter().map(|gap| gap.segments).collect();
        assert_eq!(segments, [(1 << 40) - 6]);
        assert_eq!(found.gaps[0].first.to_string(), "000000010000000000000006");
    }

    #[test]
    fn a_history_leads_back_to_the_first_timeline() {
        assert_eq!(History::read(3, "1\t0/6000100\tx\n2\t0/6000100\ty\n").unwrap().0.len(), 2);
        for circle in
            ["3\t0/1\n", "4\t0/1\n", "0\t0/1\n", "1\t0/1\n1\t0/2\n", "2\t0/1\n1\t0/2\n", "1\t0/2\n2\t0/1\n"]
        {
            assert!(History::read(3, circle).unwrap_err().contains("cannot branch from there"), "{circle}");
        }
    }

    #[test]
    fn timelines_are_followed() {
        // Timeline 2 leaves 1 in segment 6, timeline 3 leaves 2 in segment 8.
        let two = "1\t0/6000100\tno recovery target specified\n";
        let three = "1\t0/6000100\tx\n2\t0/8000000\ty\n";
        let there = inventory(&[(1, 3..=5), (2, 6..=7), (3, 8..=9)], &[(2, two), (3, three)]);
        let found = along(&there, 3);
        assert_eq!(
            (found.gaps.len(), found.newest.unwrap().to_string()),
            (0, "000000030000000000000009".to_owned())
        );
        // Segments that the old primary wrote after the branch do not count.
        let there = inventory(&[(1, 3..=12), (2, 8..=8)], &[(2, two)]);
        let found = along(&there, 3);
        let expected = [("000000020000000000000006".to_owned(), "000000020000000000000007".to_owned(), 2)];
        assert_eq!(names(&found), expected);
        // Nothing is archived on the new timeline yet.
        let there = inventory(&[(1, 3..=6)], &[(2, two)]);
        let found = along(&there, 3);
        assert_eq!(
            (found.gaps.len(), found.newest.unwrap().to_string()),
            (0, "000000010000000000000006".to_owned())
        );
        // A backup of timeline 1 after the branch stays on timeline 1.
        let there = inventory(&[(1, 3..=12), (2, 6..=20)], &[(2, two)]);
        let found = along(&there, 9);
        assert_eq!(
            (found.gaps.len(), found.newest.unwrap().to_string()),
            (0, "00000001000000000000000C".to_owned())
        );
    }
}
