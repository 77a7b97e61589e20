//! The transparency log while a service runs: its metrics, its leader, and the next start.

use std::sync::Arc;
use std::time::Duration;

use edgesentry_rs::ledger::{Filter, Ledger};
use edgesentry_rs::log::{Eraser, request_erasure};
use edgesentry_rs::objects::Objects;
use edgesentry_rs::telemetry::metrics::Metrics;
use tokio::task::JoinHandle;

use crate::common::{Kind, Place, devices, records};
use crate::log::{ingest, lead, log, objects, open};
use crate::metrics::value;
use crate::on_every_ledger;

on_every_ledger!(
    the_metrics_follow_the_log,
    a_reason_to_stop_is_shown_until_it_is_gone,
    a_batch_that_was_dropped_is_continued,
    another_node_takes_over,
    an_erasure_that_stays_open_is_shown,
    an_erased_payload_that_is_there_again_is_deleted,
);

const INTERVAL: Duration = Duration::from_millis(50);

/// A node that writes the log of a ledger, with its own connections.
struct Node {
    metrics: Metrics,
    task: JoinHandle<()>,
}

impl Node {
    async fn start(place: &Place, objects: &Arc<dyn Objects>) -> Node {
        let metrics = Metrics::new();
        let (ledger, payloads) = (place.ledger().await, place.payloads().await);
        let log = log(&ledger, objects, 1000);
        let eraser = Eraser::new(log.clone(), ledger, payloads);
        let task = tokio::spawn(log.keep(eraser, INTERVAL, metrics.clone()));
        Node { metrics, task }
    }

    fn value(&self, series: &str) -> f64 {
        value(&self.metrics, &format!("edgesentry_log_{series}"))
    }

    async fn reaches(&self, series: &str, expected: f64) {
        wait(&format!("{series} is {expected}"), || self.value(series) == expected).await;
    }

    async fn stop(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

pub async fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    panic!("not so after a long time: {what}");
}

/// Opens a log without a checkpoint.
async fn opened(place: &Place) -> (Arc<dyn Ledger>, Arc<dyn Objects>) {
    let (ledger, objects) = (place.ledger().await, objects(place).await);
    drop(open(&ledger, &objects).await);
    (ledger, objects)
}

async fn the_metrics_follow_the_log(place: Place) {
    let (ledger, objects) = opened(&place).await;
    let mut lifts = devices(&*ledger, 2).await;
    ingest(&place, &mut lifts, 20).await;
    let node = Node::start(&place, &objects).await;
    // Opened, two keys, the records, heads.
    node.reaches("checkpoint_size", 44.0).await;
    node.reaches("records_waiting", 0.0).await;
    node.reaches("leader", 1.0).await;
    assert_eq!(node.value("info{origin=\"log.example/lifts\"}"), 1.0);
    for sizes in [51.0, 58.0] {
        ingest(&place, &mut lifts, 3).await;
        node.reaches("checkpoint_size", sizes).await;
        let last = log(&ledger, &objects, 1000).status().await.unwrap().checkpoint.unwrap();
        assert_eq!(node.value("checkpoint_timestamp_seconds"), last.signed_at_ms as f64 / 1000.0);
    }
    assert!(
        !node
            .metrics
            .text()
            .lines()
            .any(|line| { line.starts_with("edgesentry_log_refusals_total") && !line.ends_with(" 0") })
    );
    node.stop().await;
}

async fn a_reason_to_stop_is_shown_until_it_is_gone(place: Place) {
    let (ledger, objects) = opened(&place).await;
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 2).await;
    let node = Node::start(&place, &objects).await;
    node.reaches("checkpoint_size", 5.0).await;
    node.stop().await;
    ingest(&place, &mut lifts, 3).await;
    let edit = "UPDATE audit_records SET timestamp_ms = timestamp_ms + 1 WHERE sequence = 4";
    place.tamper(edit).await;
    // On every start.
    for _ in 0..2 {
        let node = Node::start(&place, &objects).await;
        node.reaches("stopped{code=\"ledger_tampered\"}", 1.0).await;
        wait("it is counted", || node.value("refusals_total{code=\"ledger_tampered\"}") >= 2.0).await;
        node.reaches("leader", 0.0).await;
        // Three records have positions, and no checkpoint covers them.
        node.reaches("records_waiting", 3.0).await;
        assert_eq!(node.value("checkpoint_size"), 5.0);
        node.stop().await;
    }
    let node = Node::start(&place, &objects).await;
    node.reaches("stopped{code=\"ledger_tampered\"}", 1.0).await;
    place.tamper("UPDATE audit_records SET timestamp_ms = timestamp_ms - 1 WHERE sequence = 4").await;
    node.reaches("checkpoint_size", 9.0).await;
    node.reaches("stopped{code=\"ledger_tampered\"}", 0.0).await;
    node.reaches("leader", 1.0).await;
    node.reaches("records_waiting", 0.0).await;
    node.stop().await;
}

