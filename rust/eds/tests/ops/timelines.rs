//! Repeated restores while the original goes on, and which servers may archive then.

use std::path::Path;

use edgesentry_ops::postgres::Sql;
use edgesentry_ops::servers::free_port;
use serde_json::Value;

use crate::{BUCKET, Site, said, stop};

/// A running restored copy.
struct Copy {
    sql: Sql,
    pid: u64,
    answer: Value,
    data: String,
}

impl Copy {
    fn rows(&self) -> String {
        self.sql.query("SELECT count(*), max(n) FROM t").unwrap()
    }

    fn notes(&self) -> String {
        self.answer["notes"].to_string()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        stop(self.pid);
    }
}

impl Site {
    fn commit(&self, numbers: std::ops::RangeInclusive<u32>) {
        let (first, last) = (numbers.start(), numbers.end());
        self.sql(&format!("INSERT INTO t SELECT generate_series({first}, {last})"));
    }

    /// Restores; the copy runs until it is dropped.
    fn copy(&self, name: &str, options: &str) -> Copy {
        let port = free_port().unwrap();
        let data = self.path(name).display().to_string();
        let answer =
            self.json(&format!("restore --data {data} --port {port} {options}"), 0)["restored"].clone();
        Copy { sql: self.restored(port), pid: answer["pid"].as_u64().unwrap(), answer, data }
    }

    /// Runs a restore that must be rejected before anything is written; returns the reason.
    fn refused(&self, options: &str) -> String {
        let data = self.path("refused");
        let line = format!("restore --data {} --port {} {options}", data.display(), free_port().unwrap());
        let error = self.json(&line, 3)["error"]["message"].as_str().unwrap().to_owned();
        assert!(!data.exists(), "{options}: {error}");
        error
    }

    fn adopt(&self, config: &str, copy: &str, options: &str) -> (i32, String) {
        let output = self.with(config, &format!("adopt --data {copy} {options}"));
        (output.status.code().unwrap(), said(&output))
    }

