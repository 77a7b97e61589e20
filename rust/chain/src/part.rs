//! Parts: the results of workers that verified some of the inputs of one run. Parts merge in any order and any grouping, and
//! the report of all is that of one process over all inputs.
//!
//! A part has one small segment for each chain in it, and no records. Where segments cannot decide which findings there
//! are, the chain is contested, and its records are verified again as a part of their own. A report exists only when no
//! chain is contested.
//!
//! A part of another process is as trusted as that process: its author decides the verdict. The checks here keep damaged
//! parts, and those of another run, out of a report.

mod state;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

pub use self::state::{PartRow, Restored, RowState};
use crate::checks::{Checks, Claim, Claims, PayloadError, Payloads};
use crate::escape;
use crate::finding::Finding;
use crate::hash::Hash;
use crate::head::Heads;
use crate::kept::{self, Kept};
use crate::key::KeyRing;
use crate::level::ProvidedBy;
use crate::record::AuditRecord;
use crate::report::{Input, Report};
use crate::runs::Order;
use crate::segment::{Basis, Counts, Found, HeadSight, Segment, Segments};

/// Bits of a position for the row in an input; the number of the input is above them.
const ROW_BITS: u32 = 40;
/// The largest number of an input.
pub const MAX_NUMBER: u64 = (1 << (64 - ROW_BITS - 1)) - 1;
/// The error about a number of an input, or of a row in it.
const TOO_HIGH: PartError =
    PartError::Inconsistent("a position is above 2^23-1, or an input has 2^40 records");
/// The limit of segments beyond one for each chain, in the order of sequence: 1 GiB at most.
pub const MAX_OPEN_GAPS: usize = 1 << 20;

/// The reason why parts do not make a report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// Two parts have the same input.
    #[error(
        "input {0} is in two parts; merge each part once, and give each input of a run a position of its own"
    )]
    Repeated(u64),
    /// The parts are of runs with different options.
    #[error("the parts are of different runs: {0} differ; verify all parts with the same options")]
    OtherRun(&'static str),
    /// The keys or heads of a device differ between parts, or from those of the report.
    #[error(
        "device {}: its {what} are not the same in all parts and in the report; use the same for all",
        escape::quoted(device_id)
    )]
    OtherBasis {
        /// The device.
        device_id: Arc<str>,
        /// Keys or heads.
        what: &'static str,
    },
    /// An input is not there.
    #[error("input {0} is in no part; merge the parts of all inputs, whose positions have no holes")]
    Missing(u64),
    /// There are not as many inputs as the caller expects.
    #[error("the parts have {found} inputs, expected {expected}; merge the parts of all inputs, each once")]
    Inputs {
        /// The expected number.
        expected: u64,
        /// The actual number.
        found: u64,
    },
    /// Contested chains have not been verified again.
    #[error(
        "{devices} contested, first {}; verify their records again: contested=segments.contested",
        escape::quoted(first)
    )]
    Contested {
        /// The number of devices, with its verb.
        devices: String,
        /// The first device.
        first: Arc<str>,
    },
    /// Records that were verified again are not those that were contested.
    #[error(
        "device {}: the records that were verified again are not those of the parts; verify all inputs again with \
         contested=segments.contested of all parts",
        escape::quoted(.0)
    )]
    Changed(Arc<str>),
    /// The rows are in no order, so that memory would not be limited.
    #[error(
        "the records are in random order: more than {MAX_OPEN_GAPS} gaps are open; sort them by device_id and sequence, or \
         verify fewer devices at a time"
    )]
    Scattered,
    /// A trusted head that the workers did not have is not at the end of the chain.
    #[error(
        "device {}: its head at sequence {sequence} is before the last record, and the parts were verified without \
         heads; use the head of the last record, or verify the parts with heads",
        escape::quoted(device_id)
    )]
    EarlierHead {
        /// The device.
        device_id: Arc<str>,
        /// The sequence of the head.
        sequence: u64,
    },
    /// The keys of the parts are needed to compare them with those of the log.
    #[error(
        "the parts were verified with keys and a log; give the same keys to the report, to compare them with the log"
    )]
    KeysNeeded,
    /// A number in a part is impossible.
    #[error("a part is inconsistent: {0}; make it again")]
    Inconsistent(&'static str),
}

