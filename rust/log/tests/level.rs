//! The level `log`: any partition gives the same result, and every change is found.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use edgesentry_chain::{
    AuditRecord, Device, FindingCode, Hash, KeyRing, LogCoverage, Predecessor, PublicKey, RingKey, RootCheck,
    Scheme,
};
use edgesentry_log::{
    Checkpoint, CompactRange, ErasedLeaf, HeadEntry, HeadsLeaf, HeadsRoot, KeyLeaf, KeyType, LayoutItem,
    LayoutWriter, Leaf, LogCheck, LogInputs, MaxAge, Note, OpenedLeaf, Places, PlacesError, Policy, Replay,
    SignerKey, TreeHash, leaf_hash_of_record,
};
use proptest::prelude::*;

const ORIGIN: &str = "log.example/lifts";
const START_MS: u64 = 1_700_000_000_000;
const COSIGNED_AT: u64 = 1_800_000_000;

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [1; 32]).unwrap()
}

fn witness() -> SignerKey {
    SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [2; 32]).unwrap()
}

fn policy(text: &str) -> Policy {
    Policy::parse(text.as_bytes()).unwrap()
}

fn without_witnesses() -> String {
    format!("log {}\nquorum none\n", log_key().verifier())
}

fn with_witness() -> String {
    format!("log {}\nwitness ours {}\nquorum ours\n", log_key().verifier(), witness().verifier())
}

/// Returns the chains of the examples in docs/findings.
fn chain(device_id: &str, count: u64) -> Vec<AuditRecord> {
    let mut device = Device::from_seed(device_id, [1; 32], Scheme::Record);
    let sign = |at| {
        let (payload, object_ref) = (format!("reading {at}"), format!("{device_id}/{at}.bin"));
        device.sign(START_MS + at, payload.as_bytes(), &object_ref).unwrap()
    };
    (1..=count).map(sign).collect()
}

fn key_of(device_id: &str, seed: u8) -> PublicKey {
    Device::from_seed(device_id, [seed; 32], Scheme::Record).public_key().unwrap()
}

fn ring(device_id: &str, seed: u8) -> KeyRing {
    let mut ring = KeyRing::new();
    let key = RingKey { key: key_of(device_id, seed), scheme: Scheme::Record, valid_from: 1 };
    ring.insert(device_id, key).unwrap();
    ring
}

/// A log of batches. Each batch appends a number of further records of each chain.
#[derive(Clone)]
struct Log {
    layout: Vec<u8>,
    /// The size and root after each batch.
    sizes: Vec<(u64, TreeHash)>,
}

impl Log {
    fn new(chains: &[Vec<AuditRecord>], batches: &[Vec<usize>], lies: bool) -> Log {
        let (mut layout, mut range) = (LayoutWriter::default(), CompactRange::default());
        let leaf = |leaf: &Leaf, layout: &mut LayoutWriter, range: &mut CompactRange| {
            layout.push(LayoutItem::Leaf(&leaf.to_bytes())).unwrap();
            range.push(leaf.hash());
        };
        let opened = OpenedLeaf { origin: ORIGIN.into(), records_before: 0, previous: None, at_ms: START_MS };
        leaf(&Leaf::Opened(opened), &mut layout, &mut range);
        for chain in chains {
            let key = KeyLeaf {
                device_id: chain[0].device_id.clone(),
                valid_from: 1,
                public_key: *key_of(&chain[0].device_id, 1).as_bytes(),
                scheme: Scheme::Record,
                start: None,
                at_ms: START_MS,
            };
            leaf(&Leaf::Key(key), &mut layout, &mut range);
        }
        let mut done = vec![0; chains.len()];
        let mut sizes = Vec::new();
        for batch in batches {
            for (chain, (done, more)) in chains.iter().zip(done.iter_mut().zip(batch)) {
                let records = &chain[*done..*done + more];
                *done += more;
                if let Some(first) = records.first() {
                    let (device_id, first_sequence) = (first.device_id.as_str(), first.sequence);
                    let count = records.len() as u64;
                    layout.push(LayoutItem::Run { device_id, first_sequence, count }).unwrap();
                }
                records.iter().for_each(|record| range.push(leaf_hash_of_record(&record.canonical_bytes())));
            }
            let mut heads = HeadsRoot::default();
            for (chain, done) in chains.iter().zip(&done) {
                let last = done.checked_sub(1 + usize::from(lies)).map(|last| &chain[last]);
                heads
                    .push(&HeadEntry {
                        device_id: chain[0].device_id.clone(),
                        sequence: last.map_or(0, |last| last.sequence),
                        record_hash: last.map_or(Hash::ZERO, AuditRecord::hash),
                        start_sequence: 0,
                        start_hash: Hash::ZERO,
                    })
                    .unwrap();
            }
            let records = done.iter().sum::<usize>() as u64;
            let (devices, heads_root) = (heads.devices(), heads.root());
            let heads = HeadsLeaf { records, devices, heads_root, at_ms: START_MS };
            leaf(&Leaf::Heads(heads), &mut layout, &mut range);
            sizes.push((range.end(), range.root().unwrap()));
        }
        Log { layout: layout.into_bytes(), sizes }
    }

