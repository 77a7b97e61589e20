//! Settings: one TOML file, environment variables `EDS_…`, and flags; later sources override earlier ones.
//!
//! ```toml
//! ledger = "postgres://edgesentry@db-1,db-2/audit?sslmode=verify-full"
//! payloads = "s3://audit-payloads"
//!
//! [s3]
//! endpoint = "https://minio.example"
//!
//! [ingest]
//! batch_records = 4096
//! ```
//!
//! A variable names a key in capitals, with two underscores for the dot: `EDS_S3__ENDPOINT`. An unknown key is an
//! error.

mod environment;
mod list;
mod section;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{Config, Environment, File, FileFormat};
use edgesentry_formats::read_file;
use serde::Deserialize;

use crate::error::Error;
use crate::ingest::storage::Limits;
use crate::ledger::{Ledger, LogTablesError, PostgresSettings, Sqlite, postgres};
use crate::log::{EraseError, Eraser, LogSettings, WitnessSettings};
use crate::payload::{Folder, Layout, PayloadStore, S3Settings, s3};
use crate::secret::Secret;
use crate::telemetry::TelemetrySettings;

pub use crate::ledger::Location;
pub use environment::variables;
pub use list::list;
pub use section::Section;
use section::wrong;

/// The variable that names the file; not a setting itself.
pub const FILE_VARIABLE: &str = "EDS_CONFIG";
/// The default ledger.
pub const DEFAULT_LEDGER: &str = "sqlite:edgesentry.db";

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `sqlite:PATH`, a path, or `postgres://…`.
    pub ledger: Secret,
    /// `ledger` (in the SQLite file), `folder:PATH`, `packs:PATH` or `s3://BUCKET`; by default `ledger` with SQLite.
    pub payloads: Option<String>,
    /// PostgreSQL.
    pub postgres: PostgresSettings,
    /// S3.
    pub s3: S3Settings,
    /// The ingest service.
    pub ingest: Limits,
    /// The transparency log.
    pub log: LogSettings,
    /// A witness of other logs.
    pub witness: WitnessSettings,
    /// Backup and restore, which `edgesentry-ops` reads.
    pub ops: Section,
    /// Logs, traces and metrics.
    pub telemetry: TelemetrySettings,
    /// The service on the network, which `edgesentry-serve` reads.
    pub serve: Section,
}

/// The maximum size of a settings file.
const MAX_SETTINGS_BYTES: u64 = 16 << 20;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            ledger: DEFAULT_LEDGER.to_owned().into(),
            payloads: None,
            postgres: PostgresSettings::default(),
            s3: S3Settings::default(),
            ingest: Limits::default(),
            log: LogSettings::default(),
            witness: WitnessSettings::default(),
            ops: Section::default(),
            telemetry: TelemetrySettings::default(),
            serve: Section::default(),
        }
    }
}

/// Settings given on the command line or as arguments; they override all others.
#[derive(Clone, Default, Debug)]
pub struct Overrides {
    /// See [`Settings::ledger`].
    pub ledger: Option<String>,
    /// See [`Settings::payloads`].
    pub payloads: Option<String>,
}

/// Whether a missing store may be created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Access {
    /// Creates a missing file or directory.
    Create,
    /// A missing file or directory is an error.
    Existing,
    /// Like `Existing`, and changes nothing: no migration, no file, no lock that blocks writers. The ledger may be a
    /// standby, on a read-only mount, or one that only grants SELECT.
    Read,
}

