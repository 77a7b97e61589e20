//! The report: all findings, the heads, and the coverage (docs/reference/spec.md, steps 6, 7 and 9).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::checks::Checks;
use crate::coverage::{
    Coverage, HeadCoverage, LinkCoverage, LogCoverage, PayloadCoverage, SignatureCoverage, not_checked,
};
use crate::finding::{Cause, Evidence, Finding, FindingCode, Location};
use crate::hash::Hash;
use crate::head::{Head, Heads};
use crate::hint::{Among, Hint};
use crate::history::Seen;
use crate::kept;
use crate::key::Scheme;
use crate::level::{InputKind, Level, ProvidedBy};
use crate::runs::Order;
use crate::segment::{ChainSpan, Found, HeadSight, Link, Segment, Segments, Tally, at_link, check_link};

/// Maximum size of the device ids in the kept findings, in bytes. Findings share the text of a device id in memory but
/// not in a written report, so a small file with one long id could otherwise grow to many gigabytes.
pub const MAX_KEPT_BYTES: usize = 64 << 20;

/// The verdict on the whole input. Exhaustive: exit codes and reports must decide about each verdict, so that
/// none is ever shown as a pass by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// At least one record, and all requested checks hold.
    Valid,
    /// At least one check failed.
    Findings,
    /// There was no record. Never a pass.
    NothingToVerify,
}

/// One of the inputs of a verification.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Input {
    /// The name, such as a file path.
    pub name: Arc<str>,
    /// The format, such as `json`, `ndjson+gzip`, `parquet`.
    pub format: String,
    /// Entries read from it, malformed ones included.
    pub entries: u64,
    /// Bytes read from it; none if it is not a byte stream.
    pub bytes: Option<u64>,
    /// The modification time before it was read, if it is a file. A later reader that hashes the file can detect a
    /// change.
    #[serde(skip)]
    pub modified: Option<SystemTime>,
    /// The absolute path, if it was given as a path. A later reader finds the file from any working directory, even if
    /// the name has lost bytes that are not UTF-8.
    #[serde(skip)]
    pub path: Option<PathBuf>,
}

/// The result of a verification.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// The verdict.
    pub verdict: Verdict,
    /// The number of findings of each code, omitted ones included.
    pub counts: BTreeMap<FindingCode, u64>,
    /// The findings, in the order of their records; findings without a record last.
    pub findings: Vec<Finding>,
    /// Findings that were counted but not kept.
    pub findings_omitted: u64,
    /// Likely causes of many findings at once.
    pub hints: Vec<Hint>,
    /// The last link of each chain, as found.
    pub heads: Heads,
    /// The extent of each chain.
    pub chains: BTreeMap<Arc<str>, ChainSpan>,
    /// The checks that were made and those that were not.
    pub coverage: Coverage,
    /// The inputs, in reading order.
    pub inputs: Vec<Input>,
}

impl Report {
    /// Returns true if every requested check was made and holds. An empty input is not a pass.
    pub fn ok(&self) -> bool {
        self.verdict == Verdict::Valid
    }

    /// Returns the number of findings of each code, kinds that can cause others first.
    pub fn kinds(&self) -> impl Iterator<Item = (FindingCode, u64)> {
        let mut kinds: Vec<(FindingCode, u64)> =
            self.counts.iter().map(|(code, total)| (*code, *total)).collect();
        kinds.sort_by_key(|(code, _)| code.rank());
        kinds.into_iter()
    }

    /// Keeps at most `most` findings, and of these no more than name devices in [`MAX_KEPT_BYTES`]; omitted findings
    /// remain counted.
    pub fn keep(&mut self, most: usize) {
        let mut bytes = 0;
        let fits = |finding: &&Finding| {
            bytes += finding.device_id.as_ref().map_or(0, |device_id| device_id.len());
            bytes <= MAX_KEPT_BYTES
        };
        let most = self.findings.iter().take(most).take_while(fits).count();
        let beyond = self.findings.len() - most;
        self.findings.truncate(most);
        self.findings_omitted += beyond as u64;
    }

