//! A round of the leader: positions, tiles, signature.

use std::iter::Peekable;
use std::pin::pin;
use std::vec;

use bytes::Bytes;
use edgesentry_formats::times::now_ms;
use edgesentry_log::{
    Appender, Batch, BatchError, BuiltBatch, Checkpoint, CheckpointError, HeadsLeaf, Leaf, Note,
    PreparedRecord, Run, TreeHash,
};
use futures::{StreamExt, TryStreamExt, stream};
use tracing::info;

use super::cosign::Until;
use super::lock::Last;
use super::{LogError, TransparencyLog};
use crate::background;
use crate::ledger::{BatchLeaves, BatchRow, CheckpointRow, Leader, LogTablesError, NewBatch};
use crate::objects::Written;

/// Records in one read of the ledger.
const PAGE_RECORDS: u64 = 4096;
/// Pages of a full batch that are read and hashed while an earlier one is appended. Ingest needs the other connections.
const PAGES_AHEAD: usize = 3;

/// The counts of a round.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Sequenced {
    /// Signed batches.
    pub batches: u64,
    /// Leaves of the signed batches.
    pub leaves: u64,
}

impl TransparencyLog {
    /// Finishes the batch in progress, then sequences committed records, batch by batch, until all have a position.
    ///
    /// The future may be dropped at any point: the next round continues from there.
    ///
    /// # Errors
    /// See [`LogError`]. Batches that were signed before the error remain.
    pub async fn sequence(&self, leader: &mut Leader) -> Result<Sequenced, LogError> {
        let alive = leader.keep_alive();
        let done = tokio::select! {
            done = self.round(leader) => done,
            lost = alive => Err(lost.into()),
        };
        if let Err(failure) = &done {
            self.report(failure).await;
        }
        done
    }

    async fn round(&self, leader: &mut Leader) -> Result<Sequenced, LogError> {
        self.opened().await?;
        // A checkpoint that waits for witnesses comes first: the round may fail, or take long.
        let waiting = self.offer_waiting(leader).await?;
        let mut done = Sequenced::default();
        loop {
            leader.holds().await?;
            // Check before assigning positions: a restored ledger would assign them to other records.
            let last = self.check_lock_of(leader).await?;
            let NewBatch { row: batch, is_full } = match self.tables.open_batch().await? {
                // Further records may have been committed since an earlier process assigned it.
                Some(row) => NewBatch { row, is_full: true },
                None => {
                    let heads = self.last_heads(&last).await?;
                    match self.tables.assign(leader, heads, self.max_records, now_ms()).await? {
                        Some(batch) => batch,
                        None => break,
                    }
                }
            };
            done.leaves += batch.size - batch.first_index;
            done.batches += 1;
            let root = self.integrate(leader, &batch, &last).await?;
            self.sign(leader, &batch, root, &last).await?;
            if !is_full {
                break;
            }
            // More records wait, perhaps without an end.
            if self.cosigners.is_some() {
                go_on(self.publish_cosigned(leader, Until::Quorum).await)?;
            }
        }
        match waiting {
            Some(error) if done.batches == 0 => return Err(error),
            // A process may have been interrupted before it published the last checkpoint, and witnesses may have failed.
            _ if done.batches == 0 || self.cosigners.is_some() => {
                self.publish_cosigned(leader, Until::All).await?;
            }
            _ => {}
        }
        Ok(done)
    }

    /// Offers the last checkpoint to the witnesses if it lacks a quorum. Returns the error if it is still not published.
    async fn offer_waiting(&self, leader: &Leader) -> Result<Option<LogError>, LogError> {
        if self.cosigners.is_none() {
            return Ok(None);
        }
        leader.holds().await?;
        // A ledger that is older than its log has nothing to offer.
        self.check_lock_of(leader).await?;
        if !self.waits_for_witnesses().await? {
            return Ok(None);
        }
        go_on(self.publish_cosigned(leader, Until::All).await)
    }

