//! The operation log, newest first.

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use edgesentry_formats::text::{name, number, shown};
use edgesentry_rs::admission::{OutcomeKind, RejectionCode};
use edgesentry_rs::ledger::{EntryQuery, LogEntry, SCANNED_ENTRIES};
use maud::{Markup, html};

use super::parts::{Page, device_link, link, note, onward, record_link, stamp};
use super::{Parameters, Site, unavailable, views, wrong};
use crate::app::State;

const PLACE: &str = "/console/log";
const PAGE_ENTRIES: u32 = 100;
const OUTCOMES: [OutcomeKind; 3] = [OutcomeKind::Accepted, OutcomeKind::Duplicate, OutcomeKind::Rejected];

pub(super) fn is_accepted(entry: &LogEntry) -> bool {
    entry.outcome == OutcomeKind::Accepted
}

/// Writes the outcome of an entry.
pub(super) fn outcome(entry: &LogEntry) -> String {
    match &entry.reason {
        Some(reason) => format!("{}: {}", entry.outcome.as_str(), shown(reason)),
        None => entry.outcome.as_str().to_owned(),
    }
}

fn query(parameters: &Parameters) -> Result<EntryQuery, String> {
    let outcome = parameters.text("outcome")?.map(str::parse);
    let reason = parameters.text("reason")?;
    if reason.is_some_and(|reason| !RejectionCode::ALL.iter().any(|code| code.name() == reason)) {
        return Err("The field reason takes a reason code, such as signature_invalid.".to_owned());
    }
    Ok(EntryQuery {
        device_id: parameters.text("device")?.map(str::to_owned),
        outcome: outcome
            .transpose()
            .map_err(|_| "The field outcome takes accepted, duplicate or rejected.".to_owned())?,
        reason: reason.map(str::to_owned),
        record_hash: None,
        before_id: parameters.number("before")?,
        limit: PAGE_ENTRIES,
    })
}

/// The page.
pub(super) async fn log(State(app): State, Site(console): Site, uri: Uri) -> Response {
    let query = match query(&Parameters::of(&uri)) {
        Ok(query) => query,
        Err(problem) => return wrong(PLACE, &problem).into_response(),
    };
    let part = match views(&app) {
        Ok(views) => console.read(async { views.entry_part(&query).await }).await,
        Err(problem) => Err(problem),
    };
    let part = match part {
        Ok(part) => part,
        Err(problem) => return unavailable(PLACE, &problem).into_response(),
    };
    let content = html! {
        (form(&query))
        section aria-labelledby="entries-title" {
            h2 #entries-title { "Decisions, newest first" }
            @if part.found.is_empty() && part.next.is_none() {
                (note("No entry of the operation log matches."))
            } @else if part.found.is_empty() {
                (note(&format!("None of {} entries matches; older ones are not searched yet.", number(SCANNED_ENTRIES))))
            } @else {
                (table(&part.found))
            }
            @if let Some(before) = part.next {
                (onward(&older(&query, before), "Older entries"))
            }
        }
    };
    Page::new("Operation log", PLACE, content).into_response()
}

fn older(query: &EntryQuery, before: u64) -> String {
    let before = before.to_string();
    let mut pairs = vec![("before", before.as_str())];
    pairs.extend(query.device_id.as_deref().map(|device| ("device", device)));
    pairs.extend(query.outcome.map(|outcome| ("outcome", outcome.as_str())));
    pairs.extend(query.reason.as_deref().map(|reason| ("reason", reason)));
    link(PLACE, &pairs)
}

fn form(query: &EntryQuery) -> Markup {
    html! {
        section aria-labelledby="filter-title" {
            h2 #filter-title { "Filters" }
            form method="get" action=(PLACE) {
                label { "Device" input name="device" maxlength="1024" value=[query.device_id.as_deref()]; }
                label {
                    "Outcome"
                    select name="outcome" {
                        option value="" { "any" }
                        @for outcome in OUTCOMES {
                            option value=(outcome.as_str()) selected[query.outcome == Some(outcome)] { (outcome.as_str()) }
                        }
                    }
                }
                label {
                    "Reason"
                    select name="reason" {
                        option value="" { "any" }
                        @for code in RejectionCode::ALL {
                            option value=(code.name()) selected[query.reason.as_deref() == Some(code.name())] { (code.name()) }
                        }
                    }
                }
                button { "Show" }
            }
        }
    }
}

/// Renders entries.
pub(super) fn table(entries: &[LogEntry]) -> Markup {
    html! {
        div .scroll role="group" aria-label="Entries" tabindex="0" {
            table {
                thead {
                    tr {
                        th scope="col" { "Time" } th scope="col" { "Device" } th .figure scope="col" { "Sequence" }
                        th scope="col" { "Outcome" } th scope="col" { "Expected" } th scope="col" { "Found" }
                    }
                }
                tbody {
                    @for entry in entries {
                        tr {
                            td { (stamp(entry.at_ms)) }
                            td { (device_link(&entry.device_id)) }
                            td .figure {
                                @match entry.sequence {
                                    Some(sequence) => (record_link(&entry.device_id, sequence)),
                                    None => "–",
                                }
                            }
                            td { (outcome(entry)) }
                            td { @if let Some(expected) = &entry.expected { (name(expected)) } }
                            td { @if let Some(actual) = &entry.actual { (name(actual)) } }
                        }
                    }
                }
            }
        }
    }
}
