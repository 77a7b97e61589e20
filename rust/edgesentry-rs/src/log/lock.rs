//! The lock: every signed checkpoint as a numbered, write-once object.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_log::{Checkpoint, MAX_NOTE_BYTES, Note, TreeHash};

use super::{LogError, TransparencyLog};
use crate::error::StoreError;
use crate::ledger::{BatchRow, BatchStep, Leader};
use crate::objects::{Object, Objects, ReadOnly, Write, Written};

/// The numbered objects, from 1 without a gap. A round reads the next number; [`TransparencyLog::check_gap`] lists all.
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

    pub(super) fn read_only(self) -> Lock {
        Lock { objects: Arc::new(ReadOnly::new(self.objects)) }
    }

    pub(super) fn objects(&self) -> &dyn Objects {
        &*self.objects
    }

    pub(super) async fn get(&self, number: u64) -> Result<Option<Bytes>, StoreError> {
        self.objects.get(&key(number)).await
    }

    /// Returns all numbers in ascending order. Ignores objects with other names.
    pub(super) async fn numbers(&self) -> Result<Vec<u64>, StoreError> {
        let objects = self.objects.list(FOLDER).await?;
        let number = |object: &Object| {
            let number = object.key.strip_prefix(FOLDER)?.parse().ok()?;
            (object.key == key(number)).then_some(number)
        };
        let mut numbers: Vec<u64> = objects.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Writes the checkpoint of a number, unless the number has one.
    pub(super) async fn put(&self, number: u64, note: Bytes) -> Result<Written, StoreError> {
        self.objects.put(&key(number), note, Write::IfAbsent).await
    }
}

const FOLDER: &str = "log/lock/";

fn key(number: u64) -> String {
    format!("{FOLDER}{number:010}")
}

/// The last checkpoint that ledger and lock both have; number and size are 0 before the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    pub(super) number: u64,
    pub(super) size: u64,
    pub(super) root: TreeHash,
    /// The root of the next checkpoint in the lock, which must be that of the batch under way.
    pub(super) next_root: Option<TreeHash>,
}

