//! Checkpoints (C2SP tlog-checkpoint) and their cosignatures (C2SP tlog-cosignature).

use std::fmt;

use crate::hash::{MAX_SIZE, TreeHash};
use crate::key::SignerKey;
use crate::note::{Note, NoteError, NoteSignature};
use crate::text::{parse_decimal, take_line};

/// The longest origin.
pub const MAX_ORIGIN_BYTES: usize = 255;

/// Why a text is not a checkpoint, or cannot be signed.
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
    /// Lines behind the root.
    #[error("the checkpoint has extension lines, which are not accepted")]
    Extension,
    /// More leaves than a tree can have.
    #[error("the checkpoint has size {0}, the limit is 2^63 - 1")]
    Size(u64),
    /// Size 0 with the root of another tree.
    #[error("the checkpoint has size 0 and not the root of the empty tree")]
    EmptyRoot,
    /// The key that signs has another name than the log.
    #[error("the key {key} cannot sign a checkpoint of {origin}: the name of a log's key is its origin")]
    KeyName {
        /// The name of the key.
        key: String,
        /// The origin of the checkpoint.
        origin: String,
    },
    /// It cannot be signed, or the note around it is damaged.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// The size and root of a log at one time. Who can be trusted with it is decided by
/// [`Policy::evaluate`](crate::Policy::evaluate).
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
    /// The checkpoint of a log, which `origin` names.
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

    /// Reads the text of a note. Extension lines are refused.
    ///
    /// # Errors
    /// The text is not a checkpoint.
    pub fn parse(mut text: &str) -> Result<Checkpoint, CheckpointError> {
        let mut line = || take_line(&mut text).ok_or(CheckpointError::Form);
        let (origin, size, root) = (line()?, line()?, line()?);
        let size = parse_decimal(size).ok_or(CheckpointError::Form)?;
        let root = root.parse().map_err(|_| CheckpointError::Form)?;
        if !text.is_empty() {
            return Err(CheckpointError::Extension);
        }
        Checkpoint::new(origin, size, root)
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub fn root(&self) -> TreeHash {
        self.root
    }

    /// The note with the log's signature.
    ///
    /// # Errors
    /// [`CheckpointError::KeyName`] if the key is not of this log; [`CheckpointError::Note`].
    pub fn sign(&self, key: &SignerKey) -> Result<Note, CheckpointError> {
        let name = key.verifier().name();
        if name != self.origin {
            return Err(CheckpointError::KeyName { key: name.to_owned(), origin: self.origin.clone() });
        }
        Ok(Note::sign(&self.to_string(), key)?)
    }

    /// The cosignature of a witness, at a time in Unix seconds: a line for the note.
    ///
    /// # Errors
    /// [`NoteError::WrongType`] for a key that is not of cosignatures; [`NoteError::Time`].
    pub fn cosign(&self, key: &SignerKey, time: u64) -> Result<NoteSignature, NoteError> {
        Note::cosignature(&self.to_string(), key, time)
    }
}

/// The text that is signed: three lines.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}
