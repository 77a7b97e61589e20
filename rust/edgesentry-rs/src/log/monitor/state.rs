//! The state of a monitor: one SQLite file. It separates the leaves up to a verified checkpoint from those that were
//! replayed behind it, which count for nothing until a root holds.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use edgesentry_formats::times;
use edgesentry_log::{Contradiction, FollowError, Follower, Note, ReplacedKeys, TreeHash};
use futures::future::BoxFuture;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::Signed;
use super::finding::{FindingClass, Found, LEAF, MonitorFinding};
use crate::error::{Component, Error, StoreError};
use crate::sql::failed;
use crate::sqlite::{Database, Schema, insert_or};

static SCHEMA: Schema = Schema {
    name: "state of a monitor",
    tables: &[
        "monitor_log",
        "monitor_devices",
        "monitor_replayed",
        "monitor_seen",
        "monitor_findings",
        "monitor_evidence",
        "monitor_witnesses",
    ],
    later_tables: &[],
    migrations: &[(1, "monitor", include_str!("../../../migrations/monitor/0001_monitor.sql"))],
};

/// Open findings about leaves that a state keeps of each class; it counts the rest. Findings about checkpoints and
/// witnesses are not among them: each source has at most one of a code.
const MAX_OPEN_FINDINGS: i64 = 10_000;
/// Checkpoints of a source that wait for the tree of the log; the last one is replaced if there are more.
const MAX_SEEN: i64 = 256;
/// Instances of a finding whose evidence is kept.
const MAX_INSTANCES: i64 = 8;
/// Findings about leaves whose evidence is kept, of each class.
const MAX_LEAVES: i64 = 100;

/// The file with the state of a monitor.
pub(super) struct State {
    database: Database,
    /// Held while a monitor uses the state.
    _lock: Option<File>,
    /// Returns the time, Unix milliseconds.
    pub(super) now_ms: fn() -> u64,
}

/// The row of the log.
pub(super) struct Stored {
    pub(super) verified: Option<Note>,
    pub(super) verified_at_ms: u64,
    follower: Vec<u8>,
    replayed: Option<Vec<u8>>,
}

impl Stored {
    /// Returns the keys under the verified checkpoint that have replaced others.
    pub(super) fn replaced_keys(&self) -> Result<ReplacedKeys, FollowError> {
        ReplacedKeys::of_state(&self.follower)
    }
}

/// A leaf that is kept as evidence.
pub(super) struct KeptLeaf {
    pub(super) finding: i64,
    pub(super) number: i64,
    pub(super) index: u64,
    pub(super) bytes: Vec<u8>,
}

/// The columns of a checkpoint that waits.
type SeenRow = (String, Vec<u8>, i64, Option<Vec<u8>>);

/// A checkpoint that waits for the tree of the log.
#[derive(Clone)]
pub(super) struct Seen {
    /// The verifier key of the witness that showed it; empty for the log.
    pub(super) source: String,
    pub(super) signed: Signed,
    pub(super) first_ms: u64,
    /// The root of the replayed leaves at its size.
    pub(super) replayed_root: Option<TreeHash>,
}

/// The knowledge about a witness from earlier rounds.
#[derive(Clone, Copy, Default)]
pub(super) struct KnownWitness {
    /// The largest checkpoint that it has shown.
    pub(super) size: u64,
    /// True if a checkpoint of the log had its cosignature.
    pub(super) has_cosigned: bool,
}

/// The results of a round, which one transaction stores.
#[derive(Default)]
pub(super) struct Results {
    pub(super) found: Vec<Found>,
    /// The checkpoints that are compared: source, size and root.
    pub(super) settled: Vec<(String, u64, TreeHash)>,
    pub(super) witnesses: Vec<(String, KnownWitness)>,
    /// True if the log still shows the verified checkpoint.
    pub(super) confirms: bool,
}

