//! The exported functions of updates.
#![allow(unsafe_code)]
// The comments below are the contract of each function, for C; the header begins with that of all pointers.
#![allow(clippy::missing_safety_doc)]

use std::ffi::{c_char, c_void};

use edgesentry_chain::canonical::Output;
use edgesentry_update::{STATE_BYTES, State};

use crate::border::{Border, enter};
use crate::codes::{
    EDGESENTRY_BUFFER_TOO_SMALL, EDGESENTRY_INVALID_ARGUMENT, EDGESENTRY_REFUSED, EDGESENTRY_UNREADABLE,
    Status,
};
use crate::last_error::fail;
use crate::types::{Read, Update, UpdateCheck};
use crate::update::{self, Outcome};

/// Creates the update state of a new device, which accepts every version. Do not use it to replace a state that is
/// damaged or missing: the device would then accept old versions.
///
/// `state` has EDGESENTRY_UPDATE_STATE_SIZE bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_update_state_new(
    name: *const c_char,
    name_size: usize,
    state: *mut u8,
    state_size: usize,
) -> Status {
    let work = |border: &Border| {
        let name = border.text("name", name, name_size)?;
        let mut out = border.exactly::<STATE_BYTES>("state", state, state_size)?;
        let new = State::new(name)
            .map_err(|error| fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("name: {error}")))?;
        out.write_bytes(&new.encode_both());
        Ok(())
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Verifies a manifest and an image, which `read` supplies piece by piece with `context`. The function `read` may also
/// write the pieces to the inactive partition.
///
/// After EDGESENTRY_OK, write `slot_bytes` of `update` durably to its slot of the state, at the offset
/// `slot` * EDGESENTRY_UPDATE_SLOT_SIZE, and start the image only then. After EDGESENTRY_REFUSED, `refusal` has the
/// reason: discard the image. `read` is not called for a manifest that is refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_update_verify(
    check: *const UpdateCheck,
    read: Read,
    context: *mut c_void,
    update: *mut Update,
) -> Status {
    let work = |border: &Border| verify(border, check, read, context, update, |_| Ok(()));
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Verifies an update, passes its outcome to `record`, and writes the result.
pub(crate) fn verify(
    border: &Border,
    check: *const UpdateCheck,
    read: Read,
    context: *mut c_void,
    update: *mut Update,
    record: impl FnOnce(Outcome<'_>) -> Result<(), Status>,
) -> Result<(), Status> {
    let check = border.read("check", check)?;
    border.check_structure("update", update)?;
    let Some(read) = read else {
        return Err(fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("read: is null")));
    };
    if check.buffer_size == 0 {
        return Err(fail(EDGESENTRY_BUFFER_TOO_SMALL, format_args!("buffer: has no bytes")));
    }
    border.buffer("buffer", check.buffer, check.buffer_size)?;
    let next = || {
        // SAFETY: the caller passes a function for these arguments, which fills as many bytes as it returns.
        let size = unsafe { read(context, check.buffer, check.buffer_size) };
        match usize::try_from(size) {
            Ok(size) if size <= check.buffer_size => border.bytes("buffer", check.buffer, size),
            _ => Err(fail(EDGESENTRY_UNREADABLE, format_args!("read: returned {size}"))),
        }
    };
    let result = update::verify(border, &check, next, record)?;
    border.write("update", update, result)?;
    // The text of the refusal is already kept.
    if result.refusal == 0 { Ok(()) } else { Err(EDGESENTRY_REFUSED) }
}
