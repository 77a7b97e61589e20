//! `eds drill db-restore --archive`: the existing archive of a site, restored beside it.

use std::time::Duration;

use eds::fleet::Fleet;
use serde_json::Value;

use crate::{Site, line, said, sentence};

/// The pause between the records before and after the target, so that the drill can aim at it.
const GAP: Duration = Duration::from_secs(15);

impl Site {
    /// Ingests records of a fleet into the ledger of the site, payloads into a directory.
    pub(super) fn ingest(&self, fleet: &Fleet, records: std::ops::Range<usize>) {
        for (record, payload) in fleet.records.iter().zip(&fleet.payloads) {
            let folder = self.path("sent").join(&record.device_id);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(format!("{}.csv", record.sequence)), payload).unwrap();
        }
        let lines = fleet.records[records].iter().map(line);
        self.write("chain.ndjson", &lines.collect::<String>());
        let line = "ingest chain.ndjson --payloads sent --register keys.json --config payloads.toml";
        let output = self.eds(line).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }

    /// Writes the heads of the ledger into a file.
    fn heads(&self, file: &str) {
        let output = self.eds("heads --ledger --config payloads.toml").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        self.write(file, &String::from_utf8(output.stdout).unwrap());
    }

    /// Runs the drill; the target is a time within the gap that began at `since`.
    fn drill(&self, since: &str, line: &str, code: i32) -> Value {
        let back = self.sql(&format!("SELECT floor(extract(epoch FROM clock_timestamp() - '{since}'))"));
        let line = format!("--json drill db-restore --archive payloads.toml --back {back} {line}");
        let output = self.eds(&line).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["drill"].clone()
    }
}

#[test]
fn an_archive_that_is_there_is_restored_beside_its_server() {
    let site = Site::start();
    let settings = site.settings(crate::BUCKET, "edgesentry-secret");
    let store = site.path("payload-store");
    site.write("payloads.toml", &format!("payloads = \"folder:{}\"\n{settings}", store.display()));
    let fleet = Fleet::new(60).unwrap();
    site.write("keys.json", &edgesentry_formats::write_key_ring(&fleet.keys));
    site.ingest(&fleet, 0..30);
    site.json("backup", 0);
    site.ingest(&fleet, 30..50);
    site.heads("heads.json");
    let since = site.moment();
    std::thread::sleep(GAP);
    site.ingest(&fleet, 50..60);
    site.heads("later.json");
    site.archive_now();
    let (archived, rows) = (site.archived(), site.sql("SELECT count(*) FROM audit_records"));

    let drill = site.drill(&since, "--heads heads.json --keys keys.json --report-dir reports", 0);
    assert_eq!(drill["status"], "passed", "{drill}");
    let evidence: Vec<&str> =
        drill["checks"].as_array().unwrap().iter().map(|check| check["evidence"].as_str().unwrap()).collect();
    assert!(evidence.contains(&"50 payloads were hashed again"), "{evidence:?}");
    assert!(evidence.iter().any(|evidence| evidence.starts_with("50 records of ")), "{evidence:?}");
    assert_eq!(std::fs::read_dir(site.path("reports")).unwrap().count(), 2);
    assert!(drill["timeline"].to_string().contains("no log: the ledger has none"), "{drill}");

    // A later snapshot is not reached, and the drill reports that.
    let drill = site.drill(&since, "--heads later.json --keys keys.json", 1);
    assert!(drill["checks"].to_string().contains("10 records are missing"), "{drill}");

    // The drill only read: archive and server are unchanged.
    assert_eq!(site.archived(), archived);
    assert_eq!(site.sql("SELECT count(*) FROM audit_records"), rows);

    // Nothing more is committed, so that recovery could not stop at the target: the end of the archive is the same.
    let since = site.moment();
    std::thread::sleep(Duration::from_secs(2));
    let drill = site.drill(&since, "--heads later.json --keys keys.json", 0);
    assert_eq!(drill["status"], "passed", "{drill}");
    assert!(drill["timeline"].to_string().contains("it is restored to its end"), "{drill}");
    assert_eq!(site.archived(), archived);

    // A transaction of the drill's own makes it stop there.
    let asked = site.eds("drill db-restore --archive payloads.toml --back 1 --commit").output().unwrap();
    assert_eq!(asked.status.code(), Some(2), "{}", said(&asked));
    let production = site.eds("drill db-restore --archive payloads.toml --back 1 --commit --yes");
    let production = { production }.env("EDS_OPS__PRODUCTION", "true").output().unwrap();
    assert_eq!(production.status.code(), Some(2), "{}", said(&production));
    assert_eq!(site.archived(), archived);
    let drill = site.drill(&since, "--heads later.json --keys keys.json --commit --yes", 0);
    assert_eq!(drill["status"], "passed", "{drill}");
    assert_eq!(drill["drill"], "db-restore-archive", "{drill}");
    assert!(!drill["timeline"].to_string().contains("it is restored to its end"), "{drill}");

    let early = site.eds("drill db-restore --archive payloads.toml --back 86400").output().unwrap();
    assert_eq!(early.status.code(), Some(3), "{}", said(&early));
    assert!(said(&early).contains("no backup was finished by"), "{}", said(&early));
    let missing = site.eds("drill db-restore --archive nothing.toml").output().unwrap();
    assert_eq!(missing.status.code(), Some(2), "{}", said(&missing));
    assert!(sentence(&missing).contains("nothing.toml"), "{}", said(&missing));
}