/// A progress of the replay, which one transaction stores.
pub(super) struct Progress {
    state: Vec<u8>,
    changed: Vec<(String, Vec<u8>)>,
    contradictions: Vec<Contradiction>,
    /// The roots at the sizes of checkpoints that wait.
    roots: Vec<(u64, TreeHash)>,
}

impl Progress {
    pub(super) fn of(follower: &mut Follower, roots: &mut Vec<(u64, TreeHash)>) -> Progress {
        let contradictions = follower.take_contradictions();
        let (state, changed) = (follower.state(), follower.take_changed());
        Progress { state, changed, contradictions, roots: std::mem::take(roots) }
    }
}

impl State {
    /// Opens the state for a monitor; no other monitor can use it meanwhile.
    pub(super) async fn open(path: &Path, now_ms: fn() -> u64) -> Result<State, Error> {
        let lock = lock(path)?;
        let database = Database::open(path, Component::TransparencyLog, true, &SCHEMA).await?;
        Ok(State { database, _lock: Some(lock), now_ms })
    }

    /// Opens the state beside a monitor that may use it, to read or to acknowledge findings.
    pub(super) async fn open_beside(path: &Path) -> Result<State, Error> {
        let database = Database::open(path, Component::TransparencyLog, false, &SCHEMA).await?;
        Ok(State { database, _lock: None, now_ms: times::now_ms })
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
        let statement = "SELECT verified, verified_at_ms, follower, replayed FROM monitor_log";
        let row = sqlx::query(statement).fetch_one(&mut *reader).await.map_err(failed())?;
        let note = |at: usize| -> Result<Option<Note>, Error> {
            let bytes: Option<Vec<u8>> = row.try_get(at).map_err(failed())?;
            bytes.map(|bytes| Note::parse(&bytes).map_err(|error| self.damaged(&error))).transpose()
        };
        let verified_at_ms: i64 = row.try_get(1).map_err(failed())?;
        Ok(Stored {
            verified: note(0)?,
            verified_at_ms: verified_at_ms.cast_unsigned(),
            follower: row.try_get(2).map_err(failed())?,
            replayed: row.try_get(3).map_err(failed())?,
        })
    }

    /// Returns the checkpoints that wait, oldest first.
    pub(super) async fn seen(&self) -> Result<Vec<Seen>, Error> {
        let failed = || self.failed("read the state of the monitor");
        let mut reader = self.database.reader().await.map_err(failed())?;
        let statement =
            "SELECT source, note, first_ms, replayed_root FROM monitor_seen ORDER BY first_ms, size";
        let rows: Vec<SeenRow> = sqlx::query_as(statement).fetch_all(&mut *reader).await.map_err(failed())?;
        let seen = |(source, note, first_ms, root): SeenRow| -> Result<Seen, Error> {
            let note = Note::parse(&note).map_err(|error| self.damaged(&error))?;
            let signed = Signed::of(note).ok_or_else(|| self.damaged(&"a note without a checkpoint"))?;
            let replayed_root = root.and_then(|root| Some(TreeHash(root.try_into().ok()?)));
            Ok(Seen { source, signed, first_ms: first_ms.cast_unsigned(), replayed_root })
        };
        rows.into_iter().map(seen).collect()
    }

