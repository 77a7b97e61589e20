//! `eds drill alert-fire`: alerts must reach a webhook.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use edgesentry_ops::drill::alert_fire::{self, ALERT_TIMEOUT, PLAN, Servers, Settings, Trial};

use super::outcome::{self, Outcome};
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Attack a service and make its store fail; every alert must reach a webhook within 2 minutes
///
/// A real ingest service runs in this process, with a temporary ledger. Prometheus and Alertmanager are
/// started on loopback with the shipped rules and routes, or existing ones are used: then Prometheus must
/// have --listen among its targets, under another job than edgesentry. Each step is reported on stderr, with
/// --json as a line of JSON.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill alert-fire
  eds drill alert-fire --alert ChainBreak --report-dir drills \\
      --metrics-file /var/lib/prometheus/node-exporter/edgesentry.prom
  eds drill alert-fire --prometheus http://127.0.0.1:9090 \\
      --alertmanager http://127.0.0.1:9093 --webhook 127.0.0.1:9099")]
pub(crate) struct AlertFire {
    /// Only this alert; may be given more than once [default: SignatureFailureSeen, SignatureFailureSurge, ChainBreak,
    /// IngestStorageError, HighRejectionRate, in this order]
    #[arg(long = "alert", value_name = "NAME", value_parser = trial(), hide_possible_values = true)]
    alerts: Vec<Trial>,
    /// Seconds within which each alert must arrive
    #[arg(long, value_name = "SECONDS", default_value_t = ALERT_TIMEOUT.as_secs(), value_parser = clap::value_parser!(u64).range(1..=3600))]
    within: u64,
    /// Seconds between scrapes and evaluations of the drill's Prometheus
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=15), conflicts_with = "prometheus")]
    scrape_interval: u32,
    /// Rules for the drill's Prometheus instead of the shipped ones
    #[arg(long, value_name = "FILE", conflicts_with = "prometheus")]
    rules: Option<PathBuf>,
    /// An existing Prometheus
    #[arg(long, value_name = "URL", requires = "alertmanager", value_parser = http_url)]
    prometheus: Option<String>,
    /// An existing Alertmanager that receives the alerts of this Prometheus
    #[arg(long, value_name = "URL", requires = "prometheus", value_parser = http_url)]
    alertmanager: Option<String>,
    /// Address at which the drill's service serves metrics to an existing Prometheus
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9465", requires = "prometheus")]
    listen: SocketAddr,
    /// Address at which the drill listens for a webhook of an existing Alertmanager [default: ask
    /// Alertmanager, without checking the delivery]
    #[arg(long, value_name = "ADDRESS", requires = "prometheus")]
    webhook: Option<SocketAddr>,
    #[command(flatten)]
    outcome: Outcome,
}

fn trial() -> impl TypedValueParser<Value = Trial> {
    let known = PossibleValuesParser::new(Trial::ALL.map(Trial::alert));
    known.try_map(|alert| Trial::of(&alert).ok_or_else(|| format!("unknown alert {alert}")))
}

fn http_url(text: &str) -> Result<String, &'static str> {
    let is_so = text.strip_prefix("http://").is_some_and(|rest| !rest.is_empty());
    let wanted = "expected a URL such as http://127.0.0.1:9090; for a server behind TLS or a password, forward a local port";
    if is_so { Ok(text.to_owned()) } else { Err(wanted) }
}

impl AlertFire {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let servers = match (&self.prometheus, &self.alertmanager) {
            (Some(prometheus), Some(alertmanager)) => Servers::Running {
                prometheus: prometheus.clone(),
                alertmanager: alertmanager.clone(),
                metrics: self.listen,
                webhook: self.webhook,
            },
            _ => Servers::Own { scrape_seconds: self.scrape_interval, rules: self.rules.clone() },
        };
        // In the order in which none of them fires another.
        let asked = |trial: &Trial| self.alerts.is_empty() || self.alerts.contains(trial);
        let trials = Trial::ALL.into_iter().filter(asked).collect();
        let settings = Settings { trials, within: Duration::from_secs(self.within), servers };
        self.outcome.of(output, &PLAN, async |report| {
            alert_fire::run(&settings, report).await.map_err(outcome::unfinished)
        })
    }
}
