//! The roots of a tree of which only some leaves are there.

use super::items::LeafItem;
use crate::hash::TreeHash;
use crate::range::CompactRange;

/// Folds the items of a bundle into the root of the log, and into its root at an earlier size. It keeps about 60 hashes.
///
/// ```
/// use edgesentry_log::{LeafItem, PartialTree, TreeHash};
/// let hash = TreeHash::of_leaf(b"first");
/// let mut tree = PartialTree::new(2, None);
/// tree.push(&LeafItem::Subtree { begin: 0, level: 0, hash });
/// assert_eq!(tree.root(), None);
/// tree.push(&LeafItem::Leaf { index: 1, leaf: b"second" });
/// assert_eq!(tree.root(), Some(TreeHash::of_node(&hash, &TreeHash::of_leaf(b"second"))));
/// ```
#[derive(Clone, Debug)]
pub struct PartialTree {
    range: CompactRange,
    size: u64,
    cut: Option<u64>,
    at_size: Option<TreeHash>,
    at_cut: Option<TreeHash>,
}

impl PartialTree {
    /// Starts a tree of which the roots at `size` and at `cut` are needed.
    pub fn new(size: u64, cut: Option<u64>) -> PartialTree {
        let mut tree = PartialTree { range: CompactRange::default(), size, cut, at_size: None, at_cut: None };
        tree.note_roots();
        tree
    }

    /// Appends the next item. Items at or after `size` change nothing.
    pub fn push(&mut self, item: &LeafItem<'_>) {
        if self.range.end() >= self.size {
            return;
        }
        match *item {
            LeafItem::Leaf { leaf, .. } => self.range.push(TreeHash::of_leaf(leaf)),
            LeafItem::Subtree { begin, level, hash } => {
                // A reader of items accepts only perfect subtrees at the position.
                let end = begin.saturating_add(1 << level);
                let Ok(subtree) = CompactRange::from_hashes(begin, end, &[hash]) else { return };
                let _ = self.range.merge(&subtree);
            }
        }
        self.note_roots();
    }

    fn note_roots(&mut self) {
        let end = self.range.end();
        if end == self.size {
            self.at_size = self.range.root().ok();
        }
        if Some(end) == self.cut {
            self.at_cut = self.range.root().ok();
        }
    }

    /// Returns the root at `size`; `None` if the items end before it.
    pub fn root(&self) -> Option<TreeHash> {
        self.at_size
    }

    /// Returns the root at `cut`; `None` if no item ends there.
    pub fn cut_root(&self) -> Option<TreeHash> {
        self.at_cut
    }

    /// Returns the root of the items so far.
    pub(crate) fn root_so_far(&self) -> TreeHash {
        // The range starts at leaf 0, so it has a root.
        self.range.root().unwrap_or(TreeHash::EMPTY)
    }
}
