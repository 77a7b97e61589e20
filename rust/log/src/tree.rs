//! A whole tree in memory.

use crate::hash::TreeHash;
use crate::range::{CompactRange, NodeId};

/// A tree with all its perfect nodes in memory: 64 bytes per leaf.
///
/// ```
/// use edgesentry_log::{Tree, TreeHash, inclusion_path, verify_inclusion};
/// let mut tree = Tree::default();
/// for n in 0..7_u8 {
///     tree.push(TreeHash::of_leaf(&[n]));
/// }
/// let path = inclusion_path(3, tree.size(), |node| tree.node(node))?;
/// verify_inclusion(TreeHash::of_leaf(&[3]), 3, tree.size(), &path, tree.root())?;
/// # Ok::<(), edgesentry_log::ProofError>(())
/// ```
#[derive(Clone, Default, Debug)]
pub struct Tree {
    range: CompactRange,
    levels: Vec<Vec<TreeHash>>,
}

impl Tree {
    /// Appends the hash of a leaf.
    pub fn push(&mut self, leaf: TreeHash) {
        let levels = &mut self.levels;
        self.range.push_with(leaf, &mut |node, hash| {
            let level = usize::from(node.level);
            if levels.len() == level {
                levels.push(Vec::new());
            }
            levels[level].push(hash);
        });
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.range.end()
    }

    /// Returns the root of the whole tree.
    pub fn root(&self) -> TreeHash {
        // The range starts at leaf 0, so it has a root.
        self.range.root().unwrap_or(TreeHash::EMPTY)
    }

    /// Returns the hash of a perfect subtree, if the tree has it.
    pub fn node(&self, node: NodeId) -> Option<TreeHash> {
        self.levels.get(usize::from(node.level))?.get(usize::try_from(node.index).ok()?).copied()
    }
}
