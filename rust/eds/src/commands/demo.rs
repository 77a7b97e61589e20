//! `eds demo`: chains from real telemetry, verified, tampered with, verified again.

mod folder;
mod trials;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use clap::Args;
use edgesentry_chain::{Checks, Report};
use edgesentry_formats::{Options, Progress, Source};
use serde_json::json;

use self::folder::DemoFolder;
use self::trials::Trial;
use crate::exit::{Exit, Failure, chain};
use crate::fleet::{ALL_RECORDS, Fleet};
use crate::output::{Answer, Output};
use crate::text::{count, name, number, shell_word};

/// Records that each tampering is tried on.
const TRIAL_RECORDS: usize = 5_000;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// See it work: sign real telemetry, verify it, tamper with copies, see what is caught
///
/// Five devices sign 50,365 rows of water-flow and shuttle telemetry. The export, its keys, heads and payloads
/// are written to a folder for you to try the other commands on. Exit code 0 if every tampering was answered
/// as it should be.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds demo
  eds demo --dir /tmp/eds --records 2000")]
pub(crate) struct Demo {
    /// Where to write the export; a folder of an earlier demo is written over, any other is left alone
    #[arg(long, value_name = "DIR", default_value = "edgesentry-demo")]
    dir: PathBuf,
    /// How many records to make, 100 to 50365 [default: 50365]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=ALL_RECORDS as i64))]
    records: Option<u32>,
}

/// What the demo has shown.
struct Shown {
    report: Report,
    time: Duration,
    trial_records: usize,
    trials: Vec<Trial>,
}

impl Demo {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let folder = DemoFolder::claim(&self.dir)?;
        let size = self.records.map_or(ALL_RECORDS, |records| records as usize);
        let fleet = make_fleet(size)?;
        folder.fill(&fleet)?;

        let checks = Checks { keys: Some(&fleet.keys), heads: Some(&fleet.heads), ..Checks::default() };
        let progress = Arc::new(Progress::default());
        let begin = Instant::now();
        let export = vec![Source::Path(folder.export())];
        let report = edgesentry_formats::verify(export, &checks, &Options::default(), &progress)?;
        let time = begin.elapsed();
        // A share of the records is enough to show what is found, and keeps the demo short.
        let share = make_fleet(size.min(TRIAL_RECORDS))?;
        let trials = trials::all(&share, &folder)?;

        let shown = Shown { report, time, trial_records: share.records.len(), trials };
        let ok = shown.report.ok() && shown.trials.iter().all(Trial::is_as_expected);
        let (content, text) = (shown.content(&folder), shown.text(&folder));
        output.answer(&Answer { ok, name: "demo", content: &content, text, failure: None })?;
        Ok(if ok { Exit::Holds } else { Exit::Findings })
    }
}

fn make_fleet(size: usize) -> Result<Fleet, Failure> {
    Fleet::new(size).map_err(|error| Failure::unfinished("demo", chain(&error)))
}

impl Shown {
    fn records_per_second(&self) -> u64 {
        (self.report.coverage.records as f64 / self.time.as_secs_f64()) as u64
    }

    fn content(&self, folder: &DemoFolder) -> serde_json::Value {
        json!({
            "dir": folder.path().display().to_string(),
            "verdict": self.report.verdict,
            "records": self.report.coverage.records,
            "devices": self.report.coverage.devices,
            "seconds": self.time.as_secs_f64(),
            "records_per_second": self.records_per_second(),
            "threads": rayon::current_num_threads(),
            "tampering": self.trials.iter().map(Trial::content).collect::<Vec<_>>(),
        })
    }

    fn text(&self, folder: &DemoFolder) -> String {
        let coverage = &self.report.coverage;
        let (style, verdict) = if self.report.ok() { (GOOD, "VALID") } else { (BAD, "FINDINGS") };
        let records = count(coverage.records, "record");
        let devices = count(coverage.devices, "device");
        let seconds = self.time.as_secs_f64();
        let speed = number(self.records_per_second());
        let threads = count(rayon::current_num_threads() as u64, "thread");
        let path = name(&folder.path().display().to_string());
        let mut text = format!(
            "{BOLD}{records}{BOLD:#} of {devices} signed from water-flow and shuttle telemetry, in {path}\n\
             {style}{verdict}{style:#}  links, signatures and heads verified in {seconds:.2} s: {speed} records/s from JSON, \
             {threads}\n\n{BOLD}  {:<42} what a verification finds{BOLD:#}\n",
            format!("tampering with {} such records", number(self.trial_records as u64))
        );
        for trial in &self.trials {
            text.push_str(&trial.line());
        }
        let caught = self.trials.iter().filter(|trial| trial.is_as_expected()).count();
        let all = self.trials.len();
        let style = if caught == all { GOOD } else { BAD };
        text.push_str(&format!("{style}{caught} of {all} as expected{style:#}\n\n{BOLD}Next{BOLD:#}\n"));
        for (command, remark) in next_commands(folder) {
            text.push_str(&format!("  {command}\n      {DIM}{remark}{DIM:#}\n"));
        }
        text
    }
}

/// Commands that work as they stand.
fn next_commands(folder: &DemoFolder) -> [(String, &'static str); 3] {
    let at = |file: &str| shell_word(&folder.path().join(file).display().to_string());
    let (keys, heads) = (at("keys.json"), at("heads.json"));
    [
        (
            format!("eds verify-chain {} --keys {keys} --heads {heads}", at("export.json")),
            "the whole export: exit code 0",
        ),
        (
            format!(
                "eds verify-chain {} --keys {keys} --payloads {}",
                at("water-branch-1.json"),
                at("payloads")
            ),
            "one chain with its payloads: exit code 0",
        ),
        (
            format!("eds verify-chain {} --keys {keys}", at("tampered.json")),
            "the same chain with a record taken out: exit code 1",
        ),
    ]
}
