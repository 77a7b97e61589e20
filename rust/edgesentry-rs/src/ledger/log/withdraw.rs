//! Withdraws the positions of a batch that is not signed.

use std::collections::{BTreeMap, BTreeSet};

use edgesentry_chain::{Hash, Head};
use edgesentry_log::{HeadsLeaf, KeyState, Leaf, ReadBatch, TreeHash, revoked_by};

use super::assign::{heads_root, write_log_heads, write_log_keys};
use super::{BatchRow, Failure, LogTablesError, Row, Statements, Value, inconsistent, leaves, locked_state};

/// Events in one read.
const PAGE_ROWS: i64 = 8192;

/// The keys of devices in the log, by device and first sequence.
type Keys = BTreeMap<(String, u64), KeyState>;

/// Removes the positions of the last batch, and puts the heads and keys of the log back to those before it. `last` is the
/// heads leaf of the last checkpoint; the tables must agree with it afterwards.
pub(super) async fn withdraw(
    s: &mut dyn Statements,
    term: i64,
    batch: BatchRow,
    last: Option<HeadsLeaf>,
) -> Result<(), Failure> {
    let state = locked_state(s, term).await?;
    let first = || Value::number(batch.first_index);
    if (state.batch, state.next_index) != (batch.batch, batch.size) {
        return Err(inconsistent(format!("batch {} is not the last one", batch.batch)));
    }
    let delete = "DELETE FROM log_batches WHERE batch = $1 AND state = 'sequenced'";
    if s.execute(delete, &[Value::number(batch.batch)]).await? != 1 {
        return Err(inconsistent(format!("batch {} was changed while it was withdrawn", batch.batch)));
    }
    let withdrawn = leaves(s, vec![first(), Value::number(batch.size)]).await?;
    let mut heads: BTreeMap<&str, Head> = BTreeMap::new();
    for (_, run) in &withdrawn.runs {
        let before = Head { sequence: run.first_sequence.saturating_sub(1), hash: run.prev_hash };
        heads.entry(&run.device_id).or_insert(before);
    }
    // The start of a device does not change.
    let start = Head { sequence: 0, hash: Hash::ZERO };
    write_log_heads(s, heads.into_iter().map(|(device_id, head)| (device_id, head, start))).await?;
    let mut changed = BTreeSet::new();
    for (_, leaf) in &withdrawn.events {
        match Leaf::parse(leaf)? {
            Leaf::Key(leaf) => changed.insert(leaf.device_id),
            Leaf::Revoked(leaf) => changed.insert(leaf.device_id),
            _ => false,
        };
    }
    restore_keys(s, &changed, batch.first_index).await?;
    for statement in [
        "DELETE FROM log_runs WHERE first_index >= $1",
        "DELETE FROM log_events WHERE log_index >= $1",
        "UPDATE erasures SET log_index = NULL WHERE log_index >= $1",
    ] {
        s.execute(statement, &[first()]).await?;
    }
    let values = [first(), Value::number(batch.batch - 1)];
    s.execute("UPDATE log_state SET next_index = $1, batch = $2", &values).await?;
    let now = heads_root(s).await?;
    let expected = last.map_or((TreeHash::EMPTY, 0), |leaf| (leaf.heads_root, leaf.devices));
    if (now.root(), now.devices()) != expected {
        let (size, expected, actual) = (batch.first_index, expected.0, now.root());
        return Err(LogTablesError::Heads { size, expected, actual }.into());
    }
    Ok(())
}

/// Writes the keys of devices as the log had them before an index. Removes a device that had none.
async fn restore_keys(
    s: &mut dyn Statements,
    devices: &BTreeSet<String>,
    before: u64,
) -> Result<(), Failure> {
    if devices.is_empty() {
        return Ok(());
    }
    let keys = keys_before(s, devices, before).await?;
    let known: BTreeSet<&str> = keys.keys().map(|(device_id, _)| device_id.as_str()).collect();
    for device_id in devices {
        let values = [device_id.clone().into()];
        s.execute("DELETE FROM log_keys WHERE device_id = $1", &values).await?;
        if !known.contains(device_id.as_str()) {
            s.execute("DELETE FROM log_heads WHERE device_id = $1", &values).await?;
        }
    }
    write_log_keys(s, keys.iter().map(|((device_id, from), key)| (device_id.as_str(), *from, *key))).await
}

async fn keys_before(
    s: &mut dyn Statements,
    devices: &BTreeSet<String>,
    before: u64,
) -> Result<Keys, Failure> {
    let statement = "SELECT log_index, CASE WHEN octet_length(leaf) <= 65535 THEN leaf END FROM log_events
                     WHERE log_index >= $1 AND log_index < $2 ORDER BY log_index LIMIT $3";
    let (mut keys, mut batch, mut from) = (Keys::new(), ReadBatch::default(), 0);
    loop {
        let values = [Value::number(from), Value::number(before), Value::Integer(PAGE_ROWS)];
        let rows = s.select(statement, &values).await?;
        for row in &rows {
            let row = Row::new("log_events", row);
            let index = row.number(0)?;
            from = index + 1;
            match Leaf::parse(row.bytes(1)?)? {
                Leaf::Key(leaf) if devices.contains(&leaf.device_id) => batch.push(index, Leaf::Key(leaf)),
                Leaf::Revoked(leaf) if devices.contains(&leaf.device_id) => {
                    batch.push(index, Leaf::Revoked(leaf));
                }
                Leaf::Heads(_) => apply(&mut keys, &std::mem::take(&mut batch)),
                _ => {}
            }
        }
        if i64::try_from(rows.len()) != Ok(PAGE_ROWS) {
            return Ok(keys);
        }
    }
}

/// Applies the keys and revocations of a batch.
fn apply(keys: &mut Keys, batch: &ReadBatch) {
    let revocations = batch.revocations();
    for ((device_id, _), key) in keys.iter_mut().filter(|(_, key)| key.revoked_from.is_none()) {
        key.revoked_from =
            revocations.get(device_id.as_str()).and_then(|revoked| revoked_by(0, false, revoked));
    }
    for (_, leaf) in &batch.events {
        if let Leaf::Key(leaf) = leaf {
            let revoked = revocations.get(leaf.device_id.as_str()).map(Vec::as_slice).unwrap_or_default();
            let revoked_from = revoked_by(leaf.valid_from, true, revoked);
            let key = KeyState { public_key: leaf.public_key, scheme: leaf.scheme, revoked_from };
            keys.insert((leaf.device_id.clone(), leaf.valid_from), key);
        }
    }
}
