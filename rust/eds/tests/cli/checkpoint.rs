//! `eds checkpoint`.

use serde_json::{Value, json};

use crate::{Folder, fleet};

const SETTINGS: &str = "[log]\norigin = \"log.example/lifts\"\nkey = \"log.seed\"\n";

/// A ledger with records, and settings of a log.
fn ledger() -> Folder {
    let (folder, fleet) = fleet(200);
    folder.write_payloads("payloads", &fleet);
    folder.write("eds.toml", SETTINGS);
    let run = folder.eds("ingest export.ndjson --payloads-from payloads --register keys.json");
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
fn a_log_does_not_go_on_under_another_key() {
    let folder = ledger();
    assert_eq!(code(&folder, "init").0, 0);
    assert_eq!(code(&folder, "run").0, 0);
    std::fs::rename(folder.path("log.seed"), folder.path("kept.seed")).unwrap();
    assert_eq!(code(&folder, "init"), (2, "log_key_missing".to_owned()));
    assert!(!folder.path("log.seed").exists());
    assert_eq!(folder.eds("keygen --out log.seed").code, 0);
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
