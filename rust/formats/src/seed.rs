//! Seed files: the secret of a device, 64 hex digits and a newline, readable by its owner only.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use edgesentry_chain::SEED_BYTES;
use zeroize::Zeroizing;

use crate::new_file::{Readers, create_file};

/// A seed, zeroized when dropped.
pub type Seed = Zeroizing<[u8; SEED_BYTES]>;

/// The reason why a seed file cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The file exists; if its seed were lost, so would be the device.
    #[error("{}: exists and is not overwritten; name another file", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// It is not a seed file.
    #[error("{}: not a seed file; a seed file holds 64 hex digits and a newline", .0.display())]
    Malformed(PathBuf),
    /// Users other than its owner may read or change it.
    #[error("{0}: mode {mode:04o} lets others read or change the seed; run: chmod {most:o} {0}", path.display())]
    Shared {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The maximum mode.
        most: u32,
    },
    /// An operating system call failed.
    #[error("{}: cannot {action} the seed file", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `write`.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Writes a new seed file, mode 0600, completely or not at all. Never overwrites.
///
/// ```
/// use edgesentry_formats::{create_seed_file, read_seed_file};
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("lift-01.seed");
/// create_seed_file(&path, &[7; 32])?;
/// assert_eq!(*read_seed_file(&path)?, [7; 32]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`SeedError::Exists`] and [`SeedError::Io`]. After an error the name is unchanged, so the call can be repeated.
pub fn create_seed_file(path: &Path, seed: &[u8; SEED_BYTES]) -> Result<(), SeedError> {
    let failed = |source: io::Error| match source.kind() {
        ErrorKind::AlreadyExists => SeedError::Exists { path: path.to_owned(), error: source },
        ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("")).display();
            let source =
                io::Error::new(source.kind(), format!("there is no directory {folder}; create it first"));
            SeedError::Io { path: path.to_owned(), action: "write", source }
        }
        _ => SeedError::Io { path: path.to_owned(), action: "write", source },
    };
    let mut text = Zeroizing::new([b'\n'; 2 * SEED_BYTES + 1]);
    hex::encode_to_slice(seed, &mut text[..2 * SEED_BYTES])
        .map_err(|error| failed(io::Error::other(error)))?;
    create_file(path, Readers::Owner, text.as_slice()).map_err(failed)
}

/// Reads a seed file.
///
/// # Errors
/// [`SeedError::Shared`] if users other than its owner may read or change it, [`SeedError::Malformed`],
/// [`SeedError::Io`].
pub fn read_seed_file(path: &Path) -> Result<Seed, SeedError> {
    read(path, 0o600)
}

/// Reads a seed file that a group may read, for a key of several services that run as different users.
///
/// # Errors
/// [`SeedError::Shared`] if its group may change it, or other users may read or change it, [`SeedError::Malformed`],
/// [`SeedError::Io`].
pub fn read_seed_file_of_group(path: &Path) -> Result<Seed, SeedError> {
    read(path, 0o640)
}

fn read(path: &Path, most: u32) -> Result<Seed, SeedError> {
    let failed = |source| SeedError::Io { path: path.to_owned(), action: "read", source };
    let file = File::open(path).map_err(failed)?;
    refuse_shared(path, &file, most)?;
    // One character more than the maximum, to detect longer files.
    let mut text = Zeroizing::new(Vec::with_capacity(2 * SEED_BYTES + 3));
    file.take(2 * SEED_BYTES as u64 + 3).read_to_end(&mut text).map_err(failed)?;
    let digits = text.strip_suffix(b"\n").unwrap_or(&text);
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    match hex::decode_to_slice(digits, seed.as_mut_slice()) {
        Ok(()) => Ok(seed),
        Err(_) => Err(SeedError::Malformed(path.to_owned())),
    }
}

#[cfg(unix)]
fn refuse_shared(path: &Path, file: &File, most: u32) -> Result<(), SeedError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata();
    let metadata =
        metadata.map_err(|source| SeedError::Io { path: path.to_owned(), action: "read", source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 & !most == 0 {
        Ok(())
    } else {
        Err(SeedError::Shared { path: path.to_owned(), mode, most })
    }
}

#[cfg(not(unix))]
fn refuse_shared(_: &Path, _: &File, _: u32) -> Result<(), SeedError> {
    Ok(())
}
