//! Windows: the chunks that are verified at a time, and the order in which their records are.
//!
//! Records of many devices interleave in files that keep the order of arrival. A slice of them has a chain for nearly every
//! record, and each chain costs as much as dozens of records. A window is then larger, and its records are grouped by
//! device before they are cut into slices. Neither changes a result.
//!
//! Rows of Arrow and Parquet are verified as they are, and grouped by their places: no record is made of them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Mutex;

use edgesentry_chain::part::is_contested;
use edgesentry_chain::{AuditRecord, Kept, Order, RecordRef, SLICE_RECORDS, slice_size};
use rayon::prelude::*;

use crate::arrow::LentRows;
use crate::error::Error;
use crate::read::{Chunk, ChunkReader, Decoded};
use crate::verify::{Piece, Plan, join, keep, verify_some};

/// The largest number of entries in a window that has more than one chunk.
const WINDOW_ENTRIES: usize = 1 << 17;
/// The size of the text after which a window gets no further chunk.
const WINDOW_TEXT_BYTES: usize = 32 << 20;
/// The size of the buffers of Arrow after which a window gets no further chunk. Those of its first chunk do not count: slices
/// of one large batch are grouped.
const WINDOW_BUFFER_BYTES: usize = 128 << 20;
/// From this size on, the text of a window shows whether grouping pays.
const REPRESENTATIVE_TEXT_BYTES: usize = 3 << 20;
/// The largest number of chunks in a window.
const WINDOW_CHUNKS: usize = 8;
/// Grouping pays if a device has fewer records than this in a row.
const SHORT_ROW: usize = 8;
/// A window is large enough if a device has this number of records in it.
const LONG_ROW: usize = 32;

/// The form of the next window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    order: Order,
    chunks: usize,
    is_grouped: bool,
}

/// The result up to the end of a window.
pub(crate) struct Verified {
    pub(crate) total: Piece,
    /// The form of the windows after the next.
    pub(crate) window: Window,
    /// Records that are verified later, together.
    pub(crate) gathered: Vec<(AuditRecord, u64)>,
}

impl Window {
    pub(crate) fn new(order: Order) -> Window {
        let is_sorted = order == Order::Sequence;
        Window { order, chunks: if is_sorted { WINDOW_CHUNKS } else { 1 }, is_grouped: false }
    }

    /// Reads the chunks of a window; none at the end of the source.
    pub(crate) fn read(&self, chunks: &mut dyn ChunkReader, plan: &Plan<'_>) -> Result<Vec<Chunk>, Error> {
        let mut window = Vec::new();
        let (mut entries, mut text_bytes, mut buffer_bytes) = (0, 0, 0);
        let mut counted = HashSet::new();
        while window.len() < self.chunks
            && entries < WINDOW_ENTRIES
            && text_bytes < WINDOW_TEXT_BYTES
            && buffer_bytes < WINDOW_BUFFER_BYTES
        {
            let Some(chunk) = chunks.next_chunk(plan.progress)? else { break };
            entries += chunk.len();
            text_bytes += chunk.text_bytes();
            if self.chunks > 1 {
                let bytes = chunk.buffer_bytes(&mut counted);
                buffer_bytes += if window.is_empty() { 0 } else { bytes };
            }
            window.push(chunk);
        }
        Ok(window)
    }

