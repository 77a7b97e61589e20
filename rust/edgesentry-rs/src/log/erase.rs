//! Erasure of payloads: the log gets a leaf, a checkpoint covers the leaf, and then the payload is deleted.
//!
//! Each step can be repeated from the state of the previous one. The leaves of the log decide about a deletion: a row of
//! the ledger only names a leaf.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use edgesentry_chain::{AuditRecord, Hash};
use edgesentry_formats::content_path;
use edgesentry_formats::times::{now_ms, to_rfc3339};
use edgesentry_log::{ErasedLeaf, Leaf};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use tracing::{info, warn};

use super::lock::Last;
use super::{LogError, TransparencyLog};
use crate::error::{Component, Error, StoreError, describe};
use crate::ledger::{
    ErasureQuery, ErasureRow, ErasureSelection, ErasureStep, Filter, Ledger, LogTables, LogTablesError,
    MAX_REASON_BYTES, OBJECT_LOCK_KEEPS,
};
use crate::objects::CONCURRENT_OBJECTS;
use crate::payload::{Locked, PayloadStore};

/// The interval at which the state of another leader is read.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// When a payload under a legal hold is tried again, milliseconds.
const RETRY_HELD_MS: u64 = 3_600_000;
/// When a payload that belongs to another record is tried again, milliseconds. The search for the other record reads the
/// ledger.
const RETRY_SHARED_MS: u64 = 86_400_000;
/// The limits of the time after which an erasure that failed is tried again, milliseconds. It is a tenth of the time since
/// the request.
const RETRY_FAILED_MS: RangeInclusive<u64> = 60_000..=3_600_000;
/// The number of erasures that fail one after the other, because the payload store cannot be reached, before the others
/// wait for the next pass.
const MAX_UNREACHABLE: u64 = 3;
/// Finished erasures that are looked at together.
const LOOKED_AT: usize = 64;
const THERE_AGAIN: &str = "the payload is there again; another process has stored it meanwhile";

/// An erasure and its progress.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Erasure {
    /// The device.
    pub device_id: String,
    /// The sequence of the record, which stays.
    pub sequence: u64,
    /// BLAKE3 of the payload.
    pub payload_hash: Hash,
    /// The reason of the first request.
    pub reason: String,
    /// When it was requested, Unix milliseconds.
    pub requested_at_ms: u64,
    /// The leaf of the erasure; `None` until it has a position.
    pub leaf: Option<u64>,
    /// The most versions that the store had of the payload; `None` before the first look.
    pub versions: Option<u64>,
    /// The progress.
    pub state: ErasureState,
}

/// The progress of an erasure. Exhaustive: callers decide about each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ErasureState {
    /// No signed checkpoint covers the leaf yet, or the payload was not deleted yet.
    Waiting,
    /// The store keeps the payload.
    Kept {
        /// The reason, one sentence.
        problem: String,
        /// When the service tries again, Unix milliseconds; `None` at its next checkpoint.
        retry_at_ms: Option<u64>,
    },
    /// The store has none of it any more.
    Erased {
        /// Since when, Unix milliseconds.
        at_ms: u64,
    },
}

impl ErasureState {
    /// Returns a stable name, such as `erased`.
    pub fn name(&self) -> &'static str {
        match self {
            ErasureState::Waiting => "waiting",
            ErasureState::Kept { .. } => "kept",
            ErasureState::Erased { .. } => "erased",
        }
    }
}

impl From<ErasureRow> for Erasure {
    fn from(row: ErasureRow) -> Erasure {
        let state = match (row.erased_at_ms, row.problem) {
            (Some(at_ms), _) => ErasureState::Erased { at_ms },
            (None, Some(problem)) => ErasureState::Kept { problem, retry_at_ms: row.retry_at_ms },
            (None, None) => ErasureState::Waiting,
        };
        Erasure {
            device_id: row.device_id,
            sequence: row.sequence,
            payload_hash: row.payload_hash,
            reason: row.reason,
            requested_at_ms: row.at_ms,
            leaf: row.log_index,
            versions: row.versions,
            state,
        }
    }
}

