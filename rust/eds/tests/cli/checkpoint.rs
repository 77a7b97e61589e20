//! `eds checkpoint`.

use edgesentry_chain::{Device, Scheme};
use serde_json::{Value, json};

use crate::{Folder, fleet};

const SETTINGS: &str = "[log]\norigin = \"log.example/lifts\"\nkey = \"log.seed\"\n";

/// A ledger with records, and settings of a log.
fn ledger() -> Folder {
    let (folder, fleet) = fleet(200);
    folder.write_payloads("payloads", &fleet);
    folder.write("eds.toml", SETTINGS);
    let run = folder.eds("ingest export.ndjson --payloads payloads --register keys.json");
    assert_eq!(run.code, 0, "{}", run.stderr);
    folder
}

fn checkpoint(folder: &Folder, arguments: &str) -> (i32, Value) {
    let run = folder.eds(&format!("--json checkpoint {arguments} --config eds.toml"));
    (run.code, run.envelope())
}

fn code(folder: &Folder, arguments: &str) -> (i32, String) {
    let (code, envelope) = checkpoint(folder, arguments);
    (code, envelope["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_ledger_gets_a_log() {
    let folder = ledger();
    let (exit, envelope) = checkpoint(&folder, "init --heads heads.json");
    assert_eq!(exit, 0, "{envelope}");
    assert!(envelope["checkpoint"]["verifier_key"].as_str().unwrap().starts_with("log.example/lifts+"));
    // Again, it is the same.
    assert_eq!(
        checkpoint(&folder, "init").1["checkpoint"]["verifier_key"],
        envelope["checkpoint"]["verifier_key"]
    );
    let (exit, envelope) = checkpoint(&folder, "");
    assert_eq!(exit, 0, "{envelope}");
    let log = &envelope["checkpoint"];
    assert_eq!((&log["batches"], &log["records_waiting"]), (&json!(1), &json!(0)));
    let note = log["checkpoint"].as_str().unwrap();
    assert_eq!(folder.read("edgesentry.db.log/log/checkpoint"), note);
    assert_eq!(folder.read("edgesentry.db.log/log/lock/0000000001"), note);
    let run = folder.eds("checkpoint run --config eds.toml");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.starts_with("log.example/lifts: nothing new\n"), "{}", run.stdout);
    let run = folder.eds("checkpoint status --config eds.toml");
    assert!(run.code == 0 && run.stdout.contains("waiting     0 records"), "{}", run.stdout);
}

#[test]
fn a_log_does_not_continue_under_another_key() {
    let folder = ledger();
    assert_eq!(code(&folder, "init").0, 0);
    assert_eq!(code(&folder, "run").0, 0);
    std::fs::rename(folder.path("log.seed"), folder.path("kept.seed")).unwrap();
    assert_eq!(code(&folder, "init"), (2, "log_key_missing".to_owned()));
    assert!(!folder.path("log.seed").exists());
    assert_eq!(folder.eds("keygen --output log.seed").code, 0);
    for command in ["init", "run", "status"] {
        assert_eq!(code(&folder, command), (3, "log_forked".to_owned()), "{command}");
    }
    std::fs::rename(folder.path("kept.seed"), folder.path("log.seed")).unwrap();
    assert_eq!(code(&folder, "init").0, 0);
}

#[test]
fn a_log_that_cannot_be_opened_is_not() {
    let folder = ledger();
    let run = folder.eds("checkpoint");
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("log.origin is not set"), "{}", run.stderr);
    assert_eq!(code(&folder, "run").0, 2);
    let mut heads: Value = serde_json::from_str(&folder.read("heads.json")).unwrap();
    let first = heads["heads"].as_object_mut().unwrap().values_mut().next().unwrap();
    first["hash"] = "07".repeat(32).into();
    folder.write("other.json", heads.to_string());
    assert_eq!(code(&folder, "init --heads other.json"), (1, "head_mismatch".to_owned()));
    assert!(!folder.path("log.seed").exists() && !folder.path("edgesentry.db.log").exists());
    assert_eq!(code(&folder, "init --heads heads.json"), (0, String::new()));
    folder.write("eds.toml", SETTINGS.replace("lifts", "other"));
    assert_eq!(code(&folder, "run"), (2, "log_origin".to_owned()));
}

