//! Payloads in a directory.

use std::fs::File;
use std::io::{self, Read};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Hash, PayloadError, Payloads, RecordRef};

use crate::Error;
use crate::object_path::{content_path, object_paths};
use crate::packs::Packs;

/// A directory of payloads under their object references, such as a download of a bucket, or as a store keeps them,
/// under the names of their records ([`crate::content_path`]), in files or in [packs](crate::packs).
///
/// The payload of `s3://bucket/lift-01/1.bin` is `lift-01/1.bin` or `bucket/lift-01/1.bin`; that of
/// `file:///lift-01/1.bin` or just `lift-01/1.bin` is `lift-01/1.bin`. If several of these files exist, the payload is
/// the one with the payload hash of the record, or else the first. References come from untrusted records: one that
/// leads out of the directory, by `..` or a symbolic link, has no payload, and neither has one that leads to anything
/// but a regular file.
#[derive(Debug, Clone)]
pub struct PayloadFolder {
    /// The canonical path.
    root: PathBuf,
    /// The same directory, open.
    #[cfg(target_os = "linux")]
    directory: Arc<OwnedFd>,
    packs: Arc<Packs>,
}

impl PayloadFolder {
    /// Opens a directory; it must exist.
    ///
    /// # Errors
    /// The directory is missing or cannot be opened.
    pub fn open(dir: &Path) -> Result<PayloadFolder, Error> {
        let name: Arc<str> = dir.display().to_string().into();
        let error =
            |source| Error::Io { name: Arc::clone(&name), action: "open the payload directory", source };
        let root = dir.canonicalize().map_err(error)?;
        if !root.metadata().map_err(error)?.is_dir() {
            return Err(error(io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory")));
        }
        #[cfg(target_os = "linux")]
        let directory = {
            use rustix::fs::{Mode, OFlags, open};
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Arc::new(open(&root, flags, Mode::empty()).map_err(|errno| error(errno.into()))?)
        };
        let packs = Arc::new(Packs::new(&root));
        Ok(PayloadFolder {
            root,
            packs,
            #[cfg(target_os = "linux")]
            directory,
        })
    }

    /// Returns the payload of a record, if it exists; at most the first `most_bytes` of it.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(&self, record: &AuditRecord, most_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        let read = |file: &mut dyn Read| {
            let mut payload = Vec::new();
            file.take(most_bytes).read_to_end(&mut payload).map(|_| payload)
        };
        let matches = |payload: &Vec<u8>| Hash::of(payload) == record.payload_hash;
        self.best(record, read, matches).map_err(|source| Error::Io {
            name: format!("{} in {}", record.object_ref, self.root.display()).into(),
            action: "read the payload",
            source,
        })
    }

    /// Returns the result of `read` for the first payload of a record that `matches`, or else for its first one.
    fn best<T>(
        &self,
        record: &AuditRecord,
        read: impl Fn(&mut dyn Read) -> io::Result<T>,
        matches: impl Fn(&T) -> bool,
    ) -> io::Result<Option<T>> {
        let mut first = None;
        let mut consider = |payload: &mut dyn Read| {
            let found = read(payload)?;
            if matches(&found) {
                return Ok(Some(found));
            }
            first.get_or_insert(found);
            Ok(None)
        };
        let own = content_path(record);
        if let Some(mut file) = self.regular_file(Path::new(&own))?
            && let Some(found) = consider(&mut file)?
        {
            return Ok(Some(found));
        }
        if let Some(found) = self.packs.find(&own, |found| consider(&mut found.payload()))? {
            return Ok(Some(found));
        }
        // Another process may have written the payloads of the packs into files meanwhile.
        if self.packs.has_folder()
            && let Some(mut file) = self.regular_file(Path::new(&own))?
            && let Some(found) = consider(&mut file)?
        {
            return Ok(Some(found));
        }
        for candidate in object_paths(&record.object_ref) {
            if let Some(mut file) = self.regular_file(&candidate)?
                && let Some(found) = consider(&mut file)?
            {
                return Ok(Some(found));
            }
        }
        Ok(first)
    }

