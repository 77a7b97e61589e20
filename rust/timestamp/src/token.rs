//! The parts of a stamp: answer, token, content.

use der::asn1::{AnyRef, BitStringRef, IntRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{DateTime, Decode, Error, ErrorKind, Reader, SliceReader, Tag};

use crate::read::{Algorithm, context, expect, fields, members, oid, only, optional, sequence};

pub(crate) const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// id-ct-TSTInfo.
pub(crate) const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const MAX_CERTIFICATES: usize = 16;
/// The maximum length of the serial number of a stamp, bytes.
const MAX_SERIAL: usize = 64;
const MAX_SECONDS: u32 = i32::MAX as u32;

/// A `TimeStampResp`.
pub(crate) struct Answer<'a> {
    pub(crate) status: u64,
    token: Option<AnyRef<'a>>,
}

impl<'a> Answer<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Answer<'a>, Error> {
        fields(AnyRef::from_der(bytes).and_then(sequence)?, |reader| {
            let status = fields(expect(reader, Tag::Sequence)?, |reader| {
                let status = IntRef::decode(reader)?;
                optional(reader, Tag::Sequence)?;
                optional(reader, Tag::BitString)?
                    .map(|bits| bits.decode_as::<BitStringRef<'_>>())
                    .transpose()?;
                Ok(status)
            })?;
            // A negative or huge status is as unknown as any other.
            let status = match status.as_bytes() {
                [status] if *status < 0x80 => u64::from(*status),
                _ => u64::MAX,
            };
            Ok(Answer { status, token: optional(reader, Tag::Sequence)? })
        })
    }

    pub(crate) fn token(&self) -> Result<Token<'a>, Error> {
        Token::read(self.token.ok_or(ErrorKind::Failed)?)
    }
}

/// The `SignedData` of a token.
pub(crate) struct Token<'a> {
    /// The DER of the `TSTInfo`.
    pub(crate) content: &'a [u8],
    /// The DER of the certificates.
    pub(crate) certificates: Vec<&'a [u8]>,
    pub(crate) signer: Signer<'a>,
}

impl<'a> Token<'a> {
    fn read(content_info: AnyRef<'a>) -> Result<Token<'a>, Error> {
        let signed_data = fields(content_info, |reader| {
            if oid(reader)? != SIGNED_DATA {
                return Err(ErrorKind::Failed.into());
            }
            let content = expect(reader, context(0))?;
            fields(content, |reader| expect(reader, Tag::Sequence))
        })?;
        fields(signed_data, |reader| {
            u8::decode(reader)?;
            expect(reader, Tag::Set)?;
            let content = content(expect(reader, Tag::Sequence)?)?;
            let certificates = optional(reader, context(0))?.map(elements).transpose()?.unwrap_or_default();
            optional(reader, context(1))?;
            let signer = Signer::read(only(expect(reader, Tag::Set)?).and_then(sequence)?)?;
            Ok(Token { content, certificates, signer })
        })
    }
}

/// Returns the content of an `EncapsulatedContentInfo`.
fn content(element: AnyRef<'_>) -> Result<&[u8], Error> {
    fields(element, |reader| {
        if oid(reader)? != CONTENT_TYPE {
            return Err(ErrorKind::Failed.into());
        }
        let content = expect(reader, context(0))?;
        fields(content, |reader| Ok(expect(reader, Tag::OctetString)?.value()))
    })
}

/// Returns the whole elements of a SET.
fn elements(set: AnyRef<'_>) -> Result<Vec<&[u8]>, Error> {
    fields(set, |reader| {
        let mut elements = Vec::new();
        while !reader.is_finished() {
            if elements.len() == MAX_CERTIFICATES {
                return Err(ErrorKind::Overlength.into());
            }
            elements.push(reader.tlv_bytes()?);
        }
        Ok(elements)
    })
}

/// The name of the signer's certificate.
pub(crate) enum SignerId<'a> {
    /// The contents of the issuer and of the serial number.
    IssuerAndSerial(&'a [u8], &'a [u8]),
    KeyIdentifier(&'a [u8]),
}

/// A `SignerInfo`.
pub(crate) struct Signer<'a> {
    pub(crate) id: SignerId<'a>,
    pub(crate) digest: Algorithm<'a>,
    /// The content of the signed attributes, a SET.
    pub(crate) attributes: Option<AnyRef<'a>>,
    pub(crate) algorithm: Algorithm<'a>,
    pub(crate) signature: &'a [u8],
}

