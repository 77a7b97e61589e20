//! Signed notes (C2SP signed-note).

use std::fmt;

use sha2::{Digest, Sha256};

use crate::hash::MAX_SIZE;
use crate::key::{KeyId, KeyType, SignerKey, VerifierKey};
use crate::text::{decode_base64, encode_base64, is_key_name, take_line};

/// The maximum size of a note.
pub const MAX_NOTE_BYTES: usize = 128 << 10;
/// The maximum number of signature lines in a note.
pub const MAX_SIGNATURES: usize = 64;

/// The reason why a note cannot be read, signed or trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Larger than [`MAX_NOTE_BYTES`].
    #[error("the note has {0} bytes, the limit is {MAX_NOTE_BYTES}")]
    TooLarge(usize),
    /// Not UTF-8, or has a control character other than line feed.
    #[error("the note must be UTF-8 without control characters")]
    Characters,
    /// There is no empty line between text and signatures, or no line feed at the end.
    #[error("the note is not a text, an empty line and signature lines, each ended by a line feed")]
    Form,
    /// A line after the text is not a signature.
    #[error("line {0} after the text is not a signature line `— NAME BASE64` with canonical base64")]
    SignatureLine(usize),
    /// There are more signatures than [`MAX_SIGNATURES`].
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// Two signatures by one known key.
    #[error("the note has two signatures by {name} with key id {id}")]
    Repeated {
        /// The name of the key.
        name: String,
        /// Its id.
        id: KeyId,
    },
    /// Two known keys have the same name and id.
    #[error("two of the given keys have the name {name} and the key id {id}; rename one of them")]
    Ambiguous {
        /// The name of the keys.
        name: String,
        /// Their id.
        id: KeyId,
    },
    /// A signature has the name and id of a known key, but is not valid for this key and text.
    #[error("the signature by {name} with key id {id} is not valid for this text")]
    Invalid {
        /// The name of the key.
        name: String,
        /// Its id.
        id: KeyId,
    },
    /// No signature belongs to a known key.
    #[error("no signature of the note is by a known key")]
    NotTrusted,
    /// The key has the other type: a cosignature needs a time, a plain signature has none.
    #[error("the key {name} has signature type {kind:?}, which cannot sign this")]
    WrongType {
        /// The name of the key.
        name: String,
        /// Its type.
        kind: KeyType,
    },
    /// A time beyond 2^63 - 1 seconds.
    #[error("a cosignature cannot have the time {0}: at most 2^63 - 1 seconds")]
    Time(u64),
}

/// One signature line: the claimed signer and the bytes, not yet verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteSignature {
    name: String,
    id: KeyId,
    bytes: Vec<u8>,
}

impl NoteSignature {
    /// Signs the text of a note with the key of a log.
    ///
    /// # Errors
    /// [`NoteError::WrongType`] for a key of cosignatures.
    pub fn new(key: &SignerKey, text: &str) -> Result<NoteSignature, NoteError> {
        check_type(key, KeyType::Ed25519)?;
        Ok(NoteSignature::of(key.verifier(), key.sign(text.as_bytes())))
    }

    /// Returns the line of an Ed25519 signature that another program made with the key of a log.
    pub fn of(key: &VerifierKey, signature: [u8; 64]) -> NoteSignature {
        NoteSignature { name: key.name().to_owned(), id: key.id(), bytes: signature.to_vec() }
    }

    /// Parses one line without its line feed.
    ///
    /// # Errors
    /// [`NoteError::SignatureLine`], as line 1.
    pub fn parse(line: &str) -> Result<NoteSignature, NoteError> {
        if line.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge(line.len()));
        }
        signature_of(line).ok_or(NoteError::SignatureLine(1))
    }

    /// Returns the name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the id of the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the bytes after the key id; those of a cosignature start with the time.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "— {} {}", self.name, encode_base64(&[&self.id.0, self.bytes.as_slice()].concat()))
    }
}

/// A valid signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifiedSignature<'a> {
    /// The key.
    pub key: &'a VerifierKey,
    /// The time of a cosignature, Unix seconds by the clock of the signer; none for the signature of a log.
    pub time: Option<u64>,
}

