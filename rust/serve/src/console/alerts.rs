//! Alerts that fire, from an Alertmanager.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use edgesentry_device::client::{Client, ClientSettings};
use edgesentry_rs::error::{Error, describe};
use serde::Deserialize;

use crate::settings::ConsoleSettings;

/// The largest response of an Alertmanager, and the most alerts that are shown.
const MAX_RESPONSE_BYTES: usize = 4 << 20;
pub(super) const MAX_ALERTS: usize = 200;
/// How long an Alertmanager may take to respond.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An alert that fires.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Alert {
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    /// RFC 3339.
    #[serde(default, rename = "startsAt")]
    pub(super) starts_at: String,
}

impl Alert {
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    pub(super) fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).map_or("", String::as_str)
    }

    /// Returns the page of the runbook, if it is a page on the web and not a script.
    pub(super) fn runbook(&self) -> Option<String> {
        let url = url::Url::parse(self.annotation("runbook_url")).ok()?;
        matches!(url.scheme(), "http" | "https").then(|| url.to_string())
    }
}

/// A configured Alertmanager.
#[derive(Clone)]
pub(super) struct Alertmanager(Arc<Client>);

impl Alertmanager {
    /// # Errors
    /// The URL or the file of authorities cannot be used.
    pub(super) fn new(settings: &ConsoleSettings) -> Result<Option<Alertmanager>, Error> {
        let Some(url) = &settings.alertmanager else { return Ok(None) };
        let client = ClientSettings {
            ca: settings.alertmanager_ca.clone(),
            timeout: RESPONSE_TIMEOUT,
            response_bytes: MAX_RESPONSE_BYTES,
            ..ClientSettings::new(format!("{}/", url.trim_end_matches('/')))
        };
        let client = Client::new(client);
        let client = client.map_err(|error| Error::unusable("serve.console.alertmanager", error))?;
        Ok(Some(Alertmanager(Arc::new(client))))
    }

    /// Returns the alerts that it sends to its receivers, P0 first.
    ///
    /// # Errors
    /// A sentence: it does not respond in time, or not with alerts.
    pub(super) async fn alerts(self) -> Result<Vec<Alert>, String> {
        let path = "api/v2/alerts?active=true&silenced=false&inhibited=false";
        // The timeout of the client is for a stall.
        let response = tokio::time::timeout(RESPONSE_TIMEOUT * 2, self.0.get(path, MAX_RESPONSE_BYTES)).await;
        let response = response
            .map_err(|_| "The Alertmanager does not respond in time.".to_owned())?
            .map_err(|error| format!("The Alertmanager does not respond: {}.", describe(&error)))?;
        if response.status != 200 {
            return Err(format!("The Alertmanager responds with status {}.", response.status));
        }
        let alerts: Result<Vec<Alert>, _> = serde_json::from_slice(&response.body);
        let mut alerts = alerts.map_err(|_| {
            "The response is not that of an Alertmanager. See serve.console.alertmanager.".to_owned()
        })?;
        alerts.sort_by(|one, other| {
            (one.label("severity"), &one.starts_at).cmp(&(other.label("severity"), &other.starts_at))
        });
        Ok(alerts)
    }
}
