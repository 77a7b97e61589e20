//! `eds demo`: chains of real telemetry go from device to ledger and export; they are verified, tampered with and
//! verified again.

mod bundle;
mod folder;
mod operator;
mod stages;
mod trials;

use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::Args;
use edgesentry_formats::describe;
use serde_json::json;

use self::bundle::Bundle;
use self::folder::DemoFolder;
use self::stages::{Stage, Stages};
use self::trials::Trial;
use crate::exit::{Exit, Failure};
use crate::fleet::{ALL_RECORDS, Fleet};
use crate::network;
use crate::output::{Answer, Output};
use crate::text::{count, name, number, shell_word};

/// Records for each tampering trial.
const TRIAL_RECORDS: usize = 5_000;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Run a demo: sign, ingest, export and verify real telemetry, then tamper with copies and show the findings
///
/// Five devices sign 50,365 rows of water-flow and shuttle telemetry into their outboxes and send them to a
/// ledger. Ledger, exports, keys, heads and payloads stay in a directory, so that you can try the other
/// commands. Finally, the demo edits a record and rebuilds the transparency log with the operator's key, and shows that
/// a checkpoint that an auditor kept reveals this. It also writes an evidence bundle of one chain. Exit code 0 if the
/// untouched export and the bundle are valid, and each tampered copy had the expected findings.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds demo
  eds demo --dir /tmp/eds --records 2000")]
pub(crate) struct Demo {
    /// Directory to write to; the directory of an earlier demo is replaced, any other directory is refused
    #[arg(long, value_name = "DIR", default_value = "edgesentry-demo")]
    dir: PathBuf,
    /// Number of records, 100 to 50365 [default: 50365]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=ALL_RECORDS as i64))]
    records: Option<u32>,
}

/// The results of the demo.
struct Shown {
    stages: Stages,
    trial_records: usize,
    trials: Vec<Trial>,
    /// Those of an operator with the key of the log.
    with_log: [Trial; 2],
    bundle: Bundle,
}

impl Demo {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let folder = DemoFolder::claim(&self.dir)?;
        folder.clear()?;
        let size = self.records.map_or(ALL_RECORDS, |records| records as usize);
        let fleet = make_fleet(size)?;
        folder.fill(&fleet)?;
        folder.write_console()?;
        let stages = stages::run(&fleet, &folder)?;
        // Some of the records are enough to show the findings, and keep the demo short.
        let share = make_fleet(size.min(TRIAL_RECORDS))?;
        let trials = trials::all(&share, &folder)?;
        let (with_log, bundle) = operator::trials(&share, &folder)?;

        let shown = Shown { stages, trial_records: share.records.len(), trials, with_log, bundle };
        let ok = shown.stages.report.ok()
            && shown.bundle.is_valid()
            && shown.all_trials().all(Trial::is_as_expected);
        let (content, text) = (shown.content(&folder), shown.text(&folder));
        output.answer(&Answer { ok, name: "demo", content: &content, text, failure: None })?;
        Ok(if ok { Exit::Holds } else { Exit::Findings })
    }
}

fn make_fleet(size: usize) -> Result<Fleet, Failure> {
    Fleet::new(size).map_err(|error| Failure::unfinished("demo", describe(&error)))
}

impl Shown {
    fn all_trials(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().chain(&self.with_log)
    }

    fn content(&self, folder: &DemoFolder) -> serde_json::Value {
        let Stages { report, verified, .. } = &self.stages;
        json!({
            "dir": folder.path().display().to_string(),
            "verdict": report.verdict,
            "records": report.coverage.records,
            "devices": report.coverage.devices,
            "seconds": verified.time.as_secs_f64(),
            "records_per_second": verified.per_second(),
            "threads": rayon::current_num_threads(),
            "stages": self.stages.content(),
            "bundle": self.bundle.content(),
            "tampering": self.all_trials().map(Trial::content).collect::<Vec<_>>(),
        })
    }

