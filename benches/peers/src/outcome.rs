//! The report of a run.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

/// One run, printed as one line of JSON.
#[derive(Serialize)]
pub struct Outcome {
    peer: &'static str,
    records: usize,
    /// From opening the file to the verdict.
    seconds: f64,
    /// The part spent on signatures; absent if none is checked.
    seconds_signatures: Option<f64>,
    peak_rss_bytes: u64,
    ok: bool,
}

impl Outcome {
    /// Closes a run: reads the peak memory of this process now.
    pub fn new(
        peer: &'static str,
        records: usize,
        total: Duration,
        signatures: Option<Duration>,
        ok: bool,
    ) -> Result<Self> {
        Ok(Self {
            peer,
            records,
            seconds: total.as_secs_f64(),
            seconds_signatures: signatures.map(|time| time.as_secs_f64()),
            peak_rss_bytes: peak_rss_bytes()?,
            ok: ok && records > 0,
        })
    }

    /// Prints the line and returns the verdict.
    pub fn print(&self) -> Result<bool> {
        println!("{}", serde_json::to_string(self)?);
        Ok(self.ok)
    }
}

/// The largest resident size so far: VmHWM of /proc/self/status, which is in KiB.
fn peak_rss_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    Ok(kib.context("/proc/self/status has no VmHWM line")? * 1024)
}
