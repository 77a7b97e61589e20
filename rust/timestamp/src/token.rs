//! The parts of a stamp: answer, token, content.

use crate::read::{
    Algorithm, BIT_STRING, Element, Fields, GENERALIZED_TIME, INTEGER, Malformed, OBJECT_ID, OCTET_STRING,
    SEQUENCE, SET, context, fields, implicit, time,
};

/// id-ct-TSTInfo.
pub(crate) const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4];
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const MAX_CERTIFICATES: usize = 16;
/// The maximum length of the serial number of a stamp, bytes.
const MAX_SERIAL: usize = 64;
const MAX_VERSION: u32 = 255;
const MAX_SECONDS: u32 = i32::MAX as u32;

/// A `TimeStampResp` (S2).
pub(crate) struct Answer<'a> {
    /// The content of the status.
    pub(crate) status: &'a [u8],
    token: Option<Element<'a>>,
}

impl<'a> Answer<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Answer<'a>, Malformed> {
        fields(bytes, |outer| {
            outer.inside(SEQUENCE, |response| {
                let status = response.inside(SEQUENCE, |information| {
                    let status = information.integer(INTEGER)?;
                    information.optional(SEQUENCE);
                    if information.has(BIT_STRING) {
                        information.bits()?;
                    }
                    Ok(status)
                })?;
                Ok(Answer { status, token: response.optional(SEQUENCE) })
            })
        })
    }

    /// Returns whether the authority has granted the request (S3).
    pub(crate) fn is_granted(&self) -> bool {
        matches!(self.status, [0 | 1])
    }

    pub(crate) fn token(&self) -> Result<Token<'a>, Malformed> {
        Token::read(self.token.ok_or(Malformed("it has no token"))?)
    }
}

/// The `SignedData` of a token (S4).
pub(crate) struct Token<'a> {
    /// The DER of the `TSTInfo`.
    pub(crate) content: &'a [u8],
    /// The DER of the certificates.
    pub(crate) certificates: Vec<&'a [u8]>,
    pub(crate) signer: Signer<'a>,
}

impl<'a> Token<'a> {
    fn read(content_info: Element<'a>) -> Result<Token<'a>, Malformed> {
        content_info.fields(|token| {
            if token.take(OBJECT_ID)?.content != SIGNED_DATA {
                return Err(Malformed("the token is not signed data"));
            }
            token.inside(context(0), |wrapped| wrapped.inside(SEQUENCE, Token::signed_data))
        })
    }

    fn signed_data(fields: &mut Fields<'a>) -> Result<Token<'a>, Malformed> {
        fields.small(INTEGER, MAX_VERSION)?;
        fields.take(SET)?;
        let content = fields.inside(SEQUENCE, |content| {
            if content.take(OBJECT_ID)?.content != CONTENT_TYPE {
                return Err(Malformed("the token does not have the type of time stamps"));
            }
            content.inside(context(0), |wrapped| wrapped.take(OCTET_STRING))
        })?;
        let certificates = match fields.optional(context(0)) {
            None => Vec::new(),
            Some(set) => Fields::of(set.content)?.map(|certificate| certificate.whole).collect(),
        };
        if certificates.len() > MAX_CERTIFICATES {
            return Err(Malformed("the token has more than 16 certificates"));
        }
        fields.optional(context(1));
        let signer = fields.inside(SET, |signers| signers.inside(SEQUENCE, Signer::read))?;
        Ok(Token { content: content.content, certificates, signer })
    }
}

/// The name of the signer's certificate.
pub(crate) enum SignerId<'a> {
    /// The issuer as a whole element, and the content of the serial number.
    IssuerAndSerial(&'a [u8], &'a [u8]),
    KeyIdentifier(&'a [u8]),
}

/// A `SignerInfo`.
pub(crate) struct Signer<'a> {
    pub(crate) id: SignerId<'a>,
    pub(crate) digest: Algorithm<'a>,
    /// The signed attributes, a SET with another tag.
    pub(crate) attributes: Option<Element<'a>>,
    pub(crate) algorithm: Algorithm<'a>,
    pub(crate) signature: &'a [u8],
}

impl<'a> Signer<'a> {
    fn read(fields: &mut Fields<'a>) -> Result<Signer<'a>, Malformed> {
        fields.small(INTEGER, MAX_VERSION)?;
        let id = match fields.optional(implicit(0)) {
            Some(identifier) => SignerId::KeyIdentifier(identifier.content),
            None => fields.inside(SEQUENCE, |id| {
                Ok(SignerId::IssuerAndSerial(id.take(SEQUENCE)?.whole, id.integer(INTEGER)?))
            })?,
        };
        let signer = Signer {
            id,
            digest: fields.algorithm()?,
            attributes: fields.optional(context(0)),
            algorithm: fields.algorithm()?,
            signature: fields.take(OCTET_STRING)?.content,
        };
        fields.optional(context(1));
        Ok(signer)
    }
}

/// A `TSTInfo` (S5).
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
    nonce: Option<&'a [u8]>,
}

impl<'a> Content<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Content<'a>, Malformed> {
        fields(bytes, |outer| outer.inside(SEQUENCE, Content::read))
    }

