//! Alertmanager: one of the drill's own, or a running one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::error::ServerError;
use super::http::{failed, get_json};
use super::program::{self, Program};
use crate::process::Process;

/// The program of an own Alertmanager.
pub const ALERTMANAGER: Program = Program {
    name: "alertmanager",
    files: &["prometheus-alertmanager", "alertmanager"],
    package: "prometheus-alertmanager",
    elsewhere: None,
};

/// A running Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    /// Keeps the process alive as long as this value.
    _process: Option<Process>,
    url: String,
}

/// An alert that is neither silenced nor inhibited.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct ActiveAlert {
    /// The labels, with `alertname`.
    pub labels: BTreeMap<String, String>,
    /// The annotations of the rule.
    pub annotations: BTreeMap<String, String>,
    /// The receivers.
    pub receivers: Vec<Receiver>,
}

/// A receiver of alerts.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Receiver {
    /// The name in the configuration.
    pub name: String,
}

impl Alertmanager {
    /// Starts an Alertmanager on loopback with the configuration file `config`, its data and log in `folder`.
    pub async fn start(folder: &Path, config: &Path) -> Result<Alertmanager, ServerError> {
        let binary = ALERTMANAGER.find()?;
        let command = |port| {
            let mut command = Command::new(&binary);
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.path={}", folder.join("alertmanager").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                // Alone: it connects to no other Alertmanager and opens no port for that.
                .arg("--cluster.listen-address=")
                .arg("--log.level=warn");
            command
        };
        let (process, url) =
            program::start(ALERTMANAGER.name, &folder.join("alertmanager.log"), command).await?;
        Ok(Alertmanager { _process: Some(process), url })
    }

    /// Uses the one that runs at `url`, such as `http://127.0.0.1:9093`.
    pub fn at(url: &str) -> Alertmanager {
        Alertmanager { _process: None, url: url.trim_end_matches('/').to_owned() }
    }

    /// Returns its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the alerts that it sends to its receivers.
    pub async fn alerts(&self) -> Result<Vec<ActiveAlert>, ServerError> {
        let url = format!("{}/api/v2/alerts?active=true&silenced=false&inhibited=false", self.url);
        serde_json::from_value(get_json(&url).await?)
            .map_err(|error| failed(&url, format!("the response is not that of an Alertmanager: {error}")))
    }
}
