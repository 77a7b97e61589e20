//! Revocations of keys, with their reasons.

use std::fmt;
use std::str::FromStr;

/// Why the keys of a device are revoked. The names are stable.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RevocationReason {
    /// None was given.
    #[default]
    Unspecified,
    /// Others know the key, or may know it.
    Compromised,
    /// Another key takes its place.
    Superseded,
    /// The device is out of use.
    Retired,
    /// The device or its key is lost.
    Lost,
}

impl RevocationReason {
    /// Every reason.
    pub const ALL: [RevocationReason; 5] = [
        RevocationReason::Unspecified,
        RevocationReason::Compromised,
        RevocationReason::Superseded,
        RevocationReason::Retired,
        RevocationReason::Lost,
    ];

    /// Returns the stable name, such as `compromised`.
    pub fn name(self) -> &'static str {
        match self {
            RevocationReason::Unspecified => "unspecified",
            RevocationReason::Compromised => "compromised",
            RevocationReason::Superseded => "superseded",
            RevocationReason::Retired => "retired",
            RevocationReason::Lost => "lost",
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RevocationReason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<RevocationReason, UnknownReason> {
        let known = RevocationReason::ALL.into_iter().find(|reason| reason.name() == text);
        known.ok_or_else(|| UnknownReason(text.chars().take(40).collect()))
    }
}

/// The text is not the name of a reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason {0:?}: use unspecified, compromised, superseded, retired or lost")]
pub struct UnknownReason(String);

/// A revocation of all keys of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// The device.
    pub device_id: String,
    /// The first sequence at which the keys are not accepted.
    pub from: u64,
    /// The reason; that of another release is `unspecified`.
    pub reason: RevocationReason,
    /// When it was written, Unix milliseconds.
    pub at_ms: u64,
}

/// Returns the reason for which a key of a device was revoked from a sequence on, out of the revocations of a ledger.
pub fn revocation_reason(
    revocations: &[Revocation],
    device_id: &str,
    from: Option<u64>,
) -> Option<RevocationReason> {
    let place = (device_id, from?);
    let found = revocations
        .binary_search_by(|revocation| (revocation.device_id.as_str(), revocation.from).cmp(&place));
    found.ok().map(|at| revocations[at].reason)
}
