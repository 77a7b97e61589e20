//! The exported functions. Each promises the border what the header asks of its callers, and calls safe code.
#![allow(unsafe_code)]
// The comments below are the contract of each function, for C; the header begins with that of all pointers.
#![allow(clippy::missing_safety_doc)]

use std::ffi::c_char;

use edgesentry_chain::canonical::Output;
use edgesentry_chain::{Device, Hash, RecordRef, SEED_BYTES, Scheme, sign_with};
use zeroize::Zeroizing;

use crate::border::{Border, CallbackSigner, enter};
use crate::codes::{
    EDGESENTRY_ABI_VERSION, EDGESENTRY_FINDING_PAYLOAD_HASH_MISMATCH, EDGESENTRY_FINDING_SIGNATURE_INVALID,
    EDGESENTRY_FINDINGS, EDGESENTRY_MALFORMED, EDGESENTRY_NO_RANDOM, EDGESENTRY_WEAK_KEY, Status,
};
use crate::last_error::{self, fail};
use crate::records;
use crate::types::{Chain, Finding, Head, Record, Signer};

/// The version of the package, with a final zero byte.
static VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

/// Returns the version of the library, such as "0.1.0". The text is static.
#[unsafe(no_mangle)]
pub extern "C" fn edgesentry_version() -> *const c_char {
    VERSION.as_ptr().cast()
}

/// Returns EDGESENTRY_ABI_VERSION of the library, to be compared with that of the header.
#[unsafe(no_mangle)]
pub extern "C" fn edgesentry_abi_version() -> u32 {
    EDGESENTRY_ABI_VERSION
}

/// Copies the text of the last failure of this thread to `out`, with a final zero byte; a text that does not fit is cut.
/// Returns the size of the whole text without the zero byte: 0 if the last call succeeded.
///
/// `out` has `capacity` bytes, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_last_error(out: *mut c_char, capacity: usize) -> usize {
    let mut size = 0;
    last_error::with(|text| {
        size = text.len();
        // SAFETY: the caller passes a buffer of `capacity` bytes, or null.
        unsafe { crate::border::copy_text(text, out.cast(), capacity) };
    });
    size
}

