//! A summary of many runs of drills for managers and auditors: Markdown and HTML.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use edgesentry_chain::{PublicKey, escape};
use serde::Deserialize;
use time::{Date, Month, OffsetDateTime};

use super::report::{pairs, whole_seconds};
use super::signed::{self, Signature};
use super::{DrillReport, Extent, PLANS, Plan, SITE_PLANS};
use crate::check::{Check, Status};
use crate::error::Error;

/// A run of a drill.
#[derive(Clone, PartialEq, Debug)]
pub struct Run {
    /// The report.
    pub report: DrillReport,
    /// The verdict; unknown if the drill could not finish, even if checks had passed or failed before.
    pub status: Status,
    /// The state of its report's signature.
    pub signature: Signature,
}

/// A quarter of a year, such as `2026Q4`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quarter {
    year: i32,
    /// From 1 to 4.
    number: u8,
}

/// Runs of drills, and their common title.
#[derive(Clone, PartialEq, Debug)]
pub struct Summary {
    /// The heading.
    pub title: String,
    /// The runs, oldest first.
    pub runs: Vec<Run>,
    /// Whether only runs with signed reports count.
    pub signed_only: bool,
}

/// A report file as `eds drill --report-dir` writes it.
#[derive(Deserialize)]
struct File {
    status: Option<Status>,
    #[serde(flatten)]
    report: DrillReport,
}

impl Quarter {
    /// Returns the quarter of a time, Unix milliseconds.
    pub fn of(unix_ms: u64) -> Quarter {
        let day = day(unix_ms);
        Quarter { year: day.year(), number: (u8::from(day.month()) - 1) / 3 + 1 }
    }

    /// Returns the previous quarter.
    #[must_use]
    pub fn before(self) -> Quarter {
        match self.number {
            1 => Quarter { year: self.year - 1, number: 4 },
            number => Quarter { year: self.year, number: number - 1 },
        }
    }

    fn contains(self, unix_ms: u64) -> bool {
        Quarter::of(unix_ms) == self
    }
}

impl std::str::FromStr for Quarter {
    type Err = String;

    fn from_str(text: &str) -> Result<Quarter, String> {
        let wanted = || format!("expected a quarter such as 2026Q4, got {text:?}");
        let (year, number) = text.split_once(['Q', 'q']).ok_or_else(wanted)?;
        let (year, number) = (year.parse().map_err(|_| wanted())?, number.parse().map_err(|_| wanted())?);
        if !(1970..=9999).contains(&year) || !(1..=4).contains(&number) {
            return Err(wanted());
        }
        Ok(Quarter { year, number })
    }
}

impl std::fmt::Display for Quarter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}Q{}", self.year, self.number)
    }
}

impl Summary {
    /// Returns the runs of a quarter from all reports in a directory. With a key only those that it signed count.
    ///
    /// # Errors
    /// The directory or a report cannot be read. A signature that does not hold is part of the run.
    pub fn of_quarter(folder: &Path, quarter: Quarter, key: Option<&PublicKey>) -> Result<Summary, Error> {
        let mut runs = read(folder, key)?;
        runs.retain(|run| quarter.contains(run.report.started_at_ms));
        runs.sort_by_key(|run| run.report.started_at_ms);
        Ok(Summary { title: format!("Drills of {quarter}"), runs, signed_only: key.is_some() })
    }

    /// Returns passed only if every drill on servers of its own ran in full, and the last full run of each drill has
    /// passed.
    pub fn status(&self) -> Status {
        let last =
            self.plans().map(|plan| self.full(plan.name).last().map_or(Status::Unknown, |run| run.status));
        let last: Vec<Status> = last.collect();
        let forged = self.runs.iter().any(|run| matches!(run.signature, Signature::Invalid(_)));
        if forged || last.contains(&Status::Failed) {
            Status::Failed
        } else if last.contains(&Status::Unknown) {
            Status::Unknown
        } else {
            Status::Passed
        }
    }

