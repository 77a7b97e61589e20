//! The verification of a bundle.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use edgesentry_chain::{
    AuditRecord, Checks, Claim, Claims, Finding, FindingCode, Hash, Heads, KeyRing, Level, NotChecked,
    PayloadError, Payloads, ProvidedBy, Report, Segments, TimeStamp,
};
use edgesentry_log::{
    BundleFile, BundleManifest, BundleMember, BundleScope, Checkpoint, LeafItems, LeafWalk, LogCheck,
    LogInputs, MAX_LACKING, MaxAge, Note, PartialHeads, Policy, read_bundle_keys,
};

use super::members::{Leaves, Members, Part, Stop};
use crate::error::Error;
use crate::progress::Progress;
use crate::read::{Opened, Source, size_bytes};
use crate::recognise::other_file;
use crate::stamps::{ClaimedCertificates, MAX_STAMP_BYTES, StampCheck, TrustedRoots};
use crate::verify::{Folded, Options, Plan, fold};

/// The place of the mark of a tar archive.
const TAR_MARK: std::ops::Range<usize> = 257..262;
/// The bytes of the name of a member of a tar archive, before the others of its header.
const TAR_NAME_BYTES: usize = 100;
/// Bytes that are read of a file to recognize its kind.
const MAX_OTHER_BYTES: u64 = 1 << 20;

/// The inputs of the auditor.
#[derive(Clone, Copy, Default, Debug)]
pub struct BundleInputs<'a> {
    /// The trusted logs and witnesses. By default the policy in the bundle decides, which is a claim.
    pub policy: Option<&'a Policy>,
    /// Public keys. By default those in the bundle decide, which are claims.
    pub keys: Option<&'a KeyRing>,
    /// Keys that the side under test claims outside of the bundle. They take the place of those in it.
    pub claimed_keys: Option<Claim<'a, KeyRing>>,
    /// A checkpoint of the same log that the auditor kept.
    pub previous: Option<&'a Note>,
    /// The maximum age of the cosignatures.
    pub max_age: Option<MaxAge>,
    /// The roots of time stamping authorities; without them, no time stamp is verified.
    pub tsa_roots: Option<&'a TrustedRoots>,
}

/// Verifies an evidence bundle, on the current rayon pool. It reads the bytes once.
///
/// A file that is not a bundle is a finding, `bundle_malformed`, unless it is recognized as another kind of file. Memory is limited by the devices, their runs of
/// records, the entries of heads and `max_findings`.
///
/// # Errors
/// The source is not a file or a byte stream, is another kind of file, or cannot be read; [`Error::PolicyMissing`]; the progress was cancelled.
pub fn verify_bundle(
    source: Source,
    inputs: &BundleInputs<'_>,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Report, Error> {
    progress.set_total_bytes(size_bytes(&source).unwrap_or(0));
    let (name, reader) = opened(source)?;
    let reader = refuse_other_file(&name, reader)?;
    match verify(Members::new(name, reader, progress), inputs, options, progress) {
        Ok(report) => Ok(report),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Malformed(finding)) => {
            let mut report = Checks { keys: inputs.keys, ..Checks::default() }.report(Segments::default());
            report.add_findings(vec![*finding]);
            // Nothing of it was checked.
            report.coverage.not_checked.clear();
            Ok(report)
        }
    }
}

/// Refuses a file of another kind, such as a key ring. Any other file that is not a bundle is a finding.
fn refuse_other_file(
    name: &Arc<str>,
    mut reader: Box<dyn Read + Send>,
) -> Result<Box<dyn Read + Send>, Error> {
    let failed = |source| Error::Io { name: Arc::clone(name), action: "read", source };
    let mut head = Vec::new();
    reader.by_ref().take(TAR_MARK.end as u64).read_to_end(&mut head).map_err(failed)?;
    // The name of the first member is padded with zeros, so a bundle with a damaged mark is still a bundle.
    let is_padded = head.iter().take(TAR_NAME_BYTES).filter(|byte| **byte == 0).count() > TAR_NAME_BYTES / 2;
    if !is_padded && head.get(TAR_MARK).is_none_or(|mark| mark != b"ustar") {
        reader.by_ref().take(MAX_OTHER_BYTES).read_to_end(&mut head).map_err(failed)?;
        let problem = other_file(&head, "a bundle").filter(|_| !head.is_empty());
        if let Some(problem) = problem {
            return Err(Error::Unreadable { name: Arc::clone(name), problem });
        }
    }
    Ok(Box::new(io::Cursor::new(head).chain(reader)))
}

