//! Free space on the disk, checked before anything is downloaded.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;

use crate::archive::Archive;
use crate::backup::{self, Backup};
use crate::error::Error;
use crate::extract::MANIFEST;
use crate::wal::ahead;

/// For the first files that a server writes, and for segments fetched ahead.
const RESERVE_BYTES: u64 = 256 << 20;

/// The part of the manifest that is needed.
#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "Files")]
    files: Vec<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    size: u64,
}

/// Checks that the disk of a data directory has room for the backup, both as downloaded beside the directory and as
/// extracted. Returns the number of bytes needed in all.
pub(super) async fn check(
    archive: &Archive,
    backup: &Backup,
    temporary: &Path,
    data: &Path,
) -> Result<u64, Error> {
    let segment_bytes = backup.identity.wal_segment_bytes;
    // Packed and unpacked.
    let ahead = ahead::window(segment_bytes).saturating_mul(segment_bytes).saturating_mul(2);
    let extracted = extracted_bytes(archive, backup, temporary).await?;
    let extracted = extracted.saturating_add(RESERVE_BYTES.max(ahead));
    let download = backup.size_bytes();
    // An existing empty directory may be another disk.
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    if data.is_dir() && device(data) != device(temporary) {
        require(temporary, download, "the download")?;
        require(data, extracted, "the database")?;
        return Ok(extracted);
    }
    let both = download.saturating_add(extracted);
    require(temporary, both, "the download and the database")?;
    Ok(both)
}

/// Returns the error of a restore; states the required space if the disk became full.
pub(super) fn explain(error: Error, data: &Path, needed_bytes: u64) -> Error {
    if !is_full(&error) {
        return error;
    }
    let source = io::Error::new(
        ErrorKind::StorageFull,
        format!(
            "the disk is full: {} MiB are required, an inode for every file of the database, and space for the log \
             that is replayed; free space, or restore to another disk: {}",
            mib(needed_bytes),
            error.describe()
        ),
    );
    Error::Io { action: "restore", place: data.to_owned(), source }
}

/// Returns true if the disk is full: the system reports an error number, and PostgreSQL writes to its log.
fn is_full(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    error.describe().contains("No space left on device")
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Returns the size of the database from PostgreSQL's manifest, with the log that comes with the backup.
async fn extracted_bytes(archive: &Archive, backup: &Backup, temporary: &Path) -> Result<u64, Error> {
    let path = temporary.join(MANIFEST);
    backup::download_file(archive, backup, MANIFEST, temporary).await?;
    let text = fs::read(&path).map_err(Error::io("read", &path))?;
    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| archive.problem(format!("backup {}: {MANIFEST}: is damaged: {error}", backup.id)))?;
    let files = manifest.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
    let bytes = backup.identity.wal_segment_bytes;
    let segments = backup.last_segment.number(bytes).saturating_sub(backup.first_segment.number(bytes));
    Ok(files.saturating_add(segments.saturating_add(1).saturating_mul(bytes)))
}

/// Checks that a directory has this much room.
pub(crate) fn require(folder: &Path, bytes: u64, what: &str) -> Result<(), Error> {
    let space = rustix::fs::statvfs(folder).map_err(std::io::Error::from);
    let space = space.map_err(Error::io("look at the free space", folder))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free >= bytes {
        return Ok(());
    }
    let problem = format!(
        "space for {what}: {} MiB are required, and {} MiB are free; free space, or restore to another disk",
        mib(bytes),
        free >> 20
    );
    Err(Error::io("hold so much", folder)(io::Error::new(ErrorKind::StorageFull, problem)))
}
