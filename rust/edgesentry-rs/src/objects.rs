//! Objects under keys, for archives and for the transparency log: in a bucket or in a directory. Large ones are streamed,
//! never held in memory.
//!
//! An absent object is proven: the store was reached, and reported it. Everything else is an error; one of kind
//! [`FailureKind::Item`](crate::error::FailureKind::Item) concerns the object itself, which is too large or not a file.

mod folder;
mod read_only;
#[cfg(feature = "s3")]
mod s3;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::error::{Component, Error, StoreError};
use crate::s3_settings::S3Settings;

pub use folder::FolderObjects;
pub use read_only::ReadOnly;
#[cfg(feature = "s3")]
pub use s3::S3Objects;

/// The largest object that [`Objects::get`] reads; larger ones are for [`Objects::get_file`].
pub const MAX_IN_MEMORY_BYTES: u64 = 64 << 20;

/// Objects that are written or read concurrently.
pub(crate) const CONCURRENT_OBJECTS: usize = 8;

/// The actions of errors. The component of an error says whose objects they are.
mod action {
    pub(super) const WRITE: &str = "write an object";
    pub(super) const READ: &str = "read an object";
    pub(super) const LIST: &str = "list the objects";
    pub(super) const DELETE: &str = "delete an object";
}

/// The behavior of a write if the key is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Write {
    /// Keeps the object, and returns [`Written::Taken`].
    IfAbsent,
    /// Replaces the object.
    Replace,
}

/// The result of a write. Exhaustive: a write that stored nothing must not pass for one that did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// The object is stored durably.
    Stored,
    /// The key was taken; its object stays.
    Taken,
}

/// An object of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was written, Unix milliseconds; 0 if the store does not report it.
    pub modified_ms: u64,
}

/// Returns the reason why an object is not read.
fn too_large(key: &str, size: u64) -> String {
    format!("{key}: {size} bytes are more than expected")
}

/// Stores objects under keys: names between slashes.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Returns the location, without secrets.
    fn place(&self) -> &str;

    /// Checks that the location exists and can be reached.
    async fn check(&self) -> Result<(), StoreError>;

    /// Writes an object; durable when it returns.
    async fn put(&self, key: &str, bytes: Bytes, write: Write) -> Result<Written, StoreError>;

    /// Writes new objects, each unless its key is taken. All are durable when it returns.
    ///
    /// If it fails or is interrupted, some objects are stored, each of them completely. The order is unspecified.
    async fn put_all(&self, objects: Vec<(String, Bytes)>) -> Result<Vec<Written>, StoreError> {
        futures::stream::iter(objects)
            .map(|(key, bytes)| async move { self.put(&key, bytes, Write::IfAbsent).await })
            .buffered(CONCURRENT_OBJECTS)
            .try_collect()
            .await
    }

    /// Writes a file as an object; durable when it returns. The file must not change meanwhile.
    async fn put_file(&self, key: &str, file: &Path, write: Write) -> Result<Written, StoreError>;

    /// Reads an object of at most [`MAX_IN_MEMORY_BYTES`] bytes; `None` if there is provably none.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.get_at_most(key, MAX_IN_MEMORY_BYTES).await
    }

    /// Reads an object of at most `most` bytes; `None` if there is provably none.
    async fn get_at_most(&self, key: &str, most: u64) -> Result<Option<Bytes>, StoreError>;

    /// Reads an object of at most `most` bytes into a new file, and returns its size; `None`, without a file, if there
    /// is provably none. After an error there is no file either. The file is not synced.
    async fn get_file(&self, key: &str, file: &Path, most: u64) -> Result<Option<u64>, StoreError>;

    /// Returns all objects whose keys begin with `prefix`, by key.
    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError>;

    /// Deletes an object; a missing one is not an error.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
}

/// Opens `s3://BUCKET/PREFIX` or `folder:PATH`. It creates neither: a missing directory may be a disk that is not
/// mounted. Errors name the component that keeps its objects there.
///
/// # Errors
/// The URL has neither form, or the directory is missing.
pub async fn open(url: &str, s3: &S3Settings, component: Component) -> Result<Arc<dyn Objects>, Error> {
    if let Some(rest) = url.strip_prefix("s3://") {
        return bucket(rest, s3, component).await;
    }
    match url.split_once(':') {
        Some(("folder", path)) if Path::new(path).is_absolute() => {
            Ok(Arc::new(FolderObjects::open(Path::new(path), component)?))
        }
        // PostgreSQL runs the archiver in its own directory.
        Some(("folder", _)) => Err(Error::Config(format!("{url:?}: the directory must be an absolute path"))),
        _ => Err(Error::Config(format!("expected s3://BUCKET/PREFIX or folder:PATH, got {url:?}"))),
    }
}

#[cfg(feature = "s3")]
async fn bucket(url: &str, s3: &S3Settings, component: Component) -> Result<Arc<dyn Objects>, Error> {
    Ok(Arc::new(S3Objects::connect(url, s3, component).await?))
}

#[cfg(not(feature = "s3"))]
async fn bucket(url: &str, _: &S3Settings, _: Component) -> Result<Arc<dyn Objects>, Error> {
    Err(Error::Config(format!("s3://{url}: this build has no S3 support; build with --features s3")))
}
