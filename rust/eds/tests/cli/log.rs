//! `eds log`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;

use eds::fleet::WATER;
use eds::tamper;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{Folder, ledger};

#[test]
fn every_decision_is_in_the_log() {
    let (folder, fleet) = ledger(100);
    let mut records = fleet.records.clone();
    tamper::flip_signature_bit(&mut records, WATER, 20);
    folder.write_records("again.ndjson", &records);
    assert_eq!(folder.eds("ingest again.ndjson --payloads payloads").code, 1);
    let log = |filter: &str| -> Value {
        let run = folder.eds(&format!("--json log --limit 1000 {filter}"));
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.envelope()["log"]["entries"].clone()
    };
    let length = |filter: &str| log(filter).as_array().unwrap().len();
    assert_eq!(length("--outcome accepted"), 100);
    assert_eq!(length(&format!("--outcome accepted --device {WATER}")), 20);
    let rejected = log("--outcome rejected");
    assert_eq!(rejected, log("--reason signature_invalid"));
    assert_eq!((rejected.as_array().unwrap().len(), &rejected[0]["device_id"]), (1, &json!(WATER)));
    assert_eq!(length("--device nobody"), 0);
    let run = folder.eds("log --outcome rejected");
    assert!(
        run.stdout.contains(&format!("rejected   {WATER}        20  signature_invalid\n")),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("expected  a signature of the payload-hash scheme"), "{}", run.stdout);
}

#[test]
fn pages_follow_each_other() {
    let (folder, _) = ledger(100);
    let (mut after, mut ids) = (0, Vec::new());
    loop {
        let run = folder.eds(&format!("--json log --limit 30 --after {after}"));
        let log = run.envelope()["log"].clone();
        ids.extend(log["entries"].as_array().unwrap().iter().map(|entry| entry["id"].as_u64().unwrap()));
        after = log["last_id"].as_u64().unwrap();
        if log["more"] == false {
            break;
        }
    }
    assert_eq!(ids, (1..=100).collect::<Vec<u64>>());
    let run = folder.eds("log --limit 3");
    assert!(run.stdout.ends_with("there may be more: --after 3\n"), "{}", run.stdout);
    assert_eq!(folder.eds("log --after 100").stdout, "no entry matches\n");
}

#[test]
fn invalid_filters_are_usage_errors() {
    let (folder, _) = ledger(100);
    for line in
        ["log --outcome lost", "log --reason bad_luck", "log --limit 0", "log --ledger absent.db", "log x"]
    {
        let run = folder.eds(line);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{line}");
    }
}

#[test]
fn the_last_entries_are_shown_and_followed() {
    let (folder, fleet) = ledger(100);
    let ids = |filter: &str| -> Vec<u64> {
        let entries = folder.eds(&format!("--json log {filter}")).envelope()["log"]["entries"].clone();
        entries.as_array().unwrap().iter().map(|entry| entry["id"].as_u64().unwrap()).collect()
    };
    let last = *ids("--limit 1000").last().unwrap();
    assert_eq!(ids("--tail 3"), [last - 2, last - 1, last]);
    assert_eq!(ids(&format!("--tail 3 --device {WATER}")).len(), 3);
    assert_eq!(ids("--since 2099-01-01T00:00:00Z"), [0; 0]);
    assert_eq!(ids("--since 0").len(), 100);
    assert_eq!(folder.eds("log --tail 3 --limit 5").code, 2);

    let mut command = folder.command_for_signals();
    command.args(["--json", "log", "--tail", "2", "--follow"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((next()["id"].clone(), next()["id"].clone()), (json!(last - 1), json!(last)));
    let mut records = fleet.records.clone();
    tamper::flip_signature_bit(&mut records, WATER, 20);
    folder.write_records("again.ndjson", &records);
    assert_eq!(folder.eds("ingest again.ndjson --payloads payloads").code, 1);
    loop {
        let entry = next();
        assert!(entry["id"].as_u64().unwrap() > last, "{entry}");
        if entry["outcome"] == "rejected" {
            break;
        }
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_service_returns_a_part_of_a_large_page() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = std::thread::spawn(move || {
        let requests = [(), ()].map(|()| {
            let (mut client, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(client.try_clone().unwrap()).lines().map(Result::unwrap);
            let request = lines.next().unwrap();
            lines.find(String::is_empty);
            let entry = |id: u64| {
                json!({
                    "id": id, "at_ms": 0, "device_id": WATER, "sequence": id, "outcome": "accepted",
                    "record_hash": "0".repeat(64),
                })
            };
            let body = json!({"entries": (1..=10_000).map(entry).collect::<Vec<_>>()}).to_string();
            let length = body.len();
            write!(client, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                .unwrap();
            request
        });
        requests.to_vec()
    });
    let folder = Folder::new();
    let run = folder.eds(&format!("log --url {url} --limit 50000"));
    assert!(run.stdout.ends_with("there may be more: --after 10000\n"), "{}", run.stdout);
    assert!(run.stderr.contains("a service returns at most 10000 entries at once"), "{}", run.stderr);
    let run = folder.eds(&format!("--json log --url {url} --limit 50000"));
    assert_eq!(run.envelope()["log"]["more"], true);
    for request in service.join().unwrap() {
        assert!(request.contains("limit=10000 "), "{request}");
    }
}

#[test]
fn ctrl_c_ends_it_while_a_service_does_not_respond() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let folder = Folder::new();
    let mut command = folder.command_for_signals();
    command.args(["log", "--follow", "--url", &url]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let _connection = silent.accept().unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
