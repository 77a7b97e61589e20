//! The level `log` of a verification: policy, checkpoints and the replay of the log (docs/reference/spec.md, step 10).

use std::collections::BTreeSet;

use edgesentry_chain::part::PartError;
use edgesentry_chain::{
    AuditRecord, Finding, FindingCode, Hash, Head, Heads, KeyRing, LogCoverage, Predecessor, RootCheck,
    TimeStamp, count, plural,
};

use crate::checkpoint::Checkpoint;
use crate::evidence::{BundleScope, LeafWalk, PartialHeads};
use crate::hash::TreeHash;
use crate::heads::{HeadEntry, HeadsRoot};
use crate::note::Note;
use crate::part::{LogPart, LogRun};
use crate::places::{DevicePlaces, PlacedHeads, Places};
use crate::policy::{Policy, PolicyError};
use crate::range::CompactRange;
use crate::replay::{Course, Replay};

/// The maximum number of device names and keys in a finding.
const MAX_SHOWN: usize = 5;
/// The maximum number of findings of a code about single devices. One more finding counts the rest.
pub(crate) const MAX_DEVICES: usize = 10_000;
/// The tolerance for the clock of a witness that is fast, seconds.
pub const MAX_FAST_SECONDS: u64 = 300;

/// The inputs of the level. The policy and the earlier checkpoint come from the auditor; checkpoint and layout are
/// evidence.
#[derive(Clone, Copy, Debug)]
pub struct LogInputs<'a> {
    /// The trusted logs and witnesses.
    pub policy: &'a Policy,
    /// The checkpoint.
    pub checkpoint: &'a Note,
    /// The places of the records; without them, the records are not compared.
    pub places: Option<&'a Places>,
    /// A checkpoint of the same log that the auditor kept.
    pub previous: Option<&'a Note>,
    /// The maximum age of the cosignatures.
    pub max_age: Option<MaxAge>,
}

/// A limit on the age of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaxAge {
    /// The limit, seconds.
    pub seconds: u64,
    /// The current time, Unix seconds.
    pub now: u64,
}

impl MaxAge {
    /// Returns the expected and the actual age if a quorum that signed at `time`, Unix seconds, is too old. `None` as
    /// time means that the policy requires no witness.
    pub fn exceeded(self, time: Option<u64>) -> Option<(String, String)> {
        let expected = format!("a quorum that signed the checkpoint at most {} s ago", self.seconds);
        let Some(time) = time else {
            return Some((expected, "no time: the policy requires no witness".to_owned()));
        };
        let (age, ahead) = (self.now.saturating_sub(time), time.saturating_sub(self.now));
        if ahead > MAX_FAST_SECONDS {
            Some((expected, format!("signed {ahead} s in the future")))
        } else if age > self.seconds {
            Some((expected, format!("signed {age} s ago")))
        } else {
            None
        }
    }
}

