//! Proof files: the statement that each one proves. No damaged or foreign file proves another statement.

#![allow(clippy::unwrap_used)]

use edgesentry_chain::{AuditRecord, Device, Hash, Scheme};
use edgesentry_log::{
    Checkpoint, ConsistencyProof, Expected, HeadEntry, HeadsLeaf, HeadsProof, HeadsTree, KeyType, Leaf,
    LogProof, MAX_PROOF_BYTES, MAX_RUN_PROOF_BYTES, MAX_RUN_RECORDS, MaxAge, Note, Policy, ProofFile, Proven,
    RunLeaf, RunProof, SignerKey, Statement, StatementKind, Tree, inclusion_path,
};

const ORIGIN: &str = "log.example/lifts";
const TIME: u64 = 1_800_000_000;

/// A log of seven records (`lift-01` has four, `lift-03` three) and a heads leaf. Every size is signed.
struct Log {
    records: Vec<AuditRecord>,
    heads: HeadsTree,
    leaves: Vec<Leaf>,
    tree: Tree,
    notes: Vec<Note>,
}

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [1; 32]).unwrap()
}

fn witness_key(seed: u8) -> SignerKey {
    SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [seed; 32]).unwrap()
}

fn policy(witness: u8) -> Policy {
    let text = format!(
        "log {}\nwitness ours {}\nquorum ours\n",
        log_key().verifier(),
        witness_key(witness).verifier()
    );
    Policy::parse(text.as_bytes()).unwrap()
}

fn sign(checkpoint: &Checkpoint) -> Note {
    let mut note = checkpoint.sign(&log_key()).unwrap();
    note.add(checkpoint.cosign(&witness_key(2), TIME).unwrap()).unwrap();
    note
}

fn log() -> Log {
    let mut records = Vec::new();
    for (device_id, count) in [("lift-01", 4_u64), ("lift-03", 3)] {
        let mut device = Device::from_seed(device_id, [7; 32], Scheme::Record);
        for n in 0..count {
            records.push(device.sign(1_700_000_000_000 + n, device_id.as_bytes(), "1.bin").unwrap());
        }
    }
    let entry = |record: &AuditRecord| HeadEntry {
        device_id: record.device_id.clone(),
        sequence: record.sequence,
        record_hash: record.hash(),
        start_sequence: 0,
        start_hash: Hash::ZERO,
    };
    let heads = HeadsTree::new(vec![entry(&records[3]), entry(&records[6])]).unwrap();
    let mut leaves: Vec<Leaf> = records.iter().cloned().map(Leaf::Record).collect();
    leaves.push(Leaf::Heads(HeadsLeaf {
        records: 7,
        devices: 2,
        heads_root: heads.root(),
        at_ms: TIME * 1000,
    }));
    let mut tree = Tree::default();
    let mut notes = vec![sign(&Checkpoint::new(ORIGIN, 0, tree.root()).unwrap())];
    for leaf in &leaves {
        tree.push(leaf.hash());
        notes.push(sign(&Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap()));
    }
    Log { records, heads, leaves, tree, notes }
}

impl Log {
    fn leaf(&self, index: u64) -> LogProof {
        LogProof {
            extra: Some(self.leaves[index as usize].to_bytes()),
            index,
            path: inclusion_path(index, self.tree.size(), |node| self.tree.node(node)).unwrap(),
            checkpoint: self.notes[8].clone(),
        }
    }

    fn run(&self, indexes: impl IntoIterator<Item = u64>) -> RunProof {
        let leaf = |index| {
            let LogProof { extra, index, path, .. } = self.leaf(index);
            RunLeaf { leaf: extra.unwrap(), index, path }
        };
        RunProof { leaves: indexes.into_iter().map(leaf).collect(), checkpoint: self.notes[8].clone() }
    }

    fn head(&self, device_id: &str) -> HeadsProof {
        HeadsProof::of_device(device_id, &self.heads, self.leaf(7)).unwrap()
    }

    fn grown(&self, old: u64) -> ConsistencyProof {
        ConsistencyProof::new(old, self.notes[8].clone(), |node| self.tree.node(node)).unwrap()
    }

