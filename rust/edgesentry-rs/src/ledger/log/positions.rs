//! Reads of the tables for proofs: the leaf of a record, and the heads of the log at a size.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use edgesentry_chain::{Hash, Head};
use edgesentry_log::{HeadEntry, Leaf};

use super::assign::sequence_in_tree;
use super::erasures::is_storable;
use super::{
    CHECKPOINT, CheckpointRow, Failure, LogDatabase, LogTablesError, Row, Statements, Value, Work,
    checkpoint, inconsistent, read, read_row,
};
use crate::error::StoreError;

/// Rows in one read.
const PAGE_ROWS: i64 = 8192;
/// The kind of a key leaf.
const KEY: i64 = 3;

/// The positions of records, and the heads of the log at a size.
#[async_trait]
pub trait LogPositions: Send + Sync + 'static {
    /// Returns the indexes of the leaves of the records of a device from sequence `first` to `last`, up to the first
    /// record without a position.
    async fn positions(&self, device_id: &str, first: u64, last: u64) -> Result<Vec<u64>, StoreError>;

    /// Returns the signed checkpoint of a size; `None` if the log has none.
    async fn checkpoint_of(&self, size: u64) -> Result<Option<CheckpointRow>, StoreError>;

    /// Returns the sorted entries of the heads tree at a size at which a batch ended.
    ///
    /// It takes time in proportion to the devices and to the leaves since then.
    async fn heads_at(&self, size: u64) -> Result<Vec<HeadEntry>, LogTablesError>;
}

#[async_trait]
impl<D: LogDatabase> LogPositions for D {
    async fn positions(&self, device_id: &str, first: u64, last: u64) -> Result<Vec<u64>, StoreError> {
        if !is_storable(device_id, last) {
            return Ok(Vec::new());
        }
        let device_id = device_id.to_owned();
        let work: Work<Vec<u64>> = Box::new(move |s| Box::pin(positions(s, device_id, first, last)));
        read_row(self, "read the positions of records", work).await
    }

    async fn checkpoint_of(&self, size: u64) -> Result<Option<CheckpointRow>, StoreError> {
        let work: Work<Option<CheckpointRow>> = Box::new(move |s| Box::pin(checkpoint_of(s, size)));
        read_row(self, "read a checkpoint", work).await
    }

    async fn heads_at(&self, size: u64) -> Result<Vec<HeadEntry>, LogTablesError> {
        let work: Work<Vec<HeadEntry>> = Box::new(move |s| Box::pin(heads_at(s, size)));
        read(self, "read the heads of the log", work).await
    }
}

async fn positions(
    s: &mut dyn Statements,
    device_id: String,
    first: u64,
    last: u64,
) -> Result<Vec<u64>, Failure> {
    // The run with the first record, then the runs that begin after it.
    let at = "SELECT first_index, first_sequence, records FROM log_runs
              WHERE device_id = $1 AND first_sequence <= $2 ORDER BY first_sequence DESC LIMIT 1";
    let after = "SELECT first_index, first_sequence, records FROM log_runs
                 WHERE device_id = $1 AND first_sequence > $2 AND first_sequence <= $3 ORDER BY first_sequence";
    let device_id = Value::from(device_id);
    let mut rows = s.select(at, &[device_id.clone(), Value::number(first)]).await?;
    if first < last {
        rows.extend(s.select(after, &[device_id, Value::number(first), Value::number(last)]).await?);
    }
    let mut positions = Vec::new();
    let mut next = first;
    for row in &rows {
        let row = Row::new("log_runs", row);
        let (index, begin, end) =
            (row.number(0)?, row.number(1)?, row.number(1)?.saturating_add(row.number(2)?));
        while (begin..end).contains(&next) && next <= last {
            positions.push(index.saturating_add(next - begin));
            next += 1;
        }
    }
    Ok(positions)
}

async fn checkpoint_of(s: &mut dyn Statements, size: u64) -> Result<Option<CheckpointRow>, Failure> {
    let rows = s.select(&format!("{CHECKPOINT} WHERE size = $1"), &[Value::number(size)]).await?;
    rows.first().map(|row| checkpoint(row)).transpose()
}

