//! `eds export`, and `eds verify-chain --manifest`.

use std::process::Stdio;

use edgesentry_rs::export::Manifest;
use eds::fleet::{SHUTTLES, WATER};
use serde_json::json;
use sqlx::{Connection, Executor};

use crate::{Folder, ledger};

#[test]
fn every_format_verifies_against_its_manifest() {
    let (folder, fleet) = ledger(200);
    for file in ["e.json", "e.ndjson", "e.ndjson.zst", "e.json.gz", "e.arrow", "e.parquet"] {
        let run = folder.eds(&format!("export -o {file}"));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{file}");
        let manifest = Manifest::read(&folder.path(&format!("{file}.manifest.json"))).unwrap();
        assert_eq!((manifest.records, manifest.devices), (200, 5));
        assert_eq!(manifest.heads, fleet.heads);
        assert!(manifest.start_heads.is_empty());
        let verify = format!("verify-chain {file} --keys keys.json --manifest {file}.manifest.json");
        let run = folder.eds(&format!("{verify} --heads heads.json --require signatures,heads"));
        assert_eq!(run.code, 0, "{file} {}", run.stderr);
    }
    let files = std::fs::read_dir(folder.0.path()).unwrap().count();
    // Six exports with manifests, three files of the fleet, the payloads, the ledger.
    assert_eq!(files, 6 * 2 + 3 + 1 + 1, "no partial file is left");
}

#[test]
fn the_summary_lists_the_written_files() {
    let (folder, _) = ledger(100);
    let run = folder.eds("export -o export.json");
    let manifest = Manifest::read(&folder.path("export.json.manifest.json")).unwrap();
    let file = manifest.file.unwrap();
    insta::assert_snapshot!(run.stdout.replace(&file.blake3.to_string(), "BLAKE3"));
    let answer = folder.eds("--json export -o export.json").envelope()["export"].clone();
    assert_eq!(answer["manifest"]["file"]["blake3"], json!(file.blake3));
    assert_eq!(
        (&answer["file"], &answer["manifest_file"]),
        (&json!("export.json"), &json!("export.json.manifest.json"))
    );
}

#[test]
fn filters_choose_records() {
    let (folder, fleet) = ledger(300);
    let exported = |filter: &str| {
        let run = folder.eds(&format!("export --format ndjson {filter}"));
        assert_eq!(run.code, 0, "{filter}: {}", run.stderr);
        run.stdout.lines().count()
    };
    let expected = |keep: &dyn Fn(&edgesentry_chain::AuditRecord) -> bool| {
        fleet.records.iter().filter(|record| keep(record)).count()
    };
    assert_eq!(exported(""), 300);
    assert_eq!(exported(&format!("--device {WATER}")), expected(&|r| r.device_id == WATER));
    assert_eq!(
        exported(&format!("--device {WATER} --device {}", SHUTTLES[0])),
        expected(&|r| r.device_id == WATER || r.device_id == SHUTTLES[0])
    );
    assert_eq!(exported("--from-sequence 5 --to-sequence 9"), expected(&|r| (5..=9).contains(&r.sequence)));
    let middle = fleet.records[150].timestamp_ms;
    assert_eq!(exported(&format!("--since {middle}")), expected(&|r| r.timestamp_ms >= middle));
    assert_eq!(exported(&format!("--before {middle}")), expected(&|r| r.timestamp_ms < middle));
    // The shuttle telemetry begins in 2026, the water telemetry in 2022.
    assert_eq!(exported("--before 2026-01-01T01:00:00+01:00"), expected(&|r| r.device_id == WATER));

    let run = folder.eds("export -o none.json --since 2100-01-01T00:00:00Z");
    assert_eq!((run.code, run.stderr.as_str()), (0, "note: no record of the ledger matches\n"));
    assert_eq!(folder.eds("verify-chain none.json --manifest none.json.manifest.json").code, 3);
}

#[test]
fn a_range_verifies_with_its_manifest_only() {
    let (folder, _) = ledger(300);
    assert_eq!(folder.eds("export -o range.parquet --from-sequence 11 --to-sequence 30").code, 0);
    let run = folder.eds("--json verify-chain range.parquet --keys keys.json");
    assert_eq!(run.code, 1);
    assert_eq!(run.envelope()["report"]["counts"], json!({"first_record_not_genesis": 5}));
    let verify = "verify-chain range.parquet --keys keys.json --manifest range.parquet.manifest.json";
    assert_eq!(folder.eds(&format!("{verify} --require signatures")).code, 0);
    // Both ends are claims of the exporter.
    assert_eq!(folder.eds(&format!("{verify} --require signatures,heads")).code, 2);
    // Given start heads take precedence over those of the manifest.
    folder.write("start.json", edgesentry_formats::write_heads(&edgesentry_chain::Heads::new()));
    assert_eq!(folder.eds(&format!("{verify} --start-heads start.json")).code, 1);
}

