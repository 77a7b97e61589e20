//! The exported functions of the outbox.
#![allow(unsafe_code)]
// The comments below are the contract of each function, for C; the header begins with that of all pointers.
#![allow(clippy::missing_safety_doc)]

use std::ffi::{c_char, c_void};
use std::path::Path;
use std::sync::Arc;

use edgesentry_chain::{Device, SEED_BYTES};
use edgesentry_device::limits::{MAX_ID_BYTES, MAX_SEQUENCE, is_valid_id};

use crate::border::{Border, Callback, CallbackSigner, enter};
use crate::codes::{EDGESENTRY_INVALID_ARGUMENT, Status};
use crate::last_error::fail;
use crate::outbox;
use crate::outbox_types::{Flushed, Outbox, Send};
use crate::records;
use crate::types::{Head, Read, Record, Signer, Update, UpdateCheck};
use crate::{update, update_exports};

/// Opens the outbox of a device, creating its file if it is missing. The outbox keeps signed records durably until the
/// service has confirmed them. Only in libraries with the feature outbox, as are all functions of outboxes.
///
/// `path` and `device_id` are text. `seed` has EDGESENTRY_SEED_SIZE bytes. `outbox` receives the outbox; close it with
/// edgesentry_outbox_close. Several threads may use it, and calls wait for each other.
// A structure for the arguments of one function would be one more to initialize.
#[allow(clippy::too_many_arguments)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_open(
    path: *const c_char,
    path_size: usize,
    device_id: *const c_char,
    device_id_size: usize,
    seed: *const u8,
    seed_size: usize,
    scheme: u32,
    outbox: *mut *mut Outbox,
) -> Status {
    let work = |border: &Border| {
        border.write("outbox", outbox, std::ptr::null_mut())?;
        let path = border.text("path", path, path_size)?;
        let device_id = border.text("device_id", device_id, device_id_size)?;
        let seed = border.array::<SEED_BYTES>("seed", seed, seed_size)?;
        let scheme = records::scheme(scheme)?;
        let opened = open(path, Device::from_seed(device_id, *seed, scheme))?;
        border.give(outbox, Outbox(opened)).map(drop)
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Like edgesentry_outbox_open, with a key that this process does not have. The function and the context of `signer` must
/// stay valid until the outbox is closed. If the signer fails, edgesentry_outbox_sign returns EDGESENTRY_SIGNER, nothing
/// was signed, and the records in the outbox stay.
#[allow(clippy::too_many_arguments)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_open_with(
    path: *const c_char,
    path_size: usize,
    device_id: *const c_char,
    device_id_size: usize,
    signer: *const Signer,
    scheme: u32,
    outbox: *mut *mut Outbox,
) -> Status {
    let work = |border: &Border| {
        border.write("outbox", outbox, std::ptr::null_mut())?;
        let path = border.text("path", path, path_size)?;
        let device_id = border.text("device_id", device_id, device_id_size)?;
        let signer = Arc::new(CallbackSigner::read(border, signer)?);
        let scheme = records::scheme(scheme)?;
        let opened = open(path, Device::from_signer(device_id, signer, scheme))?;
        border.give(outbox, Outbox(opened)).map(drop)
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

fn open(path: &str, device: Device) -> Result<outbox::Outbox, Status> {
    if path.is_empty() || path.contains('\0') || !is_valid_id(device.device_id()) {
        let text = format_args!(
            "expected a path without U+0000, and a device_id of 1 to {MAX_ID_BYTES} bytes without U+0000"
        );
        return Err(fail(EDGESENTRY_INVALID_ARGUMENT, text));
    }
    outbox::Outbox::open(Path::new(path), device)
}

/// Signs the next record of the device and keeps it with its payload. Both are durable when the function returns
/// EDGESENTRY_OK; after a failure nothing was signed.
///
/// The caller fills in `timestamp_ms` and `object_ref` of `record`, and its `struct_size`; the function fills in the other
/// fields. `device_id` then points into the outbox until it is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_sign(
    outbox: *mut Outbox,
    payload: *const u8,
    payload_size: usize,
    record: *mut Record,
) -> Status {
    let work = |border: &Border| {
        let Outbox(outbox) = border.handle("outbox", outbox)?;
        let payload = border.bytes("payload", payload, payload_size)?;
        let given = border.read("record", record)?;
        records::reserved("record", given.reserved)?;
        let object_ref = border.text("object_ref", given.object_ref, given.object_ref_size)?;
        records::check_limits(&outbox.device_id, object_ref, given.timestamp_ms, payload)?;
        let signed = outbox.sign(given.timestamp_ms, payload, object_ref)?;
        let mut filled = signed.borrowed();
        (filled.device_id, filled.object_ref) = (&outbox.device_id, object_ref);
        border.write("record", record, records::structure(&filled))
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Signs a record of the times that the device has, and keeps it: its clock `timestamp_ms`, the number of its starts, the
/// milliseconds since the start, and the last time that edgesentry_outbox_note_service_time has kept. docs/reference/clock.md has
/// its payload.
///
/// `boot_counter` and `uptime_ms` are null if they are unknown. `sequence` receives the sequence of the record; it may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_sign_clock(
    outbox: *mut Outbox,
    timestamp_ms: u64,
    boot_counter: *const u64,
    uptime_ms: *const u64,
    sequence: *mut u64,
) -> Status {
    let work = |border: &Border| {
        let Outbox(outbox) = border.handle("outbox", outbox)?;
        if !sequence.is_null() {
            border.write("sequence", sequence, 0)?;
        }
        check_time("timestamp_ms", timestamp_ms)?;
        let boot_counter = border.read_optional("boot_counter", boot_counter)?;
        let uptime_ms = border.read_optional("uptime_ms", uptime_ms)?;
        let signed = outbox.sign_clock(timestamp_ms, boot_counter, uptime_ms)?;
        if sequence.is_null() { Ok(()) } else { border.write("sequence", sequence, signed) }
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Keeps a time that the service gave now, Unix milliseconds, for the next clock record: the Date of a successful response. Call
/// it after the flush, not in its function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_note_service_time(
    outbox: *mut Outbox,
    service_time_ms: u64,
) -> Status {
    let work = |border: &Border| {
        let Outbox(outbox) = border.handle("outbox", outbox)?;
        check_time("service_time_ms", service_time_ms)?;
        outbox.note_service_time(service_time_ms)
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Checks that a ledger accepts a time.
fn check_time(name: &str, time_ms: u64) -> Result<(), Status> {
    if time_ms > MAX_SEQUENCE {
        let text = format_args!("{name}: expected at most {MAX_SEQUENCE}, got {time_ms}");
        return Err(fail(EDGESENTRY_INVALID_ARGUMENT, text));
    }
    Ok(())
}

/// Replaces the key of the device: signs the next record of the chain, which states the key of `seed`, with the present key
/// and keeps it. The key of `seed` signs all later records. Store `seed` durably before, and delete the present seed after.
/// After a failure or a crash, open the outbox with the present seed and call the function again, or with `seed`: an outbox
/// signs nothing with a key that was replaced.
///
/// `seed` has EDGESENTRY_SEED_SIZE bytes; `scheme` must not be weaker than the present one. `sequence` receives the sequence
/// of the record; the new key is valid from the next one on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_rotate(
    outbox: *mut Outbox,
    timestamp_ms: u64,
    seed: *const u8,
    seed_size: usize,
    scheme: u32,
    sequence: *mut u64,
) -> Status {
    let work = |border: &Border| {
        let Outbox(outbox) = border.handle("outbox", outbox)?;
        border.write("sequence", sequence, 0)?;
        let seed = border.array::<SEED_BYTES>("seed", seed, seed_size)?;
        let successor = Device::from_seed(outbox.device_id.as_str(), *seed, records::scheme(scheme)?);
        border.write("sequence", sequence, outbox.succeed(timestamp_ms, successor)?)
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Replaces the key of the device as edgesentry_outbox_rotate does, by that of `successor`, which is copied and signs all
/// later records. Its functions and `context` must stay valid until the outbox is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_rotate_with(
    outbox: *mut Outbox,
    timestamp_ms: u64,
    successor: *const Signer,
    scheme: u32,
    sequence: *mut u64,
) -> Status {
    let work = |border: &Border| {
        let Outbox(outbox) = border.handle("outbox", outbox)?;
        border.write("sequence", sequence, 0)?;
        let signer = Arc::new(CallbackSigner::read(border, successor)?);
        let successor = Device::from_signer(outbox.device_id.as_str(), signer, records::scheme(scheme)?);
        border.write("sequence", sequence, outbox.succeed(timestamp_ms, successor)?)
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Sends the waiting records in order with the function `send`, which gets `context`, one record at a time. Each leaves
/// the outbox when the service has confirmed it. Sending a record again is safe. `send` must neither use nor close an
/// outbox; a use returns EDGESENTRY_INVALID_ARGUMENT.
///
/// Returns EDGESENTRY_OK if none is left; EDGESENTRY_TRY_AGAIN if there was no response, or one that asks to try later;
/// EDGESENTRY_REJECTED if the service rejects a record, which stays in the outbox with those behind it. `flushed` is
/// filled in after EDGESENTRY_OK and EDGESENTRY_REJECTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_flush(
    outbox: *mut Outbox,
    send: Send,
    context: *mut c_void,
    flushed: *mut Flushed,
) -> Status {
    let work = |border: &Border| {
        let Outbox(outbox) = border.handle("outbox", outbox)?;
        border.write("flushed", flushed, Flushed::default())?;
        let Some(send) = send else {
            return Err(fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("send: is null")));
        };
        let callback = Callback::new(border, send, context);
        finish(border, flushed, &outbox.flush(|body| callback.post(body))?)
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Writes the result of a flush. A rejection is a failure.
pub(crate) fn finish(
    border: &Border,
    flushed: *mut Flushed,
    done: &edgesentry_device::Flushed,
) -> Result<(), Status> {
    let result = Flushed {
        accepted: done.accepted,
        duplicates: done.duplicates,
        waiting: done.waiting,
        rejected_sequence: done.rejection.as_ref().map_or(0, |rejection| rejection.sequence),
    };
    border.write("flushed", flushed, result)?;
    outbox::rejected(done)
}

/// Reads the number of records that wait to be sent, and the last record of the chain. Either may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_state(
    outbox: *mut Outbox,
    waiting: *mut u64,
    head: *mut Head,
) -> Status {
    let work = |border: &Border| {
        let Outbox(outbox) = border.handle("outbox", outbox)?;
        if !waiting.is_null() {
            border.write("waiting", waiting, outbox.waiting()?)?;
        }
        if !head.is_null() {
            let edgesentry_chain::Head { sequence, hash } = outbox.head()?;
            border.write("head", head, Head { sequence, hash: hash.0 })?;
        }
        Ok(())
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Verifies an update as edgesentry_update_verify does, and signs a record of its outcome, accepted or refused, with the time
/// `timestamp_ms`. The record is durable before the function returns.
///
/// After EDGESENTRY_OK, write `slot_bytes` of `update` durably to its slot of the state, call edgesentry_outbox_finish_update,
/// and start the image. After a loss of power in between, edgesentry_outbox_unfinished_update has the slot.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_verify_update(
    outbox: *mut Outbox,
    check: *const UpdateCheck,
    read: Read,
    context: *mut c_void,
    timestamp_ms: u64,
    update: *mut Update,
) -> Status {
    let work = |border: &Border| {
        let Outbox(outbox) = border.handle("outbox", outbox)?;
        update_exports::verify(border, check, read, context, update, |outcome| {
            outbox.record_update(outcome, timestamp_ms)
        })
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Finds an accepted update whose record was signed and whose state was not written. Call it when the device starts.
///
/// `state` has EDGESENTRY_UPDATE_STATE_SIZE bytes, both slots as stored. If `version` of `update` is not 0, write
/// `slot_bytes` durably to its slot. A repetition of the same update then has no second record.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_unfinished_update(
    outbox: *mut Outbox,
    state: *const u8,
    state_size: usize,
    update: *mut Update,
) -> Status {
    let work = |border: &Border| {
        let Outbox(outbox) = border.handle("outbox", outbox)?;
        border.check_structure("update", update)?;
        let state = update::state_of(border, state, state_size)?;
        let unfinished = outbox.unfinished_update(&state)?;
        border.write("update", update, unfinished.as_ref().map_or(update::NOTHING, update::slot_of))
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Ends an accepted update, after its slot of the state was written durably.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_finish_update(outbox: *mut Outbox) -> Status {
    let work = |border: &Border| {
        let Outbox(outbox) = border.handle("outbox", outbox)?;
        outbox.finish_update()
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Closes an outbox, after all other calls that use it. Null is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_close(outbox: *mut Outbox) -> Status {
    let work = |border: &Border| {
        if let Some(Outbox(outbox)) = border.take(outbox) {
            outbox.close();
        }
        Ok(())
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}
