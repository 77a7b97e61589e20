//! Prometheus: one of the drill's own, or a running one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use super::error::ServerError;
use super::http::{failed, get_json};
use super::program::{self, Program};
use crate::process::Process;

/// The program of an own Prometheus.
pub const PROMETHEUS: Program =
    Program { name: "prometheus", files: &["prometheus"], package: "prometheus", elsewhere: None };

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    /// Keeps the process alive as long as this value.
    _process: Option<Process>,
    url: String,
}

/// A series and its current value.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    /// The labels, with `__name__` if the expression keeps it.
    pub labels: BTreeMap<String, String>,
    /// NaN included.
    pub value: f64,
}

/// A scraped target.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The labels of its series: job, instance and those that the configuration adds.
    pub labels: BTreeMap<String, String>,
    /// The URL.
    pub scrape_url: String,
    /// Such as `15s`.
    pub scrape_interval: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Why the last scrape failed, or empty.
    pub last_error: String,
}

/// A loaded alerting rule.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct AlertRule {
    /// The name of the alert.
    pub name: String,
    /// Its expression.
    pub query: String,
    /// Its labels, such as the severity.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl Prometheus {
    /// Starts a Prometheus on loopback with the configuration file `config`, its data and log in `folder`.
    pub async fn start(folder: &Path, config: &Path) -> Result<Prometheus, ServerError> {
        let binary = PROMETHEUS.find()?;
        let command = |port| {
            let mut command = Command::new(&binary);
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--log.level=warn");
            command
        };
        let (process, url) = program::start(PROMETHEUS.name, &folder.join("prometheus.log"), command).await?;
        Ok(Prometheus { _process: Some(process), url })
    }

    /// Uses the one that runs at `url`, such as `http://127.0.0.1:9090`.
    pub fn at(url: &str) -> Prometheus {
        Prometheus { _process: None, url: url.trim_end_matches('/').to_owned() }
    }

    /// Returns its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the current value of an expression: an instant vector.
    pub async fn query(&self, expression: &str) -> Result<Vec<Series>, ServerError> {
        #[derive(Deserialize)]
        struct Answered {
            metric: BTreeMap<String, String>,
            value: (f64, String),
        }
        let escaped: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let results: Vec<Answered> =
            self.ask(&format!("/api/v1/query?query={escaped}"), "/data/result").await?;
        // Rust parses +Inf and NaN as Prometheus writes them.
        let series = |Answered { metric, value: (_, value) }| Series {
            labels: metric,
            value: value.parse().unwrap_or(f64::NAN),
        };
        Ok(results.into_iter().map(series).collect())
    }

    /// Returns the targets that it scrapes.
    pub async fn targets(&self) -> Result<Vec<Target>, ServerError> {
        self.ask("/api/v1/targets?state=active", "/data/activeTargets").await
    }

    /// Returns the alerting rules that it has loaded.
    pub async fn alert_rules(&self) -> Result<Vec<AlertRule>, ServerError> {
        #[derive(Deserialize)]
        struct Group {
            rules: Vec<AlertRule>,
        }
        let groups: Vec<Group> = self.ask("/api/v1/rules?type=alert", "/data/groups").await?;
        Ok(groups.into_iter().flat_map(|group| group.rules).collect())
    }

    /// Returns the part at `pointer` of a response.
    async fn ask<T: serde::de::DeserializeOwned>(&self, path: &str, pointer: &str) -> Result<T, ServerError> {
        let url = format!("{}{path}", self.url);
        let mut answer = get_json(&url).await?;
        let part = answer.pointer_mut(pointer).map(Value::take).unwrap_or_default();
        serde_json::from_value(part)
            .map_err(|error| failed(&url, format!("the response is not that of a Prometheus: {error}")))
    }
}
