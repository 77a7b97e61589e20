//! Evidence bundles: a written bundle holds, and every change of it is found. `EDGESENTRY_WRITE=1` writes the vectors in
//! tests/vectors/bundle, with the results that every verifier of bundles must give.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgesentry_chain::{
    AuditRecord, Device, Finding, FindingCode, Hash, Head, Hint, KeyRing, NotChecked, Report, RingKey,
    RootCheck, Scheme, Verdict,
};
use edgesentry_formats::{
    BundleInputs, BundleWriter, Error, Options, Progress, Source, read_key_ring, verify_bundle,
    write_key_ring,
};
use edgesentry_log::{
    BundleManifest, BundleScope, Checkpoint, ErasedLeaf, HeadEntry, HeadsLeaf, HeadsTree, KeyLeaf, KeyType,
    Leaf, MaxAge, Note, OpenedLeaf, Policy, SignerKey, Tree, push_leaf_item, push_subtree_item,
    skipped_subtrees, write_bundle_keys, write_partial_heads,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const ORIGIN: &str = "log.example/lifts";
const START_MS: u64 = 1_700_000_000_000;
const COSIGNED_AT: u64 = 1_800_000_000;

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [1; 32]).unwrap()
}

fn witness() -> SignerKey {
    SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [2; 32]).unwrap()
}

fn policy() -> String {
    format!("log {}\nwitness ours {}\nquorum ours\n", log_key().verifier(), witness().verifier())
}

fn other_policy() -> String {
    let key = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [9; 32]).unwrap();
    format!("log {}\nquorum none\n", key.verifier())
}

fn strict_policy() -> String {
    let key = SignerKey::from_seed("other.example", KeyType::CosignatureV1, [3; 32]).unwrap();
    let both = "group both all ours other\nquorum both\n";
    policy().replace("quorum ours\n", &format!("witness other {}\n{both}", key.verifier()))
}

fn payload(device_id: &str, at: u64) -> Vec<u8> {
    format!("reading {at} of {device_id}").into_bytes()
}

fn chain(device_id: &str, seed: u8, scheme: Scheme, count: u64) -> Vec<AuditRecord> {
    let mut device = Device::from_seed(device_id, [seed; 32], scheme);
    let sign =
        |at| device.sign(START_MS + at, &payload(device_id, at), format!("{device_id}/{at}.bin")).unwrap();
    (1..=count).map(sign).collect()
}

fn ring_key(device_id: &str, seed: u8, scheme: Scheme, valid_from: u64) -> RingKey {
    let key = Device::from_seed(device_id, [seed; 32], scheme).public_key().unwrap();
    RingKey { key, scheme, valid_from }
}

fn keys() -> KeyRing {
    let mut ring = KeyRing::new();
    for (device_id, seed, scheme, valid_from) in DEVICES {
        ring.insert(device_id, ring_key(device_id, seed, scheme, valid_from)).unwrap();
    }
    ring
}

const DEVICES: [(&str, u8, Scheme, u64); 4] = [
    ("lift-01", 11, Scheme::Record, 1),
    ("lift-02", 12, Scheme::PayloadHash, 1),
    ("lift-03", 13, Scheme::Record, 1),
    ("lift-04", 14, Scheme::Record, 1),
];

/// A log in three batches. lift-03 has no record, and the chain of lift-04 begins after sequence 10.
#[derive(Clone)]
struct Log {
    leaves: Vec<Vec<u8>>,
    sizes: Vec<usize>,
    heads: HeadsTree,
    /// The payloads that no bundle has.
    erased: BTreeSet<Hash>,
}

impl Log {
    fn new(lies: bool) -> Log {
        let chains = [
            chain("lift-01", 11, Scheme::Record, 12),
            chain("lift-02", 12, Scheme::PayloadHash, 9),
            Vec::new(),
            chain("lift-04", 14, Scheme::Record, 13),
        ];
        let start = Head { sequence: 10, hash: chains[3][9].hash() };
        let opened = OpenedLeaf { origin: ORIGIN.into(), records_before: 0, previous: None, at_ms: START_MS };
        let mut log = Log {
            leaves: vec![Leaf::Opened(opened).to_bytes()],
            sizes: Vec::new(),
            heads: HeadsTree::default(),
            erased: BTreeSet::new(),
        };
        for (device_id, seed, scheme, valid_from) in DEVICES {
            log.leaves.push(
                Leaf::Key(KeyLeaf {
                    device_id: device_id.into(),
                    valid_from,
                    public_key: *ring_key(device_id, seed, scheme, 1).key.as_bytes(),
                    scheme,
                    start: (device_id == "lift-04").then_some(start),
                    at_ms: START_MS,
                })
                .to_bytes(),
            );
        }
        let batches = [[5, 0, 0, 0], [2, 9, 0, 12], [12, 9, 0, 13]];
        let mut done = [0, 0, 0, 10];
        for batch in batches {
            for ((chain, done), end) in chains.iter().zip(&mut done).zip(batch) {
                let end = end.max(*done);
                let records = chain[*done..end].iter().cloned().map(Leaf::Record);
                log.leaves.extend(records.map(|leaf| leaf.to_bytes()));
                *done = end;
            }
            let entries = DEVICES.iter().zip(&chains).zip(&done).map(|(((device_id, ..), chain), done)| {
                let begin =
                    if *device_id == "lift-04" { start } else { Head { sequence: 0, hash: Hash::ZERO } };
                let last = done.checked_sub(1 + usize::from(lies)).map(|at| &chain[at]);
                let last = last.filter(|last| last.sequence > begin.sequence);
                HeadEntry {
                    device_id: (*device_id).into(),
                    sequence: last.map_or(0, |last| last.sequence),
                    record_hash: last.map_or(begin.hash, AuditRecord::hash),
                    start_sequence: begin.sequence,
                    start_hash: begin.hash,
                }
            });
            log.heads = HeadsTree::new(entries.collect()).unwrap();
            let records = done.iter().sum::<usize>() as u64 - 10;
            let (devices, heads_root) = (DEVICES.len() as u64, log.heads.root());
            log.leaves
                .push(Leaf::Heads(HeadsLeaf { records, devices, heads_root, at_ms: START_MS }).to_bytes());
            log.sizes.push(log.leaves.len());
        }
        log
    }

