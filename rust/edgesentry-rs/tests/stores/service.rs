//! The ingest service: every outcome, concurrent devices, restarts, key changes, shared commits.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{Device, Scheme};
use edgesentry_formats::content_path;
use edgesentry_rs::RejectionCode;
use edgesentry_rs::ingest::storage::{IngestService, Limits};
use edgesentry_rs::ingest::verify::{MAX_PAYLOAD_BYTES, Submission};
use edgesentry_rs::ledger::{Filter, LogQuery, Registration};
use edgesentry_rs::payload::PayloadStore;

use crate::common::{
    Place, all, bucket, chain, device, devices, head, names, next, records, registration, resigned, server,
    verify,
};
use crate::on_every_ledger;

on_every_ledger!(
    every_rejection_has_its_code,
    a_bad_record_costs_its_own_device_only,
    a_restart_continues_every_chain,
    resending_is_success,
    references_are_no_name_space,
    keys_change_under_way,
    single_ingests_share_their_work,
    a_large_call_goes_through_in_pieces,
);

async fn every_rejection_has_its_code(place: Place) {
    let service = place.service().await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    for submission in chain(&mut lift, 3) {
        assert!(service.ingest(submission).await.unwrap().is_success());
    }
    let good = next(&mut lift.clone());
    let with = |change: fn(&mut edgesentry_chain::AuditRecord)| resigned(&lift, &good, change);
    let mut unsigned = (*good.record).clone();
    unsigned.signature[5] ^= 1;
    let mut stranger = device(9);
    let mut early = Device::from_seed("late", [10; 32], Scheme::Record);
    let from_five = Registration { valid_from: Some(5), ..registration(&early) };
    service.register(&from_five).await.unwrap();
    let cases = [
        (Submission { payload: Bytes::from_static(b"another"), ..good.clone() }, "payload_hash_mismatch"),
        (next(&mut stranger), "unknown_device"),
        (Submission { record: Arc::new(unsigned), ..good.clone() }, "signature_invalid"),
        (with(|record| record.sequence = 6), "sequence_gap"),
        (with(|record| record.prev_record_hash.0[0] ^= 1), "prev_hash_mismatch"),
        (with(|record| record.sequence = 2), "fork"),
        (next(&mut early), "key_not_valid_at_sequence"),
        (with(|record| record.object_ref = "edgesentry:succession:".into()), "succession_invalid"),
        (with(|record| record.sequence = 0), "out_of_range"),
        (with(|record| record.sequence = u64::MAX), "out_of_range"),
        (with(|record| record.timestamp_ms = u64::MAX), "out_of_range"),
        (with(|record| record.object_ref = String::new()), "out_of_range"),
        (with(|record| record.object_ref = "x".repeat(1025)), "out_of_range"),
        (with(|record| record.object_ref = "a\0b".into()), "out_of_range"),
        (with(|record| record.device_id = String::new()), "out_of_range"),
        (with(|record| record.device_id = "\0".repeat(2000)), "out_of_range"),
    ];
    let expected: Vec<&str> = cases.iter().map(|(_, code)| *code).collect();
    let submissions: Vec<Submission> = cases.iter().map(|(submission, _)| submission.clone()).collect();
    // Together, and each alone.
    assert_eq!(names(&service.ingest_many(submissions.clone()).await), expected);
    for (submission, code) in submissions.into_iter().zip(&expected) {
        assert_eq!(names(&[service.ingest(submission).await]), [*code]);
    }
    let log = service.ledger().operation_log(&LogQuery::default()).await.unwrap();
    let logged: Vec<&str> = log.iter().filter_map(|entry| entry.reason.as_deref()).collect();
    assert_eq!(logged, [expected.clone(), expected].concat(), "every rejection is in the operation log");
    assert_eq!(names(&[service.ingest(good).await]), ["accepted"], "none of them is in the way");
    let report = place.report().await;
    assert!(report.ok(), "{report:?}");
    assert_eq!(RejectionCode::ALL.len(), 13);
}

