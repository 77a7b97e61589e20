//! Inclusion and consistency proofs (RFC 6962, sections 2.1.1 and 2.1.2; checked as in RFC 9162).

use crate::hash::{MAX_SIZE, TreeHash};
use crate::range::{NodeId, fold, perfect_subtrees};

/// The maximum number of hashes in a proof: a tree has at most 2^63 - 1 leaves.
pub const MAX_PATH: usize = 63;

/// The reason why a proof cannot be created or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The tree has no such leaf.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    Index {
        /// The requested index.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The tree is larger than the maximum size.
    #[error("a tree cannot have {0} leaves: at most 2^63 - 1")]
    Size(u64),
    /// The older tree is larger than the newer one.
    #[error("a tree of {old} leaves cannot have grown to {new}")]
    Shrunk {
        /// The size of the older tree.
        old: u64,
        /// The size of the newer one.
        new: u64,
    },
    /// A proof between these sizes has a different number of hashes.
    #[error("the proof has {actual} hashes, expected {expected}")]
    Length {
        /// The expected number of hashes.
        expected: usize,
        /// The actual number of hashes.
        actual: usize,
    },
    /// The hashes do not lead to the root of the tree.
    #[error("the proof does not lead to the root of the tree of {0} leaves")]
    Root(u64),
    /// The hashes do not lead to the root of the older tree.
    #[error("the proof does not lead to the root of the older tree of {0} leaves")]
    OldRoot(u64),
    /// A node required by the proof is missing.
    #[error("node {} of level {} is missing, and the proof needs it", .0.index, .0.level)]
    MissingNode(NodeId),
}

/// Returns the hashes that prove leaf `index` in the tree of `size` leaves, from the sibling of the leaf up.
///
/// `node` returns the hash of a perfect subtree. [`inclusion_nodes`] returns the requested nodes in advance.
///
/// # Errors
/// [`ProofError::Index`], [`ProofError::Size`]; [`ProofError::MissingNode`] if `node` returns none.
pub fn inclusion_path(
    index: u64,
    size: u64,
    node: impl FnMut(NodeId) -> Option<TreeHash>,
) -> Result<Vec<TreeHash>, ProofError> {
    hashes_of(&inclusion_subtrees(index, size)?, node)
}

/// Returns the nodes that [`inclusion_path`] requests.
///
/// # Errors
/// See [`inclusion_path`].
pub fn inclusion_nodes(index: u64, size: u64) -> Result<Vec<NodeId>, ProofError> {
    Ok(nodes_of(&inclusion_subtrees(index, size)?))
}

/// Returns the root to which `path` leads from the hash of leaf `index` in a tree of `size` leaves.
///
/// # Errors
/// [`ProofError::Index`], [`ProofError::Size`], [`ProofError::Length`].
pub fn root_of_inclusion(
    leaf: TreeHash,
    index: u64,
    size: u64,
    path: &[TreeHash],
) -> Result<TreeHash, ProofError> {
    check_length(path, inclusion_subtrees(index, size)?.len())?;
    let mut climb = Climb { at: index, last: size - 1 };
    let mut hash = leaf;
    for sibling in path {
        hash = match climb.step() {
            Side::Left => TreeHash::of_node(sibling, &hash),
            Side::Right => TreeHash::of_node(&hash, sibling),
        };
    }
    Ok(hash)
}

/// A node on the way up to the root, and the last node of its level.
struct Climb {
    at: u64,
    last: u64,
}

/// The side of a node on which its sibling is.
enum Side {
    Left,
    Right,
}

impl Climb {
    /// Moves up to the parent of the node and the next sibling in the path.
    fn step(&mut self) -> Side {
        let side = if self.at % 2 == 1 || self.at == self.last { Side::Left } else { Side::Right };
        if let Side::Left = side {
            // The path has no hashes for levels on which the node has no sibling.
            while self.at.is_multiple_of(2) && self.at != 0 {
                self.up();
            }
        }
        self.up();
        side
    }