    /// The log with leaves that erase payloads, each under the hash of its record or another one.
    fn erasing(mut self, erased: &[(&str, u64, Option<Hash>)]) -> Log {
        let last = self.leaves.len() - 1;
        for (at, (device_id, sequence, other)) in (last..).zip(erased) {
            let record = self.record_at(find_record(&self, device_id, *sequence)).unwrap();
            let leaf = Leaf::Erased(ErasedLeaf {
                device_id: (*device_id).into(),
                sequence: *sequence,
                payload_hash: other.unwrap_or(record.payload_hash),
                reason: "request 7".into(),
                at_ms: START_MS,
            });
            self.leaves.insert(at, leaf.to_bytes());
            self.erased.insert(record.payload_hash);
        }
        *self.sizes.last_mut().unwrap() += erased.len();
        self
    }

    fn tree(&self, size: usize) -> Tree {
        let mut tree = Tree::default();
        self.leaves[..size].iter().for_each(|leaf| tree.push(edgesentry_log::TreeHash::of_leaf(leaf)));
        tree
    }

    fn checkpoint(&self, size: usize) -> Note {
        let checkpoint = Checkpoint::new(ORIGIN, size as u64, self.tree(size).root()).unwrap();
        let mut note = checkpoint.sign(&log_key()).unwrap();
        note.add(checkpoint.cosign(&witness(), COSIGNED_AT).unwrap()).unwrap();
        note
    }

    fn record_at(&self, index: usize) -> Option<AuditRecord> {
        match Leaf::parse(&self.leaves[index]) {
            Ok(Leaf::Record(record)) => Some(record),
            _ => None,
        }
    }

    fn has(&self, scope: &BundleScope, index: usize) -> bool {
        let leaf = Leaf::parse(&self.leaves[index]).unwrap();
        match scope {
            BundleScope::Devices(devices) => match leaf {
                Leaf::Record(record) => devices.contains(&record.device_id),
                Leaf::Key(key) => devices.contains(&key.device_id),
                Leaf::Erased(erased) => devices.contains(&erased.device_id),
                _ => index + 1 == self.leaves.len(),
            },
            BundleScope::Records(records) => match leaf {
                Leaf::Record(record) => records.contains(&(record.device_id, record.sequence)),
                Leaf::Erased(erased) => records.contains(&(erased.device_id, erased.sequence)),
                _ => false,
            },
            _ => true,
        }
    }

    /// Writes a bundle as the log of a ledger does.
    fn bundle(&self, request: &Request) -> Vec<u8> {
        let tree = self.tree(self.leaves.len());
        let mut writer = BundleWriter::new(None).unwrap();
        writer.file("checkpoint", self.checkpoint(self.leaves.len()).to_string().as_bytes()).unwrap();
        if let BundleScope::Devices(devices) = &request.scope {
            let heads = write_partial_heads(&self.heads, devices.iter().map(String::as_str));
            writer.file("heads", &heads).unwrap();
        }
        if request.claims {
            writer.file("keys", write_bundle_keys(&keys()).unwrap().as_bytes()).unwrap();
        }
        let since = request.since.map(|size| size as u64);
        let mut payloads = BTreeMap::new();
        let mut item = Vec::new();
        let mut end = 0;
        for index in 0..=self.leaves.len() {
            let is_shown = index < self.leaves.len() && self.has(&request.scope, index);
            if index < self.leaves.len() && !is_shown {
                continue;
            }
            for node in skipped_subtrees(end, index as u64, since) {
                item.clear();
                push_subtree_item(&mut item, node.level, &tree.node(node).unwrap());
                writer.item(&item).unwrap();
            }
            if is_shown {
                item.clear();
                push_leaf_item(&mut item, &self.leaves[index]).unwrap();
                writer.item(&item).unwrap();
                let record =
                    self.record_at(index).filter(|record| !self.erased.contains(&record.payload_hash));
                if let Some(record) = record {
                    payloads
                        .insert(record.payload_hash.to_string(), payload(&record.device_id, record.sequence));
                }
            }
            end = index as u64 + 1;
        }
        for (hash, payload) in payloads.into_iter().filter(|_| request.payloads) {
            writer.file(&format!("payload-{hash}"), &payload).unwrap();
        }
        if request.claims {
            writer.file("policy", policy().as_bytes()).unwrap();
        }
        writer.file("readme.txt", b"Verify this bundle before you rely on it.\n").unwrap();
        let mut out = Vec::new();
        writer.finish(request.scope.clone(), START_MS, since, request.payloads, &mut out).unwrap();
        out
    }
}

