//! Starting a restored server, and waiting until it takes writes or has ended.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Restore, Target};
use crate::blocking::blocking;
use crate::data_folder;
use crate::error::Error;
use crate::postgres::{Programs, Sql};
use crate::process::Process;
use crate::source::control_data;
use crate::wal::Segment;
use crate::wal::ahead::FOLDER;

/// The interval of polling the server.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The log of the server in its data directory.
const LOG: &str = "edgesentry-restore.log";

/// A server that takes writes.
pub(super) struct Server {
    pub(super) pid: u32,
    pub(super) timeline: u32,
    pub(super) last_commit: Option<String>,
    pub(super) note: Option<String>,
}

/// The log to replay.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) first: Segment,
    pub(super) timeline: u32,
}

/// Starts the server and waits until recovery has ended. The server goes on running; after an error it is stopped.
pub(super) async fn start(
    programs: &Programs,
    restore: &Restore,
    way: Way,
    url: &str,
) -> Result<Server, Error> {
    let sql = Sql::new(programs, url)?;
    let log = restore.data.join(LOG);
    data_folder::create(programs, &log)?;
    let mut postgres = programs.owned("postgres");
    postgres.arg("-D").arg(&restore.data).arg("-p").arg(restore.port.to_string());
    for (name, value) in [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
        ("hot_standby", "on"),
    ] {
        postgres.arg("-c").arg(format!("{name}={value}"));
    }
    for (name, value) in limits(programs, &restore.data)? {
        postgres.arg("-c").arg(format!("{name}={value}"));
    }
    // Without it, or after it has ended early, the server fetches by itself.
    let mut fetch = restore.command.ahead(programs, &restore.data, way.first, way.timeline);
    let ahead = Process::start(&mut fetch, &log).map_err(Error::io("start", &restore.command.eds))?;
    let process =
        Process::start(&mut postgres, &log).map_err(Error::io("start PostgreSQL", &restore.data))?;
    let mut recovering = Recovering(Some(process));
    let Some(process) = recovering.0.as_mut() else { return Err(problem(restore, "it has ended", &log)) };
    let server = watch(programs, restore, &sql, process, &log).await;
    drop(ahead);
    // No process reads it any more.
    let _ = fs::remove_dir_all(restore.data.join("pg_wal").join(FOLDER));
    match server {
        Ok(server) => {
            recovering.release().map_err(Error::io("let PostgreSQL live on", &restore.data))?;
            Ok(server)
        }
        Err(error) => {
            // A clean shutdown, so that its files can be inspected.
            process.signal(Signal::INT);
            let _ = process.stop(Duration::from_secs(10));
            Err(error)
        }
    }
}

/// A recovering server; when dropped, it is stopped with all its processes.
struct Recovering(Option<Process>);

impl Recovering {
    fn release(mut self) -> std::io::Result<()> {
        self.0.take().map_or(Ok(()), |process| process.release().map(|_| ()))
    }
}

impl Drop for Recovering {
    fn drop(&mut self) {
        if let Some(process) = &mut self.0
            && process.lives()
        {
            // An immediate shutdown, so that its log reports it.
            process.signal(Signal::QUIT);
            if !process.wait(Duration::from_secs(10)).unwrap_or(false) {
                let _ = process.kill();
            }
        }
    }
}

