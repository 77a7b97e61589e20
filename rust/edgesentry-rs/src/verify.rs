//! Verification of a ledger in place, without an export: the same checks, by the same code, on the records of the
//! database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use edgesentry_chain::{
    AuditRecord, Checks, Claim, Claims, FindingCode, Hash, Heads, InputKind, KeyRing, PayloadError, Payloads,
    ProvidedBy, Providers, Report,
};
use edgesentry_formats::{LogCheck, Options, Progress, Source};
use futures::StreamExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;

use crate::error::{Component, Error, FailureKind, StoreError};
use crate::export::{Manifest, start_heads};
use crate::ledger::{self, Filter, Ledger, RecordStream, listed_erasures};
use crate::payload::{self, PayloadStore, S3Settings};

/// Payloads that are read and hashed concurrently.
const CONCURRENT_PAYLOADS: usize = 64;

/// The subject and the inputs of a verification. The auditor provides keys, heads and start heads; inputs from the
/// ledger or from a manifest are claims, and the report marks them.
pub struct Verification {
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The store of the payloads to hash again.
    pub payloads: Option<Arc<dyn PayloadStore>>,
    /// The records to verify: by device and sequence.
    pub filter: Filter,
    /// Keys of the auditor, to check signatures with.
    pub keys: Option<KeyRing>,
    /// Keys that the ledger returned before, if the auditor provides none: a claim.
    pub claimed_keys: Option<KeyRing>,
    /// Heads of the auditor; only those of the filter's devices count.
    pub heads: Option<Heads>,
    /// Start heads of the auditor, after which chains begin that do not begin at sequence 1.
    pub start_heads: Option<Heads>,
    /// The inputs to read from the ledger if the auditor provides none.
    pub registered: Registered,
    /// The manifest of an export of this ledger: its heads are claims, which the chains must contain.
    pub manifest: Option<Manifest>,
    /// How many findings to keep.
    pub options: Options,
}

/// Inputs from the ledger under test. An attacker who can change the ledger can change them, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Registered {
    /// The registered keys.
    pub keys: bool,
    /// The heads from which the ledger continues its chains.
    pub heads: bool,
    /// The start heads with which devices were registered.
    pub start_heads: bool,
}

impl Registered {
    /// All of them.
    pub const ALL: Registered = Registered { keys: true, heads: true, start_heads: true };
}

/// Inputs of the side under test, and their provider.
#[derive(Default)]
struct Claimed {
    keys: Option<KeyRing>,
    heads: Option<(ProvidedBy, Heads)>,
    start_heads: Option<(ProvidedBy, Heads)>,
}

impl Verification {
    /// Verifies, on the current rayon pool and with the database on the runtime of `handle`. Blocks.
    ///
    /// A chain that begins in the middle needs a start head: one of the auditor, or a claimed one. If the filter begins
    /// in the middle, the ledger's links before it are used, as claims. Without any start head the beginning is a
    /// finding.
    ///
    /// # Errors
    /// The ledger or the payload store fails, or the progress was cancelled. Faults of the evidence are findings.
    pub fn run(&self, handle: &Handle, progress: &Arc<Progress>) -> Result<Report, Error> {
        self.run_with_log(None, handle, progress)
    }

    /// Like [`Verification::run`], and compares the records with the checkpoint of a log. Records that came after the
    /// layout are counted as those after the checkpoint. The filter must select the whole ledger: other records are
    /// missing.
    pub fn run_with_log(
        &self,
        log: Option<&LogCheck<'_>>,
        handle: &Handle,
        progress: &Arc<Progress>,
    ) -> Result<Report, Error> {
        let claimed = handle.block_on(self.claimed())?;
        let heads = self.heads.clone().map(|heads| self.of_devices(heads));
        let hashes = Arc::new(Hashes::default());
        let mut records = self.ledger.records(&self.filter);
        if let Some(store) = &self.payloads {
            records = with_payloads(records, Arc::clone(store), Arc::clone(&hashes));
        }
        let hashes: &dyn Payloads = &*hashes;
        let payloads = self.payloads.as_ref().map(|_| Claim { by: ProvidedBy::Ledger, what: hashes });
        let checks = Checks {
            keys: self.keys.as_ref(),
            payloads: None,
            heads: heads.as_ref(),
            start_heads: self.start_heads.as_ref(),
            claims: Claims {
                keys: claimed.keys.as_ref().map(|what| Claim { by: ProvidedBy::Ledger, what }),
                payloads,
                heads: claimed.heads.as_ref().map(|(by, what)| Claim { by: *by, what }),
                start_heads: claimed.start_heads.as_ref().map(|(by, what)| Claim { by: *by, what }),
            },
        };
        let source = source(self.ledger.place(), records, handle);
        let log = log.cloned().map(LogCheck::in_place);
        let mut report = edgesentry_formats::verify_with_log(
            vec![source],
            &checks,
            log.as_ref(),
            &self.options,
            progress,
        )?;
        if log.is_none() && report.counts.contains_key(&FindingCode::PayloadMissing) {
            let tables = self.ledger.log();
            let listed = tables.map(|tables| handle.block_on(listed_erasures(&*tables)));
            let listed = listed.transpose()?.unwrap_or_default();
            report.hint_erased(|device_id, sequence| {
                listed.get(device_id).is_some_and(|sequences| sequences.contains(&sequence))
            });
        }
        Ok(report)
    }