    /// Verifies consecutive chunks; `first_index` is the position of their first entry, and `total` the result up to it.
    pub(crate) fn verify(
        &self,
        kept: &Mutex<Kept>,
        total: Piece,
        chunks: Vec<Chunk>,
        first_index: u64,
        plan: &Plan<'_>,
    ) -> Result<Verified, Error> {
        let entries: usize = chunks.iter().map(Chunk::len).sum();
        if plan.only.is_none() && self.order == Order::Position && !self.is_grouped {
            let part = verify_in_place(kept, &chunks, first_index, plan)?;
            // Slices of the first, small chunks of text have few records of each device.
            let text_bytes: usize = chunks.iter().map(Chunk::text_bytes).sum();
            let is_small = (1..REPRESENTATIVE_TEXT_BYTES).contains(&text_bytes);
            // The levels of a log keep the order of arrival, in which the records are leaves.
            let is_grouped =
                plan.log.is_none() && plan.withheld == 0 && !is_small && part.rows * SHORT_ROW > entries;
            let chunks = if is_grouped { 2 } else { 1 };
            return Ok(Verified {
                total: join(kept, total, part.piece, plan),
                window: Window { is_grouped, chunks, ..*self },
                gathered: Vec::new(),
            });
        }
        if self.order == Order::Position
            && let Some(lent) = Lent::of(&chunks, first_index, plan)
        {
            drop(chunks);
            let groups = grouped(lent.device_ids());
            let window = self.after(&groups);
            let total = lent.verify(kept, total, &groups.places, plan)?;
            return Ok(Verified { total, window, gathered: Vec::new() });
        }
        let decoded = decode(chunks, first_index, plan)?;
        let records = decoded.iter().flat_map(|(decoded, index)| with_positions(decoded, *index));
        if let Some(only) = plan.only {
            let records = records.filter(|(record, _)| is_contested(only, record));
            if self.order == Order::Sequence {
                let gathered = records.map(|(record, index)| (record.clone(), index)).collect();
                return Ok(Verified { total, window: *self, gathered });
            }
            let records = by_device(&records.collect::<Vec<_>>()).0;
            let total = verify_records(kept, total, &records, plan)?;
            return Ok(Verified { total, window: *self, gathered: Vec::new() });
        }
        let mut piece = Piece::default();
        for (decoded, first_index) in &decoded {
            for (at, malformed) in &decoded.malformed {
                piece.segments.add(malformed.clone().finding(first_index + *at as u64));
            }
        }
        let total = join(kept, total, piece, plan);
        let mut records: Vec<_> = records.collect();
        let mut window = *self;
        match self.order {
            Order::Sequence => sort(&mut records),
            Order::Position => {
                let groups;
                (records, groups) = by_device(&records);
                window = self.after(&groups);
            }
        }
        let total = verify_records(kept, total, &records, plan)?;
        Ok(Verified { total, window, gathered: Vec::new() })
    }

    /// Returns the form of the next windows, by the records of this one.
    fn after(&self, groups: &Grouped) -> Window {
        let Grouped { places, rows, devices } = groups;
        if rows * SHORT_ROW <= places.len() {
            return Window::new(self.order);
        }
        let is_small = devices * LONG_ROW > places.len();
        Window { chunks: if is_small { (self.chunks * 2).min(WINDOW_CHUNKS) } else { self.chunks }, ..*self }
    }
}

/// The result of slices in the order of the input.
#[derive(Default)]
struct InPlace {
    piece: Piece,
    /// The number of chains in all slices.
    rows: usize,
}

/// Decodes and verifies slices of the input as they are.
fn verify_in_place(
    kept: &Mutex<Kept>,
    chunks: &[Chunk],
    first_index: u64,
    plan: &Plan<'_>,
) -> Result<InPlace, Error> {
    let slices = slices(chunks, first_index, |entries| slice_records(plan, entries));
    let verified = slices.into_par_iter().map(|(chunk, range, first_index)| {
        if plan.progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let entries = range.len() as u64;
        let mut piece = verify_slice(chunk, range, first_index, plan)?;
        plan.progress.add_records(entries);
        let rows = piece.segments.count();
        piece.segments = keep(kept, piece.segments);
        Ok(InPlace { piece, rows })
    });
    verified.try_reduce(InPlace::default, |left, right| {
        let rows = left.rows + right.rows;
        Ok(InPlace { piece: join(kept, left.piece, right.piece, plan), rows })
    })
}

