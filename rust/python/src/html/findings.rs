//! Findings as a table that a script makes interactive.
//!
//! The first rows are HTML. The listed ones are JSON beside them, which the script shows in pages, sorted and filtered. The
//! plain table remains without scripts: in print, on GitHub, in a notebook that is not trusted. There are no ids, so a
//! page may hold any number of tables.

use std::fmt::Write;

use edgesentry_chain::{Finding, escape};
use edgesentry_formats::text::{count, number, shown};
use eds::page::selected;
use serde::Serialize;

use super::{cut, date, short};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("findings.js");

/// Maximum number of findings listed, and of bytes of their text.
const MAX_LISTED: usize = 500;
const MAX_LISTED_BYTES: usize = 400_000;
/// Number of findings in the plain table.
const PLAIN_ROWS: usize = 20;
/// Maximum number of characters of evidence.
const MAX_EVIDENCE_CHARS: usize = 400;

/// The script filters by the first three columns.
const COLUMNS: [&str; 8] = ["code", "level", "device", "sequence", "time", "place", "expected", "actual"];

/// The rows of the script.
#[derive(Serialize)]
struct Listed {
    columns: [&'static str; 8],
    rows: Vec<[Cell; 8]>,
}

/// The text of a cell.
#[derive(Default, Serialize)]
struct Cell {
    text: String,
    /// The text before its hashes were shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<String>,
    /// A second line.
    #[serde(skip_serializing_if = "Option::is_none")]
    minor: Option<String>,
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, ..Cell::default() }
    }
}

impl Cell {
    fn markup(&self) -> String {
        let title = self.whole.as_deref().map(|whole| format!(" title=\"{}\"", escape::markup(whole)));
        let minor = self.minor.as_deref().map(|minor| format!("<small>{}</small>", escape::markup(minor)));
        let (title, minor) = (title.unwrap_or_default(), minor.unwrap_or_default());
        format!("<td{title}>{}{minor}</td>", escape::markup(&self.text))
    }

    fn len(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.text.len() + optional(&self.whole) + optional(&self.minor)
    }
}

/// Formats findings as a table of their own.
pub(crate) fn findings(findings: &[Finding]) -> String {
    let mut html = begin();
    table(&mut html, findings, findings.len() as u64);
    html.push_str("</div>");
    html
}

/// Begins HTML with the style of this module.
pub(super) fn begin() -> String {
    format!("<div class=\"edgesentry\"><style>{STYLE}</style>")
}

/// Adds a table of findings, of `total` in all.
pub(super) fn table(html: &mut String, findings: &[Finding], total: u64) {
    if findings.is_empty() {
        html.push_str("<p>No finding.</p>");
        return;
    }
    let mut bytes = 0;
    let rows = selected(findings, MAX_LISTED).into_iter().map(cells).take_while(|cells| {
        bytes += cells.iter().map(Cell::len).sum::<usize>();
        bytes <= MAX_LISTED_BYTES
    });
    let listed = Listed { columns: COLUMNS, rows: rows.collect() };
    html.push_str(
        "<div class=\"edgesentry-findings\" data-lm-suppress-shortcuts=\"true\"><div class=\"rows\" role=\"region\" \
         aria-label=\"Findings\" tabindex=\"0\" style=\"max-height: 32em; overflow: auto\"><table><thead><tr>",
    );
    // Writing to a String cannot fail.
    for column in COLUMNS {
        let _ = write!(html, "<th scope=\"col\">{column}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for cells in listed.rows.iter().take(PLAIN_ROWS) {
        html.push_str("<tr>");
        cells.iter().for_each(|cell| html.push_str(&cell.markup()));
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    let shown = listed.rows.len() as u64;
    if shown > PLAIN_ROWS as u64 {
        let _ = write!(html, "<p class=\"plain\">The first {PLAIN_ROWS} of {}.</p>", count(shown, "finding"));
    }
    if total > shown {
        let _ = write!(
            html,
            "<p>The table lists {} of {} findings, some of each code. <code>filter()</code> and <code>to_pandas()</code> of \
             the findings reach the others that were kept.</p>",
            number(shown),
            number(total)
        );
    }
    // No text of it can end the script.
    let json = serde_json::to_string(&listed).unwrap_or_default().replace('<', "\\u003c");
    let _ = write!(html, "<script type=\"application/json\">{json}</script><script>{SCRIPT}</script></div>");
}

fn cells(finding: &Finding) -> [Cell; 8] {
    let time = finding.timestamp_ms.map(|timestamp_ms| Cell {
        text: date(timestamp_ms),
        minor: Some(format!("{timestamp_ms} ms")),
        ..Cell::default()
    });
    let place = finding.location.as_ref().map(|at| match at.record {
        0 => shown(&at.input),
        record => format!("{} record {record}", shown(&at.input)),
    });
    let cause = finding.cause.as_ref().map(|cause| match cause.sequence {
        Some(sequence) => format!("likely because of {} at sequence {sequence}", cause.code),
        None => format!("likely because of {}", cause.code),
    });
    [
        Cell { text: finding.code.to_string(), minor: cause, ..Cell::default() },
        finding.code.level().name().to_owned().into(),
        finding.device_id.as_deref().map(shown).unwrap_or_default().into(),
        finding.sequence.map(|sequence| sequence.to_string()).unwrap_or_default().into(),
        time.unwrap_or_default(),
        place.unwrap_or_default().into(),
        evidence(&finding.expected.to_string()),
        evidence(&finding.actual.to_string()),
    ]
}

fn evidence(text: &str) -> Cell {
    let whole = cut(&escape::sentence(text), MAX_EVIDENCE_CHARS).into_owned();
    let text = short(&whole);
    Cell { whole: (text != whole).then_some(whole), text, minor: None }
}