impl TransparencyLog {
    /// Parses and verifies a checkpoint that this log signed under a number.
    pub(super) fn own_checkpoint(&self, number: u64, note: &[u8]) -> Result<Checkpoint, LogError> {
        let forked = |problem: String| self.forked(number, problem);
        if note.len() > MAX_NOTE_BYTES {
            return Err(forked(format!("it has {} bytes", note.len())));
        }
        let note = Note::parse(note).map_err(|error| forked(error.to_string()))?;
        note.verify(self.keys()).map_err(|error| forked(error.to_string()))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|error| forked(error.to_string()))?;
        if checkpoint.origin() != self.origin() {
            return Err(forked(format!("it is of the log {:?}", checkpoint.origin())));
        }
        Ok(checkpoint)
    }

    pub(super) fn forked(&self, number: u64, problem: String) -> LogError {
        LogError::Forked { place: self.lock.place().to_owned(), number, problem }
    }

    /// Checks that the last checkpoint of the ledger is the last one of the lock, and returns it.
    ///
    /// The lock may be ahead by the checkpoint of the batch in progress: the process was interrupted after signing it.
    pub(super) async fn check_lock(&self) -> Result<Last, LogError> {
        let last = self.check_last().await?;
        let number = last.number + 1;
        let Some(next) = self.lock.get(number).await? else { return Ok(last) };
        let checkpoint = self.own_checkpoint(number, &next)?;
        let Some(batch) = self.tables.open_batch().await? else { return Err(self.behind(number).await?) };
        if batch.size == checkpoint.size() {
            return Ok(Last { next_root: Some(checkpoint.root()), ..last });
        }
        Err(self.other_batch(&batch, &last, &checkpoint))
    }

    /// Returns the error of a lock whose next checkpoint is not that of the batch under way.
    ///
    /// If no file of the batch is stored, the batch was withdrawn after the ledger was copied, and the log signed another
    /// one in its place: the ledger is behind. A log never withdraws a batch whose files are stored.
    pub(super) fn other_batch(&self, batch: &BatchRow, last: &Last, next: &Checkpoint) -> LogError {
        let number = last.number + 1;
        if batch.step == BatchStep::Sequenced && next.size() > last.size {
            return LogError::Behind { place: self.lock.place().to_owned(), size: last.size, number };
        }
        let problem = format!(
            "it has size {} and root {}, and the ledger has a batch of size {} after size {}",
            next.size(),
            next.root(),
            batch.size,
            last.size
        );
        self.forked(number, problem)
    }

    /// Returns the last checkpoint of the ledger.
    ///
    /// The lock must have the same note with a signature of this log, and the size and root of the row must match the
    /// note: anyone with access to the database could have written the row.
    pub(super) async fn check_last(&self) -> Result<Last, LogError> {
        let Some(last) = self.tables.last_checkpoint().await? else {
            return Ok(Last { number: 0, size: 0, root: TreeHash::EMPTY, next_root: None });
        };
        let number = last.lock_number;
        let Some(note) = self.lock.get(number).await? else {
            return Err(LogError::LockLost { place: self.lock.place().to_owned(), number });
        };
        if *note != *last.note {
            let problem = format!("the ledger has another checkpoint of size {}", last.size);
            return Err(self.forked(number, problem));
        }
        let checkpoint = self.own_checkpoint(number, &note)?;
        let (size, root) = (checkpoint.size(), checkpoint.root());
        if (size, root) != (last.size, last.root) {
            let problem =
                format!("it has size {size}, and the ledger has it with size {} or another root", last.size);
            return Err(self.forked(number, problem));
        }
        Ok(Last { number, size, root, next_root: None })
    }

    /// Checks that the numbers after the last checkpoint of the ledger have no gap. Checkpoints after a gap would be
    /// hidden from a read of the next number.
    pub(super) async fn check_gap(&self) -> Result<(), LogError> {
        let last = self.tables.last_checkpoint().await?.map_or(0, |last| last.lock_number);
        let numbers = self.lock.numbers().await?;
        let behind = numbers.into_iter().filter(|number| *number > last);
        match behind.zip(last + 1..).find(|(number, expected)| number != expected) {
            Some((number, _)) => Err(self.behind(number).await?),
            None => Ok(()),
        }
    }

    /// Returns the error of a lock that is ahead of the ledger at a number.
    pub(super) async fn behind(&self, number: u64) -> Result<LogError, StoreError> {
        let size = self.tables.state().await?.map_or(0, |state| state.next_index);
        Ok(LogError::Behind { place: self.lock.place().to_owned(), size, number })
    }

    /// Returns the size of the published checkpoint if this log signed it.
    pub(super) async fn published_size(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.store.checkpoint().await?.and_then(|note| self.own_size(&note)))
    }

    fn own_size(&self, note: &[u8]) -> Option<u64> {
        self.own_checkpoint(0, note).ok().map(|checkpoint| checkpoint.size())
    }

    /// Publishes a checkpoint with the signature of the log alone, unless witnesses must cosign it.
    pub(super) async fn publish_uncosigned(
        &self,
        leader: Option<&Leader>,
        size: u64,
        note: &[u8],
    ) -> Result<(), LogError> {
        if self.cosigners.is_some() { Ok(()) } else { self.publish(leader, size, note).await }
    }

    /// Publishes a checkpoint, unless this log has published it, a larger one, or the same one with more cosignatures.
    ///
    /// # Errors
    /// Another leader has taken over; the store failed.
    pub(super) async fn publish(
        &self,
        leader: Option<&Leader>,
        size: u64,
        note: &[u8],
    ) -> Result<(), LogError> {
        let published = self.store.checkpoint().await?;
        let has_more = |published: &[u8]| self.cosignatures_in(published) > self.cosignatures_in(note);
        let stays = |published: &[u8]| {
            *published == *note
                || self
                    .own_size(published)
                    .is_some_and(|own| own > size || (own == size && has_more(published)))
        };
        if published.is_some_and(|published| stays(&published)) {
            return Ok(());
        }
        if let Some(leader) = leader {
            self.tables.still_leads(leader).await?;
        }
        Ok(self.store.publish(note).await?)
    }
}
