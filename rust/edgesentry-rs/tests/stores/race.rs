//! Tasks and processes that race on the same devices: no chain ever forks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::ingest::verify::Submission;
use edgesentry_rs::ledger::{AppendError, Decision, Filter};
use sqlx::{Connection, Executor, PgConnection};

use crate::common::{Kind, Place, device, devices, names, next, records, resigned};
use crate::ledgers::{self, append};
use crate::on_every_ledger;
use crate::worker;

on_every_ledger!(tasks_and_processes_never_fork_a_chain, groups_of_the_same_devices_take_turns);

const DEVICES: u8 = 3;
const RECORDS: u64 = 40;

/// Runs eight tasks, each of which tries to write every record of every chain; returns how many they have won.
pub async fn eight_tasks(service: &IngestService, number: u64) -> u64 {
    let won = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (service, won) = (service.clone(), Arc::clone(&won));
            tokio::spawn(async move {
                for id in 1..=DEVICES {
                    continue_chain(&service, id, number * 8 + task, &won).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    won.load(Ordering::Relaxed)
}

async fn continue_chain(service: &IngestService, id: u8, writer: u64, won: &AtomicU64) {
    loop {
        let lift = device(id);
        let head = service.ledger().heads().await.unwrap().get(lift.device_id()).copied();
        let mut lift = lift.resume(head);
        let sequence = head.map_or(1, |head| head.sequence + 1);
        if sequence > RECORDS {
            return;
        }
        let payload = Bytes::from(format!("{id} {sequence} by {writer}"));
        let record = lift.sign(writer, &payload, format!("{id}/{sequence}/{writer}")).unwrap();
        let answer = service.ingest(Submission { record: Arc::new(record), payload }).await;
        match names(&[answer])[0] {
            "accepted" => drop(won.fetch_add(1, Ordering::Relaxed)),
            // Another task was faster.
            "fork" => {}
            other => panic!("{other}"),
        }
    }
}

async fn tasks_and_processes_never_fork_a_chain(place: Place) {
    devices(&*place.ledger().await, DEVICES).await;
    let processes: Vec<_> = (1..=2).map(|number| worker::start(&format!("race {number}"), &place)).collect();
    // A third service, in this process.
    let mut won = eight_tasks(&place.service().await, 0).await;
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = worker::lines(&output);
        let line = lines.iter().find_map(|line| line.strip_prefix("won ")).unwrap();
        won += line.parse::<u64>().unwrap();
    }
    assert_eq!(won, u64::from(DEVICES) * RECORDS, "each record was acknowledged to one writer");
    assert_eq!(records(&*place.ledger().await, &Filter::default()).await.len() as u64, won);
    let report = place.report().await;
    assert!(report.ok(), "{report:?}");
}

/// Three nodes append groups of the same devices, each in another order: no deadlock, and each record is accepted once.
async fn groups_of_the_same_devices_take_turns(place: Place) {
    const GROUPS: usize = 30;
    let mut lifts = devices(&*place.ledger().await, DEVICES).await;
    let groups: Vec<Vec<Submission>> = (0..GROUPS).map(|_| lifts.iter_mut().map(next).collect()).collect();
    let accepted = Arc::new(AtomicU64::new(0));
    let mut nodes = Vec::new();
    for node in 0..3 {
        let (ledger, mut groups, accepted) = (place.ledger().await, groups.clone(), Arc::clone(&accepted));
        nodes.push(tokio::spawn(async move {
            for group in &mut groups {
                group.rotate_left(node);
                for name in append(&*ledger, group.clone()).await {
                    match name {
                        "accepted" => drop(accepted.fetch_add(1, Ordering::Relaxed)),
                        "duplicate" => {}
                        other => panic!("{other}"),
                    }
                }
            }
        }));
    }
    for node in nodes {
        node.await.unwrap();
    }
    let count = GROUPS as u64 * u64::from(DEVICES);
    assert_eq!(accepted.load(Ordering::Relaxed), count);
    assert_eq!(records(&*place.ledger().await, &Filter::default()).await.len() as u64, count);
    let verified = crate::common::verify(place.ledger().await, None).await;
    assert!(verified.ok(), "{verified:?}");
}

/// Waits until this number of connections to the database wait for a lock.
async fn wait_for_waiting(observer: &mut PgConnection, number: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *observer).await.unwrap() != number {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Appends that wait for the lock on a head see it as it is once they have it, not as it was when their statement began.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_moves_before_it_is_locked_decides() {
    let place = Place::new(Kind::Postgres).await;
    let ledger = place.ledger().await;
    let mut lifts = devices(&*ledger, 2).await;
    let (first, second) = (next(&mut lifts[0]), next(&mut lifts[0]));
    let fork = resigned(&lifts[0], &first, |record| record.timestamp_ms += 1);
    let other = next(&mut lifts[1]);
    let mut holder = PgConnection::connect(&place.url).await.unwrap();
    let mut observer = PgConnection::connect(&place.url).await.unwrap();
    holder.execute("BEGIN; SELECT FROM chain_heads WHERE device_id = 'lift-01' FOR UPDATE").await.unwrap();
    let mut appends = Vec::new();
    // The second group begins before the first one has moved the head, and continues it.
    for (number, group) in [(1, vec![first]), (2, vec![second, other.clone()]), (3, vec![fork, other])] {
        let node = place.ledger().await;
        appends.push(tokio::spawn(async move { append(&*node, group).await }));
        wait_for_waiting(&mut observer, number).await;
    }
    holder.execute("COMMIT").await.unwrap();
    let mut decisions = Vec::new();
    for append in appends {
        decisions.push(append.await.unwrap());
    }
    let by_place = |place: usize| {
        decisions.iter().filter_map(|of_group| of_group.get(place)).copied().collect::<Vec<_>>()
    };
    assert_eq!(by_place(0), ["accepted", "accepted", "fork"]);
    // The second and the third group race for the other device.
    let mut of_other = by_place(1);
    of_other.sort_unstable();
    assert_eq!(of_other, ["accepted", "duplicate"]);
    assert_eq!(records(&*ledger, &Filter::default()).await.len(), 3);
    assert!(crate::common::verify(ledger, None).await.ok());
}

/// A change of keys that an append waits for refuses the group.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_change_before_the_head_is_locked_refuse_the_group() {
    let place = Place::new(Kind::Postgres).await;
    let ledger = place.ledger().await;
    let mut lifts = devices(&*ledger, 2).await;
    let group = ledgers::entries(&*ledger, lifts.iter_mut().map(next).collect()).await;
    let mut holder = PgConnection::connect(&place.url).await.unwrap();
    let mut observer = PgConnection::connect(&place.url).await.unwrap();
    let change = "BEGIN; UPDATE chain_heads SET keys_version = keys_version + 1 WHERE device_id = 'lift-02'";
    holder.execute(change).await.unwrap();
    let node = Arc::clone(&ledger);
    let appended = tokio::spawn(async move { node.append(&group).await });
    wait_for_waiting(&mut observer, 1).await;
    holder.execute("COMMIT").await.unwrap();
    let appended: Result<Vec<Decision>, AppendError> = appended.await.unwrap();
    assert!(matches!(appended, Err(AppendError::KeysChanged)), "{appended:?}");
    assert!(records(&*ledger, &Filter::default()).await.is_empty());
    // No lock is left behind.
    let group = ledgers::entries(&*ledger, vec![next(&mut device(1))]).await;
    assert_eq!(ledgers::names(&ledger.append(&group).await.unwrap()), ["accepted"]);
}

/// An append is one statement on a connection that is not pinged before or after it.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_is_one_statement() {
    let place = Place::new(Kind::Postgres).await;
    let ledger = place.ledger().await;
    let mut lift = devices(&*ledger, 1).await.remove(0);
    let mut observer = PgConnection::connect(&place.url).await.unwrap();
    let mut statements = async || -> Vec<(i32, String)> {
        let last = "SELECT pid, split_part(query, ' ', 1) FROM pg_stat_activity
                    WHERE datname = current_database() AND query LIKE '%chain_heads%FOR UPDATE%' AND pid <> pg_backend_pid()";
        sqlx::query_as(last).fetch_all(&mut observer).await.unwrap()
    };
    for _ in 0..3 {
        assert_eq!(append(&*ledger, vec![next(&mut lift)]).await, ["accepted"]);
    }
    let seen = statements().await;
    assert_eq!(seen.iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>(), ["WITH"], "{seen:?}");
    let service = place.service().await;
    assert_eq!(names(&service.ingest_many(crate::common::chain(&mut lift, 5)).await), ["accepted"; 5]);
    assert_eq!(statements().await.len(), 2);
    // The ledger may be dropped outside of a runtime.
    std::thread::spawn(move || drop((ledger, service))).join().unwrap();
}
