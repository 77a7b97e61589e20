//! `eds heads`.

use edgesentry_chain::Heads;
use eds::fleet::SHUTTLES;
use eds::tamper;

use crate::{Folder, fleet, ledger};

#[test]
fn the_snapshot_detects_later_truncation() {
    let (folder, fleet) = fleet(200);
    let run = folder.eds("heads export.ndjson --keys keys.json -o snapshot.json");
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(run.stderr, "snapshot.json: 5 heads written\n");
    let heads: Heads = edgesentry_formats::read_heads(folder.read("snapshot.json").as_bytes()).unwrap();
    assert_eq!(heads, fleet.heads);
    assert_eq!(folder.eds("heads export.ndjson").stdout, folder.read("snapshot.json"));
    assert_eq!(folder.eds("verify-chain export.ndjson --heads snapshot.json --require heads").code, 0);

    let mut records = fleet.records.clone();
    tamper::truncate(&mut records, SHUTTLES[1], 2);
    folder.write_records("cut.ndjson", &records);
    let run = folder.eds("--json verify-chain cut.ndjson --heads snapshot.json");
    assert_eq!(run.code, 1);
    assert_eq!(run.envelope()["report"]["findings"][0]["code"], "head_mismatch");
    // The cut chain does not extend the snapshot, which stays.
    let run = folder.eds("heads cut.ndjson -o snapshot.json");
    assert_eq!((run.code, run.stdout.contains("head_mismatch")), (1, true), "{}{}", run.stdout, run.stderr);
    assert_eq!(folder.eds("verify-chain cut.ndjson --heads snapshot.json").code, 1);
    let files = std::fs::read_dir(folder.0.path()).unwrap().count();
    assert_eq!(files, 6, "no partial file is left");
}

#[test]
fn a_broken_chain_gets_no_snapshot() {
    let (folder, fleet) = fleet(200);
    let mut records = fleet.records.clone();
    tamper::delete(&mut records, SHUTTLES[1], 10);
    folder.write_records("export.ndjson", &records);
    let run = folder.eds("heads export.ndjson -o snapshot.json");
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("sequence_gap 1") && run.stderr.contains("--force"), "{}", run.stderr);
    assert!(!folder.path("snapshot.json").exists());
    assert_eq!(folder.eds("--json heads export.ndjson").envelope()["error"]["code"], "chain_broken");

    let run = folder.eds("heads export.ndjson -o snapshot.json --force");
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("warning"), "{}", run.stderr);
    assert_eq!(
        folder.eds("--json heads export.ndjson --force").envelope()["heads"].as_object().unwrap().len(),
        5
    );
}

#[test]
fn nothing_gives_no_snapshot() {
    let folder = Folder::new();
    folder.write("empty.json", "[]");
    let run = folder.eds("--json heads empty.json -o snapshot.json");
    assert_eq!((run.code, run.envelope()["error"]["code"].as_str()), (3, Some("nothing_to_verify")));
    assert!(!folder.path("snapshot.json").exists());
    let (folder, _) = fleet(100);
    let run = folder.eds("heads export.ndjson -o absent/heads.json");
    assert_eq!(run.code, 2);
    assert!(run.stderr.starts_with("error: absent/heads.json: cannot write"), "{}", run.stderr);
}