    /// Counts payloads that the log says were erased: the missing ones, and those that are present nevertheless (step
    /// 5).
    pub fn add_erased(&mut self, missing: u64, present: u64) {
        if let Some(payloads) = &mut self.coverage.payloads {
            (payloads.erased, payloads.erased_present) = (missing, present);
            self.coverage.not_checked = not_checked(&self.coverage);
        }
    }

    /// Adds a hint if erasures are listed for payloads that are missing. A list without a trusted checkpoint excuses
    /// none of them (step 7).
    pub fn hint_erased(&mut self, is_listed: impl Fn(&str, u64) -> bool) {
        let missing = self.findings.iter().filter(|finding| finding.code == FindingCode::PayloadMissing);
        let listed = missing.filter(|finding| {
            finding.device_id.as_ref().zip(finding.sequence).is_some_and(|(id, at)| is_listed(id, at))
        });
        self.hint_unproven(listed.count() as u64);
    }

    /// Adds the same hint for so many missing payloads; none for 0.
    pub fn hint_unproven(&mut self, payloads: u64) {
        if payloads > 0 {
            self.hints.push(Hint::ErasureUnproven { payloads });
        }
    }

    /// Adds findings about no single record.
    pub fn add_findings(&mut self, findings: Vec<Finding>) {
        for finding in &findings {
            *self.counts.entry(finding.code).or_default() += 1;
            self.verdict = Verdict::Findings;
        }
        self.findings.extend(findings);
    }

    /// Removes the findings of links: the records of the input do not follow each other.
    pub fn without_links(&mut self) {
        let is_link =
            |code: FindingCode| code.level() == Level::Links && code != FindingCode::RecordMalformed;
        self.findings.retain(|finding| !is_link(finding.code));
        self.counts.retain(|code, _| !is_link(*code));
        self.hints.retain(|hint| !matches!(hint, Hint::NotInOrder { .. }));
        self.findings_omitted = self.counts.values().sum::<u64>() - self.findings.len() as u64;
        if self.counts.is_empty() && self.verdict == Verdict::Findings {
            self.verdict = if self.coverage.records == 0 { Verdict::NothingToVerify } else { Verdict::Valid };
        }
    }

    /// Adds the level `log`, and its findings about no single record (step 10). `policy` is the provider of the policy.
    pub fn add_log(&mut self, log: LogCoverage, policy: ProvidedBy, findings: Vec<Finding>) {
        self.add_findings(findings);
        self.coverage.provided_by.entry(InputKind::Policy).or_default().insert(policy);
        self.coverage.log = Some(log);
        self.coverage.not_checked = not_checked(&self.coverage);
    }

    /// Names the inputs, in reading order, and sets the location of each finding.
    pub fn locate(&mut self, inputs: Vec<Input>) {
        let mut starts = Vec::with_capacity(inputs.len());
        let mut start = 0;
        for input in &inputs {
            starts.push(start);
            start += input.entries;
        }
        for hint in &mut self.hints {
            if let Hint::NotInOrder { many_inputs, .. } = hint {
                *many_inputs = inputs.len() > 1;
            }
        }
        for finding in &mut self.findings {
            let Some(index) = finding.index else { continue };
            let at = starts.partition_point(|start| *start <= index).saturating_sub(1);
            if let (Some(input), Some(start)) = (inputs.get(at), starts.get(at)) {
                finding.location =
                    Some(Location { input: Arc::clone(&input.name), record: index - start + 1 });
            }
        }
        self.inputs = inputs;
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Valid => "valid",
            Verdict::Findings => "findings",
            Verdict::NothingToVerify => "nothing to verify",
        })
    }
}

