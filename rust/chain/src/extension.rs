//! Checks that new heads extend old ones: no chain was truncated, rewritten or removed since the old heads were taken.

use std::sync::Arc;

use crate::finding::{Evidence, Finding, FindingCode};
use crate::hash::Hash;
use crate::head::{Head, Heads};
use crate::level::ProvidedBy;
use crate::report::absent_device;

/// Returns the reasons why `new` does not extend `old`, by device.
///
/// Every device of `old` must be in `new` with the same sequence or a higher one, and the record at the old sequence
/// must still have the old hash. `found` returns the hash of the record at a sequence, or `None` if there is no record.
///
/// ```
/// use edgesentry_chain::{Device, Head, Heads, Scheme, check_extension};
/// let mut device = Device::from_seed("lift-01", [1; 32], Scheme::Record);
/// let (first, second) = (device.sign(1, b"a", "1")?, device.sign(2, b"b", "2")?);
/// let heads = |record: &edgesentry_chain::AuditRecord| {
///     Heads::from([("lift-01".into(), Head { sequence: record.sequence, hash: record.hash() })])
/// };
/// let found = |_: &str, sequence| (sequence == 1).then(|| first.hash());
/// assert!(check_extension(&heads(&first), &heads(&second), found).is_empty());
/// assert_eq!(check_extension(&heads(&second), &heads(&first), found).len(), 1);
/// # Ok::<(), edgesentry_chain::SignError>(())
/// ```
pub fn check_extension(
    old: &Heads,
    new: &Heads,
    mut found: impl FnMut(&str, u64) -> Option<Hash>,
) -> Vec<Finding> {
    let check = |(device_id, head): (&Arc<str>, &Head)| {
        let Some(last) = new.get(device_id) else {
            return Some(absent_device(device_id, head, ProvidedBy::Auditor));
        };
        let actual = if last.sequence < head.sequence {
            Evidence::Head { sequence: last.sequence, hash: last.hash }
        } else {
            match found(device_id, head.sequence) {
                Some(hash) if hash == head.hash => return None,
                Some(hash) => Evidence::Head { sequence: head.sequence, hash },
                None => Evidence::text(format!("no record at sequence {}", head.sequence)),
            }
        };
        let absent = absent_device(device_id, head, ProvidedBy::Auditor);
        Some(Finding { code: FindingCode::HeadMismatch, actual, ..absent })
    };
    old.iter().filter_map(check).collect()
}
