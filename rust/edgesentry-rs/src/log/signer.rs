//! The signers of a log: keys in files, tokens and programs.

use std::fmt;
use std::sync::Arc;

use edgesentry_chain::{Signer, sign_with};
use edgesentry_log::{KeyType, NoteKeyError, NoteSignature, SignerKey, VerifierKey};

use super::LogError;

/// A signer of the log's checkpoints.
#[derive(Clone)]
pub struct LogSigner {
    key: VerifierKey,
    signer: Arc<dyn Signer>,
}

impl From<SignerKey> for LogSigner {
    fn from(key: SignerKey) -> LogSigner {
        LogSigner { key: key.verifier().clone(), signer: Arc::new(key) }
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSigner").field("key", &self.key).finish_non_exhaustive()
    }
}

impl LogSigner {
    /// Returns the signer of the log `origin`, with a key wherever it is.
    ///
    /// # Errors
    /// The origin cannot be the name of a key.
    pub fn new(origin: &str, signer: Arc<dyn Signer>) -> Result<LogSigner, NoteKeyError> {
        Ok(LogSigner { key: VerifierKey::new(origin, KeyType::Ed25519, *signer.public_key())?, signer })
    }

    /// Returns the public key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.key
    }

    /// Returns the signature of a text, which is verified.
    pub(super) async fn sign(&self, text: &str) -> Result<NoteSignature, LogError> {
        let signature = if self.signer.may_block() {
            let (signer, text) = (Arc::clone(&self.signer), text.to_owned());
            let signed = tokio::task::spawn_blocking(move || sign_with(&*signer, text.as_bytes())).await;
            signed.map_err(|_| LogError::Signer {
                signer: self.key.to_string(),
                problem: "its thread has panicked; please report it".to_owned(),
            })?
        } else {
            sign_with(&*self.signer, text.as_bytes())
        };
        let signature =
            signature.map_err(|error| LogError::Signer { signer: error.signer, problem: error.problem })?;
        Ok(NoteSignature::of(&self.key, signature))
    }
}

#[cfg(test)]
mod tests {
    use edgesentry_chain::{SeedSigner, SignerError};
    use edgesentry_log::Note;

    use super::*;

    const ORIGIN: &str = "log.example/lifts";
    const TEXT: &str = "log.example/lifts\n1\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n";

    /// A slow key, which fails or signs with another key.
    struct Slow(SeedSigner, Result<SeedSigner, SignerError>);

    impl Signer for Slow {
        fn public_key(&self) -> &edgesentry_chain::PublicKey {
            self.0.public_key()
        }

        fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
            self.1.clone()?.sign(message)
        }
    }

    #[tokio::test]
    async fn a_log_signs_with_a_key_wherever_it_is() {
        let seed = |byte: u8| SeedSigner::new([byte; 32]).unwrap();
        let signer = |by| LogSigner::new(ORIGIN, Arc::new(Slow(seed(7), by))).unwrap();
        let key = LogSigner::from(SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [7; 32]).unwrap());
        let own = signer(Ok(seed(7)));
        assert_eq!(own.verifier(), key.verifier());
        let signature = own.sign(TEXT).await.unwrap();
        assert_eq!(signature, key.sign(TEXT).await.unwrap());
        assert!(Note::assemble(TEXT, [signature]).unwrap().verify([own.verifier()]).is_ok());

        let locked = SignerError::lasting("pkcs11:token=t", "the PIN is locked");
        for (by, expected) in [(Err(locked), "the PIN is locked"), (Ok(seed(8)), "does not hold")] {
            let error = signer(by).sign(TEXT).await.unwrap_err();
            assert_eq!((error.code(), error.is_retryable()), ("log_signer", true));
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
