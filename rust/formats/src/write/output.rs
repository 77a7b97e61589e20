//! Where bytes go: compressed or not, to a stream or to a new file that replaces another at once.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use tempfile::TempPath;

use crate::format::Compression;

type Stream = BufWriter<Box<dyn Write + Send>>;

/// A stream with its compression.
pub(super) enum Output {
    Plain(Stream),
    Gzip(Box<GzEncoder<Stream>>),
    Zstd(Box<zstd::Encoder<'static, Stream>>),
}

impl Output {
    pub(super) fn new(out: Box<dyn Write + Send>, compression: Compression) -> io::Result<Output> {
        let out = BufWriter::with_capacity(128 << 10, out);
        Ok(match compression {
            Compression::None => Output::Plain(out),
            Compression::Gzip => Output::Gzip(Box::new(GzEncoder::new(out, flate2::Compression::default()))),
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.include_checksum(true)?;
                Output::Zstd(Box::new(encoder))
            }
        })
    }

    /// Ends the compression and hands everything on.
    pub(super) fn finish(self) -> io::Result<()> {
        let mut out = match self {
            Output::Plain(out) => out,
            Output::Gzip(encoder) => encoder.finish()?,
            Output::Zstd(encoder) => encoder.finish()?,
        };
        out.flush()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Plain(out) => out.write(bytes),
            Output::Gzip(out) => out.write(bytes),
            Output::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Plain(out) => out.flush(),
            Output::Gzip(out) => out.flush(),
            Output::Zstd(out) => out.flush(),
        }
    }
}

/// A file that is being written beside its final place; removed where it does not get there.
pub(super) struct NewFile {
    file: File,
    temporary: TempPath,
    place: PathBuf,
}

impl NewFile {
    /// The file and a handle to write it through.
    pub(super) fn beside(path: &Path) -> io::Result<(NewFile, File)> {
        // A link stays a link: what it points to is replaced.
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let permissions = match place.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
            }
            Ok(metadata) if !metadata.is_file() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
            }
            Ok(metadata) => Some(metadata.permissions()),
            Err(_) => None,
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".part");
        if let Some(permissions) = new_file_permissions() {
            builder.permissions(permissions);
        }
        let (file, temporary) = builder.tempfile_in(folder(&place))?.into_parts();
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        let writer = file.try_clone()?;
        Ok((NewFile { file, temporary, place }, writer))
    }

    /// Syncs the file and gives it its name.
    pub(super) fn place(self) -> io::Result<()> {
        self.file.sync_all()?;
        self.temporary.persist(&self.place).map_err(|failed| failed.error)?;
        sync_folder(folder(&self.place))
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What `open` would give a new file; temporary files are private by default.
#[cfg(unix)]
fn new_file_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn new_file_permissions() -> Option<Permissions> {
    None
}

/// The new name is durable once the folder is.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
