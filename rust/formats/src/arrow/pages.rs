//! The pages of a Parquet file: their positions, and their size in memory.
//!
//! A batch of rows is read from as many pages as needed, and each column keeps its last page and its dictionary for the
//! next batch. A few bytes of the file may decompress to a large page, so all memory is counted before decoding.

use std::io::Read;
use std::sync::{Mutex, PoisonError};

use ::parquet::basic::Compression;
use ::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::guard::Problem;
use super::metadata::{PageHeader, page_header};
use super::page::{DICTIONARY_PAGE, Form, PageFault, check_compressed, repeated_bytes};

/// Maximum size of a page header, in bytes; statistics of long text make it large.
const HEADER_BYTES: usize = 16 << 20;
/// Bytes read for a header at first.
const FIRST_BYTES: usize = 4 << 10;
/// Maximum size of the decoded pages of all columns in memory, in bytes.
const PAGES_BYTES: u64 = 1 << 30;
/// Number of elements of a list in a row: a signature has 64 bytes.
const LIST_ELEMENTS: u64 = 64;
/// Further elements allowed in the lists of a column, because rows that are not records are findings.
const MORE_ELEMENTS: u64 = 64 << 10;
/// Number of rows that any file may have; each further row needs one byte of the file. A record takes more than 32
/// bytes, because the hash of the previous record is incompressible.
const MIN_ROWS: u64 = 64 << 10;

/// The columns of all row groups, and their size in memory.
pub(super) struct Columns {
    /// In file order.
    chunks: Vec<ColumnChunk>,
    pages: Mutex<Vec<Pages>>,
}

/// A column of a row group.
struct ColumnChunk {
    start: u64,
    end: u64,
    form: Form,
    /// Index among the columns of its row group.
    column: usize,
    /// Maximum number of values in all its pages.
    max_values: u64,
}

/// The memory of a column, in bytes.
#[derive(Clone, Default)]
struct Pages {
    dictionary: u64,
    /// From pages opened for previous rows.
    held: u64,
    /// From pages opened for the current rows, and from the last of these pages.
    opened: u64,
    last: u64,
    /// The start of the current column chunk, the position of its last page, and the number of its values so far.
    start: u64,
    position: u64,
    values: u64,
}

impl Pages {
    fn bytes(&self) -> u64 {
        self.dictionary.saturating_add(self.held).saturating_add(self.opened)
    }
}

impl Columns {
    pub(super) fn of(metadata: &ParquetMetaData, file_bytes: u64) -> Result<Columns, Problem> {
        let mut chunks = Vec::new();
        let mut columns = 0;
        let mut all_rows = 0u64;
        for group in metadata.row_groups() {
            let rows = u64::try_from(group.num_rows()).ok();
            let rows = rows.ok_or_else(|| Problem::decoder("a row group of negative size"))?;
            all_rows = all_rows.saturating_add(rows);
            columns = columns.max(group.columns().len());
            for (column, chunk) in group.columns().iter().enumerate() {
                chunks.push(ColumnChunk::of(column, chunk, rows)?);
            }
        }
        if all_rows > file_bytes.saturating_add(MIN_ROWS) {
            return Err(Problem::said(format!(
                "it declares {all_rows} rows in {file_bytes} bytes, but no compression makes audit records so small; \
                 get an intact copy"
            )));
        }
        chunks.sort_by_key(|chunk| (chunk.start, chunk.end));
        // Otherwise the compression of a page would be ambiguous.
        if chunks.windows(2).any(|pair| pair[0].end > pair[1].start) {
            return Err(Problem::decoder("two columns overlap"));
        }
        Ok(Columns { chunks, pages: Mutex::new(vec![Pages::default(); columns]) })
    }

