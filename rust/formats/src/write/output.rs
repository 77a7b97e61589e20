//! An output stream with optional compression.

use std::io::{self, BufWriter, Write};

use flate2::write::GzEncoder;

use crate::format::Compression;

type Stream = BufWriter<Box<dyn Write + Send>>;

/// A stream with its compression.
pub(crate) enum Output {
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

    /// Ends the compression and flushes all bytes.
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