    /// Checks the lock for a leader.
    ///
    /// If another leader has taken over, its checkpoints are not reported as a lock that is ahead: the error is the
    /// lost leadership.
    pub(super) async fn check_lock_of(&self, leader: &Leader) -> Result<Last, LogError> {
        let checked = self.check_lock().await;
        if checked.is_err() {
            self.tables.still_leads(leader).await?;
        }
        checked
    }

    /// Returns size and heads leaf of a signed checkpoint, from its entry bundle; `None` before the first.
    pub(super) async fn last_heads(&self, last: &Last) -> Result<Option<(u64, HeadsLeaf)>, LogError> {
        let Some(index) = last.size.checked_sub(1) else { return Ok(None) };
        let leaf = self.store.leaf(index, last.size, last.root, last.size).await?.leaf;
        match Leaf::parse(&leaf) {
            Ok(Leaf::Heads(leaf)) => Ok(Some((last.size, leaf))),
            _ => Err(self.store.damaged(format!("leaf {index} is not a heads leaf"))),
        }
    }

    /// Stores the bundles and tiles of a batch, and returns the root of the tree with it.
    ///
    /// The tree always grows from the last signed checkpoint, so the root extends it. A root in the ledger is only
    /// compared.
    pub(super) async fn integrate(
        &self,
        leader: &Leader,
        batch: &BatchRow,
        last: &Last,
    ) -> Result<TreeHash, LogError> {
        if batch.first_index != last.size {
            self.tables.still_leads(leader).await?;
            return Err(self.forked(last.number, format!("batch {} does not begin at its end", batch.batch)));
        }
        let built = self.built(batch, last).await?;
        let root = built.appender.root();
        if let Some(next) = last.next_root.filter(|next| *next != root) {
            self.tables.still_leads(leader).await?;
            let next = Checkpoint::new(self.origin(), batch.size, next)?;
            return Err(self.other_batch(batch, last, &next));
        }
        self.store_built(leader, batch, built).await
    }

    /// Stores the bundles and tiles of a batch that is built, and returns the root of the tree with it.
    pub(super) async fn store_built(
        &self,
        leader: &Leader,
        batch: &BatchRow,
        built: BuiltBatch,
    ) -> Result<TreeHash, LogError> {
        let root = built.appender.root();
        self.store.put_all(built.files).await?;
        self.tables.integrated(leader, batch, root).await?;
        Ok(root)
    }

    /// Builds the bundles and tiles of a batch from its positions and the records of the ledger.
    pub(super) async fn built(&self, batch: &BatchRow, last: &Last) -> Result<BuiltBatch, LogError> {
        let built = self.build(batch, last).await?.finish();
        let built = built.map_err(|error| LogError::of_batch(self.place(), error))?;
        let inconsistent = |problem: String| LogError::from(LogTablesError::Inconsistent(problem));
        if built.appender.size() != batch.size {
            let leaves = built.appender.size() - batch.first_index;
            return Err(inconsistent(format!("batch {} has {leaves} leaves", batch.batch)));
        }
        let root = built.appender.root();
        if let Some(there) = batch.root.filter(|there| *there != root) {
            return Err(inconsistent(format!("batch {} has root {there}, its leaves {root}", batch.batch)));
        }
        Ok(built)
    }

    async fn build(&self, batch: &BatchRow, last: &Last) -> Result<Batch, LogError> {
        let leaves = self.tables.leaves(batch).await?;
        let appender = match last.size {
            0 => Appender::default(),
            size => self.store.resume(size, last.root).await?,
        };
        let failed = |error| LogError::of_batch(self.place(), error);
        let mut built = Batch::new(appender);
        // A batch that is not full catches up anyway, so it leaves the processors to ingest.
        let pages = if batch.size - batch.first_index < self.max_records { 1 } else { PAGES_AHEAD };
        let mut read = pin!(
            stream::iter(Parts::new(batch, leaves))
                .map(|part| async move {
                    match part? {
                        Part::Event(leaf) => Ok(Read::Event(leaf)),
                        Part::Page(spans) => self.read(spans).await,
                    }
                })
                .buffered(pages)
        );
        while let Some(read) = read.try_next().await? {
            match read {
                Read::Event(leaf) => built.event(&leaf).map_err(failed)?,
                Read::Page(spans, records) => {
                    let appended = background::run(move || append(built, spans, records));
                    built = appended.await.map_err(failed)?;
                }
            }
        }
        Ok(built)
    }