    fn of<'a>(&'a self, drill: &'a str) -> impl DoubleEndedIterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.report.drill == drill)
    }

    /// Returns the full runs, signed ones only if required: the other runs do not meet the purpose of a drill.
    fn full<'a>(&'a self, drill: &'a str) -> impl DoubleEndedIterator<Item = &'a Run> {
        let counts = move |run: &&Run| !self.signed_only || run.signature == Signature::Valid;
        self.of(drill).filter(|run| run.report.extent == Extent::Full).filter(counts)
    }

    /// Returns every drill on servers of its own, and those on the operator's systems that ran in full.
    fn plans(&self) -> impl Iterator<Item = Plan> {
        let held = SITE_PLANS.into_iter().filter(|plan| self.full(plan.name).next().is_some());
        PLANS.into_iter().chain(held)
    }

    /// Returns the rows of the table of drills.
    fn drills(&self) -> Vec<[String; 7]> {
        let row = |Plan { name, criterion, .. }: Plan| {
            let runs: Vec<&Run> = self.full(name).collect();
            let passed = runs.iter().filter(|run| run.status == Status::Passed);
            let last = passed
                .clone()
                .next_back()
                .map_or("never".to_owned(), |run| whole_seconds(run.report.started_at_ms));
            let worst = runs.iter().flat_map(|run| &run.report.measures);
            let worst =
                worst.filter(|measure| measure.name == "recovery_seconds").map(|measure| measure.value);
            let worst = worst
                .fold(None, |worst: Option<f64>, value| Some(worst.map_or(value, |worst| worst.max(value))));
            [
                name.to_owned(),
                runs.len().to_string(),
                passed.count().to_string(),
                last,
                worst.map_or_else(|| "-".to_owned(), |worst| format!("{worst:.1}")),
                (self.of(name).count() - runs.len()).to_string(),
                criterion.to_owned(),
            ]
        };
        self.plans().map(row).collect()
    }

    /// Returns the rows of the table of runs.
    fn lines(&self) -> Vec<[String; 9]> {
        let line = |run: &Run| {
            let Run { report, status, signature } = run;
            let measures =
                report.measures.iter().map(|measure| format!("{} {:.3}", measure.name, measure.value));
            [
                whole_seconds(report.started_at_ms),
                report.drill.clone(),
                report.extent.to_string(),
                status.to_string(),
                format!("{:.1}", report.duration_ms as f64 / 1000.0),
                signature.to_string(),
                format!("{}; eds on {}", report.place, report.host.name),
                format!("{}; {}", pairs(&report.versions), pairs(&report.options)),
                measures.collect::<Vec<_>>().join(", "),
            ]
        };
        self.runs.iter().map(line).collect()
    }

    /// Returns the checks that did not pass, each with its run.
    fn faults(&self) -> Vec<(String, Check)> {
        let of_run =
            |run: &Run| format!("{} of {}", run.report.drill, whole_seconds(run.report.started_at_ms));
        let mut faults = Vec::new();
        for run in &self.runs {
            let signed = match &run.signature {
                Signature::Invalid(why) => Some(Check::new("the report is signed", false, *why)),
                Signature::Missing if self.signed_only => {
                    Some(Check::unknown("the report is signed", "it is not, and does not count"))
                }
                _ => None,
            };
            let checks = run.report.checks.iter().filter(|check| check.status != Status::Passed).cloned();
            faults.extend(signed.into_iter().chain(checks).map(|check| (of_run(run), check)));
        }
        faults
    }

    fn verdict(&self) -> &'static str {
        match self.status() {
            Status::Passed => "Every drill ran in full, and the last full run of each has passed.",
            Status::Failed => {
                "The last full run of at least one drill has failed, or the signature of a report is not valid."
            }
            Status::Unknown => {
                "At least one drill did not run in full, or its last full run could not finish."
            }
        }
    }

    /// Returns the report in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n\n", self.title, self.verdict());
        table(&mut text, &DRILLS, &self.drills());
        text.push_str("\n## Runs\n\n");
        table(&mut text, &RUNS, &self.lines());
        text.push_str("\n## Drills that did not pass\n\n");
        let faults = self.faults();
        if faults.is_empty() {
            text.push_str("Nothing.\n");
        }
        for (run, check) in faults {
            let Check { name, status, evidence } = check;
            let _ = writeln!(text, "- {run}: {status}: {}: {}", cell(&name), cell(&evidence));
        }
        text
    }

    /// Returns the report as one HTML page without external resources.
    pub fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\n<style>{STYLE}</style>\
             </head>\n<body><h1>{0}</h1>\n<p>{1}</p>\n",
            escape::markup(&self.title),
            self.verdict()
        );
        html_table(&mut page, &DRILLS, &self.drills());
        page.push_str("<h2>Runs</h2>\n");
        html_table(&mut page, &RUNS, &self.lines());
        page.push_str("<h2>Drills that did not pass</h2>\n");
        let faults = self.faults();
        if faults.is_empty() {
            page.push_str("<p>Nothing.</p>\n");
        }
        for (run, check) in faults {
            let Check { name, status, evidence } = check;
            let _ = writeln!(
                page,
                "<p>{}: <b>{status}</b>: {}<br><code>{}</code></p>",
                escape::markup(&run),
                escape::markup(&name),
                escape::markup(&evidence)
            );
        }
        page.push_str("</body></html>\n");
        page
    }
}