    /// Archives a segment of a copy, and waits until it is stored or rejected.
    fn archived_of(&self, copy: &Sql) -> bool {
        let segment = copy.query("SELECT pg_walfile_name(pg_switch_wal())").unwrap();
        for _ in 0..1200 {
            let (done, failed) = copy
                .query(&format!(
                    "SELECT coalesce(last_archived_wal >= '{segment}', false), failed_count > 0 FROM pg_stat_archiver"
                ))
                .map(|row| (row.starts_with('t'), row.ends_with('t')))
                .unwrap();
            if done || failed {
                return done;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{segment} is neither archived nor refused");
    }
}

#[test]
fn five_restores_in_a_row_leave_the_original_and_its_archive_alone() {
    let site = Site::start();
    site.sql("CREATE TABLE t (n int)");
    site.json("backup", 0);
    let mut moments = Vec::new();
    for number in 1..=3 {
        site.commit(number * 10 - 9..=number * 10);
        moments.push(site.moment());
        site.sql("SELECT pg_sleep(0.02)");
        if number == 2 {
            site.json("backup", 0);
        }
    }
    site.commit(31..=31);
    site.archive_now();

    let before = site.archived();
    let rows = ["10|10", "20|20", "30|30", "20|20"];
    let targets = [&moments[0], &moments[1], &moments[2], &moments[1]];
    for (number, (moment, rows)) in targets.into_iter().zip(rows).enumerate() {
        let copy = site.copy(&format!("copy{number}"), &format!("--target-time {moment}"));
        assert_eq!(copy.rows(), rows, "{moment}");
        assert_eq!((&copy.answer["followed"], &copy.answer["timeline"]), (&1.into(), &2.into()));
        assert!(copy.notes().contains("archives nothing until it is adopted"), "{}", copy.notes());
        // It works and switches segments, but archives none.
        copy.sql.query("INSERT INTO t VALUES (1000);\nSELECT pg_switch_wal();\nCHECKPOINT").unwrap();
        assert_eq!(copy.sql.query("SELECT archived_count FROM pg_stat_archiver").unwrap(), "0");
        drop(copy);
        // The original still runs.
        site.commit(32 + number as u32..=32 + number as u32);
        site.archive_now();
    }
    let is_original =
        |key: &String| key.starts_with("wal/00000001/") || before.iter().any(|(old, _)| old == key);
    let others: Vec<String> =
        site.archived().into_iter().map(|(key, _)| key).filter(|key| !is_original(key)).collect();
    assert_eq!(others, Vec::<String>::new());
    assert!(before.iter().all(|object| site.archived().contains(object)));
    // At the end everything of the running original is restored.
    let last = site.copy("last", "");
    assert_eq!(last.rows(), "35|35");
    assert_eq!(site.json("check-archive", 0)["checklist"]["status"], "passed");

    a_quiet_original_is_told_before_the_download(&site);
    nothing_reaches_the_archive_of_the_original(&site, &last);
}

fn a_quiet_original_is_told_before_the_download(site: &Site) {
    let late = site.refused(&format!("--target-time {}", site.moment()));
    assert!(
        late.contains("does not reach") && late.contains("the last transaction in it ended at 20"),
        "{late}"
    );
    assert!(late.contains("without --target-time to the end"), "{late}");
    let nameless = site.refused("--target-name nothing");
    assert!(nameless.contains("there is no restore point \"nothing\""), "{nameless}");
    // A named point is reached from the backup before it, even if there is a later one.
    site.sql("SELECT pg_create_restore_point('before the migration')");
    site.sql("SELECT pg_create_restore_point('migrated')");
    // A name that was used twice means the last one.
    site.commit(36..=36);
    site.sql("SELECT pg_create_restore_point('migrated')");
    site.commit(37..=37);
    site.archive_now();
    site.json("backup", 0);
    site.archive_now();
    let copy = site.copy("point", "--drill --target-name migrated");
    assert_eq!(copy.rows(), "36|36");
}

/// A copy is rejected until it is adopted, regardless of its set-up.
fn nothing_reaches_the_archive_of_the_original(site: &Site, copy: &Copy) {
    let before = site.archived();
    // An operator sets the copy up as the original is.
    let config = site.path("eds.toml");
    copy.sql
        .query(&format!(
            "ALTER SYSTEM SET archive_command = '{} ops archive-wal --config {} %p %f';\nSELECT pg_reload_conf()",
            crate::EDS,
            config.display()
        ))
        .unwrap();
    assert!(!site.archived_of(&copy.sql));
    // The settings name the copy as the server.
    let settings = std::fs::read_to_string(&config).unwrap();
    let port = copy.answer["port"].to_string();
    site.write("copy.toml", &settings.replace(&site.cluster.port().to_string(), &port));
    for line in ["backup", "dump", "receive-wal --folder received-of-copy"] {
        let output = site.with("copy.toml", line);
        assert_eq!(output.status.code(), Some(3), "{line}: {}", said(&output));
        assert!(said(&output).contains("a restored copy that was not adopted"), "{line}: {}", said(&output));
    }
    assert_eq!(site.archived(), before);

    // The original responds, so its archive is not taken over.
    let (code, why) = site.adopt("eds.toml", &copy.data, "");
    assert!(code == 3 && why.contains("set a separate archive"), "{why}");
    let (code, why) = site.adopt("eds.toml", &copy.data, "--take-over");
    assert!(code == 3 && why.contains("the original runs"), "{why}");
    let (code, why) = site.adopt("copy.toml", &copy.data, "--take-over");
    assert!(code == 3 && why.contains("after the copy was restored: the original runs"), "{why}");
    assert_eq!(site.archived(), before);

    // An archive of its own, beside that of the original.
    let own = std::fs::read_to_string(site.path("copy.toml")).unwrap();
    site.write("own.toml", &own.replace(&format!("s3://{BUCKET}/ledger"), &format!("s3://{BUCKET}/copy")));
    let (code, said) = site.adopt("own.toml", &copy.data, "");
    assert!(code == 0 && said.contains("timeline 2 is archived in"), "{said}");
    copy.sql.query("SELECT pg_stat_reset_shared('archiver')").unwrap();
    assert!(site.archived_of(&copy.sql));
    let (code, said) = site.adopt("own.toml", &copy.data, "");
    assert_eq!(code, 0, "{said}");
    let backup = site.with("own.toml", "backup");
    assert_eq!(backup.status.code(), Some(0), "{}", crate::said(&backup));
    assert_eq!(site.archived(), before);
}

#[test]
fn three_generations_of_timelines_in_one_archive() {
    let mut site = Site::start();
    site.sql("CREATE TABLE t (n int)");
    site.json("backup", 0);
    site.commit(1..=10);
    let first = site.moment();
    site.sql("SELECT pg_sleep(0.02)");
    site.commit(11..=20);
    let lost = site.moment();
    site.sql("SELECT pg_sleep(0.02)");
    site.commit(21..=21);
    site.archive_now();
    let late = site.json("backup", 0)["backup"]["id"].as_str().unwrap().to_owned();
    site.archive_now();
    site.cluster.stop().unwrap();

    // The second generation: restored to before the loss, and adopted; the original is stopped.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let two = site.copy("two", &format!("--target-time {first}"));
    let (code, said) = site.adopt("eds.toml", &two.data, "--take-over");
    assert!(code == 0 && said.contains("refused from now on"), "{said}");
    two.sql.query("INSERT INTO t SELECT generate_series(101, 110)").unwrap();
    assert!(site.archived_of(&two.sql));
    // The original comes back, and no longer archives anything.
    site.cluster.start().unwrap();
    let before = site.archived();
    site.commit(22..=22);
    assert!(!site.archived_of(&site.cluster.sql().unwrap()));
    let refused = site.with("eds.toml", "backup");
    assert!(crate::said(&refused).contains("it was handed over to a restored copy on timeline 2"));
    site.cluster.kill().unwrap();
    assert_eq!(site.archived(), before);
    two.sql.query("INSERT INTO t VALUES (111)").unwrap();
    let second = two.sql.query(MOMENT).unwrap();
    two.sql.query("SELECT pg_sleep(0.02);\nINSERT INTO t VALUES (112)").unwrap();
    assert!(site.archived_of(&two.sql));

    // From the archive: the living timeline by default, and the lost one on request.
    let end = site.copy("end", "--drill");
    assert_eq!((end.rows().as_str(), &end.answer["followed"]), ("22|112", &2.into()));
    assert!(end.notes().contains("timeline 1 has separate log"), "{}", end.notes());
    let lost = site.copy("lost", &format!("--drill --target-time {lost}"));
    assert_eq!((lost.rows().as_str(), &lost.answer["followed"]), ("20|20", &1.into()));
    assert!(lost.notes().contains("the archive is on timeline 2 now"), "{}", lost.notes());
    let old = site.copy("old", "--drill --timeline 1");
    assert_eq!((old.rows().as_str(), &old.answer["timeline"]), ("21|21", &3.into()));
    let why = site.refused(&format!("--backup {late} --timeline 2"));
    assert!(why.contains("is not on the way to timeline 2") && why.contains("--timeline 1"), "{why}");
    let why = site.refused("--timeline 7");
    assert!(why.contains("there is no timeline 7; the archive has 1, 2"), "{why}");
    drop((end, lost, old));

    // The third generation, from the second.
    let two_data = two.data.clone();
    drop(two);
    site.sql_is_gone(&two_data);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let three = site.copy("three", &format!("--target-time {second}"));
    assert_eq!((three.rows().as_str(), &three.answer["timeline"]), ("21|111", &3.into()));
    let (code, said) = site.adopt("eds.toml", &three.data, "--take-over");
    assert_eq!(code, 0, "{said}");
    three.sql.query("INSERT INTO t SELECT generate_series(201, 204)").unwrap();
    assert!(site.archived_of(&three.sql));
    let check = site.json("check-archive", 0)["checklist"]["checks"][0].to_string();
    assert!(
        check.contains("timeline 1 until ") && check.contains(", 2 until ") && check.contains(", 3 now"),
        "{check}"
    );
    for (number, (options, rows)) in [
        (String::new(), "25|204"),
        (format!("--target-time {first}"), "10|10"),
        (format!("--target-time {second}"), "21|111"),
        ("--timeline 2".to_owned(), "22|112"),
        ("--timeline 1".to_owned(), "21|21"),
    ]
    .into_iter()
    .enumerate()
    {
        let copy = site.copy(&format!("again{number}"), &format!("--drill {options}"));
        assert_eq!(copy.rows(), rows, "{options}");
    }
}

const MOMENT: &str =
    "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";

impl Site {
    /// Removes the data of a stopped server.
    fn sql_is_gone(&self, data: &str) {
        std::fs::remove_dir_all(Path::new(data)).unwrap();
    }
}