    /// Returns the header of the page at `position` if the memory of the page is within the limits, or else the fault.
    /// `read` opens the file at a position.
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
                Ok((length, header)) => {
                    bytes.truncate(length);
                    self.check(position, &header, || read(position + length as u64))?;
                    return Ok(bytes);
                }
                // The header may be longer than the bytes read.
                Err(_) if bytes.len() == window && window < HEADER_BYTES => window *= 4,
                Err(_) => return Err(PageFault::damaged("a page header is damaged")),
            }
        }
    }

    /// Reports that the rows read so far have been returned.
    pub(super) fn give_out(&self) {
        for pages in self.pages.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            if pages.opened > 0 {
                pages.held = pages.last;
                pages.opened = 0;
            }
        }
    }

    fn check<R: Read>(
        &self,
        position: u64,
        header: &PageHeader,
        page: impl Fn() -> R,
    ) -> Result<(), PageFault> {
        let at = self.chunks.partition_point(|chunk| chunk.start <= position);
        let Some(chunk) = self.chunks.get(at.saturating_sub(1)) else {
            return Err(PageFault::damaged("a page belongs to no column"));
        };
        if self.count(chunk, position, header)? {
            check_compressed(header, chunk.form.compression, &page)?;
            self.add(chunk, repeated_bytes(header, &chunk.form, &page)?)?;
        }
        Ok(())
    }

    /// Counts a page. Returns false if it was counted before.
    fn count(&self, chunk: &ColumnChunk, position: u64, header: &PageHeader) -> Result<bool, PageFault> {
        let is_dictionary = header.kind == DICTIONARY_PAGE;
        // An uncompressed page has its actual size, regardless of its header.
        let bytes = match chunk.form.compression {
            Compression::UNCOMPRESSED => header.compressed,
            _ => header.uncompressed.max(header.compressed),
        };
        let mut all = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let pages =
            all.get_mut(chunk.column).ok_or_else(|| PageFault::damaged("a page belongs to no column"))?;
        if pages.start != chunk.start {
            pages.opened += std::mem::take(&mut pages.dictionary);
            (pages.start, pages.position, pages.values) = (chunk.start, 0, 0);
        }
        if position <= pages.position {
            return Ok(false);
        }
        pages.position = position;
        if is_dictionary {
            // Each entry takes at least one byte.
            if header.values > bytes {
                return Err(PageFault::damaged("a dictionary has more entries than bytes"));
            }
            pages.dictionary = bytes;
            return check_total(&all).map(|()| true);
        }
        pages.values = pages.values.saturating_add(header.values);
        if pages.values > chunk.max_values {
            return Err(PageFault::damaged("a column has more values than its rows"));
        }
        pages.last = 0;
        drop(all);
        self.add(chunk, bytes).map(|()| true)
    }

    /// Adds bytes to the last page of a column.
    fn add(&self, chunk: &ColumnChunk, bytes: u64) -> Result<(), PageFault> {
        let mut all = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pages) = all.get_mut(chunk.column) {
            pages.opened = pages.opened.saturating_add(bytes);
            pages.last = pages.last.saturating_add(bytes);
        }
        check_total(&all)
    }
}

fn check_total(pages: &[Pages]) -> Result<(), PageFault> {
    let total = pages.iter().fold(0u64, |sum, pages| sum.saturating_add(pages.bytes()));
    if total <= PAGES_BYTES {
        return Ok(());
    }
    Err(PageFault::Said(format!(
        "its pages would take {total} bytes of memory at a time, more than the {PAGES_BYTES} that are held; write it in \
         smaller pages or, if it has no such pages, get an intact copy"
    )))
}

impl ColumnChunk {
    fn of(column: usize, chunk: &ColumnChunkMetaData, rows: u64) -> Result<ColumnChunk, Problem> {
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let range = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
        let end = range.and_then(|(start, size)| Some((start, start.checked_add(size)?)));
        let (start, end) = end.ok_or_else(|| Problem::decoder("a column has no place in the file"))?;
        let compression = chunk.compression();
        if let Compression::BROTLI(_) | Compression::LZO = compression {
            let name = if compression == Compression::LZO { "LZO" } else { "Brotli" };
            return Err(Problem::said(format!(
                "its pages are compressed with {name}, which is not supported; write it with zstd, as \
                 pyarrow.parquet.write_table(pyarrow.parquet.read_table(FILE), NEW, compression=\"zstd\") does"
            )));
        }
        let descriptor = chunk.column_descr();
        let has_repetitions = descriptor.max_rep_level() > 0;
        let max_values = match has_repetitions {
            true => rows.saturating_mul(LIST_ELEMENTS).saturating_add(MORE_ELEMENTS),
            false => rows,
        };
        let form = Form { compression, has_definitions: descriptor.max_def_level() > 0, has_repetitions };
        Ok(ColumnChunk { start, end, form, column, max_values })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    /// Returns a data page of these sizes, with `more` fields in its header, followed by `page`.
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

    /// Returns the length of the header, or the fault.
    fn check(file: &[u8], compression: Compression) -> Result<usize, String> {
        let form = Form { compression, has_definitions: false, has_repetitions: false };
        let chunk = ColumnChunk { start: 0, end: u64::MAX, form, column: 0, max_values: 100 };
        let columns = Columns { chunks: vec![chunk], pages: Mutex::new(vec![Pages::default()]) };
        let read = |position: u64| Cursor::new(&file[file.len().min(position as usize - 1)..]);
        match columns.header(1, read) {
            Ok(header) => Ok(header.len()),
            Err(PageFault::Damaged(problem) | PageFault::Said(problem)) => Err(problem),
            Err(PageFault::Io(error)) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_header_is_found_whatever_its_length_and_nothing_behind_it() {
        let text = |length: usize| {
            let size = (0..3).map(|at| (length >> (7 * at)) as u8 & 0x7f | if at < 2 { 0x80 } else { 0 });
            // Field 18 is unknown.
            [vec![0xf8], size.collect(), vec![b'x'; length]].concat()
        };
        for length in [0, 100, 5000, 300_000] {
            let file = header(100, 100, &text(length), &[0xff; 100]);
            assert_eq!(check(&file, Compression::SNAPPY), Ok(file.len() - 100));
        }
    }

    #[test]
    fn lists_and_cut_off_headers_are_damage() {
        // 2^31 - 1 numbers of eight bytes, text values, and flags, which take no bytes.
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
