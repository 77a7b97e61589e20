//! The signature of a token: algorithms, signed attributes.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Encode, Error, ErrorKind, Tag};
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use rustls_pki_types::SignatureVerificationAlgorithm;
use webpki::EndEntityCert;
use webpki::ring::{
    ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
};

use crate::certificate::Certificate;
use crate::read::{self, Algorithm, expect, fields, members, only, optional, sequence};
use crate::token::{CONTENT_TYPE, SHA_256, Signer};

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const SHA_384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");
const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
const SHA_256_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.11");
const SHA_384_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.12");
const SHA_512_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.13");
const ECDSA_WITH_SHA_256: ObjectIdentifier = oid("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA_384: ObjectIdentifier = oid("1.2.840.10045.4.3.3");

const CONTENT_TYPE_ATTRIBUTE: ObjectIdentifier = oid("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = oid("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE: ObjectIdentifier = oid("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = oid("1.2.840.113549.1.9.16.2.47");

/// The algorithms of a signature, one for each type of keys.
type Signatures = &'static [&'static dyn SignatureVerificationAlgorithm];

static RSA_SHA_256: Signatures = &[RSA_PKCS1_2048_8192_SHA256];
static RSA_SHA_384: Signatures = &[RSA_PKCS1_2048_8192_SHA384];
static RSA_SHA_512: Signatures = &[RSA_PKCS1_2048_8192_SHA512];
static ECDSA_SHA_256: Signatures = &[ECDSA_P256_SHA256, ECDSA_P384_SHA256];
static ECDSA_SHA_384: Signatures = &[ECDSA_P256_SHA384, ECDSA_P384_SHA384];

/// The digest of a signer, and the algorithms that its signature may have, by the type of its key.
pub(crate) struct Algorithms {
    digest: &'static digest::Algorithm,
    signatures: Signatures,
}

impl Algorithms {
    /// Returns the algorithms of a signer if they are accepted.
    pub(crate) fn of(signer: &Signer<'_>) -> Option<Algorithms> {
        let digest = digest_of(&signer.digest)?;
        let (rsa, with_rsa, ecdsa): (_, _, Option<(_, Signatures)>) = match signer.digest.oid {
            SHA_256 => (RSA_SHA_256, SHA_256_WITH_RSA, Some((ECDSA_WITH_SHA_256, ECDSA_SHA_256))),
            SHA_384 => (RSA_SHA_384, SHA_384_WITH_RSA, Some((ECDSA_WITH_SHA_384, ECDSA_SHA_384))),
            _ => (RSA_SHA_512, SHA_512_WITH_RSA, None),
        };
        let algorithm = &signer.algorithm;
        let is_rsa = algorithm.oid == RSA || algorithm.oid == with_rsa;
        match ecdsa {
            _ if is_rsa && algorithm.is_plain() => Some(Algorithms { digest, signatures: rsa }),
            Some((oid, signatures)) if algorithm.oid == oid && algorithm.has_no_parameters() => {
                Some(Algorithms { digest, signatures })
            }
            _ => None,
        }
    }

    /// Returns whether a signature is one of the certificate's key over the attributes.
    pub(crate) fn verify(&self, certificate: &Certificate, signer: &Signer<'_>) -> bool {
        let Ok(key) = EndEntityCert::try_from(&certificate.der) else { return false };
        // Signed as a SET: the tag in the token is that of the field.
        let attributes =
            signer.attributes.and_then(|attributes| AnyRef::new(Tag::Set, attributes.value()).ok());
        let Some(Ok(message)) = attributes.map(|attributes| attributes.to_der()) else { return false };
        let holds = |algorithm: &&dyn SignatureVerificationAlgorithm| {
            key.verify_signature(*algorithm, &message, signer.signature).is_ok()
        };
        self.signatures.iter().any(holds)
    }
}

fn digest_of(algorithm: &Algorithm<'_>) -> Option<&'static digest::Algorithm> {
    if !algorithm.is_plain() {
        return None;
    }
    match algorithm.oid {
        SHA_256 => Some(&SHA256),
        SHA_384 => Some(&SHA384),
        SHA_512 => Some(&SHA512),
        _ => None,
    }
}

/// The digest of a certificate in `signingCertificate` or `signingCertificateV2`.
pub(crate) struct CertificateDigest<'a> {
    algorithm: &'static digest::Algorithm,
    digest: &'a [u8],
}

impl CertificateDigest<'_> {
    pub(crate) fn is_of(&self, certificate: &Certificate) -> bool {
        digest::digest(self.algorithm, &certificate.der).as_ref() == self.digest
    }
}

/// Reads the signed attributes, compares type and digest of the content, and returns the digests of the certificate.
pub(crate) fn attributes<'a>(
    signer: &Signer<'a>,
    algorithms: &Algorithms,
    content: &[u8],
) -> Result<Vec<CertificateDigest<'a>>, Error> {
    let failed = || Error::from(ErrorKind::Failed);
    let (mut is_type, mut is_digest) = (None, None);
    let (mut first, mut second) = (None, None);
    for attribute in members(signer.attributes.ok_or_else(failed)?, usize::MAX)? {
        let (oid, values) =
            fields(sequence(attribute)?, |reader| Ok((read::oid(reader)?, expect(reader, Tag::Set)?)))?;
        let repeated = match oid {
            CONTENT_TYPE_ATTRIBUTE => {
                let value = only(values)?.decode_as::<ObjectIdentifier>()?;
                is_type.replace(value == CONTENT_TYPE).is_some()
            }
            MESSAGE_DIGEST => {
                let value = only(values)?.decode_as::<&der::asn1::OctetStringRef>()?;
                let digest = digest::digest(algorithms.digest, content);
                is_digest.replace(value.as_bytes() == digest.as_ref()).is_some()
            }
            SIGNING_CERTIFICATE => first.replace(certificate_digest(only(values)?, false)?).is_some(),
            SIGNING_CERTIFICATE_V2 => second.replace(certificate_digest(only(values)?, true)?).is_some(),
            _ => false,
        };
        if repeated {
            return Err(failed());
        }
    }
    let digests: Vec<CertificateDigest<'_>> = first.into_iter().chain(second).collect();
    if is_type == Some(true) && is_digest == Some(true) && !digests.is_empty() {
        Ok(digests)
    } else {
        Err(failed())
    }
}

/// Reads the first id of a `SigningCertificate` or `SigningCertificateV2`.
fn certificate_digest(value: AnyRef<'_>, is_second: bool) -> Result<CertificateDigest<'_>, Error> {
    let ids = fields(sequence(value)?, |reader| {
        let ids = expect(reader, Tag::Sequence)?;
        optional(reader, Tag::Sequence)?;
        Ok(ids)
    })?;
    let ids = members(ids, usize::MAX)?;
    let id = ids.first().ok_or(ErrorKind::Failed)?;
    fields(sequence(*id)?, |reader| {
        let has_algorithm = is_second && Tag::peek(reader)? == Tag::Sequence;
        let algorithm = match (has_algorithm, is_second) {
            (true, _) => digest_of(&Algorithm::read(reader)?).ok_or(ErrorKind::Failed)?,
            (false, true) => &SHA256,
            (false, false) => &SHA1_FOR_LEGACY_USE_ONLY,
        };
        let digest = expect(reader, Tag::OctetString)?.value();
        optional(reader, Tag::Sequence)?;
        Ok(CertificateDigest { algorithm, digest })
    })
}