/// Compares records with a checkpoint, in one pass together with the other levels.
///
/// [`LogCheck::replay`] and [`LogCheck::merge`] work like [`edgesentry_chain::Checks::verify`] and
/// [`edgesentry_chain::Segments::merge`]: on any partition of the input, in any number of threads. Memory is limited by
/// the runs of the layout.
///
/// ```
/// use edgesentry_chain::{AuditRecord, Device, FindingCode, Scheme};
/// use edgesentry_log::{
///     Checkpoint, CompactRange, KeyType, LayoutItem, LayoutWriter, LogCheck, LogInputs, Places, Policy, SignerKey,
///     leaf_hash_of_record,
/// };
/// let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
/// let mut records: Vec<AuditRecord> =
///     (0..3).map(|n| device.sign(n, b"door", "1.bin")).collect::<Result<_, _>>()?;
///
/// let (mut layout, mut range) = (LayoutWriter::default(), CompactRange::default());
/// layout.push(LayoutItem::Run { device_id: "lift-01", first_sequence: 1, count: 3 })?;
/// records.iter().for_each(|record| range.push(leaf_hash_of_record(&record.canonical_bytes())));
/// let places = Places::parse(&layout.into_bytes())?;
/// let key = SignerKey::from_seed("log.example/lifts", KeyType::Ed25519, [1; 32])?;
/// let checkpoint = Checkpoint::new("log.example/lifts", 3, range.root()?)?.sign(&key)?;
/// let policy = Policy::parse(format!("log {}\nquorum none\n", key.verifier()).as_bytes())?;
///
/// records[1].timestamp_ms += 1;
/// let inputs = LogInputs {
///     policy: &policy, checkpoint: &checkpoint, places: Some(&places), previous: None, max_age: None,
/// };
/// let check = LogCheck::new(&inputs);
/// let (replay, _) = check.replay(records.iter().zip(0..));
/// let (_, findings) = check.conclude(replay, None);
/// assert_eq!(findings[0].code, FindingCode::CheckpointMismatch);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LogCheck<'a> {
    /// The checkpoint; `None` if the text of its note is not a checkpoint.
    checkpoint: Option<Checkpoint>,
    /// The earlier checkpoint, unless the two contradict each other.
    previous: Option<Checkpoint>,
    /// True if the auditor kept an earlier checkpoint.
    has_previous: bool,
    course: Option<Course<'a>>,
    witnesses: u64,
    quorum: bool,
    /// What all parts of a run have in common.
    run: LogRun,
    /// The findings about the signatures.
    findings: Vec<Finding>,
    stamps: Vec<TimeStamp>,
    /// The findings about time stamps, which come last.
    invalid_stamps: Vec<Finding>,
}

impl<'a> LogCheck<'a> {
    /// Verifies the signatures of the checkpoints. [`LogCheck::conclude`] returns the findings.
    pub fn new(inputs: &LogInputs<'a>) -> LogCheck<'a> {
        let LogInputs { policy, checkpoint: note, places, previous, max_age } = *inputs;
        let mut findings = Vec::new();
        let trusted = policy.evaluate(note);
        let (mut witnesses, mut time) = (0, None);
        match &trusted {
            Ok(trusted) => {
                witnesses = trusted.cosigned().len() as u64;
                time = trusted.quorum_time();
            }
            Err(error) => findings.push(distrust("the checkpoint", error)),
        }
        if let Some(limit) = max_age
            && trusted.is_ok()
        {
            let stale = |(expected, actual)| Finding::new(FindingCode::CheckpointStale, expected, actual);
            findings.extend(limit.exceeded(time).map(stale));
        }
        let checkpoint = Checkpoint::parse(note.text()).ok();
        let has_previous = previous.is_some();
        let previous = previous.zip(checkpoint.as_ref()).and_then(|(previous, checkpoint)| {
            // The auditor kept it, so it needs no quorum.
            match policy.evaluate(previous) {
                Ok(_) | Err(PolicyError::QuorumMissing { .. }) => {}
                Err(error) => findings.push(distrust("the earlier checkpoint", &error)),
            }
            let previous = Checkpoint::parse(previous.text()).ok()?;
            match contradiction(&previous, checkpoint) {
                None => Some(previous),
                Some(finding) => {
                    findings.push(finding);
                    None
                }
            }
        });
        let course = checkpoint.as_ref().zip(places).map(|(checkpoint, places)| Course {
            places,
            size: checkpoint.size(),
            cut: previous.as_ref().map(Checkpoint::size),
            grows: false,
        });
        let run = LogRun {
            checkpoint: Hash::of(note.text().as_bytes()),
            previous: inputs.previous.map(|previous| Hash::of(previous.text().as_bytes())),
            layout: places.map(|places| places.layout),
            limits: course.as_ref().map(Course::limits).unwrap_or_default(),
        };
        let quorum = policy.has_quorum();
        let (stamps, invalid_stamps) = Default::default();
        LogCheck {
            checkpoint,
            previous,
            has_previous,
            course,
            witnesses,
            quorum,
            run,
            findings,
            stamps,
            invalid_stamps,
        }
    }

    /// Adds the time stamps of the checkpoint that the caller has verified: the valid ones, and the findings about others.
    #[must_use]
    pub fn with_stamps(self, stamps: Vec<TimeStamp>, invalid_stamps: Vec<Finding>) -> LogCheck<'a> {
        LogCheck { stamps, invalid_stamps, ..self }
    }