/// The places of records that are verified again.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Places<'a> {
    /// Consecutive inputs, the first of which has this number.
    From(u64),
    /// The number of each input.
    Inputs(&'a [u64]),
    /// The position of each record: the number of its input times 2^40, and its row.
    Records(&'a [u64]),
}

impl Places<'_> {
    /// Returns the place of a record; `starts` has the index of the first record of each input.
    fn position(&self, starts: &[u64], index: u64) -> Option<u64> {
        let at = starts.partition_point(|start| *start <= index).saturating_sub(1);
        let row = index - starts.get(at).copied().unwrap_or_default();
        let number = match self {
            Places::From(first) => first + at as u64,
            Places::Inputs(numbers) => *numbers.get(at)?,
            Places::Records(positions) => return positions.get(usize::try_from(index).ok()?).copied(),
        };
        Some((number << ROW_BITS) | row)
    }

    fn fit(&self, inputs: &[Input]) -> bool {
        let entries = || inputs.iter().fold(0, |sum: u64, input| sum.saturating_add(input.entries));
        inputs.iter().all(|input| input.entries >> ROW_BITS == 0)
            && match self {
                Places::From(first) => {
                    first.saturating_add((inputs.len() as u64).saturating_sub(1)) <= MAX_NUMBER
                }
                Places::Inputs(numbers) => {
                    numbers.len() == inputs.len() && numbers.iter().all(|number| *number <= MAX_NUMBER)
                }
                Places::Records(positions) => {
                    positions.len() as u64 == entries()
                        && positions.iter().all(|position| position >> ROW_BITS <= MAX_NUMBER)
                }
            }
    }
}

/// What must be equal in all parts of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
struct Plan {
    order: Order,
    most: u64,
    keys: Option<ProvidedBy>,
    payloads: Option<ProvidedBy>,
    is_logged: bool,
}

/// Verified records, from which a part is made.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The segments. Their positions count from the first record of the first input.
    pub segments: Segments,
    /// The findings of the segments.
    pub kept: Kept,
    /// True if the records were also compared with a log. The caller keeps the result, which is not a part of this one.
    pub is_logged: bool,
    /// Findings that count only if the log does not excuse them: see [`Part::accuse`].
    pub withheld: Vec<Finding>,
}

impl Verified {
    /// Verified records that were compared with no log.
    pub fn new(segments: Segments, kept: Kept) -> Verified {
        Verified { segments, kept, is_logged: false, withheld: Vec::new() }
    }
}

/// Verified records of some inputs of a run.
#[derive(Clone, Debug)]
pub struct Part {
    plan: Plan,
    /// By the number of their first input; in the order of sequence all are in the first.
    blocks: BTreeMap<u64, Block>,
    /// The counts of findings without a device.
    loose: Counts,
    kept: Kept,
    withheld: Vec<Finding>,
    inputs: BTreeMap<u64, Input>,
    again: Again,
}

/// Verified records without what only their process needs, at their positions of the run.
struct Settled {
    segments: Segments,
    findings: Vec<Finding>,
    last: Option<Finding>,
    withheld: Vec<Finding>,
}

/// Consecutive inputs.
#[derive(Clone, Default, Debug)]
struct Block {
    /// The number of the next input.
    end: u64,
    segments: Segments,
}

/// Chains whose records were verified again.
#[derive(Clone, Default, Debug)]
struct Again {
    segments: Segments,
    findings: Vec<Finding>,
    /// Findings from this one on were dropped.
    last: Option<Finding>,
    withheld: Vec<Finding>,
    ranges: Contested,
}

/// The contested sequences of each device, ascending and apart from each other, and the number of their records.
pub type Contested = BTreeMap<Arc<str>, Vec<ContestedRange>>;

/// Contested sequences.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub struct ContestedRange {
    /// The first sequence.
    pub first: u64,
    /// The last sequence.
    pub last: u64,
    /// The number of records at these sequences.
    pub records: u64,
}

/// Returns true if a record is among the contested ones.
pub fn is_contested(contested: &Contested, record: &AuditRecord) -> bool {
    let ranges = contested.get(&*record.device_id);
    ranges.is_some_and(|ranges| meets(ranges, record.sequence, record.sequence).is_some())
}

/// Returns the first of ascending ranges that has one of the sequences from `first` to `last`.
fn meets(ranges: &[ContestedRange], first: u64, last: u64) -> Option<&ContestedRange> {
    let at = ranges.partition_point(|range| range.last < first);
    ranges.get(at).filter(|range| range.first <= last)
}

/// Payloads that were checked by the workers.
struct Checked;

impl Payloads for Checked {
    fn payload_hash(&self, _: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        Ok(None)
    }
}