impl Settings {
    /// Reads the file, if one is named here or by `EDS_CONFIG`, then the environment, then `overrides`.
    ///
    /// # Errors
    /// The file cannot be read, or a value or a name in it, or in the environment, is wrong.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Settings, Error> {
        Settings::load_from(file, variables(), overrides)
    }

    fn load_from(
        file: Option<&Path>,
        variables: Vec<(String, String)>,
        overrides: &Overrides,
    ) -> Result<Settings, Error> {
        let (named, variables): (Vec<_>, Vec<_>) =
            variables.into_iter().partition(|(name, _)| name == FILE_VARIABLE);
        let file: Option<PathBuf> =
            file.map(Path::to_owned).or_else(|| Some(PathBuf::from(&named.first()?.1)));
        let mut builder = Config::builder();
        if let Some(file) = &file {
            let text = read_file(file, MAX_SETTINGS_BYTES).and_then(|bytes| {
                String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8"))
            });
            let text = text.map_err(|error| {
                Error::unusable(format!("{}: cannot read the settings", file.display()), error)
            })?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        let environment = Environment::with_prefix("EDS").prefix_separator("_").separator("__");
        let variables = variables.into_iter().collect();
        builder = builder.add_source(environment.source(Some(variables)));
        let place = file.as_ref().map_or_else(
            || "EDS_ variables".to_owned(),
            |file| format!("{} and EDS_ variables", file.display()),
        );
        let config = builder
            .set_override_option("ledger", overrides.ledger.clone())
            .and_then(|builder| builder.set_override_option("payloads", overrides.payloads.clone()))
            .and_then(|builder| builder.build())
            .map_err(|error| wrong(&place, &error))?;
        let mut settings: Settings =
            config.clone().try_deserialize().map_err(|error| wrong(&place, &error))?;
        settings.ops = Section::new("ops", place.clone(), config.clone());
        settings.serve = Section::new("serve", place, config);
        settings.location()?;
        Ok(settings)
    }

    /// Returns the location of the ledger.
    ///
    /// # Errors
    /// The name of the ledger has neither form.
    pub fn location(&self) -> Result<Location, Error> {
        Location::parse(self.ledger.reveal())
    }

    /// Opens the ledger and the payload store.
    ///
    /// # Errors
    /// A store is missing or cannot be opened, or the settings name none.
    pub async fn open(&self, access: Access) -> Result<Stores, Error> {
        let wanted = self.payloads.as_deref();
        let Location::Sqlite(path) = self.location()? else {
            if wanted == Some("ledger") {
                let problem = "payloads: PostgreSQL does not store payloads; set folder:PATH, packs:PATH or s3://BUCKET";
                return Err(Error::Config(problem.to_owned()));
            }
            let settings = PostgresSettings { url: self.ledger.clone(), ..self.postgres.clone() };
            let ledger = postgres::open(&settings, access == Access::Read).await?;
            return Ok(Stores { ledger, payloads: self.payload_store(wanted, access).await? });
        };
        if access != Access::Create && !path.exists() {
            let problem = format!(
                "{}: there is no ledger; eds serve --create and eds ingest --register create one, or set sqlite:PATH or postgres://…",
                path.display()
            );
            return Err(Error::Config(problem));
        }
        if path.is_dir() {
            return Err(Error::Config(format!("{}: it is a directory, not a ledger", path.display())));
        }
        let ledger = match access {
            Access::Create => Sqlite::open(&path).await?,
            Access::Existing => Sqlite::open_existing(&path).await?,
            Access::Read => Sqlite::read(&path).await?,
        };
        let payloads = match wanted {
            None | Some("ledger") => Some(Arc::new(ledger.payloads()) as Arc<dyn PayloadStore>),
            wanted => self.payload_store(wanted, access).await?,
        };
        Ok(Stores { ledger: Arc::new(ledger), payloads })
    }

    /// Returns the file of a SQLite ledger; none for another ledger, or if the name is invalid.
    pub fn ledger_file(&self) -> Option<PathBuf> {
        match self.location() {
            Ok(Location::Sqlite(path)) => Some(path),
            Ok(Location::Postgres) | Err(_) => None,
        }
    }

    /// Returns the directory of payloads, if they are stored in one.
    pub fn payload_folder(&self) -> Option<PathBuf> {
        let wanted = self.payloads.as_deref().filter(|wanted| *wanted != "ledger")?;
        directory(wanted).map(|(path, _)| path.into())
    }

    /// Opens the payload store alone, which must exist; none by default, or if the ledger stores the payloads.
    ///
    /// # Errors
    /// The store is missing or cannot be opened.
    pub async fn open_payloads(&self) -> Result<Option<Arc<dyn PayloadStore>>, Error> {
        let wanted = self.payloads.as_deref().filter(|wanted| *wanted != "ledger");
        self.payload_store(wanted, Access::Existing).await
    }

    async fn payload_store(
        &self,
        wanted: Option<&str>,
        access: Access,
    ) -> Result<Option<Arc<dyn PayloadStore>>, Error> {
        let Some(wanted) = wanted else { return Ok(None) };
        if let Some(bucket) = wanted.strip_prefix("s3://") {
            return Ok(Some(s3::open(bucket.trim_end_matches('/'), &self.s3).await?));
        }
        Ok(Some(Arc::new(Settings::folder(wanted, access)?)))
    }

    /// Opens the directory of payloads; none if they are elsewhere.
    ///
    /// # Errors
    /// The directory is missing or cannot be opened.
    pub fn open_payload_folder(&self, access: Access) -> Result<Option<Folder>, Error> {
        match (&self.payloads, self.payload_folder()) {
            (Some(wanted), Some(_)) => Settings::folder(wanted, access).map(Some),
            _ => Ok(None),
        }
    }

    fn folder(wanted: &str, access: Access) -> Result<Folder, Error> {
        let Some((path, layout)) = directory(wanted) else {
            let problem =
                format!("payloads: expected ledger, folder:PATH, packs:PATH or s3://BUCKET, got {wanted:?}");
            return Err(Error::Config(problem));
        };
        if access != Access::Create && !path.is_dir() {
            let problem = "the payload directory does not exist; create it, or run eds config check --create";
            return Err(Error::Config(format!("{}: {problem}", path.display())));
        }
        Ok(if access == Access::Read { Folder::read(path)? } else { Folder::open_as(path, layout)? })
    }
}

