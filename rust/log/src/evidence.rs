//! The evidence bundle: one file with leaves of a log, and the hashes that join them to its checkpoint.
//!
//! `docs/reference/bundle.md` specifies the format and the verification; comments name its steps. This module has the
//! parts without I/O: headers of the container, manifest, items, heads, keys, and the fold over the leaves.

mod heads;
mod items;
mod keys;
mod lacking;
mod manifest;
mod tar;
mod tree;
mod walk;

pub use heads::{PartialHeads, PartialHeadsError, write_partial_heads};
pub use items::{LeafItem, LeafItemError, LeafItems, push_leaf_item, push_subtree_item, skipped_subtrees};
pub use keys::{BundleKeysError, read_bundle_keys, write_bundle_keys};
pub use lacking::MAX_LACKING;
pub use manifest::{
    BundleFile, BundleManifest, BundleManifestError, BundleMember, BundleScope, FileDigest,
    MAX_BUNDLE_SUBJECTS, MAX_LEAVES_BYTES, MAX_MANIFEST_BYTES,
};
pub use tar::{BLOCK_BYTES, MANIFEST_NAME, manifest_bytes, member_header, padding_bytes};
pub use tree::PartialTree;
pub use walk::LeafWalk;
