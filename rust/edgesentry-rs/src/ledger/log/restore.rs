//! Restores a batch of the log to a ledger that was restored to a time before the batch.

use std::collections::{BTreeMap, BTreeSet};

use edgesentry_chain::{AuditRecord, Hash, Head};
use edgesentry_log::{KeyLeaf, KeyState, Leaf, ReadBatch, Run, revoked_by};

use super::assign::{heads_root, write_log_heads, write_log_keys, write_new_devices};
use super::{
    BatchRow, BatchStep, CheckpointRow, Failure, Kind, LogTablesError, Row, Statements, Value, erasures,
    inconsistent, locked_state, write_checkpoint, write_positions,
};
use crate::admission::OutcomeKind;
use crate::clock::now_ms;

/// A batch that was read from entry bundles, and its checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestoredBatch {
    /// The index of its first leaf.
    pub first_index: u64,
    /// Its leaves.
    pub leaves: ReadBatch,
    /// The checkpoint that ends it.
    pub checkpoint: CheckpointRow,
}

/// The handling of records of the ledger that differ from those of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Conflicts {
    /// Return an error.
    Refuse,
    /// Move them to the operation log, with all later records of their device, under the reason [`LOG_CONFLICT`].
    Replace,
}

/// The reason in the operation log of records that the records of the log replaced. They are never pruned.
pub const LOG_CONFLICT: &str = "log_conflict";

/// Records of a device that were moved from the ledger to the operation log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// The device.
    pub device_id: String,
    /// The sequence of the first one.
    pub first_sequence: u64,
    /// The sequence of the last one.
    pub last_sequence: u64,
}

/// Records that are moved at a time.
const MOVED_RECORDS: u64 = 4096;

pub(super) async fn restore(
    s: &mut dyn Statements,
    term: i64,
    batch: RestoredBatch,
    conflicts: Conflicts,
) -> Result<Vec<Replaced>, Failure> {
    let state = locked_state(s, term).await?;
    if state.next_index != batch.first_index {
        let problem = format!(
            "the next leaf is {}, and a batch from {} is put back",
            state.next_index, batch.first_index
        );
        return Err(inconsistent(problem));
    }
    let heads = batch.leaves.heads().ok_or_else(|| inconsistent("a batch has no heads leaf".to_owned()))?;
    restore_keys(s, &batch.leaves).await?;
    let mut replaced = Vec::new();
    for (_, run, records) in &batch.leaves.runs {
        replaced.extend(restore_run(s, run, records, conflicts).await?);
    }
    let row = BatchRow {
        batch: state.batch + 1,
        first_index: batch.first_index,
        size: batch.checkpoint.size,
        root: Some(batch.checkpoint.root),
        step: BatchStep::Signed,
    };
    let runs = batch.leaves.runs.iter().map(|(index, run, _)| (*index, run));
    write_positions(s, &row, heads.heads_root, heads.at_ms, &batch.leaves.events, runs).await?;
    move_log_heads(s, &batch.leaves).await?;
    if heads_root(s).await?.root() != heads.heads_root {
        let problem = format!("the heads of all devices at size {}", row.size);
        return Err(LogTablesError::Conflict(problem).into());
    }
    for (index, leaf) in &batch.leaves.events {
        if let Leaf::Erased(leaf) = leaf {
            erasures::restore(s, *index, leaf).await?;
        }
    }
    write_checkpoint(s, &batch.checkpoint).await?;
    let values = [Value::number(row.batch), Value::Bytes(batch.checkpoint.root.0.to_vec())];
    s.execute("UPDATE log_batches SET root = $2, state = 'signed' WHERE batch = $1", &values).await?;
    Ok(replaced)
}

