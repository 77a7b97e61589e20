//! A build without the client of a service.

use clap::Args;
use edgesentry_rs::ledger::{
    LogEntry, LogQuery, RegisteredDevice, Registration, Revocation, RevocationReason,
};
use tokio::runtime::Runtime;

use crate::exit::Failure;

/// The largest page of the operation log of a service.
pub(crate) const MAX_PAGE: u32 = 10_000;

/// No options: this build has no client of a service.
#[derive(Args, Debug)]
pub(crate) struct RemoteArgs {}

impl RemoteArgs {
    pub(crate) fn service(&self) -> Result<Option<Service>, Failure> {
        Ok(None)
    }
}

/// A service, which this build does not reach.
pub(crate) struct Service {
    never: std::convert::Infallible,
}

impl Service {
    pub(crate) fn place(&self) -> &str {
        match self.never {}
    }

    pub(crate) fn devices(&self) -> Result<Vec<RegisteredDevice>, Failure> {
        match self.never {}
    }

    pub(crate) fn listing(&self) -> Result<(Vec<RegisteredDevice>, Vec<Revocation>), Failure> {
        match self.never {}
    }

    pub(crate) fn register(&self, _: &Registration) -> Result<(), Failure> {
        match self.never {}
    }

    pub(crate) fn revoke(&self, _: &str, _: RevocationReason) -> Result<u64, Failure> {
        match self.never {}
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        match self.never {}
    }

    pub(crate) async fn operation_log(&self, _: &LogQuery) -> Result<Vec<LogEntry>, Failure> {
        match self.never {}
    }
}