    /// Returns the cosigned checkpoint after a batch.
    fn checkpoint(&self, batch: usize) -> Note {
        let (size, root) = self.sizes[batch];
        sign(&Checkpoint::new(ORIGIN, size, root).unwrap())
    }
}

fn sign(checkpoint: &Checkpoint) -> Note {
    let mut note = checkpoint.sign(&log_key()).unwrap();
    note.add(checkpoint.cosign(&witness(), COSIGNED_AT).unwrap()).unwrap();
    note
}

/// The inputs of a comparison. They pass until a test changes one of them.
struct Case {
    policy: Policy,
    checkpoint: Note,
    layout: Option<Vec<u8>>,
    previous: Option<Note>,
    max_age: Option<MaxAge>,
    keys: Option<KeyRing>,
    records: Vec<AuditRecord>,
}

/// The codes with their device and sequence, in the order of the report.
type Found = Vec<(FindingCode, Option<String>, Option<u64>)>;

impl Case {
    fn sound() -> (Log, Case) {
        let chains = [chain("lift-01", 5), chain("lift-02", 4)];
        let log = Log::new(&chains, &[vec![2, 1], vec![3, 3]], false);
        let case = Case {
            policy: policy(&with_witness()),
            checkpoint: log.checkpoint(1),
            layout: Some(log.layout.clone()),
            previous: Some(log.checkpoint(0)),
            max_age: Some(MaxAge { seconds: 60, now: COSIGNED_AT + 60 }),
            keys: Some(ring("lift-01", 1)),
            records: chains.concat(),
        };
        (log, case)
    }

