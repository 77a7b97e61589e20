//! The tree of a checkpoint, read from tiles and entry bundles. Nothing from them counts unless it leads to the root.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use edgesentry_log::{
    Checkpoint, CompactRange, ConsistencyProof, EntryBundle, LogProof, MAX_ENTRY_BYTES, NodeId, Note,
    TILE_WIDTH, Tile, TileId, TileKind, TreeHash, consistency_nodes, inclusion_nodes, inclusion_path,
    skipped_subtrees, verify_inclusion,
};
use futures::{Stream, StreamExt};

use super::Failure;
use super::source::Source;

/// Bundles that are read at once. A bundle has at most 16 MiB.
const BUNDLES_AT_ONCE: usize = 4;
const MAX_BUNDLE_BYTES: usize = TILE_WIDTH as usize * (2 + MAX_ENTRY_BYTES);
const MAX_TILE_BYTES: usize = TILE_WIDTH as usize * 32;

/// The tree of a signed checkpoint.
pub(super) struct TileTree<'a> {
    source: &'a dyn Source,
    size: u64,
    root: TreeHash,
    tiles: HashMap<TileId, Tile>,
}

impl<'a> TileTree<'a> {
    pub(super) fn new(source: &'a dyn Source, checkpoint: &Checkpoint) -> TileTree<'a> {
        TileTree { source, size: checkpoint.size(), root: checkpoint.root(), tiles: HashMap::new() }
    }

    /// Returns the root that the tree had at an older size. The hashes of its tiles lead to the root of the checkpoint.
    pub(super) async fn root_at(&mut self, older: u64) -> Result<TreeHash, Failure> {
        let left = self.range(0, older).await?;
        let right = self.range(older, self.size).await?;
        let mut all = left.clone();
        let is_tree = all.merge(&right).is_ok() && all.root() == Ok(self.root);
        if !is_tree {
            let problem = format!("the tiles of size {} do not have the root of the checkpoint", self.size);
            return Err(Failure::new(self.source.place(), problem));
        }
        left.root().map_err(|error| Failure::new(self.source.place(), error.to_string()))
    }

    /// Returns the hashes from an older size as a file for `eds verify-proof`, if they lead to the root.
    pub(super) async fn proof(&mut self, older: u64, note: &Note) -> Option<ConsistencyProof> {
        if older < self.size {
            self.root_at(older).await.ok()?;
        }
        let nodes = self.nodes(consistency_nodes(older, self.size).ok()?).await.ok()?;
        ConsistencyProof::new(older, note.clone(), |node| nodes.get(&node).copied()).ok()
    }

    /// Returns the proof of a leaf for `eds verify-proof`, if its path leads to the root.
    pub(super) async fn leaf_proof(
        &mut self,
        index: u64,
        leaf: Vec<u8>,
        note: &Note,
    ) -> Result<LogProof, Failure> {
        let source = self.source;
        let failed = |problem: &dyn std::fmt::Display| {
            Failure::new(source.place(), format!("the tiles around leaf {index}: {problem}"))
        };
        let ids = inclusion_nodes(index, self.size).map_err(|error| failed(&error))?;
        let nodes = self.nodes(ids).await?;
        let path = inclusion_path(index, self.size, |node| nodes.get(&node).copied());
        let path = path.map_err(|error| failed(&error))?;
        verify_inclusion(TreeHash::of_leaf(&leaf), index, self.size, &path, self.root)
            .map_err(|error| failed(&error))?;
        Ok(LogProof { extra: Some(leaf), index, path, checkpoint: note.clone() })
    }

    async fn range(&mut self, begin: u64, end: u64) -> Result<CompactRange, Failure> {
        let ids = skipped_subtrees(begin, end, None);
        let nodes = self.nodes(ids.clone()).await?;
        let hashes: Vec<TreeHash> = ids.iter().filter_map(|id| nodes.get(id).copied()).collect();
        CompactRange::from_hashes(begin, end, &hashes)
            .map_err(|error| Failure::new(self.source.place(), error.to_string()))
    }

    async fn nodes(&mut self, ids: Vec<NodeId>) -> Result<HashMap<NodeId, TreeHash>, Failure> {
        let mut nodes = HashMap::new();
        for node in ids {
            let id = TileId::of_node(node, self.size);
            let id =
                id.ok_or_else(|| Failure::new(self.source.place(), "a hash beyond the tree".to_owned()))?;
            if !self.tiles.contains_key(&id) {
                let tile = tile(self.source, id).await?;
                self.tiles.insert(id, tile);
            }
            nodes.extend(self.tiles.get(&id).and_then(|tile| Some((node, tile.node(node)?))));
        }
        Ok(nodes)
    }
}

/// Reads a tile of hashes. A partial one may have been deleted when the full one was written.
async fn tile(source: &dyn Source, id: TileId) -> Result<Tile, Failure> {
    let (found, bytes) = file(source, id, MAX_TILE_BYTES).await?;
    let bytes =
        if found == id { bytes } else { bytes.slice(..bytes.len().min(usize::from(id.width()) * 32)) };
    Tile::parse(id, &bytes).map_err(|error| Failure::new(source.place(), error.to_string()))
}

/// Reads a file, or the full one in place of a partial one that is gone.
async fn file(source: &dyn Source, id: TileId, limit: usize) -> Result<(TileId, Bytes), Failure> {
    if let Some(bytes) = source.get(&id.to_string(), limit).await? {
        return Ok((id, bytes));
    }
    let full = TileId::new(id.kind(), id.index(), TILE_WIDTH).filter(|full| *full != id);
    if let Some(full) = full
        && let Some(bytes) = source.get(&full.to_string(), limit).await?
    {
        return Ok((full, bytes));
    }
    Err(Failure::new(source.place(), format!("{id} is missing")))
}

/// An entry bundle, and the leaves of it that are needed.
pub(super) struct Bundle {
    id: TileId,
    bytes: Bytes,
    skip: usize,
    take: usize,
}

impl Bundle {
    /// Calls `each` for each needed leaf. Returns the problem if the bytes are not a bundle.
    pub(super) fn each<E>(
        &self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, String> {
        let bundle = EntryBundle::parse(self.id, &self.bytes).map_err(|error| error.to_string())?;
        Ok(bundle.entries().iter().skip(self.skip).take(self.take).try_for_each(|leaf| each(leaf)))
    }
}

/// Returns the bundles with the leaves `begin..end` of a log, in order.
pub(super) fn bundles(
    source: Arc<dyn Source>,
    begin: u64,
    end: u64,
) -> impl Stream<Item = Result<Bundle, Failure>> + Send {
    let width = u64::from(TILE_WIDTH);
    let firsts = (begin / width..end.div_ceil(width)).map(move |index| index * width);
    let ids = firsts.filter_map(move |first| Some((first, TileId::of_entry(first, end)?)));
    futures::stream::iter(ids)
        .map(move |(first, id)| {
            let source = Arc::clone(&source);
            async move {
                let (id, bytes) = file(&*source, id, MAX_BUNDLE_BYTES).await?;
                debug_assert_eq!(id.kind(), TileKind::Entries);
                let skip = begin.saturating_sub(first);
                let take = end.min(first + width) - first - skip;
                // Both are at most the width of a bundle.
                Ok(Bundle { id, bytes, skip: skip as usize, take: take as usize })
            }
        })
        .buffered(BUNDLES_AT_ONCE)
}

/// Hashes all leaves again, until a time. Returns the roots at the sizes, in order, if the leaves have the root of the
/// checkpoint.
pub(super) async fn roots_of_leaves(
    source: &Arc<dyn Source>,
    checkpoint: &Checkpoint,
    sizes: &[u64],
    deadline: Instant,
) -> Result<Vec<TreeHash>, Failure> {
    let mut range = CompactRange::default();
    let mut roots = HashMap::from([(0, TreeHash::EMPTY)]);
    let mut leaves = std::pin::pin!(bundles(Arc::clone(source), 0, checkpoint.size()));
    while let Some(bundle) = leaves.next().await {
        if Instant::now() > deadline {
            let problem = format!(
                "the files do not have the root of the checkpoint, and {} leaves are too many to hash again in a round",
                checkpoint.size()
            );
            return Err(Failure::new(source.place(), problem));
        }
        let pushed = bundle?.each(|leaf| {
            range.push(TreeHash::of_leaf(leaf));
            if sizes.contains(&range.end()) {
                roots.extend(range.root().ok().map(|root| (range.end(), root)));
            }
            Ok::<(), std::convert::Infallible>(())
        });
        pushed.map(|_| ()).map_err(|problem| Failure::new(source.place(), problem))?;
    }
    if range.root() != Ok(checkpoint.root()) {
        let problem =
            format!("the leaves of size {} do not have the root of the checkpoint", checkpoint.size());
        return Err(Failure::new(source.place(), problem));
    }
    Ok(sizes.iter().filter_map(|size| roots.get(size).copied()).collect())
}
