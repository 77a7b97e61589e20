//! Erasure of the payloads of records that a recovery has replaced by those of the log.
//!
//! The log never had these records, so no leaf is due, and no verification misses their payloads. A write-once file beside
//! the lock has the reason.

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Hash};
use edgesentry_formats::content_path;
use edgesentry_formats::times::now_ms;
use edgesentry_log::Leaf;
use futures::TryStreamExt;
use serde_json::json;

use super::erase::{check_reason, locked};
use super::{EraseError, Eraser};
use crate::ledger::{Filter, LOG_CONFLICT, LogQuery};
use crate::objects::Write;

/// Where the lock keeps the reasons.
const FOLDER: &str = "log/erased/";

/// The erased payload of a record that the log replaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErasedReplaced {
    /// The device.
    pub device_id: String,
    /// The sequence of the replaced record.
    pub sequence: u64,
    /// BLAKE3 of the payload.
    pub payload_hash: Hash,
    /// The versions that the store had.
    pub versions: u64,
    /// The reason why the store keeps some of them.
    pub problem: Option<String>,
}

impl Eraser {
    /// Erases the payload of a record that a recovery has moved to the operation log. Repeating the call continues.
    ///
    /// # Errors
    /// [`EraseError::NotReplaced`], [`EraseError::SamePayload`], [`EraseError::Reason`]; a store fails.
    pub async fn erase_replaced(
        &self,
        record_hash: Hash,
        reason: &str,
    ) -> Result<ErasedReplaced, EraseError> {
        check_reason(reason)?;
        self.log.opened().await?;
        let record = self.replaced(record_hash).await?.ok_or(EraseError::NotReplaced { record_hash })?;
        let AuditRecord { device_id, sequence, payload_hash, .. } = &record;
        let filter = Filter {
            devices: vec![device_id.clone()],
            from_sequence: Some(*sequence),
            to_sequence: Some(*sequence),
            ..Filter::default()
        };
        let there: Vec<AuditRecord> = self.ledger.records(&filter).try_concat().await?;
        let is_there = there.iter().any(|there| there.payload_hash == *payload_hash);
        if is_there || self.is_of_log(&record).await? {
            return Err(EraseError::SamePayload { device_id: device_id.clone(), sequence: *sequence });
        }
        let erased = json!({
            "code": "replaced_erased",
            "origin": self.log.origin(),
            "device_id": device_id,
            "sequence": sequence,
            "record_hash": record_hash.to_string(),
            "payload_hash": payload_hash.to_string(),
            "reason": reason,
            "at_ms": now_ms(),
        });
        let (key, bytes) = (format!("{FOLDER}{record_hash}.json"), Bytes::from(erased.to_string()));
        self.log.lock.objects().put(&key, bytes, Write::IfAbsent).await?;
        let name = content_path(&record);
        let versions = self.payloads.versions(&record).await?;
        let versions = versions.iter().filter(|version| version.key == name && !version.deleted).count();
        let left = self.payloads.erase(&record, &name).await?;
        let problem = locked(&left.locked).map(|(problem, _)| problem);
        let (device_id, sequence, payload_hash) = (device_id.clone(), *sequence, *payload_hash);
        Ok(ErasedReplaced { device_id, sequence, payload_hash, versions: versions as u64, problem })
    }

    /// Returns true if the log has a record with the same payload in the place of a record: the payload has the same name.
    async fn is_of_log(&self, record: &AuditRecord) -> Result<bool, EraseError> {
        let last = self.log.check_last().await?;
        let positions =
            self.log.tables.positions(&record.device_id, record.sequence, record.sequence).await?;
        for index in positions.into_iter().filter(|index| *index < last.size) {
            match self.leaf(index, &last).await? {
                Leaf::Record(logged) if logged.payload_hash != record.payload_hash => {}
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Returns a record of the operation log that the log replaced. Its evidence must have the hash.
    async fn replaced(&self, record_hash: Hash) -> Result<Option<AuditRecord>, EraseError> {
        let mut query = LogQuery { reason: Some(LOG_CONFLICT.to_owned()), ..LogQuery::default() };
        loop {
            let entries = self.ledger.operation_log(&query).await?;
            let Some(last) = entries.last() else { return Ok(None) };
            query.after_id = last.id;
            let found =
                entries.into_iter().filter(|entry| entry.record_hash == record_hash).find_map(|entry| {
                    let record = AuditRecord::from_canonical_bytes(&entry.evidence?).ok()?;
                    (record.hash() == record_hash).then_some(record)
                });
            if found.is_some() {
                return Ok(found);
            }
        }
    }
}
