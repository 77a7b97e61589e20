//! `eds config check`, and the sources of settings.

use serde_json::json;

use crate::{Folder, ledger};

#[test]
fn the_stores_are_named_and_respond() {
    let (folder, _) = ledger(100);
    let run = folder.eds("config check");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(run.stdout);
    let config = folder.eds("--json config check").envelope()["config"].clone();
    assert_eq!(
        config["ledger"],
        json!({"kind": "sqlite", "place": "edgesentry.db", "answers": true, "problem": null})
    );
    assert_eq!(config["payloads"]["kind"], "ledger");
}

#[test]
fn the_settings_of_the_console_are_shown_without_secrets() {
    let (folder, _) = ledger(100);
    let off = folder.eds("--json config check").envelope()["config"].clone();
    assert_eq!(off["console"], json!(null));
    folder.write(
        "eds.toml",
        "[serve.console]\nenabled = true\nalertmanager = \"https://me:hush@alerts.example\"\noperations = \"eds.prom\"\n",
    );
    let run = folder.eds("config check --config eds.toml");
    assert!(
        run.stdout.contains(
            "console   on, alertmanager https://me:***@alerts.example, operations eds.prom, no policy\n"
        ),
        "{}",
        run.stdout
    );
    let run = folder.eds("--json config check --config eds.toml");
    assert_eq!(run.envelope()["config"]["console"]["operations"], "eds.prom");
    assert!(!run.stdout.contains("hush"));
}

#[test]
fn nothing_is_made_unless_asked_for() {
    let folder = Folder::new();
    let run = folder.eds("config check");
    assert_eq!(run.code, 2);
    assert_eq!(
        run.stderr,
        "error: edgesentry.db: there is no ledger; eds serve --create and eds ingest --register create one, or set sqlite:PATH or postgres://…\n"
    );
    let stores = "--ledger a.db --payload-store folder:p";
    assert_eq!(folder.eds(&format!("config check {stores}")).code, 2);
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 0);
    assert_eq!(folder.eds(&format!("config check --create {stores}")).code, 0);
    assert!(folder.path("a.db").exists() && folder.path("p").is_dir());
    assert_eq!(folder.eds(&format!("config check {stores}")).code, 0);
}

#[test]
fn flags_come_before_variables_and_variables_before_the_file() {
    let folder = Folder::new();
    for file in ["file.db", "variable.db", "flag.db"] {
        assert_eq!(folder.eds(&format!("config check --create --ledger {file}")).code, 0);
    }
    folder.write("eds.toml", "ledger = \"sqlite:file.db\"\n[ingest]\nbatch_records = 7\n");
    let check = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = folder.command();
        command.envs(variables.iter().copied()).args(["--json", "config", "check"]).args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["config"].clone()
    };
    let file = [("EDS_CONFIG", "eds.toml")];
    let config = check(&file, &[]);
    assert_eq!((&config["ledger"]["place"], &config["file"]), (&json!("file.db"), &json!("eds.toml")));
    assert_eq!(config["ingest"]["batch_records"], 7);
    let both = [("EDS_CONFIG", "eds.toml"), ("EDS_LEDGER", "variable.db"), ("EDS_INGEST__ATTEMPTS", "2")];
    let config = check(&both, &[]);
    assert_eq!(config["ledger"]["place"], "variable.db");
    assert_eq!(config["variables"], json!(["EDS_INGEST__ATTEMPTS", "EDS_LEDGER"]));
    assert_eq!(config["ingest"]["attempts"], 2);
    assert_eq!(check(&both, &["--ledger", "flag.db"])["ledger"]["place"], "flag.db");
    assert_eq!(check(&[], &["--config", "eds.toml"])["ledger"]["place"], "file.db");
}

