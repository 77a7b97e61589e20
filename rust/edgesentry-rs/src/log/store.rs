//! The files of a log: tiles, entry bundles and the checkpoint, as C2SP tlog-tiles below `log/`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_log::{Appender, TILE_WIDTH, TileId, TreeHash};
use futures::{StreamExt, TryStreamExt};

use super::LogError;
use crate::error::StoreError;
use crate::objects::{CONCURRENT_OBJECTS, Objects, ReadOnly, Write, Written};

/// Files of one call to the store. It limits the temporary files and the open requests.
const FILES_AT_ONCE: usize = 1024;
const CHECKPOINT: &str = "log/checkpoint";

#[derive(Clone)]
pub(super) struct TileStore {
    objects: Arc<dyn Objects>,
}

impl TileStore {
    pub(super) fn new(objects: Arc<dyn Objects>) -> TileStore {
        TileStore { objects }
    }

    pub(super) fn place(&self) -> &str {
        self.objects.place()
    }

    pub(super) fn read_only(self) -> TileStore {
        TileStore { objects: Arc::new(ReadOnly::new(self.objects)) }
    }

    pub(super) fn objects(&self) -> &dyn Objects {
        &*self.objects
    }

    pub(super) fn damaged(&self, problem: String) -> LogError {
        LogError::Damaged { place: self.place().to_owned(), problem }
    }

    /// Stores files. All are durable when it returns. An existing file must have the same content.
    pub(super) async fn put_all(&self, files: Vec<(TileId, Vec<u8>)>) -> Result<(), LogError> {
        let files: Vec<(TileId, Bytes)> = files.into_iter().map(|(id, bytes)| (id, bytes.into())).collect();
        for files in files.chunks(FILES_AT_ONCE) {
            let objects = files.iter().map(|(id, bytes)| (key(*id), bytes.clone())).collect();
            let written = self.objects.put_all(objects).await?;
            let taken = files.iter().zip(written).filter(|(_, written)| *written == Written::Taken);
            let taken: Vec<&(TileId, Bytes)> = taken.map(|(file, _)| file).collect();
            let mut there = std::pin::pin!(self.get_all(taken.iter().map(|(id, _)| *id)));
            for (id, bytes) in &taken {
                if there.try_next().await?.is_none_or(|(_, there)| there != *bytes) {
                    return Err(self.damaged(format!("{id} is there with other bytes")));
                }
            }
        }
        Ok(())
    }

    /// Returns the published checkpoint; `None` if no checkpoint is published.
    pub(super) async fn checkpoint(&self) -> Result<Option<Bytes>, StoreError> {
        self.objects.get(CHECKPOINT).await
    }

    /// Returns the bytes of a tile or bundle; `None` if it does not exist.
    pub(super) async fn find(&self, id: TileId) -> Result<Option<Bytes>, StoreError> {
        self.objects.get(&key(id)).await
    }

    /// Returns the bytes of a tile or bundle, which must exist.
    pub(super) async fn get(&self, id: TileId) -> Result<Bytes, LogError> {
        self.find(id).await?.ok_or_else(|| self.damaged(format!("{id} is missing")))
    }

    /// Returns the files in the requested order.
    pub(super) fn get_all(
        &self,
        ids: impl Iterator<Item = TileId> + Send,
    ) -> impl futures::Stream<Item = Result<(TileId, Bytes), LogError>> + Send {
        futures::stream::iter(ids)
            .map(move |id| async move { Ok((id, self.get(id).await?)) })
            .buffered(CONCURRENT_OBJECTS)
    }

    /// Returns the bundles with the leaves of a range of the tree of size `tree`, in order.
    pub(super) fn entries(
        &self,
        leaves: Range<u64>,
        tree: u64,
    ) -> impl futures::Stream<Item = Result<(TileId, Bytes), LogError>> + Send {
        let width = u64::from(TILE_WIDTH);
        let firsts = (leaves.start / width..leaves.end.div_ceil(width)).map(move |tile| tile * width);
        self.get_all(firsts.filter_map(move |first| TileId::of_entry(first, tree)))
    }

    /// Loads the log of this size and root, ready for more leaves.
    pub(super) async fn resume(&self, size: u64, root: TreeHash) -> Result<Appender, LogError> {
        let mut files: HashMap<TileId, Bytes> = self.get_all(Appender::needed(size)).try_collect().await?;
        Appender::resume(size, root, |id| files.remove(&id).map(Vec::from))
            .map_err(|error| LogError::of_append(self.place(), &error))
    }

    /// Replaces the published checkpoint.
    pub(super) async fn publish(&self, note: &[u8]) -> Result<(), StoreError> {
        self.objects.put(CHECKPOINT, Bytes::copy_from_slice(note), Write::Replace).await.map(|_| ())
    }
}

fn key(id: TileId) -> String {
    format!("log/{id}")
}