    /// Keeps checkpoints until they are compared, each with its source.
    pub(super) fn hold(&self, held: Vec<(String, Signed)>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let failed = || self.failed("write the state of the monitor");
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            for (source, signed) in held {
                let now = self.now();
                hold_one(&mut transaction, &source, &signed, now).await.map_err(failed())?;
            }
            transaction.commit().await.map_err(failed())?;
            Ok(())
        })
    }

    /// Returns the knowledge about each witness, by its verifier key.
    pub(super) async fn witnesses(&self) -> Result<BTreeMap<String, KnownWitness>, Error> {
        let failed = || self.failed("read the state of the monitor");
        let mut reader = self.database.reader().await.map_err(failed())?;
        let statement = "SELECT witness, size, has_cosigned FROM monitor_witnesses";
        let rows: Vec<(String, i64, bool)> =
            sqlx::query_as(statement).fetch_all(&mut *reader).await.map_err(failed())?;
        let known = |(witness, size, has_cosigned): (String, i64, bool)| {
            (witness, KnownWitness { size: size.cast_unsigned(), has_cosigned })
        };
        Ok(rows.into_iter().map(known).collect())
    }

    fn now(&self) -> i64 {
        (self.now_ms)().cast_signed()
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
            let now = self.now();
            write_progress(&mut transaction, progress, now).await.map_err(failed())?;
            if let Some(note) = verified {
                verify(&mut transaction, note, now).await.map_err(failed())?;
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
                "UPDATE monitor_seen SET replayed_root = NULL",
                "DELETE FROM monitor_findings WHERE pending = 1",
                WITHOUT_FINDING,
            ] {
                sqlx::query(statement).execute(&mut *transaction).await.map_err(failed())?;
            }
            transaction.commit().await.map_err(failed())?;
            Ok(())
        })
    }

    /// Keeps the results of a round.
    pub(super) fn keep(&self, results: Results) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let failed = || self.failed("write the state of the monitor");
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            write_results(&mut transaction, results, self.now()).await.map_err(failed())?;
            transaction.commit().await.map_err(failed())?;
            Ok(())
        })
    }

    /// Returns leaves under the verified root that are kept as evidence without their proofs.
    pub(super) async fn leaves_without_proof(&self) -> Result<Vec<KeptLeaf>, Error> {
        let failed = || self.failed("read the evidence of the monitor");
        let mut reader = self.database.reader().await.map_err(failed())?;
        let statement = "SELECT e.finding, e.number, e.instance, e.bytes FROM monitor_evidence e
             JOIN monitor_findings f ON f.id = e.finding
             WHERE e.name = ? AND f.pending = 0 ORDER BY e.finding, e.number LIMIT 32";
        let rows: Vec<(i64, i64, String, Vec<u8>)> =
            sqlx::query_as(statement).bind(LEAF).fetch_all(&mut *reader).await.map_err(failed())?;
        let leaf = |(finding, number, instance, bytes): (i64, i64, String, Vec<u8>)| {
            Some(KeptLeaf { finding, number, index: Found::leaf_of(&instance)?, bytes })
        };
        Ok(rows.into_iter().filter_map(leaf).collect())
    }

    /// Replaces a leaf by its proof.
    pub(super) async fn prove_leaf(&self, finding: i64, number: i64, proof: &str) -> Result<(), Error> {
        let failed = || self.failed("write the evidence of the monitor");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let statement = "UPDATE monitor_evidence SET name = 'leaf.proof', bytes = ?
             WHERE finding = ? AND number = ? AND name = ?";
        let update = sqlx::query(statement).bind(proof.as_bytes()).bind(finding).bind(number).bind(LEAF);
        update.execute(&mut *writer).await.map_err(failed())?;
        Ok(())
    }

    /// Returns the findings, oldest first: the open ones, or all.
    pub(super) async fn findings(&self, all: bool) -> Result<Vec<MonitorFinding>, Error> {
        let failed = || self.failed("read the findings of the monitor");
        let mut reader = self.database.reader().await.map_err(failed())?;
        let statement = "SELECT id, class, code, message, device_id, sequence, leaf, first_ms, last_ms, times, acknowledged_ms
             FROM monitor_findings WHERE pending = 0 AND (acknowledged_ms IS NULL OR ?) ORDER BY id";
        let rows = sqlx::query(statement).bind(all).fetch_all(&mut *reader).await.map_err(failed())?;
        let mut findings: Vec<MonitorFinding> =
            rows.iter().map(finding).collect::<Result<_, _>>().map_err(failed())?;
        let statement = "SELECT finding, number, name FROM monitor_evidence ORDER BY finding, number, name";
        let names: Vec<(i64, i64, String)> =
            sqlx::query_as(statement).fetch_all(&mut *reader).await.map_err(failed())?;
        for (id, number, name) in names {
            if let Ok(at) = findings.binary_search_by_key(&id.cast_unsigned(), |finding| finding.id) {
                findings[at].evidence.push(evidence_name(number, &name));
            }
        }
        Ok(findings)
    }

    /// Acknowledges a finding. Returns false if no open finding has this number.
    pub(super) async fn acknowledge(&self, id: u64) -> Result<bool, Error> {
        let failed = || self.failed("acknowledge a finding of the monitor");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let statement = "UPDATE monitor_findings SET acknowledged_ms = ?
             WHERE id = ? AND acknowledged_ms IS NULL AND pending = 0";
        let update = sqlx::query(statement).bind(self.now()).bind(id.cast_signed());
        Ok(update.execute(&mut *writer).await.map_err(failed())?.rows_affected() > 0)
    }

    /// Returns the evidence of one finding, or of all: number of the finding, name and content of each file.
    pub(super) async fn evidence(&self, of: Option<u64>) -> Result<Vec<(u64, String, Vec<u8>)>, Error> {
        let failed = || self.failed("read the evidence of the monitor");
        let mut reader = self.database.reader().await.map_err(failed())?;
        let statement = "SELECT finding, number, name, bytes FROM monitor_evidence e
             WHERE EXISTS (SELECT 1 FROM monitor_findings f WHERE f.id = e.finding AND f.pending = 0)
                 AND (?1 IS NULL OR finding = ?1)
             ORDER BY finding, number, name";
        let rows = sqlx::query_as(statement).bind(of.map(u64::cast_signed));
        let rows: Vec<(i64, i64, String, Vec<u8>)> = rows.fetch_all(&mut *reader).await.map_err(failed())?;
        let file = |(id, number, name, bytes): (i64, i64, String, Vec<u8>)| {
            (id.cast_unsigned(), evidence_name(number, &name), bytes)
        };
        Ok(rows.into_iter().map(file).collect())
    }

    pub(super) async fn close(&self) {
        self.database.close().await;
    }
}