#[test]
fn unknown_and_wrong_settings_are_usage() {
    let (folder, _) = ledger(100);
    for (toml, word) in [
        ("leger = \"x\"", "leger"),
        ("[s3]\nbuckt = \"x\"", "buckt"),
        ("[ingest]\nattempts = \"many\"", "attempts"),
        ("ledger = [", "eds.toml"),
        ("ledger = \"\"", "ledger is empty"),
        ("payloads = \"ftp://x\"", "ftp://x"),
    ] {
        folder.write("eds.toml", toml);
        for command in ["config check", "device list", "verify-chain --ledger --payload-store"] {
            if command == "device list" && toml.starts_with("payloads") {
                continue;
            }
            let run = folder.eds(&format!("--json {command} --config eds.toml"));
            let error = run.envelope()["error"].clone();
            assert_eq!((run.code, error["code"].as_str()), (2, Some("config")), "{command}: {toml}");
            assert!(error["message"].as_str().unwrap().contains(word), "{error}");
        }
    }
    assert_eq!(folder.eds("config check --config absent.toml").code, 2);
    let run = folder.command().args(["device", "list"]).env("EDS_LEGER", "x").output().unwrap();
    assert_eq!(run.status.code(), Some(2));
}

#[test]
fn secrets_are_not_shown() {
    let folder = Folder::new();
    // No server listens on port 1.
    let toml = "ledger = \"postgres://me:hush@127.0.0.1:1/audit\"\npayloads = \"s3://bucket\"\n\
                [s3]\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"me\"\nsecret_access_key = \"hush\"\n";
    folder.write("eds.toml", toml);
    for line in ["config check", "--json config check", "device list", "heads --ledger"] {
        let run = folder.eds(&format!("{line} --config eds.toml"));
        assert_eq!(run.code, 3, "{line}: {}{}", run.stdout, run.stderr);
        assert!(!run.stdout.contains("hush") && !run.stderr.contains("hush"), "{line}: {}", run.stderr);
    }
    for ledger in ["mysql://me:hush@db/audit", "postgres://me:hush@/audit?sslmode=nonsense"] {
        let run = folder.run(&["config", "check", "--ledger", ledger], b"");
        assert!(run.code >= 2 && !run.stderr.contains("hush"), "{}", run.stderr);
    }
}

#[test]
fn a_store_that_does_not_respond_is_not_a_usage_error() {
    let (folder, _) = ledger(100);
    folder.write("text.db", "this is no database, however long it may be".repeat(100));
    let run = folder.eds("--json config check --ledger text.db");
    assert_eq!((run.code, run.envelope()["error"]["code"].as_str()), (3, Some("store")));
    // The ledger works, the bucket does not; both are reported.
    folder.write(
        "eds.toml",
        "payloads = \"s3://bucket\"\n[s3]\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"a\"\n\
         secret_access_key = \"b\"\nattempts = 1\n",
    );
    let run = folder.eds("--json config check --config eds.toml");
    let config = run.envelope()["config"].clone();
    assert_eq!((run.code, &config["ledger"]["answers"]), (3, &json!(true)));
    assert_eq!((&config["payloads"]["answers"], &config["payloads"]["kind"]), (&json!(false), &json!("s3")));
}

