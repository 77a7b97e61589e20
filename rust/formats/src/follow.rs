//! Follows the successions of keys through some sources, in one pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, FollowError, KeyRing, RingKey, SUCCESSION_PREFIX, slice_size};
use rayon::prelude::*;

use crate::error::Error;
use crate::progress::Progress;
use crate::read::{self, Chunk, Source};

/// Refused successions that are kept; all are counted.
const MAX_REFUSED: usize = 1000;

/// The result of [`follow_keys`].
#[derive(Clone, Debug, Default)]
pub struct Followed {
    /// The ring with the new keys.
    pub ring: KeyRing,
    /// The keys that the records state, and that the ring has now, by device and first sequence.
    pub keys: BTreeMap<(String, u64), RingKey>,
    /// The first successions that do not hold or contradict the ring. The ring proves nothing about their devices.
    pub refused: Vec<Refused>,
    /// The number of these.
    pub refused_total: u64,
}

/// A succession that the ring did not follow.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The device.
    pub device_id: String,
    /// The sequence of the record.
    pub sequence: u64,
    /// The reason.
    pub error: FollowError,
}

/// Reads all sources and adds to `ring` each key that a device of the ring has stated as the successor of its key
/// ([`KeyRing::follow`]). Nothing else is verified: verify the sources under the resulting ring.
///
/// # Errors
/// A source cannot be read, or the progress was cancelled.
pub fn follow_keys(sources: Vec<Source>, ring: KeyRing, progress: &Arc<Progress>) -> Result<Followed, Error> {
    progress.set_total_bytes(sources.iter().filter_map(read::size_bytes).sum());
    let mut followed = Followed { ring, ..Followed::default() };
    for source in sources {
        let mut opened = read::open(source, progress)?;
        let mut next = opened.chunks.next_chunk(progress)?;
        while let Some(chunk) = next {
            let (found, read) = rayon::join(|| successions(&chunk), || opened.chunks.next_chunk(progress));
            found.iter().for_each(|record| followed.add(record));
            progress.add_records(chunk.len() as u64);
            next = read?;
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
        }
    }
    Ok(followed)
}

impl Followed {
    fn add(&mut self, record: &AuditRecord) {
        match self.ring.follow(record) {
            Ok(None) => {}
            Ok(Some(key)) => {
                self.keys.insert((record.device_id.clone(), key.valid_from), key);
            }
            Err(error) => {
                self.refused_total += 1;
                if self.refused.len() < MAX_REFUSED {
                    let (device_id, sequence) = (record.device_id.clone(), record.sequence);
                    self.refused.push(Refused { device_id, sequence, error });
                }
            }
        }
    }
}

/// Returns the records of a chunk that are successions, in order.
fn successions(chunk: &Chunk) -> Vec<AuditRecord> {
    let size = slice_size(chunk.len());
    let slices = (0..chunk.len().div_ceil(size)).into_par_iter();
    let found = slices.map(|at| {
        let mut records = chunk.decode(at * size..chunk.len().min((at + 1) * size)).records;
        records.retain(|record| record.object_ref.starts_with(SUCCESSION_PREFIX));
        records
    });
    found.collect::<Vec<_>>().concat()
}
