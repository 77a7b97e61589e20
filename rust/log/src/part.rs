//! Parts of a replay: the results of workers that compared some of the records with the log of a checkpoint.
//!
//! A part has the hashes of its leaves as pieces of the tree, and no records. It travels as small rows. The parts of a run
//! merge in any order and any grouping, and the comparison of all is that of one process.

use edgesentry_chain::Hash;
use edgesentry_chain::canonical::{CanonicalError, Reader, write_text, write_varint};
use edgesentry_chain::part::PartError;

use crate::hash::{MAX_SIZE, TreeHash};
use crate::range::{CompactRange, perfect_subtrees};
use crate::replay::{Limits, Piece, Replay};

/// The size of a row in bytes at most, unless it has the long id of a device.
pub const MAX_LOG_ROW_BYTES: usize = 240;
/// The size of the numbers before the hashes of a piece at most, in bytes.
const PLACE_BYTES: usize = 20;
const HASH_BYTES: usize = 32;

/// The row of the part as a whole.
const WHOLE: u8 = 0;
/// Pieces with their hashes.
const PIECES: u8 = 1;
/// Pieces of a part that has a leaf twice, so that their hashes have no meaning.
const SPANS: u8 = 2;
/// The last records of devices.
const HEADS: u8 = 3;
/// The leaves of records whose payloads the log says were erased.
const ERASED: u8 = 4;

const LOST: PartError = PartError::Inconsistent("rows of its log are missing, or are there twice");
const MALFORMED: PartError = PartError::Inconsistent("a row of its log is malformed");

/// What all parts of a run have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogRun {
    /// The hash of the text of the checkpoint.
    pub(crate) checkpoint: Hash,
    /// That of the earlier checkpoint.
    pub(crate) previous: Option<Hash>,
    /// That of the layout; none if it was not read.
    pub(crate) layout: Option<Hash>,
    pub(crate) limits: Limits,
}

impl LogRun {
    pub(crate) fn check(&self, other: &LogRun) -> Result<(), PartError> {
        let differ = [
            (self.checkpoint != other.checkpoint, "the checkpoints of the log"),
            (self.previous != other.previous, "the earlier checkpoints of the log"),
            (self.layout != other.layout, "the layouts of the log"),
            (self.limits != other.limits, "the sizes of the log"),
        ];
        match differ.into_iter().find(|(differ, _)| *differ) {
            Some((_, what)) => Err(PartError::OtherRun(what)),
            None => Ok(()),
        }
    }
}

/// The replay of some inputs of a run: see [`LogCheck::part`](crate::LogCheck::part).
#[derive(Clone, Debug)]
pub struct LogPart {
    pub(crate) run: LogRun,
    pub(crate) inputs: u64,
    /// The number of payloads that the log says were erased and that are there with other bytes.
    pub(crate) erased_other: u64,
    pub(crate) replay: Replay,
}

/// The row of a part as a whole.
struct Whole {
    part: LogPart,
    /// The number of the other rows, and the sum of their checksums.
    rows: u64,
    sum: u64,
}

impl LogPart {
    /// Joins two parts of a run.
    ///
    /// # Errors
    /// They were compared with other checkpoints or layouts.
    pub fn merge(self, other: LogPart) -> Result<LogPart, PartError> {
        self.run.check(&other.run)?;
        let replay = self.replay.merge(other.replay, &self.run.limits);
        let inputs = self.inputs.checked_add(other.inputs).ok_or(LOST)?;
        let erased_other = self.erased_other.saturating_add(other.erased_other);
        Ok(LogPart { run: self.run, inputs, erased_other, replay })
    }

    /// Returns the number of inputs.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Returns the number of payloads that the log says were erased and that are there with other bytes.
    pub fn erased_other(&self) -> u64 {
        self.erased_other
    }

    /// Rejects numbers that no replay has.
    pub(crate) fn check(&self) -> Result<(), PartError> {
        match self.replay.leaves() <= self.replay.records || self.replay.overflowed {
            true => Ok(()),
            false => Err(PartError::Inconsistent("its log has more leaves than records")),
        }
    }

