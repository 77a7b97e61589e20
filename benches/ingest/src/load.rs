//! Signed records to send, created before the clock starts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edgesentry_chain::{Device, Scheme};
use edgesentry_rs::Submission;
use rayon::prelude::*;
use serde_json::json;

/// Returns the device with a number. All use the scheme payload-hash, the only one of edgesentry-audit.
pub fn device(number: usize) -> Device {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Device::from_seed(format!("device-{number:05}"), seed, Scheme::PayloadHash)
}

/// Returns the given number of records of each device.
pub fn chains(devices: usize, records: usize, payload_bytes: usize) -> Vec<Vec<Submission>> {
    let chain = |number| {
        let mut device = device(number);
        let sign = |at: usize| {
            let mut payload = vec![b'.'; payload_bytes];
            let text = format!("{number} {at}");
            let length = text.len().min(payload_bytes);
            payload[..length].copy_from_slice(&text.as_bytes()[..length]);
            let object_ref = format!("device-{number:05}/{at}.bin");
            let record = device.sign(1_700_000_000_000 + at as u64, &payload, object_ref);
            Submission { record: Arc::new(record.expect("a short chain")), payload: Bytes::from(payload) }
        };
        (1..=records).map(sign).collect()
    };
    (0..devices).into_par_iter().map(chain).collect()
}

/// Interleaves chains as a service receives them: a record of each device in turn.
pub fn interleaved(chains: Vec<Vec<Submission>>) -> Vec<Submission> {
    let length = chains.first().map_or(0, Vec::len);
    (0..length).flat_map(|at| chains.iter().map(move |chain| chain[at].clone())).collect()
}

/// One line of JSON.
pub fn report(what: &str, how: &str, records: usize, time: Duration) {
    let seconds = time.as_secs_f64();
    let per_second = (records as f64 / seconds) as u64;
    println!(
        "{}",
        json!({"what": what, "how": how, "records": records, "seconds": (seconds * 1e3).round() / 1e3,
               "records_per_second": per_second})
    );
}

/// Returns the peak memory of this process, in MiB.
pub fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}
