//! `eds rotate`: a new key of a device, stated in its own chain.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use edgesentry_chain::{Device, Scheme, Signer};
use edgesentry_formats::{Seed, create_seed_file, describe, times};
use edgesentry_rs::agent::Outbox;
use edgesentry_rs::signer::Pkcs11Uri;
use serde_json::json;

use crate::commands::{device_id, scheme};
use crate::exit::{Exit, Failure};
use crate::keys::{KeyArgs, program_signer};
use crate::output::{Answer, Output};
use crate::random;
use crate::text::name;
use crate::threads;

/// Rotate the key of a device: write a record that names the new key, signed by the old key, into its outbox
///
/// A new seed is on disk before the record is in the outbox. After a crash, run the same command again. The outbox
/// then signs with the new key only; send the record with eds push, sign with the new key, and delete the old one.
///
/// The options of tokens apply to both keys.
///
/// The service takes the key if ingest.rotation is device, or if the operator has registered it from the next sequence on
/// (eds device rotate --valid-from). If the old key may be compromised, revoke it instead.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds rotate --outbox lift-01.outbox --device lift-01 --key lift-01.seed --new-key lift-01-2.seed
  eds rotate --outbox lift-01.outbox --device lift-01 --key lift-01.seed \\
      --new-key 'pkcs11:token=site-7;object=lift-01' \\
      --module /usr/lib/softhsm/libsofthsm2.so --pin-file pin")]
pub(crate) struct Rotate {
    /// The outbox of the device
    #[arg(long, value_name = "FILE")]
    outbox: PathBuf,
    /// The device
    #[arg(long, value_name = "ID", value_parser = device_id)]
    device: String,
    #[command(flatten)]
    key: KeyArgs,
    /// Signature scheme of its key: record, or payload-hash for older devices
    #[arg(long, value_parser = scheme(), hide_possible_values = true, default_value = "record")]
    scheme: Scheme,
    /// The new key: a seed file, made if it does not exist, or the PKCS#11 URI of a key in a token
    #[arg(long, value_name = "KEY", required_unless_present = "new_signer")]
    new_key: Option<PathBuf>,
    /// Program that has the new key, instead of --new-key
    #[arg(long, value_name = "PROGRAM", conflicts_with = "new_key")]
    new_signer: Option<PathBuf>,
    /// Signature scheme of the new key; never a weaker one
    #[arg(long, value_parser = scheme(), hide_possible_values = true, default_value = "record")]
    new_scheme: Scheme,
}

impl Rotate {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let Some(now) = times::clock_ms() else {
            return Err(Failure::usage("usage", "the system clock is before 1970; set it"));
        };
        if !self.outbox.exists() {
            // A new one would begin another chain.
            let message = format!("{}: there is no outbox", self.outbox.display());
            return Err(Failure::usage("outbox_unreadable", message));
        }
        let device = Device::from_signer(self.device.as_str(), self.key.open()?, self.scheme);
        let new = Device::from_signer(self.device.as_str(), self.successor()?, self.new_scheme);
        let key = new.public_key().map_err(|error| Failure::unfinished("key", describe(&error)))?.to_string();
        let sequence = threads::runtime()?.block_on(async {
            let outbox = Outbox::open(&self.outbox, device).await?;
            let sequence = match outbox.succeeded().await? {
                // An earlier run has made it.
                Some((sequence, successor)) if successor == key => Ok(sequence),
                _ => outbox.succeed(now, new).await.map(|record| record.sequence),
            };
            outbox.close().await;
            sequence
        })?;
        let valid_from = sequence.saturating_add(1);
        let text = format!(
            "{}: sequence {sequence} in the outbox states key {key}, which signs under scheme {} from sequence {valid_from} on\n",
            name(&self.device),
            self.new_scheme
        );
        let content = json!({
            "device_id": self.device,
            "sequence": sequence,
            "key": key,
            "scheme": self.new_scheme,
            "valid_from": valid_from,
            "seed_file": self.new_seed_file().map(|path| path.display().to_string()),
        });
        output.answer(&Answer { ok: true, name: "rotation", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }

    /// Returns the file of the new seed, if the new key is in a file.
    fn new_seed_file(&self) -> Option<&Path> {
        let is_uri = |path: &Path| path.to_str().is_some_and(Pkcs11Uri::is_uri);
        self.new_key.as_deref().filter(|path| !is_uri(path))
    }

    /// Opens the new key. A seed file that does not exist is made.
    fn successor(&self) -> Result<Arc<dyn Signer>, Failure> {
        if let Some(path) = self.new_seed_file().filter(|path| !path.exists()) {
            let mut seed = Seed::default();
            random::fill(seed.as_mut_slice())?;
            create_seed_file(path, &seed)?;
        }
        match (&self.new_key, &self.new_signer) {
            (Some(key), _) => self.key.token().key(key),
            (None, Some(program)) => program_signer(program),
            (None, None) => {
                Err(Failure::usage("usage", "name the new key of the device: --new-key or --new-signer"))
            }
        }
    }
}