/// Returns the name of a file of evidence: those of further instances begin with a number.
fn evidence_name(number: i64, name: &str) -> String {
    if number == 1 { name.to_owned() } else { format!("{number}-{name}") }
}

/// Locks a state: two monitors would overwrite each other's progress. SQLite has locks of its own on its file, so the lock
/// is on a file beside it, which all paths to the state have in common.
fn lock(path: &Path) -> Result<File, Error> {
    let place = path.display();
    let cannot = |error: std::io::Error| Error::unusable(format!("{place}: cannot open the state"), error);
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(cannot(error)),
    };
    #[cfg(unix)]
    if std::fs::metadata(&real).is_ok_and(|file| std::os::unix::fs::MetadataExt::nlink(&file) > 1) {
        let problem = format!("{place}: the state has several names (hard links); remove all but one");
        return Err(Error::Config(problem));
    }
    let mut name = real.into_os_string();
    name.push(".lock");
    let name = PathBuf::from(name);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
    let file = opened.map_err(|error| Error::unusable(format!("{}: cannot open", name.display()), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let problem = format!("{place}: another monitor uses this state; stop it first");
            Err(Error::Config(problem))
        }
        Err(TryLockError::Error(error)) => {
            Err(Error::unusable(format!("{}: cannot lock", name.display()), error))
        }
    }
}

/// Keeps a checkpoint, unless it is kept already. A source with too many of them replaces its last one, so that the
/// oldest ones, which wait longest, stay.
async fn hold_one(
    connection: &mut SqliteConnection,
    source: &str,
    signed: &Signed,
    now: i64,
) -> Result<(), sqlx::Error> {
    let size = signed.checkpoint.size().cast_signed();
    let root = signed.checkpoint.root();
    let statement = "DELETE FROM monitor_seen WHERE source = ?1 AND first_ms = (
             SELECT max(first_ms) FROM monitor_seen WHERE source = ?1)
         AND (SELECT count(*) FROM monitor_seen WHERE source = ?1) >= ?2
         AND NOT EXISTS (SELECT 1 FROM monitor_seen WHERE source = ?1 AND size = ?3 AND root = ?4)";
    let delete = sqlx::query(statement).bind(source).bind(MAX_SEEN).bind(size).bind(root.0.as_slice());
    delete.execute(&mut *connection).await?;
    let statement = "INSERT INTO monitor_seen (source, size, root, note, first_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (source, size, root) DO NOTHING";
    let insert = sqlx::query(statement).bind(source).bind(size).bind(root.0.as_slice());
    insert.bind(signed.note.to_string().into_bytes()).bind(now).execute(&mut *connection).await?;
    Ok(())
}

