//! `eds erase`, and the verification of a ledger and an export with an erased payload.

use edgesentry_formats::content_path;
use eds::fleet::Fleet;
use serde_json::{Value, json};

use crate::{Folder, fleet};

const SETTINGS: &str =
    "payloads = \"folder:store\"\n[log]\norigin = \"log.example/lifts\"\nkey = \"log.seed\"\n";

/// A ledger with records, and settings of a log.
fn ledger() -> (Folder, Fleet) {
    let (folder, fleet) = fleet(20);
    folder.write_payloads("payloads", &fleet);
    folder.write("eds.toml", SETTINGS);
    std::fs::create_dir(folder.path("store")).unwrap();
    let run = folder.eds("ingest export.ndjson --payloads payloads --register keys.json --config eds.toml");
    assert_eq!(run.code, 0, "{}", run.stderr);
    (folder, fleet)
}

/// The same with a log, and the policy of its key.
fn with_log() -> (Folder, Fleet) {
    let (folder, fleet) = ledger();
    let run = folder.eds("--json checkpoint init --config eds.toml");
    let key = run.envelope()["checkpoint"]["verifier_key"].as_str().unwrap().to_owned();
    folder.write("policy", format!("log {key}\nquorum none\n"));
    (folder, fleet)
}

fn erase(folder: &Folder, arguments: &[&str]) -> (i32, Value) {
    let start = ["--json", "erase", "--config", "eds.toml"];
    let run = folder.run(&[&start[..], arguments].concat(), b"");
    (run.code, run.envelope())
}

fn verify(folder: &Folder, options: &str) -> (i32, Value) {
    let run = folder.eds(&format!("--json verify-chain {options}"));
    (run.code, run.envelope()["report"].clone())
}

#[test]
fn a_payload_is_erased_and_the_log_has_its_leaf() {
    let (folder, fleet) = with_log();
    let device = fleet.records[0].device_id.as_str();
    let (code, envelope) = erase(&folder, &[device, "1", "--reason", "request 7"]);
    assert_eq!(code, 0, "{envelope}");
    let erasure = &envelope["erasure"];
    assert_eq!(
        (&erasure["state"], &erasure["versions"], &erasure["problem"]),
        (&json!("erased"), &json!(1), &Value::Null)
    );
    let again = erase(&folder, &[device, "1", "--reason", "request 7"]);
    assert_eq!((again.0, &again.1["erasure"]), (0, erasure));
    let run = folder.run(&["erase", device, "1", "--reason", "other words", "--config", "eds.toml"], b"");
    assert!(run.stderr.contains("the log has the first reason"), "{}", run.stderr);
    assert!(run.stdout.contains(" sequence 1: erased at "), "{}", run.stdout);
    // In place: missing without a checkpoint, with the hint; erased with one.
    let (code, report) = verify(&folder, "--ledger --config eds.toml --payload-store");
    assert_eq!((code, &report["counts"]), (1, &json!({"payload_missing": 1})));
    assert_eq!(report["hints"][0]["code"], "erasure_unproven");
    let run = folder.eds("export -o export.parquet --log --config eds.toml");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let trusted = "--checkpoint export.parquet.checkpoint --policy policy";
    let (code, report) = verify(
        &folder,
        &format!("--ledger --config eds.toml --payload-store --log-layout export.parquet.log {trusted}"),
    );
    assert_eq!((code, &report["counts"]), (0, &json!({})), "{report:#}");
    // The export with the payloads of the store: the layout lists the erasure, and only the checkpoint proves it.
    let (code, report) = verify(&folder, "export.parquet --payloads store");
    assert_eq!((code, &report["hints"][0]["code"]), (1, &json!("erasure_unproven")), "{report:#}");
    let run =
        folder.eds(&format!("verify-chain export.parquet --payloads store {trusted} --require payloads"));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("payloads, 1 erased"), "{}", run.stdout);
    let (_, report) = verify(&folder, &format!("export.parquet --payloads store {trusted}"));
    let coverage = &report["coverage"];
    assert_eq!(
        (&coverage["payloads"]["erased"], &coverage["payloads"]["erased_present"]),
        (&json!(1), &json!(0))
    );
    let gap = json!({"level": "payloads", "code": "payload_erased", "payloads": 1});
    assert!(coverage["gaps"].as_array().unwrap().contains(&gap), "{coverage:#}");
    // A payload that is back is counted, and goes again.
    let back = folder.path("store").join(content_path(&fleet.records[0]));
    std::fs::write(&back, &fleet.payloads[0]).unwrap();
    let (_, report) = verify(&folder, &format!("export.parquet --payloads store {trusted}"));
    assert_eq!(report["coverage"]["payloads"]["erased_present"], 1, "{report:#}");
    let run = folder.eds("--json erase --again --config eds.toml");
    assert_eq!((run.code, &run.envelope()["erasures"]["erased"]), (0, &json!(1)), "{}", run.stdout);
    assert!(!back.exists());
}

#[test]
fn an_impossible_erasure_is_refused() {
    let (folder, fleet) = ledger();
    let device = fleet.records[0].device_id.as_str();
    let code = |arguments: &[&str]| {
        let (code, envelope) = erase(&folder, arguments);
        (code, envelope["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let request = [device, "1", "--reason", "request 7"];
    assert_eq!(code(&request), (2, "log_not_opened".to_owned()));
    assert_eq!(folder.eds("checkpoint init --config eds.toml").code, 0);
    assert_eq!(code(&[device, "200", "--reason", "x"]), (2, "erase_no_record".to_owned()));
    assert_eq!(code(&["lift-09", "1", "--reason", "x"]), (2, "erase_no_record".to_owned()));
    assert_eq!(code(&[device, "1", "--reason", " "]), (2, "erase_reason".to_owned()));
    assert_eq!(code(&[device, "1"]).0, 2);
    assert_eq!(code(&["--again", "--reason", "x"]).0, 2);
    assert_eq!(code(&request), (0, String::new()));
}
