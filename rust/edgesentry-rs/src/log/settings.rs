//! `[log]`: the settings of the transparency log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgesentry_device::signer::KeySource;
use serde::Deserialize;

use super::TransparencyLog;
use super::cosign::Cosigners;
use super::lock::Lock;
use super::signer::LogSigner;
use super::stamp::TsaSettings;
use crate::error::{Component, Error};
use crate::ledger::Ledger;
use crate::objects::{self, Objects};
use crate::s3_settings::S3Settings;

/// The settings of the transparency log. `origin` enables it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The name of the log, a URL without a scheme, such as `log.example/lifts`. It never changes.
    pub origin: Option<String>,
    /// The seed file of the key that signs checkpoints, as `eds keygen` writes it; a PKCS#11 URI, a key in a token; or
    /// `exec:KEY PROGRAM`, a program that has the private key of this public key.
    pub key: Option<PathBuf>,
    /// The keys before a rotation, in the same form: the log signs with them as well.
    pub previous_keys: Vec<PathBuf>,
    /// The interval between two checkpoints, seconds.
    pub interval_seconds: u64,
    /// The maximum number of records in a batch. A batch is held in memory, about 300 bytes for each record.
    pub max_records: u64,
    /// The location of the tiles: `folder:PATH` or `s3://BUCKET/PREFIX`; by default a directory beside a SQLite ledger.
    pub store: Option<String>,
    /// The location of the lock with the signed checkpoints; by default `store`.
    pub lock: Option<String>,
    /// The file of the policy (C2SP tlog-policy): the log asks its witnesses that have a URL to cosign each checkpoint.
    pub policy: Option<PathBuf>,
    /// True if a checkpoint is published only with the cosignatures of a quorum of the policy.
    pub require_quorum: bool,
    /// The age of a cosignature of the last checkpoint at which the log asks its witness for a new one, seconds.
    pub cosign_seconds: u64,
    /// The time stamping authorities.
    pub tsa: TsaSettings,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings {
            origin: None,
            key: None,
            previous_keys: Vec::new(),
            interval_seconds: 60,
            max_records: 100_000,
            store: None,
            lock: None,
            policy: None,
            require_quorum: true,
            cosign_seconds: 3600,
            tsa: TsaSettings::default(),
        }
    }
}

/// The handling of a missing default directory of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Stores {
    /// Create the directory.
    Create,
    /// Return an error.
    Existing,
}

impl LogSettings {
    /// Returns true if the log is enabled.
    pub fn is_on(&self) -> bool {
        self.origin.is_some()
    }

    /// Returns the path of the key file; `None` if a token or a program has the key.
    ///
    /// # Errors
    /// The settings name no key; the error names the setting.
    pub fn key_file(&self) -> Result<Option<&Path>, Error> {
        let key = self.key()?;
        let is_file = parse("log.key", key)?.file().is_some();
        Ok(is_file.then_some(key))
    }

    fn key(&self) -> Result<&Path, Error> {
        self.key.as_deref().ok_or_else(|| missing("log.key", "the seed file of the log's key"))
    }

    /// Opens the store and reads the key of the log of a ledger. `ledger_file` is the file of a SQLite ledger.
    ///
    /// # Errors
    /// A setting is missing or wrong, or the ledger cannot have a log.
    pub async fn open(
        &self,
        ledger: &dyn Ledger,
        ledger_file: Option<&Path>,
        s3: &S3Settings,
        stores: Stores,
    ) -> Result<TransparencyLog, Error> {
        let origin = self.origin.as_deref();
        let origin =
            origin.ok_or_else(|| missing("log.origin", "the name of the log, such as log.example/lifts"))?;
        let current = signer("log.key", self.key()?, origin).await?;
        let mut previous = Vec::with_capacity(self.previous_keys.len());
        for key in &self.previous_keys {
            previous.push(signer("log.previous_keys", key, origin).await?);
        }
        let mut seen = BTreeSet::new();
        let mut signers = std::iter::once(&current).chain(&previous);
        if let Some(twice) = signers.find(|signer| !seen.insert(*signer.verifier().key().as_bytes())) {
            let key = twice.verifier();
            let problem = format!("log.previous_keys: the settings name the key {key} twice; remove it once");
            return Err(config(problem));
        }
        edgesentry_log::Checkpoint::new(origin, 0, edgesentry_log::TreeHash::EMPTY)
            .map_err(|error| config(format!("log.origin: {error}")))?;
        let tables =
            ledger.log().ok_or_else(|| config("this ledger cannot have a transparency log".to_owned()))?;
        let (store, lock) = self.stores(ledger_file, s3, stores).await?;
        let log = TransparencyLog::new(tables, store, lock, current, self.max_records);
        let log = log.with_previous_keys(previous);
        let log = match &self.policy {
            Some(policy) => {
                let keys = log.keys().count();
                let cosigners = Cosigners::open(policy, log.key(), keys, self.require_quorum)?;
                log.with_cosigners(cosigners.renewed_after(self.cosign_seconds))
            }
            None => log,
        };
        Ok(match self.tsa.open()? {
            Some(stamper) => log.with_stamper(stamper),
            None => log,
        })
    }

