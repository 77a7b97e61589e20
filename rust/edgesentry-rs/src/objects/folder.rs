//! Objects in a folder, one file each.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{LARGEST_IN_MEMORY, Object, Objects, Write, Written};
use crate::error::{Component, Error, StoreError};
use crate::files::{Names, failure, modified_ms, place_new, sync_parents, unique_name, write_synced};
use crate::s3::refuse_key;

/// A folder that must be there already. Objects are written to a temporary file, synced, and linked into place, or
/// renamed there if the file system has no hard links.
#[derive(Debug, Clone)]
pub struct FolderObjects {
    root: PathBuf,
    place: Arc<str>,
}

/// Where temporary files are written, below the folder. No key leads there.
const PARTIAL: &str = ".partial";

impl FolderObjects {
    /// Opens a folder.
    pub fn open(root: &Path) -> Result<FolderObjects, Error> {
        let place: Arc<str> = root.display().to_string().into();
        match root.canonicalize() {
            Ok(root) if root.is_dir() => Ok(FolderObjects { root, place }),
            Ok(_) => Err(Error::Config(format!("{place}: no folder; name one as folder:PATH"))),
            Err(error) => Err(Error::Config(format!(
                "{place}: cannot open the archive folder: {error}; make it first, or mount its disk"
            ))),
        }
    }

    fn path(&self, key: &str) -> io::Result<PathBuf> {
        let refused = |problem| io::Error::new(io::ErrorKind::InvalidInput, problem);
        refuse_key(key).map_err(refused)?;
        if key.split('/').any(|name| name == PARTIAL || name.len() > 255) {
            return Err(refused(format!("no key of a folder: {key:?}")));
        }
        Ok(self.root.join(key))
    }

    /// Puts a synced temporary file into place.
    fn place_file(&self, key: &str, partial: &Path, write: Write) -> io::Result<Written> {
        let path = self.path(key)?;
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let written = match write {
            Write::Replace => fs::rename(partial, &path).map(|()| Written::Stored),
            Write::IfAbsent => place_new(partial, &path, Names::Free)
                .map(|placed| if placed { Written::Stored } else { Written::Taken }),
        }?;
        sync_parents(&self.root, &path)?;
        Ok(written)
    }

    fn store(
        &self,
        key: &str,
        write: Write,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<Written> {
        let path = self.path(key)?;
        if write == Write::IfAbsent && path.try_exists()? {
            sync_parents(&self.root, &path)?;
            return Ok(Written::Taken);
        }
        let partial = self.root.join(PARTIAL).join(unique_name());
        fs::create_dir_all(self.root.join(PARTIAL))?;
        let written = fill(&partial).and_then(|()| self.place_file(key, &partial, write));
        let _ = fs::remove_file(&partial);
        written
    }

    /// The file of a key; `None` where there is none, an error where the whole folder is gone.
    fn existing(&self, key: &str) -> io::Result<Option<(File, u64)>> {
        match File::open(self.path(key)?) {
            Ok(file) => {
                let size = file.metadata()?.len();
                Ok(Some((file, size)))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                fs::read_dir(&self.root).map(|_| None)
            }
            Err(error) => Err(error),
        }
    }

    fn walk(&self, prefix: &str) -> io::Result<Vec<Object>> {
        let mut objects = Vec::new();
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut folders = vec![self.root.join(folder)];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && folder != self.root => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let path = entry.path();
                let Some(key) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) else { continue };
                let metadata = match entry.metadata() {
                    // Deleted or renamed meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    metadata => metadata?,
                };
                if metadata.is_dir() {
                    if key != PARTIAL {
                        folders.push(path);
                    }
                } else if key.starts_with(prefix) {
                    let modified_ms = modified_ms(&metadata);
                    objects.push(Object { key: key.to_owned(), size_bytes: metadata.len(), modified_ms });
                }
            }
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    fn error(&self, action: &'static str, source: io::Error) -> StoreError {
        StoreError {
            component: Component::Archive,
            action,
            place: Arc::clone(&self.place),
            kind: failure(&source),
            source: Arc::new(source),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&FolderObjects) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folder = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        done.map_err(io::Error::other).and_then(|done| done).map_err(|error| self.error(action, error))
    }
}

#[async_trait]
impl Objects for FolderObjects {
    fn place(&self) -> &str {
        &self.place
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.run("reach the archive folder", |folder| fs::read_dir(&folder.root).map(|_| ())).await
    }

    async fn put(&self, key: &str, bytes: Bytes, write: Write) -> Result<Written, StoreError> {
        let key = key.to_owned();
        let fill = move |partial: &Path| write_synced(partial, &bytes);
        self.run("write to the archive", move |folder| folder.store(&key, write, fill)).await
    }

    async fn put_file(&self, key: &str, file: &Path, write: Write) -> Result<Written, StoreError> {
        let (key, file) = (key.to_owned(), file.to_owned());
        let fill = move |partial: &Path| {
            let mut copy = File::create_new(partial)?;
            io::copy(&mut File::open(&file)?, &mut copy)?;
            copy.sync_all()
        };
        self.run("write to the archive", move |folder| folder.store(&key, write, fill)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let key = key.to_owned();
        self.run("read from the archive", move |folder| {
            let Some((mut file, size)) = folder.existing(&key)? else { return Ok(None) };
            if size > LARGEST_IN_MEMORY {
                return Err(io::Error::other(format!("{key}: {size} bytes are more than is expected there")));
            }
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            io::copy(&mut file, &mut bytes)?;
            Ok(Some(bytes.into()))
        })
        .await
    }

    async fn get_file(&self, key: &str, file: &Path) -> Result<Option<u64>, StoreError> {
        let (key, path) = (key.to_owned(), file.to_owned());
        self.run("read from the archive", move |folder| {
            let Some((mut object, _)) = folder.existing(&key)? else { return Ok(None) };
            let mut file = File::create_new(&path)?;
            let copied = io::copy(&mut object, &mut file);
            if copied.is_err() {
                let _ = fs::remove_file(&path);
            }
            copied.map(Some)
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let prefix = prefix.to_owned();
        self.run("list the archive", move |folder| folder.walk(&prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.run("delete from the archive", move |folder| match fs::remove_file(folder.path(&key)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }
}
