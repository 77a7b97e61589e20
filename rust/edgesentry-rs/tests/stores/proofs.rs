//! Proofs from the log of a ledger: the pure verifier accepts exactly the content that the sequencer writes.

use bytes::Bytes;
use edgesentry_chain::Head;
use edgesentry_log::{
    Checkpoint, EntryBundle, Expected, Leaf, Note, Policy, ProofFile, ProofFileError, Proven, Statement,
    StatementKind, TileId, TreeHash,
};
use edgesentry_rs::ledger::Filter;
use edgesentry_rs::log::{LogError, LogReader, ProveError, Published};
use edgesentry_rs::objects::Write;

use crate::common::{Place, chain, device, devices, records, registration};
use crate::log::{ingest, key, lead, log, objects, open};
use crate::on_every_ledger;

on_every_ledger!(
    every_record_and_head_is_proven,
    a_batch_under_way_does_not_change_the_proofs,
    every_signed_checkpoint_is_extended,
    runs_are_proven_at_each_checkpoint,
    what_is_not_in_the_log_is_not_proven,
    damaged_files_give_no_proof,
);

fn policy() -> Policy {
    Policy::parse(format!("log {}\nquorum none\n", key().verifier()).as_bytes()).unwrap()
}

fn verify(proof: &str, expected: &Expected<'_>) -> Result<Proven, ProofFileError> {
    ProofFile::parse(proof.as_bytes()).and_then(|proof| proof.verify(&policy(), expected))
}

/// Proves the heads of the ledger at the published checkpoint, and the absence of other devices.
async fn check_heads(reader: &LogReader, heads: &[(&str, Option<Head>)], absent: &[&str]) -> Published {
    let published = reader.published().await.unwrap();
    for (device_id, head) in heads {
        let proof = reader.prove_head(&published, device_id).await.unwrap();
        assert!(proof.is_of_presence());
        let sequence = Some(head.map_or(0, |head| head.sequence));
        let expected = Expected { device_id: Some(device_id), sequence, ..Expected::default() };
        let proven = verify(&proof.to_string(), &expected).unwrap();
        let Statement::Head(entry) = &proven.statement else { panic!("{proven}") };
        assert!(head.is_none_or(|head| head.hash == entry.record_hash), "{proven}");
        assert_eq!(proven.checkpoint.checkpoint(), &published.checkpoint);
    }
    for device_id in absent {
        let proof = reader.prove_head(&published, device_id).await.unwrap();
        let kind = Some(StatementKind::Absence);
        let expected = Expected { kind, device_id: Some(device_id), ..Expected::default() };
        verify(&proof.to_string(), &expected).unwrap();
    }
    published
}

async fn every_record_and_head_is_proven(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    // Small batches, so that a device has several runs.
    let log = log(&ledger, &objects, 100);
    log.init(1).await.unwrap();
    let mut leader = lead(&log).await;
    let reader = LogReader::new(ledger.log().unwrap(), objects.clone());
    assert!(matches!(reader.published().await, Err(ProveError::NoCheckpoint { .. })));
    log.sequence(&mut leader).await.unwrap();
    check_heads(&reader, &[], &["lift-01"]).await;

    let mut lifts = devices(&*ledger, 3).await;
    // A chain that begins after its first record, and a device without records.
    let mut elsewhere = device(9);
    chain(&mut elsewhere, 4);
    ledger.register(&registration(&elsewhere)).await.unwrap();
    ledger.register(&registration(&device(8))).await.unwrap();
    log.sequence(&mut leader).await.unwrap();
    check_heads(&reader, &[("lift-08", None), ("lift-09", None)], &["lift-00", "lift-07"]).await;
    ingest(&place, &mut lifts, 130).await;
    ingest(&place, std::slice::from_mut(&mut elsewhere), 3).await;
    log.sequence(&mut leader).await.unwrap();

    let all = records(&*ledger, &Filter::default()).await;
    assert_eq!(all.len(), 393);
    let published = reader.published().await.unwrap();
    for record in all.iter().step_by(17).chain(all.last()) {
        let proof = reader.prove_record(&published, &record.device_id, record.sequence).await.unwrap();
        let proof = proof.to_string();
        verify(&proof, &Expected { record: Some(record), ..Expected::default() }).unwrap();
        let other = all.iter().find(|other| *other != record).unwrap();
        let refused = verify(&proof, &Expected { record: Some(other), ..Expected::default() }).unwrap_err();
        assert_eq!(refused.code(), "proof_of_other");
    }
    let heads = ledger.heads().await.unwrap();
    let heads: Vec<(&str, Option<Head>)> = heads.iter().map(|(id, head)| (&**id, Some(*head))).collect();
    assert_eq!(heads.len(), 4);
    check_heads(&reader, &heads, &["lift-00", "lift-04", "zebra", "\u{1f6d7}"]).await;
}

