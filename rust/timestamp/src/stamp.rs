//! The verification of a stamp, step by step.

use std::fmt;

use crate::certificate::Certificate;
use crate::pem::{ClaimedCertificates, TrustedRoots};
use crate::read::{self, SET};
use crate::signer::{SHA_256, SignedBy, attributes};
use crate::token::{Answer, Content, SignerId, Token};
use crate::{MAX_STAMP_BYTES, chain};

/// The expectations of a verifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// The SHA-256 of the stamped bytes.
    pub imprint: [u8; 32],
    /// The number in the request; a verifier that did not ask has none.
    pub nonce: Option<u64>,
}

/// A valid stamp.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stamp {
    /// The time in the stamp, Unix milliseconds, rounded up.
    pub time_ms: u64,
    /// The stamped bytes existed before this time: the time in the stamp and its accuracy, Unix milliseconds.
    pub before_ms: u64,
    /// The subject of the signer's certificate.
    pub authority: String,
    /// The serial number of the stamp in hex.
    pub serial: String,
}

/// The reason why a stamp is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StampProblem {
    /// S1, S2, S4, S5: not a stamp.
    Malformed,
    /// S3: the authority has refused the request.
    NotGranted,
    /// S6: a stamp of something else.
    OtherImprint,
    /// S7: the answer to another request.
    OtherNonce,
    /// S8: an algorithm that is not accepted.
    Algorithm,
    /// S9: signed attributes that are missing or wrong.
    Attributes,
    /// S10: the certificate of the signer is missing.
    NoSigner,
    /// S11: the stamp names another certificate than that of the signer.
    OtherSigner,
    /// S12: the certificate is not one of a time stamping authority.
    Usage,
    /// S13: the signature is wrong.
    Signature,
    /// S14: no chain to a root.
    Untrusted,
}

impl StampProblem {
    /// Returns the stable name of the reason.
    pub fn code(self) -> &'static str {
        match self {
            StampProblem::Malformed => "malformed",
            StampProblem::NotGranted => "not_granted",
            StampProblem::OtherImprint => "other_imprint",
            StampProblem::OtherNonce => "other_nonce",
            StampProblem::Algorithm => "algorithm",
            StampProblem::Attributes => "attributes",
            StampProblem::NoSigner => "no_signer",
            StampProblem::OtherSigner => "other_signer",
            StampProblem::Usage => "usage",
            StampProblem::Signature => "signature",
            StampProblem::Untrusted => "untrusted",
        }
    }
}

/// A stamp that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StampError {
    /// The reason.
    pub problem: StampProblem,
    detail: String,
}

impl StampError {
    fn new(problem: StampProblem, detail: impl fmt::Display) -> StampError {
        StampError { problem, detail: detail.to_string() }
    }
}

impl fmt::Display for StampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem.code(), self.detail)
    }
}

impl std::error::Error for StampError {}

/// Verifies a stamp. `claimed` are certificates of the side under test, which only complete chains.
///
/// # Errors
/// The first reason to refuse it.
pub fn verify_stamp(
    stamp: &[u8],
    expected: &Expected,
    trusted: &TrustedRoots,
    claimed: &ClaimedCertificates,
) -> Result<Stamp, StampError> {
    use StampProblem::*;
    let malformed =
        |error: read::Malformed| StampError::new(Malformed, format!("it is not a time stamp: {error}"));
    if stamp.is_empty() || stamp.len() > MAX_STAMP_BYTES {
        let detail = format!("it has {} bytes, expected 1 to {MAX_STAMP_BYTES}", stamp.len());
        return Err(StampError::new(Malformed, detail));
    }
    let answer = Answer::parse(stamp).map_err(malformed)?;
    if !answer.is_granted() {
        let status = hex(answer.status);
        return Err(StampError::new(NotGranted, format!("the authority answered with the status {status}")));
    }
    let token = answer.token().map_err(malformed)?;
    let content = Content::parse(token.content).map_err(malformed)?;
    let is_sha_256 = content.algorithm.id == SHA_256 && content.algorithm.is_plain();
    if !is_sha_256 || content.imprint != expected.imprint {
        return Err(StampError::new(OtherImprint, "it is a stamp of something else"));
    }
    if expected.nonce.is_some_and(|nonce| !content.has_nonce(nonce)) {
        return Err(StampError::new(OtherNonce, "it is the answer to another request"));
    }
    let authority = verify_token(&token, content.seconds, trusted, claimed)?;
    Ok(Stamp {
        time_ms: content.time_ms,
        before_ms: content.time_ms.saturating_add(content.accuracy_ms),
        authority,
        serial: hex(content.serial),
    })
}

/// Verifies the signature of a token (S8 to S14), and returns the name of its signer.
fn verify_token(
    token: &Token<'_>,
    at: u64,
    trusted: &TrustedRoots,
    claimed: &ClaimedCertificates,
) -> Result<String, StampError> {
    use StampProblem::*;
    let refused = |problem, detail: &str| StampError::new(problem, detail);
    let signer = &token.signer;
    let signed_by = SignedBy::of_signer(signer)
        .ok_or_else(|| refused(Algorithm, "the algorithms of its signature are not accepted"))?;
    let signed = signer.attributes.ok_or_else(|| refused(Attributes, "it has no signed attributes"))?;
    let digests = attributes(signed, signed_by, token.content)
        .map_err(|error| StampError::new(Attributes, format!("its signed attributes are wrong: {error}")))?;
    let embedded = Certificate::usable(token.certificates.iter().copied());
    let known: Vec<&Certificate> = embedded.iter().chain(&trusted.certificates).chain(&claimed.0).collect();
    let is_named = |certificate: &&Certificate| match signer.id {
        SignerId::IssuerAndSerial(issuer, serial) => certificate.is_named(issuer, serial),
        SignerId::KeyIdentifier(identifier) => certificate.has_key_identifier(identifier),
    };
    let mut named = known.iter().copied().filter(is_named).peekable();
    if named.peek().is_none() {
        return Err(refused(NoSigner, "the certificate of its signer is missing"));
    }
    let certificate = named
        .find(|certificate| digests.iter().all(|digest| digest.is_of(certificate)))
        .ok_or_else(|| refused(OtherSigner, "it names another certificate than that of its signer"))?;
    if !certificate.only_stamps() {
        return Err(refused(Usage, "the certificate of its signer is not for time stamps alone"));
    }
    // Signed as a SET: the tag in the token is that of the field.
    let message = [&[SET][..], &signed.whole[1..]].concat();
    if !certificate.has_signed(signed_by, &message, signer.signature) {
        return Err(refused(Signature, "its signature is not valid"));
    }
    chain::verify(certificate, &known, trusted, at)
        .map_err(|error| StampError::new(Untrusted, format!("no chain leads to a trusted root: {error}")))?;
    Ok(certificate.name())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
