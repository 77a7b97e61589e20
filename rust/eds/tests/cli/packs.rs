//! Directories of payloads as earlier releases wrote them, with a file for each payload, with packs, and with all of
//! these: every command that reads or writes payloads works on each.

use std::fs;
use std::path::{Path, PathBuf};

use edgesentry_formats::content_path;
use eds::fleet::Fleet;
use serde_json::{Value, json};

use crate::{Folder, fleet};

/// How a directory keeps its payloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// Under the object references, as the first releases did.
    Old,
    Files,
    Packs,
    /// A third of the payloads in each way.
    Mixed,
}

const ALL: [How; 4] = [How::Old, How::Files, How::Packs, How::Mixed];
const TRUSTED: &str = "--checkpoint export.parquet.checkpoint --policy policy";

/// Writes a ledger with a log, and its payloads in `store`.
fn stored(how: How) -> (Folder, Fleet) {
    let (folder, fleet) = fleet(30);
    folder.write_payloads("payloads", &fleet);
    let kind = if how == How::Packs { "packs" } else { "folder" };
    let log = "[log]\norigin = \"log.example/lifts\"\nkey = \"log.seed\"\n";
    folder.write("eds.toml", format!("payloads = \"{kind}:store\"\n{log}"));
    let run = folder.eds("ingest export.ndjson --payloads payloads --register keys.json --config eds.toml");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let run = folder.eds("--json checkpoint init --config eds.toml");
    let key = run.envelope()["checkpoint"]["verifier_key"].as_str().unwrap().to_owned();
    folder.write("policy", format!("log {key}\nquorum none\n"));
    if how == How::Mixed {
        // A second ledger puts all payloads into packs.
        let run = folder.eds(
            "ingest export.ndjson --payloads payloads --register keys.json --ledger other.db --payload-store packs:other",
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        fs::rename(folder.path("other/.packs"), folder.path("store/.packs")).unwrap();
    }
    for (at, record) in fleet.records.iter().enumerate() {
        let file = folder.path("store").join(content_path(record));
        match (how, at % 3) {
            (How::Old, _) | (How::Mixed, 0) => {
                let old = folder.path("store").join(record.object_ref.strip_prefix("s3://").unwrap());
                fs::create_dir_all(old.parent().unwrap()).unwrap();
                fs::rename(file, old).unwrap();
            }
            (How::Mixed, 1) => fs::remove_file(file).unwrap(),
            _ => {}
        }
    }
    (folder, fleet)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { _ = fs::copy(entry.path(), to).unwrap() }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn is_anywhere(folder: &Path, bytes: &[u8]) -> bool {
    let has = |path: &PathBuf| fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes);
    files(folder).iter().any(has)
}

/// Removes the traces of one payload, or changes its bytes, in every file.
fn damage(folder: &Path, payload: &[u8], other: &[u8]) {
    for path in files(folder) {
        let mut bytes = fs::read(&path).unwrap();
        let found = bytes.windows(payload.len()).position(|window| window == payload);
        if let Some(at) = found {
            bytes[at..at + other.len()].copy_from_slice(other);
            fs::write(path, bytes).unwrap();
        }
    }
}

#[track_caller]
fn done(folder: &Folder, line: &str) -> Value {
    let run = folder.eds(&format!("--json {line}"));
    assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
    run.envelope()
}

fn verify(folder: &Folder, line: &str) -> (i32, Value) {
    let run = folder.eds(&format!("--json verify-chain {line}"));
    (run.code, run.envelope()["report"]["counts"].clone())
}

#[test]
fn payloads_are_verified_bundled_and_copied() {
    for how in ALL {
        let (folder, fleet) = stored(how);
        done(&folder, "checkpoint --config eds.toml");
        // A backup is a copy, made after the last record.
        copy(&folder.path("store"), &folder.path("backup"));
        for place in ["store", "backup"] {
            done(
                &folder,
                &format!("verify-chain export.ndjson --keys keys.json --payloads {place} --require payloads"),
            );
            for kind in ["folder", "packs"] {
                let (option, name) = ("--payload-store", format!("{kind}:{place}"));
                done(
                    &folder,
                    &format!("verify-chain --ledger --keys keys.json {option} {name} --require payloads"),
                );
                done(&folder, &format!("bundle -o case.tar {option}={name} --config eds.toml"));
                let bundled = done(
                    &folder,
                    "verify-bundle case.tar --policy policy --keys keys.json --require payloads",
                );
                assert_eq!(bundled["report"]["coverage"]["payloads"]["checked"], 30, "{how:?}: {bundled:#}");
            }
            // As the source of another ledger, in files and in packs.
            for kind in ["folder", "packs"] {
                let ledger = format!("--ledger {place}-{kind}.db --payload-store {kind}:{place}-{kind}");
                let line = format!("ingest export.ndjson --payloads {place} --register keys.json {ledger}");
                assert_eq!(done(&folder, &line)["ingest"]["accepted"], 30);
                done(
                    &folder,
                    &format!("verify-chain export.ndjson --payloads {place}-{kind} --require payloads"),
                );
            }
        }
        // A payload with other bytes, and one that is cut off or lost, are reported.
        damage(&folder.path("backup"), &fleet.payloads[4], b"????");
        let (code, counts) = verify(&folder, "export.ndjson --payloads backup");
        assert_eq!((code, counts), (1, json!({"payload_hash_mismatch": 1})), "{how:?}");
        let (code, counts) = verify(&folder, "--ledger --payload-store folder:backup");
        assert_eq!((code, counts), (1, json!({"payload_hash_mismatch": 1})), "{how:?}");
    }
}

#[test]
fn a_payload_is_erased_and_a_backup_brings_it_back_only_for_a_time() {
    for how in ALL {
        let (folder, fleet) = stored(how);
        copy(&folder.path("store"), &folder.path("backup"));
        // One of each kind in a mixed directory.
        let erased = &fleet.records[..3];
        for (record, payload) in erased.iter().zip(&fleet.payloads) {
            assert!(is_anywhere(&folder.path("store"), payload));
            let (device, sequence) = (&record.device_id, record.sequence.to_string());
            let line =
                ["--json", "erase", device, &sequence, "--reason", "request 7", "--config", "eds.toml"];
            let run = folder.run(&line, b"");
            assert_eq!((run.code, &run.envelope()["erasure"]["state"]), (0, &json!("erased")), "{how:?}");
            assert!(!is_anywhere(&folder.path("store"), payload), "{how:?}");
        }
        done(&folder, "export -o export.parquet --log --config eds.toml");
        let (code, counts) = verify(&folder, "export.parquet --payloads store");
        assert_eq!((code, counts), (1, json!({"payload_missing": 3})), "{how:?}");
        let report = done(&folder, &format!("verify-chain export.parquet --payloads store {TRUSTED}"));
        let payloads = &report["report"]["coverage"]["payloads"];
        assert_eq!((&payloads["erased"], &payloads["erased_present"]), (&json!(3), &json!(0)));
        // The command for single payloads leaves them.
        let restored = done(&folder, "ops restore-object --all --backup backup --apply --config eds.toml");
        let states: Vec<&Value> =
            restored["payloads"]["damaged"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
        assert_eq!(states, [&json!("erased"); 3], "{how:?}");
        // A restore of the whole directory brings them back, until they are erased again.
        fs::remove_dir_all(folder.path("store")).unwrap();
        copy(&folder.path("backup"), &folder.path("store"));
        let again = done(&folder, "erase --again --config eds.toml");
        assert_eq!(again["erasures"]["erased"], 3, "{how:?}: {again}");
        for payload in &fleet.payloads[..3] {
            assert!(!is_anywhere(&folder.path("store"), payload), "{how:?}");
        }
        done(&folder, &format!("verify-chain export.parquet --payloads store {TRUSTED}"));
    }
}

#[test]
fn payloads_are_restored_from_a_backup() {
    use How::{Files, Mixed, Old, Packs};
    for (how, backup) in [(Old, Packs), (Files, Mixed), (Packs, Old), (Packs, Packs), (Mixed, Files)] {
        let (folder, fleet) = stored(how);
        let (other, _) = stored(backup);
        let backup_path = other.path("store").display().to_string();
        let restore = |more: &str, code: i32| {
            let line =
                format!("--json ops restore-object --all --backup {backup_path} --config eds.toml {more}");
            let run = folder.eds(&line);
            assert_eq!(run.code, code, "{how:?} from {backup:?}: {}{}", run.stdout, run.stderr);
            run.envelope()["payloads"].clone()
        };
        assert_eq!(restore("", 0)["intact"], 30);
        // A whole directory is lost, and one payload of the backup, too.
        fs::remove_dir_all(folder.path("store")).unwrap();
        fs::create_dir(folder.path("store")).unwrap();
        damage(&other.path("store"), &fleet.payloads[7], b"????");
        let found = restore("", 1);
        let count = |found: &Value, state: &str| {
            found["damaged"].as_array().unwrap().iter().filter(|one| one["state"] == state).count()
        };
        assert_eq!((count(&found, "restorable"), count(&found, "lost")), (29, 1));
        assert!(files(&folder.path("store")).is_empty());
        let found = restore("--apply", 1);
        assert_eq!((count(&found, "restored"), count(&found, "lost")), (29, 1));
        let (code, counts) = verify(&folder, "export.ndjson --payloads store");
        assert_eq!((code, counts), (1, json!({"payload_missing": 1})));
        assert_eq!(restore("", 1)["intact"], 29);
    }
}

/// Other bytes are in the place of a payload: in a pack they stay beside it, and a file has to be moved away.
#[test]
fn nothing_is_overwritten_by_a_restore() {
    let (folder, fleet) = stored(How::Packs);
    copy(&folder.path("store"), &folder.path("backup"));
    damage(&folder.path("store"), &fleet.payloads[3], b"????");
    assert_eq!(verify(&folder, "export.ndjson --payloads store").1, json!({"payload_hash_mismatch": 1}));
    let restore = "ops restore-object --all --backup backup --config eds.toml --apply";
    assert_eq!(done(&folder, restore)["payloads"]["intact"], 29);
    assert_eq!(verify(&folder, "export.ndjson --payloads store").0, 0);
    let wrong = [b"????", &fleet.payloads[3][4..]].concat();
    assert!(is_anywhere(&folder.path("store/.packs"), &wrong));

    let (folder, fleet) = stored(How::Files);
    copy(&folder.path("store"), &folder.path("backup"));
    damage(&folder.path("store"), &fleet.payloads[3], b"????");
    let run = folder.eds(&format!("--json {restore}"));
    let message = run.envelope()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(run.code, 3, "{message}");
    assert!(message.contains("move it away"), "{message}");
    let file = folder.path("store").join(content_path(&fleet.records[3]));
    assert!(fs::read(&file).unwrap().starts_with(b"????"));
    fs::rename(file, folder.path("evidence")).unwrap();
    assert_eq!(done(&folder, restore)["payloads"]["intact"], 29);
    // Wrong options.
    for (line, word) in [
        ("ops restore-object --all --config eds.toml", "name a copy of it with --backup DIR"),
        ("ops restore-object --all --backup absent --config eds.toml", "absent"),
        ("ops restore-object --all --backup backup --payload-store ledger", "set folder:PATH, packs:PATH or"),
    ] {
        let run = folder.eds(&format!("--json {line}"));
        let message = run.envelope()["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(run.code, 2, "{message}");
        assert!(message.contains(word), "{message}");
    }
}
