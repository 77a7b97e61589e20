//! Items of a checklist: each passes, fails or is unknown, with evidence.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The check was made and holds.
    Passed,
    /// The check was made and does not hold.
    Failed,
    /// The check could not be made; never a pass.
    Unknown,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Passed => "passed",
            Status::Failed => "failed",
            Status::Unknown => "unknown",
        })
    }
}

/// One item of a checklist.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Check {
    /// The checked property, such as `every acknowledged record is in the ledger`.
    pub name: String,
    /// The result.
    pub status: Status,
    /// The evidence: numbers, names, and the output that the result rests on.
    pub evidence: String,
}

impl Check {
    /// Returns a check that passed or failed.
    pub fn new(name: impl Into<String>, holds: bool, evidence: impl Into<String>) -> Check {
        let status = if holds { Status::Passed } else { Status::Failed };
        Check { name: name.into(), status, evidence: evidence.into() }
    }

    /// Returns a check that could not be made, with the reason.
    pub fn unknown(name: impl Into<String>, why: impl Into<String>) -> Check {
        Check { name: name.into(), status: Status::Unknown, evidence: why.into() }
    }
}

/// Returns failed if a check failed, else unknown if one is unknown or the list is empty, else passed.
pub fn verdict(checks: &[Check]) -> Status {
    let any = |status| checks.iter().any(|check| check.status == status);
    if any(Status::Failed) {
        Status::Failed
    } else if any(Status::Unknown) || checks.is_empty() {
        Status::Unknown
    } else {
        Status::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_checked_is_never_a_pass() {
        assert_eq!(verdict(&[]), Status::Unknown);
        let (passed, failed) = (Check::new("a", true, ""), Check::new("b", false, ""));
        assert_eq!(verdict(std::slice::from_ref(&passed)), Status::Passed);
        assert_eq!(verdict(&[passed.clone(), Check::unknown("c", "")]), Status::Unknown);
        assert_eq!(verdict(&[Check::unknown("c", ""), failed, passed]), Status::Failed);
    }
}
