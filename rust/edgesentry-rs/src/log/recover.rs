//! Recovery of a ledger that was restored to an earlier time from the records of its log.

use bytes::Bytes;
use edgesentry_formats::times::now_ms;
use edgesentry_log::{BuiltBatch, Checkpoint, EntryBundle, Leaf, ReadBatch, TILE_WIDTH};
use futures::StreamExt;
use tracing::{info, warn};

use super::cosign::Until;
use super::lock::Last;
use super::{LogError, TransparencyLog};
use crate::ledger::{
    BatchRow, BatchStep, CheckpointRow, Conflicts, Leader, LogTablesError, Replaced, RestoredBatch,
};

/// The counts of a recovery.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Restored batches.
    pub batches: u64,
    /// Leaves of the restored batches.
    pub leaves: u64,
    /// The records that those of the log replaced, if the caller allows it.
    pub replaced: Vec<Replaced>,
}

impl TransparencyLog {
    /// Opens the log in a ledger that was restored to a time before the log was opened. Then call [`Self::recover`].
    ///
    /// Does nothing if the ledger has the log. Replaces the log of the ledger if this log succeeds it.
    ///
    /// # Errors
    /// The lock has no checkpoint, or the ledger has another log.
    pub async fn reopen(&self) -> Result<(), LogError> {
        if let Some(there) = self.tables.state().await? {
            if there.origin == self.origin() {
                return Ok(());
            }
            return self.reopen_successor(&there).await;
        }
        match self.lock.get(1).await? {
            Some(_) => self.open(now_ms()).await.map(|_| ()),
            None => Err(LogError::LockLost { place: self.lock.place().to_owned(), number: 1 }),
        }
    }

    /// Restores the records of the log that the ledger lacks, checkpoint by checkpoint.
    ///
    /// Verifies every leaf against its signed checkpoint first. The log does not contain payloads.
    ///
    /// The future may be dropped at any point: the next call continues from there. A batch and the replacement of the
    /// records that contradict it are one transaction.
    ///
    /// # Errors
    /// [`LogError::Tables`] with a conflict if the ledger contradicts the log.
    pub async fn recover(&self, leader: &mut Leader, conflicts: Conflicts) -> Result<Recovered, LogError> {
        let alive = leader.keep_alive();
        let done = tokio::select! {
            done = self.put_back(leader, conflicts) => done,
            lost = alive => Err(lost.into()),
        };
        if let Err(failure) = &done {
            self.report(failure).await;
        }
        done
    }

    async fn put_back(&self, leader: &mut Leader, conflicts: Conflicts) -> Result<Recovered, LogError> {
        let mut done = Recovered::default();
        loop {
            leader.holds().await?;
            let last = self.check_last().await?;
            let number = last.number + 1;
            let Some(note) = self.lock.get(number).await? else { break };
            let checkpoint = self.own_checkpoint(number, &note)?;
            done.batches += 1;
            done.leaves += checkpoint.size().saturating_sub(last.size);
            // Positions that were assigned before the ledger was copied are those of the log, unless they were withdrawn.
            if let Some(batch) = self.tables.open_batch().await? {
                let built = self.built(&batch, &last).await;
                if batch.step != BatchStep::Sequenced || may_be_signed(&batch, &built, &checkpoint) {
                    let root = self.store_built(leader, &batch, built?).await?;
                    self.sign(leader, &batch, root, &last).await?;
                    continue;
                }
                // It was withdrawn after the ledger was copied: the signed batch takes its place.
                let heads = self.last_heads(&last).await?.map(|(_, heads)| heads);
                self.tables.withdraw(leader, &batch, heads).await?;
            }
            let batch = self.read_batch(&last, number, &checkpoint, note).await?;
            for replaced in self.tables.restore(leader, batch, conflicts).await? {
                let Replaced { device_id, first_sequence, last_sequence } = &replaced;
                warn!(
                    device_id,
                    first_sequence,
                    last_sequence,
                    "records of the ledger were replaced by those of the transparency log and are in the operation log"
                );
                done.replaced.push(replaced);
            }
            info!(size = checkpoint.size(), number, "a batch of the log is back in the ledger");
        }
        match self.publish_cosigned(leader, Until::All).await {
            // The next round asks the witnesses again.
            Err(error @ LogError::QuorumMissing { .. }) => warn!(error = %error, "the log is recovered"),
            published => published?,
        }
        Ok(done)
    }

    /// Reads the leaves between two checkpoints from the entry bundles.
    async fn read_batch(
        &self,
        last: &Last,
        number: u64,
        checkpoint: &Checkpoint,
        note: Bytes,
    ) -> Result<RestoredBatch, LogError> {
        let size = last.size;
        if checkpoint.size() <= size {
            let problem = format!("it has size {}, and the one before {size}", checkpoint.size());
            return Err(self.forked(number, problem));
        }
        let mut appender = self.store.resume(size, last.root).await?;
        let mut leaves = ReadBatch::default();
        let mut bundles = std::pin::pin!(self.store.entries(size..checkpoint.size(), checkpoint.size()));
        let mut index = size - size % u64::from(TILE_WIDTH);
        while let Some(bundle) = bundles.next().await {
            let (id, bytes) = bundle?;
            let damaged = |problem: String| self.store.damaged(format!("{id}: {problem}"));
            let bundle = EntryBundle::parse(id, &bytes).map_err(|error| damaged(error.to_string()))?;
            for entry in bundle.entries() {
                if index >= size {
                    appender.push(entry).map_err(|error| damaged(error.to_string()))?;
                    leaves.push(index, Leaf::parse(entry).map_err(|error| damaged(error.to_string()))?);
                }
                index += 1;
            }
            // Only the leaves are needed here.
            appender.take_full();
        }
        if appender.root() != checkpoint.root() {
            let problem = format!(
                "the entry bundles of size {} have root {}, and the signed checkpoint has {}",
                checkpoint.size(),
                appender.root(),
                checkpoint.root()
            );
            return Err(self.store.damaged(problem));
        }
        let checkpoint = CheckpointRow {
            size: checkpoint.size(),
            root: checkpoint.root(),
            note: note.to_vec(),
            signed_at_ms: leaves.heads().map_or(0, |heads| heads.at_ms),
            lock_number: number,
        };
        Ok(RestoredBatch { first_index: size, leaves, checkpoint })
    }
}

/// Returns false if a checkpoint of the lock is not that of a batch: the ledger contradicts the batch, or it has another
/// root.
fn may_be_signed(batch: &BatchRow, built: &Result<BuiltBatch, LogError>, checkpoint: &Checkpoint) -> bool {
    match built {
        Ok(built) => (batch.size, built.appender.root()) == (checkpoint.size(), checkpoint.root()),
        Err(LogError::Tables(LogTablesError::Tampered(_) | LogTablesError::Inconsistent(_))) => false,
        Err(_) => true,
    }
}
