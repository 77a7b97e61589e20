//! The effect of a registration on the device registry: one decision for every store.

use edgesentry_chain::RingKey;

use super::{RegisteredDevice, Registration};
use crate::admission::{MAX_ID_BYTES, MAX_SEQUENCE, is_valid_id};
use crate::error::Error;

/// The rows to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// None: the same registration exists.
    Nothing,
    /// A head and a first key.
    NewDevice(RingKey),
    /// Another key; it replaces a revoked one that begins at the same sequence and so never signed.
    Key(RingKey),
}

/// Refuses values that are invalid for any device or key.
pub(super) fn check(registration: &Registration) -> Result<(), Error> {
    let Registration { device_id, valid_from, start, .. } = registration;
    let largest = start.map_or(0, |head| head.sequence).max(valid_from.unwrap_or(1));
    if !is_valid_id(device_id) {
        return Err(refused(device_id, format!("a device id has 1 to {MAX_ID_BYTES} bytes and no U+0000")));
    }
    if *valid_from == Some(0) || largest >= MAX_SEQUENCE {
        return Err(refused(device_id, format!("sequences go from 1 to {MAX_SEQUENCE}")));
    }
    Ok(())
}

/// Decides on a checked registration.
pub(super) fn change(
    registration: &Registration,
    registered: Option<&RegisteredDevice>,
) -> Result<Change, Error> {
    let Registration { device_id, key, scheme, valid_from, start } = registration;
    let ring_key = |valid_from| RingKey { key: *key, scheme: *scheme, valid_from };
    let Some(device) = registered else {
        let first = start.map_or(0, |head| head.sequence) + 1;
        return Ok(Change::NewDevice(ring_key(valid_from.unwrap_or(first))));
    };
    if start.is_some() && *start != device.start {
        return Err(refused(device_id, "it is already registered with another start head".to_owned()));
    }
    let next = device.head.or(device.start).map_or(0, |head| head.sequence) + 1;
    let there = match valid_from {
        Some(valid_from) => device.keys.iter().find(|other| other.key.valid_from == *valid_from),
        None => device.keys.last(),
    };
    if let Some(there) = there
        && (there.key.key, there.key.scheme, there.revoked_from) == (*key, *scheme, None)
    {
        return Ok(Change::Nothing);
    }
    let valid_from = valid_from.unwrap_or(next);
    if valid_from < next {
        let problem = format!(
            "the ledger holds its records up to sequence {}; another key can be valid from sequence {next} on",
            next - 1
        );
        return Err(refused(device_id, problem));
    }
    let taken = device.keys.iter().find(|other| other.key.valid_from == valid_from);
    if taken.is_some_and(|other| other.revoked_from.is_none_or(|from| from > valid_from)) {
        let problem =
            format!("another key begins at sequence {valid_from}; revoke it first, or use a later sequence");
        return Err(refused(device_id, problem));
    }
    Ok(Change::Key(ring_key(valid_from)))
}

/// Refuses a key that `other_device_id` has under the other scheme: a key belongs to one scheme, even across devices
/// (docs/reference/spec.md, step 2.3).
pub(super) fn check_scheme(
    registration: &Registration,
    other_device_id: Option<String>,
) -> Result<(), Error> {
    let Registration { device_id, key, scheme, .. } = registration;
    let Some(other_device_id) = other_device_id else { return Ok(()) };
    let problem = format!(
        "key {}… is registered for device {other_device_id:?} with scheme {}, and a key belongs to one scheme: \
         register this device with that scheme, or with a key of its own for scheme {scheme}",
        key.short(),
        scheme.other(),
    );
    Err(refused(device_id, problem))
}

/// Returns the error for a device that is not registered.
pub(super) fn unknown(device_id: &str) -> Error {
    refused(device_id, "it is not registered; eds device list shows the registered ones".to_owned())
}

fn refused(device_id: &str, problem: String) -> Error {
    Error::Registry { device_id: device_id.chars().take(200).collect(), problem }
}
