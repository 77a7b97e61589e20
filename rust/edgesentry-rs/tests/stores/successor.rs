//! A log that succeeds another one in a ledger.

use std::sync::Arc;

use edgesentry_chain::Predecessor;
use edgesentry_log::{Checkpoint, KeyType, Leaf, Note, OpenedLeaf, SignerKey, TreeHash};
use edgesentry_rs::ledger::{Conflicts, Ledger};
use edgesentry_rs::log::TransparencyLog;
use edgesentry_rs::objects::{FolderObjects, Objects};

use crate::common::{Kind, Place};
use crate::erase::{Setting, eraser};
use crate::log::{copy, ingest, lead, leaf_bytes, log, objects, write_sql};
use crate::on_every_ledger;

on_every_ledger!(
    a_successor_names_the_log_before_it,
    a_successor_needs_a_name_and_places_of_its_own,
    a_successor_begins_after_an_end_at_any_step,
    a_ledger_from_before_the_succession_is_recovered,
    a_ledger_without_a_log_gets_a_successor,
);

fn new_key() -> SignerKey {
    SignerKey::from_seed("log.example/lifts-2", KeyType::Ed25519, [44; 32]).unwrap()
}

/// Returns an empty place for the files of a successor.
async fn new_objects(place: &Place) -> Arc<dyn Objects> {
    match place.kind {
        Kind::Sqlite => {
            let path = place.path("log-2");
            std::fs::create_dir_all(&path).unwrap();
            let component = edgesentry_rs::error::Component::TransparencyLog;
            Arc::new(FolderObjects::open(&path, component).unwrap())
        }
        Kind::Postgres => objects(place).await,
    }
}

fn successor(ledger: &Arc<dyn Ledger>, store: &Arc<dyn Objects>, lock: &Arc<dyn Objects>) -> TransparencyLog {
    TransparencyLog::new(ledger.log().unwrap(), Arc::clone(store), Arc::clone(lock), new_key(), 1000)
}

async fn last_checkpoint(ledger: &Arc<dyn Ledger>) -> Checkpoint {
    let row = ledger.log().unwrap().last_checkpoint().await.unwrap().unwrap();
    Checkpoint::parse(Note::parse(&row.note).unwrap().text()).unwrap()
}

/// A log with an erasure, and records that no checkpoint covers.
async fn ended(place: Place) -> Setting {
    let mut setting = Setting::new(place, 3).await;
    assert_eq!(setting.erase(2).await.state.name(), "erased");
    ingest(&setting.place, &mut setting.lifts, 2).await;
    setting
}