    fn run(&self, order: impl Fn(&LogCheck<'_>, &[(&AuditRecord, u64)]) -> Folded) -> (LogCoverage, Found) {
        let places = self.layout.as_ref().map(|layout| Places::parse(layout).unwrap());
        let check = LogCheck::new(&LogInputs {
            policy: &self.policy,
            checkpoint: &self.checkpoint,
            places: places.as_ref(),
            previous: self.previous.as_ref(),
            max_age: self.max_age,
        });
        let records: Vec<(&AuditRecord, u64)> = self.records.iter().zip(0..).collect();
        let (replay, mut findings) = order(&check, &records);
        let (coverage, more) = check.conclude(replay, self.keys.as_ref());
        findings.sort_by_key(|finding| finding.index);
        findings.extend(more);
        let found = findings
            .into_iter()
            .map(|finding| (finding.code, finding.device_id.map(|id| id.to_string()), finding.sequence));
        (coverage, found.collect())
    }

    fn codes(&self) -> Vec<FindingCode> {
        self.run(at_once).1.into_iter().map(|(code, ..)| code).collect()
    }
}

type Folded = (Replay, Vec<edgesentry_chain::Finding>);

fn at_once(check: &LogCheck<'_>, records: &[(&AuditRecord, u64)]) -> Folded {
    check.replay(records.iter().copied())
}

/// Splits the records into slices and merges them in a tree, as threads do.
fn in_parts(check: &LogCheck<'_>, records: &[(&AuditRecord, u64)], cuts: &[usize]) -> Folded {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (records.len() + 1)).collect();
    ends.push(records.len());
    ends.sort_unstable();
    let (mut begin, mut parts, mut findings) = (0, Vec::new(), Vec::new());
    for end in ends {
        let (replay, found) = check.replay(records[begin..end].iter().copied());
        parts.push(replay);
        findings.extend(found);
        begin = end;
    }
    while parts.len() > 1 {
        let merged = parts.chunks(2).map(|pair| match pair {
            [left, right] => check.merge(left.clone(), right.clone()),
            _ => pair[0].clone(),
        });
        parts = merged.collect();
    }
    (parts.remove(0), findings)
}

#[test]
fn a_sound_log_is_compared_in_full() {
    let (log, case) = Case::sound();
    let (coverage, found) = case.run(at_once);
    assert_eq!(found, []);
    let expected = LogCoverage {
        origin: ORIGIN.into(),
        size: log.sizes[1].0,
        records: 9,
        after: 0,
        erased: 0,
        unknown_leaves: 0,
        witnesses: 1,
        quorum: true,
        root: RootCheck::Compared,
        previous: Some(true),
        predecessor: None,
        timestamps: Vec::new(),
    };
    assert_eq!(coverage, expected);
}

#[test]
fn a_predecessor_is_reported_only_under_a_trusted_checkpoint() {
    let before = Checkpoint::new("log.example/before", 7, TreeHash([9; 32])).unwrap();
    let (origin, previous) = (ORIGIN.to_owned(), Some(before.clone()));
    let opened = OpenedLeaf { origin, records_before: 0, previous, at_ms: START_MS };
    let heads =
        HeadsLeaf { records: 0, devices: 0, heads_root: HeadsRoot::default().root(), at_ms: START_MS };
    let (mut layout, mut range) = (LayoutWriter::default(), CompactRange::default());
    for leaf in [Leaf::Opened(opened), Leaf::Heads(heads)] {
        layout.push(LayoutItem::Leaf(&leaf.to_bytes())).unwrap();
        range.push(leaf.hash());
    }
    let (places, root) = (Places::parse(&layout.into_bytes()).unwrap(), range.root().unwrap());
    for (root, policy_text, is_reported) in [
        (root, without_witnesses(), true),
        (root, with_witness(), false),
        (TreeHash([8; 32]), without_witnesses(), false),
    ] {
        let note = Checkpoint::new(ORIGIN, 2, root).unwrap().sign(&log_key()).unwrap();
        let policy = policy(&policy_text);
        let check = LogCheck::new(&LogInputs {
            policy: &policy,
            checkpoint: &note,
            places: Some(&places),
            previous: None,
            max_age: None,
        });
        let (replay, _) = check.replay(std::iter::empty());
        let expected = is_reported.then(|| Predecessor {
            origin: before.origin().to_owned(),
            size: 7,
            root: before.root().to_string(),
        });
        assert_eq!(check.conclude(replay, None).0.predecessor, expected);
    }
}

/// Returns a leaf that erases the payload of a record.
fn erased(record: &AuditRecord) -> ErasedLeaf {
    ErasedLeaf {
        device_id: record.device_id.clone(),
        sequence: record.sequence,
        payload_hash: record.payload_hash,
        reason: "request 7".into(),
        at_ms: START_MS,
    }
}

/// Compares a log of one chain, with erasures behind its first and behind its last record.
fn erasing(early: &[ErasedLeaf], late: &[ErasedLeaf], policy_text: &str) -> (LogCoverage, Vec<FindingCode>) {
    let records = chain("lift-01", 3);
    let (mut layout, mut range) = (LayoutWriter::default(), CompactRange::default());
    let leaf = |leaf: Leaf, layout: &mut LayoutWriter, range: &mut CompactRange| {
        layout.push(LayoutItem::Leaf(&leaf.to_bytes())).unwrap();
        range.push(leaf.hash());
    };
    let run = |records: &[AuditRecord], layout: &mut LayoutWriter, range: &mut CompactRange| {
        let (first_sequence, count) = (records[0].sequence, records.len() as u64);
        layout.push(LayoutItem::Run { device_id: "lift-01", first_sequence, count }).unwrap();
        records.iter().for_each(|record| range.push(leaf_hash_of_record(&record.canonical_bytes())));
    };
    let opened = OpenedLeaf { origin: ORIGIN.into(), records_before: 0, previous: None, at_ms: START_MS };
    leaf(Leaf::Opened(opened), &mut layout, &mut range);
    let key = KeyLeaf {
        device_id: "lift-01".into(),
        valid_from: 1,
        public_key: *key_of("lift-01", 1).as_bytes(),
        scheme: Scheme::Record,
        start: None,
        at_ms: START_MS,
    };
    leaf(Leaf::Key(key), &mut layout, &mut range);
    run(&records[..1], &mut layout, &mut range);
    early.iter().for_each(|erased| leaf(Leaf::Erased(erased.clone()), &mut layout, &mut range));
    run(&records[1..], &mut layout, &mut range);
    late.iter().for_each(|erased| leaf(Leaf::Erased(erased.clone()), &mut layout, &mut range));
    let mut heads = HeadsRoot::default();
    let last = HeadEntry {
        device_id: "lift-01".into(),
        sequence: 3,
        record_hash: records[2].hash(),
        start_sequence: 0,
        start_hash: Hash::ZERO,
    };
    heads.push(&last).unwrap();
    let heads = HeadsLeaf { records: 3, devices: 1, heads_root: heads.root(), at_ms: START_MS };
    leaf(Leaf::Heads(heads), &mut layout, &mut range);
    let case = Case {
        policy: policy(policy_text),
        checkpoint: sign(&Checkpoint::new(ORIGIN, range.end(), range.root().unwrap()).unwrap()),
        layout: Some(layout.into_bytes()),
        previous: None,
        max_age: None,
        keys: None,
        records,
    };
    let parts = |check: &LogCheck<'_>, records: &[(&AuditRecord, u64)]| in_parts(check, records, &[1, 2]);
    let (coverage, found) = case.run(at_once);
    assert_eq!(case.run(parts).0, coverage);
    (coverage, found.into_iter().map(|(code, ..)| code).collect())
}

#[test]
fn only_a_leaf_of_the_record_and_behind_it_erases_a_payload() {
    let records = chain("lift-01", 3);
    let other = |change: fn(&mut ErasedLeaf)| {
        let mut leaf = erased(&records[1]);
        change(&mut leaf);
        leaf
    };
    let right = erased(&records[1]);
    for (early, late, count) in [
        (vec![], vec![right.clone()], 1),
        // Twice is once.
        (vec![], vec![right.clone(), right.clone()], 1),
        (vec![erased(&records[0])], vec![right.clone()], 2),
        // Before the record.
        (vec![right.clone()], vec![], 0),
        (vec![], vec![other(|leaf| leaf.payload_hash = Hash::ZERO)], 0),
        (vec![], vec![other(|leaf| leaf.sequence = 3)], 0),
        (vec![], vec![other(|leaf| leaf.sequence = 4)], 0),
        (vec![], vec![other(|leaf| leaf.device_id = "lift-02".into())], 0),
    ] {
        let (coverage, found) = erasing(&early, &late, &with_witness());
        assert_eq!((coverage.erased, found), (count, vec![]), "{early:?} {late:?}");
    }
    // A checkpoint that the policy does not trust erases nothing.
    let untrusted =
        with_witness().replace("quorum ours", "witness other {}\ngroup both all ours other\nquorum both");
    let more = SignerKey::from_seed("other.example", KeyType::CosignatureV1, [3; 32]).unwrap();
    let untrusted = untrusted.replace("{}", &more.verifier().to_string());
    let (coverage, found) = erasing(&[], std::slice::from_ref(&right), &untrusted);
    assert_eq!((coverage.erased, found), (0, vec![FindingCode::WitnessQuorumMissing]));
}

#[test]
fn an_edited_record_that_is_linked_again_changes_the_root() {
    let (_, mut case) = Case::sound();
    case.records[2].timestamp_ms += 1;
    let before = case.records[2].hash();
    case.records[3].prev_record_hash = before;
    assert_eq!(case.codes(), [FindingCode::CheckpointMismatch]);
    // The finding remains if the policy requires no witness.
    case.policy = policy(&with_witness().replace("quorum ours", "quorum none"));
    case.max_age = None;
    assert_eq!(case.codes(), [FindingCode::CheckpointMismatch]);
    // An edit before the earlier checkpoint also contradicts that one.
    case.records[0].timestamp_ms += 1;
    assert_eq!(case.codes(), [FindingCode::CheckpointInconsistent, FindingCode::CheckpointMismatch]);
}

#[test]
fn missing_records_are_named() {
    let (_, mut case) = Case::sound();
    let tail = case.records.remove(4);
    let (coverage, found) = case.run(at_once);
    assert_eq!(found, [(FindingCode::LeafMissing, Some("lift-01".into()), Some(tail.sequence))]);
    assert_eq!((coverage.root, coverage.records), (RootCheck::Incomplete, 8));
    case.records.truncate(4);
    let (_, found) = case.run(at_once);
    let device = |name: &str, sequence| (FindingCode::LeafMissing, Some(name.into()), Some(sequence));
    assert_eq!(found, [device("lift-01", 5), device("lift-02", 1)]);
    case.records.clear();
    assert_eq!(case.run(at_once).1.len(), 2);
}

#[test]
fn records_beside_the_log_are_named() {
    let (_, mut case) = Case::sound();
    case.records.push(chain("lift-02", 5).remove(4));
    let (coverage, found) = case.run(at_once);
    assert_eq!(found, [(FindingCode::NotIncluded, Some("lift-02".into()), Some(5))]);
    assert_eq!(coverage.root, RootCheck::Compared);
    // A record of the log, appended again after the others.
    case.records.pop();
    case.records.push(case.records[1].clone());
    let (coverage, found) = case.run(at_once);
    assert_eq!(found, [(FindingCode::NotIncluded, None, None)]);
    assert_eq!((coverage.root, coverage.records), (RootCheck::Incomplete, 9));
}

#[test]
fn a_layout_that_ends_before_the_checkpoint_contradicts_it() {
    let (log, mut case) = Case::sound();
    let chains = [chain("lift-01", 2), chain("lift-02", 1)];
    case.layout = Some(Log::new(&chains, &[vec![2, 1]], false).layout);
    case.records = chains.concat();
    assert_eq!(case.codes(), [FindingCode::CheckpointMismatch]);
    // An earlier checkpoint is compared, and the records after it are counted.
    let (_, mut earlier) = Case::sound();
    earlier.checkpoint = log.checkpoint(0);
    earlier.previous = None;
    let (coverage, found) = earlier.run(at_once);
    assert_eq!((found, coverage.records, coverage.after), (vec![], 3, 6));
    assert_eq!(coverage.root, RootCheck::Compared);
}

#[test]
fn signatures_are_decided_by_the_policy() {
    let (log, mut case) = Case::sound();
    let other = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [9; 32]).unwrap();
    case.policy = policy(&format!("log {}\nquorum none\n", other.verifier()));
    case.previous = None;
    assert_eq!(case.codes(), [FindingCode::CheckpointUntrusted]);
    let (_, mut case) = Case::sound();
    let (size, root) = log.sizes[1];
    case.checkpoint = Checkpoint::new(ORIGIN, size, root).unwrap().sign(&log_key()).unwrap();
    assert_eq!(case.codes(), [FindingCode::WitnessQuorumMissing]);
    // Add the cosignature of another checkpoint.
    case.checkpoint.add(log.checkpoint(0).signatures()[1].clone()).unwrap();
    assert_eq!(case.codes(), [FindingCode::CheckpointUntrusted]);
}

