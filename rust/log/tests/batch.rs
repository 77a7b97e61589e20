//! Batches: positions, recomputed links, reproducible files, and reading a batch back.

#![allow(clippy::unwrap_used)]

use edgesentry_chain::{AuditRecord, Device, Hash, Scheme};
use edgesentry_log::{
    Appender, Assigned, Assignment, Batch, BatchError, BuiltBatch, EntryBundle, HeadEntry, HeadsRoot,
    KeyChange, KeyState, Leaf, OpenedLeaf, ReadBatch, Run, TamperedProblem, TileKind,
};

fn records(number: u8, count: u64) -> Vec<AuditRecord> {
    let mut device = Device::from_seed(format!("lift-{number:02}"), [number; 32], Scheme::Record);
    (0..count).map(|n| device.sign(1_700_000_000_000 + n, b"door", "1.bin").unwrap()).collect()
}

fn run(records: &[AuditRecord]) -> Run {
    Run {
        device_id: records[0].device_id.clone(),
        first_sequence: records[0].sequence,
        records: records.len() as u64,
        prev_hash: records[0].prev_record_hash,
        head_hash: records.last().unwrap().hash(),
    }
}

fn heads(chains: &[Vec<AuditRecord>]) -> HeadsRoot {
    let mut root = HeadsRoot::default();
    for chain in chains {
        let last = chain.last().unwrap();
        root.push(&HeadEntry {
            device_id: last.device_id.clone(),
            sequence: last.sequence,
            record_hash: last.hash(),
            start_sequence: 0,
            start_hash: Hash::ZERO,
        })
        .unwrap();
    }
    root
}

fn assign(chains: &[Vec<AuditRecord>]) -> Assigned {
    let mut batch = Assignment::new(0, 0);
    let opened = OpenedLeaf { origin: "log.example".into(), records_before: 0, previous: None, at_ms: 1 };
    batch.opened(opened);
    chains.iter().for_each(|chain| batch.run(run(chain)));
    batch.finish(&heads(chains), 2)
}

fn build(assigned: &Assigned, chains: &[Vec<AuditRecord>]) -> Result<BuiltBatch, BatchError> {
    let mut batch = Batch::new(Appender::default());
    let (opened, rest) = assigned.events.split_first().unwrap();
    batch.event(&opened.1.to_bytes())?;
    for ((at, run), chain) in assigned.runs.iter().zip(chains) {
        assert_eq!(*at, batch.size());
        batch.run(run.clone())?;
        chain.iter().try_for_each(|record| batch.record(record))?;
    }
    rest.iter().try_for_each(|(_, leaf)| batch.event(&leaf.to_bytes()))?;
    batch.finish()
}

#[test]
fn a_batch_is_read_back_from_its_bundles() {
    let chains = [records(1, 300), records(2, 1), records(3, 7)];
    let assigned = assign(&chains);
    let built = build(&assigned, &chains).unwrap();
    assert_eq!(built.appender.size(), assigned.size);
    let again = build(&assigned, &chains).unwrap();
    assert_eq!((again.files.clone(), again.appender.root()), (built.files.clone(), built.appender.root()));

    let mut read = ReadBatch::default();
    let mut index = 0;
    for (id, bytes) in built.files.iter().filter(|(id, _)| id.kind() == TileKind::Entries) {
        for leaf in EntryBundle::parse(*id, bytes).unwrap().entries() {
            read.push(index, Leaf::parse(leaf).unwrap());
            index += 1;
        }
    }
    assert_eq!(read.events, assigned.events);
    let runs: Vec<(u64, Run)> = read.runs.iter().map(|(at, run, _)| (*at, run.clone())).collect();
    assert_eq!(runs, assigned.runs);
    assert_eq!(read.runs.iter().map(|(.., records)| records.clone()).collect::<Vec<_>>(), chains);
    assert_eq!(read.heads().unwrap().records, 308);
}

