//! Reads of a ledger for people: pages of devices, records and decisions, newest first, and searches.
//!
//! Every statement finds its rows by an index that ingest has anyway, and looks at a bounded number of rows: a filter
//! without an index ends after that many, and returns the place from which the next call goes on.

use async_trait::async_trait;
use edgesentry_chain::{AuditRecord, Hash, Head};

use super::LogEntry;
use super::log::{Failure, LogDatabase, Row, Statements, Value, Work, read_row};
use crate::admission::OutcomeKind;
use crate::error::StoreError;

/// The devices that a page with a filter looks at.
pub const SCANNED_DEVICES: u64 = 20_000;
/// The entries of the operation log that a page with a filter looks at.
pub const SCANNED_ENTRIES: u64 = 50_000;
/// The records that one step of a search looks at.
pub const SCANNED_RECORDS: u64 = 100_000;
/// The devices that a census counts.
pub const COUNTED_DEVICES: u64 = 5_000_000;

/// A part of the rows that were asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part<T, N> {
    /// The rows that were found.
    pub found: Vec<T>,
    /// The place after which the next part begins; `None` at the end.
    pub next: Option<N>,
}

/// A device and its progress.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceRow {
    /// The device.
    pub device_id: String,
    /// The last link in the ledger; the start of the chain before the first record.
    pub head: Head,
    /// The sequence after which the ledger begins.
    pub start_sequence: u64,
    /// When the last record was written, Unix milliseconds; before the first record, when the device was registered.
    pub moved_at_ms: u64,
}

impl DeviceRow {
    /// Returns true if the ledger has a record of the device.
    pub fn has_records(&self) -> bool {
        self.head.sequence > self.start_sequence
    }
}

/// A selection of devices, by device id.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DeviceQuery {
    /// The first device id.
    pub from: String,
    /// The last device of the part before.
    pub after: Option<String>,
    /// Only devices that have sent nothing since this time, Unix milliseconds.
    pub silent_since_ms: Option<u64>,
    /// The maximum number of devices.
    pub limit: u32,
}

/// The devices by the time of their last record.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Census {
    /// Devices, at most [`COUNTED_DEVICES`].
    pub devices: u64,
    /// Devices without a record.
    pub never: u64,
    /// Devices with a record in the last minute.
    pub minute: u64,
    /// Devices with a record in the last hour, but not in the last minute.
    pub hour: u64,
    /// Devices with a record in the last day, but not in the last hour.
    pub day: u64,
}

impl Census {
    /// Returns the number of devices whose last record is older than a day.
    pub fn older(&self) -> u64 {
        self.devices.saturating_sub(self.never + self.minute + self.hour + self.day)
    }
}

/// A selection of entries of the operation log, newest first.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct EntryQuery {
    /// Only this device.
    pub device_id: Option<String>,
    /// Only this outcome.
    pub outcome: Option<OutcomeKind>,
    /// Only rejections of this reason code.
    pub reason: Option<String>,
    /// Only this record hash.
    pub record_hash: Option<Hash>,
    /// Only entries before this id.
    pub before_id: Option<u64>,
    /// The maximum number of entries.
    pub limit: u32,
}

/// A record as the ledger has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordRow {
    /// The record.
    pub record: AuditRecord,
    /// The hash that the ledger keeps beside it.
    pub hash: Hash,
    /// When it was written, Unix milliseconds.
    pub received_at_ms: u64,
}

/// The object of a search.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Needle {
    /// A record hash or a payload hash.
    Hash(Hash),
    /// The beginning of an object reference.
    ObjectRef(String),
}

/// The views of a ledger.
#[async_trait]
pub trait LedgerViews: Send + Sync + 'static {
    /// Returns devices by device id; a filter looks at [`SCANNED_DEVICES`].
    async fn device_part(&self, query: &DeviceQuery) -> Result<Part<DeviceRow, String>, StoreError>;

    /// Counts the devices by the time of their last record. Reads the heads of all of them.
    async fn census(&self, now_ms: u64) -> Result<Census, StoreError>;

    /// Returns entries of the operation log, without the evidence of rejections; a filter without an index looks at
    /// [`SCANNED_ENTRIES`].
    async fn entry_part(&self, query: &EntryQuery) -> Result<Part<LogEntry, u64>, StoreError>;

    /// Returns the records of a device before a sequence, newest first.
    async fn records_before(
        &self,
        device_id: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<RecordRow>, StoreError>;

    /// Looks for records among the next [`SCANNED_RECORDS`], by device and sequence.
    async fn search(
        &self,
        needle: &Needle,
        after: Option<(String, u64)>,
        limit: u32,
    ) -> Result<Part<RecordRow, (String, u64)>, StoreError>;
}

