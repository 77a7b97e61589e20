//! Tokens, in a build without the feature `pkcs11`.

use edgesentry_chain::{PublicKey, Signer, SignerError};

use super::{Pin, Pkcs11Uri};

/// A key in a token. This build has none.
#[derive(Debug)]
pub struct Pkcs11Signer(std::convert::Infallible);

impl Pkcs11Signer {
    /// Fails: this build has no PKCS#11.
    ///
    /// # Errors
    /// Always.
    pub fn open(uri: Pkcs11Uri, _: Option<Pin>) -> Result<Pkcs11Signer, SignerError> {
        Err(absent(&uri))
    }
}

impl Signer for Pkcs11Signer {
    fn public_key(&self) -> &PublicKey {
        match self.0 {}
    }

    fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignerError> {
        match self.0 {}
    }
}

/// Fails: this build has no PKCS#11.
///
/// # Errors
/// Always.
pub fn generate(uri: &Pkcs11Uri, _: Option<Pin>, _: &[u8]) -> Result<PublicKey, SignerError> {
    Err(absent(uri))
}

fn absent(uri: &Pkcs11Uri) -> SignerError {
    SignerError::lasting(uri.to_string(), "this build cannot use tokens; build with --features pkcs11")
}
