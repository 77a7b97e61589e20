//! A follower agrees with the heads tree at every batch, finds each contradiction, and resumes from any leaf.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use edgesentry_chain::{AuditRecord, Device, FindingCode, Hash, Head, SUCCESSION_PREFIX, Scheme};
use edgesentry_log::{
    Contradiction, FINDINGS_DROPPED, Follower, HeadEntry, HeadsLeaf, HeadsTree, KEY_CONTRADICTED, KeyLeaf,
    LEAF_UNREAD, Leaf, OpenedLeaf, ReplacedKeys, RevokedLeaf, Tree, TreeHash,
};
use proptest::prelude::*;

const ORIGIN: &str = "log.example/lifts";

fn opened(origin: &str) -> Leaf {
    Leaf::Opened(OpenedLeaf { origin: origin.to_owned(), records_before: 0, previous: None, at_ms: 1 })
}

fn device(device_id: &str, seed: u8) -> Device {
    Device::from_seed(device_id, [seed; 32], Scheme::Record)
}

fn key(device: &Device, valid_from: u64) -> Leaf {
    Leaf::Key(KeyLeaf {
        device_id: device.device_id().to_owned(),
        valid_from,
        public_key: *device.public_key().unwrap().as_bytes(),
        scheme: Scheme::Record,
        start: None,
        at_ms: 1,
    })
}

/// Returns a key leaf under the other scheme.
fn other_scheme(leaf: Leaf) -> Leaf {
    let Leaf::Key(leaf) = leaf else { panic!("a key") };
    Leaf::Key(KeyLeaf { scheme: leaf.scheme.other(), ..leaf })
}

fn sign(device: &mut Device) -> AuditRecord {
    let sequence = device.head().map_or(1, |head| head.sequence + 1);
    device.sign(sequence, b"door", format!("{sequence}.bin")).unwrap()
}

/// A log in memory, with the heads that belong to it.
#[derive(Default)]
struct Log {
    leaves: Vec<Vec<u8>>,
    heads: BTreeMap<String, Head>,
    records: u64,
}

impl Log {
    fn new() -> Log {
        let mut log = Log::default();
        log.push(&opened(ORIGIN));
        log
    }

    fn push(&mut self, leaf: &Leaf) {
        match leaf {
            Leaf::Key(key) => {
                self.heads.entry(key.device_id.clone()).or_insert(Head { sequence: 0, hash: Hash::ZERO });
            }
            Leaf::Record(record) => {
                let head = Head { sequence: record.sequence, hash: record.hash() };
                self.heads.insert(record.device_id.clone(), head);
                self.records += 1;
            }
            _ => {}
        }
        self.leaves.push(leaf.to_bytes());
    }

    fn push_heads(&mut self) {
        let entry = |(device_id, head): (&String, &Head)| HeadEntry {
            device_id: device_id.clone(),
            sequence: head.sequence,
            record_hash: head.hash,
            start_sequence: 0,
            start_hash: Hash::ZERO,
        };
        let tree = HeadsTree::new(self.heads.iter().map(entry).collect()).unwrap();
        let (devices, heads_root) = (self.heads.len() as u64, tree.root());
        self.push(&Leaf::Heads(HeadsLeaf { records: self.records, devices, heads_root, at_ms: 2 }));
    }

    fn followed(&self) -> Follower {
        let mut follower = Follower::new(ORIGIN);
        self.leaves.iter().for_each(|leaf| follower.push(leaf).unwrap());
        follower
    }

    fn contradictions(&self) -> Vec<Contradiction> {
        let mut follower = self.followed();
        follower.end_checkpoint();
        follower.take_contradictions()
    }

    fn codes(&self) -> Vec<(u64, &'static str)> {
        self.contradictions().iter().map(|found| (found.index, found.code)).collect()
    }
}

/// A log of one device with three records and its heads.
fn honest() -> (Log, Device) {
    let (mut log, mut lift) = (Log::new(), device("lift-01", 7));
    log.push(&key(&lift, 1));
    for _ in 0..3 {
        log.push(&Leaf::Record(sign(&mut lift)));
    }
    log.push_heads();
    (log, lift)
}

