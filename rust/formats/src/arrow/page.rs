//! Checks a Parquet page before it is decoded.
//!
//! The decoder skips unknown fields item by item, for the declared number of items. It allocates the declared size or,
//! for gzip and old LZ4, the actual size of a page. It also allocates as many text lengths as the page declares.

use std::io::{Read, copy, sink};

use ::parquet::basic::Compression;

use super::delta;
use super::metadata::PageHeader;

const DATA_PAGE: u64 = 0;
pub(super) const DICTIONARY_PAGE: u64 = 2;
const DATA_PAGE_V2: u64 = 3;
const RLE: u64 = 3;
const DELTA_LENGTH_BYTE_ARRAY: u64 = 6;
const DELTA_BYTE_ARRAY: u64 = 7;

/// The encoding of the pages of a column.
pub(super) struct Form {
    pub(super) compression: Compression,
    pub(super) has_definitions: bool,
    pub(super) has_repetitions: bool,
}

/// The reason why a page is not decoded.
pub(super) enum PageFault {
    /// The page is damaged.
    Damaged(String),
    /// Another reason, as a message of ours.
    Said(String),
    Io(std::io::Error),
}

impl PageFault {
    pub(super) fn damaged(problem: &str) -> PageFault {
        PageFault::Damaged(problem.to_owned())
    }
}

impl From<std::io::Error> for PageFault {
    fn from(error: std::io::Error) -> PageFault {
        PageFault::Io(error)
    }
}

/// Checks that a page can decompress to its declared size, and not to more.
pub(super) fn check_compressed<R: Read>(
    header: &PageHeader,
    compression: Compression,
    page: impl Fn() -> R,
) -> Result<(), PageFault> {
    let ratio = match compression {
        Compression::UNCOMPRESSED => return Ok(()),
        // A copy of 64 bytes takes three bytes.
        Compression::SNAPPY => 22,
        Compression::LZ4 | Compression::LZ4_RAW => super::LZ4_RATIO,
        // A match of 258 bytes takes two bits.
        Compression::GZIP(_) => 1032,
        // Other codecs are rejected before.
        _ => super::ZSTD_RATIO,
    };
    let PageHeader { compressed, uncompressed: declared, .. } = *header;
    let most = compressed.saturating_mul(ratio).saturating_add(64);
    if declared > most {
        return Err(PageFault::Damaged(format!("a page of {compressed} bytes declares {declared} bytes")));
    }
    // These two are decompressed to their actual size, regardless of the declared one.
    if matches!(compression, Compression::LZ4) && most > super::BATCH_BYTES {
        let problem = format!("a page of {compressed} bytes in the old LZ4 format is too large");
        return Err(PageFault::Damaged(problem));
    }
    if matches!(compression, Compression::GZIP(_)) && most > super::UNSEEN_BYTES {
        let page = flate2::read::MultiGzDecoder::new(page().take(compressed));
        if copy(&mut page.take(declared + 1), &mut sink()).unwrap_or(0) > declared {
            return Err(PageFault::damaged("a page is larger than its header declares"));
        }
    }
    Ok(())
}

/// Returns the size of the text in a page beyond that of the page, in bytes, as values repeat prefixes of previous
/// values.
pub(super) fn repeated_bytes<R: Read>(
    header: &PageHeader,
    form: &Form,
    page: impl Fn() -> R,
) -> Result<u64, PageFault> {
    let prefixed = match (header.kind, header.encoding) {
        (DATA_PAGE | DATA_PAGE_V2, DELTA_BYTE_ARRAY) => true,
        (DATA_PAGE | DATA_PAGE_V2, DELTA_LENGTH_BYTE_ARRAY) => false,
        _ => return Ok(0),
    };
    let damaged = || PageFault::damaged("a page of texts has no proper lengths");
    let mut bytes = Vec::new();
    page().take(header.compressed).read_to_end(&mut bytes)?;
    let decompressed = match header.kind {
        DATA_PAGE => {
            let page = decompressed(&bytes, form.compression, header.uncompressed)?;
            let levels = [(form.has_repetitions, 1), (form.has_definitions, 0)];
            let mut start = 0;
            for (_, encoding) in levels.into_iter().filter(|(there, _)| *there) {
                if header.level_encodings[encoding] != Some(RLE) {
                    return Err(PageFault::damaged("a page has levels that are not run-length encoded"));
                }
                let size = page.get(start..).and_then(<[u8]>::first_chunk).ok_or_else(damaged)?;
                start = start.saturating_add(4).saturating_add(u32::from_le_bytes(*size) as usize);
            }
            page.get(start..).ok_or_else(damaged)?.to_vec()
        }
        _ => {
            let values = usize::try_from(header.level_bytes).ok().and_then(|levels| bytes.get(levels..));
            let size = header.uncompressed.checked_sub(header.level_bytes);
            let (values, size) = values.zip(size).ok_or_else(damaged)?;
            let compression = if header.is_compressed { form.compression } else { Compression::UNCOMPRESSED };
            if size == 0 { Vec::new() } else { decompressed(values, compression, size)? }
        }
    };
    // A page with only nulls may have no lengths.
    if decompressed.is_empty() {
        return Ok(0);
    }
    delta::repeated_bytes(&decompressed, prefixed, header.values).ok_or_else(damaged)
}

fn decompressed(bytes: &[u8], compression: Compression, size: u64) -> Result<Vec<u8>, PageFault> {
    let damaged = |_| PageFault::damaged("a page cannot be decompressed");
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    let streamed = |reader: &mut dyn Read| {
        let mut page = Vec::new();
        reader.take(size).read_to_end(&mut page).map(|_| page)
    };
    match compression {
        Compression::UNCOMPRESSED => Ok(bytes.to_vec()),
        Compression::SNAPPY => {
            if snap::raw::decompress_len(bytes).ok() != Some(length) {
                return Err(PageFault::damaged("a page is not as large as its header declares"));
            }
            snap::raw::Decoder::new().decompress_vec(bytes).map_err(|_| PageFault::damaged("a Snappy page"))
        }
        Compression::LZ4_RAW => lz4_flex::block::decompress(bytes, length)
            .map_err(|_| PageFault::damaged("an LZ4 page cannot be decompressed")),
        Compression::GZIP(_) => streamed(&mut flate2::read::MultiGzDecoder::new(bytes)).map_err(damaged),
        Compression::ZSTD(_) => {
            let decoder = zstd::stream::read::Decoder::with_buffer(bytes);
            decoder.and_then(|mut decoder| streamed(&mut decoder)).map_err(damaged)
        }
        _ => Err(PageFault::Said(
            "its texts are encoded as differences and compressed in the old LZ4 format; write it with zstd"
                .into(),
        )),
    }
}
