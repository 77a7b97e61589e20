//! `eds verify-record`: verifies one record.

use std::path::PathBuf;

use clap::Args;
use edgesentry_chain::{
    AuditRecord, Checks, Claim, Claims, Finding, Hash, Head, Heads, Input, Level, PayloadError, Payloads,
    ProvidedBy, Report, Scheme, Segments,
};
use edgesentry_formats::Malformed;
use edgesentry_formats::describe;

use crate::commands::{scheme, verify_chain};
use crate::exit::{Exit, Failure};
use crate::inputs::{self, public_key};
use crate::output::Output;

/// Verify one record: its signature, its payload, and its link to the previous record
///
/// Without --previous, the command checks the link only of a record at sequence 1.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds verify-record record.json --public-key d75a98…511a --scheme record
  eds verify-record record.json --keys keys.json --payload 2.bin --previous before.json")]
pub(crate) struct VerifyRecord {
    /// A file with one record; - is stdin
    #[arg(value_name = "RECORD")]
    record: PathBuf,
    /// The device's public key
    #[arg(long, alias = "key", value_name = "HEX")]
    #[arg(required_unless_present = "keys", conflicts_with = "keys")]
    public_key: Option<String>,
    /// Key ring
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Signature scheme of --public-key, or of keys for which the key ring states none: payload-hash or record [default:
    /// record for --public-key, payload-hash for --keys]
    #[arg(long, value_parser = scheme(), hide_possible_values = true)]
    scheme: Option<Scheme>,
    /// The payload that the record commits to
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// A file with the previous record of its chain
    #[arg(long, value_name = "RECORD")]
    previous: Option<PathBuf>,
}

/// A single payload, for every object reference.
struct OnePayload(Hash);

impl Payloads for OnePayload {
    fn payload_hash(&self, _: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        Ok(Some(self.0))
    }
}

impl VerifyRecord {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let key = self.public_key.as_deref().map(public_key).transpose()?;
        let ring = self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?;
        let payload = self.payload.as_deref().map(|path| inputs::bytes(path, "payload_unreadable"));
        let payload = payload.transpose()?.map(|bytes| OnePayload(Hash::of(&bytes)));
        let payloads = payload.as_ref().map(|payload| payload as &dyn Payloads);

        let record = match inputs::single_record(&self.record)? {
            Ok(record) => record,
            Err(Malformed { expected, actual }) => {
                let checks = Checks { keys: ring.as_ref(), payloads, ..Checks::default() };
                let mut segments = Segments::default();
                segments.add(Finding::malformed(0, expected, actual));
                return self.conclude(output, checks.report(segments));
            }
        };
        let keys = match (key, ring) {
            (Some(key), _) => {
                inputs::single_key(&record.device_id, key, self.scheme.unwrap_or(Scheme::DEFAULT))?
            }
            (None, ring) => ring.unwrap_or_default(),
        };
        let before = self.before(&record)?;
        let claim = before.as_ref().filter(|_| self.previous.is_none());
        let checks = Checks {
            keys: Some(&keys),
            payloads,
            start_heads: before.as_ref().filter(|_| self.previous.is_some()),
            claims: Claims {
                start_heads: claim.map(|what| Claim { by: ProvidedBy::Record, what }),
                ..Claims::default()
            },
            ..Checks::default()
        };
        let segments = checks.verify(std::slice::from_ref(&record), 0);
        let segments =
            segments.map_err(|error| Failure::unfinished("payload_unreadable", describe(&error)))?;
        let mut report = checks.report(segments);
        // Heads apply to whole chains.
        report.coverage.not_checked.retain(|gap| gap.level() != Level::Heads);
        self.conclude(output, report)
    }

    /// Returns the head that the record must continue: that of --previous, or the one in the record.
    fn before(&self, record: &AuditRecord) -> Result<Option<Heads>, Failure> {
        let head = match &self.previous {
            Some(path) => match inputs::single_record(path)? {
                Ok(previous) if previous.device_id == record.device_id => {
                    Head { sequence: previous.sequence, hash: previous.hash() }
                }
                Ok(previous) => {
                    let (path, other, device_id) = (path.display(), previous.device_id, &record.device_id);
                    let message =
                        format!("{path}: is of device {other:?}, the record of device {device_id:?}");
                    return Err(Failure::usage("other_device", message));
                }
                Err(Malformed { expected, actual }) => {
                    let path = path.display();
                    let message = format!("{path}: not a record: expected {expected}, found {actual}");
                    return Err(Failure::usage("record_malformed", message));
                }
            },
            None if record.sequence > 1 => {
                Head { sequence: record.sequence - 1, hash: record.prev_record_hash }
            }
            None => return Ok(None),
        };
        Ok(Some(Heads::from([(record.device_id.as_str().into(), head)])))
    }

    fn conclude(&self, output: &Output, mut report: Report) -> Result<Exit, Failure> {
        let name = self.record.display().to_string().into();
        let format = "record".into();
        report.locate(vec![Input { name, format, entries: 1, bytes: None, modified: None, path: None }]);
        verify_chain::conclude(output, &report, None)
    }
}
