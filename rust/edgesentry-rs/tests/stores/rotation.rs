//! Devices that replace their keys themselves: admission, the registry, the outbox.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{Device, Scheme};
use edgesentry_rs::agent::Outbox;
use edgesentry_rs::ingest::storage::{IngestService, Limits, Rotation};
use edgesentry_rs::ingest::verify::Submission;
use edgesentry_rs::ledger::{LogQuery, Registration};
use edgesentry_rs::telemetry::metrics::Metrics;

use crate::common::{
    Kind, Place, all, chain, device, devices, head, names, next, registered_keys, registration, resigned,
};
use crate::on_every_ledger;

on_every_ledger!(
    a_key_succeeds_with_its_record,
    records_of_both_keys_come_in_one_call,
    nobody_takes_a_key_that_is_known,
    revoked_and_succeeded_keys_state_nothing,
    by_default_the_operator_registers_each_key,
    one_of_many_concurrent_successions_counts,
);

async fn service(place: &Place) -> IngestService {
    let limits = Limits { rotation: Rotation::Device, ..Limits::default() };
    place.service_with(limits, Metrics::new()).await
}

/// The key of `seed` for the device, at the beginning of its chain.
fn key(device: &Device, seed: u8) -> Device {
    Device::from_seed(device.device_id(), [seed; 32], Scheme::Record)
}

fn succeed(device: &mut Device, seed: u8) -> Submission {
    let successor = key(device, seed);
    let (record, payload) = device.succeed(1_700_000_000_000, successor).unwrap();
    Submission { record: Arc::new(record), payload: Bytes::from(payload) }
}

async fn valid_from(service: &IngestService, device_id: &str) -> Vec<u64> {
    let ring = registered_keys(&**service.ledger()).await;
    ring.keys(device_id).unwrap().iter().map(|key| key.valid_from).collect()
}

async fn a_key_succeeds_with_its_record(place: Place) {
    // Another service has the first key cached.
    let (one, two) = (service(&place).await, service(&place).await);
    let mut lift = devices(&**one.ledger(), 1).await.remove(0);
    let old = lift.clone();
    assert_eq!(names(&two.ingest_many(chain(&mut lift, 2)).await), all("accepted", 2));
    let succession = succeed(&mut lift, 60);
    assert_eq!(names(&[one.ingest(succession.clone()).await]), ["accepted"]);
    assert_eq!(valid_from(&one, "lift-01").await, [1, 4]);
    assert_eq!(names(&two.ingest_many(chain(&mut lift, 2)).await), all("accepted", 2));
    // Sent again, it is a duplicate, even if the key was revoked since.
    assert_eq!(names(&[two.ingest(succession.clone()).await]), ["duplicate"]);
    one.revoke("lift-01").await.unwrap();
    assert_eq!(names(&[two.ingest(succession).await]), ["duplicate"]);
    let late = next(&mut old.resume(lift.head()));
    assert_eq!(names(&[two.ingest(late).await]), ["key_not_valid_at_sequence"]);
    let log = one.ledger().operation_log(&LogQuery::default()).await.unwrap();
    let noted: Vec<&str> = log.iter().filter_map(|entry| entry.actual.as_deref()).collect();
    let public_key = key(&lift, 60).public_key().unwrap();
    assert_eq!(noted[0], format!("key {public_key} of scheme record succeeds from sequence 4 on"));
    let report = place.report().await;
    assert!(report.ok(), "{report:?}");
}

async fn records_of_both_keys_come_in_one_call(place: Place) {
    let service = service(&place).await;
    let mut lifts = devices(&**service.ledger(), 3).await;
    let mut batch = Vec::new();
    for seed in 0..4 {
        for lift in &mut lifts {
            batch.extend(chain(lift, 2));
            if lift.device_id() != "lift-03" {
                batch.push(succeed(lift, 100 + 10 * seed + lift.device_id().as_bytes()[6]));
            }
            batch.extend(chain(lift, 1));
        }
    }
    let count = batch.len();
    assert_eq!(names(&service.ingest_many(batch.clone()).await), all("accepted", count));
    assert_eq!(names(&service.ingest_many(batch).await), all("duplicate", count));
    assert_eq!(valid_from(&service, "lift-01").await, [1, 4, 8, 12, 16]);
    assert_eq!(valid_from(&service, "lift-03").await, [1]);
    assert!(place.report().await.ok());
}

