//! Parts as rows, to move them between processes and to keep them: one row for each segment, and one of its own.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Again, Block, Contested, Part, PartError, Plan, ROW_BITS};
use crate::finding::{Finding, FindingCode};
use crate::hash::Hash;
use crate::kept;
use crate::report::Input;
use crate::runs::Order;
use crate::segment::{Basis, ChainSpan, Counts, Faults, HeadSight, Link, Segment, Segments, Tally};
use crate::state::{FindingState, InputState};

/// A row of a part: a segment with its device, or the row of the part as a whole, which has no device.
#[derive(Clone, Debug)]
pub struct PartRow {
    /// The device.
    pub device_id: Option<Arc<str>>,
    /// The lowest sequence.
    pub first_sequence: Option<u64>,
    /// The highest sequence.
    pub last_sequence: Option<u64>,
    /// The number of records.
    pub records: u64,
    /// The number of findings.
    pub findings: u64,
    /// Everything else.
    pub state: RowState,
}

/// The content of a row, for a binary format of serde.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct RowState(Content);

#[derive(Serialize, Deserialize, Clone, Debug)]
enum Content {
    Whole(Box<WholeState>),
    Segment(Box<SegmentState>),
}

#[derive(Serialize, Deserialize, Clone, Debug)]
struct WholeState {
    plan: Plan,
    /// The first number of each block, and the number after its last input.
    blocks: Vec<(u64, u64)>,
    loose: Vec<(FindingCode, u64)>,
    findings: Vec<FindingState>,
    /// The places from which on findings were dropped: those of the part, and those of records that were verified again.
    last: [Option<PlaceState>; 2],
    /// The findings that only the log excuses, of the same two.
    withheld: [Vec<FindingState>; 2],
    inputs: Vec<(u64, InputState)>,
    ranges: Contested,
    /// The number of rows with a device.
    rows: u64,
}

/// The place of a finding.
#[derive(Serialize, Deserialize, Clone, Debug)]
struct PlaceState {
    device_id: Option<Arc<str>>,
    sequence: Option<u64>,
    index: Option<u64>,
}

impl From<&Finding> for PlaceState {
    fn from(finding: &Finding) -> PlaceState {
        let Finding { device_id, sequence, index, .. } = finding;
        PlaceState { device_id: device_id.clone(), sequence: *sequence, index: *index }
    }
}

impl From<PlaceState> for Finding {
    fn from(PlaceState { device_id, sequence, index }: PlaceState) -> Finding {
        // Only the place of a record is compared.
        let finding = Finding::new(FindingCode::RecordMalformed, "", "");
        Finding { device_id, sequence, index, ..finding }
    }
}

#[derive(Serialize, Deserialize, Clone, Debug)]
struct SegmentState {
    again: bool,
    first: (u64, Hash, Hash, u64, u64),
    /// None if it is the first. The previous hash is needed for the first link alone.
    last: Option<(u64, Hash, u64, u64)>,
    tally: Tally,
    /// None if it follows from the first and last links.
    span: Option<ChainSpan>,
    sights: [HeadSight; 2],
    faults: Vec<(FindingCode, u64)>,
    runs_backwards: bool,
    contested: bool,
    lacked_only_order: bool,
    basis: Basis,
    /// The kept findings of the device, in its first row.
    findings: Vec<FindingState>,
}

/// The rows of a share, made one at a time: the row of the part as a whole, and those of its segments.
struct ShareRows<'p> {
    segments: std::vec::IntoIter<SegmentOf<'p>>,
    /// The findings kept of each device: of the part, and of records that were verified again.
    findings: [BTreeMap<&'p Arc<str>, Vec<FindingState>>; 2],
    whole: Option<PartRow>,
}

/// A segment with its device, and true if its records were verified again.
type SegmentOf<'p> = (&'p Arc<str>, &'p Segment, bool);

impl Iterator for ShareRows<'_> {
    type Item = PartRow;

    fn next(&mut self) -> Option<PartRow> {
        if let Some(whole) = self.whole.take() {
            return Some(whole);
        }
        let (device_id, segment, again) = self.segments.next()?;
        let findings = self.findings[usize::from(again)].remove(device_id).unwrap_or_default();
        Some(row(device_id, segment, findings, again))
    }
}

impl Part {
    /// Returns the rows of the part.
    pub fn rows(&self) -> Vec<PartRow> {
        self.share_rows(1).into_iter().flatten().collect()
    }

