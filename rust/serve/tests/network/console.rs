//! The console: sessions, headers, hostile content, figures, and stores that are down.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use edgesentry_chain::escape::is_unseen;
use edgesentry_chain::{Device, Scheme};
use edgesentry_rs::ingest::verify::Submission;
use edgesentry_serve::hash_of_token;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Kind, Place, all, chain, devices, names, next, registration, resigned};
use crate::serving::{Answer, Serving, call, settings};
use crate::tlog;

const PAGES: [&str; 8] = [
    "/console",
    "/console/devices",
    "/console/device?id=lift-01",
    "/console/record?id=lift-01&sequence=2",
    "/console/log",
    "/console/search",
    "/console/search?q=lift-01",
    "/console/alerts",
];
const HOSTILE: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "lift\u{202e}gpj.exe",
    "lift\x1b[2J\u{7}\u{200b}01",
    "]]></style></title><h1>Valid</h1>",
];

fn tokens() -> String {
    let token = |name: &str, scopes: &str| {
        let hash = hash_of_token(name);
        format!("[serve.tokens.{name}]\nhash = \"{hash}\"\nscopes = \"{scopes}\"\n")
    };
    token("reader", "read") + &token("gateway", "ingest")
}

fn enabled(more: &str) -> String {
    format!("[serve.console]\nenabled = true\n{more}\n{}", tokens())
}

/// Posts the form of the sign-in, as the console's own page.
async fn sign_in(serving: &Serving, token: &str) -> Answer {
    let headers = [("sec-fetch-site", "same-origin"), ("content-type", "application/x-www-form-urlencoded")];
    serving.post("/console/login", &headers, format!("token={token}")).await
}

