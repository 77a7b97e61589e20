//! The settings of operations: the ledger, the stores, and `[ops]`.

use std::path::PathBuf;

use edgesentry_rs::payload::S3Settings;
use edgesentry_rs::secret::Secret;
use edgesentry_rs::settings::list;
use serde::Deserialize;

/// The stores of an operation, and its settings.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The ledger, its payloads and S3.
    pub stores: edgesentry_rs::Settings,
    /// The section `[ops]`.
    pub ops: OpsSettings,
}

impl Settings {
    /// Reads the section `[ops]` of settings.
    ///
    /// # Errors
    /// As [`OpsSettings::of`].
    pub fn of(stores: edgesentry_rs::Settings) -> Result<Settings, edgesentry_rs::Error> {
        Ok(Settings { ops: OpsSettings::of(&stores)?, stores })
    }
}

/// Backup and restore of a PostgreSQL ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsSettings {
    /// The location of backups and write-ahead log: `s3://BUCKET/PREFIX` or `folder:PATH`.
    pub archive: Option<String>,
    /// The S3 of the archive, if it is not `[s3]`.
    pub s3: Option<S3Settings>,
    /// `postgres://…` of a role that may replicate; the ledger by default.
    pub postgres: Option<Secret>,
    /// The directory of the PostgreSQL programs; by default the newest ones in the usual places.
    pub postgres_bin: Option<PathBuf>,
    /// The directory for temporary files, which needs twice the size of the database; that of the system by default.
    pub temp: Option<PathBuf>,
    /// True for production systems: no drill changes anything on them.
    pub production: bool,
    /// A `.prom` file for the textfile collector: the times of the last backup and the last archived segment.
    pub textfile: Option<PathBuf>,
    /// The seed file of the key that signs the archive, as `eds keygen` writes it.
    pub signing_key: Option<PathBuf>,
    /// Public keys whose signatures are trusted on restore, 64 hex digits each; that of `signing_key` by default.
    #[serde(deserialize_with = "list")]
    pub trusted_keys: Vec<String>,
    /// True to restore unsigned files although a key is named.
    pub allow_unsigned: bool,
    /// Public age keys to which the archive is encrypted; by default it is not encrypted.
    #[serde(deserialize_with = "list")]
    pub recipients: Vec<String>,
    /// The file of the age identities that decrypt the archive on restore.
    pub identity: Option<PathBuf>,
}

impl OpsSettings {
    /// Parses the section `[ops]` of the settings.
    ///
    /// # Errors
    /// A value is wrong, or a key is unknown.
    pub fn of(settings: &edgesentry_rs::Settings) -> Result<OpsSettings, edgesentry_rs::Error> {
        settings.ops.parse()
    }
}
