//! Usable certificates.

use std::collections::HashSet;

use rustls_pki_types::CertificateDer;

use crate::name;
use crate::read::{Fields, INTEGER, Malformed, OBJECT_ID, OCTET_STRING, SEQUENCE, context, fields, time};
use crate::signer::{Key, SignedBy};

/// The maximum size of a certificate, bytes.
const MAX_BYTES: usize = 1 << 16;
/// The maximum length of a serial number, bytes.
const MAX_SERIAL: usize = 21;

const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
const REVOCATION_LISTS: &[u8] = &[0x55, 0x1d, 31];
const PURPOSES: &[u8] = &[0x55, 0x1d, 37];
/// signedCertificateTimestampList.
const TRANSPARENCY: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2];
/// The extensions that may be critical.
const UNDERSTOOD: [&[u8]; 5] = [KEY_USAGE, ALTERNATIVE_NAME, BASIC_CONSTRAINTS, REVOCATION_LISTS, PURPOSES];
/// id-kp-timeStamping.
pub(crate) const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

// Bits of the first byte of `keyUsage`.
const DIGITAL_SIGNATURE: u8 = 0x80;
const NON_REPUDIATION: u8 = 0x40;
const KEY_CERT_SIGN: u8 = 0x04;

/// A certificate that fulfils the rules for usable ones.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    /// The bytes of issuer, subject and key as whole elements, and the content of the serial number.
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    key_info: Vec<u8>,
    serial: Vec<u8>,
    key: Option<Key>,
    /// The signed part, its signature, and the algorithm if it is accepted.
    signed: Vec<u8>,
    signature: Vec<u8>,
    signed_by: Option<SignedBy>,
    /// Unix seconds, both included.
    not_before: u64,
    not_after: u64,
    extensions: Extensions,
}

/// What a certificate says by its extensions.
#[derive(Clone, Default, Debug)]
struct Extensions {
    key_identifier: Option<Vec<u8>>,
    is_ca: bool,
    path_length: Option<u32>,
    /// The first byte of `keyUsage`.
    usage: Option<u8>,
    /// Whether the purposes are critical and time stamps alone.
    only_stamps: bool,
    /// Whether the purposes, if there are any, have time stamps.
    may_stamp: Option<bool>,
}

impl Certificate {
    /// Parses a usable certificate.
    pub(crate) fn parse(der: &[u8]) -> Result<Certificate, Malformed> {
        if der.len() > MAX_BYTES {
            return Err(Malformed("it has more than 65,536 bytes"));
        }
        let (signed, algorithm, signature) = fields(der, |outer| {
            outer.inside(SEQUENCE, |parts| {
                Ok((parts.take(SEQUENCE)?, parts.take(SEQUENCE)?, parts.whole_bytes()?))
            })
        })?;
        let signed_by = SignedBy::of(&fields(algorithm.whole, Fields::algorithm)?);
        signed.fields(|fields| {
            if fields.take(context(0))?.content != [2, 1, 2] {
                return Err(Malformed("it is not of version 3"));
            }
            let serial = fields.integer(INTEGER)?;
            if serial.len() > MAX_SERIAL {
                return Err(Malformed("its serial number has more than 21 bytes"));
            }
            if fields.take(SEQUENCE)?.whole != algorithm.whole {
                return Err(Malformed("it names two signature algorithms"));
            }
            let issuer = fields.take(SEQUENCE)?.whole;
            let (not_before, not_after) =
                fields.inside(SEQUENCE, |dates| Ok((date(dates)?, date(dates)?)))?;
            let subject = fields.take(SEQUENCE)?.whole;
            let key_info = fields.take(SEQUENCE)?;
            let extensions = match fields.optional(context(3)) {
                None => Extensions::default(),
                Some(wrapped) => wrapped.fields(|wrapped| wrapped.inside(SEQUENCE, Extensions::read))?,
            };
            Ok(Certificate {
                der: CertificateDer::from(der.to_vec()),
                issuer: issuer.to_vec(),
                subject: subject.to_vec(),
                key_info: key_info.whole.to_vec(),
                serial: serial.to_vec(),
                key: Key::parse(key_info).ok(),
                signed: signed.whole.to_vec(),
                signature: signature.to_vec(),
                signed_by,
                not_before,
                not_after,
                extensions,
            })
        })
    }

    /// Parses the usable ones of certificates.
    pub(crate) fn usable<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Vec<Certificate> {
        ders.into_iter().filter_map(|der| Certificate::parse(der).ok()).collect()
    }

    /// Returns the subject, for people.
    pub(crate) fn name(&self) -> String {
        name::text(&self.subject)
    }

    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    pub(crate) fn is_named(&self, issuer: &[u8], serial: &[u8]) -> bool {
        self.issuer == issuer && self.serial == serial
    }

