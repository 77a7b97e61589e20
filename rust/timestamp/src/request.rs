//! Requests for stamps.

/// The request before the imprint: the version 1, and the algorithm SHA-256 with the parameters NULL.
const BEFORE_IMPRINT: [u8; 22] =
    [2, 1, 1, 0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 32];
/// The request behind the nonce: `certReq` TRUE.
const BEHIND_NONCE: [u8; 3] = [1, 1, 0xff];

/// A request for a stamp, with the imprint SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StampRequest {
    /// The digest to stamp.
    pub imprint: [u8; 32],
    /// A random number that the answer repeats.
    pub nonce: u64,
}

impl StampRequest {
    /// Returns the DER of the request, a body of the type `application/timestamp-query`.
    pub fn to_der(&self) -> Vec<u8> {
        let bytes = self.nonce.to_be_bytes();
        // The shortest form: at least one byte, and a zero in front of a first bit that is set.
        let nonce = &bytes[bytes.iter().take(7).take_while(|byte| **byte == 0).count()..];
        let sign: &[u8] = if nonce[0] < 0x80 { &[] } else { &[0] };
        let length = |parts: &[&[u8]]| parts.iter().map(|part| part.len()).sum::<usize>() as u8;
        let nonce = [&[2, length(&[sign, nonce])][..], sign, nonce].concat();
        let content = [&BEFORE_IMPRINT[..], &self.imprint, &nonce, &BEHIND_NONCE].concat();
        [&[0x30, length(&[&content])][..], &content].concat()
    }
}
