//! `eds verify-chain`.

use std::io::Read;
use std::process::Stdio;

use edgesentry_chain::{Head, Heads};
use eds::fleet::{SHUTTLES, WATER};
use eds::tamper;
use serde_json::json;

use crate::{Folder, as_json, fleet, ndjson};

#[test]
fn a_sound_export_is_valid() {
    let (folder, _) = fleet(200);
    let run = folder.eds("verify-chain export.ndjson --keys keys.json --heads heads.json");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn without_keys_undetected_changes_are_reported() {
    let (folder, _) = fleet(200);
    let run = folder.eds("verify-chain export.ndjson");
    assert_eq!(run.code, 0);
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn findings_name_place_evidence_and_cause() {
    let (folder, fleet) = fleet(400);
    let mut records = fleet.records.clone();
    tamper::flip_payload_hash_bit(&mut records, SHUTTLES[0], 10);
    tamper::delete(&mut records, SHUTTLES[2], 20);
    tamper::remove_device(&mut records, SHUTTLES[3]);
    for sequence in 2..12 {
        tamper::duplicate(&mut records, WATER, sequence);
    }
    let mut text = ndjson(&records);
    text.insert_str(0, "{\"device_id\": \"lift\n");
    folder.write("export.ndjson", text);
    let run = folder.eds("verify-chain export.ndjson --keys keys.json --heads heads.json");
    assert_eq!((run.code, run.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn an_empty_input_does_not_pass() {
    let folder = Folder::new();
    for empty in ["", "[]", "\n\n", " [ ] "] {
        folder.write("empty.json", empty);
        let run = folder.eds("verify-chain empty.json");
        assert_eq!(run.code, 3);
        assert_eq!(run.stdout, "NOTHING TO VERIFY  no record in empty.json\n");
        assert_eq!(
            folder.eds("--json verify-chain empty.json").envelope()["report"]["verdict"],
            "nothing_to_verify"
        );
    }
}

#[test]
fn stdin_is_an_input() {
    let (folder, fleet) = fleet(200);
    let stdin = ndjson(&fleet.records);
    let run = folder.eds_with("--json verify-chain - --keys keys.json", stdin.as_bytes());
    assert_eq!(run.envelope()["report"]["inputs"][0]["name"], "<stdin>");
    let twice = folder.eds_with("verify-chain - -", stdin.as_bytes());
    assert_eq!(twice.code, 2);
    assert!(twice.stderr.contains("stdin (-) can be read only once"), "{}", twice.stderr);
}

#[test]
fn a_chain_continues_from_one_file_to_the_next() {
    let (folder, fleet) = fleet(300);
    let (one, two) = fleet.records.split_at(133);
    folder.write_records("1.ndjson", one);
    let array: Vec<_> = two.iter().map(as_json).collect();
    folder.write("2.json", serde_json::to_string_pretty(&array).unwrap());
    let run = folder.eds("--json verify-chain 1.ndjson 2.json --keys keys.json --heads heads.json");
    let report = &run.envelope()["report"];
    assert_eq!((run.code, &report["coverage"]["records"]), (0, &json!(300)));
    assert_eq!(report["inputs"][1]["format"], "json");
    assert_eq!(report["inputs"][1]["entries"], 167);

    let backwards = folder.eds("--json verify-chain 2.json 1.ndjson");
    assert_eq!(backwards.code, 1);
    let findings = backwards.envelope()["report"]["findings"].clone();
    assert_eq!(findings[0]["code"], "first_record_not_genesis");
    assert_eq!(findings[0]["location"], json!({"input": "2.json", "record": 1}));
}

#[test]
fn a_range_continues_its_start_heads() {
    let (folder, fleet) = fleet(300);
    let (one, two) = fleet.records.split_at(150);
    folder.write_records("range.ndjson", two);
    let mut start = Heads::new();
    for record in one {
        start.insert(
            record.device_id.as_str().into(),
            Head { sequence: record.sequence, hash: record.hash() },
        );
    }
    folder.write("start.json", edgesentry_formats::write_heads(&start));
    assert_eq!(folder.eds("verify-chain range.ndjson").code, 1);
    assert_eq!(folder.eds("verify-chain range.ndjson --start-heads start.json --keys keys.json").code, 0);
}

#[test]
fn a_required_level_without_its_input_is_refused_before_reading() {
    let folder = Folder::new();
    for (level, option) in
        [("signatures", "--keys FILE"), ("payloads", "--payloads DIR"), ("heads", "--heads FILE")]
    {
        let run = folder.eds(&format!("verify-chain absent.json --require {level}"));
        assert_eq!(run.code, 2);
        assert_eq!(run.stderr, format!("error: --require {level} needs {option}; nothing was read\n"));
    }
    let run = folder.eds("--json verify-chain absent.json --require signatures,heads");
    assert_eq!(run.envelope()["error"]["code"], "required_input_missing");
}

#[test]
fn a_required_level_must_be_covered_in_full() {
    let (folder, fleet) = fleet(200);
    let mut heads = fleet.heads.clone();
    heads.remove(WATER);
    folder.write("some-heads.json", edgesentry_formats::write_heads(&heads));
    let line = "verify-chain export.ndjson --heads some-heads.json";
    assert_eq!(folder.eds(line).code, 0);
    let run = folder.eds(&format!("{line} --require heads"));
    assert_eq!(run.code, 2);
    assert!(run.stdout.starts_with("VALID"));
    assert!(run.stderr.contains("1 device without a trusted head"), "{}", run.stderr);
    let envelope = folder.eds(&format!("--json {line} --require heads")).envelope();
    assert_eq!(envelope["report"]["verdict"], "valid");
    assert_eq!(envelope["error"]["code"], "required_not_covered");
    assert_eq!(envelope["error"]["exit_code"], 2);

    folder.write("no-keys.json", "{}");
    let run = folder.eds("verify-chain export.ndjson --keys no-keys.json --require signatures");
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("unknown_device  5"), "{}", run.stdout);
    assert!(run.stderr.contains("signatures of 200 records could not be checked"), "{}", run.stderr);
}

#[test]
fn bad_keys_and_heads_are_usage() {
    let (folder, _) = fleet(200);
    let refused = |name: &str, text: &str, part: &str| {
        folder.write(name, text);
        let option = if name.starts_with("keys") { "--keys" } else { "--heads" };
        let run = folder.eds(&format!("verify-chain export.ndjson {option} {name}"));
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.stderr);
        assert!(run.stderr.contains(part) && run.stderr.contains(name), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1);
    };
    let weak = format!("{{\"lift-01\": \"{}\"}}", "00".repeat(32));
    refused("keys-weak.json", &weak, "weak key");
    refused("keys-weak.json", &weak, "lift-01");
    refused("keys-short.json", "{\"lift-01\": \"abcd\"}", "lift-01");
    refused("keys-broken.json", "{\"lift-01\":", "");
    refused("heads-broken.json", "[1]", "");
    let run = folder.eds("verify-chain export.ndjson --keys absent.json");
    assert_eq!(run.code, 2);
    assert!(run.stderr.starts_with("error: absent.json: cannot read: No such file"), "{}", run.stderr);
    assert_eq!(folder.eds("verify-chain export.ndjson --payloads absent").code, 2);
    assert_eq!(folder.eds("verify-chain export.ndjson --keys keys.json --scheme none").code, 2);
}

#[test]
fn the_scheme_of_bare_keys_can_be_given() {
    let (folder, fleet) = fleet(200);
    let records: Vec<_> = fleet.of(SHUTTLES[0]).map(|(record, _)| record.clone()).collect();
    folder.write_records("one.ndjson", &records);
    let key = fleet.keys.keys(SHUTTLES[0]).unwrap()[0].key;
    folder.write("bare.json", json!({SHUTTLES[0]: key.to_string()}).to_string());
    assert_eq!(folder.eds("verify-chain one.ndjson --keys bare.json").code, 1);
    assert_eq!(folder.eds("verify-chain one.ndjson --keys bare.json --scheme payload-hash").code, 1);
    assert_eq!(folder.eds("verify-chain one.ndjson --keys bare.json --scheme record").code, 0);
}

#[test]
fn the_verdict_does_not_depend_on_threads() {
    let (folder, fleet) = fleet(3_000);
    let mut records = fleet.records.clone();
    tamper::flip_signature_bit(&mut records, SHUTTLES[1], 100);
    tamper::swap_with_next(&mut records, SHUTTLES[2], 300);
    folder.write_records("export.ndjson", &records);
    let line = "--json verify-chain export.ndjson --keys keys.json --threads";
    let one = folder.eds(&format!("{line} 1"));
    assert_eq!(one.code, 1);
    assert_eq!(one.stdout, folder.eds(&format!("{line} 3")).stdout);
    assert_eq!(folder.eds(&format!("{line} 0")).code, 2);
}

#[test]
fn findings_beyond_the_limit_are_counted() {
    let (folder, fleet) = fleet(200);
    let mut records = fleet.records.clone();
    for sequence in 2..12 {
        tamper::duplicate(&mut records, WATER, sequence);
    }
    folder.write_records("export.ndjson", &records);
    let report =
        folder.eds("--json verify-chain export.ndjson --max-findings 3").envelope()["report"].clone();
    assert_eq!(report["findings"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&report["findings_omitted"], &report["counts"]),
        (&json!(7), &json!({"sequence_duplicate": 10}))
    );
}

#[test]
fn progress_goes_to_stderr() {
    let (folder, _) = fleet(200);
    let run = folder.eds("--json verify-chain --progress export.ndjson --keys keys.json");
    assert_eq!(run.code, 0);
    run.envelope();
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_with_one_sentence() {
    let (folder, _) = fleet(100);
    let mut command = folder.command_for_signals();
    command.args(["verify-chain", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The pipe stays open, so the command waits for more.
    let pipe = child.stdin.take();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr.trim(), "interrupted: the work was not finished, so there is no verdict");
    drop(pipe);
}
