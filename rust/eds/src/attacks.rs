//! Attacks on a service over the wire, each with the expected response.
//!
//! They are not made of [`crate::tamper`] nor of the catalogue of `edgesentry.testing`: independent oracles.
//!
//! An attacker has a device whose chain the service has up to its head, and knows the format of requests.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Device, Hash, Scheme};
use edgesentry_rs::Submission;
use edgesentry_rs::wire::write_submission;

/// A device under attack.
pub struct Victim {
    /// The device, at its head.
    pub device: Device,
    /// The last record that the service accepted, with its payload.
    pub last: Submission,
    /// Another registered device.
    pub other: String,
}

/// An attack.
#[derive(Debug)]
pub struct Attack {
    /// The name on the command line.
    pub name: &'static str,
    /// The action of the attacker.
    pub what: &'static str,
    /// The expected status.
    pub status: u16,
    /// The expected outcome or problem code.
    pub code: &'static str,
    /// Returns the body of the request.
    pub body: fn(&Victim) -> Vec<u8>,
}

impl Attack {
    /// Returns true if the service counts it as a rejection with this reason; a body that is not a record does not
    /// count.
    pub fn is_rejection(&self) -> bool {
        edgesentry_rs::RejectionCode::by_name(self.code).is_some()
    }

    /// Returns the attack with a name.
    pub fn by_name(name: &str) -> Option<&'static Attack> {
        ATTACKS.iter().find(|attack| attack.name == name)
    }
}

/// All attacks.
pub const ATTACKS: [Attack; 18] = [
    attack("bad-signature", "one bit of the signature flipped", 422, "signature_invalid", |victim| {
        edited(victim, |record| record.signature[20] ^= 1)
    }),
    attack("no-signature", "a signature of zeros", 422, "signature_invalid", |victim| {
        edited(victim, |record| record.signature = [0; 64])
    }),
    attack("wrong-key", "signed with a key of the attacker's own", 422, "signature_invalid", |victim| {
        let forger = Device::from_seed(victim.device.device_id(), [0xa5; 32], Scheme::Record);
        edited(victim, |record| resign(&forger, record))
    }),
    attack("time-edited", "the time changed after signing", 422, "signature_invalid", |victim| {
        edited(victim, |record| record.timestamp_ms += 3_600_000)
    }),
    attack("re-sequenced", "an old record under the next number", 422, "signature_invalid", |victim| {
        let mut record = (*victim.last.record).clone();
        record.sequence += 1;
        body(record, &victim.last.payload)
    }),
    attack("wrong-device", "a record under the name of another device", 422, "signature_invalid", |victim| {
        edited(victim, |record| record.device_id.clone_from(&victim.other))
    }),
    attack(
        "payload-swapped",
        "another payload under the same record",
        422,
        "payload_hash_mismatch",
        |victim| body(next(victim), b"what did not happen"),
    ),
    attack(
        "payload-forged",
        "another payload, and its hash in the record",
        422,
        "signature_invalid",
        |victim| {
            let mut record = next(victim);
            record.payload_hash = Hash::of(b"what did not happen");
            body(record, b"what did not happen")
        },
    ),
    attack("unknown-device", "a device that is not registered", 422, "unknown_device", |victim| {
        let id = format!("{}-stranger", victim.device.device_id());
        let stranger = Device::from_seed(id.as_str(), [0x5a; 32], Scheme::Record);
        signed(&stranger, victim, |record| record.device_id.clone_from(&id))
    }),
    attack("sequence-zero", "a record at sequence 0", 422, "out_of_range", |victim| {
        resigned(victim, |record| record.sequence = 0)
    }),
    attack("time-overflow", "a time that no ledger can hold", 422, "out_of_range", |victim| {
        resigned(victim, |record| record.timestamp_ms = u64::MAX)
    }),
    attack("replayed", "the last record once more", 200, "duplicate", |victim| {
        body((*victim.last.record).clone(), &victim.last.payload)
    }),
    attack("forked", "a second record at the last sequence, signed by the device", 409, "fork", |victim| {
        let mut record = (*victim.last.record).clone();
        record.timestamp_ms += 1;
        resign(&victim.device, &mut record);
        body(record, &victim.last.payload)
    }),
    attack("skipped", "records left out, signed by the device", 409, "sequence_gap", |victim| {
        resigned(victim, |record| record.sequence += 3)
    }),
    attack(
        "re-linked",
        "a link to a record that never was, signed by the device",
        409,
        "prev_hash_mismatch",
        |victim| resigned(victim, |record| record.prev_record_hash = Hash::of(b"never")),
    ),
    attack("truncated-body", "half a request", 400, "malformed", |victim| {
        let mut body = body(next(victim), NEXT);
        body.truncate(body.len() / 2);
        body
    }),
    attack("extra-field", "a field that records do not have", 400, "malformed", |victim| {
        let body = body(next(victim), NEXT);
        let text = String::from_utf8_lossy(&body).replace("\"sequence\":", "\"admin\":true,\"sequence\":");
        text.into_bytes()
    }),
    attack("no-json", "bytes that are not JSON", 400, "malformed", |_| b"\x00\xff\xfeMZ\x90".to_vec()),
];

/// The payload of the next record.
const NEXT: &[u8] = b"what happened next";

const fn attack(
    name: &'static str,
    what: &'static str,
    status: u16,
    code: &'static str,
    body: fn(&Victim) -> Vec<u8>,
) -> Attack {
    Attack { name, what, status, code, body }
}

/// Returns the record that the device would send next.
fn next(victim: &Victim) -> AuditRecord {
    let sequence = victim.last.record.sequence + 1;
    let mut record = AuditRecord {
        device_id: victim.device.device_id().to_owned(),
        sequence,
        timestamp_ms: victim.last.record.timestamp_ms + 1,
        payload_hash: Hash::of(NEXT),
        signature: [0; 64],
        prev_record_hash: victim.last.record.hash(),
        object_ref: format!("{}/{sequence}-next.bin", victim.device.device_id()),
    };
    resign(&victim.device, &mut record);
    record
}

/// Returns the next record, changed after it was signed.
fn edited(victim: &Victim, change: impl FnOnce(&mut AuditRecord)) -> Vec<u8> {
    let mut record = next(victim);
    change(&mut record);
    body(record, NEXT)
}

/// Returns the next record, changed before it was signed: the attacker has the device's key.
fn resigned(victim: &Victim, change: impl FnOnce(&mut AuditRecord)) -> Vec<u8> {
    signed(&victim.device, victim, change)
}

/// Signs a record as it is. The devices of attacks have seeds, with which signing does not fail.
fn resign(by: &Device, record: &mut AuditRecord) {
    let signed = by.sign_record(record);
    debug_assert!(signed.is_ok());
}

fn signed(by: &Device, victim: &Victim, change: impl FnOnce(&mut AuditRecord)) -> Vec<u8> {
    let mut record = next(victim);
    change(&mut record);
    resign(by, &mut record);
    body(record, NEXT)
}

fn body(record: AuditRecord, payload: &[u8]) -> Vec<u8> {
    let submission = Submission { record: Arc::new(record), payload: Bytes::copy_from_slice(payload) };
    let mut body = Vec::new();
    write_submission(&submission, &mut body);
    body
}
