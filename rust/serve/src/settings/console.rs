//! `[serve.console]`: the pages for people.

use std::path::PathBuf;

use serde::Deserialize;

/// The settings of the console.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleSettings {
    /// True to serve the console at `/console`. It needs a token with the scope `read`.
    pub enabled: bool,
    /// Seconds after which a session without a request ends.
    pub idle_seconds: u64,
    /// Seconds after which a session ends in any case.
    pub session_seconds: u64,
    /// Whether browsers send the cookie of a session over HTTPS only. By default they do, unless the service has no TLS
    /// and listens on loopback addresses only.
    pub secure_cookie: Option<bool>,
    /// The URL of the Alertmanager whose alerts are shown.
    pub alertmanager: Option<String>,
    /// PEM file of the authorities that the certificate of the Alertmanager is verified with; those of the system by
    /// default.
    pub alertmanager_ca: Option<PathBuf>,
    /// The metrics file that backups and drills write (`--metrics`).
    pub operations: Option<PathBuf>,
    /// The file of the policy (C2SP tlog-policy) that checkpoints are verified with; without it their signatures are
    /// shown as not checked.
    pub policy: Option<PathBuf>,
}

impl Default for ConsoleSettings {
    fn default() -> ConsoleSettings {
        ConsoleSettings {
            enabled: false,
            idle_seconds: 30 * 60,
            session_seconds: 12 * 3600,
            secure_cookie: None,
            alertmanager: None,
            alertmanager_ca: None,
            operations: None,
            policy: None,
        }
    }
}
