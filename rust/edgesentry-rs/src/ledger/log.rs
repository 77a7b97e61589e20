//! The tables of the transparency log in a ledger: the leaf of each record, key and revocation. Both databases share
//! the statements.
//!
//! Separate transactions assign positions to committed records, so ingest writes nothing more and waits for nothing. A
//! *term* fences leaders: each leader draws a random term, and every write checks it under the lock on the state. So a
//! slow leader that was replaced cannot write.

mod assign;
mod cosignatures;
mod erasures;
mod positions;
mod restore;
mod statements;
mod succeed;
mod timestamps;
mod withdraw;
mod witness;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgesentry_chain::{AuditRecord, Hash};
use edgesentry_log::{Checkpoint, HeadsLeaf, Leaf, LeafError, Run, Tampered, TreeHash};
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use crate::error::{Component, StoreError};
use crate::sql::failed;

pub(crate) use cosignatures::MAX_COSIGNED;
pub use cosignatures::{CosignatureRow, LogCosignatures};
pub(crate) use erasures::listed_erasures;
pub use erasures::{
    ErasureQuery, ErasureRow, ErasureSelection, ErasureStep, LogErasures, MAX_REASON_BYTES,
    OBJECT_LOCK_KEEPS, OpenErasures,
};
pub use positions::LogPositions;
pub use restore::{Conflicts, LOG_CONFLICT, Replaced, RestoredBatch};
pub(super) use statements::{Kind, Row, Span, Statements, Value};
pub use timestamps::{LogTimestamps, TimestampRow};
#[cfg(feature = "postgres")]
pub(super) use witness::POSTGRES_WITNESS;
pub(super) use witness::SQLITE_WITNESS;
pub use witness::{
    EvidenceRow, MAX_EVIDENCE_PER_KIND, NewEvidence, WitnessAccess, WitnessTables, WitnessedChange,
    WitnessedRow, open_witness,
};

/// The reason why the tables cannot be continued.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogTablesError {
    /// The ledger has no log.
    #[error("the ledger has no transparency log; open one with eds checkpoint init")]
    NotOpened,
    /// Another leader has taken over.
    #[error("another process has taken over the transparency log; nothing was written")]
    Superseded,
    /// The ledger lacks content that it had committed.
    #[error("the ledger was changed without the service: {0}")]
    Tampered(Box<Tampered>),
    /// The heads of the log differ from its last heads leaf.
    #[error(
        "the ledger was changed without the service: log_heads does not have the heads of the checkpoint of size \
         {size}; restore log_heads from a backup"
    )]
    Heads {
        /// The size of the checkpoint.
        size: u64,
        /// The root of the heads tree under the checkpoint.
        expected: TreeHash,
        /// The root of the heads in the tables.
        actual: TreeHash,
    },
    /// The ledger has another record than the log that it is restored from.
    #[error(
        "device {device_id:?}, sequence {sequence}: the ledger has another record than the log; verify the ledger, or let \
         the records of the log replace it with eds checkpoint recover --replace-conflicts"
    )]
    Fork {
        /// The device.
        device_id: String,
        /// The first sequence of another record.
        sequence: u64,
    },
    /// The ledger contradicts the log that it is restored from.
    #[error("the ledger and the log disagree on {0}")]
    Conflict(String),
    /// The tables contradict each other.
    #[error("the tables of the transparency log contradict each other: {0}")]
    Inconsistent(String),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The state of the log in its tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogState {
    /// The name of the log.
    pub origin: String,
    /// The index of the next leaf.
    pub next_index: u64,
    /// The last batch; 0 before the first.
    pub batch: u64,
    /// When it was opened, Unix milliseconds.
    pub opened_at_ms: u64,
}

/// The steps of a batch, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BatchStep {
    /// Its leaves have positions.
    Sequenced,
    /// Its tiles are stored.
    Integrated,
    /// Its checkpoint is signed.
    Signed,
}

