//! Restores a payload: in S3, of all versions under its object reference, the one that the record commits to; in a
//! directory, from a copy of it.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Hash};
use edgesentry_formats::{PayloadFolder, content_path};
use edgesentry_rs::PayloadStore;
use edgesentry_rs::ingest::verify::MAX_PAYLOAD_BYTES;
use edgesentry_rs::ledger::ErasureRow;
use edgesentry_rs::payload::{Folder, S3};
use serde::Serialize;

use crate::blocking::blocking;
use crate::error::Error;

/// The state of a payload. Exhaustive: the exit code follows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A plain read returns the payload of the record; nothing was done.
    Intact,
    /// It can be restored; nothing was done yet.
    Restorable,
    /// It was restored, and read again.
    Restored,
    /// No version has the bytes that the record commits to.
    Lost,
    /// The ledger lists its erasure: it is not restored.
    Erased,
}

/// The payload of one record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Restored {
    /// The device.
    pub device_id: String,
    /// The sequence.
    pub sequence: u64,
    /// The location of the payload according to the record.
    pub object_ref: String,
    /// The key of the version whose BLAKE3 is the record's payload hash.
    pub key: Option<String>,
    /// The state.
    pub state: State,
    /// The version whose BLAKE3 is the record's payload hash.
    pub version: Option<String>,
    /// The problem, and the number of versions that were compared.
    pub evidence: String,
}

/// Returns the answer for a payload whose erasure the ledger lists. Nothing is looked for, and nothing is restored.
pub fn erased(record: &AuditRecord, erasure: &ErasureRow) -> Restored {
    let leaf = erasure.log_index.map_or_else(|| "no leaf yet".to_owned(), |leaf| format!("leaf {leaf}"));
    let evidence =
        format!("it was erased ({leaf} of the log) and is not restored; reason: {}", erasure.reason);
    Restored::new(record, State::Erased, None, evidence)
}

impl Restored {
    fn new(record: &AuditRecord, state: State, key: Option<String>, evidence: String) -> Restored {
        Restored {
            device_id: record.device_id.clone(),
            sequence: record.sequence,
            object_ref: record.object_ref.clone(),
            key,
            state,
            version: None,
            evidence,
        }
    }
}

/// Returns the problem of a payload that a plain read has returned; none if it is that of the record.
fn problem(record: &AuditRecord, there: Option<&Bytes>) -> Option<String> {
    match there {
        Some(bytes) if Hash::of(bytes) == record.payload_hash => None,
        Some(bytes) => Some(format!("other bytes are there: BLAKE3 {}", Hash::of(bytes))),
        None => Some("it is deleted or was never there".to_owned()),
    }
}

fn intact(record: &AuditRecord) -> Restored {
    Restored::new(record, State::Intact, None, "a plain read returns it".to_owned())
}

/// Reads a payload again after it was stored.
async fn check(store: &dyn PayloadStore, record: &AuditRecord, key: &str) -> Result<(), Error> {
    match problem(record, store.get(record).await?.as_ref()) {
        None => Ok(()),
        Some(_) => Err(Error::Server {
            server: store.place().to_owned(),
            problem: format!("{key:?} was written, but reads back differently"),
        }),
    }
}

/// Searches the payload of a record in the versions of a bucket and, with `apply`, stores it on top of them. Nothing is
/// ever deleted or overwritten: the deletion or the other bytes stay as versions, as evidence.
///
/// Versions under the name of the record come first, then those under its object reference, where earlier releases
/// stored it. The payload is stored under the key of the version.
///
/// # Errors
/// A request to the store fails.
pub async fn from_versions(store: &Arc<S3>, record: &AuditRecord, apply: bool) -> Result<Restored, Error> {
    let there = store.get(record).await?;
    let Some(wrong) = problem(record, there.as_ref()) else { return Ok(intact(record)) };
    let versions = store.versions(record).await?;
    let mut looked_at = 0;
    for version in versions.iter().filter(|version| !version.deleted) {
        looked_at += 1;
        let Some(bytes) = store.version(version).await? else { continue };
        if Hash::of(&bytes) != record.payload_hash {
            continue;
        }
        let evidence = format!("{wrong}; version {} of {} has its bytes", version.id, versions.len());
        let found = |state| Restored {
            version: Some(version.id.clone()),
            ..Restored::new(record, state, Some(version.key.clone()), evidence)
        };
        if !apply {
            return Ok(found(State::Restorable));
        }
        if there.is_some() && version.id.is_empty() {
            let message =
                format!("{}: versioning is off, so nothing is written over {:?}", store.place(), version.key);
            return Err(Error::Config(message));
        }
        store.put_on_top(&version.key, bytes).await?;
        check(&**store, record, &version.key).await?;
        return Ok(found(State::Restored));
    }
    let evidence = format!("{wrong}; none of {looked_at} versions has its bytes");
    Ok(Restored::new(record, State::Lost, None, evidence))
}

/// Searches the payload of a record in a copy of the payload directory and, with `apply`, stores it in the directory under
/// the name of the record. Nothing is ever deleted or overwritten.
///
/// Both may have files, packs, and the names of earlier releases.
///
/// # Errors
/// The directory or its copy cannot be read, or the payload cannot be stored.
pub async fn from_backup(
    backup: &Arc<PayloadFolder>,
    store: &Folder,
    record: &AuditRecord,
    apply: bool,
) -> Result<Restored, Error> {
    let there = store.get(record).await?;
    let Some(wrong) = problem(record, there.as_ref()) else { return Ok(intact(record)) };
    let lost = |evidence| Ok(Restored::new(record, State::Lost, None, format!("{wrong}; {evidence}")));
    let (from, wanted) = (Arc::clone(backup), record.clone());
    let read = move || {
        let found = from.read(&wanted, MAX_PAYLOAD_BYTES as u64);
        found.map_err(|error| Error::unusable("the backup cannot be read", error))
    };
    let Some(bytes) = blocking(read).await? else { return lost("the backup lacks it") };
    if Hash::of(&bytes) != record.payload_hash {
        return lost("the backup has other bytes, too");
    }
    let key = content_path(record);
    if apply {
        store.restore(record, bytes.into()).await?;
        check(store, record, &key).await?;
    }
    let state = if apply { State::Restored } else { State::Restorable };
    Ok(Restored::new(record, state, Some(key), format!("{wrong}; the backup has its bytes")))
}
