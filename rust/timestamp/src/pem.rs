//! Files of certificates.

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::certificate::Certificate;

/// The maximum size of a file of certificates.
pub const MAX_CERTIFICATES_BYTES: usize = 1 << 20;
const MAX_CERTIFICATES: usize = 64;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The reason why a file of certificates is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificatesError {
    /// Too large, or too many certificates.
    #[error("a file of certificates has at most 1 MiB and {MAX_CERTIFICATES} certificates in PEM")]
    TooLarge,
    /// Not PEM.
    #[error("line {0} is not that of a certificate in PEM: expected base64 between `{BEGIN}` and `{END}`")]
    Malformed(usize),
    /// No certificate.
    #[error("there is no certificate in PEM; expected a block `{BEGIN}`")]
    Empty,
    /// A certificate that cannot be used.
    #[error("certificate {number} cannot be used: {problem}")]
    Unusable {
        /// Its number in the file, from 1 on.
        number: usize,
        /// The problem.
        problem: String,
    },
    /// No certificate is a root.
    #[error(
        "no certificate is a root, which has the same issuer and subject; add the certificate of the root"
    )]
    NoRoot,
}

/// The certificates that an auditor trusts: roots, and further ones that complete chains.
#[derive(Clone, Debug)]
pub struct TrustedRoots {
    /// All of them, in the order of the file.
    pub(crate) certificates: Vec<Certificate>,
}

impl TrustedRoots {
    /// Parses a file in PEM.
    ///
    /// # Errors
    /// The file is malformed, has a certificate that cannot be used, or no root.
    pub fn from_pem(file: &[u8]) -> Result<TrustedRoots, CertificatesError> {
        let mut certificates = Vec::new();
        for (number, der) in (1..).zip(blocks(file)?) {
            let certificate = Certificate::parse(&der)
                .map_err(|problem| CertificatesError::Unusable { number, problem: problem.to_string() })?;
            certificates.push(certificate);
        }
        if certificates.iter().any(Certificate::is_self_issued) {
            Ok(TrustedRoots { certificates })
        } else {
            Err(CertificatesError::NoRoot)
        }
    }

    /// Returns whether a certificate is one of the roots.
    pub(crate) fn has_root(&self, certificate: &Certificate) -> bool {
        certificate.is_self_issued() && self.certificates.iter().any(|one| one.der == certificate.der)
    }
}

/// Certificates from the side under test, which only complete chains.
#[derive(Clone, Default, Debug)]
pub struct ClaimedCertificates(pub(crate) Vec<Certificate>);

impl ClaimedCertificates {
    /// Parses a file in PEM, and leaves out certificates that cannot be used.
    ///
    /// # Errors
    /// The file is malformed.
    pub fn from_pem(file: &[u8]) -> Result<ClaimedCertificates, CertificatesError> {
        Ok(ClaimedCertificates(Certificate::usable(blocks(file)?.iter().map(Vec::as_slice))))
    }
}

/// Returns the content of the blocks of certificates.
fn blocks(file: &[u8]) -> Result<Vec<Vec<u8>>, CertificatesError> {
    if file.len() > MAX_CERTIFICATES_BYTES {
        return Err(CertificatesError::TooLarge);
    }
    let (mut blocks, mut open) = (Vec::new(), None::<(usize, Vec<u8>)>);
    for (number, line) in (1..).zip(file.split(|byte| *byte == b'\n')) {
        let line = &line[..line.iter().rposition(|byte| !b" \t\r".contains(byte)).map_or(0, |end| end + 1)];
        open = match open {
            None if line == BEGIN.as_bytes() => Some((number, Vec::new())),
            None => None,
            Some((_, base64)) if line == END.as_bytes() => {
                if blocks.len() == MAX_CERTIFICATES {
                    return Err(CertificatesError::TooLarge);
                }
                let der = BASE64_STANDARD.decode(base64);
                blocks.push(der.map_err(|_| CertificatesError::Malformed(number))?);
                None
            }
            Some((begin, mut base64)) => {
                if !line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)) {
                    return Err(CertificatesError::Malformed(number));
                }
                base64.extend_from_slice(line);
                Some((begin, base64))
            }
        };
    }
    match open {
        Some((begin, _)) => Err(CertificatesError::Malformed(begin)),
        None if blocks.is_empty() => Err(CertificatesError::Empty),
        None => Ok(blocks),
    }
}
