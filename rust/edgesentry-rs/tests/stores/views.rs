//! The views of a ledger: pages that lead through everything, and searches that end.

use edgesentry_rs::admission::{OutcomeKind, RejectionCode};
use edgesentry_rs::ledger::{DeviceQuery, EntryQuery, Needle};

use crate::common::{Place, all, chain, devices, names, next, resigned};
use crate::on_every_ledger;

on_every_ledger!(
    devices_come_in_pages_with_their_progress,
    entries_come_newest_first_by_every_filter,
    records_are_found_by_place_hash_and_reference,
    an_empty_ledger_has_empty_views,
);

async fn an_empty_ledger_has_empty_views(place: Place) {
    let ledger = place.ledger().await;
    let views = ledger.views().unwrap();
    assert_eq!(views.census(1).await.unwrap(), Default::default());
    let part = views.device_part(&DeviceQuery { limit: 10, ..DeviceQuery::default() }).await.unwrap();
    assert!(part.found.is_empty() && part.next.is_none());
    let silent = DeviceQuery { limit: 10, silent_since_ms: Some(u64::MAX), ..DeviceQuery::default() };
    assert!(views.device_part(&silent).await.unwrap().next.is_none());
    let part = views.entry_part(&EntryQuery { limit: 10, ..EntryQuery::default() }).await.unwrap();
    assert!(part.found.is_empty() && part.next.is_none());
    assert!(views.records_before("nobody", None, 10).await.unwrap().is_empty());
    let part = views.search(&Needle::ObjectRef("x".to_owned()), None, 10).await.unwrap();
    assert!(part.found.is_empty() && part.next.is_none());
}

async fn devices_come_in_pages_with_their_progress(place: Place) {
    let service = place.service().await;
    let ledger = service.ledger();
    let mut lifts = devices(&**ledger, 5).await;
    for lift in &mut lifts[..2] {
        assert_eq!(names(&service.ingest_many(chain(lift, 3)).await), all("accepted", 3));
    }
    let views = ledger.views().unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let query = DeviceQuery { after, limit: 2, ..DeviceQuery::default() };
        let part = views.device_part(&query).await.unwrap();
        assert!(part.found.len() <= 2);
        seen.extend(part.found);
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    let ids: Vec<&str> = seen.iter().map(|device| device.device_id.as_str()).collect();
    assert_eq!(ids, ["lift-01", "lift-02", "lift-03", "lift-04", "lift-05"]);
    assert_eq!(seen.iter().filter(|device| device.has_records()).count(), 2);
    assert_eq!(Some(seen[0].head), lifts[0].head());
    let from = DeviceQuery { from: "lift-04".to_owned(), limit: 9, ..DeviceQuery::default() };
    assert_eq!(views.device_part(&from).await.unwrap().found.len(), 2);

    let now = seen.iter().map(|device| device.moved_at_ms).max().unwrap();
    let census = views.census(now).await.unwrap();
    assert_eq!(
        (census.devices, census.never, census.minute, census.hour, census.day, census.older()),
        (5, 3, 2, 0, 0, 0)
    );
    let census = views.census(now + 3_000_000).await.unwrap();
    assert_eq!((census.minute, census.hour), (0, 2));
    let census = views.census(now + 10 * 86_400_000).await.unwrap();
    assert_eq!((census.never, census.older()), (3, 2));

    let silent = |since| DeviceQuery { silent_since_ms: Some(since), limit: 3, ..DeviceQuery::default() };
    assert!(views.device_part(&silent(1)).await.unwrap().found.is_empty());
    let part = views.device_part(&silent(now + 1)).await.unwrap();
    assert_eq!((part.found.len(), part.next.as_deref()), (3, Some("lift-03")));
    let rest = DeviceQuery { after: part.next, ..silent(now + 1) };
    let part = views.device_part(&rest).await.unwrap();
    assert_eq!((part.found.len(), part.next), (2, None));
}