#[test]
fn an_honest_log_has_no_contradiction() {
    let (log, _) = honest();
    assert_eq!(log.codes(), []);
    let follower = log.followed();
    assert_eq!((follower.size(), follower.records(), follower.devices()), (6, 3, 1));
    let mut tree = Tree::default();
    log.leaves.iter().for_each(|leaf| tree.push(TreeHash::of_leaf(leaf)));
    assert_eq!(follower.root(), tree.root());
    assert_eq!(Follower::new(ORIGIN).root(), TreeHash::EMPTY);
}

#[test]
fn each_contradiction_has_its_code() {
    let with = |change: &dyn Fn(&mut Log, &mut Device)| {
        let (mut log, mut lift) = honest();
        change(&mut log, &mut lift);
        log.push_heads();
        log.codes()
    };
    let edited = |edit: &'static dyn Fn(&mut AuditRecord)| {
        move |log: &mut Log, lift: &mut Device| {
            let mut record = sign(lift);
            edit(&mut record);
            lift.sign_record(&mut record).unwrap();
            log.push(&Leaf::Record(record));
        }
    };
    assert_eq!(with(&edited(&|_| {})), []);
    assert_eq!(with(&edited(&|record| record.sequence = 6)), [(6, "sequence_gap")]);
    assert_eq!(with(&edited(&|record| record.prev_record_hash = Hash::ZERO)), [(6, "prev_hash_mismatch")]);
    assert_eq!(
        with(&edited(&|record| record.device_id = "lift-02".into())),
        [(6, "first_record_not_genesis"), (6, "key_not_logged"), (7, "heads_mismatch"),]
    );
    assert_eq!(
        with(&|log, lift| {
            let mut record = sign(lift);
            record.timestamp_ms += 1;
            log.push(&Leaf::Record(record));
        }),
        [(6, "signature_invalid")]
    );
    // Again: the same record, another one of its sequence, an older one. The heads stay those of the chain.
    for (edit, code) in [(0, "sequence_duplicate"), (1, "fork"), (2, "sequence_out_of_order")] {
        let found = with(&|log, lift| {
            let Ok(Leaf::Record(mut record)) = Leaf::parse(&log.leaves[if edit == 2 { 2 } else { 4 }]) else {
                panic!("a record")
            };
            record.timestamp_ms += u64::from(edit == 1);
            lift.sign_record(&mut record).unwrap();
            let heads = log.heads.clone();
            log.push(&Leaf::Record(record));
            log.heads = heads;
        });
        assert_eq!(found, [(6, code)]);
    }
    // A heads leaf that lies.
    assert_eq!(
        with(&|log, _| {
            log.heads.insert("lift-01".to_owned(), Head { sequence: 2, hash: Hash::of(b"other") });
            log.push_heads();
        }),
        [(6, "heads_mismatch"), (7, "heads_mismatch")]
    );
    assert_eq!(with(&|log, _| log.records += 1), [(6, "heads_mismatch")]);
    assert_eq!(with(&|log, _| log.push(&opened(ORIGIN))), [(6, "checkpoint_mismatch")]);
}

#[test]
fn a_checkpoint_ends_with_heads_and_a_log_begins_with_its_opening() {
    let (mut log, mut lift) = honest();
    log.push(&Leaf::Record(sign(&mut lift)));
    assert_eq!(log.codes(), [(6, "heads_mismatch")]);
    let mut other = Log::default();
    other.push(&opened("log.example/doors"));
    other.push_heads();
    assert_eq!(other.codes(), [(0, "checkpoint_mismatch")]);
    let mut none = Log::default();
    none.push_heads();
    assert_eq!(none.codes(), [(0, "checkpoint_mismatch")]);
    assert_eq!(Log::default().codes(), []);
}