/// A batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchRow {
    /// The number of the batch, from 1.
    pub batch: u64,
    /// The index of its first leaf.
    pub first_index: u64,
    /// The size of the tree including the batch.
    pub size: u64,
    /// The root of the tree including the batch, after integration.
    pub root: Option<TreeHash>,
    /// The last completed step.
    pub step: BatchStep,
}

/// A new batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewBatch {
    /// The batch.
    pub row: BatchRow,
    /// False if everything that was committed has a position; true if more may wait.
    pub is_full: bool,
}

/// A signed checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckpointRow {
    /// The size of the tree.
    pub size: u64,
    /// Its root.
    pub root: TreeHash,
    /// The note with the log's signature.
    pub note: Vec<u8>,
    /// When it was signed, Unix milliseconds.
    pub signed_at_ms: u64,
    /// The number of its lock object.
    pub lock_number: u64,
}

/// The leaves of a batch without the records, both in order of their index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchLeaves {
    /// Leaves other than records, by index.
    pub events: Vec<(u64, Vec<u8>)>,
    /// Runs of records, by the index of the first one.
    pub runs: Vec<(u64, Run)>,
}

/// The right to sequence. Another process can take it after it is dropped.
pub struct Leader {
    term: i64,
    guard: Option<Arc<Mutex<Box<dyn Guard>>>>,
}

impl Leader {
    /// Checks that no other process can lead.
    ///
    /// # Errors
    /// The connection that holds the lock is lost, so another process may lead.
    pub async fn holds(&self) -> Result<(), StoreError> {
        match &self.guard {
            Some(guard) => guard.lock().await.holds().await,
            // Without a lock, only the term decides.
            None => Ok(()),
        }
    }

    /// Keeps the lock while other work runs, and returns the error that lost it.
    pub fn keep_alive(&self) -> impl Future<Output = StoreError> + Send + use<> {
        let guard = self.guard.clone();
        async move {
            let Some(guard) = guard else { return std::future::pending().await };
            loop {
                tokio::time::sleep(PING_INTERVAL).await;
                if let Err(error) = guard.lock().await.holds().await {
                    return error;
                }
            }
        }
    }
}

impl std::fmt::Debug for Leader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leader").field("term", &self.term).finish_non_exhaustive()
    }
}

/// The time between two statements on the connection of a leader, whose idle limit is 120 s.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// A lock that ends with its connection.
#[async_trait]
pub(super) trait Guard: Send {
    async fn holds(&mut self) -> Result<(), StoreError>;
}

/// The tables of the log.
#[async_trait]
pub trait LogTables: LogPositions + LogErasures + LogCosignatures + LogTimestamps {
    /// Returns the state of the log; `None` if the ledger has no log.
    async fn state(&self) -> Result<Option<LogState>, StoreError>;

    /// Opens a log, unless the ledger has one, and returns the state of the ledger's log.
    async fn open(&self, origin: &str, at_ms: u64) -> Result<LogState, LogTablesError>;

    /// Opens a log in place of the one that the ledger has. Its first leaf names `previous`; without it the log has no leaf,
    /// and is to be recovered.
    async fn succeed(
        &self,
        leader: &Leader,
        origin: &str,
        previous: Option<Checkpoint>,
        at_ms: u64,
    ) -> Result<LogState, LogTablesError>;

    /// Becomes the leader; `None` if another process leads.
    async fn lead(&self) -> Result<Option<Leader>, LogTablesError>;

    /// Checks that no other leader has taken over.
    async fn still_leads(&self, leader: &Leader) -> Result<(), LogTablesError>;

    /// Assigns positions to committed keys, revocations, records and erasures without one: at most `max_leaves` and a
    /// heads leaf.
    ///
    /// Returns `None` if the log needs no new leaf. `last` is the size of the last checkpoint with its heads leaf; the
    /// tables must agree with it.
    async fn assign(
        &self,
        leader: &Leader,
        last: Option<(u64, HeadsLeaf)>,
        max_leaves: u64,
        at_ms: u64,
    ) -> Result<Option<NewBatch>, LogTablesError>;

