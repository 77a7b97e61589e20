//! Payloads in a directory, in packs or in one file each.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Hash};
use edgesentry_formats::content_path;
use edgesentry_formats::packs::{Packs, is_packs};
use edgesentry_formats::times::now_ms;
use futures::StreamExt;
use tracing::warn;

use super::pack::{Files, PackWriter, Unpacked};
use super::{Leftovers, PayloadStore, Put, Version, damaged, is_of};
use crate::admission::{Admitted, MAX_PAYLOAD_BYTES};
use crate::error::{Component, StoreError};
use crate::files::{self, modified_ms, sync_parents, write_synced};

/// A directory of payloads, each under the name of its record, see [`content_path`].
///
/// New payloads are in [packs](edgesentry_formats::packs), or in files ([`Layout`]); those of both are found. A file is
/// written under a temporary name, synced, and linked into place: the write is atomic and never replaces a file. On a
/// file system without hard links it uses renames that replace nothing.
///
/// Payloads of earlier releases are found at their old paths: that of `s3://bucket/lift-01/1.bin` at
/// `bucket/lift-01/1.bin`, the reference without its scheme.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    place: Arc<str>,
    /// Directories below the root whose names are on the disk.
    synced: Arc<Mutex<HashSet<PathBuf>>>,
    layout: Layout,
    packs: Arc<Packs>,
    writer: Arc<PackWriter>,
}

/// Where a directory keeps new payloads.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub enum Layout {
    /// One file each.
    #[default]
    Files,
    /// Many in one file, with one sync for a group.
    Packs,
}

/// The directory of temporary files, below the root. No payload's name leads there.
const PARTIAL: &str = ".partial";
/// The maximum number of remembered synced directories.
const MAX_SYNCED: usize = 4096;

impl Folder {
    /// Opens a directory, creating it if it is missing.
    ///
    /// # Errors
    /// The directory can be neither opened nor created.
    pub fn open(root: &Path) -> Result<Folder, StoreError> {
        Folder::open_as(root, Layout::default())
    }

    /// Like [`Folder::open`], with a choice for new payloads.
    ///
    /// # Errors
    /// The directory can be neither opened nor created.
    pub fn open_as(root: &Path, layout: Layout) -> Result<Folder, StoreError> {
        let place: Arc<str> = root.display().to_string().into();
        let opened = fs::create_dir_all(root.join(PARTIAL)).and_then(|()| root.canonicalize());
        match opened {
            Ok(root) => {
                // Left by a killed process; they were never acknowledged.
                for entry in fs::read_dir(root.join(PARTIAL)).into_iter().flatten().flatten() {
                    if stale(&entry) {
                        let _ = fs::remove_file(entry.path());
                    }
                }
                let folder = Folder::new(root, place, layout);
                if layout == Layout::Packs {
                    // A damaged pack does not keep the service from starting; writes that need it fail.
                    if let Err(error) = folder.writer.tidy() {
                        warn!(place = %folder.place, %error, "the packs of payloads could not be tidied");
                    }
                }
                Ok(folder)
            }
            Err(source) => Err(error(&place, "open the payload directory", source)),
        }
    }

    /// Opens an existing directory for reading, and changes nothing in it.
    ///
    /// # Errors
    /// The directory is missing or cannot be opened.
    pub fn read(root: &Path) -> Result<Folder, StoreError> {
        let place: Arc<str> = root.display().to_string().into();
        match root.canonicalize() {
            Ok(root) => Ok(Folder::new(root, place, Layout::default())),
            Err(source) => Err(error(&place, "open the payload directory", source)),
        }
    }

    fn new(root: PathBuf, place: Arc<str>, layout: Layout) -> Folder {
        let packs = Arc::new(Packs::new(&root));
        let writer = Arc::new(PackWriter::new(&root, &packs));
        Folder { root, place, synced: Arc::default(), layout, packs, writer }
    }

    /// Writes every payload of the packs into a file of its own, as earlier releases read them, and removes the packs.
    ///
    /// # Errors
    /// A file cannot be written, or another process writes into the packs.
    pub fn unpack(&self) -> Result<Unpacked, StoreError> {
        let unpacked = self.writer.unpack(self);
        unpacked.map_err(|source| error(&self.place, "write the payloads of packs into files", source))
    }

