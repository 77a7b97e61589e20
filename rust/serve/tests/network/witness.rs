//! A witness over HTTP (C2SP tlog-witness), asked by hand and by the log.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::Request;
use bytes::Bytes;
use edgesentry_formats::describe;
use edgesentry_log::{
    AddCheckpoint, Checkpoint, KeyType, Note, Policy, SignerKey, Tree, TreeHash, WitnessedLogs,
    consistency_path, read_cosignature, witness_path,
};
use edgesentry_rs::Settings;
use edgesentry_rs::ledger::{
    PostgresSettings, WitnessAccess, WitnessTables, WitnessedChange, WitnessedRow, open_witness,
};
use edgesentry_rs::log::{Stores, Witness};
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_serve::{Server, Stopped};
use http_body_util::Full;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::common::{Kind, Place, chain, devices};
use crate::serving::{Answer, call, settings};

const ORIGIN: &str = "log.example/lifts";

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [42; 32]).unwrap()
}

fn witness_key() -> SignerKey {
    SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [7; 32]).unwrap()
}

/// A running witness.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Stopped>,
    tables: Arc<dyn WitnessTables>,
    _place: Place,
}

impl Running {
    async fn start() -> Running {
        let place = Place::new(Kind::Sqlite).await;
        let state = format!("sqlite:{}", place.path("witness.db").display());
        let tables =
            open_witness(&state.into(), WitnessAccess::Create, &PostgresSettings::default()).await.unwrap();
        let logs = WitnessedLogs::parse(format!("log {}\n", log_key().verifier()).as_bytes()).unwrap();
        let witness = Witness::start(Arc::clone(&tables), logs, witness_key(), Metrics::new());
        let server = Server::bind_witness(witness, &settings("")).await.unwrap();
        let address = server.addresses()[0];
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Running { address, stop, task, tables, _place: place }
    }

    async fn get(&self, path: &str) -> Answer {
        call(Request::get(format!("http://{}/{path}", self.address)).body(Full::default()).unwrap()).await
    }

    async fn add(&self, request: impl Into<Bytes>) -> Answer {
        let url = format!("http://{}/add-checkpoint", self.address);
        call(Request::post(url).body(Full::new(request.into())).unwrap()).await
    }
}

fn tree(size: u8) -> Tree {
    let mut tree = Tree::default();
    (0..size).for_each(|n| tree.push(TreeHash::of_leaf(&[n])));
    tree
}

