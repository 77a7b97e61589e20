//! Compact ranges: any range of leaves as O(log n) hashes.

use crate::hash::{MAX_SIZE, TreeHash};

/// A perfect subtree: the 2^level leaves from `index`·2^level.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId {
    /// 0 for a leaf.
    pub level: u8,
    /// Index among the nodes of its level, from 0.
    pub index: u64,
}

/// The roots of the largest perfect subtrees that make up the leaves `begin..end` of a tree.
///
/// [`CompactRange::merge`] is associative, like the merge of chain segments: the result does not depend on the split
/// into ranges or the order of merges. The example hashes two parts of a tree independently.
///
/// ```
/// use edgesentry_log::{CompactRange, TreeHash};
/// let leaves: Vec<TreeHash> = (0..11_u8).map(|n| TreeHash::of_leaf(&[n])).collect();
/// let range = |begin: usize, end: usize| {
///     let mut range = CompactRange::new(begin as u64)?;
///     leaves[begin..end].iter().for_each(|leaf| range.push(*leaf));
///     Ok::<_, edgesentry_log::RangeError>(range)
/// };
/// let mut left = range(0, 5)?;
/// left.merge(&range(5, 11)?)?;
/// assert_eq!(left.root()?, range(0, 11)?.root()?);
/// # Ok::<(), edgesentry_log::RangeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CompactRange {
    begin: u64,
    end: u64,
    /// Left to right. No two neighbours are the children of one node: their parent replaces such a pair.
    nodes: Vec<(u8, TreeHash)>,
}

/// The reason why ranges cannot be created, merged or reduced to a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// The ranges are not adjacent.
    #[error("the range that ends at {end} cannot be merged with one that starts at {begin}")]
    NotAdjacent {
        /// The end of the left range.
        end: u64,
        /// The start of the right range.
        begin: u64,
    },
    /// Only a range that starts at leaf 0 has a root.
    #[error("a range that starts at leaf {0} has no root: only a range from leaf 0 has one")]
    NoRoot(u64),
    /// The range exceeds a tree of the maximum size, or ends before its start.
    #[error("{begin}..{end} is not a range of leaves: a tree has at most 2^63 - 1")]
    Bounds {
        /// The first leaf.
        begin: u64,
        /// The index after the last leaf.
        end: u64,
    },
    /// A stored range has too few or too many hashes.
    #[error("{actual} hashes for a range that consists of {expected} perfect subtrees")]
    HashCount {
        /// The number of subtrees in the range.
        expected: usize,
        /// The actual number of hashes.
        actual: usize,
    },
}

impl CompactRange {
    /// Creates an empty range before leaf `begin`.
    ///
    /// # Errors
    /// [`RangeError::Bounds`] beyond the largest size of a tree.
    pub fn new(begin: u64) -> Result<CompactRange, RangeError> {
        CompactRange::from_hashes(begin, begin, &[])
    }

    /// Creates a range from its hashes, left to right, the result of [`CompactRange::hashes`].
    ///
    /// # Errors
    /// [`RangeError::Bounds`] or [`RangeError::HashCount`].
    pub fn from_hashes(begin: u64, end: u64, hashes: &[TreeHash]) -> Result<CompactRange, RangeError> {
        if begin > end || end > MAX_SIZE {
            return Err(RangeError::Bounds { begin, end });
        }
        let subtrees = perfect_subtrees(begin, end);
        if subtrees.len() != hashes.len() {
            return Err(RangeError::HashCount { expected: subtrees.len(), actual: hashes.len() });
        }
        let nodes = subtrees.iter().map(|node| node.level).zip(hashes.iter().copied()).collect();
        Ok(CompactRange { begin, end, nodes })
    }

    /// Returns the first leaf.
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// Returns the index after the last leaf, which is the size of the tree if the range starts at 0.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Returns the roots of its perfect subtrees, left to right: at most 124.
    pub fn hashes(&self) -> impl DoubleEndedIterator<Item = TreeHash> {
        self.nodes.iter().map(|(_, hash)| *hash)
    }

    /// Appends the hash of a leaf.
    pub fn push(&mut self, leaf: TreeHash) {
        self.push_with(leaf, &mut |_, _| {});
    }

    /// Like [`CompactRange::push`], and calls `complete` for each node that this leaf completes, the leaf first.
    pub fn push_with(&mut self, leaf: TreeHash, complete: &mut impl FnMut(NodeId, TreeHash)) {
        let leaf_id = NodeId { level: 0, index: self.end };
        self.end += 1;
        complete(leaf_id, leaf);
        self.add(leaf_id, leaf, complete);
    }

    /// Appends the next range.
    ///
    /// # Errors
    /// [`RangeError::NotAdjacent`]; the range is then unchanged.
    pub fn merge(&mut self, right: &CompactRange) -> Result<(), RangeError> {
        if self.end != right.begin {
            return Err(RangeError::NotAdjacent { end: self.end, begin: right.begin });
        }
        for (level, hash) in &right.nodes {
            let node = NodeId { level: *level, index: self.end >> level };
            self.end += 1 << level;
            self.add(node, *hash, &mut |_, _| {});
        }
        Ok(())
    }

    /// Returns the root of the tree of `end` leaves.
    ///
    /// # Errors
    /// [`RangeError::NoRoot`] if the range does not start at leaf 0.
    pub fn root(&self) -> Result<TreeHash, RangeError> {
        if self.begin != 0 {
            return Err(RangeError::NoRoot(self.begin));
        }
        Ok(fold(self.hashes()).unwrap_or(TreeHash::EMPTY))
    }

    /// Appends a node. While the last two nodes are left and right child of one node, that node replaces them.
    fn add(&mut self, mut node: NodeId, mut hash: TreeHash, complete: &mut impl FnMut(NodeId, TreeHash)) {
        while node.index % 2 == 1
            && let Some((_, left)) = self.nodes.pop_if(|(level, _)| *level == node.level)
        {
            node = NodeId { level: node.level + 1, index: node.index / 2 };
            hash = TreeHash::of_node(&left, &hash);
            complete(node, hash);
        }
        self.nodes.push((node.level, hash));
    }
}

/// Returns the root over subtrees of falling size, left to right: the smallest ones are joined first.
pub(crate) fn fold(hashes: impl DoubleEndedIterator<Item = TreeHash>) -> Option<TreeHash> {
    hashes.rev().reduce(|right, left| TreeHash::of_node(&left, &right))
}

/// Returns the largest perfect subtrees of `begin..end`, left to right.
pub(crate) fn perfect_subtrees(begin: u64, end: u64) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut at = begin;
    while at < end {
        // As large as the position and the remaining leaves allow.
        let level = at.trailing_zeros().min((end - at).ilog2()) as u8;
        nodes.push(NodeId { level, index: at >> level });
        at += 1 << level;
    }
    nodes
}
