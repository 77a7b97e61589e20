//! Rows of the tables as values. SQLite keeps any type in any column, and a file can be changed by other programs: a value
//! that no ledger writes is an error that names its place, and is not loaded if it is large.

use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Hash, Head};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::super::LogEntry;
use super::super::stream::{self, MAX_EVIDENCE_BYTES, MAX_TEXT_BYTES, malformed};
use crate::ingest::verify::RegisteredKey;
use crate::sql::key;

/// A column: its name, and what it holds.
pub(super) type Column = (&'static str, Kind);

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
    Bytes,
    Evidence,
}

use Kind::{Bytes, Evidence, Integer, Text};

pub(super) const RECORD: [Column; 7] = [
    ("device_id", Text),
    ("sequence", Integer),
    ("timestamp_ms", Integer),
    ("payload_hash", Bytes),
    ("signature", Bytes),
    ("prev_record_hash", Bytes),
    ("object_ref", Text),
];
pub(super) const HEAD: [Column; 3] =
    [("h.device_id", Text), ("h.sequence", Integer), ("h.record_hash", Bytes)];
pub(super) const KEYS: [Column; 8] = [
    ("h.device_id", Text),
    ("h.keys_version", Integer),
    ("d.public_key", Bytes),
    ("d.scheme", Text),
    ("d.valid_from", Integer),
    ("d.revoked_from", Integer),
    ("h.sequence", Integer),
    ("h.record_hash", Bytes),
];
pub(super) const DEVICE: [Column; 9] = [
    ("h.device_id", Text),
    ("h.sequence", Integer),
    ("h.record_hash", Bytes),
    ("h.start_sequence", Integer),
    ("h.start_hash", Bytes),
    ("d.public_key", Bytes),
    ("d.scheme", Text),
    ("d.valid_from", Integer),
    ("d.revoked_from", Integer),
];
pub(super) const LOG: [Column; 10] = [
    ("id", Integer),
    ("at_ms", Integer),
    ("device_id", Text),
    ("sequence", Integer),
    ("outcome", Text),
    ("reason", Text),
    ("record_hash", Bytes),
    ("expected", Text),
    ("actual", Text),
    ("evidence", Evidence),
];

/// The columns of a SELECT. A value of another type, or one that is too long, arrives as its type instead of itself.
pub(super) fn columns(columns: &[Column]) -> String {
    let column = |(name, kind): &Column| {
        let (of_type, max_bytes) = match kind {
            Integer => ("integer", MAX_TEXT_BYTES),
            Text => ("text", MAX_TEXT_BYTES),
            Bytes => ("blob", MAX_TEXT_BYTES),
            Evidence => ("blob", MAX_EVIDENCE_BYTES),
        };
        let is_good = format!("typeof({name}) = '{of_type}' AND octet_length({name}) <= {max_bytes}");
        // A marker of a type that the column cannot have.
        let marker = if *kind == Integer { "'' || " } else { "- " };
        format!(
            "CASE WHEN {name} IS NULL THEN NULL WHEN {is_good} THEN {name} ELSE {marker}octet_length({name}) END"
        )
    };
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// A row with the names of its columns.
struct Named<'r> {
    row: &'r SqliteRow,
    columns: &'static [Column],
}

impl<'r> Named<'r> {
    fn optional<T>(&self, index: usize) -> Result<Option<T>, sqlx::Error>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        let (name, _) = self.columns[index];
        let problem = "is of another type, or too long";
        self.row.try_get(index).map_err(|_| malformed(&self.place(), name, problem))
    }

    fn get<T>(&self, index: usize) -> Result<T, sqlx::Error>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        self.optional(index)?.ok_or_else(|| malformed(&self.place(), self.columns[index].0, "is NULL"))
    }

    fn number(&self, index: usize) -> Result<u64, sqlx::Error> {
        stream::number(self.get(index)?)
            .ok_or_else(|| malformed(&self.place(), self.columns[index].0, "is negative"))
    }

    fn array<const N: usize>(&self, index: usize) -> Result<[u8; N], sqlx::Error> {
        let bytes: &[u8] = self.get(index)?;
        let problem = || format!("has {} bytes, not {N}", bytes.len());
        bytes.try_into().map_err(|_| malformed(&self.place(), self.columns[index].0, &problem()))
    }

    fn head(&self, index: usize) -> Result<Head, sqlx::Error> {
        Ok(Head { sequence: self.number(index)?, hash: Hash(self.array(index + 1)?) })
    }

    /// The first two columns, which tell rows apart.
    fn place(&self) -> String {
        let value = |index: usize| {
            let text = self
                .row
                .try_get::<&str, _>(index)
                .map(|text| format!("{:?}", text.chars().take(64).collect::<String>()));
            text.or_else(|_| self.row.try_get::<i64, _>(index).map(|number| number.to_string()))
        };
        let named = |index: usize| {
            let value = value(index).unwrap_or_else(|_| "?".to_owned());
            format!("{} {value}", self.columns[index].0.trim_start_matches("h."))
        };
        format!("{}, {}", named(0), named(1))
    }
}

pub(super) fn record(row: &SqliteRow) -> Result<AuditRecord, sqlx::Error> {
    let row = Named { row, columns: &RECORD };
    Ok(AuditRecord {
        device_id: row.get(0)?,
        sequence: row.number(1)?,
        timestamp_ms: row.number(2)?,
        payload_hash: Hash(row.array(3)?),
        signature: row.array(4)?,
        prev_record_hash: Hash(row.array(5)?),
        object_ref: row.get(6)?,
    })
}

pub(super) fn head(row: &SqliteRow) -> Result<(Arc<str>, Head), sqlx::Error> {
    let row = Named { row, columns: &HEAD };
    Ok((row.get::<&str>(0)?.into(), row.head(1)?))
}

pub(super) fn keys(row: &SqliteRow) -> Result<stream::KeysRow, sqlx::Error> {
    let row = Named { row, columns: &KEYS };
    let device_id: &str = row.get(0)?;
    Ok(stream::KeysRow {
        device_id: device_id.into(),
        version: row.get(1)?,
        head: row.head(6)?,
        key: key_at(&row, device_id, 2)?,
    })
}

pub(super) fn device(row: &SqliteRow) -> Result<stream::DeviceRow, sqlx::Error> {
    let row = Named { row, columns: &DEVICE };
    let device_id: String = row.get(0)?;
    let key = key_at(&row, &device_id, 5)?;
    Ok(stream::DeviceRow { device_id, head: row.head(1)?, start: row.head(3)?, key })
}

fn key_at(row: &Named<'_>, device_id: &str, index: usize) -> Result<RegisteredKey, sqlx::Error> {
    let revoked_from: Option<i64> = row.optional(index + 3)?;
    key(device_id, row.get(index)?, row.get(index + 1)?, row.get(index + 2)?, revoked_from)
}

pub(super) fn log_entry(row: &SqliteRow) -> Result<LogEntry, sqlx::Error> {
    let row = Named { row, columns: &LOG };
    Ok(LogEntry {
        id: row.number(0)?,
        at_ms: row.number(1)?,
        device_id: row.get(2)?,
        sequence: row.optional::<i64>(3)?.map(i64::cast_unsigned),
        outcome: row.get(4)?,
        reason: row.optional(5)?,
        record_hash: Hash(row.array(6)?),
        expected: row.optional(7)?,
        actual: row.optional(8)?,
        evidence: row.optional(9)?,
    })
}