    fn up(&mut self) {
        (self.at, self.last) = (self.at / 2, self.last / 2);
    }
}

/// Checks that the leaf with this hash is leaf `index` of the tree of `size` leaves with this root.
///
/// # Errors
/// [`ProofError::Index`], [`ProofError::Size`], [`ProofError::Length`], [`ProofError::Root`].
pub fn verify_inclusion(
    leaf: TreeHash,
    index: u64,
    size: u64,
    path: &[TreeHash],
    root: TreeHash,
) -> Result<(), ProofError> {
    if root_of_inclusion(leaf, index, size, path)? == root { Ok(()) } else { Err(ProofError::Root(size)) }
}

/// Returns the hashes that prove that the tree of `new` leaves extends that of `old` leaves. Empty if `old` is 0 or
/// `new`.
///
/// `node` returns the hash of a perfect subtree. [`consistency_nodes`] returns the requested nodes in advance.
///
/// # Errors
/// [`ProofError::Shrunk`], [`ProofError::Size`]; [`ProofError::MissingNode`] if `node` returns none.
pub fn consistency_path(
    old: u64,
    new: u64,
    node: impl FnMut(NodeId) -> Option<TreeHash>,
) -> Result<Vec<TreeHash>, ProofError> {
    hashes_of(&consistency_subtrees(old, new)?, node)
}

/// Returns the nodes that [`consistency_path`] requests.
///
/// # Errors
/// See [`consistency_path`].
pub fn consistency_nodes(old: u64, new: u64) -> Result<Vec<NodeId>, ProofError> {
    Ok(nodes_of(&consistency_subtrees(old, new)?))
}

/// Checks that the tree of `new` leaves with root `new_root` extends that of `old` leaves and `old_root`.
///
/// The empty tree has the root [`TreeHash::EMPTY`], and every tree extends it.
///
/// ```
/// use edgesentry_log::{Tree, TreeHash, consistency_path, verify_consistency};
/// let mut tree = Tree::default();
/// let mut roots = vec![tree.root()];
/// for n in 0..7_u8 {
///     tree.push(TreeHash::of_leaf(&[n]));
///     roots.push(tree.root());
/// }
/// let path = consistency_path(3, 7, |node| tree.node(node))?;
/// verify_consistency(3, roots[3], 7, roots[7], &path)?;
/// assert!(verify_consistency(4, roots[3], 7, roots[7], &path).is_err());
/// # Ok::<(), edgesentry_log::ProofError>(())
/// ```
///
/// # Errors
/// [`ProofError::Shrunk`], [`ProofError::Size`], [`ProofError::Length`], [`ProofError::OldRoot`], [`ProofError::Root`].
pub fn verify_consistency(
    old: u64,
    old_root: TreeHash,
    new: u64,
    new_root: TreeHash,
    path: &[TreeHash],
) -> Result<(), ProofError> {
    check_length(path, consistency_subtrees(old, new)?.len())?;
    if (old == 0 && old_root != TreeHash::EMPTY) || (old == new && old_root != new_root) {
        return Err(ProofError::OldRoot(old));
    }
    if old == 0 || old == new {
        return Ok(());
    }
    let (was, is) = consistency_roots(old, old_root, new, path)?;
    if was != old_root {
        return Err(ProofError::OldRoot(old));
    }
    if is == new_root { Ok(()) } else { Err(ProofError::Root(new)) }
}

/// Returns true if a consistency proof that does not hold shows that the tree of `new` leaves with root `new_root` had
/// another root than `old_root` when it had `old` leaves.
///
/// Its hashes lead to `new_root`, so they are nodes of that tree, and the older root to which they lead is the one that
/// the tree had. If `old` is a power of two, the older root is not among the hashes and nothing can be shown.
pub fn shows_other_root(
    old: u64,
    old_root: TreeHash,
    new: u64,
    new_root: TreeHash,
    path: &[TreeHash],
) -> bool {
    let has_length = consistency_subtrees(old, new).is_ok_and(|subtrees| subtrees.len() == path.len());
    if !has_length || old == 0 || old == new || old.is_power_of_two() {
        return false;
    }
    let roots = consistency_roots(old, old_root, new, path);
    roots.is_ok_and(|(was, is)| is == new_root && was != old_root)
}

