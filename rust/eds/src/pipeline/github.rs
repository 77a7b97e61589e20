//! Annotations of GitHub Actions: workflow commands, one a line.

use std::collections::BTreeMap;

use edgesentry_chain::escape::{github_data, github_property};
use edgesentry_chain::{Finding, FindingCode, Report, Verdict};

use crate::pipeline::sentence_of;
use crate::text::{count, number, sentence};

/// The largest number of annotations of one kind that GitHub shows for a step.
const MAX_ANNOTATIONS: usize = 10;

/// Returns the report as annotations: errors for findings, notices for their likely causes, warnings for unchecked
/// parts.
pub(crate) fn annotations(report: &Report) -> String {
    let mut lines = Vec::new();
    if report.verdict == Verdict::NothingToVerify {
        lines.push(line(
            "error",
            &[("title", "nothing to verify")],
            "there was no record; this is not a pass",
        ));
    }
    for finding in chosen(report) {
        let code = finding.code.name();
        // Unquoted: GitHub looks for a file of this name.
        let file = finding.location.as_ref().map(|at| sentence(&at.input));
        let mut properties = vec![("title", code)];
        properties.extend(file.as_deref().map(|file| ("file", file)));
        lines.push(line("error", &properties, &sentence_of(finding)));
    }
    let total: u64 = report.counts.values().sum();
    if total > MAX_ANNOTATIONS as u64 {
        let counts: Vec<String> =
            report.counts.iter().map(|(code, total)| format!("{} {code}", number(*total))).collect();
        let text = format!("{} in all: {}", count(total, "finding"), counts.join(", "));
        lines.push(line("notice", &[("title", "findings")], &text));
    }
    for hint in &report.hints {
        lines.push(line("notice", &[("title", hint.code())], &sentence(&hint.likely_cause())));
    }
    for note in report.coverage.not_checked.iter().take(MAX_ANNOTATIONS) {
        lines.push(line("warning", &[("title", "not checked")], &note.with_level()));
    }
    lines.concat()
}

/// Returns the first findings of every code.
fn chosen(report: &Report) -> Vec<&Finding> {
    let mut nth: BTreeMap<FindingCode, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, &Finding)> = Vec::new();
    for finding in &report.findings {
        let nth = nth.entry(finding.code).or_default();
        if *nth < MAX_ANNOTATIONS {
            ranked.push((*nth, finding));
        }
        *nth += 1;
    }
    ranked.sort_by_key(|(nth, _)| *nth);
    ranked.into_iter().map(|(_, finding)| finding).take(MAX_ANNOTATIONS).collect()
}

/// Formats `::error title=…,file=…::text` for the runner.
fn line(command: &str, properties: &[(&str, &str)], text: &str) -> String {
    let properties: Vec<String> =
        properties.iter().map(|(key, value)| format!("{key}={}", github_property(value))).collect();
    format!("::{command} {}::{}\n", properties.join(","), github_data(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_an_annotation_before_its_end() {
        let line = line("error", &[("title", "a,b::c"), ("file", "x%\n")], "50%\r\n::error::forged");
        assert_eq!(line, "::error title=a%2Cb%3A%3Ac,file=x%25%0A::50%25%0D%0A::error::forged\n");
    }
}
