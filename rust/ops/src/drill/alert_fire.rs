//! `alert-fire`: a real service is attacked and its store fails; the alerts must reach a webhook in time.
//!
//! Prometheus and Alertmanager run already, or the drill starts its own with the shipped rules and routes.

mod harness;
mod monitoring;
mod trial;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use edgesentry_rs::secret::without_password;

use crate::check::Check;
use crate::drill::facts::version_of;
use crate::drill::{DrillError, DrillReport, Plan};
use crate::servers::{ALERTMANAGER, PROMETHEUS};

use self::harness::Harness;
use self::monitoring::{Arrival, Monitoring};

pub use self::trial::Trial;

/// The plan of the drill.
pub const PLAN: Plan = Plan {
    name: "alert-fire",
    about: "A service is attacked and its store fails; Prometheus and Alertmanager must notify a webhook.",
    criterion: "every alert has reached the webhook within 2 minutes",
    needs: &[PROMETHEUS, ALERTMANAGER],
};

/// The time within which an alert must arrive.
pub const ALERT_TIMEOUT: Duration = Duration::from_secs(120);
/// The scrape interval that the rules are made for.
pub const DOCUMENTED_SCRAPE_SECONDS: u32 = 15;
/// Records that are accepted before the first injection.
const GOOD_RECORDS: usize = 10;

/// The settings of the drill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The alerts, in the order of the trials.
    pub trials: Vec<Trial>,
    /// The time within which each must arrive.
    pub within: Duration,
    /// The servers that scrape and notify.
    pub servers: Servers,
}

/// Prometheus and Alertmanager.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Servers {
    /// Servers of the drill's own, on free loopback ports.
    Own {
        /// The scrape and evaluation interval.
        scrape_seconds: u32,
        /// Rules in place of the shipped ones.
        rules: Option<PathBuf>,
    },
    /// Servers that run already.
    Running {
        /// The URL of Prometheus; it must have `metrics` among its targets.
        prometheus: String,
        /// The URL of Alertmanager.
        alertmanager: String,
        /// The address at which the drill's service serves its metrics.
        metrics: SocketAddr,
        /// The address at which the drill receives the webhook of Alertmanager. Without one an alert counts once
        /// Alertmanager has routed it, and its delivery is not observed.
        webhook: Option<SocketAddr>,
    },
}

/// Runs the drill. An error means that it could not finish; `report` has the results so far.
///
/// # Errors
/// The drill could not finish.
pub async fn run(settings: &Settings, report: &mut DrillReport) -> Result<(), DrillError> {
    let alerts: Vec<&str> = settings.trials.iter().map(|trial| trial.alert()).collect();
    report.option("alerts", alerts.join(" "));
    report.full_if(Trial::ALL.iter().all(|trial| settings.trials.contains(trial)));
    report.option("within", settings.within.as_secs());
    report.full_if(settings.within <= ALERT_TIMEOUT);
    settings.servers.note(report);
    // Checked before anything is started.
    if let Servers::Own { .. } = settings.servers {
        PROMETHEUS.find()?;
        ALERTMANAGER.find()?;
    }
    let folder = tempfile::Builder::new().prefix("edgesentry-drill-").tempdir();
    let folder = folder.map_err(|source| DrillError::Io {
        path: std::env::temp_dir(),
        action: "create a directory in it",
        source,
    })?;
    hold(settings, folder.path(), report).await
}

