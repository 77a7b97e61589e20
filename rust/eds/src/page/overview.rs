//! The top of the page: verdict, coverage, unchecked parts, findings by kind.

use std::collections::BTreeSet;

use edgesentry_chain::{NotChecked, Report, Verdict};
use maud::{Markup, html};

use crate::levels::{Examined, Standing, examined};
use crate::page::parts::{class_of, stamp, standing, verdict_word};
use crate::text::{count, name, number, sentence};

/// Renders the verdict in one word and one sentence, with its figures.
pub(super) fn header(report: &Report, written_at_ms: u64) -> Markup {
    let (class, mark) = match report.verdict {
        Verdict::Valid => ("good", "✓"),
        Verdict::Findings => ("bad", "✗"),
        Verdict::NothingToVerify => ("care", "!"),
    };
    let coverage = &report.coverage;
    let total: u64 = report.counts.values().sum();
    let claimed = report.chains.values();
    let times = claimed.fold(None, |times, span| match times {
        None => Some((span.earliest_ms, span.latest_ms)),
        Some((earliest, latest)) => Some((span.earliest_ms.min(earliest), span.latest_ms.max(latest))),
    });
    html! {
        header .(class) {
            p .product { "EdgeSentry verification report · " (stamp(written_at_ms)) }
            h1 { span .mark aria-hidden="true" { (mark) } " " (verdict_word(report.verdict)) }
            p .lead { (lead(report)) }
            dl .figures {
                div { dt { "Records" } dd { (number(coverage.records)) } }
                div { dt { "Devices" } dd { (number(coverage.devices)) } }
                div { dt { "Findings" } dd { (number(total)) } }
                @if let Some((earliest, latest)) = times {
                    div .wide { dt { "From" } dd { (stamp(earliest)) } }
                    div .wide { dt { "To" } dd { (stamp(latest)) } }
                }
            }
        }
    }
}

/// Returns the meaning of the verdict, for readers of this sentence only.
fn lead(report: &Report) -> String {
    let coverage = &report.coverage;
    let (records, devices) = (count(coverage.records, "record"), count(coverage.devices, "device"));
    match report.verdict {
        Verdict::Valid => {
            let open = open_levels(report);
            let caveat = match open.as_slice() {
                [] => " Nothing that could be checked was left out.".into(),
                open => {
                    format!(" Not everything could be checked: see below for {}.", words(open))
                }
            };
            format!("Every check that was made holds, for {records} of {devices}.{caveat}")
        }
        Verdict::Findings => {
            let total = count(report.counts.values().sum(), "check");
            let affected: BTreeSet<&str> =
                report.findings.iter().filter_map(|finding| finding.device_id.as_deref()).collect();
            let missing =
                affected.iter().filter(|device_id| !report.chains.contains_key(**device_id)).count();
            let chains = (report.chains.len() + missing) as u64;
            let of = match affected.len() as u64 {
                0 => String::new(),
                affected => format!(" {} of {} affected.", number(affected), count(chains, "chain")),
            };
            format!(
                "{total} failed in {records} of {devices}.{of} The items below were altered or damaged, or are \
                 incomplete."
            )
        }
        Verdict::NothingToVerify => {
            let names: Vec<String> = report.inputs.iter().map(|input| name(&input.name)).collect();
            format!("There is no record in {}. This is not a pass.", names.join(", "))
        }
    }
}

/// Returns the levels that were not checked in full.
fn open_levels(report: &Report) -> Vec<&'static str> {
    examined(report)
        .filter(|examined| !examined.notes.is_empty())
        .map(|examined| examined.level.name())
        .collect()
}

/// Joins words as `a, b and c`.
fn words(items: &[&str]) -> String {
    match items {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => items.concat(),
    }
}

/// Renders the four levels, each with its question and its result.
pub(super) fn coverage(report: &Report) -> Markup {
    html! {
        section #coverage aria-labelledby="coverage-title" {
            h2 #coverage-title { "Checks" }
            div .levels {
                @for examined in examined(report) { (card(&examined)) }
            }
        }
    }
}

fn card(examined: &Examined<'_>) -> Markup {
    let class = match examined.standing {
        Standing::Holds => "good",
        Standing::Partly => "care",
        Standing::Findings => "bad",
        Standing::NotChecked => "none",
    };
    html! {
        div .level .(class) {
            h3 { (examined.level.name()) }
            p .question { (examined.level.question()) }
            p { (standing(examined.standing)) }
            p .amount {
                @match &examined.checked {
                    Some(checked) => { (checked) }
                    None => { "Its input was not given" }
                }
            }
            @if let Some(provided) = &examined.provided {
                p .amount { (provided) }
            }
            @if examined.findings > 0 {
                p .amount { strong { (count(examined.findings, "finding")) } }
            }
        }
    }
}

/// Renders the tampering that could go unnoticed, level by level.
pub(super) fn not_checked(report: &Report) -> Markup {
    let notes = examined(report).flat_map(|examined| examined.notes);
    let notes: Vec<&NotChecked> = notes.collect();
    html! {
        section #not-checked aria-labelledby="not-checked-title" {
            h2 #not-checked-title { "Checks that did not run, and why that matters" }
            @if notes.is_empty() {
                p { "All four levels were checked in full." }
            } @else {
                ul .notes {
                    @for note in notes {
                        li { strong { (note.level()) } " – " (note) "." }
                    }
                }
            }
            p .always {
                "No verification can show that a device told the truth or that its clock was right. Keys and heads from "
                "the auditor are worth as much as the place where they were kept; those that the manifest or the ledger "
                "claims are worth no more than the records themselves."
            }
        }
    }
}

/// Renders the number of findings by code.
pub(super) fn kinds(report: &Report) -> Markup {
    let most = report.counts.values().copied().max().unwrap_or(1).max(1);
    html! {
        section #kinds aria-labelledby="kinds-title" {
            h2 #kinds-title { "Findings by kind" }
            @for hint in &report.hints {
                p .always { strong { "Likely cause: " } (sentence(&hint.to_string())) "." }
            }
            div .scroll {
                table .kinds {
                    thead {
                        tr {
                            th scope="col" { "Code" }
                            th scope="col" { "Finding" }
                            th scope="col" { "Level" }
                            th scope="col" .figure { "Findings" }
                            td .bar {}
                        }
                    }
                    tbody {
                        @for (code, total) in report.kinds() {
                            @let level = code.level();
                            tr {
                                th scope="row" { a href={ "#about-" (code) } { code { (code) } } }
                                td { (code.summary()) }
                                td { (level.name()) }
                                td .figure { a href="#findings" data-code=(code) { (number(total)) } }
                                td .bar aria-hidden="true" {
                                    svg viewBox="0 0 100 10" preserveAspectRatio="none" {
                                        // The rarest code stays visible.
                                        rect .(class_of(level)) width=(share(total, most)) height="10" {}
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn share(total: u64, most: u64) -> String {
    format!("{:.1}", (100.0 * total as f64 / most as f64).max(1.0))
}
