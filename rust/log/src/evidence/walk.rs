//! The fold over the leaves of a bundle (steps 6, 10 and 12 of docs/reference/bundle.md).

use std::collections::BTreeSet;

use edgesentry_chain::canonical::CanonicalError;
use edgesentry_chain::{AuditRecord, Finding, FindingCode, Head};

use super::items::LeafItem;
use super::lacking::Lacking;
use super::tree::PartialTree;
use crate::leaf::Leaf;
use crate::level::{MAX_DEVICES, about, counted};
use crate::places::Places;

/// The leaves of a bundle, in the order of the log. Memory is that of the devices, their runs, and the leaves that are
/// not records.
#[derive(Clone, Debug)]
pub struct LeafWalk {
    pub(crate) tree: PartialTree,
    pub(crate) places: Places,
    pub(crate) size: u64,
    pub(crate) position: u64,
    lacking: Lacking,
    /// The findings of the first leaves behind the checkpoint, and the number of the others.
    behind: Vec<Finding>,
    more_behind: u64,
}

impl LeafWalk {
    /// Starts a walk to a checkpoint of this size. `cut` is the size of the auditor's older checkpoint.
    pub fn new(size: u64, cut: Option<u64>) -> LeafWalk {
        LeafWalk {
            tree: PartialTree::new(size, cut),
            places: Places::default(),
            size,
            position: 0,
            lacking: Lacking::default(),
            behind: Vec::new(),
            more_behind: 0,
        }
    }

    /// Takes the next item. Returns the record, or the reason why it is malformed, if the item is the leaf of a record up
    /// to the checkpoint.
    pub fn push(&mut self, item: &LeafItem<'_>) -> Option<Result<AuditRecord, CanonicalError>> {
        self.tree.push(item);
        let (index, leaf) = match *item {
            LeafItem::Subtree { begin, level, .. } => {
                self.position = begin.saturating_add(1 << level);
                return None;
            }
            LeafItem::Leaf { index, leaf } => (index, leaf),
        };
        self.position = index.saturating_add(1);
        if index >= self.size {
            self.push_behind(index, leaf);
            return None;
        }
        let body = match leaf.split_first() {
            Some((&Leaf::RECORD, body)) => body,
            _ => {
                self.places.leaf_at(index, leaf);
                if leaf.first() == Some(&Leaf::ERASED)
                    && let Ok(Leaf::Erased(leaf)) = Leaf::parse(leaf)
                {
                    self.lacking.erase(&leaf);
                }
                return None;
            }
        };
        let record = AuditRecord::from_canonical_bytes(body);
        Some(record.inspect(|record| self.places.record_at(index, record)))
    }

    /// Remembers that the payload of the last record is not in the bundle. `entry` is its position in the input.
    pub fn lacks_payload(&mut self, entry: u64, record: &AuditRecord) {
        self.lacking.push(entry, record);
    }

    /// Returns the entries without payload that the leaves say were erased. It is only a claim unless
    /// [`LogCheck::conclude_bundle`](crate::LogCheck::conclude_bundle) counts them.
    pub fn erased(&self) -> &BTreeSet<u64> {
        self.lacking.erased()
    }

    /// Step 6.1.
    fn push_behind(&mut self, index: u64, leaf: &[u8]) {
        if self.behind.len() == MAX_DEVICES {
            self.more_behind += 1;
            return;
        }
        let expected = format!("no leaf after the {} of the checkpoint", self.size);
        let finding = Finding::new(FindingCode::NotIncluded, expected, format!("leaf {index}"));
        self.behind.push(match Leaf::parse(leaf) {
            Ok(Leaf::Record(record)) => about(&record.device_id, record.sequence, finding),
            _ => finding,
        });
    }

    /// Returns the findings of leaves after the checkpoint.
    pub(crate) fn behind(&self) -> Vec<Finding> {
        let more = counted(FindingCode::NotIncluded, self.more_behind);
        self.behind.iter().cloned().chain(more).collect()
    }

    /// Returns the starts of the chains that do not begin at sequence 1, by the account of the log (step 7.2).
    pub fn starts(&self) -> impl Iterator<Item = (&str, Head)> {
        let devices = self.places.devices.iter();
        devices.filter_map(|(device_id, places)| Some((device_id.as_str(), places.start(self.size)?)))
    }
}