/// Returns the names in a directory, in order.
fn names(folder: &Folder, name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path(name)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The command of the timer, on this ledger.
const TIMER: &str = "heads --ledger edgesentry.db --output heads.json --metrics-file heads.prom";

#[test]
fn a_ledger_that_was_cut_does_not_replace_the_heads_from_before() {
    let (folder, fleet) = ledger(200);
    std::fs::remove_file(folder.path("heads.json")).unwrap();
    let run = folder.eds(TIMER);
    assert_eq!((run.code, run.stderr.as_str()), (0, "heads.json: 5 heads written\n"), "{}", run.stdout);
    assert_eq!(names(&folder, "heads.d").len(), 1);
    assert!(folder.read("heads.prom").contains("edgesentry_heads_rewritten_devices 0"));
    // Nothing new: the same heads, and no copy.
    assert_eq!(folder.eds(TIMER).code, 0);
    assert_eq!(names(&folder, "heads.d").len(), 1);
    let trusted = folder.read("heads.json");

    // Records, head and log, as an attacker with access to the database would change them.
    let device = SHUTTLES[1];
    let last = fleet.records.iter().filter(|record| record.device_id == device).count();
    let hash = fleet.records.iter().filter(|record| record.device_id == device).nth(last - 4).unwrap().hash();
    let sql = format!(
        "DELETE FROM audit_records WHERE device_id = '{device}' AND sequence > {keep};
         DELETE FROM operation_logs WHERE device_id = '{device}' AND sequence > {keep};
         UPDATE chain_heads SET sequence = {keep}, record_hash = x'{hash}' WHERE device_id = '{device}'",
        keep = last - 3
    );
    folder.tamper("edgesentry.db", Box::leak(sql.into_boxed_str()));
    let run = folder.eds(TIMER);
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("head_mismatch") && run.stdout.contains(device), "{}", run.stdout);
    assert!(run.stderr.contains("nothing was replaced"), "{}", run.stderr);
    assert_eq!((folder.read("heads.json"), names(&folder, "heads.d").len()), (trusted.clone(), 1));
    assert!(folder.read("heads.prom").contains("edgesentry_heads_rewritten_devices 1"));
    let envelope = folder.eds(&format!("--json {TIMER}")).envelope();
    assert_eq!(envelope["error"]["code"], "heads_rewritten");
    assert_eq!(envelope["findings"][0]["code"], "head_mismatch");
    assert_eq!(folder.eds("verify-chain --ledger edgesentry.db --heads heads.json").code, 1);

    // A restore, accepted with a reason: the previous heads stay in the history.
    let args: Vec<&str> = TIMER.split(' ').chain(["--accept-rewrite", "restored to 12:00"]).collect();
    let run = folder.run(&args, b"");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stderr, "heads.json: 5 heads written, 1 of them rewritten\n");
    assert!(folder.read("heads.d/rewrites.ndjson").contains("restored to 12:00"));
    let kept = names(&folder, "heads.d");
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept.iter().any(|name| folder.read(&format!("heads.d/{name}")) == trusted));
    assert!(folder.read("heads.prom").contains("edgesentry_heads_rewritten_devices 0"));
    assert_eq!(folder.eds(TIMER).code, 0);
}

#[test]
fn a_head_without_its_record_is_a_finding() {
    let (folder, _) = ledger(200);
    // The table of heads is unchanged.
    folder.tamper("edgesentry.db", "DELETE FROM audit_records WHERE sequence > 3");
    let run = folder.eds(TIMER);
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    let findings = folder.eds(&format!("--json {TIMER}")).envelope()["findings"].as_array().unwrap().len();
    assert_eq!(findings, 5);
}

#[test]
fn a_device_that_is_gone_is_a_finding() {
    let (folder, _) = ledger(200);
    folder.tamper("edgesentry.db", "DELETE FROM chain_heads WHERE device_id LIKE 'shuttle%'");
    let run = folder.eds(TIMER);
    assert_eq!((run.code, run.stdout.contains("device_missing")), (1, true), "{}{}", run.stdout, run.stderr);
    folder.tamper("edgesentry.db", "DELETE FROM chain_heads");
    let run = folder.eds(TIMER);
    assert_eq!((run.code, run.stdout.contains("device_missing")), (1, true), "{}{}", run.stdout, run.stderr);
}

#[test]
fn heads_are_extended_by_records_whose_links_hold() {
    let (folder, fleet) = fleet(200);
    let half: Vec<_> = fleet.records.iter().filter(|record| record.sequence <= 10).cloned().collect();
    folder.write_records("half.ndjson", &half);
    assert_eq!(folder.eds("heads half.ndjson -o trusted.json").code, 0);
    assert_eq!(folder.eds("heads export.ndjson -o trusted.json").code, 0);
    assert_eq!(names(&folder, "trusted.d").len(), 2);
    // Back to the half: rejected; so is a range that omits a device.
    assert_eq!(folder.eds("heads half.ndjson -o trusted.json").code, 1);
    let rest: Vec<_> = fleet.records.iter().filter(|record| record.sequence > 10).cloned().collect();
    folder.write_records("rest.ndjson", &rest);
    assert_eq!(folder.eds("heads half.ndjson -o start.json").code, 0);
    std::fs::copy(folder.path("start.json"), folder.path("range.json")).unwrap();
    let run = folder.eds("heads rest.ndjson --start-heads start.json -o range.json");
    let gone_on = fleet.heads.values().all(|head| head.sequence > 10);
    assert_eq!(run.code, if gone_on { 0 } else { 1 }, "{}{}", run.stdout, run.stderr);
}

#[test]
fn a_snapshot_that_is_half_written_is_not_replaced() {
    let (folder, _) = fleet(100);
    let whole = folder.eds("heads export.ndjson").stdout;
    for half in ["", &whole[..whole.len() / 2], "{}"] {
        folder.write("heads.json", half);
        let run = folder.eds("heads export.ndjson -o heads.json");
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(run.stderr.contains("cannot be read") && run.stderr.contains("history"), "{}", run.stderr);
        assert_eq!(folder.read("heads.json"), half);
    }
    let run = folder.run(&["heads", "export.ndjson", "-o", "x.json", "--accept-rewrite", " "], b"");
    assert_eq!(run.code, 2, "{}", run.stderr);
}
