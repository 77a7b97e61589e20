//! `eds rotate`: a new key of a device, stated in its own chain.

use std::path::PathBuf;

use clap::Args;
use edgesentry_chain::{Device, Scheme};
use edgesentry_formats::{Seed, create_seed_file, describe, read_seed_file, times};
use edgesentry_rs::agent::Outbox;
use serde_json::json;

use crate::commands::{device_id, scheme};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::random;
use crate::text::name;
use crate::threads;

/// Replace the key of a device, on the device: a record in its outbox that the old key signs
///
/// The new seed is on disk before the record is in the outbox. After a crash, run the same command again. The outbox
/// then signs with the new key only; send the record with eds push, sign with the new seed, and delete the old one.
///
/// The service takes the key if ingest.rotation is device, or if the operator has registered it from the next sequence on
/// (eds device rotate --valid-from). If the old key may be known to others, do not rotate it: revoke it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds rotate --outbox lift-01.outbox --device lift-01 --key lift-01.seed --new-key lift-01-2.seed")]
pub(crate) struct Rotate {
    /// The outbox of the device
    #[arg(long, value_name = "FILE")]
    outbox: PathBuf,
    /// The device
    #[arg(long, value_name = "ID", value_parser = device_id)]
    device: String,
    /// Its seed file
    #[arg(long, value_name = "SEEDFILE")]
    key: PathBuf,
    /// Signature scheme of its key: record, or payload-hash for older devices
    #[arg(long, value_parser = scheme(), hide_possible_values = true, default_value = "record")]
    scheme: Scheme,
    /// The new seed file; made if it does not exist
    #[arg(long, value_name = "SEEDFILE")]
    new_key: PathBuf,
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
        let device = Device::from_seed(self.device.as_str(), *read_seed_file(&self.key)?, self.scheme);
        if !self.new_key.exists() {
            let mut seed = Seed::default();
            random::fill(seed.as_mut_slice())?;
            create_seed_file(&self.new_key, &seed)?;
        }
        let new = Device::from_seed(self.device.as_str(), *read_seed_file(&self.new_key)?, self.new_scheme);
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
            "seed_file": self.new_key.display().to_string(),
        });
        output.answer(&Answer { ok: true, name: "rotation", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }
}
