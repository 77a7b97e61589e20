//! Entry bundles (C2SP tlog-tiles): the leaves of a log in full.

use crate::tile::{TileError, TileId, TileKind};

/// The maximum length of a leaf in a bundle.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// The leaves of a tile, each after its length in two bytes, big-endian.
///
/// ```
/// use edgesentry_log::{EntryBundle, TileId};
/// let id: TileId = "tile/entries/000.p/2".parse()?;
/// let bytes = EntryBundle::write(id, [b"one".as_slice(), b"three"])?;
/// assert_eq!(bytes, b"\0\x03one\0\x05three");
/// assert_eq!(EntryBundle::parse(id, &bytes)?.entries()[1], b"three");
/// # Ok::<(), edgesentry_log::TileError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryBundle<'a> {
    entries: Vec<&'a [u8]>,
}

impl<'a> EntryBundle<'a> {
    /// Reads a bundle. The entries borrow from `bytes`.
    ///
    /// # Errors
    /// [`TileError::Entries`]; [`TileError::Kind`] for a tile of hashes.
    pub fn parse(id: TileId, mut bytes: &'a [u8]) -> Result<EntryBundle<'a>, TileError> {
        check_kind(id)?;
        let mut entry = || {
            let length = bytes.split_off(..2)?;
            bytes.split_off(..usize::from(u16::from_be_bytes([length[0], length[1]])))
        };
        let entries: Option<Vec<&[u8]>> = (0..id.width()).map(|_| entry()).collect();
        entries
            .filter(|_| bytes.is_empty())
            .map(|entries| EntryBundle { entries })
            .ok_or(TileError::Entries { id })
    }

    /// Returns the leaves in order.
    pub fn entries(&self) -> &[&'a [u8]] {
        &self.entries
    }

    /// Returns the bytes of a bundle of these leaves.
    ///
    /// # Errors
    /// [`TileError::EntryTooLong`], [`TileError::Width`], [`TileError::Kind`].
    pub fn write<E: AsRef<[u8]>>(
        id: TileId,
        entries: impl IntoIterator<Item = E>,
    ) -> Result<Vec<u8>, TileError> {
        check_kind(id)?;
        let mut bytes = Vec::new();
        let mut count = 0;
        for entry in entries {
            push_entry(&mut bytes, entry.as_ref())?;
            count += 1;
            if count > usize::from(id.width()) {
                break;
            }
        }
        if count == usize::from(id.width()) { Ok(bytes) } else { Err(TileError::Width { id, actual: count }) }
    }
}

/// Appends a leaf after its length. The bundle is unchanged if the leaf is too long.
pub(crate) fn push_entry(bytes: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let length = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLong(entry.len()))?;
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(entry);
    Ok(())
}

fn check_kind(id: TileId) -> Result<(), TileError> {
    if id.kind() == TileKind::Entries { Ok(()) } else { Err(TileError::Kind(id)) }
}