impl Part {
    /// Makes the part of consecutive inputs, the first of which has this number.
    ///
    /// # Errors
    /// The number of an input is above [`MAX_NUMBER`], an input has 2^40 records, or a device had other keys or
    /// heads before.
    pub fn new(
        checks: &Checks<'_>,
        order: Order,
        number: u64,
        inputs: Vec<Input>,
        verified: Verified,
    ) -> Result<Part, PartError> {
        check_keys(&verified.segments, checks)?;
        check_ends(&verified.segments, checks)?;
        let mut part = Part::empty(checks, order, &verified);
        let Settled { mut segments, findings, last, withheld } =
            part.settled(Places::From(number), &inputs, verified)?;
        for (code, count) in segments.found.counts.iter().enumerate() {
            part.loose[code] = *count;
        }
        for (_, segment) in segments.iter() {
            for (code, count) in segment.faults.iter() {
                let loose = &mut part.loose[code as usize];
                *loose = loose.saturating_sub(count);
            }
        }
        segments.found = Found::default();
        part.kept.add_until(findings, last);
        part.withheld = withheld;
        let end = number + inputs.len() as u64;
        part.blocks.insert(part.block(number), Block { end, segments });
        part.inputs = (number..).zip(inputs).collect();
        Ok(part)
    }

    /// Makes the part of records that were verified again: all those of `ranges`, in the order of the run.
    ///
    /// # Errors
    /// As [`Part::new`].
    pub fn again(
        checks: &Checks<'_>,
        order: Order,
        places: Places<'_>,
        inputs: &[Input],
        verified: Verified,
        ranges: Contested,
    ) -> Result<Part, PartError> {
        let mut part = Part::empty(checks, order, &verified);
        let Settled { mut segments, findings, last, withheld } = part.settled(places, inputs, verified)?;
        segments.found = Found::default();
        part.again = Again { segments, findings, last, withheld, ranges };
        Ok(part)
    }

    fn empty(checks: &Checks<'_>, order: Order, verified: &Verified) -> Part {
        let claims = &checks.claims;
        let by = |brought: bool, claim: Option<ProvidedBy>| brought.then_some(ProvidedBy::Auditor).or(claim);
        let plan = Plan {
            order,
            most: verified.kept.most() as u64,
            keys: by(checks.keys.is_some(), claims.keys.map(|claim| claim.by)),
            payloads: by(checks.payloads.is_some(), claims.payloads.map(|claim| claim.by)),
            is_logged: verified.is_logged,
        };
        Part::of_plan(plan)
    }

    fn of_plan(plan: Plan) -> Part {
        Part {
            plan,
            blocks: BTreeMap::new(),
            loose: Counts::default(),
            kept: Kept::in_order(usize::try_from(plan.most).unwrap_or(usize::MAX), plan.order),
            withheld: Vec::new(),
            inputs: BTreeMap::new(),
            again: Again::default(),
        }
    }

    /// Returns the key of the block with an input of this number.
    fn block(&self, number: u64) -> u64 {
        match self.plan.order {
            Order::Position => number,
            Order::Sequence => 0,
        }
    }

    /// Drops what only the process of the segments needs, and makes positions those of the run.
    fn settled(
        &self,
        places: Places<'_>,
        inputs: &[Input],
        verified: Verified,
    ) -> Result<Settled, PartError> {
        let Verified { mut segments, kept, mut withheld, .. } = verified;
        if !places.fit(inputs) {
            return Err(PartError::Inconsistent(
                "a position is above 2^23-1, an input has 2^40 records, or there are not as many positions as inputs",
            ));
        }
        let last = segments.keep_first(kept);
        segments.name_repetitions();
        let mut starts = Vec::with_capacity(inputs.len());
        let mut start = 0;
        for input in inputs {
            starts.push(start);
            start += input.entries;
        }
        // A place that is not there is outside of all inputs, which the report rejects.
        let position = |index: u64| places.position(&starts, index).unwrap_or(u64::MAX);
        let order = self.plan.order;
        for segment in segments.iter_mut() {
            let contested = segment.contested && order == Order::Sequence;
            segment.settle();
            segment.contested = contested;
            segment.first.index = position(segment.first.index);
            segment.last.index = position(segment.last.index);
        }
        let (mut findings, mut last) = (segments.take_findings(), last);
        for finding in findings.iter_mut().chain(&mut last).chain(&mut withheld) {
            finding.index = finding.index.map(position);
            finding.predecessor = finding.predecessor.map(position);
        }
        Ok(Settled { segments, findings, last, withheld })
    }

    /// Returns true if the records were compared with a log.
    pub fn is_logged(&self) -> bool {
        self.plan.is_logged
    }

    /// Returns the number of findings that count only if the log does not excuse them.
    pub fn withheld(&self) -> u64 {
        self.withheld.len() as u64
    }

    /// Counts the findings that were withheld, because the log does not excuse them.
    pub fn accuse(&mut self) {
        for finding in &self.withheld {
            let count = &mut self.loose[finding.code as usize];
            *count = count.saturating_add(1);
        }
        self.kept.add(std::mem::take(&mut self.withheld));
        // They are counted: the records that were verified again are among those of the inputs.
        self.again.findings.append(&mut self.again.withheld);
    }