/// Makes a new key pair with random numbers of the system.
///
/// `seed` has EDGESENTRY_SEED_SIZE bytes, the secret: keep it on the device. `public_key` has EDGESENTRY_PUBLIC_KEY_SIZE
/// bytes: register it with the service.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_keygen(
    seed: *mut u8,
    seed_size: usize,
    public_key: *mut u8,
    public_key_size: usize,
) -> Status {
    let work = |border: &Border| {
        let mut seed_out = border.exactly::<32>("seed", seed, seed_size)?;
        let mut key_out = border.exactly::<32>("public_key", public_key, public_key_size)?;
        let mut secret = Zeroizing::new([0; SEED_BYTES]);
        getrandom::fill(secret.as_mut_slice()).map_err(|error| {
            fail(EDGESENTRY_NO_RANDOM, format_args!("the system has no random numbers: {error}"))
        })?;
        let key = key_of(&secret)?;
        seed_out.write_bytes(secret.as_slice());
        key_out.write_bytes(&key);
        Ok(())
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Computes the public key of a seed.
///
/// `seed` has EDGESENTRY_SEED_SIZE bytes, `public_key` EDGESENTRY_PUBLIC_KEY_SIZE bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_public_key(
    seed: *const u8,
    seed_size: usize,
    public_key: *mut u8,
    public_key_size: usize,
) -> Status {
    let work = |border: &Border| {
        let seed = border.array::<SEED_BYTES>("seed", seed, seed_size)?;
        let mut out = border.exactly::<32>("public_key", public_key, public_key_size)?;
        out.write_bytes(&key_of(seed)?);
        Ok(())
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Computes BLAKE3 of bytes: the payload hash of a payload.
///
/// `hash` has EDGESENTRY_HASH_SIZE bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_hash(
    bytes: *const u8,
    size: usize,
    hash: *mut u8,
    hash_size: usize,
) -> Status {
    let work = |border: &Border| {
        let bytes = border.bytes("bytes", bytes, size)?;
        let mut out = border.exactly::<32>("hash", hash, hash_size)?;
        out.write_bytes(Hash::of(bytes).as_bytes());
        Ok(())
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Signs the next record of a chain.
///
/// The caller fills in `device_id`, `timestamp_ms` and `object_ref` of `record`, and its `struct_size`; the function fills
/// in the other fields. `head` is the last record of the chain, all zero at its start, and becomes the new one. Store
/// the record and the head durably before the record is sent. After a failure neither has changed.
///
/// `seed` has EDGESENTRY_SEED_SIZE bytes. The function does not allocate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_sign(
    seed: *const u8,
    seed_size: usize,
    scheme: u32,
    head: *mut Head,
    payload: *const u8,
    payload_size: usize,
    record: *mut Record,
) -> Status {
    let work = |border: &Border| {
        let seed = border.array::<SEED_BYTES>("seed", seed, seed_size)?;
        let scheme = records::scheme(scheme)?;
        let payload = border.bytes("payload", payload, payload_size)?;
        let before = records::head(border.read("head", head)?)?;
        let given = border.read("record", record)?;
        let unsigned = records::record(border, &given)?;
        let sign = |record: &mut RecordRef<'_>| {
            record.sign(seed, scheme);
            Ok(())
        };
        let signed = records::sign(&unsigned, before, payload, sign)?;
        border.write("record", record, records::structure(&signed))?;
        border.write("head", head, Head { sequence: signed.sequence, hash: signed.hash().0 })
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Like edgesentry_sign, with a key that this process does not have. `signer` signs 32 bytes, and its signature is
/// verified. After a failure of it, EDGESENTRY_SIGNER, neither `record` nor `head` has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_sign_with(
    signer: *const Signer,
    scheme: u32,
    head: *mut Head,
    payload: *const u8,
    payload_size: usize,
    record: *mut Record,
) -> Status {
    let work = |border: &Border| {
        let signer = CallbackSigner::read(border, signer)?;
        let scheme = records::scheme(scheme)?;
        let payload = border.bytes("payload", payload, payload_size)?;
        let before = records::head(border.read("head", head)?)?;
        let given = border.read("record", record)?;
        let unsigned = records::record(border, &given)?;
        let sign = |record: &mut RecordRef<'_>| {
            let signature = sign_with(&signer, &record.signed_message(scheme));
            record.signature = signature.map_err(|error| records::signer_failed(&error))?;
            Ok(())
        };
        let signed = records::sign(&unsigned, before, payload, sign)?;
        border.write("record", record, records::structure(&signed))?;
        border.write("head", head, Head { sequence: signed.sequence, hash: signed.hash().0 })
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Writes the canonical bytes of a record, over which its hash is computed.
///
/// `size` receives their number, also after EDGESENTRY_BUFFER_TOO_SMALL. `out` has `capacity` bytes, and may be null if
/// `capacity` is 0. The function does not allocate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_canonical_bytes(
    record: *const Record,
    out: *mut u8,
    capacity: usize,
    size: *mut usize,
) -> Status {
    let work = |border: &Border| {
        let given = border.read("record", record)?;
        let record = records::record(border, &given)?;
        let mut target = border.buffer("out", out, capacity)?;
        let needed = record.canonical_size();
        border.write("size", size, needed)?;
        target.expect(needed)?;
        record.write_canonical(&mut target);
        Ok(())
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Reads a record from its canonical bytes; all other bytes are EDGESENTRY_MALFORMED.
///
/// The caller fills in `struct_size` of `record`. Its text then points into `bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_parse_record(
    bytes: *const u8,
    size: usize,
    record: *mut Record,
) -> Status {
    let work = |border: &Border| {
        let bytes = border.bytes("bytes", bytes, size)?;
        let read = RecordRef::from_canonical_bytes(bytes)
            .map_err(|error| fail(EDGESENTRY_MALFORMED, format_args!("bytes: {error}")))?;
        border.write("record", record, records::structure(&read))
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Computes the record hash: BLAKE3 of the canonical bytes.
///
/// `hash` has EDGESENTRY_HASH_SIZE bytes. The function does not allocate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_record_hash(
    record: *const Record,
    hash: *mut u8,
    hash_size: usize,
) -> Status {
    let work = |border: &Border| {
        let given = border.read("record", record)?;
        let record = records::record(border, &given)?;
        let mut out = border.exactly::<32>("hash", hash, hash_size)?;
        out.write_bytes(record.hash().as_bytes());
        Ok(())
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Verifies the signature of one record, and its payload unless `payload` is null. Its place in the chain is not checked:
/// see edgesentry_verify_chain.
///
/// Returns EDGESENTRY_OK, or EDGESENTRY_FINDINGS with the code in `finding`, which may be null. `public_key` has
/// EDGESENTRY_PUBLIC_KEY_SIZE bytes; `scheme` is that of the registered key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_verify_record(
    record: *const Record,
    public_key: *const u8,
    public_key_size: usize,
    scheme: u32,
    payload: *const u8,
    payload_size: usize,
    finding: *mut u32,
) -> Status {
    let work = |border: &Border| {
        let given = border.read("record", record)?;
        let record = records::record(border, &given)?;
        let key = records::public_key(*border.array("public_key", public_key, public_key_size)?)?;
        let scheme = records::scheme(scheme)?;
        let payload_bytes = border.bytes("payload", payload, payload_size)?;
        if !finding.is_null() {
            border.check_structure("finding", finding)?;
        }
        let report = |code: u32, name: &str| {
            if !finding.is_null() {
                border.write("finding", finding, code)?;
            }
            Err(fail(EDGESENTRY_FINDINGS, format_args!("{name}: sequence {}", record.sequence)))
        };
        if !record.has_valid_signature(&key, scheme) {
            return report(EDGESENTRY_FINDING_SIGNATURE_INVALID, "signature_invalid");
        }
        if !payload.is_null() && Hash::of(payload_bytes) != record.payload_hash {
            return report(EDGESENTRY_FINDING_PAYLOAD_HASH_MISMATCH, "payload_hash_mismatch");
        }
        Ok(())
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Verifies the records of one device: signatures, links, and the heads that the caller gives.
///
/// Returns EDGESENTRY_OK, or EDGESENTRY_FINDINGS. The first `capacity` findings, in the order of their records, are
/// written to `findings`, which may be null if `capacity` is 0; `found` receives the number of all. The function allocates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_verify_chain(
    chain: *const Chain,
    findings: *mut Finding,
    capacity: usize,
    found: *mut usize,
) -> Status {
    let work = |border: &Border| {
        border.write("found", found, 0)?;
        let chain = border.read("chain", chain)?;
        if capacity > 0 {
            border.check_structure("findings", findings)?;
        }
        let mut count = 0;
        let verdict = records::verify_chain(border, &chain, |finding| {
            if count < capacity {
                border.write_at("findings", findings, count, finding)?;
            }
            count += 1;
            Ok(())
        });
        border.write("found", found, count)?;
        verdict
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

fn key_of(seed: &[u8; SEED_BYTES]) -> Result<[u8; 32], Status> {
    let key = Device::from_seed(String::new(), *seed, Scheme::Record).public_key();
    let key = key.map_err(|error| fail(EDGESENTRY_WEAK_KEY, format_args!("seed: {error}")))?;
    Ok(*key.as_bytes())
}