fn opened(source: Source) -> Result<(Arc<str>, Box<dyn Read + Send>), Error> {
    match source {
        Source::Reader { name, reader } => Ok((name, Box::new(BufReader::new(reader)))),
        Source::Path(path) => {
            let name: Arc<str> = path.display().to_string().into();
            let failed = |source| Error::Io { name: Arc::clone(&name), action: "open", source };
            let file = File::open(&path).map_err(failed)?;
            if file.metadata().map_err(failed)?.is_dir() {
                return Err(failed(io::Error::new(
                    io::ErrorKind::IsADirectory,
                    "it is a directory, not a bundle",
                )));
            }
            Ok((name, Box::new(BufReader::new(file))))
        }
        Source::Ranges { name, ranges, .. } => Ok((name, Box::new(BufReader::new(ranges)))),
        Source::Named { source, .. } | Source::Share { source, .. } => opened(*source),
        Source::Records { name, .. } | Source::Batches { name, .. } => {
            let problem = "it is not a file; pass the path or the bytes of a bundle".to_owned();
            Err(Error::Unreadable { name, problem })
        }
    }
}

/// The members before the leaves, and the claims after them.
#[derive(Default)]
struct Small {
    checkpoint: Option<(Note, Checkpoint)>,
    heads: Option<PartialHeads>,
    keys: Option<KeyRing>,
    policy: Option<Policy>,
    /// The number of files about time stamps that are not verified, for want of roots.
    unverified_stamps: u64,
    /// The time stamps to verify, with their numbers and files.
    stamps: Vec<(u64, Arc<str>, Vec<u8>)>,
    certificates: BTreeMap<u64, ClaimedCertificates>,
}

/// The payloads that a bundle has, by the account of its manifest. Their content is hashed after the leaves.
struct Listed(HashSet<Hash>);

impl Payloads for Listed {
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        Ok(self.0.get(&record.payload_hash).copied())
    }
}

fn verify(
    mut members: Members,
    inputs: &BundleInputs<'_>,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Report, Stop> {
    let manifest = members.manifest()?;
    let has = |member| manifest.files.iter().any(|file| file.member() == Some(member));
    if inputs.policy.is_none() && !has(BundleMember::Policy) {
        return Err(Error::PolicyMissing.into());
    }
    let is_part = |file: &&BundleFile| matches!(file.member(), Some(BundleMember::Leaves(_)));
    let mut small = Small::default();
    let before = manifest.files.iter().take_while(|file| !is_part(file));
    for file in before {
        small.read(&mut members, file, inputs)?;
    }
    let Some((note, checkpoint)) = small.checkpoint.take() else {
        // Unreachable: every manifest has a checkpoint, which comes before the leaves.
        return Err(members.malformed("checkpoint", "a checkpoint", "none"));
    };
    let stamps = inputs.tsa_roots.map(|roots| StampCheck::new(&note, roots));
    let payloads: HashSet<Hash> = manifest.files.iter().filter_map(payload_of).collect();
    let leaves = leaves(members, &manifest, &checkpoint, inputs, &payloads);
    let leaves = Arc::new(Mutex::new(leaves));
    let listed = Listed(payloads);
    let keys = small.keys.take();
    let in_bundle = keys.as_ref().map(|what| Claim { by: ProvidedBy::Bundle, what });
    let checks = Checks {
        keys: inputs.keys,
        claims: Claims {
            keys: inputs.claimed_keys.or(in_bundle),
            payloads: manifest.payloads.then_some(Claim { by: ProvidedBy::Bundle, what: &listed }),
            ..Claims::default()
        },
        ..Checks::default()
    };
    let parts: Vec<Opened> = manifest.files.iter().filter(is_part).map(|file| part(&leaves, file)).collect();
    let parts = parts.into_iter().map(|part| Ok((None, part)));
    // A leaf 05 comes behind the record whose payload it excuses.
    let withheld = if manifest.payloads { MAX_LACKING } else { 0 };
    let folded = fold(parts, &Plan { withheld, ..Plan::new(&checks, options, progress) })?;
    let mut leaves = leaves.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(finding) = leaves.malformed.take() {
        return Err(Stop::Malformed(Box::new(finding)));
    }
    let mut findings = Vec::new();
    for file in manifest.files.iter().skip_while(|file| !is_part(file)).filter(|file| !is_part(file)) {
        match payload_of(file) {
            Some(hash) => payload(&mut leaves, file, hash, &mut findings)?,
            None => small.read(&mut leaves.members, file, inputs)?,
        }
    }
    leaves.members.finish()?;
    let (valid, mut invalid) = small.verify_stamps(stamps.as_ref());
    findings.append(&mut invalid);
    findings.append(&mut leaves.members.differing);
    let claimed_policy = small.policy.take();
    let (policy, by) = match (inputs.policy, &claimed_policy) {
        (Some(policy), _) => (policy, ProvidedBy::Auditor),
        (None, Some(policy)) => (policy, ProvidedBy::Bundle),
        (None, None) => return Err(Error::PolicyMissing.into()),
    };
    let BundleInputs { previous, max_age, .. } = *inputs;
    let log = LogCheck::new(&LogInputs { policy, checkpoint: &note, places: None, previous, max_age });
    let log = log.with_stamps(valid, Vec::new());
    let conclusion = Conclusion { manifest, small, checks, log, by, findings, options };
    Ok(conclusion.report(folded, &leaves.walk, inputs.keys))
}

