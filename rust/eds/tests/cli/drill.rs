//! `eds drill`: rehearsed failures, on real servers.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Folder, log_metrics};

const TIMEOUT: Duration = Duration::from_secs(120);

#[test]
fn the_drills_are_listed_with_their_programs() {
    let folder = Folder::new();
    let run = folder.eds("drill list");
    assert_eq!(run.code, 0);
    assert!(run.stdout.contains("alert-fire\n"), "{}", run.stdout);
    let listed = folder.eds("--json drill list").envelope()["drills"].clone();
    let drills = listed.as_array().unwrap();
    let named = |name: &str| drills.iter().find(|drill| drill["name"] == name).unwrap();
    assert_eq!(named("alert-fire")["needs"][0]["program"], "prometheus");
    for name in ["db-failover", "db-restore", "s3-object-recovery", "rpo"] {
        assert!(!named(name)["needs"].as_array().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn every_alert_reaches_the_webhook_while_the_service_logs_at_info() {
    let folder = Folder::new();
    let mut command = folder.command();
    command.args([
        "--json",
        "drill",
        "alert-fire",
        "--report-dir",
        "drills",
        "--metrics-file",
        "drills.prom",
    ]);
    let output = command.env("RUST_LOG", "edgesentry_rs=info").output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    let envelope: Value = serde_json::from_str(&stdout).unwrap();
    let drill = &envelope["drill"];
    assert_eq!((&envelope["ok"], &drill["status"]), (&true.into(), &"passed".into()));
    let times = drill["measures"].as_array().unwrap();
    let names: Vec<&str> = times.iter().map(|measure| measure["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "signature_failure_seen_seconds",
            "signature_failure_surge_seconds",
            "chain_break_seconds",
            "ingest_storage_error_seconds",
            "high_rejection_rate_seconds"
        ]
    );
    // A line of JSON for each step, as it happened.
    let lines = stderr.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let steps: Vec<Value> = lines.filter(|line| line.get("step").is_some()).collect();
    assert_eq!(steps.len(), drill["timeline"].as_array().unwrap().len());

    let files = drill["files"].as_array().unwrap();
    assert_eq!(files.len(), 2);
    let report: Value = serde_json::from_str(&folder.read(files[0].as_str().unwrap())).unwrap();
    assert_eq!(report["checks"], drill["checks"]);
    assert!(folder.read(files[1].as_str().unwrap()).starts_with("alert-fire: passed in "));
    let metrics = folder.read("drills.prom");
    assert!(
        metrics.contains("edgesentry_drill_last_success_timestamp_seconds{drill=\"alert-fire\"} "),
        "{metrics}"
    );

    // The log pipeline counts the same from the log of the drill's service.
    folder.write("service.log", stderr);
    let counted = log_metrics::counted(&folder);
    for (series, value) in [
        ("ingest_error_total{component=\"raw_data_store\"}", 1),
        ("signature_fail_total", 31),
        ("chain_break_total", 1),
        ("ingest_rejected_total{reason=\"unknown_device\"}", 60),
    ] {
        log_metrics::has(&counted, series, value);
    }
}

#[test]
fn an_alert_that_comes_too_late_fails_the_drill() {
    let folder = Folder::new();
    // Alertmanager waits for 5 s before it sends a P1.
    let drill = "drill alert-fire --alert SignatureFailureSeen --within 1 --metrics-file drills.prom";
    let run = folder.eds(drill);
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.starts_with("FAILED  alert-fire in "), "{}", run.stdout);
    assert!(run.stdout.contains("it did not; the target is up"), "{}", run.stdout);
    let metrics = folder.read("drills.prom");
    assert!(metrics.contains("last_run") && !metrics.contains("last_success"), "{metrics}");
}

#[test]
fn servers_that_run_already_are_used() {
    let folder = Folder::new();
    let [listen, webhook] = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [listen, webhook] = [listen, webhook].map(|socket| socket.local_addr().unwrap().to_string());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers/prometheus");
    let servers = |args: &[&str]| {
        let mut command = Command::new(&script);
        command.args(args).env("SCRAPE", "1s").env("JOB", "edgesentry-drill");
        let output = command.env("WEBHOOK", format!("http://{webhook}")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let place = folder.path("servers");
    let place = place.to_str().unwrap();
    let urls = servers(&["start", place, &listen]);
    let (prometheus, alertmanager) = urls.trim().split_once(' ').unwrap();
    let drill = format!(
        "drill alert-fire --alert ChainBreak --prometheus {prometheus} --alertmanager {alertmanager} --listen {listen}"
    );
    let run = folder.eds(&format!("{drill} --webhook {webhook}"));
    let text = format!("{}{}", run.stdout, run.stderr);
    let elsewhere = folder.eds(&drill.replace(&listen, "127.0.0.1:0"));
    servers(&["stop", place]);
    assert_eq!(run.code, 0, "{text}");
    assert!(run.stdout.contains("at the webhook after"), "{text}");
    assert_eq!(elsewhere.code, 3, "{}", elsewhere.stderr);
    assert!(elsewhere.stderr.contains("among its targets; add it"), "{}", elsewhere.stderr);
}

#[test]
fn a_missing_program_is_named_before_anything_is_started() {
    let folder = Folder::new();
    let mut command = folder.command();
    command.args(["drill", "alert-fire"]).env("PATH", folder.0.path()).env("TMPDIR", folder.0.path());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let sentence = "error: prometheus is missing: no directory of PATH has it; install it (on Debian: apt install \
                    prometheus) and try again\n";
    assert_eq!(stderr, sentence);
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 0);
}

#[test]
fn unusable_options_are_refused_before_a_server_starts() {
    let folder = Folder::new();
    folder.write("other.prom", "node_time_seconds 1\n");
    for (arguments, word) in [
        ("--alert Nothing", "SignatureFailureSeen"),
        ("--metrics-file drills.txt", ".prom"),
        ("--metrics-file other.prom", "line 1"),
        ("--prometheus http://127.0.0.1:9", "--alertmanager"),
        ("--prometheus https://prometheus --alertmanager http://127.0.0.1:9", "forward"),
    ] {
        let run = folder.eds(&format!("drill alert-fire {arguments}"));
        assert_eq!(run.code, 2, "{arguments}: {}", run.stderr);
        assert!(run.stderr.contains(word), "{arguments}: {}", run.stderr);
    }
    let run =
        folder.eds("drill alert-fire --prometheus http://127.0.0.1:9 --alertmanager http://127.0.0.1:9");
    assert_eq!(run.code, 3, "{}", run.stderr);
}

#[test]
fn ctrl_c_stops_every_server() {
    let folder = Folder::new();
    let mut command = folder.command_for_signals();
    command.args(["drill", "alert-fire"]).env("TMPDIR", folder.0.path());
    let mut drill = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(drill.stderr.take().unwrap()).lines();
    let started = |line: &str| line.contains("Prometheus responds");
    assert!(lines.any(|line| started(&line.unwrap())));
    assert_eq!(processes_of(&folder), 2);
    let done = Command::new("kill").args(["-INT", &drill.id().to_string()]).status().unwrap();
    assert!(done.success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(drill.wait().unwrap().code(), Some(130), "{rest:?}");
    let begin = Instant::now();
    while processes_of(&folder) > 0 {
        assert!(begin.elapsed() < TIMEOUT, "a server is left");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 0, "no file is left");
}

/// Returns the number of processes with a path of a directory on their command line.
fn processes_of(folder: &Folder) -> usize {
    let folder = folder.0.path().to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap();
    let commands = processes.filter_map(|process| std::fs::read(process.ok()?.path().join("cmdline")).ok());
    commands.filter(|command| String::from_utf8_lossy(command).contains(folder)).count()
}
