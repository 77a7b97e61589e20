//! Proofs that a log has only grown since an older checkpoint.

use std::fmt;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::TreeHash;
use crate::log_proof::{Lines, MAX_PROOF_BYTES};
use crate::note::{Note, NoteError};
use crate::policy::{Policy, PolicyError, TrustedCheckpoint};
use crate::proof::{ProofError, verify_consistency};
use crate::text::{parse_decimal, take_line};

const HEADER: &str = "edgesentry-consistency-proof@v1";

/// The reason why a consistency proof cannot be read or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsistencyProofError {
    /// Larger than [`MAX_PROOF_BYTES`].
    #[error("the consistency proof has {0} bytes, the limit is {MAX_PROOF_BYTES}")]
    TooLarge(usize),
    /// The first line is not the header of a consistency proof.
    #[error("the first line of a consistency proof is {HEADER}")]
    Header,
    /// A line between the first one and the checkpoint is wrong.
    #[error(
        "line {0} of the consistency proof is malformed or out of place; a consistency proof has `old SIZE`, hashes, an \
         empty line"
    )]
    Line(usize),
    /// The checkpoint is not a note.
    #[error("the checkpoint of the consistency proof cannot be read: {0}")]
    Note(#[from] NoteError),
    /// The older checkpoint is not trusted.
    #[error("the older checkpoint: {0}")]
    Older(PolicyError),
    /// The checkpoint in the proof is not trusted.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The text of the checkpoint in the proof is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoints belong to different logs.
    #[error("the older checkpoint is of log {older:?}, the proof of log {newer:?}")]
    OtherLog {
        /// The log of the older checkpoint.
        older: String,
        /// The log of the proof.
        newer: String,
    },
    /// The proof begins at another size than the older checkpoint.
    #[error(
        "the proof begins at size {proof}, and the older checkpoint has size {older}; it is the proof of another one"
    )]
    OtherSize {
        /// The size at which the proof begins.
        proof: u64,
        /// The size of the older checkpoint.
        older: u64,
    },
    /// The hashes do not lead to both roots.
    #[error(transparent)]
    Path(#[from] ProofError),
}

/// A proof that the log of a checkpoint extends the log of an older one: the older size, hashes, and the newer
/// checkpoint. The verifier supplies the older checkpoint.
///
/// ```
/// use edgesentry_log::{Checkpoint, ConsistencyProof, KeyType, Policy, SignerKey, Tree, TreeHash};
/// let key = SignerKey::from_seed("log.example/lifts", KeyType::Ed25519, [7; 32])?;
/// let mut tree = Tree::default();
/// let mut notes = Vec::new();
/// for n in 0..7_u8 {
///     tree.push(TreeHash::of_leaf(&[n]));
///     notes.push(Checkpoint::new("log.example/lifts", tree.size(), tree.root())?.sign(&key)?);
/// }
/// let proof = ConsistencyProof::new(3, notes[6].clone(), |node| tree.node(node))?;
/// let proof = ConsistencyProof::parse(proof.to_string().as_bytes())?;
///
/// let policy = Policy::parse(format!("log {}\nquorum none\n", key.verifier()).as_bytes())?;
/// let (older, newer) = proof.verify(&notes[2], &policy)?;
/// assert_eq!((older.checkpoint().size(), newer.checkpoint().size()), (3, 7));
/// assert!(proof.verify(&notes[3], &policy).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsistencyProof {
    /// The size of the older tree.
    pub old: u64,
    /// The hashes, in the order of RFC 6962.
    pub path: Vec<TreeHash>,
    /// The signed checkpoint of the newer tree.
    pub checkpoint: Note,
}

impl ConsistencyProof {
    /// Creates the proof from size `old` to the size of a checkpoint. `node` returns the hash of a perfect subtree.
    ///
    /// # Errors
    /// [`ConsistencyProofError::Checkpoint`], [`ConsistencyProofError::Path`].
    pub fn new(
        old: u64,
        checkpoint: Note,
        node: impl FnMut(crate::NodeId) -> Option<TreeHash>,
    ) -> Result<ConsistencyProof, ConsistencyProofError> {
        let size = Checkpoint::parse(checkpoint.text())?.size();
        let path = crate::consistency_path(old, size, node)?;
        Ok(ConsistencyProof { old, path, checkpoint })
    }

    /// Parses a proof.
    ///
    /// # Errors
    /// The bytes are not a consistency proof.
    pub fn parse(bytes: &[u8]) -> Result<ConsistencyProof, ConsistencyProofError> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(ConsistencyProofError::TooLarge(bytes.len()));
        }
        let mut text = std::str::from_utf8(bytes).map_err(|_| ConsistencyProofError::Header)?;
        if take_line(&mut text) != Some(HEADER) {
            return Err(ConsistencyProofError::Header);
        }
        let mut lines = Lines { text, number: 1 };
        let old = lines.expect("old ", parse_decimal).map_err(ConsistencyProofError::Line)?;
        let path = lines.path();
        lines.empty().map_err(ConsistencyProofError::Line)?;
        let checkpoint = Note::parse(lines.text.as_bytes())?;
        Ok(ConsistencyProof { old, path, checkpoint })
    }

    /// Verifies both checkpoints against the policy, and that the tree of the newer one extends that of `older`.
    /// Returns the older and the newer checkpoint.
    ///
    /// # Errors
    /// The proof does not hold.
    pub fn verify(
        &self,
        older: &Note,
        policy: &Policy,
    ) -> Result<(TrustedCheckpoint, TrustedCheckpoint), ConsistencyProofError> {
        let newer = policy.evaluate(&self.checkpoint)?;
        let older = policy.evaluate(older).map_err(ConsistencyProofError::Older)?;
        let (old, new) = (older.checkpoint(), newer.checkpoint());
        if old.origin() != new.origin() {
            let (older, newer) = (old.origin().to_owned(), new.origin().to_owned());
            return Err(ConsistencyProofError::OtherLog { older, newer });
        }
        if old.size() != self.old {
            return Err(ConsistencyProofError::OtherSize { proof: self.old, older: old.size() });
        }
        verify_consistency(old.size(), old.root(), new.size(), new.root(), &self.path)?;
        Ok((older, newer))
    }
}

/// Formats the bytes that [`ConsistencyProof::parse`] reads.
impl fmt::Display for ConsistencyProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nold {}", self.old)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