#[test]
fn an_old_checkpoint_is_stale() {
    let (_, mut case) = Case::sound();
    case.max_age = Some(MaxAge { seconds: 60, now: COSIGNED_AT + 61 });
    assert_eq!(case.codes(), [FindingCode::CheckpointStale]);
    case.max_age = Some(MaxAge { seconds: 60, now: COSIGNED_AT - 300 });
    assert_eq!(case.codes(), [], "a clock may be fast by five minutes");
    case.max_age = Some(MaxAge { seconds: 60, now: COSIGNED_AT - 301 });
    assert_eq!(case.codes(), [FindingCode::CheckpointStale], "signed in the future");
    case.max_age = Some(MaxAge { seconds: 60, now: COSIGNED_AT });
    case.policy = policy(&without_witnesses());
    assert_eq!(case.codes(), [FindingCode::CheckpointStale], "no witness tells the time");
}

#[test]
fn a_log_continues_the_checkpoint_that_was_kept() {
    let (log, mut case) = Case::sound();
    // A rollback.
    case.checkpoint = log.checkpoint(0);
    case.previous = Some(log.checkpoint(1));
    assert_eq!(case.codes(), [FindingCode::CheckpointInconsistent]);
    // Another root at the same size, and another log.
    let (size, _) = log.sizes[1];
    let other = Checkpoint::new(ORIGIN, size, TreeHash::of_leaf(b"other")).unwrap();
    let (_, mut case) = Case::sound();
    case.previous = Some(sign(&other));
    assert_eq!(case.codes(), [FindingCode::CheckpointInconsistent]);
    // Another root at a smaller size: only the replay reveals it.
    let other = Checkpoint::new(ORIGIN, 5, TreeHash::of_leaf(b"other")).unwrap();
    case.previous = Some(sign(&other));
    assert_eq!(case.codes(), [FindingCode::CheckpointInconsistent]);
    // The same checkpoint again, the empty log, and a checkpoint without a witness signature.
    case.previous = Some(log.checkpoint(1));
    assert_eq!(case.codes(), []);
    case.previous = Some(sign(&Checkpoint::new(ORIGIN, 0, TreeHash::EMPTY).unwrap()));
    assert_eq!(case.codes(), []);
    let (size, root) = log.sizes[0];
    case.previous = Some(Checkpoint::new(ORIGIN, size, root).unwrap().sign(&log_key()).unwrap());
    assert_eq!(case.codes(), []);
}

