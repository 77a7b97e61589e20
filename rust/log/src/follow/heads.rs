//! The heads tree of a log that is followed. A change of a head costs the hashes of its path; a new device costs the
//! hashes of the whole tree, once a batch.

use std::collections::BTreeMap;

use super::devices::Device;
use super::entry_head;
use crate::hash::TreeHash;
use crate::heads::HeadEntry;

/// The hashes of the heads tree by level, entries first.
#[derive(Clone, Default, Debug)]
pub(super) struct HeadsIndex {
    levels: Vec<Vec<TreeHash>>,
    /// The devices whose entries changed since the last root.
    changed: Vec<String>,
    /// True if the tree must be built again, because it lacks a device.
    has_grown: bool,
}

impl HeadsIndex {
    /// Notes a new device, which moves the entries behind it.
    pub(super) fn grow(&mut self) {
        self.has_grown = true;
    }

    /// Notes a device whose entry may have changed.
    pub(super) fn touch(&mut self, device_id: &str, device: &mut Device) {
        if device.entry.take().is_some() && !self.has_grown {
            self.changed.push(device_id.to_owned());
        }
    }

    /// Returns the root and the number of entries. Devices without a key have no entry.
    pub(super) fn root(&mut self, devices: &mut BTreeMap<String, Device>) -> (TreeHash, u64) {
        let changed = std::mem::take(&mut self.changed);
        if std::mem::take(&mut self.has_grown) {
            self.build(devices);
        } else {
            self.update(devices, &changed);
        }
        let entries = self.levels.first().map_or(0, Vec::len);
        let root = self.levels.last().and_then(|level| level.first()).copied();
        (root.unwrap_or(TreeHash::EMPTY), entries as u64)
    }

    fn build(&mut self, devices: &mut BTreeMap<String, Device>) {
        let with_keys = devices.iter_mut().filter(|(_, device)| !device.keys.is_empty());
        let entries = with_keys.enumerate().map(|(place, (device_id, device))| {
            device.place = Some(place);
            *device.entry.get_or_insert_with(|| entry_of(device_id, device.head, device.start))
        });
        self.levels = vec![entries.collect()];
        while let Some(level) = self.levels.last().filter(|level| level.len() > 1) {
            self.levels.push((0..level.len().div_ceil(2)).map(|at| parent(level, at)).collect());
        }
    }

    fn update(&mut self, devices: &mut BTreeMap<String, Device>, changed: &[String]) {
        let mut places = Vec::with_capacity(changed.len());
        for device_id in changed {
            let Some(device) = devices.get_mut(device_id) else { continue };
            let entry = entry_of(device_id, device.head, device.start);
            device.entry = Some(entry);
            if let Some(slot) = device.place.and_then(|place| self.levels.first_mut()?.get_mut(place)) {
                *slot = entry;
                places.extend(device.place);
            }
        }
        places.sort_unstable();
        for level in 1..self.levels.len() {
            places.iter_mut().for_each(|place| *place /= 2);
            places.dedup();
            for place in &places {
                self.levels[level][*place] = parent(&self.levels[level - 1], *place);
            }
        }
    }
}

/// Returns a node from the level below. The last node of an odd level has no sibling and moves up.
fn parent(level: &[TreeHash], at: usize) -> TreeHash {
    match level.get(2 * at + 1) {
        Some(right) => TreeHash::of_node(&level[2 * at], right),
        None => level[2 * at],
    }
}

fn entry_of(
    device_id: &str,
    head: Option<edgesentry_chain::Head>,
    start: Option<edgesentry_chain::Head>,
) -> TreeHash {
    let (head, start) = entry_head(head, start);
    let entry = HeadEntry {
        device_id: device_id.to_owned(),
        sequence: head.sequence,
        record_hash: head.hash,
        start_sequence: start.sequence,
        start_hash: start.hash,
    };
    entry.hash()
}