    /// Returns the first unsigned batch.
    async fn open_batch(&self) -> Result<Option<BatchRow>, StoreError>;

    /// Returns the leaves of a batch.
    async fn leaves(&self, batch: &BatchRow) -> Result<BatchLeaves, LogTablesError>;

    /// Returns the records of spans (device, first and last sequence), in this order. Omits missing records.
    async fn records(&self, spans: Vec<(String, u64, u64)>) -> Result<Vec<AuditRecord>, StoreError>;

    /// Records that the tiles of a batch are stored. The batch must be unchanged since it was read.
    async fn integrated(
        &self,
        leader: &Leader,
        batch: &BatchRow,
        root: TreeHash,
    ) -> Result<(), LogTablesError>;

    /// Records the checkpoint of a batch. The batch must be unchanged since it was read.
    async fn signed(
        &self,
        leader: &Leader,
        batch: &BatchRow,
        checkpoint: &CheckpointRow,
    ) -> Result<(), LogTablesError>;

    /// Withdraws the positions of an unsigned batch whose tiles are not stored. `last` is the heads leaf of the last
    /// checkpoint.
    async fn withdraw(
        &self,
        leader: &Leader,
        batch: &BatchRow,
        last: Option<HeadsLeaf>,
    ) -> Result<(), LogTablesError>;

    /// Returns the last checkpoint.
    async fn last_checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError>;

    /// Returns the number of records without a position.
    async fn backlog(&self) -> Result<u64, StoreError>;

    /// Restores a batch of the log to a ledger that was restored to a time before the batch: records, keys, positions
    /// and the checkpoint. Existing content of the ledger must be the same, except for the records that it may replace.
    ///
    /// Returns the replaced records.
    async fn restore(
        &self,
        leader: &Leader,
        batch: RestoredBatch,
        conflicts: Conflicts,
    ) -> Result<Vec<Replaced>, LogTablesError>;
}

/// The error of work in a transaction.
pub(super) enum Failure {
    Sql(sqlx::Error),
    Log(LogTablesError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        Failure::Sql(error)
    }
}

impl From<LogTablesError> for Failure {
    fn from(error: LogTablesError) -> Failure {
        Failure::Log(error)
    }
}

impl From<LeafError> for Failure {
    fn from(error: LeafError) -> Failure {
        inconsistent(error.to_string())
    }
}

fn inconsistent(problem: String) -> Failure {
    Failure::Log(LogTablesError::Inconsistent(problem))
}

/// Statements that run on one connection.
pub(super) type Work<T> =
    Box<dyn for<'c> FnOnce(&'c mut dyn Statements) -> BoxFuture<'c, Result<T, Failure>> + Send>;

/// A database with the tables of the log.
#[async_trait]
pub(super) trait LogDatabase: Send + Sync + 'static {
    fn where_it_is(&self) -> &Arc<str>;

    /// Runs statements that only read.
    async fn reading<T: Send + 'static>(&self, work: Work<T>) -> Result<T, Failure>;

    /// Runs statements in a transaction that sees one state of the database, and commits it.
    async fn writing<T: Send + 'static>(&self, work: Work<T>) -> Result<T, Failure>;

    /// Takes the lock that one process holds at a time; `None` if another process holds it.
    ///
    /// A database without such a lock returns `Some(None)`.
    async fn guard(&self) -> Result<Option<Option<Box<dyn Guard>>>, StoreError>;
}

async fn write<D: LogDatabase, T: Send + 'static>(
    database: &D,
    action: &'static str,
    work: Work<T>,
) -> Result<T, LogTablesError> {
    database.writing(work).await.map_err(|failure| told(database, action, failure))
}