/// Verifies entries as they are.
fn verify_slice(
    chunk: &Chunk,
    range: Range<usize>,
    first_index: u64,
    plan: &Plan<'_>,
) -> Result<Piece, Error> {
    if let Some(rows) = lent_rows(chunk, range.clone(), plan) {
        let entries = (0..range.len()).zip(first_index..);
        return verify_rows(entries.map(|(row, index)| (&rows, row, index)), plan);
    }
    if let Some(records) = lent_text(chunk, range.clone(), plan) {
        let segments = plan.checks.verify_indexed(records.into_iter().zip(first_index..))?;
        return Ok(Piece { segments, ..Piece::default() });
    }
    match chunk {
        Chunk::Records(records) => Ok(verify_some(records[range].iter().zip(first_index..), plan)?),
        _ => verify_decoded(chunk.decode(range), first_index, plan),
    }
}

/// Returns true if no check needs records of their own, as payloads and the levels of a log do.
fn is_plain(plan: &Plan<'_>) -> bool {
    plan.checks.payload_source().is_none() && plan.log.is_none() && plan.only.is_none() && plan.withheld == 0
}

/// Returns the rows of a chunk, if it lends them.
fn lent_rows(chunk: &Chunk, range: Range<usize>, plan: &Plan<'_>) -> Option<LentRows> {
    match chunk {
        Chunk::Batch(batch, first_row) if is_plain(plan) => LentRows::of(batch, range, *first_row),
        _ => None,
    }
}

/// Returns the records of text in the usual form.
fn lent_text<'c>(chunk: &'c Chunk, range: Range<usize>, plan: &Plan<'_>) -> Option<Vec<RecordRef<'c>>> {
    match chunk {
        Chunk::Text(text) if is_plain(plan) => text.lent(range),
        _ => None,
    }
}

/// Verifies rows, each with its position in the whole input.
fn verify_rows<'r>(
    rows: impl Iterator<Item = (&'r LentRows, usize, u64)>,
    plan: &Plan<'_>,
) -> Result<Piece, Error> {
    let mut malformed = Vec::new();
    let records = rows.filter_map(|(rows, row, index)| match rows.record(row) {
        Ok(record) => Some((record, index)),
        Err(fault) => {
            malformed.push(fault.finding(index));
            None
        }
    });
    let mut segments = plan.checks.verify_indexed(records)?;
    malformed.into_iter().for_each(|finding| segments.add(finding));
    Ok(Piece { segments, ..Piece::default() })
}

/// The rows of a window.
struct Lent {
    /// Each with the number of its first row in the window.
    chunks: Vec<(usize, LentRows)>,
    len: usize,
    first_index: u64,
}

impl Lent {
    /// Returns the rows, if all chunks lend them.
    fn of(chunks: &[Chunk], first_index: u64, plan: &Plan<'_>) -> Option<Lent> {
        let mut lent = Lent { chunks: Vec::with_capacity(chunks.len()), len: 0, first_index };
        for chunk in chunks {
            lent.chunks.push((lent.len, lent_rows(chunk, 0..chunk.len(), plan)?));
            lent.len += chunk.len();
        }
        Some(lent)
    }

    /// Returns the device of each row. One without a device is not a record, in any group.
    fn device_ids(&self) -> impl Iterator<Item = &str> {
        (0..self.len).map(|at| {
            let (rows, row) = self.row(at);
            rows.device_id(row).unwrap_or_default()
        })
    }

    fn row(&self, at: usize) -> (&LentRows, usize) {
        let chunk = self.chunks.partition_point(|(first, _)| *first <= at) - 1;
        let (first, rows) = &self.chunks[chunk];
        (rows, at - first)
    }

