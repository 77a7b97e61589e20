//! `eds device`: the device registry of a ledger.

mod list;

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use edgesentry_chain::{Head, Scheme};
use edgesentry_formats::Destinations;
use edgesentry_formats::describe;
use edgesentry_rs::ingest::verify::RegisteredKey;
use edgesentry_rs::ledger::{RegisteredDevice, Registration, RevocationReason, key_ring};
use edgesentry_rs::settings::Access;
use serde_json::json;

use crate::commands::{device_id, known_devices, scheme};
use crate::envelope::terminal_safe;
use crate::exit::{Exit, Failure};
use crate::inputs::public_key;
use crate::output::{Answer, Output};
use crate::outputs::save;
use crate::remote::RemoteArgs;
use crate::stores::{LedgerArgs, Opened};
use crate::text::{count, name};

/// Manage the devices of a ledger and their keys
///
/// With --url it manages those of a service: its token needs the scope read, and the scope admin for changes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds device register lift-01 \\
      --public-key d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a
  eds device rotate lift-01 \\
      --public-key 3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c
  eds device revoke lift-01 --reason compromised    its further records are rejected
  eds device list --ledger postgres://db/audit
  EDS_TOKEN=eds_... eds device list --url https://audit.example
  eds device keys -o keys.json                      the key ring that verify-chain --keys takes")]
pub(crate) struct Device {
    #[command(subcommand)]
    action: Action,
}