    fn text(&self, folder: &DemoFolder) -> String {
        let mut text = self.stages_text(folder);
        let title = format!("tampering with {} such records", number(self.trial_records as u64));
        text.push_str(&format!("\n{BOLD}  {title:<42} what a verification finds{BOLD:#}\n"));
        self.trials.iter().for_each(|trial| text.push_str(&trial.line()));
        let title = "with the database and the key of its log";
        text.push_str(&format!("{BOLD}  {title:<42} an auditor keeps a signed checkpoint{BOLD:#}\n"));
        self.with_log.iter().for_each(|trial| text.push_str(&trial.line()));
        let caught = self.all_trials().filter(|trial| trial.is_as_expected()).count();
        let all = self.trials.len() + self.with_log.len();
        let style = if caught == all { GOOD } else { BAD };
        text.push_str(&format!("{style}{caught} of {all} as expected{style:#}; {BOLD}next{BOLD:#}\n"));
        for (command, remark) in next_commands(folder) {
            text.push_str(&format!("  {command}\n      {DIM}{remark}{DIM:#}\n"));
        }
        text
    }

    /// Returns the results of the stages, a line for each.
    fn stages_text(&self, folder: &DemoFolder) -> String {
        let Stages { signed, ingested, exported, verified, report } = &self.stages;
        let devices = count(report.coverage.devices, "device");
        let path = name(&folder.path().display().to_string());
        let (style, verdict) = if report.ok() { (GOOD, "VALID") } else { (BAD, "FINDINGS") };
        let mut text = format!("{BOLD}Water-flow and shuttle telemetry of {devices}{BOLD:#}, in {path}\n");
        let mut line = |style: Style, done: &str, how: &str, stage: &Stage| {
            let (records, seconds) = (count(stage.records, "record"), stage.time.as_secs_f64());
            let speed = number(stage.per_second());
            text.push_str(&format!(
                "{style}{done:<9}{style:#} {records:<14}  {how:<48} {seconds:>6.2} s  {speed:>9}/s\n"
            ));
        };
        line(Style::new(), "signed", "into the outboxes of the devices", signed);
        line(Style::new(), "ingested", "checked, into an SQLite ledger with payloads", ingested);
        line(Style::new(), "exported", "from the ledger to JSON, with a manifest", exported);
        line(style, verdict, "links, signatures and heads of the export", verified);
        text
    }
}

/// Returns commands that work without changes, each with a remark, and the page.
fn next_commands(folder: &DemoFolder) -> [(String, &'static str); 6] {
    let at = |file: &str| shell_word(&folder.path().join(file).display().to_string());
    let (bundle, trusted) =
        (at("bundle/case.tar"), format!("--policy {} --keys {}", at("log/policy"), at("log/keys.json")));
    [
        (
            format!(
                "eds verify-chain --ledger {} --keys {} --payload-store",
                at("edgesentry.db"),
                at("keys.json")
            ),
            "the whole ledger in place with its payloads: exit code 0",
        ),
        (
            format!("eds verify-chain {} --keys {}", at("tampered.json"), at("keys.json")),
            "one chain without one of its records: exit code 1",
        ),
        (
            format!(
                "eds verify-chain {} --checkpoint {} --policy {}",
                at("log/edited.json"),
                at("log/kept"),
                at("log/policy")
            ),
            "an edited ledger with a rebuilt log, against the kept checkpoint: exit code 1",
        ),
        (
            format!("eds verify-bundle {bundle} {trusted}"),
            "a chain with its payloads and its proof in one file for an auditor: exit code 0",
        ),
        (
            format!("python3 {} {bundle} {trusted}", at("bundle/verify.py")),
            "the same with Python alone, or in a browser: open bundle/case.html of this directory: exit code 0",
        ),
        (
            format!("{} serve --config {}", network::SERVING_PROGRAM, at("console.toml")),
            "the console at http://127.0.0.1:8080/console; the token to sign in: console.token of this directory",
        ),
    ]
}
