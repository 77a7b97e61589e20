//! The conformance suite of ledgers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{Device, FindingCode, Head, Scheme};
use edgesentry_rs::ingest::verify::{MAX_SEQUENCE, Outcome, Submission, admit};
use edgesentry_rs::ledger::{
    AppendError, Decision, Entry, Filter, Ledger, LogEntry, LogQuery, Page, Registration, RejectionLimits,
    RevocationReason, revocation_reason,
};
use edgesentry_rs::payload::{Memory, PayloadStore, Stored};
use edgesentry_rs::{Error, OutcomeKind};
use futures::TryStreamExt;

use crate::common::{
    Place, chain, device, devices, head, next, next_with, records, registered_keys, registration, resigned,
    verify, verify_from,
};
use crate::on_every_ledger;

on_every_ledger!(
    records_come_back_as_they_were,
    each_record_is_decided_by_its_chain,
    decisions_of_one_group_see_each_other,
    filters_choose,
    pages_follow_each_other,
    a_chain_may_begin_elsewhere,
    registrations_are_idempotent_and_never_change_the_past,
    a_key_belongs_to_one_scheme,
    keys_that_changed_refuse_the_group,
    revoked_keys_accept_nothing_more,
    only_a_missing_table_has_no_revocations,
    doubtful_records_are_decided_without_their_payloads,
    records_behind_doubtful_ones_wait_with_them,
    the_operation_log_keeps_every_decision,
    rejections_are_bounded,
    an_empty_ledger_answers,
    many_records_stream,
    a_large_group_is_written_like_a_small_one,
    names_that_sql_would_trip_over,
);

/// Returns the ledger entries of submissions that pass admission.
pub async fn entries(ledger: &dyn Ledger, submissions: Vec<Submission>) -> Vec<Entry> {
    let names: Vec<Arc<str>> =
        submissions.iter().map(|submission| submission.record.device_id.as_str().into()).collect();
    let registry = ledger.keys(&names).await.unwrap();
    let store = Memory::default();
    let mut entries = Vec::new();
    for admitted in admit(submissions, &registry) {
        let admitted = admitted.unwrap();
        let put = store.put(&admitted).await.unwrap();
        entries.push(Entry::Record(Stored::new(admitted, put)));
    }
    entries
}

pub async fn append(ledger: &dyn Ledger, submissions: Vec<Submission>) -> Vec<&'static str> {
    let entries = entries(ledger, submissions).await;
    names(&ledger.append(&entries).await.unwrap())
}

pub fn names(decisions: &[Decision]) -> Vec<&'static str> {
    let name = |decision: &Decision| match decision {
        Decision::Decided(Outcome::Rejected(rejection)) => rejection.code.name(),
        Decision::Decided(outcome) => outcome.name(),
        Decision::PayloadWanted => "payload_wanted",
    };
    decisions.iter().map(name).collect()
}

async fn records_come_back_as_they_were(place: Place) {
    let ledger = place.ledger().await;
    let mut odd = Device::from_seed("größe-海-\u{1f6a2}'\"\\", [9; 32], Scheme::PayloadHash);
    let long_id = "x".repeat(1024);
    let mut long = Device::from_seed(long_id, [8; 32], Scheme::Record);
    let mut sent = Vec::new();
    for (device, timestamps) in [(&mut odd, [0, MAX_SEQUENCE, 1]), (&mut long, [7, 0, 3])] {
        ledger.register(&registration(device)).await.unwrap();
        for timestamp_ms in timestamps {
            let object_ref = format!("s3://bucket/{}/ü", "y".repeat(900));
            let record = Arc::new(device.sign(timestamp_ms, b"", object_ref).unwrap());
            sent.push(Submission { record, payload: Bytes::new() });
        }
    }
    let mut expected: Vec<_> = sent.iter().map(|submission| (*submission.record).clone()).collect();
    assert_eq!(append(&*ledger, sent).await, ["accepted"; 6]);
    // Another connection, as after a restart.
    let ledger = place.ledger().await;
    expected.sort_by(|one, other| (&one.device_id, one.sequence).cmp(&(&other.device_id, other.sequence)));
    assert_eq!(records(&*ledger, &Filter::default()).await, expected);
    assert_eq!(head(&*ledger, odd.device_id()).await, odd.head());
    assert!(verify(ledger, None).await.ok());
}