/// Returns status and evidence of the item on the log in the checklist after a restore.
fn item(folder: &Folder, arguments: &str) -> (String, String) {
    let run =
        folder.eds(&format!("--json ops verify-recovery --heads heads.json --keys keys.json {arguments}"));
    let checks = run.envelope()["checklist"]["checks"].clone();
    let is_item = |check: &&Value| check["name"].as_str().unwrap().contains("transparency log");
    let check = checks.as_array().unwrap().iter().find(is_item).unwrap_or_else(|| panic!("{checks}"));
    let text = |name: &str| check[name].as_str().unwrap().to_owned();
    (text("status"), text("evidence"))
}

#[test]
fn the_checklist_after_a_restore_checks_the_log() {
    let folder = ledger();
    let (status, evidence) = item(&folder, "");
    assert!(status == "passed" && evidence.starts_with("no log: "), "{status}: {evidence}");
    // A ledger from before the log was opened, and one from before the first checkpoint.
    std::fs::copy(folder.path("edgesentry.db"), folder.path("first.db")).unwrap();
    assert_eq!(code(&folder, "init").0, 0);
    std::fs::copy(folder.path("edgesentry.db"), folder.path("second.db")).unwrap();
    assert_eq!(code(&folder, "run").0, 0);
    let (status, evidence) = item(&folder, "--config eds.toml");
    assert!(status == "passed" && evidence.starts_with("checkpoint 1 of size "), "{status}: {evidence}");
    for backup in ["first.db", "second.db"] {
        std::fs::rename(folder.path(backup), folder.path("edgesentry.db")).unwrap();
        assert_eq!(code(&folder, "status"), (3, "log_behind".to_owned()), "{backup}");
        let (status, evidence) = item(&folder, "--config eds.toml");
        assert_eq!(status, "failed", "{evidence}");
        let behind = "the ledger is behind by 200 records (1 checkpoint); run eds ";
        let rest = evidence.strip_prefix(behind).unwrap_or_else(|| panic!("{evidence}"));
        let (command, rest) = rest.split_once("; ").unwrap();
        assert_eq!(rest, "until then nothing is signed");
        // The lock cannot be reached.
        std::fs::rename(folder.path("edgesentry.db.log"), folder.path("away")).unwrap();
        let (status, evidence) = item(&folder, "--config eds.toml");
        assert!(status == "unknown" && evidence.contains("cannot be reached"), "{status}: {evidence}");
        std::fs::rename(folder.path("away"), folder.path("edgesentry.db.log")).unwrap();
        // The command of the evidence, as it is.
        let run = folder.eds(command);
        assert_eq!(run.code, 0, "{command}: {}", run.stderr);
        assert_eq!(item(&folder, "--config eds.toml").0, "passed");
    }
    // Without the settings nothing is compared.
    let (status, evidence) = item(&folder, "");
    assert!(status == "unknown" && evidence.contains("log.origin is not set"), "{status}: {evidence}");
}

#[test]
fn the_evidence_of_a_changed_ledger_is_kept() {
    let folder = ledger();
    assert_eq!(code(&folder, "init").0, 0);
    let edit = "UPDATE audit_records SET timestamp_ms = timestamp_ms + 1 WHERE sequence = 2";
    folder.tamper("edgesentry.db", edit);
    for _ in 0..2 {
        assert_eq!(code(&folder, "run"), (1, "ledger_tampered".to_owned()));
    }
    let (exit, status) = checkpoint(&folder, "status");
    let [key] = status["checkpoint"]["evidence"].as_array().unwrap().as_slice() else { panic!("{status}") };
    assert_eq!((exit, &status["checkpoint"]["batch_under_way"]), (0, &json!(true)));
    let kept: Value =
        serde_json::from_str(&folder.read(&format!("edgesentry.db.log/{}", key.as_str().unwrap()))).unwrap();
    assert_eq!((&kept["origin"], &kept["sequence"]), (&json!("log.example/lifts"), &json!(3)), "{kept}");
    folder.tamper(
        "edgesentry.db",
        "UPDATE audit_records SET timestamp_ms = timestamp_ms - 1 WHERE sequence = 2",
    );
    assert_eq!(code(&folder, "run").0, 0);
    let text = folder.eds("checkpoint status --config eds.toml").stdout;
    assert!(text.contains("evidence    1 file about a changed ledger below log/evidence/ in "), "{text}");
}

