//! Checkpoints (C2SP tlog-checkpoint) and their cosignatures (C2SP tlog-cosignature).

use std::fmt;

use crate::hash::{MAX_SIZE, TreeHash};
use crate::key::SignerKey;
use crate::note::{Note, NoteError, NoteSignature};
use crate::text::{parse_decimal, take_line};

/// The maximum length of an origin.
pub const MAX_ORIGIN_BYTES: usize = 255;

/// The reason why a text is not a checkpoint, or cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The origin is empty, too long, or has a control character.
    #[error("the origin of a checkpoint has 1 to {MAX_ORIGIN_BYTES} bytes and no control character")]
    Origin,
    /// Not three lines: origin, size, root.
    #[error(
        "a checkpoint is three lines, origin, size in decimal and root in canonical base64, each ended by a line feed"
    )]
    Form,
    /// Lines follow the root.
    #[error("the checkpoint has extension lines, which are not accepted")]
    Extension,
    /// More leaves than a tree can have.
    #[error("the checkpoint has size {0}, the limit is 2^63 - 1")]
    Size(u64),
    /// Size 0 with a root other than that of the empty tree.
    #[error("the checkpoint has size 0 but not the root of the empty tree")]
    EmptyRoot,
    /// The name of the signing key differs from that of the log.
    #[error("the key {key} cannot sign a checkpoint of {origin}: the name of a log's key is its origin")]
    KeyName {
        /// The name of the key.
        key: String,
        /// The origin of the checkpoint.
        origin: String,
    },
    /// It cannot be signed, or its note is damaged.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// The size and root of a log at one time. [`Policy::evaluate`](crate::Policy::evaluate) decides whether it is trusted.
///
/// ```
/// use edgesentry_log::{Checkpoint, KeyType, SignerKey, TreeHash};
/// let text = "log.example/lifts\n1\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n";
/// let checkpoint = Checkpoint::parse(text)?;
/// assert_eq!(checkpoint, Checkpoint::new("log.example/lifts", 1, TreeHash::of_leaf(b""))?);
/// assert_eq!(checkpoint.to_string(), text);
///
/// let witness = SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [8; 32])?;
/// let line = checkpoint.cosign(&witness, 1_800_000_000)?;
/// assert!(line.to_string().starts_with("— witness.example "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: TreeHash,
}

impl Checkpoint {
    /// Creates the checkpoint of the log named `origin`.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`], [`CheckpointError::Size`], [`CheckpointError::EmptyRoot`].
    pub fn new(origin: &str, size: u64, root: TreeHash) -> Result<Checkpoint, CheckpointError> {
        if origin.is_empty() || origin.len() > MAX_ORIGIN_BYTES || origin.contains(char::is_control) {
            return Err(CheckpointError::Origin);
        }
        if size > MAX_SIZE {
            return Err(CheckpointError::Size(size));
        }
        if size == 0 && root != TreeHash::EMPTY {
            return Err(CheckpointError::EmptyRoot);
        }
        Ok(Checkpoint { origin: origin.to_owned(), size, root })
    }

    /// Parses the text of a note. Extension lines are rejected.
    ///
    /// # Errors
    /// The text is not a checkpoint.
    pub fn parse(text: &str) -> Result<Checkpoint, CheckpointError> {
        let (origin, size, root) = Checkpoint::lines(text)?;
        Checkpoint::new(origin, size, root)
    }

    /// Returns the values of the three lines.
    pub(crate) fn lines(mut text: &str) -> Result<(&str, u64, TreeHash), CheckpointError> {
        let mut line = || take_line(&mut text).ok_or(CheckpointError::Form);
        let (origin, size, root) = (line()?, line()?, line()?);
        let size = parse_decimal(size).ok_or(CheckpointError::Form)?;
        let root = root.parse().map_err(|_| CheckpointError::Form)?;
        if !text.is_empty() {
            return Err(CheckpointError::Extension);
        }
        Ok((origin, size, root))
    }

    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> TreeHash {
        self.root
    }

    /// Returns the note with the signature of the log.
    ///
    /// # Errors
    /// [`CheckpointError::KeyName`] if the key belongs to another log; [`CheckpointError::Note`].
    pub fn sign(&self, key: &SignerKey) -> Result<Note, CheckpointError> {
        let name = key.verifier().name();
        if name != self.origin {
            return Err(CheckpointError::KeyName { key: name.to_owned(), origin: self.origin.clone() });
        }
        Ok(Note::sign(&self.to_string(), key)?)
    }

    /// Returns the cosignature of a witness, at a time in Unix seconds: a line for the note.
    ///
    /// # Errors
    /// [`NoteError::WrongType`] if the key does not make cosignatures; [`NoteError::Time`].
    pub fn cosign(&self, key: &SignerKey, time: u64) -> Result<NoteSignature, NoteError> {
        Note::cosignature(&self.to_string(), key, time)
    }
}

/// Formats the signed text: three lines.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}
