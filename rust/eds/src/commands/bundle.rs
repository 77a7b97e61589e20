//! `eds bundle`: an evidence bundle from the transparency log of a ledger.

pub(in crate::commands) mod page;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use edgesentry_chain::{KeyRing, Scheme};
use edgesentry_formats::{
    Destination, Destinations, MAX_CERTIFICATES_BYTES, Progress, describe, read_file, times,
};
use edgesentry_log::{BundleScope, Checkpoint, MAX_BUNDLE_SUBJECTS};
use edgesentry_rs::ledger::key_ring;
use edgesentry_rs::log::{BundleContent, BundleError, WrittenBundle};
use edgesentry_rs::settings::Access;
use serde_json::json;

use crate::commands::{device_id, known_devices, prove, scheme, verify_proof};
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Showing};
use crate::interrupt;
use crate::output::{Answer, Output};
use crate::outputs::{self, cannot_write};
use crate::stores::{LedgerArgs, Opened};
use crate::text::{count, name, number, shell_word};

/// Write an evidence bundle: one file with records and the proof that they are in the transparency log
///
/// Without --device and --record it has the whole log up to the published checkpoint. The file is written
/// completely or not at all, and needs twice its size on the disk until then. eds verify-bundle verifies it
/// offline.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds bundle -o case.tar                                      the whole log
  eds bundle -o case.tar --device lift-01 --payload-store     a chain with its payloads
  eds bundle -o case.tar --record lift-01:4711                one record
  eds bundle -o case.tar --record lift-01:4711 --page case.html
  eds bundle -o case.tar --stamped                            up to a checkpoint with a time stamp
  eds bundle -o case.tar --device lift-01 --since checkpoint-of-may
  eds verify-bundle case.tar --policy policy --keys keys.json")]
pub(crate) struct Bundle {
    /// File to write; - is stdout
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Also write a page with a bundle of at most 16 MiB in it: a browser verifies it when the page opens
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// With the last checkpoint that has a time stamp, in place of the published one. The time stamps of the checkpoint are
    /// included in any case
    #[arg(long)]
    stamped: bool,
    /// The whole chain of this device; may be repeated
    #[arg(long = "device", value_name = "ID", value_parser = device_id, conflicts_with = "records")]
    devices: Vec<String>,
    /// This record; may be repeated
    #[arg(long = "record", value_name = "DEVICE:SEQUENCE", value_parser = record)]
    records: Vec<(String, u64)>,
    /// A checkpoint that the recipient kept: the bundle also shows that the log continues it
    #[arg(long, value_name = "CHECKPOINT")]
    since: Option<PathBuf>,
    /// Include the payloads, from this store: ledger, folder:PATH, packs:PATH or s3://BUCKET [without STORE: as configured]
    #[arg(long, alias = "payloads", value_name = "STORE")]
    #[arg(num_args = 0..=1, default_missing_value = "", require_equals = true)]
    payload_store: Option<String>,
    /// Key ring to include as a claim [default: the registered keys]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme(), hide_possible_values = true, requires = "keys")]
    scheme: Option<Scheme>,
    /// Policy to include as a claim
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    showing: Showing,
}

/// Parses `DEVICE:SEQUENCE`; a device id may have colons.
fn record(text: &str) -> Result<(String, u64), String> {
    let parts = text.rsplit_once(':').and_then(|(device, sequence)| Some((device, sequence.parse().ok()?)));
    let (device, sequence) = parts.ok_or("expected DEVICE:SEQUENCE, such as lift-01:4711")?;
    Ok((device_id(device)?, sequence))
}

/// The inputs from files.
struct Given {
    since: Option<Checkpoint>,
    keys: Option<KeyRing>,
    policy: Option<String>,
}

