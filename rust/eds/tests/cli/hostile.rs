//! A list of hostile names, through every output.

use std::collections::BTreeSet;

use edgesentry_chain::{AuditRecord, Device, KeyRing, RingKey, Scheme, escape};
use serde_json::{Value, json};

use crate::{Folder, Run};

/// Returns the names; Python's tests read them from the same file.
fn names() -> Vec<String> {
    let file =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/hostile_names.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// A record of each device, and keys of all.
struct Hostile {
    names: Vec<String>,
    records: Vec<AuditRecord>,
    keys: KeyRing,
}

fn hostile() -> Hostile {
    let (names, mut keys, mut records) = (names(), KeyRing::new(), Vec::new());
    for name in &names {
        let mut device = Device::from_seed(name.as_str(), [7; 32], Scheme::Record);
        let key = RingKey { key: device.public_key().unwrap(), scheme: Scheme::Record, valid_from: 1 };
        keys.insert(name, key).unwrap();
        records.push(device.sign(1, b"payload", format!("payloads/{name}")).unwrap());
    }
    Hostile { names, records, keys }
}

/// Fails if a terminal or a runner would act on a line, or if a character in it is invisible.
fn check(what: &str, text: &str) {
    for line in text.split('\n') {
        let acts = ["##[", "##vso[", "##teamcity["].iter().any(|command| line.contains(command));
        assert!(!acts && !line.trim_start().starts_with("::"), "{what}: a runner acts on {line:?}");
        let unseen: Vec<char> = line.chars().filter(|c| escape::is_unseen(*c)).collect();
        assert!(unseen.is_empty(), "{what}: {unseen:?} in {line:?}");
    }
}

fn check_run(line: &str, run: &Run) {
    check(line, &run.stdout);
    check(line, &run.stderr);
}

/// Returns the names at the ends of the lines that begin with `start`.
fn shown<'t>(text: &'t str, start: &str, end: &str) -> BTreeSet<&'t str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(start));
    lines.filter_map(|line| line.split_once(end).map(|(name, _)| name)).collect()
}

#[test]
fn reports_show_hostile_names_without_harm() {
    let folder = Folder::new();
    let Hostile { names, mut records, .. } = hostile();
    // Each has a finding and a head.
    for record in &mut records {
        record.prev_record_hash.0[0] ^= 1;
    }
    folder.write_records("a, b:1%.ndjson", &records);
    folder.write("keys.json", "{}");
    let heads: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| (format!("{name}?"), json!({"sequence": 1, "hash": "00".repeat(32)})))
        .collect();
    folder.write("heads.json", json!({"version": 1, "heads": heads}).to_string());
    let run = |args: &[&str]| {
        let line = ["verify-chain", "a, b:1%.ndjson", "--keys", "keys.json", "--heads", "heads.json"];
        folder.run(&[&line, args].concat(), b"")
    };

    let text = run(&["--html", "page.html", "--junit", "junit.xml", "--sarif", "report.sarif"]);
    assert_eq!(text.code, 1, "{}", text.stderr);
    check_run("text", &text);
    for file in ["page.html", "junit.xml"] {
        // The page has colons of its own in its style.
        let written = folder.read(file);
        assert!(!written.contains("##[") && !written.contains("##vso["), "{file}");
        assert!(written.chars().all(|c| c == '\n' || !escape::is_unseen(c)), "{file}");
        assert!(!written.contains("<script>alert"), "{file}");
    }
    let sarif = folder.read("report.sarif");
    check("sarif", &sarif);
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert!(results.iter().any(|result| result["ruleId"] == "device_missing"));
    for result in results {
        let uri = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(uri, "a%2C%20b%3A1%25.ndjson", "{result}");
    }

    let json = run(&["--json"]);
    check_run("json", &json);
    let envelope = json.envelope();
    let found: BTreeSet<&str> = envelope["report"]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["code"] == "unknown_device")
        .map(|finding| finding["device_id"].as_str().unwrap())
        .collect();
    assert_eq!(found, names.iter().map(String::as_str).collect());

    // Annotations are commands by intent: only ours, and a file is named unchanged.
    let annotated = run(&["--github"]);
    for line in annotated.stderr.lines() {
        let command = line.strip_prefix("::").and_then(|rest| rest.split([' ', ':']).next());
        assert!(matches!(command, Some("error" | "warning" | "notice")), "{line}");
        check("annotation", &line[2..]);
    }
    assert!(annotated.stderr.contains("file=a%2C b%3A1%25.ndjson::"), "{}", annotated.stderr);
}

#[test]
fn every_command_shows_hostile_names_without_harm() {
    let folder = Folder::new();
    let Hostile { names, records, keys } = hostile();
    folder.write_records("export.ndjson", &records);
    folder.write("keys.json", edgesentry_formats::write_key_ring(&keys));
    check("key ring", &folder.read("keys.json"));
    folder.write("bad-keys.json", json!({names[4].clone(): "zz", names[18].clone(): "zz"}).to_string());
    folder.write("payload", b"payload");

    for line in [
        "--json verify-chain export.ndjson --keys keys.json",
        "heads export.ndjson",
        "--json heads export.ndjson",
        "heads export.ndjson -o heads.json",
        "verify-chain export.ndjson --keys bad-keys.json",
        "--json verify-chain export.ndjson --keys bad-keys.json",
        "verify-record export.ndjson --keys keys.json",
        "ingest export.ndjson --payloads . --register keys.json",
        "--json ingest export.ndjson --payloads .",
        "export -o again.ndjson",
        "export --format ndjson",
        "export --format json",
        "device list",
        "--json device list",
        "device keys",
        "log",
        "--json log",
        "verify-chain --ledger --registered",
    ] {
        check_run(line, &folder.eds(line));
    }
    for file in ["heads.json", "again.ndjson", "again.ndjson.manifest.json"] {
        if folder.path(file).exists() {
            check(file, &folder.read(file));
        }
    }
    let list = folder.eds("device list");
    assert_eq!(shown(&list.stdout, "", "  no record yet").len(), names.len(), "{}", list.stdout);
    for name in &names {
        for args in [
            vec!["device", "revoke", name],
            vec!["device", "register", name, "--public-key", "00"],
            vec!["log", "--device", name],
            vec!["export", "-o", "x.ndjson", "--device", name],
            vec!["export", "-o", "x.ndjson", "--device", &format!("{name}?")],
            vec!["keygen", "--device", name, "--output", name],
            vec![
                "sign-record",
                "--key",
                "absent",
                "--device",
                name,
                "--payload",
                "payload",
                "--object-ref",
                name,
            ],
            vec!["verify-chain", name],
            vec!["verify-chain", "export.ndjson", "--html", &format!("absent/{name}")],
            vec!["push", "--url", "http://127.0.0.1:1", "--attempts", "1", name, "--payloads", "."],
            vec![name],
        ] {
            check_run(&args.join(" "), &folder.run(&args, b""));
        }
    }
}
