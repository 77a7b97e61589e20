//! Proofs of the head of a device, or of the absence of a device.

use std::fmt;

use crate::hash::TreeHash;
use crate::heads::{HeadEntry, HeadsError, HeadsTree};
use crate::leaf::{HeadsLeaf, Leaf, LeafError};
use crate::log_proof::{Lines, LogProof, LogProofError, MAX_PROOF_BYTES};
use crate::note::Note;
use crate::policy::{Policy, TrustedCheckpoint};
use crate::proof::{ProofError, verify_inclusion};
use crate::text::{decode_base64, encode_base64, take_line};

const HEADER: &str = "edgesentry-heads-proof@v1";

/// The reason why a heads proof cannot be read or created, or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadsProofError {
    /// Larger than [`MAX_PROOF_BYTES`].
    #[error("the heads proof has {0} bytes, the limit is {MAX_PROOF_BYTES}")]
    TooLarge(usize),
    /// The first line is not that of a heads proof.
    #[error("the first line of a heads proof is {HEADER}")]
    Header,
    /// A line before the tlog-proof is wrong.
    #[error(
        "line {0} of the heads proof is malformed or out of place; a heads proof has `device BASE64`, then for each entry \
         `entry BASE64`, `index N` and hashes, an empty line"
    )]
    Line(usize),
    /// An entry is malformed.
    #[error(transparent)]
    Entry(#[from] HeadsError),
    /// The proof of the heads leaf, or a path, does not hold.
    #[error(transparent)]
    Log(#[from] LogProofError),
    /// The path of an entry does not hold.
    #[error("the entry at index {index} is not proven: {source}")]
    Path {
        /// The index in the heads tree.
        index: u64,
        /// The cause.
        source: ProofError,
    },
    /// The leaf in the log proof is malformed.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The log proof has a leaf of another kind.
    #[error("the proof carries a leaf of kind {0:#04x}, expected a heads leaf (0x02)")]
    NotHeads(u8),
    /// The log proof has a heads leaf of an earlier checkpoint.
    #[error("the heads leaf has index {index}, expected the last leaf of the checkpoint of {size} leaves")]
    NotLast {
        /// The index of the leaf.
        index: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// The entries prove neither this head of the device nor its absence.
    #[error("the entries of the proof do not show whether the log has the device {0:?}")]
    Undecided(String),
}

/// An entry and its place in the heads tree.
#[derive(Clone, PartialEq, Eq, Debug)]
struct ProvenEntry {
    entry: HeadEntry,
    index: u64,
    path: Vec<TreeHash>,
}

/// A proof of the head of a device, or of its absence: the entries on both sides of its place.
///
/// ```
/// use edgesentry_chain::Hash;
/// use edgesentry_log::{
///     Checkpoint, DeviceState, HeadEntry, HeadsLeaf, HeadsProof, HeadsTree, KeyType, Leaf, LogProof, Policy, SignerKey,
///     TreeHash,
/// };
/// let entry = |device_id: &str| HeadEntry {
///     device_id: device_id.into(), sequence: 7, record_hash: Hash::of(b"7"), start_sequence: 0, start_hash: Hash::ZERO,
/// };
/// let tree = HeadsTree::new(vec![entry("lift-01"), entry("lift-03")])?;
/// let leaf = HeadsLeaf { records: 14, devices: 2, heads_root: tree.root(), at_ms: 1_700_000_000_000 };
/// let leaf = Leaf::Heads(leaf).to_bytes();
///
/// // A log with this single leaf.
/// let key = SignerKey::from_seed("log.example/lifts", KeyType::Ed25519, [7; 32])?;
/// let checkpoint = Checkpoint::new("log.example/lifts", 1, TreeHash::of_leaf(&leaf))?.sign(&key)?;
/// let policy = Policy::parse(format!("log {}\nquorum none\n", key.verifier()).as_bytes())?;
/// let log_proof = LogProof { extra: Some(leaf), index: 0, path: Vec::new(), checkpoint };
///
/// let proof = HeadsProof::of_device("lift-03", &tree, log_proof.clone())?;
/// assert_eq!(proof.verify(&policy)?.state, DeviceState::Present(entry("lift-03")));
/// let proof = HeadsProof::of_device("lift-02", &tree, log_proof)?;
/// assert_eq!(proof.verify(&policy)?.state, DeviceState::Absent);
/// assert_eq!(HeadsProof::parse(proof.to_string().as_bytes())?, proof);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadsProof {
    device_id: String,
    entries: Vec<ProvenEntry>,
    log_proof: LogProof,
}

/// The state of a device in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DeviceState {
    /// Its head.
    Present(HeadEntry),
    /// Absent: the log never had a key of the device.
    Absent,
}

/// The result of a heads proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvenDevice {
    /// The head of the device, or its absence.
    pub state: DeviceState,
    /// The heads leaf that proves it.
    pub heads: HeadsLeaf,
    /// The checkpoint.
    pub checkpoint: TrustedCheckpoint,
}