    /// Divides the part by device. A share has all inputs and the records of its devices; the shares with the same index
    /// of all parts merge, and [`Part::united`] joins the merged shares.
    pub fn split(self, shares: u32) -> Vec<Part> {
        let shares = shares.max(1);
        let share_of = |device_id: &str| share_of(device_id, shares);
        let of_finding = |finding: &Finding| share_of_finding(finding, shares);
        let empty = || {
            let mut part = Part::of_plan(self.plan);
            part.inputs = self.inputs.clone();
            for (number, Block { end, .. }) in &self.blocks {
                part.blocks.insert(*number, Block { end: *end, segments: Segments::default() });
            }
            part
        };
        let mut parts: Vec<Part> = (0..shares).map(|_| empty()).collect();
        let order = self.plan.order;
        for (number, block) in self.blocks {
            for (device_id, segment) in block.segments.into_segments() {
                let part = &mut parts[share_of(&device_id)];
                if let Some(block) = part.blocks.get_mut(&number) {
                    block.segments.put(device_id, segment, order);
                }
            }
        }
        for finding in self.kept.findings() {
            parts[of_finding(finding)].kept.add(vec![finding.clone()]);
        }
        for part in &mut parts {
            part.kept.add_until(Vec::new(), self.kept.last().cloned());
            part.again.last.clone_from(&self.again.last);
        }
        for finding in self.withheld {
            parts[of_finding(&finding)].withheld.push(finding);
        }
        let Again { segments, findings, last: _, withheld, ranges } = self.again;
        for finding in withheld {
            parts[of_finding(&finding)].again.withheld.push(finding);
        }
        for (device_id, segment) in segments.into_segments() {
            parts[share_of(&device_id)].again.segments.put(device_id, segment, order);
        }
        for finding in findings {
            parts[of_finding(&finding)].again.findings.push(finding);
        }
        for (device_id, ranges) in ranges {
            parts[share_of(&device_id)].again.ranges.insert(device_id, ranges);
        }
        parts[0].loose = self.loose;
        for part in &mut parts {
            // The findings between segments are those of the part.
            part.blocks.values_mut().for_each(|block| block.segments.found = Found::default());
            part.again.segments.found = Found::default();
        }
        parts
    }

    /// Joins all shares of [`Part::split`] of the same inputs.
    ///
    /// # Errors
    /// A share lacks an input, a device is in two shares, or they are not of one run.
    pub fn united(shares: Vec<Part>) -> Result<Part, PartError> {
        let mut shares = shares.into_iter();
        let Some(mut whole) = shares.next() else {
            return Err(PartError::Inconsistent("it has no shares"));
        };
        for share in shares {
            let Part { plan, blocks, loose, kept, withheld, inputs, again } = share;
            whole.check_plan(&plan)?;
            let places = |blocks: &BTreeMap<u64, Block>| {
                blocks.iter().map(|(number, block)| (*number, block.end)).collect::<Vec<_>>()
            };
            if inputs != whole.inputs || places(&blocks) != places(&whole.blocks) {
                return Err(PartError::Inconsistent("its shares do not have the same inputs"));
            }
            for (count, more) in whole.loose.iter_mut().zip(loose) {
                *count = count.saturating_add(more);
            }
            whole.kept.merge(kept);
            whole.withheld.extend(withheld);
            for (number, block) in blocks {
                let Some(own) = whole.blocks.get_mut(&number) else { continue };
                if block.segments.iter().any(|(device_id, _)| own.segments.contains(device_id)) {
                    return Err(PartError::Inconsistent("a device is in two shares"));
                }
                for (device_id, segment) in block.segments.into_segments() {
                    own.segments.put(device_id, segment, plan.order);
                }
                own.segments.found = Found::default();
            }
            whole.again.append(again, plan.order);
        }
        whole.again.sort()?;
        Ok(whole)
    }

    /// Returns the order of the records.
    pub fn order(&self) -> Order {
        self.plan.order
    }

    /// Returns the number of findings kept.
    pub fn most(&self) -> usize {
        self.kept.most()
    }

    /// Returns the inputs by their number.
    pub fn inputs(&self) -> &BTreeMap<u64, Input> {
        &self.inputs
    }

    /// Returns the number of records, those verified again not counted twice.
    pub fn records(&self) -> u64 {
        self.blocks.values().fold(0, |sum, block| sum.saturating_add(block.segments.records()))
    }

    /// Returns the devices with records.
    pub fn devices(&self) -> HashSet<&Arc<str>> {
        self.blocks.values().flat_map(|block| block.segments.iter().map(|(device_id, _)| device_id)).collect()
    }