    /// Returns the rows of each share of [`Part::split`]. Only one row is in memory at a time.
    pub fn share_rows(&self, shares: u32) -> Vec<impl Iterator<Item = PartRow>> {
        let shares = shares.max(1);
        let mut segments: Vec<Vec<SegmentOf<'_>>> = (0..shares).map(|_| Vec::new()).collect();
        let own = self.blocks.values().flat_map(|block| block.segments.iter());
        let own = own.map(|(device_id, segment)| (device_id, segment, false));
        let again = self.again.segments.iter().map(|(device_id, segment)| (device_id, segment, true));
        for segment in own.chain(again) {
            segments[super::share_of(segment.0, shares)].push(segment);
        }
        let by_share = |findings: &'_ [Finding]| {
            let mut shared: Vec<Vec<usize>> = vec![Vec::new(); shares as usize];
            for (at, finding) in findings.iter().enumerate() {
                shared[super::share_of_finding(finding, shares)].push(at);
            }
            shared
        };
        let (kept, verified_again) = (by_share(self.kept.findings()), by_share(&self.again.findings));
        let of_share = segments.into_iter().zip(kept).zip(verified_again);
        let rows = (0..shares).zip(of_share).map(|(share, ((mut segments, kept), verified_again))| {
            let place = |(device_id, segment, again): &SegmentOf<'_>| {
                (Arc::clone(device_id), segment.span.lowest_sequence, *again, segment.first.index)
            };
            segments.sort_by_cached_key(place);
            let mut findings = [BTreeMap::new(), BTreeMap::new()];
            let mut loose = Vec::new();
            let with_row: HashSet<&str> = match kept.is_empty() {
                true => HashSet::new(),
                false => segments.iter().filter(|(.., again)| !again).map(|(id, ..)| &***id).collect(),
            };
            for finding in kept.into_iter().map(|at| &self.kept.findings()[at]) {
                match finding.device_id.as_ref().filter(|device_id| with_row.contains(&***device_id)) {
                    Some(device_id) => {
                        findings[0].entry(device_id).or_insert_with(Vec::new).push(finding.into())
                    }
                    None => loose.push(finding.into()),
                }
            }
            for finding in verified_again.into_iter().map(|at| &self.again.findings[at]) {
                if let Some(device_id) = &finding.device_id {
                    findings[1].entry(device_id).or_insert_with(Vec::new).push(finding.into());
                }
            }
            let whole = Some(self.whole_row(share, shares, loose, segments.len() as u64));
            ShareRows { segments: segments.into_iter(), findings, whole }
        });
        rows.collect()
    }

    /// Returns the row of a share as a whole. The counts of findings without a device are in the first share.
    fn whole_row(&self, share: u32, shares: u32, findings: Vec<FindingState>, rows: u64) -> PartRow {
        let loose = if share == 0 { self.loose } else { Counts::default() };
        let counts = FindingCode::ALL.iter().copied().zip(loose);
        let ranges = self.again.ranges.iter();
        let whole = WholeState {
            plan: self.plan,
            blocks: self.blocks.iter().map(|(number, block)| (*number, block.end)).collect(),
            loose: counts.filter(|(_, count)| *count > 0).collect(),
            findings,
            last: [self.kept.last(), self.again.last.as_ref()].map(|last| last.map(PlaceState::from)),
            withheld: [&self.withheld, &self.again.withheld].map(|withheld| {
                let mut own: Vec<&Finding> = withheld
                    .iter()
                    .filter(|finding| super::share_of_finding(finding, shares) == share as usize)
                    .collect();
                own.sort_by(|a, b| kept::compare(self.plan.order, a, b));
                own.into_iter().map(FindingState::from).collect()
            }),
            inputs: self.inputs.iter().map(|(number, input)| (*number, input.into())).collect(),
            ranges: ranges
                .filter(|(device_id, _)| super::share_of(device_id, shares) == share as usize)
                .map(|(device_id, ranges)| (Arc::clone(device_id), ranges.clone()))
                .collect(),
            rows,
        };
        PartRow {
            device_id: None,
            first_sequence: None,
            last_sequence: None,
            records: 0,
            findings: loose.iter().fold(0, |sum: u64, count| sum.saturating_add(*count)),
            state: RowState(Content::Whole(Box::new(whole))),
        }
    }

    fn add_whole(&mut self, whole: WholeState) -> Result<(), PartError> {
        const OVERLAP: PartError = PartError::Inconsistent("its inputs overlap");
        let WholeState { plan, blocks, loose, findings, last, withheld, inputs, ranges, rows: _ } = whole;
        let [withheld, withheld_again] =
            withheld.map(|all| all.into_iter().map(Finding::from).collect::<Vec<_>>());
        let [last, last_again] = last.map(|last| last.map(Finding::from));
        self.check_plan(&plan)?;
        for (number, input) in inputs {
            let input = Input::from(input);
            if number > super::MAX_NUMBER || input.entries >> ROW_BITS > 0 {
                return Err(super::TOO_HIGH);
            }
            if self.inputs.insert(number, input).is_some() {
                return Err(PartError::Repeated(number));
            }
        }
        for (number, end) in blocks {
            match self.plan.order {
                Order::Position => {
                    let before = self.blocks.range(..=number).next_back().map(|(_, block)| block.end);
                    let after = self.blocks.range(number..).next().map(|(number, _)| *number);
                    let is_free = before.is_none_or(|before| before <= number)
                        && after.is_none_or(|after| end <= after && number < after);
                    let inputs = end.checked_sub(number).ok_or(OVERLAP)?;
                    if !is_free || self.inputs.range(number..end).count() as u64 != inputs {
                        return Err(OVERLAP);
                    }
                    self.blocks.insert(number, Block { end, segments: Segments::default() });
                }
                Order::Sequence if number == 0 => {
                    let block = self.blocks.entry(0).or_default();
                    block.end = block.end.max(end);
                }
                Order::Sequence => return Err(OVERLAP),
            }
        }
        for (code, count) in loose {
            let total = &mut self.loose[code as usize];
            *total = total.saturating_add(count);
        }
        self.kept.add_until(findings.into_iter().map(Finding::from).collect(), last);
        self.withheld.extend(withheld);
        let again = Again { ranges, last: last_again, withheld: withheld_again, ..Again::default() };
        self.again.append(again, self.plan.order);
        Ok(())
    }

    /// Returns true if the inputs of a segment are known. Those of records that were verified again are known at the end.
    fn has_inputs_of(&self, state: &SegmentState) -> bool {
        let SegmentState { again, first: (.., first), last, .. } = state;
        let last = last.as_ref().map_or(first, |(.., last)| last);
        !again && [first, last].into_iter().all(|index| self.inputs.contains_key(&(index >> ROW_BITS)))
    }

    fn add_segment(&mut self, device_id: Arc<str>, state: SegmentState) -> Result<(), PartError> {
        let order = self.plan.order;
        let again = state.again;
        let (segment, findings) = state.restored(order)?;
        let (first, last) = (segment.first.index >> ROW_BITS, segment.last.index >> ROW_BITS);
        const OUTSIDE: PartError = PartError::Inconsistent("a record is outside of its inputs");
        if again {
            let ranges = self.again.ranges.get(&device_id).map_or(&[][..], Vec::as_slice);
            let span = &segment.span;
            let range = super::meets(ranges, span.lowest_sequence, span.highest_sequence);
            let is_inside = range.is_some_and(|range| {
                range.first <= span.lowest_sequence && span.highest_sequence <= range.last
            });
            if !is_inside || self.again.segments.chains.contains_key(&device_id) {
                return Err(PartError::Changed(device_id));
            }
            self.again.segments.put(device_id, segment, order);
            self.again.segments.found = Default::default();
            self.again.findings.extend(findings);
            return Ok(());
        }
        if !self.inputs.contains_key(&first) || !self.inputs.contains_key(&last) {
            return Err(OUTSIDE);
        }
        let at = self.block(first);
        let Some((_, block)) = self.blocks.range_mut(..=at).next_back() else { return Err(OUTSIDE) };
        if order == Order::Position && (block.end <= first || block.end <= last || last < first) {
            return Err(OUTSIDE);
        }
        if block.segments.chains.contains_key(&device_id) {
            return Err(PartError::Inconsistent("a device has two rows for the same inputs"));
        }
        let mut alone = Segments::default();
        alone.put(device_id, segment, order);
        block.segments = super::join(std::mem::take(&mut block.segments), alone, &mut self.kept)?;
        self.kept.add(findings);
        Ok(())
    }
}

