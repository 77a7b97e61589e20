//! The items of a bundle: leaves, and the roots of the subtrees between them.

use crate::bundle::push_entry;
use crate::hash::TreeHash;
use crate::range::{NodeId, perfect_subtrees};
use crate::tile::TileError;

const MAX_LEVEL: u8 = 62;
const SUBTREE_BYTES: usize = 33;

/// The reason why bytes are not items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafItemError {
    /// A subtree where every leaf is required.
    #[error("at position {0} a subtree stands for leaves that a bundle of the whole log must have")]
    Subtree(u64),
    /// A subtree that is not one of the largest perfect subtrees of the leaves left out.
    #[error("the subtree of level {level} at position {position} is not the one that belongs there")]
    Place {
        /// The position.
        position: u64,
        /// The level.
        level: u8,
    },
}

/// An item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LeafItem<'a> {
    /// A leaf.
    Leaf {
        /// Its index in the log.
        index: u64,
        /// Its bytes, at least one.
        leaf: &'a [u8],
    },
    /// The root of a perfect subtree, in place of its leaves.
    Subtree {
        /// The index of its first leaf.
        begin: u64,
        /// Its level: it has 2^level leaves.
        level: u8,
        /// Its hash.
        hash: TreeHash,
    },
}

/// Reads items, and refuses all encodings but one.
///
/// ```
/// use edgesentry_log::{LeafItem, LeafItems, TreeHash, push_leaf_item, push_subtree_item};
/// let mut bytes = Vec::new();
/// push_subtree_item(&mut bytes, 2, &TreeHash::EMPTY);
/// push_leaf_item(&mut bytes, b"\x02...")?;
///
/// let (mut items, mut rest) = (LeafItems::new(5, None, true), bytes.as_slice());
/// assert!(matches!(items.next(&mut rest)?, Some(LeafItem::Subtree { begin: 0, level: 2, .. })));
/// assert_eq!(items.next(&mut rest)?, Some(LeafItem::Leaf { index: 4, leaf: b"\x02..." }));
/// assert_eq!((items.next(&mut rest)?, items.position()), (None, 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LeafItems {
    position: u64,
    size: u64,
    since: Option<u64>,
    has_subtrees: bool,
    /// The level of the item before, if it was a subtree.
    before: Option<u8>,
}

impl LeafItems {
    /// Starts at the first leaf of a tree. Subtrees end at `size` at the latest, and none crosses `since`. Without
    /// `has_subtrees`, every item is a leaf.
    pub fn new(size: u64, since: Option<u64>, has_subtrees: bool) -> LeafItems {
        LeafItems { position: 0, size, since, has_subtrees, before: None }
    }

    /// Returns the position after the items so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes the next item from the front of `bytes`; `None` if it is not complete.
    ///
    /// # Errors
    /// A subtree is out of place.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<LeafItem<'a>>, LeafItemError> {
        let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        let position = self.position;
        if length > 0 {
            let Some((leaf, rest)) = rest.split_at_checked(length) else { return Ok(None) };
            (*bytes, self.position, self.before) = (rest, position + 1, None);
            return Ok(Some(LeafItem::Leaf { index: position, leaf }));
        }
        let Some((&[level, ref hash @ ..], rest)) = rest.split_first_chunk::<SUBTREE_BYTES>() else {
            return Ok(None);
        };
        if !self.has_subtrees {
            return Err(LeafItemError::Subtree(position));
        }
        let end = self.end_of(level).ok_or(LeafItemError::Place { position, level })?;
        (*bytes, self.position, self.before) = (rest, end, Some(level));
        Ok(Some(LeafItem::Subtree { begin: position, level, hash: TreeHash(*hash) }))
    }

    /// Returns the end of a subtree at this position; `None` if another one belongs there.
    fn end_of(&self, level: u8) -> Option<u64> {
        let begin = self.position;
        let leaves = 1_u64.checked_shl(level.into()).filter(|_| level <= MAX_LEVEL)?;
        let end = begin.checked_add(leaves).filter(|end| *end <= self.size)?;
        let is_aligned = begin.is_multiple_of(leaves);
        let crosses = self.since.is_some_and(|since| begin < since && since < end);
        let is_right_half = self.before == Some(level) && !(begin / leaves).is_multiple_of(2);
        let is_cut = self.since == Some(begin);
        (is_aligned && !crosses && (!is_right_half || is_cut)).then_some(end)
    }
}

/// Appends a leaf to the bytes of items.
///
/// # Errors
/// [`TileError::EntryTooLong`].
pub fn push_leaf_item(bytes: &mut Vec<u8>, leaf: &[u8]) -> Result<(), TileError> {
    push_entry(bytes, leaf)
}

