//! `eds ingest`.

use eds::fleet::{SHUTTLES, WATER};
use eds::tamper;
use serde_json::json;

use crate::{Folder, as_json, fleet, ledger, ndjson};

const INGEST: &str = "ingest export.ndjson --payloads payloads";

#[test]
fn records_are_accepted_once_and_are_duplicates_afterwards() {
    let (folder, fleet) = fleet(200);
    folder.write_payloads("payloads", &fleet);
    let run = folder.eds(&format!("{INGEST} --register keys.json"));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(run.stdout, "INGESTED  200 records: 200 accepted, 0 duplicate\n");
    let run = folder.eds(&format!("--json {INGEST}"));
    let answer = run.envelope()["ingest"].clone();
    assert_eq!((run.code, &answer["accepted"], &answer["duplicate"]), (0, &json!(0), &json!(200)));
    assert_eq!(answer["rejections"], json!([]));
    // Another format, from stdin, and the keys once more.
    let array: Vec<_> = fleet.records.iter().map(as_json).collect();
    let run = folder.eds_with(
        "ingest - --payloads payloads --register keys.json",
        serde_json::to_string(&array).unwrap().as_bytes(),
    );
    assert_eq!(run.code, 0, "{}", run.stdout);
    let run = folder.eds("verify-chain --ledger --keys keys.json --heads heads.json --payload-store");
    assert_eq!(run.code, 0, "{}", run.stdout);
}

#[test]
fn payloads_can_go_into_a_folder() {
    let (folder, fleet) = fleet(100);
    folder.write_payloads("payloads", &fleet);
    let stores = "--ledger sqlite:audit.db --payload-store folder:kept";
    let run = folder.eds(&format!("{INGEST} --register keys.json {stores}"));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let sent = std::fs::read(folder.path(&format!("payloads/{WATER}/1.csv"))).unwrap();
    let name = format!("1-{}", edgesentry_chain::Hash::of(&sent));
    let kept = std::fs::read(folder.path(&format!("kept/devices/{WATER}/0/{name}"))).unwrap();
    assert_eq!(kept, sent);
    let verify = "verify-chain --ledger audit.db --keys keys.json --require payloads --payload-store";
    assert_eq!(folder.eds(&format!("{verify} folder:kept")).code, 0);
    // The payloads are not in the place that this reads.
    assert_eq!(folder.eds(verify).code, 1);
}

#[test]
fn payloads_can_go_into_packs_and_back_into_files() {
    let (folder, fleet) = fleet(100);
    folder.write_payloads("payloads", &fleet);
    let stores = "--ledger sqlite:audit.db --payload-store";
    let run = folder.eds(&format!("{INGEST} --register keys.json {stores} packs:kept"));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let packs = || std::fs::read_dir(folder.path("kept/.packs")).unwrap().count();
    assert_eq!(packs(), 1);
    let verified = || {
        let verify = "verify-chain --ledger audit.db --keys keys.json --require payloads --payload-store";
        assert_eq!(folder.eds(&format!("{verify} packs:kept")).code, 0);
        assert_eq!(folder.eds(&format!("{verify} folder:kept")).code, 0);
        let of_files = "verify-chain export.ndjson --keys keys.json --require payloads --payloads kept";
        assert_eq!(folder.eds(of_files).code, 0);
    };
    verified();
    let run = folder.eds("--json unpack kept");
    let answer = run.envelope()["unpacked"].clone();
    assert_eq!((run.code, answer), (0, json!({"payloads": 100, "packs": 1, "damaged": 0})));
    assert_eq!(packs(), 0);
    verified();
    assert_eq!(folder.eds("unpack kept").stdout, "0 payloads written into files, 0 packs removed\n");
    let run = folder.eds("--json unpack absent");
    assert_eq!((run.code, &run.envelope()["error"]["code"]), (2, &json!("payloads_unreadable")));
}

#[test]
fn rejections_are_named_and_spare_other_devices() {
    let (folder, fleet) = fleet(200);
    folder.write_payloads("payloads", &fleet);
    let mut records = fleet.records.clone();
    tamper::flip_signature_bit(&mut records, WATER, 10);
    folder.write_records("export.ndjson", &records);
    let run = folder.eds(&format!("{INGEST} --register keys.json"));
    assert_eq!(run.code, 1, "{}", run.stderr);
    insta::assert_snapshot!(run.stdout);

    let run = folder.eds(&format!("--json {INGEST}"));
    let answer = run.envelope()["ingest"].clone();
    assert_eq!((run.code, &answer["duplicate"]), (1, &json!(169)));
    assert_eq!(answer["rejected"], json!({"sequence_gap": 30, "signature_invalid": 1}));
    assert_eq!(answer["rejections"].as_array().unwrap().len(), 20);
    let first = &answer["rejections"][0];
    assert_eq!((&first["device_id"], &first["sequence"]), (&json!(WATER), &json!(10)));
    assert_eq!(first["reason"], "signature_invalid");
    // The rightful record and its successors are still accepted.
    folder.write_records("export.ndjson", &fleet.records);
    assert_eq!(folder.eds(INGEST).code, 0);
}

