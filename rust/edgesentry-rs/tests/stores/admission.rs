//! Decisions before anything is written, and errors that do not pass: no record blocks another one.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_rs::OutcomeKind;
use edgesentry_rs::ingest::storage::{IngestService, Limits};
use edgesentry_rs::ingest::verify::Submission;
use edgesentry_rs::ledger::LogQuery;
use edgesentry_rs::telemetry::metrics::Metrics;

use crate::common::{Kind, Place, all, chain, device, devices, names, next, registration, resigned};
use crate::on_every_ledger;
use crate::worker;

on_every_ledger!(
    a_resend_under_way_is_a_duplicate,
    nodes_take_turns_at_a_device,
    calls_of_one_device_follow_each_other,
    a_ledger_may_go_back,
    a_permanent_error_of_the_ledger_stops_nobody_else,
);

async fn a_resend_under_way_is_a_duplicate(place: Place) {
    let service = place.service().await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    for _ in 0..5 {
        let submission = next(&mut lift);
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let (service, submission) = (service.clone(), submission.clone());
            tasks.push(tokio::spawn(async move { service.ingest(submission).await }));
        }
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        let mut answers = names(&answers);
        answers.sort_unstable();
        assert_eq!(answers, [vec!["accepted"], all("duplicate", 7)].concat());
    }
    assert!(place.report().await.ok());
}

/// A node's view of a chain may be stale; it never rejects a record that the ledger would accept.
async fn nodes_take_turns_at_a_device(place: Place) {
    let nodes = [place.service().await, place.service().await, place.service().await];
    let mut lift = devices(&**nodes[0].ledger(), 1).await.remove(0);
    for turn in 0..12 {
        let batch = chain(&mut lift, 3);
        let node = &nodes[turn % 3];
        let fork = resigned(&lift, &batch[1], |record| record.timestamp_ms += 1);
        let gap = resigned(&lift, &batch[1], |record| record.sequence += 5);
        assert_eq!(names(&[node.ingest(gap).await]), ["sequence_gap"]);
        assert_eq!(names(&node.ingest_many(batch.clone()).await), all("accepted", 3), "{turn}");
        let other = &nodes[(turn + 1) % 3];
        assert_eq!(names(&[other.ingest(fork).await]), ["fork"]);
        assert_eq!(names(&other.ingest_many(batch).await), all("duplicate", 3));
    }
    assert!(place.report().await.ok());
}

/// Concurrent batches of one device, each submitted after the one before has begun.
async fn calls_of_one_device_follow_each_other(place: Place) {
    let service = place.service_with(Limits { batch_records: 8, ..Limits::default() }, Metrics::new()).await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    let units: Vec<Vec<Submission>> = (0..40).map(|_| chain(&mut lift, 5)).collect();
    let answers: Vec<_> = {
        use futures::StreamExt;
        service.ingest_stream(futures::stream::iter(units)).concat().await
    };
    assert_eq!(names(&answers), all("accepted", 200));
    assert!(place.report().await.ok());
}

/// The database is restored to an earlier state while the service runs.
async fn a_ledger_may_go_back(place: Place) {
    let service = place.service().await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    let sent = chain(&mut lift, 10);
    assert_eq!(names(&service.ingest_many(sent.clone()).await), all("accepted", 10));
    place.tamper("DELETE FROM audit_records WHERE sequence > 4").await;
    place
        .tamper(
            "UPDATE chain_heads SET sequence = 4, record_hash =
             (SELECT record_hash FROM audit_records WHERE sequence = 4)",
        )
        .await;
    let answers = names(&service.ingest_many(sent).await);
    assert_eq!(answers, [all("duplicate", 4), all("accepted", 6)].concat());
    assert_eq!(names(&service.ingest_many(chain(&mut lift, 3)).await), all("accepted", 3));
}

/// A trigger of the database that refuses the records of one device.
async fn refuse(place: &Place, sqlstate: &str) {
    match (place.kind, sqlstate) {
        (Kind::Sqlite, _) => {
            place
                .tamper(
                    "CREATE TRIGGER refuse BEFORE INSERT ON audit_records WHEN NEW.device_id = 'lift-02'
                     BEGIN SELECT RAISE(ABORT, 'not this one'); END",
                )
                .await;
        }
        (Kind::Postgres, "P0001") => {
            place
                .tamper(
                    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'not this one'; END $$",
                )
                .await;
        }
        (Kind::Postgres, _) => {
            place
                .tamper(
                    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '22021'; END $$",
                )
                .await;
        }
    }
    if place.kind == Kind::Postgres {
        place
            .tamper(
                "CREATE TRIGGER refuse BEFORE INSERT ON audit_records FOR EACH ROW WHEN (NEW.device_id = 'lift-02')
                 EXECUTE FUNCTION refuse()",
            )
            .await;
    }
}

