//! Signed updates of devices: manifests, publishers, protection against rollback, verification of images.
//!
//! No I/O, no async, no clock. Each step returns a type that only this step makes, so that no image is installed without
//! all of them:
//!
//! ```
//! use edgesentry_chain::Hash;
//! use edgesentry_update::{Manifest, PublisherKey, SignedManifest, State, Trust};
//! # use edgesentry_update::Refusal;
//! let image = b"the new firmware";
//! let manifest = Manifest {
//!     name: "door-controller".into(),
//!     version: 42,
//!     image_hash: Hash::of(image),
//!     image_size_bytes: image.len() as u64,
//!     minimum_version: 41,
//!     expires_ms: 1_800_000_000_000,
//! };
//! let (first, second) = (PublisherKey::from_seed([1; 32]), PublisherKey::from_seed([2; 32]));
//! let mut signed = SignedManifest::new(manifest)?;
//! signed.sign(&first)?;
//! signed.sign(&second)?;
//! let bytes = signed.to_bytes();
//!
//! // On the device.
//! let trust = Trust::new("door-controller", 2, [first.public_key()?, second.public_key()?])?;
//! let state = State::new("door-controller")?;
//! let received = SignedManifest::parse(&bytes)?;
//! let trusted = trust.check(&received)?;
//! let admitted = state.admit(trusted, 1_790_000_000_000)?;
//! let mut check = admitted.image();
//! for chunk in image.chunks(5) {
//!     check.write(chunk)?;
//! }
//! let verified = check.finish()?;
//! let (slot, bytes) = state.after(&verified).encode(); // write `bytes` to this slot, then start the image
//! # let _ = (slot, bytes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod audit;
mod image;
mod manifest;
mod refusal;
mod state;
mod trust;

pub use audit::{audit_payload, refusal_payload};
pub use image::{Image, Verified};
pub use manifest::{
    MAX_MANIFEST_BYTES, MAX_NAME_BYTES, MAX_SIGNATURES, MESSAGE_BYTES, MESSAGE_PREFIX, Manifest,
    ManifestError, PublisherKey, SignedManifest, is_valid_name,
};
pub use refusal::Refusal;
pub use state::{Admitted, SLOT_BYTES, STATE_BYTES, State, StateDamaged};
pub use trust::{MAX_KEYS, Trust, TrustError, Trusted};
