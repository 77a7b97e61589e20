//! `eds drill all`: every drill, one by one.

use std::time::Duration;

use clap::Args;
use edgesentry_formats::times::to_rfc3339;
use edgesentry_ops::check::Status;
use edgesentry_ops::drill::Extent;
use edgesentry_ops::drill::alert_fire::{self, ALERT_TIMEOUT, Servers, Settings, Trial};
use edgesentry_ops::drill::failover::{self, Failover};
use edgesentry_ops::drill::objects::{self, ObjectRecovery};
use edgesentry_ops::drill::quarter::{Run, Summary};
use edgesentry_ops::drill::restore::{self, RestoreDrill};
use edgesentry_ops::drill::rpo::{self, Rpo};
use serde_json::{Value, json};

use super::outcome::{Held, Outcome, unfinished};
use super::servers::ToolArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::outputs::save_to;
use crate::text::count;

/// Run every drill on temporary servers, one after the other; a failed drill does not stop the others
///
/// Takes less than 10 minutes. With --report-dir each drill leaves its report, and all together a summary in
/// Markdown and HTML. Exit code 0 if every drill passed, 1 if one failed, 3 if one could not finish.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill all
  eds drill all --short                            a minute or two, to check the installation
  eds drill all --report-dir drills \\
      --metrics-file /var/lib/prometheus/node-exporter/edgesentry.prom")]
pub(super) struct All {
    /// Few records, a short load, one alert; does not count for alerts and quarterly reports
    #[arg(long)]
    short: bool,
    #[command(flatten)]
    tools: ToolArgs,
    #[command(flatten)]
    outcome: Outcome,
}

impl All {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let mut held = Vec::new();
        for drill in [All::failover, All::restore, All::rpo, All::objects, All::alerts] {
            let drill = drill(self, output)?;
            let interrupted = drill.failure.as_ref().is_some_and(|failure| failure.exit == Exit::Interrupted);
            held.push(drill);
            if interrupted {
                break;
            }
        }
        self.conclude(held, output)
    }

    fn extent(&self) -> Extent {
        if self.short { Extent::Short } else { Extent::Full }
    }

    fn failover(&self, output: &Output) -> Result<Held, Failure> {
        let (records, load) = if self.short { (500, 200) } else { (failover::RECORDS, failover::LOAD) };
        self.outcome.hold(output, &failover::PLAN, async |report| {
            report.extent = self.extent();
            let drill =
                Failover { programs: self.tools.postgres.find()?, records, load, asynchronous: false };
            Ok(drill.run(report).await?)
        })
    }

    fn restore(&self, output: &Output) -> Result<Held, Failure> {
        let records = if self.short { 1_000 } else { restore::RECORDS };
        self.outcome.hold(output, &restore::PLAN, async |report| {
            report.extent = self.extent();
            let tools = self.tools.find()?;
            Ok(RestoreDrill { tools, records }.run(report).await?)
        })
    }

    fn rpo(&self, output: &Output) -> Result<Held, Failure> {
        let load = if self.short { Duration::from_secs(3) } else { rpo::LOAD };
        self.outcome.hold(output, &rpo::PLAN, async |report| {
            report.extent = self.extent();
            let tools = self.tools.find()?;
            Ok(Rpo { tools, load, archive_timeout: rpo::ARCHIVE_TIMEOUT }.run(report).await?)
        })
    }

    fn objects(&self, output: &Output) -> Result<Held, Failure> {
        let records = if self.short { 20 } else { objects::RECORDS };
        self.outcome.hold(output, &objects::PLAN, async |report| {
            report.extent = self.extent();
            Ok(ObjectRecovery { weed: self.tools.weed.find()?, records }.run(report).await?)
        })
    }

    fn alerts(&self, output: &Output) -> Result<Held, Failure> {
        let trials = if self.short { Trial::ALL[..1].to_vec() } else { Trial::ALL.to_vec() };
        let settings = Settings {
            trials,
            within: ALERT_TIMEOUT,
            servers: Servers::Own { scrape_seconds: 1, rules: None },
        };
        self.outcome.hold(output, &alert_fire::PLAN, async |report| {
            report.extent = self.extent();
            alert_fire::run(&settings, report).await.map_err(unfinished)
        })
    }

    fn conclude(&self, held: Vec<Held>, output: &Output) -> Result<Exit, Failure> {
        let (mut content, mut text) = (Vec::<Value>::new(), String::new());
        for drill in &held {
            content.push(self.outcome.filed(drill)?);
            text.push_str(&drill.text());
        }
        let has = |status| held.iter().any(|drill| drill.status() == status);
        let interrupted = held
            .iter()
            .any(|drill| drill.failure.as_ref().is_some_and(|failure| failure.exit == Exit::Interrupted));
        let exit = match () {
            () if interrupted => Exit::Interrupted,
            () if has(Status::Failed) => Exit::Findings,
            () if has(Status::Unknown) => Exit::Unfinished,
            () => Exit::Holds,
        };
        let passed = held.iter().filter(|drill| drill.status() == Status::Passed).count();
        text.push_str(&format!("{passed} of {} passed\n", count(held.len() as u64, "drill")));
        let files = self.summarize(&held)?;
        let content = json!({"drills": content, "passed": passed, "files": files});
        output.answer(&Answer {
            ok: exit == Exit::Holds,
            name: "drills",
            content: &content,
            text,
            failure: None,
        })?;
        Ok(exit)
    }

    /// Writes one report of all drills, if a directory is named.
    fn summarize(&self, held: &[Held]) -> Result<Vec<String>, Failure> {
        let Some(folder) = self.outcome.report_dir() else { return Ok(Vec::new()) };
        let Some(first) = held.first() else { return Ok(Vec::new()) };
        let began = to_rfc3339(first.report.started_at_ms);
        let signature = self.outcome.signature()?;
        let runs = held.iter().map(|drill| Run {
            report: drill.report.clone(),
            status: drill.status(),
            signature: signature.clone(),
        });
        let title = format!("Drills of {began}");
        let summary = Summary { title, runs: runs.collect(), signed_only: false };
        let name = format!("all-{}", began.replace(':', ""));
        let files = [("md", summary.markdown()), ("html", summary.html())].map(|(extension, text)| {
            let path = folder.join(format!("{name}.{extension}"));
            save_to(&path, &text).map(|()| path.display().to_string())
        });
        files.into_iter().collect()
    }
}