/// Everything that keeps the packs of payloads from being read is one sentence, and exit code 3.
#[test]
fn packs_that_cannot_be_read_are_reported() {
    let (folder, _) = ledger(60);
    let stores = "--ledger edgesentry.db --payload-store packs:kept";
    let ingest = format!("ingest export.ndjson --payloads payloads --register keys.json {stores}");
    std::fs::remove_file(folder.path("edgesentry.db")).unwrap();
    assert_eq!(folder.eds(&ingest).code, 0);
    let packs = folder.path("kept/.packs");
    let pack = std::fs::read_dir(&packs).unwrap().next().unwrap().unwrap().path();
    let index = pack.with_extension("index");
    let run_of = |create: &str| folder.eds(&format!("--json config check {create} {stores}"));
    let works = || {
        for create in ["", "--create"] {
            let run = run_of(create);
            assert_eq!(run.code, 0, "{create}: {}", run.stdout);
            assert_eq!(run.envelope()["config"]["payloads"]["kind"], "packs");
        }
    };
    let fails = |sentence: &str| {
        for create in ["", "--create"] {
            let run = run_of(create);
            let envelope = run.envelope();
            let message = envelope["error"]["message"].as_str().unwrap();
            assert_eq!((run.code, &envelope["error"]["code"]), (3, &json!("store")), "{create}: {message}");
            assert!(message.contains(sentence) && message.contains("kept"), "{create}: {message}");
            assert_eq!(envelope["config"]["payloads"]["answers"], false);
            // One line, also for people.
            let run = folder.eds(&format!("config check {create} {stores}"));
            assert_eq!((run.code, run.stderr.lines().count()), (3, 1), "{}", run.stderr);
        }
    };
    works();
    assert!(!index.exists());
    // A damaged index: its pack is read without it, and the option writes it again.
    std::fs::write(&index, "junk").unwrap();
    assert_eq!(run_of("").code, 0);
    assert_eq!(std::fs::read(&index).unwrap(), b"junk");
    works();
    assert!(std::fs::metadata(&index).unwrap().len() > 1000);
    std::fs::remove_file(&index).unwrap();
    // Something else has its name.
    std::fs::create_dir(&index).unwrap();
    fails(".index is not a file of the store; move it away");
    std::fs::remove_dir(&index).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &index).unwrap();
    fails(".index is not a file of the store; move it away");
    std::fs::remove_file(&index).unwrap();
    // The header of the pack.
    let bytes = std::fs::read(&pack).unwrap();
    std::fs::write(&pack, [b"junk", &bytes[4..]].concat()).unwrap();
    fails("is not a pack of payloads, is damaged");
    std::fs::write(&pack, &bytes).unwrap();
    // The directory.
    let moved = folder.path("moved");
    std::fs::rename(&packs, &moved).unwrap();
    std::fs::write(&packs, "").unwrap();
    fails("is not a directory of the store; move it away");
    std::fs::remove_file(&packs).unwrap();
    std::fs::rename(&moved, &packs).unwrap();
    works();
    // Another process writes: nothing is wrong, and the packs stay.
    let writer = std::fs::File::open(&pack).unwrap();
    writer.lock().unwrap();
    std::fs::write(&index, "junk").unwrap();
    works();
    assert_eq!(std::fs::read(&index).unwrap(), b"junk");
    let run = folder.eds("--json unpack kept");
    let message = run.envelope()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!((run.code, run.envelope()["error"]["code"].as_str()), (3, Some("store")));
    assert!(message.contains("another process writes to it; stop that process"), "{message}");
    drop(writer);
    works();
}

#[test]
fn packs_of_another_user_are_reported() {
    use std::os::unix::fs::{PermissionsExt, chown};

    use crate::reading::{as_nobody, is_root};

    let (folder, _) = ledger(60);
    std::fs::remove_file(folder.path("edgesentry.db")).unwrap();
    let stores = "--ledger edgesentry.db --payload-store packs:kept";
    let run = folder.eds(&format!("ingest export.ndjson --payloads payloads --register keys.json {stores}"));
    assert_eq!(run.code, 0);
    if is_root() {
        for path in [".", "edgesentry.db", "kept", "kept/.partial", "kept/.packs"] {
            chown(folder.path(path), Some(65534), Some(65534)).unwrap();
        }
    }
    let packs = folder.path("kept/.packs");
    let pack = std::fs::read_dir(&packs).unwrap().next().unwrap().unwrap().path();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let check = |create: &str| {
        let mut command = folder.command();
        command.args(format!("--json config check {create} {stores}").split_whitespace());
        let output = as_nobody(&mut command).output().unwrap();
        let envelope: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = envelope["error"]["message"].as_str().unwrap_or_default().to_owned();
        (output.status.code().unwrap(), message)
    };
    // The pack can be read and not be written: a reader needs no more.
    mode(&pack, 0o444);
    assert_eq!(check(""), (0, String::new()));
    let (code, message) = check("--create");
    assert_eq!(code, 3, "{message}");
    assert!(message.contains(".pack: Permission denied"), "{message}");
    for (path, closed, open, place) in [(&pack, 0o000, 0o666, ".pack: "), (&packs, 0o000, 0o755, "kept")] {
        mode(path, closed);
        for create in ["", "--create"] {
            let (code, message) = check(create);
            assert_eq!(code, 3, "{message}");
            assert!(message.contains(place) && message.contains("Permission denied"), "{message}");
        }
        mode(path, open);
    }
    assert_eq!((check("").0, check("--create").0), (0, 0));
}