/// Returns the heads at a size. The order of the reads matters: later reads undo a batch that is assigned in between.
async fn heads_at(s: &mut dyn Statements, size: u64) -> Result<Vec<HeadEntry>, Failure> {
    let mut entries = current(s).await?;
    let later = first_runs_from(s, size).await?;
    let new = devices_from(s, size).await?;
    entries.retain(|entry| !new.contains(&entry.device_id));
    for entry in &mut entries {
        if let Some(head) = later.get(&entry.device_id) {
            (entry.sequence, entry.record_hash) = (head.sequence, head.hash);
        }
        entry.sequence = sequence_in_tree(entry.sequence, entry.start_sequence);
    }
    Ok(entries)
}

async fn current(s: &mut dyn Statements) -> Result<Vec<HeadEntry>, Failure> {
    let statement = "SELECT device_id, sequence, record_hash, start_sequence, start_hash FROM log_heads
                     WHERE device_id > $1 ORDER BY device_id LIMIT $2";
    let mut entries: Vec<HeadEntry> = Vec::new();
    loop {
        let last = entries.last().map_or_else(String::new, |entry| entry.device_id.clone());
        let rows = s.select(statement, &[last.into(), Value::Integer(PAGE_ROWS)]).await?;
        for row in &rows {
            let row = Row::new("log_heads", row);
            entries.push(HeadEntry {
                device_id: row.text(0)?.to_owned(),
                sequence: row.number(1)?,
                record_hash: Hash(row.array(2)?),
                start_sequence: row.number(3)?,
                start_hash: Hash(row.array(4)?),
            });
        }
        if i64::try_from(rows.len()) != Ok(PAGE_ROWS) {
            return Ok(entries);
        }
    }
}

/// Returns the head of each device before its first run from an index on.
async fn first_runs_from(s: &mut dyn Statements, size: u64) -> Result<BTreeMap<String, Head>, Failure> {
    let statement = "SELECT first_index, device_id, first_sequence, prev_hash FROM log_runs
                     WHERE first_index >= $1 ORDER BY first_index LIMIT $2";
    let (mut heads, mut from) = (BTreeMap::new(), size);
    loop {
        let rows = s.select(statement, &[Value::number(from), Value::Integer(PAGE_ROWS)]).await?;
        for row in &rows {
            let row = Row::new("log_runs", row);
            from = row.number(0)? + 1;
            let sequence = row.number(2)?.checked_sub(1);
            let sequence = sequence.ok_or_else(|| inconsistent("a run begins at sequence 0".to_owned()))?;
            let head = Head { sequence, hash: Hash(row.array(3)?) };
            heads.entry(row.text(1)?.to_owned()).or_insert(head);
        }
        if i64::try_from(rows.len()) != Ok(PAGE_ROWS) {
            return Ok(heads);
        }
    }
}

/// Returns the devices whose first key leaf is at or after an index. Reads older key leaves only if newer ones exist.
async fn devices_from(s: &mut dyn Statements, size: u64) -> Result<BTreeSet<String>, Failure> {
    let mut new = BTreeSet::new();
    keys_between(s, size, i64::MAX.cast_unsigned(), &mut |device_id| {
        new.insert(device_id);
    })
    .await?;
    if !new.is_empty() {
        keys_between(s, 0, size, &mut |device_id| {
            new.remove(&device_id);
        })
        .await?;
    }
    Ok(new)
}

async fn keys_between(
    s: &mut dyn Statements,
    mut from: u64,
    end: u64,
    found: &mut (dyn FnMut(String) + Send),
) -> Result<(), Failure> {
    let statement = "SELECT log_index, CASE WHEN octet_length(leaf) <= 65535 THEN leaf END FROM log_events
                     WHERE kind = $1 AND log_index >= $2 AND log_index < $3 ORDER BY log_index LIMIT $4";
    loop {
        let values =
            [Value::Integer(KEY), Value::number(from), Value::number(end), Value::Integer(PAGE_ROWS)];
        let rows = s.select(statement, &values).await?;
        for row in &rows {
            let row = Row::new("log_events", row);
            from = row.number(0)? + 1;
            if let Leaf::Key(key) = Leaf::parse(row.bytes(1)?)? {
                found(key.device_id);
            }
        }
        if i64::try_from(rows.len()) != Ok(PAGE_ROWS) {
            return Ok(());
        }
    }
}
