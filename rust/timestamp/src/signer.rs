//! Signatures: keys, algorithms, and the signed attributes of a token.

use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};

use crate::certificate::Certificate;
use crate::read::{
    Algorithm, Element, Fields, INTEGER, Malformed, OBJECT_ID, OCTET_STRING, SEQUENCE, SET, fields,
};
use crate::token::{CONTENT_TYPE, Signer};

pub(crate) const SHA_256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA_384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA_512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const SHA_256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const SHA_384_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12];
const SHA_512_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const ECDSA_WITH_SHA_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_WITH_SHA_384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
/// The curves, as whole elements.
const P_256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P_384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 34];

const CONTENT_TYPE_ATTRIBUTE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
const SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 12];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 47];

/// The lengths of keys of RSA, bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A hash that signatures may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn of(algorithm: &Algorithm<'_>) -> Option<Hash> {
        match algorithm.id {
            _ if !algorithm.is_plain() => None,
            SHA_256 => Some(Hash::Sha256),
            SHA_384 => Some(Hash::Sha384),
            SHA_512 => Some(Hash::Sha512),
            _ => None,
        }
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha256 => &SHA256,
            Hash::Sha384 => &SHA384,
            Hash::Sha512 => &SHA512,
        }
    }
}

/// An accepted algorithm of signatures, which fixes the kind of the key and the hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SignedBy {
    Rsa(Hash),
    Ecdsa(Hash),
}

impl SignedBy {
    /// Returns the algorithm that a certificate names.
    pub(crate) fn of(algorithm: &Algorithm<'_>) -> Option<SignedBy> {
        let found = match algorithm.id {
            SHA_256_WITH_RSA => SignedBy::Rsa(Hash::Sha256),
            SHA_384_WITH_RSA => SignedBy::Rsa(Hash::Sha384),
            SHA_512_WITH_RSA => SignedBy::Rsa(Hash::Sha512),
            ECDSA_WITH_SHA_256 => SignedBy::Ecdsa(Hash::Sha256),
            ECDSA_WITH_SHA_384 => SignedBy::Ecdsa(Hash::Sha384),
            _ => return None,
        };
        let is_accepted = match found {
            SignedBy::Rsa(_) => algorithm.is_plain(),
            SignedBy::Ecdsa(_) => algorithm.parameters.is_none(),
        };
        is_accepted.then_some(found)
    }

    /// Returns the algorithm of a signer, whose hash is that of its digest.
    pub(crate) fn of_signer(signer: &Signer<'_>) -> Option<SignedBy> {
        let hash = Hash::of(&signer.digest)?;
        let found = match signer.algorithm.id {
            RSA => signer.algorithm.is_plain().then_some(SignedBy::Rsa(hash)),
            _ => SignedBy::of(&signer.algorithm),
        };
        found.filter(|found| found.hash() == hash)
    }

    fn hash(self) -> Hash {
        match self {
            SignedBy::Rsa(hash) | SignedBy::Ecdsa(hash) => hash,
        }
    }
}

