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