#[test]
fn keys_are_those_of_the_log() {
    let (mut log, lift) = honest();
    let revoke =
        |from| Leaf::Revoked(RevokedLeaf { device_id: "lift-01".to_owned(), revoked_from: from, at_ms: 1 });
    // A key that replaces the revoked one from the same sequence on is not revoked by the same batch.
    let mut next = device("lift-01", 8).resume(lift.head());
    log.push(&key(&next, 4));
    log.push(&revoke(4));
    log.push(&Leaf::Record(sign(&mut next)));
    log.push_heads();
    assert_eq!(log.codes(), []);
    // The old key signs no more, and a revoked device neither.
    let mut forged = Log { leaves: log.leaves.clone(), heads: log.heads.clone(), records: log.records };
    let mut record = sign(&mut next);
    lift.sign_record(&mut record).unwrap();
    forged.push(&Leaf::Record(record.clone()));
    forged.push_heads();
    assert_eq!(forged.codes(), [(10, "signature_invalid")]);
    next.sign_record(&mut record).unwrap();
    log.push(&revoke(5));
    log.push(&Leaf::Record(record));
    log.push_heads();
    assert_eq!(log.codes(), [(11, "key_not_valid_at_sequence")]);
}

#[test]
fn a_key_leaf_that_contradicts_the_log_is_refused() {
    let second = |from| key(&device("lift-01", 8), from);
    let start = |from| {
        let Leaf::Key(leaf) = second(from) else { panic!("a key") };
        Leaf::Key(KeyLeaf { start: Some(Head { sequence: 9, hash: Hash::ZERO }), ..leaf })
    };
    // From the sequence of a key that has signed, under the other scheme, in the past, and after another start.
    for leaf in [second(1), other_scheme(key(&device("lift-01", 7), 1)), second(3), start(4)] {
        let (mut log, lift) = honest();
        log.push(&leaf);
        log.push_heads();
        assert_eq!(log.codes(), [(6, KEY_CONTRADICTED)], "{leaf:?}");
        assert!(log.contradictions()[0].is_certain);
        assert_eq!(log.contradictions()[0].leaf, Some(leaf.to_bytes()));
        let mut forger = device("lift-01", 8).resume(lift.head());
        log.push(&Leaf::Record(sign(&mut forger)));
        log.push_heads();
        assert_eq!(log.codes(), [(6, KEY_CONTRADICTED), (8, "signature_invalid")], "{leaf:?}");
    }
    // The sequencer repeats a key, replaces one that has not signed, and adds one behind the records.
    for leaves in
        [vec![key(&device("lift-01", 7), 1)], vec![second(4)], vec![second(4), key(&device("lift-01", 9), 4)]]
    {
        let (mut log, _) = honest();
        leaves.iter().for_each(|leaf| log.push(leaf));
        log.push_heads();
        assert_eq!(log.codes(), [], "{leaves:?}");
    }
}

#[test]
fn a_key_belongs_to_one_scheme_in_all_devices() {
    let (mut log, _) = honest();
    // The key of lift-01 for another device: under its scheme, and under the other one.
    log.push(&key(&device("lift-02", 7), 1));
    log.push_heads();
    assert_eq!(log.codes(), []);
    log.push(&other_scheme(key(&device("lift-00", 7), 1)));
    let mut follower = log.followed();
    log.push_heads();
    assert_eq!(log.codes(), [(8, KEY_CONTRADICTED)]);
    assert_eq!(log.contradictions()[0].device_id.as_deref(), Some("lift-00"));
    // Resumed within the batch.
    let (state, devices) = (follower.state(), follower.take_changed());
    let mut resumed = Follower::resume(ORIGIN, &state, devices).unwrap();
    resumed.push(log.leaves.last().unwrap()).unwrap();
    assert_eq!(resumed.take_contradictions()[0].code, KEY_CONTRADICTED);
    // A key that is replaced before it signs is free; the leaves of a batch are sorted by device.
    let (mut log, _) = honest();
    log.push(&key(&device("lift-02", 9), 1));
    log.push_heads();
    log.push(&other_scheme(key(&device("lift-00", 9), 1)));
    log.push(&key(&device("lift-02", 10), 1));
    log.push_heads();
    assert_eq!(log.codes(), []);
}

#[test]
fn the_keys_of_a_device_are_bounded() {
    let (mut log, _) = honest();
    (0..1000).for_each(|number| log.push(&key(&device("lift-01", 8), 4 + number)));
    log.push_heads();
    assert_eq!(log.codes(), [(1005, LEAF_UNREAD)]);
    let mut follower = log.followed();
    let (_, state) = follower.take_changed().remove(0);
    assert!(state.len() < 50_000, "{}", state.len());
}