#[test]
fn heads_that_lie_are_found() {
    let chains = [chain("lift-01", 5), chain("lift-02", 4)];
    let log = Log::new(&chains, &[vec![2, 1], vec![3, 3]], true);
    let (_, mut case) = Case::sound();
    (case.layout, case.checkpoint, case.previous) = (Some(log.layout.clone()), log.checkpoint(1), None);
    assert_eq!(case.codes(), [FindingCode::HeadsMismatch]);
    // A checkpoint in the middle of a batch has no heads.
    let (mut range, places) = (CompactRange::default(), Places::parse(&log.layout).unwrap());
    assert_eq!(places.of("lift-01", 1), Some(3));
    let items: Vec<Leaf> = edgesentry_log::Layout::parse(&log.layout)
        .unwrap()
        .take(3)
        .map(|item| match item.unwrap() {
            LayoutItem::Leaf(leaf) => Leaf::parse(leaf).unwrap(),
            run => panic!("expected a leaf, got {run:?}"),
        })
        .collect();
    items.iter().for_each(|leaf| range.push(leaf.hash()));
    case.checkpoint = sign(&Checkpoint::new(ORIGIN, 3, range.root().unwrap()).unwrap());
    assert_eq!(case.codes(), [FindingCode::HeadsMismatch]);
}

