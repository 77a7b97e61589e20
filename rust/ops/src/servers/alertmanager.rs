//! Alertmanager: one of a drill's own, or one that runs already.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::error::ServerError;
use super::http::{failed, get_json};
use super::program::{self, Program};
use crate::process::Process;

/// What must be installed for an Alertmanager of one's own.
pub const ALERTMANAGER: Program = Program {
    name: "alertmanager",
    files: &["prometheus-alertmanager", "alertmanager"],
    package: "prometheus-alertmanager",
    elsewhere: None,
};

/// An Alertmanager that answers.
#[derive(Debug)]
pub struct Alertmanager {
    /// Held so that it ends with this.
    _process: Option<Process>,
    url: String,
}

/// An alert that is neither silenced nor inhibited.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct ActiveAlert {
    /// With `alertname`.
    pub labels: BTreeMap<String, String>,
    /// What the rule says of it.
    pub annotations: BTreeMap<String, String>,
    /// Who is told.
    pub receivers: Vec<Receiver>,
}

/// Whom an alert is routed to.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Receiver {
    /// As the configuration names it.
    pub name: String,
}

impl Alertmanager {
    /// Starts one on loopback with the configuration file `config`, its data and log in `folder`.
    pub async fn start(folder: &Path, config: &Path) -> Result<Alertmanager, ServerError> {
        let binary = ALERTMANAGER.find()?;
        let command = |port| {
            let mut command = Command::new(&binary);
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.path={}", folder.join("alertmanager").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                // Alone: it talks to no other Alertmanager and opens no port for that.
                .arg("--cluster.listen-address=")
                .arg("--log.level=warn");
            command
        };
        let (process, url) =
            program::start(ALERTMANAGER.name, &folder.join("alertmanager.log"), command).await?;
        Ok(Alertmanager { _process: Some(process), url })
    }

    /// One that runs at `url`, such as `http://127.0.0.1:9093`.
    pub fn at(url: &str) -> Alertmanager {
        Alertmanager { _process: None, url: url.trim_end_matches('/').to_owned() }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The alerts that it tells its receivers of.
    pub async fn alerts(&self) -> Result<Vec<ActiveAlert>, ServerError> {
        let url = format!("{}/api/v2/alerts?active=true&silenced=false&inhibited=false", self.url);
        serde_json::from_value(get_json(&url).await?)
            .map_err(|error| failed(&url, format!("the answer is not that of an Alertmanager: {error}")))
    }
}
