//! The findings kept, out of any number.

use crate::finding::{Finding, FindingCode};

/// Findings held beyond the limit before the excess is dropped.
const SLACK: usize = 8192;

/// The first `most` findings of an input, in the order of its records. Findings may be added in any order, so that
/// threads can share one instance; the result depends on the input alone.
#[derive(Debug)]
pub struct Kept {
    most: usize,
    findings: Vec<Finding>,
    /// Findings after this place are not among the first.
    last: Option<Place>,
}

type Place = (Option<u64>, u8, FindingCode);

pub(crate) fn place(finding: &Finding) -> Place {
    (finding.index, finding.code.rank(), finding.code)
}

impl Kept {
    /// Creates a store for at most `most` findings.
    pub fn new(most: usize) -> Kept {
        Kept { most, findings: Vec::new(), last: None }
    }

    /// Adds findings and drops those that are not among the first.
    pub fn add(&mut self, findings: Vec<Finding>) {
        if self.most == 0 {
            return;
        }
        let last = self.last;
        self.findings
            .extend(findings.into_iter().filter(|finding| last.is_none_or(|last| place(finding) < last)));
        if self.findings.len() >= self.most.saturating_add(self.most / 4).saturating_add(SLACK) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.findings.len() > self.most {
            self.findings.select_nth_unstable_by_key(self.most, place);
            self.findings.truncate(self.most);
            self.last = self.findings.iter().map(place).max();
        }
    }

    /// Returns the first findings, in the order of their records.
    pub(crate) fn into_findings(mut self) -> Vec<Finding> {
        self.cut();
        self.findings.sort_by_key(place);
        self.findings
    }
}