    /// Verifies the rows in the order of `places`; `total` is the result up to them.
    fn verify(
        &self,
        kept: &Mutex<Kept>,
        total: Piece,
        places: &[usize],
        plan: &Plan<'_>,
    ) -> Result<Piece, Error> {
        let size = slice_size(places.len()).min(SLICE_RECORDS);
        verify_slices(kept, total, places.chunks(size).collect(), plan, |slice| {
            let rows = slice.iter().map(|at| {
                let (rows, row) = self.row(*at);
                (rows, row, self.first_index + *at as u64)
            });
            verify_rows(rows, plan)
        })
    }
}

/// Cuts chunks into slices, each with the position of its first entry.
fn slices(
    chunks: &[Chunk],
    first_index: u64,
    size: impl Fn(usize) -> usize,
) -> Vec<(&Chunk, Range<usize>, u64)> {
    let mut slices = Vec::new();
    let mut next_index = first_index;
    for chunk in chunks {
        let size = size(chunk.len());
        for start in (0..chunk.len()).step_by(size) {
            let range = start..chunk.len().min(start + size);
            slices.push((chunk, range, next_index + start as u64));
        }
        next_index += chunk.len() as u64;
    }
    slices
}

/// Decodes all entries on all threads. A chunk is dropped as soon as it is decoded.
fn decode(chunks: Vec<Chunk>, first_index: u64, plan: &Plan<'_>) -> Result<Vec<(Decoded, u64)>, Error> {
    let mut next_index = first_index;
    let numbered = chunks.into_iter().map(|chunk| {
        let first_index = next_index;
        next_index += chunk.len() as u64;
        (chunk, first_index)
    });
    let numbered: Vec<_> = numbered.collect();
    let decoded = numbered.into_par_iter().map(|(chunk, first_index)| {
        let slices =
            slices(std::slice::from_ref(&chunk), first_index, |entries| slice_records(plan, entries));
        let decoded = slices.into_par_iter().map(|(chunk, range, first_index)| {
            if plan.progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            Ok((chunk.decode(range), first_index))
        });
        decoded.collect::<Result<Vec<_>, _>>()
    });
    Ok(decoded.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Sorts records by the order of a table, and equal ones by their position.
pub(crate) fn sort(records: &mut [(&AuditRecord, u64)]) {
    records.par_sort_unstable_by(|(a, at), (b, also_at)| a.cmp_in_table(b).then_with(|| at.cmp(also_at)));
}

/// Verifies records that are grouped or sorted by device; `total` is the result up to them.
pub(crate) fn verify_records(
    kept: &Mutex<Kept>,
    total: Piece,
    records: &[(&AuditRecord, u64)],
    plan: &Plan<'_>,
) -> Result<Piece, Error> {
    let size = slice_size(records.len()).min(SLICE_RECORDS);
    let slices = match plan.options.order {
        Order::Position => records.chunks(size).collect(),
        Order::Sequence => sorted_slices(records, size),
    };
    verify_slices(kept, total, slices, plan, |slice| Ok(verify_some(slice.iter().copied(), plan)?))
}

/// Verifies slices of entries; `total` is the result up to them.
fn verify_slices<T: Sync>(
    kept: &Mutex<Kept>,
    total: Piece,
    slices: Vec<&[T]>,
    plan: &Plan<'_>,
    verify: impl Fn(&[T]) -> Result<Piece, Error> + Sync,
) -> Result<Piece, Error> {
    let verify = |slice: &[T]| {
        if plan.progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let mut piece = verify(slice)?;
        plan.progress.add_records(slice.len() as u64);
        piece.segments = keep(kept, piece.segments);
        Ok(piece)
    };
    let join = |left, right| join(kept, left, right, plan);
    if rayon::current_num_threads() == 1 {
        // The segments of a window, of as many devices as it has, are never all beside those of the total.
        return slices.into_iter().try_fold(total, |total, slice| Ok(join(total, verify(slice)?)));
    }
    let verified = slices.into_par_iter().map(verify);
    Ok(join(total, verified.try_reduce(Piece::default, |left, right| Ok(join(left, right)))?))
}

/// The places of entries by device; those of a device keep their order.
struct Grouped {
    places: Vec<usize>,
    /// How often the device changed before.
    rows: usize,
    devices: usize,
}

/// Returns records by device, and their places.
fn by_device<'r>(records: &[(&'r AuditRecord, u64)]) -> (Vec<(&'r AuditRecord, u64)>, Grouped) {
    let groups = grouped(records.iter().map(|(record, _)| record.device_id.as_str()));
    (groups.places.iter().map(|at| records[*at]).collect(), groups)
}

fn grouped<'r>(device_ids: impl Iterator<Item = &'r str>) -> Grouped {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut ends: Vec<usize> = Vec::new();
    let mut last: Option<(&str, u32)> = None;
    let mut devices = Vec::with_capacity(device_ids.size_hint().0);
    let mut rows = 0;
    for id in device_ids {
        let number = match last {
            Some((last, number)) if last == id => number,
            _ => {
                rows += 1;
                *numbers.entry(id).or_insert_with(|| {
                    ends.push(0);
                    ends.len() as u32 - 1
                })
            }
        };
        last = Some((id, number));
        ends[number as usize] += 1;
        devices.push(number);
    }
    let mut end = 0;
    for size in &mut ends {
        end += *size;
        *size = end;
    }
    let mut places = vec![0; devices.len()];
    for (at, number) in devices.into_iter().enumerate().rev() {
        let end = &mut ends[number as usize];
        *end -= 1;
        places[*end] = at;
    }
    Grouped { places, rows, devices: numbers.len() }
}