#[derive(Clone, Debug)]
struct Request {
    scope: BundleScope,
    since: Option<usize>,
    payloads: bool,
    claims: bool,
}

fn full() -> Request {
    Request { scope: BundleScope::Full, since: None, payloads: false, claims: false }
}

fn devices(names: &[&str]) -> Request {
    Request { scope: BundleScope::Devices(names.iter().map(|name| (*name).into()).collect()), ..full() }
}

fn records(of: &[(&str, u64)]) -> Request {
    let records = of.iter().map(|(device, sequence)| ((*device).into(), *sequence)).collect();
    Request { scope: BundleScope::Records(records), ..full() }
}

fn verified(bundle: &[u8], inputs: &BundleInputs<'_>) -> Report {
    try_verify(bundle, inputs).unwrap()
}

fn try_verify(bundle: &[u8], inputs: &BundleInputs<'_>) -> Result<Report, Error> {
    let reader: Box<dyn Read + Send> = Box::new(Cursor::new(bundle.to_vec()));
    let source = Source::Reader { name: "case.tar".into(), reader };
    verify_bundle(source, inputs, &Options::default(), &Arc::new(Progress::default()))
}

/// Verifies with the auditor's policy and keys.
fn report(bundle: &[u8]) -> Report {
    let policy = Policy::parse(policy().as_bytes()).unwrap();
    verified(bundle, &BundleInputs { policy: Some(&policy), keys: Some(&keys()), ..BundleInputs::default() })
}

fn codes(report: &Report) -> Vec<(FindingCode, u64)> {
    report.counts.iter().map(|(code, count)| (*code, *count)).collect()
}

fn gaps(report: &Report) -> Vec<Value> {
    let coverage = serde_json::to_value(&report.coverage).unwrap();
    coverage["gaps"].as_array().unwrap().iter().map(|gap| gap["code"].clone()).collect()
}

/// The members of a bundle: name and content.
fn members(bundle: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut members = Vec::new();
    let mut rest = bundle;
    while rest[0] != 0 {
        let name: Vec<u8> = rest[..100].iter().copied().take_while(|byte| *byte != 0).collect();
        let size = u64::from_str_radix(std::str::from_utf8(&rest[124..135]).unwrap(), 8).unwrap() as usize;
        members.push((String::from_utf8(name).unwrap(), rest[512..512 + size].to_vec()));
        rest = &rest[512 + size.next_multiple_of(512)..];
    }
    members
}

/// Writes members again, with the digests that they have: what a forger does after an edit.
fn packed(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let manifest = BundleManifest::parse(&members[0].1).unwrap();
    let mut writer = BundleWriter::new(None).unwrap();
    for (name, content) in &members[1..] {
        writer.file(name, content).unwrap();
    }
    let mut out = Vec::new();
    let BundleManifest { scope, created_ms, since, payloads, .. } = manifest;
    writer.finish(scope, created_ms, since, payloads, &mut out).unwrap();
    out
}

/// Edits the content of one member of a bundle, and its digest.
fn edited(bundle: &[u8], name: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut members = members(bundle);
    edit(&mut members.iter_mut().find(|(other, _)| other == name).unwrap().1);
    packed(&members)
}

