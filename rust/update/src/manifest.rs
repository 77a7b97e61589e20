//! The manifest of an update, its file and its signatures (docs/reference/update.md).

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use edgesentry_chain::canonical::{CanonicalError, Output, Reader, write_text, write_varint};
use edgesentry_chain::{Hash, KeyError, PublicKey, SEED_BYTES, Signer, SignerError, sign_with};
use zeroize::Zeroizing;

use crate::refusal::Refusal;

/// The first bytes of a file: its kind and version.
const MAGIC: &[u8; 8] = b"edsupd1\n";
/// The first bytes of a signed message. With them it is longer than the 32 bytes that devices sign, so that a signature
/// of one role is never valid in the other, even under the same key.
pub const MESSAGE_PREFIX: &[u8; 21] = b"edgesentry-update/v1\n";
/// The size of a signed message, in bytes.
pub const MESSAGE_BYTES: usize = MESSAGE_PREFIX.len() + 32;
/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// The largest number of signatures in a file.
pub const MAX_SIGNATURES: usize = 32;
/// The largest file, in bytes.
pub const MAX_MANIFEST_BYTES: usize =
    8 + 2 + MAX_NAME_BYTES + 4 * 10 + 32 + 1 + MAX_SIGNATURES * SIGNATURE_BYTES;
/// A public key and a signature.
const SIGNATURE_BYTES: usize = 32 + 64;

/// What the publishers state about one image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The product: 1 to 128 letters, digits, `.`, `_` and `-`. A device accepts only updates of its own product.
    pub name: String,
    /// The version, a number that grows with each release.
    pub version: u64,
    /// BLAKE3 of the image.
    pub image_hash: Hash,
    /// The size of the image, in bytes.
    pub image_size_bytes: u64,
    /// The lowest version that a device accepts after this update.
    pub minimum_version: u64,
    /// The time from which a device refuses the manifest, Unix milliseconds.
    pub expires_ms: u64,
}

/// A manifest that cannot be written or signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The name has other characters or another length.
    #[error("the name of an update is 1 to {MAX_NAME_BYTES} letters, digits, '.', '_' and '-', not {0:?}")]
    Name(String),
    /// A version is 0, or the minimum version is above the version.
    #[error(
        "expected 1 <= minimum version <= version, got version {version} and minimum version {minimum_version}"
    )]
    Version {
        /// The version.
        version: u64,
        /// The minimum version.
        minimum_version: u64,
    },
    /// The image is empty.
    #[error("the image is empty")]
    Empty,
    /// The file has no room for another signature.
    #[error("a manifest has at most {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// The key has already signed.
    #[error("key {0} has already signed this manifest")]
    SignedBefore(String),
    /// The seed makes a weak key.
    #[error("the key of a publisher")]
    Key(#[from] KeyError),
    /// The signer of a publisher failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// Returns true if `name` is suitable as the name of a product.
pub fn is_valid_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(plain)
}

/// Checks the name of a product; the error has the beginning of the name.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if is_valid_name(name) { Ok(()) } else { Err(name.chars().take(MAX_NAME_BYTES).collect()) }
}

impl Manifest {
    fn check(&self) -> Result<(), ManifestError> {
        check_name(&self.name).map_err(ManifestError::Name)?;
        if self.minimum_version == 0 || self.minimum_version > self.version {
            let (version, minimum_version) = (self.version, self.minimum_version);
            return Err(ManifestError::Version { version, minimum_version });
        }
        if self.image_size_bytes == 0 { Err(ManifestError::Empty) } else { Ok(()) }
    }

    fn write(&self, out: &mut impl Output) {
        out.write_bytes(MAGIC);
        write_text(out, &self.name);
        write_varint(out, self.version);
        out.write_bytes(self.image_hash.as_bytes());
        write_varint(out, self.image_size_bytes);
        write_varint(out, self.minimum_version);
        write_varint(out, self.expires_ms);
    }

    /// Returns the message that a publisher signs: [`MESSAGE_PREFIX`], and BLAKE3 of the file before its signatures.
    pub fn signed_message(&self) -> [u8; MESSAGE_BYTES] {
        let mut hasher = blake3::Hasher::new();
        self.write(&mut hasher);
        let mut message = [0; MESSAGE_BYTES];
        message[..MESSAGE_PREFIX.len()].copy_from_slice(MESSAGE_PREFIX);
        message[MESSAGE_PREFIX.len()..].copy_from_slice(hasher.finalize().as_bytes());
        message
    }
}

/// The private key of a publisher. Zeroized on drop and never displayed.
#[derive(Clone)]
pub struct PublisherKey(Key);

// There are a few of them.
#[allow(clippy::large_enum_variant)]
#[derive(Clone)]
enum Key {
    Seed(SigningKey),
    Signer(Arc<dyn Signer>),
}