    pub(crate) fn has_key_identifier(&self, identifier: &[u8]) -> bool {
        self.extensions.key_identifier.as_deref() == Some(identifier)
    }

    /// Returns whether both have the same subject and the same key.
    pub(crate) fn is_same_entity(&self, other: &Certificate) -> bool {
        self.subject == other.subject && self.key_info == other.key_info
    }

    pub(crate) fn is_valid_at(&self, seconds: u64) -> bool {
        (self.not_before..=self.not_after).contains(&seconds)
    }

    pub(crate) fn is_ca(&self) -> bool {
        self.extensions.is_ca
    }

    /// Returns whether the certificate may stand above so many others and the signer in a chain.
    pub(crate) fn may_issue(&self, between: u32, is_root: bool) -> bool {
        let Extensions { is_ca, path_length, usage, may_stamp, .. } = self.extensions;
        is_ca
            && path_length.is_none_or(|length| between <= length)
            && usage.is_none_or(|usage| usage & KEY_CERT_SIGN != 0)
            && (is_root || may_stamp.is_none_or(|may_stamp| may_stamp))
    }

    /// Returns whether the certificate stamps and does nothing else.
    pub(crate) fn only_stamps(&self) -> bool {
        let signs = DIGITAL_SIGNATURE | NON_REPUDIATION;
        self.extensions.only_stamps && self.extensions.usage.is_none_or(|usage| usage & signs != 0)
    }

    /// Returns whether a signature is one of the key of this certificate.
    pub(crate) fn has_signed(&self, signed_by: SignedBy, message: &[u8], signature: &[u8]) -> bool {
        self.key.as_ref().is_some_and(|key| key.has_signed(signed_by, message, signature))
    }

    /// Returns whether the signature of another certificate is one of the key of this one.
    pub(crate) fn has_issued(&self, other: &Certificate) -> bool {
        other.signed_by.is_some_and(|signed_by| self.has_signed(signed_by, &other.signed, &other.signature))
    }
}

impl Extensions {
    fn read(list: &mut Fields<'_>) -> Result<Extensions, Malformed> {
        let (mut found, mut seen) = (Extensions::default(), HashSet::new());
        while list.has(SEQUENCE) {
            let (id, is_critical, value) = list.inside(SEQUENCE, |fields| {
                Ok((fields.take(OBJECT_ID)?.content, fields.boolean()?, fields.take(OCTET_STRING)?.content))
            })?;
            if !seen.insert(id) {
                return Err(Malformed("it has an extension twice"));
            }
            if id == NAME_CONSTRAINTS {
                return Err(Malformed("it has name constraints, which are not supported"));
            }
            if is_critical && !UNDERSTOOD.contains(&id) {
                return Err(Malformed("it has an unknown critical extension"));
            }
            found.note(id, is_critical, value)?;
        }
        Ok(found)
    }

    fn note(&mut self, id: &[u8], is_critical: bool, value: &[u8]) -> Result<(), Malformed> {
        match id {
            SUBJECT_KEY_IDENTIFIER => {
                self.key_identifier = Some(fields(value, |value| value.take(OCTET_STRING))?.content.to_vec());
            }
            KEY_USAGE => {
                let (_, bits) = fields(value, Fields::bits)?;
                self.usage = Some(bits.first().copied().unwrap_or_default());
            }
            BASIC_CONSTRAINTS => {
                (self.is_ca, self.path_length) = fields(value, |value| {
                    value.inside(SEQUENCE, |fields| {
                        let is_ca = fields.boolean()?;
                        let is_limited = fields.has(INTEGER);
                        Ok((is_ca, is_limited.then(|| fields.small(INTEGER, u8::MAX.into())).transpose()?))
                    })
                })?;
            }
            PURPOSES => {
                let purposes = fields(value, |value| {
                    value.inside(SEQUENCE, |fields| {
                        let mut purposes = Vec::new();
                        while fields.has(OBJECT_ID) {
                            purposes.push(fields.take(OBJECT_ID)?.content);
                        }
                        Ok(purposes)
                    })
                })?;
                self.may_stamp = Some(purposes.contains(&TIME_STAMPING));
                self.only_stamps = is_critical && purposes == [TIME_STAMPING];
            }
            ALTERNATIVE_NAME | REVOCATION_LISTS => {
                fields(value, |value| value.take(SEQUENCE))?;
            }
            TRANSPARENCY => {
                fields(value, |value| value.take(OCTET_STRING))?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn date(dates: &mut Fields<'_>) -> Result<u64, Malformed> {
    let element = dates.next().ok_or(Malformed("it lacks a date"))?;
    match time(element)? {
        (seconds, []) => Ok(seconds),
        _ => Err(Malformed("a date in it has a fraction")),
    }
}
