//! The WAL receiver alone: only `eds ops receive-wal` writes segments to the archive.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use edgesentry_ops::servers::free_port;
use edgesentry_rs::error::Component;
use rustix::process::{Pid, Signal, kill_process};

use crate::{BUCKET, Site, said, stop};

const TIMEOUT: Duration = Duration::from_secs(120);

/// The running command; killed when dropped.
struct Sidecar(Child);

impl Site {
    fn has(&self, key: &str) -> bool {
        self.archived().iter().any(|(there, _)| there == key)
    }

    /// Returns the time at which an object was written, Unix milliseconds.
    fn written_at(&self, key: &str) -> u64 {
        let url = format!("s3://{BUCKET}/ledger");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listed = runtime.block_on(async {
            edgesentry_rs::objects::open(&url, &self.s3.settings(), Component::Archive)
                .await
                .unwrap()
                .list(key)
                .await
                .unwrap()
        });
        listed[0].modified_ms
    }
}

impl Sidecar {
    /// Starts it, and returns when commits wait for it.
    fn start(site: &Site, interval: u64) -> Sidecar {
        let line = format!(
            "ops receive-wal --config eds.toml --folder received --slot sidecar --interval {interval}"
        );
        let log = File::create(site.path("receive.log")).unwrap();
        let sidecar = Sidecar(site.eds(&line).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let state = "SELECT sync_state FROM pg_stat_replication WHERE application_name = 'pg_receivewal'";
        wait_until("the sidecar is synchronous", &site.path("receive.log"), || site.sql(state) == "sync");
        sidecar
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, log: &Path, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        assert!(begin.elapsed() < TIMEOUT, "it never came to this: {what}; the WAL receiver: {said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Commits rows one by one; each is acknowledged when this returns.
fn commit(site: &Site, numbers: std::ops::RangeInclusive<u32>) {
    let rows: Vec<String> = numbers.map(|number| format!("INSERT INTO t VALUES ({number})")).collect();
    site.sql(&rows.join(";\n"));
}

/// Restores to the end of the archive; returns the number of rows, and the last one.
fn restored(site: &Site, name: &str) -> String {
    let port = free_port().unwrap();
    let data = site.path(name);
    let restored = site.json(&format!("restore --drill --data {} --port {port}", data.display()), 0);
    let rows = site.restored(port).query("SELECT count(*), max(n) FROM t").unwrap();
    stop(restored["restored"]["pid"].as_u64().unwrap());
    rows
}

#[test]
fn nothing_acknowledged_is_lost_with_the_sidecar_alone() {
    let mut site = Site::start_with("off");
    site.sql("CREATE TABLE t (n int)");
    site.sql("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (\"pg_receivewal\")';\nSELECT pg_reload_conf()");
    let mut sidecar = Sidecar::start(&site, 1);
    site.json("backup", 0);
    commit(&site, 1..=200);
    // One complete segment, and the beginning of the next.
    let complete = site.sql("SELECT pg_walfile_name(pg_switch_wal())");
    let key = format!("wal/00000001/{complete}.zst");
    wait_until("the complete segment is archived", &site.path("receive.log"), || site.has(&key));
    commit(&site, 201..=400);
    let incomplete = site.sql("SELECT pg_walfile_name(pg_current_wal_lsn())");

    // A restarted receiver without new log writes nothing: in a locked bucket each version stays.
    let beginning = format!("partial/{incomplete}.zst");
    wait_until("the beginning is archived", &site.path("receive.log"), || site.has(&beginning));
    sidecar.signal(Signal::TERM);
    assert!(sidecar.0.wait().unwrap().success());
    let (written, bytes) = (site.written_at(&beginning), site.read_archived(&beginning));
    sidecar = Sidecar::start(&site, 1);
    std::thread::sleep(Duration::from_millis(2500));
    // The server writes a little log by itself now and then.
    assert!(site.written_at(&beginning) == written || site.read_archived(&beginning) != bytes);

    // The server is lost; the receiver is asked to end, and sends its files.
    site.cluster.kill().unwrap();
    sidecar.signal(Signal::TERM);
    let ended = sidecar.0.wait().unwrap();
    assert!(ended.success(), "{}", std::fs::read_to_string(site.path("receive.log")).unwrap());
    let fetched = site.ops(&format!("fetch-wal {incomplete} {}", site.path("fetched").display()));
    assert_eq!(fetched.status.code(), Some(0), "{}", said(&fetched));
    assert!(said(&fetched).contains("only its beginning was in the archive"), "{}", said(&fetched));
    assert_eq!(restored(&site, "first"), "400|400");

    // This time the receiver is killed as well, before it has sent anything more.
    site.cluster.start().unwrap();
    let sidecar = Sidecar::start(&site, 3600);
    commit(&site, 401..=500);
    sidecar.signal(Signal::KILL);
    site.cluster.kill().unwrap();
    drop(sidecar);
    // There is no server to receive from any more; the files in its directory are sent all the same.
    let again = site.ops("receive-wal --folder received --slot sidecar");
    assert_eq!(again.status.code(), Some(3), "{}", said(&again));
    assert!(said(&again).contains("Connection refused"), "{}", said(&again));
    assert_eq!(restored(&site, "second"), "500|500");
}

#[test]
fn a_receiver_without_a_server_is_not_seen_to_receive() {
    let mut site = Site::start_with("off");
    let metrics = site.path("edgesentry.prom");
    site.configure("eds.toml", &format!("textfile = \"{}\"", metrics.display()));
    site.sql("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (\"pg_receivewal\")';\nSELECT pg_reload_conf()");
    let sidecar = Sidecar::start(&site, 3600);
    let seen = || {
        let text = std::fs::read_to_string(&metrics).unwrap_or_default();
        text.lines().find(|line| line.starts_with("edgesentry_wal_receiver_last_seen")).map(str::to_owned)
    };
    let log = site.path("receive.log");
    wait_until("it is seen to receive", &log, || seen().is_some());
    site.cluster.kill().unwrap();
    let restarts = || std::fs::read_to_string(&log).unwrap().matches("is started again").count();
    wait_until("the receiver has lost the server", &log, || restarts() >= 1);
    let last = seen();
    wait_until("it was started again and again", &log, || restarts() >= 4);
    assert_eq!(seen(), last);
    drop(sidecar);
}