async fn each_record_is_decided_by_its_chain(place: Place) {
    let ledger = place.ledger().await;
    let mut lift = devices(&*ledger, 1).await.remove(0);
    let first = next(&mut lift);
    let second = next(&mut lift);
    let third = next(&mut lift);
    assert_eq!(append(&*ledger, vec![second.clone()]).await, ["sequence_gap"]);
    assert_eq!(append(&*ledger, vec![first.clone()]).await, ["accepted"]);
    assert_eq!(append(&*ledger, vec![first.clone()]).await, ["duplicate"]);
    let fork = resigned(&lift, &first, |record| record.timestamp_ms += 1);
    assert_eq!(append(&*ledger, vec![fork.clone()]).await, ["fork"]);
    let astray = resigned(&lift, &second, |record| record.prev_record_hash = fork.record.hash());
    assert_eq!(append(&*ledger, vec![astray]).await, ["prev_hash_mismatch"]);
    assert_eq!(append(&*ledger, vec![third.clone()]).await, ["sequence_gap"]);
    assert_eq!(append(&*ledger, vec![second, third]).await, ["accepted"; 2]);
    assert_eq!(records(&*ledger, &Filter::default()).await.len(), 3);
    assert_eq!(head(&*ledger, "lift-01").await, lift.head());
    assert!(verify(ledger, None).await.ok());
}

async fn decisions_of_one_group_see_each_other(place: Place) {
    let ledger = place.ledger().await;
    let mut lifts = devices(&*ledger, 3).await;
    let one = chain(&mut lifts[0], 3);
    let two = chain(&mut lifts[1], 3);
    let three = chain(&mut lifts[2], 2);
    let fork = resigned(&lifts[0], &one[1], |record| record.timestamp_ms = 0);
    let group = vec![
        one[0].clone(),
        two[1].clone(), // a gap
        one[1].clone(),
        three[0].clone(),
        one[1].clone(), // again
        fork,
        two[2].clone(), // still a gap
        one[2].clone(),
        three[1].clone(),
    ];
    let expected = [
        "accepted",
        "sequence_gap",
        "accepted",
        "accepted",
        "duplicate",
        "fork",
        "sequence_gap",
        "accepted",
        "accepted",
    ];
    assert_eq!(append(&*ledger, group).await, expected);
    assert_eq!(ledger.heads().await.unwrap().len(), 2);
    assert_eq!(append(&*ledger, two).await, ["accepted"; 3]);
    assert!(verify(ledger, None).await.ok());
}

async fn filters_choose(place: Place) {
    let ledger = place.ledger().await;
    let mut lifts = devices(&*ledger, 2).await;
    for lift in &mut lifts {
        append(&*ledger, chain(lift, 10)).await;
    }
    let chosen = async |filter: Filter| -> Vec<(String, u64)> {
        let records = records(&*ledger, &filter).await;
        records.into_iter().map(|record| (record.device_id, record.sequence)).collect()
    };
    let of = |device: &str, sequences: std::ops::RangeInclusive<u64>| -> Vec<(String, u64)> {
        sequences.map(|sequence| (device.to_owned(), sequence)).collect()
    };
    let two = Filter { devices: vec!["lift-02".into()], ..Filter::default() };
    assert_eq!(chosen(two.clone()).await, of("lift-02", 1..=10));
    let range = Filter { from_sequence: Some(3), to_sequence: Some(4), ..two.clone() };
    assert_eq!(chosen(range).await, of("lift-02", 3..=4));
    let from_ms = Some(crate::common::START_MS + 9);
    let times = Filter { from_ms, before_ms: from_ms.map(|ms| ms + 1), ..Filter::default() };
    assert_eq!(chosen(times).await, [of("lift-01", 9..=9), of("lift-02", 9..=9)].concat());
    assert_eq!(chosen(Filter { before_ms: Some(0), ..Filter::default() }).await, []);
    assert_eq!(chosen(Filter { from_sequence: Some(u64::MAX), ..Filter::default() }).await, []);
    assert_eq!(chosen(Filter { to_sequence: Some(u64::MAX), ..two.clone() }).await.len(), 10);
    assert_eq!(chosen(Filter { devices: vec!["nobody".into()], ..two }).await, []);
    // A bound that the column cannot hold excludes nothing, not even the latest time.
    let late = lifts[0].sign(MAX_SEQUENCE, b"", "late").unwrap();
    let late = Submission { record: Arc::new(late), payload: Bytes::new() };
    assert_eq!(append(&*ledger, vec![late]).await, ["accepted"]);
    for before_ms in [Some(u64::MAX), Some(MAX_SEQUENCE + 1), None] {
        assert_eq!(chosen(Filter { before_ms, ..Filter::default() }).await.len(), 21);
    }
    assert_eq!(chosen(Filter { before_ms: Some(MAX_SEQUENCE), ..Filter::default() }).await.len(), 20);
}