/// Restores the keys and revocations of a batch, in the registry and as the log has them.
async fn restore_keys(s: &mut dyn Statements, leaves: &ReadBatch) -> Result<(), Failure> {
    let revocations = leaves.revocations();
    // Revoke the keys of earlier batches first: the leaves 04 of this batch apply to all of them.
    for (device_id, revoked) in &revocations {
        let Some(from) = revoked_by(0, false, revoked) else { continue };
        for table in ["devices", "log_keys"] {
            let statement = format!(
                "UPDATE {table} SET revoked_from = $2 WHERE device_id = $1 AND revoked_from IS NULL
                 AND EXISTS (SELECT 1 FROM log_keys k WHERE k.device_id = {table}.device_id
                     AND k.valid_from = {table}.valid_from)"
            );
            s.execute(&statement, &[(*device_id).to_owned().into(), Value::number(from)]).await?;
        }
        count_change_of_keys(s, device_id).await?;
    }
    let none = Vec::new();
    let keys: Vec<(&KeyLeaf, KeyState)> = leaves
        .events
        .iter()
        .filter_map(|(_, leaf)| match leaf {
            Leaf::Key(leaf) => {
                let revoked = revocations.get(leaf.device_id.as_str()).unwrap_or(&none);
                let revoked_from = revoked_by(leaf.valid_from, true, revoked);
                let state = KeyState { public_key: leaf.public_key, scheme: leaf.scheme, revoked_from };
                Some((leaf, state))
            }
            _ => None,
        })
        .collect();
    for (leaf, key) in &keys {
        register(s, leaf, key).await?;
    }
    write_log_keys(s, keys.iter().map(|(leaf, key)| (leaf.device_id.as_str(), leaf.valid_from, *key)))
        .await?;
    write_new_devices(s, keys.iter().map(|(leaf, _)| (leaf.device_id.as_str(), leaf.start))).await
}

/// Registers a key of the log, unless it is registered.
async fn register(s: &mut dyn Statements, leaf: &KeyLeaf, key: &KeyState) -> Result<(), Failure> {
    let device_id = || Value::from(leaf.device_id.clone());
    let start = leaf.start.unwrap_or(Head { sequence: 0, hash: Hash::ZERO });
    let head =
        "INSERT INTO chain_heads (device_id, sequence, record_hash, start_sequence, start_hash, keys_version,
                    moved_at_ms)
                VALUES ($1, $2, $3, $2, $3, 1, $4) ON CONFLICT (device_id) DO NOTHING";
    let values =
        [device_id(), Value::number(start.sequence), Value::hash(start.hash), Value::Integer(now_ms())];
    s.execute(head, &values).await?;
    let there = "SELECT d.public_key, d.scheme, h.start_sequence, h.start_hash FROM chain_heads h
                 LEFT JOIN devices d ON d.device_id = h.device_id AND d.valid_from = $2 WHERE h.device_id = $1";
    let rows = s.select(there, &[device_id(), Value::number(leaf.valid_from)]).await?;
    let row = rows.first().map(|row| Row::new("chain_heads", row));
    let row = row.ok_or_else(|| inconsistent(format!("device {:?} has no head", leaf.device_id)))?;
    if (row.number(2)?, Hash(row.array(3)?)) != (start.sequence, start.hash) {
        let problem = format!("the start of the chain of device {:?}", leaf.device_id);
        return Err(LogTablesError::Conflict(problem).into());
    }
    if !row.is_null(0) {
        if row.array::<32>(0)? == key.public_key && row.text(1)? == key.scheme.name() {
            return Ok(());
        }
        // A key that was revoked before it signed may have been replaced; the log has both.
        let void =
            "DELETE FROM devices WHERE device_id = $1 AND valid_from = $2 AND revoked_from <= valid_from";
        if s.execute(void, &[device_id(), Value::number(leaf.valid_from)]).await? == 0 {
            let problem = format!("the key of device {:?} from sequence {}", leaf.device_id, leaf.valid_from);
            return Err(LogTablesError::Conflict(problem).into());
        }
    }
    let insert =
        "INSERT INTO devices (device_id, valid_from, public_key, scheme, revoked_from, registered_at_ms)
                  VALUES ($1, $2, $3, $4, $5, $6)";
    let values = [
        device_id(),
        Value::number(leaf.valid_from),
        Value::Bytes(key.public_key.to_vec()),
        key.scheme.name().to_owned().into(),
        key.revoked_from.map_or(Value::Null, Value::number),
        Value::number(leaf.at_ms),
    ];
    s.execute(insert, &values).await?;
    count_change_of_keys(s, &leaf.device_id).await
}

