//! The distance of a restored ledger from its log.

use super::lock::Last;
use super::{LogError, TransparencyLog};

/// The part of a log that its ledger lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lag {
    /// Signed checkpoints.
    pub checkpoints: u64,
    /// Leaves under the last signed checkpoint.
    pub leaves: u64,
    /// Records among these leaves.
    pub records: u64,
}

impl TransparencyLog {
    /// Returns the part of the log that the ledger lacks; `None` if the log can sign with this ledger.
    ///
    /// Changes nothing. A ledger that was restored to a time before the log was opened lacks the whole log.
    ///
    /// # Errors
    /// The lock has a gap, or lacks a checkpoint of the ledger; the ledger does not continue the log; neither has a log.
    pub async fn lag(&self) -> Result<Option<Lag>, LogError> {
        self.check_origin_of_ledger().await?;
        self.check_gap().await?;
        let last = self.check_last().await?;
        let number = self.lock.numbers().await?.into_iter().max().unwrap_or_default();
        // The next checkpoint may be that of the batch in progress.
        if number <= last.number + 1 {
            match self.check_lock().await {
                Ok(_) => return self.opened().await.map(|_| None),
                Err(LogError::Behind { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let place = || self.lock_place().to_owned();
        let note = self.lock.get(number).await?;
        let note = note.ok_or_else(|| LogError::LockLost { place: place(), number })?;
        let checkpoint = self.own_checkpoint(number, &note)?;
        let newest = Last { number, size: checkpoint.size(), root: checkpoint.root(), next_root: None };
        let records = self.logged_records(&newest).await?.saturating_sub(self.logged_records(&last).await?);
        let (checkpoints, leaves) = (newest.number - last.number, newest.size.saturating_sub(last.size));
        Ok(Some(Lag { checkpoints, leaves, records }))
    }

    /// Returns the number of records under a signed checkpoint.
    async fn logged_records(&self, last: &Last) -> Result<u64, LogError> {
        Ok(self.last_heads(last).await?.map_or(0, |(_, heads)| heads.records))
    }
}