async fn nobody_takes_a_key_that_is_known(place: Place) {
    let service = service(&place).await;
    let mut lifts = devices(&**service.ledger(), 2).await;
    for lift in &mut lifts {
        assert_eq!(names(&service.ingest_many(chain(lift, 2)).await), all("accepted", 2));
    }
    let lift = lifts[0].clone();
    // The thief of a key of lift-01 has the key of lift-02 as well: it is not its own all the same.
    let other = Device::from_seed("lift-01", *lifts[1].seed().unwrap(), Scheme::Record);
    let (record, payload) = lift.clone().succeed(1, other).unwrap();
    let stolen = Submission { record: Arc::new(record), payload: payload.into() };
    // Without its seed, the proof is missing.
    let good = succeed(&mut lift.clone(), 60);
    let unproven = resigned(&lift, &good, |record| record.object_ref.replace_range(100..102, "00"));
    let weak_form = resigned(&lift, &good, |record| record.object_ref.push(':'));
    for bad in [stolen, unproven, weak_form] {
        assert_eq!(names(&[service.ingest(bad).await]), ["succession_invalid"]);
    }
    // A registered later key waits for its sequence.
    let planned = Registration { valid_from: Some(9), start: None, ..registration(&key(&lift, 61)) };
    service.register(&planned).await.unwrap();
    assert_eq!(names(&[service.ingest(good.clone()).await]), ["succession_invalid"]);
    assert_eq!(head(&**service.ledger(), "lift-01").await, lift.head());
    assert_eq!(valid_from(&service, "lift-01").await, [1, 9]);
    // An own former key.
    let mut second = lifts[1].clone();
    assert_eq!(names(&[service.ingest(succeed(&mut second, 62)).await]), ["accepted"]);
    let back = Device::from_seed("lift-02", *lifts[1].seed().unwrap(), Scheme::Record);
    let (record, payload) = second.clone().succeed(1, back).unwrap();
    let back = Submission { record: Arc::new(record), payload: payload.into() };
    assert_eq!(names(&[service.ingest(back).await]), ["succession_invalid"]);
    assert_eq!(names(&[service.ingest(next(&mut second)).await]), ["accepted"]);
    assert!(place.report().await.ok());
}

async fn revoked_and_succeeded_keys_state_nothing(place: Place) {
    let service = service(&place).await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    assert_eq!(names(&service.ingest_many(chain(&mut lift, 2)).await), all("accepted", 2));
    let thief = lift.clone();
    assert_eq!(names(&[service.ingest(succeed(&mut lift, 60)).await]), ["accepted"]);
    // At the same sequence, and behind it.
    assert_eq!(names(&[service.ingest(succeed(&mut thief.clone(), 66)).await]), ["fork"]);
    let behind = succeed(&mut thief.clone().resume(lift.head()), 66);
    assert_eq!(names(&[service.ingest(behind).await]), ["signature_invalid"]);
    assert_eq!(names(&[service.ingest(next(&mut lift)).await]), ["accepted"]);
    service.revoke("lift-01").await.unwrap();
    let revoked = succeed(&mut lift.clone(), 67);
    assert_eq!(names(&[service.ingest(revoked).await]), ["key_not_valid_at_sequence"]);
    assert_eq!(valid_from(&service, "lift-01").await, [1, 4]);
    // No key that was revoked comes back.
    let fresh = Device::from_seed("lift-01", [70; 32], Scheme::Record).resume(lift.head());
    service.register(&Registration { start: None, ..registration(&fresh) }).await.unwrap();
    let again = succeed(&mut fresh.clone(), 60);
    assert_eq!(names(&[service.ingest(again).await]), ["succession_invalid"]);
    assert!(place.report().await.ok());
}

async fn by_default_the_operator_registers_each_key(place: Place) {
    let service = place.service().await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    let mut batch = chain(&mut lift, 2);
    batch.push(succeed(&mut lift, 60));
    batch.extend(chain(&mut lift, 1));
    let expected = ["accepted", "accepted", "succession_invalid", "signature_invalid"];
    assert_eq!(names(&service.ingest_many(batch.clone()).await), expected);
    // Registered by the operator for this sequence, it is taken.
    let planned = Registration { valid_from: Some(4), start: None, ..registration(&key(&lift, 60)) };
    service.register(&planned).await.unwrap();
    let expected = ["duplicate", "duplicate", "accepted", "accepted"];
    assert_eq!(names(&service.ingest_many(batch).await), expected);
    assert_eq!(valid_from(&service, "lift-01").await, [1, 4]);
    assert!(place.report().await.ok());
}