async fn pages_follow_each_other(place: Place) {
    let ledger = place.ledger().await;
    for lift in &mut devices(&*ledger, 3).await {
        append(&*ledger, chain(lift, 5)).await;
    }
    // By bytes, regardless of the collation of the server.
    for (id, seed) in ["Lift-02", "lift 02", "lift-02-b", "lïft"].into_iter().zip(40..) {
        let mut device = Device::from_seed(id, [seed; 32], Scheme::Record);
        ledger.register(&registration(&device)).await.unwrap();
        append(&*ledger, chain(&mut device, 3)).await;
    }
    let all = || Filter::default();
    let two = Filter { devices: vec!["lift-02".into()], ..all() };
    let late = Filter { from_sequence: Some(2), to_sequence: Some(4), ..all() };
    for filter in [all(), two, late] {
        let expected = records(&*ledger, &filter).await;
        assert!(expected.is_sorted_by_key(|record| (record.device_id.clone(), record.sequence)));
        for limit in [1, 2, 7, 100] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let chunks = ledger.page(&filter, &Page { after, limit }).try_collect::<Vec<_>>();
                let page = chunks.await.unwrap().concat();
                assert!(page.len() <= limit as usize);
                let Some(last) = page.last() else { break };
                after = Some((last.device_id.clone(), last.sequence));
                found.extend(page);
            }
            assert_eq!(found, expected, "{filter:?}, {limit}");
        }
    }
    let unknown = Page { after: Some(("lift-01-a".to_owned(), 1)), limit: 1 };
    let chunks: Vec<_> = ledger.page(&all(), &unknown).try_collect().await.unwrap();
    assert_eq!((chunks[0][0].device_id.as_str(), chunks[0][0].sequence), ("lift-02", 1));
}

async fn a_chain_may_begin_elsewhere(place: Place) {
    let ledger = place.ledger().await;
    let mut lift = device(1);
    let before = chain(&mut lift, 5);
    assert_eq!(before.len(), 5);
    ledger.register(&registration(&lift)).await.unwrap();
    assert!(ledger.heads().await.unwrap().is_empty(), "no record, no head");
    let after = chain(&mut lift, 2);
    let early = Registration { valid_from: Some(1), ..registration(&device(2).resume(lift.head())) };
    ledger.register(&early).await.unwrap();
    let mut other = device(2);
    // Before the start there is nothing to compare with.
    assert_eq!(append(&*ledger, chain(&mut other, 1)).await, ["sequence_duplicate"]);
    assert_eq!(append(&*ledger, after).await, ["accepted"; 2]);
    // The ledger's start of a chain is a claim; the auditor provides the start head.
    let report = verify(Arc::clone(&ledger), None).await;
    assert_eq!(report.counts, BTreeMap::from([(FindingCode::FirstRecordNotGenesis, 1)]), "{report:?}");
    let start = before.last().map(|submission| {
        let record = &submission.record;
        (Arc::from(record.device_id.as_str()), Head { sequence: record.sequence, hash: record.hash() })
    });
    let report = verify_from(Arc::clone(&ledger), None, Some(start.into_iter().collect())).await;
    assert!(report.ok(), "{report:?}");
    let device = &ledger.devices().await.unwrap()[0];
    assert_eq!(device.device_id, "lift-01");
    assert_eq!(device.start.map(|head| head.sequence), Some(5));
    assert_eq!(device.keys[0].key.valid_from, 6);
}

