//! `[witness]`: the settings of a witness.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgesentry_formats::{read_file, read_seed_file_of_group};
use edgesentry_log::{KeyType, MAX_POLICY_BYTES, Note, SignerKey, VerifierKey, WitnessedLogs};
use serde::Deserialize;

use super::Witness;
use crate::error::Error;
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
        self.check_name()?;
        let seed = read_seed_file_of_group(self.key_file()?)
            .map_err(|error| Error::unusable("witness.key", error))?;
        self.named(*seed)
    }

    /// Checks the name of the key, which needs no key.
    ///
    /// # Errors
    /// The setting is missing, or is not the name of a key.
    pub fn check_name(&self) -> Result<(), Error> {
        self.named([0; 32]).map(drop)
    }

    fn named(&self, seed: [u8; 32]) -> Result<SignerKey, Error> {
        let name = self.name.as_deref();
        let name =
            name.ok_or_else(|| missing("witness.name", "the name of the key, such as witness.example"))?;
        SignerKey::from_seed(name, KeyType::CosignatureV1, seed)
            .map_err(|error| Error::unusable("witness.name", error))
    }

    /// Reads the logs.
    ///
    /// # Errors
    /// The setting is missing, or the file is not a policy.
    pub fn known_logs(&self) -> Result<WitnessedLogs, Error> {
        let missing = || missing("witness.logs", "a file with the lines `log VKEY` of the logs to cosign");
        let path = self.logs.as_deref().ok_or_else(missing)?;
        let place = format!("witness.logs: {}", path.display());
        let bytes = read_file(path, MAX_POLICY_BYTES as u64);
        let logs = WitnessedLogs::parse(&bytes.map_err(|error| Error::unusable(&place, error))?);
        let logs = logs.map_err(|error| Error::unusable(&place, error))?;
        if logs.origins().next().is_none() {
            return Err(Error::Config(format!("{place}: it has no line `log VKEY`")));
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
        bind_witness(&*tables, key.verifier()).await?;
        Ok(Witness::start(tables, logs, key, metrics).with_former_logs().await?)
    }
}

/// Lets a state belong to a key, and refuses a state that belongs to another one: the last cosigned checkpoints would be
/// those of the other key.
///
/// # Errors
/// The state belongs to another key, or the database failed.
pub async fn bind_witness(tables: &dyn WitnessTables, key: &VerifierKey) -> Result<(), Error> {
    let vkey = key.to_string();
    let bound = match tables.bound().await? {
        Some(bound) => bound,
        // The state of an earlier release names its key in its notes only.
        None => match tables.all_witnessed().await?.iter().find_map(|row| other_key(&row.note, key)) {
            Some(other) => other,
            None => tables.bind(vkey.clone()).await?,
        },
    };
    if bound == vkey {
        return Ok(());
    }
    Err(Error::Config(format!(
        "{}: the state belongs to the key {bound}, and witness.key and witness.name are {vkey}; name that key, or make a \
         state of its own for this one with eds witness init",
        tables.place()
    )))
}

/// Returns the last name in a note that has no line of a key.
fn other_key(note: &[u8], key: &VerifierKey) -> Option<String> {
    let note = Note::parse(note).ok()?;
    match note.verify([key]) {
        Ok(_) => None,
        Err(_) => note.signatures().last().map(|line| line.name().to_owned()),
    }
}

fn missing(setting: &str, what: &str) -> Error {
    Error::Config(format!("{setting} is not set; set it to {what}"))
}