const DRILLS: [&str; 7] = [
    "drill",
    "full runs",
    "passed",
    "last passed",
    "longest recovery, seconds",
    "other runs, which do not count",
    "passes when",
];
const RUNS: [&str; 9] = [
    "begun",
    "drill",
    "extent",
    "outcome",
    "seconds",
    "signature",
    "held on",
    "versions; options",
    "measured",
];
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.3em .6em;text-align:left;vertical-align:top}";

fn table<const COLUMNS: usize>(text: &mut String, head: &[&str; COLUMNS], rows: &[[String; COLUMNS]]) {
    let _ = writeln!(text, "| {} |\n|{}", head.join(" | "), "---|".repeat(COLUMNS));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.each_ref().map(|field| cell(field)).join(" | "));
    }
}

fn html_table<const COLUMNS: usize>(page: &mut String, head: &[&str; COLUMNS], rows: &[[String; COLUMNS]]) {
    let line = |tag: &str, fields: Vec<String>| {
        let fields = fields.iter().map(|field| format!("<{tag}>{}</{tag}>", escape::markup(field)));
        format!("<tr>{}</tr>\n", fields.collect::<String>())
    };
    page.push_str("<table>\n");
    page.push_str(&line("th", head.iter().map(|&field| field.to_owned()).collect()));
    for row in rows {
        page.push_str(&line("td", row.to_vec()));
    }
    page.push_str("</table>\n");
}

/// Escapes text for a table cell.
fn cell(text: &str) -> String {
    escape::sentence(text).replace('|', "\\|").replace('<', "&lt;")
}

fn read(folder: &Path, key: Option<&PublicKey>) -> Result<Vec<Run>, Error> {
    let run = |path: &Path| {
        let bytes = std::fs::read(path).map_err(Error::io("read the report", path))?;
        let File { status, report } = parse(path, &bytes)?;
        let signature = signed::check(path, &bytes, key)?;
        Ok(Run { status: status.unwrap_or_else(|| report.status()), report, signature })
    };
    paths(folder)?.iter().map(|path| run(path)).collect()
}

/// Removes the expired reports of a directory, with their texts and signatures. Returns their paths.
///
/// # Errors
/// A report cannot be read or removed. Reports that were removed before stay removed.
pub fn remove_expired(folder: &Path, now_ms: u64) -> Result<Vec<PathBuf>, Error> {
    let mut removed = Vec::new();
    for path in paths(folder)? {
        let bytes = std::fs::read(&path).map_err(Error::io("read the report", &path))?;
        let until = parse(&path, &bytes)?.report.keep_until_ms;
        if until == 0 || until > now_ms {
            continue;
        }
        for file in [path.with_extension("txt"), signed::signature_path(&path), path] {
            match std::fs::remove_file(&file) {
                Ok(()) => removed.push(file),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("remove the report", &file)(error)),
            }
        }
    }
    Ok(removed)
}

/// Returns the paths of the reports in a directory.
fn paths(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("read the reports", folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("read the reports", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<File, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::unusable(
            format!("{}: it is not a report of a drill; move it elsewhere", path.display()),
            error,
        )
    })
}

