//! Objects in a directory, one file each.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, fstat, mkdirat};
use rustix::io::Errno;

use super::{CONCURRENT_OBJECTS, Object, Objects, Write, Written, action, too_large};
use crate::background;
use crate::error::{Component, Error, StoreError};
use crate::files::{
    Names, failure, folder_below, modified_ms, open_below, place_new, refuse_key, sync_parents, unique_name,
    write_synced,
};

/// A directory that must exist. Objects are written to a temporary file, synced, and linked into place, or renamed
/// there if the file system has no hard links. Other users may be able to write there: it reads only regular files, and
/// follows no link.
///
/// The archiver of PostgreSQL, which has a umask of its own, and backups may run as different users. So files and
/// directories get the permissions that the root has for its group, and none for others. If root creates them, they
/// also get its owner and its group.
#[derive(Debug, Clone)]
pub struct FolderObjects {
    root: PathBuf,
    place: Arc<str>,
    component: Component,
}

/// A temporary file, removed when it is dropped.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The directory of temporary files, below the root. No key leads there.
const PARTIAL: &str = ".partial";
/// A file there that is older than this has no writer.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);

impl FolderObjects {
    /// Opens a directory. Errors name the component that keeps its objects there.
    ///
    /// # Errors
    /// The directory is missing or cannot be opened.
    pub fn open(root: &Path, component: Component) -> Result<FolderObjects, Error> {
        let place: Arc<str> = root.display().to_string().into();
        match root.canonicalize() {
            Ok(root) if root.is_dir() => Ok(FolderObjects { root, place, component }),
            Ok(_) => Err(Error::Config(format!("{place}: not a directory; expected folder:PATH"))),
            Err(error) => Err(Error::unusable(
                format!("{place}: cannot open the directory; create it first, or mount its disk"),
                error,
            )),
        }
    }

    fn path(&self, key: &str) -> io::Result<PathBuf> {
        let refused = |problem| io::Error::new(io::ErrorKind::InvalidInput, problem);
        refuse_key(key).map_err(refused)?;
        if key.split('/').any(|name| name == PARTIAL || name.len() > 255) {
            return Err(refused(format!("invalid object key {key:?}")));
        }
        Ok(self.root.join(key))
    }