async fn a_successor_names_the_log_before_it(place: Place) {
    let mut setting = ended(place).await;
    let previous = last_checkpoint(&setting.ledger).await;
    // A batch is under way, because the ledger was changed.
    write_sql(&setting.place, "UPDATE chain_heads SET record_hash = BYTES WHERE device_id = 'lift-01'").await;
    let stopped = setting.log.sequence(&mut lead(&setting.log).await).await.unwrap_err();
    assert_eq!(stopped.code(), "ledger_tampered");
    let files = setting.objects.list("").await.unwrap();
    let back = "UPDATE chain_heads SET record_hash = (SELECT record_hash FROM audit_records r
                WHERE r.device_id = 'lift-01' AND r.sequence = chain_heads.sequence) WHERE device_id = 'lift-01'";
    write_sql(&setting.place, back).await;
    let store = new_objects(&setting.place).await;
    let new = successor(&setting.ledger, &store, &store);
    if setting.place.kind == Kind::Postgres {
        let leader = lead(&setting.log).await;
        assert_eq!(new.succeed(&previous, 5).await.unwrap_err().code(), "log_led_elsewhere");
        drop(leader);
    }
    let state = loop {
        match new.succeed(&previous, 5).await {
            Ok(state) => break state,
            Err(error) => assert_eq!(error.code(), "log_led_elsewhere", "{error}"),
        }
    };
    assert_eq!((state.origin.as_str(), state.next_index, state.batch), ("log.example/lifts-2", 2, 1));
    assert_eq!(store.list("log/lock/").await.unwrap(), []);
    // The positions that no checkpoint covers are kept, and the files of the old log are as they were.
    assert_eq!(new.evidence().await.unwrap().len(), 1);
    assert_eq!(setting.objects.list("").await.unwrap(), files);
    // The old log signs nothing any more.
    let error = setting.log.sequence(&mut lead(&setting.log).await).await.unwrap_err();
    assert_eq!(error.code(), "log_origin");
    assert_eq!(setting.log.check().await.unwrap_err().code(), "log_origin");
    new.sequence(&mut lead(&new).await).await.unwrap();
    let size = last_checkpoint(&setting.ledger).await.size();
    match Leaf::parse(&leaf_bytes(&*store, size).await[0]) {
        Ok(Leaf::Opened(OpenedLeaf { origin, records_before, previous: Some(named), at_ms })) => {
            assert_eq!((origin.as_str(), records_before, at_ms), ("log.example/lifts-2", 10, 5));
            assert_eq!(named, previous);
        }
        other => panic!("{other:?}"),
    }
    // The erasure is in the new log as well, so it excuses the payload.
    let finished = eraser(&new, &setting.ledger, &setting.payloads).finish_due().await.unwrap();
    assert_eq!((finished.erased, finished.left), (1, Vec::new()));
    let report = setting.report(&new_key()).await;
    assert_eq!(report.counts, [].into());
    let log = report.coverage.log.unwrap();
    assert_eq!((log.records, log.erased), (10, 1));
    let (origin, root) = (previous.origin().to_owned(), previous.root().to_string());
    assert_eq!(log.predecessor, Some(Predecessor { origin, size: previous.size(), root }));
    // It goes on like any log.
    ingest(&setting.place, &mut setting.lifts, 1).await;
    new.sequence(&mut lead(&new).await).await.unwrap();
    assert_eq!(setting.report(&new_key()).await.counts, [].into());
    assert_eq!(new.succeed(&previous, 6).await.unwrap_err().code(), "log_not_succeeded");
}

async fn a_successor_needs_a_name_and_places_of_its_own(place: Place) {
    let setting = ended(place).await;
    let previous = last_checkpoint(&setting.ledger).await;
    let store = new_objects(&setting.place).await;
    let old = &setting.objects;
    let same = TransparencyLog::new(
        setting.ledger.log().unwrap(),
        Arc::clone(&store),
        Arc::clone(&store),
        crate::log::key(),
        1000,
    );
    for refused in [
        same,
        successor(&setting.ledger, old, old),
        successor(&setting.ledger, old, &store),
        successor(&setting.ledger, &store, old),
    ] {
        assert_eq!(refused.succeed(&previous, 1).await.unwrap_err().code(), "log_not_succeeded");
    }
    // The checkpoint of a third log.
    let third = Checkpoint::new("log.example/doors", previous.size(), previous.root()).unwrap();
    let new = successor(&setting.ledger, &store, &store);
    assert_eq!(new.succeed(&third, 1).await.unwrap_err().code(), "log_origin");
    assert_eq!(store.list("").await.unwrap(), []);
    // The old log goes on.
    setting.sequence().await;
    assert_eq!(setting.report(&crate::log::key()).await.counts, [].into());
}

