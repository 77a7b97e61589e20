//! The findings kept, out of any number.

use std::cmp::Ordering;

use crate::finding::{Finding, FindingCode};
use crate::runs::Order;

/// Findings held beyond the limit before the excess is dropped.
const SLACK: usize = 8192;

/// The first `most` findings of an input, in the order of its records. Findings may be added in any order, so that
/// threads can share one instance; the result depends on the input alone.
#[derive(Clone, Debug)]
pub struct Kept {
    most: usize,
    order: Order,
    findings: Vec<Finding>,
    /// Findings from this one on are not among the first.
    last: Option<Finding>,
}

type Place = (Option<u64>, u8, FindingCode);

fn place(finding: &Finding) -> Place {
    (finding.index, finding.code.rank(), finding.code)
}

/// Compares the places of two records.
fn compare_records(order: Order, a: &Finding, b: &Finding) -> Ordering {
    match order {
        Order::Position => a.index.cmp(&b.index),
        Order::Sequence => {
            let in_table = |finding: &Finding| (finding.sequence, finding.index);
            a.device_id.cmp(&b.device_id).then_with(|| in_table(a).cmp(&in_table(b)))
        }
    }
}

/// Compares two findings by the order of their records.
pub(crate) fn compare(order: Order, a: &Finding, b: &Finding) -> Ordering {
    match order {
        Order::Position => place(a).cmp(&place(b)),
        Order::Sequence => {
            let in_table = |finding: &Finding| (finding.sequence, place(finding));
            a.device_id.cmp(&b.device_id).then_with(|| in_table(a).cmp(&in_table(b)))
        }
    }
}

impl Kept {
    /// Creates a store for at most `most` findings.
    pub fn new(most: usize) -> Kept {
        Kept::in_order(most, Order::Position)
    }

    /// Creates a store of the first findings in this order.
    pub fn in_order(most: usize, order: Order) -> Kept {
        Kept { most, order, findings: Vec::new(), last: None }
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Removes findings. Those that were dropped before do not come back.
    pub(crate) fn remove(&mut self, is_removed: impl Fn(&Finding) -> bool) {
        self.findings.retain(|finding| !is_removed(finding));
    }

    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Adds findings and drops those that are not among the first.
    pub fn add(&mut self, findings: Vec<Finding>) {
        if self.most == 0 {
            return;
        }
        let (order, last) = (self.order, self.last.as_ref());
        // A finding may come back under another code.
        let is_first =
            |finding: &Finding| last.is_none_or(|last| compare_records(order, finding, last).is_le());
        self.findings.extend(findings.into_iter().filter(is_first));
        if self.findings.len() >= self.most.saturating_add(self.most / 4).saturating_add(SLACK) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.findings.len() > self.most {
            let order = self.order;
            self.findings.select_nth_unstable_by(self.most, |a, b| compare(order, a, b));
            self.findings.truncate(self.most);
            self.last = self.findings.iter().max_by(|a, b| compare(order, a, b)).cloned();
        }
    }

    /// Returns the first findings, in the order of their records.
    pub(crate) fn into_findings(mut self) -> Vec<Finding> {
        self.cut();
        let order = self.order;
        self.findings.sort_by(|a, b| compare(order, a, b));
        self.findings
    }
}
