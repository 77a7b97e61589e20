//! `eds keygen`: a new device key.

use std::path::PathBuf;

use clap::Args;
use edgesentry_chain::{Device, Scheme};
use edgesentry_formats::{Seed, create_seed_file, describe};
use serde_json::json;

use crate::commands::{device_id, scheme};
use crate::envelope::terminal_safe;
use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::output::{Answer, Output};
use crate::random;
use crate::text::name;

/// Make a new key pair: a seed file for the device, a key-ring entry for the auditor
///
/// The seed file is readable by its owner only and is never overwritten. The seed itself is never shown.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds keygen --device lift-01                      writes lift-01.seed
  eds keygen --device lift-01 --out /etc/eds/seed")]
pub(crate) struct Keygen {
    /// The device, for the key-ring entry
    #[arg(long, value_name = "ID", value_parser = device_id)]
    device: Option<String>,
    /// The seed file to write [default: ID.seed, or device.seed]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Signature scheme of the device: record, or payload-hash for older devices
    #[arg(long, value_parser = scheme(), hide_possible_values = true, default_value = "record")]
    scheme: Scheme,
}

impl Keygen {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let path = self.out.clone().unwrap_or_else(|| default_path(self.device.as_deref()));
        if inputs::is_stdin(&path) {
            return Err(Failure::usage("usage", "--out: a seed is not written to stdout; pass a file"));
        }
        let mut seed = Seed::default();
        random::fill(seed.as_mut_slice())?;
        let key = Device::from_seed("", *seed, self.scheme).public_key();
        let key = key.map_err(|error| Failure::unfinished("key", describe(&error)))?;
        let entry = match &self.device {
            Some(device_id) => {
                Some(edgesentry_formats::write_key_ring(&inputs::single_key(device_id, key, self.scheme)?))
            }
            None => None,
        };
        create_seed_file(&path, &seed)?;

        let place = path.display().to_string();
        let shown_place = name(&place);
        let mut text =
            format!("seed file   {shown_place} (mode 0600; keep it on the device)\npublic key  {key}\n");
        match &entry {
            Some(entry) => text.push_str(&format!("\nkey ring:\n{}\n", terminal_safe(entry.trim_end()))),
            None => text.push_str("\nGive --device ID to see the key-ring entry.\n"),
        }
        let content = json!({
            "seed_file": place,
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
