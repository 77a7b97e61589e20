//! `eds sign-record`: the next record of a device's chain.

use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_chain::{Device, Head, Scheme};
use edgesentry_formats::times;
use edgesentry_rs::agent::sign;
use edgesentry_rs::telemetry::{TelemetrySettings, subscriber};

use crate::commands::{device_id, scheme};
use crate::envelope::terminal_safe;
use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::keys::KeyArgs;
use crate::output::{Answer, Output};
use crate::record_json::RecordJson;
use crate::remarks::log_filter;

/// Sign a payload as the next record of a chain, and print the record as one line of NDJSON
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds sign-record --key lift-01.seed --device lift-01 --payload 1.bin \\
      --object-ref s3://bucket/lift-01/1.bin > chain.ndjson
  eds sign-record --key lift-01.seed --device lift-01 --payload 2.bin \\
      --object-ref s3://bucket/lift-01/2.bin --after chain.ndjson >> chain.ndjson
  eds sign-record --key 'pkcs11:token=site-7;object=lift-01' \\
      --module /usr/lib/softhsm/libsofthsm2.so --pin-file pin \\
      --device lift-01 --payload 1.bin --object-ref s3://bucket/lift-01/1.bin")]
pub(crate) struct SignRecord {
    #[command(flatten)]
    key: KeyArgs,
    /// The device
    #[arg(long, value_name = "ID", value_parser = device_id)]
    device: String,
    /// The file that the record commits to
    #[arg(long, value_name = "FILE")]
    payload: PathBuf,
    /// Name of the payload, such as its place in a bucket
    #[arg(long, value_name = "REF")]
    object_ref: String,
    /// Time of the observation, Unix milliseconds [default: now]
    #[arg(long, value_name = "N")]
    timestamp_ms: Option<u64>,
    /// The chain so far: its records (the last one of the device is used), or a heads snapshot [default:
    /// none, sequence 1]
    #[arg(long, value_name = "FILE")]
    after: Option<PathBuf>,
    /// Signature scheme: record, or payload-hash for older devices
    #[arg(long, value_parser = scheme(), hide_possible_values = true, default_value = "record")]
    scheme: Scheme,
}

impl SignRecord {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let head = self.after.as_deref().map(|path| head(path, &self.device)).transpose()?;
        let payload = inputs::bytes(&self.payload, "payload_unreadable")?;
        let timestamp_ms = match self.timestamp_ms {
            Some(timestamp_ms) => {
                if let Some((problem, milliseconds)) = times::other_unit(timestamp_ms) {
                    output.note(&format!(
                        "warning: --timestamp-ms {timestamp_ms} {problem}, pass milliseconds: --timestamp-ms {milliseconds}"
                    ));
                }
                timestamp_ms
            }
            None => times::clock_ms().ok_or_else(|| {
                Failure::unfinished("clock", "the system clock is before 1970; give --timestamp-ms")
            })?,
        };
        let mut device =
            Device::from_signer(self.device.as_str(), self.key.open()?, self.scheme).resume(head);
        // For RUST_LOG only: no settings are read here.
        subscriber::init(&TelemetrySettings::default(), log_filter("off"))?;
        let record = sign(&mut device, timestamp_ms, &payload, self.object_ref.as_str())?;

        let content = RecordJson::from(&record);
        let line = serde_json::to_string(&content);
        let line = line.map_err(|error| Failure::unfinished("json", error.to_string()))?;
        let text = terminal_safe(&line) + "\n";
        output.answer(&Answer { ok: true, name: "record", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }
}

/// Returns the head of the device's chain, from a heads snapshot or from its records.
fn head(path: &Path, device_id: &str) -> Result<Head, Failure> {
    let head = if is_snapshot(&inputs::bytes(path, "after_unreadable")?) {
        inputs::heads(path)?.get(device_id).copied()
    } else {
        let last = inputs::last_record(path, device_id)?;
        last.map(|record| Head { sequence: record.sequence, hash: record.hash() })
    };
    head.ok_or_else(|| {
        let path = path.display();
        let message = format!("{path}: no record of device {device_id:?}; omit --after to begin its chain");
        Failure::usage("device_not_found", message)
    })
}

fn is_snapshot(json: &[u8]) -> bool {
    let value = serde_json::from_slice::<serde_json::Value>(json);
    value.is_ok_and(|value| value.get("heads").is_some())
}