async fn registrations_are_idempotent_and_never_change_the_past(place: Place) {
    let ledger = place.ledger().await;
    let mut lift = device(1);
    ledger.register(&registration(&lift)).await.unwrap();
    ledger.register(&registration(&lift)).await.unwrap();
    append(&*ledger, chain(&mut lift, 3)).await;
    let plain = Registration { start: None, ..registration(&lift) };
    ledger.register(&plain).await.unwrap();
    let other = device(77);
    let refused = |registration: Registration| {
        let ledger = Arc::clone(&ledger);
        async move {
            let error = ledger.register(&registration).await.unwrap_err();
            assert!(matches!(error, Error::Registry { .. }), "{error}");
            assert!(!error.is_retryable());
        }
    };
    let rotation = Registration { key: other.public_key().unwrap(), ..plain.clone() };
    refused(Registration { valid_from: Some(3), ..rotation.clone() }).await;
    refused(Registration { valid_from: Some(0), ..rotation.clone() }).await;
    refused(Registration { valid_from: Some(u64::MAX), ..rotation.clone() }).await;
    refused(Registration { start: lift.head(), ..rotation.clone() }).await;
    refused(Registration { device_id: String::new(), ..rotation.clone() }).await;
    refused(Registration { device_id: "a\0b".into(), ..rotation.clone() }).await;
    refused(Registration { device_id: "x".repeat(1025), ..rotation.clone() }).await;
    ledger.register(&rotation).await.unwrap();
    refused(Registration { scheme: Scheme::PayloadHash, valid_from: Some(4), ..rotation.clone() }).await;
    let keys = registered_keys(&*ledger).await;
    let from: Vec<u64> = keys.keys("lift-01").unwrap().iter().map(|key| key.valid_from).collect();
    assert_eq!(from, [1, 4]);
    let mut rotated = Device::from_seed("lift-01", [77; 32], Scheme::Record).resume(lift.head());
    assert_eq!(append(&*ledger, chain(&mut rotated, 2)).await, ["accepted"; 2]);
    assert!(verify(ledger, None).await.ok());
}

