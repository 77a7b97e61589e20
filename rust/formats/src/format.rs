//! File formats of records, and their recognition by name.

use std::fmt;
use std::path::Path;

/// The layout of the records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// An array of objects.
    Json,
    /// One object per line.
    Ndjson,
    /// Arrow IPC, file or stream.
    Arrow,
    /// Parquet.
    Parquet,
}

/// The compression around the layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// No compression.
    None,
    /// gzip, several members allowed.
    Gzip,
    /// Zstandard, several frames allowed.
    Zstd,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            Format::Arrow => "arrow",
            Format::Parquet => "parquet",
        })
    }
}

/// Returns layout and compression by file name, for writing: `.json`, `.ndjson` or `.jsonl`, `.arrow`, `.arrows`,
/// `.ipc` or `.feather`, `.parquet`; JSON and NDJSON may have a further `.gz` or `.zst`. Returns `None` for other
/// names.
pub fn by_name(path: &Path) -> Option<(Format, Compression)> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let (stem, compression) = match name.rsplit_once('.')? {
        (stem, "gz" | "gzip") => (stem, Compression::Gzip),
        (stem, "zst" | "zstd") => (stem, Compression::Zstd),
        _ => (name.as_str(), Compression::None),
    };
    let format = match stem.rsplit_once('.')?.1 {
        "json" => Format::Json,
        "ndjson" | "jsonl" => Format::Ndjson,
        "arrow" | "arrows" | "ipc" | "feather" => Format::Arrow,
        "parquet" => Format::Parquet,
        _ => return None,
    };
    match (format, compression) {
        (Format::Arrow | Format::Parquet, Compression::Gzip | Compression::Zstd) => None,
        known => Some(known),
    }
}