/// Cuts sorted records into slices. Records of one device and sequence stay together, because their order decides about
/// them.
fn sorted_slices<'a, 'r>(
    mut records: &'a [(&'r AuditRecord, u64)],
    size: usize,
) -> Vec<&'a [(&'r AuditRecord, u64)]> {
    let mut slices = Vec::new();
    while records.len() > size {
        let place = |at: usize| (records[at].0.sequence, &*records[at].0.device_id);
        let end = (size..records.len()).find(|at| place(*at) != place(*at - 1)).unwrap_or(records.len());
        let (slice, rest) = records.split_at(end);
        slices.push(slice);
        records = rest;
    }
    if !records.is_empty() {
        slices.push(records);
    }
    slices
}

/// Returns the decoded records, each with its position in the whole input.
fn with_positions(
    decoded: &Decoded,
    first_index: u64,
) -> impl Iterator<Item = (&AuditRecord, u64)> + Clone + use<'_> {
    let Decoded { records, malformed } = decoded;
    let mut shift = 0;
    let mut malformed = malformed.iter().map(|(at, _)| *at).peekable();
    records.iter().enumerate().map(move |(at, record)| {
        while malformed.next_if(|malformed| *malformed == at + shift).is_some() {
            shift += 1;
        }
        (record, first_index + (at + shift) as u64)
    })
}

/// Verifies the records among decoded entries, and counts malformed entries.
fn verify_decoded(decoded: Decoded, first_index: u64, plan: &Plan<'_>) -> Result<Piece, Error> {
    let mut piece = verify_some(with_positions(&decoded, first_index), plan)?;
    for (at, malformed) in decoded.malformed {
        piece.segments.add(malformed.finding(first_index + at as u64));
    }
    Ok(piece)
}

/// Returns the number of entries per thread at a time. Signatures benefit from large slices; the thread that reads the next
/// window takes one less than the others. Links alone do not benefit, and small slices let that thread take its share.
fn slice_records(plan: &Plan<'_>, entries: usize) -> usize {
    match plan.checks.key_ring() {
        Some(_) => {
            let slices = entries.div_ceil(slice_size(entries)) + rayon::current_num_threads() - 1;
            entries.div_ceil(slices.max(1)).max(256)
        }
        None => slice_size(entries).div_ceil(8).max(256),
    }
}
