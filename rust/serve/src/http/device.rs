//! Devices and links of chains, as requests and responses name them.

use edgesentry_chain::{Hash, Head};
use edgesentry_device::limits::is_valid_id;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// A link of a chain.
#[derive(Serialize, Deserialize, ToSchema, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    /// The sequence.
    #[schema(minimum = 0)]
    pub(super) sequence: u64,
    /// The record hash, 64 hex digits.
    #[schema(value_type = String, min_length = 64, max_length = 64)]
    pub(super) hash: Hash,
}

impl From<Head> for Link {
    fn from(Head { sequence, hash }: Head) -> Link {
        Link { sequence, hash }
    }
}

/// Refuses an id that a device cannot have, and that some databases cannot look up.
pub(super) fn check_device_id(device_id: &str) -> Result<(), Problem> {
    let problem = || Problem::malformed("device_id: expected 1 to 1024 bytes without U+0000");
    is_valid_id(device_id).then_some(()).ok_or_else(problem)
}
