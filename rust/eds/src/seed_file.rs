//! Seed files: the secret of a device, 64 hex digits and a newline, readable by its owner only.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use edgesentry_chain::SEED_BYTES;
use zeroize::Zeroizing;

use crate::exit::Failure;

/// A seed, zeroized when dropped.
pub(crate) type Seed = Zeroizing<[u8; SEED_BYTES]>;

/// A new seed from the operating system's random source.
pub(crate) fn generate() -> Result<Seed, Failure> {
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    match getrandom::fill(seed.as_mut_slice()) {
        Ok(()) => Ok(seed),
        Err(error) => Err(Failure::unfinished("random", format!("no random bytes from the system: {error}"))),
    }
}

/// Writes a new seed file, mode 0600. Never overwrites: a lost seed is a lost device.
pub(crate) fn create(path: &Path, seed: &Seed) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::usage(
            "seed_file_exists",
            format!("{}: exists and is not overwritten; name another file with --out", path.display()),
        ),
        _ => Failure::unfinished("io", format!("{}: cannot create: {error}", path.display())),
    })?;
    let mut text = Zeroizing::new([b'\n'; 2 * SEED_BYTES + 1]);
    let encoded = hex::encode_to_slice(seed.as_slice(), &mut text[..2 * SEED_BYTES]);
    encoded.map_err(|error| Failure::unfinished("io", format!("{}: {error}", path.display())))?;
    file.write_all(text.as_slice()).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a seed is of no use, and would stand in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        Failure::unfinished("io", format!("{}: cannot write: {error}", path.display()))
    })
}

/// Reads a seed file; refuses one that others than its owner may read.
pub(crate) fn read(path: &Path) -> Result<Seed, Failure> {
    let unreadable =
        |error| Failure::usage("seed_unreadable", format!("{}: cannot read: {error}", path.display()));
    let mut file = File::open(path).map_err(unreadable)?;
    refuse_shared(path, &file)?;
    // Room for one character more than there may be.
    let mut text = Zeroizing::new([0u8; 2 * SEED_BYTES + 3]);
    let mut length = 0;
    while length < text.len() {
        match file.read(&mut text[length..]).map_err(unreadable)? {
            0 => break,
            read => length += read,
        }
    }
    let digits = text[..length].strip_suffix(b"\n").unwrap_or(&text[..length]);
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    match hex::decode_to_slice(digits, seed.as_mut_slice()) {
        Ok(()) => Ok(seed),
        Err(_) => Err(Failure::usage(
            "seed_malformed",
            format!("{}: not a seed file; a seed file holds 64 hex digits and a newline", path.display()),
        )),
    }
}

#[cfg(unix)]
fn refuse_shared(path: &Path, file: &File) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata();
    let metadata =
        metadata.map_err(|error| Failure::unfinished("io", format!("{}: {error}", path.display())))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(Failure::usage(
        "seed_file_shared",
        format!("{path}: mode {mode:04o} lets others read or change the seed; run: chmod 600 {path}"),
    ))
}

#[cfg(not(unix))]
fn refuse_shared(_: &Path, _: &File) -> Result<(), Failure> {
    Ok(())
}
