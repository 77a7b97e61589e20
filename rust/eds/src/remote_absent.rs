//! A build without the client of a service.

use clap::Args;
use edgesentry_formats::Destinations;
use edgesentry_rs::settings::Access;

use crate::exit::Failure;
use crate::stores::{LedgerArgs, Opened};

/// No options: this build has no client of a service.
#[derive(Args, Debug)]
pub(crate) struct RemoteArgs {}

impl RemoteArgs {
    pub(crate) fn is_given(&self) -> bool {
        false
    }

    pub(crate) fn service(&self) -> Result<Option<Service>, Failure> {
        Ok(None)
    }

    pub(crate) fn open(&self, ledger: &LedgerArgs, access: Access) -> Result<Opened, Failure> {
        ledger.open(access)
    }

    pub(crate) fn read(&self, ledger: &LedgerArgs, opened: &Opened, destinations: &mut Destinations) {
        ledger.read(opened, destinations);
    }

    pub(crate) fn read_files(&self, _: &mut Destinations) {}
}

/// A service, which this build does not reach.
pub(crate) enum Service {}

impl Service {
    pub(crate) fn place(&self) -> &str {
        match *self {}
    }

    pub(crate) fn opened(self) -> Opened {
        match self {}
    }

    pub(crate) fn text(&self, _: &str, _: &[(&str, Option<String>)]) -> Result<String, Failure> {
        match *self {}
    }
}
