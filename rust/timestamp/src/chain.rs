//! Chains from the signer of a stamp to a root.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::ring::{
    ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS, RSA_PKCS1_2048_8192_SHA512,
    RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

use crate::certificate::Certificate;

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

/// The content of the DER of id-kp-timeStamping.
const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// Verifies that a chain leads from a signer through `others` to one of the roots at a time, Unix seconds.
pub(crate) fn verify(
    signer: &Certificate,
    others: &[&Certificate],
    roots: &[Certificate],
    at: u64,
) -> Result<(), String> {
    if !signer.is_valid_at(at) {
        return Err("the certificate of the signer is not valid at the time of the stamp".to_owned());
    }
    // webpki ignores the usage of keys.
    let others: Vec<CertificateDer<'_>> =
        others.iter().filter(|other| other.issues()).map(|other| other.der.clone()).collect();
    let mut problem = "no root is valid at the time of the stamp".to_owned();
    for root in roots.iter().filter(|root| root.is_valid_at(at) && root.issues()) {
        match leads(signer, &others, root, at) {
            Ok(()) => return Ok(()),
            Err(error) => problem = error.to_string(),
        }
    }
    Err(problem)
}

fn leads(
    signer: &Certificate,
    others: &[CertificateDer<'_>],
    root: &Certificate,
    at: u64,
) -> Result<(), Error> {
    let signer = EndEntityCert::try_from(&signer.der)?;
    let anchor = [anchor_from_trusted_cert(&root.der)?];
    signer.verify_for_usage(
        CERTIFICATE_ALGORITHMS,
        &anchor,
        others,
        UnixTime::since_unix_epoch(Duration::from_secs(at)),
        KeyUsage::required_if_present(TIME_STAMPING),
        None,
        Some(&|path| {
            let between = path.intermediate_certificates().count();
            if root.allows(between) { Ok(()) } else { Err(Error::PathLenConstraintViolated) }
        }),
    )?;
    Ok(())
}
