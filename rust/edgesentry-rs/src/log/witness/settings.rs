//! `[witness]`: the settings of a witness.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgesentry_formats::{read_file, read_seed_file_of_group};
use edgesentry_log::{KeyType, MAX_POLICY_BYTES, SignerKey, WitnessedLogs};
use serde::Deserialize;

use super::Witness;
use crate::error::{Error, describe};
use crate::ledger::{PostgresSettings, WitnessAccess, WitnessTables, open_witness};
use crate::secret::Secret;
use crate::telemetry::metrics::Metrics;

/// The settings of a witness of other logs.
#[derive(Clone, Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WitnessSettings {
    /// The state: `sqlite:PATH`, or the URL of a PostgreSQL database or schema of its own.
    pub state: Option<Secret>,
    /// The seed file of the key that cosigns, as `eds keygen` writes it.
    pub key: Option<PathBuf>,
    /// The name of the key, such as `witness.example`. A witness that loses its state needs another key and name.
    pub name: Option<String>,
    /// The logs that it cosigns: the `log` lines of a policy (C2SP tlog-policy).
    pub logs: Option<PathBuf>,
}

impl WitnessSettings {
    /// Opens the state.
    ///
    /// # Errors
    /// A setting is missing, or the state cannot be opened.
    pub async fn open(
        &self,
        access: WitnessAccess,
        postgres: &PostgresSettings,
    ) -> Result<Arc<dyn WitnessTables>, Error> {
        let missing = || missing("witness.state", "sqlite:PATH or postgres://HOST/DATABASE");
        open_witness(self.state.as_ref().ok_or_else(missing)?, access, postgres).await
    }

    /// Returns the path of the key.
    ///
    /// # Errors
    /// The setting is missing.
    pub fn key_file(&self) -> Result<&Path, Error> {
        self.key.as_deref().ok_or_else(|| missing("witness.key", "the seed file of the witness's key"))
    }

    /// Reads the key.
    ///
    /// # Errors
    /// A setting is missing, the file cannot be read, or the name is not that of a key.
    pub fn signer(&self) -> Result<SignerKey, Error> {
        let name = self.name.as_deref();
        let name =
            name.ok_or_else(|| missing("witness.name", "the name of the key, such as witness.example"))?;
        let seed = read_seed_file_of_group(self.key_file()?)
            .map_err(|error| Error::Config(format!("witness.key: {}", describe(&error))))?;
        SignerKey::from_seed(name, KeyType::CosignatureV1, *seed)
            .map_err(|error| Error::Config(format!("witness.name: {error}")))
    }

    /// Reads the logs.
    ///
    /// # Errors
    /// The setting is missing, or the file is not a policy.
    pub fn known_logs(&self) -> Result<WitnessedLogs, Error> {
        let missing = || missing("witness.logs", "a file with the lines `log VKEY` of the logs to cosign");
        let path = self.logs.as_deref().ok_or_else(missing)?;
        let config = |problem: String| Error::Config(format!("witness.logs: {}: {problem}", path.display()));
        let bytes = read_file(path, MAX_POLICY_BYTES as u64).map_err(|error| config(error.to_string()))?;
        let logs = WitnessedLogs::parse(&bytes).map_err(|error| config(error.to_string()))?;
        if logs.origins().next().is_none() {
            return Err(config("it has no line `log VKEY`".to_owned()));
        }
        Ok(logs)
    }

    /// Starts the witness on the current Tokio runtime. Its state must exist.
    ///
    /// # Errors
    /// A setting is missing or wrong, or the state cannot be opened.
    pub async fn start(&self, postgres: &PostgresSettings, metrics: Metrics) -> Result<Witness, Error> {
        let (key, logs) = (self.signer()?, self.known_logs()?);
        let tables = self.open(WitnessAccess::Existing, postgres).await?;
        Ok(Witness::start(tables, logs, key, metrics))
    }
}

fn missing(setting: &str, what: &str) -> Error {
    Error::Config(format!("{setting} is not set; set it to {what}"))
}
