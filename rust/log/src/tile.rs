//! Tiles and their paths (C2SP tlog-tiles).

use std::fmt;
use std::str::FromStr;

use crate::hash::{MAX_SIZE, TreeHash};
use crate::range::NodeId;
use crate::text::parse_decimal;

/// The number of hashes or entries in a full tile.
pub const TILE_WIDTH: u16 = 256;
/// Tree levels per tile: 256 hashes are 8 levels.
pub(crate) const TILE_LEVELS: u8 = 8;
/// A tree of 2^63 - 1 leaves has no tile above this level.
const MAX_TILE_LEVEL: u8 = 7;

/// The reason why a path or its bytes are not a tile or an entry bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// The path does not name a tile.
    #[error("{0:?} is not a tile path: expected tile/LEVEL/N, tile/entries/N, or either with .p/WIDTH")]
    Path(String),
    /// The number of bytes does not match the width.
    #[error("the tile {id} has {actual} bytes, expected {expected}")]
    Size {
        /// The tile.
        id: TileId,
        /// The actual number of bytes.
        actual: usize,
        /// The expected number: 32 for each hash.
        expected: usize,
    },
    /// Hashes instead of entries, or vice versa.
    #[error("{0} is not a tile of the expected kind (hashes or entries)")]
    Kind(TileId),
    /// A bundle ends within an entry, or has bytes after its entries.
    #[error("the entry bundle {id} does not end with its {} entries", .id.width())]
    Entries {
        /// The bundle.
        id: TileId,
    },
    /// An entry exceeds the limit of a bundle.
    #[error("an entry of {0} bytes does not fit into a bundle: at most 65,535 bytes")]
    EntryTooLong(usize),
    /// The number of entries in a bundle differs from its path.
    #[error("{actual} entries do not match the width of {id}")]
    Width {
        /// The bundle.
        id: TileId,
        /// The actual number of entries.
        actual: usize,
    },
}

/// The content of a tile.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum TileKind {
    /// Hashes of this level: level 0 has the leaves; each hash of the next level covers a full tile.
    Hashes(u8),
    /// The leaves in full.
    Entries,
}

impl TileKind {
    /// Returns entries, and then the hashes level by level.
    pub(crate) fn all() -> impl Iterator<Item = TileKind> {
        std::iter::once(TileKind::Entries).chain((0..=MAX_TILE_LEVEL).map(TileKind::Hashes))
    }

    /// Returns the tree level of the hashes in tiles of this kind.
    pub(crate) fn tree_level(self) -> u8 {
        if let TileKind::Hashes(level) = self { level * TILE_LEVELS } else { 0 }
    }

    /// Returns the number of hashes or entries of this kind in a tree of this size.
    pub(crate) fn count(self, size: u64) -> u64 {
        size >> self.tree_level()
    }
}

/// The name of a tile: kind, index and width. As text, the path below the prefix of the log.
///
/// ```
/// use edgesentry_log::{TileId, TileKind};
/// let tile = TileId::new(TileKind::Hashes(1), 1_234_067, 256).expect("a tile");
/// assert_eq!(tile.to_string(), "tile/1/x001/x234/067");
/// let partial: TileId = "tile/entries/000.p/15".parse()?;
/// assert_eq!(partial.width(), 15);
/// # Ok::<(), edgesentry_log::TileError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TileId {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl TileId {
    /// Creates the name of a tile of 1 to 256 hashes or entries, or returns `None` if no tree has it.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Option<TileId> {
        let level = if let TileKind::Hashes(level) = kind { level } else { 0 };
        if level > MAX_TILE_LEVEL || index > MAX_SIZE || width == 0 || width > TILE_WIDTH {
            return None;
        }
        let id = TileId { kind, index, width };
        let end = u128::from(index) * u128::from(TILE_WIDTH) + u128::from(width);
        (end << kind.tree_level() <= u128::from(MAX_SIZE)).then_some(id)
    }

    /// Returns the tile that contains this node in a tree of this size, or `None` if the tree lacks the node. It is the
    /// widest tile with this index in the tree.
    pub fn of_node(node: NodeId, size: u64) -> Option<TileId> {
        if size > MAX_SIZE || node.level > 62 || node.index >= size >> node.level {
            return None;
        }
        let kind = TileKind::Hashes(node.level / TILE_LEVELS);
        let index = node.index >> (TILE_LEVELS - node.level % TILE_LEVELS);
        TileId::new(kind, index, width_at(index, kind.count(size)))
    }

    /// Returns the bundle that contains this leaf in a tree of this size, or `None` if the tree lacks the leaf.
    pub fn of_entry(leaf: u64, size: u64) -> Option<TileId> {
        if leaf >= size {
            return None;
        }
        let index = leaf / u64::from(TILE_WIDTH);
        TileId::new(TileKind::Entries, index, width_at(index, size))
    }

    /// Returns the kind: hashes of a level, or entries.
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Returns the index among the tiles of its kind, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Returns the number of hashes or entries; 256 if it is full.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Returns the nodes of the hashes in a tile, in order; for a bundle, the leaves.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        let level = self.kind.tree_level();
        let first = self.index * u64::from(TILE_WIDTH);
        (first..first + u64::from(self.width)).map(move |index| NodeId { level, index })
    }
}