#[test]
fn a_key_that_was_never_logged_is_named() {
    let (_, mut case) = Case::sound();
    case.keys = Some(ring("lift-01", 3));
    let found = case.run(at_once).1;
    assert_eq!(found, [(FindingCode::KeyNotLogged, Some("lift-01".into()), Some(1))]);
    // Keys of devices that the log lacks belong to another log.
    case.keys = Some(ring("lift-99", 3));
    assert_eq!(case.codes(), []);
}

#[test]
fn without_a_layout_nothing_is_compared() {
    let (_, mut case) = Case::sound();
    case.layout = None;
    case.records.truncate(1);
    let (coverage, found) = case.run(at_once);
    assert_eq!((found, coverage.root, coverage.records), (vec![], RootCheck::NoLayout, 0));
    assert_eq!(coverage.previous, Some(false));
}

#[test]
fn unknown_leaves_are_counted() {
    let mut layout = LayoutWriter::default();
    layout.push(LayoutItem::Leaf(b"\x7fnew")).unwrap();
    let (_, mut case) = Case::sound();
    case.layout = Some(layout.into_bytes());
    case.records.clear();
    case.previous = None;
    let root = TreeHash::of_leaf(b"\x7fnew");
    case.checkpoint = sign(&Checkpoint::new(ORIGIN, 1, root).unwrap());
    let (coverage, found) = case.run(at_once);
    assert_eq!((coverage.unknown_leaves, coverage.root), (1, RootCheck::Compared));
    let both = [FindingCode::CheckpointMismatch, FindingCode::HeadsMismatch];
    assert_eq!(found.into_iter().map(|(code, ..)| code).collect::<Vec<_>>(), both, "nothing opens the log");
}

/// A leaf of a log, or the records of a run.
enum Part<'a> {
    Leaf(Vec<u8>),
    Run(&'a [AuditRecord]),
}

fn opened(origin: &str) -> Part<'static> {
    let leaf = OpenedLeaf { origin: origin.into(), records_before: 0, previous: None, at_ms: START_MS };
    Part::Leaf(Leaf::Opened(leaf).to_bytes())
}

fn key_leaf(device_id: &str) -> Part<'static> {
    Part::Leaf(
        Leaf::Key(KeyLeaf {
            device_id: device_id.into(),
            valid_from: 1,
            public_key: *key_of(device_id, 1).as_bytes(),
            scheme: Scheme::Record,
            start: None,
            at_ms: START_MS,
        })
        .to_bytes(),
    )
}

/// Returns the heads leaf of one chain, or of none.
fn heads_leaf(records: u64, last: Option<&AuditRecord>) -> Part<'static> {
    let mut heads = HeadsRoot::default();
    if let Some(last) = last {
        let (device_id, sequence, record_hash) = (last.device_id.clone(), last.sequence, last.hash());
        let (start_sequence, start_hash) = (0, Hash::ZERO);
        heads.push(&HeadEntry { device_id, sequence, record_hash, start_sequence, start_hash }).unwrap();
    }
    let (devices, heads_root) = (heads.devices(), heads.root());
    Part::Leaf(Leaf::Heads(HeadsLeaf { records, devices, heads_root, at_ms: START_MS }).to_bytes())
}