async fn a_batch_that_was_dropped_is_continued(place: Place) {
    let (ledger, objects) = opened(&place).await;
    let mut lifts = devices(&*ledger, 2).await;
    let mut size = 3.0;
    for round in 0..5 {
        ingest(&place, &mut lifts, 20).await;
        size += 41.0;
        // The task ends at a point of its round that differs from turn to turn.
        let node = Node::start(&place, &objects).await;
        tokio::time::sleep(Duration::from_millis(round * 9)).await;
        node.stop().await;
    }
    let node = Node::start(&place, &objects).await;
    // Opened, two keys, the records, and one heads leaf at least.
    wait("all records are signed", || node.value("checkpoint_size") >= 204.0).await;
    let signed = log(&ledger, &objects, 1000).status().await.unwrap().checkpoint.unwrap();
    wait("the checkpoint is seen", || node.value("checkpoint_size") == signed.size as f64).await;
    node.stop().await;
    // Batches that were merged have fewer heads leaves.
    assert!(signed.size as f64 <= size, "{signed:?}");
    finish(&ledger, &objects).await;
}

/// Finishes a round that was under way, and audits the log.
async fn finish(ledger: &Arc<dyn Ledger>, objects: &Arc<dyn Objects>) {
    let log = log(ledger, objects, 1000);
    log.sequence(&mut lead(&log).await).await.unwrap();
    crate::log::audit(&**objects, &**ledger).await;
}

async fn another_node_takes_over(place: Place) {
    let (ledger, objects) = opened(&place).await;
    let mut lifts = devices(&*ledger, 1).await;
    let mut nodes = vec![Node::start(&place, &objects).await, Node::start(&place, &objects).await];
    let leaders = |nodes: &[Node]| nodes.iter().map(|node| node.value("leader")).sum::<f64>();
    for _ in 0..2 {
        ingest(&place, &mut lifts, 1).await;
        wait("the record is signed", || nodes.iter().all(|node| node.value("records_waiting") == 0.0)).await;
        match place.kind {
            Kind::Postgres => {
                wait("a node leads", || leaders(&nodes) > 0.0).await;
                for _ in 0..20 {
                    assert_eq!(leaders(&nodes), 1.0);
                    tokio::time::sleep(INTERVAL / 5).await;
                }
            }
            // SQLite has no lasting lock: both take the lead in turns, and the log stays one.
            Kind::Sqlite => wait("both lead", || leaders(&nodes) == 2.0).await,
        }
        let leader = nodes.iter().position(|node| node.value("leader") == 1.0).unwrap();
        nodes.remove(leader).stop().await;
        wait("the other one leads", || leaders(&nodes) == 1.0).await;
        nodes.push(Node::start(&place, &objects).await);
    }
    ingest(&place, &mut lifts, 1).await;
    wait("the record is signed", || nodes.iter().all(|node| node.value("records_waiting") == 0.0)).await;
    for node in nodes {
        node.stop().await;
    }
    finish(&ledger, &objects).await;
}

async fn an_erasure_that_stays_open_is_shown(place: Place) {
    let (ledger, objects) = opened(&place).await;
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 2).await;
    let tables = ledger.log().unwrap();
    for sequence in [1, 2] {
        request_erasure(&*tables, "lift-01", sequence, "request 7").await.unwrap();
    }
    // One is locked, and the other one failed.
    let locked = "UPDATE erasures SET at_ms = 5000, problem = 'Object Lock keeps 1 version', retry_at_ms = 9000000000000000
                  WHERE sequence = 1";
    let failed = "UPDATE erasures SET at_ms = 7000, problem = 'denied', retry_at_ms = 9000000000000000 WHERE sequence = 2";
    for update in [locked, failed] {
        place.tamper(update).await;
    }
    let node = Node::start(&place, &objects).await;
    node.reaches("erasures_open", 2.0).await;
    assert_eq!(node.value("erasures_oldest_timestamp_seconds"), 7.0);
    place.tamper("UPDATE erasures SET retry_at_ms = NULL WHERE sequence = 2").await;
    node.reaches("erasures_open", 1.0).await;
    node.reaches("erasures_oldest_timestamp_seconds", 0.0).await;
    // The lock has ended.
    place.tamper("UPDATE erasures SET retry_at_ms = 1 WHERE sequence = 1").await;
    node.reaches("erasures_open", 0.0).await;
    node.stop().await;
}

async fn an_erased_payload_that_is_there_again_is_deleted(place: Place) {
    let (ledger, objects) = opened(&place).await;
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 2).await;
    let record = records(&*ledger, &Filter::default()).await.remove(0);
    if place.kind == Kind::Sqlite {
        place.tamper("CREATE TABLE kept AS SELECT * FROM record_payloads").await;
    }
    let (tables, payloads) = (ledger.log().unwrap(), place.payloads().await);
    request_erasure(&*tables, "lift-01", 1, "request 7").await.unwrap();
    let node = Node::start(&place, &objects).await;
    let is_erased = async || {
        let row = tables.erasure("lift-01", 1).await.unwrap().unwrap();
        row.erased_at_ms.is_some() && payloads.get(&record).await.unwrap().is_none()
    };
    for _ in 0..3 {
        for turn in 0.. {
            if is_erased().await {
                break;
            }
            assert!(turn < 1000, "the payload stays");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        // As a node that was killed before the commit leaves it.
        match place.kind {
            Kind::Sqlite => {
                place
                    .tamper(
                        "INSERT INTO record_payloads SELECT * FROM kept WHERE true ON CONFLICT DO NOTHING",
                    )
                    .await
            }
            Kind::Postgres => place.write_payload(&record, "lift-01 1"),
        }
    }
    node.stop().await;
}
