//! Row handling that both ledgers share.

use std::future::Future;
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Head};
use futures::StreamExt;
use tokio::sync::mpsc;

use super::{RecordStream, RegisteredDevice};
use crate::admission::{DeviceKeys, RegisteredKey, Registry};
use crate::error::StoreError;

/// Records of one chunk.
pub(super) const CHUNK: usize = 4096;

/// The channel of the reading task.
pub(super) type Chunks = mpsc::Sender<Result<Vec<AuditRecord>, StoreError>>;

/// Returns a stream fed by a task that begins when the stream is first polled and reads a few chunks ahead.
pub(super) fn spawn<F>(read: impl FnOnce(Chunks) -> F + Send + 'static) -> RecordStream
where
    F: Future<Output = ()> + Send + 'static,
{
    futures::stream::once(async move {
        let (sender, receiver) = mpsc::channel(2);
        tokio::spawn(read(sender));
        futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        })
    })
    .flatten()
    .boxed()
}

/// Returns a bound of a filter as a value that a column can be compared with.
pub(super) fn column(bound: Option<u64>, none: u64) -> i64 {
    i64::try_from(bound.unwrap_or(none)).unwrap_or(i64::MAX)
}

/// The longest text or hash that is read from a column: no ledger writes a longer one.
pub(super) const MAX_TEXT_BYTES: usize = 64 << 10;
/// The same for the evidence of a rejection.
pub(super) const MAX_EVIDENCE_BYTES: usize = 16 << 20;

/// Returns the error for a value that no ledger writes.
pub(super) fn malformed(place: &str, column: &str, problem: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{place}: {column} {problem}; another program changed the tables").into())
}

/// Converts a number of a column; none if it is negative.
pub(super) fn number(value: i64) -> Option<u64> {
    u64::try_from(value).ok()
}

/// A device with one of its keys.
pub(super) struct DeviceRow {
    pub(super) device_id: String,
    pub(super) head: Head,
    pub(super) start: Head,
    pub(super) key: RegisteredKey,
}

/// Groups rows by device.
pub(super) fn devices(rows: Vec<DeviceRow>) -> Vec<RegisteredDevice> {
    let mut devices: Vec<RegisteredDevice> = Vec::new();
    for DeviceRow { device_id, head, start, key } in rows {
        match devices.last_mut() {
            Some(device) if device.device_id == device_id => device.keys.push(key),
            _ => devices.push(RegisteredDevice {
                device_id,
                keys: vec![key],
                head: (head.sequence > start.sequence).then_some(head),
                start: (start.sequence > 0).then_some(start),
            }),
        }
    }
    devices
}

/// A key with the version of its device's keys.
pub(super) struct KeysRow {
    pub(super) device_id: Arc<str>,
    pub(super) version: i64,
    pub(super) head: Head,
    pub(super) key: RegisteredKey,
}

/// Groups rows by device.
pub(super) fn registry(rows: Vec<KeysRow>) -> Registry {
    rows.chunk_by(|one, other| one.device_id == other.device_id)
        .filter_map(|rows| {
            let KeysRow { device_id, version, head, .. } = rows.first()?;
            let keys = rows.iter().map(|row| row.key).collect();
            Some((Arc::clone(device_id), DeviceKeys { version: *version, keys, head: *head }))
        })
        .collect()
}
