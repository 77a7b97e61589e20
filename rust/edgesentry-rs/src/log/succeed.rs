//! A log that succeeds another one, which cannot continue.

use edgesentry_formats::times::now_ms;
use edgesentry_log::{Checkpoint, Leaf, OpenedLeaf};

use super::{LogError, TransparencyLog};
use crate::ledger::LogState;

impl TransparencyLog {
    /// Opens this log in place of the log of the ledger. Its first leaf names `previous`, the last checkpoint of that log,
    /// which the caller must have verified. Signs nothing.
    ///
    /// The files of the other log stay as they are. Positions of the other log that are not signed are kept as evidence
    /// beside the lock of this one.
    ///
    /// # Errors
    /// [`LogError::NotSucceeded`] if the logs have the same name, or the places of this one are in use;
    /// [`LogError::Origin`] if the ledger has a third log; [`LogError::LedElsewhere`].
    pub async fn succeed(&self, previous: &Checkpoint, at_ms: u64) -> Result<LogState, LogError> {
        self.check_places(previous).await?;
        let there = match self.tables.state().await? {
            Some(there) => there,
            // Under the old name: if the process ends here, this log does not begin without the name of its predecessor.
            None => self.tables.open(previous.origin(), at_ms).await?,
        };
        if there.origin == self.origin() && there.next_index > 0 {
            let problem = format!("the ledger has the log {:?} already; run eds checkpoint", there.origin);
            return Err(LogError::NotSucceeded(problem));
        }
        if there.origin != previous.origin() {
            self.check_origin(&there)?;
        }
        let leader = self.tables.lead().await?.ok_or(LogError::LedElsewhere)?;
        if let Some(batch) = self.tables.open_batch().await? {
            self.keep_positions(&there.origin, &batch, self.tables.leaves(&batch).await?).await?;
        }
        leader.holds().await?;
        Ok(self.tables.succeed(&leader, self.origin(), Some(previous.clone()), at_ms).await?)
    }

    async fn check_places(&self, previous: &Checkpoint) -> Result<(), LogError> {
        if previous.origin() == self.origin() {
            let problem = format!(
                "log.origin is {:?}, and so is that of the checkpoint; set log.origin to a new name",
                self.origin()
            );
            return Err(LogError::NotSucceeded(problem));
        }
        let of_other = |place: &str, setting: &str| {
            let problem = format!("{place}: {setting} has the checkpoint of a log; set it to a new place");
            Err(LogError::NotSucceeded(problem))
        };
        if !self.lock.numbers().await?.is_empty() {
            return of_other(self.lock.place(), "log.lock");
        }
        if self.store.checkpoint().await?.is_some() {
            return of_other(self.store.place(), "log.store");
        }
        Ok(())
    }

    /// Opens this log in a copy of the ledger from before it was opened in place of another one: the first leaf under its
    /// first checkpoint names the log of the ledger.
    pub(super) async fn reopen_successor(&self, there: &LogState) -> Result<(), LogError> {
        if let Some(note) = self.lock.get(1).await? {
            let checkpoint = self.own_checkpoint(1, &note)?;
            let (size, root) = (checkpoint.size(), checkpoint.root());
            let leaf = self.store.leaf(0, size, root, size).await?.leaf;
            let previous = match Leaf::parse(&leaf) {
                Ok(Leaf::Opened(OpenedLeaf { previous, .. })) => previous,
                _ => None,
            };
            if previous.is_some_and(|previous| previous.origin() == there.origin) {
                let leader = self.tables.lead().await?.ok_or(LogError::LedElsewhere)?;
                self.tables.succeed(&leader, self.origin(), None, now_ms()).await?;
                return Ok(());
            }
        }
        self.check_origin(there)
    }

    /// Checks that the ledger has this log, or none.
    pub(super) async fn check_origin_of_ledger(&self) -> Result<(), LogError> {
        match self.tables.state().await? {
            Some(there) => self.check_origin(&there),
            None => Ok(()),
        }
    }
}
