//! Evidence bundles from the files of a log (docs/reference/bundle.md).
//!
//! The leaves come from the entry bundles and are compared with the root of the checkpoint, so a bundle never leaves
//! this module with records that the log does not have.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Hash, KeyRing};
use edgesentry_formats::{BundleWriter, Destination, Readers};
use edgesentry_log::{
    BundleKeysError, BundleManifest, BundleScope, Checkpoint, EntryBundle, ErasedLeaf, Leaf, LeafItem,
    MAX_LACKING, PartialTree, TILE_WIDTH, push_leaf_item, push_subtree_item, skipped_subtrees,
    write_bundle_keys, write_partial_heads,
};
use futures::TryStreamExt;

use super::logged::each_window;
use super::{LogReader, ProveError, Published};
use crate::PayloadStore;
use crate::error::StoreError;
use crate::ledger::{LogTablesError, listed_erasures};

/// Spans whose neighbouring hashes are read together.
const SPANS: usize = 256;
/// Bytes written to the destination at a time.
const OUTPUT_BYTES: usize = 1 << 20;
/// The maximum number of time stamps in a bundle.
const MAX_TIMESTAMPS: usize = 64;
/// The maximum number of payloads in a bundle.
const MAX_PAYLOADS: usize = 90_000;
/// The files for people in each bundle, in the order of their names. They are conveniences: the side under test delivers
/// them.
pub const BUNDLE_TEXTS: [(&str, &[u8]); 3] = [
    ("readme.txt", include_bytes!("bundle/readme.txt")),
    ("verify.html", include_bytes!("bundle/verify.html")),
    ("verify.py", include_bytes!("bundle/verify.py")),
];

/// The reason why a bundle cannot be written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The log cannot be read, or lacks a record.
    #[error(transparent)]
    Log(#[from] ProveError),
    /// The payload store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bundle cannot be written.
    #[error("cannot write the bundle: {0}")]
    Write(Arc<io::Error>),
    /// The log has no record of the devices.
    #[error(
        "the log has no record of these devices at size {0}, so the bundle would prove nothing; eds prove head proves an \
         absence"
    )]
    NoRecords(u64),
    /// The keys cannot be written.
    #[error(transparent)]
    Keys(#[from] BundleKeysError),
    /// The payload store lacks the payload of a record, or has other bytes.
    #[error(
        "device {device_id:?}, sequence {sequence}: the payload store does not have the payload that the record commits \
         to; leave out --payload-store, or restore the payload"
    )]
    Payload {
        /// The device.
        device_id: String,
        /// The sequence.
        sequence: u64,
    },
    /// The payload of a record is to be erased, and the checkpoint does not have the leaf that excuses it.
    #[error(
        "device {device_id:?}, sequence {sequence}: the payload is to be erased, and the published checkpoint has no \
         leaf of it yet; repeat after the next checkpoint, leave out --payload-store, or name other records"
    )]
    PayloadErased {
        /// The device.
        device_id: String,
        /// The sequence.
        sequence: u64,
    },
    /// A bundle holds fewer payloads.
    #[error("the records have more than {MAX_PAYLOADS} payloads; make bundles of fewer devices or records")]
    TooManyPayloads,
    /// A bundle excuses fewer erased payloads.
    #[error(
        "the records have more than {MAX_LACKING} erased payloads; make bundles of fewer devices or records"
    )]
    TooManyErased,
}

impl BundleError {
    /// Returns a stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            BundleError::Log(error) => error.code(),
            BundleError::Store(_) => "store",
            BundleError::Write(_) => "io",
            BundleError::NoRecords(_) => "bundle_empty",
            BundleError::Keys(_) => "keys",
            BundleError::Payload { .. } => "payload_missing",
            BundleError::PayloadErased { .. } => "payload_erased",
            BundleError::TooManyPayloads | BundleError::TooManyErased => "bundle_too_large",
        }
    }
}

impl From<io::Error> for BundleError {
    fn from(error: io::Error) -> BundleError {
        BundleError::Write(Arc::new(error))
    }
}

impl From<super::LogError> for BundleError {
    fn from(error: super::LogError) -> BundleError {
        BundleError::Log(error.into())
    }
}

impl From<LogTablesError> for BundleError {
    fn from(error: LogTablesError) -> BundleError {
        BundleError::Log(error.into())
    }
}