#[async_trait]
impl<D: LogDatabase> LedgerViews for D {
    async fn device_part(&self, query: &DeviceQuery) -> Result<Part<DeviceRow, String>, StoreError> {
        let query = query.clone();
        let work: Work<Part<DeviceRow, String>> = Box::new(move |s| Box::pin(device_part(s, query)));
        read_row(self, "read a page of devices", work).await
    }

    async fn census(&self, now_ms: u64) -> Result<Census, StoreError> {
        let work: Work<Census> = Box::new(move |s| Box::pin(census(s, now_ms)));
        read_row(self, "count the devices", work).await
    }

    async fn entry_part(&self, query: &EntryQuery) -> Result<Part<LogEntry, u64>, StoreError> {
        let query = query.clone();
        let work: Work<Part<LogEntry, u64>> = Box::new(move |s| Box::pin(entry_part(s, query)));
        read_row(self, "read a page of the operation log", work).await
    }

    async fn records_before(
        &self,
        device_id: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<RecordRow>, StoreError> {
        let values = [device_id.to_owned().into(), upper(before), Value::Integer(limit.into())];
        let work: Work<Vec<RecordRow>> = Box::new(move |s| {
            Box::pin(async move {
                let statement = format!(
                    "SELECT {} FROM audit_records WHERE device_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3",
                    columns(&RECORD)
                );
                Ok(s.select(&statement, &values)
                    .await?
                    .iter()
                    .map(|row| record(row))
                    .collect::<Result<_, _>>()?)
            })
        });
        read_row(self, "read the records of a device", work).await
    }

    async fn search(
        &self,
        needle: &Needle,
        after: Option<(String, u64)>,
        limit: u32,
    ) -> Result<Part<RecordRow, (String, u64)>, StoreError> {
        let needle = needle.clone();
        let work: Work<Part<RecordRow, (String, u64)>> =
            Box::new(move |s| Box::pin(search(s, needle, after, limit)));
        read_row(self, "search the records", work).await
    }
}

/// A column, and whether its values are of any length.
type Column = (&'static str, bool);

const DEVICE: [Column; 5] = [
    ("device_id", true),
    ("sequence", false),
    ("record_hash", true),
    ("start_sequence", false),
    ("moved_at_ms", false),
];
const ENTRY: [Column; 9] = [
    ("id", false),
    ("at_ms", false),
    ("device_id", true),
    ("sequence", false),
    ("outcome", true),
    ("reason", true),
    ("record_hash", true),
    ("expected", true),
    ("actual", true),
];
const RECORD: [Column; 9] = [
    ("device_id", true),
    ("sequence", false),
    ("timestamp_ms", false),
    ("payload_hash", true),
    ("signature", true),
    ("prev_record_hash", true),
    ("object_ref", true),
    ("record_hash", true),
    ("received_at_ms", false),
];

/// Returns the columns of a SELECT; values that are longer than any that a ledger writes are NULL.
fn columns(columns: &[Column]) -> String {
    let column = |(name, bounded): &Column| match bounded {
        true => {
            format!("CASE WHEN octet_length({name}) <= {} THEN {name} END", super::stream::MAX_TEXT_BYTES)
        }
        false => (*name).to_owned(),
    };
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// Returns the names of columns, for the rows that a filter looks at.
fn names(columns: &[Column]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Returns an upper bound of a number; by default it excludes nothing that a ledger can have.
fn upper(before: Option<u64>) -> Value {
    before.map_or(Value::Integer(i64::MAX), Value::number)
}

async fn device_part(s: &mut dyn Statements, query: DeviceQuery) -> Result<Part<DeviceRow, String>, Failure> {
    let DeviceQuery { from, after, silent_since_ms, limit } = query;
    let most = u64::from(limit);
    // Without a filter, each row that is looked at is one of the page.
    let scanned = if silent_since_ms.is_some() { SCANNED_DEVICES } else { most + 1 };
    let inner = "FROM chain_heads WHERE device_id >= $1 AND device_id > $2 ORDER BY device_id";
    let place: [Value; 2] = [from.into(), after.unwrap_or_default().into()];
    let values = [
        place[0].clone(),
        place[1].clone(),
        Value::number(scanned),
        upper(silent_since_ms),
        Value::number(most + 1),
    ];
    let statement = format!(
        "SELECT {} FROM (SELECT {} {inner} LIMIT $3) AS h WHERE moved_at_ms < $4 ORDER BY device_id LIMIT $5",
        columns(&DEVICE),
        names(&DEVICE),
    );
    let rows = s.select(&statement, &values).await?;
    let mut found = rows
        .iter()
        .map(|row| {
            let row = Row::new("chain_heads", row);
            Ok(DeviceRow {
                device_id: row.text(0)?.to_owned(),
                head: Head { sequence: row.number(1)?, hash: Hash(row.array(2)?) },
                start_sequence: row.number(3)?,
                moved_at_ms: row.number(4)?,
            })
        })
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    let next = if found.len() as u64 > most {
        found.truncate(limit as usize);
        found.last().map(|device| device.device_id.clone())
    } else if silent_since_ms.is_some() {
        let statement = format!("SELECT {} {inner} LIMIT 1 OFFSET $3", columns(&DEVICE[..1]));
        let [from, after] = place;
        let rows = s.select(&statement, &[from, after, Value::number(scanned - 1)]).await?;
        rows.first().map(|row| Row::new("chain_heads", row).text(0).map(str::to_owned)).transpose()?
    } else {
        None
    };
    Ok(Part { found, next })
}

async fn census(s: &mut dyn Statements, now_ms: u64) -> Result<Census, Failure> {
    let sent = "sequence > start_sequence AND moved_at_ms";
    let statement = format!(
        "SELECT count(*), count(*) FILTER (WHERE sequence <= start_sequence),
                count(*) FILTER (WHERE {sent} >= $1),
                count(*) FILTER (WHERE {sent} >= $2 AND moved_at_ms < $1),
                count(*) FILTER (WHERE {sent} >= $3 AND moved_at_ms < $2)
         FROM (SELECT sequence, start_sequence, moved_at_ms FROM chain_heads LIMIT $4) AS h"
    );
    let since = |seconds: u64| Value::number(now_ms.saturating_sub(seconds * 1000));
    let values = [since(60), since(3600), since(86_400), Value::number(COUNTED_DEVICES)];
    let rows = s.select(&statement, &values).await?;
    let Some(row) = rows.first() else { return Ok(Census::default()) };
    let row = Row::new("chain_heads", row);
    Ok(Census {
        devices: row.number(0)?,
        never: row.number(1)?,
        minute: row.number(2)?,
        hour: row.number(3)?,
        day: row.number(4)?,
    })
}

async fn entry_part(s: &mut dyn Statements, query: EntryQuery) -> Result<Part<LogEntry, u64>, Failure> {
    let EntryQuery { device_id, outcome, reason, record_hash, before_id, limit } = query;
    let most = u64::from(limit);
    // The first condition finds its rows by an index, if it is about a device or a reason; the others look at them.
    let has_index = device_id.is_some() || reason.is_some();
    let mut values = vec![upper(before_id)];
    let mut place = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    let mut conditions = Vec::new();
    if let Some(device_id) = device_id {
        conditions.push(format!("device_id = {}", place(device_id.into())));
    }
    if let Some(reason) = reason {
        conditions.push(format!("outcome = 'rejected' AND reason = {}", place(reason.into())));
    }
    if let Some(outcome) = outcome {
        conditions.push(format!("outcome = {}", place(outcome.as_str().to_owned().into())));
    }
    if let Some(hash) = record_hash {
        conditions.push(format!("record_hash = {}", place(Value::hash(hash))));
    }
    let indexed = if has_index { format!(" AND {}", conditions.remove(0)) } else { String::new() };
    let scanned = if conditions.is_empty() { most + 1 } else { SCANNED_ENTRIES };
    let inner = format!("FROM operation_logs WHERE id < $1{indexed} ORDER BY id DESC");
    let filter = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
    let statement = format!(
        "SELECT {} FROM (SELECT {} {inner} LIMIT {scanned}) AS l WHERE {filter} ORDER BY id DESC LIMIT {}",
        columns(&ENTRY),
        names(&ENTRY),
        most + 1
    );
    let rows = s.select(&statement, &values).await?;
    let mut found = rows.iter().map(|row| entry(row)).collect::<Result<Vec<_>, _>>()?;
    let next = if found.len() as u64 > most {
        found.truncate(limit as usize);
        found.last().map(|entry| entry.id)
    } else if scanned > most + 1 {
        let statement = format!("SELECT id {inner} LIMIT 1 OFFSET {}", scanned - 1);
        // Only the values of the inner conditions, which come first.
        let values = &values[..if has_index { 2 } else { 1 }];
        let rows = s.select(&statement, values).await?;
        rows.first().map(|row| Row::new("operation_logs", row).number(0)).transpose()?
    } else {
        None
    };
    Ok(Part { found, next })
}

fn entry(row: &[Value]) -> Result<LogEntry, sqlx::Error> {
    let row = Row::new("operation_logs", row);
    let text = |index: usize| (!row.is_null(index)).then(|| row.text(index).map(str::to_owned)).transpose();
    Ok(LogEntry {
        id: row.number(0)?,
        at_ms: row.number(1)?,
        device_id: row.text(2)?.to_owned(),
        sequence: row.optional_number(3)?,
        outcome: row.text(4)?.parse().map_err(|_| row.wrong(4))?,
        reason: text(5)?,
        record_hash: Hash(row.array(6)?),
        expected: text(7)?,
        actual: text(8)?,
        evidence: None,
    })
}

fn record(row: &[Value]) -> Result<RecordRow, sqlx::Error> {
    let row = Row::new("audit_records", row);
    Ok(RecordRow {
        record: AuditRecord {
            device_id: row.text(0)?.to_owned(),
            sequence: row.number(1)?,
            timestamp_ms: row.number(2)?,
            payload_hash: Hash(row.array(3)?),
            signature: row.array(4)?,
            prev_record_hash: Hash(row.array(5)?),
            object_ref: row.text(6)?.to_owned(),
        },
        hash: Hash(row.array(7)?),
        received_at_ms: row.number(8)?,
    })
}

async fn search(
    s: &mut dyn Statements,
    needle: Needle,
    after: Option<(String, u64)>,
    limit: u32,
) -> Result<Part<RecordRow, (String, u64)>, Failure> {
    let most = u64::from(limit);
    let (device_id, sequence) = after.unwrap_or_default();
    let place = [Value::from(device_id), Value::number(sequence)];
    let (filter, value) = match needle {
        Needle::Hash(hash) => ("record_hash = $3 OR payload_hash = $3", Value::hash(hash)),
        Needle::ObjectRef(text) => ("substr(object_ref, 1, length($3)) = $3", Value::Text(text)),
    };
    let inner = "FROM audit_records WHERE (device_id, sequence) > ($1, $2) ORDER BY device_id, sequence";
    let statement = format!(
        "SELECT {} FROM (SELECT {} {inner} LIMIT {SCANNED_RECORDS}) AS r WHERE {filter}
         ORDER BY device_id, sequence LIMIT {}",
        columns(&RECORD),
        names(&RECORD),
        most + 1
    );
    let values = [place[0].clone(), place[1].clone(), value];
    let rows = s.select(&statement, &values).await?;
    let mut found = rows.iter().map(|row| record(row)).collect::<Result<Vec<_>, _>>()?;
    let next = if found.len() as u64 > most {
        found.truncate(limit as usize);
        found.last().map(|row| (row.record.device_id.clone(), row.record.sequence))
    } else {
        let statement =
            format!("SELECT {} {inner} LIMIT 1 OFFSET {}", columns(&RECORD[..2]), SCANNED_RECORDS - 1);
        let rows = s.select(&statement, &place).await?;
        let row = rows.first().map(|row| {
            let row = Row::new("audit_records", row);
            Ok::<_, sqlx::Error>((row.text(0)?.to_owned(), row.number(1)?))
        });
        row.transpose()?
    };
    Ok(Part { found, next })
}
