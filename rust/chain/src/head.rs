//! Heads: the last link of each chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::device::ChainFull;
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

impl Head {
    /// Returns the sequence and the previous hash of the record that continues a chain; `None` is its start.
    ///
    /// # Errors
    /// The last sequence of the chain is [`u64::MAX`].
    pub fn next_link(head: Option<Head>) -> Result<(u64, Hash), ChainFull> {
        match head {
            None => Ok((1, Hash::ZERO)),
            Some(head) => Ok((head.sequence.checked_add(1).ok_or(ChainFull)?, head.hash)),
        }
    }
}

/// The heads of many chains, by device id.
pub type Heads = BTreeMap<Arc<str>, Head>;