    fn regular_file(&self, candidate: &Path) -> io::Result<Option<File>> {
        #[cfg(target_os = "linux")]
        match self.open_beneath(candidate) {
            Ok(file) => return Ok(file.metadata()?.is_file().then_some(file)),
            Err(error) if is_absence(&error) => return Ok(None),
            // The slow path distinguishes a link that leads out of the directory from an absolute link that does not.
            // It also serves kernels and seccomp filters without this system call.
            Err(_) => {}
        }
        self.resolved_file(candidate)
    }

    /// Opens a path; the kernel confines it to the directory. Opening a pipe does not block.
    #[cfg(target_os = "linux")]
    fn open_beneath(&self, candidate: &Path) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        Ok(File::from(openat2(&self.directory, candidate, flags, Mode::empty(), within)?))
    }

    fn resolved_file(&self, candidate: &Path) -> io::Result<Option<File>> {
        let path = match self.root.join(candidate).canonicalize() {
            Ok(path) => path,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Checked before opening, because opening a pipe would block.
        if !path.starts_with(&self.root) || !path.metadata()?.is_file() {
            return Ok(None);
        }
        let file = File::open(path)?;
        Ok(file.metadata()?.is_file().then_some(file))
    }
}

impl Payloads for PayloadFolder {
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        let hash = self.best(record, hash_of, |hash| *hash == record.payload_hash);
        hash.map_err(|source| PayloadError {
            device_id: record.device_id.clone(),
            sequence: record.sequence,
            object_ref: record.object_ref.clone(),
            source: Box::new(source),
        })
    }
}

/// A sample of payloads, drawn by device, sequence and hash of the record.
pub struct SampledPayloads {
    payloads: Box<dyn Payloads + Send>,
    /// The largest number that is in the sample, of 64 bits.
    most: u64,
    seed: u64,
}

impl SampledPayloads {
    /// Makes a sample of a share of all payloads, from 0 to 1.
    pub fn new(payloads: Box<dyn Payloads + Send>, share: f64, seed: u64) -> SampledPayloads {
        // The product is rounded towards 0, and 1.0 gives the largest number.
        SampledPayloads { payloads, most: (share * u64::MAX as f64) as u64, seed }
    }
}

impl Payloads for SampledPayloads {
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        self.payloads.payload_hash(record)
    }

    fn is_checked(&self, record: &RecordRef<'_>) -> bool {
        let mut drawn = Vec::with_capacity(48 + record.device_id.len());
        drawn.extend(self.seed.to_le_bytes());
        drawn.extend(record.sequence.to_le_bytes());
        drawn.extend(record.payload_hash.as_bytes());
        drawn.extend(record.device_id.as_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *Hash::of(&drawn).as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) <= self.most
    }

    fn prepare(&self, records: &mut dyn Iterator<Item = &AuditRecord>) -> Result<(), PayloadError> {
        self.payloads.prepare(&mut records.filter(|record| self.is_checked(&record.borrowed())))
    }
}

fn hash_of(file: &mut dyn Read) -> io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(Hash(*hasher.finalize().as_bytes()))
}

/// Returns true if the error means that there is no file of this name; a link loop leads to no file.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    #[cfg(unix)]
    if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP) {
        return true;
    }
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_read_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1.bin"), b"four").unwrap();
        let payloads = PayloadFolder::open(folder.path()).unwrap();
        let record = |object_ref: &str| AuditRecord {
            device_id: "lift-01".into(),
            sequence: 1,
            timestamp_ms: 1,
            payload_hash: Hash::of(b"four"),
            signature: [0; 64],
            prev_record_hash: Hash::ZERO,
            object_ref: object_ref.into(),
        };
        let read = |object_ref, most_bytes| payloads.read(&record(object_ref), most_bytes).unwrap();
        assert_eq!(read("s3://bucket/1.bin", 4).as_deref(), Some(&b"four"[..]));
        assert_eq!(read("1.bin", 2).as_deref(), Some(&b"fo"[..]));
        assert_eq!(read("../1.bin", 4), None);
    }
}