#[test]
fn a_leaf_that_cannot_be_read_puts_later_contradictions_in_doubt() {
    for leaf in [vec![0x30, 1, 2], vec![1, 0xff]] {
        let (mut log, mut lift) = honest();
        log.leaves.push(leaf);
        let mut record = sign(&mut lift);
        record.timestamp_ms += 1;
        log.push(&Leaf::Record(record));
        log.push_heads();
        let found = log.contradictions();
        assert_eq!(log.codes(), [(6, LEAF_UNREAD), (7, "signature_invalid")]);
        assert!(found.iter().all(|found| !found.is_certain), "{found:?}");
        assert_eq!(log.followed().unread_leaves(), 1);
    }
    let (mut log, mut lift) = honest();
    let mut record = sign(&mut lift);
    record.timestamp_ms += 1;
    log.push(&Leaf::Record(record));
    log.push_heads();
    log.leaves.push(vec![0x30]);
    assert!(log.contradictions()[0].is_certain, "the contradiction is before the leaf");
}

#[test]
fn contradictions_are_bounded_between_two_calls() {
    let mut log = Log::new();
    log.leaves.extend((0..10_050_u32).map(|_| vec![0x30]));
    let found = log.contradictions();
    assert_eq!(found.len(), 10_001);
    assert_eq!((found[10_000].code, found[10_000].count), (FINDINGS_DROPPED, 51));
    assert!(found[10_000].actual.starts_with("51 further"), "{:?}", found[10_000]);
    let kept = found.iter().filter(|found| found.leaf.is_some()).count();
    assert_eq!(kept, 32);
    // One that is certain counts as such among those that are dropped.
    let (mut log, mut lift) = honest();
    let mut record = sign(&mut lift);
    for _ in 0..10_100 {
        record.sequence += 2;
        log.leaves.push(Leaf::Record(record.clone()).to_bytes());
    }
    log.leaves.push(vec![0x30]);
    assert!(log.contradictions()[10_000].is_certain);
}