async fn read<D: LogDatabase, T: Send + 'static>(
    database: &D,
    action: &'static str,
    work: Work<T>,
) -> Result<T, LogTablesError> {
    database.reading(work).await.map_err(|failure| told(database, action, failure))
}

pub(super) async fn read_row<D: LogDatabase, T: Send + 'static>(
    database: &D,
    action: &'static str,
    work: Work<T>,
) -> Result<T, StoreError> {
    database.reading(work).await.map_err(|failure| match told(database, action, failure) {
        LogTablesError::Store(error) => error,
        other => {
            let error = sqlx::Error::Decode(other.to_string().into());
            failed(database.where_it_is(), Component::AuditLedger, action)(error)
        }
    })
}

fn told<D: LogDatabase>(database: &D, action: &'static str, failure: Failure) -> LogTablesError {
    match failure {
        Failure::Sql(error) => failed(database.where_it_is(), Component::AuditLedger, action)(error).into(),
        Failure::Log(error) => error,
    }
}

#[async_trait]
impl<D: LogDatabase> LogTables for D {
    async fn state(&self) -> Result<Option<LogState>, StoreError> {
        read_row(self, "read the state of the log", Box::new(|s| Box::pin(state(s)))).await
    }

    async fn open(&self, origin: &str, at_ms: u64) -> Result<LogState, LogTablesError> {
        let values = vec![origin.to_owned().into(), Value::number(at_ms)];
        let work: Work<LogState> = Box::new(move |s| {
            Box::pin(async move {
                let insert = "INSERT INTO log_state (only_row, origin, next_index, batch, term, opened_at_ms)
                              VALUES (1, $1, 0, 0, 0, $2) ON CONFLICT (only_row) DO NOTHING";
                s.execute(insert, &values).await?;
                state(s).await?.ok_or(LogTablesError::NotOpened.into())
            })
        });
        write(self, "open the log", work).await
    }

    async fn succeed(
        &self,
        leader: &Leader,
        origin: &str,
        previous: Option<Checkpoint>,
        at_ms: u64,
    ) -> Result<LogState, LogTablesError> {
        let (term, origin) = (leader.term, origin.to_owned());
        let work: Work<LogState> =
            Box::new(move |s| Box::pin(succeed::succeed(s, term, origin, previous, at_ms)));
        write(self, "open the log in place of another one", work).await
    }

    async fn lead(&self) -> Result<Option<Leader>, LogTablesError> {
        let Some(guard) = self.guard().await? else { return Ok(None) };
        // Random, because a counter would repeat after a restore or a failover that lost the last transactions.
        let term = (RandomState::new().build_hasher().finish() >> 1).cast_signed();
        let work: Work<()> = Box::new(move |s| {
            Box::pin(async move {
                let moved = s.execute("UPDATE log_state SET term = $1", &[Value::Integer(term)]).await?;
                if moved == 1 { Ok(()) } else { Err(LogTablesError::NotOpened.into()) }
            })
        });
        write(self, "take over the log", work).await?;
        Ok(Some(Leader { term, guard: guard.map(|guard| Arc::new(Mutex::new(guard))) }))
    }

    async fn still_leads(&self, leader: &Leader) -> Result<(), LogTablesError> {
        let term = leader.term;
        let work: Work<LogState> = Box::new(move |s| Box::pin(locked_state(s, term)));
        write(self, "read the state of the log", work).await.map(|_| ())
    }

    async fn assign(
        &self,
        leader: &Leader,
        last: Option<(u64, HeadsLeaf)>,
        max_leaves: u64,
        at_ms: u64,
    ) -> Result<Option<NewBatch>, LogTablesError> {
        let term = leader.term;
        let work: Work<Option<NewBatch>> =
            Box::new(move |s| Box::pin(assign::assign(s, term, last, max_leaves, at_ms)));
        write(self, "give positions to records", work).await
    }

