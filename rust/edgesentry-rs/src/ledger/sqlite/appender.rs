//! The thread that appends groups whose records all continue their chains: one transaction for payloads, records, heads and
//! log, by prepared statements on a connection of its own. sqlx would pass each statement to its thread and wait for it, and
//! copies each value twice.
//!
//! It has the effect of [`append`](crate::ledger::append::append), which appends every other group, and every group that fails
//! here. It decides under the same lock: the transaction has the file's only write lock, and holds the heads that the group
//! expects, or writes nothing.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Statement, Transaction, TransactionBehavior, params,
};
use tokio::sync::oneshot;
use tracing::debug;

use crate::clock::now_ms;
use crate::ledger::plan::{self, Continuation, Locked, LogRow};
use crate::ledger::{Decision, Entry};
use crate::sqlite::WRITER_PRAGMAS;

/// The rows of one INSERT into the operation log. Each statement also writes the counter of its ids.
const LOG_ROWS: usize = 32;
const LOG_COLUMNS: usize = 9;

/// A group that was appended.
pub(super) struct Appended {
    pub(super) decisions: Vec<Decision>,
    /// The time of the insert into the operation log.
    pub(super) log_insert: Duration,
}

struct Job {
    entries: Vec<Entry>,
    answer: oneshot::Sender<Appended>,
}

/// The thread and its connection. It starts with the first group, and again after an error.
#[derive(Debug)]
pub(super) struct Appender {
    path: PathBuf,
    thread: Mutex<Option<(Sender<Job>, JoinHandle<()>)>>,
}

impl Appender {
    pub(super) fn new(path: PathBuf) -> Appender {
        Appender { path, thread: Mutex::default() }
    }

    /// Appends a group; returns `None` if the ledger holds nothing of it, because it needs more than an append or because an
    /// error has occurred.
    pub(super) async fn append(&self, entries: &[Entry]) -> Option<Appended> {
        let (answer, answered) = oneshot::channel();
        self.send(Job { entries: entries.to_vec(), answer })?;
        answered.await.ok()
    }

    fn send(&self, mut job: Job) -> Option<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((jobs, _)) = &*thread {
            match jobs.send(job) {
                Ok(()) => return Some(()),
                // It has ended after an error.
                Err(unsent) => job = unsent.0,
            }
        }
        let (jobs, received) = channel();
        let path = self.path.clone();
        let run = move || {
            if let Err(error) = run(&path, &received) {
                debug!(%error, "the thread of the ledger has ended; another connection appends its group");
            }
        };
        let started = std::thread::Builder::new().name("edgesentry-sqlite".to_owned()).spawn(run).ok()?;
        jobs.send(job).ok()?;
        *thread = Some((jobs, started));
        Some(())
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((jobs, thread)) = thread {
            drop(jobs);
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }
}