/// Returns the items of `leaves-000` of a bundle without subtrees.
fn items(bundle: &[u8]) -> Vec<Vec<u8>> {
    let members = members(bundle);
    let mut rest = members.iter().find(|(name, _)| name == "leaves-000").unwrap().1.as_slice();
    let mut items = Vec::new();
    while !rest.is_empty() {
        let length = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        items.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    items
}

fn with_items(bundle: &[u8], items: &[Vec<u8>]) -> Vec<u8> {
    edited(bundle, "leaves-000", |content| *content = items.concat())
}

fn find_record(log: &Log, device_id: &str, sequence: u64) -> usize {
    (0..log.leaves.len())
        .find(|at| {
            log.record_at(*at)
                .is_some_and(|record| record.device_id == device_id && record.sequence == sequence)
        })
        .unwrap()
}

/// A bundle, the inputs of an auditor, and the name of both in the vectors.
struct Case {
    name: &'static str,
    bundle: Vec<u8>,
    policy: Option<&'static str>,
    keys: Option<&'static str>,
    previous: Option<&'static str>,
}

fn case(name: &'static str, bundle: Vec<u8>) -> Case {
    Case { name, bundle, policy: Some("policy"), keys: Some("keys.json"), previous: None }
}

/// Every kind of bundle, and an attack for each step of the verification.
fn cases() -> Vec<Case> {
    let log = Log::new(false);
    let whole = log.bundle(&full());
    let first = find_record(&log, "lift-01", 1);
    let third = find_record(&log, "lift-01", 3);
    let swap = |a: usize, b: usize| {
        let mut items = items(&whole);
        items.swap(a, b);
        with_items(&whole, &items)
    };
    let without = |at: usize| {
        let mut items = items(&whole);
        items.remove(at);
        with_items(&whole, &items)
    };
    let behind = |item: Vec<u8>| {
        let mut items = items(&whole);
        items.push(item);
        with_items(&whole, &items)
    };
    let flipped = |at: usize, byte: usize| {
        let mut items = items(&whole);
        items[at][byte] ^= 1;
        with_items(&whole, &items)
    };
    let chain_of = |request: Request| log.bundle(&request);
    let paid = Request { payloads: true, ..devices(&["lift-01"]) };
    let paid_bundle = chain_of(paid.clone());
    let first_payload =
        members(&paid_bundle).iter().find(|(name, _)| name.starts_with("payload-")).unwrap().0.clone();
    let claimed = Request { claims: true, ..full() };
    let since = Request { since: Some(log.sizes[1]), ..devices(&["lift-01", "lift-04"]) };
    let named = records(&[("lift-01", 3), ("lift-04", 13)]);
    let cut = whole[..whole.len() - 700].to_vec();
    let longer = [whole.as_slice(), &[0]].concat();
    let mut dated = whole.clone();
    dated[512 * 2 + 136] = b'1';
    let stray = packed(&{
        let mut members = members(&paid_bundle);
        let at = members.iter().position(|(name, _)| name.starts_with("payload-")).unwrap();
        members.insert(at, (format!("payload-{}", "0".repeat(64)), b"stray".to_vec()));
        members
    });
    let lying = Log::new(true);
    let erasing = || Log::new(false).erasing(&[("lift-01", 3, None), ("lift-04", 12, None)]);
    let erased = erasing().bundle(&Request { payloads: true, claims: true, ..full() });
    vec![
        case("full", whole.clone()),
        case("full-payloads", chain_of(Request { payloads: true, ..full() })),
        case("devices", chain_of(devices(&["lift-01", "lift-04"]))),
        case("devices-absent", chain_of(devices(&["lift-02", "lift-025", "lift-99"]))),
        case("devices-payloads", paid_bundle.clone()),
        case("records", chain_of(named.clone())),
        Case { policy: None, keys: None, ..case("claims", chain_of(claimed)) },
        Case { keys: None, ..case("no-keys", whole.clone()) },
        Case { keys: Some("keys-other.json"), ..case("other-keys", whole.clone()) },
        Case { policy: Some("policy-other"), ..case("other-policy", whole.clone()) },
        Case { policy: Some("policy-strict"), ..case("too-few-witnesses", whole.clone()) },
        Case { previous: Some("checkpoint-earlier"), ..case("previous-full", whole.clone()) },
        Case { previous: Some("checkpoint-earlier"), ..case("previous-devices", chain_of(since)) },
        Case {
            previous: Some("checkpoint-earlier"),
            ..case("previous-unknown", chain_of(devices(&["lift-01"])))
        },
        Case { previous: Some("checkpoint-forked"), ..case("previous-forked", whole.clone()) },
        case("record-edited", flipped(first, 60)),
        case("record-malformed", flipped(first, 3)),
        case("record-removed", without(third)),
        case("records-swapped", swap(third, third + 1)),
        case("record-repeated", {
            let mut items = items(&whole);
            items.insert(third, items[third].clone());
            with_items(&whole, &items)
        }),
        case("record-behind", behind(items(&whole)[first].clone())),
        case("leaf-behind", behind(vec![0, 2, 9, 9])),
        case("key-edited", flipped(1, 30)),
        case("heads-edited", flipped(log.leaves.len() - 1, 20)),
        case("heads-lie", lying.bundle(&full())),
        case("devices-heads-lie", lying.bundle(&devices(&["lift-01"]))),
        case("device-cut", {
            let last = find_record(&log, "lift-01", 12);
            let mut shorter = log.clone();
            shorter.leaves[last] = log.leaves[1].clone();
            shorter.bundle(&devices(&["lift-01"]))
        }),
        case(
            "device-missing",
            edited(&chain_of(devices(&["lift-01"])), "manifest", |text| {
                let other = String::from_utf8(text.clone()).unwrap().replace("bGlmdC0wMQ==", "bGlmdC0wNA==");
                *text = other.into_bytes();
            }),
        ),
        case(
            "record-not-there",
            edited(&chain_of(named.clone()), "manifest", |text| {
                let other = String::from_utf8(text.clone()).unwrap().replace("record 3 ", "record 4 ");
                *text = other.into_bytes();
            }),
        ),
        case("payload-edited", edited(&paid_bundle, &first_payload, |payload| payload[0] ^= 1)),
        case("payload-removed", {
            let members: Vec<_> =
                members(&paid_bundle).into_iter().filter(|(name, _)| *name != first_payload).collect();
            packed(&members)
        }),
        case("payload-stray", stray),
        case("erased-full", erased.clone()),
        case("erased-devices", erasing().bundle(&paid)),
        case("erased-records", erasing().bundle(&Request { payloads: true, ..named.clone() })),
        Case { policy: None, ..case("erased-claimed", erased.clone()) },
        Case { policy: Some("policy-strict"), ..case("erased-untrusted", erased) },
        case("erased-otherwise", {
            let log = Log::new(false).erasing(&[("lift-01", 3, Some(Hash::ZERO))]);
            log.bundle(&Request { payloads: true, ..full() })
        }),
        case("digest-differs", {
            let mut bundle = whole.clone();
            let at = bundle.len() - 1024 - 512;
            bundle[at] ^= 1;
            bundle
        }),
        case("header-edited", dated),
        case("cut", cut),
        case("longer", longer),
        case("empty", Vec::new()),
    ]
}

fn input(name: &str) -> String {
    let log = Log::new(false);
    let mut forked = log.clone();
    forked.leaves[8][60] ^= 1;
    let mut other = KeyRing::new();
    other.insert("lift-01", ring_key("lift-01", 99, Scheme::Record, 1)).unwrap();
    match name {
        "policy" => policy(),
        "policy-other" => other_policy(),
        "policy-strict" => strict_policy(),
        "keys.json" => write_key_ring(&keys()),
        "keys-other.json" => write_key_ring(&other),
        "checkpoint-earlier" => log.checkpoint(log.sizes[1]).to_string(),
        "checkpoint-forked" => forked.checkpoint(log.sizes[1]).to_string(),
        other => panic!("{other}"),
    }
}

fn verify_case(case: &Case) -> Report {
    let policy = case.policy.map(|name| Policy::parse(input(name).as_bytes()).unwrap());
    let keys = case.keys.map(|name| read_key_ring(input(name).as_bytes(), Scheme::PayloadHash).unwrap());
    let previous = case.previous.map(|name| Note::parse(input(name).as_bytes()).unwrap());
    let inputs = BundleInputs {
        policy: policy.as_ref(),
        keys: keys.as_ref(),
        previous: previous.as_ref(),
        ..BundleInputs::default()
    };
    verified(&case.bundle, &inputs)
}

fn shown(finding: &Finding) -> Value {
    let file = finding.location.as_ref().and_then(|at| at.input.strip_prefix("case.tar/"));
    json!({
        "code": finding.code,
        "device_id": finding.device_id,
        "sequence": finding.sequence,
        "file": file.filter(|_| finding.index.is_none()),
    })
}

#[test]
fn vectors_give_the_results_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/bundle");
    let cases = cases();
    let expected: Vec<Value> = cases
        .iter()
        .map(|case| {
            let report = verify_case(case);
            json!({
                "bundle": format!("{}.tar", case.name),
                "policy": case.policy,
                "keys": case.keys,
                "previous": case.previous,
                "verdict": report.verdict,
                "counts": report.counts,
                "findings": report.findings.iter().map(shown).collect::<Vec<_>>(),
                "gaps": gaps(&report),
            })
        })
        .collect();
    let mut files: BTreeMap<PathBuf, Vec<u8>> =
        cases.iter().map(|case| (folder.join(format!("{}.tar", case.name)), case.bundle.clone())).collect();
    for name in [
        "policy",
        "policy-other",
        "policy-strict",
        "keys.json",
        "keys-other.json",
        "checkpoint-earlier",
        "checkpoint-forked",
    ] {
        files.insert(folder.join(name), input(name).into_bytes());
    }
    let text = serde_json::to_string_pretty(&Value::from(expected)).unwrap() + "\n";
    files.insert(folder.join("expected.json"), text.into_bytes());
    if std::env::var_os("EDGESENTRY_WRITE").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(path, content)| std::fs::write(path, content).unwrap());
    }
    for (path, content) in &files {
        assert!(
            std::fs::read(path).ok().as_ref() == Some(content),
            "{}: write it again with EDGESENTRY_WRITE=1",
            path.display()
        );
    }
}

