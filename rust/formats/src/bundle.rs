//! Evidence bundles: reading, verifying and writing (docs/reference/bundle.md).

mod members;
mod verify;
mod write;

pub use verify::{BundleInputs, verify_bundle};
pub use write::BundleWriter;