impl PublisherKey {
    /// Creates the key from its seed.
    pub fn from_seed(seed: [u8; SEED_BYTES]) -> PublisherKey {
        let seed = Zeroizing::new(seed);
        PublisherKey(Key::Seed(SigningKey::from_bytes(&seed)))
    }

    /// Creates the key from a signer: a token, another process.
    pub fn from_signer(signer: Arc<dyn Signer>) -> PublisherKey {
        PublisherKey(Key::Signer(signer))
    }

    /// Returns the public key, for the trust of the devices.
    ///
    /// # Errors
    /// The seed makes a weak key.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        match &self.0 {
            Key::Seed(key) => PublicKey::from_bytes(key.verifying_key().to_bytes()),
            Key::Signer(signer) => Ok(*signer.public_key()),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        match &self.0 {
            Key::Seed(key) => Ok(key.sign(message).to_bytes()),
            Key::Signer(signer) => sign_with(&**signer, message),
        }
    }
}

impl fmt::Debug for PublisherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublisherKey(redacted)")
    }
}

/// One signature of a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Signature {
    /// The public key, as the file has it: only a key of the trust counts.
    pub(crate) key: [u8; 32],
    pub(crate) bytes: [u8; 64],
}

/// A manifest with signatures. Nothing is verified yet: see [`Trust::check`](crate::Trust::check).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedManifest {
    manifest: Manifest,
    /// In ascending order of keys, each key once.
    signatures: Vec<Signature>,
}

impl SignedManifest {
    /// Takes a manifest without signatures.
    ///
    /// # Errors
    /// A field is out of its range.
    pub fn new(manifest: Manifest) -> Result<SignedManifest, ManifestError> {
        manifest.check()?;
        Ok(SignedManifest { manifest, signatures: Vec::new() })
    }

    /// Adds the signature of a publisher.
    ///
    /// # Errors
    /// The key is weak or has signed already, there is no room, or the signer of the key failed.
    pub fn sign(&mut self, key: &PublisherKey) -> Result<(), ManifestError> {
        let public = key.public_key()?;
        let at = match self.signatures.binary_search_by_key(public.as_bytes(), |signature| signature.key) {
            Ok(_) => return Err(ManifestError::SignedBefore(public.to_string())),
            Err(at) => at,
        };
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(ManifestError::TooManySignatures);
        }
        let bytes = key.sign(&self.manifest.signed_message())?;
        self.signatures.insert(at, Signature { key: *public.as_bytes(), bytes });
        Ok(())
    }

    /// Returns the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 + self.signatures.len() * SIGNATURE_BYTES);
        self.manifest.write(&mut bytes);
        write_varint(&mut bytes, self.signatures.len() as u64);
        for signature in &self.signatures {
            bytes.extend_from_slice(&signature.key);
            bytes.extend_from_slice(&signature.bytes);
        }
        bytes
    }

    /// Reads a file. Each manifest has one encoding; all others are refused.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<SignedManifest, Refusal> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(malformed(&format_args!(
                "it has {} bytes, at most {MAX_MANIFEST_BYTES} are allowed",
                bytes.len()
            )));
        }
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(malformed(&"it does not begin with \"edsupd1\" and a line end"));
        };
        let signed = read(rest).map_err(|error| malformed(&error))?;
        signed.manifest.check().map_err(|error| malformed(&error))?;
        if signed.signatures.len() > MAX_SIGNATURES {
            return Err(malformed(&format_args!("it has more than {MAX_SIGNATURES} signatures")));
        }
        if !signed.signatures.is_sorted_by(|one, next| one.key < next.key) {
            return Err(malformed(&"its signatures are not in ascending order of their keys, each key once"));
        }
        Ok(signed)
    }

    /// Returns the manifest. It is a claim until [`Trust::check`](crate::Trust::check) has verified its signatures.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the public keys that claim to have signed, as the file has them.
    pub fn signers(&self) -> impl ExactSizeIterator<Item = &[u8; 32]> {
        self.signatures.iter().map(|signature| &signature.key)
    }

    pub(crate) fn signatures(&self) -> &[Signature] {
        &self.signatures
    }
}

fn malformed(problem: &dyn fmt::Display) -> Refusal {
    Refusal::Malformed(problem.to_string())
}

fn read(bytes: &[u8]) -> Result<SignedManifest, CanonicalError> {
    let mut reader = Reader::new(bytes);
    let manifest = Manifest {
        name: reader.text()?.to_owned(),
        version: reader.varint()?,
        image_hash: Hash(reader.array()?),
        image_size_bytes: reader.varint()?,
        minimum_version: reader.varint()?,
        expires_ms: reader.varint()?,
    };
    let count = reader.varint()?;
    let mut signatures = Vec::new();
    for _ in 0..count {
        // The bytes end before a count that is too large does.
        signatures.push(Signature { key: reader.array()?, bytes: reader.array()? });
    }
    reader.finish()?;
    Ok(SignedManifest { manifest, signatures })
}