    /// Compares a ledger in place: records after the layout wait for a checkpoint, and count as records after it.
    #[must_use]
    pub fn in_place(mut self) -> LogCheck<'a> {
        if let Some(course) = &mut self.course {
            course.grows = true;
        }
        self
    }

    /// Replays records, each with its position in the whole input. Returns the findings of records that the log lacks.
    pub fn replay<'r>(
        &self,
        records: impl IntoIterator<Item = (&'r AuditRecord, u64)>,
    ) -> (Replay, Vec<Finding>) {
        self.course.as_ref().map_or_else(Default::default, |course| course.replay(records))
    }

    /// Joins the replays of two parts of the input.
    #[must_use]
    pub fn merge(&self, left: Replay, right: Replay) -> Replay {
        match &self.course {
            Some(course) => left.merge(right, &course.limits()),
            None => left,
        }
    }

    /// Returns the leaf of a record of the replay if the log says that its payload was erased. It is only a claim until
    /// [`LogCheck::conclude`] counts it.
    pub fn erased(&self, replay: &Replay, device_id: &str, sequence: u64) -> Option<u64> {
        let index = self.course.as_ref()?.places.of(device_id, sequence)?;
        replay.erased.contains(&index).then_some(index)
    }

    /// Returns the replay of some inputs as a part of a run. `erased_other` is the number of payloads that the log says
    /// were erased and that are there with other bytes.
    pub fn part(&self, replay: Replay, inputs: u64, erased_other: u64) -> LogPart {
        LogPart { run: self.run, inputs, erased_other, replay }
    }

    /// Like [`LogCheck::conclude`], for the merged parts of a run.
    ///
    /// # Errors
    /// The parts were compared with another checkpoint or layout.
    pub fn conclude_part(
        &self,
        part: LogPart,
        keys: Option<&KeyRing>,
    ) -> Result<(LogCoverage, Vec<Finding>), PartError> {
        self.run.check(&part.run)?;
        part.check()?;
        Ok(self.conclude(part.replay, keys))
    }

    /// Compares the replay of the whole input with the checkpoints, and the keys of the auditor with those of the log.
    pub fn conclude(&self, replay: Replay, keys: Option<&KeyRing>) -> (LogCoverage, Vec<Finding>) {
        let (coverage, mut findings) = self.conclude_replay(replay, keys);
        findings.extend(self.invalid_stamps.iter().cloned());
        (coverage, findings)
    }

    fn conclude_replay(&self, replay: Replay, keys: Option<&KeyRing>) -> (LogCoverage, Vec<Finding>) {
        let mut findings = self.findings.clone();
        let mut coverage = self.coverage(replay.records, replay.after);
        let (Some(checkpoint), Some(course)) = (&self.checkpoint, &self.course) else {
            return (coverage, findings);
        };
        coverage.unknown_leaves = course.unknown_leaves();
        coverage.root = if replay.overflowed {
            RootCheck::OutOfOrder
        } else {
            let distinct = replay.leaves();
            coverage.records = distinct;
            let erased = replay.erased.len() as u64;
            let found = self.compare(checkpoint, course, replay, distinct);
            let compared = found.is_ok();
            findings.extend(match found {
                Ok(found) | Err(found) => found,
            });
            // A log that is not that of a trusted checkpoint excuses no missing payload, and succeeds no other one.
            if compared && !findings.iter().any(|finding| denies(finding.code)) {
                coverage.erased = erased;
                coverage.predecessor = course.predecessor();
            }
            if compared { RootCheck::Compared } else { RootCheck::Incomplete }
        };
        coverage.previous = self.previous_compared(coverage.root);
        findings.extend(course.keys_not_logged(keys));
        (coverage, findings)
    }

    /// Compares the leaves of a bundle with the checkpoints (docs/reference/bundle.md, steps 8 to 13). `ends` are the
    /// last records of the chains, `heads` the entries in a bundle of devices, `keys` those of the auditor.
    pub fn conclude_bundle(
        &self,
        walk: &LeafWalk,
        scope: &BundleScope,
        heads: Option<&PartialHeads>,
        ends: &Heads,
        keys: Option<&KeyRing>,
    ) -> (LogCoverage, Vec<Finding>) {
        let mut findings = walk.behind();
        findings.extend(self.findings.iter().cloned());
        let mut coverage = self.coverage(walk.places.records, 0);
        let Some(checkpoint) = &self.checkpoint else { return (coverage, findings) };
        let cut = self.previous.as_ref().map(Checkpoint::size);
        let course = Course { places: &walk.places, size: checkpoint.size(), cut, grows: false };
        coverage.unknown_leaves = course.unknown_leaves();
        let roots =
            walk.tree.root().map(|end| Roots { cut: walk.tree.cut_root().filter(|_| cut.is_some()), end });
        match &roots {
            None => {
                let expected = format!("the {} leaves of the checkpoint", course.size);
                let actual = format!("{} leaves", walk.position);
                findings.push(Finding::new(FindingCode::CheckpointMismatch, expected, actual));
                coverage.root = RootCheck::Incomplete;
            }
            Some(roots) => {
                let end = |device_id: &str, _: &DevicePlaces| ends.get(device_id).copied();
                let heads = match (scope, heads) {
                    (BundleScope::Full, _) => HeadsOf::All { end: &end },
                    (_, Some(heads)) => HeadsOf::Some(heads),
                    (_, None) => HeadsOf::None,
                };
                findings.extend(self.judge(checkpoint, &course, roots, &heads));
                coverage.root = RootCheck::Compared;
                if !findings.iter().any(|finding| denies(finding.code)) {
                    coverage.predecessor = course.predecessor();
                    coverage.erased = walk.erased().len() as u64;
                }
            }
        }
        coverage.previous = self.has_previous.then(|| match &self.previous {
            None => true,
            Some(previous) => previous == checkpoint || roots.is_some_and(|roots| roots.cut.is_some()),
        });
        match scope {
            BundleScope::Full => findings.extend(course.keys_not_logged(keys)),
            BundleScope::Devices(named) => {
                if let Some(heads) = heads {
                    let all: BTreeSet<&str> =
                        named.iter().map(String::as_str).chain(ends.keys().map(AsRef::as_ref)).collect();
                    let wrong = all
                        .into_iter()
                        .filter_map(|device_id| wrong_end(device_id, heads, ends.get(device_id)));
                    findings.extend(bounded(wrong));
                }
                findings.extend(course.keys_not_logged(keys));
            }
            BundleScope::Records(named) => {
                let missing = named.iter().filter(|(device_id, sequence)| {
                    let places = course.places.devices.get(device_id);
                    !places.is_some_and(|places| places.has_any(*sequence..=*sequence, course.size))
                });
                findings.extend(missing.map(|(device_id, sequence)| {
                    let finding =
                        Finding::new(FindingCode::LeafMissing, "the record in the bundle", "no record");
                    about(device_id, *sequence, finding)
                }));
            }
        }
        (coverage, findings)
    }

    fn coverage(&self, records: u64, after: u64) -> LogCoverage {
        LogCoverage {
            origin: self.checkpoint.as_ref().map_or("", |checkpoint| checkpoint.origin()).to_owned(),
            size: self.checkpoint.as_ref().map_or(0, Checkpoint::size),
            records,
            after,
            erased: 0,
            unknown_leaves: 0,
            witnesses: self.witnesses,
            quorum: self.quorum,
            root: RootCheck::NoLayout,
            previous: self.previous_compared(RootCheck::NoLayout),
            predecessor: None,
            timestamps: self.stamps.clone(),
        }
    }

    /// Returns whether the log was compared with the earlier checkpoint; `None` if the auditor gave none.
    fn previous_compared(&self, root: RootCheck) -> Option<bool> {
        self.has_previous.then(|| match (&self.previous, &self.checkpoint) {
            // The checkpoints contradict each other without a look at the records.
            (None, checkpoint) => checkpoint.is_some(),
            (previous, checkpoint) => root == RootCheck::Compared || previous == checkpoint,
        })
    }

    /// Returns the findings of the comparison of roots and heads. The error contains the findings that prevent it.
    fn compare(
        &self,
        checkpoint: &Checkpoint,
        course: &Course<'_>,
        replay: Replay,
        distinct: u64,
    ) -> Result<Vec<Finding>, Vec<Finding>> {
        let places = course.places;
        let mut gaps = Vec::new();
        if places.size() < course.size {
            let expected = format!("a layout of at least {} leaves", course.size);
            let actual = format!("a layout of {} leaves", places.size());
            gaps.push(Finding::new(FindingCode::CheckpointMismatch, expected, actual));
        }
        let placed: u64 = places.devices.values().map(|places| places.records_before(course.size)).sum();
        if distinct < placed {
            let missing = places.devices.iter();
            gaps.extend(bounded(
                missing.filter_map(|(device_id, places)| missing_leaf(device_id, places, course, &replay)),
            ));
        }
        if replay.repeated {
            let more = replay.records - distinct;
            let actual =
                format!("{more} further {} at places that the input fills already", plural(more, "record"));
            gaps.push(Finding::new(FindingCode::NotIncluded, "each record of the log once", actual));
        }
        if !gaps.is_empty() {
            return Err(gaps);
        }
        let end = |device_id: &str, places: &DevicePlaces| {
            let (sequence, _) = places.last_before(course.size)?;
            Some(Head { sequence, hash: *replay.heads.get(device_id)? })
        };
        Ok(self.judge(checkpoint, course, &Roots::of(course, &replay), &HeadsOf::All { end: &end }))
    }

    /// Compares the roots of all leaves up to the checkpoint, then single leaves and the heads.
    fn judge(
        &self,
        checkpoint: &Checkpoint,
        course: &Course<'_>,
        roots: &Roots,
        heads: &HeadsOf<'_>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let (Some(previous), Some(root)) = (&self.previous, roots.cut)
            && root != previous.root()
        {
            let actual = format!("root {root} at size {} in the replay of the log", previous.size());
            findings.push(Finding::new(FindingCode::CheckpointInconsistent, shown(previous), actual));
        }
        if roots.end == checkpoint.root() {
            // The leaf of the earlier checkpoint is known only if its root matches.
            let earlier = course.cut.filter(|_| findings.is_empty());
            let opening = || match heads {
                HeadsOf::All { .. } => wrong_opening(checkpoint, course),
                _ => None,
            };
            findings.extend(malformed_leaf(course).or_else(opening));
            match heads {
                HeadsOf::All { end } => findings.extend(heads_mismatch(course, earlier, end)),
                HeadsOf::Some(heads) => findings.extend(other_heads(course, heads)),
                HeadsOf::None => {}
            }
        } else {
            let actual = format!("root {} at size {} from the records", roots.end, checkpoint.size());
            findings.push(Finding::new(FindingCode::CheckpointMismatch, shown(checkpoint), actual));
        }
        findings
    }
}

