//! Checks that a ledger extends its earlier heads.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Checks, Finding, FindingCode, Hash, Head, Heads, check_extension};
use edgesentry_formats::{Options, Progress};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;

use crate::error::{Error, StoreError};
use crate::ledger::{Filter, Ledger, RecordStream, start_heads};
use crate::verify::source;

/// Records at old heads that are read at once.
const READ_AT_ONCE: usize = 8;

/// The heads of a ledger, compared with older ones.
#[derive(Debug)]
pub struct Extension {
    /// The heads of the ledger now.
    pub heads: Heads,
    /// Findings that the heads do not extend the old ones: `head_mismatch` and `device_missing`.
    pub rewritten: Vec<Finding>,
    /// Findings about the records from the old heads to the new ones, as far as findings are kept.
    pub broken: Vec<Finding>,
    /// The numbers of all such findings.
    pub broken_counts: BTreeMap<FindingCode, u64>,
}

impl Extension {
    /// Reads the heads of a ledger. With old heads, it reads the record at each of them, which must still have the old
    /// hash, and verifies the links from there to the new head; for new devices it verifies the whole chain. Without
    /// old heads it reads no record. Blocks.
    ///
    /// # Errors
    /// The ledger fails, or `progress` is cancelled.
    pub fn of(
        ledger: &Arc<dyn Ledger>,
        old: Option<&Heads>,
        options: &Options,
        handle: &Handle,
        progress: &Arc<Progress>,
    ) -> Result<Extension, Error> {
        let heads = handle.block_on(ledger.heads())?;
        let Some(old) = old else {
            let (rewritten, broken) = (Vec::new(), Vec::new());
            return Ok(Extension { heads, rewritten, broken, broken_counts: BTreeMap::new() });
        };
        let found = handle.block_on(records_at(ledger, old, &heads))?;
        let hash = |device_id: &str, _| found.get(device_id).copied();
        let rewritten = check_extension(old, &heads, hash);

        let rewritten_devices: HashSet<Arc<str>> =
            rewritten.iter().filter_map(|finding| finding.device_id.clone()).collect();
        // The chains that have grown, each with the head after which to verify.
        let gone_on = heads.iter().filter(|(device_id, head)| {
            !rewritten_devices.contains(*device_id)
                && old.get(*device_id).is_none_or(|old| old.sequence < head.sequence)
        });
        let gone_on: Heads = gone_on.map(|(device_id, head)| (Arc::clone(device_id), *head)).collect();
        let mut starts = start_heads(&handle.block_on(ledger.devices())?);
        starts.extend(old.iter().map(|(device_id, head)| (Arc::clone(device_id), *head)));
        let checks = Checks { heads: Some(&gone_on), start_heads: Some(&starts), ..Checks::default() };
        let records = records_after(ledger, &gone_on, &starts);
        let source = source(ledger.place(), records, handle);
        let report = edgesentry_formats::verify(vec![source], &checks, options, progress)?;
        Ok(Extension { heads, rewritten, broken: report.findings, broken_counts: report.counts })
    }
}

/// Reads the current hashes of the records at old heads.
async fn records_at(
    ledger: &Arc<dyn Ledger>,
    old: &Heads,
    new: &Heads,
) -> Result<HashMap<Arc<str>, Hash>, StoreError> {
    let there = old.iter().filter(|(device_id, _)| new.contains_key(*device_id));
    let there: Vec<(Arc<str>, Head)> =
        there.map(|(device_id, head)| (Arc::clone(device_id), *head)).collect();
    let reads = there.into_iter().map(|(device_id, head)| {
        let mut records = ledger.records(&range(&device_id, head.sequence, head.sequence));
        async move {
            let mut found = None;
            while let Some(chunk) = records.try_next().await? {
                found = found.or_else(|| chunk.first().map(AuditRecord::hash));
            }
            Ok(found.map(|hash| (device_id, hash)))
        }
    });
    stream::iter(reads)
        .buffer_unordered(READ_AT_ONCE)
        .try_filter_map(|found| async { Ok(found) })
        .try_collect()
        .await
}

/// Reads the records after `starts` up to `heads`, device by device.
fn records_after(ledger: &Arc<dyn Ledger>, heads: &Heads, starts: &Heads) -> RecordStream {
    let ranges: Vec<Filter> = heads
        .iter()
        .map(|(device_id, head)| {
            let from = starts.get(device_id).map_or(1, |start| start.sequence.saturating_add(1));
            range(device_id, from, head.sequence)
        })
        .collect();
    let ledger = Arc::clone(ledger);
    stream::iter(ranges).flat_map(move |range| ledger.records(&range)).boxed()
}

fn range(device_id: &str, from: u64, to: u64) -> Filter {
    Filter {
        devices: vec![device_id.to_owned()],
        from_sequence: Some(from),
        to_sequence: Some(to),
        ..Filter::default()
    }
}
