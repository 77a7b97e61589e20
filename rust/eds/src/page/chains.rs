//! The timeline of each chain, from its first sequence to its last, with the faults marked.
//!
//! A chain of a million records is as wide as one of ten: findings at the same spot become one mark.

mod axis;

use std::collections::{BTreeMap, HashMap};

use edgesentry_chain::{ChainSpan, Finding, Level, Report};
use maud::{Markup, html};

use self::axis::{Axis, WIDTH};
use crate::page::parts::{class_of, shape, stamp};
use crate::text::{count, name, number};

/// Chains with findings that are drawn, those with most findings first.
const MAX_BROKEN_CHAINS: usize = 100;
/// Chains without findings that are drawn.
const MAX_SOUND_CHAINS: usize = 20;
/// The number of spots on one timeline.
const MAX_SPOTS: usize = 100;
/// The height of a lane of marks, of the line of records, and of the space below it.
const LANE: f64 = 13.0;
const LINE: f64 = 14.0;

/// Renders the chains, broken ones first.
pub(super) fn section(report: &Report) -> Markup {
    let chains = Chains::of(report);
    html! {
        section #chains aria-labelledby="chains-title" {
            h2 #chains-title { "Timeline of the chains" }
            p {
                "Each line is the chain of one device, drawn by sequence, from its first record to its last. Times are "
                "those that the records claim. Long gaps are shortened."
            }
            (legend(&chains.levels))
            @for (device_id, findings) in chains.broken.iter().take(MAX_BROKEN_CHAINS) {
                (chain(device_id, report.chains.get(*device_id), findings))
            }
            @for device_id in chains.sound.iter().take(MAX_SOUND_CHAINS) {
                (chain(device_id, report.chains.get(*device_id), &[]))
            }
            (not_drawn(chains.broken.len(), MAX_BROKEN_CHAINS, "with findings"))
            (not_drawn(chains.sound.len(), MAX_SOUND_CHAINS, "without a finding"))
            @if chains.homeless > 0 {
                p .more {
                    (count(chains.homeless, "finding")) " about entries that are not records, or about the log as a \
                         whole, and so belong to no chain."
                }
            }
            @if report.findings_omitted > 0 {
                p .more { (count(report.findings_omitted, "finding")) " were counted but not kept, and are not drawn." }
            }
        }
    }
}

struct Chains<'a> {
    broken: Vec<(&'a str, Vec<&'a Finding>)>,
    sound: Vec<&'a str>,
    /// The levels with findings.
    levels: Vec<Level>,
    homeless: u64,
}

impl<'a> Chains<'a> {
    fn of(report: &'a Report) -> Chains<'a> {
        let mut by_device: HashMap<&str, Vec<&Finding>> = HashMap::new();
        let mut homeless = 0;
        for finding in &report.findings {
            match &finding.device_id {
                Some(device_id) => by_device.entry(device_id).or_default().push(finding),
                None => homeless += 1,
            }
        }
        let devices = report.chains.keys().map(|device_id| &**device_id);
        let sound = devices.filter(|device_id| !by_device.contains_key(device_id)).collect();
        let mut broken: Vec<_> = by_device.into_iter().collect();
        broken.sort_by(|(a, some), (b, others)| others.len().cmp(&some.len()).then(a.cmp(b)));
        let all: Vec<&Finding> = broken.iter().flat_map(|(_, found)| found).copied().collect();
        Chains { levels: levels(&all), broken, sound, homeless }
    }
}

/// Returns the levels of findings: each has a lane of its own on a timeline.
fn levels(findings: &[&Finding]) -> Vec<Level> {
    let has_findings = |level: &Level| findings.iter().any(|finding| finding.code.level() == *level);
    Level::ALL.iter().copied().filter(has_findings).collect()
}

fn not_drawn(chains: usize, drawn: usize, which: &str) -> Markup {
    let more = chains.saturating_sub(drawn) as u64;
    html! {
        @if more > 0 {
            p .more { (count(more, "more chain")) " " (which) (if more == 1 { " is" } else { " are" }) " not drawn." }
        }
    }
}

fn legend(levels: &[Level]) -> Markup {
    html! {
        // Hatching, for all timelines of the page.
        svg .hidden width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                pattern #hatch width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect .hatch width="2" height="6" {}
                }
            }
        }
        ul .legend aria-label="Legend" {
            li { (sample(html! { rect .records x="1" y="4" width="22" height="10" rx="2" {} })) "records" }
            li { (sample(html! { rect .missing x="1" y="4" width="22" height="10" rx="2" fill="url(#hatch)" {} })) "missing" }
            @for level in levels {
                li { (sample(html! { path .(class_of(*level)) d=(shape(*level, 12.0, 9.0, 5.0)) {} })) (level.name()) " finding" }
            }
        }
    }
}