#[test]
fn a_restored_ledger_is_recovered() {
    let folder = ledger();
    assert_eq!(code(&folder, "init").0, 0);
    std::fs::copy(folder.path("edgesentry.db"), folder.path("backup.db")).unwrap();
    let (_, signed) = checkpoint(&folder, "run");
    std::fs::rename(folder.path("backup.db"), folder.path("edgesentry.db")).unwrap();
    for command in ["run", "status"] {
        assert_eq!(code(&folder, command), (3, "log_behind".to_owned()), "{command}");
    }
    let (exit, recovered) = checkpoint(&folder, "recover");
    assert_eq!(exit, 0, "{recovered}");
    assert_eq!(recovered["checkpoint"]["root"], signed["checkpoint"]["root"]);
    assert_eq!(code(&folder, "status").0, 0);
    assert_eq!(folder.eds("verify-chain --ledger --keys keys.json --heads heads.json").code, 0);
}

/// Settings with another key, and keys before a rotation.
fn settings(key: &str, previous: &[&str]) -> String {
    let previous: Vec<String> = previous.iter().map(|key| format!("{key:?}")).collect();
    format!(
        "[log]\norigin = \"log.example/lifts\"\nkey = {key:?}\nprevious_keys = [{}]\n",
        previous.join(", ")
    )
}

