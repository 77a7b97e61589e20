//! The lock: every signed checkpoint as a numbered object that is written once.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_log::{Checkpoint, MAX_NOTE_BYTES, Note};

use super::{LogError, TransparencyLog};
use crate::error::StoreError;
use crate::objects::{Objects, Write, Written};

/// Numbers go from 1 on without a gap, so the last one is found without a listing.
#[derive(Clone)]
pub(super) struct Lock {
    objects: Arc<dyn Objects>,
}

impl Lock {
    pub(super) fn new(objects: Arc<dyn Objects>) -> Lock {
        Lock { objects }
    }

    pub(super) fn place(&self) -> &str {
        self.objects.place()
    }

    pub(super) async fn check(&self) -> Result<(), StoreError> {
        self.objects.check().await
    }

    pub(super) async fn get(&self, number: u64) -> Result<Option<Bytes>, StoreError> {
        self.objects.get(&key(number)).await
    }

    /// Writes the checkpoint of a number, unless there is one.
    pub(super) async fn put(&self, number: u64, note: Bytes) -> Result<Written, StoreError> {
        self.objects.put(&key(number), note, Write::IfAbsent).await
    }
}

fn key(number: u64) -> String {
    format!("log/lock/{number:010}")
}

impl TransparencyLog {
    /// A checkpoint of ours under a number.
    pub(super) fn own_checkpoint(&self, number: u64, note: &[u8]) -> Result<Checkpoint, LogError> {
        let forked = |problem: String| self.forked(number, problem);
        if note.len() > MAX_NOTE_BYTES {
            return Err(forked(format!("it has {} bytes", note.len())));
        }
        let note = Note::parse(note).map_err(|error| forked(error.to_string()))?;
        note.verify([self.key.verifier()]).map_err(|error| forked(error.to_string()))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|error| forked(error.to_string()))?;
        if checkpoint.origin() != self.origin() {
            return Err(forked(format!("it is of the log {:?}", checkpoint.origin())));
        }
        Ok(checkpoint)
    }

    pub(super) fn forked(&self, number: u64, problem: String) -> LogError {
        LogError::Forked { place: self.lock.place().to_owned(), number, problem }
    }

    /// Checks that the last checkpoint of the ledger is the last one of the lock; the lock may be ahead by the checkpoint
    /// of the batch under way, which was signed before the process was interrupted.
    pub(super) async fn check_lock(&self) -> Result<(), LogError> {
        let number = self.check_last().await?;
        let Some(next) = self.lock.get(number + 1).await? else { return Ok(()) };
        let checkpoint = self.own_checkpoint(number + 1, &next)?;
        let Some(batch) = self.tables.open_batch().await? else {
            let size = self.tables.state().await?.map_or(0, |state| state.next_index);
            return Err(LogError::Behind { place: self.lock.place().to_owned(), size, number: number + 1 });
        };
        if batch.size == checkpoint.size() {
            return Ok(());
        }
        let problem =
            format!("it has size {}, and the ledger has a batch of size {}", checkpoint.size(), batch.size);
        Err(self.forked(number + 1, problem))
    }

    /// Checks that the lock has the last checkpoint of the ledger; its number, 0 if there is none.
    pub(super) async fn check_last(&self) -> Result<u64, LogError> {
        let Some(last) = self.tables.last_checkpoint().await? else { return Ok(0) };
        match self.lock.get(last.lock_number).await? {
            Some(note) if *note == *last.note => Ok(last.lock_number),
            Some(_) => {
                let problem = format!("the ledger has another checkpoint of size {}", last.size);
                Err(self.forked(last.lock_number, problem))
            }
            None => {
                let (place, number) = (self.lock.place().to_owned(), last.lock_number);
                Err(LogError::LockLost { place, number })
            }
        }
    }
}
