//! Keys, wherever they are kept: in memory, in a token, in another process.

use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use crate::device::SEED_BYTES;
use crate::key::{KeyError, PublicKey};
use crate::signature::{Signed, verify_signature};

/// A private key that signs by Ed25519. This crate does no I/O: `edgesentry-device` has signers for tokens and programs.
pub trait Signer: Send + Sync {
    /// Returns the public key, which never changes.
    fn public_key(&self) -> &PublicKey;

    /// Signs a message. Callers use [`sign_with`], which verifies the signature. A device signs messages of 32 bytes; the
    /// key of a successor also signs the statement of the succession, which is longer.
    ///
    /// # Errors
    /// The key cannot be used; the caller gets no signature.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError>;

    /// Returns true if a signature may take long, so that async code must sign on a thread that may block.
    fn may_block(&self) -> bool {
        true
    }
}

/// The reason why a signer gave no signature. It never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{signer}: {problem}")]
#[non_exhaustive]
pub struct SignerError {
    /// The key: a program, or a PKCS#11 URI without its query.
    pub signer: String,
    /// The failure, and what to do.
    pub problem: String,
    /// True if the same call may succeed later without a change of the configuration.
    pub retryable: bool,
}

impl SignerError {
    /// A failure that may pass: a token that is not attached, a program that takes too long.
    pub fn passing(signer: impl Into<String>, problem: impl Into<String>) -> SignerError {
        SignerError { signer: signer.into(), problem: problem.into(), retryable: true }
    }

    /// A failure that lasts until someone changes something: a wrong PIN, a key that does not exist.
    pub fn lasting(signer: impl Into<String>, problem: impl Into<String>) -> SignerError {
        SignerError { signer: signer.into(), problem: problem.into(), retryable: false }
    }
}

/// Signs a message, and verifies the signature: a token or a program may have another key, or be defective.
///
/// # Errors
/// The signer failed, or its signature does not hold under its public key.
pub fn sign_with(signer: &dyn Signer, message: &[u8]) -> Result<[u8; 64], SignerError> {
    let signature = signer.sign(message)?;
    let key = signer.public_key();
    if verify_signature(&Signed { key, message, signature: &signature }) {
        return Ok(signature);
    }
    let problem =
        "its signature does not hold under this public key, and nothing was signed; name the key that it has";
    Err(SignerError::lasting(format!("the signer of the key {key}"), problem))
}

/// A private key in memory. Its seed is zeroized on drop and never displayed.
#[derive(Clone)]
pub struct SeedSigner {
    key: SigningKey,
    public: PublicKey,
}

impl SeedSigner {
    /// Derives the key from its seed.
    ///
    /// # Errors
    /// The seed makes a weak key.
    pub fn new(seed: [u8; SEED_BYTES]) -> Result<SeedSigner, KeyError> {
        let seed = Zeroizing::new(seed);
        let key = SigningKey::from_bytes(&seed);
        let public = PublicKey::from_bytes(key.verifying_key().to_bytes())?;
        Ok(SeedSigner { key, public })
    }
}

impl Signer for SeedSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        Ok(self.key.sign(message).to_bytes())
    }

    fn may_block(&self) -> bool {
        false
    }
}

impl std::fmt::Debug for SeedSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeedSigner").field("public", &self.public).field("seed", &"redacted").finish()
    }
}