/// Returns the roots of both trees to which a consistency proof of the right length leads.
fn consistency_roots(
    old: u64,
    old_root: TreeHash,
    new: u64,
    path: &[TreeHash],
) -> Result<(TreeHash, TreeHash), ProofError> {
    let mut climb = Climb { at: old - 1, last: new - 1 };
    while climb.at % 2 == 1 {
        climb.up();
    }
    // The older tree is perfect: its root is a node of the newer one, and not in the path.
    let first = if old.is_power_of_two() { Some(&old_root) } else { None };
    let mut hashes = first.into_iter().chain(path);
    let Some(first) = hashes.next() else { return Err(ProofError::Length { expected: 1, actual: 0 }) };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for hash in hashes {
        match climb.step() {
            Side::Left => {
                old_hash = TreeHash::of_node(hash, &old_hash);
                new_hash = TreeHash::of_node(hash, &new_hash);
            }
            Side::Right => new_hash = TreeHash::of_node(&new_hash, hash),
        }
    }
    Ok((old_hash, new_hash))
}

/// The leaves `begin..end` of a tree, which are the leaves below one of its nodes.
struct Subtree {
    begin: u64,
    end: u64,
}

/// Returns the siblings on the path from a leaf to the root.
fn inclusion_subtrees(index: u64, size: u64) -> Result<Vec<Subtree>, ProofError> {
    if size > MAX_SIZE {
        return Err(ProofError::Size(size));
    }
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    let (mut begin, mut end) = (0, size);
    let mut siblings = Vec::new();
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            siblings.push(Subtree { begin: middle, end });
            end = middle;
        } else {
            siblings.push(Subtree { begin, end: middle });
            begin = middle;
        }
    }
    siblings.reverse();
    Ok(siblings)
}

fn consistency_subtrees(old: u64, new: u64) -> Result<Vec<Subtree>, ProofError> {
    if new > MAX_SIZE {
        return Err(ProofError::Size(new));
    }
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    let mut subtrees = Vec::new();
    if old == 0 {
        return Ok(subtrees);
    }
    let (mut begin, mut end) = (0, new);
    while old != end {
        let middle = begin + split(end - begin);
        if old <= middle {
            subtrees.push(Subtree { begin: middle, end });
            end = middle;
        } else {
            subtrees.push(Subtree { begin, end: middle });
            begin = middle;
        }
    }
    // The remaining leaves end with the older tree. If they are all of it, its root is known.
    if begin != 0 {
        subtrees.push(Subtree { begin, end });
    }
    subtrees.reverse();
    Ok(subtrees)
}

/// Returns the largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

fn hashes_of(
    subtrees: &[Subtree],
    mut node: impl FnMut(NodeId) -> Option<TreeHash>,
) -> Result<Vec<TreeHash>, ProofError> {
    let mut hash_of = |subtree: &Subtree| {
        let nodes = perfect_subtrees(subtree.begin, subtree.end);
        let hashes: Result<Vec<TreeHash>, ProofError> =
            nodes.into_iter().map(|id| node(id).ok_or(ProofError::MissingNode(id))).collect();
        Ok(fold(hashes?.into_iter()).unwrap_or(TreeHash::EMPTY))
    };
    subtrees.iter().map(&mut hash_of).collect()
}

fn nodes_of(subtrees: &[Subtree]) -> Vec<NodeId> {
    subtrees.iter().flat_map(|subtree| perfect_subtrees(subtree.begin, subtree.end)).collect()
}

fn check_length(path: &[TreeHash], expected: usize) -> Result<(), ProofError> {
    let actual = path.len();
    if actual == expected { Ok(()) } else { Err(ProofError::Length { expected, actual }) }
}