impl Bundle {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let Some(scope) = BundleScope::of(self.devices.clone(), self.records.clone()) else {
            let message = format!("a bundle names at most {MAX_BUNDLE_SUBJECTS} devices or records");
            return Err(Failure::usage("usage", message));
        };
        inputs::refuse_second_stdin(self.since.iter().chain(&self.policy))?;
        let given = Given {
            since: self.since.as_deref().map(verify_proof::checkpoint).transpose()?.map(|(_, older)| older),
            keys: self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?,
            policy: self.policy.as_deref().map(verify_proof::policy).transpose()?.map(|p| p.to_string()),
        };
        let opened = match self.payload_store.as_deref() {
            None => self.ledger.open(Access::Read)?,
            Some("") => self.ledger.open_with_payloads(None, Access::Read)?,
            named => self.ledger.open_with_payloads(named, Access::Read)?,
        };
        known_devices(&opened, &self.devices)?;
        let (destination, page) = self.destinations(&opened)?;
        if output.json && destination.is_stdout() {
            let message =
                "--json writes its result to stdout, where the bundle goes; pass a file with --output";
            return Err(Failure::usage("usage", message));
        }
        let written =
            self.showing.show(|progress| self.write(&opened, &scope, given, &destination, progress))?;
        if let (Some(page), Some(path)) = (&page, &self.page) {
            page::write(&self.output, page, path)?;
        }
        if !destination.is_stdout() {
            self.answer(&written, output)?;
        }
        Ok(Exit::Holds)
    }

    /// Checks the places of the bundle and of the page.
    fn destinations(&self, opened: &Opened) -> Result<(Destination, Option<Destination>), Failure> {
        let mut destinations = Destinations::default();
        self.ledger.read(opened, &mut destinations);
        outputs::read(
            &mut destinations,
            [
                ("the older checkpoint", self.since.as_ref()),
                ("the key ring", self.keys.as_ref()),
                ("the policy", self.policy.as_ref()),
            ],
        );
        let destination = destinations.place("--output", &self.output)?;
        let page = self.page.as_ref().map(|page| destinations.place("--page", page)).transpose()?;
        if let Some(page) = &page
            && (destination.is_stdout() || page.is_stdout())
        {
            let message = "--page needs a file, and a file with --output";
            return Err(Failure::usage("usage", message));
        }
        Ok((destination, page))
    }

    /// Writes the bundle, complete or not at all.
    fn write(
        &self,
        opened: &Opened,
        scope: &BundleScope,
        given: Given,
        destination: &Destination,
        progress: &Arc<Progress>,
    ) -> Result<WrittenBundle, Failure> {
        let settings = &opened.settings;
        let file = settings.ledger_file();
        let log = opened.wait(settings.log.open_reader(&*opened.ledger, file.as_deref(), &settings.s3))?;
        let keys = match given.keys {
            Some(keys) => keys,
            None => registered_keys(opened)?,
        };
        let payloads = self.payload_store.as_ref().map(|_| opened.payloads()).transpose()?;
        let certificates = match &settings.log.tsa.roots {
            Some(roots) => Some(read_file(roots, MAX_CERTIFICATES_BYTES as u64).map_err(|error| {
                Failure::usage("config", format!("log.tsa.roots: {}: {error}", roots.display()))
            })?),
            None => None,
        };
        let content = BundleContent {
            scope,
            since: given.since.as_ref(),
            payloads: payloads.as_deref(),
            keys: Some(&keys),
            policy: given.policy.as_deref().map(str::as_bytes),
            stamped: self.stamped,
            tsa_certificates: certificates.as_deref(),
        };
        let created_ms = times::clock_ms().unwrap_or(0);
        let written = |records: u64| progress.add_records(records.saturating_sub(progress.records()));
        let work = log.write_bundle(&content, destination, created_ms, &written);
        match opened.runtime.block_on(interrupt::unless_asked(work)) {
            Some(written) => written.map_err(|error| self.failure(&error)),
            None => {
                let message = "interrupted: the bundle is not complete, and no file was written";
                Err(Failure::interrupted(message))
            }
        }
    }

    fn failure(&self, error: &BundleError) -> Failure {
        match error {
            BundleError::Log(error) => prove::failure(error),
            BundleError::Write(error) => cannot_write(&self.output, error),
            BundleError::Store(error) => edgesentry_rs::Error::from(error.clone()).into(),
            BundleError::NoRecords(_)
            | BundleError::TooManyPayloads
            | BundleError::TooManyErased
            | BundleError::Keys(_) => Failure::usage(error.code(), error.to_string()),
            _ => Failure::unfinished(error.code(), describe(error)),
        }
    }

    fn answer(&self, written: &WrittenBundle, output: &Output) -> Result<(), Failure> {
        let WrittenBundle { checkpoint, records, manifest } = written;
        let path = self.output.display().to_string();
        let files: Vec<_> = manifest.files.iter().map(|file| file.name.as_str()).collect();
        let content = json!({
            "file": path,
            "page": self.page.as_ref().map(|page| page.display().to_string()),
            "origin": checkpoint.origin(),
            "size": checkpoint.size(),
            "root": checkpoint.root().to_string(),
            "records": records,
            "files": files,
        });
        let (log, size) = (name(checkpoint.origin()), number(checkpoint.size()));
        let mut text = format!("{}: {} of {log} at size {size}\n", name(&path), count(*records, "record"));
        let path = shell_word(&path);
        text.push_str(&format!("  verify    eds verify-bundle {path} --policy POLICY --keys KEYS\n"));
        if let Some(page) = &self.page {
            let page = name(&page.display().to_string());
            text.push_str(&format!("  or open   {page} in a browser; it has the bundle in it\n"));
        }
        output.answer(&Answer { ok: true, name: "bundle", content: &content, text, failure: None })
    }
}

fn registered_keys(opened: &Opened) -> Result<KeyRing, Failure> {
    let devices = opened.wait(opened.ledger.devices())?;
    key_ring(&devices).map_err(|error| Failure::unfinished("keys", describe(&error)))
}