/// Returns the width of tile `index` in a level with this number of hashes; 0 if it has none of them.
pub(crate) fn width_at(index: u64, hashes: u64) -> u16 {
    let left = hashes.saturating_sub(index.saturating_mul(u64::from(TILE_WIDTH)));
    left.min(u64::from(TILE_WIDTH)) as u16
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut divisor = 1;
        while self.index / divisor >= 1000 {
            divisor *= 1000;
        }
        while divisor > 1 {
            write!(f, "x{:03}/", self.index / divisor % 1000)?;
            divisor /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.width < TILE_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for TileId {
    type Err = TileError;

    fn from_str(text: &str) -> Result<TileId, TileError> {
        let id = tile_of(text).filter(|id| id.to_string() == text);
        id.ok_or_else(|| TileError::Path(text.chars().take(80).collect()))
    }
}

/// Returns the tile that a path of this form names; several paths may give the same tile.
fn tile_of(text: &str) -> Option<TileId> {
    let (kind, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(parse_decimal(level)?.try_into().ok()?),
    };
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => {
            (index, parse_decimal(width)?.try_into().ok().filter(|width| *width < TILE_WIDTH)?)
        }
        None => (rest, TILE_WIDTH),
    };
    // 2^63 has 7 groups of digits.
    let index = (index.len() < 40).then(|| index.replace(['/', 'x'], ""))?;
    let digits = index.trim_start_matches('0');
    TileId::new(kind, if digits.is_empty() { 0 } else { parse_decimal(digits)? }, width)
}

/// Returns the tiles and bundles that a log must write when it grows from `old` to `new` leaves: those that are new or
/// wider. They are ordered by kind, bundles first, then hashes by level, and by index within a kind.
///
/// ```
/// use edgesentry_log::new_tiles;
/// let paths: Vec<String> = new_tiles(255, 257).map(|tile| tile.to_string()).collect();
/// assert_eq!(paths, [
///     "tile/entries/000", "tile/entries/001.p/1", "tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1",
/// ]);
/// ```
pub fn new_tiles(old: u64, new: u64) -> impl Iterator<Item = TileId> {
    TileKind::all().flat_map(move |kind| {
        let (old, new) = (kind.count(old), kind.count(new));
        let width = u64::from(TILE_WIDTH);
        let indexes = if old < new { old / width..new.div_ceil(width) } else { 0..0 };
        indexes.filter_map(move |index| TileId::new(kind, index, width_at(index, new)))
    })
}

/// A parsed tile of hashes.
///
/// ```
/// use edgesentry_log::{NodeId, Tile, TileId, Tree, TreeHash};
/// let mut tree = Tree::default();
/// for n in 0..5_u8 {
///     tree.push(TreeHash::of_leaf(&[n]));
/// }
/// let id: TileId = "tile/0/000.p/5".parse()?;
/// let tile = Tile::from_nodes(id, |node| tree.node(node)).expect("a tile of the tree");
/// let tile = Tile::parse(id, &tile.to_bytes())?;
/// let node = NodeId { level: 2, index: 0 };
/// assert_eq!(tile.node(node), tree.node(node));
/// # Ok::<(), edgesentry_log::TileError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tile {
    id: TileId,
    hashes: Vec<TreeHash>,
}

impl Tile {
    /// Creates a tile from the nodes of a tree. Returns `None` for a bundle, or if `node` returns `None`.
    pub fn from_nodes(id: TileId, node: impl FnMut(NodeId) -> Option<TreeHash>) -> Option<Tile> {
        matches!(id.kind, TileKind::Hashes(_)).then_some(())?;
        let hashes = id.nodes().map(node).collect::<Option<Vec<TreeHash>>>()?;
        Some(Tile { id, hashes })
    }

    /// Parses a tile: 32 bytes for each hash.
    ///
    /// # Errors
    /// [`TileError::Size`]; [`TileError::Kind`] for a bundle.
    pub fn parse(id: TileId, bytes: &[u8]) -> Result<Tile, TileError> {
        if id.kind == TileKind::Entries {
            return Err(TileError::Kind(id));
        }
        let expected = usize::from(id.width) * 32;
        if bytes.len() != expected {
            return Err(TileError::Size { id, actual: bytes.len(), expected });
        }
        Ok(Tile { id, hashes: bytes.as_chunks().0.iter().map(|hash| TreeHash(*hash)).collect() })
    }

    /// Returns the bytes that [`Tile::parse`] reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.0).collect()
    }

    /// Returns its name.
    pub fn id(&self) -> TileId {
        self.id
    }

    /// Returns its hashes in order.
    pub fn hashes(&self) -> &[TreeHash] {
        &self.hashes
    }

    /// Returns the hash of a node of the tile: one of its hashes, or a node of the seven levels above. Returns `None`
    /// if the node is outside the tile or only partly covered.
    pub fn node(&self, node: NodeId) -> Option<TreeHash> {
        let TileKind::Hashes(level) = self.id.kind else { return None };
        let height = node.level.checked_sub(level * TILE_LEVELS).filter(|height| *height < TILE_LEVELS)?;
        let first =
            node.index.checked_mul(1 << height)?.checked_sub(self.id.index * u64::from(TILE_WIDTH))?;
        let first = usize::try_from(first).ok()?;
        let hashes = self.hashes.get(first..first.checked_add(1 << height)?)?;
        perfect_root(hashes)
    }
}

fn perfect_root(hashes: &[TreeHash]) -> Option<TreeHash> {
    if let [hash] = hashes {
        return Some(*hash);
    }
    let (left, right) = hashes.split_at(hashes.len() / 2);
    Some(TreeHash::of_node(&perfect_root(left)?, &perfect_root(right)?))
}
