//! The verification of an update: the steps of `edgesentry-update`, in their order.

use edgesentry_update::{Manifest, Refusal, STATE_BYTES, SignedManifest, State, Trust, Verified};

use crate::border::Border;
use crate::codes::{
    EDGESENTRY_INVALID_ARGUMENT, EDGESENTRY_REFUSED, EDGESENTRY_STATE_DAMAGED, Status, refusal_number,
};
use crate::last_error::fail;
use crate::records;
use crate::types::{Update, UpdateCheck};

/// A step that did not succeed.
pub(crate) enum Stop {
    /// The update is refused.
    Refused(Refusal),
    /// The update could not be verified.
    Failed(Status),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<Status> for Stop {
    fn from(status: Status) -> Stop {
        Stop::Failed(status)
    }
}

fn trust(border: &Border, check: &UpdateCheck) -> Result<Trust, Status> {
    let invalid =
        |error: &dyn std::fmt::Display| fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("trust: {error}"));
    let name = border.text("name", check.name, check.name_size)?;
    let (keys, rest) = border.bytes("keys", check.keys, check.keys_size)?.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(invalid(&"keys_size is not a multiple of the size of a key"));
    }
    let keys = keys.iter().map(|key| records::public_key(*key)).collect::<Result<Vec<_>, Status>>()?;
    Trust::new(name, check.threshold as usize, keys).map_err(|error| invalid(&error))
}

/// The outcome of a verification, for a record: the state of the device and the update, or the refusal of a manifest
/// that may have been read.
pub(crate) type Outcome<'a> = Result<(&'a State, &'a Verified), (Option<&'a Manifest>, &'a Refusal)>;

/// Verifies an update. `read` returns the next bytes of the image, or none at its end; `record` gets the outcome before
/// the caller does.
pub(crate) fn verify<'b>(
    border: &'b Border,
    check: &UpdateCheck,
    read: impl Fn() -> Result<&'b [u8], Status>,
    record: impl FnOnce(Outcome<'_>) -> Result<(), Status>,
) -> Result<Update, Status> {
    match steps(border, check, read) {
        Ok((state, verified)) => {
            record(Ok((&state, &verified)))?;
            Ok(accepted(&state, &verified))
        }
        Err(Stop::Failed(status)) => Err(status),
        Err(Stop::Refused(refusal)) => {
            let signed =
                SignedManifest::parse(border.bytes("manifest", check.manifest, check.manifest_size)?);
            record(Err((signed.as_ref().ok().map(SignedManifest::manifest), &refusal)))?;
            fail(EDGESENTRY_REFUSED, format_args!("{}: {refusal}", refusal.code()));
            Ok(Update { refusal: refusal_number(&refusal), ..NOTHING })
        }
    }
}

fn steps<'b>(
    border: &'b Border,
    check: &UpdateCheck,
    read: impl Fn() -> Result<&'b [u8], Status>,
) -> Result<(State, Verified), Stop> {
    let trust = trust(border, check)?;
    let state = state_of(border, check.state, check.state_size)?;
    let signed = SignedManifest::parse(border.bytes("manifest", check.manifest, check.manifest_size)?)?;
    let mut image = state.admit(trust.check(&signed)?, check.now_ms)?.image();
    loop {
        match read()? {
            [] => break,
            bytes => image.write(bytes)?,
        }
    }
    Ok((state, image.finish()?))
}

pub(crate) const NOTHING: Update = Update {
    struct_size: 0,
    refusal: 0,
    version: 0,
    minimum_version: 0,
    image_size: 0,
    image_hash: [0; 32],
    slot: 0,
    reserved: 0,
    slot_bytes: [0; 512],
};

/// Returns the slot that writes a state, with its versions.
pub(crate) fn slot_of(state: &State) -> Update {
    let (slot, slot_bytes) = state.encode();
    Update {
        version: state.version(),
        minimum_version: state.minimum_version(),
        slot: slot as u32,
        slot_bytes,
        ..NOTHING
    }
}

/// Returns the state in both slots.
pub(crate) fn state_of(border: &Border, bytes: *const u8, size: usize) -> Result<State, Status> {
    State::decode(border.array::<STATE_BYTES>("state", bytes, size)?)
        .map_err(|error| fail(EDGESENTRY_STATE_DAMAGED, format_args!("state: {error}")))
}

fn accepted(state: &State, verified: &Verified) -> Update {
    let manifest = verified.manifest();
    Update {
        version: manifest.version,
        image_size: manifest.image_size_bytes,
        image_hash: manifest.image_hash.0,
        ..slot_of(&state.after(verified))
    }
}