/// Returns the directory that a payload store names, and its layout; `None` for any other store.
fn directory(wanted: &str) -> Option<(&Path, Layout)> {
    let (path, layout) = match wanted.split_once(':') {
        Some(("folder", path)) => (path, Layout::Files),
        Some(("packs", path)) => (path, Layout::Packs),
        Some(("file", path)) => (path.strip_prefix("//").unwrap_or(path), Layout::Files),
        _ if wanted.contains("://") || wanted.is_empty() => return None,
        _ => (wanted, Layout::Files),
    };
    Some((Path::new(path), layout))
}

/// Open stores.
#[derive(Clone)]
pub struct Stores {
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The payload store, if one is configured.
    pub payloads: Option<Arc<dyn PayloadStore>>,
}

impl Stores {
    /// Returns the payload store, or an error that says how to configure one.
    pub fn payloads(&self) -> Result<Arc<dyn PayloadStore>, Error> {
        let problem = "payloads: no store is set; set folder:PATH, packs:PATH or s3://BUCKET";
        self.payloads.clone().ok_or_else(|| Error::Config(problem.to_owned()))
    }

    /// Opens the transparency log for writing, with the payload store.
    ///
    /// # Errors
    /// [`EraseError::Off`], or the settings are wrong; the ledger has no log; there is no payload store.
    pub async fn eraser(&self, settings: &Settings) -> Result<Eraser, EraseError> {
        if !settings.log.is_on() {
            return Err(EraseError::Off);
        }
        // Before its key is read, which eds checkpoint init makes.
        if let Some(tables) = self.ledger.log()
            && tables.state().await?.is_none()
        {
            return Err(LogTablesError::NotOpened.into());
        }
        let (file, existing) = (settings.ledger_file(), crate::log::Stores::Existing);
        let log = settings.log.open(&*self.ledger, file.as_deref(), &settings.s3, existing).await?;
        Ok(Eraser::new(log, Arc::clone(&self.ledger), self.payloads()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, variables: &[(&str, &str)]) -> Result<Settings, Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("eds.toml");
        std::fs::write(&file, toml).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load_from(Some(&file), variables.collect(), &Overrides::default())
    }

    #[test]
    fn flags_come_before_variables_and_variables_before_the_file() {
        let toml = "ledger = \"sqlite:a.db\"\n[s3]\nendpoint = \"http://one\"\ntimeout_seconds = 3\n";
        let settings = load(toml, &[("EDS_S3__ENDPOINT", "http://two"), ("EDS_S3__ATTEMPTS", "7")]).unwrap();
        assert_eq!(settings.ledger.reveal(), "sqlite:a.db");
        let s3 = &settings.s3;
        assert_eq!((s3.endpoint.as_deref(), s3.timeout_seconds, s3.attempts), (Some("http://two"), 3, 7));
        let overrides = Overrides { ledger: Some("b.db".to_owned()), payloads: None };
        let settings =
            Settings::load_from(None, vec![("EDS_LEDGER".into(), "c.db".into())], &overrides).unwrap();
        assert_eq!(settings.ledger.reveal(), "b.db");
    }

    #[test]
    fn unknown_keys_are_refused_at_every_level() {
        for (toml, variables) in [
            ("leger = \"x\"", &[][..]),
            ("[s3]\nbuckt = \"x\"", &[]),
            ("", &[("EDS_LEGER", "x")]),
            ("", &[("EDS_S3__BUCKT", "x")]),
            ("ledger = [", &[]),
            ("[ingest]\nattempts = \"many\"", &[]),
            ("[telemetry]\nlog_fromat = \"json\"", &[]),
            ("[telemetry]\notlp_protocol = \"http/json\"", &[]),
            ("", &[("EDS_TELEMETRY__LOG", "json")]),
        ] {
            let error = load(toml, variables).unwrap_err();
            assert!(error.to_string().contains("eds.toml"), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings =
            load("ledger = \"postgres://me:hush@db/x\"\n[s3]\nsecret_access_key = \"hush\"", &[]).unwrap();
        assert!(!format!("{settings:?}").contains("hush"));
        for (toml, variables) in [
            ("ledger = postgres://me:hush@db/x", &[][..]),
            ("ledger = \"postgres:me:hush@db\"", &[]),
            ("[s3]\ntimeout_seconds = \"hush\"", &[]),
            ("", &[("EDS_POSTGRES__CONNECTIONS", "hush")]),
            ("", &[("EDS_S3", "hush")]),
        ] {
            let error = load(toml, variables).unwrap_err().to_string();
            assert!(!error.contains("hush") && !error.contains('\n'), "{error}");
        }
    }
}
