//! The device's outbox.

use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_rs::agent::{Outbox, Sink};
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::ingest::verify::{Outcome, Submission};
use edgesentry_rs::{Error, OutcomeKind, StoreError};

use crate::common::{Kind, Place, device, devices, head, registration};

async fn sign(agent: &Outbox, count: u64) {
    for _ in 0..count {
        let next = agent.head().await.unwrap().map_or(1, |head| head.sequence + 1);
        agent.sign(next, Bytes::from(format!("{next}")), &format!("lift-01/{next}.bin")).await.unwrap();
    }
}

#[tokio::test]
async fn records_leave_the_outbox_when_they_are_acknowledged() {
    let place = Place::new(Kind::Sqlite).await;
    let service = place.service().await;
    devices(&**service.ledger(), 1).await;
    let agent = Outbox::open(&place.path("outbox.db"), device(1)).await.unwrap();
    sign(&agent, 30).await;
    assert_eq!(agent.waiting().await.unwrap(), 30);
    let flushed = agent.flush(&service).await.unwrap();
    assert_eq!((flushed.accepted, flushed.duplicates, flushed.waiting), (30, 0, 0));
    assert_eq!(agent.waiting().await.unwrap(), 0);
    assert_eq!(agent.flush(&service).await.unwrap(), Default::default());
    // Reopened, it continues.
    drop(agent);
    let agent = Outbox::open(&place.path("outbox.db"), device(1)).await.unwrap();
    sign(&agent, 5).await;
    assert_eq!(agent.flush(&service).await.unwrap().accepted, 5);
    assert_eq!(head(&**service.ledger(), "lift-01").await, agent.head().await.unwrap());
    assert!(place.report().await.ok());
}

#[tokio::test]
async fn it_stops_at_the_first_rejection_and_keeps_all_behind_it() {
    let place = Place::new(Kind::Sqlite).await;
    let service = place.service().await;
    let agent = Outbox::open(&place.path("outbox.db"), device(1)).await.unwrap();
    sign(&agent, 10).await;
    for _ in 0..3 {
        let flushed = agent.flush(&service).await.unwrap();
        let rejection = flushed.rejection.unwrap();
        assert_eq!((rejection.sequence, rejection.code.as_str()), (1, "unknown_device"));
        assert_eq!(flushed.waiting, 10);
        assert_eq!(agent.rejection().await.unwrap(), Some(rejection));
    }
    service.register(&registration(&device(1))).await.unwrap();
    assert_eq!(agent.flush(&service).await.unwrap().accepted, 10);
    assert_eq!(agent.rejection().await.unwrap(), None);
    // After the first time only the rejected record is sent again.
    let log = service.ledger().operation_log(&Default::default()).await.unwrap();
    assert_eq!(log.iter().filter(|entry| entry.outcome == OutcomeKind::Rejected).count(), 10 + 2);
}

/// Loses responses, like a broken connection.
struct Lossy {
    service: IngestService,
    left: Mutex<usize>,
}

#[async_trait]
impl Sink for Lossy {
    async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        let answers = self.service.ingest_many(submissions).await;
        let mut left = self.left.lock().unwrap();
        let keep = (*left).min(answers.len());
        *left = left.saturating_sub(keep);
        let lost = || {
            Err(Error::Store(StoreError {
                component: edgesentry_rs::Component::AuditLedger,
                action: "hear the answer",
                place: "test".into(),
                kind: edgesentry_rs::FailureKind::Passing,
                source: Arc::new(std::io::Error::other("lost")),
            }))
        };
        answers.into_iter().enumerate().map(|(at, answer)| if at < keep { answer } else { lost() }).collect()
    }
}

#[tokio::test]
async fn lost_responses_only_cause_a_resend() {
    let place = Place::new(Kind::Sqlite).await;
    let service = place.service().await;
    devices(&**service.ledger(), 1).await;
    let agent = Outbox::open(&place.path("outbox.db"), device(1)).await.unwrap();
    sign(&agent, 20).await;
    let lossy = Lossy { service: service.clone(), left: Mutex::new(7) };
    assert!(agent.flush(&lossy).await.unwrap_err().is_retryable());
    assert_eq!(agent.waiting().await.unwrap(), 13);
    let flushed = agent.flush(&service).await.unwrap();
    assert_eq!((flushed.accepted, flushed.duplicates), (0, 13));
    assert!(place.report().await.ok());
}

#[tokio::test]
async fn an_outbox_belongs_to_one_device_and_one_chain() {
    let place = Place::new(Kind::Sqlite).await;
    let path = place.path("outbox.db");
    let (one, two) =
        (Outbox::open(&path, device(1)).await.unwrap(), Outbox::open(&path, device(1)).await.unwrap());
    // Two processes on one outbox continue one chain.
    for _ in 0..5 {
        sign(&one, 1).await;
        sign(&two, 1).await;
    }
    assert_eq!(one.head().await.unwrap().unwrap().sequence, 10);
    let service = place.service().await;
    devices(&**service.ledger(), 1).await;
    assert_eq!(two.flush(&service).await.unwrap().accepted, 10);
    assert!(matches!(Outbox::open(&path, device(2)).await, Err(Error::Outbox(_))));
    let mut ahead = device(1);
    crate::common::next(&mut ahead);
    assert!(matches!(Outbox::open(&path, ahead).await, Err(Error::Outbox(_))));
    // The outbox of a device that has signed before begins at its head.
    let mut resumed = device(3);
    crate::common::chain(&mut resumed, 4);
    let agent = Outbox::open(&place.path("third.db"), resumed.clone()).await.unwrap();
    assert_eq!(agent.head().await.unwrap(), resumed.head());
    let record = agent.sign(0, Bytes::new(), "x").await.unwrap();
    assert_eq!((record.sequence, record.prev_record_hash), (5, resumed.head().unwrap().hash));
}

#[tokio::test]
async fn a_record_that_no_ledger_can_store_is_not_signed() {
    let place = Place::new(Kind::Sqlite).await;
    let agent = Outbox::open(&place.path("outbox.db"), device(1)).await.unwrap();
    for (time, object_ref) in [(u64::MAX, "x"), (0, ""), (0, "a\0b"), (0, &*"x".repeat(1025))] {
        assert!(
            matches!(agent.sign(time, Bytes::new(), object_ref).await, Err(Error::Outbox(_))),
            "{object_ref:?}"
        );
    }
    let many = agent.sign_many((1..=100).map(|at| (at, Bytes::new(), format!("{at}")))).await.unwrap();
    assert_eq!((many.len(), many[99].sequence, agent.waiting().await.unwrap()), (100, 100, 100));
}