#[test]
fn bundles_of_every_scope_hold() {
    let log = Log::new(false);
    for (request, records) in [
        (full(), 24),
        (Request { payloads: true, claims: true, ..full() }, 24),
        (devices(&["lift-01"]), 12),
        (devices(&["lift-01", "lift-02", "lift-03", "lift-04"]), 24),
        (records(&[("lift-01", 3), ("lift-04", 13)]), 2),
    ] {
        let report = report(&log.bundle(&request));
        assert_eq!((codes(&report), report.verdict), (Vec::new(), Verdict::Valid));
        assert_eq!(report.coverage.records, records);
        let log = report.coverage.log.as_ref().unwrap();
        assert_eq!((log.root, log.records, log.witnesses), (RootCheck::Compared, records, 1));
        assert_eq!(report.coverage.payloads.is_some(), request.payloads);
    }
}

#[test]
fn a_trusted_log_excuses_erased_payloads() {
    let log = Log::new(false).erasing(&[("lift-01", 3, None), ("lift-04", 12, None)]);
    for (scope, payloads, erased) in [
        (full(), 24, 2),
        (devices(&["lift-01"]), 12, 1),
        (records(&[("lift-01", 3), ("lift-01", 4), ("lift-04", 12)]), 3, 2),
    ] {
        let bundle = log.bundle(&Request { payloads: true, claims: true, ..scope });
        let found = report(&bundle);
        assert_eq!((codes(&found), found.verdict), (Vec::new(), Verdict::Valid));
        let coverage = &found.coverage;
        let counted = coverage.payloads.clone().unwrap();
        assert_eq!((counted.checked, counted.erased, counted.erased_present), (payloads, erased, 0));
        assert_eq!(coverage.log.clone().unwrap().erased, erased);
        assert!(coverage.not_checked.contains(&NotChecked::PayloadErased { payloads: erased }));
        assert_eq!(found.hints, []);
        // The policy of the bundle is a claim.
        let found = verified(&bundle, &BundleInputs { keys: Some(&keys()), ..BundleInputs::default() });
        assert_eq!(codes(&found), [(FindingCode::PayloadMissing, erased)]);
        assert_eq!(found.hints, [Hint::ErasureUnproven { payloads: erased }]);
        assert_eq!(found.coverage.log.clone().unwrap().erased, 0);
    }
}

