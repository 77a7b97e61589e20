//! The records of a bundle whose payloads are not in it, and the leaves 05 that erase them (step 7.4 of
//! docs/reference/bundle.md).

use std::collections::{BTreeSet, HashMap};

use edgesentry_chain::{AuditRecord, Hash};

use crate::leaf::ErasedLeaf;

/// The maximum number of records without their payloads that are remembered. No leaf excuses a later one.
pub const MAX_LACKING: usize = 100_000;

/// The first records without their payloads. Memory is limited by [`MAX_LACKING`] and the devices.
#[derive(Clone, Default, Debug)]
pub(crate) struct Lacking {
    /// The entries of a device that a leaf 05 names by sequence and payload hash.
    devices: HashMap<String, HashMap<(u64, Hash), Vec<u64>>>,
    records: usize,
    erased: BTreeSet<u64>,
}

impl Lacking {
    /// Remembers the entry of a record.
    pub(crate) fn push(&mut self, entry: u64, record: &AuditRecord) {
        if self.records == MAX_LACKING {
            return;
        }
        self.records += 1;
        if !self.devices.contains_key(&record.device_id) {
            self.devices.insert(record.device_id.clone(), HashMap::new());
        }
        if let Some(device) = self.devices.get_mut(&record.device_id) {
            device.entry((record.sequence, record.payload_hash)).or_default().push(entry);
        }
    }

    /// Takes a leaf behind these records.
    pub(crate) fn erase(&mut self, leaf: &ErasedLeaf) {
        let device = self.devices.get_mut(&leaf.device_id);
        let entries = device.and_then(|device| device.remove(&(leaf.sequence, leaf.payload_hash)));
        self.erased.extend(entries.into_iter().flatten());
    }

    /// Returns the entries of the records that a leaf behind them erases.
    pub(crate) fn erased(&self) -> &BTreeSet<u64> {
        &self.erased
    }
}

#[cfg(test)]
mod tests {
    use edgesentry_chain::{Device, Scheme};

    use super::*;

    #[test]
    fn the_first_records_are_remembered_and_later_leaves_erase_them() {
        let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
        let mut record = device.sign(1, b"door", "1.bin").unwrap();
        let leaf = |record: &AuditRecord| ErasedLeaf {
            device_id: record.device_id.clone(),
            sequence: record.sequence,
            payload_hash: record.payload_hash,
            reason: "request 7".into(),
            at_ms: 1,
        };
        let mut lacking = Lacking::default();
        lacking.erase(&leaf(&record));
        for entry in 0..=MAX_LACKING as u64 {
            record.sequence = entry;
            lacking.push(entry, &record);
        }
        assert!(lacking.erased().is_empty());
        record.sequence = 7;
        lacking.erase(&ErasedLeaf { payload_hash: Hash::ZERO, ..leaf(&record) });
        lacking.erase(&ErasedLeaf { device_id: "lift-02".into(), ..leaf(&record) });
        assert!(lacking.erased().is_empty());
        for sequence in [7, 7, MAX_LACKING as u64] {
            record.sequence = sequence;
            lacking.erase(&leaf(&record));
        }
        assert_eq!(lacking.erased(), &BTreeSet::from([7]));
    }
}