async fn write_results(
    connection: &mut SqliteConnection,
    results: Results,
    now: i64,
) -> Result<(), sqlx::Error> {
    let Results { found, settled, witnesses, confirms } = results;
    keep(connection, found, false, now).await?;
    for (source, size, root) in settled {
        sqlx::query("DELETE FROM monitor_seen WHERE source = ? AND size = ? AND root = ?")
            .bind(source)
            .bind(size.cast_signed())
            .bind(root.0.as_slice())
            .execute(&mut *connection)
            .await?;
    }
    for (witness, known) in witnesses {
        let statement = "INSERT INTO monitor_witnesses (witness, size, has_cosigned) VALUES (?, ?, ?)
             ON CONFLICT (witness) DO UPDATE SET size = max(size, excluded.size),
                 has_cosigned = max(has_cosigned, excluded.has_cosigned)";
        let insert = sqlx::query(statement).bind(witness).bind(known.size.cast_signed());
        insert.bind(known.has_cosigned).execute(&mut *connection).await?;
    }
    if confirms {
        let update = sqlx::query("UPDATE monitor_log SET verified_at_ms = ?").bind(now);
        update.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn write_progress(
    connection: &mut SqliteConnection,
    progress: Progress,
    now: i64,
) -> Result<(), sqlx::Error> {
    let Progress { state, changed, contradictions, roots } = progress;
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
    for (size, root) in roots {
        let update = sqlx::query("UPDATE monitor_seen SET replayed_root = ? WHERE size = ?");
        update.bind(root.0.as_slice()).bind(size.cast_signed()).execute(&mut *connection).await?;
    }
    keep(connection, contradictions.into_iter().map(Found::of_leaf), true, now).await
}

/// Deletes evidence of findings that are gone.
const WITHOUT_FINDING: &str =
    "DELETE FROM monitor_evidence WHERE finding NOT IN (SELECT id FROM monitor_findings)";

/// Moves the progress to the verified state.
async fn verify(connection: &mut SqliteConnection, note: &Note, now: i64) -> Result<(), sqlx::Error> {
    let statement =
        "UPDATE monitor_log SET follower = replayed, replayed = NULL, verified = ?, verified_at_ms = ?";
    let update = sqlx::query(statement).bind(note.to_string().into_bytes()).bind(now);
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
        WITHOUT_FINDING,
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
    now: i64,
) -> Result<(), sqlx::Error> {
    let mut open = BTreeMap::new();
    for class in FindingClass::ALL {
        let statement = "SELECT count(*) FROM monitor_findings
             WHERE acknowledged_ms IS NULL AND leaf IS NOT NULL AND class = ?";
        let count: i64 = sqlx::query_scalar(statement).bind(class.name()).fetch_one(&mut *connection).await?;
        open.insert(class, count);
    }
    for found in found {
        let open = open.entry(found.class).or_default();
        keep_one(connection, &found, pending, now, open).await?;
    }
    Ok(())
}

/// The last finding of a subject.
enum Last {
    Open(i64),
    /// It is acknowledged, and of the same instance.
    Known,
    None,
}

async fn last_of(
    connection: &mut SqliteConnection,
    found: &Found,
    pending: bool,
) -> Result<Last, sqlx::Error> {
    // A finding that is pending changes no other one.
    let statement = "SELECT id, instance, acknowledged_ms IS NULL FROM monitor_findings
         WHERE subject = ? AND (pending = ? OR acknowledged_ms IS NOT NULL) ORDER BY id DESC LIMIT 1";
    let last = sqlx::query_as(statement).bind(&found.subject).bind(pending);
    let last: Option<(i64, String, bool)> = last.fetch_optional(&mut *connection).await?;
    Ok(match last {
        Some((id, _, true)) => Last::Open(id),
        Some((_, instance, false)) if instance == found.instance => Last::Known,
        _ => Last::None,
    })
}

/// Keeps a finding, or counts it if too many about leaves are open.
async fn keep_one(
    connection: &mut SqliteConnection,
    found: &Found,
    pending: bool,
    now: i64,
    open: &mut i64,
) -> Result<(), sqlx::Error> {
    let mut last = last_of(connection, found, pending).await?;
    let is_full = found.leaf.is_some() && !found.is_dropped() && *open >= MAX_OPEN_FINDINGS;
    let dropped;
    let found = if matches!(last, Last::None) && is_full {
        dropped = found.dropped(MAX_OPEN_FINDINGS);
        last = last_of(connection, &dropped, pending).await?;
        &dropped
    } else {
        found
    };
    let id = match last {
        Last::Known => return Ok(()),
        Last::Open(id) => {
            let statement =
                "UPDATE monitor_findings SET message = ?, instance = ?, last_ms = ?, times = times + ?
                 WHERE id = ?";
            let update = sqlx::query(statement).bind(&found.message).bind(&found.instance).bind(now);
            update.bind(found.times.cast_signed()).bind(id).execute(&mut *connection).await?;
            id
        }
        Last::None => {
            *open += i64::from(found.leaf.is_some());
            insert_finding(connection, found, now, pending).await?
        }
    };
    keep_evidence(connection, id, found).await
}

/// Keeps the files of an instance together: all of them, or none.
async fn keep_evidence(connection: &mut SqliteConnection, id: i64, found: &Found) -> Result<(), sqlx::Error> {
    if found.evidence.is_empty() {
        return Ok(());
    }
    if found.leaf.is_some() {
        let statement = "SELECT count(DISTINCT e.finding) FROM monitor_evidence e JOIN monitor_findings f
             ON f.id = e.finding WHERE f.leaf IS NOT NULL AND f.class = ?";
        let kept: i64 =
            sqlx::query_scalar(statement).bind(found.class.name()).fetch_one(&mut *connection).await?;
        if kept >= MAX_LEAVES {
            return Ok(());
        }
    }
    let statement =
        "SELECT number, count(*) FROM monitor_evidence WHERE finding = ? AND instance = ? GROUP BY number";
    let there = sqlx::query_as(statement).bind(id).bind(&found.instance);
    let there: Option<(i64, i64)> = there.fetch_optional(&mut *connection).await?;
    let number = match there {
        // A later round may have found the proof as well.
        Some((number, files)) if files < found.evidence.len() as i64 => {
            sqlx::query("DELETE FROM monitor_evidence WHERE finding = ? AND number = ?")
                .bind(id)
                .bind(number)
                .execute(&mut *connection)
                .await?;
            number
        }
        Some(_) => return Ok(()),
        None => {
            let statement = "SELECT coalesce(max(number), 0) + 1 FROM monitor_evidence WHERE finding = ?";
            sqlx::query_scalar(statement).bind(id).fetch_one(&mut *connection).await?
        }
    };
    if number > MAX_INSTANCES {
        return Ok(());
    }
    for (name, bytes) in &found.evidence {
        let statement =
            "INSERT INTO monitor_evidence (finding, number, name, instance, bytes) VALUES (?, ?, ?, ?, ?)";
        let insert = sqlx::query(statement).bind(id).bind(number).bind(*name);
        insert.bind(&found.instance).bind(bytes.as_slice()).execute(&mut *connection).await?;
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
             (class, code, subject, instance, message, device_id, sequence, leaf, first_ms, last_ms, times, pending)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
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
        .bind(found.times.cast_signed())
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
        evidence: Vec::new(),
    })
}