/// A text and its signatures.
///
/// ```
/// use edgesentry_log::{Note, VerifierKey};
/// let text = "This is an example message.\n\n\
///     — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
/// let note = Note::parse(text.as_bytes())?;
/// assert_eq!(note.text(), "This is an example message.\n");
/// assert_eq!(note.to_string(), text);
///
/// let key: VerifierKey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k".parse()?;
/// assert_eq!(note.verify([&key])?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Signs a text, which must end with a line feed.
    ///
    /// # Errors
    /// [`NoteError::Form`], [`NoteError::Characters`], [`NoteError::TooLarge`]; [`NoteError::WrongType`] for a key of
    /// cosignatures.
    pub fn sign(text: &str, key: &SignerKey) -> Result<Note, NoteError> {
        Note::assemble(text, [NoteSignature::new(key, text)?])
    }

    /// Joins a text, which must end with a line feed, and signatures of it, at least one. Verifies none of them.
    ///
    /// # Errors
    /// [`NoteError::Form`], [`NoteError::Characters`], [`NoteError::TooLarge`], [`NoteError::Repeated`],
    /// [`NoteError::TooManySignatures`].
    pub fn assemble(
        text: &str,
        signatures: impl IntoIterator<Item = NoteSignature>,
    ) -> Result<Note, NoteError> {
        if !text.ends_with('\n') {
            return Err(NoteError::Form);
        }
        let mut note = Note { text: text.to_owned(), signatures: Vec::new() };
        for signature in signatures {
            note.add(signature)?;
        }
        // A text that ends with an empty line, for example, would be read as a shorter text.
        if Note::parse(note.to_string().as_bytes())? == note { Ok(note) } else { Err(NoteError::Form) }
    }

    /// Returns the bytes that time stamps of a checkpoint are of: the text, and the signatures whose name is the origin,
    /// the first line of the text. Cosignatures are not among them, so that later ones change no stamp.
    pub fn stamped(&self) -> String {
        let origin = self.text.lines().next().unwrap_or_default();
        let own = self.signatures.iter().filter(|signature| signature.name == origin).cloned();
        Note { text: self.text.clone(), signatures: own.collect() }.to_string()
    }

    /// Returns the SHA-256 of [`Note::stamped`], the imprint of time stamps.
    pub fn stamp_imprint(&self) -> [u8; 32] {
        Sha256::digest(self.stamped()).into()
    }

    /// Parses a note of at most [`MAX_NOTE_BYTES`].
    ///
    /// # Errors
    /// The bytes are not a note.
    pub fn parse(bytes: &[u8]) -> Result<Note, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge(bytes.len()));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Characters)?;
        if note.contains(|c: char| c.is_control() && c != '\n') {
            return Err(NoteError::Characters);
        }
        // The text may have empty lines; the last one ends it.
        let end = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, mut lines) = (&note[..=end], &note[end + 2..]);
        let mut signatures = Vec::new();
        while !lines.is_empty() {
            let line = take_line(&mut lines).ok_or(NoteError::Form)?;
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(signature_of(line).ok_or(NoteError::SignatureLine(signatures.len() + 1))?);
        }
        if signatures.is_empty() {
            return Err(NoteError::Form);
        }
        Ok(Note { text: text.to_owned(), signatures })
    }

    /// Returns the signed text, which ends with a line feed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the signature lines in order, none verified.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line without verification.
    ///
    /// # Errors
    /// [`NoteError::Repeated`], [`NoteError::TooManySignatures`], [`NoteError::TooLarge`]; the note is then unchanged.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.iter().any(|other| other.name == signature.name && other.id == signature.id) {
            return Err(NoteError::Repeated { name: signature.name, id: signature.id });
        }
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.push(signature);
        let size = self.to_string().len();
        if size > MAX_NOTE_BYTES {
            self.signatures.pop();
            return Err(NoteError::TooLarge(size));
        }
        Ok(())
    }

    /// Returns the same note with only the signature lines that `keep` accepts.
    pub fn retain(&self, mut keep: impl FnMut(&NoteSignature) -> bool) -> Note {
        let signatures = self.signatures.iter().filter(|signature| keep(signature)).cloned().collect();
        Note { text: self.text.clone(), signatures }
    }

    /// Returns the signature of a key over the text.
    ///
    /// # Errors
    /// [`NoteError::WrongType`] for a key of cosignatures.
    pub fn signature(&self, key: &SignerKey) -> Result<NoteSignature, NoteError> {
        NoteSignature::new(key, &self.text)
    }

    /// Returns the cosignature (cosignature/v1) of a key over the text, at a time in Unix seconds. The text must be
    /// that of a checkpoint; [`Checkpoint::cosign`](crate::Checkpoint::cosign) ensures this.
    pub(crate) fn cosignature(text: &str, key: &SignerKey, time: u64) -> Result<NoteSignature, NoteError> {
        check_type(key, KeyType::CosignatureV1)?;
        if time > MAX_SIZE {
            return Err(NoteError::Time(time));
        }
        let signature = key.sign(cosigned_message(text, time).as_bytes());
        let bytes = [time.to_be_bytes().as_slice(), &signature].concat();
        Ok(NoteSignature { name: key.verifier().name().to_owned(), id: key.verifier().id(), bytes })
    }

    /// Returns the signatures by `keys`, all of them valid. Lines of other keys are ignored.
    ///
    /// # Errors
    /// [`NoteError::Invalid`] or [`NoteError::Repeated`] if a line of a known key is damaged or repeated,
    /// [`NoteError::NotTrusted`] if no line belongs to a known key.
    pub fn verify<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a VerifierKey, IntoIter: Clone>,
    ) -> Result<Vec<VerifiedSignature<'a>>, NoteError> {
        let keys = keys.into_iter();
        let mut verified: Vec<VerifiedSignature<'a>> = Vec::new();
        for signature in &self.signatures {
            let named = |key: &&VerifierKey| key.name() == signature.name && key.id() == signature.id;
            let mut known = keys.clone().filter(named);
            let Some(key) = known.next() else { continue };
            let (name, id) = (signature.name.clone(), signature.id);
            if known.any(|other| other != key) {
                return Err(NoteError::Ambiguous { name, id });
            }
            if verified.iter().any(|other| other.key == key) {
                return Err(NoteError::Repeated { name, id });
            }
            let time = self.decide(key, &signature.bytes).ok_or(NoteError::Invalid { name, id })?;
            verified.push(VerifiedSignature { key, time });
        }
        if verified.is_empty() { Err(NoteError::NotTrusted) } else { Ok(verified) }
    }

    /// Returns `None` if the signature does not hold, or else its time, if its type has one.
    fn decide(&self, key: &VerifierKey, bytes: &[u8]) -> Option<Option<u64>> {
        match key.kind() {
            KeyType::Ed25519 => key.holds(self.text.as_bytes(), bytes.try_into().ok()?).then_some(None),
            KeyType::CosignatureV1 => {
                let (time, signature) = bytes.split_first_chunk()?;
                let time = u64::from_be_bytes(*time);
                let message = cosigned_message(&self.text, time);
                let holds = time <= MAX_SIZE && key.holds(message.as_bytes(), signature.try_into().ok()?);
                holds.then_some(Some(time))
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

fn cosigned_message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

fn check_type(key: &SignerKey, kind: KeyType) -> Result<(), NoteError> {
    let key = key.verifier();
    if key.kind() == kind {
        return Ok(());
    }
    Err(NoteError::WrongType { name: key.name().to_owned(), kind: key.kind() })
}

fn signature_of(line: &str) -> Option<NoteSignature> {
    let (name, base64) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = decode_base64(base64)?;
    let (id, bytes) = bytes.split_first_chunk()?;
    (is_key_name(name) && !bytes.is_empty()).then(|| NoteSignature {
        name: name.to_owned(),
        id: KeyId(*id),
        bytes: bytes.to_vec(),
    })
}