/// Returns true if a finding denies that the leaves are those of a checkpoint that the policy trusts.
fn denies(code: FindingCode) -> bool {
    use FindingCode::{
        CheckpointInconsistent, CheckpointMismatch, CheckpointUntrusted, WitnessQuorumMissing,
    };
    matches!(code, CheckpointInconsistent | CheckpointMismatch | CheckpointUntrusted | WitnessQuorumMissing)
}

/// The heads that belong to the last leaf.
enum HeadsOf<'a> {
    /// Those of all devices. `end` returns the last record of a device.
    All { end: &'a dyn Fn(&str, &DevicePlaces) -> Option<Head> },
    /// Entries with the hashes that join them.
    Some(&'a PartialHeads),
    /// None: the heads are not compared.
    None,
}

/// The roots of a complete replay.
struct Roots {
    /// The root at the cut, if it is known.
    cut: Option<TreeHash>,
    end: TreeHash,
}

impl Roots {
    fn of(course: &Course<'_>, replay: &Replay) -> Roots {
        let mut others = course.places.others.iter().take_while(|(index, _)| *index < course.size).peekable();
        let mut pieces = replay.pieces.values().peekable();
        let mut all = CompactRange::default();
        let root = |all: &CompactRange| all.root().unwrap_or(TreeHash::EMPTY);
        let mut cut = None;
        while all.end() < course.size {
            if course.cut == Some(all.end()) {
                cut = Some(root(&all));
            }
            if let Some((_, leaf)) = others.next_if(|(index, _)| *index == all.end()) {
                all.push(*leaf);
            } else if pieces.next().is_none_or(|piece| all.merge(&piece.range).is_err()) {
                // Unreachable: the replay has every leaf once.
                break;
            }
        }
        let end = root(&all);
        Roots { cut: if course.cut == Some(course.size) { Some(end) } else { cut }, end }
    }
}

fn distrust(which: &str, error: &PolicyError) -> Finding {
    match error {
        PolicyError::QuorumMissing { cosigned, quorum } => {
            let cosigned = if cosigned.is_empty() { "none".to_owned() } else { listed(cosigned.iter()) };
            let expected = format!("cosignatures of {which} by the quorum {quorum}");
            Finding::new(FindingCode::WitnessQuorumMissing, expected, cosigned)
        }
        error => {
            let expected = format!("{which} with a signature by a log of the policy");
            Finding::new(FindingCode::CheckpointUntrusted, expected, error.to_string())
        }
    }
}

/// Returns the first findings, and one that counts the rest.
fn bounded(mut findings: impl Iterator<Item = Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = findings.by_ref().take(MAX_DEVICES).collect();
    let more = findings.count() as u64;
    kept.extend(kept.last().and_then(|last| counted(last.code, more)));
    kept
}

/// Returns a finding for further findings that have none of their own.
pub(crate) fn counted(code: FindingCode, more: u64) -> Option<Finding> {
    let actual = format!("{more} further {} of this kind", plural(more, "finding"));
    (more > 0).then(|| Finding::new(code, format!("at most {MAX_DEVICES} findings"), actual))
}

/// Returns the finding of the first leaf that a correct log cannot have, although the root matches.
fn malformed_leaf(course: &Course<'_>) -> Option<Finding> {
    let index = course.places.malformed.iter().find(|index| **index < course.size)?;
    let (expected, actual) = ("leaves of the form of their kind", format!("leaf {index} is malformed"));
    Some(Finding::new(FindingCode::CheckpointMismatch, expected, actual))
}

/// Returns the finding of a log that does not begin with the one leaf that opens it.
fn wrong_opening(checkpoint: &Checkpoint, course: &Course<'_>) -> Option<Finding> {
    let finding =
        |expected: String, actual: String| Finding::new(FindingCode::CheckpointMismatch, expected, actual);
    let expected = || format!("leaf 0 opens log {}, and no other leaf opens one", checkpoint.origin());
    let mut opened = course.places.opened.iter().take_while(|(index, _)| *index < course.size);
    match (opened.next(), opened.next()) {
        _ if course.size == 0 => None,
        (Some((0, origin)), None) if origin == checkpoint.origin() => None,
        (Some((0, origin)), None) => Some(finding(expected(), format!("leaf 0 opens log {}", cut(origin)))),
        (Some((0, _)), Some((index, _))) | (Some((index, _)), _) => {
            Some(finding(expected(), format!("leaf {index} opens a log")))
        }
        (None, _) => Some(finding(expected(), "no leaf opens the log".to_owned())),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Returns the finding if the checkpoints alone contradict each other.
fn contradiction(previous: &Checkpoint, checkpoint: &Checkpoint) -> Option<Finding> {
    let is_same_log = previous.origin() == checkpoint.origin();
    let is_smaller = previous.size() < checkpoint.size();
    if is_same_log && (is_smaller || previous == checkpoint) {
        return None;
    }
    let expected = format!("a checkpoint that continues {}", shown(previous));
    Some(Finding::new(FindingCode::CheckpointInconsistent, expected, shown(checkpoint)))
}

fn shown(checkpoint: &Checkpoint) -> String {
    format!("root {} at size {} of {}", checkpoint.root(), checkpoint.size(), checkpoint.origin())
}

/// Returns the finding of a device with missing records.
fn missing_leaf(
    device_id: &str,
    places: &DevicePlaces,
    course: &Course<'_>,
    replay: &Replay,
) -> Option<Finding> {
    let (mut missing, mut first) = (0, None);
    for run in places.runs.iter().filter(|run| run.index < course.size) {
        let end = course.size.min(run.index + run.records);
        let mut at = run.index;
        while at < end {
            let piece = replay.pieces.range(..=at).next_back().filter(|(_, piece)| piece.end > at);
            if let Some((_, piece)) = piece {
                at = piece.end;
                continue;
            }
            let next = replay.pieces.range(at..).next().map_or(end, |(begin, _)| *begin);
            let until = next.min(end);
            first.get_or_insert((run.first_sequence + (at - run.index), at));
            missing += until - at;
            at = until;
        }
    }
    let (sequence, index) = first?;
    let actual = format!("{} of the device in the log, not in the input", count(missing, "record"));
    let expected = format!("the record at leaf {index}");
    Some(about(device_id, sequence, Finding::new(FindingCode::LeafMissing, expected, actual)))
}

/// Compares the heads leaves with the replay: the last one in full, the earlier ones by their number of records.
fn heads_mismatch(
    course: &Course<'_>,
    earlier: Option<u64>,
    end: &dyn Fn(&str, &DevicePlaces) -> Option<Head>,
) -> Option<Finding> {
    let code = FindingCode::HeadsMismatch;
    let last = course.size.checked_sub(1)?;
    let logged = &course.places.heads;
    let at = |index: u64| course.heads_at(index);
    let earlier = earlier.and_then(|size| size.checked_sub(1));
    for (index, which) in [(Some(last), "the checkpoint"), (earlier, "the earlier checkpoint")] {
        if let Some(index) = index.filter(|index| at(*index).is_none()) {
            let expected = format!("a heads leaf at leaf {index}, the last of {which}");
            return Some(Finding::new(code, expected, "another leaf"));
        }
    }
    let before = logged.iter().take_while(|heads| heads.index < last);
    if let Some(wrong) = before.into_iter().find(|heads| heads.leaf.records != heads.records) {
        let expected = format!("{} before leaf {}", count(wrong.records, "record"), wrong.index);
        return Some(Finding::new(code, expected, format!("{} in the heads leaf", wrong.leaf.records)));
    }
    let leaf = &at(last)?.leaf;
    let (mut root, mut records) = (HeadsRoot::default(), 0);
    for (device_id, places) in &course.places.devices {
        records += places.records_before(course.size);
        if places.keys.first().is_none_or(|(index, _)| *index >= course.size) {
            if let Some(Head { sequence, .. }) = end(device_id, places) {
                let finding = Finding::new(code, "a key of the device in the log", "a record and no key");
                return Some(about(device_id, sequence, finding));
            }
            // A device without a key has no entry.
            continue;
        }
        let (start_sequence, start_hash) =
            places.start(course.size).map_or((0, Hash::ZERO), |start| (start.sequence, start.hash));
        let end = end(device_id, places);
        let (sequence, record_hash) = end.map_or((0, start_hash), |end| (end.sequence, end.hash));
        let device_id = device_id.clone();
        // The devices are sorted, and a device without a record has the hash of its start.
        let _ = root.push(&HeadEntry { device_id, sequence, record_hash, start_sequence, start_hash });
    }
    let is_same = (leaf.heads_root, leaf.devices, leaf.records) == (root.root(), root.devices(), records);
    (!is_same).then(|| {
        let expected = shown_heads(root.root(), root.devices(), records);
        Finding::new(code, expected, shown_heads(leaf.heads_root, leaf.devices, leaf.records))
    })
}

/// Returns the content of a heads leaf as text.
pub(crate) fn shown_heads(root: TreeHash, devices: u64, records: u64) -> String {
    format!("heads root {root} of {} and {}", count(devices, "device"), count(records, "record"))
}

/// Returns the finding of entries that are not part of the heads tree of the last leaf.
fn other_heads(course: &Course<'_>, heads: &PartialHeads) -> Option<Finding> {
    let code = FindingCode::HeadsMismatch;
    let last = course.size.checked_sub(1)?;
    let Some(placed) = course.heads_at(last) else {
        let expected = format!("a heads leaf at leaf {last}, the last of the checkpoint");
        return Some(Finding::new(code, expected, "another leaf"));
    };
    let leaf = &placed.leaf;
    let is_same = (leaf.heads_root, leaf.devices) == (heads.root(), heads.devices());
    (!is_same).then(|| {
        let shown =
            |root: TreeHash, devices: u64| format!("heads root {root} of {}", count(devices, "device"));
        let expected = shown(leaf.heads_root, leaf.devices);
        Finding::new(code, expected, shown(heads.root(), heads.devices()))
    })
}

/// Returns the finding of a device whose last record in a bundle is not its head in the log.
fn wrong_end(device_id: &str, heads: &PartialHeads, end: Option<&Head>) -> Option<Finding> {
    let shown = |head: &Head| format!("sequence {}, hash {}", head.sequence, head.hash);
    let Some(entry) = heads.entry(device_id) else {
        let code = FindingCode::HeadsMismatch;
        if let Some(end) = end {
            let finding = Finding::new(code, "a head of the device in the log", "a record and no head");
            return Some(about(device_id, end.sequence, finding));
        }
        let expected = "the head of the device, or the two devices beside its place";
        let mut finding = Finding::new(code, expected, "other devices");
        finding.device_id = Some(device_id.into());
        return (!heads.shows_absence(device_id)).then_some(finding);
    };
    let head = Head { sequence: entry.sequence, hash: entry.record_hash };
    let (code, actual) = match end {
        None if head.sequence == 0 => return None,
        None => (FindingCode::DeviceMissing, "no record of the device".to_owned()),
        Some(end) if *end == head => return None,
        Some(end) => (FindingCode::HeadMismatch, shown(end)),
    };
    Some(about(device_id, head.sequence, Finding::new(code, shown(&head), actual)))
}

impl Course<'_> {
    fn predecessor(&self) -> Option<Predecessor> {
        let named = self.places.predecessor.as_ref()?;
        let (origin, size, root) = (named.origin().to_owned(), named.size(), named.root().to_string());
        Some(Predecessor { origin, size, root })
    }

    fn unknown_leaves(&self) -> u64 {
        self.places.unknown.iter().filter(|index| **index < self.size).count() as u64
    }

    fn heads_at(&self, index: u64) -> Option<&PlacedHeads> {
        let heads = &self.places.heads;
        heads.binary_search_by_key(&index, |heads| heads.index).ok().map(|at| &heads[at])
    }

    /// Step 10.7: the keys of the auditor that the log lacks.
    fn keys_not_logged(&self, keys: Option<&KeyRing>) -> Vec<Finding> {
        let devices = self.places.devices.iter();
        let missing = keys.into_iter().flat_map(|keys| {
            devices.clone().flat_map(|(device_id, places)| not_logged(device_id, places, self.size, keys))
        });
        bounded(missing)
    }
}

/// Returns a finding for each key of the auditor that may sign logged records of the device and that the log lacks.
fn not_logged(device_id: &str, places: &DevicePlaces, size: u64, keys: &KeyRing) -> Vec<Finding> {
    let logged = || places.keys.iter().take_while(|(index, _)| *index < size).map(|(_, key)| key.public_key);
    let keys = keys.keys(device_id).unwrap_or_default();
    let ends = keys.iter().skip(1).map(|next| next.valid_from.saturating_sub(1)).chain([u64::MAX]);
    let used = keys.iter().zip(ends).filter(|(key, end)| places.has_any(key.valid_from..=*end, size));
    let used = used.map(|(key, _)| key);
    let missing = used.filter(|key| logged().all(|logged| logged != *key.key.as_bytes()));
    let finding = |key: &edgesentry_chain::RingKey| {
        let have = listed(logged().map(hex::encode));
        let actual = if have.is_empty() { "no key of the device".to_owned() } else { have };
        let expected = format!("key {} in the log", key.key);
        about(device_id, key.valid_from, Finding::new(FindingCode::KeyNotLogged, expected, actual))
    };
    missing.map(finding).collect()
}

pub(crate) fn about(device_id: &str, sequence: u64, mut finding: Finding) -> Finding {
    finding.device_id = Some(device_id.into());
    finding.sequence = Some(sequence);
    finding
}

/// Lists the first items.
fn listed(items: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    let more = items.len().saturating_sub(MAX_SHOWN);
    let mut text = items[..items.len() - more].join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
