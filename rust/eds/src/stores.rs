//! The stores that commands work on, and the runtime that drives them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use edgesentry_chain::KeyRing;
use edgesentry_formats::Destinations;
use edgesentry_rs::ledger::Registration;
use edgesentry_rs::settings::{Access, FILE_VARIABLE, Overrides};
use edgesentry_rs::telemetry::subscriber;
use edgesentry_rs::{Error, Ledger, PayloadStore, Settings};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Runtime;

use crate::exit::Failure;
use crate::network;
use crate::operations;
use crate::outputs;
use crate::remarks::{log_filter, remark};
use crate::text::{name, sentence};
use crate::threads;

/// The ledger of a command that always works on one.
#[derive(Args, Debug)]
pub(crate) struct LedgerArgs {
    /// Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]
    #[arg(long, value_name = "URL")]
    ledger: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

/// The ledger and the payload store of a command that always works on both.
#[derive(Args, Debug)]
pub(crate) struct StoreArgs {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Payload store: ledger, folder:PATH, packs:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]
    #[arg(long, alias = "payloads", value_name = "STORE")]
    payload_store: Option<String>,
}

/// The ledger of a command that reads files otherwise.
#[derive(Args, Debug)]
pub(crate) struct InsteadOfFiles {
    /// A ledger instead of files: sqlite:PATH, a path, or postgres://HOST/DATABASE [without URL: as configured]
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", conflicts_with = "files")]
    ledger: Option<String>,
    /// Settings file, TOML [default: the one that EDS_CONFIG names, or none]
    #[arg(long, value_name = "FILE", requires = "ledger", conflicts_with = "files")]
    config: Option<PathBuf>,
}

/// The settings file.
#[derive(Args, Debug)]
pub(crate) struct ConfigFile {
    /// Settings file, TOML [default: the one that EDS_CONFIG names, or none]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Completes when the user asks for the end.
pub(crate) type Asked = BoxFuture<'static, ()>;

/// Open stores.
pub(crate) struct Opened {
    /// The settings.
    pub(crate) settings: Settings,
    /// The ledger.
    pub(crate) ledger: Arc<dyn Ledger>,
    /// The payload store, if it was requested and named.
    pub(crate) payloads: Option<Arc<dyn PayloadStore>>,
    /// The runtime of both.
    pub(crate) runtime: Runtime,
}

/// Loads all sections of the settings.
pub(crate) fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Settings, Failure> {
    let settings = Settings::load(file, overrides)?;
    network::check(&settings)?;
    operations::check(&settings)?;
    Ok(settings)
}

impl LedgerArgs {
    /// Opens the ledger; the payload store stays closed.
    pub(crate) fn open(&self, access: Access) -> Result<Opened, Failure> {
        let overrides = Overrides { ledger: self.ledger.clone(), payloads: None };
        let settings = load(self.file.config.as_deref(), &overrides)?;
        Opened::ledger_only(settings, access)
    }

    /// Opens the ledger, and the payload store: the named one, or the configured one if there is one.
    pub(crate) fn open_with_payloads(
        &self,
        payloads: Option<&str>,
        access: Access,
    ) -> Result<Opened, Failure> {
        let overrides = Overrides { ledger: self.ledger.clone(), payloads: payloads.map(str::to_owned) };
        Opened::new(load(self.file.config.as_deref(), &overrides)?, access)
    }

    /// Returns the settings file, if one is named.
    pub(crate) fn config(&self) -> Option<&PathBuf> {
        self.file.config.as_ref()
    }

    /// Registers the files of the ledger, and the settings, as inputs.
    pub(crate) fn read(&self, opened: &Opened, destinations: &mut Destinations) {
        read_settings(destinations, self.config());
        outputs::read_stores(destinations, &opened.settings);
    }
}

impl StoreArgs {
    /// Opens the ledger and the payload store.
    pub(crate) fn open(&self, access: Access) -> Result<Opened, Failure> {
        let overrides =
            Overrides { ledger: self.ledger.ledger.clone(), payloads: self.payload_store.clone() };
        Opened::new(self.settings(&overrides)?, access)
    }

    /// Opens the ledger and the payload store unless the user asks for the end first.
    pub(crate) fn open_unless(&self, access: Access, asked: &mut Asked) -> Result<Option<Opened>, Failure> {
        let overrides =
            Overrides { ledger: self.ledger.ledger.clone(), payloads: self.payload_store.clone() };
        Opened::unless(self.settings(&overrides)?, access, asked)
    }

    fn settings(&self, overrides: &Overrides) -> Result<Settings, Failure> {
        load(self.ledger.config().map(PathBuf::as_path), overrides)
    }