async fn a_bad_record_costs_its_own_device_only(place: Place) {
    let service = place.service().await;
    let mut lifts = devices(&**service.ledger(), 20).await;
    let mut batch = Vec::new();
    for sequence in 1..=10 {
        for (number, lift) in lifts.iter_mut().enumerate() {
            let mut submission = next(lift);
            // Three devices fail half way, each in another way.
            match (number, sequence) {
                (3, 5) => submission.payload = Bytes::from_static(b"wrong"),
                (7, 5) => {
                    let mut record = (*submission.record).clone();
                    record.signature = [7; 64];
                    submission.record = Arc::new(record);
                }
                (11, 5) => continue,
                _ => {}
            }
            batch.push(submission);
        }
    }
    let answers = service.ingest_many(batch.clone()).await;
    for (submission, outcome) in batch.iter().zip(names(&answers)) {
        let record = &submission.record;
        let bad =
            ["lift-04", "lift-08", "lift-12"].contains(&record.device_id.as_str()) && record.sequence >= 5;
        assert_eq!(outcome == "accepted", !bad, "{} {} {outcome}", record.device_id, record.sequence);
    }
    assert!(place.report().await.ok());
}

async fn a_restart_continues_every_chain(place: Place) {
    let mut lifts = {
        let service = place.service().await;
        devices(&**service.ledger(), 4).await
    };
    for _ in 0..5 {
        let service = place.service().await;
        for lift in &mut lifts {
            assert_eq!(names(&service.ingest_many(chain(lift, 7)).await), all("accepted", 7));
        }
    }
    let report = place.report().await;
    assert!(report.ok(), "{report:?}");
    assert_eq!(report.coverage.records, 4 * 35);
}

async fn resending_is_success(place: Place) {
    let service = place.service().await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    let sent = chain(&mut lift, 10);
    assert_eq!(names(&service.ingest_many(sent.clone()).await), all("accepted", 10));
    assert_eq!(names(&service.ingest_many(sent.clone()).await), all("duplicate", 10));
    let overlapping = [sent[7..].to_vec(), chain(&mut lift, 3)].concat();
    let answers = service.ingest_many(overlapping).await;
    assert_eq!(names(&answers), [all("duplicate", 3), all("accepted", 3)].concat());
    assert_eq!(records(&**service.ledger(), &Filter::default()).await.len(), 13);
}

async fn references_are_no_name_space(place: Place) {
    let service = place.service().await;
    let mut lifts = devices(&**service.ledger(), 2).await;
    let genuine = next(&mut lifts[0]);
    // Before the first device sends its record, another one uses its reference: for a gap, a wrong link, a fork, and a
    // correct record.
    let squat = |device: &Device, change: fn(&mut edgesentry_chain::AuditRecord)| {
        let record = device.clone().sign(0, b"squatted", genuine.record.object_ref.clone()).unwrap();
        let squatted = Submission { record: record.into(), payload: Bytes::from_static(b"squatted") };
        resigned(device, &squatted, change)
    };
    let refused = [
        (squat(&lifts[1], |record| record.sequence = 99), "sequence_gap"),
        (squat(&lifts[1], |record| record.prev_record_hash.0[0] = 1), "prev_hash_mismatch"),
    ];
    for (submission, code) in &refused {
        assert_eq!(names(&[service.ingest(submission.clone()).await]), [*code]);
        assert_eq!(
            service.payloads().get(&submission.record).await.unwrap(),
            None,
            "{code}: nothing is kept"
        );
    }
    let mine = squat(&lifts[1], |_| {});
    assert_eq!(names(&[service.ingest(mine.clone()).await]), ["accepted"]);
    let fork = squat(&lifts[1], |record| record.timestamp_ms = 1);
    let fork = Submission { payload: Bytes::from_static(b"other"), ..fork };
    let fork = resigned(&lifts[1], &fork, |record| {
        record.payload_hash = edgesentry_chain::Hash::of(b"other");
    });
    assert_eq!(names(&[service.ingest(fork.clone()).await]), ["fork"]);
    assert_eq!(service.payloads().versions(&fork.record).await.unwrap(), []);
    assert_eq!(names(&[service.ingest(genuine.clone()).await]), ["accepted"]);
    for Submission { record, payload } in [genuine, mine] {
        assert_eq!(service.payloads().get(&record).await.unwrap().unwrap(), payload);
    }
    assert!(place.report().await.ok());
}

