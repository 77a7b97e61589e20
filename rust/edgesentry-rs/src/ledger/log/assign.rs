//! Assigns positions to committed keys, revocations, records and erasures.

use std::collections::{BTreeMap, BTreeSet};

use edgesentry_chain::{Hash, Head, Scheme};
use edgesentry_log::{
    Assignment, HeadEntry, HeadsError, HeadsLeaf, HeadsRoot, KeyChange, KeyState, OpenedLeaf, Run, Tampered,
    TamperedProblem, TreeHash,
};

use super::{
    BatchRow, BatchStep, Failure, Kind, LogTablesError, NewBatch, Row, Statements, Value, erasures,
    inconsistent, locked_state, write_positions,
};

/// Devices in one read for the heads tree.
const HEADS_PAGE_ROWS: i64 = 8192;

/// A device with records after the last one in the log.
struct Moved {
    device_id: String,
    logged: Head,
    start: Head,
    head: Head,
}

pub(super) async fn assign(
    s: &mut dyn Statements,
    term: i64,
    last: Option<(u64, HeadsLeaf)>,
    max_leaves: u64,
    at_ms: u64,
) -> Result<Option<NewBatch>, Failure> {
    let state = locked_state(s, term).await?;
    let max_leaves = max_leaves.max(1);
    let first_index = state.next_index;
    let size = last.as_ref().map_or(0, |(size, _)| *size);
    if first_index != size {
        let problem = format!("the next leaf is {first_index}, and the last checkpoint has size {size}");
        return Err(inconsistent(problem));
    }
    let mut batch = Assignment::new(first_index, last.as_ref().map_or(0, |(_, leaf)| leaf.records));
    if first_index == 0 {
        let records_before = records_of_ledger(s).await?;
        let origin = state.origin.clone();
        batch.opened(OpenedLeaf { origin, records_before, previous: None, at_ms: state.opened_at_ms });
    }
    let (keys, is_new): (Vec<KeyChange>, Vec<bool>) = key_changes(s, max_leaves).await?.into_iter().unzip();
    batch.keys(&keys, at_ms);
    write_keys(s, &keys).await?;
    // A key precedes the records that it signs: no records are assigned until all keys are.
    let mut left = max_leaves.saturating_sub(keys.len() as u64);
    let moved = moved(s, left).await?;
    let is_quiet = first_index > 0 && keys.is_empty() && moved.is_empty();
    if is_quiet && erasures::unlogged(s, 1).await?.is_empty() {
        return Ok(None);
    }
    for run in take_runs(s, &moved, left).await? {
        left -= run.records;
        batch.run(run);
    }
    let new = keys.iter().zip(is_new).filter(|(_, is_new)| *is_new).map(|(key, _)| key.device_id.as_str());
    let (before, heads) = heads_roots(s, new.collect(), &moved).await?;
    // A device whose row was deleted would be absent from the next heads leaf, and the log would sign that.
    let expected = last.map_or((TreeHash::EMPTY, 0), |(_, leaf)| (leaf.heads_root, leaf.devices));
    if (before.root(), before.devices()) != expected {
        return Err(LogTablesError::Heads { size, expected: expected.0, actual: before.root() }.into());
    }
    // Behind the records: an erasure is of a record before it.
    let erased = erasures::unlogged(s, left).await?;
    let is_full = erased.len() as u64 >= left;
    erasures::assign(s, &mut batch, erased).await?;
    if batch.is_empty() {
        return Ok(None);
    }
    let assigned = batch.finish(&heads, at_ms);
    let row = BatchRow {
        batch: state.batch + 1,
        first_index,
        size: assigned.size,
        root: None,
        step: BatchStep::Sequenced,
    };
    let runs = assigned.runs.iter().map(|(index, run)| (*index, run));
    write_positions(s, &row, heads.root(), at_ms, &assigned.events, runs).await?;
    Ok(Some(NewBatch { row, is_full }))
}

fn tampered(device_id: String, sequence: u64, problem: TamperedProblem) -> Failure {
    let tampered = Tampered { device_id, sequence, problem, record: None };
    LogTablesError::Tampered(Box::new(tampered)).into()
}

