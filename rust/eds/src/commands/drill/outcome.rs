//! The results of every drill: the output, the report files, the metrics.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use clap::Args;
use edgesentry_chain::Signer;
use edgesentry_formats::describe;
use edgesentry_formats::times::to_rfc3339;
use edgesentry_ops::OpsSettings;
use edgesentry_ops::check::{Check, Status};
use edgesentry_ops::drill::signed::{self, Signature};
use edgesentry_ops::drill::{DrillError, DrillReport, Event, Extent, Listener, Measure, Plan};
use edgesentry_ops::signature::signing_key;
use edgesentry_ops::textfile::Textfile;
use edgesentry_rs::settings::Overrides;
use edgesentry_rs::signer::KeySource;
use edgesentry_rs::telemetry::{TelemetrySettings, subscriber};
use serde_json::{Value, json};

use crate::envelope::terminal_safe;
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::{Answer, Output, complain};
use crate::outputs::{cannot_write, save_to};
use crate::remarks::{log_filter, remark};
use crate::stores;
use crate::text::{sentence, wrapped};
use crate::threads;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const CARE: Style = AnsiColor::Yellow.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// The width of evidence lines.
const WIDTH: usize = 90;

/// Where the outcome of a drill goes besides stdout.
#[derive(Args, Debug)]
pub(crate) struct Outcome {
    /// Directory for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; created if it is missing
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
    /// Key that signs the report, as NAME.json.sig: a seed file, a PKCS#11 URI, or exec:KEY PROGRAM
    #[arg(long, value_name = "KEY", requires = "report_dir")]
    sign_key: Option<PathBuf>,
    /// Settings file whose ops.signing_key signs the report, if it names one
    #[arg(long, value_name = "FILE", requires = "report_dir", conflicts_with = "sign_key")]
    sign_config: Option<PathBuf>,
    /// Retention of the report in days; eds drill report --remove-expired removes it afterwards
    #[arg(long, value_name = "DAYS", default_value_t = 1096, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    keep_days: u64,
    /// File for the textfile collector of node_exporter, name.prom: receives the times of the last run and
    /// the last pass
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
}

impl Outcome {
    /// Runs a drill and reports the outcome. `work` records steps, checks and figures in the report; an error means
    /// that the drill could not finish. At Ctrl-C `work` is dropped, and with it the servers that it has started. The
    /// log of the drill's service goes to stderr as `RUST_LOG` filters it.
    pub(super) fn of(
        &self,
        output: &Output,
        plan: &Plan,
        work: impl AsyncFnOnce(&mut DrillReport) -> Result<(), Failure>,
    ) -> Result<Exit, Failure> {
        let mut held = self.hold(output, plan, work)?;
        let status = held.status();
        let content = self.filed(&held)?;
        let exit = match (&held.failure, status) {
            (Some(failure), _) => failure.exit,
            (None, Status::Passed) => Exit::Holds,
            (None, Status::Failed) => Exit::Findings,
            (None, Status::Unknown) => Exit::Unfinished,
        };
        let (text, failure) = (held.text(), held.failure.take());
        output.answer(&Answer {
            ok: exit == Exit::Holds,
            name: "drill",
            content: &content,
            text,
            failure,
        })?;
        Ok(exit)
    }

    /// Runs a drill, and writes its metrics.
    pub(super) fn hold(
        &self,
        output: &Output,
        plan: &Plan,
        work: impl AsyncFnOnce(&mut DrillReport) -> Result<(), Failure>,
    ) -> Result<Held, Failure> {
        subscriber::init(&TelemetrySettings::default(), log_filter("off"))?;
        let textfile = self.metrics_file.as_deref().map(Textfile::open).transpose().map_err(Failure::from)?;
        if let Some(folder) = &self.report_dir {
            fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
        }
        self.signer()?;
        let runtime = threads::runtime()?;

        let mut report = DrillReport::begin(plan.name, plan.about);
        report.listener = listener(output.clone());
        let worked = runtime.block_on(interrupt::unless_asked(work(&mut report)));
        report.end();
        report.keep_until_ms = report.ended_at_ms.saturating_add(self.keep_days * 24 * 3600 * 1000);
        let failure = match worked {
            Some(Ok(())) => None,
            Some(Err(failure)) => Some(failure),
            None => Some(Failure::interrupted(format!("{} was interrupted and has no verdict", plan.name))),
        };
        // A run that could not finish has not passed, even if all its checks so far have.
        let unfinished =
            failure.as_ref().map(|failure| Check::unknown("the drill was finished", &*failure.message));
        report.checks.extend(unfinished);
        if let Some(textfile) = &textfile {
            textfile.set(&report.samples()).map_err(Failure::from)?;
        }
        Ok(Held { report, failure })
    }

    /// Writes the report into the directory, if one is named, and returns it for programs.
    pub(super) fn filed(&self, held: &Held) -> Result<Value, Failure> {
        let mut content = content(&held.report, held.status());
        if let Some(folder) = &self.report_dir {
            content["files"] = json!(write_report(folder, &held.report, &content, self.signer()?)?);
        }
        Ok(content)
    }

    /// Reads the key that signs; an unreadable one is an error before the drill runs.
    fn signer(&self) -> Result<Option<Arc<dyn Signer>>, Failure> {
        let Some(source) = self.key_source()? else { return Ok(None) };
        Ok(Some(source.open()?))
    }