    /// Returns the settings file, if one is named.
    pub(crate) fn config(&self) -> Option<&PathBuf> {
        self.ledger.config()
    }
}

impl InsteadOfFiles {
    /// Returns true if a ledger is given.
    pub(crate) fn is_given(&self) -> bool {
        self.ledger.is_some()
    }

    /// Registers the files of the stores, and the settings, as inputs.
    pub(crate) fn read(
        &self,
        payloads: Option<&str>,
        destinations: &mut Destinations,
    ) -> Result<(), Failure> {
        let settings = self.settings(payloads)?;
        read_settings(destinations, self.config.as_ref());
        outputs::read_stores(destinations, &settings);
        Ok(())
    }

    fn settings(&self, payloads: Option<&str>) -> Result<Settings, Failure> {
        let given = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let overrides =
            Overrides { ledger: self.ledger.as_deref().and_then(given), payloads: payloads.and_then(given) };
        load(self.config.as_deref(), &overrides)
    }

    /// Opens the ledger for reading, and the payload store if one is requested: by name, or with an empty name the
    /// configured one.
    pub(crate) fn open(&self, payloads: Option<&str>) -> Result<Opened, Failure> {
        let settings = self.settings(payloads)?;
        match payloads {
            None => Opened::ledger_only(settings, Access::Read),
            Some(_) => {
                let opened = Opened::new(settings, Access::Read)?;
                opened.payloads()?;
                Ok(opened)
            }
        }
    }
}

/// Registers the settings file, named on the command line or by the variable.
fn read_settings(destinations: &mut Destinations, config: Option<&PathBuf>) {
    let variable = std::env::var_os(FILE_VARIABLE).map(PathBuf::from);
    if let Some(file) = config.or(variable.as_ref()) {
        destinations.read("the settings", file);
    }
}

impl Drop for Opened {
    /// Closes the ledger, so that it leaves no write-ahead log.
    fn drop(&mut self) {
        self.runtime.block_on(self.ledger.close());
    }
}

impl Opened {
    fn ledger_only(settings: Settings, access: Access) -> Result<Opened, Failure> {
        let mut opened = Opened::new(Settings { payloads: None, ..settings }, access)?;
        opened.payloads = None;
        Ok(opened)
    }

    /// Opens the stores of the settings.
    pub(crate) fn new(settings: Settings, access: Access) -> Result<Opened, Failure> {
        // Ctrl-C ends the process at once.
        let opened = Opened::unless(settings, access, &mut std::future::pending().boxed())?;
        opened.ok_or_else(|| Failure::interrupted("interrupted: the stores were not opened"))
    }

    /// Opens the stores unless the user asks for the end first.
    fn unless(settings: Settings, access: Access, asked: &mut Asked) -> Result<Option<Opened>, Failure> {
        let runtime = threads::runtime()?;
        // Commands report their results by themselves: logs are optional.
        subscriber::init(&settings.telemetry, log_filter("off"))?;
        let opened = runtime.block_on(async {
            tokio::select! {
                stores = settings.open(access) => stores.map(Some),
                () = asked => Ok(None),
            }
        });
        let Some(stores) = opened? else {
            // Otherwise the runtime would wait for a name lookup in progress.
            runtime.shutdown_background();
            return Ok(None);
        };
        for note in stores.ledger.notes() {
            remark(&format!("note: {}", sentence(&note)));
        }
        Ok(Some(Opened { settings, ledger: stores.ledger, payloads: stores.payloads, runtime }))
    }

    /// Waits for a response of the stores.
    pub(crate) fn wait<T, E: Into<Error>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        self.runtime.block_on(answer).map_err(|error| error.into().into())
    }

    /// Registers the devices and keys of a key ring.
    pub(crate) fn register(&self, ring: &KeyRing) -> Result<(), Failure> {
        if let Some((one, other)) = ring.shared_key() {
            let (one, other) = (name(one), name(other));
            remark(&format!(
                "warning: device {other} has the key of device {one}; each of them can sign in the name of the other: register \
                 a key of its own for each device"
            ));
        }
        for (device_id, keys) in ring.iter() {
            for key in keys {
                let registration = Registration {
                    device_id: device_id.to_owned(),
                    key: key.key,
                    scheme: key.scheme,
                    valid_from: Some(key.valid_from),
                    start: None,
                };
                self.wait(self.ledger.register(&registration))?;
            }
        }
        Ok(())
    }

    /// Returns the payload store, or an error with the remedy.
    pub(crate) fn payloads(&self) -> Result<Arc<dyn PayloadStore>, Failure> {
        let missing = || {
            let message = "no payload store is set; set folder:PATH, packs:PATH or s3://BUCKET with --payload-store or the setting payloads";
            Failure::usage("config", message)
        };
        self.payloads.clone().ok_or_else(missing)
    }
}