pub(super) async fn records_of_ledger(s: &mut dyn Statements) -> Result<u64, Failure> {
    let statement = "SELECT CAST(coalesce(sum(sequence - start_sequence), 0) AS bigint) FROM chain_heads";
    let rows = s.select(statement, &[]).await?;
    Ok(rows.first().map_or(Ok(0), |row| Row::new("chain_heads", row).number(0))?)
}

/// Returns the keys with another state in the log; with true if the heads tree lacks the device.
///
/// Omits a key that was revoked before it could sign and that the log never had.
async fn key_changes(s: &mut dyn Statements, most: u64) -> Result<Vec<(KeyChange, bool)>, Failure> {
    let statement =
        "SELECT d.device_id, d.valid_from, d.public_key, d.scheme, d.revoked_from, d.registered_at_ms,
             h.start_sequence, h.start_hash, k.public_key, k.scheme, k.revoked_from,
             (SELECT l.sequence FROM log_heads l WHERE l.device_id = d.device_id)
         FROM devices d JOIN chain_heads h ON h.device_id = d.device_id
         LEFT JOIN log_keys k ON k.device_id = d.device_id AND k.valid_from = d.valid_from
         WHERE CASE WHEN k.device_id IS NULL THEN d.revoked_from IS NULL OR d.revoked_from > d.valid_from
             ELSE k.public_key <> d.public_key OR k.scheme <> d.scheme
                 OR coalesce(k.revoked_from, -1) <> coalesce(d.revoked_from, -1) END
         ORDER BY d.device_id, d.valid_from LIMIT $1";
    let rows = s.select(statement, &[Value::number(most)]).await?;
    let change = |row: &Vec<Value>| {
        let row = Row::new("devices", row);
        let key = |at: usize| {
            let scheme: Result<Scheme, _> = row.text(at + 1)?.parse();
            let scheme = scheme.map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Ok::<_, sqlx::Error>(KeyState {
                public_key: row.array(at)?,
                scheme,
                revoked_from: row.optional_number(at + 2)?,
            })
        };
        let logged = if row.is_null(8) { None } else { Some(key(8)?) };
        let start = Head { sequence: row.number(6)?, hash: Hash(row.array(7)?) };
        let change = KeyChange {
            device_id: row.text(0)?.to_owned(),
            valid_from: row.number(1)?,
            now: key(2)?,
            logged,
            start: (start.sequence > 0).then_some(start),
            registered_at_ms: row.number(5)?,
        };
        Ok((change, row.is_null(11)))
    };
    rows.iter().map(change).collect()
}

async fn write_keys(s: &mut dyn Statements, changes: &[KeyChange]) -> Result<(), Failure> {
    let keys = changes.iter().map(|change| (change.device_id.as_str(), change.valid_from, change.now));
    write_log_keys(s, keys).await?;
    // The heads tree includes a new device from now on.
    write_new_devices(s, changes.iter().map(|change| (change.device_id.as_str(), change.start))).await
}

/// Adds devices to the heads tree. Of each it takes the first key and the head after which the chain begins.
pub(super) async fn write_new_devices(
    s: &mut dyn Statements,
    devices: impl Iterator<Item = (&str, Option<Head>)> + Send,
) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    let new = devices.filter(|(device_id, _)| seen.insert(*device_id)).map(|(device_id, start)| {
        let start = start.unwrap_or(Head { sequence: 0, hash: Hash::ZERO });
        head_row(device_id, start, start)
    });
    let new = new.collect();
    s.insert("log_heads", &HEAD_COLUMNS, new, "ON CONFLICT (device_id) DO NOTHING").await?;
    Ok(())
}

const HEAD_COLUMNS: [(&str, Kind); 5] = [
    ("device_id", Kind::Text),
    ("sequence", Kind::Integer),
    ("record_hash", Kind::Bytes),
    ("start_sequence", Kind::Integer),
    ("start_hash", Kind::Bytes),
];
const KEY_COLUMNS: [(&str, Kind); 5] = [
    ("device_id", Kind::Text),
    ("valid_from", Kind::Integer),
    ("public_key", Kind::Bytes),
    ("scheme", Kind::Text),
    ("revoked_from", Kind::Integer),
];
const KEY_CONFLICT: &str =
    "ON CONFLICT (device_id, valid_from) DO UPDATE SET public_key = excluded.public_key,
     scheme = excluded.scheme, revoked_from = excluded.revoked_from";