/// A part that is restored from its rows, or from those of several parts of a run, in any order. Only rows that come before
/// that of their part as a whole are in memory; the others are joined at once.
#[derive(Default)]
pub struct Restored {
    part: Option<Part>,
    /// The number of rows with a device, by the rows without one.
    expected: u64,
    found: u64,
    waiting: Vec<(Arc<str>, Box<SegmentState>)>,
}

impl Restored {
    /// Adds a row. After an error the part is of no use.
    ///
    /// # Errors
    /// The row contradicts others.
    pub fn add(&mut self, device_id: Option<Arc<str>>, RowState(content): RowState) -> Result<(), PartError> {
        match (device_id, content) {
            (None, Content::Whole(whole)) => {
                self.expected = self.expected.saturating_add(whole.rows);
                self.part.get_or_insert_with(|| Part::of_plan(whole.plan)).add_whole(*whole)
            }
            (Some(device_id), Content::Segment(segment)) => {
                self.found += 1;
                match &mut self.part {
                    Some(part) if part.has_inputs_of(&segment) => part.add_segment(device_id, *segment),
                    _ => {
                        self.waiting.push((device_id, segment));
                        Ok(())
                    }
                }
            }
            _ => Err(PartError::Inconsistent("the device of a row is not that of its state")),
        }
    }