/// The reason why a payload was not erased.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// The settings have no log.
    #[error(
        "an erasure needs a transparency log, and log.origin is not set; set the section [log], and run eds checkpoint init"
    )]
    Off,
    /// The reason is empty, too long, or not plain text.
    #[error(
        "the reason for an erasure must have 1 to {MAX_REASON_BYTES} bytes without control characters; every reader of \
         the log sees it, so do not name a person"
    )]
    Reason,
    /// The ledger has no such record.
    #[error("device {device_id:?} has no record with sequence {sequence}; nothing was erased")]
    NoRecord {
        /// The device.
        device_id: String,
        /// The sequence.
        sequence: u64,
    },
    /// The operation log has no replaced record of this hash.
    #[error(
        "the operation log has no record {record_hash} that the transparency log replaced; nothing was erased; eds log \
         --reason log_conflict --json lists them"
    )]
    NotReplaced {
        /// The hash of the record.
        record_hash: Hash,
    },
    /// The record of the log has the payload as well.
    #[error(
        "device {device_id:?}, sequence {sequence}: the record in the ledger has the same payload; erase it by device and \
         sequence"
    )]
    SamePayload {
        /// The device.
        device_id: String,
        /// The sequence.
        sequence: u64,
    },
    /// The process that writes the log has not signed yet.
    #[error(
        "device {device_id:?}, sequence {sequence}: the erasure is noted, and the process that writes the transparency log \
         has not signed it within {seconds} s; it deletes the payload after its next checkpoint, or repeat the command"
    )]
    Unsigned {
        /// The device.
        device_id: String,
        /// The sequence.
        sequence: u64,
        /// How long this call waited.
        seconds: u64,
    },
    /// The log or the ledger failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log or the payload store cannot be opened.
    #[error(transparent)]
    Open(#[from] Error),
}

impl EraseError {
    /// Returns a stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            EraseError::Off => "log_not_opened",
            EraseError::Reason => "erase_reason",
            EraseError::NoRecord { .. } | EraseError::NotReplaced { .. } => "erase_no_record",
            EraseError::SamePayload { .. } => "erase_same_payload",
            EraseError::Unsigned { .. } => "erase_unsigned",
            EraseError::Log(error) => error.code(),
            EraseError::Open(error) => error.code(),
        }
    }
}

impl From<LogTablesError> for EraseError {
    fn from(error: LogTablesError) -> EraseError {
        EraseError::Log(error.into())
    }
}

impl From<StoreError> for EraseError {
    fn from(error: StoreError) -> EraseError {
        EraseError::Log(error.into())
    }
}

/// The counts of a pass over erasures.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Finished {
    /// Payloads of which the store has nothing any more.
    pub erased: u64,
    /// The first erasures that are not finished, at most [`MAX_LEFT`].
    pub left: Vec<Erasure>,
    /// The number of erasures that are not finished.
    pub left_count: u64,
    /// True if the payload store could not be reached, so that further erasures were not tried.
    pub stopped: bool,
}

impl Finished {
    fn add(&mut self, erasure: Erasure) {
        if matches!(erasure.state, ErasureState::Erased { .. }) {
            self.erased += 1;
            return;
        }
        self.left_count += 1;
        if self.left.len() < MAX_LEFT {
            self.left.push(erasure);
        }
    }
}

/// The maximum number of erasures that are returned one by one after a pass. A ledger can list any number.
pub const MAX_LEFT: usize = 1000;

/// Notes that the payload of a record is to be erased. The process that writes the log does the rest.
///
/// # Errors
/// [`EraseError::Reason`], [`EraseError::NoRecord`]; the ledger has no log, or fails.
pub async fn request_erasure(
    tables: &dyn LogTables,
    device_id: &str,
    sequence: u64,
    reason: &str,
) -> Result<Erasure, EraseError> {
    check_reason(reason)?;
    tables.state().await?.ok_or(LogTablesError::NotOpened)?;
    let noted = tables.request_erasure(device_id, sequence, reason, now_ms()).await?;
    let row = noted.ok_or_else(|| EraseError::NoRecord { device_id: device_id.to_owned(), sequence })?;
    Ok(row.into())
}

