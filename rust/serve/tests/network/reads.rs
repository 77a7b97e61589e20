//! Reads: access control and formats.

use edgesentry_chain::escape::is_unseen;
use edgesentry_chain::{Checks, Device, Scheme};
use edgesentry_formats::{Options, Source};
use edgesentry_rs::ledger::Registration;
use edgesentry_serve::hash_of_token;
use serde_json::{Value, json};

use crate::common::{all, chain, device, devices, names, registered_keys, resigned};
use crate::serving::{Serving, call, wire};

const PATHS: [&str; 5] =
    ["/api/v1/devices", "/api/v1/heads", "/api/v1/records", "/api/v1/log", "/api/v1/export"];

fn tokens() -> String {
    let token = |name: &str, scopes: &str| {
        let hash = hash_of_token(name);
        format!("[serve.tokens.{name}]\nhash = \"{hash}\"\nscopes = \"{scopes}\"\n")
    };
    token("reader", "read") + &token("keeper", "admin,read") + &token("gateway", "ingest")
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_require_a_token_with_the_scope() {
    let serving = Serving::start(&tokens()).await;
    for path in PATHS {
        let answer = serving.get(path, None).await;
        assert_eq!(answer.problem(), (401, "unauthenticated".to_owned()), "{path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(serving.get(path, Some("nobody")).await.problem().0, 401);
        assert_eq!(serving.get(path, Some("gateway")).await.problem(), (403, "scope_missing".to_owned()));
        assert_eq!(serving.get(path, Some("reader")).await.status, 200, "{path}");
    }
    let register = serving.post("/api/v1/devices", &[("authorization", "Bearer reader")], "{}").await;
    assert_eq!(register.problem(), (403, "scope_missing".to_owned()));
    // Without a token in the settings, reading is forbidden.
    let closed = Serving::start("").await;
    assert_eq!(closed.get("/api/v1/devices", Some("reader")).await.problem().0, 401);
    assert_eq!(closed.get("/healthz", None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_there_and_can_be_kept_for_a_token() {
    let open = Serving::start("").await;
    let answer = open.get("/metrics", None).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain"));
    assert!(String::from_utf8_lossy(&answer.body).contains("edgesentry_ingest_accepted_total "));
    let token = format!("[serve.tokens.scraper]\nhash = \"{}\"\nscopes = \"metrics\"\n", hash_of_token("s"));
    let closed = Serving::start(&token).await;
    assert_eq!(closed.get("/metrics", None).await.problem(), (401, "unauthenticated".to_owned()));
    assert_eq!(closed.get("/metrics", Some("s")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_in_pages_and_exports_verify() {
    let serving = Serving::start(&tokens()).await;
    let ledger = serving.service.ledger();
    let mut lifts = devices(&**ledger, 3).await;
    let mut sent = Vec::new();
    for lift in &mut lifts {
        sent.extend(chain(lift, 25));
    }
    let outcomes = serving.service.ingest_many(sent.clone()).await;
    assert_eq!(names(&outcomes), all("accepted", 75));
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = serving.get(&format!("/api/v1/records?limit=10{after}"), Some("reader")).await.json();
        pages.push(page["records"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(pages.len(), 8);
    let records = pages.concat();
    let expected: Vec<(String, u64)> =
        sent.iter().map(|sent| (sent.record.device_id.clone(), sent.record.sequence)).collect();
    let found = records.iter().map(|record| {
        (record["device_id"].as_str().unwrap().to_owned(), record["sequence"].as_u64().unwrap())
    });
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let one = serving
        .get("/api/v1/records?device_id=lift-02&from_sequence=5&to_sequence=6", Some("reader"))
        .await
        .json();
    assert_eq!(one["records"].as_array().unwrap().len(), 2);
    for query in ["limit=0", "limit=10001", "after=x", "from_sequence=-1", "unknown=1"] {
        let answer = serving.get(&format!("/api/v1/records?{query}"), Some("reader")).await;
        assert_eq!(answer.problem(), (400, "malformed".to_owned()), "{query}");
    }
    let heads = serving.get("/api/v1/heads", Some("reader")).await;
    let heads = edgesentry_formats::read_heads(&heads.body).unwrap();
    let keys = registered_keys(&**ledger).await;
    for format in ["ndjson", "json", "ndjson.gz", "json.zst", "arrow", "parquet"] {
        let answer = serving.get(&format!("/api/v1/export?format={format}"), Some("reader")).await;
        assert_eq!(answer.status, 200);
        let body = std::io::Cursor::new(answer.body.to_vec());
        let source = Source::Reader { name: format.into(), reader: Box::new(body) };
        let checks = Checks { keys: Some(&keys), heads: Some(&heads), ..Checks::default() };
        let report =
            edgesentry_formats::verify(vec![source], &checks, &Options::default(), &Default::default())
                .unwrap();
        assert_eq!((report.findings.len(), report.coverage.records), (0, 75), "{format}");
    }
    let wrong = serving.get("/api/v1/export?format=xml", Some("reader")).await;
    assert_eq!(wrong.problem(), (400, "malformed".to_owned()));
    let log = serving.get("/api/v1/log?outcome=accepted&limit=3", Some("reader")).await.json();
    assert_eq!(log["entries"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_registered_and_revoked_by_administrators() {
    let serving = Serving::start(&tokens()).await;
    let lift = device(1);
    let admin = [("authorization", "Bearer keeper")];
    let key =
        json!({"device_id": "lift-01", "key": lift.public_key().unwrap().to_string(), "scheme": "record"});
    let registered = |device_id: &str, also_key_of: Value| json!({"device_id": device_id, "key": key["key"], "scheme": "record", "valid_from": 1, "also_key_of": also_key_of});
    for _ in 0..2 {
        let answer = serving.post("/api/v1/devices", &admin, key.to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, registered("lift-01", json!([]))));
    }
    let same = json!({"device_id": "lift-02", "key": key["key"]}).to_string();
    let answer = serving.post("/api/v1/devices", &admin, same).await;
    assert_eq!(answer.json(), registered("lift-02", json!(["lift-01"])));
    let other =
        json!({"device_id": "lift-01", "key": device(2).public_key().unwrap().to_string(), "valid_from": 1});
    let answer = serving.post("/api/v1/devices", &admin, other.to_string()).await;
    assert_eq!(answer.problem(), (409, "registry".to_owned()));
    // A rotation.
    let next =
        json!({"device_id": "lift-02", "key": device(2).public_key().unwrap().to_string(), "valid_from": 5});
    let answer = serving.post("/api/v1/devices", &admin, next.to_string()).await.json();
    assert_eq!((&answer["valid_from"], &answer["also_key_of"]), (&json!(5), &json!([])));
    for body in ["{}".to_owned(), key.to_string().replace("record", "none"), "[".repeat(100)] {
        let answer = serving.post("/api/v1/devices", &admin, body).await;
        assert_eq!(answer.problem(), (400, "malformed".to_owned()));
    }
    let listed: Value = serving.get("/api/v1/devices", Some("keeper")).await.json();
    let shown = &listed["devices"][0];
    assert_eq!((&shown["device_id"], &shown["keys"][0]["scheme"]), (&json!("lift-01"), &json!("record")));
    assert_eq!(lift.scheme(), Scheme::Record);
    let unknown = json!({"device_id": "lift-01", "reason": "bored"}).to_string();
    let refused = serving.post("/api/v1/devices/revoke", &admin, unknown).await;
    assert_eq!(refused.problem(), (400, "malformed".to_owned()));
    let reason = json!({"device_id": "lift-01", "reason": "compromised"}).to_string();
    let revoke = serving.post("/api/v1/devices/revoke", &admin, reason).await;
    assert_eq!(revoke.json(), json!({"device_id": "lift-01", "revoked_from": 1}));
    let listed: Value = serving.get("/api/v1/devices", Some("keeper")).await.json();
    assert_eq!(listed["devices"][0]["keys"][0]["revoked_reason"], json!("compromised"));
    // Sending needs a token here: one with the scope ingest is configured.
    let mut lift = lift;
    let first = crate::common::next(&mut lift);
    assert_eq!(serving.ingest(&first).await.problem(), (401, "unauthenticated".to_owned()));
    let request = axum::http::Request::post(format!("{}/api/v1/ingest", serving.url()))
        .header("authorization", "Bearer gateway")
        .body(crate::serving::wire(&first).to_string().into());
    assert_eq!(call(request.unwrap()).await.problem(), (422, "key_not_valid_at_sequence".to_owned()));
}

/// Responses are inert on a terminal and in the log of a pipeline.
#[tokio::test(flavor = "multi_thread")]
async fn responses_contain_no_invisible_characters() {
    let serving = Serving::start(&tokens()).await;
    let name = "##vso[task]\u{202e}\u{2066}\u{3164}\u{7f}";
    let mut lift = Device::from_seed(name, [7; 32], Scheme::Record);
    let registration = Registration {
        device_id: name.to_owned(),
        key: lift.public_key().unwrap(),
        scheme: Scheme::Record,
        valid_from: None,
        start: None,
    };
    serving.service.register(&registration).await.unwrap();
    let sent = chain(&mut lift, 4);
    let gateway = [("authorization", "Bearer gateway")];
    let lines: String = sent[1..3].iter().map(|one| format!("{}\n", wire(one))).collect();
    let answers = [
        serving.post("/api/v1/ingest", &gateway, wire(&sent[0]).to_string()).await,
        serving.post("/api/v1/ingest/batch", &gateway, lines).await,
        // Rejected: the same sequence, signed again.
        serving
            .post(
                "/api/v1/ingest",
                &gateway,
                wire(&resigned(&lift, &sent[0], |record| record.timestamp_ms += 1)).to_string(),
            )
            .await,
        serving.get("/api/v1/devices", Some("reader")).await,
        serving.get("/api/v1/heads", Some("reader")).await,
        serving.get("/api/v1/log", Some("reader")).await,
        serving.get("/api/v1/records?limit=2", Some("reader")).await,
    ];
    for answer in answers {
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.contains("vso[task]"), "{text}");
        assert!(!text.contains("##") && !text.chars().any(|c| c != '\n' && is_unseen(c)), "{text:?}");
    }
}
