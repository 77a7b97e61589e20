//! The publishers that a device trusts, and the check of their signatures.

use edgesentry_chain::{PublicKey, Signed, verify_signature};

use crate::manifest::{MAX_NAME_BYTES, Manifest, Signature, SignedManifest, check_name};
use crate::refusal::Refusal;

/// The largest number of keys of a trust.
pub const MAX_KEYS: usize = 32;

/// The publishers of one product: so many of these keys must have signed. It is part of the firmware, or of a partition
/// that only the vendor writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trust {
    name: String,
    threshold: usize,
    keys: Vec<PublicKey>,
}

/// A trust that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The name of the product has other characters or another length.
    #[error("the name of a product is 1 to {MAX_NAME_BYTES} letters, digits, '.', '_' and '-', not {0:?}")]
    Name(String),
    /// The threshold is 0, or above the number of keys.
    #[error("expected a threshold from 1 to the number of keys, which is {keys}, got {threshold}")]
    Threshold {
        /// The threshold.
        threshold: usize,
        /// The number of keys.
        keys: usize,
    },
    /// A key is there twice; its owner would count twice.
    #[error("publisher key {0} is listed twice")]
    KeyTwice(String),
    /// Too many keys.
    #[error("a trust has at most {MAX_KEYS} publisher keys")]
    TooManyKeys,
}

impl Trust {
    /// Creates a trust: `threshold` of `keys` must have signed an update of product `name`.
    ///
    /// # Errors
    /// The name, the threshold or the keys cannot be used.
    pub fn new(
        name: impl Into<String>,
        threshold: usize,
        keys: impl IntoIterator<Item = PublicKey>,
    ) -> Result<Trust, TrustError> {
        let name = name.into();
        check_name(&name).map_err(TrustError::Name)?;
        let mut known: Vec<PublicKey> = Vec::new();
        for key in keys {
            if known.contains(&key) {
                return Err(TrustError::KeyTwice(key.to_string()));
            }
            if known.len() == MAX_KEYS {
                return Err(TrustError::TooManyKeys);
            }
            known.push(key);
        }
        if threshold == 0 || threshold > known.len() {
            return Err(TrustError::Threshold { threshold, keys: known.len() });
        }
        Ok(Trust { name, threshold, keys: known })
    }

    /// Returns the name of the product.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of signatures that are required.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Returns the keys of the publishers.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Checks product and signatures. Signatures by other keys do not count, and do no harm.
    ///
    /// # Errors
    /// [`Refusal::OtherName`], [`Refusal::Untrusted`].
    pub fn check(&self, signed: &SignedManifest) -> Result<Trusted, Refusal> {
        let manifest = signed.manifest();
        if manifest.name != self.name {
            return Err(Refusal::OtherName { expected: self.name.clone(), actual: manifest.name.clone() });
        }
        let message = manifest.signed_message();
        // A file has each key once, so each key counts once.
        let is_valid = |signature: &&Signature| {
            let key = self.keys.iter().find(|key| *key.as_bytes() == signature.key);
            key.is_some_and(|key| {
                verify_signature(&Signed { key, message: &message, signature: &signature.bytes })
            })
        };
        let valid = signed.signatures().iter().filter(is_valid).count();
        if valid < self.threshold {
            return Err(Refusal::Untrusted { valid, threshold: self.threshold });
        }
        Ok(Trusted { manifest: manifest.clone(), valid })
    }
}

/// A manifest of the device's product that enough publishers have signed. Only [`Trust::check`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trusted {
    manifest: Manifest,
    valid: usize,
}

impl Trusted {
    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the number of trusted publishers that have signed.
    pub fn signatures(&self) -> usize {
        self.valid
    }
}
