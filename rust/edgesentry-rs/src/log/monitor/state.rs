//! The state of a monitor: one SQLite file. It separates the leaves up to a verified checkpoint from those that were
//! replayed behind it, which count for nothing until a root holds.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use edgesentry_log::{Contradiction, Follower, Note};
use futures::future::BoxFuture;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::finding::{FindingClass, Found, MonitorFinding};
use crate::clock::now_ms;
use crate::error::{Component, Error, StoreError};
use crate::sql::failed;
use crate::sqlite::{Database, Schema, insert_or};

static SCHEMA: Schema = Schema {
    name: "state of a monitor",
    tables: &[
        "monitor_log",
        "monitor_devices",
        "monitor_replayed",
        "monitor_findings",
        "monitor_evidence",
        "monitor_witnesses",
    ],
    later_tables: &[],
    migrations: &[(1, "monitor", include_str!("../../../migrations/monitor/0001_monitor.sql"))],
};

/// Open findings that a state keeps; it counts the rest.
const MAX_OPEN_FINDINGS: i64 = 10_000;

/// The file with the state of a monitor.
pub(super) struct State {
    database: Database,
    /// Held while a monitor uses the state.
    _lock: Option<File>,
}

/// The row of the log.
pub(super) struct Stored {
    pub(super) verified: Option<Note>,
    pub(super) verified_at_ms: u64,
    pub(super) seen: Option<Note>,
    follower: Vec<u8>,
    replayed: Option<Vec<u8>>,
}

/// A progress of the replay, which one transaction stores.
pub(super) struct Progress {
    state: Vec<u8>,
    changed: Vec<(String, Vec<u8>)>,
    contradictions: Vec<Contradiction>,
}

impl Progress {
    pub(super) fn of(follower: &mut Follower) -> Progress {
        let contradictions = follower.take_contradictions();
        Progress { state: follower.state(), changed: follower.take_changed(), contradictions }
    }
}

impl State {
    /// Opens the state for a monitor; no other monitor can use it meanwhile.
    pub(super) async fn open(path: &Path) -> Result<State, Error> {
        let lock = lock(path)?;
        let database = Database::open(path, Component::TransparencyLog, true, &SCHEMA).await?;
        Ok(State { database, _lock: Some(lock) })
    }

    /// Opens the state beside a monitor that may use it, to read or to acknowledge findings.
    pub(super) async fn open_beside(path: &Path) -> Result<State, Error> {
        let database = Database::open(path, Component::TransparencyLog, false, &SCHEMA).await?;
        Ok(State { database, _lock: None })
    }