impl Checks<'_> {
    /// Turns the segments of a whole input into its report: chain starts (4.1), unknown devices (3.4), repeated records
    /// (4.4), heads (6), likely causes (7), coverage and verdict (9).
    pub fn report(&self, segments: Segments) -> Report {
        self.report_in(Order::Position, segments)
    }

    /// Like [`Checks::report`], with the findings in this order.
    pub(crate) fn report_in(&self, order: Order, mut segments: Segments) -> Report {
        segments.join_runs();
        segments.name_repetitions();
        let heads = segments.heads();
        let Segments { chains, mut found, .. } = segments;
        let hints = self.hints(&chains);
        let mut absences = Vec::new();
        let mut spans: BTreeMap<Arc<str>, ChainSpan> = BTreeMap::new();
        let mut tally = Tally::default();
        let mut links = LinkCoverage::default();
        for (device_id, segment) in &chains {
            let unknown = unknown(device_id, segment);
            self.begin(device_id, segment, &mut links)
                .into_iter()
                .chain(unknown)
                .for_each(|finding| found.add(finding));
            absences.extend(self.end(device_id, segment));
            tally.add(&segment.tally);
            spans.insert(Arc::clone(device_id), segment.span);
        }
        absences.extend(self.absent(&chains));
        found.findings.sort_by(|a, b| kept::compare(order, a, b));
        name_causes(&mut found.findings);
        absences.sort_by(|a, b| (&a.device_id, a.code).cmp(&(&b.device_id, b.code)));
        absences.into_iter().for_each(|finding| found.add(finding));

        let Found { findings, counts } = found;
        let malformed = counts[FindingCode::RecordMalformed as usize];
        let counted = counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
        let findings_omitted = counted.saturating_sub(findings.len() as u64);
        let counts: BTreeMap<FindingCode, u64> =
            FindingCode::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0).collect();
        let records = spans.values().fold(0, |sum: u64, span| sum.saturating_add(span.records));
        let verdict = if !counts.is_empty() {
            Verdict::Findings
        } else if records == 0 {
            Verdict::NothingToVerify
        } else {
            Verdict::Valid
        };
        Report {
            verdict,
            counts,
            findings,
            findings_omitted,
            hints,
            coverage: self.coverage(records, &tally, &heads, links, malformed),
            heads,
            chains: spans,
            inputs: Vec::new(),
        }
    }

    /// Step 7: likely causes that show in the chains as a whole.
    fn hints(&self, chains: &HashMap<Arc<str>, Segment>) -> Vec<Hint> {
        let mut not_in_order = Among::default();
        let mut other_scheme = [Scheme::PayloadHash, Scheme::Record].map(|scheme| (scheme, Among::default()));
        for (device_id, segment) in chains {
            not_in_order.add(device_id, u64::from(segment.lacks_only_order()));
            for (scheme, among) in &mut other_scheme {
                among.add(device_id, segment.tally.other_scheme[*scheme as usize]);
            }
        }
        let mut hints = Vec::new();
        if let Some(device_id) = not_in_order.first() {
            hints.push(Hint::NotInOrder { devices: not_in_order.devices, device_id, many_inputs: false });
        }
        for (scheme, among) in other_scheme {
            if let Some(device_id) = among.first() {
                let (signatures, devices) = (among.cases, among.devices);
                hints.push(Hint::OtherScheme { scheme, signatures, devices, device_id });
            }
        }
        if let Some(heads) = self.heads {
            hints.extend(part_of_export(heads.keys().map(|device_id| chains.contains_key(device_id))));
        }
        hints
    }

    /// Step 4.1: the first record of a chain, and how its start is known.
    fn begin(&self, device_id: &Arc<str>, segment: &Segment, links: &mut LinkCoverage) -> Option<Finding> {
        let first = &segment.first;
        let is_first = first.sequence == 1 && first.prev == Hash::ZERO;
        if let Some((start, by)) = self.start_of(device_id) {
            let before = Link { sequence: start.sequence, hash: start.hash, ..*first };
            if let Some(mut finding) = check_link(device_id, &before, first) {
                finding.predecessor = None;
                return Some(finding);
            }
            match by {
                _ if is_first => links.from_first += 1,
                ProvidedBy::Auditor => links.from_trusted += 1,
                _ => links.from_claimed += 1,
            }
            return None;
        }
        let (expected, actual) = match first.sequence {
            1 if is_first => {
                links.from_first += 1;
                return None;
            }
            1 => (Evidence::Hash(Hash::ZERO), Evidence::Hash(first.prev)),
            sequence => (Evidence::Sequence(1), Evidence::Sequence(sequence)),
        };
        Some(at_link(FindingCode::FirstRecordNotGenesis, device_id, first, expected, actual))
    }

    /// Step 6: the heads of a chain with records.
    fn end(&self, device_id: &Arc<str>, segment: &Segment) -> Vec<Finding> {
        let heads = self.heads_of(device_id).into_iter().zip(segment.sights());
        let finding = |(head, sight): (Option<(&Head, ProvidedBy)>, HeadSight)| {
            let (head, by) = head?;
            let actual = match sight {
                HeadSight::Matches => return None,
                HeadSight::Differs(hash) => Head { sequence: head.sequence, hash },
                HeadSight::None => Head { sequence: segment.last.sequence, hash: segment.last.hash },
            };
            Some(Finding {
                code: FindingCode::HeadMismatch,
                actual: Evidence::Head { sequence: actual.sequence, hash: actual.hash },
                ..absent_device(device_id, head, by)
            })
        };
        heads.filter_map(finding).collect()
    }

    /// Step 6: the devices of the heads without a record.
    fn absent(&self, chains: &HashMap<Arc<str>, Segment>) -> Vec<Finding> {
        let brought = self.heads.into_iter().flatten();
        let claimed = self.claims.heads.into_iter().flat_map(|claim| claim.what);
        let named: BTreeSet<&Arc<str>> = brought.chain(claimed).map(|(device_id, _)| device_id).collect();
        let absent = named.into_iter().filter(|device_id| !chains.contains_key(*device_id));
        let finding = |device_id: &Arc<str>| {
            let (head, by) = self.heads_of(device_id).into_iter().flatten().next()?;
            Some(absent_device(device_id, head, by))
        };
        absent.filter_map(finding).collect()
    }

    fn coverage(
        &self,
        records: u64,
        tally: &Tally,
        heads: &Heads,
        links: LinkCoverage,
        malformed: u64,
    ) -> Coverage {
        let signatures = self.key_ring().map(|_| SignatureCoverage {
            payload_hash: tally.payload_hash_signatures,
            record: tally.record_signatures,
            unchecked: tally.unsigned,
        });
        let mut coverage = Coverage {
            records,
            devices: heads.len() as u64,
            malformed,
            links,
            signatures,
            payloads: self
                .payload_source()
                .map(|_| PayloadCoverage { checked: tally.payloads, ..PayloadCoverage::default() }),
            heads: self.head_coverage(heads),
            log: None,
            provided_by: self.providers(),
            not_checked: Vec::new(),
        };
        coverage.not_checked = not_checked(&coverage);
        coverage
    }

    fn head_coverage(&self, found: &Heads) -> Option<HeadCoverage> {
        let (trusted, claimed) = (self.heads, self.claims.heads.map(|claim| claim.what));
        if trusted.is_none() && claimed.is_none() {
            return None;
        }
        let names = |heads: Option<&Heads>, device_id: &Arc<str>| {
            heads.is_some_and(|heads| heads.contains_key(device_id))
        };
        let without: Vec<&Arc<str>> = found.keys().filter(|device_id| !names(trusted, device_id)).collect();
        Some(HeadCoverage {
            trusted: trusted.map_or(0, |heads| heads.len() as u64),
            claimed: claimed.map_or(0, |heads| heads.len() as u64),
            devices_without: without.len() as u64,
            devices_claimed: without.iter().filter(|device_id| names(claimed, device_id)).count() as u64,
        })
    }
}

