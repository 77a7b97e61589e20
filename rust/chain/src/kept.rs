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
        // Only a part of a run that was made up has two records at one position.
        Order::Position => {
            let devices = || a.device_id.cmp(&b.device_id);
            place(a).cmp(&place(b)).then_with(devices).then_with(|| a.sequence.cmp(&b.sequence))
        }
        Order::Sequence => {
            let in_table = |finding: &Finding| (finding.sequence, place(finding));
            a.device_id.cmp(&b.device_id).then_with(|| in_table(a).cmp(&in_table(b)))
        }
    }
}

/// Returns the first of two findings.
pub(crate) fn first_of(order: Order, one: Option<Finding>, other: Option<Finding>) -> Option<Finding> {
    match (one, other) {
        (Some(one), Some(other)) if compare_records(order, &other, &one).is_lt() => Some(other),
        (Some(one), _) => Some(one),
        (None, other) => other,
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

    /// Adds the findings of another store. A finding that one of both has dropped is not among the first of both.
    pub(crate) fn merge(&mut self, other: Kept) {
        let order = self.order;
        let is_before = |last: &Finding, own: &Finding| compare_records(order, last, own).is_lt();
        if let Some(last) = other.last
            && self.last.as_ref().is_none_or(|own| is_before(&last, own))
        {
            self.findings.retain(|finding| compare_records(order, finding, &last).is_le());
            self.last = Some(last);
        }
        self.add(other.findings);
    }

    fn cut(&mut self) {
        if self.findings.len() > self.most {
            let order = self.order;
            self.findings.select_nth_unstable_by(self.most, |a, b| compare(order, a, b));
            self.findings.truncate(self.most);
            self.last = self.findings.iter().max_by(|a, b| compare(order, a, b)).cloned();
        }
    }

    /// Returns the first findings, in the order of their records, and the last of them if others were dropped.
    pub(crate) fn into_parts(mut self) -> (Vec<Finding>, Option<Finding>) {
        self.cut();
        let order = self.order;
        self.findings.sort_by(|a, b| compare(order, a, b));
        (self.findings, self.last)
    }

    /// Adds findings of a store that has dropped all others from `last` on.
    pub(crate) fn add_until(&mut self, findings: Vec<Finding>, last: Option<Finding>) {
        self.merge(Kept { findings, last, ..Kept::in_order(self.most, self.order) });
    }

    /// Returns the finding from which on others were dropped.
    pub(crate) fn last(&self) -> Option<&Finding> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(device_id: &str, sequence: u64, index: u64, code: FindingCode) -> Finding {
        let finding = Finding::new(code, "", "");
        Finding { device_id: Some(device_id.into()), sequence: Some(sequence), index: Some(index), ..finding }
    }

    fn places(kept: Kept) -> Vec<(u64, FindingCode)> {
        kept.into_parts().0.iter().map(|finding| (finding.index.unwrap(), finding.code)).collect()
    }

    #[test]
    fn the_first_findings_are_kept_however_they_come() {
        use FindingCode::{PayloadMissing, PrevHashMismatch};
        let many = SLACK as u64 + 200;
        // Backwards, and each record has two findings, of which the payload ranks first.
        for step in [50, many] {
            let mut kept = Kept::new(3);
            let all: Vec<u64> = (0..many).rev().collect();
            for some in all.chunks(step as usize) {
                let of = |code| some.iter().map(move |at| finding("a", *at, *at, code));
                kept.add(of(PrevHashMismatch).chain(of(PayloadMissing)).collect());
                assert!(kept.findings().len() < 3 + 2 * step as usize + SLACK);
            }
            assert_eq!(places(kept), [(0, PayloadMissing), (0, PrevHashMismatch), (1, PayloadMissing)]);
        }
        let mut none = Kept::new(0);
        none.add(vec![finding("a", 1, 1, PayloadMissing)]);
        assert!(none.findings().is_empty() && places(none).is_empty());
    }

    #[test]
    fn findings_of_two_devices_at_one_position_have_one_order() {
        use FindingCode::Fork;
        let devices = ["c", "a", "b"];
        for start in 0..3 {
            let mut kept = Kept::new(3);
            kept.add((0..3).map(|at| finding(devices[(start + at) % 3], 1, 0, Fork)).collect());
            let found = kept.into_parts().0;
            let found: Vec<_> = found.iter().filter_map(|finding| finding.device_id.as_deref()).collect();
            assert_eq!(found, ["a", "b", "c"]);
        }
    }

    #[test]
    fn the_order_of_a_table_is_that_of_devices_and_sequences() {
        use FindingCode::{Fork, PayloadMissing};
        let add = |order| {
            let mut kept = Kept::in_order(4, order);
            let rows = [("b", 1, 0), ("a", 2, 1), ("a", 1, 2), ("a", 1, 3), ("c", 1, 4)];
            let rows = rows.map(|(device_id, sequence, index)| finding(device_id, sequence, index, Fork));
            kept.add(rows.to_vec());
            kept.add(vec![finding("a", 1, 2, PayloadMissing)]);
            places(kept)
        };
        assert_eq!(add(Order::Sequence), [(2, PayloadMissing), (2, Fork), (3, Fork), (1, Fork)]);
        assert_eq!(add(Order::Position), [(0, Fork), (1, Fork), (2, PayloadMissing), (2, Fork)]);
    }

    #[test]
    fn a_dropped_finding_is_kept_under_another_code_only_among_the_first() {
        for order in [Order::Position, Order::Sequence] {
            let mut kept = Kept::in_order(2, order);
            let many = SLACK as u64 + 10;
            kept.add((0..many).map(|at| finding("a", at, at, FindingCode::Fork)).collect());
            assert_eq!(kept.findings().len(), 2);
            // At the last record that is kept, and after it.
            kept.add(vec![finding("a", 1, 1, FindingCode::PayloadMissing)]);
            kept.add(vec![finding("a", 2, 2, FindingCode::PayloadMissing)]);
            assert_eq!(kept.findings().len(), 3);
            kept.remove(|finding| finding.index == Some(0));
            assert_eq!(places(kept), [(1, FindingCode::PayloadMissing), (1, FindingCode::Fork)]);
        }
    }

    /// Returns a store with the finding of each of these entries.
    fn kept(most: usize, entries: impl IntoIterator<Item = u64>) -> Kept {
        let mut kept = Kept::new(most);
        let malformed = |index| Finding::malformed(index, String::new(), String::new());
        kept.add(entries.into_iter().map(malformed).collect());
        kept
    }

    fn entries(kept: Kept) -> Vec<u64> {
        kept.into_parts().0.iter().filter_map(|finding| finding.index).collect()
    }

    #[test]
    fn a_store_records_its_first_dropped_finding() {
        let (findings, last) = kept(3, 0..10).into_parts();
        assert_eq!((findings.len(), last.as_ref().and_then(|last| last.index)), (3, Some(2)));
        let (all, none) = kept(3, 0..3).into_parts();
        assert_eq!((all.len(), none), (3, None));
        let mut whole = kept(3, [1, 7]);
        whole.add_until(findings, last.clone());
        whole.remove(|finding| finding.index < Some(2));
        assert_eq!(whole.last(), last.as_ref());
        // The finding at entry 7 does not take the place of those that were dropped.
        assert_eq!(entries(whole), [2]);
        let at = |index| Some(finding("a", 1, index, FindingCode::Fork));
        for (one, other, first) in
            [(Some(2), Some(5), Some(2)), (None, Some(5), Some(5)), (Some(2), None, Some(2))]
        {
            for (one, other) in [(one, other), (other, one)] {
                let found = first_of(Order::Position, one.and_then(at), other.and_then(at));
                assert_eq!(found.and_then(|found| found.index), first);
            }
        }
    }

    #[test]
    fn the_order_of_a_merge_does_not_change_the_findings() {
        // The first one has dropped the findings from entry 10 on.
        let (cut, other) = (kept(10, 0..10_000), kept(10, [5, 8, 12, 20_000]));
        assert!(cut.last.is_some() && other.last.is_none());
        for (mut one, next) in [(cut.clone(), other.clone()), (other, cut)] {
            one.merge(next);
            // The findings of a chain are verified again, and have become fewer.
            one.remove(|finding| finding.index.is_some_and(|index| index < 8));
            assert_eq!(entries(one), [8, 8, 9]);
        }
    }
}