/// Checks the reason for an erasure.
pub(super) fn check_reason(reason: &str) -> Result<(), EraseError> {
    let is_plain = !reason.trim().is_empty() && !reason.chars().any(char::is_control);
    if is_plain && reason.len() <= MAX_REASON_BYTES { Ok(()) } else { Err(EraseError::Reason) }
}

/// Erases payloads of a ledger with a transparency log.
#[derive(Clone)]
pub struct Eraser {
    pub(super) log: TransparencyLog,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) payloads: Arc<dyn PayloadStore>,
}

impl Eraser {
    /// Creates an eraser of the payloads of the log's ledger.
    pub fn new(log: TransparencyLog, ledger: Arc<dyn Ledger>, payloads: Arc<dyn PayloadStore>) -> Eraser {
        Eraser { log, ledger, payloads }
    }

    /// Erases the payload of a record. The record stays. Repeating the call continues, or reports the same.
    ///
    /// It writes the log if no other process does; otherwise it waits for that process, at most `wait`.
    ///
    /// # Errors
    /// See [`EraseError`]. A payload that the store keeps is a state, not an error.
    pub async fn erase(
        &self,
        device_id: &str,
        sequence: u64,
        reason: &str,
        wait: Duration,
    ) -> Result<Erasure, EraseError> {
        self.log.opened().await?;
        request_erasure(&*self.log.tables, device_id, sequence, reason).await?;
        let row = self.signed(device_id, sequence, wait).await?;
        let last = self.published().await?;
        Ok(self.attempt(row, &last).await?.into())
    }

    /// Deletes the payloads of erasures under the last checkpoint that are not finished and whose next attempt is due.
    ///
    /// An erasure that failed is tried again after a tenth of the time since its request, at least a minute and at most an
    /// hour.
    ///
    /// # Errors
    /// The log or the ledger fails. A payload that cannot be deleted does not stop the others, unless the payload store
    /// cannot be reached: these are tried by the next call.
    pub async fn finish_due(&self) -> Result<Finished, LogError> {
        self.pass(ErasureSelection::Due(now_ms())).await
    }

    /// Deletes the payloads of all erasures under the last checkpoint again, as after a restore of the payload store.
    ///
    /// # Errors
    /// See [`Eraser::finish_due`].
    pub async fn erase_again(&self) -> Result<Finished, LogError> {
        self.pass(ErasureSelection::Logged).await
    }

    /// Looks for the payloads of some finished erasures, and reopens the erasures of those that are there again:
    /// [`Eraser::finish_due`] then deletes them. A node that ended after it had stored a payload, and before the ledger
    /// told it that the record is a duplicate, left the payload behind.
    ///
    /// `turn` begins with `None`; each call continues behind the one before, and begins again after the last erasure.
    ///
    /// # Errors
    /// The ledger or the payload store fails. The next call continues behind the payload that failed.
    pub async fn look_again(&self, turn: &mut Option<(String, u64)>) -> Result<(), LogError> {
        let query = ErasureQuery { after: turn.take(), of: ErasureSelection::Finished };
        let mut rows = self.log.tables.erasures(&query).await?;
        rows.truncate(LOOKED_AT);
        let Some(last) = rows.last().map(|row| (row.device_id.clone(), row.sequence)) else { return Ok(()) };
        let spans = rows.into_iter().map(|row| (row.device_id, row.sequence, row.sequence));
        let records = self.log.tables.records(spans.collect()).await?;
        let mut looks = stream::iter(records)
            .map(|record| async move { (self.is_there(&record).await, record) })
            .buffered(CONCURRENT_OBJECTS);
        while let Some((there, record)) = looks.next().await {
            let AuditRecord { device_id, sequence, .. } = record;
            match there {
                Ok(false) => {}
                Ok(true) => {
                    warn!(device_id, sequence, "an erased payload is there again, and is deleted again");
                    let step = ErasureStep::Kept(THERE_AGAIN.to_owned(), None);
                    self.log.tables.note_erasure(&device_id, sequence, step).await?;
                }
                Err(error) => {
                    *turn = Some((device_id, sequence));
                    return Err(error.into());
                }
            }
        }
        *turn = Some(last);
        Ok(())
    }