impl HeadsProof {
    /// Creates the proof of a device. `log_proof` is the proof of the heads leaf, and contains this leaf.
    ///
    /// # Errors
    /// [`HeadsProofError::Path`] if the tree is incomplete.
    pub fn of_device(
        device_id: &str,
        tree: &HeadsTree,
        log_proof: LogProof,
    ) -> Result<HeadsProof, HeadsProofError> {
        let found = tree.entries().binary_search_by(|entry| entry.device_id.as_str().cmp(device_id));
        let indexes = match found {
            Ok(at) => at..at + 1,
            Err(at) => at.saturating_sub(1)..(at + 1).min(tree.entries().len()),
        };
        let prove = |index| {
            let index = index as u64;
            let (entry, path) =
                tree.prove(index).map_err(|source| HeadsProofError::Path { index, source })?;
            Ok(ProvenEntry { entry, index, path })
        };
        let entries: Result<Vec<ProvenEntry>, HeadsProofError> = indexes.map(prove).collect();
        Ok(HeadsProof { device_id: device_id.to_owned(), entries: entries?, log_proof })
    }

    /// Parses a proof.
    ///
    /// # Errors
    /// The bytes are not a heads proof.
    pub fn parse(bytes: &[u8]) -> Result<HeadsProof, HeadsProofError> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(HeadsProofError::TooLarge(bytes.len()));
        }
        let mut text = std::str::from_utf8(bytes).map_err(|_| HeadsProofError::Header)?;
        if take_line(&mut text) != Some(HEADER) {
            return Err(HeadsProofError::Header);
        }
        let mut lines = Lines { text, number: 1 };
        let device_id = |base64| String::from_utf8(decode_base64(base64)?).ok();
        let device_id = lines.expect("device ", device_id).map_err(HeadsProofError::Line)?;
        let mut entries = Vec::new();
        while entries.len() < 2
            && let Some(entry) = lines.take_if("entry ")
        {
            let entry = decode_base64(entry).ok_or(HeadsProofError::Line(lines.number))?;
            let (index, path) = (lines.index().map_err(HeadsProofError::Line)?, lines.path());
            entries.push(ProvenEntry { entry: HeadEntry::parse(&entry)?, index, path });
        }
        lines.empty().map_err(HeadsProofError::Line)?;
        let log_proof = LogProof::parse_lines(lines.text, lines.number + 1)?;
        Ok(HeadsProof { device_id, entries, log_proof })
    }

    /// Returns the device of the proof.
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// Returns the signed checkpoint.
    pub fn checkpoint(&self) -> &Note {
        &self.log_proof.checkpoint
    }

    /// Returns true if the proof claims a head, and false if it claims an absence.
    pub fn is_of_presence(&self) -> bool {
        matches!(self.entries.as_slice(), [only] if only.entry.device_id == self.device_id)
    }

    /// Verifies the checkpoint against the policy, the heads leaf as its last leaf, each entry against the root in that
    /// leaf, and that the entries settle the state of the device.
    ///
    /// # Errors
    /// The proof does not hold.
    pub fn verify(&self, policy: &Policy) -> Result<ProvenDevice, HeadsProofError> {
        let (leaf, checkpoint) = self.log_proof.verify_extra(policy)?;
        let heads = match Leaf::parse(leaf)? {
            Leaf::Heads(heads) => heads,
            other => return Err(HeadsProofError::NotHeads(other.kind())),
        };
        let (index, size) = (self.log_proof.index, checkpoint.checkpoint().size());
        if index + 1 != size {
            return Err(HeadsProofError::NotLast { index, size });
        }
        for ProvenEntry { entry, index, path } in &self.entries {
            verify_inclusion(entry.hash(), *index, heads.devices, path, heads.heads_root)
                .map_err(|source| HeadsProofError::Path { index: *index, source })?;
        }
        let state = self.state(&heads).ok_or_else(|| HeadsProofError::Undecided(self.device_id.clone()))?;
        Ok(ProvenDevice { state, heads, checkpoint })
    }

    /// Returns the state of the device according to entries of the tree.
    fn state(&self, heads: &HeadsLeaf) -> Option<DeviceState> {
        let device = self.device_id.as_str();
        let absent = match self.entries.as_slice() {
            [] => heads.devices == 0 && heads.heads_root == TreeHash::EMPTY,
            [only] if only.entry.device_id == device => {
                return Some(DeviceState::Present(only.entry.clone()));
            }
            [only] => {
                let first = only.index == 0 && device < only.entry.device_id.as_str();
                let last = only.index + 1 == heads.devices && only.entry.device_id.as_str() < device;
                first || last
            }
            [before, behind] => {
                before.index + 1 == behind.index
                    && before.entry.device_id.as_str() < device
                    && device < behind.entry.device_id.as_str()
            }
            _ => false,
        };
        absent.then_some(DeviceState::Absent)
    }
}

/// Formats the bytes that [`HeadsProof::parse`] reads.
impl fmt::Display for HeadsProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\ndevice {}", encode_base64(self.device_id.as_bytes()))?;
        for ProvenEntry { entry, index, path } in &self.entries {
            writeln!(f, "entry {}\nindex {index}", encode_base64(&entry.to_bytes()))?;
            path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        }
        writeln!(f)?;
        write!(f, "{}", self.log_proof)
    }
}
