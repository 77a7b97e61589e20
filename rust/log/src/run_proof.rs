//! Proofs that consecutive records of a device are in a log.

use std::fmt;

use edgesentry_chain::AuditRecord;

use crate::hash::TreeHash;
use crate::leaf::Leaf;
use crate::log_proof::Lines;
use crate::note::{Note, NoteError};
use crate::policy::{Policy, PolicyError, TrustedCheckpoint};
use crate::proof::{ProofError, verify_inclusion};
use crate::text::{decode_base64, encode_base64, take_line};

/// The maximum number of records in a proof.
pub const MAX_RUN_RECORDS: usize = 4096;
/// The maximum size of a proof: so many records that a service accepts, each with 63 hashes, and a note.
pub const MAX_RUN_PROOF_BYTES: usize = 32 << 20;
const HEADER: &str = "edgesentry-run-proof@v1";

/// The reason why the proof of a run cannot be read or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunProofError {
    /// Larger than [`MAX_RUN_PROOF_BYTES`].
    #[error("the proof of a run has {0} bytes, the limit is {MAX_RUN_PROOF_BYTES}")]
    TooLarge(usize),
    /// The first line is not the header of such a proof.
    #[error("the first line of the proof of a run is {HEADER}")]
    Header,
    /// A line between the first one and the checkpoint is wrong.
    #[error(
        "line {0} of the proof is malformed or out of place; the proof of a run has `extra BASE64`, `index N` and hashes \
         for each of at most {MAX_RUN_RECORDS} records, and an empty line"
    )]
    Line(usize),
    /// The checkpoint is not a note.
    #[error("the checkpoint of the proof cannot be read: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint is not trusted.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A path does not lead from its leaf to the root of the checkpoint.
    #[error("leaf {index}: {source}")]
    Path {
        /// The index of the leaf.
        index: u64,
        /// The cause.
        source: ProofError,
    },
    /// A leaf is not a record.
    #[error("leaf {0} of the run is not a record")]
    NotARecord(u64),
    /// A record does not continue the one before it.
    #[error("leaf {0} of the run is not the next record of the same chain")]
    NotNext(u64),
}

/// A leaf, its place in a log, and its path to the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunLeaf {
    /// The bytes of the leaf.
    pub leaf: Vec<u8>,
    /// Its index.
    pub index: u64,
    /// The hashes from its sibling up.
    pub path: Vec<TreeHash>,
}

/// Consecutive records of a device in a log: each as in a tlog-proof, and the one checkpoint of all of them.
///
/// ```
/// use edgesentry_chain::{AuditRecord, Device, Scheme};
/// use edgesentry_log::{
///     Checkpoint, KeyType, Leaf, Policy, RunLeaf, RunProof, SignerKey, Tree, inclusion_path,
/// };
/// let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
/// let records: Vec<AuditRecord> =
///     (0..3).map(|n| device.sign(n, b"door", "1.bin")).collect::<Result<_, _>>()?;
/// let leaves: Vec<Leaf> = records.iter().cloned().map(Leaf::Record).collect();
/// let mut tree = Tree::default();
/// leaves.iter().for_each(|leaf| tree.push(leaf.hash()));
/// let key = SignerKey::from_seed("log.example/lifts", KeyType::Ed25519, [7; 32])?;
/// let checkpoint = Checkpoint::new("log.example/lifts", 3, tree.root())?.sign(&key)?;
/// let leaf = |index| {
///     let path = inclusion_path(index, 3, |node| tree.node(node))?;
///     Ok::<_, edgesentry_log::ProofError>(RunLeaf { leaf: leaves[index as usize].to_bytes(), index, path })
/// };
/// let proof = RunProof { leaves: vec![leaf(1)?, leaf(2)?], checkpoint };
///
/// let policy = Policy::parse(format!("log {}\nquorum none\n", key.verifier()).as_bytes())?;
/// let proven = RunProof::parse(proof.to_string().as_bytes())?.verify(&policy)?;
/// assert_eq!(proven.records, records[1..]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunProof {
    /// The records in the order of their sequences, at least one.
    pub leaves: Vec<RunLeaf>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

/// The records that a proof proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvenRun {
    /// Records of one device, each linked to the one before it.
    pub records: Vec<AuditRecord>,
    /// The indexes of their leaves.
    pub indexes: Vec<u64>,
    /// The checkpoint.
    pub checkpoint: TrustedCheckpoint,
}

impl RunProof {
    /// Parses a proof.
    ///
    /// # Errors
    /// The bytes are not the proof of a run.
    pub fn parse(bytes: &[u8]) -> Result<RunProof, RunProofError> {
        if bytes.len() > MAX_RUN_PROOF_BYTES {
            return Err(RunProofError::TooLarge(bytes.len()));
        }
        let mut text = std::str::from_utf8(bytes).map_err(|_| RunProofError::Header)?;
        if take_line(&mut text) != Some(HEADER) {
            return Err(RunProofError::Header);
        }
        let mut lines = Lines { text, number: 1 };
        let mut leaves = Vec::new();
        while let Some(base64) = lines.take_if("extra ") {
            let leaf =
                decode_base64(base64).filter(|leaf| !leaf.is_empty() && leaves.len() < MAX_RUN_RECORDS);
            let leaf = leaf.ok_or(RunProofError::Line(lines.number))?;
            let index = lines.index().map_err(RunProofError::Line)?;
            leaves.push(RunLeaf { leaf, index, path: lines.path() });
        }
        if leaves.is_empty() {
            return Err(RunProofError::Line(lines.number + 1));
        }
        lines.empty().map_err(RunProofError::Line)?;
        let checkpoint = Note::parse(lines.text.as_bytes())?;
        Ok(RunProof { leaves, checkpoint })
    }

    /// Verifies the checkpoint against the policy, the path of each record, and that each record continues the one before
    /// it.
    ///
    /// # Errors
    /// The proof does not hold.
    pub fn verify(&self, policy: &Policy) -> Result<ProvenRun, RunProofError> {
        let trusted = policy.evaluate(&self.checkpoint)?;
        let (size, root) = (trusted.checkpoint().size(), trusted.checkpoint().root());
        let mut records: Vec<AuditRecord> = Vec::with_capacity(self.leaves.len());
        let mut indexes: Vec<u64> = Vec::with_capacity(self.leaves.len());
        for RunLeaf { leaf, index, path } in &self.leaves {
            verify_inclusion(TreeHash::of_leaf(leaf), *index, size, path, root)
                .map_err(|source| RunProofError::Path { index: *index, source })?;
            let Ok(Leaf::Record(record)) = Leaf::parse(leaf) else {
                return Err(RunProofError::NotARecord(*index));
            };
            if let Some((before, at)) = records.last().zip(indexes.last())
                && !(at < index && continues(before, &record))
            {
                return Err(RunProofError::NotNext(*index));
            }
            records.push(record);
            indexes.push(*index);
        }
        Ok(ProvenRun { records, indexes, checkpoint: trusted })
    }
}

fn continues(before: &AuditRecord, record: &AuditRecord) -> bool {
    record.device_id == before.device_id
        && before.sequence.checked_add(1) == Some(record.sequence)
        && record.prev_record_hash == before.hash()
}

/// Formats the bytes that [`RunProof::parse`] reads.
impl fmt::Display for RunProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        for RunLeaf { leaf, index, path } in &self.leaves {
            writeln!(f, "extra {}\nindex {index}", encode_base64(leaf))?;
            path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}
