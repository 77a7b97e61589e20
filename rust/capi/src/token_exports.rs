//! The exported functions of keys in tokens.
#![allow(unsafe_code)]
// The comments below are the contract of each function, for C; the header begins with that of all pointers.
#![allow(clippy::missing_safety_doc)]

use std::ffi::{c_char, c_void};

use edgesentry_device::signer::{Pin, Pkcs11Signer, Pkcs11Uri};

use crate::border::{Border, enter};
use crate::codes::{EDGESENTRY_INVALID_ARGUMENT, Status};
use crate::last_error::fail;
use crate::records;
use crate::signer_exports::{give_signer, sign};
use crate::types::Signer;

/// A key in a token.
pub struct Token(Pkcs11Signer);

/// Finds an Ed25519 key in a token by PKCS#11 and logs in. Only in libraries with the feature pkcs11, as are all functions
/// of tokens.
///
/// `uri` is text, such as "pkcs11:token=site-7;object=lift-01". `module` is the path of the library of the token, of size 0
/// if the URI has it as module-path. `pin` is the PIN, of size 0 if the URI has a pin-source, or the environment variable
/// EDS_PKCS11_PIN is set. `token` receives the key; close it with edgesentry_pkcs11_close. `signer` receives its
/// public key and edgesentry_pkcs11_sign with the token as context, for edgesentry_sign_with and
/// edgesentry_outbox_open_with; it may be null.
///
/// Returns EDGESENTRY_SIGNER if there is no such key, or the PIN is wrong. Several threads may use a token.
// A structure for the arguments of one function would be one more to initialize.
#[allow(clippy::too_many_arguments)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_pkcs11_open(
    uri: *const c_char,
    uri_size: usize,
    module: *const c_char,
    module_size: usize,
    pin: *const c_char,
    pin_size: usize,
    token: *mut *mut Token,
    signer: *mut Signer,
) -> Status {
    let work = |border: &Border| {
        border.write("token", token, std::ptr::null_mut())?;
        if !signer.is_null() {
            border.check_structure("signer", signer)?;
        }
        let uri = border.text("uri", uri, uri_size)?;
        let mut uri: Pkcs11Uri =
            uri.parse().map_err(|error| fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("uri: {error}")))?;
        let module = border.text("module", module, module_size)?;
        if !module.is_empty() {
            uri.module_path = Some(module.into());
        }
        let pin = border.text("pin", pin, pin_size)?;
        let pin = (!pin.is_empty()).then(|| Pin::Value(pin.to_owned().into()));
        let opened = Pkcs11Signer::open(uri, pin).map_err(|error| records::signer_failed(&error))?;
        let public_key = *edgesentry_chain::Signer::public_key(&opened).as_bytes();
        let context = border.give(token, Token(opened))?;
        if signer.is_null() {
            return Ok(());
        }
        give_signer(border, signer, public_key, edgesentry_pkcs11_sign, context)
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Signs a message with a key in a token: `context` is the token. `signature` has EDGESENTRY_SIGNATURE_SIZE bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_pkcs11_sign(
    context: *mut c_void,
    message: *const u8,
    message_size: usize,
    signature: *mut u8,
) -> Status {
    let work = |border: &Border| {
        let Token(token) = border.handle("context", context.cast::<Token>().cast_const())?;
        sign(border, token, (message, message_size), signature)
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Closes a token, after the outboxes and all other calls that use it. Null is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_pkcs11_close(token: *mut Token) -> Status {
    let work = |border: &Border| {
        drop(border.take(token));
        Ok(())
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}