fn run(path: &Path, jobs: &Receiver<Job>) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // If another process writes, the group waits for it elsewhere.
    connection.busy_timeout(Duration::ZERO)?;
    for (name, value) in WRITER_PRAGMAS {
        connection.execute_batch(&format!("PRAGMA {name} = {value}"))?;
    }
    let mut statements = Statements::prepare(&connection)?;
    for Job { entries, answer } in jobs {
        match append(&connection, &mut statements, &entries) {
            Ok(Some(appended)) => {
                // The caller may be gone; the group stays committed.
                let _ = answer.send(appended);
            }
            Ok(None) => {}
            // The file is locked, or already holds one of the payloads.
            Err(rusqlite::Error::SqliteFailure(error, _))
                if [ErrorCode::DatabaseBusy, ErrorCode::ConstraintViolation].contains(&error.code) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Appends a group if the heads are as its records state them. Without a commit the transaction is rolled back.
fn append(
    connection: &Connection,
    statements: &mut Statements<'_>,
    entries: &[Entry],
) -> rusqlite::Result<Option<Appended>> {
    let Some(Continuation { expected, plan }) = plan::continuation(entries) else { return Ok(None) };
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    for (device_id, locked) in &expected {
        if !statements.has_head(device_id, locked)? {
            return Ok(None);
        }
    }
    let now_ms = now_ms();
    for stored in &plan.accepted {
        let admitted = stored.admitted();
        let record = admitted.record();
        if stored.is_with_record() {
            statements.payload.execute(params![
                record.device_id,
                record.sequence.cast_signed(),
                &record.payload_hash.as_bytes()[..],
                &admitted.payload()[..],
                now_ms,
            ])?;
        }
        statements.record.execute(params![
            record.device_id,
            record.sequence.cast_signed(),
            record.timestamp_ms.cast_signed(),
            &record.payload_hash.as_bytes()[..],
            &record.signature[..],
            &record.prev_record_hash.as_bytes()[..],
            record.object_ref,
            &admitted.hash().as_bytes()[..],
            now_ms,
        ])?;
    }
    for (device_id, head) in &plan.heads {
        let hash = &head.hash.as_bytes()[..];
        statements.move_head.execute(params![head.sequence.cast_signed(), hash, now_ms, &**device_id])?;
    }
    let begin = Instant::now();
    for rows in plan.log.chunks(LOG_ROWS) {
        if rows.len() == LOG_ROWS {
            log(&mut statements.log_rows, rows, now_ms)?;
        } else {
            rows.iter().try_for_each(|row| log(&mut statements.log, std::slice::from_ref(row), now_ms))?;
        }
    }
    let log_insert = begin.elapsed();
    transaction.commit()?;
    Ok(Some(Appended { decisions: plan.decisions, log_insert }))
}

struct Statements<'c> {
    head: Statement<'c>,
    payload: Statement<'c>,
    record: Statement<'c>,
    move_head: Statement<'c>,
    log: Statement<'c>,
    log_rows: Statement<'c>,
}

impl Statements<'_> {
    fn prepare(connection: &Connection) -> rusqlite::Result<Statements<'_>> {
        let log = |rows| {
            let row = format!("({})", ["?"; LOG_COLUMNS].join(", "));
            // ROLLBACK: to undo only one statement, SQLite would copy each page before it writes it.
            connection.prepare(&format!(
                "INSERT OR ROLLBACK INTO operation_logs
                 (at_ms, device_id, sequence, outcome, reason, record_hash, expected, actual, evidence) VALUES {}",
                vec![row; rows].join(", ")
            ))
        };
        Ok(Statements {
            head: connection
                .prepare("SELECT sequence, record_hash, keys_version FROM chain_heads WHERE device_id = ?")?,
            payload: connection.prepare(
                "INSERT INTO record_payloads (device_id, sequence, payload_hash, payload, stored_at_ms)
                 VALUES (?, ?, ?, ?, ?)",
            )?,
            record: connection.prepare(
                "INSERT INTO audit_records (device_id, sequence, timestamp_ms, payload_hash, signature,
                 prev_record_hash, object_ref, record_hash, received_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            move_head: connection.prepare(
                "UPDATE chain_heads SET sequence = ?, record_hash = ?, moved_at_ms = ? WHERE device_id = ?",
            )?,
            log: log(1)?,
            log_rows: log(LOG_ROWS)?,
        })
    }

    /// Returns true if the head and the version of the keys of a device are the expected ones.
    fn has_head(&mut self, device_id: &str, expected: &Locked) -> rusqlite::Result<bool> {
        let head = &expected.chain.head;
        let is_expected = self.head.query_row([device_id], |row| {
            Ok(row.get_ref(0)?.as_i64()? == head.sequence.cast_signed()
                && row.get_ref(1)?.as_blob()? == head.hash.as_bytes()
                && row.get_ref(2)?.as_i64()? == expected.keys_version)
        });
        Ok(is_expected.optional()?.unwrap_or(false))
    }
}

/// Inserts as many rows into the operation log as the statement has.
fn log(statement: &mut Statement<'_>, rows: &[LogRow], now_ms: i64) -> rusqlite::Result<()> {
    let mut at = 0;
    for row in rows {
        let values: [&dyn rusqlite::ToSql; LOG_COLUMNS] = [
            &now_ms,
            &row.device_id,
            &row.sequence,
            &row.outcome.as_str(),
            &row.reason,
            &&row.record_hash.as_bytes()[..],
            &row.expected,
            &row.actual,
            &row.evidence,
        ];
        for value in values {
            at += 1;
            statement.raw_bind_parameter(at, value)?;
        }
    }
    statement.raw_execute()?;
    Ok(())
}
