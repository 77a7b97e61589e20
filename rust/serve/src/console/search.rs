//! A search by device, hash or object reference.
//!
//! Ingest writes no index for it. The first step looks at a stated number of entries, and each step at a stated number of
//! records, from where the step before has ended.

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use edgesentry_chain::Hash;
use edgesentry_formats::text::{name, number, shown};
use edgesentry_rs::ledger::{
    DeviceQuery, DeviceRow, EntryQuery, LogEntry, Needle, Part, RecordRow, SCANNED_ENTRIES, SCANNED_RECORDS,
};
use maud::{Markup, html};

use super::parts::{Page, device_link, hash, link, note, onward, record_link, stamp};
use super::{Parameters, Site, devices, entries, unavailable, views, wrong};
use crate::app::State;

const PLACE: &str = "/console/search";
const MAX_DEVICES: u32 = 20;
const MAX_FOUND: u32 = 50;

/// The results of one step.
struct Found {
    devices: Vec<DeviceRow>,
    entries: Vec<LogEntry>,
    records: Part<RecordRow, (String, u64)>,
}

/// The page.
pub(super) async fn search(State(app): State, Site(console): Site, uri: Uri) -> Response {
    let parameters = Parameters::of(&uri);
    let asked = (|| {
        let text = parameters.text("q")?.map(str::to_owned);
        let after = parameters.text("device")?.map(str::to_owned).zip(parameters.number("sequence")?);
        Ok::<_, String>((text, after))
    })();
    let (text, after) = match asked {
        Ok((Some(text), after)) => (text, after),
        Ok((None, _)) => return Page::new("Search", PLACE, form("")).into_response(),
        Err(problem) => return wrong(PLACE, &problem).into_response(),
    };
    let views = match views(&app) {
        Ok(views) => views,
        Err(problem) => return unavailable(PLACE, &problem).into_response(),
    };
    let sought = text.to_ascii_lowercase().parse::<Hash>().ok();
    let first = after.is_none();
    let read = console.read(async {
        let mut found = Found {
            devices: Vec::new(),
            entries: Vec::new(),
            records: Part { found: Vec::new(), next: None },
        };
        if first {
            let query = DeviceQuery { from: text.clone(), limit: MAX_DEVICES, ..DeviceQuery::default() };
            let devices = views.device_part(&query).await?.found.into_iter();
            found.devices = devices.take_while(|device| device.device_id.starts_with(&text)).collect();
            if let Some(sought) = sought {
                let query =
                    EntryQuery { record_hash: Some(sought), limit: MAX_FOUND, ..EntryQuery::default() };
                found.entries = views.entry_part(&query).await?.found;
            }
        }
        let needle = sought.map_or_else(|| Needle::ObjectRef(text.clone()), Needle::Hash);
        found.records = views.search(&needle, after, MAX_FOUND).await?;
        Ok(found)
    });
    let found = match read.await {
        Ok(found) => found,
        Err(problem) => return unavailable(PLACE, &problem).into_response(),
    };
    let content = html! {
        (form(&text))
        @if !found.devices.is_empty() {
            section aria-labelledby="devices-title" {
                h2 #devices-title { "Devices whose names begin so" }
                (devices::table(&found.devices))
            }
        }
        @if !found.entries.is_empty() {
            section aria-labelledby="entries-title" {
                h2 #entries-title { "Decisions on records of this hash" }
                (entries::table(&found.entries))
            }
        }
        (records(&found, &text, sought.is_some(), first))
    };
    Page::new("Search", PLACE, content).into_response()
}

fn form(text: &str) -> Markup {
    html! {
        section aria-labelledby="search-title" {
            h2 #search-title { "Device, hash or object reference" }
            form method="get" action=(PLACE) role="search" {
                label { "Text" input name="q" type="search" maxlength="1024" value=(text); }
                button { "Search" }
            }
            p .more {
                "Finds devices and object references that begin with the text, or with 64 hex digits the record and payload \
                 hashes that equal it. The first step looks at the last " (number(SCANNED_ENTRIES)) " decisions, and each step at "
                (number(SCANNED_RECORDS)) " records, by device and sequence."
            }
        }
    }
}

fn records(found: &Found, text: &str, is_hash: bool, first: bool) -> Markup {
    let Part { found: rows, next } = &found.records;
    let what = if is_hash {
        "Records with this record hash or payload hash"
    } else {
        "Records whose object reference begins so"
    };
    html! {
        section aria-labelledby="records-title" {
            h2 #records-title { (what) }
            @if rows.is_empty() {
                (note(match (next.is_some(), first) {
                    (true, _) => "No record of this step matches; further records are not searched yet.",
                    (false, true) => "No record of the ledger matches.",
                    (false, false) => "No further record of the ledger matches.",
                }))
            } @else {
                div .scroll role="group" aria-labelledby="records-title" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Device" } th .figure scope="col" { "Sequence" } th scope="col" { "Received" }
                                th scope="col" { "Object reference" } th scope="col" { "Record hash" }
                            }
                        }
                        tbody {
                            @for RecordRow { record, hash: stored, received_at_ms } in rows {
                                tr {
                                    th scope="row" { (device_link(&record.device_id)) }
                                    td .figure { (record_link(&record.device_id, record.sequence)) }
                                    td { (stamp(*received_at_ms)) }
                                    td { (shown(&record.object_ref)) }
                                    td { (hash(*stored)) }
                                }
                            }
                        }
                    }
                }
            }
            @if let Some((device_id, sequence)) = next {
                p { "Searched up to device " (name(device_id)) ", sequence " (number(*sequence)) "." }
                @let at = sequence.to_string();
                (onward(&link(PLACE, &[("q", text), ("device", device_id), ("sequence", &at)]), "Search further records"))
            }
        }
    }
}
