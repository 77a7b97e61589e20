//! Failover of a PostgreSQL ledger, step by step: detect that the primary is gone, fence it, promote the standby,
//! give the new primary a synchronous standby again.
//!
//! The order matters: a primary that comes back takes read-write clients, so it is fenced before its standby is
//! promoted.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::check::Check;
use crate::error::Error;
use crate::postgres::{Programs, Sql};

/// The timeout of a step.
const STEP_TIMEOUT: Duration = Duration::from_secs(300);
/// The interval of polling a server.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The rule by which a primary counts as gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detection {
    /// The interval between two probes.
    pub every: Duration,
    /// The number of consecutive failed probes.
    pub misses: u32,
}

impl Default for Detection {
    /// Returns a detection after one second without a response.
    fn default() -> Detection {
        Detection { every: Duration::from_millis(250), misses: 4 }
    }
}

/// Waits until a server counts as gone; returns false if it still responds at the end.
pub fn wait_until_gone(sql: &Sql, detection: Detection, patience: Duration) -> bool {
    let begin = Instant::now();
    let mut missed = 0;
    while begin.elapsed() < patience {
        missed = if sql.query_within("SELECT 1", Duration::from_secs(2)).is_ok() { 0 } else { missed + 1 };
        if missed >= detection.misses {
            return true;
        }
        std::thread::sleep(detection.every);
    }
    false
}

/// Fences a stopped server: when it comes back it is a standby, which takes no writes.
///
/// `standby.signal` in the data directory does it, regardless of how and with which settings the server is started.
///
/// # Errors
/// `data` is not a data directory, or cannot be written.
pub fn fence(programs: &Programs, data: &Path) -> Result<(), Error> {
    if !data.join("PG_VERSION").is_file() {
        let message = format!("{}: not a PostgreSQL data directory; nothing was fenced", data.display());
        return Err(Error::Config(message));
    }
    let signal = data.join("standby.signal");
    std::fs::write(&signal, b"").map_err(Error::io("fence the old primary", &signal))?;
    programs.own(&signal)?;
    let folder = std::fs::File::open(data).and_then(|folder| folder.sync_all());
    folder.map_err(Error::io("fence the old primary", data))
}

/// Checks that a running server refuses writes, by trying one.
pub fn refuses_writes(sql: &Sql) -> Check {
    let name = "the old primary comes back and refuses writes";
    match sql.query("CREATE TABLE edgesentry_fence_probe (n int)") {
        Err(Error::Server { problem, .. }) if problem.contains("read-only transaction") => {
            Check::new(name, true, problem)
        }
        Err(error) => Check::unknown(name, error.describe()),
        Ok(_) => {
            // The table must not stay; the verdict is that it could be created.
            let _ = sql.query("DROP TABLE edgesentry_fence_probe");
            Check::new(name, false, format!("{} accepted a write", sql.place()))
        }
    }
}

/// Promotes a standby and waits until it takes writes.
///
/// # Errors
/// The server refuses, or does not take writes in time.
pub fn promote(sql: &Sql) -> Result<(), Error> {
    sql.query("SELECT pg_promote(false)")?;
    wait(sql, "accept writes after its promotion", "SELECT NOT pg_is_in_recovery()")
}

/// Makes commits of a primary wait for the standby with this `application_name`, and waits until that one is
/// synchronous.
///
/// # Errors
/// The name has other characters than letters, digits and `_`, the server refuses, or the standby is not synchronous in
/// time.
pub fn synchronous(sql: &Sql, standby: &str) -> Result<(), Error> {
    if !standby.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') || standby.is_empty() {
        return Err(Error::Config(format!(
            "expected a standby name of letters, digits and _, got {standby:?}"
        )));
    }
    sql.query(&format!(
        "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 ({standby})';\nSELECT pg_reload_conf()"
    ))?;
    let sync = format!(
        "SELECT count(*) > 0 FROM pg_stat_replication WHERE application_name = '{standby}' AND sync_state = 'sync'"
    );
    wait(sql, "have its synchronous standby", &sync)
}

fn wait(sql: &Sql, what: &str, question: &str) -> Result<(), Error> {
    let begin = Instant::now();
    while sql.query(question)? != "t" {
        if begin.elapsed() > STEP_TIMEOUT {
            let problem = format!("it does not {what} within {} s", STEP_TIMEOUT.as_secs());
            return Err(Error::Server { server: sql.place().to_owned(), problem });
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}
