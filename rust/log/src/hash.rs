//! The hashes of the tree (RFC 6962, section 2.1).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::text::{decode_base64, encode_base64};

/// The largest size of a tree: 2^63 - 1 leaves.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// A hash of the tree: SHA-256, 32 bytes; as text in canonical base64, 44 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeHash(pub [u8; 32]);

impl TreeHash {
    /// The root of the empty tree: SHA-256 of no bytes.
    pub const EMPTY: TreeHash = TreeHash([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// Returns the hash of a leaf: SHA-256 of 00 and the leaf.
    ///
    /// ```
    /// use edgesentry_log::TreeHash;
    /// let hash = TreeHash::of_leaf(b"");
    /// assert_eq!(hash.to_string(), "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=");
    /// ```
    pub fn of_leaf(leaf: &[u8]) -> TreeHash {
        TreeHash(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
    }

    /// Returns the hash of an inner node: SHA-256 of 01 and the hashes below it.
    pub fn of_node(left: &TreeHash, right: &TreeHash) -> TreeHash {
        let mut bytes = [1; 65];
        bytes[1..33].copy_from_slice(&left.0);
        bytes[33..].copy_from_slice(&right.0);
        TreeHash(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_base64(&self.0))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreeHash({self})")
    }
}

/// The text is not the canonical base64 of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 44 characters of canonical base64")]
pub struct TreeHashTextError;

impl FromStr for TreeHash {
    type Err = TreeHashTextError;

    fn from_str(text: &str) -> Result<TreeHash, TreeHashTextError> {
        let bytes = (text.len() == 44).then(|| decode_base64(text)).flatten().ok_or(TreeHashTextError)?;
        bytes.try_into().map(TreeHash).map_err(|_| TreeHashTextError)
    }
}
