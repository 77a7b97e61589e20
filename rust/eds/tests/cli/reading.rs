//! Commands that read a ledger change nothing: neither bytes nor names, modes or times of its files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use sqlx::{Connection, Executor, SqliteConnection};

use crate::{Folder, ledger};

/// The commands that read a ledger; `{}` stands for its path.
const COMMANDS: [&str; 9] = [
    "verify-chain --ledger {} --registered --payload-store",
    "export --ledger {} --format ndjson",
    "heads --ledger {}",
    "log --ledger {}",
    "device list --ledger {}",
    "device keys --ledger {}",
    "config check --ledger {}",
    "ops verify-recovery --ledger {}",
    "--json verify-chain --ledger {}",
];

type State = BTreeMap<String, (Vec<u8>, u32, u32, (i64, i64), u64)>;

/// Returns all properties of a directory's files that a reader might change.
fn state(folder: &Path) -> State {
    let of = |entry: fs::DirEntry| {
        let metadata = entry.metadata().unwrap();
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        let bytes = fs::read(entry.path()).unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, (bytes, metadata.mode(), metadata.uid(), modified, metadata.ino()))
    };
    fs::read_dir(folder).unwrap().map(|entry| of(entry.unwrap())).collect()
}

/// Returns true if a command has succeeded. A checklist without snapshots has unknown items.
fn is_done(command: &str, code: Option<i32>) -> bool {
    code == Some(0) || (command.starts_with("ops verify-recovery") && code == Some(3))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs as the user `nobody`, who owns nothing here; without root the user stays the same, and the modes decide.
pub(crate) fn as_nobody(command: &mut Command) -> &mut Command {
    if is_root() { command.uid(65534).gid(65534) } else { command }
}

fn open(folder: &Folder, database: &str) -> (tokio::runtime::Runtime, SqliteConnection) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("sqlite:{}", folder.path(database).display());
    let connection = runtime.block_on(async {
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        // A connection opens the log with its first read.
        connection.execute("SELECT count(*) FROM audit_records").await.unwrap();
        connection
    });
    (runtime, connection)
}