/// A key that signatures may have.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    Rsa(Vec<u8>),
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl Key {
    /// Parses a `SubjectPublicKeyInfo`.
    pub(crate) fn parse(info: Element<'_>) -> Result<Key, Malformed> {
        let (algorithm, bits) = info.fields(|fields| Ok((fields.algorithm()?, fields.whole_bytes()?)))?;
        let parameters = algorithm.parameters.map(|parameters| parameters.whole);
        match (algorithm.id, parameters) {
            (RSA, Some([5, 0])) => {
                let modulus = fields(bits, |outer| {
                    outer.inside(SEQUENCE, |numbers| {
                        let modulus = numbers.unsigned(INTEGER)?;
                        numbers.unsigned(INTEGER)?;
                        Ok(modulus)
                    })
                })?;
                let unused = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
                // ring rounds the length up to whole bytes.
                if !RSA_BITS.contains(&(8 * modulus.len() - unused)) {
                    return Err(Malformed("a key of RSA does not have 2,048 to 8,192 bits"));
                }
                Ok(Key::Rsa(bits.to_vec()))
            }
            (EC, Some(P_256)) => Ok(Key::P256(bits.to_vec())),
            (EC, Some(P_384)) => Ok(Key::P384(bits.to_vec())),
            _ => Err(Malformed("a key is neither one of RSA nor on P-256 or P-384")),
        }
    }

    /// Returns whether a signature is one of this key.
    pub(crate) fn has_signed(&self, signed_by: SignedBy, message: &[u8], signature: &[u8]) -> bool {
        let (algorithm, bytes): (&dyn VerificationAlgorithm, _) = match (self, signed_by) {
            (Key::Rsa(bytes), SignedBy::Rsa(Hash::Sha256)) => (&RSA_PKCS1_2048_8192_SHA256, bytes),
            (Key::Rsa(bytes), SignedBy::Rsa(Hash::Sha384)) => (&RSA_PKCS1_2048_8192_SHA384, bytes),
            (Key::Rsa(bytes), SignedBy::Rsa(Hash::Sha512)) => (&RSA_PKCS1_2048_8192_SHA512, bytes),
            (Key::P256(bytes), SignedBy::Ecdsa(Hash::Sha256)) => (&ECDSA_P256_SHA256_ASN1, bytes),
            (Key::P256(bytes), SignedBy::Ecdsa(Hash::Sha384)) => (&ECDSA_P256_SHA384_ASN1, bytes),
            (Key::P384(bytes), SignedBy::Ecdsa(Hash::Sha256)) => (&ECDSA_P384_SHA256_ASN1, bytes),
            (Key::P384(bytes), SignedBy::Ecdsa(Hash::Sha384)) => (&ECDSA_P384_SHA384_ASN1, bytes),
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, bytes).verify(message, signature).is_ok()
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

/// Reads the signed attributes (S9), compares type and digest of the content, and returns the digests of the
/// certificate.
pub(crate) fn attributes<'a>(
    attributes: Element<'a>,
    signed_by: SignedBy,
    content: &[u8],
) -> Result<Vec<CertificateDigest<'a>>, Malformed> {
    let (mut kind, mut digest) = (None, None);
    let (mut first, mut second) = (None, None);
    for attribute in Fields::of(attributes.content)? {
        if attribute.tag != SEQUENCE {
            return Err(Malformed("an attribute is not a SEQUENCE"));
        }
        let (id, values) =
            attribute.fields(|fields| Ok((fields.take(OBJECT_ID)?.content, fields.take(SET)?)))?;
        let slot = match id {
            CONTENT_TYPE_ATTRIBUTE => &mut kind,
            MESSAGE_DIGEST => &mut digest,
            SIGNING_CERTIFICATE => &mut first,
            SIGNING_CERTIFICATE_V2 => &mut second,
            _ => continue,
        };
        if slot.replace(values).is_some() {
            return Err(Malformed("an attribute is there twice"));
        }
    }
    let (Some(kind), Some(digest)) = (kind, digest) else {
        return Err(Malformed("the type or the digest of the content is missing"));
    };
    let hashed = digest::digest(signed_by.hash().algorithm(), content);
    if kind.fields(|values| values.take(OBJECT_ID))?.content != CONTENT_TYPE {
        return Err(Malformed("the type is not that of time stamps"));
    }
    if digest.fields(|values| values.take(OCTET_STRING))?.content != hashed.as_ref() {
        return Err(Malformed("the digest is not that of the content"));
    }
    let first = first.map(|values| certificate_digest(values, false)).transpose()?;
    let second = second.map(|values| certificate_digest(values, true)).transpose()?;
    match first.into_iter().chain(second).collect::<Vec<_>>() {
        digests if digests.is_empty() => Err(Malformed("the id of the certificate is missing")),
        digests => Ok(digests),
    }
}

/// Reads the first id of a `SigningCertificate` or `SigningCertificateV2`.
fn certificate_digest(values: Element<'_>, is_second: bool) -> Result<CertificateDigest<'_>, Malformed> {
    let ids = values.fields(|values| {
        values.inside(SEQUENCE, |fields| {
            let ids = fields.take(SEQUENCE)?;
            fields.optional(SEQUENCE);
            Ok(ids)
        })
    })?;
    Fields::of(ids.content)?.inside(SEQUENCE, |id| {
        let algorithm = match is_second {
            true if id.has(SEQUENCE) => Hash::of(&id.algorithm()?)
                .ok_or(Malformed("the algorithm of signingCertificateV2 is not accepted"))?
                .algorithm(),
            true => &SHA256,
            false => &SHA1_FOR_LEGACY_USE_ONLY,
        };
        let digest = id.take(OCTET_STRING)?.content;
        id.optional(SEQUENCE);
        Ok(CertificateDigest { algorithm, digest })
    })
}