    /// Joins two parts of one run. Any order and grouping of the parts gives the same report.
    ///
    /// # Errors
    /// The parts do not belong to one run, or share an input.
    pub fn merge(mut self, other: Part) -> Result<Part, PartError> {
        let Part { plan, blocks, loose, kept, withheld, inputs, again } = other;
        self.check_plan(&plan)?;
        if let Some(number) = inputs.keys().find(|number| self.inputs.contains_key(number)) {
            return Err(PartError::Repeated(*number));
        }
        for (count, more) in self.loose.iter_mut().zip(loose) {
            *count = count.saturating_add(more);
        }
        self.kept.merge(kept);
        self.withheld.extend(withheld);
        for (number, block) in blocks {
            match self.blocks.remove(&number) {
                Some(own) => {
                    // In the order of position, only parts without inputs share a number.
                    let end = own.end.max(block.end);
                    let segments = join(own.segments, block.segments, &mut self.kept)?;
                    self.blocks.insert(number, Block { end, segments });
                }
                None => drop(self.blocks.insert(number, block)),
            }
        }
        self.inputs.extend(inputs);
        self.again.append(again, plan.order);
        self.checked()
    }

    /// Returns the part with neighbours joined, unless its ranges overlap or it needs too much memory.
    fn checked(mut self) -> Result<Part, PartError> {
        self.again.sort()?;
        self.join_neighbours()?;
        check_gaps(self.blocks.values().map(|block| block.segments.open_gaps()).sum())?;
        Ok(self)
    }

    fn check_plan(&self, other: &Plan) -> Result<(), PartError> {
        let own = &self.plan;
        let differ = [
            (own.order != other.order, "the orders"),
            (own.keys != other.keys, "the levels or providers of keys"),
            (own.payloads != other.payloads, "the levels or providers of payloads"),
            (own.most != other.most, "the values of max_findings"),
            (own.is_logged != other.is_logged, "the levels, of which only some have a log,"),
        ];
        match differ.into_iter().find(|(differ, _)| *differ) {
            Some((_, what)) => Err(PartError::OtherRun(what)),
            None => Ok(()),
        }
    }

    /// Joins blocks that follow each other.
    fn join_neighbours(&mut self) -> Result<(), PartError> {
        if self.plan.order == Order::Sequence || self.blocks.len() < 2 {
            return Ok(());
        }
        let mut joined: BTreeMap<u64, Block> = BTreeMap::new();
        for (number, block) in std::mem::take(&mut self.blocks) {
            match joined.last_entry() {
                Some(mut before) if before.get().end == number => {
                    let left = std::mem::take(&mut before.get_mut().segments);
                    before.get_mut().segments = join(left, block.segments, &mut self.kept)?;
                    before.get_mut().end = block.end;
                }
                _ => drop(joined.insert(number, block)),
            }
        }
        self.blocks = joined;
        Ok(())
    }

    /// Returns the chains whose records must be verified again before there is a report: in the order of position, those
    /// that run backwards and have records in several parts; in the order of sequence, those with the same sequence in
    /// two places.
    pub fn contested(&self) -> Contested {
        let mut all = Contested::new();
        for (device_id, range) in self.all_contested() {
            let settled = self.again.ranges.get(&device_id);
            let settled = settled.and_then(|ranges| meets(ranges, range.first, range.last));
            if settled != Some(&range) {
                all.entry(device_id).or_default().push(range);
            }
        }
        all
    }

    fn all_contested(&self) -> Vec<(Arc<str>, ContestedRange)> {
        let range = |segment: &Segment| ContestedRange {
            first: segment.span.lowest_sequence,
            last: segment.span.highest_sequence,
            records: segment.span.records,
        };
        let mut contested = Vec::new();
        if self.plan.order == Order::Sequence || self.blocks.len() < 2 {
            let segments = self.blocks.values().flat_map(|block| block.segments.iter());
            let segments = segments.filter(|(_, segment)| segment.contested);
            contested.extend(segments.map(|(device_id, segment)| (Arc::clone(device_id), range(segment))));
        } else {
            let mut chains: HashMap<&Arc<str>, (bool, &Segment, ContestedRange)> = HashMap::new();
            for (device_id, segment) in self.blocks.values().flat_map(|block| &block.segments.chains) {
                let more = range(segment);
                match chains.get_mut(device_id) {
                    None => {
                        chains.insert(device_id, (segment.contested, segment, more));
                    }
                    Some((is_contested, before, range)) => {
                        let steps_back = segment.first.sequence < before.last.sequence;
                        let runs_backwards = before.runs_backwards || segment.runs_backwards || steps_back;
                        *is_contested |= segment.contested || runs_backwards;
                        *before = segment;
                        range.first = range.first.min(more.first);
                        range.last = range.last.max(more.last);
                        range.records = range.records.saturating_add(more.records);
                    }
                }
            }
            let chains = chains.into_iter().filter(|(_, (is_contested, ..))| *is_contested);
            contested.extend(chains.map(|(device_id, (_, _, range))| (Arc::clone(device_id), range)));
        }
        contested.sort_unstable();
        contested
    }

