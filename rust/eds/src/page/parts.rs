//! Common parts of the page: words, marks, times.

use edgesentry_chain::{Level, Verdict};
use edgesentry_formats::times::to_rfc3339;
use maud::{Markup, html};

use crate::levels::Standing;

/// Returns the verdict as the heading.
pub(super) fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "Valid",
        Verdict::Findings => "Findings",
        Verdict::NothingToVerify => "Nothing to verify",
    }
}

/// Renders a time for people: `2022-03-20 10:00:00Z`.
pub(super) fn stamp(unix_ms: u64) -> Markup {
    let exact = to_rfc3339(unix_ms);
    // Beyond the calendar the time is a bare number.
    if !exact.ends_with('Z') {
        return html! { (exact) " ms" };
    }
    html! { time datetime=(exact) { (exact.replace('T', " ")) } }
}

/// Renders the result of a level as a mark and a word, so that it does not depend on colour.
pub(super) fn standing(standing: Standing) -> Markup {
    let (class, mark, word) = match standing {
        Standing::Holds => ("good", "✓", "Holds"),
        Standing::Partly => ("care", "!", "Holds in part"),
        Standing::Findings => ("bad", "✗", "Findings"),
        Standing::NotChecked => ("none", "–", "Not checked"),
    };
    html! { span .standing .(class) { span .mark aria-hidden="true" { (mark) } " " (word) } }
}

/// Returns the CSS class of a level, for the colour of its marks.
pub(super) fn class_of(level: Level) -> &'static str {
    level.name()
}

/// Returns the shape of a level's marks around (`x`, `y`), `r` being half its size: levels differ in shape, not only
/// in colour.
pub(super) fn shape(level: Level, x: f64, y: f64, r: f64) -> String {
    match level {
        Level::Links => format!("M{:.1} {:.1}l{r:.1} {r:.1}l-{r:.1} {r:.1}l-{r:.1}-{r:.1}z", x, y - r),
        Level::Signatures => format!(
            "M{:.1} {y:.1}a{r:.1} {r:.1} 0 1 0 {:.1} 0a{r:.1} {r:.1} 0 1 0-{:.1} 0z",
            x - r,
            2.0 * r,
            2.0 * r
        ),
        Level::Payloads => {
            let side = 1.8 * r;
            format!("M{:.1} {:.1}h{side:.1}v{side:.1}h-{side:.1}z", x - side / 2.0, y - side / 2.0)
        }
        Level::Heads => format!("M{:.1} {:.1}l{r:.1} {:.1}h-{:.1}z", x, y - r, 1.9 * r, 2.0 * r),
        Level::Log => format!("M{:.1} {:.1}l{r:.1} -{:.1}h-{:.1}z", x, y + r, 1.9 * r, 2.0 * r),
    }
}