fn day(unix_ms: u64) -> Date {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000);
    time.map_or_else(
        |_| Date::from_calendar_date(9999, Month::December, 31).unwrap_or(Date::MAX),
        OffsetDateTime::date,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24T00:00:00Z.
    const NOW: u64 = 1_795_478_400_000;

    fn keep(folder: &Path, drill: &str, started_at_ms: u64, status: &str) {
        keep_some(folder, drill, started_at_ms, status, Extent::Full);
    }

    fn keep_some(folder: &Path, drill: &str, started_at_ms: u64, status: &str, extent: Extent) {
        let mut report = DrillReport::begin(drill, "");
        report.extent = extent;
        report.started_at_ms = started_at_ms;
        report.check(Check::new("nothing <lost>", status == "passed", "0 | 1"));
        report.measure("recovery_seconds", 2.5, None);
        let mut json = serde_json::to_value(&report).unwrap();
        json["status"] = status.into();
        std::fs::write(folder.join(format!("{drill}-{started_at_ms}.json")), json.to_string()).unwrap();
    }

    #[test]
    fn the_report_of_a_quarter_lists_the_drills_that_ran_and_those_that_did_not() {
        let folder = tempfile::tempdir().unwrap();
        for plan in PLANS {
            keep(folder.path(), plan.name, NOW, "passed");
        }
        let quarter: Quarter = "2026Q4".parse().unwrap();
        let summary = Summary::of_quarter(folder.path(), quarter, None).unwrap();
        assert_eq!((summary.status(), summary.runs.len()), (Status::Passed, PLANS.len()));
        assert!(summary.markdown().contains("| db-failover | 1 | 1 | 2026-11-24T00:00:00Z | 2.5 |"));
        assert_eq!(
            Summary::of_quarter(folder.path(), "2026Q3".parse().unwrap(), None).unwrap().status(),
            Status::Unknown
        );

        keep_some(folder.path(), "rpo", NOW + 500, "failed", Extent::Short);
        let summary = Summary::of_quarter(folder.path(), quarter, None).unwrap();
        assert_eq!(summary.status(), Status::Passed, "a short run is no run of the quarter");
        assert!(summary.markdown().contains("| rpo | 1 | 1 | 2026-11-24T00:00:00Z | 2.5 | 1 |"));
        assert!(!summary.markdown().contains("db-restore-archive"), "not everybody has an archive");
        keep(folder.path(), "db-restore-archive", NOW + 600, "passed");
        let summary = Summary::of_quarter(folder.path(), quarter, None).unwrap();
        assert!(summary.markdown().contains("| db-restore-archive | 1 | 1 |"), "{}", summary.markdown());

        keep(folder.path(), "rpo", NOW + 1000, "unknown");
        let summary = Summary::of_quarter(folder.path(), quarter, None).unwrap();
        assert_eq!(summary.status(), Status::Unknown, "a drill that could not finish has not passed");
        keep(folder.path(), "db-failover", NOW + 2000, "failed");
        let summary = Summary::of_quarter(folder.path(), quarter, None).unwrap();
        assert_eq!(summary.status(), Status::Failed);
        assert!(summary.markdown().contains("nothing &lt;lost>: 0 \\| 1"), "{}", summary.markdown());
        assert!(summary.html().contains("nothing &lt;lost&gt;") && !summary.html().contains("<lost>"));

        std::fs::write(folder.path().join("other.json"), "{}").unwrap();
        let error = Summary::of_quarter(folder.path(), quarter, None).unwrap_err().to_string();
        assert!(error.contains("other.json: it is not a report of a drill"), "{error}");
    }

    #[test]
    fn with_a_key_only_signed_reports_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = |plan: Plan| folder.path().join(format!("{}-{NOW}.json", plan.name));
        for plan in PLANS {
            keep(folder.path(), plan.name, NOW, "passed");
            let signer = std::sync::Arc::new(edgesentry_chain::SeedSigner::new([7; 32]).unwrap());
            let line = signed::sign(signer, plan.name, &std::fs::read(path(plan)).unwrap(), NOW).unwrap();
            std::fs::write(signed::signature_path(&path(plan)), line).unwrap();
        }
        let device = edgesentry_chain::Device::from_seed("x", [7; 32], edgesentry_chain::Scheme::Record);
        let key = device.public_key().unwrap();
        let summary = || Summary::of_quarter(folder.path(), Quarter::of(NOW), Some(&key)).unwrap();
        assert_eq!(summary().status(), Status::Passed);

        std::fs::remove_file(signed::signature_path(&path(PLANS[0]))).unwrap();
        assert_eq!(summary().status(), Status::Unknown, "a report without a signature does not count");
        assert!(summary().markdown().contains("it is not, and does not count"), "{}", summary().markdown());
        keep(folder.path(), PLANS[1].name, NOW, "failed");
        assert_eq!(summary().status(), Status::Failed);
        assert!(summary().markdown().contains("of another report"), "{}", summary().markdown());
    }

    #[test]
    fn reports_are_removed_when_their_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path(), "rpo", NOW, "passed");
        let mut report = DrillReport::begin("rpo", "");
        report.keep_until_ms = NOW;
        let path = folder.path().join("rpo-1.json");
        std::fs::write(&path, serde_json::to_string(&report).unwrap()).unwrap();
        std::fs::write(signed::signature_path(&path), "").unwrap();
        assert!(remove_expired(folder.path(), NOW - 1).unwrap().is_empty());
        assert_eq!(remove_expired(folder.path(), NOW).unwrap().len(), 2);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "what says no time is kept");
    }

    #[test]
    fn quarters_are_read_and_written() {
        assert_eq!(Quarter::of(NOW).to_string(), "2026Q4");
        assert_eq!("2026Q1".parse::<Quarter>().unwrap().before().to_string(), "2025Q4");
        for bad in ["2026", "2026Q5", "2026Q0", "Q1", "26Q1", "2026Q", ""] {
            assert!(bad.parse::<Quarter>().is_err(), "{bad}");
        }
    }
}
