//! Payloads in a folder, one file each.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::Hash;

use super::{PayloadStore, Put, Version};
use crate::error::{Component, StoreError};
use crate::files::{self, modified_ms, sync_parents, write_synced};
use crate::ingest::verify::Admitted;

/// A folder of payloads. `s3://bucket/lift-01/1.bin`, `file:///lift-01/1.bin` and `lift-01/1.bin` are all kept as
/// `bucket/lift-01/1.bin` or `lift-01/1.bin` below it: the reference without its scheme.
///
/// A payload is written to a temporary file beside its place, synced, and linked into place: it is there whole or
/// not at all, and what is there is never replaced.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    place: Arc<str>,
}

/// Where temporary files are written, below the folder. No object reference leads there.
const PARTIAL: &str = ".partial";

impl Folder {
    /// Opens a folder, creating it where it is missing.
    pub fn open(root: &Path) -> Result<Folder, StoreError> {
        let place: Arc<str> = root.display().to_string().into();
        let opened = fs::create_dir_all(root.join(PARTIAL)).and_then(|()| root.canonicalize());
        match opened {
            Ok(root) => {
                // Left by a process that was killed; they were never acknowledged.
                for entry in fs::read_dir(root.join(PARTIAL)).into_iter().flatten().flatten() {
                    if stale(&entry) {
                        let _ = fs::remove_file(entry.path());
                    }
                }
                Ok(Folder { root, place })
            }
            Err(source) => Err(error(&place, "open the payload folder", source)),
        }
    }

    /// Opens a folder that is there, for reading: nothing in it is changed.
    pub fn read(root: &Path) -> Result<Folder, StoreError> {
        let place: Arc<str> = root.display().to_string().into();
        match root.canonicalize() {
            Ok(root) => Ok(Folder { root, place }),
            Err(source) => Err(error(&place, "open the payload folder", source)),
        }
    }

    fn path(&self, object_ref: &str) -> Result<PathBuf, String> {
        let path = object_ref.split_once("://").map_or(object_ref, |(_, path)| path);
        let path = path.trim_start_matches('/');
        for name in path.split('/') {
            if name.is_empty() || name == "." || name == ".." || name == PARTIAL || name.len() > 255 {
                return Err(format!(
                    "an object reference made of names of 1 to 255 bytes between slashes, none of them \".\" or \"..\", not {object_ref:?}"
                ));
            }
        }
        Ok(self.root.join(path))
    }

    fn put_now(&self, path: &Path, payload: &[u8]) -> io::Result<Put> {
        if let Some(there) = read(path)? {
            sync_parents(&self.root, path)?;
            return Ok(compare(&there, payload));
        }
        let partial = self.root.join(PARTIAL).join(files::unique_name());
        let linked = write_synced(&partial, payload)
            .and_then(|()| path.parent().map_or(Ok(()), fs::create_dir_all))
            // A link fails where a rename would replace.
            .and_then(|()| fs::hard_link(&partial, path));
        let _ = fs::remove_file(&partial);
        match linked {
            Ok(()) => {
                sync_parents(&self.root, path)?;
                Ok(Put::Stored)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match read(path)? {
                Some(there) => {
                    sync_parents(&self.root, path)?;
                    Ok(compare(&there, payload))
                }
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        object_ref: &str,
        work: impl FnOnce(&Folder, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folder = self.clone();
        let path = self.path(object_ref).map_err(|problem| {
            error(&self.place, action, io::Error::new(io::ErrorKind::InvalidInput, problem))
        })?;
        let done = tokio::task::spawn_blocking(move || work(&folder, &path)).await;
        done.map_err(io::Error::other)
            .and_then(|done| done)
            .map_err(|source| error(&self.place, action, source))
    }
}

#[async_trait]
impl PayloadStore for Folder {
    fn place(&self) -> &str {
        &self.place
    }

    fn refuses(&self, object_ref: &str) -> Option<String> {
        self.path(object_ref).err()
    }

    async fn check(&self) -> Result<(), StoreError> {
        let partial = self.root.join(PARTIAL);
        let found =
            tokio::task::spawn_blocking(move || fs::metadata(partial)).await.map_err(io::Error::other);
        found.flatten().map(|_| ()).map_err(|source| error(&self.place, "reach the payload folder", source))
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        let payload = admitted.payload().clone();
        let object_ref = &admitted.record().object_ref;
        self.run("store the payload", object_ref, move |folder, path| folder.put_now(path, &payload)).await
    }

    async fn get(&self, object_ref: &str) -> Result<Option<Bytes>, StoreError> {
        self.run("read a payload", object_ref, |_, path| Ok(read(path)?.map(Bytes::from))).await
    }

    async fn exists(&self, object_ref: &str) -> Result<bool, StoreError> {
        self.run("look for a payload", object_ref, |_, path| Ok(metadata(path)?.is_some())).await
    }

    async fn versions(&self, object_ref: &str) -> Result<Vec<Version>, StoreError> {
        self.run("look for a payload", object_ref, |_, path| {
            let version = metadata(path)?.map(|metadata| Version {
                id: String::new(),
                size_bytes: metadata.len(),
                stored_at_ms: modified_ms(&metadata),
                current: true,
                deleted: false,
            });
            Ok(version.into_iter().collect())
        })
        .await
    }
}

fn error(place: &Arc<str>, action: &'static str, source: io::Error) -> StoreError {
    StoreError {
        component: Component::RawDataStore,
        action,
        place: Arc::clone(place),
        retryable: source.kind() != io::ErrorKind::InvalidInput,
        source: Arc::new(source),
    }
}

fn compare(there: &[u8], payload: &[u8]) -> Put {
    if there == payload { Put::AlreadyThere } else { Put::Conflict(Hash::of(there)) }
}

fn metadata(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_file().then_some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(metadata) = metadata(path)? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes).map(|_| Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Older than any write can take; another process may be at work in the same folder.
fn stale(entry: &fs::DirEntry) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 3600))
}
