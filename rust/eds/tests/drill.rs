//! `eds drill` on real servers, in the short form: everything that a clone's own set-up must be able to do.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

#[test]
fn all_drills_pass_and_leave_their_reports_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (reports, metrics) = (folder.path().join("reports"), folder.path().join("drills.prom"));
    let before = leftovers();
    let mut eds = Command::new(env!("CARGO_BIN_EXE_eds"));
    for name in std::env::vars_os().map(|(name, _)| name) {
        if name.to_string_lossy().starts_with("EDS_") {
            eds.env_remove(name);
        }
    }
    eds.args(["--json", "drill", "all", "--short", "--report-dir"]).arg(&reports);
    let output = eds.arg("--metrics-file").arg(&metrics).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    let envelope: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(envelope["drills"]["passed"], 5, "{stdout}");

    let files: Vec<String> = std::fs::read_dir(&reports)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files.iter().filter(|file| file.ends_with(".json")).count(), 5, "{files:?}");
    assert!(files.iter().any(|file| file.starts_with("all-") && file.ends_with(".html")), "{files:?}");
    let metrics = std::fs::read_to_string(&metrics).unwrap();
    for drill in ["db-failover", "db-restore", "rpo", "s3-object-recovery", "alert-fire"] {
        let success = format!("edgesentry_drill_last_success_timestamp_seconds{{drill=\"{drill}\"}}");
        assert!(metrics.contains(&success), "{metrics}");
    }
    let report =
        Command::new(env!("CARGO_BIN_EXE_eds")).args(["drill", "report"]).arg(&reports).output().unwrap();
    let text = String::from_utf8_lossy(&report.stdout);
    assert_eq!(report.status.code(), Some(0), "{text}");
    assert!(text.contains("Every drill was rehearsed, and the last run of each has passed."), "{text}");
    // Other tests may have drills of their own under way.
    let ours: Vec<_> = leftovers().into_iter().filter(|left| !before.contains(left)).collect();
    assert!(ours.iter().all(|left| !stderr.contains(left.as_str())), "{ours:?}");
}

/// Folders of drills in the folder for temporary files.
fn leftovers() -> Vec<String> {
    let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("edgesentry-drill-")).collect()
}

#[test]
fn what_is_missing_is_one_sentence_before_anything_is_started() {
    for args in [
        &["drill", "db-failover", "--postgres-bin", "/nowhere"][..],
        &["drill", "s3-object-recovery", "--weed", "/nowhere/weed"],
        &["drill", "db-restore", "--eds", "/nowhere/eds"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_eds")).args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains("/nowhere"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}