#[test]
fn a_key_is_rotated_to_one_that_a_program_has() {
    let folder = ledger();
    let (_, init) = checkpoint(&folder, "init");
    let old = init["checkpoint"]["verifier_key"].as_str().unwrap().to_owned();
    assert_eq!(code(&folder, "run").0, 0);
    // The key that the program has.
    assert_eq!(folder.eds("keygen --output new.seed").code, 0);
    let prefix = "302e020100300506032b657004220420";
    let der = hex::decode(format!("{prefix}{}", folder.read("new.seed").trim())).unwrap();
    folder.write("sign.der", der);
    let script = "#!/bin/sh\nread -r request message\nperl -e 'print pack \"H*\", shift' \"$message\" > $0.text\n\
                  echo ok $(openssl pkeyutl -sign -rawin -keyform DER -inkey ${0%/*}/sign.der -in $0.text | \
                  od -An -v -tx1 | tr -d ' \\n')\n";
    folder.write("sign", script);
    std::fs::set_permissions(folder.path("sign"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    let key = folder.eds("--json inspect-key new.seed").envelope();
    let exec =
        format!("exec:{} {}", key["key"]["public_key"].as_str().unwrap(), folder.path("sign").display());

    folder.write("eds.toml", settings(&exec, &[]));
    assert_eq!(code(&folder, "run"), (3, "log_forked".to_owned()));
    folder.write("eds.toml", settings(&exec, &["log.seed", "log.seed"]));
    assert_eq!(code(&folder, "run"), (2, "config".to_owned()));
    folder.write("eds.toml", settings(&exec, &["log.seed"]));
    let (exit, init) = checkpoint(&folder, "init");
    assert_eq!(exit, 0, "{init}");
    let keys = init["checkpoint"]["verifier_keys"].as_array().unwrap().clone();
    let new = keys[0].as_str().unwrap().to_owned();
    assert_eq!((keys.len(), keys[1].as_str()), (2, Some(old.as_str())));
    assert_eq!(folder.eds("device register door-1 --public-key 1.pub --config eds.toml").code, 2);
    let door = folder.eds("--json inspect-key new.seed").envelope()["key"]["public_key"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(folder.eds(&format!("device register door-1 --public-key {door} --config eds.toml")).code, 0);
    let (exit, signed) = checkpoint(&folder, "run");
    assert_eq!(exit, 0, "{signed}");
    assert_eq!(checkpoint(&folder, "status").1["checkpoint"]["verifier_keys"], json!(keys));
    let run = folder.eds("prove head door-1 --config eds.toml -o head.proof");
    assert_eq!(run.code, 0, "{}", run.stderr);
    for lines in [format!("log {old}\n"), format!("log {new}\n"), format!("log {old}\nlog {new}\n")] {
        folder.write("policy.txt", lines + "quorum none\n");
        let run = folder.eds("verify-proof head.proof --policy policy.txt");
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    }
    // A program that fails stops the signature, and says why.
    folder.write("sign", "#!/bin/sh\nread -r request\necho error the module is locked\n");
    assert_eq!(folder.eds("device revoke door-1 --config eds.toml").code, 0);
    let run = folder.eds("--json checkpoint --config eds.toml");
    assert_eq!((run.code, &run.envelope()["error"]["code"]), (3, &json!("log_signer")));
    assert!(run.stdout.contains("the module is locked"), "{}", run.stdout);
    folder.write("sign", script);
    assert_eq!(code(&folder, "run").0, 0);
}

/// Ingests records of a device, one for each payload.
fn send(folder: &Folder, device: &mut Device, payloads: &[&str]) {
    let mut records = Vec::new();
    for payload in payloads {
        let object_ref = format!("{payload}.bin");
        folder.write(&format!("payloads/{object_ref}"), payload);
        records.push(device.sign(1_700_000_000_000, payload.as_bytes(), &object_ref).unwrap());
    }
    folder.write_records("day.ndjson", &records);
    let run = folder.eds("ingest day.ndjson --payloads payloads --config eds.toml");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
}

#[test]
fn records_of_the_log_replace_others_that_were_sent_after_a_restore() {
    let folder = ledger();
    let new = || Device::from_seed("door-1", [9; 32], Scheme::Record);
    let key = new().public_key().unwrap();
    assert_eq!(folder.eds(&format!("device register door-1 --public-key {key} --config eds.toml")).code, 0);
    let mut door = new();
    send(&folder, &mut door, &["one", "two"]);
    assert_eq!(code(&folder, "init").0, 0);
    assert_eq!(code(&folder, "run").0, 0);
    std::fs::copy(folder.path("edgesentry.db"), folder.path("backup.db")).unwrap();
    send(&folder, &mut door, &["three", "four"]);
    let (_, signed) = checkpoint(&folder, "run");
    std::fs::rename(folder.path("backup.db"), folder.path("edgesentry.db")).unwrap();
    let mut again = new();
    again.sign(1_700_000_000_000, b"one", "one.bin").unwrap();
    again.sign(1_700_000_000_000, b"two", "two.bin").unwrap();
    send(&folder, &mut again, &["other three", "other four", "other five"]);

    let run = folder.eds("--json checkpoint recover --config eds.toml");
    assert_eq!((run.code, &run.envelope()["error"]["code"]), (1, &json!("log_conflict")));
    assert!(
        run.stdout.contains("sequence 3") && run.stdout.contains("--replace-conflicts"),
        "{}",
        run.stdout
    );
    let (exit, recovered) = checkpoint(&folder, "recover --replace-conflicts");
    assert_eq!(exit, 0, "{recovered}");
    assert_eq!(recovered["checkpoint"]["root"], signed["checkpoint"]["root"]);
    let replaced = json!([{"device_id": "door-1", "first_sequence": 3, "last_sequence": 5}]);
    assert_eq!(recovered["checkpoint"]["replaced"], replaced);
    let entries = folder.eds("--json log --reason log_conflict").envelope()["log"]["entries"].clone();
    let sequences: Vec<&Value> = entries.as_array().unwrap().iter().map(|entry| &entry["sequence"]).collect();
    assert_eq!(sequences, [3, 4, 5]);
    let (exit, again) = checkpoint(&folder, "recover --replace-conflicts");
    assert_eq!((exit, &again["checkpoint"]["replaced"]), (0, &json!([])));
    send(&folder, &mut door, &["five"]);
    assert_eq!(code(&folder, "run").0, 0);
    assert_eq!(folder.eds("verify-chain --ledger --registered").code, 0);
}

#[test]
fn a_batch_is_withdrawn_only_if_the_ledger_contradicts_it() {
    let folder = ledger();
    assert_eq!(code(&folder, "withdraw"), (2, "config".to_owned()));
    assert_eq!(code(&folder, "init").0, 0);
    assert_eq!(code(&folder, "withdraw --heads heads.json"), (2, "log_not_withdrawn".to_owned()));
    assert_eq!(code(&folder, "run").0, 0);
    assert_eq!(code(&folder, "withdraw"), (2, "log_not_withdrawn".to_owned()));
    let heads = folder.read("heads.json").replacen("\"hash\": \"", "\"hash\": \"07", 1);
    folder.write("other.json", heads);
    assert_eq!(code(&folder, "withdraw --heads other.json").0, 2);
}

#[test]
fn a_successor_is_opened_only_after_a_trusted_checkpoint() {
    let folder = ledger();
    let verifier = |envelope: &Value| envelope["checkpoint"]["verifier_key"].as_str().unwrap().to_owned();
    let old = verifier(&checkpoint(&folder, "init").1);
    assert_eq!(code(&folder, "run").0, 0);
    folder.write("policy", format!("log {old}\nquorum none\n"));
    let witness = "witness.example+3176bd45+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";
    folder.write("strict", format!("log {old}\nwitness ours {witness}\nquorum ours\n"));
    let other = "log.example/lifts+6f40e01b+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
    folder.write("other", format!("log {other}\nquorum none\n"));
    std::fs::copy(folder.path("edgesentry.db.log/log/checkpoint"), folder.path("last")).unwrap();
    let same = |arguments: &str| code(&folder, &format!("init {arguments}"));
    assert_eq!(same("--previous last --policy policy"), (2, "log_not_succeeded".to_owned()));
    std::fs::create_dir(folder.path("log-2")).unwrap();
    let place = format!("store = \"folder:{}\"\n", folder.path("log-2").display());
    folder.write("eds.toml", SETTINGS.replace("lifts", "lifts-2").replace("log.seed", "log-2.seed") + &place);
    assert_eq!(same("--previous last").0, 2);
    assert_eq!(same("--previous last --policy strict"), (1, "witness_quorum_missing".to_owned()));
    assert_eq!(same("--previous last --policy other"), (1, "checkpoint_untrusted".to_owned()));
    assert!(!folder.path("log-2.seed").exists());
    let (exit, envelope) = checkpoint(&folder, "init --previous last --policy policy --heads heads.json");
    assert_eq!(exit, 0, "{envelope}");
    assert_eq!(envelope["checkpoint"]["previous"]["origin"], "log.example/lifts");
    assert_eq!(code(&folder, "run").0, 0);
    folder.write("new", format!("log {}\nquorum none\n", verifier(&envelope)));
    assert_eq!(folder.eds("export -o new.parquet --log --config eds.toml").code, 0);
    let new = "verify-chain new.parquet --keys keys.json --heads heads.json --checkpoint new.parquet.checkpoint --policy new";
    let run = folder.eds(new);
    let shown: String = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(run.code == 0 && shown.contains("succeeds log.example/lifts at size "), "{}", run.stdout);
    // Again, and with the log of the ledger under its old name.
    assert_eq!(same("--previous last --policy policy"), (2, "log_not_succeeded".to_owned()));
    folder.write("eds.toml", SETTINGS);
    assert_eq!(code(&folder, "run"), (2, "log_origin".to_owned()));
}
