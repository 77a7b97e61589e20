//! Logs and metrics of the command.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Folder, fleet, ndjson};

const INGEST: [&str; 6] = ["ingest", "export.ndjson", "--payloads", "payloads", "--register", "keys.json"];

fn run(folder: &Folder, variables: &[(&str, &str)]) -> (i32, String, String) {
    let output = folder.command().args(INGEST).envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn logs_are_for_who_asks_for_them() {
    let (folder, fleet) = fleet(50);
    folder.write_payloads("payloads", &fleet);
    let (code, stdout, stderr) = run(&folder, &[("RUST_LOG", "edgesentry_rs=info")]);
    assert_eq!((code, stdout.as_str()), (0, "INGESTED  50 records: 50 accepted, 0 duplicate\n"), "{stderr}");
    let lines: Vec<Value> = stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 50);
    for line in &lines {
        assert_eq!(
            (&line["level"], &line["target"]),
            (&"INFO".into(), &"edgesentry_rs::ingest::storage".into())
        );
        assert_eq!(line["fields"]["message"], "record accepted");
        assert!(line["fields"]["device_id"].is_string() && line["fields"]["sequence"].is_u64(), "{line}");
    }
    // Now they are duplicates, which only the verification logs.
    assert_eq!(run(&folder, &[("RUST_LOG", "edgesentry_rs=info")]).2, "");
    let asked = [("EDS_TELEMETRY__LOG_FILTER", "edgesentry_rs::ingest::verify=debug")];
    assert_eq!(run(&folder, &asked).2.matches("duplicate record rejected").count(), 50);
    let text = [asked[0], ("EDS_TELEMETRY__LOG_FORMAT", "text"), ("EDS_TELEMETRY__LOG_OUTPUT", "stdout")];
    let (_, stdout, stderr) = run(&folder, &text);
    assert_eq!((stdout.lines().count(), stderr.as_str()), (51, ""));
    // No logs are requested.
    assert_eq!(run(&folder, &[]).2, "");
    let mut verbose = folder.command();
    let stderr = verbose.args(INGEST).arg("-vv").output().unwrap().stderr;
    assert_eq!(String::from_utf8(stderr).unwrap().matches("duplicate record rejected").count(), 50);
    let (code, _, stderr) = run(&folder, &[("RUST_LOG", "edgesentry_rs=loud")]);
    assert_eq!(code, 2);
    assert!(stderr.contains("RUST_LOG"), "{stderr}");
}

#[test]
fn signing_is_an_event() {
    let folder = Folder::new();
    assert_eq!(folder.eds("keygen --device lift-01").code, 0);
    std::fs::write(folder.path("1.bin"), "door").unwrap();
    let sign = |filter: &str| {
        let mut command = folder.command();
        command.args(["sign-record", "--key", "lift-01.seed", "--device", "lift-01"]);
        command.args(["--payload", "1.bin", "--object-ref", "1.bin"]).env("RUST_LOG", filter);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let record: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(record["sequence"], 1);
        String::from_utf8(output.stderr).unwrap()
    };
    let told: Value = serde_json::from_str(&sign("edgesentry_rs=debug")).unwrap();
    assert_eq!((&told["level"], &told["target"]), (&"DEBUG".into(), &"edgesentry_rs::agent".into()));
    let fields = serde_json::json!({
        "message": "signing record", "device_id": "lift-01", "sequence": 1, "payload_bytes": 4
    });
    assert_eq!(told["fields"], fields);
    assert_eq!(sign("edgesentry_rs=info"), "");
}

#[test]
fn metrics_are_served_during_ingest() {
    let (folder, fleet) = fleet(50);
    folder.write_payloads("payloads", &fleet);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = address.to_string();
    let mut command = folder.command();
    command.args(["ingest", "-", "--payloads", "payloads", "--register", "keys.json", "--metrics-listen"]);
    command.arg(&listen).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let scrape = || {
        let mut connection = TcpStream::connect(address).ok()?;
        write!(connection, "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    let answer = loop {
        if let Some(answer) = scrape() {
            break answer;
        }
        assert!(Instant::now() < deadline, "no answer at {listen}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(answer.contains("\nedgesentry_ingest_accepted_total 0\n"), "{answer}");
    stdin.write_all(ndjson(&fleet.records).as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait_with_output().unwrap().status.success());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let line =
        format!("ingest export.ndjson --payloads payloads --metrics-listen {}", taken.local_addr().unwrap());
    let run = folder.eds(&line);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("cannot listen"), "{}", run.stderr);
}
