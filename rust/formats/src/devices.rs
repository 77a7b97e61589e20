//! The devices in sources.

use std::collections::HashSet;
use std::sync::Arc;

use crate::arrow;
use crate::error::Error;
use crate::progress::Progress;
use crate::read::{self, Chunk, Source};

/// Returns the devices of all records in some sources: those whose keys verify them. Of Parquet, only the column with
/// the devices is read. Entries that are not records may have further devices.
///
/// Memory is limited by the chunk size and the number of devices. Returns [`Error::Cancelled`] soon after
/// [`Progress::cancel`].
///
/// # Errors
/// A source cannot be read, or the progress was cancelled.
pub fn devices_of(sources: Vec<Source>, progress: &Arc<Progress>) -> Result<HashSet<Box<str>>, Error> {
    let mut devices = HashSet::new();
    for source in sources {
        let mut opened = read::open(only_devices(source), progress)?;
        while let Some(chunk) = opened.chunks.next_chunk(progress)? {
            let mut add = |device_id: &str| {
                if !devices.contains(device_id) {
                    devices.insert(device_id.into());
                }
            };
            match &chunk {
                Chunk::Batch(batch, _) => arrow::device_ids(batch, add),
                chunk => {
                    chunk.decode(0..chunk.len()).records.iter().for_each(|record| add(&record.device_id))
                }
            }
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
        }
    }
    Ok(devices)
}

/// Returns a source of which Parquet has the column with the devices alone.
fn only_devices(source: Source) -> Source {
    match source {
        Source::Named { source, names } => Source::Named { source, names: Arc::new(names.only_devices()) },
        Source::Share { source, bytes } => Source::Share { source: Box::new(only_devices(*source)), bytes },
        source => source.named(&Arc::new(crate::ColumnNames::default().only_devices())),
    }
}
