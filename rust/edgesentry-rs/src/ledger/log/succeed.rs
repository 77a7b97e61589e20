//! The opening of a log in place of another one.

use edgesentry_log::{Assignment, Checkpoint, HeadsRoot, OpenedLeaf};

use super::assign::records_of_ledger;
use super::{
    BatchRow, BatchStep, Failure, LogState, LogTablesError, Statements, Value, inconsistent, locked_state,
    state, write_positions,
};

/// The tables that follow from the files of a log.
const DERIVED: [&str; 8] = [
    "log_runs",
    "log_events",
    "log_batches",
    "log_heads",
    "log_keys",
    "checkpoints",
    "cosignatures",
    "timestamps",
];

/// Opens a log in place of the one that the ledger has. `previous` is the checkpoint that its first leaf names; without it
/// the log has no leaf, and is to be recovered.
///
/// The first batch has no record and no key, so it agrees with every ledger, and no withdrawal loses the name of the
/// predecessor. Erasures get a leaf in the new log as well: only a log that has them excuses missing payloads.
pub(super) async fn succeed(
    s: &mut dyn Statements,
    term: i64,
    origin: String,
    previous: Option<Checkpoint>,
    at_ms: u64,
) -> Result<LogState, Failure> {
    let there = locked_state(s, term).await?;
    if there.origin == origin && there.next_index > 0 {
        return Err(inconsistent(format!("the log {origin} is open, with {} leaves", there.next_index)));
    }
    for table in DERIVED {
        s.execute(&format!("DELETE FROM {table}"), &[]).await?;
    }
    s.execute("UPDATE erasures SET log_index = NULL, erased_at_ms = NULL", &[]).await?;
    let values = [origin.clone().into(), Value::number(at_ms)];
    s.execute("UPDATE log_state SET origin = $1, next_index = 0, batch = 0, opened_at_ms = $2", &values)
        .await?;
    if previous.is_some() {
        let records_before = records_of_ledger(s).await?;
        let mut batch = Assignment::new(0, 0);
        batch.opened(OpenedLeaf { origin, records_before, previous, at_ms });
        let heads = HeadsRoot::default();
        let assigned = batch.finish(&heads, at_ms);
        let row = BatchRow {
            batch: 1,
            first_index: 0,
            size: assigned.size,
            root: None,
            step: BatchStep::Sequenced,
        };
        write_positions(s, &row, heads.root(), at_ms, &assigned.events, std::iter::empty()).await?;
    }
    state(s).await?.ok_or(LogTablesError::NotOpened.into())
}