/// The findings keep their order and number under any limit of findings.
#[test]
fn missing_payloads_that_are_not_excused_come_in_order() {
    let log = Log::new(false).erasing(&[("lift-01", 3, None), ("lift-04", 12, Some(Hash::ZERO))]);
    let bundle = log.bundle(&Request { payloads: true, ..full() });
    let policy = Policy::parse(policy().as_bytes()).unwrap();
    let other = input("keys-other.json");
    let keys = read_key_ring(other.as_bytes(), Scheme::PayloadHash).unwrap();
    let inputs = BundleInputs { policy: Some(&policy), keys: Some(&keys), ..BundleInputs::default() };
    for max_findings in [0, 3, 100] {
        let reader: Box<dyn Read + Send> = Box::new(Cursor::new(bundle.clone()));
        let source = Source::Reader { name: "case.tar".into(), reader };
        let options = Options { max_findings, ..Options::default() };
        let found = verify_bundle(source, &inputs, &options, &Arc::new(Progress::default())).unwrap();
        assert_eq!(found.counts[&FindingCode::PayloadMissing], 1);
        assert_eq!(found.coverage.payloads.clone().unwrap().erased, 1);
        assert_eq!(found.findings.len(), max_findings.min(found.counts.values().sum::<u64>() as usize));
        let records = found.findings.iter().filter_map(|finding| finding.index);
        assert!(records.is_sorted(), "{:?}", found.findings);
    }
}

#[test]
fn an_older_checkpoint_is_compared_if_its_root_is_known() {
    let log = Log::new(false);
    let policy = Policy::parse(policy().as_bytes()).unwrap();
    let since = log.sizes[0];
    for (request, is_known) in [
        (full(), true),
        (Request { since: Some(since), ..devices(&["lift-04"]) }, true),
        (Request { since: Some(since), ..records(&[("lift-04", 13)]) }, true),
        (devices(&["lift-04"]), false),
    ] {
        let bundle = log.bundle(&request);
        let previous = log.checkpoint(since);
        let inputs =
            BundleInputs { policy: Some(&policy), previous: Some(&previous), ..BundleInputs::default() };
        let report = verified(&bundle, &inputs);
        assert_eq!(
            (codes(&report), report.coverage.log.clone().unwrap().previous),
            (Vec::new(), Some(is_known))
        );
        let mut forked = log.clone();
        forked.leaves[8][70] ^= 1;
        let previous = forked.checkpoint(since);
        let report = verified(&bundle, &BundleInputs { previous: Some(&previous), ..inputs });
        let expected: &[_] = if is_known { &[(FindingCode::CheckpointInconsistent, 1)] } else { &[] };
        assert_eq!(codes(&report), expected);
    }
}

#[test]
fn the_age_is_that_of_the_cosignatures() {
    let bundle = Log::new(false).bundle(&full());
    let policy = Policy::parse(policy().as_bytes()).unwrap();
    for (now, expected) in [(COSIGNED_AT + 60, None), (COSIGNED_AT + 61, Some(FindingCode::CheckpointStale))]
    {
        let max_age = Some(MaxAge { seconds: 60, now });
        let report =
            verified(&bundle, &BundleInputs { policy: Some(&policy), max_age, ..BundleInputs::default() });
        assert_eq!(report.counts.keys().next().copied(), expected);
    }
}

