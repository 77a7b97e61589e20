//! What both ledgers do with their rows.

use std::future::Future;
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Head};
use futures::StreamExt;
use tokio::sync::mpsc;

use super::plan::hash;
use super::{RecordStream, RegisteredDevice};
use crate::error::StoreError;
use crate::ingest::verify::{DeviceKeys, RegisteredKey, Registry};

/// Records handed on at a time.
pub(super) const CHUNK: usize = 4096;

/// Where the reading task puts its chunks.
pub(super) type Chunks = mpsc::Sender<Result<Vec<AuditRecord>, StoreError>>;

/// A stream fed by a task that begins when the stream is first polled and runs a few chunks ahead.
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

/// A bound of a filter as a column can be compared with.
pub(super) fn column(bound: Option<u64>, none: u64) -> i64 {
    i64::try_from(bound.unwrap_or(none)).unwrap_or(i64::MAX)
}

/// A link of two columns.
pub(super) fn head(sequence: i64, record_hash: &[u8]) -> Head {
    Head { sequence: sequence.cast_unsigned(), hash: hash(record_hash) }
}

/// A device with one of its keys.
pub(super) struct DeviceRow {
    pub(super) device_id: String,
    pub(super) head: Head,
    pub(super) start: Head,
    pub(super) key: RegisteredKey,
}

/// Rows by device and key, put together.
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
    pub(super) key: RegisteredKey,
}

/// Rows by device and key, put together.
pub(super) fn registry(rows: Vec<KeysRow>) -> Registry {
    rows.chunk_by(|one, other| one.device_id == other.device_id)
        .filter_map(|rows| {
            let KeysRow { device_id, version, .. } = rows.first()?;
            let keys = rows.iter().map(|row| row.key).collect();
            Some((Arc::clone(device_id), DeviceKeys { version: *version, keys }))
        })
        .collect()
}
