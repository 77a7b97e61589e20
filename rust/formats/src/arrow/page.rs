//! A look at the header of a Parquet page before it is decoded.
//!
//! The decoder skips what it does not know item by item, as many as the header declares, and it allocates what the
//! header declares, or what gzip or LZ4 make of the page, whatever the header declares.

use std::io::{Read, copy, sink};

use ::parquet::basic::Compression;
use ::parquet::file::metadata::ParquetMetaData;

use super::BATCH_BYTES;
use super::guard::Problem;
use super::metadata::{PageSizes, page_header};

/// Bytes of a page header, at most; statistics of long texts make it large.
const HEADER_BYTES: usize = 16 << 20;
/// Read for a header at first.
const FIRST_BYTES: usize = 4 << 10;

/// Where the pages of each column of each row group begin and end, and how they are compressed; in order.
pub(super) struct Columns(Vec<(u64, u64, Compression)>);

impl Columns {
    pub(super) fn of(metadata: &ParquetMetaData) -> Result<Columns, Problem> {
        let mut columns = Vec::new();
        for chunk in metadata.row_groups().iter().flat_map(|group| group.columns()) {
            let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
            let range = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
            let end = range.and_then(|(start, size)| Some((start, start.checked_add(size)?)));
            let (start, end) = end.ok_or_else(|| Problem::decoder("a column has no place in the file"))?;
            columns.push((start, end, chunk.compression()));
        }
        columns.sort_by_key(|(start, end, _)| (*start, *end));
        // Else it would not be clear how a page is compressed.
        if columns.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return Err(Problem::decoder("two columns overlap"));
        }
        Ok(Columns(columns))
    }

    /// The compression of the page at `position`.
    fn compression(&self, position: u64) -> Compression {
        let at = self.0.partition_point(|(start, ..)| *start <= position);
        self.0.get(at.saturating_sub(1)).map_or(Compression::UNCOMPRESSED, |(.., compression)| *compression)
    }

    /// The header of the page at `position`, if it and the page are sound as far as memory goes; otherwise what is
    /// wrong. `read` opens the file at a position.
    pub(super) fn header<R: Read>(
        &self,
        position: u64,
        read: impl Fn(u64) -> R,
    ) -> Result<Vec<u8>, PageFault> {
        let mut window = FIRST_BYTES;
        loop {
            let mut bytes = Vec::with_capacity(window);
            read(position).take(window as u64).read_to_end(&mut bytes)?;
            match page_header(&bytes) {
                Ok((length, sizes)) => {
                    bytes.truncate(length);
                    let page = || read(position + length as u64);
                    check_sizes(&sizes, self.compression(position), page)?;
                    return Ok(bytes);
                }
                // It may be longer than what was read.
                Err(_) if bytes.len() == window && window < HEADER_BYTES => window *= 4,
                Err(_) => return Err(PageFault::Damaged("a page header is damaged".into())),
            }
        }
    }
}

/// Why a page is not decoded.
pub(super) enum PageFault {
    Damaged(String),
    Io(std::io::Error),
}

impl From<std::io::Error> for PageFault {
    fn from(error: std::io::Error) -> PageFault {
        PageFault::Io(error)
    }
}