    /// Returns true if the ledger has a log other than the one that this log succeeds, or the lock a signed checkpoint.
    /// Needs no key.
    ///
    /// # Errors
    /// A setting is wrong, or ledger or lock cannot be read.
    pub async fn exists(
        &self,
        ledger: &dyn Ledger,
        ledger_file: Option<&Path>,
        s3: &S3Settings,
        predecessor: Option<&str>,
    ) -> Result<bool, Error> {
        let (_, lock) = self.stores(ledger_file, s3, Stores::Create).await?;
        if !Lock::new(lock).numbers().await?.is_empty() {
            return Ok(true);
        }
        match ledger.log() {
            Some(tables) => {
                let there = tables.state().await?;
                Ok(there.is_some_and(|there| Some(there.origin.as_str()) != predecessor))
            }
            None => Ok(false),
        }
    }

    async fn stores(
        &self,
        ledger_file: Option<&Path>,
        s3: &S3Settings,
        stores: Stores,
    ) -> Result<(Arc<dyn Objects>, Arc<dyn Objects>), Error> {
        let store = self.store(ledger_file, s3, stores).await?;
        let lock = match &self.lock {
            Some(lock) => open_place("log.lock", lock, s3).await?,
            None => Arc::clone(&store),
        };
        Ok((store, lock))
    }

    pub(super) async fn store(
        &self,
        ledger_file: Option<&Path>,
        s3: &S3Settings,
        stores: Stores,
    ) -> Result<Arc<dyn Objects>, Error> {
        if let Some(store) = &self.store {
            return open_place("log.store", store, s3).await;
        }
        let path = default_store(ledger_file).ok_or_else(|| {
            missing("log.store", "folder:PATH or s3://BUCKET/PREFIX for the tiles of the log")
        })?;
        if stores == Stores::Create && !path.exists() {
            make_directory(&path).map_err(|error| {
                config(format!("{}: cannot make the directory of the log: {error}", path.display()))
            })?;
        }
        if stores == Stores::Existing && !path.exists() {
            let problem = "the directory of the transparency log does not exist; eds checkpoint init opens a log, and \
                           log.store names another directory";
            return Err(config(format!("{}: {problem}", path.display())));
        }
        objects::open(&format!("folder:{}", path.display()), s3, Component::TransparencyLog).await
    }
}

/// Opens a key. That of a token may take long.
async fn signer(setting: &'static str, key: &Path, origin: &str) -> Result<LogSigner, Error> {
    let source = parse(setting, key)?;
    let opened = tokio::task::spawn_blocking(move || source.open()).await;
    let opened = opened.map_err(|error| Error::internal("the thread of a key has ended", error))?;
    let signer = opened.map_err(|error| match error {
        Error::Config(problem) => config(format!("{setting}: {problem}")),
        error => error,
    })?;
    LogSigner::new(origin, signer).map_err(|error| config(format!("log.origin: {error}")))
}

fn parse(setting: &str, key: &Path) -> Result<KeySource, Error> {
    KeySource::parse(key).map_err(|problem| config(format!("{setting}: {problem}")))
}

/// Returns the directory beside a SQLite ledger.
fn default_store(ledger_file: Option<&Path>) -> Option<PathBuf> {
    let file = std::path::absolute(ledger_file?).ok()?;
    let mut name = file.file_name()?.to_owned();
    name.push(".log");
    Some(file.with_file_name(name))
}

fn make_directory(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

async fn open_place(setting: &str, place: &str, s3: &S3Settings) -> Result<Arc<dyn Objects>, Error> {
    let place = match place.strip_prefix("folder:") {
        Some(path) => {
            let path = std::path::absolute(path).map_err(|error| config(format!("{setting}: {error}")))?;
            format!("folder:{}", path.display())
        }
        None if place.starts_with("s3://") => place.to_owned(),
        None => {
            let problem = format!("{setting}: expected folder:PATH or s3://BUCKET/PREFIX, got {place:?}");
            return Err(config(problem));
        }
    };
    objects::open(&place, s3, Component::TransparencyLog).await
}

fn missing(setting: &str, what: &str) -> Error {
    config(format!("{setting} is not set; set it to {what}"))
}

fn config(problem: String) -> Error {
    Error::Config(problem)
}