async fn watch(
    programs: &Programs,
    restore: &Restore,
    sql: &Sql,
    process: &mut Process,
    log: &Path,
) -> Result<Server, Error> {
    let begin = Instant::now();
    let mut refusal;
    loop {
        let asked = sql.clone();
        match blocking(move || asked.query(STATE)).await {
            Ok(row) if row.starts_with("f|") => {
                // pg_ctl and the first response are not enough: the server may end right after promotion.
                if let Some(server) = answer(&row, process) {
                    return Ok(server);
                }
                refusal = Some(format!("unexpected response: {row:?}"));
            }
            Ok(_) => refusal = None,
            Err(error) => refusal = Some(error.describe()),
        }
        if !process.lives() {
            return Err(problem(restore, "it has ended", log));
        }
        if begin.elapsed() > restore.patience {
            let waited = format!("it has not recovered in {} s", restore.patience.as_secs());
            let said = refusal.map(|refusal| format!("; its last message: {refusal}")).unwrap_or_default();
            return Err(problem(restore, &format!("{waited}{said}"), log));
        }
        // If the server rejects our connection, its files show the state.
        if let Some(said) = refusal.filter(|said| said.contains("FATAL") && !said.contains("starting up"))
            && state(programs, &restore.data)? == "in production"
        {
            return Ok(Server {
                pid: process.pid(),
                timeline: timeline(programs, &restore.data)?,
                last_commit: None,
                note: Some(format!("the server accepts writes, but rejects our connection: {said}")),
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

const STATE: &str = "SELECT pg_is_in_recovery(), \
    CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_walfile_name(pg_current_wal_lsn()) END, \
    to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";

/// Parses the state of the server from its response.
fn answer(row: &str, process: &mut Process) -> Option<Server> {
    let fields: Vec<&str> = row.trim().split('|').collect();
    let [_, segment, last_commit] = fields.as_slice() else { return None };
    // The last checkpoint may still be on the previous timeline.
    let timeline = u32::from_str_radix(segment.get(..8)?, 16).ok()?;
    let last_commit = (!last_commit.is_empty()).then(|| (*last_commit).to_owned());
    process.lives().then(|| Server { pid: process.pid(), timeline, last_commit, note: None })
}

/// Returns the limits of the original: a server that recovers with lower ones stops.
fn limits(programs: &Programs, data: &Path) -> Result<Vec<(&'static str, String)>, Error> {
    let lines = control_data(programs, data)?;
    let settings = [
        ("max_connections setting", "max_connections"),
        ("max_worker_processes setting", "max_worker_processes"),
        ("max_wal_senders setting", "max_wal_senders"),
        ("max_prepared_xacts setting", "max_prepared_transactions"),
        ("max_locks_per_xact setting", "max_locks_per_transaction"),
    ];
    let found = lines.into_iter().filter_map(|(line, value)| {
        let (_, name) = settings.iter().find(|(heading, _)| *heading == line)?;
        Some((*name, value))
    });
    Ok(found.collect())
}

fn state(programs: &Programs, data: &Path) -> Result<String, Error> {
    control_value(programs, data, "Database cluster state")
}

fn timeline(programs: &Programs, data: &Path) -> Result<u32, Error> {
    Ok(control_value(programs, data, "Latest checkpoint's TimeLineID")?.parse().unwrap_or(0))
}

fn control_value(programs: &Programs, data: &Path, name: &str) -> Result<String, Error> {
    let lines = control_data(programs, data)?;
    Ok(lines.into_iter().find(|(line, _)| line == name).map(|(_, value)| value).unwrap_or_default())
}

/// Returns an error with the reason from the log of the server.
fn problem(restore: &Restore, problem: &str, log: &Path) -> Error {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let grave = |line: &&str| ["FATAL:", "PANIC:", "error:"].iter().any(|word| line.contains(word));
    // A server that starts or stops refuses every client, which explains nothing.
    let is_refusal = |line: &str| {
        ["is starting up", "is shutting down", "is not yet accepting connections"]
            .iter()
            .any(|words| line.contains(words))
    };
    let tells = |line: &&str| !is_refusal(line);
    let why: Vec<&str> = text.lines().filter(grave).filter(tells).collect();
    let why = &why[why.len().saturating_sub(3)..];
    let why = if why.is_empty() { "its log has no reason".to_owned() } else { why.join("; ") };
    let mut problem = format!("{problem}: {why}");
    if text.contains("recovery ended before configured recovery target was reached") {
        let advice = match &restore.target {
            Target::Time(_) => {
                "; no transaction was committed after that time, or the write-ahead log that holds it is not in the \
                 archive: see eds ops check-archive, and restore to an earlier time, or without --target-time to the end"
            }
            _ => "; the archive holds no such restore point",
        };
        problem.push_str(advice);
    }
    problem.push_str(&format!(
        "; the whole log is {}, and the data directory is left unchanged: remove it before you restore again",
        log.display()
    ));
    Error::Server { server: format!("the restored server on port {}", restore.port), problem }
}