/// Returns the case of a log with these leaves, with an earlier checkpoint at a size.
fn of_parts(parts: &[Part<'_>], earlier: Option<u64>) -> Case {
    let (mut layout, mut range) = (LayoutWriter::default(), CompactRange::default());
    let (mut records, mut previous) = (Vec::new(), None);
    for part in parts {
        match part {
            Part::Leaf(bytes) => {
                layout.push(LayoutItem::Leaf(bytes)).unwrap();
                range.push(TreeHash::of_leaf(bytes));
            }
            Part::Run(run) => {
                let (device_id, first_sequence) = (run[0].device_id.as_str(), run[0].sequence);
                let count = run.len() as u64;
                layout.push(LayoutItem::Run { device_id, first_sequence, count }).unwrap();
                run.iter().for_each(|record| range.push(leaf_hash_of_record(&record.canonical_bytes())));
                records.extend_from_slice(run);
            }
        }
        if earlier == Some(range.end()) {
            previous = Some(sign(&Checkpoint::new(ORIGIN, range.end(), range.root().unwrap()).unwrap()));
        }
    }
    Case {
        policy: policy(&with_witness()),
        checkpoint: sign(&Checkpoint::new(ORIGIN, range.end(), range.root().unwrap()).unwrap()),
        layout: Some(layout.into_bytes()),
        previous,
        max_age: None,
        keys: None,
        records,
    }
}

#[test]
fn a_log_begins_with_the_leaf_that_opens_it() {
    let chain = chain("lift-01", 3);
    let (key, run, heads) = (|| key_leaf("lift-01"), || Part::Run(&chain), || heads_leaf(3, chain.last()));
    let codes = |parts: &[Part<'_>]| of_parts(parts, None).codes();
    assert_eq!(codes(&[opened(ORIGIN), key(), run(), heads()]), []);
    let mismatch = [FindingCode::CheckpointMismatch];
    assert_eq!(codes(&[key(), run(), heads()]), mismatch, "none");
    assert_eq!(codes(&[opened("log.example/other"), key(), run(), heads()]), mismatch, "another log");
    assert_eq!(codes(&[key(), opened(ORIGIN), run(), heads()]), mismatch, "not the first");
    assert_eq!(codes(&[opened(ORIGIN), key(), run(), opened(ORIGIN), heads()]), mismatch, "two");
    // A leaf of a known kind with content that no writer writes.
    let malformed = || Part::Leaf(b"\x02".to_vec());
    assert_eq!(codes(&[opened(ORIGIN), key(), run(), malformed(), heads()]), mismatch, "malformed");
}

#[test]
fn a_device_with_records_has_a_key_in_the_log() {
    let chain = chain("lift-01", 3);
    let case = of_parts(&[opened(ORIGIN), Part::Run(&chain), heads_leaf(3, None)], None);
    assert_eq!(case.run(at_once).1, [(FindingCode::HeadsMismatch, Some("lift-01".into()), Some(3))]);
}

#[test]
fn earlier_heads_leaves_are_compared() {
    let chain = chain("lift-01", 3);
    let (first, last) = chain.split_at(2);
    let parts = |records| {
        let (key, earlier) = (key_leaf("lift-01"), heads_leaf(records, first.last()));
        [opened(ORIGIN), key, Part::Run(first), earlier, Part::Run(last), heads_leaf(3, last.last())]
    };
    assert_eq!(of_parts(&parts(2), Some(5)).codes(), []);
    assert_eq!(of_parts(&parts(1), None).codes(), [FindingCode::HeadsMismatch], "other records");
    let case = of_parts(&parts(2), Some(4));
    assert!(case.previous.is_some());
    assert_eq!(case.codes(), [FindingCode::HeadsMismatch], "an earlier checkpoint that ends with a record");
}

#[test]
fn a_key_whose_sequences_are_not_in_the_log_needs_no_leaf() {
    let chain = chain("lift-01", 5).split_off(2);
    let parts = [opened(ORIGIN), key_leaf("lift-01"), Part::Run(&chain), heads_leaf(3, chain.last())];
    let mut case = of_parts(&parts, None);
    let ring = |from| {
        let mut ring = ring("lift-01", 3);
        let key = RingKey { key: key_of("lift-01", 1), scheme: Scheme::Record, valid_from: from };
        ring.insert("lift-01", key).unwrap();
        ring
    };
    case.keys = Some(ring(3));
    assert_eq!(case.codes(), []);
    case.keys = Some(ring(4));
    assert_eq!(case.codes(), [FindingCode::KeyNotLogged]);
}

#[test]
fn records_behind_the_layout_of_a_live_log_are_counted() {
    let (_, mut case) = Case::sound();
    case.records.push(chain("lift-02", 5).remove(4));
    case.records.extend(chain("lift-03", 2));
    let in_place =
        |check: &LogCheck<'_>, records: &[(&AuditRecord, u64)]| at_once(&check.clone().in_place(), records);
    let (coverage, found) = case.run(in_place);
    assert_eq!((found, coverage.after, coverage.root), (vec![], 3, RootCheck::Compared));
    // The log lacks a record before its first one.
    let chain = chain("lift-01", 5);
    let parts = [opened(ORIGIN), key_leaf("lift-01"), Part::Run(&chain[1..]), heads_leaf(4, chain.last())];
    let mut case = of_parts(&parts, None);
    case.records.insert(0, chain[0].clone());
    assert_eq!(case.run(in_place).1, [(FindingCode::NotIncluded, Some("lift-01".into()), Some(1))]);
}

#[test]
fn a_record_has_one_place() {
    let mut layout = LayoutWriter::default();
    for first_sequence in [3, 1] {
        layout.push(LayoutItem::Run { device_id: "lift-01", first_sequence, count: 3 }).unwrap();
    }
    let twice = PlacesError::Twice { device_id: "lift-01".into(), sequence: 3 };
    assert_eq!(Places::parse(&layout.into_bytes()), Err(twice));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any partition, order of the chains and change gives one result.
    #[test]
    fn any_partition_gives_the_same_result(
        batches in prop::collection::vec(prop::collection::vec(0_usize..4, 3), 1..5),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        changes in prop::collection::vec((0_u8..4, any::<prop::sample::Index>()), 0..3),
        shuffle in any::<bool>(),
        previous in any::<bool>(),
    ) {
        let counts = |device: usize| batches.iter().map(|batch| batch[device]).sum::<usize>() as u64;
        let chains: Vec<Vec<AuditRecord>> =
            (0..3).map(|device| chain(&format!("lift-{device:02}"), counts(device).max(1))).collect();
        let log = Log::new(&chains, &batches, false);
        let logged = chains.iter().enumerate().flat_map(|(device, chain)| &chain[..counts(device) as usize]);
        let mut records: Vec<AuditRecord> = logged.cloned().collect();
        let sorted = |records: &[AuditRecord]| {
            let mut hashes: Vec<Hash> = records.iter().map(AuditRecord::hash).collect();
            hashes.sort_by_key(|hash| *hash.as_bytes());
            hashes
        };
        let of_log = sorted(&records);
        for (change, index) in &changes {
            if records.is_empty() {
                break;
            }
            let at = index.index(records.len());
            match change {
                0 => records[at].timestamp_ms += 1,
                1 => drop(records.remove(at)),
                2 => records.push(records[at].clone()),
                _ => records[at].sequence += 1000,
            }
        }
        if shuffle {
            records.sort_by_key(|record| record.hash().as_bytes()[0]);
        }
        let case = Case {
            policy: policy(&with_witness()),
            checkpoint: log.checkpoint(batches.len() - 1),
            layout: Some(log.layout.clone()),
            previous: previous.then(|| log.checkpoint(0)),
            max_age: None,
            keys: None,
            records,
        };
        let whole = case.run(at_once);
        prop_assert_eq!(&case.run(|check, records| in_parts(check, records, &cuts)), &whole);
        prop_assert_eq!(whole.1.is_empty(), sorted(&case.records) == of_log);
    }
}

/// Compares the example files in docs/findings, which tests of the command and of Python read. EDGESENTRY_WRITE=1
/// writes them.
#[test]
fn the_files_of_the_examples_are_those_of_this_log() {
    let chains = [chain("lift-01", 5), chain("lift-02", 5)];
    let log = Log::new(&chains, &[vec![3, 3], vec![2, 2]], false);
    let lying = Log::new(&chains, &[vec![3, 3], vec![2, 2]], true);
    let (size, root) = log.sizes[1];
    let uncosigned = Checkpoint::new(ORIGIN, size, root).unwrap().sign(&log_key()).unwrap();
    let other = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [9; 32]).unwrap();
    let files = [
        ("checkpoint", log.checkpoint(1).to_string().into_bytes()),
        ("checkpoint-earlier", log.checkpoint(0).to_string().into_bytes()),
        ("checkpoint-lying", lying.checkpoint(1).to_string().into_bytes()),
        ("checkpoint-uncosigned", uncosigned.to_string().into_bytes()),
        ("layout", log.layout),
        ("layout-lying", lying.layout),
        ("policy", with_witness().into_bytes()),
        ("policy-no-witness", without_witnesses().into_bytes()),
        ("policy-other-log", format!("log {}\nquorum none\n", other.verifier()).into_bytes()),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/log");
    for (name, bytes) in files {
        let path = folder.join(name);
        if std::env::var_os("EDGESENTRY_WRITE").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}; EDGESENTRY_WRITE=1 writes it");
    }
}