pub(crate) fn absent_device(device_id: &Arc<str>, head: &Head, by: ProvidedBy) -> Finding {
    let Head { sequence, hash } = *head;
    let expected = match by {
        ProvidedBy::Auditor => Evidence::Head { sequence, hash },
        by => Evidence::ClaimedHead { sequence, hash, by },
    };
    Finding {
        code: FindingCode::DeviceMissing,
        device_id: Some(Arc::clone(device_id)),
        sequence: Some(head.sequence),
        timestamp_ms: None,
        index: None,
        expected,
        actual: Evidence::text("no record of the device"),
        record_hash: None,
        cause: None,
        location: None,
        predecessor: None,
    }
}

/// Step 3.4: a device without a key, once per chain.
fn unknown(device_id: &Arc<str>, segment: &Segment) -> Option<Finding> {
    if !segment.basis.keyless {
        return None;
    }
    let expected = Evidence::text("a key in the key ring");
    let actual = Evidence::text("no key: none of the device's signatures was checked");
    Some(at_link(FindingCode::UnknownDevice, device_id, &segment.first, expected, actual))
}

impl Segments {
    /// Step 4.4: a sequence that runs backwards is a duplicate, a fork, or a late record. Omitted findings are counted
    /// under their correct codes too.
    pub(crate) fn name_repetitions(&mut self) {
        let Found { findings, counts } = &mut self.found;
        if counts[FindingCode::SequenceOutOfOrder as usize] == 0 {
            return;
        }
        let mut kept: HashMap<u64, &mut Finding> = findings
            .iter_mut()
            .filter(|finding| finding.code == FindingCode::SequenceOutOfOrder)
            .filter_map(|finding| Some((finding.index?, finding)))
            .collect();
        for Segment { history, faults, .. } in self.chains.values_mut() {
            let Some(history) = history else { continue };
            history.name_backwards(|index, seen| {
                let code = match seen {
                    Seen::Never => return,
                    Seen::Same => FindingCode::SequenceDuplicate,
                    Seen::Other(_) => FindingCode::Fork,
                };
                counts[FindingCode::SequenceOutOfOrder as usize] -= 1;
                counts[code as usize] += 1;
                faults.remove(FindingCode::SequenceOutOfOrder);
                faults.add(code, 1);
                let Some(finding) = kept.get_mut(&index) else { return };
                finding.code = code;
                if let Seen::Other(prefix) = seen {
                    let prefix = hex::encode(prefix.to_le_bytes());
                    finding.expected = Evidence::text(format!("the record seen before, with hash {prefix}…"));
                    if let Some(hash) = finding.record_hash {
                        finding.actual = Evidence::Hash(hash);
                    }
                }
            });
        }
    }
}

