//! Appends leaves: the tiles and bundles that a growing log writes.

use crate::bundle::{EntryBundle, push_entry};
use crate::hash::{MAX_SIZE, TreeHash};
use crate::range::{CompactRange, RangeError, perfect_subtrees};
use crate::tile::{TILE_LEVELS, TILE_WIDTH, Tile, TileError, TileId, TileKind, width_at};

/// The reason why a log cannot grow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A tile at the right edge of the tree is missing.
    #[error("{0} is missing, and the log cannot grow without it")]
    Missing(TileId),
    /// A tile or bundle is damaged, or a leaf is too long.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// No tree can have this size.
    #[error(transparent)]
    Size(#[from] RangeError),
    /// The tiles belong to another tree.
    #[error("the tiles of size {size} have root {actual}, expected {expected}")]
    Root {
        /// The size.
        size: u64,
        /// The root of the tiles.
        actual: TreeHash,
        /// The root of the checkpoint.
        expected: TreeHash,
    },
    /// The leaves of the partial bundle do not match the hashes in the tiles.
    #[error("{0} does not have the leaves that the tiles commit to")]
    Entries(TileId),
}

/// Turns leaves into entry bundles and tiles.
///
/// The same leaves give the same files, byte for byte, for any number of steps and any interruption. A writer that
/// stores a file only under a free name can therefore repeat a failed step. Memory is limited to 256 leaves, and 256
/// hashes per level.
///
/// ```
/// use edgesentry_log::Appender;
/// let mut appender = Appender::default();
/// for n in 0..300_u32 {
///     appender.push(&n.to_be_bytes())?;
/// }
/// let full: Vec<String> = appender.take_full().iter().map(|(id, _)| id.to_string()).collect();
/// assert_eq!(full, ["tile/entries/000", "tile/0/000"]);
/// let partial: Vec<String> = appender.partial().iter().map(|(id, _)| id.to_string()).collect();
/// assert_eq!(partial, ["tile/entries/001.p/44", "tile/0/001.p/44", "tile/1/000.p/1"]);
/// # Ok::<(), edgesentry_log::AppendError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Appender {
    range: CompactRange,
    /// The leaves of the partial bundle, each after its length.
    bundle: Vec<u8>,
    /// The hashes of the partial tile of each level.
    edges: Vec<Vec<TreeHash>>,
    full: Vec<(TileId, Vec<u8>)>,
}

impl Appender {
    /// Resumes a log of `size` leaves with this root. `read` returns the bytes of a partial tile or bundle.
    ///
    /// # Errors
    /// A file is missing, is damaged, or belongs to another tree.
    pub fn resume(
        size: u64,
        root: TreeHash,
        mut read: impl FnMut(TileId) -> Option<Vec<u8>>,
    ) -> Result<Appender, AppendError> {
        // Check the size first: the numbers of tiles and levels are computed from it.
        CompactRange::new(size)?;
        let mut tiles = Vec::new();
        let mut edges = Vec::new();
        let (mut bundle, mut leaves) = (Vec::new(), None);
        for kind in kinds(size) {
            let Some(id) = partial_tile(kind, size) else {
                edges.extend(matches!(kind, TileKind::Hashes(_)).then(Vec::new));
                continue;
            };
            let bytes = read(id).ok_or(AppendError::Missing(id))?;
            if kind == TileKind::Entries {
                let entries = EntryBundle::parse(id, &bytes)?;
                let hashes = entries.entries().iter().map(|leaf| TreeHash::of_leaf(leaf));
                leaves = Some((id, hashes.collect::<Vec<TreeHash>>()));
                bundle = bytes;
            } else {
                let tile = Tile::parse(id, &bytes)?;
                edges.push(tile.hashes().to_vec());
                tiles.push(tile);
            }
        }
        // A partial tile of its level contains every perfect subtree at the right edge.
        let node = |node| tiles.iter().find_map(|tile| tile.node(node));
        let hashes: Vec<TreeHash> = perfect_subtrees(0, size).into_iter().filter_map(node).collect();
        let range = CompactRange::from_hashes(0, size, &hashes)?;
        let actual = range.root()?;
        if actual != root {
            return Err(AppendError::Root { size, actual, expected: root });
        }
        if let Some((id, hashes)) = leaves
            && edges.first() != Some(&hashes)
        {
            return Err(AppendError::Entries(id));
        }
        Ok(Appender { range, bundle, edges, full: Vec::new() })
    }