#[test]
fn another_file_than_that_of_the_manifest_never_passes() {
    let (folder, fleet) = ledger(200);
    assert_eq!(folder.eds("export -o export.json").code, 0);
    let verify = "verify-chain export.json --keys keys.json --manifest export.json.manifest.json";
    let text = folder.read("export.json");
    // The same records, but other bytes.
    folder.write("export.json", format!("{text}\n"));
    let run = folder.eds(&format!("--json {verify}"));
    let envelope = run.envelope();
    assert_eq!((run.code, &envelope["report"]["verdict"]), (3, &json!("valid")));
    assert_eq!(envelope["error"]["code"], "manifest_mismatch");
    assert_eq!(envelope["error"]["exit_code"], 3);
    let run = folder.eds(verify);
    assert!(run.stdout.starts_with("VALID"), "{}", run.stdout);
    assert!(run.stderr.contains("export.json is not the file that was exported"), "{}", run.stderr);
    // Records removed from the end: a finding as well.
    folder.write_records("export.json", &fleet.records[..150]);
    let run = folder.eds(&format!("--json {verify}"));
    assert_eq!(run.code, 1);
    let envelope = run.envelope();
    assert_eq!(envelope["error"]["code"], "manifest_mismatch");
    assert_eq!(envelope["report"]["findings"][0]["code"], "head_mismatch");
}

#[test]
fn a_manifest_describes_one_file() {
    let (folder, _) = ledger(100);
    assert_eq!(folder.eds("export -o export.json").code, 0);
    let manifest = "--manifest export.json.manifest.json";
    for line in [
        format!("verify-chain export.json export.ndjson {manifest}"),
        format!("verify-chain - {manifest}"),
        "verify-chain export.json --manifest absent.json".to_owned(),
        "verify-chain export.json --manifest export.json".to_owned(),
    ] {
        let run = folder.eds(&line);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{line}");
    }
    let newer = folder.read("export.json.manifest.json").replace("\"manifest\": 1", "\"manifest\": 2");
    folder.write("newer.json", newer);
    let run = folder.eds("verify-chain export.json --manifest newer.json");
    assert!(run.stderr.contains("unsupported manifest version 2"), "{}", run.stderr);
}

#[test]
fn contradictions_are_usage() {
    let (folder, _) = ledger(100);
    for line in [
        "export",
        "export -o export.txt",
        "export -o export.txt --format ndjson",
        "export -o x.json --since yesterday",
        "export -o x.json --since 2026-01-02T00:00:00Z --before 2026-01-01T00:00:00Z",
        "export -o x.json --from-sequence 9 --to-sequence 8",
        "export -o x.json --device nobody",
        "export -o x.json --ledger absent.db",
        "--json export --format ndjson",
    ] {
        let run = folder.eds(line);
        assert_eq!(run.code, 2, "{line} {}", run.stderr);
        assert!(!folder.path("x.json").exists(), "{line}");
    }
    // A directory that does not exist.
    assert_eq!(folder.eds("export -o absent/export.json").code, 2);
    assert_eq!(Folder::new().eds("export -o x.json").code, 2);
}

#[test]
fn a_reader_that_closes_the_pipe_is_not_a_failure() {
    let (folder, _) = ledger(2_000);
    let mut command = folder.command();
    let mut child = command
        .args(["export", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_leaves_no_half_file() {
    let folder = Folder::new();
    folder.write("export.json", "what was there before");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Another session locks the tables, so that the export cannot end before it is interrupted.
    let (url, held) = runtime.block_on(async {
        let url = crate::serve::database("export").await;
        assert_eq!(folder.eds(&format!("config check --create --ledger {url}")).code, 0);
        let mut held = sqlx::PgConnection::connect(&url).await.unwrap();
        held.execute("BEGIN; LOCK TABLE audit_records, chain_heads, devices").await.unwrap();
        (url, held)
    });
    let mut command = folder.command_for_signals();
    let child = command
        .args(["export", "-o", "export.json", "--ledger", &url])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    drop(held);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{error}");
    assert_eq!(folder.read("export.json"), "what was there before");
    let names = std::fs::read_dir(folder.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().ends_with(".part")));
}