    /// Stores the payload of a record of the ledger again, such as from a backup; durable when it returns. Nothing is
    /// overwritten.
    ///
    /// # Errors
    /// The payload is not that of the record; it cannot be stored, or a file with other bytes has its name.
    pub async fn restore(&self, record: &AuditRecord, payload: Bytes) -> Result<(), StoreError> {
        let (name, hash) = (content_path(record), record.payload_hash);
        let work = move |folder: &Folder| {
            if Hash::of(&payload) != hash {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not have the payload hash"));
            }
            folder.put_now(&[(name, payload)])?.into_iter().try_for_each(|put| put.map(|_| ()))
        };
        self.run("restore a payload", work).await
    }

    fn put_now(&self, payloads: &[(String, Bytes)]) -> io::Result<Vec<io::Result<Put>>> {
        if self.layout == Layout::Files {
            return Ok(payloads.iter().map(|(name, payload)| self.put_file(name, payload)).collect());
        }
        // Earlier releases may have stored some of them.
        let mut puts = Vec::with_capacity(payloads.len());
        let mut new = Vec::with_capacity(payloads.len());
        for (name, payload) in payloads {
            let path = self.root.join(name);
            match read(&path)? {
                Some(there) => puts.push(Some(self.already_there(&path, &there, payload))),
                None => {
                    puts.push(None);
                    new.push((name.as_str(), payload));
                }
            }
        }
        let mut new = self.writer.put_all(&new, now_ms())?.into_iter();
        let mut put = |put: Option<io::Result<Put>>| put.or_else(|| new.next().map(Ok));
        let stopped = || Err(io::ErrorKind::Interrupted.into());
        Ok(puts.into_iter().map(|done| put(done).unwrap_or_else(stopped)).collect())
    }

    fn put_file(&self, key: &str, payload: &[u8]) -> io::Result<Put> {
        let path = self.root.join(key);
        if let Some(there) = read(&path)? {
            return self.already_there(&path, &there, payload);
        }
        self.make_folder_of(&path)?;
        let partial = self.root.join(PARTIAL).join(files::unique_name());
        let placed = write_synced(&partial, payload)
            .and_then(|()| files::place_new(&partial, &path, files::Names::OfContent));
        let _ = fs::remove_file(&partial);
        match placed {
            Ok(true) => sync_parent(&path).map(|()| Put::Stored),
            // Another writer stored the same bytes first, or the name is not a file.
            Ok(false) => match read(&path)? {
                Some(there) => self.already_there(&path, &there, payload),
                None => Err(in_the_way(&path)),
            },
            Err(error) => {
                if error.kind() == io::ErrorKind::NotFound {
                    // A directory was removed: the next attempt creates it again.
                    self.synced().clear();
                }
                Err(error)
            }
        }
    }

    /// Returns the result for a payload whose name is taken, once that is durable.
    fn already_there(&self, path: &Path, there: &[u8], payload: &[u8]) -> io::Result<Put> {
        if there != payload {
            let problem = damaged(&path.display().to_string());
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        // An earlier attempt may have ended before the sync.
        sync_parents(&self.root, path).map(|()| Put::AlreadyThere)
    }

    /// Creates the directory of a file, durably. Its name and those above it are synced once; an earlier process that
    /// created them may have been interrupted.
    fn make_folder_of(&self, path: &Path) -> io::Result<()> {
        let Some(folder) = path.parent() else { return Ok(()) };
        if self.synced().contains(folder) {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => in_the_way(folder),
            _ => error,
        })?;
        sync_parents(&self.root, folder)?;
        let mut synced = self.synced();
        if synced.len() >= MAX_SYNCED {
            synced.clear();
        }
        synced.insert(folder.to_owned());
        Ok(())
    }