#[test]
fn a_copy_is_recovered_from_the_log_of_its_site_which_is_only_read() {
    let site = Site::start();
    let settings = site.settings(crate::BUCKET, "edgesentry-secret");
    let (store, log) = (site.path("payload-store"), site.path("log"));
    std::fs::create_dir(&log).unwrap();
    let section = format!(
        "\n[log]\norigin = \"log.example/lifts\"\nkey = {:?}\nstore = \"folder:{}\"\n",
        site.path("log.seed"),
        log.display()
    );
    site.write("payloads.toml", &format!("payloads = \"folder:{}\"\n{settings}{section}", store.display()));
    let eds = |line: &str| {
        let output = site.eds(&format!("{line} --config payloads.toml")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", said(&output));
    };
    // The settings of the archive have no log, which does not matter to the backup.
    let fleet = Fleet::new(60).unwrap();
    site.write("keys.json", &edgesentry_formats::write_key_ring(&fleet.keys));
    site.ingest(&fleet, 0..30);
    eds("checkpoint init");
    eds("checkpoint");
    site.json("backup", 0);
    site.ingest(&fleet, 30..50);
    site.heads("heads.json");
    let since = site.moment();
    std::thread::sleep(GAP);
    site.ingest(&fleet, 50..55);
    eds("checkpoint");
    site.archive_now();
    let files = || {
        let mut files: Vec<_> = walk(&log);
        files.sort();
        files.into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let before = files();
    let keys = "--heads heads.json --keys keys.json";
    let drill = site.drill(&since, keys, 0);
    let check = |drill: &Value, name: &str| {
        let checks = drill["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"].as_str().unwrap().contains(name));
        let check = check.unwrap_or_else(|| panic!("{name}: {drill}"));
        assert_eq!(check["status"], "passed", "{drill}");
        check["evidence"].as_str().unwrap().to_owned()
    };
    assert!(check(&drill, "signs nothing with the restored ledger").starts_with("log_behind: "), "{drill}");
    assert_eq!(check(&drill, "puts the records of the log back"), "26 leaves under 1 checkpoint");
    assert!(check(&drill, "can sign again").starts_with("checkpoint 2 of size "), "{drill}");
    assert!(files() == before, "the drill changed the log of the site");

    // With --commit the log of the site signs first, and nothing else of it is changed.
    site.ingest(&fleet, 55..60);
    let drill = site.drill(&since, &format!("{keys} --commit --yes"), 0);
    assert!(
        drill["timeline"].to_string().contains("log.example/lifts of the site signs 1 checkpoint"),
        "{drill}"
    );
    assert_eq!(check(&drill, "puts the records of the log back"), "32 leaves under 2 checkpoints");
    let now = files();
    let lock = now.iter().filter(|(_, path)| path.parent().unwrap().ends_with("log/lock")).count();
    assert_eq!(lock, 3);
    assert_eq!(site.sql("SELECT count(*) FROM audit_records"), "60");

    // A log that cannot be reached is stated, and the drill does not pass.
    std::fs::rename(&log, site.path("away")).unwrap();
    let drill = site.drill(&since, keys, 3);
    assert!(drill["checks"].to_string().contains("they cannot be reached"), "{drill}");
}

/// Returns the files below a directory.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