fn key_row(device_id: &str, valid_from: u64, key: &KeyState) -> Vec<Value> {
    vec![
        device_id.to_owned().into(),
        Value::number(valid_from),
        Value::Bytes(key.public_key.to_vec()),
        key.scheme.name().to_owned().into(),
        key.revoked_from.map_or(Value::Null, Value::number),
    ]
}

/// Writes the keys as the log has them.
pub(super) async fn write_log_keys(
    s: &mut dyn Statements,
    keys: impl Iterator<Item = (&str, u64, KeyState)> + Send,
) -> Result<(), Failure> {
    let rows = keys.map(|(device_id, valid_from, key)| key_row(device_id, valid_from, &key)).collect();
    s.insert("log_keys", &KEY_COLUMNS, rows, KEY_CONFLICT).await?;
    Ok(())
}

fn head_row(device_id: &str, head: Head, start: Head) -> Vec<Value> {
    vec![
        device_id.to_owned().into(),
        Value::number(head.sequence),
        Value::hash(head.hash),
        Value::number(start.sequence),
        Value::hash(start.hash),
    ]
}

/// Writes the last record in the log of each device: device, head and start.
pub(super) async fn write_log_heads(
    s: &mut dyn Statements,
    heads: impl Iterator<Item = (&str, Head, Head)> + Send,
) -> Result<(), Failure> {
    let rows = heads.map(|(device_id, head, start)| head_row(device_id, head, start)).collect();
    let conflict = "ON CONFLICT (device_id) DO UPDATE SET sequence = excluded.sequence, record_hash = excluded.record_hash";
    s.insert("log_heads", &HEAD_COLUMNS, rows, conflict).await?;
    Ok(())
}

/// Returns devices with records after the last one in the log.
///
/// Refuses a ledger in which a chain ends before the head in the log, or has another record there: its last records
/// were removed or replaced.
async fn moved(s: &mut dyn Statements, most: u64) -> Result<Vec<Moved>, Failure> {
    // One read of all heads finds both, unless there are more devices than requested.
    let mut moved = changed_heads(s, "", most.max(1)).await?;
    if moved.len() as u64 >= most.max(1) {
        changed_heads(s, "AND (h.device_id IS NULL OR h.sequence <= l.sequence)", 1).await?;
    }
    moved.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(moved)
}

/// Returns the first devices whose chain does not end with the last record in the log. Fails if it ends before.
async fn changed_heads(
    s: &mut dyn Statements,
    condition: &'static str,
    most: u64,
) -> Result<Vec<Moved>, Failure> {
    let statement = format!(
        "SELECT l.device_id, l.sequence, l.record_hash, l.start_sequence, l.start_hash, h.sequence, h.record_hash
         FROM log_heads l LEFT JOIN chain_heads h ON h.device_id = l.device_id
         WHERE (h.device_id IS NULL OR h.sequence <> l.sequence OR h.record_hash <> l.record_hash) {condition}
         ORDER BY l.device_id LIMIT $1"
    );
    let rows = s.select(&statement, &[Value::number(most)]).await?;
    let moved = |row: &Vec<Value>| {
        let row = Row::new("log_heads", row);
        let head = |at: usize| {
            Ok::<_, sqlx::Error>(Head { sequence: row.number(at)?, hash: Hash(row.array(at + 1)?) })
        };
        let (device_id, logged) = (row.text(0)?.to_owned(), head(1)?);
        let now = if row.is_null(5) { None } else { Some(head(5)?) };
        let problem = match now {
            Some(head_now) if head_now.sequence > logged.sequence => {
                return Ok(Moved { device_id, logged, start: head(3)?, head: head_now });
            }
            Some(now) if now.sequence == logged.sequence => {
                TamperedProblem::Head { expected: logged.hash, actual: now.hash }
            }
            _ => TamperedProblem::Missing,
        };
        Err(tampered(device_id, logged.sequence, problem))
    };
    rows.iter().map(moved).collect()
}

