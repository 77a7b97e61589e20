//! JUnit XML: a suite for every level, a test case for every code, so that the cases are the same in every run.
//!
//! It uses the elements and attributes that Jenkins, GitLab and others read; tests/schemas/junit.xsd lists them.

use edgesentry_chain::{FindingCode, Hint, Level, Report, RootCheck, Verdict};
use maud::{Markup, PreEscaped, html};

use crate::levels::{Examined, examine};
use crate::pipeline::sentence_of;
use crate::text::{count, number, sentence};

/// The number of findings that are listed for each code.
const MAX_FINDINGS_PER_CODE: usize = 100;

/// Returns the report as JUnit XML.
pub(crate) fn junit(report: &Report) -> String {
    let suites = report.coverage.levels().map(|level| Suite::of(report, level)).collect::<Vec<_>>();
    let sum = |of: fn(&Suite<'_>) -> usize| suites.iter().map(of).sum::<usize>();
    let nothing = report.verdict == Verdict::NothingToVerify;
    let text = html! {
        (PreEscaped("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"))
        testsuites name="eds verify-chain" tests=(sum(|suite| suite.codes.len()) + usize::from(nothing))
            failures=(sum(|suite| suite.failed)) errors=(usize::from(nothing)) skipped=(sum(|suite| suite.skipped())) {
            @if nothing {
                testsuite name="input" tests="1" failures="0" errors="1" skipped="0" {
                    testcase classname="edgesentry.input" name="something_to_verify" {
                        error message="there was no record to verify" type="nothing_to_verify" {}
                    }
                }
            }
            @for suite in &suites { (suite.element(report)) }
        }
    };
    text.into_string() + "\n"
}

struct Suite<'a> {
    examined: Examined<'a>,
    codes: Vec<FindingCode>,
    failed: usize,
    skipped: Vec<FindingCode>,
}

impl<'a> Suite<'a> {
    fn of(report: &'a Report, level: Level) -> Suite<'a> {
        let codes: Vec<FindingCode> =
            FindingCode::ALL.iter().copied().filter(|code| code.level() == level).collect();
        let failed = codes.iter().filter(|code| report.counts.contains_key(code)).count();
        let examined = examine(level, report);
        let is_skipped = |code: &FindingCode| {
            !report.counts.contains_key(code)
                && (examined.checked.is_none() || needs_more_of_the_log(report, *code))
        };
        let skipped = codes.iter().copied().filter(is_skipped).collect();
        Suite { examined, codes, failed, skipped }
    }

    fn skipped(&self) -> usize {
        self.skipped.len()
    }

    fn why_skipped(&self, code: FindingCode) -> String {
        if code == FindingCode::TimestampInvalid && self.examined.checked.is_some() {
            return "no time stamp was verified".to_owned();
        }
        self.examined.notes.first().map_or_else(|| "not checked".to_owned(), ToString::to_string)
    }

    fn element(&self, report: &Report) -> Markup {
        let name = self.examined.level.name();
        let hints: Vec<&Hint> =
            report.hints.iter().filter(|hint| hint.level() == self.examined.level).collect();
        html! {
            testsuite name=(name) tests=(self.codes.len()) failures=(self.failed) errors="0"
                skipped=(self.skipped()) {
                @if !self.examined.notes.is_empty() || self.examined.provided.is_some() || !hints.is_empty() {
                    properties {
                        @if let Some(provided) = &self.examined.provided {
                            property name="provided_by" value=(provided) {}
                        }
                        @for note in &self.examined.notes { property name="not_checked" value=(note) {} }
                        @for hint in &hints { property name="likely_cause" value=(sentence(&hint.to_string())) {} }
                    }
                }
                @for code in &self.codes {
                    testcase classname={ "edgesentry." (name) } name=(code) {
                        @if let Some(total) = report.counts.get(code) {
                            (failure(report, *code, *total))
                        } @else if self.skipped.contains(code) {
                            skipped message=(self.why_skipped(*code)) {}
                        }
                    }
                }
            }
        }
    }
}

/// Returns true if the log was not compared far enough to decide about the code, or no time stamp was verified.
fn needs_more_of_the_log(report: &Report, code: FindingCode) -> bool {
    use FindingCode::{
        CheckpointInconsistent, CheckpointMismatch, HeadsMismatch, KeyNotLogged, LeafMissing, NotIncluded,
        TimestampInvalid,
    };
    let Some(log) = &report.coverage.log else { return false };
    match (log.root, code) {
        (_, TimestampInvalid) => log.timestamps.is_empty(),
        (RootCheck::Compared, _) => false,
        (_, CheckpointMismatch | CheckpointInconsistent | HeadsMismatch) => true,
        (RootCheck::NoLayout, LeafMissing | NotIncluded | KeyNotLogged) => true,
        (RootCheck::OutOfOrder, LeafMissing) => true,
        _ => false,
    }
}

fn failure(report: &Report, code: FindingCode, total: u64) -> Markup {
    let told: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| finding.code == code)
        .take(MAX_FINDINGS_PER_CODE)
        .map(sentence_of)
        .collect();
    let more = total - told.len() as u64;
    html! {
        failure message={ (count(total, "finding")) ": " (code.summary()) } type=(code) {
            (told.join("\n"))
            @if more > 0 { "\nand " (number(more)) " more" }
        }
    }
}