/// The first batch cannot be withdrawn, so no later one loses the name of the predecessor.
async fn a_successor_begins_after_an_end_at_any_step(place: Place) {
    let setting = ended(place).await;
    let previous = last_checkpoint(&setting.ledger).await;
    let store = new_objects(&setting.place).await;
    let new = successor(&setting.ledger, &store, &store);
    // The process ended after it had opened the log of a ledger without one, or before the first signature.
    let tables = setting.ledger.log().unwrap();
    let leader = lead(&setting.log).await;
    tables.succeed(&leader, "log.example/lifts-2", None, 1).await.unwrap();
    drop(leader);
    while let Err(error) = new.succeed(&previous, 1).await {
        assert_eq!(error.code(), "log_led_elsewhere", "{error}");
    }
    let refused = new.withdraw(&mut lead(&new).await).await.unwrap_err();
    assert_eq!(refused.code(), "log_not_withdrawn");
    new.sequence(&mut lead(&new).await).await.unwrap();
    let log = setting.report(&new_key()).await.coverage.log.unwrap();
    assert_eq!(log.predecessor.unwrap().origin, "log.example/lifts");
}

async fn a_ledger_from_before_the_succession_is_recovered(place: Place) {
    let mut setting = ended(place).await;
    setting.sequence().await;
    let previous = last_checkpoint(&setting.ledger).await;
    let backup = copy(&setting.place).await;
    let store = new_objects(&setting.place).await;
    let new = successor(&setting.ledger, &store, &store);
    while let Err(error) = new.succeed(&previous, 1).await {
        assert_eq!(error.code(), "log_led_elsewhere", "{error}");
    }
    new.sequence(&mut lead(&new).await).await.unwrap();
    ingest(&setting.place, &mut setting.lifts, 2).await;
    new.sequence(&mut lead(&new).await).await.unwrap();
    let report = setting.report(&new_key()).await;
    let ledger = backup.ledger().await;
    let restored = successor(&ledger, &store, &store);
    assert_eq!(restored.check().await.unwrap_err().code(), "log_origin");
    assert_eq!(restored.lag().await.unwrap_err().code(), "log_origin");
    restored.reopen().await.unwrap();
    let mut leader = lead(&restored).await;
    assert_eq!(restored.sequence(&mut leader).await.unwrap_err().code(), "log_behind");
    restored.recover(&mut leader, Conflicts::Refuse).await.unwrap();
    restored.check().await.unwrap();
    assert_eq!(restored.sequence(&mut leader).await.unwrap().batches, 0);
    assert_eq!(last_checkpoint(&ledger).await, last_checkpoint(&setting.ledger).await);
    assert_eq!(report.coverage.log.unwrap().records, 14);
    // A log that does not succeed the one of the ledger takes nothing over.
    let other = copy(&setting.place).await;
    let ledger = other.ledger().await;
    let old = log(&ledger, &setting.objects, 1000);
    assert_eq!(old.reopen().await.unwrap_err().code(), "log_origin");
}

async fn a_ledger_without_a_log_gets_a_successor(place: Place) {
    let (ledger, store) = (place.ledger().await, new_objects(&place).await);
    let new = successor(&ledger, &store, &store);
    let previous = Checkpoint::new("log.example/lifts", 7, TreeHash([7; 32])).unwrap();
    // Another node leads, so the process ends before the log is opened: the log does not begin without its predecessor.
    if place.kind == Kind::Postgres {
        let old = log(&ledger, &store, 1000);
        ledger.log().unwrap().open("log.example/lifts", 1).await.unwrap();
        let leader = lead(&old).await;
        assert_eq!(new.succeed(&previous, 1).await.unwrap_err().code(), "log_led_elsewhere");
        assert_eq!(new.opened().await.unwrap_err().code(), "log_origin");
        drop(leader);
    }
    while let Err(error) = new.succeed(&previous, 1).await {
        assert_eq!(error.code(), "log_led_elsewhere", "{error}");
    }
    new.sequence(&mut lead(&new).await).await.unwrap();
    let size = last_checkpoint(&ledger).await.size();
    let leaf = Leaf::parse(&leaf_bytes(&*store, size).await[0]).unwrap();
    assert!(matches!(leaf, Leaf::Opened(OpenedLeaf { previous: Some(named), .. }) if named == previous));
}