    /// Returns proofs of each kind, with the older checkpoint if the proof needs one.
    fn proofs(&self) -> Vec<(String, Option<&Note>)> {
        vec![
            (self.leaf(2).to_string(), None),
            (self.leaf(7).to_string(), None),
            (self.run(1..4).to_string(), None),
            (self.head("lift-01").to_string(), None),
            (self.head("lift-02").to_string(), None),
            (self.head("lift-99").to_string(), None),
            (self.grown(3).to_string(), Some(&self.notes[3])),
            (self.grown(8).to_string(), Some(&self.notes[8])),
        ]
    }
}

fn verify(proof: &[u8], policy: &Policy, expected: &Expected<'_>) -> Result<Proven, &'static str> {
    ProofFile::parse(proof).and_then(|proof| proof.verify(policy, expected)).map_err(|error| error.code())
}

#[test]
fn each_proof_proves_its_statement() {
    let log = log();
    let hash = log.records[3].hash();
    let expected = [
        "the record of device \"lift-01\" with sequence 3 is leaf 2 of log \"log.example/lifts\" at size 8"
            .to_owned(),
        "a leaf of kind 0x02 with 41 bytes is leaf 7 of log \"log.example/lifts\" at size 8".to_owned(),
        "the records of device \"lift-01\" with sequences 2 to 4 are among leaves 1 to 3 of log \"log.example/lifts\" \
         at size 8"
            .to_owned(),
        format!(
            "the last record of device \"lift-01\" in log \"log.example/lifts\" at size 8 has sequence 4 and hash {hash}"
        ),
        "log \"log.example/lifts\" at size 8 has no key and no record of device \"lift-02\"".to_owned(),
        "log \"log.example/lifts\" at size 8 has no key and no record of device \"lift-99\"".to_owned(),
        "log \"log.example/lifts\" at size 8 extends the older checkpoint of size 3".to_owned(),
        "log \"log.example/lifts\" at size 8 extends the older checkpoint of size 8".to_owned(),
    ];
    for ((proof, previous), expected) in log.proofs().into_iter().zip(expected) {
        let proven =
            verify(proof.as_bytes(), &policy(2), &Expected { previous, ..Expected::default() }).unwrap();
        assert_eq!(proven.to_string(), expected);
        assert_eq!(proven.checkpoint.quorum_time(), Some(TIME));
    }
    for old in 0..=8 {
        let expected = Expected { previous: Some(&log.notes[old as usize]), ..Expected::default() };
        verify(log.grown(old).to_string().as_bytes(), &policy(2), &expected).unwrap();
    }
}

#[test]
fn a_changed_or_cut_proof_never_proves_another_statement() {
    let log = log();
    let policy = policy(2);
    // A changed name of an absent device can be that of another absent device, which the same neighbours prove.
    let is_absent = |proven: &Proven| {
        matches!(&proven.statement, Statement::Absent(device_id)
        if log.records.iter().all(|record| record.device_id != *device_id))
    };
    for (proof, previous) in log.proofs() {
        let expected = Expected { previous, ..Expected::default() };
        let whole = verify(proof.as_bytes(), &policy, &expected).unwrap();
        let bytes = proof.as_bytes();
        for at in 0..bytes.len() {
            assert!(verify(&bytes[..at], &policy, &expected).is_err(), "cut at {at}:\n{proof}");
            for change in [1, 2, 0x20, 0x80] {
                let mut changed = bytes.to_vec();
                changed[at] ^= change;
                if let Ok(proven) = verify(&changed, &policy, &expected) {
                    assert!(proven == whole || is_absent(&proven), "byte {at} ^ {change}: {proven:?}");
                }
            }
            let mut changed = bytes.to_vec();
            changed.remove(at);
            if let Ok(proven) = verify(&changed, &policy, &expected) {
                assert!(proven == whole || is_absent(&proven), "without byte {at}: {proven:?}");
            }
        }
    }
}

#[test]
fn a_proof_needs_the_keys_and_the_quorum_of_the_policy() {
    let log = log();
    let other_log = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [9; 32]).unwrap();
    let other_log = Policy::parse(format!("log {}\nquorum none\n", other_log.verifier()).as_bytes()).unwrap();
    for (proof, previous) in log.proofs() {
        let expected = Expected { previous, ..Expected::default() };
        assert_eq!(verify(proof.as_bytes(), &other_log, &expected), Err("checkpoint_untrusted"));
        assert_eq!(verify(proof.as_bytes(), &policy(3), &expected), Err("witness_quorum_missing"));
    }
    // The older checkpoint must also satisfy the policy.
    let unsigned = Checkpoint::parse(log.notes[3].text()).unwrap().sign(&log_key()).unwrap();
    let expected = Expected { previous: Some(&unsigned), ..Expected::default() };
    let proof = log.grown(3).to_string();
    assert_eq!(verify(proof.as_bytes(), &policy(2), &expected), Err("witness_quorum_missing"));
}

