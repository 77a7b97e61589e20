//! Wrong input: one sentence, and nothing is touched.

use std::os::unix::fs::{PermissionsExt, symlink};

use edgesentry_ops::postgres::{Programs, Sql};
use edgesentry_ops::servers::free_port;

use crate::{BUCKET, Site, said, sentence};

const MAKING: [&str; 3] = ["backup", "dump", "receive-wal --folder received"];

impl Site {
    /// Creates a directory of PostgreSQL programs: links to the real ones, some omitted, possibly of another version.
    fn programs(&self, name: &str, without: &[&str], version: Option<u32>) -> String {
        let folder = self.path(name);
        std::fs::create_dir(&folder).unwrap();
        for entry in std::fs::read_dir(Programs::find(None).unwrap().folder()).unwrap() {
            let (program, path) = entry.map(|entry| (entry.file_name(), entry.path())).unwrap();
            let replaced = version.is_some() && program == "psql";
            if !replaced && !without.iter().any(|name| program == *name) {
                symlink(path, folder.join(program)).unwrap();
            }
        }
        if let Some(version) = version {
            let real = Programs::find(None).unwrap().folder().join("psql");
            let script = format!(
                "#!/bin/sh\n[ \"$1\" != --version ] || exec echo 'psql (PostgreSQL) {version}.1'\nexec {} \"$@\"\n",
                real.display()
            );
            let psql = folder.join("psql");
            std::fs::write(&psql, script).unwrap();
            std::fs::set_permissions(&psql, PermissionsExt::from_mode(0o755)).unwrap();
        }
        folder.display().to_string()
    }

    /// Runs commands under a settings file: each must fail with one sentence.
    fn refuse(&self, config: &str, lines: &[&str], code: i32, why: &str) {
        for line in lines {
            let output = self.with(config, line);
            assert_eq!(output.status.code(), Some(code), "{config}, {line}: {}", said(&output));
            assert!(sentence(&output).contains(why), "{config}, {line}: {}", said(&output));
        }
    }
}

#[test]
fn wrong_input_is_one_sentence_before_anything_is_touched() {
    let site = Site::start();
    site.json("backup", 0);
    site.archive_now();
    let archived = site.archived();
    let restore = format!("restore --data {} --port {}", site.path("data").display(), free_port().unwrap());
    let settings = site.settings(BUCKET, "edgesentry-secret");
    let reading = ["backups", "check-archive", "verify-backup", "retention --apply", &restore];

    // An unreachable server.
    let port = free_port().unwrap().to_string();
    site.write("unreachable.toml", &settings.replace(&site.cluster.port().to_string(), &port));
    site.refuse("unreachable.toml", &MAKING, 3, "Connection refused Is the server running on that host");
    site.refuse("unreachable.toml", &["configure-postgres --apply"], 3, "Connection refused");

    // Missing programs, all of them or the one that is needed last.
    site.write("nowhere.toml", &format!("{settings}postgres_bin = \"/nowhere\"\n"));
    site.refuse("nowhere.toml", &MAKING, 2, "PostgreSQL is missing: no psql in /nowhere");
    site.refuse(
        "nowhere.toml",
        &["verify-backup", &restore],
        2,
        "PostgreSQL is missing: no psql in /nowhere",
    );
    let without = ["pg_verifybackup", "pg_restore", "pg_receivewal"];
    let programs = site.programs("incomplete", &without, None);
    site.write("incomplete.toml", &format!("{settings}postgres_bin = {programs:?}\n"));
    for (line, program) in MAKING.iter().zip(without).chain([(&"verify-backup", without[0])]) {
        site.refuse("incomplete.toml", &[line], 2, &format!("PostgreSQL is not complete: no {program} in "));
    }

    // Programs of another version.
    let other = Programs::find(None).unwrap().major() + 1;
    let programs = site.programs("other", &[], Some(other));
    site.write("other.toml", &format!("{settings}postgres_bin = {programs:?}\n"));
    let why = format!("other are of version {other}; set ops.postgres_bin to those of version {}", other - 1);
    site.refuse("other.toml", &MAKING, 3, &why);
    site.refuse("other.toml", &[&restore], 2, &why);
    let unknown = site.with("other.toml", "verify-backup");
    assert_eq!(unknown.status.code(), Some(3), "{}", said(&unknown));
    assert!(said(&unknown).contains(&why), "{}", said(&unknown));

    // Another bucket, and another prefix of the same one.
    site.write("bucket.toml", &site.settings("nowhere", "edgesentry-secret"));
    for lines in [&MAKING[..], &reading] {
        site.refuse("bucket.toml", lines, 3, "HTTP 404: the bucket does not exist; check its name");
    }
    site.write("prefix.toml", &site.settings("archive/other", "edgesentry-secret"));
    let reading = ["check-archive", "retention --apply", &restore];
    site.refuse("prefix.toml", &reading, 3, "there is no archive: archive.json is missing");

    // A program with which the server could not fetch.
    let closed = site.path("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::copy(crate::EDS, closed.join("eds")).unwrap();
    std::fs::set_permissions(closed.join("eds"), PermissionsExt::from_mode(0o644)).unwrap();
    let unusable = format!("{restore} --eds {}", closed.join("eds").display());
    let why = "the user of PostgreSQL cannot fetch write-ahead log with it: ";
    site.refuse("eds.toml", &[&unusable], 2, why);
    site.refuse("eds.toml", &[&format!("{restore} --eds /nowhere/eds")], 2, "there is no such program");
    site.refuse("eds.toml", &[&format!("{restore} --eds /bin/false")], 2, why);

    // A time without a zone.
    for line in [&*restore, "verify-recovery"] {
        let output = site.ops(&format!("{line} --target-time 2026-01-31T12:00:00"));
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("2026-01-31T12:00:00Z"), "{}", said(&output));
    }

    assert_eq!(site.archived(), archived);
    assert!(!site.path("data").exists() && !site.path("received").exists());
    assert_eq!(site.sql("SELECT count(*) FROM pg_replication_slots"), "0");
}