async fn count_change_of_keys(s: &mut dyn Statements, device_id: &str) -> Result<(), Failure> {
    let statement = "UPDATE chain_heads SET keys_version = keys_version + 1 WHERE device_id = $1";
    s.execute(statement, &[device_id.to_owned().into()]).await?;
    Ok(())
}

/// Restores the records of a run: existing records must be the same, the others are inserted after them.
///
/// Records that may be replaced are moved away first.
async fn restore_run(
    s: &mut dyn Statements,
    run: &Run,
    records: &[AuditRecord],
    conflicts: Conflicts,
) -> Result<Option<Replaced>, Failure> {
    let device_id = || Value::from(run.device_id.clone());
    let conflict = |sequence: u64| {
        LogTablesError::Conflict(format!("the record of device {:?} at sequence {sequence}", run.device_id))
    };
    let head =
        format!("SELECT sequence, record_hash FROM chain_heads WHERE device_id = $1{}", s.for_update());
    let rows = s.select(&head, &[device_id()]).await?;
    let row = rows.first().ok_or_else(|| conflict(run.first_sequence))?;
    let row = Row::new("chain_heads", row);
    let mut head = Head { sequence: row.number(0)?, hash: Hash(row.array(1)?) };
    let last = run.last_sequence().ok_or_else(|| conflict(run.first_sequence))?;
    // The record before the run is the head, or an earlier record.
    let before = run.first_sequence - 1;
    if head.sequence < before || (head.sequence == before && head.hash != run.prev_hash) {
        return Err(conflict(before).into());
    }
    let statement = "SELECT sequence, record_hash FROM audit_records
                     WHERE device_id = $1 AND sequence BETWEEN $2 AND $3 ORDER BY sequence";
    let values = [device_id(), Value::number(run.first_sequence), Value::number(last)];
    let mut held = BTreeMap::new();
    for row in s.select(statement, &values).await? {
        let row = Row::new("audit_records", &row);
        held.insert(row.number(0)?, Hash(row.array(1)?));
    }
    let other =
        records.iter().find(|record| held.get(&record.sequence).is_some_and(|held| *held != record.hash()));
    let mut replaced = None;
    if let Some(other) = other {
        let first = other.sequence;
        if conflicts == Conflicts::Refuse {
            let device_id = run.device_id.clone();
            return Err(LogTablesError::Fork { device_id, sequence: first }.into());
        }
        move_to_operation_log(s, &run.device_id, first, head.sequence, records).await?;
        replaced = Some(Replaced {
            device_id: run.device_id.clone(),
            first_sequence: first,
            last_sequence: head.sequence,
        });
        held.split_off(&first);
        head = Head { sequence: first - 1, hash: other.prev_record_hash };
        let statement = "UPDATE chain_heads SET sequence = $2, record_hash = $3 WHERE device_id = $1";
        s.execute(statement, &[device_id(), Value::number(head.sequence), Value::hash(head.hash)]).await?;
    }
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    for record in records {
        let hash = record.hash();
        match held.get(&record.sequence) {
            Some(_) => {}
            // A missing record at or before the head was removed from the ledger.
            None if record.sequence <= head.sequence => return Err(conflict(record.sequence).into()),
            None => {
                rows.push(row_of(record, hash));
                entries.push(entry_of(record, hash));
            }
        }
    }
    s.insert("audit_records", &RECORD_COLUMNS, rows, "").await?;
    s.insert("operation_logs", &ENTRY_COLUMNS, entries, "").await?;
    let statement = "UPDATE chain_heads SET sequence = $2, record_hash = $3, moved_at_ms = $4
                     WHERE device_id = $1 AND sequence < $2";
    let values = [device_id(), Value::number(last), Value::hash(run.head_hash), Value::Integer(now_ms())];
    s.execute(statement, &values).await?;
    Ok(replaced)
}

