//! `eds log`.

use eds::fleet::WATER;
use eds::tamper;
use serde_json::{Value, json};

use crate::ledger;

#[test]
fn every_decision_is_in_the_log() {
    let (folder, fleet) = ledger(100);
    let mut records = fleet.records.clone();
    tamper::flip_signature_bit(&mut records, WATER, 20);
    folder.write_records("again.ndjson", &records);
    assert_eq!(folder.eds("ingest again.ndjson --payloads-from payloads").code, 1);
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
fn what_the_log_cannot_know_is_usage() {
    let (folder, _) = ledger(100);
    for line in
        ["log --outcome lost", "log --reason bad_luck", "log --limit 0", "log --ledger absent.db", "log x"]
    {
        let run = folder.eds(line);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{line}");
    }
}
