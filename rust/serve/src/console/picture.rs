//! The chain of a device as a picture, by sequence: its records, gaps behind them, forks and rotations of its keys.

use edgesentry_formats::text::{count, number};
use edgesentry_rs::admission::RegisteredKey;
use edgesentry_rs::ledger::{DeviceRow, LogEntry};
use maud::{Markup, html};

/// The width of the picture, in its own units, and the part of it for an open gap.
const WIDTH: f64 = 1000.0;
const GAP_WIDTH: f64 = 120.0;
/// The places at which marks are drawn: more marks at one place are one.
const PLACES: f64 = 100.0;
/// The marks that are described in words.
const MAX_DESCRIBED: usize = 5;

/// The kinds of marks, each in a lane of its own, with another shape.
const KINDS: [(&str, &str); 3] = [("rotation", "change of keys"), ("gap", "gap"), ("fork", "fork")];

/// A chain to draw.
pub(super) struct Chain {
    first: u64,
    last: u64,
    /// The highest sequence that was rejected because those before it are missing.
    waiting: Option<u64>,
    /// Sequences by kind.
    marks: [Vec<u64>; 3],
}

impl Chain {
    /// Collects the marks from the keys of a device and its rejections.
    pub(super) fn of(
        device: &DeviceRow,
        keys: &[RegisteredKey],
        gaps: &[LogEntry],
        forks: &[LogEntry],
    ) -> Chain {
        let first = device.start_sequence.saturating_add(1);
        let last = device.head.sequence.max(first);
        let sequences =
            |entries: &[LogEntry]| entries.iter().filter_map(|entry| entry.sequence).collect::<Vec<_>>();
        let changes = keys
            .iter()
            .flat_map(|key| [Some(key.key.valid_from).filter(|from| *from > first), key.revoked_from]);
        let gaps = sequences(gaps);
        let waiting = gaps.iter().copied().filter(|sequence| *sequence > last.saturating_add(1)).max();
        let mut marks = [changes.flatten().collect::<Vec<_>>(), gaps, sequences(forks)];
        for marks in &mut marks {
            marks.sort_unstable();
            marks.dedup();
        }
        Chain { first, last, waiting, marks }
    }

    /// Returns the width of the records.
    fn records_width(&self) -> f64 {
        if self.waiting.is_some() { WIDTH - GAP_WIDTH } else { WIDTH }
    }

    fn x(&self, sequence: u64) -> f64 {
        let width = self.records_width();
        if sequence > self.last.saturating_add(1) {
            return if self.waiting.is_some() { WIDTH - 4.0 } else { width };
        }
        let all = (self.last - self.first) as f64 + 1.0;
        width * (sequence.saturating_sub(self.first) as f64 / all).clamp(0.0, 1.0)
    }

    /// Describes the picture in words.
    fn words(&self) -> String {
        let mut text = format!("Sequences {} to {}", number(self.first), number(self.last));
        for ((_, kind), marks) in KINDS.iter().zip(&self.marks) {
            if marks.is_empty() {
                continue;
            }
            let shown: Vec<String> =
                marks.iter().take(MAX_DESCRIBED).map(|sequence| number(*sequence)).collect();
            text += &format!("; {kind} at sequence {}", shown.join(", "));
            if let Some(more) = marks.len().checked_sub(MAX_DESCRIBED).filter(|more| *more > 0) {
                text += &format!(" and {} more", number(more as u64));
            }
        }
        if self.marks.iter().all(Vec::is_empty) {
            text += ": no gap, no fork, no change of keys";
        }
        text + "."
    }
}

