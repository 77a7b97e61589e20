//! Reads of whole files with a limit: a name can lead to a device or a FIFO that never ends.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The limit for files whose size depends on the number of devices: key rings, heads, manifests, settings.
pub const MAX_FILE_BYTES: u64 = 512 << 20;

/// Reads a whole file of at most `most` bytes.
///
/// # Errors
/// The file cannot be read, or is larger.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let bytes = read_start(File::open(path)?, most.saturating_add(1))?;
    if bytes.len() as u64 > most {
        let message = format!("more than {most} bytes, which is the limit");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Reads at most `most` bytes.
///
/// # Errors
/// The reader fails.
pub fn read_start(reader: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
