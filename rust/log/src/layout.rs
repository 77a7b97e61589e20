//! The layout of an export: the order of the leaves in the log.

use edgesentry_chain::canonical::{CanonicalError, Reader, write_text, write_varint};

use crate::bundle::MAX_ENTRY_BYTES;
use crate::hash::MAX_SIZE;

const HEADER: &[u8] = b"EDSLOG1\n";
const RUN: u8 = 0x00;
const LEAF: u8 = 0x01;
/// The kind of a record leaf: in the layout, a record is always part of a run.
const RECORD: u8 = 0x01;

/// The reason why bytes are not a layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The first eight bytes are not the header.
    #[error("not a layout of a log: it does not begin with EDSLOG1 and a line feed")]
    Header,
    /// An item is malformed.
    #[error("the layout is malformed at byte {offset}: {source}")]
    Malformed {
        /// The start of the item.
        offset: usize,
        /// The cause.
        source: CanonicalError,
    },
    /// An item is neither a run nor a leaf.
    #[error("the layout has an item {kind:#04x} at byte {offset}, expected 00 or 01")]
    Kind {
        /// The start of the item.
        offset: usize,
        /// Its first byte.
        kind: u8,
    },
    /// A run is empty, starts at sequence 0, or exceeds the largest sequence or size.
    #[error("the run at byte {offset} of the layout is not a range of sequences, which start at 1")]
    Run {
        /// The start of the item.
        offset: usize,
    },
    /// A leaf is empty, too long, or a record, which must be part of a run.
    #[error("the leaf at byte {offset} of the layout is empty, a record, or longer than 65,535 bytes")]
    Leaf {
        /// The start of the item.
        offset: usize,
    },
}

/// One item of a layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutItem<'a> {
    /// The records of a device from a sequence, one leaf each.
    Run {
        /// The device.
        device_id: &'a str,
        /// The sequence of the first record.
        first_sequence: u64,
        /// The number of records.
        count: u64,
    },
    /// A leaf of any other kind, unchanged.
    Leaf(&'a [u8]),
}

impl LayoutItem<'_> {
    /// Returns the number of leaves of this item.
    pub fn leaves(&self) -> u64 {
        match self {
            LayoutItem::Run { count, .. } => *count,
            LayoutItem::Leaf(_) => 1,
        }
    }

    fn holds(&self) -> bool {
        match self {
            LayoutItem::Run { first_sequence, count, .. } => {
                let last = first_sequence.checked_add(count.saturating_sub(1));
                *first_sequence > 0 && *count > 0 && last.is_some() && *count <= MAX_SIZE
            }
            LayoutItem::Leaf(leaf) => {
                leaf.len() <= MAX_ENTRY_BYTES && leaf.first().is_some_and(|kind| *kind != RECORD)
            }
        }
    }
}

/// Parses a layout, item by item. It stops after the first error.
///
/// ```
/// use edgesentry_log::{Layout, LayoutItem, LayoutWriter};
/// let mut writer = LayoutWriter::default();
/// let run = LayoutItem::Run { device_id: "lift-01", first_sequence: 1, count: 300 };
/// writer.push(LayoutItem::Leaf(b"\x06..."))?;
/// writer.push(run)?;
/// let bytes = writer.into_bytes();
/// let items: Result<Vec<LayoutItem>, _> = Layout::parse(&bytes)?.collect();
/// assert_eq!(items?[1], run);
/// # Ok::<(), edgesentry_log::LayoutError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Layout<'a> {
    reader: Reader<'a>,
    size: usize,
    leaves: u64,
}

impl<'a> Layout<'a> {
    /// Checks the header.
    ///
    /// # Errors
    /// [`LayoutError::Header`].
    pub fn parse(bytes: &'a [u8]) -> Result<Layout<'a>, LayoutError> {
        let rest = bytes.strip_prefix(HEADER).ok_or(LayoutError::Header)?;
        Ok(Layout { reader: Reader::new(rest), size: bytes.len(), leaves: 0 })
    }

    fn item(&mut self, offset: usize) -> Result<LayoutItem<'a>, LayoutError> {
        let malformed = |source| LayoutError::Malformed { offset, source };
        let reader = &mut self.reader;
        let item = match reader.byte().map_err(malformed)? {
            RUN => run(reader).map_err(malformed)?,
            LEAF => {
                LayoutItem::Leaf(reader.varint().and_then(|length| reader.bytes(length)).map_err(malformed)?)
            }
            kind => return Err(LayoutError::Kind { offset, kind }),
        };
        if !item.holds() {
            return Err(match item {
                LayoutItem::Run { .. } => LayoutError::Run { offset },
                LayoutItem::Leaf(_) => LayoutError::Leaf { offset },
            });
        }
        let leaves = self.leaves.checked_add(item.leaves()).filter(|leaves| *leaves <= MAX_SIZE);
        self.leaves = leaves.ok_or(LayoutError::Run { offset })?;
        Ok(item)
    }
}

impl<'a> Iterator for Layout<'a> {
    type Item = Result<LayoutItem<'a>, LayoutError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.reader.rest().len();
        if rest == 0 {
            return None;
        }
        let item = self.item(self.size - rest);
        if item.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(item)
    }
}

fn run<'a>(reader: &mut Reader<'a>) -> Result<LayoutItem<'a>, CanonicalError> {
    Ok(LayoutItem::Run {
        device_id: reader.text()?,
        first_sequence: reader.varint()?,
        count: reader.varint()?,
    })
}

/// Writes a layout.
#[derive(Clone, Debug)]
pub struct LayoutWriter {
    bytes: Vec<u8>,
    leaves: u64,
}

impl Default for LayoutWriter {
    fn default() -> LayoutWriter {
        LayoutWriter { bytes: HEADER.to_vec(), leaves: 0 }
    }
}

impl LayoutWriter {
    /// Appends an item.
    ///
    /// # Errors
    /// [`LayoutError::Run`] or [`LayoutError::Leaf`] if the item could not be parsed again.
    pub fn push(&mut self, item: LayoutItem<'_>) -> Result<(), LayoutError> {
        let offset = self.bytes.len();
        let leaves = self.leaves.checked_add(item.leaves()).filter(|leaves| *leaves <= MAX_SIZE);
        match (item, leaves.filter(|_| item.holds())) {
            (LayoutItem::Run { .. }, None) => return Err(LayoutError::Run { offset }),
            (LayoutItem::Leaf(_), None) => return Err(LayoutError::Leaf { offset }),
            (_, Some(leaves)) => self.leaves = leaves,
        }
        match item {
            LayoutItem::Run { device_id, first_sequence, count } => {
                self.bytes.push(RUN);
                write_text(&mut self.bytes, device_id);
                write_varint(&mut self.bytes, first_sequence);
                write_varint(&mut self.bytes, count);
            }
            LayoutItem::Leaf(leaf) => {
                self.bytes.push(LEAF);
                write_varint(&mut self.bytes, leaf.len() as u64);
                self.bytes.extend_from_slice(leaf);
            }
        }
        Ok(())
    }

    /// Returns all bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