/// The content of a bundle.
#[derive(Clone, Copy)]
pub struct BundleContent<'a> {
    /// The part of the log; devices and records sorted, none twice.
    pub scope: &'a BundleScope,
    /// An older checkpoint of the same log, whose root the bundle must show too.
    pub since: Option<&'a Checkpoint>,
    /// The store of the payloads to include.
    pub payloads: Option<&'a dyn PayloadStore>,
    /// Keys to claim.
    pub keys: Option<&'a KeyRing>,
    /// A policy to claim.
    pub policy: Option<&'a [u8]>,
    /// True for the last checkpoint with a time stamp, in place of the published one.
    pub stamped: bool,
    /// Certificates in PEM of the time stamping authorities, to claim.
    pub tsa_certificates: Option<&'a [u8]>,
}

/// A bundle that was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrittenBundle {
    /// The checkpoint in it.
    pub checkpoint: Checkpoint,
    /// The number of records.
    pub records: u64,
    /// The manifest.
    pub manifest: BundleManifest,
}

/// The bundle under writing.
struct Writing<'a> {
    writer: &'a mut BundleWriter,
    tree: PartialTree,
    item: Vec<u8>,
    records: u64,
    /// The records of the payloads to include, by hash.
    payloads: Option<BTreeMap<[u8; 32], AuditRecord>>,
    erased: ErasedPayloads,
    /// Is told the number of records so far.
    written: &'a (dyn Fn(u64) + Send + Sync),
}

/// The erased payloads, which no bundle has.
#[derive(Default)]
struct ErasedPayloads {
    /// Their sequences by device, as the ledger lists them.
    listed: HashMap<String, BTreeSet<u64>>,
    /// Those of records in the bundle, with their hashes, until their leaf 05 follows.
    open: BTreeMap<(String, u64), Hash>,
    records: usize,
}

impl ErasedPayloads {
    /// Returns true if the payload of a record was erased.
    fn take(&mut self, record: &AuditRecord) -> Result<bool, BundleError> {
        let AuditRecord { device_id, sequence, .. } = record;
        if !self.listed.get(device_id).is_some_and(|sequences| sequences.contains(sequence)) {
            return Ok(false);
        }
        self.records += 1;
        if self.records > MAX_LACKING {
            return Err(BundleError::TooManyErased);
        }
        self.open.insert((device_id.clone(), *sequence), record.payload_hash);
        Ok(true)
    }

    /// Takes a leaf behind these records.
    fn excuse(&mut self, leaf: ErasedLeaf) {
        let place = (leaf.device_id, leaf.sequence);
        if self.open.get(&place) == Some(&leaf.payload_hash) {
            self.open.remove(&place);
        }
    }

    fn finish(self) -> Result<(), BundleError> {
        match self.open.into_keys().next() {
            None => Ok(()),
            Some((device_id, sequence)) => Err(BundleError::PayloadErased { device_id, sequence }),
        }
    }
}