/// Signs in, and returns the cookie.
async fn cookie(serving: &Serving) -> String {
    let answer = sign_in(serving, "reader").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/console"), "{answer:?}");
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

async fn get(serving: &Serving, path: &str, cookie: &str) -> Answer {
    let request = Request::get(format!("{}{path}", serving.url())).header("accept", "text/html");
    call(request.header("cookie", cookie).body(Full::default()).unwrap()).await
}

async fn page(serving: &Serving, path: &str, cookie: &str) -> String {
    let answer = get(serving, path, cookie).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// Returns the text of a figure of the first page.
fn figure(page: &str, key: &str) -> String {
    let begin = format!("data-live=\"{key}\">");
    let at = page.find(&begin).unwrap_or_else(|| panic!("{key} in {page}")) + begin.len();
    page[at..].split('<').next().unwrap().replace(',', "")
}

/// Starts a service with two devices of 60 records each.
async fn filled(toml: &str) -> Serving {
    let serving = Serving::start(toml).await;
    for lift in &mut devices(&**serving.service.ledger(), 2).await {
        assert_eq!(names(&serving.service.ingest_many(chain(lift, 60)).await), all("accepted", 60));
    }
    serving
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_off_unless_it_is_configured_and_needs_a_token_that_reads() {
    let off = Serving::start(&tokens()).await;
    assert_eq!(off.get("/console", None).await.status, 404);
    assert_eq!(off.get("/console/login", None).await.status, 404);
    let place = Place::new(Kind::Sqlite).await;
    let bare = settings("[serve.console]\nenabled = true\n");
    let refused = edgesentry_serve::Server::bind(place.service().await, &bare).await;
    let message = refused.err().map(|error| error.to_string()).unwrap();
    assert!(message.contains("scope read") && message.contains("eds token"), "{message}");
    let wrong = settings(&enabled("policy = \"/does/not/exist\""));
    let refused = edgesentry_serve::Server::bind(place.service().await, &wrong).await;
    assert!(refused.err().unwrap().to_string().contains("serve.console.policy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_require_a_session() {
    let serving = filled(&enabled("")).await;
    let session = cookie(&serving).await;
    for path in PAGES.into_iter().chain(["/console/payload?id=lift-01&sequence=1", "/console/events"]) {
        for wrong in
            ["", "eds-console=", "eds-console=0000", &format!("{session}0"), &format!("other{session}")]
        {
            let answer = get(&serving, path, wrong).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("location")),
                (303, "/console/login"),
                "{path}"
            );
            assert!(answer.body.is_empty(), "{path}");
        }
    }
    // A bearer token is for programs, and no session.
    assert_eq!(serving.get("/console/devices", Some("reader")).await.status, 401);
    for path in PAGES {
        page(&serving, path, &session).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_begins_a_session_and_is_not_in_any_response() {
    let serving = Serving::start(&enabled("")).await;
    let answer = sign_in(&serving, "reader").await;
    let set = answer.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(set.starts_with("eds-console=") && !set.contains("Secure") && !set.contains("reader"), "{set}");
    let secure = Serving::start(&enabled("secure_cookie = true")).await;
    let answer = sign_in(&secure, "reader").await;
    let set = answer.header("set-cookie");
    assert!(set.starts_with("__Host-eds-console=") && set.ends_with("; Secure"), "{set}");

    let wrong = sign_in(&serving, "hush").await;
    assert_eq!(wrong.status, 401);
    assert!(
        !String::from_utf8_lossy(&wrong.body).contains("hush") && !wrong.headers.contains_key("set-cookie")
    );
    let other = sign_in(&serving, "gateway").await;
    assert_eq!(other.status, 403);
    assert!(String::from_utf8_lossy(&other.body).contains("lacks the scope read"));
    assert_eq!(sign_in(&serving, &"x".repeat(5000)).await.status, 400);
    for _ in 0..20 {
        sign_in(&serving, "guess").await;
    }
    let limited = sign_in(&serving, "reader").await;
    assert_eq!(limited.status, 429);
    assert!(limited.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_its_user_and_by_time() {
    let serving = Serving::start(&enabled("")).await;
    let session = cookie(&serving).await;
    page(&serving, "/console", &session).await;
    let headers = [("sec-fetch-site", "same-origin"), ("cookie", session.as_str())];
    let out = serving.post("/console/logout", &headers, "").await;
    assert_eq!((out.status.as_u16(), out.header("location")), (303, "/console/login"));
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(get(&serving, "/console", &session).await.status, 303);

    let short = Serving::start(&enabled("session_seconds = 1")).await;
    let session = cookie(&short).await;
    let mut events = events(&short, &session).await;
    loop {
        // Until the session is over, its events are figures.
        let event = events.frame().await.unwrap().unwrap().into_data().unwrap();
        if event.starts_with(b"event: ended") {
            break;
        }
        assert!(event.starts_with(b"event: figures"), "{event:?}");
    }
    assert!(events.frame().await.is_none());
    assert_eq!(get(&short, "/console", &session).await.status, 303);
}

/// A browser connects again by itself, also without its user.
#[tokio::test(flavor = "multi_thread")]
async fn live_figures_do_not_keep_a_session_alive() {
    let serving = Serving::start(&enabled("idle_seconds = 1")).await;
    let session = cookie(&serving).await;
    let mut ended = false;
    for _ in 0..200 {
        let status = get_status(&serving, &session).await;
        ended = status == 401;
        if ended {
            break;
        }
        // Closed connections count until the service next writes to them.
        assert!(matches!(status, 200 | 503), "{status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(ended);
}

async fn events(serving: &Serving, cookie: &str) -> hyper::body::Incoming {
    let http: Http<_, Full<Bytes>> = Http::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("{}/console/events", serving.url())).header("cookie", cookie);
    let response = http.request(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_gets_nothing_and_every_response_is_protected() {
    let serving = filled(&enabled("")).await;
    let session = cookie(&serving).await;
    for site in ["cross-site", "same-site"] {
        for path in PAGES {
            let request = Request::get(format!("{}{path}", serving.url())).header("sec-fetch-site", site);
            let answer = call(request.header("cookie", &session).body(Full::default()).unwrap()).await;
            assert_eq!(answer.status, 403, "{path}");
            assert!(!String::from_utf8_lossy(&answer.body).contains("At a glance"));
        }
        let headers = [("sec-fetch-site", site), ("cookie", session.as_str())];
        assert_eq!(serving.post("/console/logout", &headers, "").await.status, 403);
        assert_eq!(serving.post("/console/login", &headers, "token=reader").await.status, 403);
    }
    assert_eq!(
        serving.post("/console/login", &[("origin", "http://evil")], "token=reader").await.status,
        403
    );
    assert_eq!(serving.post("/console/login", &[], "token=reader").await.status, 403);
    page(&serving, "/console", &session).await;

    let payload = "/console/payload?id=lift-01&sequence=1";
    for path in
        PAGES.into_iter().chain([payload, "/console/login", "/console/device?id=nobody", "/console/device"])
    {
        let answer = get(&serving, path, &session).await;
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    }
    let answer = get(&serving, payload, &session).await;
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"payload-1.bin\"");
    assert!(answer.header("content-security-policy").contains("sandbox"));
    assert_eq!(&answer.body[..], b"lift-01 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_addresses_are_sentences() {
    let serving = filled(&enabled("")).await;
    let session = cookie(&serving).await;
    let long = format!("/console/search?q={}", "x".repeat(2000));
    for (path, status, text) in [
        ("/console/device", 400, "the field id"),
        ("/console/device?id=nobody", 404, "no device of this name"),
        ("/console/record?id=lift-01&sequence=-1", 400, "whole number"),
        ("/console/record?id=lift-01&sequence=99", 404, "no such record"),
        ("/console/record?id=lift-01", 400, "id and sequence"),
        ("/console/payload?id=lift-01&sequence=99", 404, "no such record"),
        ("/console/proof?id=lift-01&sequence=1", 404, "no transparency log"),
        ("/console/log?outcome=maybe", 400, "accepted, duplicate or rejected"),
        ("/console/log?reason=%00", 400, "U+0000"),
        ("/console/log?before=9223372036854775808", 400, "below 2^63"),
        ("/console/devices?silent=x", 400, "whole number"),
        (long.as_str(), 400, "at most 1024 bytes"),
    ] {
        let answer = get(&serving, path, &session).await;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{path}: {body}");
        assert!(body.contains(text), "{path}: {body}");
    }
    // Numbers at the ends of their range.
    page(&serving, &format!("/console/devices?silent={}", i64::MAX), &session).await;
    page(&serving, &format!("/console/device?id=lift-01&before={}", i64::MAX), &session).await;
    assert_eq!(
        get(&serving, &format!("/console/record?id=lift-01&sequence={}", i64::MAX), &session).await.status,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_text() {
    let serving = Serving::start(&enabled("")).await;
    let session = cookie(&serving).await;
    let mut sent = Vec::new();
    for (at, id) in HOSTILE.into_iter().enumerate() {
        let seed = u8::try_from(at + 1).unwrap();
        let mut device = Device::from_seed(id, [seed; 32], Scheme::Record);
        serving.service.ledger().register(&registration(&device)).await.unwrap();
        let record = device.sign(1, id.as_bytes(), format!("{id}/{}", "r".repeat(900))).unwrap();
        sent.push(Submission { record: Arc::new(record), payload: Bytes::from(id) });
        sent.push(resigned(&device, &sent[sent.len() - 1].clone(), |record| record.timestamp_ms += 1));
    }
    serving.service.ingest_many(sent).await;
    let mut paths = vec!["/console".to_owned(), "/console/devices".to_owned(), "/console/log".to_owned()];
    for id in HOSTILE {
        let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        paths.push(format!("/console/device?id={id}"));
        paths.push(format!("/console/record?id={id}&sequence=1"));
        paths.push(format!("/console/search?q={}", &id[..6]));
    }
    for path in paths {
        let text = page(&serving, &path, &session).await;
        let unseen = text.chars().find(|c| is_unseen(*c) && *c != '\n');
        // The field of a search repeats the text of its user.
        assert!(unseen.is_none() || path.contains("search"), "{path}: {unseen:?}");
        for raw in ["<script>alert", "<img", "</style></title>", "<h1>Valid"] {
            assert!(!text.contains(raw), "{path}: {raw}");
        }
        assert!(text.contains("lift\\u{202e}gpj.exe") || !path.ends_with("/devices"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_those_of_the_metrics() {
    let serving = filled(&enabled("")).await;
    let mut stranger = crate::common::device(99);
    serving.service.ingest_many(vec![next(&mut stranger)]).await;
    serving.service.observe_rejections().await;
    let session = cookie(&serving).await;
    // The tests of this process share its metrics: the figures lie between two scrapes.
    let scrape = || async {
        let text = String::from_utf8(serving.get("/metrics", None).await.body.to_vec()).unwrap();
        move |series: &str| -> u64 {
            let line =
                text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series));
            line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
        }
    };
    let before = scrape().await;
    let page = page(&serving, "/console", &session).await;
    let after = scrape().await;
    for (key, series) in [
        ("accepted", "edgesentry_ingest_accepted_total"),
        ("duplicate", "edgesentry_ingest_duplicate_total"),
        ("rejected_unknown_device", "edgesentry_ingest_rejected_total{reason=\"unknown_device\"}"),
        ("rejected_fork", "edgesentry_ingest_rejected_total{reason=\"fork\"}"),
    ] {
        let shown: u64 = figure(&page, key).parse().unwrap();
        assert!((before(series)..=after(series)).contains(&shown), "{key}: {shown}");
    }
    assert!(after("edgesentry_ingest_rejected_total{reason=\"unknown_device\"}") >= 1);
    assert_eq!(figure(&page, "devices"), "2");
    assert_eq!(figure(&page, "silent_minute"), "2");
    assert!(page.contains("The ledger responds.") && page.contains("rejected: unknown_device"));
    // Two nodes show one ledger.
    let ledger_page = self::page(&serving, "/console/device?id=lift-02", &session).await;
    let other = Serving::with(serving.service.clone(), &settings(&enabled(""))).await;
    assert_eq!(get(&other, "/console", &session).await.status, 303, "a session is of one node");
    let there = cookie(&other).await;
    let records = |page: &str| page.split("Records, newest first").nth(1).unwrap().to_owned();
    let other_page = self::page(&other, "/console/device?id=lift-02", &there).await;
    assert_eq!(records(&ledger_page), records(&other_page));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_records_and_devices_lead_through_all() {
    let serving = filled(&enabled("")).await;
    let session = cookie(&serving).await;
    let newest = page(&serving, "/console/device?id=lift-01", &session).await;
    assert!(
        newest.contains("Payload of 60<")
            && newest.contains("Payload of 11<")
            && !newest.contains("Payload of 10<")
    );
    assert!(newest.contains("before=11"), "{newest}");
    let earlier = page(&serving, "/console/device?id=lift-01&before=11", &session).await;
    assert!(
        earlier.contains("Payload of 10<")
            && earlier.contains("Payload of 1<")
            && !earlier.contains("Earlier records")
    );
    let log = page(&serving, "/console/log?device=lift-01", &session).await;
    assert!(log.contains("Older entries") || log.matches("accepted").count() >= 60);
    let none = page(&serving, "/console/log?reason=fork&device=lift-01", &session).await;
    assert!(none.contains("No entry of the operation log matches."));
    let from = page(&serving, "/console/devices?from=lift-02", &session).await;
    assert!(from.contains("lift-02") && !from.contains("lift-01"));
    let silent = page(&serving, "/console/devices?silent=3600", &session).await;
    assert!(silent.contains("No registered device matches."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_devices_hashes_and_references() {
    let serving = Serving::start(&enabled("")).await;
    let lift = &mut devices(&**serving.service.ledger(), 1).await[0];
    let sent = chain(lift, 5);
    serving.service.ingest_many(sent.clone()).await;
    let session = cookie(&serving).await;
    let record = &sent[2].record;
    for (text, found) in [
        (record.hash().to_string(), "Decisions on records of this hash"),
        (record.hash().to_string().to_uppercase(), "sequence=3\">3<"),
        (record.payload_hash.to_string(), "sequence=3\">3<"),
        ("lift-01/3".to_owned(), "sequence=3\">3<"),
        ("lift".to_owned(), "Devices whose names begin so"),
        ("nothing+of+the+kind".to_owned(), "No record of the ledger matches."),
        ("%25".to_owned(), "No record of the ledger matches."),
    ] {
        let page = page(&serving, &format!("/console/search?q={text}"), &session).await;
        assert!(page.contains(found), "{text}: {page}");
        assert!(page.contains("100,000 records"), "the bound is stated");
    }
    let further = format!("/console/search?q={}&device=lift-01&sequence=3", record.payload_hash);
    assert!(page(&serving, &further, &session).await.contains("No further record of the ledger matches."));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checks_of_a_record_are_green_and_red() {
    let (serving, log, place) = tlog::logged_with(&enabled("")).await;
    let session = cookie(&serving).await;
    let path = "/console/record?id=lift-01&sequence=50";
    let before = page(&serving, path, &session).await;
    assert!(before.contains("has no checkpoint yet"), "{before}");
    tlog::sequence(&log).await;
    let good = page(&serving, path, &session).await;
    assert_eq!(
        (good.matches("standing good").count(), good.matches("standing bad").count()),
        (6, 0),
        "{good}"
    );
    assert!(good.contains("serve.console.policy is not set") && good.contains("is leaf "));
    let proof = get(&serving, "/console/proof?id=lift-01&sequence=50", &session).await;
    assert_eq!(proof.header("content-disposition"), "attachment; filename=\"proof-50.txt\"");
    let parsed = edgesentry_log::LogProof::parse(&proof.body).unwrap();
    parsed.verify_extra(&tlog::policy()).unwrap();
    let fleet = page(&serving, "/console", &session).await;
    assert!(fleet.contains(tlog::ORIGIN) && fleet.contains("no witness has cosigned it"), "{fleet}");
    let first = page(&serving, "/console/record?id=lift-01&sequence=1", &session).await;
    assert!(first.contains("The chain begins here."));
    let last = page(&serving, "/console/record?id=lift-01&sequence=100", &session).await;
    assert!(last.contains("is the head of its chain"));

    place
        .tamper("UPDATE audit_records SET timestamp_ms = 5 WHERE device_id = 'lift-01' AND sequence = 50")
        .await;
    place
        .tamper("UPDATE record_payloads SET payload = x'00' WHERE device_id = 'lift-01' AND sequence = 50")
        .await;
    let bad = page(&serving, path, &session).await;
    for text in [
        "the ledger was changed without the service",
        "do not continue with sequence 51",
        "does not hold",
        "other bytes",
    ] {
        assert!(bad.contains(text), "{text}: {bad}");
    }
    place.tamper("DELETE FROM audit_records WHERE device_id = 'lift-01' AND sequence = 49").await;
    assert!(page(&serving, path, &session).await.contains("The record before is missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_operations_or_their_absence_are_shown() {
    let bare = Serving::start(&enabled("")).await;
    let session = cookie(&bare).await;
    let fleet = page(&bare, "/console", &session).await;
    for text in ["No Alertmanager is configured", "No metrics file of backups", "has no transparency log"] {
        assert!(fleet.contains(text), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("eds.prom");
    let now = edgesentry_formats::times::now_ms() / 1000;
    let text = format!(
        "edgesentry_backup_last_success_timestamp_seconds{{kind=\"base\"}} {}\n\
         edgesentry_drill_last_success_timestamp_seconds{{drill=\"db-restore\"}} {}\n\
         edgesentry_unit_failed{{unit=\"eds<b>\"}} 1\nedgesentry_archive_gaps 0\n",
        now - 7200,
        now - 90 * 86_400
    );
    std::fs::write(&file, text).unwrap();
    let alerts = serde_json::json!([
        {"labels": {"alertname": "Low", "severity": "P2"}, "annotations": {"runbook_url": "javascript:alert(1)"},
         "startsAt": "2026-01-01T00:00:00Z"},
        {"labels": {"alertname": "ChainBreak<b>", "severity": "P0"}, "startsAt": "2026-01-02T00:00:00Z",
         "annotations": {"summary": "it\u{202e}broke", "runbook_url": "https://runbook.example/a#b"}},
    ]);
    let alertmanager = respond(alerts.to_string()).await;
    let more = format!("alertmanager = \"http://{alertmanager}\"\noperations = \"{}\"", file.display());
    let serving = Serving::start(&enabled(&more)).await;
    let session = cookie(&serving).await;
    let fleet = page(&serving, "/console", &session).await;
    for text in [
        "backup base",
        "2 hours ago",
        "drill passed db-restore",
        "90 days ago",
        "unit failed: eds&lt;b&gt; (1)",
    ] {
        assert!(fleet.contains(text), "{text}: {fleet}");
    }
    assert!(!fleet.contains("failed checks of the archive"));
    let page = page(&serving, "/console/alerts", &session).await;
    assert!(page.find("ChainBreak&lt;b&gt;").unwrap() < page.find("Low").unwrap(), "{page}");
    assert!(page.contains("it\\u{202e}broke") && page.contains("href=\"https://runbook.example/a#b\""));
    assert!(!page.contains("javascript:"));

    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let more = format!("alertmanager = \"http://{dead}\"\noperations = \"/does/not/exist.prom\"");
    let serving = Serving::start(&enabled(&more)).await;
    let session = cookie(&serving).await;
    let fleet = self::page(&serving, "/console", &session).await;
    assert!(fleet.contains("The Alertmanager does not respond"), "{fleet}");
    assert!(fleet.contains("metrics file of backups and drills cannot be read"), "{fleet}");
}

/// Serves one text at every path, for as long as the test runs.
async fn respond(body: String) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_down_is_a_sentence() {
    let serving = filled(&enabled("")).await;
    let session = cookie(&serving).await;
    serving.service.ledger().close().await;
    let fleet = page(&serving, "/console", &session).await;
    assert!(fleet.contains("the log of the service has the reason"), "{fleet}");
    for path in ["/console/devices", "/console/device?id=lift-01", "/console/log", "/console/search?q=a"] {
        let answer = get(&serving, path, &session).await;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 503, "{path}");
        assert!(body.contains("cannot read") || body.contains("does not respond"), "{path}: {body}");
        assert!(!body.contains("ledger.db"), "{path}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_bounded_and_end_with_the_service() {
    let mut serving = filled(&enabled("")).await;
    let session = cookie(&serving).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut body = events(&serving, &session).await;
        let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let data = event.strip_prefix(b"event: figures\ndata: ").unwrap();
        let figures: serde_json::Value = serde_json::from_slice(data).unwrap();
        assert_eq!(figures["texts"]["devices"], "2");
        assert_eq!(figures["decisions"].as_array().unwrap().len(), 10);
        open.push(body);
    }
    assert_eq!(get(&serving, "/console/events", &session).await.status, 503);
    open.pop();
    // The service sees the closed connection when it next writes to it.
    let reopened = async {
        while get_status(&serving, &session).await != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reopened).await.unwrap();
    serving.ask_to_stop();
    for mut body in open {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                break;
            }
        }
    }
    assert_eq!(serving.stop().await, edgesentry_serve::Stopped::Finished);
}

/// Returns the status of a request for events, without its body.
async fn get_status(serving: &Serving, cookie: &str) -> u16 {
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    let request =
        format!("GET /console/events HTTP/1.1\r\nhost: {}\r\ncookie: {cookie}\r\n\r\n", serving.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    std::str::from_utf8(&status[9..]).unwrap().parse().unwrap()
}
