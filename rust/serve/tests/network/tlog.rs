//! The transparency log over HTTP: the pure reader rebuilds the log from the served files, and verifies the served
//! proofs.

use std::sync::Arc;

use edgesentry_log::{
    Checkpoint, EntryBundle, Expected, KeyType, Leaf, Note, Policy, ProofFile, Proven, SignerKey,
    StatementKind, Tile, TileId, TileKind, Tree, TreeHash, new_tiles,
};
use edgesentry_rs::error::Component;
use edgesentry_rs::log::{Eraser, LogReader, TransparencyLog};
use edgesentry_rs::objects::{FolderObjects, Objects};
use edgesentry_serve::hash_of_token;

use crate::common::{Kind, Place, chain, devices};
use crate::serving::{Answer, Serving, settings};

pub const ORIGIN: &str = "log.example/lifts";
const PATHS: [&str; 7] = [
    "/log/checkpoint",
    "/log/tile/entries/000",
    "/api/v1/log/status",
    "/api/v1/log/proof?device_id=lift-01&sequence=1",
    "/api/v1/log/heads-proof?device_id=lift-01",
    "/api/v1/log/consistency?from=0",
    "/api/v1/log/receipt?device_id=lift-01&sequence=1",
];

pub fn key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [42; 32]).unwrap()
}

pub fn policy() -> Policy {
    Policy::parse(format!("log {}\nquorum none\n", key().verifier()).as_bytes()).unwrap()
}

fn token() -> String {
    ["reader", "admin"]
        .map(|name| {
            let scope = if name == "reader" { "read" } else { name };
            format!("[serve.tokens.{name}]\nhash = \"{}\"\nscopes = \"{scope}\"\n", hash_of_token(name))
        })
        .concat()
}

/// Starts a service with 3 devices of 100 records each, and signs a log of them.
async fn logged() -> (Serving, TransparencyLog, Place) {
    logged_with(&token()).await
}

/// Like [`logged`], with these settings.
pub async fn logged_with(toml: &str) -> (Serving, TransparencyLog, Place) {
    let place = Place::new(Kind::Sqlite).await;
    let service = place.service().await;
    let ledger = Arc::clone(service.ledger());
    let folder = place.path("log");
    std::fs::create_dir_all(&folder).unwrap();
    let objects: Arc<dyn Objects> =
        Arc::new(FolderObjects::open(&folder, Component::TransparencyLog).unwrap());
    let tables = ledger.log().unwrap();
    let log = TransparencyLog::new(tables, Arc::clone(&objects), Arc::clone(&objects), key(), 1000);
    log.init(1).await.unwrap();
    for lift in &mut devices(&*ledger, 3).await {
        service.ingest_many(chain(lift, 100)).await;
    }
    let reader = LogReader::new(ledger.log().unwrap(), objects);
    (Serving::with_log(service, &settings(toml), reader).await, log, place)
}

pub async fn sequence(log: &TransparencyLog) {
    let mut leader = log.lead().await.unwrap();
    log.sequence(&mut leader).await.unwrap();
}

async fn get(serving: &Serving, path: &str) -> Answer {
    let answer = serving.get(path, Some("reader")).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer
}