impl LogReader {
    /// Writes a bundle of the published checkpoint, with its time stamps. A file gets its name when the bundle is complete. `written` is told
    /// the number of records so far. `created_ms` is the time, Unix milliseconds.
    ///
    /// # Errors
    /// The log or the payload store cannot be read, or lacks content; the destination cannot be written.
    pub async fn write_bundle(
        &self,
        content: &BundleContent<'_>,
        destination: &Destination,
        created_ms: u64,
        written: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<WrittenBundle, BundleError> {
        let published = match content.stamped {
            true => self.published_stamped().await?,
            false => self.published().await?,
        };
        let mut writer = BundleWriter::new(destination.file())?;
        let records = self.write_members(&published, content, &mut writer, written).await?;
        let mut out = io::BufWriter::with_capacity(OUTPUT_BYTES, destination.open(Readers::Umask)?);
        let scope = content.scope.clone();
        let since = content.since.map(Checkpoint::size);
        let manifest = writer.finish(scope, created_ms, since, content.payloads.is_some(), &mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
        Ok(WrittenBundle { checkpoint: published.checkpoint, records, manifest })
    }

    /// Writes the members of a bundle. Returns the number of records.
    async fn write_members(
        &self,
        published: &Published,
        content: &BundleContent<'_>,
        writer: &mut BundleWriter,
        written: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<u64, BundleError> {
        let checkpoint = &published.checkpoint;
        let size = checkpoint.size();
        if let Some(older) = content.since {
            self.prove_consistency(published, older).await?;
        }
        let since = content.since.map(Checkpoint::size);
        let spans = self.spans(published, content.scope).await?;
        let listed = match content.payloads {
            Some(_) => listed_erasures(&*self.tables).await?,
            None => HashMap::new(),
        };
        writer.file("checkpoint", published.note.to_string().as_bytes())?;
        if let BundleScope::Devices(devices) = content.scope {
            let tree = self.last_heads(published).await?;
            let heads = write_partial_heads(&tree, devices.iter().map(String::as_str));
            writer.file("heads", &heads)?;
        }
        if let Some(keys) = content.keys.filter(|keys| !keys.is_empty()) {
            writer.file("keys", write_bundle_keys(keys)?.as_bytes())?;
        }
        let mut writing = Writing {
            writer,
            tree: PartialTree::new(size, since),
            item: Vec::new(),
            records: 0,
            payloads: content.payloads.map(|_| BTreeMap::new()),
            erased: ErasedPayloads { listed, ..ErasedPayloads::default() },
            written,
        };
        self.write_items(&mut writing, &spans, since, published).await?;
        let Writing { writer, records, payloads, erased, .. } = writing;
        erased.finish()?;
        if records == 0 {
            return Err(BundleError::NoRecords(size));
        }
        if let Some(store) = content.payloads {
            write_payloads(store, payloads.unwrap_or_default(), writer).await?;
        }
        if let Some(policy) = content.policy {
            writer.file("policy", policy)?;
        }
        let [readme, verifiers @ ..] = BUNDLE_TEXTS;
        writer.file(readme.0, readme.1)?;
        self.write_timestamps(published, content, writer).await?;
        for (name, text) in verifiers {
            writer.file(name, text)?;
        }
        Ok(records)
    }

    /// Writes the leaves of the spans and the hashes between them, and compares their root with the checkpoint.
    async fn write_items(
        &self,
        writing: &mut Writing<'_>,
        spans: &[Range<u64>],
        since: Option<u64>,
        published: &Published,
    ) -> Result<(), BundleError> {
        let checkpoint = &published.checkpoint;
        let mut end = 0;
        for spans in spans.chunks(SPANS) {
            end = self.write_spans(writing, end, spans, since, published).await?;
        }
        self.write_gap(writing, end..checkpoint.size(), since, published).await?;
        if writing.tree.root() != Some(checkpoint.root()) {
            return Err(self.damaged("the leaves do not have the root of the checkpoint").into());
        }
        Ok(())
    }

    /// Writes the time stamps of the checkpoint, in the order of their names.
    async fn write_timestamps(
        &self,
        published: &Published,
        content: &BundleContent<'_>,
        writer: &mut BundleWriter,
    ) -> Result<(), BundleError> {
        let stamps = self.timestamps(published).await?;
        let mut members: Vec<(String, &[u8])> = Vec::new();
        for (number, stamp) in stamps.iter().take(MAX_TIMESTAMPS).enumerate() {
            members.push((format!("tsa-{number}.tsr"), &stamp.response));
            let certificates = content.tsa_certificates.filter(|pem| !pem.is_empty());
            members.extend(certificates.map(|pem| (format!("tsa-{number}.pem"), pem)));
        }
        members.sort();
        for (name, member) in members {
            writer.file(&name, member)?;
        }
        Ok(())
    }

    /// Returns the indexes of the leaves of a scope, in order.
    async fn spans(
        &self,
        published: &Published,
        scope: &BundleScope,
    ) -> Result<Vec<Range<u64>>, BundleError> {
        let size = published.checkpoint.size();
        let mut spans = match scope {
            BundleScope::Devices(devices) => self.spans_of_devices(size, devices).await?,
            BundleScope::Records(records) => self.spans_of_records(published, records).await?,
            // Every leaf.
            _ => std::iter::once(0..size).collect(),
        };
        spans.sort_by_key(|span| span.start);
        spans.dedup();
        Ok(spans)
    }

    /// Returns the leaves of records, and the leaves 05 of their payloads.
    async fn spans_of_records(
        &self,
        published: &Published,
        records: &[(String, u64)],
    ) -> Result<Vec<Range<u64>>, BundleError> {
        let mut spans = Vec::new();
        for (device_id, sequence) in records {
            let index = self.position(published, device_id, *sequence).await?;
            let erasure = self.tables.erasure(device_id, *sequence).await?;
            let erased = erasure.and_then(|erasure| erasure.log_index);
            let erased = erased.filter(|erased| *erased < published.checkpoint.size());
            spans.extend([Some(index), erased].into_iter().flatten().map(|index| index..index + 1));
        }
        Ok(spans)
    }

    async fn spans_of_devices(&self, size: u64, devices: &[String]) -> Result<Vec<Range<u64>>, BundleError> {
        let devices: BTreeSet<&str> = devices.iter().map(String::as_str).collect();
        let mut spans = Vec::new();
        each_window(&*self.tables, size, |leaves| {
            let runs = leaves.runs.iter().filter(|(_, run)| devices.contains(run.device_id.as_str()));
            spans.extend(runs.map(|(index, run)| *index..index + run.records));
            let events = leaves.events.iter().filter(|(_, leaf)| is_about(leaf, &devices));
            spans.extend(events.map(|(index, _)| *index..index + 1));
            Ok(())
        })
        .await?;
        // The last leaf, with the root of the heads.
        spans.extend(size.checked_sub(1).map(|last| last..size));
        Ok(spans)
    }

    /// Writes spans and the hashes between them, after the leaves up to `end`. Returns the end of the last span.
    async fn write_spans(
        &self,
        writing: &mut Writing<'_>,
        mut end: u64,
        spans: &[Range<u64>],
        since: Option<u64>,
        published: &Published,
    ) -> Result<u64, BundleError> {
        let mut gaps = Vec::new();
        let mut before = end;
        for span in spans {
            gaps.extend(skipped_subtrees(before, span.start, since));
            before = span.end;
        }
        let hashes = self.nodes(published, gaps).await?;
        for span in spans {
            for node in skipped_subtrees(end, span.start, since) {
                let hash = hashes.get(&node).copied();
                let hash = hash.ok_or_else(|| self.damaged("a hash is missing"))?;
                writing.push(&LeafItem::Subtree {
                    begin: node.index << node.level,
                    level: node.level,
                    hash,
                })?;
            }
            self.write_leaves(writing, span.clone(), published).await?;
            end = span.end;
        }
        Ok(end)
    }

    async fn write_gap(
        &self,
        writing: &mut Writing<'_>,
        gap: Range<u64>,
        since: Option<u64>,
        published: &Published,
    ) -> Result<(), BundleError> {
        // An empty span at the end of the gap.
        let end = gap.end..gap.end;
        self.write_spans(writing, gap.start, &[end], since, published).await.map(|_| ())
    }

    async fn write_leaves(
        &self,
        writing: &mut Writing<'_>,
        span: Range<u64>,
        published: &Published,
    ) -> Result<(), BundleError> {
        let mut bundles = std::pin::pin!(self.entries(published, &span));
        while let Some((id, bytes)) = bundles.try_next().await? {
            let bundle = EntryBundle::parse(id, &bytes).map_err(|error| self.damaged(&error.to_string()))?;
            for (index, leaf) in (id.index() * u64::from(TILE_WIDTH)..).zip(bundle.entries()) {
                if span.contains(&index) {
                    writing.push(&LeafItem::Leaf { index, leaf })?;
                }
            }
            (writing.written)(writing.records);
        }
        Ok(())
    }
}

impl Writing<'_> {
    fn push(&mut self, item: &LeafItem<'_>) -> Result<(), BundleError> {
        self.tree.push(item);
        self.item.clear();
        match item {
            LeafItem::Leaf { leaf, .. } => {
                push_leaf_item(&mut self.item, leaf).map_err(io::Error::other)?;
                self.count(leaf)?;
            }
            LeafItem::Subtree { level, hash, .. } => push_subtree_item(&mut self.item, *level, hash),
            _ => {}
        }
        Ok(self.writer.item(&self.item)?)
    }

    fn count(&mut self, leaf: &[u8]) -> Result<(), BundleError> {
        let Some((1, body)) = leaf.split_first() else {
            if self.payloads.is_some()
                && let Ok(Leaf::Erased(leaf)) = Leaf::parse(leaf)
            {
                self.erased.excuse(leaf);
            }
            return Ok(());
        };
        self.records += 1;
        if let (Some(payloads), Ok(record)) = (&mut self.payloads, AuditRecord::from_canonical_bytes(body)) {
            if self.erased.take(&record)? {
                return Ok(());
            }
            payloads.entry(*record.payload_hash.as_bytes()).or_insert(record);
            if payloads.len() > MAX_PAYLOADS {
                return Err(BundleError::TooManyPayloads);
            }
        }
        Ok(())
    }
}

/// Returns true if a leaf other than a record is about one of the devices.
fn is_about(leaf: &[u8], devices: &BTreeSet<&str>) -> bool {
    match Leaf::parse(leaf) {
        Ok(Leaf::Key(leaf)) => devices.contains(leaf.device_id.as_str()),
        Ok(Leaf::Revoked(leaf)) => devices.contains(leaf.device_id.as_str()),
        Ok(Leaf::Erased(leaf)) => devices.contains(leaf.device_id.as_str()),
        _ => false,
    }
}

async fn write_payloads(
    store: &dyn PayloadStore,
    payloads: BTreeMap<[u8; 32], AuditRecord>,
    writer: &mut BundleWriter,
) -> Result<(), BundleError> {
    for record in payloads.into_values() {
        let payload = store.get(&record).await?.filter(|payload| Hash::of(payload) == record.payload_hash);
        let Some(payload) = payload else {
            let AuditRecord { device_id, sequence, .. } = record;
            return Err(BundleError::Payload { device_id, sequence });
        };
        writer.file(&format!("payload-{}", record.payload_hash), &payload)?;
    }
    Ok(())
}
