//! Leaves, the heads tree, proofs as files, layouts.

#![allow(clippy::unwrap_used)]

use edgesentry_chain::canonical::CanonicalError;
use edgesentry_chain::{AuditRecord, Hash, Head, Scheme};
use edgesentry_log::{
    Checkpoint, DeviceState, ErasedLeaf, HeadEntry, HeadsError, HeadsLeaf, HeadsProof, HeadsProofError,
    HeadsRoot, HeadsTree, KeyLeaf, KeyType, Layout, LayoutError, LayoutItem, LayoutWriter, Leaf, LeafError,
    LogProof, LogProofError, OpenedLeaf, Policy, PolicyError, ProofError, RevokedLeaf, SignerKey, Tree,
    TreeHash, inclusion_path,
};
use proptest::prelude::*;

const ORIGIN: &str = "log.example/lifts";

fn key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [1; 32]).unwrap()
}

fn policy() -> Policy {
    Policy::parse(format!("log {}\nquorum none\n", key().verifier()).as_bytes()).unwrap()
}

/// Returns the proof of the last leaf of a log, after `others` other leaves.
fn proof_of(leaf: Vec<u8>, others: u64) -> LogProof {
    let mut tree = Tree::default();
    (0..others).for_each(|n| tree.push(TreeHash::of_leaf(&n.to_be_bytes())));
    tree.push(TreeHash::of_leaf(&leaf));
    let path = inclusion_path(others, tree.size(), |node| tree.node(node)).unwrap();
    let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap().sign(&key()).unwrap();
    LogProof { extra: Some(leaf), index: others, path, checkpoint }
}

fn entry(device_id: &str, sequence: u64) -> HeadEntry {
    let record_hash = if sequence == 0 { Hash::ZERO } else { Hash::of(device_id.as_bytes()) };
    HeadEntry {
        device_id: device_id.into(),
        sequence,
        record_hash,
        start_sequence: 0,
        start_hash: Hash::ZERO,
    }
}

/// Returns the heads of `lift-00`, `lift-02`, `lift-04`, …
fn heads(count: u64) -> (HeadsTree, LogProof) {
    let entries = (0..count).map(|n| entry(&format!("lift-{:02}", 2 * n), n % 3)).collect();
    let tree = HeadsTree::new(entries).unwrap();
    let leaf = HeadsLeaf { records: 100, devices: count, heads_root: tree.root(), at_ms: 1_700_000_000_000 };
    let proof = proof_of(Leaf::Heads(leaf).to_bytes(), 9);
    (tree, proof)
}

fn leaves() -> impl Strategy<Value = Leaf> {
    let hash = any::<[u8; 32]>;
    let origin = || "[a-z./]{1,9}";
    let previous = (origin(), 1_u64..1 << 63, hash())
        .prop_map(|(origin, size, root)| Checkpoint::new(&origin, size, TreeHash(root)).unwrap());
    prop_oneof![
        (".{0,9}", any::<u64>(), any::<u64>(), hash(), hash(), ".{0,9}").prop_map(
            |(device_id, sequence, timestamp_ms, payload, previous, object_ref)| Leaf::Record(AuditRecord {
                device_id,
                sequence,
                timestamp_ms,
                payload_hash: Hash(payload),
                signature: [7; 64],
                prev_record_hash: Hash(previous),
                object_ref,
            })
        ),
        (any::<u64>(), any::<u64>(), hash(), any::<u64>()).prop_map(|(records, devices, root, at_ms)| {
            Leaf::Heads(HeadsLeaf { records, devices, heads_root: TreeHash(root), at_ms })
        }),
        (".{0,9}", any::<u64>(), hash(), any::<bool>(), any::<Option<(u64, [u8; 32])>>(), any::<u64>())
            .prop_map(|(device_id, valid_from, public_key, record, start, at_ms)| Leaf::Key(KeyLeaf {
                device_id,
                valid_from,
                public_key,
                scheme: if record { Scheme::Record } else { Scheme::PayloadHash },
                start: start.map(|(sequence, hash)| Head { sequence, hash: Hash(hash) }),
                at_ms,
            })),
        (".{0,9}", any::<u64>(), any::<u64>()).prop_map(|(device_id, revoked_from, at_ms)| {
            Leaf::Revoked(RevokedLeaf { device_id, revoked_from, at_ms })
        }),
        (".{0,9}", any::<u64>(), hash(), ".{0,9}", any::<u64>()).prop_map(
            |(device_id, sequence, payload, reason, at_ms)| Leaf::Erased(ErasedLeaf {
                device_id,
                sequence,
                payload_hash: Hash(payload),
                reason,
                at_ms,
            })
        ),
        (origin(), any::<u64>(), proptest::option::of(previous), any::<u64>()).prop_map(
            |(origin, records_before, previous, at_ms)| Leaf::Opened(OpenedLeaf {
                origin,
                records_before,
                previous,
                at_ms,
            })
        ),
        (7_u8.., proptest::collection::vec(any::<u8>(), 0..9))
            .prop_map(|(kind, body)| Leaf::Unknown { kind, body }),
    ]
}