/// Renders a chain with its legend and its description.
pub(super) fn picture(chain: &Chain) -> Markup {
    const LANE: f64 = 13.0;
    let top = LANE * KINDS.len() as f64;
    let words = chain.words();
    html! {
        (legend())
        figure .chain {
            svg .timeline viewBox={ "0 0 " (WIDTH) " " (top + 18.0) } role="img" aria-label=(words) {
                rect .records x="0" y=(top + 1.0) width=(format!("{:.1}", chain.records_width())) height="14" rx="2" {}
                @if chain.waiting.is_some() {
                    rect .missing x=(format!("{:.1}", WIDTH - GAP_WIDTH + 1.0)) y=(top + 1.0)
                        width=(format!("{:.1}", GAP_WIDTH - 2.0)) height="14" fill="url(#hatch)" {}
                }
                @for (lane, ((class, kind), marks)) in KINDS.iter().zip(&chain.marks).enumerate() {
                    @for (x, sequence, more) in spots(chain, marks) {
                        g .(*class) {
                            title {
                                (kind) " at sequence " (number(sequence))
                                @if more > 0 { ", and " (number(more)) " more nearby" }
                            }
                            rect .stem x=(format!("{:.1}", x - 0.5)) y=(LANE * (lane as f64 + 0.5)) width="1"
                                height=(format!("{:.1}", top + 14.0 - LANE * (lane as f64 + 0.5))) {}
                            path d=(shape(lane, x, LANE * (lane as f64 + 0.5))) {}
                        }
                    }
                }
            }
            p .ends {
                span { "sequence " (number(chain.first)) }
                span {
                    "sequence " (number(chain.last))
                    @if let Some(waiting) = chain.waiting {
                        "; the device has sent up to " (number(waiting)) ", and " (count(waiting - chain.last - 1, "record"))
                        " before it are missing"
                    }
                }
            }
            figcaption { (words) }
        }
    }
}

/// Returns the places of marks, each with its first sequence and the number of the others.
fn spots(chain: &Chain, marks: &[u64]) -> Vec<(f64, u64, u64)> {
    let mut spots: Vec<(f64, u64, u64)> = Vec::new();
    for sequence in marks {
        let x = chain.x(*sequence).clamp(4.0, WIDTH - 4.0);
        match spots.last_mut() {
            Some((last, _, more)) if x - *last < WIDTH / PLACES => *more += 1,
            _ => spots.push((x, *sequence, 0)),
        }
    }
    spots
}

fn shape(kind: usize, x: f64, y: f64) -> String {
    match kind {
        0 => format!("M{x:.1} {:.1}l4 7h-8z", y - 4.0),
        1 => format!("M{x:.1} {:.1}l4 4l-4 4l-4-4z", y - 4.0),
        _ => format!("M{:.1} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", x - 4.0),
    }
}

fn legend() -> Markup {
    html! {
        svg .hidden width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                pattern #hatch width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect .hatch width="2" height="6" {}
                }
            }
        }
        ul .legend aria-label="Legend" {
            li { (sample(&html! { rect .records x="1" y="4" width="22" height="10" rx="2" {} })) "records" }
            li { (sample(&html! { rect .missing x="1" y="4" width="22" height="10" fill="url(#hatch)" {} })) "missing" }
            @for (kind, (class, text)) in KINDS.iter().enumerate() {
                li { (sample(&html! { path .(*class) d=(shape(kind, 12.0, 9.0)) {} })) (text) }
            }
        }
    }
}

fn sample(content: &Markup) -> Markup {
    html! { svg .sample viewBox="0 0 24 18" width="24" height="18" aria-hidden="true" focusable="false" { (content) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_sequence_has_a_place() {
        let marks = [vec![], vec![0, 1, u64::MAX], vec![]];
        for (first, last) in [(1, 1), (1, u64::MAX), (u64::MAX, u64::MAX)] {
            for waiting in [None, Some(u64::MAX)] {
                let waiting = waiting.filter(|waiting| *waiting > last);
                let chain = Chain { first, last, waiting, marks: marks.clone() };
                for sequence in [0, 1, 2, u64::MAX] {
                    assert!((0.0..=WIDTH).contains(&chain.x(sequence)));
                }
                assert!(!picture(&chain).into_string().contains("NaN"));
            }
        }
    }

    #[test]
    fn many_marks_are_few_places() {
        let chain = Chain {
            first: 1,
            last: 1_000_000,
            waiting: None,
            marks: [vec![], (1..=100_000).collect(), vec![]],
        };
        assert!(spots(&chain, &chain.marks[1]).len() <= 101);
        assert!(chain.words().len() < 200, "{}", chain.words());
    }
}
