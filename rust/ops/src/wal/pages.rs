//! Checks that a segment has the content that PostgreSQL wrote: the header of every page, and the CRC-32C of every
//! record (src/include/access/xlogrecord.h, xlog_internal.h; the same from PostgreSQL 9.5 to 18).

use std::io::{self, Read};

use crc_fast::{CrcAlgorithm, Digest};

use super::name::{Lsn, Segment};

/// `sizeof(XLogLongPageHeaderData)` and the aligned size of the short one.
const LONG_HEADER_BYTES: usize = 40;
const SHORT_HEADER_BYTES: usize = 24;
/// `SizeOfXLogRecord`; its last four bytes are the CRC.
const RECORD_HEADER_BYTES: usize = 24;
const CRC_AT: usize = 20;
/// Bits of `xlp_info`.
const FIRST_IS_CONTINUED: u16 = 0x0001;
const LONG_HEADER: u16 = 0x0002;
const FIRST_IS_OVERWRITTEN: u16 = 0x0008;
const ALL_FLAGS: u16 = 0x000F;
/// `XLOG_SWITCH` of the resource manager 0: the rest of the segment is empty.
const SWITCH: (u8, u8) = (0, 0x40);

/// Reads segments one after another. A record that continues in the next segment is checked there.
pub(crate) struct Walk {
    at: At,
    /// `xlp_magic` of the first page: it differs between major versions only.
    magic: Option<u16>,
    /// Records whose CRC was checked.
    pub(crate) records: u64,
    /// Pages whose header was checked.
    pub(crate) pages: u64,
}

/// The state at the beginning of a page.
enum At {
    /// Anywhere: records that began earlier are skipped.
    Unknown,
    /// Inside a record whose beginning was not read: the number of bytes left.
    Passing(u64),
    /// At the beginning of a record.
    Border,
    /// Inside a record.
    Inside(Box<Record>),
    /// After the record of a switch.
    Switched,
}

/// A record that is being read.
struct Record {
    begin: Lsn,
    header: Vec<u8>,
    digest: Digest,
    left: u64,
}

impl Walk {
    /// Returns a walk that begins with any segment.
    pub(crate) fn new() -> Walk {
        Walk { at: At::Unknown, magic: None, records: 0, pages: 0 }
    }

    /// Continues with any segment.
    pub(crate) fn restart(&mut self) {
        (self.at, self.magic) = (At::Unknown, None);
    }

    /// Reads a complete segment.
    ///
    /// # Errors
    /// The first position that PostgreSQL did not write like this, and why; or the file cannot be read.
    pub(crate) fn segment(
        &mut self,
        segment: Segment,
        bytes: u64,
        content: &mut impl Read,
    ) -> io::Result<Result<(), String>> {
        if matches!(self.at, At::Switched) {
            self.at = At::Border;
        }
        let mut position = segment.number(bytes) * bytes;
        let end = position + bytes;
        let mut page = vec![0; LONG_HEADER_BYTES];
        content.read_exact(&mut page)?;
        let page_bytes = word(&page, 36) as usize;
        if !page_bytes.is_power_of_two() || !(1024..=65_536).contains(&page_bytes) {
            return Ok(Err(format!("{}: {page_bytes} bytes are not a valid page size", Lsn(position))));
        }
        page.resize(page_bytes, 0);
        content.read_exact(&mut page[LONG_HEADER_BYTES..])?;
        loop {
            if let Err(problem) = self.page(segment, position, bytes, &page) {
                return Ok(Err(problem));
            }
            position += page_bytes as u64;
            if position >= end || matches!(self.at, At::Switched) {
                return Ok(Ok(()));
            }
            content.read_exact(&mut page)?;
        }
    }