#[test]
fn claims_of_the_bundle_are_named_and_without_a_policy_nothing_is_decided() {
    let log = Log::new(false);
    let report = verified(&log.bundle(&Request { claims: true, ..full() }), &BundleInputs::default());
    assert_eq!(report.verdict, Verdict::Valid);
    let gaps = gaps(&report);
    assert!(gaps.contains(&"policy_claimed".into()) && gaps.contains(&"keys_claimed".into()));
    let reader: Box<dyn Read + Send> = Box::new(Cursor::new(log.bundle(&full())));
    let progress = Arc::new(Progress::default());
    let undecided = verify_bundle(
        Source::Reader { name: "case.tar".into(), reader },
        &BundleInputs::default(),
        &Options::default(),
        &progress,
    );
    assert!(matches!(undecided, Err(Error::PolicyMissing)));
    // A claim that is not used is not parsed.
    let damaged = edited(&log.bundle(&Request { claims: true, ..full() }), "keys", |keys| keys.truncate(9));
    assert_eq!(self::report(&damaged).verdict, Verdict::Valid);
    let report = verified(&damaged, &BundleInputs::default());
    assert_eq!(codes(&report), [(FindingCode::BundleMalformed, 1)]);
}

#[test]
fn time_stamps_are_reserved_and_reported_as_not_checked() {
    let mut members = members(&Log::new(false).bundle(&full()));
    members.push(("tsa-0.tsr".into(), b"token".to_vec()));
    let report = report(&packed(&members));
    assert_eq!(report.verdict, Verdict::Valid);
    assert!(report.coverage.not_checked.contains(&NotChecked::TimestampsNotChecked { files: 1 }));
}

#[test]
fn findings_name_the_file() {
    let log = Log::new(false);
    let bundle = log.bundle(&full());
    let place = |bundle: &[u8]| {
        let report = report(bundle);
        assert_eq!(codes(&report), [(FindingCode::BundleMalformed, 1)], "{:?}", report.findings);
        let place = report.findings[0].location.clone().unwrap();
        (place.input.to_string(), place.record)
    };
    assert_eq!(place(&[]), ("case.tar/manifest".into(), 0));
    assert_eq!(place(&bundle[..512 * 3 + 20]), ("case.tar/checkpoint".into(), 0));
    assert_eq!(place(&bundle[..bundle.len() - 1]), ("case.tar".into(), 0));
    let cut = edited(&bundle, "leaves-000", |content| content.truncate(content.len() - 1));
    assert_eq!(place(&cut), ("case.tar/leaves-000".into(), 0));
}

