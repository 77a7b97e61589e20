//! The positions of sequences on a timeline. Sequences come from evidence that may be forged: any number is possible.

use edgesentry_chain::{ChainSpan, Evidence, Finding, FindingCode};

/// The width of a timeline, in its own units.
pub(super) const WIDTH: f64 = 1000.0;

/// Sequences from left to right: in proportion, but gaps take at most a twentieth of the width of the records.
pub(super) struct Axis {
    pub(super) low: u64,
    pub(super) high: u64,
    /// The pieces, in order and contiguous.
    pub(super) pieces: Vec<Piece>,
}

/// A run of present or missing sequences.
pub(super) struct Piece {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) missing: bool,
    pub(super) x: f64,
    pub(super) width: f64,
}

impl Axis {
    pub(super) fn of(span: Option<&ChainSpan>, findings: &[&Finding]) -> Axis {
        let ends = span.into_iter().flat_map(|span| [span.lowest_sequence, span.highest_sequence]);
        let ends = ends.chain(findings.iter().filter_map(|finding| finding.sequence));
        let gaps = merged(findings.iter().filter_map(|finding| gap(finding, span)).collect());
        let ends: Vec<u64> = ends.chain(gaps.iter().flat_map(|(first, last)| [*first, *last])).collect();
        let low = ends.iter().copied().min().unwrap_or(1);
        let high = ends.iter().copied().max().unwrap_or(1);
        let mut axis = Axis { low, high, pieces: pieces(low, high, &gaps) };
        axis.lay_out();
        axis
    }

    /// Returns the position of `sequence`, from 0 to [`WIDTH`].
    pub(super) fn x(&self, sequence: u64) -> f64 {
        let at = self.pieces.partition_point(|piece| piece.last < sequence);
        let Some(piece) = self.pieces.get(at) else { return WIDTH };
        let within = sequence.saturating_sub(piece.first) as f64 / length(piece.first, piece.last);
        // In the middle of the space for one record.
        piece.x + piece.width * within + piece.width / length(piece.first, piece.last) / 2.0
    }

    fn lay_out(&mut self) {
        let size = |piece: &Piece| length(piece.first, piece.last);
        let present: f64 = self.pieces.iter().filter(|piece| !piece.missing).map(size).sum();
        let gaps = self.pieces.iter().filter(|piece| piece.missing).count();
        let longest =
            if present > 0.0 { (present / 20.0).min(present / gaps.max(1) as f64) } else { f64::MAX };
        let shown = |piece: &Piece| if piece.missing { size(piece).min(longest) } else { size(piece) };
        let total: f64 = self.pieces.iter().map(shown).sum();
        let mut x = 0.0;
        for piece in &mut self.pieces {
            piece.x = x;
            piece.width = WIDTH * shown(piece) / total;
            x += piece.width;
        }
    }
}

fn length(first: u64, last: u64) -> f64 {
    (last - first) as f64 + 1.0
}

/// Returns the sequences that a finding reports missing, first and last.
fn gap(finding: &Finding, span: Option<&ChainSpan>) -> Option<(u64, u64)> {
    let (first, last) = match (finding.code, &finding.expected, &finding.actual) {
        (
            FindingCode::SequenceGap | FindingCode::FirstRecordNotGenesis,
            Evidence::Sequence(expected),
            Evidence::Sequence(actual),
        ) => (*expected, actual.checked_sub(1)?),
        (
            FindingCode::HeadMismatch,
            Evidence::Head { sequence, .. } | Evidence::ClaimedHead { sequence, .. },
            Evidence::Head { sequence: last, .. },
        ) => (last.checked_add(1)?, *sequence),
        (
            FindingCode::DeviceMissing,
            Evidence::Head { sequence, .. } | Evidence::ClaimedHead { sequence, .. },
            _,
        ) if span.is_none() => (1, *sequence),
        _ => return None,
    };
    (first <= last).then_some((first, last))
}

/// Returns gaps in order; those that touch or overlap are merged.
fn merged(mut gaps: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    gaps.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(gaps.len());
    for (first, last) in gaps {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn pieces(low: u64, high: u64, gaps: &[(u64, u64)]) -> Vec<Piece> {
    let piece = |first, last, missing| Piece { first, last, missing, x: 0.0, width: 0.0 };
    let mut pieces = Vec::with_capacity(2 * gaps.len() + 1);
    let mut next = Some(low);
    for (first, last) in gaps {
        if let Some(from) = next.filter(|from| from < first) {
            pieces.push(piece(from, first - 1, false));
        }
        pieces.push(piece(*first, *last, true));
        next = last.checked_add(1);
    }
    if let Some(from) = next.filter(|from| *from <= high) {
        pieces.push(piece(from, high, false));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: FindingCode, expected: u64, actual: u64) -> Finding {
        let mut finding = Finding::malformed(0, "", "");
        finding.code = code;
        finding.sequence = Some(actual);
        finding.expected = Evidence::Sequence(expected);
        finding.actual = Evidence::Sequence(actual);
        finding
    }

    fn span(lowest_sequence: u64, highest_sequence: u64) -> ChainSpan {
        ChainSpan { records: 1, lowest_sequence, highest_sequence, earliest_ms: 0, latest_ms: 0 }
    }

    #[test]
    fn a_huge_gap_leaves_room_for_the_records() {
        let gap = found(FindingCode::SequenceGap, 101, u64::MAX);
        let axis = Axis::of(Some(&span(1, u64::MAX)), &[&gap]);
        assert_eq!((axis.low, axis.high, axis.pieces.len()), (1, u64::MAX, 3));
        assert!(axis.x(100) > 0.9 * WIDTH, "{}", axis.x(100));
        assert!(axis.x(1) < axis.x(2) && axis.x(u64::MAX) <= WIDTH);
    }

    #[test]
    fn every_sequence_is_within_the_line() {
        let findings = [
            found(FindingCode::SequenceGap, 10, 20),
            found(FindingCode::SequenceGap, 15, 30),
            found(FindingCode::FirstRecordNotGenesis, 1, 5),
            found(FindingCode::SequenceOutOfOrder, 40, 0),
        ];
        let axis = Axis::of(Some(&span(5, 50)), &findings.iter().collect::<Vec<_>>());
        let missing: Vec<_> = axis.pieces.iter().filter(|p| p.missing).map(|p| (p.first, p.last)).collect();
        assert_eq!(missing, [(1, 4), (10, 29)]);
        for sequence in 0..=60 {
            assert!((0.0..=WIDTH).contains(&axis.x(sequence)), "{sequence}");
        }
    }

    #[test]
    fn a_chain_that_is_missing_whole_is_one_gap() {
        let mut missing = found(FindingCode::DeviceMissing, 0, 9);
        missing.expected = Evidence::Head { sequence: 9, hash: edgesentry_chain::Hash::ZERO };
        let axis = Axis::of(None, &[&missing]);
        assert_eq!((axis.pieces.len(), axis.pieces[0].width), (1, WIDTH));
    }
}