    /// Reads and hashes the records of spans.
    async fn read(&self, spans: Vec<Span>) -> Result<Read, LogError> {
        let places = spans.iter().map(|span| (span.device_id.clone(), span.first, span.last));
        let records = self.tables.records(places.collect()).await?;
        let prepare = move || records.into_iter().map(PreparedRecord::new).collect();
        Ok(Read::Page(spans, background::run(prepare).await))
    }

    /// Signs the checkpoint of a batch under the lock, records it in the ledger, and publishes it if no witness must
    /// cosign it.
    pub(super) async fn sign(
        &self,
        leader: &mut Leader,
        batch: &BatchRow,
        root: TreeHash,
        last: &Last,
    ) -> Result<(), LogError> {
        let checkpoint = Checkpoint::new(self.origin(), batch.size, root)?;
        let number = last.number + 1;
        leader.holds().await?;
        self.tables.still_leads(leader).await?;
        let note = self.locked_note(leader, last, &checkpoint).await?;
        let row = CheckpointRow {
            size: batch.size,
            root,
            note: note.to_vec(),
            signed_at_ms: now_ms(),
            lock_number: number,
        };
        self.tables.signed(leader, batch, &row).await?;
        self.publish_uncosigned(Some(&*leader), batch.size, &note).await?;
        info!(size = batch.size, number, "a checkpoint of the transparency log is signed");
        Ok(())
    }

    /// Returns the note of this checkpoint under the next number of the lock.
    ///
    /// If the process was interrupted, the lock already has the note; otherwise this function signs and writes it. The
    /// signature leaves this function only through the lock.
    async fn locked_note(
        &self,
        leader: &Leader,
        last: &Last,
        checkpoint: &Checkpoint,
    ) -> Result<Bytes, LogError> {
        let number = last.number + 1;
        let there = match self.lock.get(number).await? {
            Some(there) => there,
            None => {
                // A larger checkpoint was published: objects of the lock were deleted and the ledger was restored.
                if self.published_size().await?.is_some_and(|published| published > last.size) {
                    self.tables.still_leads(leader).await?;
                    return Err(self.behind(number).await?);
                }
                let note = Bytes::from(self.signed_note(checkpoint).await?.to_string());
                match self.lock.put(number, note.clone()).await? {
                    Written::Stored => return Ok(note),
                    Written::Taken => self
                        .lock
                        .get(number)
                        .await?
                        .ok_or_else(|| LogError::LockLost { place: self.lock.place().to_owned(), number })?,
                }
            }
        };
        let signed = self.own_checkpoint(number, &there)?;
        if signed == *checkpoint {
            return Ok(there);
        }
        self.tables.still_leads(leader).await?;
        let problem = format!(
            "it has size {} and root {}, and the ledger has size {} and root {}",
            signed.size(),
            signed.root(),
            checkpoint.size(),
            checkpoint.root()
        );
        Err(self.forked(number, problem))
    }
}

/// Returns the error of a checkpoint that was not published. A round goes on with it, unless another process writes the log.
fn go_on(published: Result<(), LogError>) -> Result<Option<LogError>, LogError> {
    match published {
        Ok(()) => Ok(None),
        Err(error) if error.is_elsewhere() => Err(error),
        Err(error) => Ok(Some(error)),
    }
}

impl TransparencyLog {
    /// Returns the note of a checkpoint with a verified signature by each key.
    async fn signed_note(&self, checkpoint: &Checkpoint) -> Result<Note, LogError> {
        let text = checkpoint.to_string();
        let mut signatures = Vec::new();
        for signer in self.signers() {
            signatures.push(signer.sign(&text).await?);
        }
        Ok(Note::assemble(&text, signatures).map_err(CheckpointError::from)?)
    }
}

