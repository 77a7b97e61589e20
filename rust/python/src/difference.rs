//! The comparison of two reports.

use std::collections::HashMap;

use edgesentry_chain::{Finding, FindingCode, Hash};

/// The findings of two reports.
pub(crate) struct Parted {
    /// In the later report only.
    pub(crate) new: Vec<Finding>,
    /// In the earlier report only.
    pub(crate) gone: Vec<Finding>,
    /// In both, as the later report has them.
    pub(crate) same: Vec<Finding>,
}

/// The fault of a finding, without its place: another export has the record at another position of another file.
type Fault<'a> = (FindingCode, Option<&'a str>, Option<u64>, Option<Hash>, String, String);

/// Compares the findings of two reports; of equal ones, each is compared once.
pub(crate) fn parted(before: &[Finding], after: &[Finding]) -> Parted {
    let mut left: HashMap<Fault<'_>, Vec<&Finding>> = HashMap::new();
    for finding in before.iter().rev() {
        left.entry(fault(finding)).or_default().push(finding);
    }
    let mut parted = Parted { new: Vec::new(), gone: Vec::new(), same: Vec::new() };
    for finding in after {
        match left.get_mut(&fault(finding)).and_then(Vec::pop) {
            Some(_) => parted.same.push(finding.clone()),
            None => parted.new.push(finding.clone()),
        }
    }
    for finding in before {
        if left.get_mut(&fault(finding)).and_then(Vec::pop).is_some() {
            parted.gone.push(finding.clone());
        }
    }
    parted
}

fn fault(finding: &Finding) -> Fault<'_> {
    let Finding { code, sequence, record_hash, .. } = *finding;
    let device_id = finding.device_id.as_deref();
    (code, device_id, sequence, record_hash, finding.expected.to_string(), finding.actual.to_string())
}