async fn entries_come_newest_first_by_every_filter(place: Place) {
    let service = place.service().await;
    let ledger = service.ledger();
    let mut lifts = devices(&**ledger, 2).await;
    let sent: Vec<_> = lifts.iter_mut().flat_map(|lift| chain(lift, 4)).collect();
    service.ingest_many(sent.clone()).await;
    let fork = resigned(&lifts[0], &sent[1], |record| record.timestamp_ms += 1);
    let mut later = chain(&mut lifts[1], 3);
    let gap = later.pop().unwrap();
    let outcomes = service.ingest_many(vec![fork.clone(), gap]).await;
    assert_eq!(names(&outcomes), ["fork", "sequence_gap"]);
    let views = ledger.views().unwrap();
    let part = |query: EntryQuery| {
        let views = ledger.views().unwrap();
        async move { views.entry_part(&query).await.unwrap() }
    };
    let (mut ids, mut before_id) = (Vec::new(), None);
    loop {
        let page = part(EntryQuery { before_id, limit: 3, ..EntryQuery::default() }).await;
        ids.extend(page.found.iter().map(|entry| entry.id));
        before_id = page.next;
        if before_id.is_none() {
            break;
        }
    }
    assert_eq!(ids.len(), 10);
    assert!(ids.is_sorted_by(|one, other| one > other), "{ids:?}");

    let limited = EntryQuery { limit: 100, ..EntryQuery::default() };
    let device_id = Some("lift-01".to_owned());
    let of =
        |outcome: Option<OutcomeKind>, reason: Option<RejectionCode>, device_id: Option<String>| EntryQuery {
            outcome,
            reason: reason.map(|code| code.name().to_owned()),
            device_id,
            ..limited.clone()
        };
    for (query, expected) in [
        (of(None, None, device_id.clone()), 5),
        (of(Some(OutcomeKind::Rejected), None, None), 2),
        (of(Some(OutcomeKind::Accepted), None, device_id.clone()), 4),
        (of(Some(OutcomeKind::Duplicate), None, None), 0),
        (of(None, Some(RejectionCode::Fork), None), 1),
        (of(None, Some(RejectionCode::Fork), device_id.clone()), 1),
        (of(Some(OutcomeKind::Rejected), Some(RejectionCode::SequenceGap), device_id), 0),
        (of(Some(OutcomeKind::Accepted), Some(RejectionCode::Fork), None), 0),
        (EntryQuery { record_hash: Some(fork.record.hash()), ..limited.clone() }, 1),
    ] {
        let found = part(query.clone()).await;
        assert_eq!((found.found.len(), found.next), (expected, None), "{query:?}");
    }
    let entry = part(of(None, Some(RejectionCode::Fork), None)).await.found.remove(0);
    assert_eq!((entry.sequence, entry.reason.as_deref()), (Some(2), Some("fork")));
    assert!(entry.expected.is_some() && entry.actual.is_some() && entry.evidence.is_none());
    drop(views);
}

async fn records_are_found_by_place_hash_and_reference(place: Place) {
    let service = place.service().await;
    let ledger = service.ledger();
    let mut lifts = devices(&**ledger, 2).await;
    let sent: Vec<_> = lifts.iter_mut().flat_map(|lift| chain(lift, 6)).collect();
    service.ingest_many(sent.clone()).await;
    let views = ledger.views().unwrap();
    let rows = views.records_before("lift-01", None, 4).await.unwrap();
    let sequences: Vec<u64> = rows.iter().map(|row| row.record.sequence).collect();
    assert_eq!(sequences, [6, 5, 4, 3]);
    assert!(rows.iter().all(|row| row.record.hash() == row.hash && row.received_at_ms > 0));
    assert_eq!(rows[0].record, *sent[5].record);
    assert_eq!(views.records_before("lift-01", Some(3), 10).await.unwrap().len(), 2);
    assert!(views.records_before("lift-01", Some(u64::MAX), 1).await.unwrap().len() == 1);

    let record = &sent[8].record;
    for needle in [
        Needle::Hash(record.hash()),
        Needle::Hash(record.payload_hash),
        Needle::ObjectRef(record.object_ref.clone()),
        Needle::ObjectRef("lift-02/3".to_owned()),
    ] {
        let part = views.search(&needle, None, 5).await.unwrap();
        assert_eq!((part.found.len(), part.next), (1, None), "{needle:?}");
        assert_eq!(part.found[0].record, **record);
        let behind = Some(("lift-02".to_owned(), 3));
        assert!(views.search(&needle, behind, 5).await.unwrap().found.is_empty());
    }
    for text in ["%", "_ift", "LIFT", "ift-01"] {
        let part = views.search(&Needle::ObjectRef(text.to_owned()), None, 5).await.unwrap();
        assert!(part.found.is_empty(), "{text}");
    }
    let every = Needle::ObjectRef("lift-".to_owned());
    let (mut found, mut after) = (0, None);
    loop {
        let part = views.search(&every, after, 5).await.unwrap();
        found += part.found.len();
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, 12);
    let mut more = lifts.remove(0);
    assert_eq!(names(&service.ingest_many(vec![next(&mut more)]).await), ["accepted"]);
    assert_eq!(views.records_before("lift-01", None, 1).await.unwrap()[0].record.sequence, 7);
}