    /// Returns the providers of the inputs: known before anything is read.
    pub fn providers(&self) -> Providers {
        let mut providers = Providers::new();
        let mut add = |kind, by, is_given: bool| {
            if is_given {
                providers.entry(kind).or_default().insert(by);
            }
        };
        let Verification { keys, heads, start_heads, registered, .. } = self;
        let manifest = self.manifest.is_some();
        add(InputKind::Keys, ProvidedBy::Auditor, keys.is_some());
        let are_claimed = registered.keys || self.claimed_keys.is_some();
        add(InputKind::Keys, ProvidedBy::Ledger, keys.is_none() && are_claimed);
        add(InputKind::Payloads, ProvidedBy::Ledger, self.payloads.is_some());
        add(InputKind::Heads, ProvidedBy::Auditor, heads.is_some());
        add(InputKind::Heads, ProvidedBy::Manifest, manifest);
        add(InputKind::Heads, ProvidedBy::Ledger, heads.is_none() && !manifest && registered.heads);
        add(InputKind::StartHeads, ProvidedBy::Auditor, start_heads.is_some());
        providers
    }

    async fn claimed(&self) -> Result<Claimed, Error> {
        let registered = &self.registered;
        let keys = match &self.claimed_keys {
            _ if self.keys.is_some() => None,
            Some(keys) => Some(keys.clone()),
            None if registered.keys => Some(self.registered_keys().await?),
            None => None,
        };
        let heads = match &self.manifest {
            Some(manifest) => Some((ProvidedBy::Manifest, manifest.heads.clone())),
            None if self.heads.is_none() && registered.heads => {
                Some((ProvidedBy::Ledger, self.ledger.heads().await?))
            }
            None => None,
        };
        let heads = heads.map(|(by, heads)| (by, self.of_devices(heads)));
        Ok(Claimed { keys, heads, start_heads: self.claimed_start_heads().await? })
    }

    async fn claimed_start_heads(&self) -> Result<Option<(ProvidedBy, Heads)>, StoreError> {
        if self.start_heads.is_some() {
            return Ok(None);
        }
        let begins_later = self.filter.from_sequence.is_some_and(|from| from > 1);
        if begins_later || self.registered.start_heads {
            let starts = start_heads(&*self.ledger, &self.filter).await?;
            return Ok(Some((ProvidedBy::Ledger, starts)));
        }
        // The start heads of a range are not the beginnings of the ledger's chains.
        let whole = |filter: &Filter| filter.from_sequence.is_none() && filter.from_ms.is_none();
        let manifest = self.manifest.as_ref().filter(|manifest| whole(&manifest.filter));
        Ok(manifest.map(|manifest| (ProvidedBy::Manifest, manifest.start_heads.clone())))
    }

    async fn registered_keys(&self) -> Result<KeyRing, StoreError> {
        let devices = self.ledger.devices().await?;
        ledger::key_ring(&devices).map_err(|error| StoreError {
            component: Component::AuditLedger,
            action: "use the registered keys",
            place: self.ledger.place().into(),
            kind: FailureKind::Setup,
            source: Arc::new(error),
        })
    }

    /// Returns the heads of the devices that are verified: the others are not missing.
    fn of_devices(&self, mut heads: Heads) -> Heads {
        let devices = &self.filter.devices;
        if !devices.is_empty() {
            heads.retain(|device_id, _| devices.iter().any(|id| **id == **device_id));
        }
        heads
    }
}

