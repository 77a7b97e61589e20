//! Entries of a heads tree, with the hashes that join them to its root.

use std::collections::BTreeMap;

use super::items::{LeafItem, LeafItemError, LeafItems, push_leaf_item, push_subtree_item, skipped_subtrees};
use super::tree::PartialTree;
use crate::hash::{MAX_SIZE, TreeHash};
use crate::heads::{HeadEntry, HeadsError, HeadsTree};

/// The reason why bytes are not a part of a heads tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartialHeadsError {
    /// An item is out of place.
    #[error("heads: {0}")]
    Item(#[from] LeafItemError),
    /// An entry is malformed, or out of order.
    #[error("heads: {0}")]
    Entry(#[from] HeadsError),
    /// The bytes end within an item.
    #[error("heads end within an item")]
    Truncated,
}

/// Some entries of a heads tree. Their root shows whether they are those of a heads leaf.
#[derive(Clone, Debug)]
pub struct PartialHeads {
    /// The entries with their positions, by device.
    entries: BTreeMap<String, (u64, HeadEntry)>,
    devices: u64,
    root: TreeHash,
}

impl PartialHeads {
    /// Reads the member `heads` of a bundle.
    ///
    /// # Errors
    /// The bytes are not items, or an item is not an entry, or the entries do not ascend.
    pub fn parse(mut bytes: &[u8]) -> Result<PartialHeads, PartialHeadsError> {
        let mut items = LeafItems::new(MAX_SIZE, None, true);
        let mut tree = PartialTree::new(MAX_SIZE, None);
        let mut entries: BTreeMap<String, (u64, HeadEntry)> = BTreeMap::new();
        while let Some(item) = items.next(&mut bytes)? {
            tree.push(&item);
            let LeafItem::Leaf { index, leaf } = item else { continue };
            let entry = HeadEntry::parse(leaf)?;
            let device_id = entry.device_id.clone();
            if let Some((previous, _)) = entries.last_key_value().filter(|(last, _)| **last >= device_id) {
                let previous = previous.clone();
                return Err(HeadsError::Order { device_id, previous }.into());
            }
            entries.insert(device_id, (index, entry));
        }
        if !bytes.is_empty() {
            return Err(PartialHeadsError::Truncated);
        }
        Ok(PartialHeads { entries, devices: items.position(), root: tree.root_so_far() })
    }

    /// Returns the number of devices in the tree.
    pub fn devices(&self) -> u64 {
        self.devices
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> TreeHash {
        self.root
    }

    /// Returns the entry of a device.
    pub fn entry(&self, device_id: &str) -> Option<&HeadEntry> {
        self.entries.get(device_id).map(|(_, entry)| entry)
    }

    /// Returns true if the entries show that the tree has no entry of the device.
    pub fn shows_absence(&self, device_id: &str) -> bool {
        use std::ops::Bound::{Excluded, Unbounded};
        if self.entries.contains_key(device_id) {
            return false;
        }
        let position = |(_, (index, _)): (&String, &(u64, HeadEntry))| *index;
        let before = self.entries.range::<str, _>((Unbounded, Excluded(device_id))).next_back().map(position);
        let after = self.entries.range::<str, _>((Excluded(device_id), Unbounded)).next().map(position);
        match (before, after) {
            (None, None) => self.devices == 0,
            (None, Some(after)) => after == 0,
            (Some(before), None) => before + 1 == self.devices,
            (Some(before), Some(after)) => before + 1 == after,
        }
    }
}

/// Writes the entries of devices, or those on both sides of a device that the tree does not have.
pub fn write_partial_heads<'d>(tree: &HeadsTree, devices: impl IntoIterator<Item = &'d str>) -> Vec<u8> {
    let entries = tree.entries();
    let mut shown: Vec<usize> = Vec::new();
    for device_id in devices {
        match entries.binary_search_by(|entry| entry.device_id.as_str().cmp(device_id)) {
            Ok(at) => shown.push(at),
            Err(at) => shown.extend(at.saturating_sub(1)..(at + 1).min(entries.len())),
        }
    }
    shown.sort_unstable();
    shown.dedup();
    let mut bytes = Vec::new();
    let skip = |bytes: &mut Vec<u8>, begin: usize, end: usize| {
        for node in skipped_subtrees(begin as u64, end as u64, None) {
            // The tree has every node of its leaves.
            push_subtree_item(bytes, node.level, &tree.node(node).unwrap_or(TreeHash::EMPTY));
        }
    };
    let mut begin = 0;
    for at in shown {
        skip(&mut bytes, begin, at);
        // An entry is far shorter than a leaf may be: device ids of the log are part of leaves.
        let _ = push_leaf_item(&mut bytes, &entries[at].to_bytes());
        begin = at + 1;
    }
    skip(&mut bytes, begin, entries.len());
    bytes
}

#[cfg(test)]
mod tests {
    use edgesentry_chain::Hash;
    use proptest::prelude::*;

    use super::*;

    fn entry(device_id: &str) -> HeadEntry {
        HeadEntry {
            device_id: device_id.into(),
            sequence: 7,
            record_hash: Hash::of(device_id.as_bytes()),
            start_sequence: 0,
            start_hash: Hash::ZERO,
        }
    }

    proptest! {
        #[test]
        fn parts_show_presence_and_absence(
            present in prop::collection::btree_set("[a-d]{1,3}", 0..20),
            asked in prop::collection::btree_set("[a-d]{1,3}", 1..6),
        ) {
            let tree = HeadsTree::new(present.iter().map(|device| entry(device)).collect()).unwrap();
            let bytes = write_partial_heads(&tree, asked.iter().map(String::as_str));
            let heads = PartialHeads::parse(&bytes).unwrap();
            prop_assert_eq!((heads.devices(), heads.root()), (present.len() as u64, tree.root()));
            for device in &asked {
                prop_assert_eq!(heads.entry(device).is_some(), present.contains(device));
                prop_assert_eq!(heads.shows_absence(device), !present.contains(device));
            }
            // Entries show no absence of a device that the tree has.
            for device in &present {
                prop_assert!(!heads.shows_absence(device) || heads.entry(device).is_some());
            }
            if !bytes.is_empty() {
                prop_assert!(PartialHeads::parse(&bytes[..bytes.len() - 1]).is_err());
            }
        }
    }
}