async fn one_of_many_concurrent_successions_counts(place: Place) {
    let (one, two) = (service(&place).await, service(&place).await);
    let mut lifts = devices(&**one.ledger(), 8).await;
    for lift in &mut lifts {
        assert_eq!(names(&one.ingest_many(chain(lift, 1)).await), ["accepted"]);
    }
    // All devices state the same key, through two services.
    let tasks: Vec<_> = (lifts.iter().enumerate())
        .map(|(at, lift)| {
            let (service, bid) =
                (if at % 2 == 0 { &one } else { &two }.clone(), succeed(&mut lift.clone(), 90));
            tokio::spawn(async move { names(&[service.ingest(bid).await])[0] })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "accepted").count(), 1, "{outcomes:?}");
    assert_eq!(
        outcomes.iter().filter(|outcome| **outcome == "succession_invalid").count(),
        7,
        "{outcomes:?}"
    );
    // One device states many keys at one sequence; an ordinary record competes.
    let lift = device(1);
    let lift = lift.resume(head(&**one.ledger(), "lift-01").await);
    let lift = if outcomes[0] == "accepted" { key(&lift, 90).resume(lift.head()) } else { lift };
    let mut bids: Vec<Submission> = (0..6).map(|seed| succeed(&mut lift.clone(), 110 + seed)).collect();
    bids.push(next(&mut lift.clone()));
    let tasks: Vec<_> = (bids.into_iter().enumerate())
        .map(|(at, bid)| {
            let service = if at % 2 == 0 { &one } else { &two }.clone();
            tokio::spawn(async move { names(&[service.ingest(bid).await])[0] })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "accepted").count(), 1, "{outcomes:?}");
    assert!(place.report().await.ok());
}

#[tokio::test]
async fn the_outbox_signs_with_one_key_at_a_time() {
    let place = Place::new(Kind::Sqlite).await;
    let service = service(&place).await;
    devices(&**service.ledger(), 1).await;
    let path = place.path("outbox.db");
    let old = || Device::from_seed("lift-01", *device(1).seed().unwrap(), Scheme::Record);
    let new = || key(&old(), 60);
    let sign = async |outbox: &Outbox| outbox.sign(1, Bytes::from_static(b"x"), "x").await;
    let (first, other) =
        (Outbox::open(&path, old()).await.unwrap(), Outbox::open(&path, old()).await.unwrap());
    sign(&first).await.unwrap();
    for bad in [old(), Device::from_seed("lift-02", [60; 32], Scheme::Record)] {
        assert!(first.succeed(1, bad).await.is_err());
    }
    assert_eq!(first.succeeded().await.unwrap(), None);
    let succession = first.succeed(2, new()).await.unwrap();
    assert_eq!(succession.sequence, 2);
    assert_eq!(sign(&first).await.unwrap().sequence, 3);
    // A crash before the caller has changed the seed: the same and the other process sign nothing with the old key.
    let stated = Some((2, new().public_key().unwrap().to_string()));
    for stale in [other, Outbox::open(&path, old()).await.unwrap()] {
        assert_eq!(stale.succeeded().await.unwrap(), stated);
        for problem in [sign(&stale).await.unwrap_err(), stale.succeed(3, new()).await.unwrap_err()] {
            assert!(
                problem.to_string().contains("succeeded at sequence 2") && !problem.is_retryable(),
                "{problem}"
            );
        }
        assert!(stale.succeed(3, key(&old(), 61)).await.is_err());
    }
    let reopened = Outbox::open(&path, new()).await.unwrap();
    assert_eq!(sign(&reopened).await.unwrap().sequence, 4);
    // Back to a key that was succeeded: never.
    assert!(reopened.succeed(3, old()).await.is_err());
    let flushed = reopened.flush(&service).await.unwrap();
    assert_eq!((flushed.accepted, flushed.waiting, flushed.rejection), (4, 0, None));
    assert!(place.report().await.ok());
}