/// Returns a ledger after its writer was closed, after it was killed, and a copy of the latter without the index of
/// the log; each in a directory of its own.
fn evidence() -> (Folder, [&'static str; 3]) {
    let (folder, _) = ledger(60);
    for name in ["closed", "killed", "copied"] {
        fs::create_dir(folder.path(name)).unwrap();
    }
    fs::copy(folder.path("edgesentry.db"), folder.path("closed/x.db")).unwrap();
    let (_runtime, _connection) = open(&folder, "edgesentry.db");
    let key = "00".repeat(31) + "01";
    let run = folder
        .eds(&format!("device register new --public-key {} --ledger edgesentry.db", key_of(&folder, &key)));
    assert_eq!(run.code, 0, "{}", run.stderr);
    for (name, suffixes) in [("killed", &["", "-wal", "-shm"][..]), ("copied", &["", "-wal"])] {
        for suffix in suffixes {
            let to = folder.path(&format!("{name}/x.db{suffix}"));
            fs::copy(folder.path(&format!("edgesentry.db{suffix}")), to).unwrap();
        }
    }
    (folder, ["closed", "killed", "copied"])
}

fn key_of(folder: &Folder, seed: &str) -> String {
    folder.write("seed", seed);
    fs::set_permissions(folder.path("seed"), fs::Permissions::from_mode(0o600)).unwrap();
    let run = folder.eds("--json inspect-key seed");
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.envelope()["key"]["public_key"].as_str().unwrap().to_owned()
}

#[test]
fn reading_leaves_evidence_unchanged() {
    let (folder, kinds) = evidence();
    for kind in kinds {
        let before = state(&folder.path(kind));
        for command in COMMANDS {
            let run = folder.eds(&command.replace("{}", &format!("sqlite:{kind}/x.db")));
            assert!(is_done(command, Some(run.code)), "{command}: {}{}", run.stdout, run.stderr);
            // The log is a part of the evidence, and the output states that.
            assert_eq!(run.stderr.contains("x.db-wal"), kind != "closed", "{command}: {}", run.stderr);
            assert!(state(&folder.path(kind)) == before, "{kind}: {command}");
        }
        let run = folder.eds(&format!("device list --ledger {kind}/x.db"));
        assert_eq!(run.stdout.contains("new"), kind != "closed", "{kind}: {}", run.stdout);
    }
}

#[test]
fn a_reader_who_may_not_write_changes_nothing_either() {
    let (folder, kinds) = evidence();
    fs::set_permissions(folder.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    // In a directory that every user can access.
    let program = folder.path("eds");
    fs::copy(env!("CARGO_BIN_EXE_eds"), &program).unwrap();
    for kind in kinds {
        for entry in fs::read_dir(folder.path(kind)).unwrap() {
            fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o444)).unwrap();
        }
        fs::set_permissions(folder.path(kind), fs::Permissions::from_mode(0o555)).unwrap();
        let before = state(&folder.path(kind));
        for command in COMMANDS {
            let line = command.replace("{}", &format!("{kind}/x.db"));
            let mut eds = folder.command_of(program.to_str().unwrap());
            let run = as_nobody(eds.args(line.split_whitespace())).output().unwrap();
            let said = String::from_utf8_lossy(&run.stderr).into_owned();
            assert!(is_done(command, run.status.code()), "{kind}: {line}: {said}");
            assert!(state(&folder.path(kind)) == before, "{kind}: {line}");
        }
        fs::set_permissions(folder.path(kind), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_ledger_of_another_user_is_named_in_the_error() {
    let (folder, _) = ledger(60);
    let program = folder.path("eds");
    fs::copy(env!("CARGO_BIN_EXE_eds"), &program).unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(folder.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(".", 0o755);
    let run = |line: &str| {
        let mut eds = folder.command_of(program.to_str().unwrap());
        let run = as_nobody(eds.args(line.split_whitespace())).output().unwrap();
        // With --json the error is in the envelope.
        let said = [run.stdout, run.stderr].concat();
        (run.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let problem = |what: &str, file: &str| {
        let file = folder.path(file).canonicalize().unwrap();
        format!(
            "permission denied: this user may not {what} {}; run it as the owner of the file",
            file.display()
        )
    };
    // Only its owner may access a ledger.
    mode("edgesentry.db", if is_root() { 0o600 } else { 0 });
    for command in COMMANDS {
        let (code, said) = run(&command.replace("{}", "edgesentry.db"));
        assert!(code != Some(0) && said.contains(&problem("read", "edgesentry.db")), "{command}: {said}");
        assert!(!said.contains("again"), "{command}: {said}");
    }
    let register = format!(
        "device register x --public-key {} --ledger edgesentry.db",
        key_of(&folder, &"07".repeat(32))
    );
    let (code, said) = run(&register);
    assert!(code == Some(3) && said.contains(&problem("read", "edgesentry.db")), "{said}");
    // A read-only ledger.
    mode("edgesentry.db", 0o444);
    let (code, said) = run(&register);
    assert!(code == Some(3) && said.contains(&problem("write", "edgesentry.db")), "{said}");
    // A log that only its owner can read.
    let (_runtime, _connection) = open(&folder, "edgesentry.db");
    assert_eq!(
        folder.eds(&register.replace("edgesentry.db", "./edgesentry.db")).code,
        if is_root() { 0 } else { 3 }
    );
    mode("edgesentry.db", 0o644);
    if is_root() {
        mode("edgesentry.db-wal", 0o600);
        let (code, said) = run("heads --ledger edgesentry.db");
        assert!(code == Some(3) && said.contains("ermission denied"), "{said}");
    }
}

#[test]
fn a_reader_does_not_stop_the_writer() {
    let (folder, fleet) = ledger(60);
    folder.write_records("new.ndjson", &fleet.records);
    fs::create_dir(folder.path("led")).unwrap();
    fs::rename(folder.path("edgesentry.db"), folder.path("led/a.db")).unwrap();
    // The directory belongs to a group with write permission, such as that of a service and its auditors.
    fs::set_permissions(folder.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(folder.path("led"), fs::Permissions::from_mode(0o2777)).unwrap();
    // Only its owner may access a new ledger; this one is opened to its readers.
    fs::set_permissions(folder.path("led/a.db"), fs::Permissions::from_mode(0o644)).unwrap();
    let program = folder.path("eds");
    fs::copy(env!("CARGO_BIN_EXE_eds"), &program).unwrap();
    let before = state(&folder.path("led"));
    for command in COMMANDS {
        let line = command.replace("{}", "led/a.db");
        let mut eds = folder.command_of(program.to_str().unwrap());
        let run = as_nobody(eds.args(line.split_whitespace())).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(is_done(command, run.status.code()), "{line}: {said}");
        assert!(state(&folder.path("led")) == before, "{line}");
    }
    let run = folder.eds("ingest new.ndjson --payloads payloads --ledger led/a.db");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    // While the writer runs, its log and the log's index stay its own, and all its operations still work.
    let (runtime, mut writer) = open(&folder, "led/a.db");
    let run = folder.eds("device revoke water-branch-1 --ledger led/a.db");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let names: Vec<String> = state(&folder.path("led")).into_keys().collect();
    assert_eq!(names, ["a.db", "a.db-shm", "a.db-wal"]);
    for command in COMMANDS {
        let line = command.replace("{}", "led/a.db");
        let mut eds = folder.command_of(program.to_str().unwrap());
        let run = as_nobody(eds.args(line.split_whitespace())).output().unwrap();
        assert!(is_done(command, run.status.code()), "{line}: {}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(state(&folder.path("led")).into_keys().collect::<Vec<_>>(), names);
    }
    runtime.block_on(async {
        let busy: (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut writer).await.unwrap();
        assert_eq!(busy.0, 0);
        writer.close().await.unwrap();
    });
    assert_eq!(state(&folder.path("led")).into_keys().collect::<Vec<_>>(), ["a.db"]);
}

#[test]
fn files_without_a_ledger_are_named_so_and_stay_as_they_are() {
    let folder = Folder::new();
    fs::create_dir(folder.path("x")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (name, journal) in [("notes", "delete"), ("logged", "wal")] {
            let url = format!("sqlite:{}?mode=rwc", folder.path(&format!("x/{name}.db")).display());
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            let sql = format!(
                "PRAGMA journal_mode = {journal}; CREATE TABLE notes (x); INSERT INTO notes VALUES (1)"
            );
            connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
            connection.close().await.unwrap();
        }
    });
    folder.write(
        "x/text.db",
        "no database, but longer than the header of one, which has a hundred bytes: ".repeat(9),
    );
    folder.write("x/empty.db", "");
    let before = state(&folder.path("x"));
    let writing =
        ["device register a --public-key {KEY} --ledger {}", "ingest none.ndjson --payloads x --ledger {}"];
    folder.write("none.ndjson", "");
    let key = key_of(&folder, &("00".repeat(31) + "01"));
    for name in ["notes", "logged", "text", "empty"] {
        for command in COMMANDS.iter().chain(&writing) {
            if name == "empty" && command.starts_with("device register") {
                continue;
            }
            let line = command.replace("{}", &format!("x/{name}.db")).replace("{KEY}", &key);
            let run = folder.eds(&line);
            // A file that is not a database cannot be opened; the others are not ledgers.
            let code = if name == "text" { 3 } else { 2 };
            assert_eq!(run.code, code, "{line}: {}{}", run.stdout, run.stderr);
            let said = format!("{}{}", run.stdout, run.stderr);
            assert!(said.contains("contains no ledger"), "{line}: {said}");
            assert!(state(&folder.path("x")) == before, "{line}");
        }
    }
}

#[test]
fn an_invalid_name_creates_no_file() {
    let folder = Folder::new();
    let key = key_of(&folder, &("00".repeat(31) + "01"));
    let before = state(&folder.path("."));
    for name in [
        "file:audit?mode=memory&cache=shared",
        "file:b.db",
        "sqlite:x.db?mode=rwc",
        "x.db?mode=memory",
        "sqlite3:x.db",
        "sqlite::memory:",
        ":memory:",
        "postgres:u:hush@db",
        "u:hush@db/x",
        "postgres://u:/hush@db/x",
        "postgres://u:12/34hush@db/x",
    ] {
        let run = folder.eds(&format!("device register a --public-key {key} --ledger {name}"));
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{name}: {}", run.stderr);
        assert!(run.stderr.lines().count() == 1 && !run.stderr.contains("hush"), "{name}: {}", run.stderr);
        assert!(state(&folder.path(".")) == before, "{name}");
    }
    // The characters of a path have no special meaning.
    for name in ["what?.db", "50%25.db", "a#b.db", "sqlite:c d?%.db"] {
        let run = folder.run(&["device", "register", "a", "--public-key", &key, "--ledger", name], b"");
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
        assert!(folder.path(name.trim_start_matches("sqlite:")).is_file(), "{name}");
        let run = folder.run(&["device", "list", "--ledger", name], b"");
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
    }
}

#[test]
fn variables_of_a_kubernetes_service_are_not_settings() {
    let (folder, _) = ledger(60);
    let check = |more: &[(&str, &str)]| {
        let mut command = folder.command();
        command.args(["--json", "config", "check"]);
        command
            .env("EDS_SERVICE_HOST", "10.96.0.10")
            .env("EDS_SERVICE_PORT", "7321")
            .env("EDS_SERVICE_PORT_HTTP", "7321")
            .env("EDS_PORT", "tcp://10.96.0.10:7321")
            .env("EDS_PORT_7321_TCP", "tcp://10.96.0.10:7321")
            .env("EDS_PORT_7321_TCP_PROTO", "tcp")
            .env("EDS_PORT_7321_TCP_PORT", "7321")
            .env("EDS_PORT_7321_TCP_ADDR", "10.96.0.10");
        command.envs(more.iter().copied()).output().unwrap()
    };
    let run = check(&[]);
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stdout));
    let answer: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(answer["config"]["variables"], serde_json::json!([]));
    assert_eq!(check(&[("EDS_PORTS", "tcp://10.96.0.10:7321")]).status.code(), Some(2));
}
