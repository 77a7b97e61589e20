//! A service on the network in place of a ledger.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use edgesentry_formats::Destinations;
use edgesentry_rs::Settings;
use edgesentry_rs::settings::Access;
use edgesentry_rs::transport::{Client, ClientSettings, RemoteLedger};
use tokio::runtime::Runtime;

use crate::commands::token_of;
use crate::exit::Failure;
use crate::outputs;
use crate::remarks::remark;
use crate::stores::{LedgerArgs, Opened};
use crate::text::sentence;
use crate::threads;

/// How often a request is sent before the command fails, and how long the service may stall.
const ATTEMPTS: u32 = 5;
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A service on the network in place of a ledger.
#[derive(Args, Debug)]
pub(crate) struct RemoteArgs {
    /// A service in place of a ledger: http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "URL", conflicts_with_all = ["ledger", "config"])]
    url: Option<String>,
    /// File with a token of the service; or set the variable EDS_TOKEN
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// PEM file of the certificate authorities to trust [default: the system's]
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// PEM file of a client certificate
    #[arg(long, value_name = "FILE", requires_all = ["url", "cert_key"])]
    cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires_all = ["url", "cert"])]
    cert_key: Option<PathBuf>,
}

impl RemoteArgs {
    /// Returns true if a service is named.
    pub(crate) fn is_given(&self) -> bool {
        self.url.is_some()
    }

    /// Returns the service, if one is named.
    pub(crate) fn service(&self) -> Result<Option<Service>, Failure> {
        let Some(url) = &self.url else { return Ok(None) };
        let settings = ClientSettings {
            token: token_of(self.token_file.as_deref())?.map(Into::into),
            ca: self.ca.clone(),
            identity: self.cert.clone().zip(self.cert_key.clone()),
            timeout: STALL_TIMEOUT,
            attempts: ATTEMPTS,
            ..ClientSettings::new(url)
        };
        if let Some(problem) = settings.exposure() {
            remark(&format!("warning: {}", sentence(&problem)));
        }
        let ledger = RemoteLedger::new(Client::new(settings)?);
        Ok(Some(Service { ledger, runtime: threads::runtime()? }))
    }

    /// Opens the ledger of the service, if one is named, or the ledger of this machine.
    pub(crate) fn open(&self, ledger: &LedgerArgs, access: Access) -> Result<Opened, Failure> {
        match self.service()? {
            Some(service) => Ok(service.opened()),
            None => ledger.open(access),
        }
    }

    /// Registers the files of the service, or of the ledger of this machine, as inputs.
    pub(crate) fn read(&self, ledger: &LedgerArgs, opened: &Opened, destinations: &mut Destinations) {
        match self.is_given() {
            true => self.read_files(destinations),
            false => ledger.read(opened, destinations),
        }
    }

    /// Registers the files that the options name as inputs.
    pub(crate) fn read_files(&self, destinations: &mut Destinations) {
        let files = [
            ("the token", self.token_file.as_ref()),
            ("the certificate authorities", self.ca.as_ref()),
            ("the certificate", self.cert.as_ref()),
            ("its private key", self.cert_key.as_ref()),
        ];
        outputs::read(destinations, files);
    }
}

/// A service, and the runtime of its connections.
pub(crate) struct Service {
    ledger: RemoteLedger,
    runtime: Runtime,
}

impl Service {
    /// Returns its URL.
    pub(crate) fn place(&self) -> &str {
        edgesentry_rs::Ledger::place(&self.ledger)
    }

    /// Returns its ledger as that of a command.
    pub(crate) fn opened(self) -> Opened {
        let Service { ledger, runtime } = self;
        Opened { settings: Settings::default(), ledger: Arc::new(ledger), payloads: None, runtime }
    }

    /// Returns the text at a path: a checkpoint or a proof. The caller verifies it.
    pub(crate) fn text(&self, path: &str, query: &[(&str, Option<String>)]) -> Result<String, Failure> {
        Ok(self.runtime.block_on(self.ledger.text(path, query))?)
    }
}
