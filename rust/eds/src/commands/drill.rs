//! `eds drill`: rehearsed failures, with a verdict.

mod alert_fire;
mod all;
mod consent;
mod db_failover;
mod db_restore;
mod outcome;
mod report;
mod rpo;
mod s3_object_recovery;
mod servers;
mod verify_report;

use anstyle::{AnsiColor, Style};
use clap::{Args, Subcommand};
use edgesentry_ops::drill::{PLANS, Plan, SITE_PLANS};
use edgesentry_ops::servers::Program;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};

const BAD: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Rehearse a failure on temporary servers, and check the outcome
///
/// Servers are started on free loopback ports and stopped at the end, also after Ctrl-C. Exit code 0 if every check
/// passed, 1 if one failed, 3 if the drill could not finish.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill list
  eds drill all --report-dir drills
  eds drill alert-fire
  eds drill report drills --html quarter.html
  eds drill alert-fire --help                      more examples")]
pub(crate) struct Drill {
    #[command(subcommand)]
    action: Action,
}

/// Which drill.
#[derive(Subcommand, Debug)]
enum Action {
    /// List the drills, with their pass criteria and whether their programs are installed
    List,
    All(all::All),
    DbFailover(db_failover::DbFailover),
    DbRestore(db_restore::DbRestore),
    Rpo(rpo::Rpo),
    S3ObjectRecovery(s3_object_recovery::S3ObjectRecovery),
    AlertFire(alert_fire::AlertFire),
    Report(report::Report),
    VerifyReport(verify_report::VerifyReport),
}

impl Drill {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        match &self.action {
            Action::List => list(output),
            Action::All(drills) => drills.run(output),
            Action::DbFailover(drill) => drill.run(output),
            Action::DbRestore(drill) => drill.run(output),
            Action::Rpo(drill) => drill.run(output),
            Action::S3ObjectRecovery(drill) => drill.run(output),
            Action::AlertFire(drill) => drill.run(output),
            Action::Report(report) => report.run(output),
            Action::VerifyReport(command) => command.run(output),
        }
    }
}

fn list(output: &Output) -> Result<Exit, Failure> {
    let plans = || PLANS.iter().chain(&SITE_PLANS);
    let content: Vec<Value> = plans().map(content).collect();
    let text: String = plans().map(text).collect();
    output.answer(&Answer { ok: true, name: "drills", content: &content, text, failure: None })?;
    Ok(Exit::Holds)
}

fn content(plan: &Plan) -> Value {
    json!({
        "name": plan.name,
        "about": plan.about,
        "criterion": plan.criterion,
        "needs": plan.needs.iter().map(|program| json!({
            "program": program.name,
            "path": program.find().ok().map(|path| path.display().to_string()),
            "package": program.package,
        })).collect::<Vec<_>>(),
    })
}

fn text(plan: &Plan) -> String {
    let missing: Vec<&Program> = plan.needs.iter().filter(|program| program.find().is_err()).collect();
    let mut text = format!("{BOLD}{}{BOLD:#}\n  {}\n", plan.name, plan.about);
    text.push_str(&format!("  passes when {}\n", plan.criterion));
    for Program { name, package, .. } in missing {
        let install = match package.strip_prefix("none; ") {
            Some(other) => other.to_owned(),
            None => format!("on Debian: apt install {package}"),
        };
        text.push_str(&format!("  {BAD}missing{BAD:#} {name} {DIM}({install}){DIM:#}\n"));
    }
    text
}
