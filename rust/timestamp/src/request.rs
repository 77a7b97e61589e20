//! Requests for stamps.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Encode, Sequence};

use crate::token::SHA_256;

/// A request for a stamp, with the imprint SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StampRequest {
    /// The digest to stamp.
    pub imprint: [u8; 32],
    /// A random number that the answer repeats.
    pub nonce: u64,
}

#[derive(Sequence)]
struct Request<'a> {
    version: u8,
    imprint: Imprint<'a>,
    nonce: u64,
    certificates: bool,
}

#[derive(Sequence)]
struct Imprint<'a> {
    algorithm: Algorithm<'a>,
    digest: &'a OctetStringRef,
}

#[derive(Sequence)]
struct Algorithm<'a> {
    oid: ObjectIdentifier,
    parameters: AnyRef<'a>,
}

impl StampRequest {
    /// Returns the DER of the request, a body of the type `application/timestamp-query`.
    ///
    /// # Panics
    /// Never: the encoding has less than 100 bytes.
    #[allow(clippy::unwrap_used)]
    pub fn to_der(&self) -> Vec<u8> {
        let algorithm = Algorithm { oid: SHA_256, parameters: AnyRef::NULL };
        let imprint = Imprint { algorithm, digest: OctetStringRef::new(&self.imprint).unwrap() };
        Request { version: 1, imprint, nonce: self.nonce, certificates: true }.to_der().unwrap()
    }
}
