//! The command from outside: arguments in, text, JSON and exit code out.
#![allow(clippy::unwrap_used)]

#[path = "../../../checked.rs"]
mod checked;

mod answers;
mod c;
mod checkpoint;
mod claims;
mod config;
mod demo;
mod device;
mod drill;
mod erase;
mod export;
mod exports;
mod heads;
mod hostile;
mod in_place;
mod ingest;
mod log;
mod log_metrics;
mod monitor;
mod outputs;
mod packs;
mod proofs;
mod proxy;
mod reading;
mod rotation;
mod runbook;
mod schedule;
mod serve;
mod signals;
mod signing;
mod telemetry;
mod token;
mod update;
mod verify_chain;
mod verify_log;
mod witness;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use edgesentry_chain::AuditRecord;
use eds::fleet::Fleet;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The result of a run.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    /// Returns the envelope, which must be the only line on stdout.
    fn envelope(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{}{}", self.stdout, self.stderr);
        let envelope: Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(envelope["edgesentry"], json!({"version": env!("CARGO_PKG_VERSION"), "envelope": 1}));
        assert_eq!(envelope["ok"].as_bool(), Some(self.code == 0));
        envelope
    }
}

/// A directory of its own, in which commands run, so that they show relative paths.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn write_records(&self, name: &str, records: &[AuditRecord]) {
        self.write(name, ndjson(records));
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_eds"))
    }

    /// Returns a program in this directory, without settings of the environment.
    fn command_of(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.0.path())
            .env_remove("CLICOLOR_FORCE")
            .env_remove("NO_COLOR")
            .env_remove("RUST_LOG");
        let settings = std::env::vars_os().map(|(name, _)| name);
        for name in settings.filter(|name| name.to_string_lossy().starts_with("EDS_")) {
            command.env_remove(name);
        }
        if self.path("softhsm2.conf").exists() {
            command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        }
        command
    }

    /// Returns the command as a terminal starts it, which SIGINT reaches. The tests may run with SIGINT ignored, as
    /// by `nohup make test &`, and a child inherits that.
    fn command_for_signals(&self) -> Command {
        let mut command = self.command_of("env");
        command.args(["--default-signal=INT,HUP", env!("CARGO_BIN_EXE_eds")]);
        command
    }

    /// Returns the command as `nohup eds ... &` starts it: SIGINT and SIGHUP are ignored.
    fn command_in_background(&self) -> Command {
        let mut command = self.command_of("env");
        command.args(["--ignore-signal=INT,HUP", env!("CARGO_BIN_EXE_eds")]);
        command
    }

    fn write_payloads(&self, name: &str, fleet: &Fleet) {
        for (record, payload) in fleet.records.iter().zip(&fleet.payloads) {
            let folder = self.path(name).join(&record.device_id);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(format!("{}.csv", record.sequence)), payload).unwrap();
        }
    }

    /// Changes a database directly.
    fn tamper(&self, database: &str, sql: &'static str) {
        use sqlx::{Connection, Executor, SqliteConnection};
        let url = format!("sqlite:{}", self.path(database).display());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            let done = connection.execute(sql).await.unwrap();
            assert!(done.rows_affected() > 0, "{sql}");
            connection.close().await.unwrap();
        });
    }

    /// Runs a command line split at spaces.
    fn eds(&self, line: &str) -> Run {
        self.eds_with(line, b"")
    }

    fn eds_with(&self, line: &str, stdin: &[u8]) -> Run {
        self.run(&line.split_whitespace().collect::<Vec<_>>(), stdin)
    }

    fn run(&self, args: &[&str], stdin: &[u8]) -> Run {
        let mut command = self.command();
        let pipes = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let stdin = stdin.to_owned();
        let feeder = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        let run = Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
        run
    }
}

/// Writes a fleet into a directory: export.ndjson, keys.json, heads.json.
fn fleet(size: usize) -> (Folder, Fleet) {
    let (folder, fleet) = (Folder::new(), Fleet::new(size).unwrap());
    folder.write_records("export.ndjson", &fleet.records);
    folder.write("keys.json", edgesentry_formats::write_key_ring(&fleet.keys));
    folder.write("heads.json", edgesentry_formats::write_heads(&fleet.heads));
    (folder, fleet)
}

/// Writes a fleet into a directory and a ledger there: edgesentry.db, which contains the payloads.
fn ledger(size: usize) -> (Folder, Fleet) {
    let (folder, fleet) = fleet(size);
    folder.write_payloads("payloads", &fleet);
    let run = folder.eds("ingest export.ndjson --payloads payloads --register keys.json");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    (folder, fleet)
}

fn ndjson(records: &[AuditRecord]) -> String {
    records.iter().map(|record| format!("{}\n", as_json(record))).collect()
}

/// Written by hand, without the encoder of the core: an oracle for its form.
fn as_json(record: &AuditRecord) -> Value {
    json!({
        "device_id": record.device_id,
        "sequence": record.sequence,
        "timestamp_ms": record.timestamp_ms,
        "payload_hash": record.payload_hash.as_bytes(),
        "signature": record.signature.as_slice(),
        "prev_record_hash": record.prev_record_hash.as_bytes(),
        "object_ref": record.object_ref,
    })
}

/// Returns the directory of the exports from devices in the field.
fn exports() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/exports")
}