    /// Returns the rows, of at most [`MAX_LOG_ROW_BYTES`] unless a device has a long id.
    pub fn rows(&self) -> Vec<Vec<u8>> {
        let mut rows = self.pieces();
        let Replay { heads, erased, .. } = &self.replay;
        let mut row = vec![HEADS];
        for (device_id, hash) in heads {
            let mut head = Vec::with_capacity(device_id.len() + HASH_BYTES + 5);
            write_text(&mut head, device_id);
            head.extend(hash.0);
            append(&mut rows, &mut row, &head);
        }
        close(&mut rows, row);
        let mut row = vec![ERASED];
        for index in erased {
            let mut leaf = Vec::with_capacity(10);
            write_varint(&mut leaf, *index);
            append(&mut rows, &mut row, &leaf);
        }
        close(&mut rows, row);
        rows.push(self.whole(&rows));
        rows
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        let mut rows = Vec::new();
        let Replay { pieces, repeated, .. } = &self.replay;
        let mut row = vec![if *repeated { SPANS } else { PIECES }];
        for (begin, piece) in pieces {
            if *repeated {
                let mut span = Vec::with_capacity(PLACE_BYTES);
                write_varint(&mut span, *begin);
                write_varint(&mut span, piece.end - begin);
                append(&mut rows, &mut row, &span);
                continue;
            }
            let subtrees: Vec<_> =
                perfect_subtrees(*begin, piece.end).into_iter().zip(piece.range.hashes()).collect();
            let (mut at, mut rest) = (*begin, &subtrees[..]);
            while !rest.is_empty() {
                let room = MAX_LOG_ROW_BYTES.saturating_sub(row.len() + PLACE_BYTES) / HASH_BYTES;
                if room == 0 {
                    rows.push(std::mem::replace(&mut row, vec![PIECES]));
                    continue;
                }
                let (some, later) = rest.split_at(room.min(rest.len()));
                let leaves = some.iter().map(|(node, _)| 1_u64 << node.level).sum::<u64>();
                write_varint(&mut row, at);
                write_varint(&mut row, leaves);
                some.iter().for_each(|(_, hash)| row.extend(hash.0));
                (at, rest) = (at + leaves, later);
            }
        }
        close(&mut rows, row);
        rows
    }

    fn whole(&self, rows: &[Vec<u8>]) -> Vec<u8> {
        let LogRun { checkpoint, previous, layout, limits: Limits { size, cut, runs } } = self.run;
        let Replay { records, after, repeated, overflowed, .. } = self.replay;
        let mut row = vec![WHOLE];
        row.extend(checkpoint.0);
        for hash in [previous, layout] {
            row.push(u8::from(hash.is_some()));
            row.extend(hash.iter().flat_map(|hash| hash.0));
        }
        row.extend([u8::from(cut.is_some()), u8::from(repeated), u8::from(overflowed)]);
        let sum = sum_of(rows.iter().map(Vec::as_slice));
        let (cut, rows) = (cut.unwrap_or_default(), rows.len() as u64);
        let numbers = [size, cut, runs, self.inputs, self.erased_other, records, after, rows];
        numbers.into_iter().for_each(|number| write_varint(&mut row, number));
        row.extend(sum.to_le_bytes());
        row
    }