#[test]
fn a_fork_is_rejected_and_kept_as_evidence() {
    let (folder, fleet) = ledger(100);
    let mut records = fleet.records.clone();
    let device = eds::fleet::device(SHUTTLES[0], edgesentry_chain::Scheme::Record);
    tamper::fork(&mut records, &device, 5);
    folder.write_records("export.ndjson", &records);
    std::fs::write(folder.path(&format!("payloads/{}/5.csv", SHUTTLES[0])), b"another truth").unwrap();
    let run = folder.eds(&format!("--json {INGEST}"));
    let answer = run.envelope()["ingest"].clone();
    // The true record at sequence 5 no longer has its payload.
    assert_eq!(answer["rejected"], json!({"fork": 1, "payload_hash_mismatch": 1}), "{answer:#}");
    let log = folder.eds("--json log --reason fork").envelope()["log"]["entries"].clone();
    assert_eq!((log.as_array().unwrap().len(), &log[0]["sequence"]), (1, &json!(5)));
    assert!(log[0]["evidence"].as_str().unwrap().len() > 100);
    assert_eq!(folder.eds("verify-chain --ledger --registered --payload-store").code, 0);
}

#[test]
fn a_missing_payload_holds_its_device_back() {
    let (folder, fleet) = fleet(200);
    folder.write_payloads("payloads", &fleet);
    let missing = format!("payloads/{WATER}/30.csv");
    let payload = folder.read(&missing);
    std::fs::remove_file(folder.path(&missing)).unwrap();
    let run = folder.eds(&format!("--json {INGEST} --register keys.json"));
    let answer = run.envelope()["ingest"].clone();
    assert_eq!((run.code, &answer["accepted"]), (1, &json!(189)));
    assert_eq!((&answer["payload_missing"], &answer["not_sent"]), (&json!(1), &json!(10)));
    assert_eq!(answer["rejections"][0]["reason"], "payload_missing");
    // Nothing was rejected, so the log is empty.
    assert_eq!(folder.eds("log --outcome rejected").stdout, "no entry matches\n");
    folder.write(&missing, payload);
    assert_eq!(folder.eds(INGEST).stdout, "INGESTED  200 records: 11 accepted, 189 duplicate\n");
}

#[test]
fn lines_that_are_not_records_are_counted() {
    let (folder, fleet) = fleet(100);
    folder.write_payloads("payloads", &fleet);
    folder.write("export.ndjson", format!("{{\"device_id\": 1}}\n{}", ndjson(&fleet.records)));
    let run = folder.eds(&format!("{INGEST} --register keys.json"));
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("record_malformed         1\n"), "{}", run.stdout);
    assert!(run.stdout.contains("100 accepted"), "{}", run.stdout);
    folder.write("export.ndjson", "");
    let run = folder.eds(&format!("--json {INGEST}"));
    assert_eq!((run.code, run.envelope()["error"]["code"].as_str()), (3, Some("nothing_to_ingest")));
}

#[test]
fn nothing_starts_without_its_inputs() {
    let (folder, fleet) = fleet(100);
    let code = |line: &str| {
        let run = folder.eds(&format!("--json {line}"));
        (run.code, run.envelope()["error"]["code"].as_str().unwrap().to_owned())
    };
    assert_eq!(code(INGEST), (2, "payloads_unreadable".to_owned()));
    folder.write_payloads("payloads", &fleet);
    // No ledger exists, and none is created without --register.
    assert_eq!(code(INGEST), (2, "config".to_owned()));
    assert!(!folder.path("edgesentry.db").exists());
    assert_eq!(code(&format!("{INGEST} --register absent.json")), (2, "keys_unreadable".to_owned()));
    assert_eq!(
        code(&format!("{INGEST} --register keys.json --payload-store ftp://x")),
        (2, "config".to_owned())
    );
    assert_eq!(code("ingest absent.json --payloads payloads --register keys.json"), (2, "io".to_owned()));
    folder.write("text.db", "this is no database, however long it may be".repeat(100));
    assert_eq!(code(&format!("{INGEST} --register keys.json --ledger text.db")), (3, "store".to_owned()));
    assert_eq!(Folder::new().eds("ingest x").code, 2);
}