#[test]
fn a_proof_of_another_statement_is_refused() {
    let log = log();
    let code =
        |proof: &str, expected: &Expected<'_>| verify(proof.as_bytes(), &policy(2), expected).map(|_| ());
    let record = |at: usize| Expected { record: Some(&log.records[at]), ..Expected::default() };
    let device =
        |device_id, sequence| Expected { device_id: Some(device_id), sequence, ..Expected::default() };
    let kind = |kind| Expected { kind: Some(kind), ..Expected::default() };

    let of_record = log.leaf(2).to_string();
    code(&of_record, &record(2)).unwrap();
    code(&of_record, &device("lift-01", Some(3))).unwrap();
    for expected in
        [record(1), device("lift-03", None), device("lift-01", Some(2)), kind(StatementKind::Head)]
    {
        assert_eq!(code(&of_record, &expected), Err("proof_of_other"), "{expected:?}");
    }
    // Without the leaf, which other tools omit, the record is required.
    let bare = LogProof { extra: None, ..log.leaf(2) }.to_string();
    assert_eq!(code(&bare, &Expected::default()), Err("proof_incomplete"));
    code(&bare, &record(2)).unwrap();
    // A false leaf in `extra` has no effect if the record is given.
    let lying = LogProof { extra: Some(log.leaves[1].to_bytes()), ..log.leaf(2) }.to_string();
    assert_eq!(code(&lying, &Expected::default()), Err("proof_invalid"));
    assert_eq!(code(&lying, &record(1)), Err("proof_of_other"));

    let run = log.run(1..4).to_string();
    let range = |first, last| Expected { last_sequence: last, ..device("lift-01", Some(first)) };
    for expected in [record(1), record(3), range(2, Some(4)), kind(StatementKind::Run)] {
        code(&run, &expected).unwrap();
    }
    for expected in [record(0), record(4), range(2, Some(3)), range(2, None), range(1, Some(4))] {
        assert_eq!(code(&run, &expected), Err("proof_of_other"), "{expected:?}");
    }
    code(&log.run([2]).to_string(), &device("lift-01", Some(3))).unwrap();

    let head = log.head("lift-01").to_string();
    code(&head, &record(3)).unwrap();
    for expected in
        [record(2), device("lift-03", None), device("lift-01", Some(3)), kind(StatementKind::Absence)]
    {
        assert_eq!(code(&head, &expected), Err("proof_of_other"), "{expected:?}");
    }
    let absent = log.head("lift-02").to_string();
    code(&absent, &Expected { device_id: Some("lift-02"), ..kind(StatementKind::Absence) }).unwrap();
    for expected in
        [record(3), device("lift-01", None), device("lift-02", Some(1)), kind(StatementKind::Head)]
    {
        assert_eq!(code(&absent, &expected), Err("proof_of_other"), "{expected:?}");
    }

    let previous = |at: usize| Expected { previous: Some(&log.notes[at]), ..Expected::default() };
    let grown = log.grown(3).to_string();
    assert_eq!(code(&grown, &Expected::default()), Err("proof_incomplete"));
    assert_eq!(code(&grown, &previous(4)), Err("proof_of_other"));
    assert_eq!(code(&of_record, &previous(3)), Err("proof_of_other"));
}

