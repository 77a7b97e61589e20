//! `eds verify-chain --checkpoint`, and `eds export --log`.

use std::path::Path;

use edgesentry_chain::{AuditRecord, Device, Scheme};
use serde_json::{Value, json};

use crate::{Folder, ledger};

const SOUND: &str = "--keys keys.json --checkpoint checkpoint --policy policy --require signatures,log";

/// The chain of a device in tests/vectors/log, with another payload at one sequence.
fn chain(device_id: &str, count: u64, other: Option<u64>) -> Vec<AuditRecord> {
    let mut device = Device::from_seed(device_id, [1; 32], Scheme::Record);
    let sign = |at| {
        let payload = if other == Some(at) { "other".to_owned() } else { format!("reading {at}") };
        let object_ref = format!("{device_id}/{at}.bin");
        device.sign(1_700_000_000_000 + at, payload.as_bytes(), &object_ref).unwrap()
    };
    (1..=count).map(sign).collect()
}

/// The files of tests/vectors/log, with the export of the whole log, its layout beside it, and the key ring.
fn folder() -> Folder {
    let folder = Folder::new();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/log");
    for file in std::fs::read_dir(vectors).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path(&file.file_name().into_string().unwrap())).unwrap();
    }
    std::fs::rename(folder.path("layout"), folder.path("export.ndjson.log")).unwrap();
    let keys = ["lift-01", "lift-02"].map(|device_id| {
        let key = Device::from_seed(device_id, [1; 32], Scheme::Record).public_key().unwrap();
        (device_id, json!({"key": key.to_string(), "scheme": "record"}))
    });
    folder.write(
        "keys.json",
        Value::Object(keys.map(|(id, key)| (id.to_owned(), key)).into_iter().collect()).to_string(),
    );
    folder.write_records("export.ndjson", &[chain("lift-01", 5, None), chain("lift-02", 5, None)].concat());
    folder
}

/// Verifies and returns the exit code, the counts and the report.
fn verify(folder: &Folder, options: &str) -> (i32, Value, Value) {
    let run = folder.eds(&format!("--json verify-chain export.ndjson {options}"));
    assert!(!run.stdout.is_empty(), "{}", run.stderr);
    let report = run.envelope()["report"].clone();
    (run.code, report["counts"].clone(), report)
}

#[test]
fn a_sound_export_is_the_log() {
    let folder = folder();
    let (code, counts, report) = verify(&folder, &format!("{SOUND} --previous checkpoint-earlier"));
    assert_eq!((code, counts), (0, json!({})), "{report:#}");
    let log = &report["coverage"]["log"];
    assert_eq!((&log["size"], &log["records"], &log["root"]), (&json!(15), &json!(10), &json!("compared")));
    assert_eq!(report["coverage"]["provided_by"]["policy"], json!(["auditor"]));
    for threads in [1, 2, 8] {
        let (_, _, other) =
            verify(&folder, &format!("{SOUND} --previous checkpoint-earlier --threads {threads}"));
        assert_eq!(other["coverage"], report["coverage"]);
    }
    let text = folder.eds(&format!("verify-chain export.ndjson {SOUND}"));
    assert!(text.stdout.contains("15 leaves of log.example/lifts, 1 cosignature"), "{}", text.stdout);
    // Without a checkpoint the report has no such level.
    let (_, _, without) = verify(&folder, "--keys keys.json");
    assert_eq!(without["coverage"]["log"], Value::Null);
}

#[test]
fn each_change_is_found() {
    let folder = folder();
    let (one, two) = (chain("lift-01", 5, None), chain("lift-02", 5, None));
    let cut: Vec<AuditRecord> = one.iter().take(4).chain(&two).cloned().collect();
    let swapped = [two.clone(), one.clone()].concat();
    for (what, records, counts) in [
        (
            "edited, linked and signed again",
            [chain("lift-01", 5, Some(3)), two.clone()].concat(),
            json!({"checkpoint_mismatch": 1}),
        ),
        ("device dropped", one.clone(), json!({"leaf_missing": 1})),
        ("tail cut", cut, json!({"leaf_missing": 1})),
        ("record appended", [one, chain("lift-02", 6, None)].concat(), json!({"not_included": 1})),
        ("chains in another order", swapped, json!({})),
    ] {
        folder.write_records("export.ndjson", &records);
        let (code, found, _) = verify(&folder, SOUND);
        assert_eq!((code, &found), (i32::from(counts != json!({})), &counts), "{what}");
        let (code, _, _) = verify(&folder, "--keys keys.json --require signatures");
        assert_eq!(code, 0, "{what}: links and signatures hold");
    }
}

