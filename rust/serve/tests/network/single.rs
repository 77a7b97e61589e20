//! `POST /api/v1/ingest`: every response.

use bytes::Bytes;
use edgesentry_serve::Stopped;
use serde_json::{Value, json};

use crate::common::{self, Kind, Place, device, devices, next, next_with, registration, resigned};
use crate::serving::{Serving, settings, wire};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_accepted_once_and_a_duplicate_ever_after() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = Place::new(kind).await;
        let serving = Serving::with(place.service().await, &settings("")).await;
        let mut lift = devices(&*place.ledger().await, 1).await.remove(0);
        let first = next(&mut lift);
        let answer = serving.ingest(&first).await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.json(), json!({"device_id": "lift-01", "sequence": 1, "outcome": "accepted"}));
        let answer = serving.ingest(&first).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("duplicate")));
        // Byte fields in hex, as the formats of exports allow.
        let second = next(&mut lift);
        let mut body = wire(&second);
        for field in ["payload_hash", "signature", "prev_record_hash"] {
            let bytes: Vec<u8> = serde_json::from_value(body["record"][field].clone()).unwrap();
            body["record"][field] = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        }
        assert_eq!(serving.post("/api/v1/ingest", &[], body.to_string()).await.status, 202);
        assert_eq!(serving.stop().await, Stopped::Finished);
        assert!(place.report().await.findings.is_empty());
        assert_eq!(common::head(&*place.ledger().await, "lift-01").await.unwrap().sequence, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_names_the_fault_and_its_log_entry() {
    let serving = Serving::start("").await;
    let mut lift = devices(&**serving.service.ledger(), 1).await.remove(0);
    let first = next(&mut lift);
    assert_eq!(serving.ingest(&first).await.status, 202);
    let second = next(&mut lift);
    let third = next(&mut lift);
    let fork = resigned(&lift, &first, |record| record.timestamp_ms += 1);
    let broken = resigned(&lift, &second, |record| record.prev_record_hash.0[0] ^= 1);
    let mut forged = (*second.record).clone();
    forged.signature[0] ^= 1;
    let mut swapped = second.clone();
    swapped.payload = Bytes::from_static(b"another");
    let stranger = next(&mut device(9));
    let late = resigned(&lift, &second, |record| record.timestamp_ms = u64::MAX);
    let nameless = resigned(&lift, &second, |record| record.object_ref = String::new());
    let mut rejected = 0;
    for (submission, status, code) in [
        (fork, 409, "fork"),
        (third, 409, "sequence_gap"),
        (broken, 409, "prev_hash_mismatch"),
        (edgesentry_rs::Submission { record: forged.into(), ..second.clone() }, 422, "signature_invalid"),
        (swapped, 422, "payload_hash_mismatch"),
        (stranger, 422, "unknown_device"),
        (late, 422, "out_of_range"),
        (nameless, 422, "out_of_range"),
    ] {
        let answer = serving.ingest(&submission).await;
        assert_eq!(answer.problem(), (status, code.to_owned()));
        let problem = answer.json();
        assert_eq!(problem["device_id"], submission.record.device_id);
        assert_eq!(problem["sequence"], submission.record.sequence);
        assert!(problem["expected"].is_string() && problem["actual"].is_string());
        rejected += 1;
    }
    let outcome = Some(edgesentry_rs::OutcomeKind::Rejected);
    let query = edgesentry_rs::ledger::LogQuery { outcome, ..Default::default() };
    let log = serving.service.ledger().operation_log(&query).await.unwrap();
    assert_eq!(log.len(), rejected);
    // None of these blocks a valid record.
    assert_eq!(serving.ingest(&second).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_a_record_is_malformed_and_not_logged() {
    let serving = Serving::start("[serve.limits]\nbody_bytes = 4096").await;
    let mut lift = devices(&**serving.service.ledger(), 1).await.remove(0);
    let first = next(&mut lift);
    let change = |change: &dyn Fn(&mut Value)| {
        let mut body = wire(&first);
        change(&mut body);
        body.to_string()
    };
    let whole = wire(&first).to_string();
    for body in [
        String::new(),
        "[]".to_owned(),
        "{\"record\":".to_owned(),
        whole[..whole.len() / 2].to_owned(),
        format!("{whole}{whole}"),
        change(&|body| body["raw_payload_hex"] = "abc".into()),
        change(&|body| body["raw_payload_hex"] = "zz".into()),
        change(&|body| body["extra"] = 1.into()),
        change(&|body| body["record"]["extra"] = 1.into()),
        change(&|body| body["record"]["sequence"] = (-1).into()),
        change(&|body| body["record"]["signature"] = json!([1, 2, 3])),
        change(&|body| drop(body["record"].as_object_mut().unwrap().remove("object_ref"))),
        format!("{{\"record\":{}{}", "[".repeat(2000), "]".repeat(1000)),
    ] {
        let answer = serving.post("/api/v1/ingest", &[], body.clone()).await;
        assert_eq!(answer.problem(), (400, "malformed".to_owned()), "{body}");
    }
    let large = next_with(&mut lift, &"x".repeat(3000));
    assert_eq!(serving.ingest(&large).await.problem(), (413, "too_large".to_owned()));
    let encoding = [("content-encoding", "br")];
    let answer = serving.post("/api/v1/ingest", &encoding, whole.clone()).await;
    assert_eq!(answer.problem(), (415, "encoding_unknown".to_owned()));
    assert_eq!(serving.get("/api/v1/ingest", None).await.problem(), (405, "method_not_allowed".to_owned()));
    assert_eq!(serving.get("/api/v2", None).await.problem(), (404, "not_found".to_owned()));
    assert!(serving.service.ledger().operation_log(&Default::default()).await.unwrap().is_empty());
    assert_eq!(serving.ingest(&first).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_503_and_never_the_fault_of_the_record() {
    let serving = Serving::start("").await;
    let mut lift = devices(&**serving.service.ledger(), 1).await.remove(0);
    let first = next(&mut lift);
    assert_eq!(serving.get("/readyz", None).await.status, 200);
    serving.service.ledger().close().await;
    let answer = serving.ingest(&first).await;
    assert_eq!(answer.problem(), (503, "store".to_owned()));
    assert_eq!(answer.header("retry-after"), "1");
    // The response does not reveal the location of the ledger.
    assert!(!String::from_utf8_lossy(&answer.body).contains("ledger.db"), "{answer:?}");
    assert_eq!(serving.get("/healthz", None).await.status, 200);
    let ready = poll(|| async { serving.get("/readyz", None).await.status == 503 }).await;
    assert!(ready, "still ready without a ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_too_fast_waits_and_others_do_not() {
    let serving = Serving::start("[serve.rate]\nrecords_per_second = 1\nburst = 2").await;
    let mut lifts = devices(&**serving.service.ledger(), 2).await;
    for _ in 0..2 {
        assert_eq!(serving.ingest(&next(&mut lifts[0])).await.status, 202);
    }
    // Even on a slow machine, hundreds do not take seconds each.
    let third = next(&mut lifts[0]);
    let mut answer = serving.ingest(&third).await;
    for _ in 0..100 {
        if answer.status == 429 {
            break;
        }
        answer = serving.ingest(&third).await;
    }
    assert_eq!(answer.problem(), (429, "rate_limited".to_owned()));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(serving.ingest(&next(&mut lifts[1])).await.status, 202);
    // A client waits as long as the service asks for.
    let outcome = serving.client().ingest(third).await.unwrap();
    assert!(outcome.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_progress_are_finished_when_the_service_stops() {
    let place = Place::new(Kind::Postgres).await;
    let mut serving = Serving::with(place.service().await, &settings("")).await;
    let ledger = place.ledger().await;
    let mut sending = Vec::new();
    for number in 1..=8 {
        let mut lift = device(number);
        ledger.register(&registration(&lift)).await.unwrap();
        let client = serving.client();
        sending.push(tokio::spawn(async move {
            let mut acknowledged = 0;
            loop {
                match client.ingest(next(&mut lift)).await {
                    Ok(outcome) => assert!(outcome.is_success(), "{outcome:?}"),
                    Err(error) => {
                        assert!(error.is_retryable(), "{error}");
                        return (lift.device_id().to_owned(), acknowledged);
                    }
                }
                acknowledged += 1;
            }
        }));
    }
    let busy = poll(|| async { ledger.heads().await.unwrap().len() == 8 }).await;
    assert!(busy);
    serving.ask_to_stop();
    assert_eq!(serving.stop().await, Stopped::Finished);
    for sending in sending {
        let (device_id, acknowledged) = sending.await.unwrap();
        let head = common::head(&*ledger, &device_id).await.unwrap();
        assert!(head.sequence >= acknowledged, "{device_id}: {acknowledged} acknowledged, {head:?}");
    }
    assert!(place.report().await.findings.is_empty());
}

/// Returns true if the condition becomes true within a minute.
pub async fn poll<F: Future<Output = bool>>(mut is: impl FnMut() -> F) -> bool {
    for _ in 0..3600 {
        if is().await {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    false
}
