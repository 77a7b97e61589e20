//! The service really serves every metric that an alert, a dashboard, a log pipeline or the runbook names.
#![allow(clippy::unwrap_used)]

#[path = "../../checked.rs"]
mod checked;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use edgesentry_ops::textfile::FAMILIES;
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::{Component, RejectionCode};

fn read(path: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Metrics by witness or by authority, which begin with the first request to it, and the file that registers them.
const BY_PEER: [(&str, &str); 7] = [
    ("witness", "log_witness_requests_total"),
    ("witness", "log_witness_state"),
    ("stamp", "log_tsa_requests_total"),
    ("stamp", "log_tsa_failing"),
    ("stamp", "log_tsa_timestamp_seconds"),
    ("monitor", "monitor_witness_state"),
    ("monitor", "monitor_witness_size"),
];

/// Returns the names of the series that the service and the textfiles serve.
fn served() -> BTreeSet<String> {
    let text = Metrics::new().text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let names = samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned);
    let by_peer = BY_PEER.map(|(file, name)| {
        let source = read(&format!("rust/edgesentry-rs/src/telemetry/metrics/{file}.rs"));
        assert!(source.contains(&format!("\"{}\"", name.trim_end_matches("_total"))), "{name}");
        format!("edgesentry_{name}")
    });
    names.chain(FAMILIES.map(|family| family.name.to_owned())).chain(by_peer).collect()
}

/// Returns the words of a text that could be the name of one of our metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    // The targets of events name the crate.
    words
        .filter(|word| word.starts_with("edgesentry_") && *word != "edgesentry_rs")
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_and_dashboard_name_served_metrics() {
    let served = served();
    for path in [
        "deploy/prometheus/ingest.rules.yml",
        "deploy/prometheus/log.rules.yml",
        "deploy/prometheus/monitor.rules.yml",
        "deploy/prometheus/operations.rules.yml",
        "deploy/prometheus/tests/ingest.test.yml",
        "deploy/prometheus/tests/log.test.yml",
        "deploy/prometheus/tests/monitor.test.yml",
        "deploy/prometheus/tests/operations.test.yml",
        "deploy/grafana/edgesentry.json",
        "deploy/logs/edgesentry.mtail",
        "docs/runbook/alerts.md",
    ] {
        let unknown: Vec<String> = named(&read(path)).difference(&served).cloned().collect();
        assert_eq!(unknown, Vec::<String>::new(), "{path}");
    }
    // Their other words are names of events and parts.
    for path in ["deploy/logs/vector.yaml", "docs/runbook/observability.md"] {
        let is_metric = |name: &String| name.ends_with("_total") || name.ends_with("_seconds");
        let unknown: Vec<String> =
            named(&read(path)).difference(&served).filter(|n| is_metric(n)).cloned().collect();
        assert_eq!(unknown, Vec::<String>::new(), "{path}");
    }
}

#[test]
fn every_metric_of_the_service_is_on_the_dashboard() {
    let dashboard = named(&read("deploy/grafana/edgesentry.json"));
    let is_shown = |name: &String| {
        let family = name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
        dashboard.contains(name) || dashboard.contains(&format!("{family}_bucket"))
    };
    let missing: Vec<String> = served().into_iter().filter(|name| !is_shown(name)).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_log_pipeline_has_every_label_and_event() {
    let program = read("deploy/logs/edgesentry.mtail");
    for code in RejectionCode::ALL {
        assert!(program.contains(&format!("rejected_total[\"{}\"] += 0", code.name())), "{}", code.name());
    }
    for component in Component::SERVICE {
        assert!(program.contains(&format!("error_total[\"{component}\"] += 0")), "{component}");
    }
}