    fn page(&mut self, segment: Segment, position: u64, bytes: u64, page: &[u8]) -> Result<(), String> {
        let place = Lsn(position);
        let (magic, info) = (short(page, 0), short(page, 2));
        let is_first = position.is_multiple_of(bytes);
        if magic == 0 {
            return Err(format!("the page at {place} is empty"));
        }
        if *self.magic.get_or_insert(magic) != magic || info & !ALL_FLAGS != 0 {
            return Err(format!("the page at {place} has no page header of this version"));
        }
        if long(page, 8) != position || word(page, 4) > segment.timeline {
            return Err(format!(
                "the page at {place} is that of {} on timeline {}",
                Lsn(long(page, 8)),
                word(page, 4)
            ));
        }
        if (info & LONG_HEADER != 0) != is_first {
            return Err(format!("the page at {place} has the header of another page"));
        }
        self.pages += 1;
        let header_bytes = if is_first { LONG_HEADER_BYTES } else { SHORT_HEADER_BYTES };
        self.at = self.enter(place, info, u64::from(word(page, 16)))?;
        let mut cursor = header_bytes;
        while cursor < page.len() && !matches!(self.at, At::Switched) {
            cursor += self.step(Lsn(position + cursor as u64), &page[cursor..])?;
            // Records begin at multiples of eight.
            if matches!(self.at, At::Border) {
                cursor = cursor.next_multiple_of(8);
            }
        }
        Ok(())
    }

    /// Checks the page header against the record that continues in the page.
    fn enter(&mut self, place: Lsn, info: u16, remaining: u64) -> Result<At, String> {
        let is_continued = info & FIRST_IS_CONTINUED != 0;
        let at = std::mem::replace(&mut self.at, At::Unknown);
        if info & FIRST_IS_OVERWRITTEN != 0 {
            // A crash has cut the record that began earlier; the server continued here, and marks that.
            return Ok(At::Border);
        }
        let left = match &at {
            At::Unknown => return Ok(if is_continued { At::Passing(remaining) } else { At::Border }),
            At::Passing(left) => *left,
            At::Inside(record) => record.left,
            At::Border | At::Switched => 0,
        };
        let found = if is_continued { remaining } else { 0 };
        if left == found {
            return Ok(at);
        }
        Err(format!("at the page at {place} {left} bytes of a record are left, and its header says {found}"))
    }

    /// Consumes some bytes of `rest`, the end of a page, and returns their number.
    fn step(&mut self, place: Lsn, rest: &[u8]) -> Result<usize, String> {
        match &mut self.at {
            At::Passing(left) => {
                let count = (*left).min(rest.len() as u64);
                *left -= count;
                if *left == 0 {
                    self.at = At::Border;
                }
                Ok(count as usize)
            }
            At::Inside(record) => {
                let count = record.left.min(rest.len() as u64) as usize;
                record.take(&rest[..count]);
                if record.left == 0 {
                    self.at = if record.end()? == SWITCH { At::Switched } else { At::Border };
                    self.records += 1;
                }
                Ok(count)
            }
            At::Unknown | At::Border | At::Switched => {
                let length = u64::from(word(rest, 0));
                if length < RECORD_HEADER_BYTES as u64 {
                    return Err(format!("there is no record at {place}"));
                }
                self.at = At::Inside(Box::new(Record::new(place, length)));
                Ok(0)
            }
        }
    }
}

impl Record {
    fn new(begin: Lsn, length: u64) -> Record {
        let digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        Record { begin, header: Vec::with_capacity(RECORD_HEADER_BYTES), digest, left: length }
    }

    fn take(&mut self, bytes: &[u8]) {
        let count = (RECORD_HEADER_BYTES - self.header.len()).min(bytes.len());
        let (header, data) = bytes.split_at(count);
        self.header.extend_from_slice(header);
        self.digest.update(data);
        self.left -= bytes.len() as u64;
    }

    /// Checks the CRC: of the data, then of the header without it. Returns resource manager and kind.
    fn end(&mut self) -> Result<(u8, u8), String> {
        self.digest.update(&self.header[..CRC_AT]);
        if self.digest.finalize() != u64::from(word(&self.header, CRC_AT)) {
            return Err(format!("the record at {} does not match its CRC-32C", self.begin));
        }
        Ok((self.header[17], self.header[16] & 0xF0))
    }
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(eight)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 8192;
    const BYTES: u64 = 1 << 20;