    pub(super) fn place(&self) -> &str {
        &self.database.place
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError + use<> {
        failed(&self.database.place, Component::TransparencyLog, action)
    }

    /// Binds the state to a log and a policy. A state of another log, or under another policy, is refused.
    pub(super) async fn claim(&self, origin: &str, policy: &str, accept_policy: bool) -> Result<(), Error> {
        let failed = || self.failed("open the state of the monitor");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let row = sqlx::query("SELECT origin, policy FROM monitor_log").fetch_optional(&mut *writer).await;
        let place = self.place();
        match row.map_err(failed())? {
            None => {
                let follower = Follower::new(origin).state();
                sqlx::query(
                    "INSERT INTO monitor_log (only_row, origin, policy, follower) VALUES (1, ?, ?, ?)",
                )
                .bind(origin)
                .bind(policy)
                .bind(follower)
                .execute(&mut *writer)
                .await
                .map_err(failed())?;
                return Ok(());
            }
            Some(row) => {
                let (there, its): (String, String) =
                    (row.try_get(0).map_err(failed())?, row.try_get(1).map_err(failed())?);
                if there != origin {
                    let problem = format!(
                        "{place}: the state belongs to log {there:?}, and the policy names {origin:?}; use another state"
                    );
                    return Err(Error::Config(problem));
                }
                if its != policy && !accept_policy {
                    let problem = format!(
                        "{place}: the state was made under another policy; check the change and accept it with \
                         --accept-policy, or use another state"
                    );
                    return Err(Error::Config(problem));
                }
            }
        }
        let update = sqlx::query("UPDATE monitor_log SET policy = ?").bind(policy);
        update.execute(&mut *writer).await.map_err(failed())?;
        Ok(())
    }

    /// Returns the row of the log.
    pub(super) async fn stored(&self) -> Result<Stored, Error> {
        let failed = || self.failed("read the state of the monitor");
        let mut reader = self.database.reader().await.map_err(failed())?;
        let statement = "SELECT verified, verified_at_ms, seen, follower, replayed FROM monitor_log";
        let row = sqlx::query(statement).fetch_one(&mut *reader).await.map_err(failed())?;
        let note = |at: usize| -> Result<Option<Note>, Error> {
            let bytes: Option<Vec<u8>> = row.try_get(at).map_err(failed())?;
            bytes.map(|bytes| Note::parse(&bytes).map_err(|error| self.damaged(&error))).transpose()
        };
        let verified_at_ms: i64 = row.try_get(1).map_err(failed())?;
        Ok(Stored {
            verified: note(0)?,
            verified_at_ms: verified_at_ms.cast_unsigned(),
            seen: note(2)?,
            follower: row.try_get(3).map_err(failed())?,
            replayed: row.try_get(4).map_err(failed())?,
        })
    }

    /// Resumes the follower of the log: behind the verified checkpoint if its replay was interrupted.
    pub(super) async fn follower(&self, origin: &str, stored: &Stored) -> Result<Follower, Error> {
        let failed = || self.failed("read the state of the monitor");
        let mut reader = self.database.reader().await.map_err(failed())?;
        let statement = match stored.replayed {
            None => "SELECT device_id, state FROM monitor_devices",
            Some(_) => {
                "SELECT device_id, state FROM monitor_replayed UNION ALL
                 SELECT device_id, state FROM monitor_devices
                 WHERE device_id NOT IN (SELECT device_id FROM monitor_replayed)"
            }
        };
        let rows = sqlx::query(statement).fetch_all(&mut *reader).await.map_err(failed())?;
        let mut devices = Vec::with_capacity(rows.len());
        for row in rows {
            let (id, state): (Vec<u8>, Vec<u8>) =
                (row.try_get(0).map_err(failed())?, row.try_get(1).map_err(failed())?);
            devices.push((String::from_utf8(id).map_err(|error| self.damaged(&error))?, state));
        }
        let state = stored.replayed.as_ref().unwrap_or(&stored.follower);
        Follower::resume(origin, state, devices).map_err(|error| self.damaged(&error))
    }

    pub(super) fn damaged(&self, problem: &dyn std::fmt::Display) -> Error {
        let place = self.place();
        Error::Config(format!(
            "{place}: the state of the monitor is damaged: {problem}; restore it from a backup, or begin with a new state"
        ))
    }

    /// Notes the checkpoint whose replay begins.
    pub(super) async fn set_seen(&self, note: &Note) -> Result<(), Error> {
        let failed = || self.failed("write the state of the monitor");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let update = sqlx::query("UPDATE monitor_log SET seen = ?").bind(note.to_string().into_bytes());
        update.execute(&mut *writer).await.map_err(failed())?;
        Ok(())
    }

    /// Keeps a progress behind the verified checkpoint. With `verified` the root holds: all leaves so far count.
    pub(super) fn advance<'a>(
        &'a self,
        progress: Progress,
        verified: Option<&'a Note>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let failed = || self.failed("write the state of the monitor");
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            write_progress(&mut transaction, progress).await.map_err(failed())?;
            if let Some(note) = verified {
                verify(&mut transaction, note).await.map_err(failed())?;
            }
            transaction.commit().await.map_err(failed())?;
            Ok(())
        })
    }

    /// Drops the progress behind the verified checkpoint.
    pub(super) fn discard(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let failed = || self.failed("write the state of the monitor");
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            for statement in [
                "UPDATE monitor_log SET replayed = NULL",
                "DELETE FROM monitor_replayed",
                "DELETE FROM monitor_findings WHERE pending = 1",
            ] {
                sqlx::query(statement).execute(&mut *transaction).await.map_err(failed())?;
            }
            transaction.commit().await.map_err(failed())?;
            Ok(())
        })
    }

    /// Notes that the log still shows the verified checkpoint.
    pub(super) async fn confirm(&self) -> Result<(), Error> {
        let failed = || self.failed("write the state of the monitor");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let update = sqlx::query("UPDATE monitor_log SET verified_at_ms = ?").bind(now_ms());
        update.execute(&mut *writer).await.map_err(failed())?;
        Ok(())
    }

    /// Keeps findings with their evidence.
    pub(super) fn keep(&self, found: Vec<Found>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let failed = || self.failed("write the state of the monitor");
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            keep(&mut transaction, found, false).await.map_err(failed())?;
            transaction.commit().await.map_err(failed())?;
            Ok(())
        })
    }

    /// Returns the findings, oldest first: the open ones, or all.
    pub(super) async fn findings(&self, all: bool) -> Result<Vec<MonitorFinding>, Error> {
        let failed = || self.failed("read the findings of the monitor");
        let mut reader = self.database.reader().await.map_err(failed())?;
        let statement = "SELECT id, class, code, message, device_id, sequence, leaf, first_ms, last_ms, times, acknowledged_ms
             FROM monitor_findings WHERE pending = 0 AND (acknowledged_ms IS NULL OR ?) ORDER BY id";
        let rows = sqlx::query(statement).bind(all).fetch_all(&mut *reader).await.map_err(failed())?;
        rows.iter().map(finding).collect::<Result<_, _>>().map_err(|error| failed()(error).into())
    }

    /// Returns the number of findings that were not kept.
    pub(super) async fn dropped(&self) -> Result<u64, Error> {
        let failed = || self.failed("read the findings of the monitor");
        let mut reader = self.database.reader().await.map_err(failed())?;
        let dropped =
            sqlx::query_scalar("SELECT dropped FROM monitor_log").fetch_optional(&mut *reader).await;
        let dropped: Option<i64> = dropped.map_err(failed())?;
        Ok(dropped.unwrap_or(0).cast_unsigned())
    }

    /// Acknowledges a finding. Returns false if no open finding has this number.
    pub(super) async fn acknowledge(&self, id: u64) -> Result<bool, Error> {
        let failed = || self.failed("acknowledge a finding of the monitor");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let statement = "UPDATE monitor_findings SET acknowledged_ms = ?
             WHERE id = ? AND acknowledged_ms IS NULL AND pending = 0";
        let update = sqlx::query(statement).bind(now_ms()).bind(id.cast_signed());
        Ok(update.execute(&mut *writer).await.map_err(failed())?.rows_affected() > 0)
    }

    /// Returns the evidence: number of the finding, name and content of each file.
    pub(super) async fn evidence(&self) -> Result<Vec<(u64, String, Vec<u8>)>, Error> {
        let failed = || self.failed("read the evidence of the monitor");
        let mut reader = self.database.reader().await.map_err(failed())?;
        let statement = "SELECT finding, name, bytes FROM monitor_evidence ORDER BY finding, name";
        let rows: Vec<(i64, String, Vec<u8>)> =
            sqlx::query_as(statement).fetch_all(&mut *reader).await.map_err(failed())?;
        Ok(rows.into_iter().map(|(id, name, bytes)| (id.cast_unsigned(), name, bytes)).collect())
    }

    /// Returns since when a witness is ahead of the log, and notes it.
    pub(super) async fn ahead_since(&self, witness: &str, is_ahead: bool) -> Result<u64, Error> {
        let failed = || self.failed("write the state of the monitor");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let statement = "INSERT INTO monitor_witnesses (name, ahead_since_ms) VALUES (?, ?)
             ON CONFLICT (name) DO UPDATE SET ahead_since_ms =
                 CASE WHEN excluded.ahead_since_ms = 0 OR ahead_since_ms = 0 THEN excluded.ahead_since_ms
                      ELSE ahead_since_ms END
             RETURNING ahead_since_ms";
        let since = sqlx::query_scalar(statement).bind(witness).bind(if is_ahead { now_ms() } else { 0 });
        let since: i64 = since.fetch_one(&mut *writer).await.map_err(failed())?;
        Ok(since.cast_unsigned())
    }

    pub(super) async fn close(&self) {
        self.database.close().await;
    }
}

