//! Restores a payload: in S3, of all versions under its object reference, the one that the record commits to; in a
//! directory, from a copy of it.

use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Hash};
use edgesentry_formats::{PayloadFolder, content_path};
use edgesentry_rs::PayloadStore;
use edgesentry_rs::ingest::verify::MAX_PAYLOAD_BYTES;
use edgesentry_rs::ledger::ErasureRow;
use edgesentry_rs::payload::{Folder, S3, Version};
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
    Restored {
        device_id: record.device_id.clone(),
        sequence: record.sequence,
        object_ref: record.object_ref.clone(),
        key: None,
        state: State::Erased,
        version: None,
        evidence: format!(
            "it was erased ({leaf} of the log) and is not restored; reason: {}",
            erasure.reason
        ),
    }
}

/// Searches the payload of a record and, with `apply`, stores it on top of the existing versions. Nothing is ever
/// deleted or overwritten: the deletion or the other bytes stay as versions, as evidence.
///
/// Versions under the name of the record come first, then those under its object reference, where earlier releases
/// stored it. The payload is stored under the key of the version.
///
/// # Errors
/// A request to the store fails.
pub async fn restore(store: &Arc<S3>, record: &AuditRecord, apply: bool) -> Result<Restored, Error> {
    let answer = |state, version: Option<&Version>, evidence: String| Restored {
        device_id: record.device_id.clone(),
        sequence: record.sequence,
        object_ref: record.object_ref.clone(),
        key: version.map(|version| version.key.clone()),
        state,
        version: version.map(|version| version.id.clone()),
        evidence,
    };
    let there = store.get(record).await?;
    let wrong = match &there {
        Some(bytes) if Hash::of(bytes) == record.payload_hash => {
            return Ok(answer(State::Intact, None, "a plain read returns it".to_owned()));
        }
        Some(bytes) => format!("other bytes are there: BLAKE3 {}", Hash::of(bytes)),
        None => "it is deleted or was never there".to_owned(),
    };
    let versions = store.versions(record).await?;
    let mut looked_at = 0;
    for version in versions.iter().filter(|version| !version.deleted) {
        looked_at += 1;
        let Some(bytes) = store.version(version).await? else { continue };
        if Hash::of(&bytes) != record.payload_hash {
            continue;
        }
        let evidence = format!("{wrong}; version {} of {} has its bytes", version.id, versions.len());
        if !apply {
            return Ok(answer(State::Restorable, Some(version), evidence));
        }
        if there.is_some() && version.id.is_empty() {
            let message =
                format!("{}: versioning is off, so nothing is written over {:?}", store.place(), version.key);
            return Err(Error::Config(message));
        }
        store.put_on_top(&version.key, bytes).await?;
        let back = store.get(record).await?.is_some_and(|bytes| Hash::of(&bytes) == record.payload_hash);
        if !back {
            let problem = format!("{:?} was written, but reads back differently", version.key);
            return Err(Error::Server { server: store.place().to_owned(), problem });
        }
        return Ok(answer(State::Restored, Some(version), evidence));
    }
    Ok(answer(State::Lost, None, format!("{wrong}; none of {looked_at} versions has its bytes")))
}

/// Searches the payload of a record in a copy of the payload directory and, with `apply`, stores it in the directory under
/// the name of the record. Nothing is ever deleted or overwritten.
///
/// Both may have files, packs, and the names of earlier releases.
pub async fn restore_from(
    backup: &Arc<PayloadFolder>,
    store: &Folder,
    record: &AuditRecord,
    apply: bool,
) -> Result<Restored, Error> {
    let answer = |state, key: Option<String>, evidence: String| Restored {
        device_id: record.device_id.clone(),
        sequence: record.sequence,
        object_ref: record.object_ref.clone(),
        key,
        state,
        version: None,
        evidence,
    };
    let wrong = match store.get(record).await? {
        Some(bytes) if Hash::of(&bytes) == record.payload_hash => {
            return Ok(answer(State::Intact, None, "a plain read returns it".to_owned()));
        }
        Some(bytes) => format!("other bytes are there: BLAKE3 {}", Hash::of(&bytes)),
        None => "it is deleted or was never there".to_owned(),
    };
    let (from, wanted) = (Arc::clone(backup), record.clone());
    let read = move || {
        from.read(&wanted, MAX_PAYLOAD_BYTES as u64).map_err(|error| Error::Unusable {
            problem: "the backup cannot be read".to_owned(),
            source: error.into(),
        })
    };
    let found = blocking(read).await?;
    let Some(bytes) = found else {
        return Ok(answer(State::Lost, None, format!("{wrong}; the backup lacks it")));
    };
    if Hash::of(&bytes) != record.payload_hash {
        return Ok(answer(State::Lost, None, format!("{wrong}; the backup has other bytes, too")));
    }
    let (key, evidence) = (Some(content_path(record)), format!("{wrong}; the backup has its bytes"));
    if !apply {
        return Ok(answer(State::Restorable, key, evidence));
    }
    store.restore(record, bytes.into()).await?;
    if store.get(record).await?.is_none_or(|bytes| Hash::of(&bytes) != record.payload_hash) {
        let problem = format!("{key:?} was written, but reads back differently");
        return Err(Error::Server { server: store.place().to_owned(), problem });
    }
    Ok(answer(State::Restored, key, evidence))
}