    /// Returns the source of that key, if an option or the settings name one.
    fn key_source(&self) -> Result<Option<KeySource>, Failure> {
        match (&self.sign_key, &self.sign_config) {
            (Some(key), _) => {
                let wrong = |problem: String| Failure::usage("usage", format!("--sign-key: {problem}"));
                Ok(Some(KeySource::parse(key).map_err(wrong)?))
            }
            (None, Some(settings)) => {
                let settings = OpsSettings::of(&stores::load(Some(settings), &Overrides::default())?)?;
                Ok(signing_key(&settings)?)
            }
            (None, None) => Ok(None),
        }
    }

    /// Returns the signature status of a report that was just written.
    pub(super) fn signature(&self) -> Result<Signature, Failure> {
        Ok(if self.key_source()?.is_some() { Signature::NotChecked } else { Signature::Missing })
    }

    /// Returns the directory for reports, if one is named.
    pub(super) fn report_dir(&self) -> Option<&Path> {
        self.report_dir.as_deref()
    }
}

/// A drill that has ended.
pub(super) struct Held {
    /// The report.
    pub(super) report: DrillReport,
    /// Why it could not finish.
    pub(super) failure: Option<Failure>,
}

impl Held {
    /// Returns unknown if the drill could not finish, even if checks had passed or failed before.
    pub(super) fn status(&self) -> Status {
        if self.failure.is_some() { Status::Unknown } else { self.report.status() }
    }

    /// Returns the verdict for people; the steps went to stderr.
    pub(super) fn text(&self) -> String {
        text(&self.report, self.status())
    }
}

/// Writes the report for programs and for people, and its signature. Returns the paths.
fn write_report(
    folder: &Path,
    report: &DrillReport,
    content: &Value,
    signer: Option<Arc<dyn Signer>>,
) -> Result<Vec<String>, Failure> {
    let name = format!("{}-{}", report.drill, to_rfc3339(report.started_at_ms).replace(':', ""));
    let json = terminal_safe(&serde_json::to_string_pretty(content).unwrap_or_default()) + "\n";
    let mut files = vec![(format!("{name}.json"), json.clone()), (format!("{name}.txt"), report.text())];
    if let Some(signer) = signer {
        let name = format!("{name}.json");
        let signature = signed::sign(signer, &name, json.as_bytes(), report.ended_at_ms)?;
        files.push((format!("{name}.sig"), signature));
    }
    let mut written = Vec::with_capacity(files.len());
    for (name, text) in files {
        let path = folder.join(name);
        save_to(&path, &text)?;
        written.push(path.display().to_string());
    }
    Ok(written)
}

/// Returns a listener that prints each step on stderr: a line for people, or a line of JSON.
fn listener(output: Output) -> Listener {
    Listener::new(move |event: &Event| {
        if output.json {
            complain(&terminal_safe(&json!({"at_ms": event.at_ms, "step": event.what}).to_string()));
        } else {
            remark(&format!("{DIM}{}{DIM:#}", step(event)));
        }
    })
}

fn step(event: &Event) -> String {
    format!("{:>9.3} s  {}", event.at_ms as f64 / 1000.0, sentence(&event.what))
}

fn content(report: &DrillReport, status: Status) -> Value {
    let mut content = json!(report);
    content["status"] = json!(status);
    content
}

/// Returns the verdict for people; the steps went to stderr.
fn text(report: &DrillReport, status: Status) -> String {
    let style = |status| match status {
        Status::Passed => GOOD,
        Status::Failed => BAD,
        Status::Unknown => CARE,
    };
    let verdict = style(status);
    let seconds = report.duration_ms as f64 / 1000.0;
    let extent = match report.extent {
        Extent::Full => String::new(),
        extent => format!(", {extent}: it does not count as the full drill"),
    };
    let mut text =
        format!("{verdict}{}{verdict:#}  {} in {seconds:.1} s{extent}\n", shout(status), report.drill);
    for Check { name, status, evidence } in &report.checks {
        let style = style(*status);
        text.push_str(&format!("  {style}{status:<8}{style:#} {}\n", sentence(name)));
        for line in wrapped(&sentence(evidence), WIDTH) {
            text.push_str(&format!("           {DIM}{line}{DIM:#}\n"));
        }
    }
    let widest = report.measures.iter().map(|measure| measure.name.chars().count()).max().unwrap_or(0);
    for Measure { name, value, limit } in &report.measures {
        let limit = limit.map(|limit| format!(" {DIM}(at most {limit}){DIM:#}")).unwrap_or_default();
        text.push_str(&format!("  {name:<widest$}  {value:.3}{limit}\n"));
    }
    text
}

fn shout(status: Status) -> &'static str {
    match status {
        Status::Passed => "PASSED",
        Status::Failed => "FAILED",
        Status::Unknown => "NOT FINISHED",
    }
}

/// Returns the failure of a drill that could not finish.
pub(super) fn unfinished(error: DrillError) -> Failure {
    let exit = match &error {
        DrillError::Service(error) => Exit::of(error.fault()),
        _ => Exit::Unfinished,
    };
    Failure { code: error.code(), message: describe(&error), exit }
}
