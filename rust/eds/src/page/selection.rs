//! The findings that the page lists: all of them, up to a number that browsers can handle.

use std::collections::BTreeMap;

use edgesentry_chain::{Finding, FindingCode};

/// The largest number of findings that the page lists.
pub(super) const MAX_LISTED: usize = 10_000;

/// Selects at most `room` findings, in their order: all, or the first ones of each code, so that no code crowds out
/// another.
pub fn selected(findings: &[Finding], room: usize) -> Vec<&Finding> {
    let shares = shares(findings, room);
    let mut taken: BTreeMap<FindingCode, usize> = BTreeMap::new();
    let within = |finding: &&Finding| {
        let taken = taken.entry(finding.code).or_default();
        *taken += 1;
        *taken <= shares.get(&finding.code).copied().unwrap_or_default()
    };
    findings.iter().filter(within).collect()
}

/// Returns the number of listed findings of each code: rarer codes leave their unused share to the others.
fn shares(findings: &[Finding], room: usize) -> BTreeMap<FindingCode, usize> {
    let mut counts: BTreeMap<FindingCode, usize> = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.code).or_default() += 1;
    }
    let mut rarest: Vec<(FindingCode, usize)> = counts.into_iter().collect();
    rarest.sort_by_key(|(_, count)| *count);
    let (mut room, mut codes) = (room, rarest.len());
    let mut shares = BTreeMap::new();
    for (code, count) in rarest {
        let share = count.min(room / codes);
        shares.insert(code, share);
        (room, codes) = (room - share, codes - 1);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(counts: &[(FindingCode, usize)]) -> Vec<Finding> {
        let of = |(code, count): &(FindingCode, usize)| {
            let mut finding = Finding::malformed(0, "", "");
            finding.code = *code;
            vec![finding; *count]
        };
        counts.iter().flat_map(of).collect()
    }

    #[test]
    fn no_code_crowds_out_another() {
        let (fork, gap, malformed) =
            (FindingCode::Fork, FindingCode::SequenceGap, FindingCode::RecordMalformed);
        let shares = |counts: &[(FindingCode, usize)]| shares(&findings(counts), 100);
        assert_eq!(shares(&[(fork, 3), (gap, 4)]), BTreeMap::from([(fork, 3), (gap, 4)]));
        let crowded = shares(&[(fork, 1000), (gap, 4), (malformed, 70)]);
        assert_eq!(crowded, BTreeMap::from([(fork, 48), (gap, 4), (malformed, 48)]));
    }
}