async fn a_batch_under_way_does_not_change_the_proofs(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 2).await;
    ingest(&place, &mut lifts, 5).await;
    log.sequence(&mut leader).await.unwrap();
    let before: Vec<Option<Head>> = lifts.iter().map(edgesentry_chain::Device::head).collect();

    // New records, a new device with records, and a second key. All have positions but are unsigned.
    let mut new = device(7);
    ledger.register(&registration(&new)).await.unwrap();
    ingest(&place, &mut lifts[..1], 4).await;
    ingest(&place, std::slice::from_mut(&mut new), 2).await;
    ledger.revoke("lift-02").await.unwrap();
    let tables = ledger.log().unwrap();
    let reader = LogReader::new(ledger.log().unwrap(), objects.clone());
    let size = reader.published().await.unwrap().checkpoint.size();
    let id = TileId::of_entry(size - 1, size).unwrap();
    let bundle = objects.get(&format!("log/{id}")).await.unwrap().unwrap();
    let bundle = EntryBundle::parse(id, &bundle).unwrap();
    let last = bundle.entries().last().map(|entry| Leaf::parse(entry).unwrap());
    let Some(Leaf::Heads(last)) = last else { panic!("{last:?}") };
    assert!(tables.assign(&leader, Some((size, last)), 1000, 7).await.unwrap().is_some());
    let heads = [("lift-01", before[0]), ("lift-02", before[1])];
    let published = check_heads(&reader, &heads, &["lift-07"]).await;
    let waiting = reader.prove_record(&published, "lift-01", 6).await.unwrap_err();
    assert_eq!(waiting.code(), "not_logged", "{waiting}");

    log.sequence(&mut leader).await.unwrap();
    let heads = [("lift-01", lifts[0].head()), ("lift-02", before[1]), ("lift-07", new.head())];
    let published = check_heads(&reader, &heads, &["lift-06"]).await;
    reader.prove_record(&published, "lift-01", 6).await.unwrap();
}

async fn every_signed_checkpoint_is_extended(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 2).await;
    for records in [1, 120, 3, 140, 1] {
        ingest(&place, &mut lifts, records).await;
        log.sequence(&mut leader).await.unwrap();
    }
    let reader = LogReader::new(ledger.log().unwrap(), objects.clone());
    let published = reader.published().await.unwrap();
    for number in 1..=5 {
        let note = objects.get(&format!("log/lock/{number:010}")).await.unwrap().unwrap();
        let note = Note::parse(&note).unwrap();
        let older = Checkpoint::parse(note.text()).unwrap();
        let proof = reader.prove_consistency(&published, &older).await.unwrap().to_string();
        let proven = verify(&proof, &Expected { previous: Some(&note), ..Expected::default() }).unwrap();
        assert_eq!(proven.statement, Statement::Extends(older.clone()));

        let other = Checkpoint::new(older.origin(), older.size(), TreeHash::of_leaf(b"other")).unwrap();
        let refused = reader.prove_consistency(&published, &other).await.unwrap_err();
        assert_eq!(refused.code(), "checkpoint_inconsistent");
    }
    let later = Checkpoint::new(published.checkpoint.origin(), 1 << 40, TreeHash::of_leaf(b"")).unwrap();
    let refused = reader.prove_consistency(&published, &later).await.unwrap_err();
    assert_eq!(refused.code(), "checkpoint_inconsistent");
    let foreign = Checkpoint::new("log.example/doors", 1, TreeHash::of_leaf(b"")).unwrap();
    assert_eq!(reader.prove_consistency(&published, &foreign).await.unwrap_err().code(), "log_origin");
}

