//! `eds keygen`: a new device key.

use std::path::PathBuf;

use clap::Args;
use edgesentry_chain::{Device, PublicKey, Scheme};
use edgesentry_formats::{Seed, create_seed_file, describe};
use edgesentry_rs::signer::generate;
use serde_json::json;

use crate::commands::{device_id, scheme};
use crate::envelope::terminal_safe;
use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::keys::TokenArgs;
use crate::output::{Answer, Output};
use crate::random;
use crate::text::name;

/// Make a new key pair: a seed file for the device, a key-ring entry for the auditor
///
/// The seed file is readable by its owner only and is never overwritten. The seed itself is never shown. With --pkcs11
/// the key is made in a token, which never gives the private key away.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds keygen --device lift-01                      writes lift-01.seed
  eds keygen --device lift-01 -o /etc/eds/seed
  eds keygen --device lift-01 --pkcs11 'pkcs11:token=site-7;object=lift-01' \\
      --module /usr/lib/softhsm/libsofthsm2.so --pin-file /etc/eds/pin")]
pub(crate) struct Keygen {
    /// The device, for the key-ring entry
    #[arg(long, value_name = "ID", value_parser = device_id)]
    device: Option<String>,
    /// The seed file to write [default: ID.seed, or device.seed]
    #[arg(short, long, alias = "out", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Make the key in this token, under the label `object`, instead of a seed file
    #[arg(long, value_name = "URI", conflicts_with = "output")]
    pkcs11: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
    /// Signature scheme of the device: record, or payload-hash for older devices
    #[arg(long, value_parser = scheme(), hide_possible_values = true, default_value = "record")]
    scheme: Scheme,
}

impl Keygen {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        if let Some(uri) = &self.pkcs11 {
            return self.in_token(uri, output);
        }
        let path = self.output.clone().unwrap_or_else(|| default_path(self.device.as_deref()));
        if inputs::is_stdin(&path) {
            return Err(Failure::usage("usage", "--output: a seed is not written to stdout; pass a file"));
        }
        let mut seed = Seed::default();
        random::fill(seed.as_mut_slice())?;
        let key = Device::from_seed("", *seed, self.scheme).public_key();
        let key = key.map_err(|error| Failure::unfinished("key", describe(&error)))?;
        // Before the file: an entry that cannot be written leaves none.
        let entry = self.entry(key)?;
        create_seed_file(&path, &seed)?;

        let place = path.display().to_string();
        let shown_place = name(&place);
        let text = format!("seed file   {shown_place} (mode 0600; keep it on the device)\n");
        self.answer(output, text, ("seed_file", place), key, entry)
    }

    /// Makes the key in a token.
    fn in_token(&self, uri: &str, output: &Output) -> Result<Exit, Failure> {
        let uri = self.token.uri(uri)?;
        let pin = self.token.pin(&uri)?;
        // The private key and the public key have the same random id.
        let mut id = [0; 8];
        random::fill(&mut id)?;
        let key = generate(&uri, pin, &id)?;
        let place = uri.to_string();
        let text = format!("token       {}\n", name(&place));
        self.answer(output, text, ("token", place), key, self.entry(key)?)
    }

    /// Returns the entry for a key ring, if the device is known.
    fn entry(&self, key: PublicKey) -> Result<Option<String>, Failure> {
        let Some(device_id) = &self.device else { return Ok(None) };
        let keys = inputs::single_key(device_id, key, self.scheme)?;
        Ok(Some(edgesentry_formats::write_key_ring(&keys)))
    }

    fn answer(
        &self,
        output: &Output,
        mut text: String,
        (kind, place): (&str, String),
        key: PublicKey,
        entry: Option<String>,
    ) -> Result<Exit, Failure> {
        text.push_str(&format!("public key  {key}\n"));
        match &entry {
            Some(entry) => text.push_str(&format!("\nkey ring:\n{}\n", terminal_safe(entry.trim_end()))),
            None => text.push_str("\nGive --device ID to see the key-ring entry.\n"),
        }
        let content = json!({
            kind: place,
            "public_key": key.to_string(),
            "scheme": self.scheme,
            "key_ring": entry.and_then(|entry| serde_json::from_str::<serde_json::Value>(&entry).ok()),
        });
        output.answer(&Answer { ok: true, name: "key", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }
}

/// Names the file after the device if its id makes a suitable file name.
fn default_path(device_id: Option<&str>) -> PathBuf {
    let decent = |id: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        id.len() <= 100 && id.chars().all(plain) && id.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    format!("{}.seed", device_id.filter(decent).unwrap_or("device")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_never_leaves_the_folder() {
        assert_eq!(default_path(Some("lift-01")), PathBuf::from("lift-01.seed"));
        assert_eq!(default_path(Some("../../etc/x")), PathBuf::from("device.seed"));
        assert_eq!(default_path(Some(".hidden")), PathBuf::from("device.seed"));
        assert_eq!(default_path(None), PathBuf::from("device.seed"));
    }
}