    fn read(fields: &mut Fields<'a>) -> Result<Content<'a>, Malformed> {
        if fields.small(INTEGER, MAX_VERSION)? != 1 {
            return Err(Malformed("it is not of version 1"));
        }
        fields.take(OBJECT_ID)?;
        let (algorithm, imprint) = fields
            .inside(SEQUENCE, |stamped| Ok((stamped.algorithm()?, stamped.take(OCTET_STRING)?.content)))?;
        let serial = fields.integer(INTEGER)?;
        if serial.len() > MAX_SERIAL {
            return Err(Malformed("its serial number has more than 64 bytes"));
        }
        let (seconds, fraction) = time(fields.take(GENERALIZED_TIME)?)?;
        let accuracy_ms = match fields.optional(SEQUENCE) {
            None => 0,
            Some(accuracy) => accuracy.fields(accuracy_ms)?,
        };
        fields.boolean()?;
        let nonce = fields.has(INTEGER).then(|| fields.integer(INTEGER)).transpose()?;
        fields.optional(context(0));
        if let Some(extensions) = fields.optional(context(1)) {
            refuse_critical(extensions)?;
        }
        let digit = |place| fraction.get(place).map_or(0, |digit| u64::from(digit - b'0'));
        let millis = digit(0) * 100 + digit(1) * 10 + digit(2) + u64::from(fraction.len() > 3);
        let time_ms = seconds * 1000 + millis;
        Ok(Content { algorithm, imprint, serial, seconds, time_ms, accuracy_ms, nonce })
    }

    pub(crate) fn has_nonce(&self, sent: u64) -> bool {
        let sent = sent.to_be_bytes();
        let sent = &sent[sent.iter().position(|byte| *byte != 0).unwrap_or(sent.len())..];
        let nonce = self.nonce.map(|nonce| nonce.strip_prefix(&[0]).unwrap_or(nonce));
        nonce == Some(sent)
    }
}

/// Parses `Accuracy`: milliseconds, rounded up.
fn accuracy_ms(fields: &mut Fields<'_>) -> Result<u64, Malformed> {
    let seconds = if fields.has(INTEGER) { fields.small(INTEGER, MAX_SECONDS)? } else { 0 };
    let mut part = |tag| match fields.has(tag) {
        false => Ok(0),
        true => match fields.small(tag, 999)? {
            0 => Err(Malformed("its accuracy has a part of 0")),
            part => Ok(part),
        },
    };
    let (millis, micros) = (part(implicit(0))?, part(implicit(1))?);
    Ok(u64::from(seconds) * 1000 + u64::from(millis) + u64::from(micros > 0))
}

fn refuse_critical(extensions: Element<'_>) -> Result<(), Malformed> {
    extensions.fields(|list| {
        while list.has(SEQUENCE) {
            let is_critical = list.inside(SEQUENCE, |fields| {
                fields.take(OBJECT_ID)?;
                let is_critical = fields.boolean()?;
                fields.take(OCTET_STRING)?;
                Ok(is_critical)
            })?;
            if is_critical {
                return Err(Malformed("it has a critical extension"));
            }
        }
        Ok(())
    })
}
