//! The first page: the fleet at a glance. And the page of alerts.

use std::collections::BTreeMap;

use axum::response::IntoResponse;
use edgesentry_formats::text::{count, name, number, shown};
use edgesentry_rs::admission::RejectionCode;
use edgesentry_rs::ledger::{COUNTED_DEVICES, LogEntry};
use maud::{Markup, html};
use serde::Serialize;

use super::alerts::{Alert, MAX_ALERTS};
use super::exposition::Values;
use super::parts::{
    Page, Script, Standing, ago, device_link, length, link, note, record_link, record_path, stamp, standing,
};
use super::snapshot::{Checkpoint, Part, Snapshot};
use super::{Site, entries};

/// The figures of the first page, by their names in the page.
type Texts = BTreeMap<String, String>;

/// The figures that change while the page is open.
#[derive(Serialize)]
pub(super) struct Figures {
    at: String,
    texts: Texts,
    decisions: Option<Vec<Decision>>,
}

/// An entry of the operation log, as a row of the page.
#[derive(Serialize)]
struct Decision {
    at: String,
    device: String,
    device_path: String,
    sequence: String,
    record_path: Option<String>,
    outcome: String,
}

pub(super) fn figures(snapshot: &Snapshot) -> Figures {
    let decisions = snapshot.decisions.as_ref().and_then(|read| read.value.as_ref().ok());
    Figures {
        at: stamp_text(snapshot.at_ms),
        texts: texts(snapshot),
        decisions: decisions.map(|entries| entries.iter().map(decision).collect()),
    }
}

fn stamp_text(unix_ms: u64) -> String {
    edgesentry_formats::times::to_rfc3339(unix_ms / 1000 * 1000).replace('T', " ")
}

fn decision(entry: &LogEntry) -> Decision {
    Decision {
        at: stamp_text(entry.at_ms),
        device: name(&entry.device_id),
        device_path: link("/console/device", &[("id", &entry.device_id)]),
        sequence: entry.sequence.map_or_else(|| "–".to_owned(), number),
        record_path: entry
            .sequence
            .map(|sequence| record_path("/console/record", &entry.device_id, sequence)),
        outcome: entries::outcome(entry),
    }
}

fn texts(snapshot: &Snapshot) -> Texts {
    let mut texts = Texts::new();
    let mut set = |key: &str, text: String| drop(texts.insert(key.to_owned(), text));
    add_census(snapshot, &mut set);
    add_ledger(snapshot, &mut set);
    add_counts(&snapshot.values, &mut set);
    if let Some(Some(read)) = &snapshot.checkpoint
        && let Ok(checkpoint) = &read.value
    {
        set("checkpoint_age", checkpoint.signed_at_ms.map_or_else(|| "–".to_owned(), ago));
        set("checkpoint_size", count(checkpoint.size, "leaf").replace("leafs", "leaves"));
    }
    if let Some(alerts) = &snapshot.alerts {
        let text = match alerts.as_ref().map(|read| &read.value) {
            Some(Ok(alerts)) => number(alerts.len() as u64),
            _ => "–".to_owned(),
        };
        set("alerts", text);
    }
    texts
}

fn add_census(snapshot: &Snapshot, set: &mut impl FnMut(&str, String)) {
    match snapshot.census.as_ref().map(|read| (&read.value, read.age())) {
        Some((Ok(census), age)) => {
            let least = if census.devices >= COUNTED_DEVICES { "at least " } else { "" };
            set("devices", format!("{least}{}", number(census.devices)));
            set("census_age", format!("Counted {} ago.", length(age)));
            for (key, value) in [
                ("silent_minute", census.minute),
                ("silent_hour", census.hour),
                ("silent_day", census.day),
                ("silent_older", census.older()),
                ("silent_never", census.never),
            ] {
                set(key, number(value));
            }
        }
        Some((Err(problem), _)) => {
            set("devices", "–".to_owned());
            set("census_age", problem.clone());
        }
        None => {
            set("devices", "–".to_owned());
            set("census_age", "The devices are being counted.".to_owned());
        }
    }
}

fn add_ledger(snapshot: &Snapshot, set: &mut impl FnMut(&str, String)) {
    let newest = snapshot.decisions.as_ref().map(|read| &read.value);
    let last = match newest {
        Some(Ok(entries)) => {
            let accepted = entries.iter().find(|entry| entry.reason.is_none() && entries::is_accepted(entry));
            accepted.map_or_else(|| "none among the last decisions".to_owned(), |entry| ago(entry.at_ms))
        }
        _ => "–".to_owned(),
    };
    set("last_record", last);
    set(
        "ledger",
        match newest {
            Some(Ok(_)) => "The ledger responds.".to_owned(),
            Some(Err(problem)) => problem.clone(),
            None => "The ledger has not responded yet.".to_owned(),
        },
    );
    match snapshot.rate {
        Some((rate, time)) => {
            set("rate", format!("{}/s", number(rate.round() as u64)));
            set("rate_time", format!("over the last {}", length(time)));
        }
        None => {
            set("rate", "–".to_owned());
            set("rate_time", "not measured yet".to_owned());
        }
    }
}