#[test]
fn a_run_has_each_record_of_one_chain_in_order() {
    let log = log();
    let code = |proof: &RunProof| verify(proof.to_string().as_bytes(), &policy(2), &Expected::default());
    code(&log.run(0..4)).unwrap();
    for (what, indexes) in [
        ("a gap", vec![0, 2]),
        ("the reverse", vec![1, 0]),
        ("one twice", vec![0, 0]),
        ("another device", vec![3, 4]),
        ("a leaf that is not a record", vec![6, 7]),
    ] {
        assert_eq!(code(&log.run(indexes)), Err("proof_invalid"), "{what}");
    }
    let mut other = log.run(0..2);
    other.leaves[1].path.swap(0, 1);
    assert_eq!(code(&other), Err("proof_invalid"));
    assert_eq!(code(&log.run([])), Err("proof_malformed"));
    let most = RunProof { leaves: vec![log.run([0]).leaves[0].clone(); MAX_RUN_RECORDS + 1], ..log.run([]) };
    assert_eq!(code(&most), Err("proof_malformed"));
    // Two records that are both in the log, with sequences in order, and not linked.
    let mut again = Device::from_seed("lift-01", [7; 32], Scheme::Record);
    let other: Vec<Leaf> = (5..7).map(|n| Leaf::Record(again.sign(n, b"other", "1.bin").unwrap())).collect();
    let mut tree = Tree::default();
    let leaves = [log.leaves[0].clone(), other[1].clone()];
    leaves.iter().for_each(|leaf| tree.push(leaf.hash()));
    let leaf = |index: u64| RunLeaf {
        leaf: leaves[index as usize].to_bytes(),
        index,
        path: inclusion_path(index, 2, |node| tree.node(node)).unwrap(),
    };
    let checkpoint = sign(&Checkpoint::new(ORIGIN, 2, tree.root()).unwrap());
    let forked = RunProof { leaves: vec![leaf(0), leaf(1)], checkpoint };
    assert_eq!(code(&forked), Err("proof_invalid"));
    assert_eq!(
        verify(&vec![b'x'; MAX_RUN_PROOF_BYTES + 1], &policy(2), &Expected::default()),
        Err("proof_malformed")
    );
}

#[test]
fn an_old_checkpoint_is_refused_if_the_verifier_limits_its_age() {
    let log = log();
    let age = |seconds, after| Some(MaxAge { seconds, now: TIME + after });
    for (proof, previous) in log.proofs() {
        let code = |min_size, max_age| {
            let expected = Expected { previous, min_size, max_age, ..Expected::default() };
            verify(proof.as_bytes(), &policy(2), &expected).map(|_| ())
        };
        code(Some(8), age(60, 60)).unwrap();
        assert_eq!(code(Some(9), None), Err("checkpoint_stale"));
        assert_eq!(code(None, age(60, 61)), Err("checkpoint_stale"));
    }
    let unwitnessed =
        Policy::parse(format!("log {}\nquorum none\n", log_key().verifier()).as_bytes()).unwrap();
    let expected = Expected { max_age: age(u64::MAX, 0), ..Expected::default() };
    assert_eq!(verify(log.leaf(0).to_string().as_bytes(), &unwitnessed, &expected), Err("checkpoint_stale"));
}

#[test]
fn a_log_that_was_rewritten_does_not_extend_the_older_checkpoint() {
    let log = log();
    let mut other = Tree::default();
    log.leaves[1..4].iter().for_each(|leaf| other.push(leaf.hash()));
    let older = sign(&Checkpoint::new(ORIGIN, 3, other.root()).unwrap());
    let expected = Expected { previous: Some(&older), ..Expected::default() };
    let proof = log.grown(3).to_string();
    assert_eq!(verify(proof.as_bytes(), &policy(2), &expected), Err("checkpoint_inconsistent"));
}

#[test]
fn hostile_files_are_refused() {
    let policy = policy(2);
    let refused =
        |bytes: &[u8]| assert_eq!(verify(bytes, &policy, &Expected::default()), Err("proof_malformed"));
    refused(b"");
    refused(b"c2sp.org/tlog-proof@v2\n");
    refused(&vec![b'\n'; MAX_PROOF_BYTES + 1]);
    refused(b"edgesentry-consistency-proof@v1\nold 18446744073709551615\n\n");
    refused(b"edgesentry-consistency-proof@v1\nold 03\n\n");
    for header in ["c2sp.org/tlog-proof@v1", "edgesentry-heads-proof@v1", "edgesentry-consistency-proof@v1"] {
        refused(header.as_bytes());
        refused(format!("{header}\n").as_bytes());
        let mut long = format!("{header}\n");
        while long.len() < MAX_PROOF_BYTES {
            long.push_str("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
        }
        refused(&long.as_bytes()[..MAX_PROOF_BYTES]);
    }
}
