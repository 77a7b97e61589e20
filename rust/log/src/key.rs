//! Keys of signed notes: verifier keys (vkey) and signer keys.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey};
use edgesentry_chain::{KeyError, PublicKey, SEED_BYTES, Signed, Signer, SignerError, verify_signature};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::text::{decode_base64, encode_base64, is_key_name};

/// The algorithm of a key and the bytes it signs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum KeyType {
    /// 01: Ed25519 over the text of the note. The key of a log.
    Ed25519,
    /// 04: Ed25519 over `cosignature/v1`, a time and the text of a checkpoint. The key of a witness.
    CosignatureV1,
}

impl KeyType {
    /// Returns the byte before the public key in a vkey.
    pub fn byte(self) -> u8 {
        match self {
            KeyType::Ed25519 => 0x01,
            KeyType::CosignatureV1 => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Option<KeyType> {
        [KeyType::Ed25519, KeyType::CosignatureV1].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// The first four bytes of SHA-256 of name, line feed, type and public key; as text, 8 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    fn of(name: &str, kind: KeyType, public: &[u8; 32]) -> KeyId {
        let hash = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', kind.byte()])
            .chain_update(public)
            .finalize();
        KeyId([hash[0], hash[1], hash[2], hash[3]])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The reason why a text is not a key. No variant contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteKeyError {
    /// Not `NAME+ID+BASE64`, or not `PRIVATE+KEY+NAME+ID+BASE64`.
    #[error("expected {0}")]
    Form(&'static str),
    /// A name is empty or has a space, a control character or a plus sign.
    #[error(
        "{0:?} cannot be the name of a key: it must have characters, and no space, control character or plus sign"
    )]
    Name(String),
    /// The key id does not match name and key.
    #[error("the key id {actual} does not belong to the name and the key, expected {expected}")]
    Id {
        /// The id in the text.
        actual: KeyId,
        /// The id computed from name and key.
        expected: KeyId,
    },
    /// A signature algorithm that is not implemented.
    #[error("signature type {0:#04x} is not supported: use Ed25519 (0x01) or an Ed25519 cosignature (0x04)")]
    Type(u8),
    /// The public key is weak or not on the curve.
    #[error(transparent)]
    Key(#[from] KeyError),
}

const VERIFIER_FORM: &str =
    "a verifier key NAME+ID+BASE64 with 8 lower-case hex digits and canonical base64 of 33 bytes";
const SIGNER_FORM: &str =
    "a signer key PRIVATE+KEY+NAME+ID+BASE64 with 8 lower-case hex digits and canonical base64 of 33 bytes";
const SIGNER_PREFIX: &str = "PRIVATE+KEY+";

/// A public key with its name: a *vkey*, `NAME+ID+BASE64`.
///
/// ```
/// use edgesentry_log::VerifierKey;
/// let text = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
/// let key: VerifierKey = text.parse()?;
/// assert_eq!(key.name(), "example.com/foo");
/// assert_eq!(key.to_string(), text);
/// # Ok::<(), edgesentry_log::NoteKeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    kind: KeyType,
    key: PublicKey,
}

impl VerifierKey {
    /// Creates a key with a name.
    ///
    /// # Errors
    /// [`NoteKeyError::Name`].
    pub fn new(name: &str, kind: KeyType, key: PublicKey) -> Result<VerifierKey, NoteKeyError> {
        if !is_key_name(name) {
            return Err(NoteKeyError::Name(name.chars().take(80).collect()));
        }
        Ok(VerifierKey { name: name.to_owned(), id: KeyId::of(name, kind, key.as_bytes()), kind, key })
    }

    /// Returns the name; for a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the id at the start of its signatures.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the algorithm.
    pub fn kind(&self) -> KeyType {
        self.kind
    }

    /// Returns the public key without its name.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Verifies a signature by the predicate of docs/reference/spec.md, step 3.
    pub(crate) fn holds(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        verify_signature(&Signed { key: &self.key, message, signature })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.kind.byte()], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, encode_base64(&bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = NoteKeyError;

    fn from_str(text: &str) -> Result<VerifierKey, NoteKeyError> {
        let parts = KeyText::parse(text, VERIFIER_FORM)?;
        let key = VerifierKey::new(parts.name, parts.kind, PublicKey::from_bytes(*parts.bytes)?)?;
        check_id(parts.id, key.id)?;
        Ok(key)
    }
}

/// A private key with its name. The seed is zeroized on drop, and `Debug` never shows it.
///
/// ```
/// use edgesentry_log::{KeyType, SignerKey};
/// let key = SignerKey::from_seed("log.example/lifts", KeyType::Ed25519, [7; 32])?;
/// assert_eq!(SignerKey::parse(&key.secret_text())?.verifier(), key.verifier());
/// # Ok::<(), edgesentry_log::NoteKeyError>(())
/// ```
#[derive(Clone)]
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
}

impl SignerKey {
    /// Derives the key from a seed of 32 random bytes.
    ///
    /// # Errors
    /// [`NoteKeyError::Name`].
    pub fn from_seed(name: &str, kind: KeyType, seed: [u8; SEED_BYTES]) -> Result<SignerKey, NoteKeyError> {
        let seed = Zeroizing::new(seed);
        let key = SigningKey::from_bytes(&seed);
        let public = PublicKey::from_bytes(key.verifying_key().to_bytes())?;
        Ok(SignerKey { verifier: VerifierKey::new(name, kind, public)?, key })
    }

    /// Parses `PRIVATE+KEY+NAME+ID+BASE64`, the format of Go's `sumdb/note`.
    ///
    /// # Errors
    /// The text is not such a key.
    pub fn parse(text: &str) -> Result<SignerKey, NoteKeyError> {
        let rest = text.strip_prefix(SIGNER_PREFIX).ok_or(NoteKeyError::Form(SIGNER_FORM))?;
        let parts = KeyText::parse(rest, SIGNER_FORM)?;
        let key = SignerKey::from_seed(parts.name, parts.kind, *parts.bytes)?;
        check_id(parts.id, key.verifier.id)?;
        Ok(key)
    }

    /// Returns the text that [`SignerKey::parse`] reads. This text is secret.
    pub fn secret_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 33]);
        bytes[0] = self.verifier.kind.byte();
        bytes[1..].copy_from_slice(Zeroizing::new(self.key.to_bytes()).as_slice());
        let key = Zeroizing::new(encode_base64(bytes.as_slice()));
        Zeroizing::new(format!("{SIGNER_PREFIX}{}+{}+{}", self.verifier.name, self.verifier.id, key.as_str()))
    }