fn add_counts(values: &Values, set: &mut impl FnMut(&str, String)) {
    set("accepted", number(values.count("ingest_accepted_total", "")));
    set("duplicate", number(values.count("ingest_duplicate_total", "")));
    let mut rejected = 0;
    for code in RejectionCode::ALL {
        let count = values.count("ingest_rejected_total", code.name());
        rejected += count;
        set(&format!("rejected_{}", code.name()), number(count));
        set(&format!("kept_{}", code.name()), number(values.count("rejections_kept", code.name())));
    }
    set("rejected", number(rejected));
    set("log_waiting", number(values.count("log_records_waiting", "")));
}

/// The first page.
pub(super) async fn fleet(Site(console): Site) -> axum::response::Response {
    let snapshot = console.sources.snapshot().await;
    let texts = texts(&snapshot);
    let content = html! {
        (overview(&snapshot, &texts))
        div .pair {
            (silence(&texts))
            (checkpoint(&snapshot, &texts))
        }
        (last_decisions(&snapshot))
        div .pair {
            (operations(&snapshot))
            section aria-labelledby="alerts-title" {
                h2 #alerts-title { "Alerts that fire" }
                (alert_list(&snapshot.alerts, 5))
            }
        }
        (rejections(&texts))
    };
    Page { script: Script::Live, ..Page::new("Fleet", "/console", content) }.into_response()
}

fn live(texts: &Texts, key: &str) -> Markup {
    html! { span data-live=(key) { (texts.get(key).map_or("–", String::as_str)) } }
}

fn overview(snapshot: &Snapshot, texts: &Texts) -> Markup {
    html! {
        section aria-labelledby="overview-title" {
            h2 #overview-title { "At a glance" }
            p { (live(texts, "ledger")) " " span .minor { (live(texts, "census_age")) } }
            dl .figures {
                div { dt { "Devices" } dd { (live(texts, "devices")) } }
                div { dt { "Last record accepted" } dd { (live(texts, "last_record")) } }
                div { dt { "Rate, " (live(texts, "rate_time")) } dd { (live(texts, "rate")) } }
                div { dt { "Accepted" } dd { (live(texts, "accepted")) } }
                div { dt { "Duplicates" } dd { (live(texts, "duplicate")) } }
                div { dt { "Rejected" } dd { (live(texts, "rejected")) } }
                @if snapshot.alerts.is_some() {
                    div { dt { "Alerts" } dd { a href="/console/alerts" { (live(texts, "alerts")) } } }
                }
            }
            p .always {
                "Rate and the counts of records are those of this node since its start, as in its metrics; devices, silence \
                 and decisions are those of the ledger, which all nodes share."
            }
        }
    }
}

fn silence(texts: &Texts) -> Markup {
    let rows = [
        ("silent_minute", "within the last minute", None),
        ("silent_hour", "within the last hour", None),
        ("silent_day", "within the last day", Some(("3600", "longer than an hour"))),
        ("silent_older", "longer ago", Some(("86400", "longer than a day"))),
        ("silent_never", "never", None),
    ];
    html! {
        section aria-labelledby="silence-title" {
            h2 #silence-title { "Silence" }
            table {
                thead { tr { th scope="col" { "Last record" } th .figure scope="col" { "Devices" } } }
                tbody {
                    @for (key, text, seconds) in rows {
                        tr {
                            th scope="row" {
                                (text)
                                @if let Some((seconds, longer)) = seconds {
                                    " · "
                                    a href=(link("/console/devices", &[("silent", seconds)])) { "silent for " (longer) }
                                }
                            }
                            td .figure { (live(texts, key)) }
                        }
                    }
                }
            }
        }
    }
}

fn checkpoint(snapshot: &Snapshot, texts: &Texts) -> Markup {
    html! {
        section aria-labelledby="checkpoint-title" {
            h2 #checkpoint-title { "Last checkpoint" }
            @match &snapshot.checkpoint {
                None => (note("The ledger of this service has no transparency log; see the section log of its settings.")),
                Some(None) => (note("The transparency log has not responded yet.")),
                Some(Some(read)) => @match &read.value {
                    Err(problem) => (note(problem)),
                    Ok(checkpoint) => (signed(checkpoint, texts)),
                },
            }
        }
    }
}

fn signed(checkpoint: &Checkpoint, texts: &Texts) -> Markup {
    html! {
        dl .facts {
            dt { "Log" } dd { (name(&checkpoint.origin)) }
            dt { "Size" } dd { (live(texts, "checkpoint_size")) }
            dt { "Signed" }
            dd {
                (live(texts, "checkpoint_age"))
                @if let Some(at) = checkpoint.signed_at_ms { " (" (stamp(at)) ")" }
            }
            dt { "Records that wait" } dd { (live(texts, "log_waiting")) " on this node" }
            dt { "Signatures" }
            dd {
                @match &checkpoint.trusted {
                    Some(Ok(())) => (standing(Standing::Holds, "trusted by the policy")),
                    Some(Err(problem)) => { (standing(Standing::Fails, "not trusted")) " " (shown(problem)) }
                    None => (standing(Standing::Open, "not checked: serve.console.policy is not set")),
                }
            }
            dt { "Witnesses" }
            dd {
                @if checkpoint.witnesses.is_empty() {
                    "no witness has cosigned it"
                }
                @for (witness, at) in &checkpoint.witnesses {
                    div { (name(witness)) ", " (ago(*at)) }
                }
            }
        }
    }
}