/// Prepares the fold over the leaves.
fn leaves(
    members: Members,
    manifest: &BundleManifest,
    checkpoint: &Checkpoint,
    inputs: &BundleInputs<'_>,
    payloads: &HashSet<Hash>,
) -> Leaves {
    let cut = inputs.previous.and_then(|previous| Checkpoint::parse(previous.text()).ok());
    let walk = LeafWalk::new(checkpoint.size(), cut.map(|cut| cut.size()));
    let has_subtrees = manifest.scope != BundleScope::Full;
    let items = LeafItems::new(checkpoint.size(), manifest.since, has_subtrees);
    let payloads: HashMap<Hash, Option<(String, u64)>> = payloads.iter().map(|hash| (*hash, None)).collect();
    Leaves::new(members, walk, items, manifest.payloads, payloads)
}

fn part(leaves: &Arc<Mutex<Leaves>>, file: &BundleFile) -> Opened {
    let name = leaves.lock().unwrap_or_else(PoisonError::into_inner).members.name_of(&file.name);
    Opened {
        name,
        format: "bundle".into(),
        bytes: Some(file.bytes),
        modified: None,
        chunks: Box::new(Part { leaves: Arc::clone(leaves), file: Some(file.clone()) }),
    }
}

fn payload_of(file: &BundleFile) -> Option<Hash> {
    match file.member() {
        Some(BundleMember::Payload(hash)) => Some(hash),
        _ => None,
    }
}

/// Step 14: hashes a payload.
fn payload(
    leaves: &mut Leaves,
    file: &BundleFile,
    hash: Hash,
    findings: &mut Vec<Finding>,
) -> Result<(), Stop> {
    leaves.members.begin(file)?;
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), Vec::new());
    while leaves.members.read(&mut buffer)? > 0 {
        hasher.update(&buffer);
        buffer.clear();
    }
    leaves.members.end()?;
    let record = leaves.payloads.get_mut(&hash).and_then(Option::take);
    let found = Hash(*hasher.finalize().as_bytes());
    if found != hash {
        let (expected, actual) = (hash.to_string(), found.to_string());
        let mut finding = leaves.members.finding(Some(&file.name), &expected, actual);
        finding.code = FindingCode::PayloadHashMismatch;
        if let Some((device_id, sequence)) = &record {
            finding.device_id = Some(device_id.as_str().into());
            finding.sequence = Some(*sequence);
        }
        findings.push(finding);
    }
    if record.is_none() {
        let expected = "the payload of a record in the bundle";
        findings.push(leaves.members.finding(Some(&file.name), expected, "a payload of no record"));
    }
    Ok(())
}

