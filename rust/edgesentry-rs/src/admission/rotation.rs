//! The new key that a device states for itself in a record (docs/reference/spec.md, step 12).

use edgesentry_chain::{AuditRecord, MAX_FOLLOWED, RingKey, Succession};

use super::{CheckedValue, MAX_SEQUENCE, RegisteredKey, RejectionCode};

/// The source of new keys of devices.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Rotation {
    /// The operator registers each key. A device may succeed its key only with the one that is registered from the next
    /// sequence on.
    #[default]
    Operator,
    /// A device may also state a new key, which its old key has signed.
    Device,
}

/// A check that failed: the reason, the expected and the actual value.
pub(crate) type Refusal = (RejectionCode, CheckedValue, CheckedValue);

/// A new key that a record states, or the reason why the registry does not take it. The ledger asks only if the record
/// continues its chain: one that is there already is a duplicate, even if its key was revoked since.
pub(crate) type Succeeding = Result<RingKey, Refusal>;

/// Checks the succession that a record with a valid signature states; `None` if it states none, or if the operator has
/// registered its key.
///
/// # Errors
/// The succession does not hold under the key of the record: no ledger has ever accepted it.
pub(super) fn succeeding(
    record: &AuditRecord,
    old: &RingKey,
    keys: &[RegisteredKey],
    rotation: Rotation,
) -> Result<Option<Succeeding>, Refusal> {
    let Some(succession) = Succession::of(record) else { return Ok(None) };
    let new = succession.and_then(|succession| succession.check(record, old)).map_err(|error| {
        let (expected, actual) = error.evidence();
        refusal(expected, actual)
    })?;
    if keys.iter().any(|known| known.key == new) {
        return Ok(None);
    }
    let actual =
        format!("a succession to key {} ({}) from sequence {} on", new.key, new.scheme, new.valid_from);
    let problem = if let Some(later) = keys.iter().find(|known| is_ahead(known, record.sequence)) {
        Some(format!("key {} from sequence {} on, which is registered", later.key.key, later.key.valid_from))
    } else if keys.iter().any(|known| known.key.key == new.key) {
        Some("a key that no device has had".to_owned())
    } else if keys.len() >= MAX_FOLLOWED {
        Some(format!("at most {MAX_FOLLOWED} keys of a device, or a key that the operator registers"))
    } else if new.valid_from > MAX_SEQUENCE {
        Some(format!("a sequence of at most {MAX_SEQUENCE} for the new key"))
    } else if rotation == Rotation::Operator {
        Some("a key that the operator has registered, as ingest.rotation is operator".to_owned())
    } else {
        None
    };
    Ok(Some(problem.map_or(Ok(new), |expected| Err(refusal(expected, actual)))))
}

/// Returns true if a key begins after `sequence`, and was not revoked before its first one.
fn is_ahead(known: &RegisteredKey, sequence: u64) -> bool {
    let valid_from = known.key.valid_from;
    valid_from > sequence && known.revoked_from.is_none_or(|from| from > valid_from)
}

pub(crate) fn refusal(expected: impl Into<CheckedValue>, actual: impl Into<CheckedValue>) -> Refusal {
    (RejectionCode::SuccessionInvalid, expected.into(), actual.into())
}
