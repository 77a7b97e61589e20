//! Metrics: every outcome counts once, with its reason or its component, regardless of retries.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{Device, Head, Scheme};
use edgesentry_rs::error::Component;
use edgesentry_rs::ingest::storage::Limits;
use edgesentry_rs::ingest::verify::Submission;
use edgesentry_rs::ledger::{LogQuery, Registration};
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::{Outcome, RejectionCode};

use crate::common::{Place, all, chain, device, devices, names, next, registration, resigned};
use crate::on_every_ledger;

on_every_ledger!(
    counters_agree_with_the_operation_log,
    failures_are_counted_by_component,
    an_admission_anew_counts_once,
);

/// Returns every series that is not 0, without its prefix and without times.
pub fn counted(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.text();
    let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, value) = line.strip_prefix("edgesentry_")?.rsplit_once(' ')?;
        let value: f64 = value.parse().unwrap();
        let is_time = name.contains("_seconds") || name.contains("build_info");
        (value != 0.0 && !is_time).then(|| (name.to_owned(), value))
    });
    series.collect()
}

/// Returns the value of a series.
pub fn value(metrics: &Metrics, name: &str) -> f64 {
    let text = metrics.text();
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(series, _)| series == name));
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
}

async fn counters_agree_with_the_operation_log(place: Place) {
    let metrics = Metrics::new();
    let service = place.service_with(Limits::default(), metrics.clone()).await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    assert_eq!(counted(&metrics), BTreeMap::new());
    let first = chain(&mut lift, 3);
    assert_eq!(names(&service.ingest_many(first.clone()).await), all("accepted", 3));
    let good = next(&mut lift.clone());
    let with = |change: fn(&mut edgesentry_chain::AuditRecord)| resigned(&lift, &good, change);
    let mut unsigned = (*good.record).clone();
    unsigned.signature[5] ^= 1;
    let mut early = Device::from_seed("late", [10; 32], Scheme::Record);
    service.register(&Registration { valid_from: Some(5), ..registration(&early) }).await.unwrap();
    let started_elsewhere = chain(&mut device(7), 2);
    let last = &started_elsewhere[1].record;
    let start = Head { sequence: last.sequence, hash: last.hash() };
    service.register(&Registration { start: Some(start), ..registration(&device(7)) }).await.unwrap();
    let bad = vec![
        Submission { payload: Bytes::from_static(b"another"), ..good.clone() },
        next(&mut device(9)),
        Submission { record: Arc::new(unsigned), ..good.clone() },
        with(|record| record.sequence = 6),
        with(|record| record.prev_record_hash.0[0] ^= 1),
        with(|record| record.sequence = 2),
        next(&mut early),
        with(|record| record.sequence = 0),
        started_elsewhere[0].clone(),
    ];
    // Together, and each alone.
    for answer in service.ingest_many(bad.clone()).await {
        assert!(answer.unwrap().rejection().is_some());
    }
    for submission in bad {
        assert!(service.ingest(submission).await.unwrap().rejection().is_some());
    }
    assert_eq!(names(&service.ingest_many(first).await), all("duplicate", 3));
    let log = service.ledger().operation_log(&LogQuery::default()).await.unwrap();
    let mut expected = BTreeMap::new();
    for entry in &log {
        let series = match (entry.outcome.as_str(), &entry.reason) {
            (_, Some(reason)) => format!("ingest_rejected_total{{reason=\"{reason}\"}}"),
            (outcome, None) => format!("ingest_{outcome}_total"),
        };
        *expected.entry(series).or_insert(0.0) += 1.0;
    }
    // The alerting rules use these: device and ledger hold different histories. Not a gap: a resend fills it.
    expected.insert("chain_break_total".to_owned(), 4.0);
    expected.insert("signature_fail_total".to_owned(), 2.0);
    assert_eq!(counted(&metrics), expected);
    assert_eq!(
        expected.keys().filter(|series| series.contains("reason")).count(),
        RejectionCode::ALL.len() - 5
    );
    let inserts = value(&metrics, "edgesentry_operation_log_insert_duration_seconds_count");
    assert_eq!(inserts, 12.0, "one for each commit: 1 + 1 + 9 + 1");
    assert_eq!(value(&metrics, "edgesentry_ingest_duration_seconds_count"), 12.0);
    assert!(value(&metrics, "edgesentry_ingest_last_success_timestamp_seconds") > 1.7e9);
}

async fn failures_are_counted_by_component(place: Place) {
    let metrics = Metrics::new();
    let service = place.service_with(Limits { attempts: 3, ..Limits::default() }, metrics.clone()).await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    let batch = chain(&mut lift, 5);
    let failed = |component: Component, records: f64| {
        let series = format!("ingest_error_total{{component=\"{}\"}}", component.name());
        BTreeMap::from([(series, records)])
    };
    place.tamper("ALTER TABLE operation_logs RENAME TO hidden_logs").await;
    assert_eq!(names(&service.ingest_many(batch.clone()).await), all("store", 5));
    let mut expected = failed(Component::OperationLog, 5.0);
    assert_eq!(counted(&metrics), expected);
    place.tamper("ALTER TABLE hidden_logs RENAME TO operation_logs").await;
    place.tamper("ALTER TABLE audit_records RENAME TO hidden_records").await;
    assert_eq!(names(&service.ingest_many(batch.clone()).await), all("store", 5));
    expected.append(&mut failed(Component::AuditLedger, 5.0));
    assert_eq!(counted(&metrics), expected);
    place.tamper("ALTER TABLE hidden_records RENAME TO audit_records").await;
    assert_eq!(names(&service.ingest_many(batch).await), all("accepted", 5));
    expected.insert("ingest_accepted_total".to_owned(), 5.0);
    assert_eq!(counted(&metrics), expected, "retries count once, and nothing waits any more");
}

async fn an_admission_anew_counts_once(place: Place) {
    let metrics = Metrics::new();
    let service = place.service_with(Limits::default(), metrics.clone()).await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    assert!(service.ingest(next(&mut lift)).await.unwrap().is_success());
    // Through another service; this one still has the old key cached.
    let key = Device::from_seed("lift-01", [77; 32], Scheme::Record);
    let other = place.service().await;
    other.register(&Registration { start: None, ..registration(&key) }).await.unwrap();
    let mut key = key.resume(lift.head());
    assert_eq!(service.ingest(next(&mut key)).await.unwrap(), Outcome::Accepted);
    // And again with a record that only the old keys allow: the first commit detects that they have changed.
    let late = next(&mut key.clone());
    other.revoke("lift-01").await.unwrap();
    assert_eq!(names(&[service.ingest(late).await]), ["key_not_valid_at_sequence"]);
    let expected = [
        ("ingest_accepted_total", 2.0),
        ("ingest_rejected_total{reason=\"key_not_valid_at_sequence\"}", 1.0),
    ];
    assert_eq!(counted(&metrics), expected.map(|(series, count)| (series.to_owned(), count)).into());
}
