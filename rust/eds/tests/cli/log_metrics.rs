//! mtail counts the log lines of the command, and the counts equal its results.

use std::process::Command;

use edgesentry_chain::{AuditRecord, Device, Hash, KeyRing, RingKey, Scheme};
use edgesentry_rs::RejectionCode;

use crate::Folder;

/// At `info` duplicates are not logged.
const INFO: &str = "edgesentry_rs=info";
const DEBUG: &str = "edgesentry_rs=info,edgesentry_rs::ingest::verify=debug";

/// Records of seven devices, each named after its fault.
struct Records {
    good: Vec<AuditRecord>,
    bad: Vec<AuditRecord>,
    keys: KeyRing,
}

impl Records {
    fn new() -> Records {
        let mut records = Records { good: Vec::new(), bad: Vec::new(), keys: KeyRing::new() };
        let mut good = records.device("good");
        records.good.extend([sign(&mut good), sign(&mut good)]);

        let mut forged = records.device("signature_invalid");
        let mut record = sign(&mut forged);
        record.signature[0] ^= 1;
        records.bad.push(record);

        let mut broken = records.device("prev_hash_mismatch");
        records.good.push(sign(&mut broken));
        let mut record = sign(&mut broken);
        record.prev_record_hash = Hash::of(b"another record");
        broken.sign_record(&mut record).unwrap();
        records.bad.push(record);

        let mut forking = records.device("fork");
        let mut record = sign(&mut forking);
        records.good.push(record.clone());
        record.timestamp_ms += 1;
        forking.sign_record(&mut record).unwrap();
        records.bad.push(record);

        let mut other = records.device("payload_hash_mismatch");
        let mut record = sign(&mut other);
        record.payload_hash = Hash::of(b"another payload");
        other.sign_record(&mut record).unwrap();
        records.bad.push(record);

        // The name of a device must not look like an event.
        let name = r#"unknown","message":"record accepted","target":"edgesentry_rs::ingest::storage"#;
        let mut unknown = Device::from_seed(name, [9; 32], Scheme::Record);
        records.bad.push(sign(&mut unknown));
        records
    }

    fn device(&mut self, device_id: &str) -> Device {
        let device = Device::from_seed(device_id, [1; 32], Scheme::Record);
        let key = RingKey { key: device.public_key().unwrap(), scheme: Scheme::Record, valid_from: 1 };
        self.keys.insert(device_id, key).unwrap();
        device
    }
}

fn sign(device: &mut Device) -> AuditRecord {
    let sequence = device.head().map_or(1, |head| head.sequence + 1);
    let object_ref = format!("{}{sequence}.bin", device.public_key().unwrap());
    device.sign(sequence, b"door", object_ref).unwrap()
}

/// Ingests a file; the log lines are appended to `service.log`.
fn ingest(folder: &Folder, records: &[AuditRecord], filter: &str) {
    folder.write_records("records.ndjson", records);
    for record in records {
        folder.write(&format!("payloads/{}", record.object_ref), b"door");
    }
    let mut command = folder.command();
    command.args(["ingest", "records.ndjson", "--payloads", "payloads", "--register", "keys.json"]);
    let output = command.env("RUST_LOG", filter).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    let mut log = std::fs::read(folder.path("service.log")).unwrap_or_default();
    log.extend(output.stderr);
    folder.write("service.log", log);
}

/// Returns the counts of mtail for `service.log`.
pub(crate) fn counted(folder: &Folder) -> String {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/logs/edgesentry.mtail");
    let mut mtail = Command::new("mtail");
    mtail.args(["--one_shot", "--one_shot_format", "prometheus", "--emit_prog_label=false"]);
    // It listens although it only counts.
    mtail.args(["--address", "127.0.0.1", "--port", "0"]);
    mtail.args(["--progs", program, "--logs"]).arg(folder.path("service.log"));
    let output = mtail.output().expect("mtail is missing: scripts/servers/mtail install");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn has(counted: &str, series: &str, value: u64) {
    let line = format!("edgesentry_{series} {value}");
    assert!(counted.lines().any(|counted| counted == line), "no {line:?} in\n{counted}");
}

fn prepared() -> (Folder, Records) {
    let (folder, records) = (Folder::new(), Records::new());
    folder.write("keys.json", edgesentry_formats::write_key_ring(&records.keys));
    std::fs::create_dir(folder.path("payloads")).unwrap();
    (folder, records)
}

#[test]
fn decisions_are_counted_from_log_lines() {
    let (folder, records) = prepared();
    ingest(&folder, &records.good, DEBUG);
    // All labels exist before anything is rejected.
    let counts = counted(&folder);
    for code in RejectionCode::ALL {
        has(&counts, &format!("ingest_rejected_total{{reason=\"{}\"}}", code.name()), 0);
    }
    ingest(&folder, &records.good, DEBUG);
    ingest(&folder, &records.bad, DEBUG);
    let counts = counted(&folder);
    has(&counts, "ingest_accepted_total", records.good.len() as u64);
    for reason in
        ["signature_invalid", "prev_hash_mismatch", "fork", "payload_hash_mismatch", "unknown_device"]
    {
        has(&counts, &format!("ingest_rejected_total{{reason=\"{reason}\"}}"), 1);
    }
    has(&counts, "signature_fail_total", 1);
    has(&counts, "chain_break_total", 2);
    // The service itself counts the duplicates alone; the log reports the fork as a duplicate as well.
    has(&counts, "ingest_duplicate_total", records.good.len() as u64 + 1);
}

#[test]
fn at_info_it_misses_nothing_but_duplicates() {
    let (folder, records) = prepared();
    ingest(&folder, &records.good, INFO);
    ingest(&folder, &records.good, INFO);
    ingest(&folder, &records.bad, INFO);
    let counts = counted(&folder);
    has(&counts, "ingest_accepted_total", records.good.len() as u64);
    has(&counts, "signature_fail_total", 1);
    has(&counts, "chain_break_total", 2);
    has(&counts, "ingest_duplicate_total", 0);
}