impl Small {
    /// Reads a member that is neither leaves nor a payload.
    fn read(
        &mut self,
        members: &mut Members,
        file: &BundleFile,
        inputs: &BundleInputs<'_>,
    ) -> Result<(), Stop> {
        let content = members.content(file)?;
        let malformed = |members: &Members, expected: &str, error: &dyn std::fmt::Display| {
            members.malformed(&file.name, expected, error.to_string())
        };
        match file.member() {
            Some(BundleMember::Checkpoint) => {
                let expected = "a signed checkpoint";
                let note = Note::parse(&content).map_err(|error| malformed(members, expected, &error))?;
                let checkpoint = Checkpoint::parse(note.text());
                let checkpoint = checkpoint.map_err(|error| malformed(members, expected, &error))?;
                self.checkpoint = Some((note, checkpoint));
            }
            Some(BundleMember::Heads) => {
                let heads = PartialHeads::parse(&content);
                self.heads =
                    Some(heads.map_err(|error| malformed(members, "entries of the heads tree", &error))?);
            }
            Some(BundleMember::Keys) if inputs.keys.is_none() && inputs.claimed_keys.is_none() => {
                let keys = read_bundle_keys(&content);
                self.keys = Some(keys.map_err(|error| malformed(members, "keys of devices", &error))?);
            }
            Some(BundleMember::Policy) if inputs.policy.is_none() => {
                let policy = Policy::parse(&content);
                self.policy = Some(policy.map_err(|error| malformed(members, "a policy", &error))?);
            }
            Some(BundleMember::Timestamp(_) | BundleMember::StampCertificates(_))
                if inputs.tsa_roots.is_none() =>
            {
                self.unverified_stamps += 1;
            }
            Some(BundleMember::Timestamp(number)) => {
                let mut stamp = content;
                // The rest of a stamp that is too large does not matter.
                stamp.truncate(MAX_STAMP_BYTES + 1);
                self.stamps.push((number, members.name_of(&file.name), stamp));
            }
            Some(BundleMember::StampCertificates(number)) => {
                let certificates = ClaimedCertificates::from_pem(&content);
                let certificates =
                    certificates.map_err(|error| malformed(members, "certificates in PEM", &error))?;
                self.certificates.insert(number, certificates);
            }
            _ => {}
        }
        members.end()
    }
}

impl Small {
    /// Verifies the time stamps, in the order of the members.
    fn verify_stamps<'a>(&'a self, check: Option<&StampCheck<'a>>) -> (Vec<TimeStamp>, Vec<Finding>) {
        let mut judged = Default::default();
        if let Some(check) = check {
            for (number, file, stamp) in &self.stamps {
                let check = check.clone().with_claimed(self.certificates.get(number));
                check.judge(file, stamp, &mut judged);
            }
        }
        judged
    }
}

/// Everything that the report is made from, beside the records.
struct Conclusion<'a> {
    manifest: BundleManifest,
    small: Small,
    checks: Checks<'a>,
    log: LogCheck<'a>,
    by: ProvidedBy,
    /// The findings of files.
    findings: Vec<Finding>,
    options: &'a Options,
}

impl Conclusion<'_> {
    fn report(mut self, folded: Folded, walk: &LeafWalk, keys: Option<&KeyRing>) -> Report {
        let Folded { mut segments, kept, erased, inputs: read, .. } = folded;
        let scope = &self.manifest.scope;
        let is_linked = !matches!(scope, BundleScope::Records(_));
        let starts = walk.starts().filter(|_| is_linked);
        let starts: Heads = starts.map(|(device_id, head)| (device_id.into(), head)).collect();
        let start_heads = Some(Claim { by: ProvidedBy::Bundle, what: &starts });
        let checks = Checks { claims: Claims { start_heads, ..self.checks.claims }, ..self.checks };
        let (heads, ends) = (self.small.heads.as_ref(), segments.heads());
        let (mut coverage, mut findings) = self.log.conclude_bundle(walk, scope, heads, &ends, keys);
        if !self.by.is_trusted() {
            // A claimed policy excuses no missing payload.
            coverage.erased = 0;
        }
        let is_excused = |entry: &u64| coverage.erased > 0 && walk.erased().contains(entry);
        erased.missing.into_iter().filter(|(entry, _)| !is_excused(entry)).for_each(|(_, finding)| {
            segments.add(finding);
        });
        segments.keep(kept);
        let mut report = checks.report(segments);
        if !is_linked {
            report.without_links();
        }
        report.add_erased(coverage.erased, 0);
        if coverage.erased == 0 {
            report.hint_unproven(walk.erased().len() as u64);
        }
        findings.append(&mut self.findings);
        report.add_log(coverage, self.by, findings);
        let gaps = &mut report.coverage.not_checked;
        // The log has the heads.
        gaps.retain(|gap| gap.level() != Level::Heads);
        if !is_linked {
            gaps.insert(0, NotChecked::LinksNotChecked);
        }
        if *scope != BundleScope::Full {
            gaps.push(NotChecked::PartOfLog);
        }
        if let files @ 1.. = self.small.unverified_stamps {
            gaps.push(NotChecked::TimestampsNotChecked { files });
        }
        report.keep(self.options.max_findings);
        report.locate(read);
        report
    }
}
