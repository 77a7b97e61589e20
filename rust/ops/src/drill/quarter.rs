//! What many runs of drills have shown, for whoever has to answer for it: Markdown and HTML.

use std::fmt::Write as _;
use std::path::Path;

use edgesentry_chain::escape;
use serde::Deserialize;
use time::{Date, Month, OffsetDateTime};

use super::{DrillReport, PLANS};
use crate::check::{Check, Status};
use crate::error::Error;

/// One run of a drill.
#[derive(Clone, PartialEq, Debug)]
pub struct Run {
    /// What it has shown.
    pub report: DrillReport,
    /// Its verdict; unknown where the drill could not finish, whatever it had checked before.
    pub status: Status,
}

/// A quarter of a year, such as `2026Q4`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quarter {
    year: i32,
    /// From 1 to 4.
    number: u8,
}

/// Runs of drills, and what they are called together.
#[derive(Clone, PartialEq, Debug)]
pub struct Summary {
    /// The heading.
    pub title: String,
    /// The runs, oldest first.
    pub runs: Vec<Run>,
}

/// A report file as `eds drill --report-dir` writes it.
#[derive(Deserialize)]
struct File {
    status: Option<Status>,
    #[serde(flatten)]
    report: DrillReport,
}

impl Quarter {
    /// The quarter of a moment, Unix milliseconds.
    pub fn of(unix_ms: u64) -> Quarter {
        let day = day(unix_ms);
        Quarter { year: day.year(), number: (u8::from(day.month()) - 1) / 3 + 1 }
    }

    /// The one before.
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
        let wanted = || format!("a quarter such as 2026Q4 is wanted, not {text:?}");
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
    /// The runs of a quarter, of all reports in a folder.
    pub fn of_quarter(folder: &Path, quarter: Quarter) -> Result<Summary, Error> {
        let mut runs = read(folder)?;
        runs.retain(|run| quarter.contains(run.report.started_at_ms));
        runs.sort_by_key(|run| run.report.started_at_ms);
        Ok(Summary { title: format!("Drills of {quarter}"), runs })
    }

    /// Passed only if every drill has run and the last run of each has passed.
    pub fn status(&self) -> Status {
        let last = PLANS.map(|plan| self.of(plan.name).last().map_or(Status::Unknown, |run| run.status));
        if last.contains(&Status::Failed) {
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

    /// Rows of the table of drills.
    fn drills(&self) -> Vec<[String; 6]> {
        let row = |drill: &str, criterion: &str| {
            let runs: Vec<&Run> = self.of(drill).collect();
            let passed = runs.iter().filter(|run| run.status == Status::Passed);
            let last =
                passed.clone().next_back().map_or("never".to_owned(), |run| shown(run.report.started_at_ms));
            let worst = runs.iter().flat_map(|run| &run.report.measures);
            let worst =
                worst.filter(|measure| measure.name == "recovery_seconds").map(|measure| measure.value);
            let worst = worst
                .fold(None, |worst: Option<f64>, value| Some(worst.map_or(value, |worst| worst.max(value))));
            [
                drill.to_owned(),
                runs.len().to_string(),
                passed.count().to_string(),
                last,
                worst.map_or_else(|| "-".to_owned(), |worst| format!("{worst:.1}")),
                criterion.to_owned(),
            ]
        };
        PLANS.iter().map(|plan| row(plan.name, plan.criterion)).collect()
    }

    /// Rows of the table of runs.
    fn lines(&self) -> Vec<[String; 5]> {
        let line = |run: &Run| {
            let Run { report, status } = run;
            let measures =
                report.measures.iter().map(|measure| format!("{} {:.3}", measure.name, measure.value));
            [
                shown(report.started_at_ms),
                report.drill.clone(),
                status.to_string(),
                format!("{:.1}", report.duration_ms as f64 / 1000.0),
                measures.collect::<Vec<_>>().join(", "),
            ]
        };
        self.runs.iter().map(line).collect()
    }

    /// Checks that did not pass, each with its run.
    fn faults(&self) -> Vec<(String, &Check)> {
        let of_run = |run: &Run| format!("{} of {}", run.report.drill, shown(run.report.started_at_ms));
        let all =
            self.runs.iter().flat_map(|run| run.report.checks.iter().map(move |check| (of_run(run), check)));
        all.filter(|(_, check)| check.status != Status::Passed).collect()
    }

    fn verdict(&self) -> &'static str {
        match self.status() {
            Status::Passed => "Every drill was rehearsed, and the last run of each has passed.",
            Status::Failed => "The last run of at least one drill has failed.",
            Status::Unknown => "At least one drill was not rehearsed, or its last run could not finish.",
        }
    }

    /// The report in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n\n", self.title, self.verdict());
        table(&mut text, &DRILLS, &self.drills());
        text.push_str("\n## Runs\n\n");
        table(&mut text, &RUNS, &self.lines());
        text.push_str("\n## What did not pass\n\n");
        let faults = self.faults();
        if faults.is_empty() {
            text.push_str("Nothing.\n");
        }
        for (run, check) in faults {
            let Check { name, status, evidence } = check;
            let _ = writeln!(text, "- {run}: {status}: {}: {}", cell(name), cell(evidence));
        }
        text
    }