    /// Returns the part of all rows.
    ///
    /// # Errors
    /// Rows are missing, are there twice, or are not of one run.
    pub fn finish(self) -> Result<Part, PartError> {
        let Some(mut part) = self.part else {
            return Err(PartError::Inconsistent("the row without a device is missing"));
        };
        if self.expected != self.found {
            return Err(PartError::Inconsistent("rows are missing, or are there twice"));
        }
        part.again.sort()?;
        for (device_id, state) in self.waiting {
            part.add_segment(device_id, *state)?;
        }
        part.checked()
    }
}

fn row(device_id: &Arc<str>, segment: &Segment, findings: Vec<FindingState>, again: bool) -> PartRow {
    let Segment { first, last, span, .. } = segment;
    let implied = implied_span(first, last);
    let state = SegmentState {
        again,
        first: (first.sequence, first.hash, first.prev, first.timestamp_ms, first.index),
        last: (last.index != first.index || last.sequence != first.sequence).then_some((
            last.sequence,
            last.hash,
            last.timestamp_ms,
            last.index,
        )),
        tally: segment.tally,
        span: (*span != implied).then_some(*span),
        sights: segment.sights(),
        faults: segment.faults.iter().collect(),
        runs_backwards: segment.runs_backwards,
        contested: segment.contested,
        lacked_only_order: segment.lacked_only_order,
        basis: segment.basis,
        findings,
    };
    PartRow {
        device_id: Some(Arc::clone(device_id)),
        first_sequence: Some(span.lowest_sequence),
        last_sequence: Some(span.highest_sequence),
        records: span.records,
        findings: segment.faults.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(count)),
        state: RowState(Content::Segment(Box::new(state))),
    }
}

/// Returns the span of a chain that has every sequence once, in order of time.
fn implied_span(first: &Link, last: &Link) -> ChainSpan {
    ChainSpan {
        records: last.sequence.saturating_sub(first.sequence).saturating_add(1),
        lowest_sequence: first.sequence,
        highest_sequence: last.sequence,
        earliest_ms: first.timestamp_ms,
        latest_ms: last.timestamp_ms,
    }
}

impl SegmentState {
    fn restored(self, order: Order) -> Result<(Segment, Vec<Finding>), PartError> {
        let (sequence, hash, prev, timestamp_ms, index) = self.first;
        let first = Link { sequence, hash, prev, timestamp_ms, index };
        let last = match self.last {
            Some((sequence, hash, timestamp_ms, index)) => {
                Link { sequence, hash, prev: Hash::ZERO, timestamp_ms, index }
            }
            None => first,
        };
        let span = self.span.unwrap_or(implied_span(&first, &last));
        let is_whole = span.lowest_sequence == first.sequence && span.highest_sequence == last.sequence;
        let holds = |link: &Link| (span.lowest_sequence..=span.highest_sequence).contains(&link.sequence);
        if span.records == 0 || !holds(&first) || !holds(&last) || (order == Order::Sequence && !is_whole) {
            return Err(PartError::Inconsistent("the records of a device are not within its sequences"));
        }
        let Tally { payload_hash_signatures, record_signatures, unsigned, other_scheme, payloads } =
            self.tally;
        let [one, other] = other_scheme;
        let checked = [payload_hash_signatures, record_signatures, unsigned, one, other, payloads];
        let faults = self.faults.iter().map(|(_, count)| *count);
        if checked.into_iter().chain(faults).any(|count| count > span.records) {
            return Err(PartError::Inconsistent("it counts more than its records"));
        }
        let mut segment = Segment::new(first, Order::Sequence);
        segment.last = last;
        segment.tally = self.tally;
        segment.span = span;
        segment.set_sights(self.sights);
        let mut faults = Faults::default();
        self.faults.into_iter().for_each(|(code, count)| faults.add(code, count));
        segment.faults = faults;
        segment.runs_backwards = self.runs_backwards;
        segment.contested = self.contested;
        segment.lacked_only_order = self.lacked_only_order;
        segment.basis = self.basis;
        Ok((segment, self.findings.into_iter().map(Finding::from).collect()))
    }
}