    /// Returns the report of all parts: that of one process over their inputs, in the order of their numbers.
    ///
    /// # Errors
    /// Chains are contested, or the parts are not all parts of one run.
    pub fn report(self, ends: &Ends<'_>) -> Result<Report, PartError> {
        let (none, payloads) = (KeyRing::new(), Checked);
        let keys = ends.keys.unwrap_or(&none);
        let auditor = |by: Option<ProvidedBy>| by == Some(ProvidedBy::Auditor);
        let claimed = |by: Option<ProvidedBy>| by.filter(|by| *by != ProvidedBy::Auditor);
        let Plan { keys: keys_by, payloads: payloads_by, .. } = self.plan;
        let checks = Checks {
            keys: auditor(keys_by).then_some(keys),
            payloads: auditor(payloads_by).then_some(&payloads),
            heads: ends.heads,
            start_heads: ends.start_heads,
            claims: Claims {
                keys: claimed(keys_by).map(|by| Claim { by, what: keys }),
                payloads: claimed(payloads_by).map(|by| Claim { by, what: &payloads as &dyn Payloads }),
                ..Claims::default()
            },
        };
        if ends.keys.is_some() {
            let blocks = self.blocks.values().map(|block| &block.segments);
            blocks.chain([&self.again.segments]).try_for_each(|segments| check_keys(segments, &checks))?;
        }
        self.conclude(&checks, ends.inputs)
    }

    /// Returns true if the auditor brought the keys of the parts.
    pub fn has_keys_of_auditor(&self) -> bool {
        self.plan.keys == Some(ProvidedBy::Auditor)
    }

    /// Like [`Part::report`], with the checks of the parts, and the number of inputs if it is known.
    ///
    /// # Errors
    /// As [`Part::report`].
    pub fn conclude(mut self, checks: &Checks<'_>, inputs: Option<u64>) -> Result<Report, PartError> {
        let order = self.plan.order;
        self.check_inputs(inputs)?;
        let contested = self.contested();
        if let Some(first) = contested.keys().next() {
            let devices = crate::count(contested.len() as u64, "device");
            let are = if contested.len() == 1 { "is" } else { "are" };
            return Err(PartError::Contested {
                devices: format!("{devices} {are}"),
                first: Arc::clone(first),
            });
        }
        let mut segments = Segments::default();
        for block in std::mem::take(&mut self.blocks).into_values() {
            segments = join(segments, block.segments, &mut self.kept)?;
        }
        let again = std::mem::take(&mut self.again);
        again.replace(order, &mut segments, &mut self.kept)?;
        see_late_heads(&mut segments, checks)?;
        check_ends(&segments, checks)?;
        segments.found.counts = self.loose;
        let faults: Vec<_> = segments.iter().flat_map(|(_, segment)| segment.faults.iter()).collect();
        for (code, count) in faults {
            let total = &mut segments.found.counts[code as usize];
            *total = total.saturating_add(count);
        }
        let entries = self.inputs.values().fold(0, |sum: u64, input| sum.saturating_add(input.entries));
        let counted = segments.found.counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
        // An entry has a finding of each level at most, and the link to it another.
        if segments.records() > entries || counted > entries.saturating_mul(8).min(1 << 62) {
            return Err(PartError::Inconsistent("it counts more than its inputs have"));
        }
        let mut kept = Counts::default();
        self.kept.findings().iter().for_each(|finding| kept[finding.code as usize] += 1);
        if kept.iter().zip(segments.found.counts).any(|(kept, counted)| *kept > counted) {
            return Err(PartError::Inconsistent("it has more findings than it counts"));
        }
        segments.keep(self.kept);
        let mut report = checks.report_in(order, segments);
        number_consecutively(&mut report, &self.inputs)?;
        report.keep(usize::try_from(self.plan.most).unwrap_or(usize::MAX));
        report.locate(self.inputs.into_values().collect());
        Ok(report)
    }

    fn check_inputs(&self, expected: Option<u64>) -> Result<(), PartError> {
        let found = self.inputs.len() as u64;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(PartError::Inputs { expected, found });
        }
        if self.plan.order == Order::Position
            && let Some((first, _)) = self.inputs.first_key_value()
            && let Some(missing) = (*first..).zip(self.inputs.keys()).find(|(at, number)| at != *number)
        {
            return Err(PartError::Missing(missing.0));
        }
        Ok(())
    }

    /// Returns the last link of each chain as found: the heads of the report.
    pub fn heads(&self) -> Heads {
        let mut heads = Heads::new();
        for block in self.blocks.values() {
            heads.extend(block.segments.heads());
        }
        heads.extend(self.again.heads(&heads));
        heads
    }
}