    /// Restores the part of all given rows, which may be those of several parts of a run, in any order.
    ///
    /// # Errors
    /// Rows are missing, are there twice, or are not of one run.
    pub fn from_rows<'r>(rows: impl IntoIterator<Item = &'r [u8]>) -> Result<LogPart, PartError> {
        let (mut wholes, mut others) = (Vec::new(), Vec::new());
        for row in rows {
            match row.split_first() {
                Some((&WHOLE, content)) => wholes.push(Whole::read(content).map_err(|_| MALFORMED)?),
                Some(_) => others.push(row),
                None => return Err(MALFORMED),
            }
        }
        let of_wholes = wholes.iter().fold((0_u64, 0_u64), |(rows, sum), whole| {
            (rows.saturating_add(whole.rows), sum.wrapping_add(whole.sum))
        });
        let sum = sum_of(others.iter().copied());
        if of_wholes != (others.len() as u64, sum) {
            return Err(LOST);
        }
        let mut parts = wholes.into_iter().map(|whole| whole.part);
        let Some(mut part) = parts.next() else { return Err(LOST) };
        for other in parts {
            part = part.merge(other)?;
        }
        for row in others {
            part.add(row).map_err(|_| MALFORMED)??;
        }
        Ok(part)
    }

    /// Adds the content of a row that is not that of the whole.
    fn add(&mut self, row: &[u8]) -> Result<Result<(), PartError>, CanonicalError> {
        let Limits { size, cut, .. } = self.run.limits;
        let mut reader = Reader::new(row);
        let kind = reader.byte()?;
        self.replay.repeated |= kind == SPANS;
        while !reader.rest().is_empty() {
            match kind {
                PIECES | SPANS => {
                    let (begin, leaves) = (reader.varint()?, reader.varint()?);
                    let end = begin.checked_add(leaves).filter(|end| *end <= size.min(MAX_SIZE));
                    let Some(end) = end.filter(|_| leaves > 0) else { return Ok(Err(MALFORMED)) };
                    if cut.is_some_and(|cut| begin < cut && cut < end) {
                        return Ok(Err(MALFORMED));
                    }
                    let mut hashes = Vec::new();
                    if kind == PIECES {
                        for _ in perfect_subtrees(begin, end) {
                            hashes.push(TreeHash(reader.array()?));
                        }
                    }
                    let range = match kind {
                        PIECES => CompactRange::from_hashes(begin, end, &hashes),
                        _ => CompactRange::new(begin),
                    };
                    let Ok(range) = range else { return Ok(Err(MALFORMED)) };
                    self.replay.insert(&self.run.limits, begin, Piece { end, range });
                }
                HEADS => {
                    let (device_id, hash) = (reader.text()?, Hash(reader.array()?));
                    self.replay.heads.insert(device_id.to_owned(), hash);
                }
                ERASED => match reader.varint()? {
                    index if index < size => drop(self.replay.erased.insert(index)),
                    _ => return Ok(Err(MALFORMED)),
                },
                _ => return Ok(Err(MALFORMED)),
            }
        }
        Ok(Ok(()))
    }
}

impl Whole {
    fn read(content: &[u8]) -> Result<Whole, CanonicalError> {
        let mut reader = Reader::new(content);
        let flag = |reader: &mut Reader<'_>| match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(CanonicalError::OptionByte(other)),
        };
        let checkpoint = Hash(reader.array()?);
        let mut hashes = [None; 2];
        for hash in &mut hashes {
            if flag(&mut reader)? {
                *hash = Some(Hash(reader.array()?));
            }
        }
        let [previous, layout] = hashes;
        let (has_cut, repeated, overflowed) = (flag(&mut reader)?, flag(&mut reader)?, flag(&mut reader)?);
        let mut numbers = [0; 8];
        for number in &mut numbers {
            *number = reader.varint()?;
        }
        let [size, cut, runs, inputs, erased_other, records, after, rows] = numbers;
        let sum = u64::from_le_bytes(reader.array()?);
        reader.finish()?;
        let limits = Limits { size, cut: has_cut.then_some(cut), runs };
        let replay = Replay { records, after, repeated, overflowed, ..Replay::default() };
        let run = LogRun { checkpoint, previous, layout, limits };
        Ok(Whole { part: LogPart { run, inputs, erased_other, replay }, rows, sum })
    }
}

/// Appends an item to a row, or to the next row if this one has no room for it.
fn append(rows: &mut Vec<Vec<u8>>, row: &mut Vec<u8>, item: &[u8]) {
    if row.len() > 1 && row.len() + item.len() > MAX_LOG_ROW_BYTES {
        let next = vec![row[0]];
        rows.push(std::mem::replace(row, next));
    }
    row.extend_from_slice(item);
}

/// Adds the last row of a kind, unless it is empty.
fn close(rows: &mut Vec<Vec<u8>>, row: Vec<u8>) {
    if row.len() > 1 {
        rows.push(row);
    }
}

/// Returns a checksum of rows in any order.
fn sum_of<'r>(rows: impl Iterator<Item = &'r [u8]>) -> u64 {
    rows.fold(0, |sum, row| {
        let [a, b, c, d, e, f, g, h, ..] = Hash::of(row).0;
        sum.wrapping_add(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    })
}
