//! One sender at a broker can neither stop the others, nor reach them through the service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::AuditRecord;
use edgesentry_rs::error::{Component, FailureKind, StoreError};
use edgesentry_rs::ingest::storage::{IngestService, Limits};
use edgesentry_rs::ingest::verify::{Admitted, Submission};
use edgesentry_rs::payload::{Leftovers, PayloadStore, Put, Version};
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_serve::Stopped;
use rumqttc::PublishProperties;
use serde_json::{Value, json};

use crate::common::{self, Kind, Place, devices, next};
use crate::mqtt::{Broker, Field, connected, series, serve};
use crate::serving::{Serving, settings, wire};
use crate::single::poll;

/// A payload store that fails below a reference while `fails` is set.
struct Failing {
    store: Arc<dyn PayloadStore>,
    below: &'static str,
    retryable: bool,
    fails: Arc<AtomicBool>,
}

#[async_trait]
impl PayloadStore for Failing {
    fn place(&self) -> &str {
        self.store.place()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        if self.fails.load(Ordering::Relaxed) && admitted.record().object_ref.starts_with(self.below) {
            return Err(StoreError {
                component: Component::RawDataStore,
                action: "store the payload",
                place: "here".into(),
                kind: if self.retryable { FailureKind::Passing } else { FailureKind::Setup },
                source: Arc::new(std::io::Error::other("not this one")),
            });
        }
        self.store.put(admitted).await
    }

    async fn get(&self, record: &AuditRecord) -> Result<Option<Bytes>, StoreError> {
        self.store.get(record).await
    }

    async fn versions(&self, record: &AuditRecord) -> Result<Vec<Version>, StoreError> {
        self.store.versions(record).await
    }

    fn names(&self, record: &AuditRecord) -> Vec<String> {
        self.store.names(record)
    }

    async fn erase(&self, record: &AuditRecord, name: &str) -> Result<Leftovers, StoreError> {
        self.store.erase(record, name).await
    }
}

async fn failing(
    place: &Place,
    broker: &Broker,
    (below, retryable): (&'static str, bool),
) -> (Serving, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(true));
    let store = place.payloads().await;
    let payloads = Arc::new(Failing { store, below, retryable, fails: Arc::clone(&fails) });
    let limits = Limits { attempts: 1, ..Limits::default() };
    let service = IngestService::start_with(place.ledger().await, payloads, limits, Metrics::new());
    (Serving::with(service, &settings(&broker.source("hold_seconds = 1\n"))).await, fails)
}