/// Appends a subtree to the bytes of items.
pub fn push_subtree_item(bytes: &mut Vec<u8>, level: u8, hash: &TreeHash) {
    bytes.extend_from_slice(&[0, 0, level]);
    bytes.extend_from_slice(&hash.0);
}

/// Returns the subtrees that stand for the leaves `begin..end`, in order.
pub fn skipped_subtrees(begin: u64, end: u64, since: Option<u64>) -> Vec<NodeId> {
    match since.filter(|since| begin < *since && *since < end) {
        Some(since) => [perfect_subtrees(begin, since), perfect_subtrees(since, end)].concat(),
        None => perfect_subtrees(begin, end),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evidence::PartialTree;
    use crate::tree::Tree;

    /// Writes leaves and gaps of a tree as items.
    fn items_of(tree: &Tree, leaves: &[bool], since: Option<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut gap = 0;
        let skip = |bytes: &mut Vec<u8>, begin: u64, end: u64| {
            for node in skipped_subtrees(begin, end, since) {
                push_subtree_item(bytes, node.level, &tree.node(node).unwrap());
            }
        };
        for index in (0..leaves.len()).filter(|index| leaves[*index]) {
            skip(&mut bytes, gap, index as u64);
            push_leaf_item(&mut bytes, &[2, index as u8]).unwrap();
            gap = index as u64 + 1;
        }
        skip(&mut bytes, gap, leaves.len() as u64);
        bytes
    }

    proptest! {
        #[test]
        fn items_give_both_roots_and_have_one_encoding(
            leaves in prop::collection::vec(any::<bool>(), 1..70),
            since in prop::option::of(1_u64..70),
            split in any::<prop::sample::Index>(),
        ) {
            let size = leaves.len() as u64;
            let since = since.filter(|since| *since <= size);
            let mut tree = Tree::default();
            let mut roots = vec![tree.root()];
            for index in 0..size {
                tree.push(TreeHash::of_leaf(&[2, index as u8]));
                roots.push(tree.root());
            }
            let bytes = items_of(&tree, &leaves, since);
            let (mut items, mut rest) = (LeafItems::new(size, since, true), bytes.as_slice());
            let mut partial = PartialTree::new(size, since);
            let mut subtrees = Vec::new();
            while let Some(item) = items.next(&mut rest).unwrap() {
                partial.push(&item);
                if let LeafItem::Subtree { begin, level, .. } = item {
                    subtrees.push((bytes.len() - rest.len(), begin, level));
                }
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(items.position(), size);
            prop_assert_eq!(partial.root(), Some(tree.root()));
            if let Some(since) = since {
                prop_assert_eq!(partial.cut_root(), Some(roots[since as usize]));
            }
            // A subtree as its two halves is another encoding of the same leaves, and is refused.
            let halves: Vec<_> = subtrees.into_iter().filter(|(_, _, level)| *level > 0).collect();
            if !halves.is_empty() {
                let (end, begin, level) = halves[split.index(halves.len())];
                let mut other = bytes[..end - 35].to_vec();
                for index in 0..2 {
                    let node = NodeId { level: level - 1, index: (begin >> (level - 1)) + index };
                    push_subtree_item(&mut other, level - 1, &tree.node(node).unwrap());
                }
                other.extend_from_slice(&bytes[end..]);
                let (mut items, mut rest) = (LeafItems::new(size, since, true), other.as_slice());
                let read = std::iter::from_fn(|| items.next(&mut rest).transpose()).find(Result::is_err);
                prop_assert!(read.is_some());
            }
        }

        #[test]
        fn bytes_that_are_read_are_the_bytes_that_are_written(bytes in prop::collection::vec(0_u8..4, 0..200)) {
            let (mut items, mut rest) = (LeafItems::new(40, Some(7), true), bytes.as_slice());
            let mut again = Vec::new();
            while let Ok(Some(item)) = items.next(&mut rest) {
                match item {
                    LeafItem::Leaf { leaf, .. } => push_leaf_item(&mut again, leaf).unwrap(),
                    LeafItem::Subtree { level, hash, .. } => push_subtree_item(&mut again, level, &hash),
                }
            }
            prop_assert_eq!(&bytes[..bytes.len() - rest.len()], again);
        }
    }

    #[test]
    fn subtrees_have_limits() {
        for (level, size, accepted) in [
            (62, 1 << 62, true),
            (62, (1 << 62) - 1, false),
            (63, u64::MAX, false),
            (64, u64::MAX, false),
            (255, u64::MAX, false),
        ] {
            let mut bytes = Vec::new();
            push_subtree_item(&mut bytes, level, &TreeHash::EMPTY);
            let read =
                LeafItems::new(size, None, true).next(&mut bytes.as_slice()).map(|item| item.is_some());
            assert_eq!(read == Ok(true), accepted, "{level} {size}");
            assert!(LeafItems::new(size, None, false).next(&mut bytes.as_slice()).is_err());
        }
    }
}