/// Headers that other readers of tar accept, each in place of the header of the second member.
#[test]
fn one_encoding_of_the_container_is_read() {
    let bundle = Log::new(false).bundle(&full());
    let start = 512 * (1 + members(&bundle)[0].1.len().div_ceil(512));
    let header = &bundle[start..start + 512];
    let with = |edits: &[(usize, &[u8])]| {
        let mut header = header.to_vec();
        for (offset, bytes) in edits {
            header[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        [&bundle[..start], &header, &bundle[start + 512..]].concat()
    };
    assert_eq!(report(&with(&[])).verdict, Verdict::Valid);
    let base_256 = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let hostile: [&[(usize, &[u8])]; 22] = [
        &[(0, b"./checkpoint")],
        &[(0, b"../checkpoint")],
        &[(0, b"CHECKPOINT")],
        &[(0, b"checkpoint\0x")],
        &[(100, b"0000755\0")],
        &[(100, b" 000644\0")],
        &[(108, b"0001000\0")],
        &[(124, b"-0000000001\0")],
        &[(124, b"77777777777\0")],
        &[(124, b"00000000000\0")],
        &[(124, b"       1000\0")],
        &[(124, &base_256)],
        &[(124, &[0xff; 12])],
        &[(136, b"00000000001\0")],
        &[(156, b"\0")],
        &[(156, b"2"), (157, b"manifest")],
        &[(156, b"S")],
        &[(156, b"x")],
        &[(156, b"g")],
        &[(257, b"ustar  \0")],
        &[(265, b"root")],
        &[(345, b"folder")],
    ];
    for edits in hostile {
        assert_eq!(codes(&report(&with(edits))), [(FindingCode::BundleMalformed, 1)], "{edits:?}");
    }
    // The checksum in the form of other writers.
    let mut spaced = bundle.clone();
    spaced[start + 154..start + 156].copy_from_slice(b" \0");
    assert_eq!(codes(&report(&spaced)), [(FindingCode::BundleMalformed, 1)]);
}

#[test]
fn one_encoding_of_the_manifest_is_read() {
    let good = BundleManifest {
        scope: BundleScope::Devices(vec!["a".into(), "b".into()]),
        created_ms: 5,
        since: Some(7),
        payloads: true,
        files: ["checkpoint", "heads", "keys", "leaves-000", "leaves-001", "policy", "tsa-0.tsr"]
            .map(|name| edgesentry_log::BundleFile { name: name.into(), bytes: 1, sha256: [7; 32] })
            .to_vec(),
    };
    let text = good.to_string();
    assert_eq!(BundleManifest::parse(text.as_bytes()).unwrap(), good);
    let hash = hex_of(7);
    let line = |bytes: &str, name: &str| format!("file {hash} {bytes} {name}\n");
    for (from, to) in [
        ("bundle@v1\n", "bundle@v2\n".to_owned()),
        ("scope devices\n", "scope full\n".to_owned()),
        ("scope devices\n", "scope records\n".to_owned()),
        ("scope devices\n", "scope all\n".to_owned()),
        ("created 5\n", "created 05\n".to_owned()),
        ("created 5\n", "created 9223372036854775808\n".to_owned()),
        ("created 5\n", String::new()),
        ("since 7\n", "since 0\n".to_owned()),
        ("since 7\npayloads\n", "payloads\nsince 7\n".to_owned()),
        ("payloads\n", "payloads\npayloads\n".to_owned()),
        ("payloads\n", "payloads \n".to_owned()),
        ("device YQ==\n", "device YR==\n".to_owned()),
        ("device YQ==\n", "device YQ==\ndevice YQ==\n".to_owned()),
        ("device YQ==\ndevice Yg==\n", "device Yg==\ndevice YQ==\n".to_owned()),
        ("device YQ==\ndevice Yg==\n", String::new()),
        ("device YQ==\n", "device YQ==\r\n".to_owned()),
        ("device YQ==\n", "device /w==\n".to_owned()),
        ("heads\n", "heads\n\n".to_owned()),
        (&line("1", "checkpoint"), String::new()),
        (&line("1", "checkpoint"), line("0", "checkpoint")),
        (&line("1", "checkpoint"), line("131073", "checkpoint")),
        (&line("1", "checkpoint"), line("-1", "checkpoint")),
        (&line("1", "heads"), String::new()),
        (&line("1", "heads"), line("1", "heads") + &line("1", "heads")),
        (&line("1", "leaves-000"), String::new()),
        (&line("1", "leaves-000"), line("1073741825", "leaves-000")),
        (&line("1", "leaves-001"), line("1", "leaves-002")),
        (&line("1", "leaves-001"), line("1", "leaves-1")),
        (&line("1", "policy"), line("1", "other")),
        (&line("1", "policy"), line("1", "payload-00") + &line("1", "policy")),
        (&line("1", "policy"), line("1", "manifest") + &line("1", "policy")),
        (&line("1", "tsa-0.tsr"), line("1", "tsa-64.tsr")),
        (&line("1", "tsa-0.tsr"), line("1", "tsa-00.tsr")),
        (&line("1", "tsa-0.tsr"), line("1", "tsa-0.der")),
        (&line("1", "tsa-0.tsr"), line("1", "tsa-0.tsr").trim_end().to_owned()),
        (&line("1", "tsa-0.tsr"), line("1", "tsa-0.tsr").to_uppercase()),
        (&line("1", "tsa-0.tsr"), line("1 ", "tsa-0.tsr")),
    ] {
        assert!(text.contains(from), "{from}");
        let bad = text.replacen(from, &to, 1);
        assert!(BundleManifest::parse(bad.as_bytes()).is_err(), "{from:?} -> {to:?}");
    }
    let unpaid = text.replace("payloads\n", "");
    assert!(BundleManifest::parse(unpaid.as_bytes()).is_ok());
    let stray =
        unpaid.replace(&line("1", "policy"), &(line("1", &format!("payload-{hash}")) + &line("1", "policy")));
    assert!(BundleManifest::parse(stray.as_bytes()).is_err());
}

fn hex_of(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// No byte of a bundle can change unnoticed, and no change ends in anything but a report.
    #[test]
    fn every_byte_counts(
        request in prop::sample::select(vec![
            Request { payloads: true, ..full() },
            Request { since: Some(12), ..devices(&["lift-01", "lift-025"]) },
            records(&[("lift-01", 3), ("lift-04", 13)]),
        ]),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let mut bundle = Log::new(false).bundle(&request);
        let at = at.index(bundle.len());
        // The lines before the list of files are claims.
        let files = bundle.windows(6).position(|window| window == b"\nfile ").unwrap();
        prop_assume!(!(512..files).contains(&at));
        bundle[at] ^= flip;
        prop_assert_eq!(report(&bundle).verdict, Verdict::Findings);
    }

    #[test]
    fn no_part_of_a_bundle_passes(at in any::<prop::sample::Index>()) {
        let bundle = Log::new(false).bundle(&full());
        let cut = &bundle[..at.index(bundle.len())];
        prop_assert_eq!(codes(&report(cut)), [(FindingCode::BundleMalformed, 1)]);
    }

    #[test]
    fn any_bytes_give_findings_or_name_the_other_format(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        match try_verify(&bytes, &BundleInputs::default()) {
            Ok(report) => prop_assert_eq!(report.verdict, Verdict::Findings),
            Err(error) => prop_assert!(matches!(error, Error::Unreadable { .. }), "{error}"),
        }
    }
}
