//! Backup, archive and restore from outside, on a real PostgreSQL and a real S3.
#![allow(clippy::unwrap_used)]

mod ahead;
mod archive_drill;
mod configuring;
mod dumps;
mod payloads;
mod sidecar;
mod signed;
mod timelines;
mod unfinished;
mod units;
mod ways_out;
mod wrong_input;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use edgesentry_chain::AuditRecord;
use edgesentry_ops::postgres::{Programs, Sql};
use edgesentry_ops::servers::{Cluster, SeaweedFs, find_weed, free_port};
use edgesentry_rs::error::Component;
use serde_json::Value;
use tempfile::TempDir;

const EDS: &str = env!("CARGO_BIN_EXE_eds");
const BUCKET: &str = "archive";

/// A PostgreSQL that archives into an S3, and the settings for both.
struct Site {
    cluster: Cluster,
    s3: SeaweedFs,
    folder: TempDir,
}

impl Site {
    fn start() -> Site {
        Site::start_with("on")
    }

    /// Starts the site with `archive_mode` on or off.
    fn start_with(archive_mode: &str) -> Site {
        let folder = TempDir::new().unwrap();
        // PostgreSQL runs as another user, which needs access.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let s3 = SeaweedFs::start(&find_weed(None).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = s3.settings().client().await.unwrap();
            client.create_bucket().bucket(BUCKET).send().await.unwrap();
        });
        let programs = Programs::find(None).unwrap();
        let config = folder.path().join("eds.toml");
        let command =
            format!("archive_command = '{EDS} ops archive-wal --config {} %p %f'", config.display());
        let archive_mode = format!("archive_mode = {archive_mode}");
        let settings = ["wal_level = replica", &archive_mode, &command, "max_connections = 37"];
        let mut cluster = Cluster::create(&programs, "primary", &settings).unwrap();
        let site = |cluster| Site { cluster, s3, folder };
        cluster.start().unwrap();
        let site = site(cluster);
        site.write("eds.toml", &site.settings(BUCKET, "edgesentry-secret"));
        site
    }

    fn settings(&self, bucket: &str, secret: &str) -> String {
        format!(
            "ledger = \"{}\"\n[s3]\nendpoint = \"{}\"\naccess_key_id = \"edgesentry\"\nsecret_access_key = \"{secret}\"\n\
             attempts = 1\n[ops]\narchive = \"s3://{bucket}/ledger\"\n",
            self.cluster.url("postgres"),
            self.s3.endpoint()
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Runs `eds ops` with a settings file.
    fn with(&self, config: &str, line: &str) -> Output {
        self.eds(&format!("ops {line} --config {config}")).output().unwrap()
    }

    /// Returns `eds` in the directory of the site, its arguments split at spaces.
    fn eds(&self, line: &str) -> Command {
        let mut command = eds(line);
        command.current_dir(self.folder.path());
        command
    }

    fn ops(&self, line: &str) -> Output {
        self.with("eds.toml", line)
    }

    /// Returns the envelope of a command that must end with this code.
    fn json(&self, line: &str, code: i32) -> Value {
        let output = self.ops(&format!("{line} --json"));
        assert_eq!(output.status.code(), Some(code), "{line}: {}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.sql().unwrap().query(sql).unwrap()
    }

    /// Returns the key and the size of everything in the archive.
    fn archived(&self) -> Vec<(String, u64)> {
        let url = format!("s3://{BUCKET}/ledger");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listed = runtime.block_on(async {
            edgesentry_rs::objects::open(&url, &self.s3.settings(), Component::Archive)
                .await
                .unwrap()
                .list("")
                .await
                .unwrap()
        });
        listed.into_iter().map(|object| (object.key, object.size_bytes)).collect()
    }

    /// Returns the server's clock, as a time to restore to.
    fn moment(&self) -> String {
        self.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    }

    /// Connects to the database of a restored server on a port.
    fn restored(&self, port: u16) -> Sql {
        let url = self.cluster.url("postgres").replace(&self.cluster.port().to_string(), &port.to_string());
        Sql::new(&Programs::find(None).unwrap(), &url).unwrap()
    }

    /// Switches the segment and waits until it is archived; returns its name.
    fn archive_now(&self) -> String {
        let segment = self.sql("SELECT pg_walfile_name(pg_switch_wal())");
        let begin = Instant::now();
        let archived = format!("SELECT last_archived_wal >= '{segment}' FROM pg_stat_archiver");
        while self.sql(&archived) != "t" {
            assert!(begin.elapsed() < Duration::from_secs(120), "{segment} is not archived");
            std::thread::sleep(Duration::from_millis(50));
        }
        segment
    }
}

/// Returns `eds` without settings of the environment.
fn eds(line: &str) -> Command {
    let mut command = Command::new(EDS);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EDS_")) {
        command.env_remove(name);
    }
    command.args(line.split_whitespace());
    command
}

/// Returns a record as a line of a file.
fn line(record: &AuditRecord) -> String {
    let mut line = Vec::new();
    edgesentry_formats::record_to_json(record, &mut line);
    line.push(b'\n');
    String::from_utf8(line).unwrap()
}

/// Returns the error of a command: one sentence on one line.
fn sentence(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.starts_with("error: ") && stderr.trim_end().lines().count() == 1, "{}", said(output));
    stderr
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_ledger_is_restored_to_a_time() {
    let mut site = Site::start();
    site.sql("CREATE TABLE t (n int);\nINSERT INTO t SELECT generate_series(1, 1000)");
    let backup = site.json("backup", 0)["backup"].clone();
    assert!(backup["verified"].as_str().unwrap().contains("successfully verified"), "{backup}");
    assert_eq!(site.json("backup --if-log-exceeds 1000", 0)["backup"], backup);
    site.sql("INSERT INTO t SELECT generate_series(1001, 1500)");
    let moment = site.moment();
    site.sql("SELECT pg_sleep(0.05);\nDELETE FROM t");
    let segment = site.archive_now();

    what_there_is(&site, &backup);
    what_is_archived_stays(&site, &segment);
    absence_is_proven_and_nothing_else_is(&site, &segment);
    wrong_input_touches_nothing(&site, &moment);

    let port = free_port().unwrap();
    let data = site.path("restored");
    // The server runs as another user, which needs access to the directory around its data.
    let restore = format!("restore --drill --data {} --port {port} --target-time {moment}", data.display());
    let restored = site.json(&restore, 0)["restored"].clone();
    let sql = site.restored(port);
    assert_eq!(sql.query("SELECT count(*), pg_is_in_recovery() FROM t").unwrap(), "1500|f");
    assert_eq!(sql.query("SHOW archive_mode").unwrap(), "off");
    // It would apply to the next recovery.
    let settings = std::fs::read_to_string(data.join("postgresql.auto.conf")).unwrap();
    assert!(!settings.contains("recovery_target") && settings.contains("archive_mode = off"), "{settings}");
    assert!(!settings.contains("restore_command"), "{settings}");
    assert!(!data.join("pg_wal/edgesentry_ahead").exists());
    assert_eq!(restored["timeline"], 2);
    stop(restored["pid"].as_u64().unwrap());

    // A target that the log does not reach is rejected before anything is downloaded.
    let data = site.path("late");
    let late =
        format!("restore --drill --data {} --port {port} --target-time 2126-01-01T00:00:00Z", data.display());
    let error = site.json(&late, 3)["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        error.contains("does not reach 2126-01-01T00:00:00Z: the last transaction in it ended at"),
        "{error}"
    );
    assert!(!data.exists());

    // The network fails in the middle: recovery stops, and does not promote with rows missing.
    site.s3.kill().unwrap();
    let output = site.ops(&format!("fetch-wal {segment} {}", site.path("nothing").display()));
    assert_eq!(output.status.code(), Some(200), "{}", said(&output));
}

fn what_there_is(site: &Site, backup: &Value) {
    let listed = site.json("backups", 0);
    assert_eq!(listed["archive"]["backups"][0]["backup"], *backup);
    for command in ["check-archive", "verify-backup"] {
        let checks = site.json(command, 0)["checklist"].clone();
        assert_eq!(checks["status"], "passed", "{checks}");
    }
    assert!(site.json("dump", 0)["dump"]["entries"].as_u64().unwrap() > 0);
    assert_eq!(site.json("verify-backup --dump", 0)["checklist"]["status"], "passed");
    only_log_before_the_backup_may_go(site, backup["first_segment"].as_str().unwrap());
    assert_eq!(site.json("backups", 0)["archive"]["backups"][0]["backup"], *backup);
    let settings = site.json("configure-postgres", 3)["postgres"]["settings"].clone();
    let differs = |name: &str| {
        let setting = settings.as_array().unwrap().iter().find(|setting| setting["name"] == name).unwrap();
        setting["is"] != setting["should_be"]
    };
    assert!(differs("archive_timeout") && !differs("archive_mode") && !differs("wal_level"), "{settings}");
}

/// Checks that the plan of the retention is exactly the segments before the first one that the only backup needs.
fn only_log_before_the_backup_may_go(site: &Site, first: &str) {
    let plan = site.json("retention", 0)["retention"]["plan"]["delete"].clone();
    let deletions = plan.as_array().unwrap();
    let planned: BTreeSet<String> = deletions
        .iter()
        .flat_map(|deletion| deletion["keys"].as_array().unwrap())
        .map(|key| key.as_str().unwrap().to_owned())
        .collect();
    // Names of one timeline sort as their numbers do.
    let is_before = |key: &String| {
        let name = key.strip_prefix("wal/00000001/").and_then(|name| name.strip_suffix(".zst"));
        name.is_some_and(|name| name.len() == first.len() && name < first)
    };
    let before: BTreeSet<String> =
        site.archived().into_iter().map(|(key, _)| key).filter(is_before).collect();
    assert!(!before.is_empty() && first.starts_with("00000001"), "{first}: {:?}", site.archived());
    assert_eq!(planned, before, "{plan}");
}

fn what_is_archived_stays(site: &Site, segment: &str) {
    let file = site.path(segment);
    let fetched = site.ops(&format!("fetch-wal {segment} {}", file.display()));
    assert_eq!(fetched.status.code(), Some(0), "{}", said(&fetched));
    let again = site.ops(&format!("archive-wal {} {segment}", file.display()));
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let other = site.ops(&format!("archive-wal {} {segment}", file.display()));
    assert_eq!(other.status.code(), Some(3), "{}", said(&other));
    assert!(said(&other).contains("already exists with other bytes"), "{}", said(&other));
    // A segment of another cluster, under an unused name.
    bytes[24] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let foreign = site.ops(&format!("archive-wal {} {segment}", file.display()));
    assert!(said(&foreign).contains("it belongs to the cluster"), "{}", said(&foreign));
}

fn absence_is_proven_and_nothing_else_is(site: &Site, segment: &str) {
    let target = site.path("target");
    let fetch = |config: &str, name: &str| {
        let output = site.with(config, &format!("fetch-wal {name} {}", target.display()));
        (output.status.code().unwrap(), said(&output))
    };
    let beyond = "0000000100000000000000EE";
    assert_eq!(fetch("eds.toml", beyond).0, 1);
    assert_eq!(fetch("eds.toml", "00000002.history").0, 1);
    assert!(!target.exists());
    site.write("secret.toml", &site.settings(BUCKET, "wrong"));
    site.write("bucket.toml", &site.settings("nowhere", "edgesentry-secret"));
    site.write("prefix.toml", &site.settings("archive/other", "edgesentry-secret"));
    for config in ["secret.toml", "bucket.toml", "prefix.toml", "missing.toml"] {
        for name in [segment, beyond] {
            let (code, said) = fetch(config, name);
            assert_eq!(code, 200, "{config}: {said}");
        }
    }
    for line in ["fetch-wal", "fetch-wal x y", "fetch-wal --what"] {
        assert_eq!(site.ops(line).status.code(), Some(200), "{line}");
    }
}

fn wrong_input_touches_nothing(site: &Site, moment: &str) {
    let refused = |line: &str, code: i32, why: &str| {
        let output = site.ops(line);
        assert_eq!(output.status.code(), Some(code), "{line}: {}", said(&output));
        assert!(said(&output).contains(why), "{line}: {}", said(&output));
    };
    let port = free_port().unwrap();
    let data = site.path("untouched");
    let at = |data: &std::path::Path, more: &str| {
        format!("restore --data {} --port {port} {more}", data.display())
    };
    refused(&at(site.folder.path(), ""), 2, "is not empty");
    refused(&at(&data, "--target-time 2026-01-31T12:00:00"), 2, "with its zone");
    refused(&at(&data, "--target-time 2001-01-01T00:00:00Z"), 3, "no backup was finished by");
    refused(&at(&data, "--backup 20010101T000000Z"), 3, "there is no backup");
    let taken =
        format!("restore --data {} --port {} --target-time {moment}", data.display(), site.cluster.port());
    refused(&taken, 2, "cannot be used");
    assert!(!data.exists());
}

/// Stops a restored server, which is not a child of the test.
fn stop(pid: u64) {
    let pid = rustix_pid(pid);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let begin = Instant::now();
    while rustix::process::test_kill_process(pid).is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the server does not stop");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn rustix_pid(pid: u64) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}
