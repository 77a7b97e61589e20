//! `eds ingest`: records from files into a ledger, through the ingest service.

mod tally;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use edgesentry_chain::{AuditRecord, Scheme};
use edgesentry_formats::{PayloadFolder, Progress};
use edgesentry_rs::ingest::verify::LARGEST_PAYLOAD;
use edgesentry_rs::ledger::Registration;
use edgesentry_rs::settings::Access;
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::transport::metrics::MetricsServer;
use edgesentry_rs::{Error, IngestService, Outcome, Submission};
use tokio::task::JoinHandle;

use self::tally::{Tally, Unsent};
use crate::commands::scheme;
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Showing};
use crate::output::{Answer, Output};
use crate::stores::{Opened, StoreArgs};

/// Records and payload bytes that are sent at a time.
const BATCH_RECORDS: usize = 4096;
const BATCH_BYTES: usize = 32 << 20;

/// Take records from files into a ledger: each is checked, stored with its payload, and answered
///
/// Reads the formats that verify-chain reads. A record is accepted if its payload, key, signature and place in the
/// chain are right; one that is there already is a duplicate, which is success, so that sending again is always
/// safe. Exit code 0 if every record is accepted or a duplicate, 1 if any is not, 3 if a store failed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ingest export.json --payloads-from payloads/ --register keys.json
  eds ingest day.ndjson.gz --payloads-from payloads/ --ledger postgres://db/audit --payloads s3://audit
  eds log --outcome rejected                       what was rejected, and why")]
pub(crate) struct Ingest {
    /// Files of records to take in, in order; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder of their payloads, under their object references
    #[arg(long, value_name = "DIR")]
    payloads_from: PathBuf,
    /// Key ring: register its devices and keys first; makes the ledger where there is none
    #[arg(long, value_name = "FILE")]
    register: Option<PathBuf>,
    /// Scheme of keys that name none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme, requires = "register")]
    scheme: Option<Scheme>,
    /// Answer GET /metrics at this address while records are taken in, such as 127.0.0.1:9464 [default: as configured]
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<String>,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    showing: Showing,
}

impl Ingest {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let sources = inputs::sources(&self.files)?;
        let folder = inputs::payloads(&self.payloads_from)?;
        let ring = self.register.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?;
        let access = if ring.is_some() { Access::Create } else { Access::Existing };
        let opened = self.stores.open(access)?;
        let payloads = opened.payloads()?;
        for (device_id, keys) in ring.iter().flat_map(edgesentry_chain::KeyRing::iter) {
            for key in keys {
                let registration = Registration {
                    device_id: device_id.to_owned(),
                    key: key.key,
                    scheme: key.scheme,
                    valid_from: Some(key.valid_from),
                    start: None,
                };
                opened.wait(opened.ledger.register(&registration))?;
            }
        }
        let service = opened.runtime.block_on(async {
            IngestService::start(Arc::clone(&opened.ledger), payloads, opened.settings.ingest.clone())
        });
        let listen = self.metrics_listen.as_ref().or(opened.settings.telemetry.metrics_listen.as_ref());
        let metrics = listen.map(|listen| opened.wait(MetricsServer::start(listen, Metrics::global())));
        let metrics = metrics.transpose()?;
        let (tally, failure) = self.showing.show(|progress| {
            let mut sending = Sending::new(&opened, &service, &folder, &self.payloads_from, progress);
            let result = sending.all(sources);
            (sending.tally, result.err())
        });
        if let Some(metrics) = metrics {
            opened.runtime.block_on(metrics.stop());
        }
        conclude(&tally, failure, output)
    }
}

fn conclude(tally: &Tally, failure: Option<Failure>, output: &Output) -> Result<Exit, Failure> {
    let nothing = || {
        let message = "no record in the input, so nothing was taken in";
        (tally.records == 0).then(|| Failure::unfinished("nothing_to_ingest", message))
    };
    let failure = failure.or_else(nothing);
    let exit = match &failure {
        Some(failure) => failure.exit,
        None if tally.all_taken() => Exit::Holds,
        None => Exit::Findings,
    };
    let text = tally.text();
    output.answer(&Answer { ok: exit == Exit::Holds, name: "ingest", content: tally, text, failure })?;
    Ok(exit)
}

type Outcomes = Vec<Result<Outcome, Error>>;

/// Records on their way to the service: while one batch is taken in, the next is read.
struct Sending<'a> {
    opened: &'a Opened,
    service: &'a IngestService,
    folder: &'a PayloadFolder,
    folder_path: &'a Path,
    progress: &'a Arc<Progress>,
    batch: Vec<Submission>,
    bytes: usize,
    under_way: Option<(Vec<Arc<AuditRecord>>, JoinHandle<Outcomes>)>,
    /// Devices with a payload missing: what comes behind it cannot be taken either.
    stopped: HashSet<String>,
    tally: Tally,
}

impl<'a> Sending<'a> {
    fn new(
        opened: &'a Opened,
        service: &'a IngestService,
        folder: &'a PayloadFolder,
        folder_path: &'a Path,
        progress: &'a Arc<Progress>,
    ) -> Sending<'a> {
        Sending {
            opened,
            service,
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

    fn all(&mut self, sources: Vec<edgesentry_formats::Source>) -> Result<(), Failure> {
        let read = sources.into_iter().try_for_each(|source| self.one_source(source));
        // What was read before an error is sent all the same: its answers are part of the tally.
        let sent = self.hand_over();
        let answered = self.answers();
        sent.and(answered).and(read)
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
        // One byte more than there may be, so that the service sees that it is too long.
        let Some(payload) = self.folder.read(&record.object_ref, LARGEST_PAYLOAD as u64 + 1)? else {
            self.tally.unsent(&record, Unsent::PayloadMissing { folder: self.folder_path });
            self.stopped.insert(record.device_id);
            return Ok(());
        };
        self.bytes += payload.len();
        self.batch.push(Submission { record: Arc::new(record), payload: Bytes::from(payload) });
        Ok(())
    }

    /// Starts a batch when the one before is answered.
    fn hand_over(&mut self) -> Result<(), Failure> {
        self.answers()?;
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        let records = batch.iter().map(|submission| Arc::clone(&submission.record)).collect();
        let service = self.service.clone();
        let task = self.opened.runtime.spawn(async move { service.ingest_many(batch).await });
        self.under_way = Some((records, task));
        Ok(())
    }

    /// Waits for the batch under way. An error of a store ends the work: what follows would fare no better.
    fn answers(&mut self) -> Result<(), Failure> {
        let Some((records, task)) = self.under_way.take() else { return Ok(()) };
        let outcomes = self.opened.runtime.block_on(task);
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
                // Not sent any more.
                self.tally.not_sent += self.batch.len() as u64;
                self.tally.records += self.batch.len() as u64;
                self.batch.clear();
                let failure = Failure::from(error);
                let message =
                    format!("{}; send again: what is there already is a duplicate", failure.message);
                Err(Failure { message, ..failure })
            }
        }
    }
}