#[test]
fn a_damaged_state_is_refused() {
    let (log, _) = honest();
    let mut follower = log.followed();
    let (state, devices) = (follower.state(), follower.take_changed());
    let resumed = Follower::resume(ORIGIN, &state, devices.clone()).unwrap();
    assert_eq!((resumed.root(), resumed.records()), (follower.root(), 3));
    for length in 0..state.len() {
        assert!(Follower::resume(ORIGIN, &state[..length], devices.clone()).is_err(), "{length}");
    }
    let mut longer = state.clone();
    longer.push(0);
    assert!(Follower::resume(ORIGIN, &longer, devices.clone()).is_err());
    let (device_id, bytes) = devices[0].clone();
    for length in 0..bytes.len() {
        let cut = (device_id.clone(), bytes[..length].to_vec());
        assert!(Follower::resume(ORIGIN, &state, [cut]).is_err(), "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn heads_and_resumption_agree_with_a_whole_replay(
        actions in prop::collection::vec((0_u8..12, 0_u8..20, any::<bool>()), 1..120),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut log = Log::new();
        let mut devices: BTreeMap<u8, Device> = BTreeMap::new();
        for (action, number, wrong) in actions {
            if action < 3 {
                log.push_heads();
                continue;
            }
            let lift = devices.entry(number).or_insert_with(|| device(&format!("lift-{number}"), number));
            if lift.head().is_none() && !log.heads.contains_key(lift.device_id()) {
                log.push(&key(lift, 1));
            } else {
                let mut record = sign(lift);
                record.signature[0] ^= u8::from(wrong && action == 11);
                let heads = log.heads.get(&record.device_id).copied();
                log.push(&Leaf::Record(record));
                prop_assert!(heads.is_some());
            }
        }
        log.push_heads();
        let whole = log.contradictions();
        prop_assert!(whole.iter().all(|found| {
            ["signature_invalid", "prev_hash_mismatch"].contains(&found.code) && found.is_certain
        }), "{whole:?}");

        let cut = cut.index(log.leaves.len() + 1);
        let mut follower = Follower::new(ORIGIN);
        let mut stored = BTreeMap::new();
        log.leaves[..cut].iter().for_each(|leaf| follower.push(leaf).unwrap());
        let mut found = follower.take_contradictions();
        stored.extend(follower.take_changed());
        let mut resumed = Follower::resume(ORIGIN, &follower.state(), stored).unwrap();
        log.leaves[cut..].iter().for_each(|leaf| resumed.push(leaf).unwrap());
        found.extend(resumed.take_contradictions());
        prop_assert_eq!(found, whole);
        prop_assert_eq!(resumed.root(), log.followed().root());
    }
}

/// Signs the succession of a device's key, and returns its record.
fn succeed(lift: &mut Device, successor: &Device) -> AuditRecord {
    lift.succeed(9, successor.clone()).unwrap().0
}

#[test]
fn succeeded_keys_and_keys_of_the_operator_are_distinguished() {
    let (mut log, mut lift) = honest();
    // The service registers the key in the batch of the succession, so that its leaf comes first.
    let second = device("lift-01", 8);
    log.push(&key(&second, 5));
    log.push(&Leaf::Record(succeed(&mut lift, &second)));
    log.push_heads();
    log.push(&Leaf::Record(sign(&mut lift)));
    log.push_heads();
    // The operator replaces the key again, without the device.
    let third = device("lift-01", 9);
    log.push(&key(&third, 6));
    let mut lift = third.resume(lift.head());
    log.push(&Leaf::Record(sign(&mut lift)));
    log.push_heads();
    assert_eq!(log.codes(), []);
    let mut follower = log.followed();
    let keys = follower.replaced_keys();
    assert_eq!((keys.by_device, keys.by_operator), (1, 1));
    assert_eq!(ReplacedKeys::of_state(&follower.state()), Ok(keys));
    assert_eq!(follower.take_operator_keys(), [("lift-01".to_owned(), 6)]);
    assert_eq!(follower.take_operator_keys(), []);
    // Resumed between the succession and the first record of the new key.
    for at in 0..log.leaves.len() {
        let mut before = Follower::new(ORIGIN);
        log.leaves[..at].iter().for_each(|leaf| before.push(leaf).unwrap());
        let devices = before.take_changed();
        let mut resumed = Follower::resume(ORIGIN, &before.state(), devices).unwrap();
        log.leaves[at..].iter().for_each(|leaf| resumed.push(leaf).unwrap());
        assert_eq!(resumed.replaced_keys(), keys, "{at}");
        assert_eq!(resumed.state(), follower.state(), "{at}");
    }
}

#[test]
fn a_log_that_does_not_follow_a_succession_is_caught() {
    let invalid = FindingCode::SuccessionInvalid.name();
    // The log has another key than the device states.
    let (mut log, mut lift) = honest();
    let (stated, logged) = (device("lift-01", 8), device("lift-01", 9));
    log.push(&Leaf::Record(succeed(&mut lift, &stated)));
    log.push_heads();
    let at = log.leaves.len() as u64;
    log.push(&key(&logged, 5));
    log.push(&Leaf::Record(sign(&mut logged.clone().resume(lift.head()))));
    log.push_heads();
    assert_eq!(log.codes(), [(at + 1, invalid)]);
    assert_eq!(log.followed().replaced_keys(), ReplacedKeys::default());
    // The old key signs on.
    let (mut log, mut lift) = honest();
    let mut old = device("lift-01", 7);
    log.push(&Leaf::Record(succeed(&mut lift, &stated)));
    let at = log.leaves.len() as u64;
    old = old.resume(lift.head());
    log.push(&Leaf::Record(sign(&mut old)));
    log.push(&Leaf::Record(sign(&mut old)));
    log.push_heads();
    assert_eq!(log.codes(), [(at, invalid)]);
    // A succession that does not hold.
    let (mut log, mut lift) = honest();
    let at = log.leaves.len() as u64;
    let record = lift.sign(4, b"door", format!("{SUCCESSION_PREFIX}2:record")).unwrap();
    log.push(&Leaf::Record(record));
    log.push_heads();
    assert_eq!(log.codes(), [(at, invalid)]);
}