    async fn open_batch(&self) -> Result<Option<BatchRow>, StoreError> {
        let statement = format!("{BATCH} WHERE state <> 'signed' ORDER BY batch LIMIT 1");
        let work: Work<Option<BatchRow>> = Box::new(move |s| Box::pin(batch(s, statement, Vec::new())));
        read_row(self, "read a batch of the log", work).await
    }

    async fn leaves(&self, batch: &BatchRow) -> Result<BatchLeaves, LogTablesError> {
        let values = vec![Value::number(batch.first_index), Value::number(batch.size)];
        let work: Work<BatchLeaves> = Box::new(move |s| Box::pin(leaves(s, values)));
        read(self, "read the leaves of a batch", work).await
    }

    async fn records(&self, spans: Vec<(String, u64, u64)>) -> Result<Vec<AuditRecord>, StoreError> {
        let spans: Vec<Span> = spans
            .into_iter()
            .map(|(device_id, first, last)| (device_id, first.cast_signed(), last.cast_signed()))
            .collect();
        let work: Work<Vec<AuditRecord>> =
            Box::new(move |s| Box::pin(async move { Ok(s.records(&spans).await?) }));
        read_row(self, "read the records of a batch", work).await
    }

    async fn integrated(
        &self,
        leader: &Leader,
        batch: &BatchRow,
        root: TreeHash,
    ) -> Result<(), LogTablesError> {
        let (term, batch) = (leader.term, batch.clone());
        let work: Work<()> = Box::new(move |s| {
            Box::pin(async move {
                locked_state(s, term).await?;
                let update = "UPDATE log_batches SET root = $4, state = 'integrated' WHERE batch = $1
                              AND first_index = $2 AND size = $3 AND state <> 'signed'";
                move_batch(s, update, &batch, root).await
            })
        });
        write(self, "note the root of a batch", work).await
    }

    async fn signed(
        &self,
        leader: &Leader,
        batch: &BatchRow,
        checkpoint: &CheckpointRow,
    ) -> Result<(), LogTablesError> {
        let (term, batch, checkpoint) = (leader.term, batch.clone(), checkpoint.clone());
        let work: Work<()> = Box::new(move |s| {
            Box::pin(async move {
                locked_state(s, term).await?;
                write_checkpoint(s, &checkpoint).await?;
                let update = "UPDATE log_batches SET state = 'signed' WHERE batch = $1 AND first_index = $2
                              AND size = $3 AND root = $4 AND state = 'integrated'";
                move_batch(s, update, &batch, checkpoint.root).await
            })
        });
        write(self, "note a checkpoint", work).await
    }

    async fn withdraw(
        &self,
        leader: &Leader,
        batch: &BatchRow,
        last: Option<HeadsLeaf>,
    ) -> Result<(), LogTablesError> {
        let (term, batch) = (leader.term, batch.clone());
        let work: Work<()> = Box::new(move |s| Box::pin(withdraw::withdraw(s, term, batch, last)));
        write(self, "withdraw the positions of a batch", work).await
    }

    async fn last_checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        let work: Work<Option<CheckpointRow>> = Box::new(|s| Box::pin(last_checkpoint(s)));
        read_row(self, "read the last checkpoint", work).await
    }

    async fn backlog(&self) -> Result<u64, StoreError> {
        let work: Work<u64> = Box::new(|s| {
            Box::pin(async move {
                let statement = "SELECT CAST(coalesce(sum(h.sequence - coalesce(l.sequence, h.start_sequence)), 0)
                                 AS bigint) FROM chain_heads h LEFT JOIN log_heads l ON l.device_id = h.device_id
                                 WHERE h.sequence > coalesce(l.sequence, h.start_sequence)";
                let rows = s.select(statement, &[]).await?;
                Ok(rows.first().map_or(Ok(0), |row| Row::new("chain_heads", row).number(0))?)
            })
        });
        read_row(self, "count the records without a position", work).await
    }

    async fn restore(
        &self,
        leader: &Leader,
        batch: RestoredBatch,
        conflicts: Conflicts,
    ) -> Result<Vec<Replaced>, LogTablesError> {
        let term = leader.term;
        let work: Work<Vec<Replaced>> =
            Box::new(move |s| Box::pin(restore::restore(s, term, batch, conflicts)));
        write(self, "put a batch of the log back", work).await
    }
}