fn verify(answer: &Answer, expected: &Expected<'_>) -> Proven {
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    ProofFile::parse(&answer.body).unwrap().verify(&policy(), expected).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_rebuilt_from_the_served_files() {
    let (serving, log, _place) = logged().await;
    assert_eq!(
        serving.get("/log/checkpoint", Some("reader")).await.problem(),
        (404, "no_checkpoint".to_owned())
    );
    sequence(&log).await;
    let answer = get(&serving, "/log/checkpoint").await;
    assert_eq!(answer.header("cache-control"), "no-cache");
    let trusted = policy().evaluate(&Note::parse(&answer.body).unwrap()).unwrap();
    let size = trusted.checkpoint().size();
    let mut tree = Tree::default();
    let (mut records, mut full) = (0, 0);
    for id in new_tiles(0, size) {
        let answer = get(&serving, &format!("/log/{id}")).await;
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        let immutable = answer.header("cache-control").contains("immutable");
        assert_eq!(immutable, id.width() == 256, "{id}");
        full += u64::from(immutable);
        if id.kind() == TileKind::Entries {
            for leaf in EntryBundle::parse(id, &answer.body).unwrap().entries() {
                tree.push(TreeHash::of_leaf(leaf));
                records += u64::from(matches!(Leaf::parse(leaf), Ok(Leaf::Record(_))));
            }
        } else {
            let tile = Tile::parse(id, &answer.body).unwrap();
            assert_eq!(Some(tile), Tile::from_nodes(id, |node| tree.node(node)), "{id}");
        }
    }
    assert_eq!((records, full), (300, 2));
    assert_eq!((tree.size(), tree.root()), (size, trusted.checkpoint().root()));

    let status = get(&serving, "/api/v1/log/status").await.json();
    assert_eq!(status["size"], size);
    assert_eq!(status["origin"], ORIGIN);
    for path in [
        "tile/0/001.p/255",
        "tile/7/000",
        "tile/0/x000/001",
        "tile/0/0",
        "tile/../checkpoint",
        "lock/0000000001",
    ] {
        let answer = serving.get(&format!("/log/{path}"), Some("reader")).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    assert!("tile/0/001.p/255".parse::<TileId>().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn served_proofs_hold() {
    let (serving, log, _place) = logged().await;
    sequence(&log).await;
    let first = Note::parse(&get(&serving, "/log/checkpoint").await.body).unwrap();
    let mut more = edgesentry_chain::Device::from_seed("lift-09", [9; 32], edgesentry_chain::Scheme::Record);
    let ledger = serving.service.ledger();
    ledger.register(&crate::common::registration(&more)).await.unwrap();
    serving.service.ingest_many(chain(&mut more, 3)).await;
    let waiting = serving.get("/api/v1/log/proof?device_id=lift-09&sequence=3", Some("reader")).await;
    assert_eq!(waiting.problem(), (404, "not_logged".to_owned()));
    sequence(&log).await;

    for sequence in [1, 77, 100] {
        let path = format!("/api/v1/log/proof?device_id=lift-02&sequence={sequence}");
        let device_id = Some("lift-02");
        let expected = Expected { device_id, sequence: Some(sequence), ..Expected::default() };
        verify(&get(&serving, &path).await, &expected);
    }
    let kind =
        |kind, device_id| Expected { kind: Some(kind), device_id: Some(device_id), ..Expected::default() };
    let head = get(&serving, "/api/v1/log/heads-proof?device_id=lift-09").await;
    assert_eq!(verify(&head, &kind(StatementKind::Head, "lift-09")).statement.sequence(), Some(3));
    let absent = get(&serving, "/api/v1/log/heads-proof?device_id=lift-04").await;
    verify(&absent, &kind(StatementKind::Absence, "lift-04"));
    let size = Checkpoint::parse(first.text()).unwrap().size();
    let grown = get(&serving, &format!("/api/v1/log/consistency?from={size}")).await;
    verify(&grown, &Expected { previous: Some(&first), ..Expected::default() });

    // A run, and each kind at the first checkpoint.
    let run = get(&serving, "/api/v1/log/proof?device_id=lift-02&sequence=40&to_sequence=90").await;
    let of_run =
        Expected { last_sequence: Some(90), sequence: Some(40), ..kind(StatementKind::Run, "lift-02") };
    verify(&run, &of_run);
    for path in [
        format!("proof?device_id=lift-02&sequence=7&size={size}"),
        format!("proof?device_id=lift-02&sequence=7&to_sequence=9&size={size}"),
        format!("heads-proof?device_id=lift-09&size={size}"),
    ] {
        let proven = verify(&get(&serving, &format!("/api/v1/log/{path}")).await, &Expected::default());
        assert_eq!(proven.checkpoint.checkpoint().size(), size, "{path}");
    }
    let same = get(&serving, &format!("/api/v1/log/consistency?from={size}&size={size}")).await;
    verify(&same, &Expected { previous: Some(&first), ..Expected::default() });
    let unknown = serving.get("/api/v1/log/heads-proof?device_id=lift-02&size=7", Some("reader")).await;
    assert_eq!(unknown.problem(), (404, "no_checkpoint".to_owned()));

    for query in [
        "proof?device_id=lift-02",
        "proof?device_id=&sequence=1",
        "proof?device_id=lift-02&sequence=-1",
        "proof?device_id=a%00b&sequence=1",
        "proof?device_id=lift-02&sequence=2&to_sequence=1",
        "proof?device_id=lift-02&sequence=1&to_sequence=4097",
        "heads-proof",
        "consistency?from=99999",
        "consistency?from=x",
    ] {
        let answer = serving.get(&format!("/api/v1/log/{query}"), Some("reader")).await;
        assert_eq!(answer.problem(), (400, "malformed".to_owned()), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_with_a_token_only() {
    let (serving, log, _place) = logged().await;
    sequence(&log).await;
    let without = Serving::start(&token()).await;
    for path in PATHS {
        assert_eq!(serving.get(path, None).await.problem(), (401, "unauthenticated".to_owned()), "{path}");
        assert_eq!(get(&serving, path).await.status, 200);
        let answer = without.get(path, Some("reader")).await;
        assert_eq!(answer.problem(), (404, "no_log".to_owned()), "{path}");
    }
}

/// An administrator requests an erasure; the leader does the rest.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_is_requested_and_finished() {
    let (serving, log, place) = logged().await;
    let path = "/api/v1/erasures";
    let request = "{\"device_id\": \"lift-01\", \"sequence\": 7, \"reason\": \"request 7\"}";
    let post = async |token: &'static str, body: &'static str| {
        serving.post(path, &[("authorization", token)], body).await
    };
    assert_eq!(serving.post(path, &[], request).await.problem(), (401, "unauthenticated".to_owned()));
    assert_eq!(post("Bearer reader", request).await.problem(), (403, "scope_missing".to_owned()));
    let missing = "{\"device_id\": \"lift-01\", \"sequence\": 700, \"reason\": \"request 7\"}";
    assert_eq!(post("Bearer admin", missing).await.problem(), (404, "not_found".to_owned()));
    for wrong in [
        "{\"device_id\": \"lift-01\", \"sequence\": 7}",
        "{\"device_id\": \"lift-01\", \"sequence\": 7, \"reason\": \"\"}",
        "{\"device_id\": \"lift-01\", \"sequence\": 7, \"reason\": \"a\\nb\"}",
        "{\"device_id\": \"\", \"sequence\": 7, \"reason\": \"x\"}",
    ] {
        assert_eq!(post("Bearer admin", wrong).await.problem(), (400, "malformed".to_owned()), "{wrong}");
    }
    let noted = post("Bearer admin", request).await;
    assert_eq!((noted.status.as_u16(), &noted.json()["state"]), (202, &serde_json::json!("waiting")));
    sequence(&log).await;
    let (ledger, payloads) = (place.ledger().await, place.payloads().await);
    let finished = Eraser::new(log, ledger, payloads).finish_due().await.unwrap();
    assert_eq!(finished.erased, 1);
    let erased = post("Bearer admin", request).await;
    let answer = erased.json();
    assert_eq!((erased.status.as_u16(), &answer["state"]), (200, &serde_json::json!("erased")));
    assert!(answer["leaf"].as_u64().is_some_and(|leaf| leaf > 300), "{answer}");
    assert!(answer["erased_at_ms"].as_u64().is_some(), "{answer}");
}