/// Moves the records of a device from sequence `first` to `last` to the operation log. `logged` has the records of the
/// log that replace some of them.
async fn move_to_operation_log(
    s: &mut dyn Statements,
    device_id: &str,
    first: u64,
    last: u64,
    logged: &[AuditRecord],
) -> Result<(), Failure> {
    let logged: BTreeMap<u64, Hash> = logged.iter().map(|record| (record.sequence, record.hash())).collect();
    let mut from = first;
    while from <= last {
        let until = last.min(from.saturating_add(MOVED_RECORDS - 1));
        let span = (device_id.to_owned(), from.cast_signed(), until.cast_signed());
        let rows = s.records(&[span]).await?;
        let rows = rows.iter().map(|record| evidence_of(record, logged.get(&record.sequence))).collect();
        s.insert("operation_logs", &EVIDENCE_COLUMNS, rows, "").await?;
        from = until + 1;
    }
    let delete = "DELETE FROM audit_records WHERE device_id = $1 AND sequence BETWEEN $2 AND $3";
    let values = [device_id.to_owned().into(), Value::number(first), Value::number(last)];
    s.execute(delete, &values).await?;
    // They are of the payloads of the moved records, and would exclude those of the records of the log.
    let requests =
        "DELETE FROM erasures WHERE device_id = $1 AND sequence BETWEEN $2 AND $3 AND log_index IS NULL";
    s.execute(requests, &values).await?;
    Ok(())
}

const EVIDENCE_COLUMNS: [(&str, Kind); 9] = [
    ("at_ms", Kind::Integer),
    ("device_id", Kind::Text),
    ("sequence", Kind::Integer),
    ("outcome", Kind::Text),
    ("reason", Kind::Text),
    ("record_hash", Kind::Bytes),
    ("expected", Kind::Text),
    ("actual", Kind::Text),
    ("evidence", Kind::Bytes),
];

fn evidence_of(record: &AuditRecord, logged: Option<&Hash>) -> Vec<Value> {
    let hash = record.hash();
    vec![
        Value::Integer(now_ms()),
        record.device_id.clone().into(),
        Value::number(record.sequence),
        "rejected".to_owned().into(),
        LOG_CONFLICT.to_owned().into(),
        Value::hash(hash),
        logged.map_or(Value::Null, |logged| logged.to_string().into()),
        hash.to_string().into(),
        Value::Bytes(record.canonical_bytes()),
    ]
}

const RECORD_COLUMNS: [(&str, Kind); 9] = [
    ("device_id", Kind::Text),
    ("sequence", Kind::Integer),
    ("timestamp_ms", Kind::Integer),
    ("payload_hash", Kind::Bytes),
    ("signature", Kind::Bytes),
    ("prev_record_hash", Kind::Bytes),
    ("object_ref", Kind::Text),
    ("record_hash", Kind::Bytes),
    ("received_at_ms", Kind::Integer),
];

fn row_of(record: &AuditRecord, hash: Hash) -> Vec<Value> {
    vec![
        record.device_id.clone().into(),
        Value::number(record.sequence),
        Value::number(record.timestamp_ms),
        Value::hash(record.payload_hash),
        Value::Bytes(record.signature.to_vec()),
        Value::hash(record.prev_record_hash),
        record.object_ref.clone().into(),
        Value::hash(hash),
        Value::Integer(now_ms()),
    ]
}

const ENTRY_COLUMNS: [(&str, Kind); 5] = [
    ("at_ms", Kind::Integer),
    ("device_id", Kind::Text),
    ("sequence", Kind::Integer),
    ("outcome", Kind::Text),
    ("record_hash", Kind::Bytes),
];

/// Returns the entry of a record in the operation log, which has one for each record of the ledger.
fn entry_of(record: &AuditRecord, hash: Hash) -> Vec<Value> {
    vec![
        Value::Integer(now_ms()),
        record.device_id.clone().into(),
        Value::number(record.sequence),
        OutcomeKind::Accepted.as_str().to_owned().into(),
        Value::hash(hash),
    ]
}

/// Moves the heads of the log to the last record of each device in the batch.
async fn move_log_heads(s: &mut dyn Statements, leaves: &ReadBatch) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    let last = leaves.runs.iter().rev().filter(|(_, run, _)| seen.insert(run.device_id.as_str()));
    let heads: Vec<(&str, Head, Head)> = last
        .filter_map(|(_, run, _)| {
            let head = Head { sequence: run.last_sequence()?, hash: run.head_hash };
            // The start of an existing device does not change.
            Some((run.device_id.as_str(), head, Head { sequence: 0, hash: Hash::ZERO }))
        })
        .collect();
    write_log_heads(s, heads.into_iter()).await
}
