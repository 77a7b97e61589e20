//! A device: its chain as a picture, its keys, its records and its rejections.

use std::time::Duration;

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use edgesentry_formats::text::{name, number, shown};
use edgesentry_rs::admission::{RegisteredKey, RejectionCode};
use edgesentry_rs::ledger::{DeviceQuery, DeviceRow, EntryQuery, LogEntry, RecordRow};
use maud::{Markup, html};

use super::parts::{Page, ago, length, link, note, onward, record_link, record_path, stamp};
use super::picture::{Chain, picture};
use super::{Parameters, Site, absent, entries, unavailable, views, wrong};
use crate::app::State;

const PLACE: &str = "/console/devices";
const PAGE_RECORDS: u32 = 50;
/// The gaps and forks that are drawn, and the rejections that are listed.
const DRAWN_REJECTIONS: u32 = 200;
const LISTED_REJECTIONS: u32 = 10;

struct Found {
    device: DeviceRow,
    keys: Vec<RegisteredKey>,
    records: Vec<RecordRow>,
    gaps: Vec<LogEntry>,
    forks: Vec<LogEntry>,
    rejections: Vec<LogEntry>,
}

/// The page.
pub(super) async fn device(State(app): State, Site(console): Site, uri: Uri) -> Response {
    let parameters = Parameters::of(&uri);
    let asked = (|| {
        let id = parameters.text("id")?.ok_or("The address of a device has the field id.")?;
        Ok::<_, String>((id.to_owned(), parameters.number("before")?))
    })();
    let (id, before) = match asked {
        Ok(asked) => asked,
        Err(problem) => return wrong(PLACE, &problem).into_response(),
    };
    let views = match views(&app) {
        Ok(views) => views,
        Err(problem) => return unavailable(PLACE, &problem).into_response(),
    };
    let read = console.read(async {
        let query = DeviceQuery { from: id.clone(), limit: 1, ..DeviceQuery::default() };
        let device = views.device_part(&query).await?.found.pop().filter(|device| device.device_id == id);
        let Some(device) = device else { return Ok(None) };
        let keys = app.service().ledger().keys(&[id.as_str().into()]).await?;
        let keys = keys.get(id.as_str()).map(|keys| keys.keys.to_vec()).unwrap_or_default();
        let rejected = |reason: Option<RejectionCode>, limit| EntryQuery {
            device_id: Some(id.clone()),
            outcome: Some(edgesentry_rs::admission::OutcomeKind::Rejected),
            reason: reason.map(|code| code.name().to_owned()),
            limit,
            ..EntryQuery::default()
        };
        let gaps = rejected(Some(RejectionCode::SequenceGap), DRAWN_REJECTIONS);
        let forks = rejected(Some(RejectionCode::Fork), DRAWN_REJECTIONS);
        Ok(Some(Found {
            device,
            keys,
            records: views.records_before(&id, before, PAGE_RECORDS + 1).await?,
            gaps: views.entry_part(&gaps).await?.found,
            forks: views.entry_part(&forks).await?.found,
            rejections: views.entry_part(&rejected(None, LISTED_REJECTIONS)).await?.found,
        }))
    });
    let found = match read.await {
        Ok(Some(found)) => found,
        Ok(None) => return absent(PLACE, "The ledger has no device of this name.").into_response(),
        Err(problem) => return unavailable(PLACE, &problem).into_response(),
    };
    let content = html! {
        (overview(&found, before.is_none()))
        section aria-labelledby="chain-title" {
            h2 #chain-title { "Chain" }
            (picture(&Chain::of(&found.device, &found.keys, &found.gaps, &found.forks)))
        }
        (keys(&found.keys))
        (records(&found.records, &id))
        (rejections(&found.rejections, &id))
    };
    Page::new(format!("Device {}", name(&id)), PLACE, content).into_response()
}

