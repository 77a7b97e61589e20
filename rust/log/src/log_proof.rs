//! Proofs that a leaf is in a log (C2SP tlog-proof).

use std::fmt;

use crate::hash::TreeHash;
use crate::note::{Note, NoteError};
use crate::policy::{Policy, PolicyError, TrustedCheckpoint};
use crate::proof::{MAX_PATH, ProofError, verify_inclusion};
use crate::text::{decode_base64, encode_base64, parse_decimal, take_line};

/// The maximum size of a proof: a leaf in base64, 63 hashes and a note.
pub const MAX_PROOF_BYTES: usize = 256 << 10;
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The reason why a proof cannot be read or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogProofError {
    /// Larger than [`MAX_PROOF_BYTES`].
    #[error("the proof has {0} bytes, the limit is {MAX_PROOF_BYTES}")]
    TooLarge(usize),
    /// The first line is not that of a proof.
    #[error("the first line of a proof is {HEADER}")]
    Header,
    /// A line between the first one and the checkpoint is wrong.
    #[error(
        "line {0} of the proof is malformed or out of place; a proof has `extra BASE64` (if any), `index N`, hashes, an \
         empty line"
    )]
    Line(usize),
    /// The checkpoint is not a note.
    #[error("the checkpoint of the proof cannot be read: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint is not trusted.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The path does not lead from the leaf to the root of the checkpoint.
    #[error(transparent)]
    Path(#[from] ProofError),
    /// The proof contains no leaf, and the caller provided none.
    #[error("the proof has no extra line with the leaf that it proves")]
    NoLeaf,
}

/// The place of a leaf in a log, its path to the root, and the signed checkpoint with that root.
///
/// Our proofs have the whole leaf in `extra`. It is a claim until its hash has led to the root: see
/// [`LogProof::verify`].
///
/// ```
/// use edgesentry_log::{Checkpoint, KeyType, LogProof, Policy, SignerKey, TreeHash};
/// // A log of two leaves.
/// let (first, second) = (TreeHash::of_leaf(b"first"), TreeHash::of_leaf(b"second"));
/// let key = SignerKey::from_seed("log.example/lifts", KeyType::Ed25519, [7; 32])?;
/// let checkpoint = Checkpoint::new("log.example/lifts", 2, TreeHash::of_node(&first, &second))?.sign(&key)?;
/// let proof = LogProof { extra: Some(b"second".to_vec()), index: 1, path: vec![first], checkpoint };
///
/// let policy = Policy::parse(format!("log {}\nquorum none\n", key.verifier()).as_bytes())?;
/// let proof = LogProof::parse(proof.to_string().as_bytes())?;
/// let (leaf, trusted) = proof.verify_extra(&policy)?;
/// assert_eq!((leaf, trusted.checkpoint().size()), (b"second".as_slice(), 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogProof {
    /// The content of the `extra` line; none if the line is empty, and then it is not written.
    pub extra: Option<Vec<u8>>,
    /// The index of the leaf.
    pub index: u64,
    /// The hashes from the sibling of the leaf up.
    pub path: Vec<TreeHash>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

impl LogProof {
    /// Parses a proof.
    ///
    /// # Errors
    /// The bytes are not a proof.
    pub fn parse(bytes: &[u8]) -> Result<LogProof, LogProofError> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(LogProofError::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| LogProofError::Header)?;
        LogProof::parse_lines(text, 1)
    }

    /// Parses a proof up to the end of a text; its next line has number `first`.
    pub(crate) fn parse_lines(mut text: &str, first: usize) -> Result<LogProof, LogProofError> {
        if take_line(&mut text) != Some(HEADER) {
            return Err(LogProofError::Header);
        }
        let mut lines = Lines { text, number: first };
        let extra = match lines.take_if("extra ") {
            Some(base64) => {
                let extra = decode_base64(base64).filter(|extra| !extra.is_empty());
                Some(extra.ok_or(LogProofError::Line(lines.number))?)
            }
            None => None,
        };
        let index = lines.index().map_err(LogProofError::Line)?;
        let path = lines.path();
        lines.empty().map_err(LogProofError::Line)?;
        let checkpoint = Note::parse(lines.text.as_bytes())?;
        Ok(LogProof { extra, index, path, checkpoint })
    }

    /// Verifies the checkpoint against the policy, and the path from `leaf` (the bytes of the leaf) to its root.
    ///
    /// # Errors
    /// [`LogProofError::Policy`] or [`LogProofError::Path`].
    pub fn verify(&self, leaf: &[u8], policy: &Policy) -> Result<TrustedCheckpoint, LogProofError> {
        let trusted = policy.evaluate(&self.checkpoint)?;
        let checkpoint = trusted.checkpoint();
        verify_inclusion(
            TreeHash::of_leaf(leaf),
            self.index,
            checkpoint.size(),
            &self.path,
            checkpoint.root(),
        )?;
        Ok(trusted)
    }

    /// Verifies the leaf in the proof, like [`LogProof::verify`], and returns it.
    ///
    /// # Errors
    /// See [`LogProof::verify`]; [`LogProofError::NoLeaf`].
    pub fn verify_extra(&self, policy: &Policy) -> Result<(&[u8], TrustedCheckpoint), LogProofError> {
        let leaf = self.extra.as_deref().ok_or(LogProofError::NoLeaf)?;
        Ok((leaf, self.verify(leaf, policy)?))
    }
}

/// A cursor over the lines of a proof. An error is a line number.
pub(crate) struct Lines<'a> {
    /// The remaining lines.
    pub(crate) text: &'a str,
    /// The number of the last line read.
    pub(crate) number: usize,
}

impl<'a> Lines<'a> {
    /// Returns the rest of the next line if it starts with `prefix`.
    pub(crate) fn take_if(&mut self, prefix: &str) -> Option<&'a str> {
        let mut rest = self.text.strip_prefix(prefix)?;
        let line = take_line(&mut rest)?;
        self.text = rest;
        self.number += 1;
        Some(line)
    }

    /// Reads the rest of the next line with `read`; the line must start with `prefix`.
    pub(crate) fn expect<T>(
        &mut self,
        prefix: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, usize> {
        let number = self.number + 1;
        self.take_if(prefix).and_then(read).ok_or(number)
    }

    /// Reads `index N`.
    pub(crate) fn index(&mut self) -> Result<u64, usize> {
        self.expect("index ", parse_decimal)
    }

    /// Reads hashes, one per line, up to a line that is not a hash.
    pub(crate) fn path(&mut self) -> Vec<TreeHash> {
        let mut path = Vec::new();
        while path.len() < MAX_PATH {
            let mut rest = self.text;
            let Some(Ok(hash)) = take_line(&mut rest).map(str::parse) else { break };
            path.push(hash);
            self.text = rest;
            self.number += 1;
        }
        path
    }

    /// Reads an empty line.
    pub(crate) fn empty(&mut self) -> Result<(), usize> {
        self.expect("", |line| line.is_empty().then_some(()))
    }
}

/// Formats the bytes that [`LogProof::parse`] reads.
impl fmt::Display for LogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = self.extra.as_deref().filter(|extra| !extra.is_empty()) {
            writeln!(f, "extra {}", encode_base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
