//! A small fleet with real telemetry: the data of `eds demo`, and of the tests.
//!
//! Keys are derived from the device ids, so that every run makes the same records.

use std::io::Read;

use edgesentry_chain::{AuditRecord, Device, Heads, KeyError, KeyRing, RingKey, Scheme, SignError};
use edgesentry_formats::times::parse_unix_ms;
use flate2::read::GzDecoder;

const WATER_FLOW: &[u8] = include_bytes!("../../../examples/data/water-flow.csv");
const SHUTTLE: &[u8] = include_bytes!("../../../examples/data/shuttle.csv.gz");

/// The device of the water pipe network; it signs under scheme `payload-hash`, as devices in the field do.
pub const WATER: &str = "water-branch-1";
/// The devices of the shuttle radiators; they sign under scheme `record`.
pub const SHUTTLES: [&str; 4] =
    ["shuttle-radiator-1", "shuttle-radiator-2", "shuttle-radiator-3", "shuttle-radiator-4"];
/// The device that changes its key halfway.
pub const ROTATING: &str = SHUTTLES[1];
/// The number of records for which the telemetry suffices.
pub const ALL_RECORDS: usize = 1_268 + 49_097;

/// The shuttle data have no times; rows are counted from here, one second each: 2026-01-01T00:00:00Z.
const SHUTTLE_START_MS: u64 = 1_767_225_600_000;

/// Why the fleet could not be created.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the demo records from the telemetry")]
pub enum FleetError {
    /// The telemetry built into the program cannot be read.
    Telemetry(#[from] csv::Error),
    /// A key was rejected.
    Key(#[from] KeyError),
    /// A record was not signed: a chain is full.
    Chain(#[from] SignError),
}

/// The records of five devices, interleaved as an ingest service would receive them.
pub struct Fleet {
    /// All records.
    pub records: Vec<AuditRecord>,
    /// The payload of each record.
    pub payloads: Vec<Vec<u8>>,
    /// The public keys.
    pub keys: KeyRing,
    /// The last link of each chain.
    pub heads: Heads,
}

impl Fleet {
    /// Returns a fleet of `size` records, at most [`ALL_RECORDS`]; up to a fifth of them are from [`WATER`].
    pub fn new(size: usize) -> Result<Fleet, FleetError> {
        let size = size.min(ALL_RECORDS);
        let water = water_rows()?;
        let water = &water[..water.len().min(size / 5)];
        let shuttle = shuttle_rows(size - water.len())?;
        let every = (shuttle.len() / water.len().max(1)).max(1);
        let change = rotation(size);

        let mut fleet = Fleet {
            records: Vec::with_capacity(size),
            payloads: Vec::with_capacity(size),
            keys: KeyRing::new(),
            heads: Heads::new(),
        };
        let mut pipe = device(WATER, Scheme::PayloadHash);
        let mut radiators = SHUTTLES.map(|id| device(id, Scheme::Record));
        let mut water = water.iter();
        for (row, (timestamp_ms, payload)) in shuttle.iter().enumerate() {
            let radiator = &mut radiators[row % SHUTTLES.len()];
            if radiator.device_id() == ROTATING && next_sequence(radiator) == change {
                *radiator = rotated(ROTATING).resume(radiator.head());
            }
            fleet.add(radiator, *timestamp_ms, payload)?;
            if row % every == every - 1
                && let Some((timestamp_ms, payload)) = water.next()
            {
                fleet.add(&mut pipe, *timestamp_ms, payload)?;
            }
        }
        for (timestamp_ms, payload) in water {
            fleet.add(&mut pipe, *timestamp_ms, payload)?;
        }
        fleet.register(&[pipe], 1)?;
        fleet.register(&SHUTTLES.map(|id| device(id, Scheme::Record)), 1)?;
        fleet.register(&[rotated(ROTATING)], change)?;
        Ok(fleet)
    }

    fn add(&mut self, device: &mut Device, timestamp_ms: u64, payload: &[u8]) -> Result<(), SignError> {
        let id = device.device_id().to_owned();
        let object_ref = format!("s3://demo/{id}/{}.csv", next_sequence(device));
        self.records.push(device.sign(timestamp_ms, payload, object_ref)?);
        self.payloads.push(payload.to_owned());
        self.heads.extend(device.head().map(|head| (id.into(), head)));
        Ok(())
    }

    fn register(&mut self, devices: &[Device], valid_from: u64) -> Result<(), KeyError> {
        for device in devices {
            let key = RingKey { key: device.public_key()?, scheme: device.scheme(), valid_from };
            self.keys.insert(device.device_id(), key)?;
        }
        Ok(())
    }

    /// Returns the records of one device with their payloads.
    pub fn of<'a>(&'a self, device_id: &'a str) -> impl Iterator<Item = (&'a AuditRecord, &'a [u8])> {
        let all = self.records.iter().zip(self.payloads.iter().map(Vec::as_slice));
        all.filter(move |(record, _)| record.device_id == device_id)
    }

    /// Returns the last sequence of a device.
    pub fn last(&self, device_id: &str) -> u64 {
        self.heads.get(device_id).map_or(0, |head| head.sequence)
    }
}

/// Returns a device of the fleet with its first key.
pub fn device(device_id: &str, scheme: Scheme) -> Device {
    Device::from_seed(device_id, blake3_seed(device_id), scheme)
}

/// Returns the same device with its second key.
pub fn rotated(device_id: &str) -> Device {
    Device::from_seed(device_id, blake3_seed(&format!("{device_id}, second key")), Scheme::Record)
}

/// Returns the sequence from which the second key of [`ROTATING`] is valid in a fleet of `size` records.
pub fn rotation(size: usize) -> u64 {
    (size / 10) as u64
}

fn blake3_seed(text: &str) -> [u8; 32] {
    edgesentry_chain::Hash::of(format!("eds demo: {text}").as_bytes()).0
}

fn next_sequence(device: &Device) -> u64 {
    device.head().map_or(1, |head| head.sequence + 1)
}

type Row = (u64, Vec<u8>);

/// Reads rows of the water data, each with its own time.
fn water_rows() -> Result<Vec<Row>, csv::Error> {
    let mut rows = Vec::new();
    for row in csv::Reader::from_reader(WATER_FLOW).into_byte_records() {
        let row = row?;
        let time = row
            .get(0)
            .and_then(|field| std::str::from_utf8(field).ok())
            .and_then(|text| parse_unix_ms(text).ok());
        let no_time = || std::io::Error::other("a row of water-flow.csv has no time");
        rows.push((time.ok_or_else(no_time)?, line(&row)));
    }
    Ok(rows)
}

/// Reads the first rows of the shuttle data.
fn shuttle_rows(count: usize) -> Result<Vec<Row>, csv::Error> {
    let mut text = Vec::new();
    GzDecoder::new(SHUTTLE).read_to_end(&mut text)?;
    let rows = csv::Reader::from_reader(text.as_slice()).into_byte_records();
    let times = (SHUTTLE_START_MS..).step_by(1_000);
    rows.take(count).zip(times).map(|(row, time)| Ok((time, line(&row?)))).collect()
}

fn line(row: &csv::ByteRecord) -> Vec<u8> {
    row.iter().collect::<Vec<_>>().join(&b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fleet_has_the_size_asked_for() {
        for size in [100, 1_000] {
            let fleet = Fleet::new(size).unwrap();
            assert_eq!((fleet.records.len(), fleet.payloads.len(), fleet.heads.len()), (size, size, 5));
        }
        assert_eq!(water_rows().unwrap().len() + shuttle_rows(usize::MAX).unwrap().len(), ALL_RECORDS);
    }
}
