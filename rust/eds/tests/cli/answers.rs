//! Exit codes, the envelope, and escaped output.

use std::process::Stdio;

use edgesentry_chain::{Device, Scheme};

use crate::{Folder, fleet};

#[test]
fn help_names_commands_and_exit_codes() {
    let folder = Folder::new();
    let run = folder.eds("--help");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(run.stdout);
    assert_eq!(folder.eds("--version").stdout, format!("eds {}\n", env!("CARGO_PKG_VERSION")));
    // The parser lists them with two spaces, the name, and the summary.
    let commands = run.stdout.split("\n\n").find_map(|part| part.strip_prefix("Commands:\n")).unwrap();
    let commands = commands.lines().filter_map(|line| line.strip_prefix("  "));
    let commands: Vec<&str> =
        commands.filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()).collect();
    assert!(
        commands.len() > 18 && commands.contains(&"ops") && commands.ends_with(&["help"]),
        "{commands:?}"
    );
    for command in commands.iter().filter(|name| **name != "help") {
        let run = folder.eds(&format!("{command} --help"));
        assert_eq!(run.code, 0);
        assert!(run.stdout.contains("Examples:\n"), "{}", run.stdout);
    }
}

#[test]
fn bad_arguments_are_usage() {
    let folder = Folder::new();
    for line in ["", "verify", "verify-chain", "verify-chain x --require links", "keygen --scheme x"] {
        let run = folder.eds(line);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{line}");
    }
    let run = folder.eds("verify-chain --json");
    let envelope = run.envelope();
    assert_eq!((run.code, &envelope["command"]), (2, &"verify-chain".into()));
    assert_eq!(envelope["error"]["code"], "usage");
    assert_eq!(envelope["error"]["exit_code"], 2);
    let message = "the following required arguments were not provided: <FILE>...";
    assert_eq!(envelope["error"]["message"], message);
    assert_eq!(folder.eds("--json nothing").envelope()["command"], serde_json::Value::Null);
}

#[test]
fn a_result_names_its_subcommand() {
    let (folder, _) = fleet(3);
    let command = |line: &str| folder.eds(line).envelope()["command"].clone();
    assert_eq!(command("--json verify export.ndjson"), "verify-chain");
    assert_eq!(command("--json device keys --ledger absent.db"), "device keys");
    assert_eq!(command("device rotate --json"), "device rotate");
}

#[test]
fn former_names_of_options_work_and_warn() {
    let (folder, fleet) = fleet(50);
    folder.write_payloads("payloads", &fleet);
    let run = folder.eds("keygen --out a.seed");
    let warning = "warning: --out is now --output; the next release removes the old name\n";
    assert_eq!((run.code, run.stderr.as_str()), (0, warning));
    assert_eq!(folder.eds("-q keygen --out=b.seed").stderr, "");
    assert_eq!(folder.eds("keygen -o c.seed").stderr, "");
    let run = folder
        .eds("ingest export.ndjson --payloads-from payloads --payloads folder:kept --register keys.json");
    let warning = "warning: --payloads-from is now --payloads; the next release removes the old name\n\
                   warning: --payloads of a store is now --payload-store; the next release removes the old name\n";
    assert_eq!((run.code, run.stderr.as_str()), (0, warning));
    assert!(folder.path("kept").is_dir());
    let run = folder.eds("ingest export.ndjson --payloads folder:kept");
    let message = "error: folder:kept: --payloads is a directory; a payload store is --payload-store\n";
    assert_eq!((run.code, run.stderr.as_str()), (2, message));
    let mut command = folder.command();
    command.args(["device", "list", "--url", "http://127.0.0.1:9"]).env("EDGESENTRY_TOKEN", "eds_0");
    let stderr = String::from_utf8(command.output().unwrap().stderr).unwrap();
    let warning =
        "warning: the variable EDGESENTRY_TOKEN is now EDS_TOKEN; the next release removes the old name\n";
    assert!(stderr.starts_with(warning), "{stderr}");
}

#[test]
fn an_input_that_cannot_be_read_is_not_a_verdict() {
    let folder = Folder::new();
    let run = folder.eds("verify-chain absent.json");
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert_eq!(run.stderr, "error: absent.json: cannot open: No such file or directory (os error 2)\n");
    let run = folder.eds("verify-chain . --json");
    assert_eq!(run.code, 3);
    assert_eq!(run.envelope()["error"]["code"], "unreadable");
    folder.write("text.json", "hello");
    let run = folder.eds("verify-chain text.json --json");
    assert_eq!(run.code, 3);
    assert_eq!(run.envelope()["error"]["code"], "unreadable");
}

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let folder = Folder::new();
    let hostile = "\x1b]0;owned\x07\x1b[2J\u{202e}\u{9b}31m\nVALID";
    let mut device = Device::from_seed(hostile, [1; 32], Scheme::Record);
    let records = [device.sign(1, b"a", hostile).unwrap(), device.sign(2, b"b", hostile).unwrap()];
    folder.write_records("export.ndjson", &records[1..]);
    folder.write("keys.json", "{}");
    let hostile_key = serde_json::json!({hostile: "zz"}).to_string();
    folder.write("hostile-keys.json", hostile_key);
    folder.write("payloads", "");
    std::fs::remove_file(folder.path("payloads")).unwrap();
    std::fs::create_dir(folder.path("payloads")).unwrap();
    let is_safe = |text: &str| {
        text.chars().all(|c| c == '\n' || !(c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)))
    };
    for line in [
        "verify-chain export.ndjson --keys keys.json --payloads payloads",
        "--json verify-chain export.ndjson --keys keys.json",
        "verify-chain export.ndjson --keys hostile-keys.json",
        "--json verify-chain export.ndjson --keys hostile-keys.json",
        "verify-record export.ndjson --keys keys.json",
        "heads export.ndjson --force",
        "heads export.ndjson --json --force",
    ] {
        let run = folder.eds(line);
        assert!(is_safe(&run.stdout) && is_safe(&run.stderr), "{line}:\n{:?}\n{:?}", run.stdout, run.stderr);
    }
    let run = folder.eds("verify-chain export.ndjson --keys keys.json");
    assert!(
        run.stdout.contains(r"\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}\u{9b}31m\u{a}VALID"),
        "{}",
        run.stdout
    );
}

#[test]
fn colours_are_for_terminals() {
    let (folder, _) = fleet(100);
    let args = ["verify-chain", "export.ndjson"];
    let plain = folder.command().args(args).output().unwrap();
    assert!(!plain.stdout.contains(&0x1b));
    let forced = folder.command().args(args).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(forced.stdout.contains(&0x1b));
    let refused = folder.command().args(args).env("NO_COLOR", "1").output().unwrap();
    assert!(!refused.stdout.contains(&0x1b));
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let (folder, fleet) = fleet(5_000);
    // Every second record is missing: far more JSON than a pipe holds.
    let records: Vec<_> = fleet.records.iter().step_by(2).cloned().collect();
    folder.write_records("export.ndjson", &records);
    for (args, code) in [
        (vec!["--json", "verify-chain", "export.ndjson"], 1),
        (vec!["verify-chain", "export.ndjson"], 1),
        (vec!["--help"], 0),
    ] {
        let mut command = folder.command();
        let mut child = command.args(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
            (Some(code), "")
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let (folder, _) = fleet(100);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = folder.command();
    let output = command.args(["verify-chain", "export.ndjson"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: cannot write to stdout"));
}
