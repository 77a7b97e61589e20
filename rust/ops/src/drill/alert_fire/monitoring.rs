//! Prometheus, Alertmanager and the webhook of the drill.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{DOCUMENTED_SCRAPE_SECONDS, Servers};
use crate::drill::DrillError;
use crate::servers::{AlertRule, Alertmanager, Prometheus, Target, Webhook};

/// The shipped alerts on the ingest service.
const RULES: &str = include_str!("../../../../../deploy/prometheus/ingest.rules.yml");
/// The shipped routes.
const ROUTES: &str = include_str!("../../../../../deploy/prometheus/alertmanager.yml");
/// The webhook URL of the shipped routes.
const SHIPPED_WEBHOOK: &str = "http://127.0.0.1:9099";

/// The counters that the alerts of the drill use.
const COUNTERS: [&str; 4] = [
    "edgesentry_ingest_error_total",
    "edgesentry_ingest_rejected_total",
    "edgesentry_chain_break_total",
    "edgesentry_signature_fail_total",
];
/// The timeout of the first scrape.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(120);
/// The timeout until a target appears at all; Prometheus takes some seconds to start.
const TARGET_TIMEOUT: Duration = Duration::from_secs(30);
/// The interval of polling the servers.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The servers that scrape the service and receive its alerts.
pub(super) struct Monitoring {
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    webhook: Option<Webhook>,
    /// Arrivals that no trial has waited for yet.
    arrived: Vec<Arrival>,
    metrics: SocketAddr,
    /// The labels of the service, known from its first scrape on.
    service: BTreeMap<String, String>,
    are_own: bool,
}

