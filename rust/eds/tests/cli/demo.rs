//! `eds demo`.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use edgesentry_chain::{FindingCode, Level};

use crate::Folder;
use crate::serve::Served;

#[test]
fn every_tampering_has_its_findings() {
    let folder = Folder::new();
    let run = folder.eds("--json demo --records 500");
    let demo = run.envelope()["demo"].clone();
    assert_eq!((run.code, &demo["verdict"], &demo["records"]), (0, &"valid".into(), &500.into()));
    let stages = demo["stages"].as_array().unwrap();
    let names: Vec<&str> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["sign", "ingest", "export", "verify"]);
    assert!(stages.iter().all(|stage| stage["records"] == 500), "{demo:#}");
    assert_eq!(demo["bundle"]["verdict"], "valid", "{demo:#}");
    let trials = demo["tampering"].as_array().unwrap();
    assert!(trials.iter().all(|trial| trial["as_expected"] == true), "{demo:#}");
    let found = trials.iter().flat_map(|trial| trial["found"].as_array().unwrap());
    let codes: BTreeSet<&str> = found.map(|finding| finding["code"].as_str().unwrap()).collect();
    let shown = |code: &&FindingCode| match **code {
        FindingCode::CheckpointInconsistent => true,
        // No device of the demo replaces its key.
        FindingCode::SuccessionInvalid => false,
        code => code.level() != Level::Log,
    };
    let all: BTreeSet<&str> = FindingCode::ALL.iter().filter(shown).map(|code| code.name()).collect();
    assert_eq!(codes, all, "the demo shows every finding but most of the log and successions");
    let unseen: Vec<&str> = trials
        .iter()
        .filter(|trial| trial["found"] == serde_json::json!([]))
        .map(|trial| trial["tampering"].as_str().unwrap())
        .collect();
    let expected = ["a time edited, re-linked (payload-hash)", "a time edited, the log rebuilt and signed"];
    assert_eq!(unseen, expected);
}

#[test]
fn the_commands_that_it_suggests_work() {
    let folder = Folder::new();
    let run = folder.eds("demo --records 100");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    assert!(run.stdout.lines().count() <= 40, "more than a screen:\n{}", run.stdout);
    let lines: Vec<&str> = run.stdout.lines().collect();
    // That one runs until it is stopped; the next test has it.
    let ends = |line: &str| line.starts_with("  eds ") && !line.starts_with("  eds serve");
    let suggestions = lines.windows(2).filter(|pair| ends(pair[0]));
    let mut tried = 0;
    for pair in suggestions {
        let run = folder.eds(pair[0].trim().trim_start_matches("eds "));
        assert!(pair[1].ends_with(&format!("exit code {}", run.code)), "{pair:?} {}", run.stdout);
        tried += 1;
    }
    assert_eq!(tried, 4);
    let python = lines.iter().find(|line| line.starts_with("  python3 ")).unwrap();
    let mut words = python.split_whitespace();
    let done =
        std::process::Command::new(words.next().unwrap()).args(words).current_dir(folder.path("")).output();
    let done = done.unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stdout));
    let page = folder.read("edgesentry-demo/bundle/case.html");
    assert!(page.len() > folder.read("edgesentry-demo/bundle/verify.html").len() + 10_000);
    let export = "edgesentry-demo/export.json";
    let run = folder.eds(&format!(
        "verify-chain {export} --keys edgesentry-demo/keys.json --heads edgesentry-demo/heads.json \
         --manifest {export}.manifest.json --require signatures,heads"
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    // Once more over the same directory.
    assert_eq!(folder.eds("demo --records 100").code, 0);
}

#[test]
fn its_console_opens_with_its_token() {
    let folder = Folder::new();
    let run = folder.eds("demo --records 100");
    let command = run.stdout.lines().find(|line| line.starts_with("  eds serve ")).unwrap();
    let config = command.trim().strip_prefix("eds serve --config ").unwrap();
    let mut served = folder.command();
    served.env("EDS_CONFIG", config);
    let served = Served::start(served, "127.0.0.1:0");
    let token = folder.read("edgesentry-demo/console.token");
    let mode = std::fs::metadata(folder.path("edgesentry-demo/console.token")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    let form = format!("token={}", token.trim());
    let mut stream = std::net::TcpStream::connect(served.address()).unwrap();
    write!(
        stream,
        "POST /console/login HTTP/1.1\r\nhost: x\r\nsec-fetch-site: same-origin\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{form}",
        form.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 303") && answer.contains("location: /console\r\n"), "{answer}");
    assert!(run.stdout.contains("http://127.0.0.1:8080/console"), "{}", run.stdout);
}

#[test]
fn a_foreign_folder_is_left_alone() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("mine")).unwrap();
    folder.write("mine/export.json", "precious");
    let run = folder.eds("demo --dir mine --records 100");
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("mine: exists and was not made by eds demo"), "{}", run.stderr);
    assert_eq!(folder.read("mine/export.json"), "precious");
    assert_eq!(std::fs::read_dir(folder.path("mine")).unwrap().count(), 1);
    folder.write("file", "");
    assert_eq!(folder.eds("demo --dir file").code, 2);
    assert_eq!(folder.eds("demo --records 99").code, 2);
    std::fs::create_dir(folder.path("empty folder")).unwrap();
    assert_eq!(folder.run(&["demo", "--dir", "empty folder", "--records", "100"], b"").code, 0);
}
