//! Time stamps in a build without the feature `timestamps`: no file has roots, so no stamp is verified.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use edgesentry_chain::{Finding, TimeStamp};
use edgesentry_log::Note;

/// The maximum size of a file of certificates.
pub const MAX_CERTIFICATES_BYTES: usize = 1 << 20;
/// The maximum size of a stamp.
pub(crate) const MAX_STAMP_BYTES: usize = 64 << 10;

/// The reason why a file of certificates is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this build cannot verify time stamps; build with --features timestamps")]
#[non_exhaustive]
pub struct CertificatesError;

/// The certificates that an auditor trusts; it has no value in this build.
#[derive(Clone, Debug)]
pub struct TrustedRoots(Infallible);

impl TrustedRoots {
    /// Refuses every file.
    ///
    /// # Errors
    /// Always.
    pub fn from_pem(_: &[u8]) -> Result<TrustedRoots, CertificatesError> {
        Err(CertificatesError)
    }
}

/// Certificates from the side under test.
#[derive(Clone, Debug)]
pub(crate) struct ClaimedCertificates(Infallible);

impl ClaimedCertificates {
    pub(crate) fn from_pem(_: &[u8]) -> Result<ClaimedCertificates, CertificatesError> {
        Err(CertificatesError)
    }
}

/// The verification of the time stamps of a checkpoint; it has no value in this build.
#[derive(Clone, Debug)]
pub struct StampCheck<'a>(Infallible, PhantomData<&'a ()>);

impl<'a> StampCheck<'a> {
    pub(crate) fn new(_: &Note, roots: &'a TrustedRoots) -> StampCheck<'a> {
        StampCheck(roots.0, PhantomData)
    }

    pub(crate) fn with_claimed(self, claimed: Option<&'a ClaimedCertificates>) -> StampCheck<'a> {
        claimed.map_or(self, |claimed| StampCheck(claimed.0, PhantomData))
    }

    pub(crate) fn judge(&self, _: &Arc<str>, _: &[u8], _: &mut (Vec<TimeStamp>, Vec<Finding>)) {
        match self.0 {}
    }
}
