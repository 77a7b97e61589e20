//! Seed files: the secret of a device, 64 hex digits and a newline, readable by its owner only. The same files that
//! `eds keygen` writes.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use edgesentry_chain::SEED_BYTES;
use pyo3::prelude::*;
use zeroize::Zeroizing;

use crate::errors::{ConfigError, os_error};

type Seed = Zeroizing<[u8; SEED_BYTES]>;

/// Reads a seed file; refuses one that others than its owner may read.
pub(crate) fn read(py: Python<'_>, path: &Path) -> PyResult<Seed> {
    let name = path.display().to_string();
    let failed = |error| os_error(py, &error, &name, &format!("{name}: cannot read the seed file: {error}"));
    let file = File::open(path).map_err(failed)?;
    refuse_shared(&name, &file)?;
    // Room for one character more than there may be.
    let mut text = Zeroizing::new(Vec::with_capacity(2 * SEED_BYTES + 3));
    file.take(2 * SEED_BYTES as u64 + 3).read_to_end(&mut text).map_err(failed)?;
    let digits = text.strip_suffix(b"\n").unwrap_or(&text);
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    match hex::decode_to_slice(digits, seed.as_mut_slice()) {
        Ok(()) => Ok(seed),
        Err(_) => {
            let rule = "a seed file holds 64 hex digits and a newline";
            Err(ConfigError::new_err(format!("{name}: not a seed file; {rule}")))
        }
    }
}

/// Writes a new seed file, mode 0600. Never overwrites: a lost seed is a lost device.
pub(crate) fn create(py: Python<'_>, path: &Path, seed: &Seed) -> PyResult<()> {
    let name = path.display().to_string();
    let mut text = Zeroizing::new([b'\n'; 2 * SEED_BYTES + 1]);
    let write = |text: &mut Zeroizing<[u8; 2 * SEED_BYTES + 1]>| {
        hex::encode_to_slice(seed.as_slice(), &mut text[..2 * SEED_BYTES]).map_err(std::io::Error::other)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(text.as_slice())?;
        file.sync_all()
    };
    let failed = |error| os_error(py, &error, &name, &format!("{name}: cannot write the seed file: {error}"));
    write(&mut text).map_err(failed)
}

#[cfg(unix)]
fn refuse_shared(name: &str, file: &File) -> PyResult<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let problem = format!("mode {mode:04o} lets others read or change the seed");
    Err(ConfigError::new_err(format!("{name}: {problem}; run: chmod 600 {name}")))
}

#[cfg(not(unix))]
fn refuse_shared(_: &str, _: &File) -> PyResult<()> {
    Ok(())
}