#[test]
fn an_edited_record_gives_evidence_and_no_file() {
    let chains = [records(1, 5)];
    let assigned = assign(&chains);
    let edit = |change: &dyn Fn(&mut Vec<AuditRecord>)| {
        let mut chains = chains.clone();
        change(&mut chains[0]);
        match build(&assigned, &chains).unwrap_err() {
            BatchError::Tampered(tampered) => *tampered,
            other => panic!("{other}"),
        }
    };
    let edited = edit(&|chain| chain[2].timestamp_ms += 1);
    assert_eq!((edited.sequence, edited.record.as_deref()), (4, Some(&*chains[0][3].canonical_bytes())));
    assert!(matches!(edited.problem, TamperedProblem::Link { actual, .. } if actual == chains[0][2].hash()));
    let last = edit(&|chain| chain[4].object_ref = "2.bin".into());
    assert_eq!(last.sequence, 5);
    assert!(
        matches!(last.problem, TamperedProblem::Head { expected, .. } if expected == chains[0][4].hash())
    );
    let missing = edit(&|chain| drop(chain.remove(1)));
    assert_eq!((missing.sequence, missing.problem), (2, TamperedProblem::Missing));
    let cut = edit(&|chain| chain.truncate(3));
    assert_eq!((cut.sequence, cut.problem, cut.record), (4, TamperedProblem::Missing, None));
    // A chain that was linked again after an edited record does not end in its head.
    let linked = edit(&|chain| {
        chain[2].timestamp_ms += 1;
        for n in 3..5 {
            chain[n].prev_record_hash = chain[n - 1].hash();
        }
    });
    assert!(matches!(linked.problem, TamperedProblem::Head { .. }), "{linked}");
}

#[test]
fn a_batch_has_its_records_in_runs_and_ends_with_heads() {
    let chain = records(1, 2);
    let mut batch = Batch::new(Appender::default());
    assert_eq!(batch.record(&chain[0]), Err(BatchError::Order(0)));
    assert_eq!(batch.run(Run { records: 0, ..run(&chain) }), Err(BatchError::Order(0)));
    batch.run(run(&chain[..1])).unwrap();
    batch.record(&chain[0]).unwrap();
    assert_eq!(batch.record(&chain[1]), Err(BatchError::Order(1)));
    assert_eq!(batch.finish().unwrap_err(), BatchError::NoHeads);
}

#[test]
fn keys_come_before_revocations_and_only_once() {
    let state =
        |key: u8, revoked_from| KeyState { public_key: [key; 32], scheme: Scheme::Record, revoked_from };
    let change = |valid_from, now, logged| KeyChange {
        device_id: "lift-01".into(),
        valid_from,
        now,
        logged,
        start: None,
        registered_at_ms: 1,
    };
    let leaves = |changes: &[KeyChange]| -> Vec<(u8, u64)> {
        let mut batch = Assignment::new(0, 0);
        batch.keys(changes, 9);
        let batch = batch.finish(&HeadsRoot::default(), 9);
        let leaf = |(_, leaf): &(u64, Leaf)| match leaf {
            Leaf::Key(leaf) => Some((3, leaf.valid_from)),
            Leaf::Revoked(leaf) => Some((4, leaf.revoked_from)),
            _ => None,
        };
        batch.events.iter().filter_map(leaf).collect()
    };
    let (first, revoked) = (state(1, None), state(1, Some(5)));
    assert_eq!(leaves(&[change(1, first, None)]), [(3, 1)]);
    assert_eq!(leaves(&[change(1, revoked, Some(first))]), [(4, 5)]);
    assert_eq!(
        leaves(&[change(1, revoked, None), change(5, state(2, None), None)]),
        [(3, 1), (3, 5), (4, 5)]
    );
    assert_eq!(leaves(&[change(5, state(3, None), Some(state(2, Some(5))))]), [(3, 5)]);
    // The same key is registered again after it was revoked without having signed.
    assert_eq!(leaves(&[change(5, state(2, None), Some(state(2, Some(5))))]), [(3, 5)]);
}

#[test]
fn a_leaf_that_cannot_be_read_is_refused() {
    let record = [&[1][..], &records(1, 1)[0].canonical_bytes()].concat();
    for leaf in [&[5, 0xff][..], &[0x7f, 1], &record] {
        assert_eq!(Batch::new(Appender::default()).event(leaf), Err(BatchError::Leaf(0)));
    }
}
