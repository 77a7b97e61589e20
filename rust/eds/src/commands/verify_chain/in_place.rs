//! Verification of a ledger in place.

use std::sync::Arc;

use clap::Args;
use edgesentry_chain::{Heads, KeyRing, Report};
use edgesentry_formats::Destinations;
use edgesentry_rs::ledger::{self, Filter};
use edgesentry_rs::verify::Verification;

use crate::commands::known_devices;
use crate::exit::{Failure, chain};
use crate::inputs::Running;
use crate::output::Output;
use crate::stores::{InsteadOfFiles, Opened};

/// A ledger, and what of it is verified.
#[derive(Args, Debug)]
#[command(next_help_heading = "Ledger")]
pub(super) struct InPlace {
    #[command(flatten)]
    ledger: InsteadOfFiles,
    /// Read the payloads of the ledger's records and hash them again: from the configured store, or from ledger,
    /// folder:PATH or s3://BUCKET
    #[arg(long, value_name = "STORE", num_args = 0..=1, default_missing_value = "", requires = "ledger", conflicts_with = "files")]
    payload_store: Option<String>,
    /// Keys and heads, where none are given, as the ledger itself has them: whoever can change the ledger can
    /// change them too
    #[arg(long, requires = "ledger", conflicts_with = "files")]
    pub(super) registered: bool,
    /// Only the chain of this device; may be repeated
    #[arg(long = "device", value_name = "ID", requires = "ledger", conflicts_with = "files")]
    devices: Vec<String>,
}

impl InPlace {
    /// Whether a ledger is to be verified.
    pub(super) fn is_given(&self) -> bool {
        self.ledger.is_given()
    }

    /// Notes the files of the stores as files that are read.
    pub(super) fn read_stores(&self, destinations: &mut Destinations) -> Result<(), Failure> {
        if self.is_given() {
            self.ledger.read(self.payload_store.as_deref(), destinations)?;
        }
        Ok(())
    }

    /// Whether payloads are hashed again.
    pub(super) fn reads_payloads(&self) -> bool {
        self.payload_store.is_some()
    }

    /// Verifies the ledger against keys and heads, or against its own.
    pub(super) fn verify(
        &self,
        keys: Option<KeyRing>,
        heads: Option<Heads>,
        running: &Running,
        output: &Output,
    ) -> Result<Report, Failure> {
        let opened = self.ledger.open(self.payload_store.as_deref())?;
        known_devices(&opened, &self.devices)?;
        let (keys, heads) = if self.registered {
            let what = match (&keys, &heads) {
                (None, None) => "keys and heads are",
                (None, Some(_)) => "keys are",
                (Some(_), None) => "heads are",
                (Some(_), Some(_)) => "",
            };
            if !what.is_empty() {
                output.note(&format!("note: the {what} what the ledger itself has registered"));
            }
            (
                Some(or_else(keys, || registered_keys(&opened))?),
                Some(or_else(heads, || opened.wait(opened.ledger.heads()))?),
            )
        } else {
            (keys, heads)
        };
        let verification = Verification {
            ledger: Arc::clone(&opened.ledger),
            payloads: opened.payloads.clone(),
            filter: Filter { devices: self.devices.clone(), ..Filter::default() },
            keys,
            heads: heads.map(|heads| self.of_devices(heads)),
            options: Default::default(),
        };
        let handle = opened.runtime.handle();
        let report = running.run(|options, progress| {
            Verification { options: *options, ..verification }.run(handle, progress)
        })?;
        Ok(report?)
    }

    /// The heads of the devices that are verified: the others are not missing.
    fn of_devices(&self, mut heads: Heads) -> Heads {
        if !self.devices.is_empty() {
            heads.retain(|device_id, _| self.devices.iter().any(|id| **id == **device_id));
        }
        heads
    }
}

fn or_else<T>(given: Option<T>, other: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    given.map_or_else(other, Ok)
}

fn registered_keys(opened: &Opened) -> Result<KeyRing, Failure> {
    let devices = opened.wait(opened.ledger.devices())?;
    ledger::key_ring(&devices).map_err(|error| Failure::unfinished("keys", chain(&error)))
}