/// A signature of scheme record over digest D is also one of scheme payload-hash for a record whose payload hash is D.
async fn a_key_belongs_to_one_scheme(place: Place) {
    let ledger = place.ledger().await;
    let of =
        |device_id: &str, key: u8, scheme| registration(&Device::from_seed(device_id, [key; 32], scheme));
    ledger.register(&of("lift-01", 1, Scheme::Record)).await.unwrap();
    // Revoked keys, too: the records that they signed are still in the ledger.
    ledger.revoke("lift-01").await.unwrap();
    for device_id in ["lift-01", "lift-02"] {
        let error = ledger.register(&of(device_id, 1, Scheme::PayloadHash)).await.unwrap_err();
        assert!(matches!(error, Error::Registry { .. }) && !error.is_retryable());
        let message = error.to_string();
        let parts = ["key ", device_id, "device \"lift-01\" with scheme record", "belongs to one scheme"];
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    assert_eq!(ledger.devices().await.unwrap().len(), 1);
    // Two devices may share a key under one scheme.
    let shared = of("lift-02", 1, Scheme::Record);
    ledger.register(&shared).await.unwrap();
    assert_eq!(ledger.devices_with_key(&shared.key).await.unwrap(), ["lift-01", "lift-02"]);
    assert_eq!(ledger.devices_with_key(&of("a", 2, Scheme::Record).key).await.unwrap(), [""; 0]);
    // Of two concurrent ones, one is refused.
    let (record, payload_hash) = (of("a", 9, Scheme::Record), of("b", 9, Scheme::PayloadHash));
    let (first, second) = tokio::join!(ledger.register(&record), ledger.register(&payload_hash));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    registered_keys(&*ledger).await;
}

async fn keys_that_changed_refuse_the_group(place: Place) {
    let ledger = place.ledger().await;
    let mut lifts = devices(&*ledger, 2).await;
    let admitted = entries(&*ledger, chain(&mut lifts[0], 2)).await;
    ledger.revoke("lift-01").await.unwrap();
    assert!(matches!(ledger.append(&admitted).await, Err(AppendError::KeysChanged)));
    assert!(records(&*ledger, &Filter::default()).await.is_empty());
    // A change of one device's keys does not affect other devices.
    let admitted = entries(&*ledger, chain(&mut lifts[1], 2)).await;
    ledger.register(&registration(&device(3))).await.unwrap();
    assert_eq!(names(&ledger.append(&admitted).await.unwrap()), ["accepted"; 2]);
}

async fn only_a_missing_table_has_no_revocations(place: Place) {
    let ledger = place.ledger().await;
    devices(&*ledger, 1).await;
    ledger.revoke_for("lift-01", RevocationReason::Lost).await.unwrap();
    assert_eq!(ledger.revocations().await.unwrap().len(), 1);
    place.tamper("ALTER TABLE revocations RENAME COLUMN reason TO cause").await;
    let error = ledger.revocations().await.unwrap_err();
    assert_eq!(error.action, "read the revocations");
    // As in a ledger of an earlier release.
    place.tamper("DROP TABLE revocations").await;
    assert_eq!(ledger.revocations().await.unwrap(), []);
}

async fn revoked_keys_accept_nothing_more(place: Place) {
    let ledger = place.ledger().await;
    let mut lift = devices(&*ledger, 1).await.remove(0);
    append(&*ledger, chain(&mut lift, 2)).await;
    // The last reason at a sequence counts, and a repetition without one takes none away.
    assert_eq!(ledger.revoke("lift-01").await.unwrap(), 3);
    for reason in RevocationReason::ALL.into_iter().chain([RevocationReason::Lost]) {
        assert_eq!(ledger.revoke_for("lift-01", reason).await.unwrap(), 3);
        let kept = ledger.revocations().await.unwrap();
        assert_eq!(revocation_reason(&kept, "lift-01", Some(3)), Some(reason));
        assert_eq!(revocation_reason(&kept, "lift-01", Some(4)), None);
        assert_eq!((kept.len(), reason.name().parse()), (1, Ok(reason)));
    }
    assert_eq!(ledger.revoke("lift-01").await.unwrap(), 3);
    let kept = ledger.revocations().await.unwrap();
    assert_eq!(revocation_reason(&kept, "lift-01", Some(3)), Some(RevocationReason::Lost));
    let third = next(&mut lift.clone());
    let registry = ledger.keys(&["lift-01".into()]).await.unwrap();
    let rejected = admit(vec![third], &registry).remove(0).unwrap_err();
    assert_eq!(rejected.code.name(), "key_not_valid_at_sequence");
    assert!(matches!(ledger.revoke("nobody").await, Err(Error::Registry { .. })));
    let fresh = Device::from_seed("lift-01", [78; 32], Scheme::Record).resume(lift.head());
    let registered = Registration { start: None, ..registration(&fresh) };
    ledger.register(&registered).await.unwrap();
    assert_eq!(append(&*ledger, chain(&mut fresh.clone(), 1)).await, ["accepted"]);
    // A key that was revoked before it signed is replaced.
    let spare = device(2);
    ledger.register(&registration(&spare)).await.unwrap();
    assert_eq!(ledger.revoke("lift-02").await.unwrap(), 1);
    let fresh = Device::from_seed("lift-02", [79; 32], Scheme::Record);
    ledger.register(&registration(&fresh)).await.unwrap();
    assert_eq!(append(&*ledger, chain(&mut fresh.clone(), 1)).await, ["accepted"]);
}

async fn doubtful_records_are_decided_without_their_payloads(place: Place) {
    let ledger = place.ledger().await;
    let mut lifts = devices(&*ledger, 2).await;
    let one = chain(&mut lifts[0], 4);
    let fork = resigned(&lifts[0], &one[0], |record| record.timestamp_ms += 1);
    let gap = resigned(&lifts[0], &one[3], |record| record.sequence = 9);
    let doubt = |entries: Vec<Entry>| -> Vec<Entry> {
        let doubtful = |entry: Entry| match entry {
            Entry::Record(stored) => Entry::Doubtful(stored.admitted().clone()),
            entry => entry,
        };
        entries.into_iter().map(doubtful).collect()
    };
    let first = entries(&*ledger, vec![one[0].clone()]).await;
    let rest = [&one[1..3], &[one[0].clone(), fork.clone(), gap.clone()]].concat();
    let mut group = first.clone();
    group.extend(doubt(entries(&*ledger, rest.clone()).await));
    group.extend(entries(&*ledger, chain(&mut lifts[1], 1)).await);
    // Behind a record that waits for its payload a gap is not decided; another device does not wait.
    let expected =
        ["accepted", "payload_wanted", "payload_wanted", "duplicate", "fork", "payload_wanted", "accepted"];
    assert_eq!(names(&ledger.append(&group).await.unwrap()), expected);
    let log = ledger.operation_log(&LogQuery::default()).await.unwrap();
    assert_eq!(log.len(), 4, "nothing is said of what is not decided");
    let group = entries(&*ledger, rest).await;
    let expected = ["accepted", "accepted", "duplicate", "fork", "sequence_gap"];
    assert_eq!(names(&ledger.append(&group).await.unwrap()), expected);
    // Without a waiting record before it, a gap is a gap.
    let group = doubt(entries(&*ledger, vec![gap, one[3].clone()]).await);
    assert_eq!(names(&ledger.append(&group).await.unwrap()), ["sequence_gap", "payload_wanted"]);
    assert_eq!(records(&*ledger, &Filter::default()).await.len(), 4);
    assert!(verify(ledger, None).await.ok());
}

/// Another call processed the first records, so that those behind them already have their payloads, and then failed.
async fn records_behind_doubtful_ones_wait_with_them(place: Place) {
    let ledger = place.ledger().await;
    let mut lift = devices(&*ledger, 1).await.remove(0);
    let sent = chain(&mut lift, 4);
    let mut group = entries(&*ledger, sent.clone()).await;
    for entry in &mut group[..2] {
        let admitted = entry.admitted().cloned();
        *entry = Entry::Doubtful(admitted.unwrap());
    }
    assert_eq!(names(&ledger.append(&group).await.unwrap()), ["payload_wanted"; 4]);
    assert!(ledger.operation_log(&LogQuery::default()).await.unwrap().is_empty());
    assert_eq!(append(&*ledger, sent).await, ["accepted"; 4]);
}

/// Records of strangers cost little, and a limited number of them is kept; records that devices have signed are kept
/// for each device.
async fn rejections_are_bounded(place: Place) {
    let ledger = place.ledger().await;
    let mut lifts = devices(&*ledger, 2).await;
    let mut entries_of_strangers = Vec::new();
    for number in 0..30 {
        let mut stranger =
            Device::from_seed(format!("{number}{}", "x".repeat(1000)), [9; 32], Scheme::Record);
        let record = stranger.sign(0, b"", "y".repeat(1024)).unwrap();
        let submission = Submission { record: record.into(), payload: Bytes::new() };
        let rejection = admit(vec![submission], &ledger.keys(&[]).await.unwrap()).remove(0).unwrap_err();
        entries_of_strangers.push(Entry::Rejected(rejection));
    }
    ledger.append(&entries_of_strangers).await.unwrap();
    let log = ledger.operation_log(&LogQuery { limit: 100, ..LogQuery::default() }).await.unwrap();
    let bytes = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    for entry in &log {
        let kept = entry.device_id.len() + bytes(&entry.expected) + bytes(&entry.actual);
        assert!(kept + entry.evidence.as_ref().unwrap().len() <= 1024, "{entry:?}");
        assert!(entry.device_id.ends_with('\u{2026}'), "{entry:?}");
    }
    // The record of the last one is still known by its hash.
    let Some(Entry::Rejected(last)) = entries_of_strangers.last() else { panic!() };
    assert_eq!(log[29].record_hash, last.record.hash());

    // One device forks a hundred times, the other once before.
    let sent = [chain(&mut lifts[0], 1), chain(&mut lifts[1], 1)].concat();
    append(&*ledger, sent.clone()).await;
    let fork = |number: usize, times: u64| {
        resigned(&lifts[number], &sent[number], |record| record.timestamp_ms += times)
    };
    append(&*ledger, vec![fork(1, 1)]).await;
    append(&*ledger, (1..=100).map(|times| fork(0, times)).collect()).await;
    let full = LogQuery { reason: Some("fork".into()), limit: 1, ..LogQuery::default() };
    let evidence = ledger.operation_log(&full).await.unwrap()[0].evidence.clone().unwrap();
    assert_eq!(evidence, fork(1, 1).record.canonical_bytes(), "what is signed is kept whole");

    let counts = ledger.count_rejections().await.unwrap();
    let counted = counts.iter().filter(|one| one.kept > 0).map(|one| (one.reason, one.kept));
    let counted: BTreeSet<_> = counted.collect();
    assert_eq!(counted, BTreeSet::from([("unknown_device", 30), ("fork", 101)]));

    let limits = RejectionLimits { unsigned_entries: 20, unsigned_from_ms: 0, signed_entries: 40 };
    let counts = ledger.prune_rejections(&limits).await.unwrap();
    let of = |reason: &str| {
        *counts
            .iter()
            .find(|one| one.reason == reason)
            .map(|one| (one.kept, one.pruned_by_number))
            .as_ref()
            .unwrap()
    };
    assert_eq!((of("unknown_device"), of("fork"), of("sequence_gap")), ((20, 10), (41, 60), (0, 0)));
    let forks =
        LogQuery { device_id: Some("lift-02".into()), reason: Some("fork".into()), ..LogQuery::default() };
    assert_eq!(ledger.operation_log(&forks).await.unwrap().len(), 1, "one device does not push out another");
    let left = ledger
        .operation_log(&LogQuery { reason: Some("unknown_device".into()), ..LogQuery::default() })
        .await;
    assert_eq!(left.unwrap()[19].record_hash, last.record.hash(), "the newest stay");
    let pruned = ledger.pruned().await.unwrap();
    assert_eq!(pruned.entries, 70);
    assert!(
        pruned.up_to_id
            < ledger
                .operation_log(&LogQuery { limit: 1000, ..LogQuery::default() })
                .await
                .unwrap()
                .last()
                .unwrap()
                .id
    );
    // By age.
    let limits = RejectionLimits { unsigned_entries: 20, unsigned_from_ms: u64::MAX, signed_entries: 40 };
    let counts = ledger.prune_rejections(&limits).await.unwrap();
    let aged: u64 = counts.iter().map(|one| one.pruned_by_age).sum();
    let accepted = LogQuery { outcome: Some(OutcomeKind::Accepted), ..LogQuery::default() };
    assert_eq!((aged, ledger.operation_log(&accepted).await.unwrap().len()), (20, 2));
}

async fn the_operation_log_keeps_every_decision(place: Place) {
    let ledger = place.ledger().await;
    let mut lift = devices(&*ledger, 1).await.remove(0);
    let chain = chain(&mut lift, 3);
    let gap = chain[2].clone();
    append(&*ledger, vec![gap.clone(), chain[0].clone()]).await;
    append(&*ledger, vec![chain[0].clone()]).await;
    let mut entries = vec![];
    for rejection in admit(vec![next(&mut device(9))], &ledger.keys(&[]).await.unwrap()) {
        entries.push(Entry::Rejected(rejection.unwrap_err()));
    }
    assert_eq!(names(&ledger.append(&entries).await.unwrap()), ["unknown_device"]);
    let all = ledger.operation_log(&LogQuery::default()).await.unwrap();
    let seen: Vec<_> = all
        .iter()
        .map(|entry| {
            (entry.device_id.as_str(), entry.sequence, entry.outcome.as_str(), entry.reason.as_deref())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("lift-01", Some(3), "rejected", Some("sequence_gap")),
            ("lift-01", Some(1), "accepted", None),
            ("lift-01", Some(1), "duplicate", None),
            ("lift-09", Some(1), "rejected", Some("unknown_device")),
        ]
    );
    assert_eq!(all[0].evidence.as_deref(), Some(&*gap.record.canonical_bytes()));
    assert_eq!((all[0].expected.as_deref(), all[0].actual.as_deref()), (Some("1"), Some("3")));
    assert_eq!(all[0].record_hash, gap.record.hash());
    assert!(all[1].evidence.is_none() && all[1].at_ms > 1_700_000_000_000);
    let page = LogQuery { after_id: all[1].id, limit: 1, ..LogQuery::default() };
    assert_eq!(ledger.operation_log(&page).await.unwrap(), all[2..3]);
    let rejected = LogQuery { outcome: Some(OutcomeKind::Rejected), ..LogQuery::default() };
    assert_eq!(ledger.operation_log(&rejected).await.unwrap().len(), 2);
    let one = LogQuery { device_id: Some("lift-09".into()), ..LogQuery::default() };
    assert_eq!(ledger.operation_log(&one).await.unwrap(), all[3..]);
    let gaps = LogQuery { reason: Some("sequence_gap".into()), ..LogQuery::default() };
    assert_eq!(ledger.operation_log(&gaps).await.unwrap(), all[..1]);
}

async fn an_empty_ledger_answers(place: Place) {
    let ledger = place.ledger().await;
    ledger.check().await.unwrap();
    assert!(ledger.heads().await.unwrap().is_empty());
    assert!(ledger.devices().await.unwrap().is_empty());
    assert!(records(&*ledger, &Filter::default()).await.is_empty());
    assert!(ledger.operation_log(&LogQuery::default()).await.unwrap().is_empty());
    assert!(ledger.append(&[]).await.unwrap().is_empty());
    assert!(!verify(ledger, None).await.ok(), "nothing to verify is no pass");
}

async fn many_records_stream(place: Place) {
    let ledger = place.ledger().await;
    let mut lifts = devices(&*ledger, 2).await;
    for lift in &mut lifts {
        for _ in 0..5 {
            assert_eq!(append(&*ledger, chain(lift, 1111)).await, vec!["accepted"; 1111]);
        }
    }
    let all = records(&*ledger, &Filter::default()).await;
    let order: Vec<_> = all.iter().map(|record| (record.device_id.clone(), record.sequence)).collect();
    let expected = ["lift-01", "lift-02"].map(|id| (1..=5555).map(move |sequence| (id.to_owned(), sequence)));
    assert!(order.into_iter().eq(expected.into_iter().flatten()));
    assert!(verify(Arc::clone(&ledger), None).await.ok());
    // A reader that stops early costs nothing.
    for _ in 0..20 {
        use futures::StreamExt;
        let mut stream = ledger.records(&Filter::default());
        assert!(stream.next().await.unwrap().unwrap().len() > 1000);
    }
    assert_eq!(append(&*ledger, vec![next_with(&mut lifts[0], "more")]).await, ["accepted"]);
}

/// PostgreSQL gets the rows of a large group by COPY, with every kind of value.
async fn a_large_group_is_written_like_a_small_one(place: Place) {
    const RECORDS: usize = 1100;
    let ledger = place.ledger().await;
    let mut lifts = devices(&*ledger, 2).await;
    let mut seen = Vec::new();
    for (lift, records) in lifts.iter_mut().zip([1, RECORDS]) {
        let chain = chain(lift, records);
        let gap = resigned(lift, &chain[0], |record| record.sequence = 9_000);
        let mut group = entries(&*ledger, [chain, vec![gap]].concat()).await;
        let mut stranger = next(&mut device(9));
        Arc::make_mut(&mut stranger.record).device_id = "ü\0\t\\N".to_owned();
        Arc::make_mut(&mut stranger.record).sequence = u64::MAX;
        for rejected in admit(vec![stranger], &ledger.keys(&[]).await.unwrap()) {
            group.push(Entry::Rejected(rejected.unwrap_err()));
        }
        let decided = names(&ledger.append(&group).await.unwrap());
        assert_eq!(decided[..records], vec!["accepted"; records]);
        let query = LogQuery { newest: true, limit: 3, ..LogQuery::default() };
        let mut log = ledger.operation_log(&query).await.unwrap();
        assert_eq!((log[0].outcome, log[0].sequence), (OutcomeKind::Accepted, Some(records as u64)));
        let rejected = log.split_off(1);
        assert_eq!(rejected[0].expected, Some((records + 1).to_string()));
        assert!(rejected.iter().all(|entry| entry.reason.is_some() && entry.evidence.is_some()));
        seen.push((decided[records..].to_vec(), rejected[1].clone()));
    }
    let [(few, small), (many, large)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(few, many);
    assert_eq!(small.sequence, None);
    let unplaced = |entry: &LogEntry| LogEntry { id: 0, at_ms: 0, ..entry.clone() };
    assert_eq!(unplaced(small), unplaced(large));
    assert_eq!(records(&*ledger, &Filter::default()).await.len(), RECORDS + 1);
    assert!(verify(ledger, None).await.ok());
}

async fn names_that_sql_would_trip_over(place: Place) {
    let ledger = place.ledger().await;
    for (number, id) in ["'; DROP TABLE devices; --", "a\\", "$1", "%s", "[1]", "\"", "{\"a\":1}", "\u{202e}"]
        .into_iter()
        .enumerate()
    {
        let mut device = Device::from_seed(id, [100 + number as u8; 32], Scheme::Record);
        ledger.register(&registration(&device)).await.unwrap();
        assert_eq!(append(&*ledger, chain(&mut device, 2)).await, ["accepted"; 2], "{id}");
        let filter = Filter { devices: vec![id.to_owned()], ..Filter::default() };
        assert_eq!(records(&*ledger, &filter).await.len(), 2, "{id}");
        let query = LogQuery { device_id: Some(id.to_owned()), ..LogQuery::default() };
        assert_eq!(ledger.operation_log(&query).await.unwrap().len(), 2, "{id}");
        assert_eq!(head(&*ledger, id).await, Some(Head { sequence: 2, ..device.head().unwrap() }));
    }
    assert_eq!(ledger.devices().await.unwrap().len(), 8);
}