async fn hold(settings: &Settings, folder: &Path, report: &mut DrillReport) -> Result<(), DrillError> {
    let mut harness = Harness::start(folder, settings.servers.metrics()).await?;
    report.step(format!("the service serves its metrics at http://{}/metrics", harness.metrics_address()));
    let mut monitoring = Monitoring::start(&settings.servers, folder, harness.metrics_address()).await?;
    report.step(monitoring.describe());

    let mut trials = Vec::with_capacity(settings.trials.len());
    for trial in &settings.trials {
        trials.push((*trial, monitoring.rule(trial.alert()).await?));
    }
    let scraped = monitoring.wait_for_zeros().await?;
    report.step(&scraped);
    report.check(Check::new("every counter was scraped at 0 before anything was injected", true, scraped));
    harness.good_records(GOOD_RECORDS).await?;
    let firing = monitoring.firing_after(GOOD_RECORDS).await?;
    report.step(format!("{GOOD_RECORDS} good records were accepted, and Prometheus has seen it"));
    let evidence = if firing.is_empty() { "none".to_owned() } else { firing.join(", ") };
    report.check(Check::new("no alert fires while records are only accepted", firing.is_empty(), evidence));

    for (trial, rule) in trials {
        let injected = Instant::now();
        report.step(format!("injected: {}", trial.inject(&mut harness).await?));
        let arrival = monitoring.wait_for(trial.alert(), injected, settings.within).await?;
        report.check(verdict(trial, &rule.query, arrival.as_ref(), settings, &monitoring).await);
        if let Some(arrival) = arrival {
            let seconds = arrival.after.as_secs_f64();
            report.step(format!("{} arrived after {seconds:.1} s", trial.alert()));
            report.measure(trial.measure(), seconds, None);
        }
    }
    Ok(())
}

/// Checks that the alert of a trial arrived in time, with the labels and annotations that the on-call engineer needs.
async fn verdict(
    trial: Trial,
    rule: &str,
    arrival: Option<&Arrival>,
    settings: &Settings,
    monitoring: &Monitoring,
) -> Check {
    let within = settings.within.as_secs();
    let name = format!("{} arrives within {within} s as {}", trial.alert(), trial.severity());
    let rule = rule.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some(arrival) = arrival else {
        let seen = monitoring.diagnosis(trial.alert()).await;
        return Check::new(name, false, format!("it did not; {seen}; the rule is {rule}"));
    };
    let text = |of: &std::collections::BTreeMap<String, String>, key: &str| of.get(key).cloned();
    let severity = text(&arrival.labels, "severity").unwrap_or_else(|| "no severity".to_owned());
    let page = text(&arrival.annotations, "runbook_url");
    let receiver = trial.severity().to_lowercase();
    // Receivers of running servers have names of their own.
    let is_routed =
        matches!(settings.servers, Servers::Running { .. }) || arrival.receivers.contains(&receiver);
    let holds = severity == trial.severity() && page.is_some() && is_routed;
    let seconds = arrival.after.as_secs_f64();
    let how = if arrival.delivered { "at the webhook" } else { "in Alertmanager, its delivery not seen" };
    let evidence = format!(
        "{how} after {seconds:.1} s as {severity} for {}; the rule is {rule}; the page is {}",
        arrival.receivers.join(", "),
        page.as_deref().unwrap_or("missing")
    );
    Check::new(name, holds, evidence)
}

impl Servers {
    fn note(&self, report: &mut DrillReport) {
        match self {
            Servers::Own { scrape_seconds, rules } => {
                report.option("scrape_interval", scrape_seconds);
                report.option("rules", rules.as_deref().map_or("shipped".into(), Path::to_string_lossy));
                for program in [PROMETHEUS, ALERTMANAGER] {
                    let version = program.find().map(|path| version_of(&path, "--version"));
                    report.version(program.name, version.unwrap_or_else(|_| "missing".to_owned()));
                }
            }
            Servers::Running { prometheus, alertmanager, webhook, .. } => {
                report.place =
                    format!("{} and {}", without_password(prometheus), without_password(alertmanager));
                report.option("webhook", webhook.map_or("none".to_owned(), |address| address.to_string()));
            }
        }
    }

    /// Returns the address at which the service serves its metrics; port 0 is any free port.
    fn metrics(&self) -> SocketAddr {
        match self {
            Servers::Own { .. } => SocketAddr::from(([127, 0, 0, 1], 0)),
            Servers::Running { metrics, .. } => *metrics,
        }
    }
}
