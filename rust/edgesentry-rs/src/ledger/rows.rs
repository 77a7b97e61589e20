//! Rows of the tables as values, for both databases. Other programs can change the tables, and SQLite stores any type
//! in any column: a value that no ledger writes is an error that names its place, and is not loaded if it is large,
//! except under the lock of an append.

use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Hash, Head, PublicKey, RingKey, Scheme};
use edgesentry_device::UnknownOutcome;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::plan::Locked;
use super::stream::{self, malformed};
use super::{LogEntry, Revocation};
use crate::admission::{Chain, OutcomeKind, RegisteredKey};
use crate::error::BoxError;

/// A column: its name and type.
pub(super) type Column = (&'static str, Kind);

/// The type of a column.
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
/// A locked head.
const LOCKED: [Column; 4] =
    [("device_id", Text), ("sequence", Integer), ("record_hash", Bytes), ("keys_version", Integer)];
/// A record that the ledger already holds.
const HELD: [Column; 3] = [("device_id", Text), ("sequence", Integer), ("record_hash", Bytes)];
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
pub(super) const REVOCATION: [Column; 4] =
    [("device_id", Text), ("revoked_from", Integer), ("reason", Text), ("at_ms", Integer)];
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

/// The columns of a row.
pub(super) trait Columns {
    fn integer(&self, index: usize) -> Result<Option<i64>, sqlx::Error>;
    fn text(&self, index: usize) -> Result<Option<&str>, sqlx::Error>;
    fn bytes(&self, index: usize) -> Result<Option<&[u8]>, sqlx::Error>;
}

impl Columns for SqliteRow {
    fn integer(&self, index: usize) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(index)
    }

    fn text(&self, index: usize) -> Result<Option<&str>, sqlx::Error> {
        self.try_get(index)
    }

    fn bytes(&self, index: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        self.try_get(index)
    }
}

/// A row with the names of its columns.
struct Named<'r, R> {
    row: &'r R,
    columns: &'static [Column],
}

impl<'r, R: Columns> Named<'r, R> {
    fn integer(&self, index: usize) -> Result<i64, sqlx::Error> {
        self.there(index, self.optional_integer(index)?)
    }

    fn optional_integer(&self, index: usize) -> Result<Option<i64>, sqlx::Error> {
        self.typed(index, self.row.integer(index))
    }

    fn text(&self, index: usize) -> Result<&'r str, sqlx::Error> {
        self.there(index, self.typed(index, self.row.text(index))?)
    }

    fn optional_text(&self, index: usize) -> Result<Option<String>, sqlx::Error> {
        Ok(self.typed(index, self.row.text(index))?.map(str::to_owned))
    }

    fn bytes(&self, index: usize) -> Result<&'r [u8], sqlx::Error> {
        self.there(index, self.optional_bytes(index)?)
    }

    fn optional_bytes(&self, index: usize) -> Result<Option<&'r [u8]>, sqlx::Error> {
        self.typed(index, self.row.bytes(index))
    }

    fn typed<T>(&self, index: usize, value: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let problem = "is of another type, or too long";
        value.map_err(|_| malformed(&self.place(), self.columns[index].0, problem))
    }

    fn there<T>(&self, index: usize, value: Option<T>) -> Result<T, sqlx::Error> {
        value.ok_or_else(|| malformed(&self.place(), self.columns[index].0, "is NULL, or too long"))
    }

    fn number(&self, index: usize) -> Result<u64, sqlx::Error> {
        stream::number(self.integer(index)?)
            .ok_or_else(|| malformed(&self.place(), self.columns[index].0, "is negative"))
    }

    fn array<const N: usize>(&self, index: usize) -> Result<[u8; N], sqlx::Error> {
        let bytes = self.bytes(index)?;
        let problem = || format!("has {} bytes, not {N}", bytes.len());
        bytes.try_into().map_err(|_| malformed(&self.place(), self.columns[index].0, &problem()))
    }

    fn outcome(&self, index: usize) -> Result<OutcomeKind, sqlx::Error> {
        self.text(index)?.parse().map_err(|error: UnknownOutcome| {
            malformed(&self.place(), self.columns[index].0, &format!("cannot be read: {error}"))
        })
    }

    fn head(&self, index: usize) -> Result<Head, sqlx::Error> {
        Ok(Head { sequence: self.number(index)?, hash: Hash(self.array(index + 1)?) })
    }

    /// Returns the first two columns, which identify a row.
    fn place(&self) -> String {
        let value = |index: usize| {
            let text = self.row.text(index).ok().flatten();
            let text = text.map(|text| format!("{:?}", text.chars().take(64).collect::<String>()));
            text.or_else(|| Some(self.row.integer(index).ok()??.to_string()))
        };
        let named = |index: usize| {
            let value = value(index).unwrap_or_else(|| "?".to_owned());
            format!("{} {value}", self.columns[index].0.trim_start_matches("h."))
        };
        format!("{}, {}", named(0), named(1))
    }
}

