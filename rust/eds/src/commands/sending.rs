//! Sends records from files with their payloads from a directory in batches to a service: in this process, or over
//! the network.

mod tally;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::AuditRecord;
use edgesentry_formats::{PayloadFolder, Progress};
use edgesentry_rs::agent::Sink;
use edgesentry_rs::ingest::verify::MAX_PAYLOAD_BYTES;
use edgesentry_rs::{Error, Outcome, Submission};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use self::tally::{Tally, Unsent};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};

/// Records and payload bytes in a batch.
const BATCH_RECORDS: usize = 4096;
const BATCH_BYTES: usize = 32 << 20;

/// Reports the outcome of the records.
pub(super) fn conclude(
    command: &'static str,
    tally: &Tally,
    failure: Option<Failure>,
    output: &Output,
) -> Result<Exit, Failure> {
    let nothing = || {
        let message = "no record in the input, so nothing was ingested";
        (tally.records == 0).then(|| Failure::unfinished("nothing_to_ingest", message))
    };
    let failure = failure.or_else(nothing);
    let exit = match &failure {
        Some(failure) => failure.exit,
        None if tally.all_taken() => Exit::Holds,
        None => Exit::Findings,
    };
    let text = tally.text();
    output.answer(&Answer { ok: exit == Exit::Holds, name: command, content: tally, text, failure })?;
    Ok(exit)
}

type Outcomes = Vec<Result<Outcome, Error>>;

/// Records on their way to the service: while one batch is ingested, the next is read.
pub(super) struct Sending<'a> {
    runtime: &'a Runtime,
    sink: Arc<dyn Sink>,
    folder: &'a PayloadFolder,
    folder_path: &'a Path,
    progress: &'a Arc<Progress>,
    batch: Vec<Submission>,
    bytes: usize,
    under_way: Option<(Vec<Arc<AuditRecord>>, JoinHandle<Outcomes>)>,
    /// Devices with a missing payload: their later records cannot be ingested either.
    stopped: HashSet<String>,
    tally: Tally,
}

impl<'a> Sending<'a> {
    /// Sends into `sink`, with payloads from a directory.
    pub(super) fn new(
        runtime: &'a Runtime,
        sink: Arc<dyn Sink>,
        (folder, folder_path): (&'a PayloadFolder, &'a Path),
        progress: &'a Arc<Progress>,
    ) -> Sending<'a> {
        Sending {
            runtime,
            sink,
            folder,
            folder_path,
            progress,
            batch: Vec::new(),
            bytes: 0,
            under_way: None,
            stopped: HashSet::new(),
            tally: Tally::default(),
        }
    }

    /// Sends all sources. Returns the tally, and the failure that ended it early.
    pub(super) fn all(mut self, sources: Vec<edgesentry_formats::Source>) -> (Tally, Option<Failure>) {
        let read = sources.into_iter().try_for_each(|source| self.one_source(source));
        // The records before an error are sent all the same: their outcomes are part of the tally.
        let sent = self.hand_over();
        let answered = self.answers();
        let ended = sent.and(answered).and(read);
        (self.tally, ended.err())
    }

    fn one_source(&mut self, source: edgesentry_formats::Source) -> Result<(), Failure> {
        for entry in edgesentry_formats::records(source)? {
            match entry? {
                Ok(record) => self.add(record)?,
                Err(malformed) => self.tally.malformed(malformed),
            }
            if self.batch.len() >= BATCH_RECORDS || self.bytes >= BATCH_BYTES {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    fn add(&mut self, record: AuditRecord) -> Result<(), Failure> {
        if self.stopped.contains(&record.device_id) {
            self.tally.unsent(&record, Unsent::BehindMissing);
            return Ok(());
        }
        // One byte more than the limit, so that the service sees that the payload is too long.
        let Some(payload) = self.folder.read(&record, MAX_PAYLOAD_BYTES as u64 + 1)? else {
            self.tally.unsent(&record, Unsent::PayloadMissing { folder: self.folder_path });
            self.stopped.insert(record.device_id);
            return Ok(());
        };
        self.bytes += payload.len();
        self.batch.push(Submission { record: Arc::new(record), payload: Bytes::from(payload) });
        Ok(())
    }

    /// Starts a batch when the previous one is complete.
    fn hand_over(&mut self) -> Result<(), Failure> {
        self.answers()?;
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        let records = batch.iter().map(|submission| Arc::clone(&submission.record)).collect();
        let sink = Arc::clone(&self.sink);
        let task = self.runtime.spawn(async move { sink.send(batch).await });
        self.under_way = Some((records, task));
        Ok(())
    }

    /// Waits for the batch in flight. A store error ends the work: the next batches would fail as well.
    fn answers(&mut self) -> Result<(), Failure> {
        let Some((records, task)) = self.under_way.take() else { return Ok(()) };
        let outcomes = self.runtime.block_on(task);
        let outcomes = outcomes
            .map_err(|error| Failure::unfinished("threads", format!("the service ended: {error}")))?;
        self.progress.add_records(records.len() as u64);
        let mut first_error = None;
        for (record, outcome) in records.iter().zip(outcomes) {
            if let Err(error) = self.tally.answer(record, outcome) {
                first_error.get_or_insert(error);
            }
        }
        match first_error {
            None => Ok(()),
            Some(error) => {
                // These records are not sent any more.
                self.tally.not_sent += self.batch.len() as u64;
                self.tally.records += self.batch.len() as u64;
                self.batch.clear();
                let passes = error.is_retryable();
                let failure = Failure::from(error);
                let what_to_do = match passes {
                    true => "send again: records that are already stored are duplicates",
                    false => "a retry cannot succeed before this is corrected",
                };
                let message = format!("{}; {what_to_do}", failure.message);
                Err(Failure { message, ..failure })
            }
        }
    }
}
