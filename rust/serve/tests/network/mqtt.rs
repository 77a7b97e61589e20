//! Records from an MQTT broker: Mosquitto, with and without TLS, across restarts.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use edgesentry_chain::AuditRecord;
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::ingest::storage::Limits;
use edgesentry_rs::ingest::verify::Submission;
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_serve::{MqttSource, Stopped};
use rumqttc::{
    AsyncClient, Event, MqttOptions, Packet, PublishOptions, PublishProperties, QoS, TlsConfiguration,
    Transport,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::common::{self, Kind, Place, devices, next, resigned};
use crate::secure::Authority;
use crate::serving::{Serving, settings, wire};
use crate::single::poll;

/// A Mosquitto for one test.
pub struct Broker {
    folder: TempDir,
    port: u16,
    /// Lines for its settings.
    more: String,
}

impl Broker {
    pub fn start(more: &str) -> Broker {
        let mut broker = Broker { folder: TempDir::new().unwrap(), port: 0, more: more.to_owned() };
        broker.port = broker.run("start", &[]).parse().unwrap();
        broker
    }

    fn run(&self, command: &str, more: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers/mosquitto");
        let mut run = Command::new(script);
        run.arg(command).arg(self.folder.path().join("broker")).args(more);
        let mut child = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // A stop does not read stdin.
        let _ = child.stdin.take().unwrap().write_all(self.more.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "mosquitto {command}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn kill(&self) {
        self.run("stop", &["KILL"]);
    }

    /// Starts it again on the same port, with its stored state.
    fn resume(&self) {
        self.run("start", &[&self.port.to_string()]);
    }

    pub fn source(&self, more: &str) -> String {
        let port = self.port;
        let scheme = if self.more.contains("certfile") { "mqtts" } else { "mqtt" };
        format!(
            "[serve.mqtt]\nbroker = \"{scheme}://localhost:{port}\"\nclient_id = \"node\"\n\
             outcomes = \"edgesentry/{{device_id}}/outcomes\"\n{more}"
        )
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.run("stop", &[]);
    }
}

/// A device in the field, or another client of the broker.
pub struct Field {
    client: AsyncClient,
    pub outcomes: mpsc::UnboundedReceiver<(Value, Option<PublishProperties>)>,
    polling: tokio::task::JoinHandle<()>,
}

impl Drop for Field {
    /// Otherwise it would reconnect and replace the next client of the same name.
    fn drop(&mut self) {
        self.polling.abort();
    }
}

impl Field {
    async fn join(options: MqttOptions, topics: &[&str]) -> Field {
        let mut options = options;
        options.set_max_packet_size(Some(4 << 20));
        let (client, mut events) = AsyncClient::builder(options).capacity(4096).build();
        let wanted: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let again = client.clone();
        let (sender, outcomes) = mpsc::unbounded_channel();
        let (ready, mut subscribed) = mpsc::unbounded_channel();
        let polling = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    // A broker forgets the subscriptions with every connection.
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        for topic in &wanted {
                            again.try_subscribe(topic.clone(), QoS::AtLeastOnce).unwrap();
                        }
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => drop(ready.send(())),
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let outcome = serde_json::from_slice(&publish.payload).unwrap();
                        if sender.send((outcome, publish.properties)).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        for _ in topics {
            subscribed.recv().await.unwrap();
        }
        Field { client, outcomes, polling }
    }

    pub async fn at(broker: &Broker, name: &str, topics: &[&str]) -> Field {
        Field::join(MqttOptions::new(name, ("localhost", broker.port)), topics).await
    }

    pub async fn send(&self, topic: &str, text: impl Into<Vec<u8>>, properties: PublishProperties) {
        let options = PublishOptions::new(QoS::AtLeastOnce).properties(properties);
        self.client.publish(topic, text.into(), options).await.unwrap();
    }

    pub async fn record(&self, submission: &Submission) {
        let topic = format!("edgesentry/{}/records", submission.record.device_id);
        self.send(&topic, wire(submission).to_string(), PublishProperties::default()).await;
    }

    pub async fn outcome(&mut self) -> Value {
        self.outcomes.recv().await.unwrap().0
    }
}

/// Starts a service with metrics of its own.
pub async fn serve(place: &Place, broker: &Broker, more: &str) -> Serving {
    let service = place.service_with(Limits::default(), Metrics::new()).await;
    Serving::with(service, &settings(&broker.source(more))).await
}

pub fn series(service: &IngestService, name: &str) -> f64 {
    let text = service.metrics().text();
    let line = text.lines().find(|line| line.starts_with(name));
    line.map_or(0.0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

pub async fn connected(serving: &Serving) {
    assert!(poll(|| async { series(&serving.service, "edgesentry_mqtt_connected{") == 1.0 }).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_decided_and_their_outcomes_published() {
    let broker = Broker::start("");
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = Place::new(kind).await;
        let serving = serve(&place, &broker, "in_flight = 16\n").await;
        connected(&serving).await;
        let mut lift = devices(&*place.ledger().await, 1).await.remove(0);
        let mut field =
            Field::at(&broker, "lift-01", &["edgesentry/lift-01/outcomes", "edgesentry/lift-01/replies"])
                .await;
        let chain = common::chain(&mut lift, 100);
        for submission in &chain {
            field.record(submission).await;
        }
        for sequence in 1..=100 {
            let wanted = json!({"device_id": "lift-01", "sequence": sequence, "outcome": "accepted"});
            assert_eq!(field.outcome().await, wanted);
        }
        // A sender that requests a response topic gets its outcome there.
        let properties = PublishProperties {
            response_topic: Some("edgesentry/lift-01/replies".to_owned()),
            correlation_data: Some("seven".into()),
            ..PublishProperties::default()
        };
        field.send("edgesentry/lift-01/records", wire(&chain[6]).to_string(), properties).await;
        let (outcome, properties) = field.outcomes.recv().await.unwrap();
        assert_eq!((&outcome["outcome"], &outcome["sequence"]), (&json!("duplicate"), &json!(7)));
        let properties = properties.unwrap();
        assert_eq!(properties.correlation_data.as_deref(), Some(&b"seven"[..]));
        assert_eq!(properties.content_type.as_deref(), Some("application/json"));
        // Rejections report the reason, and the records behind them are accepted.
        let mut forged = (*chain[99].record).clone();
        forged.sequence = 101;
        field.record(&Submission { record: forged.into(), ..chain[99].clone() }).await;
        let outcome = field.outcome().await;
        assert_eq!(
            (&outcome["outcome"], &outcome["reason"]),
            (&json!("rejected"), &json!("signature_invalid"))
        );
        let fork = resigned(&lift, &chain[98], |record| record.timestamp_ms += 1);
        field.record(&fork).await;
        assert_eq!(field.outcome().await["reason"], "fork");
        field.record(&next(&mut lift)).await;
        assert_eq!(field.outcome().await["outcome"], "accepted");
        assert_eq!(serving.stop().await, Stopped::Finished);
        assert_eq!(common::head(&*place.ledger().await, "lift-01").await.unwrap().sequence, 101);
        assert!(place.report().await.findings.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_topic_is_refused() {
    let broker = Broker::start("");
    let place = Place::new(Kind::Sqlite).await;
    let serving = serve(&place, &broker, "").await;
    connected(&serving).await;
    let mut devices = devices(&*place.ledger().await, 2).await;
    let mut field = Field::at(&broker, "field", &["edgesentry/+/outcomes", "edgesentry/+/replies"]).await;
    let to = |topic: &str| PublishProperties {
        response_topic: Some(topic.to_owned()),
        ..PublishProperties::default()
    };
    let first = next(&mut devices[0]);
    // The broker controls access to a topic; the record must be of the device that the topic names.
    field
        .send("edgesentry/lift-02/records", wire(&first).to_string(), to("edgesentry/lift-02/replies"))
        .await;
    let outcome = field.outcome().await;
    assert_eq!((&outcome["outcome"], &outcome["reason"]), (&json!("rejected"), &json!("device_mismatch")));
    for text in ["", "{", "[]", "{\"record\":{}}", "\u{0}\u{1}"] {
        field.send("edgesentry/lift-01/records", text, to("edgesentry/lift-01/replies")).await;
        assert_eq!(field.outcome().await["reason"], "malformed", "{text:?}");
    }
    // The topic names the device of the outcome, for any message. An outcome that would return to the service is not
    // sent.
    field.send("edgesentry/lift-01/records", "{", PublishProperties::default()).await;
    assert_eq!(field.outcome().await["reason"], "malformed");
    field.send("edgesentry/lift-01/records", "{", to("edgesentry/lift-01/records")).await;
    field.record(&first).await;
    assert_eq!(field.outcome().await["outcome"], "accepted");
    assert_eq!(serving.stop().await, Stopped::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_acknowledged_when_its_record_is_durable_and_not_before() {
    let broker = Broker::start("");
    let place = Place::new(Kind::Sqlite).await;
    let serving = serve(&place, &broker, "").await;
    connected(&serving).await;
    let mut lift = devices(&*place.ledger().await, 1).await.remove(0);
    let mut field = Field::at(&broker, "lift-01", &["edgesentry/lift-01/outcomes"]).await;
    place
        .tamper("CREATE TRIGGER full BEFORE INSERT ON audit_records BEGIN SELECT RAISE(ABORT, 'full'); END")
        .await;
    let chain = common::chain(&mut lift, 20);
    for submission in &chain {
        field.record(submission).await;
    }
    // Tried and retried; nothing is decided.
    let tried = || async {
        series(&serving.service, "edgesentry_ingest_error_total{component=\"audit_ledger\"}") >= 3.0
    };
    assert!(poll(tried).await);
    assert!(field.outcomes.try_recv().is_err());
    // The node stops; the broker still has the messages.
    serving.stop().await;
    place.tamper("DROP TRIGGER full").await;
    let serving = serve(&place, &broker, "").await;
    for sequence in 1..=20 {
        let wanted = json!({"device_id": "lift-01", "sequence": sequence, "outcome": "accepted"});
        assert_eq!(field.outcome().await, wanted);
    }
    // No message is left: the next outcome is that of the next record.
    serving.stop().await;
    let serving = serve(&place, &broker, "").await;
    field.record(&next(&mut lift)).await;
    assert_eq!(field.outcome().await["sequence"], 21);
    serving.stop().await;
    assert!(place.report().await.findings.is_empty());
}

/// How often the test kills the broker.
const KILLS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_costs_nothing_that_was_acknowledged() {
    let broker = Broker::start("");
    let place = Place::new(Kind::Postgres).await;
    let serving = serve(&place, &broker, "in_flight = 8\n").await;
    let mut lifts = devices(&*place.ledger().await, 3).await;
    let mut field = Field::at(&broker, "field", &["edgesentry/+/outcomes"]).await;
    let mut open: BTreeMap<(String, u64), Submission> = BTreeMap::new();
    for kill in 0..=KILLS {
        for lift in &mut lifts {
            for submission in common::chain(lift, 40) {
                open.insert(key(&submission.record), submission);
            }
        }
        for submission in open.values() {
            field.record(submission).await;
        }
        // Some of it is decided before the broker is killed.
        settle(&mut field, &mut open, if kill == KILLS { 0 } else { 60 }).await;
        if kill < KILLS {
            broker.kill();
            let gone = || async { series(&serving.service, "edgesentry_mqtt_connected{") == 0.0 };
            assert!(poll(gone).await);
            broker.resume();
            connected(&serving).await;
        }
    }
    for lift in &lifts {
        let head = common::head(&*place.ledger().await, lift.device_id()).await.unwrap();
        assert_eq!(Some(head.sequence), lift.head().map(|head| head.sequence));
    }
    assert_eq!(serving.stop().await, Stopped::Finished);
    assert!(place.report().await.findings.is_empty());
}

fn key(record: &AuditRecord) -> (String, u64) {
    (record.device_id.clone(), record.sequence)
}

/// Receives outcomes until at most `until` records are open; after a silence the device sends the open records again.
async fn settle(field: &mut Field, open: &mut BTreeMap<(String, u64), Submission>, until: usize) {
    while open.len() > until {
        match tokio::time::timeout(Duration::from_secs(2), field.outcome()).await {
            Ok(outcome) => {
                let device_id = outcome["device_id"].as_str().unwrap().to_owned();
                // A resend fills a gap.
                if matches!(outcome["outcome"].as_str(), Some("accepted" | "duplicate")) {
                    open.remove(&(device_id, outcome["sequence"].as_u64().unwrap()));
                } else {
                    assert_eq!(outcome["reason"], "sequence_gap", "{outcome}");
                }
            }
            Err(_) => {
                for submission in open.values() {
                    field.record(submission).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_certificates_are_checked_both_ways() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.issue("broker", &["localhost"]);
    let ca = authority.path("ca.pem");
    let broker = Broker::start(&format!(
        "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n",
        ca.display(),
        certificate.display(),
        key.display()
    ));
    let (node, node_key) = authority.issue("node", &["node"]);
    let identity = format!("certificate = {node:?}\nkey = {node_key:?}\n");
    let place = Place::new(Kind::Sqlite).await;
    let mut lift = devices(&*place.ledger().await, 1).await.remove(0);
    for wrong in [format!("ca = {:?}\n{identity}", stranger.path("ca.pem")), format!("ca = {ca:?}\n")] {
        let serving = serve(&place, &broker, &wrong).await;
        // It tries and does not connect; the service continues and stops as usual.
        let known = || async { serving.service.metrics().text().contains("edgesentry_mqtt_connected{") };
        assert!(poll(known).await);
        assert_eq!(series(&serving.service, "edgesentry_mqtt_connected{"), 0.0, "{wrong}");
        assert_eq!(serving.stop().await, Stopped::Finished);
    }
    let right = format!("ca = {ca:?}\n{identity}");
    let serving = serve(&place, &broker, &right).await;
    connected(&serving).await;
    let mut options = MqttOptions::new("lift-01", ("localhost", broker.port));
    let (device, device_key) = authority.issue("device", &["lift-01"]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(device).unwrap()],
            PrivateKeyDer::from_pem_file(device_key).unwrap(),
        )
        .unwrap();
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config))));
    let mut field = Field::join(options, &["edgesentry/lift-01/outcomes"]).await;
    field.record(&next(&mut lift)).await;
    assert_eq!(field.outcome().await["outcome"], "accepted");
    assert_eq!(serving.stop().await, Stopped::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_reported_before_a_connection() {
    let place = Place::new(Kind::Sqlite).await;
    let service = place.service().await;
    for (toml, told) in [
        ("broker = \"http://x\"\nclient_id = \"a\"", "serve.mqtt.broker"),
        ("broker = \"mqtt://x\"\nclient_id = \"\"", "serve.mqtt.client_id"),
        ("broker = \"mqtt://x\"\nclient_id = \"a\"\ntopics = \"a/#/b\"", "serve.mqtt.topics"),
        ("broker = \"mqtt://x\"\nclient_id = \"a\"\nca = \"/ca\"", "mqtts://"),
        ("broker = \"mqtt://x\"\nclient_id = \"a\"\nresponses = \"replies\"", "serve.mqtt.responses"),
        ("broker = \"mqtts://x\"\nclient_id = \"a\"\nca = \"/nowhere/ca.pem\"", "/nowhere/ca.pem"),
        ("broker = \"mqtts://x\"\nclient_id = \"a\"\ncertificate = \"/c\"", "must be set together"),
        ("broker = \"mqtt://x\"\nclient_id = \"a\"\npassword = \"secret\"", "serve.mqtt.password"),
        (
            "broker = \"mqtt://x\"\nclient_id = \"a\"\noutcomes = \"edgesentry/{device_id}/records\"",
            "serve.mqtt.outcomes",
        ),
    ] {
        let settings = settings(&format!("[serve.mqtt]\n{toml}\n")).mqtt.unwrap();
        let error = MqttSource::new(service.clone(), &settings).err().unwrap().to_string();
        assert!(error.contains(told) && !error.contains("secret"), "{toml}: {error}");
    }
}
