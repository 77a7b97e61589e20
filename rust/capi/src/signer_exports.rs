//! The exported functions of private keys that this library opens.
#![allow(unsafe_code)]
// The comments below are the contract of each function, for C; the header begins with that of all pointers.
#![allow(clippy::missing_safety_doc)]

use std::ffi::{c_char, c_void};
use std::path::Path;
use std::sync::Arc;

use edgesentry_chain::canonical::Output;
use edgesentry_chain::sign_with;
use edgesentry_device::error::describe;
use edgesentry_device::signer::KeySource;

use crate::border::{Border, enter};
use crate::codes::{EDGESENTRY_INVALID_ARGUMENT, EDGESENTRY_SIGNER, Status};
use crate::last_error::fail;
use crate::records;
use crate::types::Signer;

/// A private key that this library has opened: of a seed file or in a token.
pub struct PrivateKey(Arc<dyn edgesentry_chain::Signer>);

/// Opens a private key by the text that the option --key of eds has: the path of a seed file of eds keygen, which only its
/// owner can read, or the PKCS#11 URI of a key in a token (libraries with the feature pkcs11). A URI names the library of the
/// token with module-path; its PIN comes from pin-source or from the environment variable EDS_PKCS11_PIN.
///
/// `key` is text. `private_key` receives the key; close it with edgesentry_signer_close. `signer` receives its public key
/// and edgesentry_signer_sign with the key as context, for edgesentry_sign_with and edgesentry_outbox_open_with.
///
/// Returns EDGESENTRY_INVALID_ARGUMENT if the text names no key, EDGESENTRY_SIGNER if the key cannot be opened. Several
/// threads may use a key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_signer_open(
    key: *const c_char,
    key_size: usize,
    private_key: *mut *mut PrivateKey,
    signer: *mut Signer,
) -> Status {
    let work = |border: &Border| {
        border.write("private_key", private_key, std::ptr::null_mut())?;
        border.check_structure("signer", signer)?;
        let text = border.text("key", key, key_size)?;
        if text.is_empty() || text.contains('\0') {
            let problem = format_args!("key: expected a path or a PKCS#11 URI, without U+0000");
            return Err(fail(EDGESENTRY_INVALID_ARGUMENT, problem));
        }
        let source = KeySource::parse(Path::new(text))
            .map_err(|problem| fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("key: {problem}")))?;
        // A program that ends would raise SIGPIPE, which ends this one.
        if matches!(source, KeySource::Program { .. }) {
            let problem =
                format_args!("key: programs are not started here; pass a function in edgesentry_signer");
            return Err(fail(EDGESENTRY_INVALID_ARGUMENT, problem));
        }
        let opened =
            source.open().map_err(|error| fail(EDGESENTRY_SIGNER, format_args!("{}", describe(&error))))?;
        let public_key = *opened.public_key().as_bytes();
        let context = border.give(private_key, PrivateKey(opened))?;
        give_signer(border, signer, public_key, edgesentry_signer_sign, context)
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Signs a message with a private key: `context` is the key. `signature` has EDGESENTRY_SIGNATURE_SIZE bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_signer_sign(
    context: *mut c_void,
    message: *const u8,
    message_size: usize,
    signature: *mut u8,
) -> Status {
    let work = |border: &Border| {
        let PrivateKey(key) = border.handle("context", context.cast::<PrivateKey>().cast_const())?;
        sign(border, &**key, (message, message_size), signature)
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Describes a key that this library has opened: its public key, and the function that signs with `context`.
pub(crate) fn give_signer(
    border: &Border,
    signer: *mut Signer,
    public_key: [u8; 32],
    sign: unsafe extern "C" fn(*mut c_void, *const u8, usize, *mut u8) -> Status,
    context: *mut c_void,
) -> Result<(), Status> {
    border.write(
        "signer",
        signer,
        Signer { struct_size: 0, reserved: 0, public_key, sign: Some(sign), context },
    )
}

/// Signs a message, given by its address and size.
pub(crate) fn sign(
    border: &Border,
    key: &dyn edgesentry_chain::Signer,
    (message, message_size): (*const u8, usize),
    signature: *mut u8,
) -> Result<(), Status> {
    let message = border.bytes("message", message, message_size)?;
    let mut out = border.exactly::<64>("signature", signature, 64)?;
    let signed = sign_with(key, message).map_err(|error| records::signer_failed(&error))?;
    out.write_bytes(&signed);
    Ok(())
}

/// Closes a private key, after the outboxes and all other calls that use it. Null is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_signer_close(private_key: *mut PrivateKey) -> Status {
    let work = |border: &Border| {
        drop(border.take(private_key));
        Ok(())
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}