/// Returns the sequence, outcome, reason and retryable flag of an outcome.
fn told(outcome: &Value) -> (u64, &str, &str, bool) {
    let text = |name: &str| outcome[name].as_str().unwrap_or_default();
    let retryable = outcome["retryable"].as_bool().unwrap_or_default();
    (outcome["sequence"].as_u64().unwrap_or_default(), text("outcome"), text("reason"), retryable)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_stored_holds_up_no_other_device() {
    for retryable in [false, true] {
        let broker = Broker::start("");
        let place = Place::new(Kind::Sqlite).await;
        let (serving, _) = failing(&place, &broker, ("lift-02/2", retryable)).await;
        connected(&serving).await;
        let mut lifts = devices(&*place.ledger().await, 2).await;
        let mut honest = Field::at(&broker, "lift-01", &["edgesentry/lift-01/outcomes"]).await;
        let mut hostile = Field::at(&broker, "lift-02", &["edgesentry/lift-02/outcomes"]).await;
        let bad = common::chain(&mut lifts[1], 3);
        for submission in &bad {
            hostile.record(submission).await;
        }
        for sequence in 1..=3 {
            honest.record(&next(&mut lifts[0])).await;
            assert_eq!(told(&honest.outcome().await), (sequence, "accepted", "", false));
        }
        assert_eq!(told(&hostile.outcome().await), (1, "accepted", "", false));
        assert_eq!(told(&hostile.outcome().await), (2, "error", "store", retryable));
        let behind = hostile.outcome().await;
        assert_eq!(behind["sequence"], 3);
        assert_ne!(behind["outcome"], "accepted");
        assert_eq!(serving.get("/readyz", None).await.status, 200);
        // Nor after a restart, with such a record at the broker.
        hostile.record(&bad[1]).await;
        assert_eq!(serving.stop().await, Stopped::Finished);
        hostile.record(&bad[1]).await;
        let (serving, fails) = failing(&place, &broker, ("lift-02/2", retryable)).await;
        honest.record(&next(&mut lifts[0])).await;
        assert_eq!(told(&honest.outcome().await), (4, "accepted", "", false));
        while told(&hostile.outcome().await) != (2, "error", "store", retryable) {}
        // The device still has it: it is stored as soon as that is possible.
        fails.store(false, Ordering::Relaxed);
        hostile.record(&bad[1]).await;
        while told(&hostile.outcome().await) != (2, "accepted", "", false) {}
        assert_eq!(serving.stop().await, Stopped::Finished);
        assert!(place.report().await.findings.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_stores_fail_for_all_there_are_no_outcomes_and_the_service_is_not_ready() {
    let broker = Broker::start("");
    let place = Place::new(Kind::Sqlite).await;
    let (serving, fails) = failing(&place, &broker, ("lift-", true)).await;
    connected(&serving).await;
    let mut lifts = devices(&*place.ledger().await, 2).await;
    let mut field = Field::at(&broker, "field", &["edgesentry/+/outcomes"]).await;
    for lift in &mut lifts {
        field.record(&next(lift)).await;
    }
    let errors = || async {
        series(&serving.service, "edgesentry_ingest_error_total{component=\"raw_data_store\"}") >= 16.0
    };
    assert!(poll(errors).await);
    assert!(field.outcomes.try_recv().is_err());
    assert_eq!(serving.get("/readyz", None).await.problem(), (503, "not_ready".to_owned()));
    fails.store(false, Ordering::Relaxed);
    for _ in &lifts {
        assert_eq!(field.outcome().await["outcome"], "accepted");
    }
    assert_eq!(serving.get("/readyz", None).await.status, 200);
    assert_eq!(serving.stop().await, Stopped::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_publishes_nothing_to_others_on_behalf_of_a_sender() {
    let broker = Broker::start("");
    let place = Place::new(Kind::Sqlite).await;
    let serving = serve(&place, &broker, "responses = [\"replies/{device_id}\"]\n").await;
    connected(&serving).await;
    let mut lifts = devices(&*place.ledger().await, 2).await;
    let mut victim = Field::at(
        &broker,
        "lift-01",
        &["edgesentry/lift-01/outcomes", "edgesentry/lift-01/x", "replies/lift-01", "cmd/#"],
    )
    .await;
    let mut hostile =
        Field::at(&broker, "lift-02", &["edgesentry/lift-02/#", "replies/lift-02/#", "$SYS/x"]).await;
    let to = |topic: &str| PublishProperties {
        response_topic: Some(topic.to_owned()),
        correlation_data: Some(vec![b'x'; 2000].into()),
        ..PublishProperties::default()
    };
    let own = "edgesentry/lift-02/records";
    // If a record names another device, the outcome goes to the sender, which is the device of the topic.
    let genuine = next(&mut lifts[0]);
    let mut forged = (*genuine.record).clone();
    forged.timestamp_ms += 1;
    let forged = Submission { record: forged.into(), ..genuine.clone() };
    hostile.send(own, wire(&forged).to_string(), PublishProperties::default()).await;
    let mut outcome = hostile.outcome().await;
    while outcome["outcome"].is_null() {
        // Its own message, which it also receives.
        outcome = hostile.outcome().await;
    }
    assert_eq!((&outcome["outcome"], &outcome["reason"]), (&json!("rejected"), &json!("device_mismatch")));
    for foreign in
        ["cmd/door", "edgesentry/lift-01/outcomes", "edgesentry/lift-01/x", "replies/lift-01", "$SYS/x"]
    {
        hostile.send(own, wire(&forged).to_string(), to(foreign)).await;
    }
    hostile.send(own, wire(&next(&mut lifts[1])).to_string(), to("replies/lift-02/1")).await;
    loop {
        let (outcome, properties) = hostile.outcomes.recv().await.unwrap();
        if outcome["outcome"].is_null() {
            continue;
        }
        // The first outcome after those without a destination. Long correlation data is not returned.
        assert_eq!(outcome["outcome"], "accepted");
        assert_eq!(properties.unwrap().correlation_data, None);
        break;
    }
    victim.record(&genuine).await;
    assert_eq!(told(&victim.outcome().await), (1, "accepted", "", false));
    assert!(victim.outcomes.try_recv().is_err());
    assert_eq!(serving.stop().await, Stopped::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_on_topics_without_a_device_have_no_outcomes() {
    let broker = Broker::start("");
    let place = Place::new(Kind::Sqlite).await;
    let serving = serve(&place, &broker, "topics = [\"records\"]\n").await;
    connected(&serving).await;
    let mut lift = devices(&*place.ledger().await, 1).await.remove(0);
    let mut field = Field::at(&broker, "field", &["edgesentry/#", "cmd/#"]).await;
    for response_topic in [None, Some("cmd/door".to_owned())] {
        let properties = PublishProperties { response_topic, ..PublishProperties::default() };
        field.send("records", wire(&next(&mut lift)).to_string(), properties).await;
    }
    let accepted = || async { series(&serving.service, "edgesentry_ingest_accepted_total") == 2.0 };
    assert!(poll(accepted).await);
    assert_eq!(serving.stop().await, Stopped::Finished);
    assert!(field.outcomes.try_recv().is_err());
}