impl<'a> Signer<'a> {
    fn read(element: AnyRef<'a>) -> Result<Signer<'a>, Error> {
        fields(element, |reader| {
            u8::decode(reader)?;
            let signer = Signer {
                id: SignerId::read(reader)?,
                digest: Algorithm::read(reader)?,
                attributes: optional(reader, context(0))?,
                algorithm: Algorithm::read(reader)?,
                signature: expect(reader, Tag::OctetString)?.value(),
            };
            optional(reader, context(1))?;
            Ok(signer)
        })
    }
}

impl<'a> SignerId<'a> {
    fn read(reader: &mut SliceReader<'a>) -> Result<SignerId<'a>, Error> {
        let identifier = Tag::ContextSpecific { constructed: false, number: der::TagNumber(0) };
        if let Some(identifier) = optional(reader, identifier)? {
            return Ok(SignerId::KeyIdentifier(identifier.value()));
        }
        fields(expect(reader, Tag::Sequence)?, |reader| {
            let issuer = expect(reader, Tag::Sequence)?.value();
            Ok(SignerId::IssuerAndSerial(issuer, expect(reader, Tag::Integer)?.value()))
        })
    }
}

/// A `TSTInfo`.
pub(crate) struct Content<'a> {
    pub(crate) algorithm: Algorithm<'a>,
    pub(crate) imprint: &'a [u8],
    pub(crate) serial: &'a [u8],
    /// The time without its fraction, Unix seconds.
    pub(crate) seconds: u64,
    /// The time rounded up, Unix milliseconds.
    pub(crate) time_ms: u64,
    /// The accuracy rounded up, milliseconds.
    pub(crate) accuracy_ms: u64,
    /// The nonce without leading zeros.
    pub(crate) nonce: Option<&'a [u8]>,
}

impl<'a> Content<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Content<'a>, Error> {
        fields(AnyRef::from_der(bytes).and_then(sequence)?, |reader| {
            if u8::decode(reader)? != 1 {
                return Err(Tag::Integer.value_error().into());
            }
            oid(reader)?;
            let (algorithm, imprint) = fields(expect(reader, Tag::Sequence)?, |reader| {
                Ok((Algorithm::read(reader)?, expect(reader, Tag::OctetString)?.value()))
            })?;
            let serial = expect(reader, Tag::Integer)?;
            let serial = serial.decode_as::<IntRef<'_>>()?.as_bytes();
            if serial.len() > MAX_SERIAL {
                return Err(ErrorKind::Overlength.into());
            }
            let (seconds, time_ms) = time(expect(reader, Tag::GeneralizedTime)?.value())?;
            let accuracy = optional(reader, Tag::Sequence)?.map(accuracy).transpose()?;
            optional(reader, Tag::Boolean)?.map(|ordering| ordering.decode_as::<bool>()).transpose()?;
            let nonce = optional(reader, Tag::Integer)?;
            let nonce = nonce.map(|nonce| nonce.decode_as::<IntRef<'_>>()).transpose()?;
            optional(reader, context(0))?;
            optional(reader, context(1))?.map(extensions).transpose()?;
            Ok(Content {
                algorithm,
                imprint,
                serial,
                seconds,
                time_ms,
                accuracy_ms: accuracy.unwrap_or_default(),
                nonce: nonce.as_ref().map(IntRef::as_bytes),
            })
        })
    }

    pub(crate) fn has_nonce(&self, sent: u64) -> bool {
        let sent = sent.to_be_bytes();
        let sent = UintRef::new(&sent).map(|sent| sent.as_bytes().to_vec());
        let signless = |nonce: &'a [u8]| match nonce {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        self.nonce.is_some_and(|nonce| sent.is_ok_and(|sent| sent == signless(nonce)))
    }
}

/// Parses `genTime`: its seconds, and its milliseconds rounded up.
fn time(text: &[u8]) -> Result<(u64, u64), Error> {
    let wrong = || Error::from(Tag::GeneralizedTime.value_error());
    let text = text.strip_suffix(b"Z").ok_or_else(wrong)?;
    let (whole, fraction) = text.split_at_checked(14).ok_or_else(wrong)?;
    let digits = match fraction {
        [] => &[][..],
        [b'.', digits @ .., b'1'..=b'9'] if digits.iter().all(u8::is_ascii_digit) => &fraction[1..],
        _ => return Err(wrong()),
    };
    if !whole.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    let number = |part: &[u8]| part.iter().fold(0_u16, |number, digit| number * 10 + u16::from(digit - b'0'));
    let part = |from: usize| number(&whole[from..from + 2]) as u8;
    let time = DateTime::new(number(&whole[..4]), part(4), part(6), part(8), part(10), part(12))?;
    let seconds = time.unix_duration().as_secs();
    let millis = (0..3)
        .fold(0, |millis, place| millis * 10 + u64::from(digits.get(place).map_or(0, |digit| digit - b'0')));
    let rest = u64::from(digits.len() > 3);
    Ok((seconds, seconds * 1000 + millis + rest))
}

/// Parses `Accuracy`: milliseconds, rounded up.
fn accuracy(element: AnyRef<'_>) -> Result<u64, Error> {
    let implicit = |number| Tag::ContextSpecific { constructed: false, number: der::TagNumber(number) };
    let part = |element: Option<AnyRef<'_>>| -> Result<u64, Error> {
        let Some(element) = element else { return Ok(0) };
        let number = AnyRef::new(Tag::Integer, element.value())?.decode_as::<u16>()?;
        if (1..=999).contains(&number) { Ok(number.into()) } else { Err(Tag::Integer.value_error().into()) }
    };
    fields(element, |reader| {
        let seconds = optional(reader, Tag::Integer)?;
        let seconds = seconds.map(|seconds| seconds.decode_as::<u32>()).transpose()?.unwrap_or_default();
        if seconds > MAX_SECONDS {
            return Err(Tag::Integer.value_error().into());
        }
        let millis = part(optional(reader, implicit(0))?)?;
        let micros = part(optional(reader, implicit(1))?)?;
        Ok(u64::from(seconds) * 1000 + millis + u64::from(micros > 0))
    })
}

/// Refuses critical extensions.
fn extensions(element: AnyRef<'_>) -> Result<(), Error> {
    for member in members(element, usize::MAX)? {
        sequence(member)?;
        let critical = fields(member, |reader| {
            oid(reader)?;
            let critical = optional(reader, Tag::Boolean)?;
            let critical = critical.map(|critical| critical.decode_as::<bool>()).transpose()?;
            expect(reader, Tag::OctetString)?.decode_as::<&OctetStringRef>()?;
            Ok(critical.unwrap_or_default())
        })?;
        if critical {
            return Err(ErrorKind::Failed.into());
        }
    }
    Ok(())
}
