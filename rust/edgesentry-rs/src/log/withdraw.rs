//! Withdrawal of a batch that the ledger contradicts.

use edgesentry_log::new_tiles;
use tracing::warn;

use super::{LogError, TransparencyLog};
use crate::ledger::{BatchRow, Leader, LogTablesError};

/// A batch that was withdrawn.
#[derive(Clone, Debug)]
pub struct Withdrawn {
    /// The batch.
    pub batch: BatchRow,
    /// The reason why it could not be integrated.
    pub contradiction: LogError,
}

impl TransparencyLog {
    /// Withdraws the positions of a batch that is not signed and cannot be integrated, because they contradict the records
    /// of the ledger. The next round gives positions to the records as the ledger has them then.
    ///
    /// The positions bind the ledger: after it, the log signs the records that the ledger has. So the caller must have
    /// compared the ledger with trusted heads, or have repaired it.
    ///
    /// # Errors
    /// [`LogError::NotWithdrawn`] if there is no such batch, its checkpoint is signed, or one of its files is stored.
    pub async fn withdraw(&self, leader: &mut Leader) -> Result<Withdrawn, LogError> {
        let alive = leader.keep_alive();
        tokio::select! {
            done = self.take_back(leader) => done,
            lost = alive => Err(lost.into()),
        }
    }

    async fn take_back(&self, leader: &Leader) -> Result<Withdrawn, LogError> {
        let refuse = |problem: &str| Err(LogError::NotWithdrawn(problem.to_owned()));
        self.opened().await?;
        leader.holds().await?;
        let last = self.check_lock_of(leader).await?;
        let Some(batch) = self.tables.open_batch().await? else {
            return refuse("there is no batch under way");
        };
        if self.lock.get(last.number + 1).await?.is_some() {
            return refuse(
                "the log has signed the next checkpoint; run eds checkpoint, or eds checkpoint recover after a restore",
            );
        }
        let contradiction = match self.built(&batch, &last).await {
            Ok(_) => return refuse("it agrees with the records of the ledger; run eds checkpoint"),
            Err(error @ LogError::Tables(LogTablesError::Tampered(_) | LogTablesError::Inconsistent(_))) => {
                error
            }
            Err(error) => return Err(error),
        };
        // Files are written once: another batch of the same leaves would contradict them.
        for id in new_tiles(batch.first_index, batch.size) {
            if self.store.find(id).await?.is_some() {
                return refuse(
                    "files of it are stored, so it agreed with the ledger once; restore the records",
                );
            }
        }
        self.keep_positions(self.origin(), &batch, self.tables.leaves(&batch).await?).await?;
        let heads = self.last_heads(&last).await?.map(|(_, heads)| heads);
        self.tables.withdraw(leader, &batch, heads).await?;
        warn!(
            first_index = batch.first_index,
            size = batch.size,
            reason = %contradiction,
            "the positions of an unsigned batch of the transparency log were withdrawn"
        );
        Ok(Withdrawn { batch, contradiction })
    }
}
