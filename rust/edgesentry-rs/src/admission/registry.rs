//! The keys of devices, as admission sees them.

use std::collections::HashMap;
use std::sync::Arc;

use edgesentry_chain::{Head, RingKey};

/// A key of the device registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisteredKey {
    /// The key, its scheme and the first sequence that it signs.
    pub key: RingKey,
    /// The first sequence at which it is no longer accepted, even with a valid signature.
    pub revoked_from: Option<u64>,
}

/// The keys of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceKeys {
    /// Grows with every change of the device's keys.
    pub version: i64,
    /// By first valid sequence.
    pub keys: Arc<[RegisteredKey]>,
    /// The last link of its chain when the keys were read: a hint for the place of a record, not used for decisions.
    pub head: Head,
}

/// The keys of some devices.
pub type Registry = HashMap<Arc<str>, DeviceKeys>;