fn overview(found: &Found, newest: bool) -> Markup {
    let Found { device, records, .. } = found;
    html! {
        section aria-labelledby="device-title" {
            h2 #device-title { "At a glance" }
            dl .figures {
                div {
                    dt { "Records in the ledger" }
                    dd { (number(device.head.sequence.saturating_sub(device.start_sequence))) }
                }
                div { dt { "Last sequence" } dd { (number(device.head.sequence)) } }
                @if device.has_records() {
                    div { dt { "Last record" } dd { (ago(device.moved_at_ms)) } }
                    @if let Some(pause) = pause(records).filter(|_| newest) {
                        div { dt { "Time between records" } dd { (pause) } }
                    }
                } @else {
                    div { dt { "Registered" } dd { (ago(device.moved_at_ms)) } }
                }
            }
            @if device.start_sequence > 0 {
                p .always {
                    "The chain begins elsewhere: this ledger has it after sequence " (number(device.start_sequence)) "."
                }
            }
        }
    }
}

/// Returns the mean time between the records of a page.
fn pause(records: &[RecordRow]) -> Option<String> {
    let (last, first) = (records.first()?, records.last()?);
    let pauses = u32::try_from(records.len()).ok()?.checked_sub(1).filter(|pauses| *pauses > 0)?;
    let time = last.received_at_ms.checked_sub(first.received_at_ms)?;
    let pause = Duration::from_millis(time) / pauses;
    Some(if pause < Duration::from_secs(1) { format!("{} ms", pause.as_millis()) } else { length(pause) })
}

fn keys(keys: &[RegisteredKey]) -> Markup {
    html! {
        section aria-labelledby="keys-title" {
            h2 #keys-title { "Keys" }
            div .scroll role="group" aria-labelledby="keys-title" tabindex="0" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Key" } th scope="col" { "Signs" }
                            th .figure scope="col" { "From sequence" } th .figure scope="col" { "Revoked from" }
                        }
                    }
                    tbody {
                        @for key in keys {
                            tr {
                                th scope="row" { code { (key.key.key.to_string()) } }
                                td { (key.key.scheme.to_string()) }
                                td .figure { (number(key.key.valid_from)) }
                                td .figure { (key.revoked_from.map_or_else(|| "–".to_owned(), number)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn records(records: &[RecordRow], id: &str) -> Markup {
    let page = &records[..records.len().min(PAGE_RECORDS as usize)];
    html! {
        section aria-labelledby="records-title" {
            h2 #records-title { "Records, newest first" }
            @if page.is_empty() {
                (note("The ledger has no such record of this device."))
            } @else {
                div .scroll role="group" aria-labelledby="records-title" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th .figure scope="col" { "Sequence" } th scope="col" { "Time of the device" }
                                th scope="col" { "Received" } th scope="col" { "Object reference" }
                                th scope="col" { "Payload" }
                            }
                        }
                        tbody {
                            @for RecordRow { record, received_at_ms, .. } in page {
                                tr {
                                    th .figure scope="row" { (record_link(id, record.sequence)) }
                                    td { (stamp(record.timestamp_ms)) }
                                    td { (stamp(*received_at_ms)) }
                                    td { (shown(&record.object_ref)) }
                                    td {
                                        a href=(record_path("/console/payload", id, record.sequence)) download {
                                            "Payload of " (number(record.sequence))
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if let Some(last) = page.last().filter(|_| records.len() > page.len()) {
                @let before = last.record.sequence.to_string();
                (onward(&link("/console/device", &[("id", id), ("before", &before)]), "Earlier records"))
            }
        }
    }
}

fn rejections(rejections: &[LogEntry], id: &str) -> Markup {
    html! {
        section aria-labelledby="rejections-title" {
            h2 #rejections-title { "Last rejections" }
            @if rejections.is_empty() {
                p { "No record of this device is rejected in the searched part of the operation log." }
            } @else {
                (entries::table(rejections))
            }
            p .more { a href=(link("/console/log", &[("device", id)])) { "Operation log of this device" } }
        }
    }
}