/// Converts a stream into a blocking source.
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

/// The hash of a payload, if there is one.
type Read = Result<Option<Hash>, StoreError>;

/// Hashes of payloads that are read ahead of the records that need them.
#[derive(Default)]
struct Hashes {
    ready: Mutex<HashMap<(String, u64), Read>>,
}

impl Payloads for Hashes {
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        let key = (record.device_id.clone(), record.sequence);
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        // A database that returns two records at one sequence has lost its primary key; the second has no payload.
        ready.unwrap_or(Ok(None)).map_err(|error| PayloadError {
            device_id: record.device_id.clone(),
            sequence: record.sequence,
            object_ref: record.object_ref.clone(),
            source: Box::new(error),
        })
    }
}

/// Returns the same records, each chunk after the payloads of its records are hashed.
fn with_payloads(records: RecordStream, store: Arc<dyn PayloadStore>, hashes: Arc<Hashes>) -> RecordStream {
    records
        .then(move |chunk| {
            let (store, hashes) = (Arc::clone(&store), Arc::clone(&hashes));
            async move {
                let chunk = chunk?;
                let reads: Vec<_> = chunk.iter().map(|record| hash_of(&*store, record)).collect();
                let read: Vec<_> = futures::stream::iter(reads).buffered(CONCURRENT_PAYLOADS).collect().await;
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

/// The payloads of a store, read and hashed several at a time, for records that are in files.
pub struct StorePayloads {
    store: Arc<dyn PayloadStore>,
    runtime: Runtime,
    /// The hashes that are read ahead, and the number of records that still need each.
    ready: Mutex<HashMap<PayloadName, (Read, usize)>>,
}

/// Device, sequence, payload hash and object reference: what decides where a payload is.
type PayloadName = (String, u64, Hash, String);

fn payload_name(record: &AuditRecord) -> PayloadName {
    (record.device_id.clone(), record.sequence, record.payload_hash, record.object_ref.clone())
}

impl StorePayloads {
    /// Opens a bucket by its URL, `s3://BUCKET`.
    ///
    /// # Errors
    /// The URL names no bucket, or the credentials of the settings are incomplete.
    pub fn open(url: &str, settings: &S3Settings) -> Result<StorePayloads, Error> {
        let Some(bucket) = url.strip_prefix("s3://") else {
            return Err(Error::Config("payloads: expected s3://BUCKET".to_owned()));
        };
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("payloads").enable_all().build();
        let runtime = runtime.map_err(|error| Error::Threads("payloads", Arc::new(error)))?;
        let store = runtime.block_on(payload::s3::open(bucket.trim_end_matches('/'), settings))?;
        Ok(StorePayloads { store, runtime, ready: Mutex::default() })
    }
}

impl Payloads for StorePayloads {
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        let name = payload_name(record);
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match ready.get_mut(&name) {
            Some((read, left)) if *left > 1 => {
                *left -= 1;
                Some(read.clone())
            }
            Some(_) => ready.remove(&name).map(|(read, _)| read),
            None => None,
        };
        drop(ready);
        let read = found.unwrap_or_else(|| self.runtime.block_on(hash_of(&*self.store, record)));
        read.map_err(|error| PayloadError {
            device_id: record.device_id.clone(),
            sequence: record.sequence,
            object_ref: record.object_ref.clone(),
            source: Box::new(error),
        })
    }

    fn prepare(&self, records: &mut dyn Iterator<Item = &AuditRecord>) -> Result<(), PayloadError> {
        let mut needed: HashMap<PayloadName, (&AuditRecord, usize)> = HashMap::new();
        for record in records {
            needed.entry(payload_name(record)).or_insert((record, 0)).1 += 1;
        }
        let reads: Vec<_> = needed
            .into_iter()
            .map(|(name, (record, uses))| async move { (name, (hash_of(&*self.store, record).await, uses)) })
            .collect();
        let read = futures::stream::iter(reads).buffer_unordered(CONCURRENT_PAYLOADS).collect::<Vec<_>>();
        let read = self.runtime.block_on(read);
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, (hash, uses)) in read {
            ready.entry(name).or_insert((hash, 0)).1 += uses;
        }
        Ok(())
    }
}

async fn hash_of(store: &dyn PayloadStore, record: &AuditRecord) -> Read {
    Ok(store.get(record).await?.map(|payload| Hash::of(&payload)))
}