    fn synced(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the path of a reference in earlier releases; `None` if they refused it.
    fn old_path(&self, object_ref: &str) -> Option<PathBuf> {
        let path = object_ref.split_once("://").map_or(object_ref, |(_, path)| path);
        let path = path.trim_start_matches('/');
        let ordinary = |name: &str| {
            // Some file systems do not distinguish upper case.
            let ours = name.eq_ignore_ascii_case(PARTIAL) || is_packs(name);
            !(name.is_empty() || name == "." || name == ".." || ours || name.contains('\0'))
        };
        path.split('/').all(ordinary).then(|| self.root.join(path))
    }

    fn get_now(&self, record: &AuditRecord) -> io::Result<Option<Bytes>> {
        let name = content_path(record);
        let mut own = read(&self.root.join(&name))?;
        if own.as_ref().is_some_and(|own| is_of(record, own)) {
            return Ok(own.map(Bytes::from));
        }
        let packed = self.packs.find(&name, |found| {
            let payload = found.read(MAX_PAYLOAD_BYTES)?;
            if is_of(record, &payload) {
                return Ok(Some(payload));
            }
            own.get_or_insert(payload);
            Ok(None)
        })?;
        if packed.is_some() {
            return Ok(packed.map(Bytes::from));
        }
        // Another process may have written the payloads of the packs into files meanwhile.
        if own.is_none() && self.packs.has_folder() {
            own = read(&self.root.join(&name))?;
        }
        let old = self.old_path(&record.object_ref).map_or(Ok(None), |path| read(&path))?;
        let old_is_right = own.is_none() || old.as_ref().is_some_and(|old| is_of(record, old));
        Ok(if old_is_right { old } else { own }.map(Bytes::from))
    }

    fn versions_now(&self, record: &AuditRecord) -> io::Result<Vec<Version>> {
        let mut versions = Vec::new();
        let own = content_path(record);
        for path in self.paths(record) {
            let Some(metadata) = metadata(&path)? else {
                if path == self.root.join(&own)
                    && let Some((_, frame)) = self.packs.all(&own)?.into_iter().next_back()
                {
                    versions.push(Version {
                        key: own.clone(),
                        id: String::new(),
                        size_bytes: frame.payload_bytes.into(),
                        stored_at_ms: frame.stored_at_ms,
                        current: true,
                        deleted: false,
                    });
                }
                continue;
            };
            versions.push(Version {
                key: self.name_of(&path),
                id: String::new(),
                size_bytes: metadata.len(),
                stored_at_ms: modified_ms(&metadata),
                current: true,
                deleted: false,
            });
        }
        Ok(versions)
    }

    /// Returns the paths of a payload below the root.
    fn paths(&self, record: &AuditRecord) -> Vec<PathBuf> {
        let own = self.root.join(content_path(record));
        let old = self.old_path(&record.object_ref).filter(|old| *old != own);
        std::iter::once(own).chain(old).collect()
    }

    fn erase_now(&self, record: &AuditRecord, name: &str) -> io::Result<()> {
        let path = self.root.join(name);
        let is_own = name == content_path(record);
        if is_own {
            self.erase_partial(record)?;
            self.writer.erase(name)?;
        }
        let goes = match metadata(&path)? {
            None => false,
            Some(_) if is_own => true,
            Some(_) => read(&path)?.is_some_and(|there| is_of(record, &there)),
        };
        if goes {
            remove(&path)?;
        }
        // An earlier attempt may have ended between the removal and the sync.
        match sync_parent(&path) {
            Err(error) if is_absence(&error) => Ok(()),
            synced => synced,
        }
    }

    /// Removes copies that a killed writer left among the temporary files.
    fn erase_partial(&self, record: &AuditRecord) -> io::Result<()> {
        let folder = self.root.join(PARTIAL);
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if read(&path)?.is_some_and(|there| is_of(record, &there)) {
                remove(&path)?;
            }
        }
        File::open(folder)?.sync_all()
    }

