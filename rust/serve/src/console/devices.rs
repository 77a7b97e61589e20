//! Devices, by device id.

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use edgesentry_formats::text::number;
use edgesentry_formats::times::now_ms;
use edgesentry_rs::ledger::{DeviceQuery, DeviceRow, SCANNED_DEVICES};
use maud::{Markup, html};

use super::parts::{Page, ago, device_link, link, note, onward, record_link, stamp};
use super::{Parameters, Site, unavailable, views, wrong};
use crate::app::State;

const PLACE: &str = "/console/devices";
const PAGE_DEVICES: u32 = 100;

/// The page.
pub(super) async fn devices(State(app): State, Site(console): Site, uri: Uri) -> Response {
    let parameters = Parameters::of(&uri);
    let asked = (|| {
        let from = parameters.text("from")?.unwrap_or_default().to_owned();
        let after = parameters.text("after")?.map(str::to_owned);
        Ok::<_, String>((from, after, parameters.number("silent")?))
    })();
    let (from, after, silent) = match asked {
        Ok(asked) => asked,
        Err(problem) => return wrong(PLACE, &problem).into_response(),
    };
    let since = silent.map(|seconds| now_ms().saturating_sub(seconds.saturating_mul(1000)));
    let query = DeviceQuery { from, after, silent_since_ms: since, limit: PAGE_DEVICES };
    let part = match views(&app) {
        Ok(views) => console.read(async { views.device_part(&query).await }).await,
        Err(problem) => Err(problem),
    };
    let part = match part {
        Ok(part) => part,
        Err(problem) => return unavailable(PLACE, &problem).into_response(),
    };
    let content = html! {
        (form(&query, silent))
        section aria-labelledby="devices-title" {
            h2 #devices-title { "Devices by name" }
            @if part.found.is_empty() && part.next.is_none() {
                (note("No registered device matches."))
            } @else if part.found.is_empty() {
                (note(&format!("None of {} devices matches; further ones are not searched yet.", number(SCANNED_DEVICES))))
            } @else {
                (table(&part.found))
            }
            @if let Some(after) = &part.next {
                @let silent = silent.map(|seconds| seconds.to_string()).unwrap_or_default();
                (onward(&link(PLACE, &[("from", &query.from), ("silent", &silent), ("after", after)]), "Further devices"))
            }
        }
    };
    Page::new("Devices", PLACE, content).into_response()
}

fn form(query: &DeviceQuery, silent: Option<u64>) -> Markup {
    const CHOICES: [(u64, &str); 4] =
        [(60, "a minute"), (3600, "an hour"), (86_400, "a day"), (7 * 86_400, "a week")];
    html! {
        section aria-labelledby="filter-title" {
            h2 #filter-title { "Filters" }
            form method="get" action=(PLACE) {
                label { "From the device id" input name="from" maxlength="1024" value=(query.from); }
                label {
                    "Silent for longer than"
                    select name="silent" {
                        option value="" { "any time" }
                        @for (seconds, text) in CHOICES {
                            option value=(seconds) selected[silent == Some(seconds)] { (text) }
                        }
                    }
                }
                button { "Show" }
            }
        }
    }
}

/// Renders devices.
pub(super) fn table(devices: &[DeviceRow]) -> Markup {
    html! {
        div .scroll role="group" aria-label="Devices" tabindex="0" {
            table {
                thead {
                    tr {
                        th scope="col" { "Device" } th .figure scope="col" { "Last sequence" }
                        th scope="col" { "Last record" } th scope="col" { "Silence" }
                    }
                }
                tbody {
                    @for device in devices {
                        tr {
                            th scope="row" { (device_link(&device.device_id)) }
                            @if device.has_records() {
                                td .figure { (record_link(&device.device_id, device.head.sequence)) }
                                td { (stamp(device.moved_at_ms)) }
                                td { (ago(device.moved_at_ms)) }
                            } @else {
                                td .figure { "–" }
                                td { "never" }
                                td { "registered " (ago(device.moved_at_ms)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
