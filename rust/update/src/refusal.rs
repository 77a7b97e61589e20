//! Why a device refuses an update.

use edgesentry_chain::Hash;

/// Why a device refuses an update: a verdict about the manifest or the image, never a failure to read them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The file is not a manifest.
    #[error("the manifest is malformed: {0}")]
    Malformed(String),
    /// The update is of another product.
    #[error("the update is of {actual:?}, and the device is {expected:?}")]
    OtherName {
        /// The product of the device.
        expected: String,
        /// The product in the manifest.
        actual: String,
    },
    /// Too few publishers have signed.
    #[error("{valid} of the trusted publishers have signed the manifest, and {threshold} are required")]
    Untrusted {
        /// Valid signatures of different trusted keys.
        valid: usize,
        /// The threshold of the trust.
        threshold: usize,
    },
    /// The manifest has expired.
    #[error("the manifest expired at {expires_ms} ms (Unix), and it is {now_ms} ms now; get a newer one")]
    Expired {
        /// The expiry of the manifest.
        expires_ms: u64,
        /// The time of the device.
        now_ms: u64,
    },
    /// The version is lower than the device accepts.
    #[error("the version is {version}, and the device accepts {minimum_version} or higher")]
    Rollback {
        /// The version in the manifest.
        version: u64,
        /// The lowest version that the device accepts.
        minimum_version: u64,
    },
    /// The publishers have signed two images of one version.
    #[error(
        "version {version} is another image: the device has accepted {expected}, and the manifest has {actual}"
    )]
    Conflict {
        /// The version.
        version: u64,
        /// The image that the device has accepted.
        expected: Hash,
        /// The image of the manifest.
        actual: Hash,
    },
    /// The image ends early.
    #[error("the image ends after {actual} bytes, and the manifest says {expected}")]
    ImageTruncated {
        /// The size in the manifest.
        expected: u64,
        /// The size of the image.
        actual: u64,
    },
    /// The image is longer than the manifest states.
    #[error("the image is longer than the {expected} bytes of the manifest")]
    ImageTooLong {
        /// The size in the manifest.
        expected: u64,
    },
    /// The image is another one.
    #[error("the image has the hash {actual}, and the manifest says {expected}")]
    ImageHash {
        /// The hash in the manifest.
        expected: Hash,
        /// The hash of the image.
        actual: Hash,
    },
}

impl Refusal {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "update_malformed",
            Refusal::OtherName { .. } => "update_other_name",
            Refusal::Untrusted { .. } => "update_untrusted",
            Refusal::Expired { .. } => "update_expired",
            Refusal::Rollback { .. } => "update_rollback",
            Refusal::Conflict { .. } => "update_conflict",
            Refusal::ImageTruncated { .. } => "update_image_truncated",
            Refusal::ImageTooLong { .. } => "update_image_too_long",
            Refusal::ImageHash { .. } => "update_image_hash",
        }
    }
}