async fn keys_change_under_way(place: Place) {
    // The keys change through one service and are used through another, which has them cached.
    let (one, two) = (place.service().await, place.service().await);
    let mut lift = device(1);
    assert_eq!(names(&[two.ingest(next(&mut lift.clone())).await]), ["unknown_device"]);
    one.register(&registration(&lift)).await.unwrap();
    assert_eq!(names(&two.ingest_many(chain(&mut lift, 3)).await), all("accepted", 3));
    let mut rotated = Device::from_seed("lift-01", [50; 32], Scheme::Record).resume(lift.head());
    let rotation = Registration { start: None, ..registration(&rotated) };
    one.register(&rotation).await.unwrap();
    assert_eq!(names(&two.ingest_many(chain(&mut lift.clone(), 2)).await), all("signature_invalid", 2));
    assert_eq!(names(&two.ingest_many(chain(&mut rotated, 3)).await), all("accepted", 3));
    one.revoke("lift-01").await.unwrap();
    let late = names(&two.ingest_many(chain(&mut rotated.clone(), 2)).await);
    assert_eq!(late, all("key_not_valid_at_sequence", 2));
    assert_eq!(head(&**two.ledger(), "lift-01").await, rotated.head());
    assert!(place.report().await.ok());
}

async fn single_ingests_share_their_work(place: Place) {
    let service = place.service().await;
    let lifts = devices(&**service.ledger(), 32).await;
    let tasks: Vec<_> = lifts
        .into_iter()
        .map(|mut lift| {
            let service = service.clone();
            tokio::spawn(async move {
                for submission in chain(&mut lift, 20) {
                    assert_eq!(names(&[service.ingest(submission).await]), ["accepted"]);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let report = place.report().await;
    assert!(report.ok(), "{report:?}");
    assert_eq!(report.coverage.records, 640);
}

async fn a_large_call_goes_through_in_pieces(place: Place) {
    let stores = place.service().await;
    let limits = Limits { batch_records: 100, ..Limits::default() };
    let service = IngestService::start(Arc::clone(stores.ledger()), Arc::clone(stores.payloads()), limits);
    let mut lifts = devices(&**service.ledger(), 2).await;
    let mut batch = chain(&mut lifts[0], 950);
    batch.extend(chain(&mut lifts[1], 50));
    assert_eq!(names(&service.ingest_many(batch).await), all("accepted", 1000));
    assert!(service.ingest_many(Vec::new()).await.is_empty());
    assert!(place.report().await.ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_go_to_s3() {
    let place = Place::new(crate::common::Kind::Postgres).await;
    let (store, name) = bucket(&server("EDGESENTRY_TEST_S3")).await;
    let store: Arc<dyn PayloadStore> = Arc::new(store);
    let service = IngestService::start(place.ledger().await, Arc::clone(&store), Limits::default());
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    let mut batch = chain(&mut lift, 200);
    let record = lift.sign(0, b"with its bucket", format!("s3://{name}/x.bin")).unwrap();
    batch.push(Submission { record: Arc::new(record), payload: Bytes::from_static(b"with its bucket") });
    assert_eq!(names(&service.ingest_many(batch).await), all("accepted", 201));
    // A reference is a name for display, without effect on storage.
    let record = lift.sign(0, b"elsewhere", "s3://another/x.bin").unwrap();
    let stray = Submission { record: Arc::new(record), payload: Bytes::from_static(b"elsewhere") };
    assert_eq!(names(&[service.ingest(stray).await]), ["accepted"]);
    let report = verify(Arc::clone(service.ledger()), Some(Arc::clone(&store))).await;
    assert!(report.ok(), "{report:?}");
    assert_eq!(report.coverage.payloads.map(|payloads| payloads.checked), Some(202));
    // An attacker overwrites one object and deletes another.
    let client = crate::common::s3_client(&server("EDGESENTRY_TEST_S3"));
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"forged");
    let taken = records(&**service.ledger(), &Filter::default()).await;
    client.put_object().bucket(&name).key(content_path(&taken[6])).body(body).send().await.unwrap();
    client.delete_object().bucket(&name).key(content_path(&taken[8])).send().await.unwrap();
    let report = verify(Arc::clone(service.ledger()), Some(store)).await;
    let found: Vec<_> =
        report.findings.iter().map(|finding| (finding.code.name(), finding.sequence)).collect();
    assert_eq!(found, [("payload_hash_mismatch", Some(7)), ("payload_missing", Some(9))]);
}

#[tokio::test]
async fn a_payload_that_is_too_large_is_refused() {
    let place = Place::new(crate::common::Kind::Sqlite).await;
    let service = place.service().await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    let payload = vec![0; MAX_PAYLOAD_BYTES + 1];
    let record = Arc::new(lift.sign(0, &payload, "big").unwrap());
    let answer = service.ingest(Submission { record, payload: payload.into() }).await;
    assert_eq!(names(&[answer]), ["out_of_range"]);
}