/// Locks a state: two monitors would overwrite each other's progress. SQLite has locks of its own on its file, so the lock
/// is on a file beside it.
fn lock(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
    let file = opened.map_err(|error| Error::unusable(format!("{}: cannot open", name.display()), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let problem = format!("{}: another monitor uses this state; stop it first", path.display());
            Err(Error::Config(problem))
        }
        Err(TryLockError::Error(error)) => {
            Err(Error::unusable(format!("{}: cannot lock", name.display()), error))
        }
    }
}

async fn write_progress(connection: &mut SqliteConnection, progress: Progress) -> Result<(), sqlx::Error> {
    let Progress { state, changed, contradictions } = progress;
    sqlx::query("UPDATE monitor_log SET replayed = ?").bind(state).execute(&mut *connection).await?;
    let conflict = "ON CONFLICT (device_id) DO UPDATE SET state = excluded.state";
    insert_or(
        connection,
        "INSERT INTO monitor_replayed (device_id, state)",
        2,
        &changed,
        conflict,
        |query, (device_id, state)| query.bind(device_id.clone().into_bytes()).bind(state.clone()),
    )
    .await?;
    keep(connection, contradictions.into_iter().map(Found::of_leaf), true).await
}

/// Moves the progress to the verified state.
async fn verify(connection: &mut SqliteConnection, note: &Note) -> Result<(), sqlx::Error> {
    let statement =
        "UPDATE monitor_log SET follower = replayed, replayed = NULL, verified = ?, verified_at_ms = ?";
    let update = sqlx::query(statement).bind(note.to_string().into_bytes()).bind(now_ms());
    update.execute(&mut *connection).await?;
    for statement in [
        "INSERT INTO monitor_devices SELECT device_id, state FROM monitor_replayed WHERE true
         ON CONFLICT (device_id) DO UPDATE SET state = excluded.state",
        "DELETE FROM monitor_replayed",
        // One finding for each subject.
        "UPDATE monitor_findings SET message = p.message, instance = p.instance, last_ms = p.last_ms,
             times = monitor_findings.times + p.times
         FROM (SELECT * FROM monitor_findings WHERE pending = 1) AS p
         WHERE monitor_findings.pending = 0 AND monitor_findings.acknowledged_ms IS NULL
             AND monitor_findings.subject = p.subject",
        "DELETE FROM monitor_findings WHERE pending = 1 AND EXISTS (
             SELECT 1 FROM monitor_findings AS o
             WHERE o.pending = 0 AND o.acknowledged_ms IS NULL AND o.subject = monitor_findings.subject)",
        "UPDATE monitor_findings SET pending = 0 WHERE pending = 1",
    ] {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn keep(
    connection: &mut SqliteConnection,
    found: impl IntoIterator<Item = Found>,
    pending: bool,
) -> Result<(), sqlx::Error> {
    let statement = "SELECT count(*) FROM monitor_findings WHERE acknowledged_ms IS NULL";
    let mut open: i64 = sqlx::query_scalar(statement).fetch_one(&mut *connection).await?;
    for found in found {
        keep_one(connection, &found, pending, &mut open).await?;
    }
    Ok(())
}

/// Keeps a finding, unless too many are open.
async fn keep_one(
    connection: &mut SqliteConnection,
    found: &Found,
    pending: bool,
    open: &mut i64,
) -> Result<(), sqlx::Error> {
    let now = now_ms();
    // A finding that is pending changes no other one.
    let statement = "SELECT id, instance, acknowledged_ms IS NULL FROM monitor_findings
         WHERE subject = ? AND (pending = ? OR acknowledged_ms IS NOT NULL) ORDER BY id DESC LIMIT 1";
    let last = sqlx::query_as(statement).bind(&found.subject).bind(pending);
    let last = last.fetch_optional(&mut *connection).await?;
    let last: Option<(i64, String, bool)> = last;
    let id = match last {
        Some((id, _, true)) => {
            let update = "UPDATE monitor_findings SET message = ?, instance = ?, last_ms = ?, times = times + 1 WHERE id = ?";
            let update = sqlx::query(update).bind(&found.message).bind(&found.instance).bind(now).bind(id);
            update.execute(&mut *connection).await?;
            id
        }
        Some((_, instance, false)) if instance == found.instance => return Ok(()),
        _ if *open >= MAX_OPEN_FINDINGS => {
            sqlx::query("UPDATE monitor_log SET dropped = dropped + 1").execute(&mut *connection).await?;
            return Ok(());
        }
        _ => {
            *open += 1;
            insert_finding(connection, found, now, pending).await?
        }
    };
    for (name, bytes) in &found.evidence {
        sqlx::query("INSERT OR IGNORE INTO monitor_evidence (finding, name, bytes) VALUES (?, ?, ?)")
            .bind(id)
            .bind(*name)
            .bind(bytes.as_slice())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Returns the number of the new finding.
async fn insert_finding(
    connection: &mut SqliteConnection,
    found: &Found,
    now: i64,
    pending: bool,
) -> Result<i64, sqlx::Error> {
    let statement = "INSERT INTO monitor_findings
             (class, code, subject, instance, message, device_id, sequence, leaf, first_ms, last_ms, pending)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let insert = sqlx::query(statement)
        .bind(found.class.name())
        .bind(found.code)
        .bind(&found.subject)
        .bind(&found.instance)
        .bind(&found.message)
        .bind(&found.device_id)
        .bind(found.sequence.map(u64::cast_signed))
        .bind(found.leaf.map(u64::cast_signed))
        .bind(now)
        .bind(now)
        .bind(pending);
    Ok(insert.execute(&mut *connection).await?.last_insert_rowid())
}

fn finding(row: &SqliteRow) -> Result<MonitorFinding, sqlx::Error> {
    let class: String = row.try_get("class")?;
    let class = FindingClass::ALL.into_iter().find(|each| each.name() == class);
    let unknown = || sqlx::Error::Decode("a finding of an unknown class".into());
    let number = |name: &str| row.try_get(name).map(i64::cast_unsigned);
    let optional = |name: &str| row.try_get(name).map(|number: Option<i64>| number.map(i64::cast_unsigned));
    Ok(MonitorFinding {
        id: number("id")?,
        class: class.ok_or_else(unknown)?,
        code: row.try_get("code")?,
        message: row.try_get("message")?,
        device_id: row.try_get("device_id")?,
        sequence: optional("sequence")?,
        leaf: optional("leaf")?,
        first_ms: number("first_ms")?,
        last_ms: number("last_ms")?,
        times: number("times")?,
        acknowledged_ms: optional("acknowledged_ms")?,
    })
}
