//! The structures of the interface.
//!
//! A structure that callers fill in begins with its size, so that later versions of the library can add fields: a
//! library refuses a structure that is larger than its own, unless the rest is zero.

use std::ffi::{c_char, c_void};

/// A record. Text is UTF-8, without a final zero byte.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record {
    /// sizeof(edgesentry_record)
    pub struct_size: u32,
    /// 0
    pub reserved: u32,
    /// 1, 2, 3, ... per device.
    pub sequence: u64,
    /// Unix milliseconds.
    pub timestamp_ms: u64,
    /// The device, 1 to 1024 bytes.
    pub device_id: *const c_char,
    /// Its size.
    pub device_id_size: usize,
    /// The place of the payload, 1 to 1024 bytes.
    pub object_ref: *const c_char,
    /// Its size.
    pub object_ref_size: usize,
    /// BLAKE3 of the payload.
    pub payload_hash: [u8; 32],
    /// Ed25519, R then S.
    pub signature: [u8; 64],
    /// The record hash of the previous record; zero for the first.
    pub prev_record_hash: [u8; 32],
}

/// The last record of a chain. All zero: the start of the chain.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Head {
    /// Its sequence; 0 if there is no record yet.
    pub sequence: u64,
    /// Its record hash.
    pub hash: [u8; 32],
}

/// A public key of a device.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Key {
    /// The first sequence that it signs: 1 for the first key of a device.
    pub valid_from: u64,
    /// EDGESENTRY_SCHEME_RECORD or EDGESENTRY_SCHEME_PAYLOAD_HASH.
    pub scheme: u32,
    /// 0
    pub reserved: u32,
    /// The key.
    pub public_key: [u8; 32],
}

/// Signs a message by Ed25519 (RFC 8032): writes EDGESENTRY_SIGNATURE_SIZE bytes to `signature` and returns 0. Any other
/// number is a failure; nothing is signed then. A device signs messages of 32 bytes, never payloads. The key
/// of a successor also signs the statement of the succession, which is longer.
pub type Sign = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        message: *const u8,
        message_size: usize,
        signature: *mut u8,
    ) -> i32,
>;

/// A key that is not in this process, or not for this library: in a token, in a secure element. An outbox calls `sign` on
/// a thread of the library, one call at a time, while the caller waits; `sign` must not use the outbox.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Signer {
    /// sizeof(edgesentry_signer)
    pub struct_size: u32,
    /// 0
    pub reserved: u32,
    /// Its public key. A signature that does not hold under it is refused.
    pub public_key: [u8; 32],
    /// The function that signs.
    pub sign: Sign,
    /// The first argument of the function.
    pub context: *mut c_void,
}

/// The records of one device and the inputs to verify them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Chain {
    /// sizeof(edgesentry_chain)
    pub struct_size: u32,
    /// 0
    pub reserved: u32,
    /// The records, in order.
    pub records: *const Record,
    /// Their number.
    pub record_count: usize,
    /// The keys of the device that the caller trusts.
    pub keys: *const Key,
    /// Their number, at least 1.
    pub key_count: usize,
    /// The head after which the records begin; null or all zero if they begin at sequence 1.
    pub start: *const Head,
    /// A head that the caller kept, which the records must contain; null if there is none. Without it, missing records
    /// at the end go unnoticed.
    pub head: *const Head,
}

/// A failed check.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// EDGESENTRY_FINDING_...
    pub code: u32,
    /// 0
    pub reserved: u32,
    /// The position of the record, from 0; UINT64_MAX if the record is missing.
    pub index: u64,
    /// Its sequence; 0 if it has none.
    pub sequence: u64,
}

/// The inputs for the verification of an update.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UpdateCheck {
    /// sizeof(edgesentry_update_check)
    pub struct_size: u32,
    /// How many publishers must have signed.
    pub threshold: u32,
    /// The product of this device.
    pub name: *const c_char,
    /// Its size.
    pub name_size: usize,
    /// The public keys of the publishers that the device trusts, EDGESENTRY_PUBLIC_KEY_SIZE bytes each.
    pub keys: *const u8,
    /// The size of all keys, in bytes.
    pub keys_size: usize,
    /// The manifest, as received.
    pub manifest: *const u8,
    /// Its size.
    pub manifest_size: usize,
    /// Both slots of the update state, as stored.
    pub state: *const u8,
    /// EDGESENTRY_UPDATE_STATE_SIZE
    pub state_size: usize,
    /// The time, Unix milliseconds; 0 if the device has no clock.
    pub now_ms: u64,
    /// Memory for pieces of the image.
    pub buffer: *mut u8,
    /// Its size, such as 4096.
    pub buffer_size: usize,
}

/// A verified update, or the reason why it is refused.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Update {
    /// sizeof(edgesentry_update)
    pub struct_size: u32,
    /// EDGESENTRY_REFUSAL_..., or 0.
    pub refusal: u32,
    /// The version.
    pub version: u64,
    /// The lowest version that the device accepts afterwards.
    pub minimum_version: u64,
    /// The size of the image.
    pub image_size: u64,
    /// BLAKE3 of the image.
    pub image_hash: [u8; 32],
    /// The slot of the state that must be written, 0 or 1.
    pub slot: u32,
    /// 0
    pub reserved: u32,
    /// The content of that slot.
    pub slot_bytes: [u8; 512],
}

/// Reads the next bytes of an image into `buffer`, and returns their number: 0 at the end, negative after a failure.
pub type Read = Option<unsafe extern "C" fn(context: *mut c_void, buffer: *mut u8, capacity: usize) -> i64>;