/// Consecutive leaves of a batch.
enum Part {
    /// A leaf other than a record.
    Event(Vec<u8>),
    /// Records for one read.
    Page(Vec<Span>),
}

/// The content of a [`Part`].
enum Read {
    Event(Vec<u8>),
    Page(Vec<Span>, Vec<PreparedRecord>),
}

/// Consecutive records of a device.
struct Span {
    device_id: String,
    first: u64,
    last: u64,
    /// The run that begins with the span, if any.
    run: Option<Run>,
}

/// The leaves of a batch in order. Each index must have one leaf.
///
/// It splits a run only when its pages are read: the tables of the ledger could have a run of any length.
struct Parts {
    /// The index of the next leaf.
    at: u64,
    events: Peekable<vec::IntoIter<(u64, Vec<u8>)>>,
    runs: Peekable<vec::IntoIter<(u64, Run)>>,
    /// The rest of a run.
    rest: Option<Span>,
}

impl Parts {
    fn new(batch: &BatchRow, leaves: BatchLeaves) -> Parts {
        let (events, runs) = (leaves.events.into_iter().peekable(), leaves.runs.into_iter().peekable());
        Parts { at: batch.first_index, events, runs, rest: None }
    }

    /// Returns the spans up to the next event; none if the next leaf is an event, or the batch ends.
    fn page(&mut self) -> Result<Vec<Span>, LogError> {
        let (mut page, mut left) = (Vec::new(), PAGE_RECORDS);
        while left > 0 {
            let next = match self.rest.take() {
                Some(rest) => Some(rest),
                None => self.run()?,
            };
            let Some(span) = next else { break };
            let until = span.last.min(span.first.saturating_add(left - 1));
            left -= until - span.first + 1;
            if until < span.last {
                self.rest =
                    Some(Span { device_id: span.device_id.clone(), first: until + 1, run: None, ..span });
            }
            page.push(Span { last: until, ..span });
        }
        Ok(page)
    }

    /// Returns the next run, unless an event precedes it.
    fn run(&mut self) -> Result<Option<Span>, LogError> {
        let event = self.events.peek().map(|(event, _)| *event);
        let next = self.runs.next_if(|(index, _)| event.is_none_or(|event| *index <= event));
        let Some((index, run)) = next else { return Ok(None) };
        check_index(index, &mut self.at, run.records)?;
        let last = run.last_sequence().filter(|last| *last <= i64::MAX as u64);
        let last = last.ok_or_else(|| {
            LogTablesError::Inconsistent(format!("a run of device {:?} is empty", run.device_id))
        })?;
        let (device_id, first) = (run.device_id.clone(), run.first_sequence);
        Ok(Some(Span { device_id, first, last, run: Some(run) }))
    }
}

impl Iterator for Parts {
    type Item = Result<Part, LogError>;

    fn next(&mut self) -> Option<Result<Part, LogError>> {
        match self.page() {
            Ok(page) if page.is_empty() => {
                let (index, leaf) = self.events.next()?;
                Some(check_index(index, &mut self.at, 1).map(|()| Part::Event(leaf)))
            }
            Ok(page) => Some(Ok(Part::Page(page))),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Appends the records of spans.
fn append(mut batch: Batch, spans: Vec<Span>, records: Vec<PreparedRecord>) -> Result<Batch, BatchError> {
    let mut records = records.into_iter().peekable();
    for Span { device_id, first, last, run } in spans {
        if let Some(run) = run {
            batch.run(run)?;
        }
        let is_within = |next: &PreparedRecord| {
            let record = next.record();
            record.device_id == device_id && (first..=last).contains(&record.sequence)
        };
        while let Some(record) = records.next_if(is_within) {
            batch.prepared(record)?;
        }
        batch.reached(last)?;
    }
    Ok(batch)
}

fn check_index(index: u64, at: &mut u64, leaves: u64) -> Result<(), LogError> {
    if index != *at {
        return Err(LogTablesError::Inconsistent(format!("leaf {at} has no row, or more than one")).into());
    }
    *at += leaves;
    Ok(())
}
