//! Payloads in a folder.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Hash, PayloadError, Payloads};

use crate::Error;

/// A folder that holds payloads under their object references, such as a download of a bucket.
///
/// The payload of `s3://bucket/lift-01/1.bin` is `lift-01/1.bin`, or else `bucket/lift-01/1.bin`; that of
/// `file:///lift-01/1.bin` or just `lift-01/1.bin` is `lift-01/1.bin`. References come from records, which nobody
/// vouches for: one that leads out of the folder, by `..` or by a symbolic link, has no payload, and neither has
/// one that leads to anything but a regular file.
#[derive(Debug, Clone)]
pub struct PayloadFolder {
    /// Canonical.
    root: PathBuf,
}

impl PayloadFolder {
    /// Opens a folder; it must exist.
    pub fn open(dir: &Path) -> Result<PayloadFolder, Error> {
        let name: Arc<str> = dir.display().to_string().into();
        let error = |source| Error::Io { name: Arc::clone(&name), action: "open the payload folder", source };
        let root = dir.canonicalize().map_err(error)?;
        if !root.metadata().map_err(error)?.is_dir() {
            return Err(error(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder")));
        }
        Ok(PayloadFolder { root })
    }

    /// The payload of an object reference, if there is one; of a longer payload the first `most_bytes`.
    pub fn read(&self, object_ref: &str, most_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        let read = |file: File| {
            let mut payload = Vec::new();
            file.take(most_bytes).read_to_end(&mut payload).map(|_| payload)
        };
        let payload = self.find(object_ref).and_then(|file| file.map(read).transpose());
        payload.map_err(|source| Error::Io {
            name: format!("{object_ref} in {}", self.root.display()).into(),
            action: "read the payload",
            source,
        })
    }

    /// The file of an object reference, if there is one.
    fn find(&self, object_ref: &str) -> io::Result<Option<File>> {
        for candidate in object_paths(object_ref) {
            if let Some(file) = self.regular_file(&candidate)? {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    fn regular_file(&self, candidate: &Path) -> io::Result<Option<File>> {
        let path = match self.root.join(candidate).canonicalize() {
            Ok(path) => path,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Looked at before it is opened: opening a pipe would wait for its other end.
        if !path.starts_with(&self.root) || !path.metadata()?.is_file() {
            return Ok(None);
        }
        let file = File::open(path)?;
        Ok(file.metadata()?.is_file().then_some(file))
    }
}

impl Payloads for PayloadFolder {
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        let hash = self.find(&record.object_ref).and_then(|file| file.map(hash_of).transpose());
        hash.map_err(|source| PayloadError {
            device_id: record.device_id.clone(),
            sequence: record.sequence,
            object_ref: record.object_ref.clone(),
            source: Box::new(source),
        })
    }
}

fn hash_of(file: File) -> io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(Hash(*hasher.finalize().as_bytes()))
}

/// Whether the file system says that nothing can have this name.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

/// Where the payload of an object reference may be, in this order, relative to the folder. Empty where the
/// reference could lead elsewhere.
pub(crate) fn object_paths(object_ref: &str) -> Vec<PathBuf> {
    let candidates = match object_ref.split_once("://") {
        None => vec![relative_path(object_ref)],
        Some((_, rest)) => match rest.split_once('/') {
            Some(("", key)) => vec![relative_path(key)],
            Some((_, key)) => vec![relative_path(key), relative_path(rest)],
            None => Vec::new(),
        },
    };
    // A key that is no path makes no path with its bucket either; a bad bucket leaves the key.
    candidates.into_iter().flatten().collect()
}

/// A path of ordinary names only.
fn relative_path(key: &str) -> Option<PathBuf> {
    let ordinary = |name: &str| {
        let mut components = Path::new(name).components();
        // Not `.`, `..`, a drive or, where they separate, something with a backslash.
        let one = matches!(components.next(), Some(Component::Normal(normal)) if normal == name);
        one && components.next().is_none() && !name.contains('\0')
    };
    key.split('/').all(ordinary).then(|| key.split('/').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_read_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1.bin"), b"four").unwrap();
        let payloads = PayloadFolder::open(folder.path()).unwrap();
        assert_eq!(payloads.read("s3://bucket/1.bin", 4).unwrap().as_deref(), Some(&b"four"[..]));
        assert_eq!(payloads.read("1.bin", 2).unwrap().as_deref(), Some(&b"fo"[..]));
        assert_eq!(payloads.read("../1.bin", 4).unwrap(), None);
    }

    #[test]
    fn references_become_paths_within_the_folder() {
        let paths = |object_ref| {
            object_paths(object_ref).iter().map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(paths("s3://bucket/lift/1.bin"), ["lift/1.bin", "bucket/lift/1.bin"]);
        assert_eq!(paths("file:///lift/1.bin"), ["lift/1.bin"]);
        assert_eq!(paths("lift/1.bin"), ["lift/1.bin"]);
        assert_eq!(paths("s3://../1.bin"), ["1.bin"]);
        for traps in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/./b",
            ".",
            "a//b",
            "a/",
            "a\0b",
            "s3://",
            "s3://b",
            "s3://b/",
            "s3://b//etc/passwd",
            "s3://b/../x",
            "s3://b/a/../../x",
            "file:////etc/passwd",
            "file:///../x",
        ] {
            assert!(paths(traps).is_empty(), "{traps:?} gives {:?}", paths(traps));
        }
    }
}
