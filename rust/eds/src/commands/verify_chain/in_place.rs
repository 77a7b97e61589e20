//! Verification of a ledger in place.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;
use edgesentry_chain::{InputKind, ProvidedBy, Providers, Report};
use edgesentry_formats::Destinations;
use edgesentry_rs::ledger::Filter;
use edgesentry_rs::verify::{Registered, Verification};

use super::given::Given;
use crate::commands::known_devices;
use crate::exit::Failure;
use crate::inputs::Running;
use crate::output::Output;
use crate::stores::InsteadOfFiles;

/// A ledger, and what of it is verified.
#[derive(Args, Debug)]
#[command(next_help_heading = "Ledger")]
pub(super) struct InPlace {
    #[command(flatten)]
    ledger: InsteadOfFiles,
    /// Read the payloads of the ledger's records and verify their hashes: from the configured store, or from ledger,
    /// folder:PATH, packs:PATH or s3://BUCKET
    #[arg(long, value_name = "STORE", num_args = 0..=1, default_missing_value = "", requires = "ledger", conflicts_with = "files")]
    payload_store: Option<String>,
    /// Use the keys, heads and start heads that the ledger has registered, if you give none. They are claims,
    /// because a writer of the ledger can change them
    #[arg(long, requires = "ledger", conflicts_with = "files")]
    registered: bool,
    /// Only the chain of this device; may be repeated
    #[arg(long = "device", value_name = "ID", requires = "ledger", conflicts_with_all = ["files", "checkpoint"])]
    devices: Vec<String>,
}

impl InPlace {
    /// Returns true if a ledger is given.
    pub(super) fn is_given(&self) -> bool {
        self.ledger.is_given()
    }

    /// Registers the files of the stores as inputs.
    pub(super) fn read_stores(&self, destinations: &mut Destinations) -> Result<(), Failure> {
        if self.is_given() {
            self.ledger.read(self.payload_store.as_deref(), destinations)?;
        }
        Ok(())
    }

    /// Adds the inputs that the ledger provides.
    pub(super) fn add_to(&self, providers: &mut Providers) {
        let mut claim = |kind, by| {
            providers.entry(kind).or_insert_with(|| BTreeSet::from([by]));
        };
        if self.registered {
            claim(InputKind::Keys, ProvidedBy::Ledger);
            claim(InputKind::Heads, ProvidedBy::Ledger);
        }
        if self.payload_store.is_some() {
            claim(InputKind::Payloads, ProvidedBy::Ledger);
        }
    }

    /// Verifies the ledger against the auditor's inputs, or against its own registrations.
    pub(super) fn verify(&self, given: Given, running: &Running, output: &Output) -> Result<Report, Failure> {
        let opened = self.ledger.open(self.payload_store.as_deref())?;
        known_devices(&opened, &self.devices)?;
        let Given { keys, heads, start_heads, manifest, log, max_age, payloads: _ } = given;
        if self.registered {
            let what = match (&keys, &heads) {
                (None, None) => "keys and heads are",
                (None, Some(_)) => "keys are",
                (Some(_), None) => "heads are",
                (Some(_), Some(_)) => "",
            };
            if !what.is_empty() {
                output.note(&format!("note: the {what} those that the ledger itself has registered"));
            }
        }
        let verification = Verification {
            ledger: Arc::clone(&opened.ledger),
            payloads: opened.payloads.clone(),
            filter: Filter { devices: self.devices.clone(), ..Filter::default() },
            keys,
            claimed_keys: None,
            heads,
            start_heads,
            registered: if self.registered { Registered::ALL } else { Registered::default() },
            manifest,
            options: Default::default(),
        };
        let handle = opened.runtime.handle();
        let report = running.run(|options, progress| {
            let log = log.as_ref().map(|log| log.check(max_age));
            let verification = Verification { options: *options, ..verification };
            verification.run_with_log(log.as_ref(), handle, progress)
        })?;
        Ok(report?)
    }
}