    /// The partial tiles and bundle that [`Appender::resume`] reads for a tree of so many leaves: at most 9.
    pub fn needed(size: u64) -> impl Iterator<Item = TileId> {
        kinds(size).filter_map(move |kind| partial_tile(kind, size))
    }

    /// Appends a leaf.
    ///
    /// # Errors
    /// [`TileError::EntryTooLong`]; [`AppendError::Size`] beyond the largest size of a tree. The log is then unchanged.
    pub fn push(&mut self, leaf: &[u8]) -> Result<(), AppendError> {
        self.push_hashed(leaf, TreeHash::of_leaf(leaf))
    }

    /// Appends a leaf whose hash is known.
    pub(crate) fn push_hashed(&mut self, leaf: &[u8], hash: TreeHash) -> Result<(), AppendError> {
        let index = self.size();
        if index == MAX_SIZE {
            return Err(RangeError::Bounds { begin: 0, end: index + 1 }.into());
        }
        push_entry(&mut self.bundle, leaf)?;
        if (index + 1).is_multiple_of(TILE_WIDTH.into()) {
            let bundle = std::mem::take(&mut self.bundle);
            self.full.extend(
                TileId::new(TileKind::Entries, index / u64::from(TILE_WIDTH), TILE_WIDTH).zip(Some(bundle)),
            );
        }
        let (edges, full) = (&mut self.edges, &mut self.full);
        self.range.push_with(hash, &mut |node, hash| {
            if !node.level.is_multiple_of(TILE_LEVELS) {
                return;
            }
            let level = node.level / TILE_LEVELS;
            if edges.len() == usize::from(level) {
                edges.push(Vec::new());
            }
            let edge = &mut edges[usize::from(level)];
            edge.push(hash);
            if edge.len() == usize::from(TILE_WIDTH) {
                let bytes = edge.drain(..).flat_map(|hash| hash.0).collect();
                let index = node.index / u64::from(TILE_WIDTH);
                full.extend(TileId::new(TileKind::Hashes(level), index, TILE_WIDTH).zip(Some(bytes)));
            }
        });
        Ok(())
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.range.end()
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> TreeHash {
        // The range starts at leaf 0, so it has a root.
        self.range.root().unwrap_or(TreeHash::EMPTY)
    }

    /// Returns the full tiles and bundles since the last call, with their bytes. They stay in memory until this call,
    /// so call it regularly.
    pub fn take_full(&mut self) -> Vec<(TileId, Vec<u8>)> {
        std::mem::take(&mut self.full)
    }

    /// Returns the partial tiles and bundles of the current tree, which a checkpoint of this size needs besides the
    /// full ones.
    pub fn partial(&self) -> Vec<(TileId, Vec<u8>)> {
        let bytes = |kind| match kind {
            TileKind::Entries => self.bundle.clone(),
            TileKind::Hashes(level) => {
                let edge = self.edges.get(usize::from(level)).map_or(&[][..], Vec::as_slice);
                edge.iter().flat_map(|hash| hash.0).collect()
            }
        };
        let size = self.size();
        kinds(size).filter_map(|kind| Some((partial_tile(kind, size)?, bytes(kind)))).collect()
    }
}

/// Returns bundles, and the levels of tiles in a tree of this size.
fn kinds(size: u64) -> impl Iterator<Item = TileKind> {
    TileKind::all().take_while(move |kind| *kind == TileKind::Entries || kind.count(size) > 0)
}

/// Returns the partial tile of a kind, or `None` if all its tiles are full.
fn partial_tile(kind: TileKind, size: u64) -> Option<TileId> {
    let index = kind.count(size) / u64::from(TILE_WIDTH);
    TileId::new(kind, index, width_at(index, kind.count(size)))
}