/// Returns the share of a device.
fn share_of(device_id: &str, shares: u32) -> usize {
    let [a, b, c, d, ..] = *Hash::of(device_id.as_bytes()).as_bytes();
    (u32::from_le_bytes([a, b, c, d]) % shares) as usize
}

fn share_of_finding(finding: &Finding, shares: u32) -> usize {
    finding.device_id.as_deref().map_or(0, |device_id| share_of(device_id, shares))
}

/// What decides about the whole of a run.
#[derive(Clone, Copy, Default, Debug)]
pub struct Ends<'a> {
    /// Trusted heads, the same as those of the parts.
    pub heads: Option<&'a Heads>,
    /// Heads that the chains must continue.
    pub start_heads: Option<&'a Heads>,
    /// The keys of the parts, if they are to be compared with those of the parts.
    pub keys: Option<&'a KeyRing>,
    /// The number of inputs.
    pub inputs: Option<u64>,
}

/// Joins segments of which the latter follow, and keeps the findings between them.
fn join(left: Segments, right: Segments, kept: &mut Kept) -> Result<Segments, PartError> {
    check_basis(&left, &right)?;
    let mut joined = left.merge(right);
    kept.add(joined.take_findings());
    joined.found = Found::default();
    Ok(joined)
}

/// Compares heads with the last records of chains that were verified without heads.
fn see_late_heads(segments: &mut Segments, checks: &Checks<'_>) -> Result<(), PartError> {
    for (device_id, segment) in &mut segments.chains {
        see_heads(device_id, &mut [segment], checks)?;
    }
    for (device_id, runs) in &mut segments.runs {
        see_heads(device_id, &mut runs.iter_mut().collect::<Vec<_>>(), checks)?;
    }
    Ok(())
}

/// Compares heads with the last of the segments of a chain.
fn see_heads(
    device_id: &Arc<str>,
    segments: &mut [&mut Segment],
    checks: &Checks<'_>,
) -> Result<(), PartError> {
    let none = Basis::of_heads([None; 2]);
    let heads = checks.heads_of(device_id).map(|head| head.map(|(head, _)| head));
    if heads == [None; 2] || segments.iter().any(|segment| segment.basis.heads != none) {
        return Ok(());
    }
    let Some(end) = segments.last_mut() else { return Ok(()) };
    for (which, head) in heads.into_iter().enumerate() {
        let Some(head) = head else { continue };
        let last = end.last;
        if head.sequence < end.span.highest_sequence || last.sequence < end.span.highest_sequence {
            let sequence = head.sequence;
            return Err(PartError::EarlierHead { device_id: Arc::clone(device_id), sequence });
        }
        if head.sequence == last.sequence {
            let matches = head.hash == last.hash;
            end.see(which, if matches { HeadSight::Matches } else { HeadSight::Differs(last.hash) });
        }
    }
    segments.iter_mut().for_each(|segment| segment.basis.heads = Basis::of_heads(heads));
    Ok(())
}

/// Rejects heads with which the workers did not verify.
fn check_ends(segments: &Segments, checks: &Checks<'_>) -> Result<(), PartError> {
    for (device_id, segment) in segments.iter() {
        let heads = checks.heads_of(device_id).map(|head| head.map(|(head, _)| head));
        if segment.basis.heads != Basis::of_heads(heads) {
            return Err(PartError::OtherBasis { device_id: Arc::clone(device_id), what: "heads" });
        }
    }
    Ok(())
}

/// Rejects segments that were verified with other keys.
fn check_keys(segments: &Segments, checks: &Checks<'_>) -> Result<(), PartError> {
    for (device_id, segment) in segments.iter() {
        let keys = checks.key_ring().map(|ring| ring.keys(device_id));
        let Basis { keyless, keys, .. } = Basis::of(keys, [None; 2]);
        if (segment.basis.keyless, segment.basis.keys) != (keyless, keys) {
            return Err(PartError::OtherBasis { device_id: Arc::clone(device_id), what: "keys" });
        }
    }
    Ok(())
}

fn check_basis(left: &Segments, right: &Segments) -> Result<(), PartError> {
    let basis = |segments: &Segments, device_id: &Arc<str>| {
        let runs = segments.runs.get(device_id).and_then(|runs| runs.last());
        Some(segments.chains.get(device_id).or(runs)?.basis)
    };
    for device_id in right.chains.keys().chain(right.runs.keys()) {
        let (Some(own), Some(other)) = (basis(left, device_id), basis(right, device_id)) else { continue };
        if own != other {
            let what = if own.heads == other.heads { "keys" } else { "heads" };
            return Err(PartError::OtherBasis { device_id: Arc::clone(device_id), what });
        }
    }
    Ok(())
}