/// Step 7: names the cause of a failing link after a record with a finding, or after a malformed entry. A cause
/// precedes its effect, so it does not depend on the number of findings kept.
fn name_causes(findings: &mut [Finding]) {
    let malformed = findings.iter().filter(|finding| finding.code == FindingCode::RecordMalformed);
    let mut malformed_at: Vec<u64> = malformed.filter_map(|finding| finding.index).collect();
    malformed_at.sort_unstable();
    let mut first_at: HashMap<u64, usize> = HashMap::new();
    for (at, finding) in findings.iter().enumerate().filter(|(_, finding)| finding.code.breaks_links()) {
        if let Some(index) = finding.index {
            first_at.entry(index).or_insert(at);
        }
    }
    for at in 0..findings.len() {
        let (Some(before), Some(index)) = (findings[at].predecessor, findings[at].index) else { continue };
        let malformed = malformed_at.partition_point(|other| *other <= before);
        let between = malformed_at.get(malformed).copied().filter(|other| *other < index);
        let is_gap = findings[at].code == FindingCode::SequenceGap;
        let cause = first_at.get(&before).copied().or_else(|| match between {
            Some(other) if is_gap => first_at.get(&other).copied(),
            _ => None,
        });
        // Missing records break the link of the record behind them, not the next one.
        let is_link = findings[at].code == FindingCode::PrevHashMismatch;
        if let Some(cause) = cause.filter(|at| !is_link || findings[*at].code != FindingCode::SequenceGap) {
            let Finding { code, sequence, .. } = findings[cause];
            let index = findings[cause].index.unwrap_or(before);
            findings[at].cause = Some(Cause { code, sequence, index });
        }
    }
}

/// Returns the hint if this may be one part of an export. `are_there` states, for the devices of the trusted heads in
/// order, whether each has records: most are missing, or several are and the present ones are adjacent. Exports are
/// ordered by device.
fn part_of_export(are_there: impl Iterator<Item = bool>) -> Option<Hint> {
    let are_there: Vec<bool> = are_there.collect();
    let present = are_there.iter().filter(|is_there| **is_there).count() as u64;
    let missing = are_there.len() as u64 - present;
    let runs = are_there.chunk_by(|one, next| one == next).filter(|run| run[0]).count();
    let is_part = present > 0 && (missing > present || (missing > 1 && runs == 1));
    is_part.then_some(Hint::PartOfExport { missing, present })
}