    /// Returns the public key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl Signer for SignerKey {
    fn public_key(&self) -> &PublicKey {
        self.verifier.key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        Ok(self.key.sign(message).to_bytes())
    }

    fn may_block(&self) -> bool {
        false
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerKey").field("verifier", &self.verifier).field("seed", &"redacted").finish()
    }
}

/// The parts of `NAME+ID+BASE64`. The bytes may be a seed.
struct KeyText<'a> {
    name: &'a str,
    id: KeyId,
    kind: KeyType,
    bytes: Zeroizing<[u8; 32]>,
}

impl<'a> KeyText<'a> {
    /// Splits at the first two plus signs: the base64 may contain more.
    fn parse(text: &'a str, form: &'static str) -> Result<KeyText<'a>, NoteKeyError> {
        let wrong = || NoteKeyError::Form(form);
        let (name, rest) = text.split_once('+').ok_or_else(wrong)?;
        let (id, key) = rest.split_once('+').ok_or_else(wrong)?;
        let mut id_bytes = [0; 4];
        hex::decode_to_slice(id, &mut id_bytes).map_err(|_| wrong())?;
        // Keys of other types are longer, but all are below 8 KiB.
        if id.bytes().any(|byte| byte.is_ascii_uppercase()) || key.len() > 8 << 10 {
            return Err(wrong());
        }
        let bytes = decode_base64(key).map(Zeroizing::new).ok_or_else(wrong)?;
        let (&kind, bytes) = bytes.split_first().ok_or_else(wrong)?;
        let kind = KeyType::from_byte(kind).ok_or(NoteKeyError::Type(kind))?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| wrong())?;
        Ok(KeyText { name, id: KeyId(id_bytes), kind, bytes: Zeroizing::new(bytes) })
    }
}

fn check_id(actual: KeyId, expected: KeyId) -> Result<(), NoteKeyError> {
    if actual == expected { Ok(()) } else { Err(NoteKeyError::Id { actual, expected }) }
}
