//! The scopes of tokens.

use std::str::FromStr;

use serde::Deserialize;

/// The permissions of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Scope {
    /// Send records. If a token with this scope is configured, sending requires one or a client certificate.
    Ingest,
    /// Read devices, heads, records, exports and the operation log.
    Read,
    /// Register and revoke devices.
    Admin,
    /// Read metrics. If a token with this scope is configured, `/metrics` requires one.
    Metrics,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Scope::Ingest, Scope::Read, Scope::Admin, Scope::Metrics];

    /// Returns `ingest`, `read`, `admin` or `metrics`.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Ingest => "ingest",
            Scope::Read => "read",
            Scope::Admin => "admin",
            Scope::Metrics => "metrics",
        }
    }
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Scope, Self::Err> {
        let found = Scope::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or("expected ingest, read, admin or metrics")
    }
}
