//! Chains from the signer of a stamp to a root (docs/reference/log.md, "Chains").

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::ring::{
    ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS, RSA_PKCS1_2048_8192_SHA512,
    RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

use crate::certificate::{Certificate, TIME_STAMPING};
use crate::pem::TrustedRoots;

/// The maximum number of certificates between the signer and the root.
const MAX_BETWEEN: u32 = 6;
/// The maximum number of signatures that a search verifies.
const MAX_SIGNATURES: u32 = 100;

/// The algorithms of signatures of certificates.
static CERTIFICATE_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    ECDSA_P256_SHA256,
    ECDSA_P256_SHA384,
    ECDSA_P384_SHA256,
    ECDSA_P384_SHA384,
    RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512,
    RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
];

/// A certificate to which a path leads from the signer.
struct Reached<'a> {
    certificate: &'a Certificate,
    /// The place of the one that it has issued; the signer has none.
    below: Option<usize>,
}

/// Verifies that a chain leads from a signer through `known` certificates to one of the roots at a time, Unix seconds.
pub(crate) fn verify(
    signer: &Certificate,
    known: &[&Certificate],
    trusted: &TrustedRoots,
    at: u64,
) -> Result<(), String> {
    if signer.is_ca() || !signer.is_valid_at(at) {
        return Err(
            "the certificate of the signer is one of a CA, or not valid at the time of the stamp".to_owned()
        );
    }
    let path = search(signer, known, trusted, at)?;
    confirm(&path, at).map_err(|error| error.to_string())
}

/// Searches breadth first; returns the shortest chain, from the signer to the root.
fn search<'a>(
    signer: &'a Certificate,
    known: &[&'a Certificate],
    trusted: &TrustedRoots,
    at: u64,
) -> Result<Vec<&'a Certificate>, String> {
    let mut issuers: Vec<&Certificate> = Vec::new();
    for &one in known {
        let is_candidate = one.is_valid_at(at) && !one.is_same_entity(signer);
        if is_candidate && issuers.iter().all(|other| other.der != one.der) {
            issuers.push(one);
        }
    }
    let mut reached = vec![Reached { certificate: signer, below: None }];
    let (mut level, mut left) = (0..1, MAX_SIGNATURES);
    for between in 0..=MAX_BETWEEN {
        let next = level.end;
        for below in level {
            let certificate = reached[below].certificate;
            let mut others = Vec::new();
            for issuer in issuers {
                let is_root = trusted.has_root(issuer);
                let is_possible = issuer.subject == certificate.issuer
                    && issuer.may_issue(between, is_root)
                    && (is_root || between < MAX_BETWEEN);
                if is_possible {
                    left = left.checked_sub(1).ok_or_else(|| {
                        format!("the search for a chain needs more than {MAX_SIGNATURES} signatures")
                    })?;
                }
                if !is_possible || !issuer.has_issued(certificate) {
                    others.push(issuer);
                    continue;
                }
                reached.push(Reached { certificate: issuer, below: Some(below) });
                if is_root {
                    return Ok(path(&reached));
                }
            }
            issuers = others;
        }
        level = next..reached.len();
    }
    Err("none of the certificates completes one".to_owned())
}

/// Returns the path to the last certificate that was reached.
fn path<'a>(reached: &[Reached<'a>]) -> Vec<&'a Certificate> {
    let last = reached.last();
    let mut path: Vec<&Certificate> =
        std::iter::successors(last, |one| one.below.map(|below| &reached[below]))
            .map(|one| one.certificate)
            .collect();
    path.reverse();
    path
}

/// Verifies a chain once more by another library, which gets the certificates of this chain alone.
fn confirm(path: &[&Certificate], at: u64) -> Result<(), Error> {
    let [signer, between @ .., root] = path else { return Err(Error::UnknownIssuer) };
    let signer = EndEntityCert::try_from(&signer.der)?;
    let anchor = [anchor_from_trusted_cert(&root.der)?];
    let between: Vec<CertificateDer<'_>> = between.iter().map(|one| one.der.clone()).collect();
    signer.verify_for_usage(
        CERTIFICATE_ALGORITHMS,
        &anchor,
        &between,
        UnixTime::since_unix_epoch(Duration::from_secs(at)),
        KeyUsage::required_if_present(TIME_STAMPING),
        None,
        None,
    )?;
    Ok(())
}