/// Assigns runs of at most `left` records, and moves the heads of the log after them.
async fn take_runs(s: &mut dyn Statements, moved: &[Moved], mut left: u64) -> Result<Vec<Run>, Failure> {
    let mut runs = Vec::new();
    let mut heads = Vec::new();
    for device in moved {
        let records = (device.head.sequence - device.logged.sequence).min(left);
        if records == 0 {
            break;
        }
        left -= records;
        let sequence = device.logged.sequence + records;
        let hash = if sequence == device.head.sequence {
            device.head.hash
        } else {
            hash_at(s, &device.device_id, sequence).await?
        };
        heads.push((device.device_id.as_str(), Head { sequence, hash }, device.start));
        runs.push(Run {
            device_id: device.device_id.clone(),
            first_sequence: device.logged.sequence + 1,
            records,
            prev_hash: device.logged.hash,
            head_hash: hash,
        });
    }
    write_log_heads(s, heads.into_iter()).await?;
    Ok(runs)
}

/// Returns the hash of a record from its row. The hash is verified when the batch is built.
async fn hash_at(s: &mut dyn Statements, device_id: &str, sequence: u64) -> Result<Hash, Failure> {
    let values = [device_id.to_owned().into(), Value::number(sequence)];
    let statement = "SELECT record_hash FROM audit_records WHERE device_id = $1 AND sequence = $2";
    let rows = s.select(statement, &values).await?;
    match rows.first() {
        Some(row) => Ok(Hash(Row::new("audit_records", row).array(0)?)),
        None => Err(tampered(device_id.to_owned(), sequence, TamperedProblem::Missing)),
    }
}

/// Returns the root of the heads tree before and after the devices have moved, in one read of all heads.
///
/// `new` are the devices that the tree did not have before.
async fn heads_roots(
    s: &mut dyn Statements,
    new: BTreeSet<&str>,
    moved: &[Moved],
) -> Result<(HeadsRoot, HeadsRoot), Failure> {
    let moved: BTreeMap<&str, Head> =
        moved.iter().map(|moved| (moved.device_id.as_str(), moved.logged)).collect();
    let (mut before, mut after) = (HeadsRoot::default(), HeadsRoot::default());
    read_heads(s, &mut |mut entry| {
        after.push(&entry)?;
        if new.contains(entry.device_id.as_str()) {
            return Ok(());
        }
        if let Some(logged) = moved.get(entry.device_id.as_str()) {
            entry.sequence = sequence_in_tree(logged.sequence, entry.start_sequence);
            entry.record_hash = logged.hash;
        }
        before.push(&entry)
    })
    .await?;
    Ok((before, after))
}

/// Returns the current root of the heads tree of the log.
pub(super) async fn heads_root(s: &mut dyn Statements) -> Result<HeadsRoot, Failure> {
    let mut root = HeadsRoot::default();
    read_heads(s, &mut |entry| root.push(&entry)).await?;
    Ok(root)
}

async fn read_heads(
    s: &mut dyn Statements,
    each: &mut (dyn FnMut(HeadEntry) -> Result<(), HeadsError> + Send),
) -> Result<(), Failure> {
    let statement = "SELECT device_id, sequence, record_hash, start_sequence, start_hash FROM log_heads
                     WHERE device_id > $1 ORDER BY device_id LIMIT $2";
    let mut last = String::new();
    loop {
        let rows = s.select(statement, &[last.into(), Value::Integer(HEADS_PAGE_ROWS)]).await?;
        for row in &rows {
            let row = Row::new("log_heads", row);
            let (sequence, start_sequence) = (row.number(1)?, row.number(3)?);
            let entry = HeadEntry {
                device_id: row.text(0)?.to_owned(),
                sequence: sequence_in_tree(sequence, start_sequence),
                record_hash: Hash(row.array(2)?),
                start_sequence,
                start_hash: Hash(row.array(4)?),
            };
            each(entry).map_err(|error| inconsistent(error.to_string()))?;
        }
        match rows.last() {
            Some(row) if i64::try_from(rows.len()) == Ok(HEADS_PAGE_ROWS) => {
                last = Row::new("log_heads", row).text(0)?.to_owned();
            }
            _ => return Ok(()),
        }
    }
}

/// Returns 0 for a device without a record, at any start of its chain.
pub(super) fn sequence_in_tree(sequence: u64, start_sequence: u64) -> u64 {
    if sequence > start_sequence { sequence } else { 0 }
}
