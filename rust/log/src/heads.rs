//! The heads tree: the last record of each device, sorted by device.

use edgesentry_chain::Hash;
use edgesentry_chain::canonical::{CanonicalError, Reader, write_text, write_varint};

use crate::hash::TreeHash;
use crate::proof::{ProofError, inclusion_path};
use crate::range::CompactRange;
use crate::tree::Tree;

/// The first byte of an entry. No kind of leaf has this value.
const ENTRY: u8 = 0x10;

/// The reason why bytes are not an entry, or entries not a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadsError {
    /// The bytes are not an entry.
    #[error("an entry of the heads tree is malformed: {0}")]
    Malformed(#[from] CanonicalError),
    /// The first byte has another value.
    #[error("an entry of the heads tree begins with {0:#04x}, expected 0x10")]
    Kind(u8),
    /// A device without records has a hash other than that of its start.
    #[error("device {0:?} has no record in the heads tree, but its hash is not that of its start")]
    NoRecord(String),
    /// The entries are not sorted by the bytes of the device id, or a device appears twice.
    #[error("device {device_id:?} is out of order in the heads tree: it follows {previous:?}")]
    Order {
        /// The device.
        device_id: String,
        /// The previous device.
        previous: String,
    },
}

/// The head of a device in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadEntry {
    /// The device.
    pub device_id: String,
    /// The sequence of its last record; 0 if it has none.
    pub sequence: u64,
    /// The hash of its last record; `start_hash` if it has none.
    pub record_hash: Hash,
    /// The sequence after which its chain starts; 0 for a chain from its first record.
    pub start_sequence: u64,
    /// The hash of the record at `start_sequence`; zero if that is 0.
    pub start_hash: Hash,
}

impl HeadEntry {
    /// Reads an entry.
    ///
    /// # Errors
    /// [`HeadsError::Malformed`], [`HeadsError::Kind`], [`HeadsError::NoRecord`].
    pub fn parse(bytes: &[u8]) -> Result<HeadEntry, HeadsError> {
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            ENTRY => {}
            other => return Err(HeadsError::Kind(other)),
        }
        let entry = HeadEntry {
            device_id: reader.text()?.to_owned(),
            sequence: reader.varint()?,
            record_hash: Hash(reader.array()?),
            start_sequence: reader.varint()?,
            start_hash: Hash(reader.array()?),
        };
        reader.finish()?;
        entry.check()?;
        Ok(entry)
    }

    /// Returns the hashed bytes: 10, device id, sequence, record hash, start sequence, start hash.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + 3 * 10 + 2 * 32 + self.device_id.len());
        out.push(ENTRY);
        write_text(&mut out, &self.device_id);
        write_varint(&mut out, self.sequence);
        out.extend_from_slice(self.record_hash.as_bytes());
        write_varint(&mut out, self.start_sequence);
        out.extend_from_slice(self.start_hash.as_bytes());
        out
    }

    /// Returns the hash of the entry in the heads tree.
    pub fn hash(&self) -> TreeHash {
        TreeHash::of_leaf(&self.to_bytes())
    }

    fn check(&self) -> Result<(), HeadsError> {
        if self.sequence == 0 && self.record_hash != self.start_hash {
            return Err(HeadsError::NoRecord(self.device_id.clone()));
        }
        Ok(())
    }
}

/// Computes the root of a heads tree from a stream of entries, in constant memory.
///
/// ```
/// use edgesentry_chain::Hash;
/// use edgesentry_log::{HeadEntry, HeadsRoot, HeadsTree};
/// let entry = |device_id: &str| HeadEntry {
///     device_id: device_id.into(), sequence: 0, record_hash: Hash::ZERO, start_sequence: 0, start_hash: Hash::ZERO,
/// };
/// let mut root = HeadsRoot::default();
/// root.push(&entry("lift-01"))?;
/// root.push(&entry("lift-02"))?;
/// assert_eq!(root.root(), HeadsTree::new(vec![entry("lift-01"), entry("lift-02")])?.root());
/// assert!(root.push(&entry("lift-02")).is_err());
/// # Ok::<(), edgesentry_log::HeadsError>(())
/// ```
#[derive(Clone, Default, Debug)]
pub struct HeadsRoot {
    range: CompactRange,
    last: Option<String>,
}

impl HeadsRoot {
    /// Appends an entry; entries must be sorted by the bytes of the device id.
    ///
    /// # Errors
    /// [`HeadsError::Order`], [`HeadsError::NoRecord`].
    pub fn push(&mut self, entry: &HeadEntry) -> Result<(), HeadsError> {
        entry.check()?;
        check_order(self.last.as_deref(), &entry.device_id)?;
        let last = self.last.get_or_insert_default();
        last.clear();
        last.push_str(&entry.device_id);
        self.range.push(entry.hash());
        Ok(())
    }

    /// Returns the number of entries.
    pub fn devices(&self) -> u64 {
        self.range.end()
    }

    /// Returns the root of the tree of the entries so far.
    pub fn root(&self) -> TreeHash {
        // The range starts at leaf 0, so it has a root.
        self.range.root().unwrap_or(TreeHash::EMPTY)
    }
}

/// A heads tree in memory. It can prove the head of a device, or the absence of a device.
#[derive(Clone, Default, Debug)]
pub struct HeadsTree {
    entries: Vec<HeadEntry>,
    tree: Tree,
}

impl HeadsTree {
    /// Creates the tree of entries sorted by the bytes of the device id.
    ///
    /// # Errors
    /// [`HeadsError::Order`], [`HeadsError::NoRecord`].
    pub fn new(entries: Vec<HeadEntry>) -> Result<HeadsTree, HeadsError> {
        let mut tree = Tree::default();
        let mut last = None;
        for entry in &entries {
            entry.check()?;
            check_order(last, &entry.device_id)?;
            last = Some(entry.device_id.as_str());
            tree.push(entry.hash());
        }
        Ok(HeadsTree { entries, tree })
    }

    /// Returns the root.
    pub fn root(&self) -> TreeHash {
        self.tree.root()
    }

    /// Returns the entries in order.
    pub fn entries(&self) -> &[HeadEntry] {
        &self.entries
    }

    /// Returns the hash of a perfect subtree, if the tree has it.
    pub fn node(&self, node: crate::NodeId) -> Option<TreeHash> {
        self.tree.node(node)
    }

    /// Returns the entry at `index` and its path to the root.
    ///
    /// # Errors
    /// [`ProofError::Index`].
    pub fn prove(&self, index: u64) -> Result<(HeadEntry, Vec<TreeHash>), ProofError> {
        let size = self.tree.size();
        let path = inclusion_path(index, size, |node| self.tree.node(node))?;
        let entry = usize::try_from(index).ok().and_then(|index| self.entries.get(index));
        Ok((entry.ok_or(ProofError::Index { index, size })?.clone(), path))
    }
}

fn check_order(previous: Option<&str>, device_id: &str) -> Result<(), HeadsError> {
    match previous {
        Some(previous) if previous >= device_id => {
            Err(HeadsError::Order { device_id: device_id.to_owned(), previous: previous.to_owned() })
        }
        _ => Ok(()),
    }
}