proptest! {
    #[test]
    fn leaves_are_read_as_they_are_written_and_not_otherwise(leaf in leaves(), at: prop::sample::Index, bit in 0_u8..8) {
        let bytes = leaf.to_bytes();
        prop_assert_eq!(bytes[0], leaf.kind());
        prop_assert_eq!(leaf.hash(), TreeHash::of_leaf(&bytes));
        prop_assert_eq!(Leaf::parse(&bytes), Ok(leaf.clone()));
        let mut changed = bytes.clone();
        let at = at.index(bytes.len());
        changed[at] ^= 1 << bit;
        if let Ok(other) = Leaf::parse(&changed) {
            prop_assert_eq!(other.to_bytes(), changed);
            prop_assert_ne!(&other, &leaf);
        }
        if leaf.kind() < 7 {
            prop_assert!(Leaf::parse(&bytes[..at]).is_err());
            prop_assert!(Leaf::parse(&[bytes, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn bytes_that_are_read_as_a_leaf_are_written_so(kind in 0_u8..9, body in proptest::collection::vec(0_u8..3, 0..120)) {
        let bytes = [&[kind], body.as_slice()].concat();
        if let Ok(leaf) = Leaf::parse(&bytes) {
            prop_assert_eq!(leaf.to_bytes(), bytes);
        }
    }

    #[test]
    fn layouts_are_read_as_they_are_written(
        items in proptest::collection::vec(("[a-z]{0,3}", 1_u64..1 << 40, 1_u64..1 << 40, proptest::option::of(2_u8..)), 0..9),
    ) {
        let leaves: Vec<Vec<u8>> = items.iter().map(|(text, _, _, kind)| {
            [&[kind.unwrap_or_default()], text.as_bytes()].concat()
        }).collect();
        let items: Vec<LayoutItem> = items.iter().zip(&leaves).map(|((device_id, first, count, kind), leaf)| match kind {
            Some(_) => LayoutItem::Leaf(leaf),
            None => LayoutItem::Run { device_id, first_sequence: *first, count: *count },
        }).collect();
        let mut writer = LayoutWriter::default();
        items.iter().for_each(|item| writer.push(*item).unwrap());
        let bytes = writer.into_bytes();
        let read: Result<Vec<LayoutItem>, LayoutError> = Layout::parse(&bytes).unwrap().collect();
        prop_assert_eq!(read.unwrap(), items);
    }

    #[test]
    fn bytes_that_are_read_as_a_layout_are_written_so(body in proptest::collection::vec(0_u8..4, 0..40)) {
        let bytes = [b"EDSLOG1\n", body.as_slice()].concat();
        if let Ok(items) = Layout::parse(&bytes).unwrap().collect::<Result<Vec<LayoutItem>, _>>() {
            let mut writer = LayoutWriter::default();
            items.iter().for_each(|item| writer.push(*item).unwrap());
            prop_assert_eq!(writer.into_bytes(), bytes);
        }
    }
}

#[test]
fn malformed_leaves_are_refused() {
    assert_eq!(Leaf::parse(&[]), Err(LeafError::Empty));
    assert_eq!(Leaf::parse(&[9; 65_536]), Err(LeafError::TooLong(65_536)));
    assert!(Leaf::parse(&[9; 65_535]).is_ok());
    let truncated = Leaf::parse(&[2, 1]);
    assert_eq!(truncated, Err(LeafError::Body { kind: 2, source: CanonicalError::Truncated }));
    let key = [&[3, 1, b'a', 1], [0; 32].as_slice(), &[2, 0, 5]].concat();
    assert_eq!(Leaf::parse(&key), Err(LeafError::Scheme(2)));
    // An invalid origin, and a previous log of size 0 with a root other than that of the empty tree.
    assert!(matches!(Leaf::parse(&[6, 0, 0, 0, 5]), Err(LeafError::Opened(_))));
    let previous = [&[6, 1, b'a', 0, 1, 1, b'b', 0], [0; 32].as_slice(), &[5]].concat();
    assert!(matches!(Leaf::parse(&previous), Err(LeafError::Opened(_))));
}

#[test]
fn the_heads_tree_requires_sorted_devices() {
    let mut root = HeadsRoot::default();
    root.push(&entry("b", 1)).unwrap();
    let before = root.root();
    assert!(matches!(root.push(&entry("b", 2)), Err(HeadsError::Order { .. })));
    assert!(matches!(root.push(&entry("a", 2)), Err(HeadsError::Order { .. })));
    // Sorted by bytes: capitals come first, and é after z.
    assert!(root.push(&entry("Z", 2)).is_err());
    assert_eq!((root.root(), root.devices()), (before, 1));
    root.push(&entry("z", 1)).unwrap();
    root.push(&entry("é", 1)).unwrap();
    let tree = HeadsTree::new(vec![entry("b", 1), entry("z", 1), entry("é", 1)]).unwrap();
    assert_eq!(tree.root(), root.root());
    assert!(HeadsTree::new(vec![entry("b", 1), entry("b", 1)]).is_err());
    let lying = HeadEntry { record_hash: Hash::of(b"?"), ..entry("a", 0) };
    assert!(matches!(HeadsTree::new(vec![lying.clone()]), Err(HeadsError::NoRecord(_))));
    assert!(HeadEntry::parse(&lying.to_bytes()).is_err());
    assert_eq!(HeadEntry::parse(&entry("é", 7).to_bytes()), Ok(entry("é", 7)));
    assert_eq!(HeadEntry::parse(&[0x11]), Err(HeadsError::Kind(0x11)));
    assert_eq!(HeadsRoot::default().root(), TreeHash::EMPTY);
}

#[test]
fn every_device_is_proven_to_be_there_or_not() {
    for count in 0..20 {
        let (tree, log_proof) = heads(count);
        for n in 0..2 * count + 3 {
            // After, among and before the others.
            let device_id = if n == 2 * count + 2 { "a".to_owned() } else { format!("lift-{n:02}") };
            let proof = HeadsProof::of_device(&device_id, &tree, log_proof.clone()).unwrap();
            let text = proof.to_string();
            let read = HeadsProof::parse(text.as_bytes()).unwrap();
            assert_eq!((&read, read.to_string()), (&proof, text));
            let proven = read.verify(&policy()).unwrap();
            let expected = tree.entries().iter().find(|entry| entry.device_id == device_id);
            let state = expected.map_or(DeviceState::Absent, |entry| DeviceState::Present(entry.clone()));
            assert_eq!((proven.state, proven.heads.devices), (state, count), "{device_id} of {count}");
        }
    }
}

/// Returns all texts with one line removed, repeated, or exchanged with the next one, and with one character changed.
fn damaged(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut all = Vec::new();
    for at in 0..lines.len() {
        let (front, rest) = lines.split_at(at);
        all.push([front, &rest[1..]].concat().concat());
        all.push([front, &rest[..1], rest].concat().concat());
        if rest.len() > 1 && rest[0] != rest[1] {
            all.push([front, &[rest[1], rest[0]], &rest[2..]].concat().concat());
        }
    }
    for (at, _) in text.char_indices() {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        all.extend(String::from_utf8(bytes));
        all.push(text[..at].to_owned());
    }
    all
}

#[test]
fn a_damaged_heads_proof_proves_nothing_else() {
    let (tree, log_proof) = heads(6);
    for device_id in ["lift-04", "lift-05", "lift-99", "a"] {
        let proof = HeadsProof::of_device(device_id, &tree, log_proof.clone()).unwrap();
        let text = proof.to_string();
        let expected = proof.verify(&policy()).unwrap();
        for changed in damaged(&text) {
            assert_ne!(changed, text);
            let Ok(read) = HeadsProof::parse(changed.as_bytes()) else { continue };
            assert_eq!(read.to_string(), changed);
            let Ok(proven) = read.verify(&policy()) else { continue };
            // An adjacent device id is absent for the same reason. The hashes cover everything else.
            assert_ne!(read.device_id(), device_id, "{changed}");
            assert_eq!((&proven.state, &proven.heads), (&DeviceState::Absent, &expected.heads));
            assert!(tree.entries().iter().all(|entry| entry.device_id != read.device_id()));
        }
    }
}

#[test]
fn a_heads_proof_is_of_the_last_leaf_and_decides() {
    let (tree, log_proof) = heads(6);
    let verify = |proof: &HeadsProof| proof.verify(&policy()).unwrap_err();
    // Absence shown by entries that are not adjacent to the device.
    let other = HeadsProof::of_device("lift-09", &tree, log_proof.clone()).unwrap().to_string();
    let other = other.replace("device bGlmdC0wOQ==", "device bGlmdC0wNQ==");
    let undecided = HeadsProof::parse(other.as_bytes()).unwrap();
    assert_eq!(verify(&undecided), HeadsProofError::Undecided("lift-05".into()));

    // A heads leaf that is not the last one.
    let leaf = log_proof.extra.clone().unwrap();
    let mut log = Tree::default();
    log.push(TreeHash::of_leaf(&leaf));
    log.push(TreeHash::of_leaf(b"more"));
    let checkpoint = Checkpoint::new(ORIGIN, 2, log.root()).unwrap().sign(&key()).unwrap();
    let path = inclusion_path(0, 2, |node| log.node(node)).unwrap();
    let early = LogProof { extra: Some(leaf), index: 0, path, checkpoint };
    let early = HeadsProof::of_device("lift-02", &tree, early).unwrap();
    assert_eq!(verify(&early), HeadsProofError::NotLast { index: 0, size: 2 });

    let no_heads = HeadsProof::of_device("lift-02", &tree, proof_of(vec![9], 3)).unwrap();
    assert_eq!(verify(&no_heads), HeadsProofError::NotHeads(9));
    let no_leaf = LogProof { extra: None, ..log_proof.clone() };
    let no_leaf = HeadsProof::of_device("lift-02", &tree, no_leaf).unwrap();
    assert_eq!(verify(&no_leaf), HeadsProofError::Log(LogProofError::NoLeaf));
    // The entries of another tree.
    let (larger, _) = heads(7);
    let other_tree = HeadsProof::of_device("lift-02", &larger, log_proof).unwrap();
    assert!(matches!(verify(&other_tree), HeadsProofError::Path { index: 1, .. }));
}

#[test]
fn a_damaged_log_proof_proves_nothing_else() {
    let proof = proof_of(b"a leaf".to_vec(), 5);
    let text = proof.to_string();
    assert_eq!(LogProof::parse(text.as_bytes()), Ok(proof.clone()));
    assert_eq!(proof.verify_extra(&policy()).unwrap().0, b"a leaf");
    for changed in damaged(&text) {
        let Ok(read) = LogProof::parse(changed.as_bytes()) else { continue };
        assert_eq!(read.to_string(), changed);
        assert!(read.verify_extra(&policy()).is_err(), "{changed}");
    }
    let plain = LogProof { extra: None, ..proof.clone() };
    assert_eq!(LogProof::parse(plain.to_string().as_bytes()), Ok(plain.clone()));
    assert!(plain.verify(b"a leaf", &policy()).is_ok());
    assert!(matches!(plain.verify(b"another", &policy()), Err(LogProofError::Path(ProofError::Root(6)))));
    let other = SignerKey::from_seed("other", KeyType::Ed25519, [1; 32]).unwrap();
    let other = Policy::parse(format!("log {}\nquorum none\n", other.verifier()).as_bytes()).unwrap();
    assert!(matches!(
        plain.verify(b"a leaf", &other),
        Err(LogProofError::Policy(PolicyError::UnknownLog(_)))
    ));
    assert!(matches!(LogProof::parse(&[b' '; 300_000]), Err(LogProofError::TooLarge(300_000))));
    let long =
        text.replace("index 5\n", &format!("index 5\n{}", format!("{}\n", TreeHash::EMPTY).repeat(64)));
    assert!(matches!(LogProof::parse(long.as_bytes()), Err(LogProofError::Line(_))));
    // An error names the wrong line, both for a bad start and for a bad rest.
    for (from, to, line) in [("extra ", "extra *", 2), ("index 5", "index abc", 3), ("index 5", "inde 5", 3)]
    {
        let wrong = text.replace(from, to);
        assert_eq!(LogProof::parse(wrong.as_bytes()), Err(LogProofError::Line(line)), "{to}");
    }
}

#[test]
fn layouts_that_are_damaged_end_with_an_error() {
    let items = |bytes: &[u8]| {
        let bytes = [b"EDSLOG1\n", bytes].concat();
        Layout::parse(&bytes).unwrap().last().unwrap().map(|_| ())
    };
    assert_eq!(Layout::parse(b"EDSLOG2\n").unwrap_err(), LayoutError::Header);
    assert_eq!(Layout::parse(b"EDSLOG1\n").unwrap().count(), 0);
    assert_eq!(items(&[0, 1, b'a', 1, 1]), Ok(()));
    assert_eq!(items(&[2]), Err(LayoutError::Kind { offset: 8, kind: 2 }));
    for bytes in [[0, 1, b'a', 0, 1], [0, 1, b'a', 1, 0]] {
        assert_eq!(items(&bytes), Err(LayoutError::Run { offset: 8 }));
    }
    for bytes in [[1, 0].as_slice(), &[1, 1, 1], &[1, 2, 1, 0]] {
        assert_eq!(items(bytes), Err(LayoutError::Leaf { offset: 8 }), "a record or nothing as a leaf");
    }
    let truncated = Err(LayoutError::Malformed { offset: 11, source: CanonicalError::Truncated });
    assert_eq!(items(&[1, 1, 2, 1, 5, 0]), truncated);
    // More leaves than the maximum, in one run and in two.
    let mut writer = LayoutWriter::default();
    let run = |first_sequence, count| LayoutItem::Run { device_id: "a", first_sequence, count };
    assert!(writer.push(run(1, u64::MAX)).is_err());
    assert!(writer.push(run(u64::MAX, 2)).is_err());
    writer.push(run(1, (1 << 63) - 1)).unwrap();
    assert!(writer.push(run(1 << 63, 1)).is_err());
}
