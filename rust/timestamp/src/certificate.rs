//! Usable certificates.

use std::collections::HashSet;

use der::asn1::{ObjectIdentifier, OctetStringRef};
use der::oid::AssociatedOid;
use der::{Decode, Error, ErrorKind};
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints, SubjectKeyIdentifier,
};

/// id-kp-timeStamping.
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
/// The maximum length of a name in a report, characters.
const MAX_NAME: usize = 200;

/// A certificate that fulfils the rules for usable ones.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    /// The subject, for people.
    pub(crate) name: String,
    /// The content of the DER of issuer, subject and serial number.
    issuer: Vec<u8>,
    subject: Vec<u8>,
    serial: Vec<u8>,
    key_identifier: Option<Vec<u8>>,
    /// Unix seconds, both included.
    not_before: u64,
    not_after: u64,
    constraints: Option<BasicConstraints>,
    usage: Option<KeyUsage>,
    /// The purposes, and whether the extension is critical.
    purposes: Option<(bool, ExtendedKeyUsage)>,
}

impl Certificate {
    /// Parses a usable certificate.
    pub(crate) fn parse(der: &[u8]) -> Result<Certificate, String> {
        let owned = CertificateDer::from(der.to_vec());
        let raw = EndEntityCert::try_from(&owned).map_err(|error| error.to_string())?;
        let parsed = x509_cert::Certificate::from_der(der).map_err(|error| error.to_string())?;
        let tbs = parsed.tbs_certificate();
        let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
        let mut seen = HashSet::new();
        if !extensions.iter().all(|extension| seen.insert(extension.extn_id)) {
            return Err("it has an extension twice".to_owned());
        }
        if seen.contains(&NameConstraints::OID) {
            return Err("it has name constraints, which are not supported".to_owned());
        }
        let malformed = |error: Error| error.to_string();
        let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
        let identifier = find::<SubjectKeyIdentifier>(extensions).map_err(malformed)?;
        Ok(Certificate {
            name: tbs.subject().to_string().chars().take(MAX_NAME).collect(),
            issuer: raw.issuer().to_vec(),
            subject: raw.subject().to_vec(),
            serial: raw.serial().to_vec(),
            key_identifier: identifier.map(|(_, identifier)| identifier.0.into_bytes().into()),
            not_before: seconds(&tbs.validity().not_before),
            not_after: seconds(&tbs.validity().not_after),
            constraints: find(extensions).map_err(malformed)?.map(|(_, constraints)| constraints),
            usage: find(extensions).map_err(malformed)?.map(|(_, usage)| usage),
            purposes: find(extensions).map_err(malformed)?,
            der: owned.clone(),
        })
    }

    /// Parses the usable ones of certificates.
    pub(crate) fn usable<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Vec<Certificate> {
        ders.into_iter().filter_map(|der| Certificate::parse(der).ok()).collect()
    }

    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    pub(crate) fn is_named(&self, issuer: &[u8], serial: &[u8]) -> bool {
        self.issuer == issuer && self.serial == serial
    }

    pub(crate) fn has_key_identifier(&self, identifier: &[u8]) -> bool {
        self.key_identifier.as_deref() == Some(identifier)
    }

    pub(crate) fn is_valid_at(&self, seconds: u64) -> bool {
        (self.not_before..=self.not_after).contains(&seconds)
    }

    /// Returns whether the certificate may issue others.
    pub(crate) fn issues(&self) -> bool {
        self.constraints.as_ref().is_some_and(|constraints| constraints.ca)
            && self.usage.is_none_or(|usage| usage.0.contains(KeyUsages::KeyCertSign))
    }

    /// Returns whether so many certificates may be between this one and the signer.
    pub(crate) fn allows(&self, between: usize) -> bool {
        let limit = self.constraints.as_ref().and_then(|constraints| constraints.path_len_constraint);
        limit.is_none_or(|limit| between <= usize::from(limit))
    }

    /// Returns whether the certificate stamps and does nothing else.
    pub(crate) fn only_stamps(&self) -> bool {
        let signs = KeyUsages::DigitalSignature | KeyUsages::NonRepudiation;
        matches!(&self.purposes, Some((true, purposes)) if purposes.0 == [TIME_STAMPING])
            && self.usage.is_none_or(|usage| !usage.0.is_disjoint(signs))
    }
}

/// Returns an extension, and whether it is critical.
fn find<'a, T: Decode<'a, Error = Error> + AssociatedOid>(
    extensions: &'a [Extension],
) -> Result<Option<(bool, T)>, Error> {
    let Some(found) = extensions.iter().find(|extension| extension.extn_id == T::OID) else {
        return Ok(None);
    };
    let value: &OctetStringRef = (&found.extn_value).into();
    T::from_der(value.as_bytes())
        .map(|value| Some((found.critical, value)))
        .map_err(|_| Error::from(ErrorKind::Failed))
}