    fn name_of(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    async fn put_all(&self, admitted: &[Admitted]) -> Result<Vec<Result<Put, StoreError>>, StoreError> {
        let action = "store the payload";
        let payload = |admitted: &Admitted| (content_path(admitted.record()), admitted.payload().clone());
        let payloads: Vec<(String, Bytes)> = admitted.iter().map(payload).collect();
        let puts = self.run(action, move |folder| folder.put_now(&payloads)).await?;
        Ok(puts.into_iter().map(|put| put.map_err(|source| error(&self.place, action, source))).collect())
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folder = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        done.map_err(io::Error::other)
            .and_then(|done| done)
            .map_err(|source| error(&self.place, action, source))
    }
}

impl Files for Folder {
    fn add_file(&self, name: &str, payload: &[u8]) -> io::Result<()> {
        self.put_file(name, payload).map(|_| ())
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        let path = self.root.join(name);
        remove(&path).and_then(|()| sync_parent(&path))
    }

    fn has_file(&self, name: &str, hash: &Hash) -> io::Result<bool> {
        Ok(read(&self.root.join(name))?.is_some_and(|there| Hash::of(&there) == *hash))
    }
}

#[async_trait]
impl PayloadStore for Folder {
    fn place(&self) -> &str {
        &self.place
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.run("reach the payload directory", |folder| fs::metadata(folder.root.join(PARTIAL)).map(|_| ()))
            .await
    }

    async fn examine(&self) -> Result<(), StoreError> {
        self.check().await?;
        self.run("read the packs of payloads", |folder| match folder.layout {
            Layout::Packs => folder.writer.tidy(),
            Layout::Files => folder.packs.refresh(),
        })
        .await
    }

    fn prefers_batches(&self) -> bool {
        self.layout == Layout::Packs
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        self.put_all(std::slice::from_ref(admitted)).await?.remove(0)
    }

    async fn put_many(&self, admitted: &[Admitted], concurrency: usize) -> Vec<Result<Put, StoreError>> {
        if self.layout == Layout::Packs {
            match self.put_all(admitted).await {
                Ok(puts) => return puts,
                Err(error) if error.is_retryable() => return vec![Err(error); admitted.len()],
                // One of them may be at fault; the others do not wait for it.
                Err(_) => {}
            }
        }
        let puts: Vec<_> = admitted.iter().map(|admitted| self.put(admitted)).collect();
        futures::stream::iter(puts).buffered(concurrency.max(1)).collect().await
    }

    async fn discard(&self, record: &AuditRecord) -> Result<(), StoreError> {
        if self.layout == Layout::Files {
            return Ok(());
        }
        let name = content_path(record);
        self.run("remove the payload of a rejected record", move |folder| folder.writer.discard(&name)).await
    }

    async fn get(&self, record: &AuditRecord) -> Result<Option<Bytes>, StoreError> {
        let record = record.clone();
        self.run("read a payload", move |folder| folder.get_now(&record)).await
    }

    async fn versions(&self, record: &AuditRecord) -> Result<Vec<Version>, StoreError> {
        let record = record.clone();
        self.run("look for a payload", move |folder| folder.versions_now(&record)).await
    }

    fn names(&self, record: &AuditRecord) -> Vec<String> {
        self.paths(record).iter().map(|path| self.name_of(path)).collect()
    }

    async fn erase(&self, record: &AuditRecord, name: &str) -> Result<Leftovers, StoreError> {
        let (record, name) = (record.clone(), name.to_owned());
        self.run("delete a payload", move |folder| folder.erase_now(&record, &name)).await?;
        Ok(Leftovers::default())
    }
}

fn error(place: &Arc<str>, action: &'static str, source: io::Error) -> StoreError {
    StoreError {
        component: Component::RawDataStore,
        action,
        place: Arc::clone(place),
        kind: files::failure(&source),
        source: Arc::new(source),
    }
}

fn in_the_way(path: &Path) -> io::Error {
    let problem = format!("{} is not a file or directory of the store; move it away", path.display());
    io::Error::new(io::ErrorKind::NotADirectory, problem)
}

/// Makes the name of a file durable whose directory already is.
fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Returns the metadata of a regular file; `None` if there can be none.
fn metadata(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_file().then_some(metadata)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file; it may be gone.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !is_absence(&error) => Err(error),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(metadata) = metadata(path)? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes).map(|_| Some(bytes)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns true if the error means that there is no file, or can be none.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

/// Returns true if a file is older than any write can take; another process may write in the same directory.
fn stale(entry: &fs::DirEntry) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 3600))
}