async fn state(s: &mut dyn Statements) -> Result<Option<LogState>, Failure> {
    let rows = s.select("SELECT origin, next_index, batch, opened_at_ms FROM log_state", &[]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let row = Row::new("log_state", row);
    Ok(Some(LogState {
        origin: row.text(0)?.to_owned(),
        next_index: row.number(1)?,
        batch: row.number(2)?,
        opened_at_ms: row.number(3)?,
    }))
}

/// Returns the state, locked until the transaction ends. Fails if `term` is not the current one.
async fn locked_state(s: &mut dyn Statements, term: i64) -> Result<LogState, Failure> {
    let statement = format!("SELECT term FROM log_state{}", s.for_update());
    let rows = s.select(&statement, &[]).await?;
    let row = rows.first().ok_or(LogTablesError::NotOpened)?;
    if Row::new("log_state", row).number(0)?.cast_signed() != term {
        return Err(LogTablesError::Superseded.into());
    }
    state(s).await?.ok_or(LogTablesError::NotOpened.into())
}

const BATCH: &str = "SELECT batch, first_index, size, root, state FROM log_batches";

async fn batch(
    s: &mut dyn Statements,
    statement: String,
    values: Vec<Value>,
) -> Result<Option<BatchRow>, Failure> {
    let rows = s.select(&statement, &values).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let row = Row::new("log_batches", row);
    let step = match row.text(4)? {
        "sequenced" => BatchStep::Sequenced,
        "integrated" => BatchStep::Integrated,
        _ => BatchStep::Signed,
    };
    Ok(Some(BatchRow {
        batch: row.number(0)?,
        first_index: row.number(1)?,
        size: row.number(2)?,
        root: row.optional_array(3)?.map(TreeHash),
        step,
    }))
}

async fn leaves(s: &mut dyn Statements, values: Vec<Value>) -> Result<BatchLeaves, Failure> {
    let events = "SELECT log_index, CASE WHEN octet_length(leaf) <= 65535 THEN leaf END FROM log_events
                  WHERE log_index >= $1 AND log_index < $2 ORDER BY log_index";
    let runs = "SELECT first_index, device_id, first_sequence, records, prev_hash, head_hash FROM log_runs
                WHERE first_index >= $1 AND first_index < $2 ORDER BY first_index";
    let mut leaves = BatchLeaves { events: Vec::new(), runs: Vec::new() };
    for row in s.select(events, &values).await? {
        let row = Row::new("log_events", &row);
        leaves.events.push((row.number(0)?, row.bytes(1)?.to_vec()));
    }
    for row in s.select(runs, &values).await? {
        let row = Row::new("log_runs", &row);
        let run = Run {
            device_id: row.text(1)?.to_owned(),
            first_sequence: row.number(2)?,
            records: row.number(3)?,
            prev_hash: Hash(row.array(4)?),
            head_hash: Hash(row.array(5)?),
        };
        leaves.runs.push((row.number(0)?, run));
    }
    Ok(leaves)
}

const CHECKPOINT: &str =
    "SELECT size, root, CASE WHEN octet_length(note) <= 131072 THEN note END, signed_at_ms, lock_number
     FROM checkpoints";

fn checkpoint(row: &[Value]) -> Result<CheckpointRow, Failure> {
    let row = Row::new("checkpoints", row);
    Ok(CheckpointRow {
        size: row.number(0)?,
        root: TreeHash(row.array(1)?),
        note: row.bytes(2)?.to_vec(),
        signed_at_ms: row.number(3)?,
        lock_number: row.number(4)?,
    })
}

async fn last_checkpoint(s: &mut dyn Statements) -> Result<Option<CheckpointRow>, Failure> {
    let rows = s.select(&format!("{CHECKPOINT} ORDER BY size DESC LIMIT 1"), &[]).await?;
    rows.first().map(|row| checkpoint(row)).transpose()
}

async fn write_checkpoint(s: &mut dyn Statements, checkpoint: &CheckpointRow) -> Result<(), Failure> {
    let insert =
        "INSERT INTO checkpoints (size, root, note, signed_at_ms, lock_number) VALUES ($1, $2, $3, $4, $5)
                  ON CONFLICT (size) DO NOTHING";
    let values = [
        Value::number(checkpoint.size),
        Value::Bytes(checkpoint.root.0.to_vec()),
        Value::Bytes(checkpoint.note.clone()),
        Value::number(checkpoint.signed_at_ms),
        Value::number(checkpoint.lock_number),
    ];
    if s.execute(insert, &values).await? == 1 {
        return Ok(());
    }
    let there =
        "SELECT note FROM checkpoints WHERE size = $1 AND root = $2 AND note = $3 AND lock_number = $4";
    let [size, root, note, _, number] = values;
    if s.select(there, &[size, root, note, number]).await?.is_empty() {
        return Err(inconsistent(format!("another checkpoint of size {} is noted", checkpoint.size)));
    }
    Ok(())
}

/// Moves a batch to its next step.
async fn move_batch(
    s: &mut dyn Statements,
    update: &str,
    batch: &BatchRow,
    root: TreeHash,
) -> Result<(), Failure> {
    let values = [
        Value::number(batch.batch),
        Value::number(batch.first_index),
        Value::number(batch.size),
        Value::Bytes(root.0.to_vec()),
    ];
    if s.execute(update, &values).await? == 1 {
        return Ok(());
    }
    Err(inconsistent(format!("batch {} was changed while it was written", batch.batch)))
}

/// Writes the positions of a batch and advances the state.
async fn write_positions(
    s: &mut dyn Statements,
    batch: &BatchRow,
    heads_root: TreeHash,
    at_ms: u64,
    events: &[(u64, Leaf)],
    runs: impl Iterator<Item = (u64, &Run)> + Send,
) -> Result<(), Failure> {
    use Kind::{Bytes, Integer, Text};
    let events = events
        .iter()
        .map(|(index, leaf)| {
            vec![Value::number(*index), Value::number(leaf.kind().into()), Value::Bytes(leaf.to_bytes())]
        })
        .collect();
    s.insert("log_events", &[("log_index", Integer), ("kind", Integer), ("leaf", Bytes)], events, "").await?;
    let runs = runs
        .map(|(index, run)| {
            vec![
                Value::number(index),
                run.device_id.clone().into(),
                Value::number(run.first_sequence),
                Value::number(run.records),
                Value::hash(run.prev_hash),
                Value::hash(run.head_hash),
                Value::number(batch.batch),
            ]
        })
        .collect();
    let columns = [
        ("first_index", Integer),
        ("device_id", Text),
        ("first_sequence", Integer),
        ("records", Integer),
        ("prev_hash", Bytes),
        ("head_hash", Bytes),
        ("batch", Integer),
    ];
    s.insert("log_runs", &columns, runs, "").await?;
    let values = [
        Value::number(batch.batch),
        Value::number(batch.first_index),
        Value::number(batch.size),
        Value::Bytes(heads_root.0.to_vec()),
        Value::number(at_ms),
    ];
    let insert = "INSERT INTO log_batches (batch, first_index, size, heads_root, at_ms, state)
                  VALUES ($1, $2, $3, $4, $5, 'sequenced')";
    s.execute(insert, &values).await?;
    let values = [Value::number(batch.size), Value::number(batch.batch)];
    s.execute("UPDATE log_state SET next_index = $1, batch = $2", &values).await?;
    Ok(())
}