    fn record(length: usize, kind: (u8, u8)) -> Vec<u8> {
        let mut record: Vec<u8> = (0..length).map(|at| (at * 7 + length) as u8).collect();
        record[..4].copy_from_slice(&(length as u32).to_ne_bytes());
        (record[16], record[17]) = (kind.1, kind.0);
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&record[RECORD_HEADER_BYTES..]);
        digest.update(&record[..CRC_AT]);
        record[CRC_AT..RECORD_HEADER_BYTES].copy_from_slice(&(digest.finalize() as u32).to_ne_bytes());
        record
    }

    /// Returns log from segment 3 on, with records of these lengths repeatedly, and a switch in segment 4.
    fn log(lengths: &[usize]) -> Vec<u8> {
        let (mut log, begin) = (Vec::new(), 3 * BYTES);
        let mut left = 0;
        let header = |log: &mut Vec<u8>, left: usize| {
            let position = begin + log.len() as u64;
            let is_first = position.is_multiple_of(BYTES);
            let info = if left > 0 { FIRST_IS_CONTINUED } else { 0 } | if is_first { LONG_HEADER } else { 0 };
            let mut page = [0; LONG_HEADER_BYTES];
            page[..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
            page[2..4].copy_from_slice(&info.to_ne_bytes());
            page[4..8].copy_from_slice(&1_u32.to_ne_bytes());
            page[8..16].copy_from_slice(&position.to_ne_bytes());
            page[16..20].copy_from_slice(&(left as u32).to_ne_bytes());
            page[36..40].copy_from_slice(&(PAGE as u32).to_ne_bytes());
            log.extend_from_slice(&page[..if is_first { LONG_HEADER_BYTES } else { SHORT_HEADER_BYTES }]);
        };
        let mut write = |log: &mut Vec<u8>, record: &[u8]| {
            left = record.len();
            for byte in record {
                if log.len().is_multiple_of(PAGE) {
                    header(log, if left < record.len() { left } else { 0 });
                }
                log.push(*byte);
                left -= 1;
            }
            log.resize(log.len().next_multiple_of(8), 0);
        };
        let mut lengths = lengths.iter().cycle();
        while log.len() < BYTES as usize + 3 * PAGE {
            let length = *lengths.next().unwrap();
            write(&mut log, &record(length, (10, 0)));
        }
        write(&mut log, &record(RECORD_HEADER_BYTES, SWITCH));
        log.resize(2 * BYTES as usize, 0);
        log
    }

    /// Returns the number of records and pages of an intact log.
    fn walk(log: &[u8]) -> Result<(u64, u64), String> {
        let mut walk = Walk::new();
        for (number, segment) in (3..).zip(log.chunks(BYTES as usize)) {
            walk.segment(Segment::at(1, number, BYTES), BYTES, &mut &segment[..]).unwrap()?;
        }
        Ok((walk.records, walk.pages))
    }

    #[test]
    fn every_byte_of_a_record_and_of_a_header_counts() {
        let sound = log(&[24, 61, 8190, 40_000, 100, 33]);
        let (records, pages) = walk(&sound).unwrap();
        assert!(records > 100 && pages > 130, "{records} {pages}");

        // In every part of a page: header, records, a record that continues in the next page or segment.
        let segment = BYTES as usize;
        for at in (0..1024)
            .chain(PAGE..PAGE + 32)
            .chain(segment - 64..segment + 64)
            .chain((0..segment).step_by(4099))
        {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            let is_padding = sound[at] == 0 && walk(&damaged).is_ok();
            let is_ignored = is_padding || is_unused(at);
            assert!(is_ignored || walk(&damaged).is_err(), "{at}");
        }
        for page in [1, 5, 127, 130] {
            let mut swapped = sound.clone();
            swapped.copy_within((page + 1) * PAGE..(page + 2) * PAGE, page * PAGE);
            assert!(walk(&swapped).unwrap_err().contains("is that of"), "{page}");
            let mut emptied = sound.clone();
            emptied[page * PAGE..(page + 1) * PAGE].fill(0);
            assert!(walk(&emptied).unwrap_err().contains("is empty"), "{page}");
        }
    }

    /// Bytes of a header that do not affect the records: earlier timelines, the cluster, which is checked elsewhere,
    /// and padding.
    fn is_unused(at: usize) -> bool {
        let in_page = at % PAGE;
        let is_first = (at as u64).is_multiple_of(BYTES) || at as u64 % BYTES < LONG_HEADER_BYTES as u64;
        (4..8).contains(&in_page) || (20..24).contains(&in_page) || (is_first && (24..36).contains(&in_page))
    }

    #[test]
    fn a_walk_may_begin_inside_a_record() {
        let log = log(&[40_000]);
        let mut walk = Walk::new();
        let second = &log[BYTES as usize..];
        walk.segment(Segment::at(1, 4, BYTES), BYTES, &mut &second[..]).unwrap().unwrap();
        assert!(walk.records > 0);
    }
}