fn request(old: u8, size: u8) -> String {
    let tree = tree(size);
    let proof = consistency_path(old.into(), size.into(), |node| tree.node(node)).unwrap();
    let note = Checkpoint::new(ORIGIN, size.into(), tree.root()).unwrap().sign(&log_key()).unwrap();
    AddCheckpoint::new(old.into(), proof, note).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_follows_the_protocol() {
    let running = Running::start().await;
    let path = witness_path(ORIGIN);
    assert_eq!(running.get(&path).await.status, 404);
    let answer = running.add(request(0, 3)).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/plain; charset=utf-8"));
    let text = Checkpoint::new(ORIGIN, 3, tree(3).root()).unwrap().to_string();
    read_cosignature(&answer.body, &text, witness_key().verifier()).unwrap();

    let answer = running.add(request(0, 5)).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (409, "text/x.tlog.size"));
    assert_eq!(&answer.body[..], b"3\n");
    let other = Checkpoint::new("other.example", 3, tree(3).root()).unwrap();
    let other =
        other.sign(&SignerKey::from_seed("other.example", KeyType::Ed25519, [1; 32]).unwrap()).unwrap();
    let forged = Checkpoint::new(ORIGIN, 3, TreeHash::EMPTY).unwrap().sign(&log_key()).unwrap();
    let strange =
        Note::sign(&text, &SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [9; 32]).unwrap()).unwrap();
    let of = |note| AddCheckpoint::new(3, Vec::new(), note).unwrap().to_string();
    for (request, status) in [
        (String::new(), 400),
        (of(other), 404),
        (of(strange), 403),
        (of(forged), 422),
        ("x".repeat(16 << 10 | 1), 413),
    ] {
        let answer = running.add(request).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert!(!answer.body.is_empty() && !String::from_utf8_lossy(&answer.body).contains(".db"));
    }
    assert_eq!(running.add(request(3, 200)).await.status, 200);

    let answer = running.get(&path).await;
    let note = Note::parse(&answer.body).unwrap();
    let (log, own) = (log_key(), witness_key());
    assert_eq!(note.verify([log.verifier(), own.verifier()]).unwrap().len(), 2);
    assert_eq!(answer.header("cache-control"), "no-cache");
    for (path, status) in [
        ("healthz", 200),
        ("readyz", 200),
        ("add-checkpoint", 405),
        ("metrics", 404),
        ("0000/checkpoint", 404),
        ("api/v1/heads", 404),
    ] {
        assert_eq!(running.get(path).await.status.as_u16(), status, "{path}");
    }
    drop(running.stop);
    assert_eq!(running.task.await.unwrap(), Stopped::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_needs_the_operator_is_not_retryable() {
    let running = Running::start().await;
    assert_eq!(running.get("readyz").await.status, 200);
    let (origin, root) = (ORIGIN.to_owned(), tree(3).root());
    let note = Checkpoint::new(ORIGIN, 3, root).unwrap().sign(&log_key()).unwrap().to_string().into_bytes();
    let at = edgesentry_formats::times::now_ms() / 1000 + 5000;
    let to = WitnessedRow { origin, size: 3, root, note, at };
    let made = running.tables.swap(vec![WitnessedChange { from: None, to }], Vec::new()).await.unwrap();
    assert_eq!(made, [true]);
    let answer = running.add(request(3, 5)).await;
    assert_eq!(answer.status.as_u16(), 500);
    assert!(String::from_utf8_lossy(&answer.body).contains("its operator"), "{answer:?}");
    let answer = running.get("readyz").await;
    assert_eq!(answer.status.as_u16(), 503);
    assert!(String::from_utf8_lossy(&answer.body).contains("clock is"), "{answer:?}");
}

/// Settings of a ledger with a log and a policy.
fn log_settings(place: &Place, policy: &str) -> Settings {
    edgesentry_formats::create_seed_file(&place.path("log.seed"), &edgesentry_formats::Seed::new([42; 32]))
        .unwrap();
    std::fs::write(place.path("policy"), policy).unwrap();
    let path = |name| place.path(name).display().to_string();
    let toml = format!(
        "ledger = \"{}\"\n[log]\norigin = \"{ORIGIN}\"\nkey = \"{}\"\npolicy = \"{}\"\n",
        place.url,
        path("log.seed"),
        path("policy")
    );
    std::fs::write(place.path("eds.toml"), toml).unwrap();
    Settings::load(Some(&place.path("eds.toml")), &Default::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_asks_the_witnesses_of_its_policy() {
    let (running, place) = (Running::start().await, Place::new(Kind::Sqlite).await);
    // Nothing listens at the URL of the second one.
    let second = SignerKey::from_seed("second.example", KeyType::CosignatureV1, [8; 32]).unwrap();
    let policy = format!(
        "log {}\nwitness first {} http://{}\nwitness second {} http://127.0.0.1:9/prefix\ngroup any any first second\nquorum any\n",
        log_key().verifier(),
        witness_key().verifier(),
        running.address,
        second.verifier()
    );
    let settings = log_settings(&place, &policy);
    let service = place.service().await;
    let ledger = Arc::clone(service.ledger());
    let file = settings.ledger_file();
    let log = settings.log.open(&*ledger, file.as_deref(), &settings.s3, Stores::Create).await.unwrap();
    log.init(1).await.unwrap();
    let mut lift = devices(&*ledger, 1).await.remove(0);
    for round in 1..=3_u64 {
        service.ingest_many(chain(&mut lift, 2)).await;
        log.sequence(&mut log.lead().await.unwrap()).await.unwrap();
        let note = std::fs::read(place.path("ledger.db.log/log/checkpoint")).unwrap();
        let trusted =
            Policy::parse(policy.as_bytes()).unwrap().evaluate(&Note::parse(&note).unwrap()).unwrap();
        assert_eq!(trusted.checkpoint().size(), 2 + 3 * round);
        let shown = running.get(&witness_path(ORIGIN)).await.body;
        assert_eq!(Note::parse(&shown).unwrap().text(), trusted.checkpoint().to_string());
    }
    // A note has room for 64 signatures.
    let many: String = (0..64_u8)
        .map(|n| {
            let key = SignerKey::from_seed("many.example", KeyType::CosignatureV1, [100 + n; 32]).unwrap();
            format!("witness many{n} {}\n", key.verifier())
        })
        .collect();
    let crowded = format!("log {}\n{many}quorum many0\n", log_key().verifier());
    // A policy must be about this log.
    let other = SignerKey::from_seed("other.example", KeyType::Ed25519, [42; 32]).unwrap();
    let wrong = [
        (format!("log {}\nquorum none\n", other.verifier()), "no line `log log.example/lifts"),
        ("quorum\n".to_owned(), "line 1 of the policy"),
        (policy.replace("http://127.0.0.1:9/prefix", "ftp://x"), "witness second"),
        (crowded, "has room for the signatures of 63"),
    ];
    for (policy, problem) in wrong {
        std::fs::write(place.path("policy"), policy).unwrap();
        let error =
            settings.log.open(&*ledger, file.as_deref(), &settings.s3, Stores::Create).await.err().unwrap();
        let error = describe(&error);
        assert!(error.contains(problem), "{error}");
    }
}
