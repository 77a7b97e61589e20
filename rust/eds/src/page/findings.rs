//! The findings: a table that can be read without JavaScript, in groups that open one by one.

use std::collections::BTreeSet;

use edgesentry_chain::{Finding, Report};
use maud::{Markup, html};

use crate::page::parts::stamp;
use crate::render::{because, evidence};
use crate::text::{name, number};

/// The number of findings in a group.
const GROUP_FINDINGS: usize = 100;
/// The most devices that the filter offers; the search finds the others.
const MAX_OFFERED_FINDINGS: usize = 1_000;

/// Renders the listed findings of a report, with a filter that the script enables.
pub(super) fn section(report: &Report, findings: &[&Finding]) -> Markup {
    let total: u64 = report.counts.values().sum();
    html! {
        section #findings aria-labelledby="findings-title" {
            h2 #findings-title tabindex="-1" { "Findings" }
            @if total > findings.len() as u64 {
                p .more {
                    "This page lists " (number(findings.len() as u64)) " of " (number(total))
                    " findings, some of every kind. "
                    code { "eds verify-chain --json" } " lists all that were kept ("
                    (number(report.findings.len() as u64)) "; see " code { "--max-findings" } ")."
                }
            }
            (filter(report, findings))
            div #groups {
                @for (at, group) in findings.chunks(GROUP_FINDINGS).enumerate() {
                    @let first = at * GROUP_FINDINGS;
                    details open[at == 0] {
                        summary {
                            "Findings " (number(first as u64 + 1)) " to " (number((first + group.len()) as u64))
                        }
                        (table(group, first))
                    }
                }
            }
        }
    }
}

/// Renders the filter, hidden until the script has started.
fn filter(report: &Report, findings: &[&Finding]) -> Markup {
    let devices: BTreeSet<&str> = findings.iter().filter_map(|f| f.device_id.as_deref()).collect();
    html! {
        form #filter hidden role="search" aria-label="Filter the findings" {
            label { "Search" input type="search" name="text" placeholder="device, sequence, hash, file" autocomplete="off"; }
            label {
                "Kind"
                select name="code" {
                    option value="" { "all" }
                    @for (code, _) in report.kinds() { option value=(code) { (code) } }
                }
            }
            @if devices.len() > 1 {
                label {
                    "Device"
                    select name="device" {
                        option value="" { "all" }
                        @for device_id in devices.iter().take(MAX_OFFERED_FINDINGS) {
                            option value=(name(device_id)) { (name(device_id)) }
                        }
                    }
                }
            }
            button type="reset" { "Clear" }
        }
        div #pager hidden {
            p #status role="status" aria-live="polite" {}
            div role="group" aria-label="Pages" {
                button type="button" data-go="first" { "First" }
                button type="button" data-go="back" { "Previous" }
                button type="button" data-go="on" { "Next" }
                button type="button" data-go="last" { "Last" }
            }
        }
    }
}

fn table(group: &[&Finding], first: usize) -> Markup {
    html! {
        table .findings {
            thead {
                tr {
                    th scope="col" { "Finding" }
                    th scope="col" { "Record" }
                    th scope="col" { "Expected and found" }
                }
            }
            tbody {
                @for (at, finding) in group.iter().enumerate() { (row(finding, first + at)) }
            }
        }
    }
}

fn row(finding: &Finding, at: usize) -> Markup {
    let device = finding.device_id.as_deref().map(name);
    html! {
        tr id={ "f" (at + 1) } data-code=(finding.code) data-device=[device.as_deref()] {
            th scope="row" {
                span .number { (number(at as u64 + 1)) }
                a href={ "#about-" (finding.code) } { code { (finding.code) } }
                @if let Some(cause) = &finding.cause {
                    p .cause { "likely because of " (because(cause)) }
                }
            }
            td {
                @if let Some(device) = &device { p .device { bdi { (device) } } }
                @if let Some(sequence) = finding.sequence { p { "sequence " (number(sequence)) } }
                @if let Some(timestamp_ms) = finding.timestamp_ms { p .minor { (stamp(timestamp_ms)) } }
                @match (&finding.location, finding.index) {
                    (Some(at), _) if at.record == 0 => { p .minor { bdi { (name(&at.input)) } } }
                    (Some(at), _) => { p .minor { bdi { (name(&at.input)) } " record " (number(at.record)) } }
                    (None, Some(index)) => { p .minor { "record " (number(index + 1)) } }
                    (None, None) => {}
                }
            }
            td {
                dl .evidence {
                    dt { "expected" } dd { bdi { (evidence(&finding.expected)) } }
                    dt { "found" } dd { bdi { (evidence(&finding.actual)) } }
                }
            }
        }
    }
}