/// An alert that arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    at: Instant,
    /// The time since the injection.
    pub(super) after: Duration,
    /// Whether its delivery was observed.
    pub(super) delivered: bool,
    pub(super) receivers: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Monitoring {
    /// Starts the servers, or finds the running ones.
    pub(super) async fn start(
        servers: &Servers,
        folder: &Path,
        metrics: SocketAddr,
    ) -> Result<Monitoring, DrillError> {
        let (prometheus, alertmanager, webhook) = match servers {
            Servers::Own { scrape_seconds, rules } => {
                let webhook = Webhook::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
                let told = format!("http://{}", webhook.address());
                let routes = write(folder, "alertmanager.yml", &ROUTES.replace(SHIPPED_WEBHOOK, &told))?;
                let alertmanager = Alertmanager::start(folder, &routes).await?;
                let rules = match rules {
                    None => RULES.to_owned(),
                    Some(path) => std::fs::read_to_string(path).map_err(|source| DrillError::Io {
                        path: path.clone(),
                        action: "read the rules",
                        source,
                    })?,
                };
                write(folder, "rules.yml", &rules)?;
                let config = config(*scrape_seconds, metrics, alertmanager.url());
                let config = write(folder, "prometheus.yml", &config)?;
                (Prometheus::start(folder, &config).await?, alertmanager, Some(webhook))
            }
            Servers::Running { prometheus, alertmanager, webhook, .. } => {
                let webhook = match webhook {
                    Some(address) => Some(Webhook::listen(*address).await?),
                    None => None,
                };
                (Prometheus::at(prometheus), Alertmanager::at(alertmanager), webhook)
            }
        };
        // Checks that it responds at all.
        alertmanager.alerts().await?;
        let are_own = matches!(servers, Servers::Own { .. });
        let (arrived, service) = (Vec::new(), BTreeMap::new());
        Ok(Monitoring { prometheus, alertmanager, webhook, arrived, metrics, service, are_own })
    }

    /// Returns the addresses of the servers.
    pub(super) fn describe(&self) -> String {
        let webhook = match &self.webhook {
            Some(webhook) => format!("the webhook listens at http://{}", webhook.address()),
            None => "no webhook was given".to_owned(),
        };
        let (prometheus, alertmanager) = (self.prometheus.url(), self.alertmanager.url());
        format!("Prometheus responds at {prometheus}, Alertmanager at {alertmanager}; {webhook}")
    }

    /// Returns the rule of an alert.
    pub(super) async fn rule(&self, alert: &str) -> Result<AlertRule, DrillError> {
        let rules = self.prometheus.alert_rules().await?;
        rules.into_iter().find(|rule| rule.name == alert).ok_or_else(|| {
            DrillError::Unfit(format!(
                "{} has no rule {alert}; load deploy/prometheus/ingest.rules.yml into it",
                self.prometheus.url()
            ))
        })
    }

    /// Waits until every counter of the service was scraped at 0. Reports the number of series and the scrape
    /// interval.
    pub(super) async fn wait_for_zeros(&mut self) -> Result<String, DrillError> {
        let begin = Instant::now();
        let mut target = None;
        while begin.elapsed() < SCRAPE_TIMEOUT {
            target = self.target().await?;
            if target.is_none() && begin.elapsed() >= TARGET_TIMEOUT {
                break;
            }
            if let Some(target) = target.as_ref().filter(|target| target.health == "up") {
                self.service = target.labels.clone();
                let names = COUNTERS.join("|");
                let expression = format!("{{__name__=~\"{names}\",{}}}", self.selector());
                let series = self.prometheus.query(&expression).await?;
                let seen: BTreeSet<&str> = series
                    .iter()
                    .filter_map(|series| series.labels.get("__name__"))
                    .map(String::as_str)
                    .collect();
                if seen.len() == COUNTERS.len() && series.iter().all(|series| series.value == 0.0) {
                    return Ok(self.scraped(series.len(), &target.scrape_interval));
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Err(self.not_scraped(target.as_ref()))
    }

    fn scraped(&self, series: usize, interval: &str) -> String {
        let lowered = if self.are_own {
            format!(" (lowered for the drill; the rules are made for {DOCUMENTED_SCRAPE_SECONDS}s or less)")
        } else {
            String::new()
        };
        format!("{series} series at 0, scraped every {interval}{lowered}")
    }

    fn not_scraped(&self, target: Option<&Target>) -> DrillError {
        let (prometheus, metrics, seconds) = (self.prometheus.url(), self.metrics, SCRAPE_TIMEOUT.as_secs());
        DrillError::Unfit(match target {
            None => format!(
                "{prometheus} does not have {metrics} among its targets; add it to scrape_configs under a job of its \
                 own and reload"
            ),
            Some(Target { health, last_error, .. }) if health != "up" => {
                format!("{prometheus} cannot scrape {metrics}: {last_error}")
            }
            Some(_) => format!(
                "{prometheus} scrapes {metrics}, and not every counter was at 0 within {seconds} s; let the series of \
                 an earlier run age for 5 minutes and try again"
            ),
        })
    }

    /// Returns the service as a target, found by its port: host names differ.
    async fn target(&self) -> Result<Option<Target>, DrillError> {
        let port = format!(":{}/", self.metrics.port());
        let targets = self.prometheus.targets().await?;
        Ok(targets.into_iter().find(|target| target.scrape_url.contains(&port)))
    }

    /// Returns the labels that identify the service, as a selector.
    fn selector(&self) -> String {
        let labels = ["job", "instance"].into_iter().filter_map(|name| Some((name, self.service.get(name)?)));
        labels.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(",")
    }

    /// Returns the alerts of the service that fire once Prometheus has scraped this number of accepted records.
    pub(super) async fn firing_after(&self, accepted: usize) -> Result<Vec<String>, DrillError> {
        let begin = Instant::now();
        let expression = format!("edgesentry_ingest_accepted_total{{{}}}", self.selector());
        while begin.elapsed() < SCRAPE_TIMEOUT {
            let series = self.prometheus.query(&expression).await?;
            if series.iter().any(|series| series.value == accepted as f64) {
                return self.firing("").await;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let problem = "and does not see that records are accepted";
        Err(DrillError::Unfit(format!("{} scrapes {}, {problem}", self.prometheus.url(), self.metrics)))
    }

    /// Returns the names of the alerts of the service, and of all its instances together, that fire in Prometheus:
    /// all, or those that `matcher` also selects.
    async fn firing(&self, matcher: &str) -> Result<Vec<String>, DrillError> {
        let labels = ["job", "instance"].into_iter().filter_map(|name| Some((name, self.service.get(name)?)));
        // A missing label matches the empty text.
        let labels =
            labels.map(|(name, value)| format!("{name}=~{:?}", format!("{}|", value.replace('.', "\\."))));
        let labels = labels.collect::<Vec<_>>().join(",");
        let expression = format!("ALERTS{{alertstate=\"firing\",{labels}{matcher}}}");
        let series = self.prometheus.query(&expression).await?;
        Ok(series.into_iter().filter_map(|mut series| series.labels.remove("alertname")).collect())
    }

    /// Returns the next arrival of an alert after `injected`, or `None` if it takes longer than `within`.
    pub(super) async fn wait_for(
        &mut self,
        alert: &str,
        injected: Instant,
        within: Duration,
    ) -> Result<Option<Arrival>, DrillError> {
        let until = tokio::time::Instant::from_std(injected + within);
        loop {
            let instance = self.service.get("instance").cloned();
            let found = self.arrived.iter().find(|arrival| {
                arrival.labels.get("alertname").is_some_and(|name| name == alert)
                    // An alert on all instances together names no instance.
                    && arrival.labels.get("instance").is_none_or(|of| Some(of) == instance.as_ref())
                    && arrival.at >= injected
            });
            if let Some(arrival) = found {
                return Ok(Some(Arrival { after: arrival.at - injected, ..arrival.clone() }));
            }
            match tokio::time::timeout_at(until, self.listen()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Waits for an arrival.
    async fn listen(&mut self) -> Result<(), DrillError> {
        let Some(webhook) = &mut self.webhook else {
            tokio::time::sleep(POLL_INTERVAL).await;
            let at = Instant::now();
            let alerts = self.alertmanager.alerts().await?.into_iter();
            self.arrived = alerts
                .map(|alert| Arrival {
                    at,
                    after: Duration::ZERO,
                    delivered: false,
                    receivers: alert.receivers.into_iter().map(|receiver| receiver.name).collect(),
                    labels: alert.labels,
                    annotations: alert.annotations,
                })
                .collect();
            return Ok(());
        };
        if let Some(notice) = webhook.next().await
            && notice.status == "firing"
        {
            self.arrived.push(Arrival {
                at: notice.at,
                after: Duration::ZERO,
                delivered: true,
                receivers: vec![notice.receiver],
                labels: notice.labels,
                annotations: notice.annotations,
            });
        }
        Ok(())
    }

    /// Returns how far an alert got that did not arrive.
    pub(super) async fn diagnosis(&self, alert: &str) -> String {
        let is_up = match self.target().await {
            Ok(Some(target)) => format!("the target is {}", target.health),
            Ok(None) => "the target is gone".to_owned(),
            Err(error) => error.to_string(),
        };
        let fires = match self.firing(&format!(",alertname={alert:?}")).await {
            Ok(firing) if firing.is_empty() => "it does not fire in Prometheus".to_owned(),
            Ok(_) => "it fires in Prometheus".to_owned(),
            Err(error) => error.to_string(),
        };
        let known = match self.alertmanager.alerts().await {
            Ok(alerts) => {
                let known = alerts
                    .iter()
                    .any(|active| active.labels.get("alertname").is_some_and(|name| name == alert));
                format!("Alertmanager {}", if known { "has it" } else { "does not have it" })
            }
            Err(error) => error.to_string(),
        };
        format!("{is_up}, {fires}, {known}")
    }
}

/// Returns the configuration of the drill's own Prometheus.
fn config(scrape_seconds: u32, metrics: SocketAddr, alertmanager: &str) -> String {
    let alertmanager = alertmanager.trim_start_matches("http://");
    format!(
        "global:
  scrape_interval: {scrape_seconds}s
  evaluation_interval: {scrape_seconds}s
rule_files: [rules.yml]
alerting:
  alertmanagers:
    - static_configs:
        - targets: [\"{alertmanager}\"]
scrape_configs:
  - job_name: edgesentry
    static_configs:
      - targets: [\"{metrics}\"]
"
    )
}

fn write(folder: &Path, name: &str, text: &str) -> Result<std::path::PathBuf, DrillError> {
    let path = folder.join(name);
    match std::fs::write(&path, text) {
        Ok(()) => Ok(path),
        Err(source) => Err(DrillError::Io { path, action: "write", source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_routes_lead_to_one_place() {
        let elsewhere = ROUTES.replace(SHIPPED_WEBHOOK, "");
        assert_eq!(ROUTES.matches("url: http").count(), 3);
        assert!(!elsewhere.contains("url: http"), "{elsewhere}");
    }
}
