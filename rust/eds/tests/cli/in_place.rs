//! `eds verify-chain --ledger` and `eds heads --ledger`.

use edgesentry_chain::{Hash, Head};
use eds::fleet::{ROTATING, SHUTTLES, WATER};
use serde_json::{Value, json};

use crate::{Folder, ledger};

fn codes(folder: &Folder, line: &str) -> (i32, Value) {
    let run = folder.eds(&format!("--json verify-chain --ledger edgesentry.db {line}"));
    (run.code, run.envelope()["report"]["counts"].clone())
}

#[test]
fn a_sound_ledger_is_valid() {
    let (folder, _) = ledger(200);
    let all = "--keys keys.json --heads heads.json --payload-store --require signatures,payloads,heads";
    let run = folder.eds(&format!("verify-chain --ledger edgesentry.db {all}"));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(run.stdout);
    let run = folder.eds("verify-chain --ledger --registered --payload-store --require payloads");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stderr, "note: the keys and heads are those that the ledger itself has registered\n");
}

#[test]
fn a_tampered_ledger_has_findings() {
    let (folder, _) = ledger(200);
    folder.tamper(
        "edgesentry.db",
        "UPDATE audit_records SET timestamp_ms = timestamp_ms + 1 \
         WHERE device_id = 'shuttle-radiator-1' AND sequence = 7",
    );
    assert_eq!(
        codes(&folder, "--keys keys.json"),
        (1, json!({"signature_invalid": 1, "prev_hash_mismatch": 1}))
    );
    folder.tamper(
        "edgesentry.db",
        "DELETE FROM audit_records WHERE device_id = 'shuttle-radiator-2' AND sequence = 9",
    );
    assert_eq!(codes(&folder, ""), (1, json!({"prev_hash_mismatch": 1, "sequence_gap": 1})));
    let run = folder.eds("--json verify-chain --ledger edgesentry.db");
    let finding = run.envelope()["report"]["findings"][0].clone();
    assert_eq!((&finding["device_id"], &finding["sequence"]), (&json!(SHUTTLES[0]), &json!(8)));
    assert_eq!(finding["location"]["input"], "edgesentry.db");
    // Records removed from the ledger are detected at the heads, by a snapshot or by the ledger's own table.
    folder.tamper("edgesentry.db", "DELETE FROM audit_records WHERE device_id = 'shuttle-radiator-4'");
    for heads in ["--heads heads.json", "--registered"] {
        assert_eq!(codes(&folder, heads).1["device_missing"], 1, "{heads}");
    }
}

#[test]
fn tampered_payloads_are_found_when_asked_for() {
    let (folder, _) = ledger(200);
    folder.tamper(
        "edgesentry.db",
        "UPDATE record_payloads SET payload = x'00' WHERE device_id = 'water-branch-1' AND sequence = 3",
    );
    folder.tamper(
        "edgesentry.db",
        "DELETE FROM record_payloads WHERE device_id = 'water-branch-1' AND sequence = 4",
    );
    assert_eq!(codes(&folder, "--registered").0, 0);
    assert_eq!(
        codes(&folder, "--registered --payload-store ledger"),
        (1, json!({"payload_hash_mismatch": 1, "payload_missing": 1}))
    );
    assert_eq!(codes(&folder, &format!("--payload-store --device {ROTATING}")).0, 0);
}

#[test]
fn one_device_is_not_the_loss_of_the_others() {
    let (folder, fleet) = ledger(200);
    let line = format!("--device {WATER} --keys keys.json --heads heads.json --require heads");
    let run = folder.eds(&format!("--json verify-chain --ledger edgesentry.db {line}"));
    let report = run.envelope()["report"].clone();
    assert_eq!((run.code, &report["coverage"]["records"]), (0, &json!(fleet.last(WATER))));
    let run = folder.eds("--json verify-chain --ledger edgesentry.db --device nobody");
    assert_eq!((run.code, run.envelope()["error"]["code"].as_str()), (2, Some("device_not_found")));
}