    async fn pass(&self, of: ErasureSelection) -> Result<Finished, LogError> {
        let mut done = Finished::default();
        let mut query = ErasureQuery { after: None, of };
        let mut unreachable = 0;
        loop {
            let rows = self.log.tables.erasures(&query).await?;
            let Some(row) = rows.last() else { return Ok(done) };
            query.after = Some((row.device_id.clone(), row.sequence));
            let last = self.published().await?;
            for row in rows {
                let finished = match self.attempt(row.clone(), &last).await {
                    Ok(row) => {
                        unreachable = 0;
                        row
                    }
                    // The others do not wait for it.
                    Err(error) => {
                        unreachable = if is_unreachable(&error) { unreachable + 1 } else { 0 };
                        ErasureRow { problem: Some(describe(&error)), erased_at_ms: None, ..row }
                    }
                };
                done.add(finished.into());
                if unreachable == MAX_UNREACHABLE {
                    done.stopped = true;
                    return Ok(done);
                }
            }
        }
    }

    /// Returns the erasure once a signed checkpoint covers its leaf.
    async fn signed(&self, device_id: &str, sequence: u64, wait: Duration) -> Result<ErasureRow, EraseError> {
        let deadline = Instant::now() + wait;
        let mut led = false;
        loop {
            let row = self.log.tables.erasure(device_id, sequence).await?;
            let row = row.ok_or_else(|| of(device_id, sequence, "was deleted from the ledger"))?;
            let last = self.log.check_last().await?;
            if row.log_index.is_some_and(|index| index < last.size) {
                return Ok(row);
            }
            if led {
                return Err(of(device_id, sequence, "got no leaf, because its row was changed").into());
            }
            match self.write_log().await {
                Ok(()) => led = true,
                Err(error) if error.is_elsewhere() => {
                    if Instant::now() >= deadline {
                        let (device_id, seconds) = (device_id.to_owned(), wait.as_secs());
                        return Err(EraseError::Unsigned { device_id, sequence, seconds });
                    }
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns the last checkpoint, published unless witnesses must cosign it: the process that signed it may have been interrupted before.
    async fn published(&self) -> Result<Last, LogError> {
        let last = self.log.check_last().await?;
        let row = self.log.tables.last_checkpoint().await?;
        if let Some(row) = row.filter(|row| row.size == last.size) {
            self.log.publish_uncosigned(None, row.size, &row.note).await?;
        }
        Ok(last)
    }

    async fn write_log(&self) -> Result<(), LogError> {
        let mut leader = self.log.lead().await?;
        match self.log.sequence(&mut leader).await {
            // The signed leaf suffices.
            Ok(_) | Err(LogError::QuorumMissing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes the payload of an erasure under a signed checkpoint, and notes the result or the failure.
    async fn attempt(&self, row: ErasureRow, last: &Last) -> Result<ErasureRow, LogError> {
        let (device_id, sequence, at_ms) = (row.device_id.clone(), row.sequence, row.at_ms);
        let failed = match self.finish(row, last).await {
            Ok(row) => return Ok(row),
            Err(failed) => failed,
        };
        let now_ms = now_ms();
        let after_ms =
            (now_ms.saturating_sub(at_ms) / 10).clamp(*RETRY_FAILED_MS.start(), *RETRY_FAILED_MS.end());
        let step = ErasureStep::Kept(describe(&failed), Some(now_ms + after_ms));
        self.log.tables.note_erasure(&device_id, sequence, step).await?;
        Err(failed)
    }

    async fn finish(&self, mut row: ErasureRow, last: &Last) -> Result<ErasureRow, LogError> {
        let Some(index) = row.log_index.filter(|index| *index < last.size) else { return Ok(row) };
        let record = self.logged(&row, index, last).await?;
        let kept = self.delete(&record, last).await?;
        let is_erased = kept.is_none();
        let step = match kept {
            None => ErasureStep::Erased(row.erased_at_ms.unwrap_or_else(now_ms)),
            Some((problem, retry_at_ms)) => ErasureStep::Kept(problem, retry_at_ms),
        };
        let (device_id, sequence) = (row.device_id.as_str(), row.sequence);
        self.log.tables.note_erasure(device_id, sequence, step).await?;
        // A node that stores the payload and reads the erasure before this note does not reopen it.
        if is_erased && self.is_there(&record).await? {
            let step = ErasureStep::Kept(THERE_AGAIN.to_owned(), None);
            self.log.tables.note_erasure(device_id, sequence, step).await?;
        }
        match self.log.tables.erasure(device_id, sequence).await? {
            Some(noted) => row = noted,
            None => return Err(of(device_id, sequence, "was deleted from the ledger").into()),
        }
        match &row.problem {
            None => info!(device_id = row.device_id, sequence, "a payload is erased"),
            Some(problem) => {
                warn!(
                    device_id = row.device_id,
                    sequence, problem, "a payload to erase is kept by the store"
                );
            }
        }
        Ok(row)
    }

    /// Returns the record of an erasure as the log has it, if the log has the erasure behind it.
    async fn logged(&self, row: &ErasureRow, index: u64, last: &Last) -> Result<AuditRecord, LogError> {
        let wrong = |problem: &str| LogError::from(of(&row.device_id, row.sequence, problem));
        match self.leaf(index, last).await? {
            Leaf::Erased(ErasedLeaf { device_id, sequence, payload_hash, .. })
                if (&device_id, sequence, payload_hash)
                    == (&row.device_id, row.sequence, row.payload_hash) => {}
            _ => return Err(wrong("names another leaf of the log")),
        }
        let positions = self.log.tables.positions(&row.device_id, row.sequence, row.sequence).await?;
        let position = positions.first().copied().filter(|at| *at < index);
        match self
            .leaf(position.ok_or_else(|| wrong("is of a record that is not in the log before it"))?, last)
            .await?
        {
            Leaf::Record(record)
                if (&record.device_id, record.sequence, record.payload_hash)
                    == (&row.device_id, row.sequence, row.payload_hash) =>
            {
                Ok(record)
            }
            _ => Err(wrong("is of another payload than the record in the log")),
        }
    }

    pub(super) async fn leaf(&self, index: u64, last: &Last) -> Result<Leaf, LogError> {
        let bytes = self.log.store.leaf(index, last.size, last.root, last.size).await?.leaf;
        Leaf::parse(&bytes).map_err(|error| self.log.store.damaged(format!("leaf {index}: {error}")))
    }

    /// Deletes a payload under each of its names. Returns the reason why the store keeps some of it, and when to try
    /// again.
    async fn delete(
        &self,
        record: &AuditRecord,
        last: &Last,
    ) -> Result<Option<(String, Option<u64>)>, StoreError> {
        let own = content_path(record);
        let versions = self.payloads.versions(record).await?;
        let held =
            |name: &str| versions.iter().filter(|version| version.key == name && !version.deleted).count();
        let mut found = held(&own) as u64;
        if found == 0 && self.is_there(record).await? {
            found = 1;
        }
        // Noted before anything is deleted, so that a repeated call reports the same.
        let step = ErasureStep::Found(found);
        self.note(record, step).await?;
        let mut kept = None;
        for name in self.payloads.names(record) {
            if name != own {
                if held(&name) == 0 {
                    continue;
                }
                // A device chooses the references, and the log may be in the same bucket.
                if is_of_log(&name) {
                    let problem = format!("{name:?} may be a file of a transparency log, and stays");
                    kept = Some((problem, Some(now_ms() + RETRY_SHARED_MS)));
                    continue;
                }
                if let Some((device_id, sequence)) = self.sharer(record, &name, last).await? {
                    let problem = format!(
                        "{name:?} is also the payload of device {device_id:?}, sequence {sequence}, and stays until that \
                         record is erased"
                    );
                    kept = Some((problem, Some(now_ms() + RETRY_SHARED_MS)));
                    continue;
                }
            }
            if let Some(locked) = locked(&self.payloads.erase(record, &name).await?.locked) {
                kept = Some(locked);
            }
        }
        if kept.is_none() && self.is_there(record).await? {
            kept = Some((THERE_AGAIN.to_owned(), None));
        }
        Ok(kept)
    }

    async fn is_there(&self, record: &AuditRecord) -> Result<bool, StoreError> {
        let there = self.payloads.get(record).await?;
        Ok(there.is_some_and(|there| Hash::of(&there) == record.payload_hash))
    }

    async fn note(&self, record: &AuditRecord, step: ErasureStep) -> Result<(), StoreError> {
        match self.log.tables.note_erasure(&record.device_id, record.sequence, step).await {
            Err(LogTablesError::Store(error)) => Err(error),
            // Notes fail only with the database.
            _ => Ok(()),
        }
    }

    /// Returns another record that needs the payload under a name of earlier releases: it has the same name and payload,
    /// no copy of its own, and is not erased.
    async fn sharer(
        &self,
        record: &AuditRecord,
        name: &str,
        last: &Last,
    ) -> Result<Option<(String, u64)>, StoreError> {
        let mut records = self.ledger.records(&Filter::default());
        while let Some(chunk) = records.try_next().await? {
            for other in chunk {
                let is_other = (&other.device_id, other.sequence) != (&record.device_id, record.sequence);
                let shares = is_other && other.payload_hash == record.payload_hash;
                if shares
                    && self.payloads.names(&other).iter().any(|other| other == name)
                    && self.needs(&other, name, last).await?
                {
                    return Ok(Some((other.device_id, other.sequence)));
                }
            }
        }
        Ok(None)
    }

    async fn needs(&self, other: &AuditRecord, name: &str, last: &Last) -> Result<bool, StoreError> {
        let erasure = self.log.tables.erasure(&other.device_id, other.sequence).await?;
        if let Some(erasure) = erasure
            && let Some(index) = erasure.log_index.filter(|index| *index < last.size)
            && self.logged(&erasure, index, last).await.is_ok()
        {
            return Ok(false);
        }
        let own = content_path(other);
        let versions = self.payloads.versions(other).await?;
        let has_own =
            versions.iter().any(|version| version.key == own && version.current && !version.deleted);
        Ok(own == name || !has_own)
    }
}

/// Returns true if the payload store cannot be reached, which the next erasure would also wait for.
fn is_unreachable(error: &LogError) -> bool {
    matches!(error, LogError::Store(error) if error.component == Component::RawDataStore && error.is_retryable())
}

/// Returns true if a name may be that of a file of a log: those are below any prefix.
fn is_of_log(name: &str) -> bool {
    let name = format!("/{name}");
    ["/log/checkpoint", "/log/lock/", "/log/tile/", "/log/evidence/", "/log/erased/"]
        .iter()
        .any(|file| name.contains(file))
}

/// Returns the reason why locked versions are kept, and when to try again.
pub(super) fn locked(versions: &[Locked]) -> Option<(String, Option<u64>)> {
    let keeps = match versions.len() {
        0 => return None,
        1 => "1 version".to_owned(),
        many => format!("{many} versions"),
    };
    let until_ms: Option<u64> = versions.iter().map(|locked| locked.until_ms).max().flatten();
    let is_held = versions.iter().any(|locked| locked.until_ms.is_none());
    Some(match until_ms.filter(|_| !is_held) {
        Some(until_ms) => {
            let until = to_rfc3339(until_ms);
            (
                format!(
                    "{OBJECT_LOCK_KEEPS} {keeps} of the payload until {until}; no user can delete it before"
                ),
                Some(until_ms),
            )
        }
        None => {
            let problem =
                format!("a legal hold keeps {keeps} of the payload; lift the hold, and repeat the command");
            (problem, Some(now_ms() + RETRY_HELD_MS))
        }
    })
}

fn of(device_id: &str, sequence: u64, problem: &str) -> LogTablesError {
    LogTablesError::Inconsistent(format!(
        "the erasure of device {device_id:?}, sequence {sequence} {problem}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_returns_some_erasures_and_the_number_of_all() {
        let erasure = |state| Erasure {
            device_id: "lift-01".to_owned(),
            sequence: 1,
            payload_hash: Hash::ZERO,
            reason: "request 7".to_owned(),
            requested_at_ms: 1,
            leaf: Some(7),
            versions: None,
            state,
        };
        let mut done = Finished::default();
        for _ in 0..MAX_LEFT + 2 {
            done.add(erasure(ErasureState::Waiting));
        }
        done.add(erasure(ErasureState::Erased { at_ms: 1 }));
        assert_eq!((done.left.len(), done.left_count, done.erased), (MAX_LEFT, MAX_LEFT as u64 + 2, 1));
    }
}