fn sample(content: Markup) -> Markup {
    html! { svg .sample viewBox="0 0 24 18" width="24" height="18" aria-hidden="true" focusable="false" { (content) } }
}

fn chain(device_id: &str, span: Option<&ChainSpan>, findings: &[&Finding]) -> Markup {
    let axis = Axis::of(span, findings);
    let device = name(device_id);
    html! {
        figure .chain {
            figcaption {
                span .device { bdi { (device) } }
                span .minor {
                    @match span { Some(span) => { (count(span.records, "record")) } None => { "no record" } }
                }
                @if findings.is_empty() {
                    span .sound { "no finding" }
                } @else {
                    a href="#findings" data-device=(device) { (count(findings.len() as u64, "finding")) }
                }
            }
            (drawing(&axis, findings, &described(&device, span, findings)))
            @if let Some(span) = span {
                p .ends {
                    span { "sequence " (number(axis.low)) " · " (stamp(span.earliest_ms)) }
                    span { "sequence " (number(axis.high)) " · " (stamp(span.latest_ms)) }
                }
            }
        }
    }
}

/// Returns the same as text.
fn described(device: &str, span: Option<&ChainSpan>, findings: &[&Finding]) -> String {
    const MAX_DESCRIBED_FINDINGS: usize = 5;
    let mut text = match span {
        Some(span) => {
            let (first, last) = (number(span.lowest_sequence), number(span.highest_sequence));
            format!("Chain of {device}, sequences {first} to {last}: ")
        }
        None => format!("Chain of {device}, which is missing: "),
    };
    if findings.is_empty() {
        return text + "no finding.";
    }
    let told = findings.iter().take(MAX_DESCRIBED_FINDINGS).map(|finding| match finding.sequence {
        Some(sequence) => format!("{} at sequence {}", finding.code, number(sequence)),
        None => finding.code.to_string(),
    });
    text += &told.collect::<Vec<_>>().join(", ");
    if let Some(more) = findings.len().checked_sub(MAX_DESCRIBED_FINDINGS).filter(|more| *more > 0) {
        text += &format!(", and {} more", number(more as u64));
    }
    text + "."
}

fn drawing(axis: &Axis, findings: &[&Finding], words: &str) -> Markup {
    let lanes = levels(findings);
    let top = LANE * lanes.len() as f64;
    let height = top + LINE + 2.0;
    html! {
        svg .timeline viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(words) {
            @for piece in &axis.pieces {
                @let (x, width) = (format!("{:.1}", piece.x), format!("{:.1}", (piece.width - 0.5).max(1.0)));
                @if piece.missing {
                    rect .missing x=(x) y=(top + 1.0) width=(width) height=(LINE) fill="url(#hatch)" {
                        title { "missing: sequence " (number(piece.first)) " to " (number(piece.last)) }
                    }
                } @else {
                    rect .records x=(x) y=(top + 1.0) width=(width) height=(LINE) rx="2" {}
                }
            }
            @for (at, level) in lanes.iter().enumerate() {
                @for spot in spots(axis, findings, *level) {
                    (mark(&spot, *level, LANE * (at as f64 + 0.5), top))
                }
            }
        }
    }
}

/// Findings of one level at one spot.
struct Spot<'a> {
    x: f64,
    first: &'a Finding,
    last: &'a Finding,
    count: usize,
}

fn spots<'a>(axis: &Axis, findings: &[&'a Finding], level: Level) -> Vec<Spot<'a>> {
    let mut spots: BTreeMap<usize, Spot<'a>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.code.level() == level) {
        let x = axis.x(finding.sequence.unwrap_or(axis.low));
        let spot = spots.entry((x / WIDTH * MAX_SPOTS as f64) as usize);
        let spot = spot.or_insert(Spot { x, first: finding, last: finding, count: 0 });
        spot.last = finding;
        spot.count += 1;
    }
    spots.into_values().collect()
}

fn mark(spot: &Spot<'_>, level: Level, y: f64, top: f64) -> Markup {
    // More findings make a larger mark, in three steps.
    let r = match spot.count {
        1 => 3.6,
        2..=9 => 4.2,
        _ => 4.8,
    };
    let x = spot.x.clamp(r, WIDTH - r);
    let at = |finding: &Finding| finding.sequence.map_or_else(String::new, number);
    html! {
        g .(class_of(level)) {
            title {
                @if spot.count == 1 {
                    (spot.first.code) " at sequence " (at(spot.first))
                } @else {
                    (number(spot.count as u64)) " findings, sequence " (at(spot.first)) " to " (at(spot.last))
                }
            }
            rect .stem x=(format!("{:.1}", x - 0.75)) y=(y) width="1.5" height=(format!("{:.1}", top + LINE + 1.0 - y)) {}
            path d=(shape(level, x, y, r)) {}
        }
    }
}
