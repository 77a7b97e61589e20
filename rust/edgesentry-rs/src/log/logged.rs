//! The log of a ledger up to its last checkpoint, to compare an export with it.

use edgesentry_log::{LayoutItem, LayoutWriter, Places};

use super::error::LogError;
use super::prove::ProveError;
use crate::ledger::{
    BatchLeaves, BatchRow, BatchStep, CheckpointRow, Ledger, LogTables, LogTablesError, TimestampRow,
};

/// Leaves in one read of the tables.
const WINDOW_LEAVES: u64 = 100_000;

/// Calls `take` with the leaves before `size`, without the records, in their order.
pub(super) async fn each_window(
    tables: &dyn LogTables,
    size: u64,
    mut take: impl FnMut(BatchLeaves) -> Result<(), LogTablesError>,
) -> Result<(), LogTablesError> {
    let mut first_index = 0;
    while first_index < size {
        let end = size.min(first_index + WINDOW_LEAVES);
        let window = BatchRow { batch: 0, first_index, size: end, root: None, step: BatchStep::Signed };
        take(tables.leaves(&window).await?)?;
        first_index = end;
    }
    Ok(())
}

/// The log of a ledger up to its last checkpoint.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The checkpoint.
    pub checkpoint: CheckpointRow,
    /// The time stamps of the checkpoint.
    pub timestamps: Vec<TimestampRow>,
    /// The layout of the leaves before it.
    pub layout: Vec<u8>,
    /// The layout as the places of the records.
    pub places: Places,
}

impl Logged {
    /// Reads the layout of a ledger's log up to its last checkpoint. Memory is limited by the runs of the log.
    ///
    /// # Errors
    /// The ledger has no log or no checkpoint yet, its tables contradict each other, or it cannot be read.
    pub async fn read(ledger: &dyn Ledger) -> Result<Logged, LogError> {
        let tables = ledger.log().ok_or(LogTablesError::NotOpened)?;
        let checkpoint = last_checkpoint(&*tables).await?;
        Logged::up_to(&*tables, checkpoint).await
    }

    /// Like [`Logged::read`], up to the last checkpoint with a time stamp.
    ///
    /// # Errors
    /// As for [`Logged::read`]; no checkpoint has a time stamp.
    pub async fn read_stamped(ledger: &dyn Ledger) -> Result<Logged, ProveError> {
        let tables = ledger.log().ok_or(LogTablesError::NotOpened)?;
        let last = last_checkpoint(&*tables).await?;
        let size = tables.last_stamped(last.size).await?.ok_or(ProveError::NotStamped)?;
        let checkpoint = tables.checkpoint_of(size).await?.ok_or(ProveError::UnknownSize { size })?;
        Ok(Logged::up_to(&*tables, checkpoint).await?)
    }

    async fn up_to(tables: &dyn LogTables, checkpoint: CheckpointRow) -> Result<Logged, LogError> {
        let timestamps = tables.timestamps(checkpoint.size).await?;
        let mut layout = LayoutWriter::default();
        each_window(tables, checkpoint.size, |leaves| {
            let mut events = leaves.events.iter().peekable();
            let mut push = |item: LayoutItem<'_>| {
                layout.push(item).map_err(|error| LogTablesError::Inconsistent(error.to_string()))
            };
            for (index, run) in &leaves.runs {
                while let Some((_, leaf)) = events.next_if(|(at, _)| at < index) {
                    push(LayoutItem::Leaf(leaf))?;
                }
                let (first_sequence, count) = (run.first_sequence, run.records);
                push(LayoutItem::Run { device_id: &run.device_id, first_sequence, count })?;
            }
            for (_, leaf) in events {
                push(LayoutItem::Leaf(leaf))?;
            }
            Ok(())
        })
        .await?;
        let layout = layout.into_bytes();
        let places =
            Places::parse(&layout).map_err(|error| LogTablesError::Inconsistent(error.to_string()))?;
        if places.size() != checkpoint.size {
            let (leaves, size) = (places.size(), checkpoint.size);
            let message = format!("the log has {leaves} leaves up to its checkpoint of size {size}");
            return Err(LogTablesError::Inconsistent(message).into());
        }
        Ok(Logged { checkpoint, timestamps, layout, places })
    }
}

async fn last_checkpoint(tables: &dyn LogTables) -> Result<CheckpointRow, LogError> {
    tables.state().await?.ok_or(LogTablesError::NotOpened)?;
    let none =
        || LogTablesError::Inconsistent("the log has no checkpoint yet; run eds checkpoint first".into());
    Ok(tables.last_checkpoint().await?.ok_or_else(none)?)
}