#[test]
fn the_heads_of_a_ledger_are_a_snapshot() {
    let (folder, fleet) = ledger(200);
    let run = folder.eds("heads --ledger edgesentry.db -o snapshot.json");
    assert_eq!((run.code, run.stderr.as_str()), (0, "snapshot.json: 5 heads written\n"));
    assert_eq!(folder.read("snapshot.json"), edgesentry_formats::write_heads(&fleet.heads));
    let heads = folder.eds("--json heads --ledger").envelope()["heads"].clone();
    assert_eq!(heads, serde_json::to_value(&fleet.heads).unwrap());
    assert_eq!(folder.eds("verify-chain --ledger --heads snapshot.json --require heads").code, 0);
}

#[test]
fn a_ledger_that_begins_mid_chain_has_start_heads() {
    let (folder, fleet) = crate::fleet(200);
    folder.write_payloads("payloads", &fleet);
    let chain: Vec<_> = fleet.of(WATER).map(|(record, _)| record.clone()).collect();
    let start = Head { sequence: 10, hash: chain[9].hash() };
    let key = fleet.keys.key_at(WATER, 1).unwrap().key;
    let register = format!("device register {WATER} --public-key {key} --scheme payload-hash");
    let run = folder.eds(&format!("{register} --start-head {}:{}", start.sequence, start.hash));
    assert_eq!(run.code, 0, "{}", run.stderr);
    folder.write_records("late.ndjson", &chain[10..]);
    assert_eq!(folder.eds("ingest late.ndjson --payloads payloads").code, 0);
    assert_eq!(folder.eds("verify-chain --ledger --payload-store").code, 1);
    assert_eq!(folder.eds("verify-chain --ledger --registered --payload-store").code, 0);
    assert_eq!(folder.eds("export -o late.json").code, 0);
    assert_eq!(folder.eds("verify-chain late.json").code, 1);
    assert_eq!(folder.eds("verify-chain late.json --manifest late.json.manifest.json").code, 0);
    // Another beginning is no longer accepted.
    assert_eq!(folder.eds(&format!("{register} --start-head 10:{}", Hash::of(b"x"))).code, 2);
}

#[test]
fn contradicting_options_are_a_usage_error() {
    let (folder, _) = ledger(100);
    for line in [
        "verify-chain export.ndjson --ledger edgesentry.db",
        "verify-chain export.ndjson --payload-store",
        "verify-chain export.ndjson --registered",
        "verify-chain export.ndjson --device x",
        "verify-chain export.ndjson --config eds.toml",
        "verify-chain --registered",
        "verify-chain --ledger edgesentry.db --payloads payloads",
        "verify-chain --ledger edgesentry.db --require payloads",
        "verify-chain --ledger edgesentry.db --require signatures",
        "verify-chain --ledger edgesentry.db --payload-store folder:absent",
        "verify-chain --ledger absent.db",
        "verify-chain --ledger mysql://db/audit",
        "heads export.ndjson --ledger edgesentry.db",
        "heads --ledger absent.db",
        "heads --ledger edgesentry.db --keys keys.json",
    ] {
        let run = folder.eds(line);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{line}");
        assert!(!run.stderr.is_empty(), "{line}");
    }
    assert!(!folder.path("absent.db").exists() && !folder.path("absent").exists());
    // A ledger without a record.
    let key = edgesentry_chain::Device::from_seed("x", [1; 32], edgesentry_chain::Scheme::Record);
    let key = key.public_key().unwrap();
    assert_eq!(folder.eds(&format!("device register lift-01 --public-key {key} --ledger new.db")).code, 0);
    assert_eq!(folder.eds("verify-chain --ledger new.db --registered").code, 3);
    assert_eq!(folder.eds("heads --ledger new.db").code, 3);
}