/// Makes positions count from the first record of the first input, as in one process.
fn number_consecutively(report: &mut Report, inputs: &BTreeMap<u64, Input>) -> Result<(), PartError> {
    let mut starts: HashMap<u64, (u64, u64)> = HashMap::new();
    let mut start: u64 = 0;
    for (number, input) in inputs {
        starts.insert(*number, (start, input.entries));
        start = start.saturating_add(input.entries);
    }
    let index = |position: u64| {
        let row = position & ((1 << ROW_BITS) - 1);
        let (start, _) = starts.get(&(position >> ROW_BITS)).filter(|(_, entries)| row < *entries)?;
        start.checked_add(row)
    };
    const OUTSIDE: PartError = PartError::Inconsistent("a finding is about a record outside of its inputs");
    for finding in &mut report.findings {
        if let Some(position) = finding.index {
            finding.index = Some(index(position).ok_or(OUTSIDE)?);
        }
        if let Some(cause) = &mut finding.cause {
            cause.index = index(cause.index).ok_or(OUTSIDE)?;
        }
        finding.predecessor = finding.predecessor.and_then(index);
    }
    Ok(())
}

impl Again {
    /// Appends the chains of another part; [`Again::sort`] must follow.
    fn append(&mut self, other: Again, order: Order) {
        for (device_id, ranges) in other.ranges {
            self.ranges.entry(device_id).or_default().extend(ranges);
        }
        self.segments = std::mem::take(&mut self.segments).merge(other.segments);
        self.segments.found = Found::default();
        self.findings.extend(other.findings);
        self.withheld.extend(other.withheld);
        self.last = kept::first_of(order, self.last.take(), other.last);
    }

    /// Sorts the ranges, and refuses those that overlap.
    fn sort(&mut self) -> Result<(), PartError> {
        for (device_id, ranges) in &mut self.ranges {
            ranges.sort();
            let are_apart = ranges.is_sorted_by(|one, next| one.last < next.first);
            if !are_apart || ranges.iter().any(|range| range.last < range.first) {
                return Err(PartError::Changed(Arc::clone(device_id)));
            }
        }
        Ok(())
    }

    /// Returns the heads of chains that were verified again, if the last record of the chain was.
    fn heads(&self, found: &Heads) -> Heads {
        let mut heads = self.segments.heads();
        heads.retain(|device_id, head| {
            found.get(device_id).is_none_or(|found| found.sequence <= head.sequence)
        });
        heads
    }

    /// Replaces the contested segments, and their findings.
    fn replace(self, order: Order, segments: &mut Segments, kept: &mut Kept) -> Result<(), PartError> {
        let Again { segments: mut new, findings, last, withheld: _, ranges } = self;
        for (device_id, ranges) in &ranges {
            let changed = || PartError::Changed(Arc::clone(device_id));
            let (mut verified, mut basis) = (0_u64, None);
            for range in ranges {
                let old = match order {
                    Order::Position => segments.chains.remove(device_id),
                    Order::Sequence => {
                        let runs = segments.runs.get_mut(device_id);
                        runs.and_then(|runs| runs.take(range.first, range.last))
                    }
                };
                let old = old.filter(|old| old.span.records == range.records).ok_or_else(changed)?;
                verified = verified.saturating_add(range.records);
                basis = Some(old.basis);
            }
            let chain = new.chains.remove(device_id);
            let runs = new.runs.remove(device_id).unwrap_or_default();
            for segment in chain.into_iter().chain(runs.into_segments()) {
                if basis != Some(segment.basis) {
                    let what = "keys or heads";
                    return Err(PartError::OtherBasis { device_id: Arc::clone(device_id), what });
                }
                verified = verified.checked_sub(segment.span.records).ok_or_else(changed)?;
                if segment.contested {
                    return Err(changed());
                }
                segments.put(Arc::clone(device_id), segment, order);
            }
            if verified != 0 {
                return Err(changed());
            }
        }
        let is_replaced = |finding: &Finding| {
            let ranges = finding.device_id.as_ref().and_then(|device_id| ranges.get(device_id));
            let sequence = finding.sequence.filter(|_| finding.index.is_some());
            ranges.zip(sequence).is_some_and(|(ranges, sequence)| meets(ranges, sequence, sequence).is_some())
        };
        kept.remove(is_replaced);
        kept.add_until(findings, last);
        kept.add(segments.take_findings());
        Ok(())
    }
}

/// Refuses more open gaps than [`MAX_OPEN_GAPS`]: each holds a segment.
fn check_gaps(open: usize) -> Result<(), PartError> {
    if open > MAX_OPEN_GAPS { Err(PartError::Scattered) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_gaps_than_the_limit_are_refused() {
        assert!(check_gaps(MAX_OPEN_GAPS).is_ok());
        for open in [MAX_OPEN_GAPS + 1, MAX_OPEN_GAPS + 2, usize::MAX] {
            assert!(matches!(check_gaps(open), Err(PartError::Scattered)), "{open}");
        }
    }
}