pub(super) fn record(row: &impl Columns) -> Result<AuditRecord, sqlx::Error> {
    let row = Named { row, columns: &RECORD };
    Ok(AuditRecord {
        device_id: row.text(0)?.to_owned(),
        sequence: row.number(1)?,
        timestamp_ms: row.number(2)?,
        payload_hash: Hash(row.array(3)?),
        signature: row.array(4)?,
        prev_record_hash: Hash(row.array(5)?),
        object_ref: row.text(6)?.to_owned(),
    })
}

/// Reads a head that the transaction has locked.
pub(super) fn locked(row: &impl Columns) -> Result<(Arc<str>, Locked), sqlx::Error> {
    let row = Named { row, columns: &LOCKED };
    let locked = Locked { chain: Chain { head: row.head(1)? }, keys_version: row.integer(3)? };
    Ok((row.text(0)?.into(), locked))
}

/// Reads the place of a record that the ledger already holds, and its hash.
pub(super) fn held(row: &impl Columns) -> Result<((Arc<str>, u64), Hash), sqlx::Error> {
    let row = Named { row, columns: &HELD };
    Ok(((row.text(0)?.into(), row.number(1)?), Hash(row.array(2)?)))
}

pub(super) fn head(row: &impl Columns) -> Result<(Arc<str>, Head), sqlx::Error> {
    let row = Named { row, columns: &HEAD };
    Ok((row.text(0)?.into(), row.head(1)?))
}

pub(super) fn keys(row: &impl Columns) -> Result<stream::KeysRow, sqlx::Error> {
    let row = Named { row, columns: &KEYS };
    let device_id = row.text(0)?;
    Ok(stream::KeysRow {
        device_id: device_id.into(),
        version: row.integer(1)?,
        head: row.head(6)?,
        key: key_at(&row, device_id, 2)?,
    })
}

pub(super) fn device(row: &impl Columns) -> Result<stream::DeviceRow, sqlx::Error> {
    let row = Named { row, columns: &DEVICE };
    let device_id = row.text(0)?.to_owned();
    let key = key_at(&row, &device_id, 5)?;
    Ok(stream::DeviceRow { device_id, head: row.head(1)?, start: row.head(3)?, key })
}

fn key_at(
    row: &Named<'_, impl Columns>,
    device_id: &str,
    index: usize,
) -> Result<RegisteredKey, sqlx::Error> {
    let revoked_from = row.optional_integer(index + 3)?;
    key(device_id, row.bytes(index)?, row.text(index + 1)?, row.integer(index + 2)?, revoked_from)
}

pub(super) fn revocation(row: &impl Columns) -> Result<Revocation, sqlx::Error> {
    let row = Named { row, columns: &REVOCATION };
    Ok(Revocation {
        device_id: row.text(0)?.to_owned(),
        from: row.number(1)?,
        reason: row.text(2)?.parse().unwrap_or_default(),
        at_ms: row.number(3)?,
    })
}

pub(super) fn log_entry(row: &impl Columns) -> Result<LogEntry, sqlx::Error> {
    let row = Named { row, columns: &LOG };
    Ok(LogEntry {
        id: row.number(0)?,
        at_ms: row.number(1)?,
        device_id: row.text(2)?.to_owned(),
        sequence: row.optional_integer(3)?.map(i64::cast_unsigned),
        outcome: row.outcome(4)?,
        reason: row.optional_text(5)?,
        record_hash: Hash(row.array(6)?),
        expected: row.optional_text(7)?,
        actual: row.optional_text(8)?,
        evidence: row.optional_bytes(9)?.map(<[u8]>::to_vec),
    })
}

/// Decodes a key; it was checked when it was registered, so a key that fails now was changed by another program.
fn key(
    device_id: &str,
    public_key: &[u8],
    scheme: &str,
    valid_from: i64,
    revoked_from: Option<i64>,
) -> Result<RegisteredKey, sqlx::Error> {
    let decode =
        |source: BoxError| sqlx::Error::Decode(format!("the key of device {device_id:?}: {source}").into());
    let bytes = public_key.try_into().map_err(|_| decode("its length is not 32 bytes".into()))?;
    let key = PublicKey::from_bytes(bytes).map_err(|error| decode(error.into()))?;
    let scheme: Scheme = scheme.parse().map_err(|error: edgesentry_chain::KeyError| decode(error.into()))?;
    let key = RingKey { key, scheme, valid_from: valid_from.cast_unsigned() };
    Ok(RegisteredKey { key, revoked_from: revoked_from.map(i64::cast_unsigned) })
}
