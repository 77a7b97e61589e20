//! Time stamps of checkpoints (docs/reference/log.md, "Time stamps").

use std::sync::Arc;

use edgesentry_chain::{Finding, FindingCode, Location, TimeStamp};
use edgesentry_log::Note;
use edgesentry_timestamp::{Expected, StampError, verify_stamp};

pub use edgesentry_timestamp::{CertificatesError, MAX_CERTIFICATES_BYTES, TrustedRoots};
pub(crate) use edgesentry_timestamp::{ClaimedCertificates, MAX_STAMP_BYTES};

/// The verification of the time stamps of a checkpoint.
#[derive(Clone, Debug)]
pub struct StampCheck<'a> {
    expected: Expected,
    roots: &'a TrustedRoots,
    claimed: Option<&'a ClaimedCertificates>,
}

impl<'a> StampCheck<'a> {
    /// Starts the verification of stamps of a checkpoint.
    pub fn new(checkpoint: &Note, roots: &'a TrustedRoots) -> StampCheck<'a> {
        let expected = Expected { imprint: checkpoint.stamp_imprint(), nonce: None };
        StampCheck { expected, roots, claimed: None }
    }

    /// Expects the answer to a request with this nonce.
    #[must_use]
    pub fn with_nonce(mut self, nonce: Option<u64>) -> StampCheck<'a> {
        self.expected.nonce = nonce;
        self
    }

    /// Completes chains with certificates of the side under test.
    #[must_use]
    pub(crate) fn with_claimed(self, claimed: Option<&'a ClaimedCertificates>) -> StampCheck<'a> {
        StampCheck { claimed, ..self }
    }

    /// Verifies the stamp in a file.
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn verify(&self, file: &str, stamp: &[u8]) -> Result<TimeStamp, StampError> {
        let none = ClaimedCertificates::default();
        let claimed = self.claimed.unwrap_or(&none);
        let stamp = verify_stamp(stamp, &self.expected, self.roots, claimed)?;
        Ok(TimeStamp {
            file: file.to_owned(),
            authority: stamp.authority,
            serial: stamp.serial,
            time_ms: stamp.time_ms,
            before_ms: stamp.before_ms,
        })
    }

    /// Verifies the stamp in a file, and adds it to the valid ones or its finding to the others.
    pub(crate) fn judge(&self, file: &Arc<str>, stamp: &[u8], judged: &mut (Vec<TimeStamp>, Vec<Finding>)) {
        match self.verify(file, stamp) {
            Ok(stamp) => judged.0.push(stamp),
            Err(error) => {
                let expected = "a time stamp of this checkpoint by a trusted authority";
                let mut finding = Finding::new(FindingCode::TimestampInvalid, expected, error.to_string());
                finding.location = Some(Location { input: Arc::clone(file), record: 0 });
                judged.1.push(finding);
            }
        }
    }
}
