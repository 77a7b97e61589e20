//! The published crate edgesentry-audit, used as its documentation shows: one thread, one record at a time.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use edgesentry_audit::{AuditRecord, verify_chain, verify_record};

use crate::export::{read_keys, read_records};
use crate::outcome::Outcome;

/// The hash chain of each device.
pub fn links(file: &Path) -> Result<Outcome> {
    let start = Instant::now();
    let chains = chains(read_records(file)?);
    let ok = links_hold(&chains);
    Outcome::new("audit-links", count(&chains), start.elapsed(), None, ok)
}

/// The hash chain of each device, then the signature of every record.
pub fn links_and_signatures(file: &Path, keys: &Path) -> Result<Outcome> {
    let start = Instant::now();
    let keys = read_keys(keys)?;
    let chains = chains(read_records(file)?);
    let mut ok = links_hold(&chains);
    let start_signatures = Instant::now();
    for (device, records) in &chains {
        let key = keys.get(device).with_context(|| format!("no key for device {device}"))?;
        for record in records {
            ok &= verify_record(record, key).context("edgesentry-audit cannot verify a record")?;
        }
    }
    let signatures = start_signatures.elapsed();
    Outcome::new("audit-signatures", count(&chains), start.elapsed(), Some(signatures), ok)
}

/// `verify_chain` takes one chain, so records are grouped by device first.
fn chains(records: Vec<AuditRecord>) -> HashMap<String, Vec<AuditRecord>> {
    let mut chains: HashMap<String, Vec<AuditRecord>> = HashMap::new();
    for record in records {
        match chains.get_mut(&record.device_id) {
            Some(chain) => chain.push(record),
            None => {
                chains.insert(record.device_id.clone(), vec![record]);
            }
        }
    }
    chains
}

fn links_hold(chains: &HashMap<String, Vec<AuditRecord>>) -> bool {
    chains.values().all(|records| verify_chain(records).is_ok())
}

fn count(chains: &HashMap<String, Vec<AuditRecord>>) -> usize {
    chains.values().map(Vec::len).sum()
}
