//! Verification of a ledger in place, without an export: the same checks, by the same code, on the records as they
//! come out of the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use edgesentry_chain::{AuditRecord, Checks, Hash, Head, Heads, KeyRing, PayloadError, Payloads, Report};
use edgesentry_formats::{Options, Progress, Source};
use futures::{StreamExt, TryStreamExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::error::{Error, StoreError};
use crate::ledger::{self, Filter, Ledger, RecordStream};
use crate::payload::PayloadStore;

/// Payloads that are read and hashed at once.
const PAYLOADS_AT_ONCE: usize = 64;

/// What is verified, and against what.
pub struct Verification {
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Where to read payloads and hash them again.
    pub payloads: Option<Arc<dyn PayloadStore>>,
    /// Which records: by device and sequence.
    pub filter: Filter,
    /// Keys to check signatures with.
    pub keys: Option<KeyRing>,
    /// Trusted heads.
    pub heads: Option<Heads>,
    /// Findings that are kept.
    pub options: Options,
}

impl Verification {
    /// Verifies, on the current rayon pool and with the database on the runtime of `handle`. Blocks.
    ///
    /// Where a chain begins in the middle, because the ledger or the filter begins there, the ledger says after
    /// which link.
    pub fn run(&self, handle: &Handle, progress: &Arc<Progress>) -> Result<Report, Error> {
        let start_heads = handle.block_on(start_heads(&*self.ledger, &self.filter))?;
        let hashes = Arc::new(Hashes::default());
        let mut records = self.ledger.records(&self.filter);
        if let Some(store) = &self.payloads {
            records = with_payloads(records, Arc::clone(store), Arc::clone(&hashes));
        }
        let checks = Checks {
            keys: self.keys.as_ref(),
            payloads: self.payloads.as_ref().map(|_| &*hashes as &dyn Payloads),
            heads: self.heads.as_ref(),
            start_heads: Some(&start_heads),
        };
        let source = source(self.ledger.place(), records, handle);
        Ok(edgesentry_formats::verify(vec![source], &checks, &self.options, progress)?)
    }
}

/// The links after which the records of a filter begin.
pub(crate) async fn start_heads(ledger: &dyn Ledger, filter: &Filter) -> Result<Heads, StoreError> {
    let mut heads = ledger::start_heads(&ledger.devices().await?);
    let Some(from) = filter.from_sequence.filter(|from| *from > 1) else { return Ok(heads) };
    let before = Filter {
        devices: filter.devices.clone(),
        from_sequence: Some(from - 1),
        to_sequence: Some(from - 1),
        ..Filter::default()
    };
    let mut records = ledger.records(&before);
    while let Some(chunk) = records.try_next().await? {
        for record in chunk {
            let head = Head { sequence: record.sequence, hash: record.hash() };
            heads.insert(record.device_id.into(), head);
        }
    }
    Ok(heads)
}

/// A stream as a source that blocks.
pub fn source(name: &str, mut records: RecordStream, handle: &Handle) -> Source {
    let (sender, mut receiver) = mpsc::channel::<Result<Vec<AuditRecord>, StoreError>>(2);
    handle.spawn(async move {
        while let Some(chunk) = records.next().await {
            if sender.send(chunk).await.is_err() {
                break;
            }
        }
    });
    let chunks = std::iter::from_fn(move || receiver.blocking_recv());
    let records = chunks.flat_map(|chunk| match chunk {
        Ok(records) => boxed(records.into_iter().map(Ok)),
        Err(error) => boxed(std::iter::once(Err(error.into()))),
    });
    Source::Records { name: name.into(), records: Box::new(records) }
}

type Item = Result<AuditRecord, edgesentry_formats::BoxError>;

fn boxed(items: impl Iterator<Item = Item> + Send + 'static) -> Box<dyn Iterator<Item = Item> + Send> {
    Box::new(items)
}

/// The hash of a payload, where there is one.
type Read = Result<Option<Hash>, StoreError>;

/// Hashes of payloads that were read ahead of the records that need them.
#[derive(Default)]
struct Hashes {
    ready: Mutex<HashMap<(String, u64), Read>>,
}

impl Payloads for Hashes {
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        let key = (record.device_id.clone(), record.sequence);
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        // A database that hands out two records at one sequence has lost its primary key; the second has no payload.
        ready.unwrap_or(Ok(None)).map_err(|error| PayloadError {
            device_id: record.device_id.clone(),
            sequence: record.sequence,
            object_ref: record.object_ref.clone(),
            source: Box::new(error),
        })
    }
}

/// The same records, each chunk handed on when the payloads of its records are hashed.
fn with_payloads(records: RecordStream, store: Arc<dyn PayloadStore>, hashes: Arc<Hashes>) -> RecordStream {
    records
        .then(move |chunk| {
            let (store, hashes) = (Arc::clone(&store), Arc::clone(&hashes));
            async move {
                let chunk = chunk?;
                let reads: Vec<_> = chunk.iter().map(|record| hash_of(&*store, record)).collect();
                let read: Vec<_> = futures::stream::iter(reads).buffered(PAYLOADS_AT_ONCE).collect().await;
                let mut ready = hashes.ready.lock().unwrap_or_else(PoisonError::into_inner);
                ready.extend(
                    chunk
                        .iter()
                        .zip(read)
                        .map(|(record, hash)| ((record.device_id.clone(), record.sequence), hash)),
                );
                drop(ready);
                Ok(chunk)
            }
        })
        .boxed()
}

async fn hash_of(store: &dyn PayloadStore, record: &AuditRecord) -> Read {
    Ok(store.get(record).await?.map(|payload| Hash::of(&payload)))
}
