//! The report of a drill: for programs, for people, and for Prometheus.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use edgesentry_formats::times::{now_ms, to_rfc3339};
use serde::{Deserialize, Serialize};

use super::facts::{Extent, Host, Versions};
use crate::check::{Check, Status, verdict};
use crate::textfile::{
    DRILL_DURATION, DRILL_LAST_RUN, DRILL_LAST_SUCCESS, DRILL_PARTIAL_LAST_RUN, DRILL_PARTIAL_LAST_SUCCESS,
    Sample,
};

/// Formats Unix milliseconds as a time of whole seconds.
pub(super) fn whole_seconds(at_ms: u64) -> String {
    to_rfc3339(at_ms / 1000 * 1000)
}

/// A figure that a drill measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Measure {
    /// The name with the unit, such as `recovery_seconds`.
    pub name: String,
    /// The value.
    pub value: f64,
    /// The limit, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

/// The results of one run of a drill.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DrillReport {
    /// The drill, such as `db-failover`.
    pub drill: String,
    /// The rehearsed failure, in one sentence.
    pub about: String,
    /// The extent of the run.
    #[serde(default)]
    pub extent: Extent,
    /// The systems that it ran on, such as `servers of its own`, without secrets.
    #[serde(default)]
    pub place: String,
    /// The machine on which `eds` ran.
    #[serde(default)]
    pub host: Host,
    /// The version of `eds` and of each server.
    #[serde(default)]
    pub versions: Versions,
    /// The options in effect, defaults included, without secrets.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Unix milliseconds.
    pub started_at_ms: u64,
    /// Unix milliseconds.
    #[serde(default)]
    pub ended_at_ms: u64,
    /// The end of the retention of the report, Unix milliseconds; 0 if it has none.
    #[serde(default)]
    pub keep_until_ms: u64,
    /// The duration of the run, set-up and clean-up included.
    pub duration_ms: u64,
    /// The pass criteria.
    pub checks: Vec<Check>,
    /// The measured figures.
    pub measures: Vec<Measure>,
    /// The steps, in order of time.
    pub timeline: Vec<Event>,
    /// Receives each step as it happens.
    #[serde(skip)]
    pub listener: Listener,
}

/// The callback of a step.
type Tell = dyn Fn(&Event) + Send + Sync;

/// Receives the steps of a drill while it runs; by default they are discarded.
#[derive(Clone, Default)]
pub struct Listener(Option<Arc<Tell>>);

impl Listener {
    /// Returns a listener that calls `hear` at each step.
    pub fn new(hear: impl Fn(&Event) + Send + Sync + 'static) -> Listener {
        Listener(Some(Arc::new(hear)))
    }

    /// Emits a step that is in no report because the drill was aborted.
    pub(crate) fn tell(&self, event: &Event) {
        if let Some(hear) = &self.0 {
            hear(event);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Listener" } else { "no listener" })
    }
}

/// The listener is not part of the content of a report.
impl PartialEq for Listener {
    fn eq(&self, _other: &Listener) -> bool {
        true
    }
}

/// A step of a drill.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since the start of the drill.
    pub at_ms: u64,
    /// The description.
    pub what: String,
}