/// What to do with the registry.
#[derive(Subcommand, Debug)]
enum Action {
    /// Register a new device with its first key; creates the ledger if it does not exist
    Register {
        #[command(flatten)]
        key: KeyArgs,
        /// For a chain that began in another ledger: its last head there, after which this ledger continues
        #[arg(long, value_name = "SEQUENCE:HASH", value_parser = start_head)]
        start_head: Option<Head>,
        #[command(flatten)]
        ledger: LedgerArgs,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Replace the key of a device, from its next sequence on
    Rotate {
        #[command(flatten)]
        key: KeyArgs,
        #[command(flatten)]
        ledger: LedgerArgs,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Revoke the keys of a device: its records in the ledger stay valid, further ones are rejected
    Revoke {
        /// The device
        #[arg(value_name = "ID", value_parser = device_id)]
        device: String,
        /// Why: compromised, superseded, retired, lost or unspecified
        #[arg(long, value_name = "REASON", value_parser = reason(), hide_possible_values = true)]
        #[arg(default_value = "unspecified")]
        reason: RevocationReason,
        #[command(flatten)]
        ledger: LedgerArgs,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// List devices, heads and keys
    List {
        #[command(flatten)]
        ledger: LedgerArgs,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Write the key ring of the registry
    Keys {
        /// File to write [default: stdout]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        ledger: LedgerArgs,
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// A device and a key of it.
#[derive(Args, Debug)]
struct KeyArgs {
    /// The device
    #[arg(value_name = "ID", value_parser = device_id)]
    device: String,
    /// Public key of the device, 64 hex digits
    #[arg(long, alias = "key", value_name = "HEX")]
    public_key: String,
    /// Signature scheme of the device: record, or payload-hash for older devices
    #[arg(long, value_parser = scheme(), hide_possible_values = true, default_value = "record")]
    scheme: Scheme,
    /// The first sequence that it signs [default: the next of the chain]
    #[arg(long, value_name = "N")]
    valid_from: Option<u64>,
}

impl Device {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        match &self.action {
            Action::Register { key, start_head, ledger, remote } => {
                let registration = key.registration(*start_head)?;
                let opened = remote.open(ledger, Access::Create)?;
                let devices = opened.wait(opened.ledger.devices())?;
                refuse_other_key(&devices, &registration)?;
                register(&opened, &registration, &devices, output)
            }
            Action::Rotate { key, ledger, remote } => {
                let registration = key.registration(None)?;
                let opened = remote.open(ledger, Access::Existing)?;
                known_devices(&opened, std::slice::from_ref(&key.device))?;
                let devices = opened.wait(opened.ledger.devices())?;
                register(&opened, &registration, &devices, output)
            }
            Action::Revoke { device, reason, ledger, remote } => {
                let opened = remote.open(ledger, Access::Existing)?;
                let from = opened.wait(opened.ledger.revoke_for(device, *reason))?;
                let text = format!("{}: records are rejected from sequence {from} on\n", name(device));
                let content = json!({"device_id": device, "revoked_from": from, "reason": reason.name()});
                answer(output, "device", &content, text)
            }
            Action::List { ledger, remote } => {
                let opened = remote.open(ledger, Access::Read)?;
                let devices = opened.wait(opened.ledger.devices())?;
                let revocations = opened.wait(opened.ledger.revocations())?;
                let content = list::content(&devices, &revocations);
                answer(output, "devices", &content, list::table(&devices, &revocations))
            }
            Action::Keys { output: file, ledger, remote } => keys(ledger, remote, file.as_deref(), output),
        }
    }
}

impl KeyArgs {
    fn registration(&self, start: Option<Head>) -> Result<Registration, Failure> {
        Ok(Registration {
            device_id: self.device.clone(),
            key: public_key(&self.public_key)?,
            scheme: self.scheme,
            valid_from: self.valid_from,
            start,
        })
    }
}

/// Rejects another key: a typing error must not rotate the key of a registered device.
fn refuse_other_key(devices: &[RegisteredDevice], registration: &Registration) -> Result<(), Failure> {
    let Registration { device_id, key, scheme, .. } = registration;
    let Some(device) = devices.iter().find(|device| device.device_id == *device_id) else { return Ok(()) };
    if device.keys.iter().any(|known| (known.key.key, known.key.scheme) == (*key, *scheme)) {
        return Ok(());
    }
    let message = format!(
        "device {device_id:?}: it is registered with another key; use eds device rotate to change it"
    );
    Err(Failure::usage("registry", message))
}

/// Returns other devices with the key of a registration. It is allowed, for example on a test bench, and each of them can
/// sign in the name of the others.
fn other_devices<'a>(devices: &'a [RegisteredDevice], registration: &Registration) -> Vec<&'a str> {
    let has_key = |device: &&RegisteredDevice| {
        device.device_id != registration.device_id
            && device.keys.iter().any(|known| known.key.key == registration.key)
    };
    devices.iter().filter(has_key).map(|device| device.device_id.as_str()).collect()
}

/// Registers a key; `devices` are those from before.
fn register(
    opened: &Opened,
    registration: &Registration,
    devices: &[RegisteredDevice],
    output: &Output,
) -> Result<Exit, Failure> {
    opened.wait(opened.ledger.register(registration))?;
    let others = other_devices(devices, registration);
    if let Some(other) = others.first() {
        let more = match others.len() {
            1 => String::new(),
            number => format!(" and {}", count(number as u64 - 1, "other device")),
        };
        output.note(&format!(
            "warning: the key is also registered for device {}{more}; each of them can sign in the name of the others: \
             register a key of its own for each device",
            name(other)
        ));
    }
    let device_id = &registration.device_id;
    let known = opened.wait(opened.ledger.devices())?;
    let keys = known.iter().find(|device| device.device_id == *device_id);
    let keys = keys.map(|device| &*device.keys).unwrap_or_default();
    let mine = |key: &&RegisteredKey| key.key.key == registration.key;
    let from = keys.iter().rev().find(mine).map(|key| key.key.valid_from);
    let place = opened.ledger.place();
    let text = format!(
        "{}: key {} signs under scheme {} from sequence {} in {}\n",
        name(device_id),
        registration.key,
        registration.scheme,
        from.unwrap_or_default(),
        name(place)
    );
    let content = json!({
        "device_id": device_id,
        "key": registration.key.to_string(),
        "scheme": registration.scheme,
        "valid_from": from,
        "also_key_of": others,
    });
    answer(output, "device", &content, text)
}

fn keys(
    ledger: &LedgerArgs,
    remote: &RemoteArgs,
    file: Option<&Path>,
    output: &Output,
) -> Result<Exit, Failure> {
    let opened = remote.open(ledger, Access::Read)?;
    let mut destinations = Destinations::default();
    remote.read(ledger, &opened, &mut destinations);
    let destination = match file {
        Some(path) => Some((path, destinations.place("--output", path)?)),
        None => None,
    };
    let devices = opened.wait(opened.ledger.devices())?;
    let ring = key_ring(&devices).map_err(|error| Failure::unfinished("keys", describe(&error)))?;
    let ring = edgesentry_formats::write_key_ring(&ring);
    let text = match destination.filter(|(_, destination)| !destination.is_stdout()) {
        None => format!("{}\n", terminal_safe(ring.trim_end())),
        Some((path, destination)) => {
            save(&destination, path, &ring)?;
            let devices = count(devices.len() as u64, "device");
            output.note(&format!("{}: keys of {devices} written", path.display()));
            String::new()
        }
    };
    let content: serde_json::Value =
        serde_json::from_str(&ring).map_err(|error| Failure::unfinished("json", error.to_string()))?;
    answer(output, "keys", &content, text)
}

fn answer(output: &Output, name: &str, content: &serde_json::Value, text: String) -> Result<Exit, Failure> {
    output.answer(&Answer { ok: true, name, content, text, failure: None })?;
    Ok(Exit::Holds)
}

/// Parses the reason of a revocation.
fn reason() -> impl TypedValueParser<Value = RevocationReason> {
    let names = RevocationReason::ALL.map(RevocationReason::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<RevocationReason>())
}

/// Parses `1000:9f86…`: a sequence and a record hash.
fn start_head(text: &str) -> Result<Head, String> {
    let wrong = || "expected SEQUENCE:HASH, such as 1000: and 64 hex digits".to_owned();
    let (sequence, hash) = text.split_once(':').ok_or_else(wrong)?;
    let sequence = sequence.parse().map_err(|_| wrong())?;
    let hash = hash.parse().map_err(|_| wrong())?;
    if sequence == 0 {
        Err("a chain has no link of sequence 0".to_owned())
    } else {
        Ok(Head { sequence, hash })
    }
}