#[test]
fn checkpoints_are_decided_by_the_policy_and_by_each_other() {
    let folder = folder();
    for (options, counts) in [
        ("--checkpoint checkpoint --policy policy-other-log", json!({"checkpoint_untrusted": 1})),
        ("--checkpoint checkpoint-uncosigned --policy policy", json!({"witness_quorum_missing": 1})),
        ("--checkpoint checkpoint-lying --policy policy", json!({"checkpoint_mismatch": 1})),
        (
            "--checkpoint checkpoint-lying --policy policy --log-layout layout-lying",
            json!({"heads_mismatch": 1}),
        ),
        ("--checkpoint checkpoint --policy policy-no-witness --max-age 1d", json!({"checkpoint_stale": 1})),
        (
            "--checkpoint checkpoint-earlier --policy policy --previous checkpoint",
            json!({"checkpoint_inconsistent": 1}),
        ),
    ] {
        let (code, found, _) = verify(&folder, options);
        assert_eq!((code, found), (1, counts), "{options}");
    }
}

#[test]
fn records_that_are_not_compared_are_not_covered() {
    let folder = folder();
    let (code, _, report) = verify(&folder, "--checkpoint checkpoint-earlier --policy policy --require log");
    assert_eq!((code, &report["coverage"]["log"]["after"]), (2, &json!(4)));
    let (code, _, report) = verify(&folder, "--checkpoint checkpoint --policy policy-no-witness");
    assert_eq!((code, &report["coverage"]["gaps"][2]["code"]), (0, &json!("no_heads")));
    assert_eq!(report["coverage"]["gaps"][3], json!({"level": "log", "code": "no_witnesses"}));
    let run = folder
        .eds("verify-chain export.ndjson --checkpoint checkpoint --policy policy-no-witness --require log");
    assert!(run.code == 2 && run.stderr.contains("the policy requires no witness"), "{}", run.stderr);
    std::fs::remove_file(folder.path("export.ndjson.log")).unwrap();
    let (code, _, report) = verify(&folder, "--checkpoint checkpoint --policy policy --require log");
    assert_eq!((code, &report["coverage"]["log"]["root"]), (2, &json!("no_layout")));
    let (code, _, report) = verify(
        &folder,
        "--checkpoint checkpoint --policy policy --previous checkpoint-earlier --junit r.xml --html r.html",
    );
    assert_eq!((code, &report["coverage"]["log"]["previous"]), (0, &json!(false)));
    let junit = std::fs::read_to_string(folder.path("r.xml")).unwrap();
    assert!(
        junit.contains(r#"<testsuite name="log" tests="11" failures="0" errors="0" skipped="7">"#),
        "{junit}"
    );
    let run = folder.eds("verify-chain export.ndjson --require log");
    assert!(run.code == 2 && run.stderr.contains("--checkpoint FILE and --policy FILE"), "{}", run.stderr);
    for options in ["--checkpoint checkpoint", "--policy policy", "--previous checkpoint", "--max-age 1d"] {
        assert_eq!(folder.eds(&format!("verify-chain export.ndjson {options}")).code, 2, "{options}");
    }
    for wrong in [
        "--checkpoint keys.json --policy policy",
        "--checkpoint checkpoint --policy keys.json",
        "--checkpoint checkpoint --policy policy --log-layout keys.json",
        "--checkpoint absent --policy policy",
    ] {
        let run = folder.eds(&format!("--json verify-chain export.ndjson {wrong}"));
        assert_eq!((run.code, &run.envelope()["error"]["code"]), (2, &json!("log_inputs")), "{wrong}");
    }
}

#[test]
fn an_export_has_the_log_of_its_ledger_beside_it() {
    let (folder, fleet) = ledger(200);
    folder.write(
        "eds.toml",
        "ledger = \"sqlite:edgesentry.db\"\n[log]\norigin = \"log.example/lifts\"\nkey = \"log.seed\"\n",
    );
    let run = folder.eds("--json export --config eds.toml -o early.ndjson --log");
    assert_eq!((run.code, &run.envelope()["error"]["code"]), (2, &json!("log_not_opened")));
    let init = folder.eds("--json checkpoint init --config eds.toml");
    assert_eq!(init.code, 0, "{}", init.stderr);
    let key = init.envelope()["checkpoint"]["verifier_key"].as_str().unwrap().to_owned();
    folder.write("policy", format!("log {key}\nquorum none\n"));
    assert_eq!(folder.eds("checkpoint --config eds.toml").code, 0);
    for file in ["e.ndjson", "e.parquet"] {
        let run = folder.eds(&format!("--json export --config eds.toml -o {file} --log"));
        let export = run.envelope()["export"].clone();
        assert_eq!((run.code, &export["manifest"]["records"]), (0, &json!(fleet.records.len())));
        assert_eq!(export["log_layout_file"], json!(format!("{file}.log")));
        let run = folder.eds(&format!(
            "--json verify-chain {file} --keys keys.json --checkpoint {file}.checkpoint --policy policy"
        ));
        assert_eq!(run.code, 0, "{}", run.stdout);
        assert_eq!(run.envelope()["report"]["coverage"]["log"]["records"], json!(fleet.records.len()));
    }
    let run = folder.eds(
        "verify-chain --ledger edgesentry.db --checkpoint e.ndjson.checkpoint --policy policy \
         --log-layout e.ndjson.log",
    );
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let run = folder.eds(
        "verify-chain --ledger edgesentry.db --device lift-00 --checkpoint e.ndjson.checkpoint --policy policy",
    );
    assert!(run.code == 2 && run.stderr.contains("--checkpoint"), "{}", run.stderr);
    let run = folder.eds("export --config eds.toml -o e.ndjson");
    assert!(run.code == 2 && run.stderr.contains("e.ndjson.log"), "{}", run.stderr);
    for wrong in ["--format ndjson --log", "-o f.json --log --device x", "-o /dev/null --log"] {
        assert_eq!(folder.eds(&format!("export --config eds.toml {wrong}")).code, 2, "{wrong}");
    }
}

#[test]
fn an_input_that_never_ends_is_refused() {
    let folder = folder();
    for (wrong, code) in [
        ("--checkpoint checkpoint --policy policy --log-layout /dev/zero", "log_inputs"),
        ("--checkpoint checkpoint --policy policy --log-layout .", "log_inputs"),
        ("--checkpoint /dev/zero --policy policy", "log_inputs"),
        ("--checkpoint checkpoint --policy /dev/zero", "log_inputs"),
        ("--checkpoint checkpoint --policy policy --previous /dev/zero", "log_inputs"),
    ] {
        let run = folder.eds(&format!("--json verify-chain export.ndjson {wrong}"));
        assert_eq!((run.code, &run.envelope()["error"]["code"]), (2, &json!(code)), "{wrong}");
    }
    // A FIFO without a writer would block.
    let fifo = folder.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let run = folder
        .eds("--json verify-chain export.ndjson --checkpoint checkpoint --policy policy --log-layout fifo");
    assert!(run.code == 2 && run.stdout.contains("not a regular file"), "{}", run.stdout);
    for (line, code) in [
        ("verify-proof /dev/zero --policy policy", "proof_malformed"),
        ("verify-proof checkpoint --policy /dev/zero", "policy"),
        ("verify-proof checkpoint --policy policy --previous /dev/zero", "checkpoint"),
    ] {
        let run = folder.eds(&format!("--json {line}"));
        assert_eq!(run.envelope()["error"]["code"], json!(code), "{line}");
    }
}
