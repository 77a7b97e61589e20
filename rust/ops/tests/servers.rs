//! The servers of a drill start, replicate, crash, come back and leave nothing behind.
#![allow(clippy::unwrap_used)]

use edgesentry_ops::postgres::Programs;
use edgesentry_ops::servers::{Cluster, Primary, SeaweedFs, find_weed};

/// Returns every tested PostgreSQL, oldest first.
fn versions() -> Vec<Programs> {
    let bins = std::env::var_os("EDGESENTRY_TEST_POSTGRES_BINS").expect("run me by scripts/servers/with");
    let versions = std::env::split_paths(&bins).map(|bin| Programs::find(Some(&bin)).unwrap());
    versions.collect()
}

#[test]
#[cfg(target_os = "linux")]
fn versions_15_17_and_18_are_tested() {
    let majors: Vec<u32> = versions().iter().map(Programs::major).collect();
    // The first is that of the system, 15 on Debian 12.
    assert_eq!(majors[1..], [17, 18], "{majors:?}");
}

#[test]
fn a_standby_takes_over_from_the_primary() {
    for programs in versions() {
        takes_over(&programs);
    }
}

fn takes_over(programs: &Programs) {
    let mut primary = Cluster::create(programs, "primary", &["max_connections = 20"]).unwrap();
    primary.start().unwrap();
    let mut standby = Cluster::standby(Primary { cluster: &primary, standby: "standby1" }, &[]).unwrap();
    standby.start().unwrap();
    let on_primary = primary.sql().unwrap();
    on_primary
        .query("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (standby1)';\nSELECT pg_reload_conf()")
        .unwrap();
    let names = "SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'";
    primary.wait_until("has a synchronous standby", |sql| Ok(sql.query(names)? == "standby1")).unwrap();
    on_primary.query("CREATE TABLE t AS SELECT 42 AS n").unwrap();

    primary.kill().unwrap();
    assert!(!primary.lives());
    standby.promote().unwrap();
    let on_standby = standby.sql().unwrap();
    assert_eq!(on_standby.query("INSERT INTO t VALUES (43);\nSELECT sum(n) FROM t").unwrap(), "85");

    primary.start().unwrap();
    assert_eq!(on_primary.query("SELECT sum(n) FROM t").unwrap(), "42");
    primary.stop().unwrap();
    let folders = [primary.data(), standby.data()];
    drop((primary, standby));
    assert!(folders.iter().all(|folder| !folder.exists()));
}

#[test]
fn a_server_that_cannot_start_reports_the_reason() {
    let programs = Programs::find(None).unwrap();
    let mut cluster = Cluster::create(&programs, "primary", &["no_such_setting = 1"]).unwrap();
    let error = cluster.start().unwrap_err().to_string();
    assert!(error.contains("it has ended") && error.contains("no_such_setting"), "{error}");
}

#[test]
fn seaweedfs_restarts_after_a_crash() {
    let mut server = SeaweedFs::start(&find_weed(None).unwrap()).unwrap();
    server.restart().unwrap();
    assert!(server.endpoint().starts_with("http://127.0.0.1:"));
}