impl DrillReport {
    /// Returns the report of a drill that begins now.
    pub fn begin(drill: &str, about: &str) -> DrillReport {
        DrillReport {
            drill: drill.to_owned(),
            about: about.to_owned(),
            extent: Extent::Full,
            place: "servers of its own".to_owned(),
            host: Host::this(),
            versions: Versions::from([("eds".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
            options: BTreeMap::new(),
            started_at_ms: now_ms(),
            ended_at_ms: 0,
            keep_until_ms: 0,
            duration_ms: 0,
            checks: Vec::new(),
            measures: Vec::new(),
            timeline: Vec::new(),
            listener: Listener::default(),
        }
    }

    /// Records an option in effect.
    pub fn option(&mut self, name: &str, value: impl fmt::Display) {
        self.options.insert(name.to_owned(), value.to_string());
    }

    /// Records an option that decides whether the drill is a full one: below `full` it is partial.
    pub fn at_least<T: fmt::Display + PartialOrd>(&mut self, name: &str, value: T, full: T) {
        self.full_if(value >= full);
        self.option(name, value);
    }

    /// Makes the drill a partial one unless `full` is true.
    pub fn full_if(&mut self, full: bool) {
        if !full && self.extent == Extent::Full {
            self.extent = Extent::Partial;
        }
    }

    /// Records the version of a server.
    pub fn version(&mut self, of: &str, version: impl Into<String>) {
        self.versions.insert(of.to_owned(), version.into());
    }

    /// Records a step of the timeline.
    pub fn step(&mut self, what: impl Into<String>) {
        let at_ms = now_ms().saturating_sub(self.started_at_ms);
        let event = Event { at_ms, what: what.into() };
        self.listener.tell(&event);
        self.timeline.push(event);
    }

    /// Records a check.
    pub fn check(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Records a figure; with a limit it is a check as well.
    pub fn measure(&mut self, name: &str, value: f64, limit: Option<f64>) {
        self.measures.push(Measure { name: name.to_owned(), value, limit });
        if let Some(limit) = limit {
            let check = Check::new(format!("{name} at most {limit}"), value <= limit, format!("{value:.3}"));
            self.checks.push(check);
        }
    }

    /// Ends the drill.
    pub fn end(&mut self) {
        self.ended_at_ms = now_ms();
        self.duration_ms = self.ended_at_ms.saturating_sub(self.started_at_ms);
    }

    /// Returns passed only if every check passed.
    pub fn status(&self) -> Status {
        verdict(&self.checks)
    }

    /// Returns the metrics of the completed drill. Alerts use full runs only: others have metrics of their own.
    pub fn samples(&self) -> Vec<Sample> {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        let end = seconds(self.started_at_ms.saturating_add(self.duration_ms));
        let full = self.extent == Extent::Full;
        let (run, success) = if full {
            (DRILL_LAST_RUN, DRILL_LAST_SUCCESS)
        } else {
            (DRILL_PARTIAL_LAST_RUN, DRILL_PARTIAL_LAST_SUCCESS)
        };
        let mut samples = vec![run.sample(&self.drill, end)];
        if full {
            samples.push(DRILL_DURATION.sample(&self.drill, seconds(self.duration_ms)));
        }
        if self.status() == Status::Passed {
            samples.push(success.sample(&self.drill, end));
        }
        samples
    }

    /// Returns the report as text for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let seconds = self.duration_ms as f64 / 1000.0;
        let _ = writeln!(text, "{}: {} in {seconds:.1} s", self.drill, self.status());
        let _ = writeln!(text, "  {}", self.about);
        let _ = writeln!(text, "  extent   {}", self.extent);
        let _ = writeln!(text, "  held on  {}", self.place);
        let _ =
            writeln!(text, "  host     {}, {}, {} cores", self.host.name, self.host.system, self.host.cores);
        let _ = writeln!(text, "  versions {}", pairs(&self.versions));
        let _ = writeln!(text, "  options  {}", pairs(&self.options));
        let _ = writeln!(
            text,
            "  from     {} to {}",
            whole_seconds(self.started_at_ms),
            whole_seconds(self.ended_at_ms)
        );
        if self.keep_until_ms > 0 {
            let _ = writeln!(text, "  kept     until {}", whole_seconds(self.keep_until_ms));
        }
        for Check { name, status, evidence } in &self.checks {
            let _ = writeln!(text, "  {status:<8} {name}: {evidence}");
        }
        for Measure { name, value, .. } in &self.measures {
            let _ = writeln!(text, "  measured {name} {value:.3}");
        }
        for Event { at_ms, what } in &self.timeline {
            let _ = writeln!(text, "  {:>8.3} s {what}", *at_ms as f64 / 1000.0);
        }
        text
    }
}

/// Formats versions as `eds 0.9.0, PostgreSQL 15.18`.
pub(super) fn pairs(of: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = of.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if pairs.is_empty() { "none".to_owned() } else { pairs.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::textfile::{
        BACKUP_LAST_SUCCESS, HEADS_LAST_SUCCESS, HEADS_REWRITTEN, Textfile, WAL_ARCHIVE_LAST_SUCCESS,
    };

    fn report(drill: &str, started_at_ms: u64, holds: bool) -> DrillReport {
        let mut report = DrillReport::begin(drill, "");
        report.check(Check::new("it works", holds, ""));
        (report.started_at_ms, report.duration_ms) = (started_at_ms, 1_500);
        report
    }

    #[test]
    fn a_failure_keeps_the_last_success_and_other_drills() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edgesentry.prom");
        let textfile = Textfile::open(&path).unwrap();
        textfile.set(&report("alert-fire", 1_000_000, true).samples()).unwrap();
        textfile.set(&report("alert-fire", 2_000_000, false).samples()).unwrap();
        textfile.set(&report("rpo", 3_000_000, false).samples()).unwrap();
        for (extent, holds) in [(Extent::Short, true), (Extent::Partial, false)] {
            let report = DrillReport { extent, ..report("rpo", 3_500_000, holds) };
            textfile.set(&report.samples()).unwrap();
        }
        textfile
            .set(&[
                BACKUP_LAST_SUCCESS.sample("base", 4e9),
                WAL_ARCHIVE_LAST_SUCCESS.sample("", 5e9),
                HEADS_LAST_SUCCESS.sample("", 6e9),
                HEADS_REWRITTEN.sample("", 0.0),
            ])
            .unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            series,
            [
                "edgesentry_drill_last_success_timestamp_seconds{drill=\"alert-fire\"} 1001.5",
                "edgesentry_drill_last_run_timestamp_seconds{drill=\"alert-fire\"} 2001.5",
                "edgesentry_drill_last_run_timestamp_seconds{drill=\"rpo\"} 3001.5",
                "edgesentry_drill_duration_seconds{drill=\"alert-fire\"} 1.5",
                "edgesentry_drill_duration_seconds{drill=\"rpo\"} 1.5",
                "edgesentry_drill_partial_last_success_timestamp_seconds{drill=\"rpo\"} 3501.5",
                "edgesentry_drill_partial_last_run_timestamp_seconds{drill=\"rpo\"} 3501.5",
                "edgesentry_backup_last_success_timestamp_seconds{kind=\"base\"} 4000000000",
                "edgesentry_wal_archive_last_success_timestamp_seconds 5000000000",
                "edgesentry_heads_last_success_timestamp_seconds 6000000000",
                "edgesentry_heads_rewritten_devices 0",
            ]
        );
        let named: BTreeSet<&str> = series.iter().filter_map(|line| line.split(['{', ' ']).next()).collect();
        assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE")).count(), named.len());
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing but the file itself is left");
    }

    #[test]
    fn a_figure_above_its_limit_fails_the_drill() {
        let mut report = DrillReport::begin("db-failover", "A primary is killed.");
        assert_eq!(report.status(), Status::Unknown);
        report.measure("recovery_seconds", 3.2, Some(1800.0));
        assert_eq!(report.status(), Status::Passed);
        report.measure("records_lost", 1.0, Some(0.0));
        let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        report.listener = Listener::new(move |event| ear.lock().unwrap().push(event.what.clone()));
        report.step("the standby was promoted");
        report.end();
        assert_eq!(*heard.lock().unwrap(), ["the standby was promoted"]);
        assert_eq!(report.status(), Status::Failed);
        assert!(report.text().starts_with("db-failover: failed in "));
    }
}