#[test]
fn tablespaces_are_refused_by_backups_and_left_out_of_dumps() {
    let site = Site::start();
    let folder = site.path("space");
    std::fs::create_dir(&folder).unwrap();
    Programs::find(None).unwrap().own(&folder).unwrap();
    site.sql(&format!("CREATE TABLESPACE \"fast disk\" LOCATION '{}'", folder.display()));
    let why = "it has tablespaces of its own (\"fast disk\"), which a base backup would not hold; move their tables";
    site.refuse("eds.toml", &["backup"], 3, why);
    assert_eq!(site.archived(), []);
    site.sql("CREATE TABLE t (n int) TABLESPACE \"fast disk\";\nINSERT INTO t SELECT generate_series(1, 10)");
    site.json("dump", 0);
    site.sql("CREATE DATABASE again");
    let url = site.cluster.url("again");
    site.json(&format!("restore-dump --into {url}"), 0);
    let again = Sql::new(&Programs::find(None).unwrap(), &url).unwrap();
    assert_eq!(
        again.query("SELECT count(*), min(reltablespace) FROM t, pg_class WHERE relname = 't'").unwrap(),
        "10|0"
    );
    site.sql("DROP TABLE t");
    site.sql("DROP TABLESPACE \"fast disk\"");
    site.json("backup", 0);
}

#[test]
fn a_role_of_a_managed_server_gets_its_missing_rights() {
    let site = Site::start_with("off");
    site.sql("CREATE ROLE customer LOGIN PASSWORD 'hush' CREATEDB CREATEROLE;\nGRANT CREATE ON SCHEMA public TO customer");
    let url = site.cluster.url("postgres");
    let (scheme, rest) = url.split_once("://").unwrap();
    let customer = format!("{scheme}://customer:hush@{}", rest.split_once('@').unwrap().1);
    let settings = site.settings(BUCKET, "edgesentry-secret").replace(&url, &customer);
    site.write("managed.toml", &settings);
    let why = "the role \"customer\" may not replicate, which base backups and receive-wal need; grant it with ALTER ROLE";
    site.refuse("managed.toml", &["backup", "receive-wal --folder received"], 3, why);
    let why = "permission denied to set parameter";
    site.refuse("managed.toml", &["configure-postgres --apply"], 3, why);
    assert_eq!(site.archived(), []);
    assert!(!site.path("received").exists());
    let dump = site.with("managed.toml", "dump");
    assert_eq!(dump.status.code(), Some(0), "{}", said(&dump));
    let verified = site.with("managed.toml", "verify-backup --dump");
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
}

#[test]
fn an_archive_that_cannot_be_read_through_fails_its_checks() {
    let site = Site::start();
    let metrics = site.path("edgesentry.prom");
    site.configure("eds.toml", &format!("textfile = \"{}\"", metrics.display()));
    site.json("backup", 0);
    site.write_archived("backups/x/backup.json", b"{}".to_vec());
    for (line, series) in [
        ("check-archive", "edgesentry_archive_gaps 1"),
        ("verify-backup", "edgesentry_backup_verify_failed{kind=\"base\"} 1"),
    ] {
        site.json(line, 3);
        let noted = std::fs::read_to_string(&metrics).unwrap();
        assert!(noted.contains(series), "{line}: {noted}");
    }
}