async fn runs_are_proven_at_each_checkpoint(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    // Small batches: a run crosses several of them, and several bundles.
    let log = log(&ledger, &objects, 70);
    log.init(1).await.unwrap();
    let mut leader = lead(&log).await;
    let mut lifts = devices(&*ledger, 2).await;
    let mut sizes = Vec::new();
    for records in [3, 200, 150] {
        ingest(&place, &mut lifts, records).await;
        log.sequence(&mut leader).await.unwrap();
        let published = LogReader::new(ledger.log().unwrap(), objects.clone()).published().await.unwrap();
        sizes.push((published.checkpoint.size(), lifts[0].head().unwrap()));
    }
    let reader = LogReader::new(ledger.log().unwrap(), objects.clone());
    for (size, head) in &sizes {
        let published = reader.published_at(Some(*size)).await.unwrap();
        assert_eq!(published.checkpoint.size(), *size);
        let last = head.sequence;
        for (first, last) in [(1, last), (last, last), (last.saturating_sub(2), last)] {
            let proof = reader.prove_run(&published, "lift-01", first, last).await.unwrap().to_string();
            let (sequence, last_sequence) = (Some(first), Some(last));
            let expected =
                Expected { device_id: Some("lift-01"), sequence, last_sequence, ..Expected::default() };
            let proven = verify(&proof, &expected).unwrap();
            let Statement::Run { records, .. } = &proven.statement else { panic!("{proven}") };
            assert_eq!(records.last().unwrap().hash(), head.hash);
        }
        let error = reader.prove_run(&published, "lift-01", last - 1, last + 1).await.unwrap_err();
        assert!(error.to_string().contains(&format!("sequence {}", last + 1)), "{error}");
        assert_eq!(error.code(), "not_logged");
        let head_proof = reader.prove_head(&published, "lift-01").await.unwrap().to_string();
        let proven = verify(&head_proof, &Expected { sequence: Some(last), ..Expected::default() }).unwrap();
        assert_eq!(proven.checkpoint.checkpoint().size(), *size);
    }
    let published = reader.published_at(Some(sizes[1].0)).await.unwrap();
    let older = reader.published_at(Some(sizes[0].0)).await.unwrap();
    let grown = reader.prove_consistency(&published, &older.checkpoint).await.unwrap().to_string();
    verify(&grown, &Expected { previous: Some(&older.note), ..Expected::default() }).unwrap();
    for size in [0, sizes[0].0 + 1, sizes[2].0 + 1, u64::MAX] {
        assert_eq!(reader.published_at(Some(size)).await.unwrap_err().code(), "checkpoint_unknown", "{size}");
    }
    for (first, last) in [(2, 1), (1, 4097), (0, u64::MAX)] {
        let error = reader.prove_run(&published, "lift-01", first, last).await.unwrap_err();
        assert_eq!(error.code(), "run_length", "{first} to {last}");
    }
    assert_eq!(reader.prove_run(&published, "lift-01", 0, 3).await.unwrap_err().code(), "not_logged");
}

async fn what_is_not_in_the_log_is_not_proven(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 5).await;
    log.sequence(&mut leader).await.unwrap();
    let reader = LogReader::new(ledger.log().unwrap(), objects.clone());
    let published = reader.published().await.unwrap();
    for (device_id, sequence) in
        [("lift-01", 0), ("lift-01", 6), ("lift-01", u64::MAX), ("lift-02", 1), ("lift\0", 1), ("", 1)]
    {
        let refused = reader.prove_record(&published, device_id, sequence).await.unwrap_err();
        assert_eq!(refused.code(), "not_logged", "{device_id:?} {sequence}");
    }
}

async fn damaged_files_give_no_proof(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 300).await;
    log.sequence(&mut leader).await.unwrap();
    let reader = LogReader::new(ledger.log().unwrap(), objects.clone());
    let published = reader.published().await.unwrap();
    let damaged = |error: ProveError| matches!(error, ProveError::Log(LogError::Damaged { .. }));
    for id in ["tile/entries/000", "tile/0/000"] {
        let id: TileId = id.parse().unwrap();
        let name = format!("log/{id}");
        let whole = objects.get(&name).await.unwrap().unwrap();
        let mut changed = whole.to_vec();
        // Change a byte other than those of the leaf's own hash, which its proof does not need.
        changed[0] ^= 1;
        for other in [Bytes::from(changed), whole.slice(..whole.len() - 1), Bytes::new()] {
            objects.put(&name, other, Write::Replace).await.unwrap();
            // Sequence 254 is leaf 255, the last leaf of both files.
            assert!(damaged(reader.prove_record(&published, "lift-01", 254).await.unwrap_err()), "{id}");
        }
        objects.delete(&name).await.unwrap();
        assert!(damaged(reader.prove_record(&published, "lift-01", 254).await.unwrap_err()), "{id}");
        objects.put(&name, whole, Write::Replace).await.unwrap();
        reader.prove_record(&published, "lift-01", 254).await.unwrap();
    }
    for note in
        [Bytes::new(), Bytes::from_static(b"log.example/lifts\n1\n"), Bytes::from(vec![b'x'; 1 << 20])]
    {
        objects.put("log/checkpoint", note, Write::Replace).await.unwrap();
        assert!(damaged(reader.published().await.unwrap_err()));
    }
}