    /// Creates directories below the root, with the permissions of the root.
    fn make_folders(&self, path: &Path) -> io::Result<()> {
        let mut made = PathBuf::new();
        for name in path.components() {
            let folder = folder_below(&self.root, &made)?;
            made.push(name);
            match mkdirat(&folder, name.as_os_str(), Mode::RWXU) {
                Ok(()) => {
                    self.share(&folder_below(&self.root, &made)?, Mode::RWXU, Mode::RWXG | Mode::SGID)?
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        folder_below(&self.root, path).map(|_| ())
    }

    /// Gives a new file or directory to the users who share the root, as far as the file system and our permissions
    /// allow.
    fn share(&self, made: impl AsFd, own: Mode, of_root: Mode) -> io::Result<()> {
        let root = fs::metadata(&self.root)?;
        let is = fstat(&made)?;
        // An unchanged file costs no write of its inode.
        if rustix::process::geteuid().is_root() && (is.st_uid, is.st_gid) != (root.uid(), root.gid()) {
            let _ = fchown(&made, Some(Uid::from_raw(root.uid())), Some(Gid::from_raw(root.gid())));
        }
        let mode = own | (Mode::from_raw_mode(root.mode() as _) & of_root);
        if Mode::from_raw_mode(is.st_mode) != mode {
            let _ = fchmod(&made, mode);
        }
        Ok(())
    }

    /// Puts a synced temporary file into place, in a directory that exists. The name is durable once the directories
    /// above it are synced.
    fn place_file(&self, key: &str, partial: &Path, write: Write) -> io::Result<Written> {
        let path = self.path(key)?;
        self.share(File::open(partial)?, Mode::RUSR | Mode::WUSR, Mode::RGRP | Mode::WGRP)?;
        match write {
            Write::Replace => fs::rename(partial, &path).map(|()| Written::Stored),
            Write::IfAbsent => place_new(partial, &path, Names::Free)
                .map(|placed| if placed { Written::Stored } else { Written::Taken }),
        }
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
        self.make_folders(Path::new(PARTIAL))?;
        self.remove_left();
        let partial = self.partial();
        fill(&partial.0)?;
        self.make_folders(folder_of(key))?;
        let written = self.place_file(key, &partial.0, write)?;
        sync_parents(&self.root, &path)?;
        Ok(written)
    }

    fn partial(&self) -> Partial {
        Partial(self.root.join(PARTIAL).join(unique_name()))
    }

    /// Writes and syncs a temporary file; `None` if the key is taken.
    fn prepare(&self, key: &str, bytes: &[u8]) -> io::Result<Option<Partial>> {
        if self.path(key)?.try_exists()? {
            return Ok(None);
        }
        let partial = self.partial();
        write_synced(&partial.0, bytes)?;
        Ok(Some(partial))
    }

    /// Puts synced temporary files into place, and syncs each directory once.
    ///
    /// A name never leads to bytes that are not on the disk, because the files are synced before. After a crash some
    /// names may be missing; the same call then adds them.
    fn place_all(&self, prepared: Vec<(String, Option<Partial>)>) -> io::Result<Vec<Written>> {
        let mut folders = BTreeSet::new();
        let mut written = Vec::with_capacity(prepared.len());
        for (key, partial) in prepared {
            let folder = folder_of(&key);
            if !folders.contains(folder) {
                self.make_folders(folder)?;
                folders.extend(folder.ancestors().map(Path::to_owned));
            }
            written.push(match partial {
                Some(partial) => self.place_file(&key, &partial.0, Write::IfAbsent)?,
                // The name may not be durable yet, so its directory is synced, too.
                None => Written::Taken,
            });
        }
        // The inner directories first: a name is durable only with those above it.
        for folder in folders.iter().rev() {
            File::open(self.root.join(folder))?.sync_all()?;
        }
        Ok(written)
    }

    /// Removes files of processes that were killed while they wrote.
    fn remove_left(&self) {
        for entry in fs::read_dir(self.root.join(PARTIAL)).into_iter().flatten().flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED_AFTER)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Returns the file of a key, of at most `most` bytes; `None` if there is none, an error if the whole directory is
    /// gone.
    fn existing(&self, key: &str, most: u64) -> io::Result<Option<(io::Take<File>, u64)>> {
        self.path(key)?;
        match open_below(&self.root, Path::new(key)) {
            Ok(file) => {
                let size = file.metadata()?.len();
                if size > most {
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, too_large(key, size)));
                }
                // It may still grow.
                Ok(Some((file.take(size), size)))
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
            component: self.component,
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

    /// Like `run`, on a thread of a lower priority.
    async fn run_in_background<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&FolderObjects) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folder = self.clone();
        background::run(move || work(&folder)).await.map_err(|error| self.error(action, error))
    }
}

fn folder_of(key: &str) -> &Path {
    Path::new(key).parent().unwrap_or(Path::new(""))
}

#[async_trait]
impl Objects for FolderObjects {
    fn place(&self) -> &str {
        &self.place
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.run("reach the directory", |folder| fs::read_dir(&folder.root).map(|_| ())).await
    }

    async fn put(&self, key: &str, bytes: Bytes, write: Write) -> Result<Written, StoreError> {
        let key = key.to_owned();
        let fill = move |partial: &Path| write_synced(partial, &bytes);
        self.run(action::WRITE, move |folder| folder.store(&key, write, fill)).await
    }

    async fn put_all(&self, objects: Vec<(String, Bytes)>) -> Result<Vec<Written>, StoreError> {
        let begin = |folder: &FolderObjects| {
            folder.make_folders(Path::new(PARTIAL))?;
            folder.remove_left();
            Ok(())
        };
        self.run_in_background(action::WRITE, begin).await?;
        // Concurrent syncs share one commit of the file system's journal.
        let prepared: Vec<_> = stream::iter(objects)
            .map(|(key, bytes)| {
                self.run_in_background(action::WRITE, move |folder| {
                    folder.prepare(&key, &bytes).map(|partial| (key, partial))
                })
            })
            .buffered(CONCURRENT_OBJECTS)
            .try_collect()
            .await?;
        self.run_in_background(action::WRITE, |folder| folder.place_all(prepared)).await
    }

    async fn put_file(&self, key: &str, file: &Path, write: Write) -> Result<Written, StoreError> {
        let (key, file) = (key.to_owned(), file.to_owned());
        let fill = move |partial: &Path| {
            let mut copy = File::create_new(partial)?;
            io::copy(&mut File::open(&file)?, &mut copy)?;
            copy.sync_all()
        };
        self.run(action::WRITE, move |folder| folder.store(&key, write, fill)).await
    }

    async fn get_at_most(&self, key: &str, most: u64) -> Result<Option<Bytes>, StoreError> {
        let key = key.to_owned();
        self.run(action::READ, move |folder| {
            let Some((mut file, size)) = folder.existing(&key, most)? else { return Ok(None) };
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            io::copy(&mut file, &mut bytes)?;
            Ok(Some(bytes.into()))
        })
        .await
    }

    async fn get_file(&self, key: &str, file: &Path, most: u64) -> Result<Option<u64>, StoreError> {
        let (key, path) = (key.to_owned(), file.to_owned());
        self.run(action::READ, move |folder| {
            let Some((mut object, _)) = folder.existing(&key, most)? else { return Ok(None) };
            let mut file = File::create_new(&path)?;
            let copied = io::copy(&mut object, &mut file);
            if copied.is_err() {
                let _ = fs::remove_file(&path);
            }
            // Name the destination: the disk of the new file may be full, too.
            let into =
                |error: io::Error| io::Error::new(error.kind(), format!("into {}: {error}", path.display()));
            copied.map(Some).map_err(into)
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let prefix = prefix.to_owned();
        self.run(action::LIST, move |folder| folder.walk(&prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.run(action::DELETE, move |folder| match fs::remove_file(folder.path(&key)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;
    use crate::error::FailureKind;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    fn folder(mode: u32) -> (tempfile::TempDir, FolderObjects) {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let objects = FolderObjects::open(folder.path(), Component::Archive).unwrap();
        (folder, objects)
    }

    #[test]
    fn an_error_names_the_component_of_the_objects() {
        let (folder, _) = folder(0o700);
        for (component, other) in [(Component::TransparencyLog, "archive"), (Component::Archive, "log")] {
            let objects = FolderObjects::open(folder.path(), component).unwrap();
            for error in [
                run(objects.get("..")).unwrap_err(),
                run(objects.put("..", Bytes::new(), Write::Replace)).unwrap_err(),
                run(objects.delete("..")).unwrap_err(),
            ] {
                assert_eq!(error.component, component);
                assert!(error.action.ends_with("an object") && !error.action.contains(other), "{error:?}");
            }
        }
    }

    #[test]
    fn nothing_but_a_regular_file_of_the_expected_size_is_read() {
        let (folder, objects) = folder(0o700);
        let victim = tempfile::tempdir().unwrap();
        fs::write(victim.path().join("file"), b"of somebody else").unwrap();
        let path = |name: &str| folder.path().join(name);
        symlink(victim.path().join("file"), path("link")).unwrap();
        symlink("/dev/zero", path("endless")).unwrap();
        symlink(victim.path(), path("elsewhere")).unwrap();
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::create_dir(path("folder")).unwrap();
        fs::write(path("large"), [0; 11]).unwrap();
        let out = folder.path().join("out");
        for key in ["link", "endless", "elsewhere/file", "pipe", "folder", "large"] {
            let error = run(objects.get_file(key, &out, 10)).unwrap_err();
            assert_eq!(error.kind, FailureKind::Item, "{key}: {error:?}");
            assert!(!out.exists(), "{key}");
            assert!(key == "large" || run(objects.get(key)).is_err(), "{key}");
            assert!(run(objects.get_at_most(key, 10)).is_err(), "{key}");
        }
        assert!(run(objects.put("elsewhere/new", Bytes::new(), Write::IfAbsent)).is_err());
        assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 1);
        assert_eq!(run(objects.get_file("large", &out, 11)).unwrap(), Some(11));
        assert_eq!(run(objects.get_at_most("large", 11)).unwrap().unwrap().len(), 11);
        assert_eq!(run(objects.get("large/none")).unwrap(), None);
        assert_eq!(run(objects.get("folder/none")).unwrap(), None);
    }

    #[test]
    fn only_the_group_of_the_folder_shares_archived_files() {
        for (root, file, inner) in [(0o2770, 0o660, 0o2770), (0o750, 0o640, 0o750), (0o755, 0o640, 0o750)] {
            let (folder, objects) = folder(root);
            run(objects.put("wal/1/file", Bytes::new(), Write::IfAbsent)).unwrap();
            let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().mode() & 0o7777;
            let seen = [mode("wal/1/file"), mode("wal/1"), mode("wal"), mode(PARTIAL)];
            assert_eq!(seen, [file, inner, inner, inner], "{root:o}");
        }
    }

    #[test]
    fn files_of_a_killed_process_block_no_writer_and_are_removed_later() {
        let (folder, objects) = folder(0o700);
        // As left by a process with the same number, which every first process of a container has.
        let left = folder.path().join(PARTIAL);
        fs::create_dir(&left).unwrap();
        let left: Vec<PathBuf> =
            (0..9).map(|count| left.join(format!("{}-{count}", std::process::id()))).collect();
        left.iter().for_each(|left| fs::write(left, b"half").unwrap());
        run(objects.put("file", Bytes::new(), Write::IfAbsent)).unwrap();
        assert!(left.iter().all(|left| left.exists()));
        let old = std::time::SystemTime::now() - ABANDONED_AFTER - Duration::from_secs(60);
        for left in &left {
            File::options().write(true).open(left).unwrap().set_modified(old).unwrap();
        }
        run(objects.put("other", Bytes::new(), Write::IfAbsent)).unwrap();
        assert_eq!(fs::read_dir(folder.path().join(PARTIAL)).unwrap().count(), 0);
    }
}