fn check_sizes<R: Read>(
    sizes: &PageSizes,
    compression: Compression,
    page: impl Fn() -> R,
) -> Result<(), PageFault> {
    let ratio = match compression {
        Compression::UNCOMPRESSED => return Ok(()),
        // A copy of 64 bytes takes three.
        Compression::SNAPPY => 22,
        Compression::LZ4 | Compression::LZ4_RAW => super::LZ4_RATIO,
        // A match of 258 bytes takes two bits.
        Compression::GZIP(_) => 1032,
        // The others are not decoded here.
        _ => super::ZSTD_RATIO,
    };
    let most = sizes.compressed.saturating_mul(ratio).saturating_add(64);
    let declared = sizes.uncompressed;
    if declared > most || declared > BATCH_BYTES {
        let problem = format!("a page of {} bytes declares {declared} bytes", sizes.compressed);
        return Err(PageFault::Damaged(problem));
    }
    // These two are decompressed as far as they go.
    if matches!(compression, Compression::LZ4) && most > BATCH_BYTES {
        let problem = format!("a page of {} bytes in the old LZ4 format is too large", sizes.compressed);
        return Err(PageFault::Damaged(problem));
    }
    if matches!(compression, Compression::GZIP(_)) && most > super::UNSEEN_BYTES {
        let page = flate2::read::MultiGzDecoder::new(page().take(sizes.compressed));
        if copy(&mut page.take(declared + 1), &mut sink()).unwrap_or(0) > declared {
            return Err(PageFault::Damaged("a page is larger than its header declares".into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Cursor, Write};

    use super::*;

    /// A data page of these sizes, with `more` fields in its header, and `page` behind it.
    fn header(uncompressed: u32, compressed: u32, more: &[u8], page: &[u8]) -> Vec<u8> {
        let varint = |value: u32| {
            let zigzag = u64::from(value) << 1;
            (0..5).map(move |at| (zigzag >> (7 * at)) as u8 & 0x7f | if at < 4 { 0x80 } else { 0 })
        };
        let mut bytes = vec![0x15, 0];
        bytes.push(0x15);
        bytes.extend(varint(uncompressed));
        bytes.push(0x15);
        bytes.extend(varint(compressed));
        [&bytes, more, &[0], page].concat()
    }

    /// The length of the header, or what is wrong.
    fn check(file: &[u8], compression: Compression) -> Result<usize, String> {
        let columns = Columns(vec![(0, u64::MAX, compression)]);
        let read = |position: u64| Cursor::new(&file[file.len().min(position as usize)..]);
        match columns.header(0, read) {
            Ok(header) => Ok(header.len()),
            Err(PageFault::Damaged(problem)) => Err(problem),
            Err(PageFault::Io(error)) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_header_is_found_whatever_its_length_and_nothing_behind_it() {
        let text = |length: usize| {
            let size = (0..3).map(|at| (length >> (7 * at)) as u8 & 0x7f | if at < 2 { 0x80 } else { 0 });
            // Field 18, which nobody knows.
            [vec![0xf8], size.collect(), vec![b'x'; length]].concat()
        };
        for length in [0, 100, 5000, 300_000] {
            let file = header(100, 100, &text(length), &[0xff; 100]);
            assert_eq!(check(&file, Compression::SNAPPY), Ok(file.len() - 100));
        }
    }

    #[test]
    fn lists_and_cut_off_headers_are_damage() {
        // 2^31 - 1 numbers of eight bytes, texts, and flags, which take no byte at all.
        for kind in [7, 8, 1] {
            let list = [0x69, 0xf0 | kind, 0xff, 0xff, 0xff, 0xff, 0x07];
            assert!(check(&header(100, 100, &list, &[0; 100]), Compression::SNAPPY).is_err());
        }
        let whole = header(100, 100, &[], &[]);
        for length in 0..whole.len() {
            assert!(check(&whole[..length], Compression::SNAPPY).is_err());
        }
    }

    #[test]
    fn no_page_becomes_more_than_its_compression_can_make_of_it() {
        for compression in [Compression::SNAPPY, Compression::LZ4_RAW, Compression::ZSTD(Default::default())]
        {
            assert!(check(&header(2200, 100, &[], &[]), compression).is_ok());
            assert!(check(&header(i32::MAX as u32, 100, &[], &[]), compression).is_err());
        }
        assert!(check(&header(i32::MAX as u32, 100, &[], &[]), Compression::UNCOMPRESSED).is_ok());
    }

    #[test]
    fn gzip_goes_no_further_than_declared() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![0; 80 << 20]).unwrap();
        let page = gzip.finish().unwrap();
        let with = |declared| header(declared, page.len() as u32, &[], &page);
        assert!(check(&with(80 << 20), Compression::GZIP(Default::default())).is_ok());
        assert!(check(&with(1000), Compression::GZIP(Default::default())).is_err());
    }
}
