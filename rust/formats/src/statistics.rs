//! Statistics of all devices of some sources, in one pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, DeviceStatistics, slice_size};
use rayon::prelude::*;

use crate::error::Error;
use crate::progress::Progress;
use crate::read::{self, Chunk, Decoded, Source};

/// The result of [`device_statistics`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The devices.
    pub devices: BTreeMap<Arc<str>, DeviceStatistics>,
    /// Entries that are not records, and are not counted elsewhere.
    pub malformed: u64,
}

/// Reads all sources, decoding on the current rayon pool. Nothing is verified. `now_ms` is the time of the reader, after
/// which records are of the future.
///
/// Memory is limited by the chunk size and the number of devices. Returns [`Error::Cancelled`] soon after
/// [`Progress::cancel`].
///
/// # Errors
/// A source cannot be read, or the progress was cancelled.
pub fn device_statistics(
    sources: Vec<Source>,
    now_ms: Option<u64>,
    progress: &Arc<Progress>,
) -> Result<Statistics, Error> {
    progress.set_total_bytes(sources.iter().filter_map(read::size_bytes).sum());
    let mut statistics = Statistics::default();
    for source in sources {
        let mut opened = read::open(source, progress)?;
        let mut next = opened.chunks.next_chunk(progress)?;
        while let Some(chunk) = next {
            let (decoded, read) = rayon::join(|| decode(&chunk), || opened.chunks.next_chunk(progress));
            for part in &decoded {
                statistics.add(part, now_ms);
            }
            progress.add_records(chunk.len() as u64);
            next = read?;
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
        }
    }
    Ok(statistics)
}

impl Statistics {
    fn add(&mut self, decoded: &Decoded, now_ms: Option<u64>) {
        self.malformed += decoded.malformed.len() as u64;
        let of_one_device = |a: &AuditRecord, b: &AuditRecord| a.device_id == b.device_id;
        for run in decoded.records.chunk_by(of_one_device) {
            let Some(first) = run.first() else { continue };
            if !self.devices.contains_key(first.device_id.as_str()) {
                self.devices.insert(first.device_id.as_str().into(), DeviceStatistics::read_at(now_ms));
            }
            if let Some(device) = self.devices.get_mut(first.device_id.as_str()) {
                run.iter().for_each(|record| device.push(record));
            }
        }
    }
}

fn decode(chunk: &Chunk) -> Vec<Decoded> {
    let size = slice_size(chunk.len());
    let slices = (0..chunk.len().div_ceil(size)).into_par_iter();
    slices.map(|at| chunk.decode(at * size..chunk.len().min((at + 1) * size))).collect()
}
