//! Heads: the last link of each chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hash::Hash;

/// The last record of a chain: its sequence and its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The sequence of the last record.
    pub sequence: u64,
    /// Its record hash.
    pub hash: Hash,
}

/// The heads of many chains, by device id.
pub type Heads = BTreeMap<Arc<str>, Head>;