async fn a_permanent_error_of_the_ledger_stops_nobody_else(place: Place) {
    let service = place.service_with(Limits { attempts: 1, ..Limits::default() }, Metrics::new()).await;
    let mut lifts = devices(&**service.ledger(), 3).await;
    refuse(&place, "P0001").await;
    let mut batch = Vec::new();
    for _ in 0..4 {
        batch.extend(lifts.iter_mut().map(next));
    }
    // In one call, like messages of many devices from one broker.
    let answers = service.ingest_many(batch.clone()).await;
    let mut refused = Vec::new();
    for (submission, answer) in batch.iter().zip(&answers) {
        if submission.record.device_id == "lift-02" {
            let error = answer.as_ref().unwrap_err();
            assert!(!error.is_retryable() && !error.to_string().contains("send"), "{error}");
            refused.push(error.code());
        } else {
            assert!(answer.as_ref().is_ok_and(|outcome| outcome.name() == "accepted"), "{answer:?}");
        }
    }
    assert_eq!(refused, all("store", 4));
    let log = service.ledger().operation_log(&LogQuery::default()).await.unwrap();
    assert_eq!(log.iter().filter(|entry| entry.outcome == OutcomeKind::Accepted).count(), 8);
    // The operator fixes it, and the same records are accepted.
    let mend = match place.kind {
        Kind::Sqlite => "DROP TRIGGER refuse",
        Kind::Postgres => "DROP FUNCTION refuse CASCADE",
    };
    place.tamper(mend).await;
    let late: Vec<Submission> =
        batch.into_iter().filter(|submission| submission.record.device_id == "lift-02").collect();
    assert_eq!(names(&service.ingest_many(late).await), all("accepted", 4));
    assert!(place.report().await.ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_ledger_can_never_store_is_rejected() {
    let place = Place::new(Kind::Postgres).await;
    let service = place.service().await;
    let mut lifts = devices(&**service.ledger(), 3).await;
    refuse(&place, "22021").await;
    let batch: Vec<Submission> = lifts.iter_mut().map(next).collect();
    let answers = service.ingest_many(batch).await;
    assert_eq!(names(&answers), ["accepted", "store_refused", "accepted"]);
    let refused = LogQuery { reason: Some("store_refused".into()), ..LogQuery::default() };
    let log = service.ledger().operation_log(&refused).await.unwrap();
    assert_eq!((log.len(), log[0].device_id.as_str()), (1, "lift-02"));
    assert!(log[0].actual.as_ref().unwrap().contains("not this one"), "{log:?}");
}

/// EFBIG: a payload above the file size limit of the service.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_a_folder_can_never_keep_is_rejected() {
    let place = Place::new(Kind::Postgres).await;
    let worker = worker::command("large", &place);
    let mut limited = std::process::Command::new("bash");
    // 200 blocks of 1,024 bytes.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$@\"", "bash"]).arg(worker.get_program());
    limited.args(worker.get_args());
    for (name, value) in worker.get_envs() {
        limited.env(name, value.unwrap());
    }
    let output = limited.output().unwrap();
    let lines = worker::lines(&output);
    let expected = "answers accepted store_refused sequence_gap accepted";
    assert!(
        lines.iter().any(|line| line == expected),
        "{lines:?} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let ledger = place.ledger().await;
    let refused = LogQuery { outcome: Some(OutcomeKind::Rejected), ..LogQuery::default() };
    assert_eq!(ledger.operation_log(&refused).await.unwrap().len(), 2);
    // The device continues with a smaller one.
    let service = place.service().await;
    let head = ledger.heads().await.unwrap().get("lift-01").copied();
    assert_eq!(names(&[service.ingest(next(&mut device(1).resume(head))).await]), ["accepted"]);
    assert!(place.report().await.ok());
}

/// In one call, ingests a large record of a device with one behind it, and one of another device.
pub async fn large(service: &IngestService) -> String {
    let (mut one, mut two) = (device(1), device(2));
    for device in [&one, &two] {
        service.register(&registration(device)).await.unwrap();
    }
    let mut batch = vec![next(&mut one)];
    let payload = Bytes::from(vec![7; 300 << 10]);
    let record = Arc::new(one.sign(0, &payload, "large").unwrap());
    batch.push(Submission { record, payload });
    batch.extend([next(&mut one), next(&mut two)]);
    names(&service.ingest_many(batch).await).join(" ")
}
