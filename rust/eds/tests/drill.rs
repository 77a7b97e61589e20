//! `eds drill` on real servers, in the short form: everything that a clone's own set-up must be able to do.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The command, with a folder for temporary files of its own: nothing may be left in it. SIGINT reaches it, even if
/// whoever runs the tests ignores it.
fn eds(temporary: &Path) -> Command {
    let mut eds = Command::new("env");
    eds.args(["--default-signal=INT", env!("CARGO_BIN_EXE_eds")]);
    for name in std::env::vars_os().map(|(name, _)| name) {
        if name.to_string_lossy().starts_with("EDS_") {
            eds.env_remove(name);
        }
    }
    eds.env("TMPDIR", temporary);
    eds
}

/// A folder that servers of another user may enter.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn all_drills_pass_and_leave_their_reports_behind() {
    let (temporary, folder) = (folder(), folder());
    let (reports, metrics) = (folder.path().join("reports"), folder.path().join("drills.prom"));
    let mut all = eds(temporary.path());
    all.args(["--json", "drill", "all", "--short", "--report-dir"]).arg(&reports);
    let output = all.arg("--metrics-file").arg(&metrics).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    let envelope: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(envelope["drills"]["passed"], 5, "{stdout}");
    assert_eq!(names(temporary.path()), [""; 0], "nothing is left behind");

    let files = names(&reports);
    assert_eq!(files.iter().filter(|file| file.ends_with(".json")).count(), 5, "{files:?}");
    assert!(files.iter().any(|file| file.starts_with("all-") && file.ends_with(".html")), "{files:?}");
    let metrics = std::fs::read_to_string(&metrics).unwrap();
    for drill in ["db-failover", "db-restore", "rpo", "s3-object-recovery", "alert-fire"] {
        let success = format!("edgesentry_drill_last_success_timestamp_seconds{{drill=\"{drill}\"}}");
        assert!(metrics.contains(&success), "{metrics}");
    }
    let report = eds(temporary.path()).args(["drill", "report"]).arg(&reports).output().unwrap();
    let text = String::from_utf8_lossy(&report.stdout);
    assert_eq!(report.status.code(), Some(0), "{text}");
    assert!(text.contains("Every drill was rehearsed, and the last run of each has passed."), "{text}");
}

#[test]
fn an_interrupted_drill_leaves_no_server_and_no_file_behind() {
    let temporary = folder();
    let mut drill = eds(temporary.path());
    drill.args(["drill", "db-failover", "--records", "100", "--load", "1000000000"]);
    let mut drill = drill.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(drill.stderr.take().unwrap()).lines();
    // From here on a load is under way that would not end by itself.
    said.by_ref().map(Result::unwrap).find(|line| line.contains("the ledger holds")).unwrap();
    assert!(!names(temporary.path()).is_empty());
    let sent = Command::new("kill").args(["-INT", &drill.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let rest: Vec<String> = said.map(Result::unwrap).collect();
    assert_eq!(drill.wait().unwrap().code(), Some(130), "{rest:?}");
    assert_eq!(names(temporary.path()), [""; 0], "nothing is left behind");
}

#[test]
fn what_is_missing_is_one_sentence_before_anything_is_started() {
    for args in [
        &["drill", "db-failover", "--postgres-bin", "/nowhere"][..],
        &["drill", "s3-object-recovery", "--weed", "/nowhere/weed"],
        &["drill", "db-restore", "--eds", "/nowhere/eds"],
    ] {
        let temporary = folder();
        let output = eds(temporary.path()).args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains("/nowhere"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}