    /// The report as one HTML page without anything from elsewhere.
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
        page.push_str("<h2>What did not pass</h2>\n");
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
                escape::markup(name),
                escape::markup(evidence)
            );
        }
        page.push_str("</body></html>\n");
        page
    }
}

const DRILLS: [&str; 6] =
    ["drill", "runs", "passed", "last passed", "longest recovery, seconds", "passes when"];
const RUNS: [&str; 5] = ["begun", "drill", "outcome", "seconds", "measured"];
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

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    escape::sentence(text).replace('|', "\\|").replace('<', "&lt;")
}

fn read(folder: &Path) -> Result<Vec<Run>, Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("read the reports", folder))?;
    let mut runs = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("read the reports", folder))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io("read the report", &path))?;
        let file: File = serde_json::from_str(&text).map_err(|error| {
            Error::Config(format!(
                "{}: it is no report of a drill: {error}; move it elsewhere",
                path.display()
            ))
        })?;
        let status = file.status.unwrap_or_else(|| file.report.status());
        runs.push(Run { report: file.report, status });
    }
    Ok(runs)
}

fn day(unix_ms: u64) -> Date {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000);
    time.map_or_else(
        |_| Date::from_calendar_date(9999, Month::December, 31).unwrap_or(Date::MAX),
        OffsetDateTime::date,
    )
}

fn shown(unix_ms: u64) -> String {
    let seconds = OffsetDateTime::from_unix_timestamp(i64::try_from(unix_ms / 1000).unwrap_or(0));
    let shown =
        seconds.ok().and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok());
    shown.unwrap_or_else(|| unix_ms.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// 2026-11-24T00:00:00Z.
    const NOW: u64 = 1_795_478_400_000;

    fn keep(folder: &Path, drill: &str, started_at_ms: u64, status: &str) {
        let mut report = DrillReport::begin(drill, "");
        report.started_at_ms = started_at_ms;
        report.check(Check::new("nothing <lost>", status == "passed", "0 | 1"));
        report.measure("recovery_seconds", 2.5, None);
        let mut json = serde_json::to_value(&report).unwrap();
        json["status"] = status.into();
        std::fs::write(folder.join(format!("{drill}-{started_at_ms}.json")), json.to_string()).unwrap();
    }

    #[test]
    fn a_quarter_tells_what_was_rehearsed_and_what_was_not() {
        let folder = tempfile::tempdir().unwrap();
        for plan in PLANS {
            keep(folder.path(), plan.name, NOW, "passed");
        }
        let quarter: Quarter = "2026Q4".parse().unwrap();
        let summary = Summary::of_quarter(folder.path(), quarter).unwrap();
        assert_eq!((summary.status(), summary.runs.len()), (Status::Passed, PLANS.len()));
        assert!(summary.markdown().contains("| db-failover | 1 | 1 | 2026-11-24T00:00:00Z | 2.5 |"));
        assert_eq!(
            Summary::of_quarter(folder.path(), "2026Q3".parse().unwrap()).unwrap().status(),
            Status::Unknown
        );

        keep(folder.path(), "rpo", NOW + 1000, "unknown");
        let summary = Summary::of_quarter(folder.path(), quarter).unwrap();
        assert_eq!(summary.status(), Status::Unknown, "a drill that could not finish has not passed");
        keep(folder.path(), "db-failover", NOW + 2000, "failed");
        let summary = Summary::of_quarter(folder.path(), quarter).unwrap();
        assert_eq!(summary.status(), Status::Failed);
        assert!(summary.markdown().contains("nothing &lt;lost>: 0 \\| 1"), "{}", summary.markdown());
        assert!(summary.html().contains("nothing &lt;lost&gt;") && !summary.html().contains("<lost>"));

        std::fs::write(folder.path().join("other.json"), "{}").unwrap();
        let error = Summary::of_quarter(folder.path(), quarter).unwrap_err().to_string();
        assert!(error.contains("other.json: it is no report of a drill"), "{error}");
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