fn last_decisions(snapshot: &Snapshot) -> Markup {
    html! {
        section aria-labelledby="decisions-title" {
            h2 #decisions-title { "Last decisions" }
            @match snapshot.decisions.as_ref().map(|read| &read.value) {
                None => (note("The ledger has not responded yet.")),
                Some(Err(problem)) => (note(problem)),
                Some(Ok(entries)) => {
                    div .scroll role="group" aria-labelledby="decisions-title" tabindex="0" {
                        table {
                            thead {
                                tr {
                                    th scope="col" { "Time" } th scope="col" { "Device" }
                                    th .figure scope="col" { "Sequence" } th scope="col" { "Outcome" }
                                }
                            }
                            tbody #decisions {
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
                                        td { (entries::outcome(entry)) }
                                    }
                                }
                            }
                        }
                    }
                    p .more { a href="/console/log" { "Operation log" } }
                }
            }
        }
    }
}

fn operations(snapshot: &Snapshot) -> Markup {
    html! {
        section aria-labelledby="operations-title" {
            h2 #operations-title { "Backups and drills" }
            @match &snapshot.operations {
                None => (note("No metrics file of backups and drills is configured; see serve.console.operations.")),
                Some(None) => (note("The metrics file of backups and drills is not read yet.")),
                Some(Some(read)) => @match &read.value {
                    Err(problem) => (note(problem)),
                    Ok(operations) => {
                        @if operations.ages.is_empty() {
                            (note("The metrics file has no backup and no drill."))
                        } @else {
                            table {
                                thead { tr { th scope="col" { "Last success" } th scope="col" { "Age" } } }
                                tbody {
                                    @for (what, at) in &operations.ages {
                                        tr { th scope="row" { (shown(what)) } td { (ago(*at)) } }
                                    }
                                }
                            }
                        }
                        @for (what, number_of) in &operations.failures {
                            p { (standing(Standing::Fails, &format!("{} ({})", shown(what), number(*number_of)))) }
                        }
                    }
                },
            }
        }
    }
}

fn rejections(texts: &Texts) -> Markup {
    html! {
        section aria-labelledby="rejections-title" {
            h2 #rejections-title { "Rejected records by reason" }
            div .scroll role="group" aria-labelledby="rejections-title" tabindex="0" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Reason" }
                            th .figure scope="col" { "By this node since its start" }
                            th .figure scope="col" { "In the operation log" }
                        }
                    }
                    tbody {
                        @for code in RejectionCode::ALL {
                            tr {
                                th scope="row" {
                                    a href=(link("/console/log", &[("reason", code.name())])) { code { (code.name()) } }
                                }
                                td .figure { (live(texts, &format!("rejected_{}", code.name()))) }
                                td .figure { (live(texts, &format!("kept_{}", code.name()))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The page of alerts.
pub(super) async fn alerts(Site(console): Site) -> axum::response::Response {
    let alerts = console.sources.alerts().await;
    let content = html! {
        section aria-labelledby="alerts-title" {
            h2 #alerts-title { "Alerts that fire" }
            (alert_list(&alerts, MAX_ALERTS))
        }
    };
    Page::new("Alerts", "/console/alerts", content).into_response()
}

fn alert_list(alerts: &Option<Part<Vec<Alert>>>, most: usize) -> Markup {
    html! {
        @match alerts {
            None => (note("No Alertmanager is configured, so this page does not know which alerts fire; see serve.console.alertmanager.")),
            Some(None) => (note("The Alertmanager has not responded yet.")),
            Some(Some(read)) => @match &read.value {
                Err(problem) => (note(problem)),
                Ok(alerts) if alerts.is_empty() => p { (standing(Standing::Holds, "No alert fires.")) },
                Ok(alerts) => {
                    @for alert in alerts.iter().take(most) { (alert_of(alert)) }
                    @if alerts.len() > most {
                        p .more { a href="/console/alerts" { (count((alerts.len() - most) as u64, "further alert")) } }
                    }
                }
            },
        }
    }
}

fn alert_of(alert: &Alert) -> Markup {
    let title = alert.label("alertname");
    html! {
        article .explanation {
            h3 { (standing(Standing::Fails, &shown(if title.is_empty() { "alert without a name" } else { title }))) }
            p { (shown(alert.annotation("summary"))) }
            p .minor {
                (shown(alert.label("severity"))) " · since " (shown(&alert.starts_at))
                @if !alert.label("instance").is_empty() { " · " (shown(alert.label("instance"))) }
            }
            @if !alert.annotation("response").is_empty() { p { (shown(alert.annotation("response"))) } }
            @if let Some(url) = alert.runbook() {
                p { a href=(url) rel="noreferrer noopener" { "Runbook of " (shown(title)) } }
            }
        }
    }
}
