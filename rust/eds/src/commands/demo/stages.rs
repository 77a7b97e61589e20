//! All stages of the demo's records: device, outbox, ingest service, ledger, export, verification.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use edgesentry_chain::{Checks, Device, Head, Heads, KeyRing, Report, Scheme};
use edgesentry_formats::{Options, Progress, Source, describe};
use edgesentry_rs::agent::Outbox;
use edgesentry_rs::export::{Target, export};
use edgesentry_rs::ledger::Filter;
use edgesentry_rs::settings::Access;
use edgesentry_rs::{Error, IngestService, Settings};
use serde_json::{Value, json};

use super::folder::DemoFolder;
use crate::exit::Failure;
use crate::fleet::{Fleet, ROTATING, WATER, device, rotated, rotation};
use crate::stores::Opened;

/// Records that a device signs in one transaction of its outbox.
const SIGN_BATCH_RECORDS: usize = 1024;

/// The results of the stages.
pub(super) struct Stages {
    /// Signed into the outboxes.
    pub(super) signed: Stage,
    /// Ingested by the service.
    pub(super) ingested: Stage,
    /// Written to the export.
    pub(super) exported: Stage,
    /// Verified.
    pub(super) verified: Stage,
    /// The report on the export.
    pub(super) report: Report,
}

/// The number of records and the duration.
#[derive(Clone, Copy)]
pub(super) struct Stage {
    pub(super) records: u64,
    pub(super) time: Duration,
}

impl Stage {
    pub(super) fn per_second(self) -> u64 {
        (self.records as f64 / self.time.as_secs_f64()) as u64
    }

    fn content(self, name: &str) -> Value {
        json!({"stage": name, "records": self.records, "seconds": self.time.as_secs_f64()})
    }
}

impl Stages {
    pub(super) fn content(&self) -> Vec<Value> {
        vec![
            self.signed.content("sign"),
            self.ingested.content("ingest"),
            self.exported.content("export"),
            self.verified.content("verify"),
        ]
    }
}

/// Sends the fleet's telemetry through all stages, and leaves ledger, export, keys and heads in the directory.
pub(super) fn run(fleet: &Fleet, folder: &DemoFolder) -> Result<Stages, Failure> {
    let settings = Settings {
        ledger: format!("sqlite:{}", folder.ledger().display()).into(),
        payloads: None,
        ..Settings::default()
    };
    let opened = Opened::new(settings, Access::Create)?;
    let (agents, signed) = timed(|| sign(&opened, fleet, folder))?;
    opened.register(&fleet.keys)?;
    let (taken, ingested) = timed(|| ingest(&opened, agents))?;

    let (manifest, exported) = timed(|| export_to(&opened, &folder.export(), Filter::default()))?;
    let only_water = Filter { devices: vec![WATER.to_owned()], ..Filter::default() };
    export_to(&opened, &folder.water_export(), only_water)?;
    // The devices' own keys and heads: those of the ledger are under test.
    folder.write_trust(&fleet.keys, &fleet.heads)?;

    let (report, verified) = timed(|| verify(&folder.export(), &fleet.keys, &fleet.heads))?;
    let stage = |records, time| Stage { records, time };
    Ok(Stages {
        signed: stage(fleet.records.len() as u64, signed),
        ingested: stage(taken, ingested),
        exported: stage(manifest, exported),
        verified: stage(report.coverage.records, verified),
        report,
    })
}

fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, Duration), Failure> {
    let begin = Instant::now();
    Ok((work()?, begin.elapsed()))
}

type Items = Vec<(u64, Bytes, String)>;

/// Makes every device sign into an outbox of its own, concurrently.
fn sign(opened: &Opened, fleet: &Fleet, folder: &DemoFolder) -> Result<Vec<Outbox>, Failure> {
    let mut items: BTreeMap<&str, Items> = BTreeMap::new();
    for (record, payload) in fleet.records.iter().zip(&fleet.payloads) {
        let item = (record.timestamp_ms, Bytes::from(payload.clone()), record.object_ref.clone());
        items.entry(&record.device_id).or_default().push(item);
    }
    let change = rotation(fleet.records.len()) as usize;
    let tasks: Vec<_> = items
        .into_iter()
        .map(|(device_id, mut items)| {
            let outbox = folder.outbox(device_id);
            let mut shares = Vec::new();
            if device_id == ROTATING {
                let later = items.split_off((change - 1).min(items.len()));
                shares.push((rotated(device_id), later));
            }
            let scheme = if device_id == WATER { Scheme::PayloadHash } else { Scheme::Record };
            shares.insert(0, (device(device_id, scheme), items));
            opened.runtime.spawn(sign_one(outbox, shares))
        })
        .collect();
    let mut agents = Vec::with_capacity(tasks.len());
    for task in tasks {
        let agent = opened.runtime.block_on(task);
        agents.push(agent.map_err(|error| Failure::unfinished("demo", describe(&error)))??);
    }
    check_heads(opened, &agents, &fleet.heads)?;
    Ok(agents)
}

/// Fills the outbox of one device; a new key is a new device on the same outbox.
async fn sign_one(outbox: PathBuf, shares: Vec<(Device, Items)>) -> Result<Outbox, Error> {
    let mut last = None;
    for (device, items) in shares {
        let agent = Outbox::open(&outbox, device).await?;
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            agent.sign_many(items.by_ref().take(SIGN_BATCH_RECORDS)).await?;
        }
        last = Some(agent);
    }
    last.ok_or_else(|| Error::Outbox("the device has no key".to_owned()))
}

/// Checks the heads: keys and telemetry are the same in every run, and so are the chains.
fn check_heads(opened: &Opened, agents: &[Outbox], expected: &Heads) -> Result<(), Failure> {
    let mut signed: Vec<Head> = Vec::new();
    for agent in agents {
        signed.extend(opened.wait(agent.head())?);
    }
    if signed.iter().eq(expected.values()) {
        return Ok(());
    }
    Err(Failure::unfinished("demo", "the outboxes do not end at the heads of the fleet"))
}

/// Makes every device send its outbox to the service, concurrently.
fn ingest(opened: &Opened, agents: Vec<Outbox>) -> Result<u64, Failure> {
    let payloads = opened.payloads()?;
    let limits = opened.settings.ingest.clone();
    let service =
        opened.runtime.block_on(async { IngestService::start(Arc::clone(&opened.ledger), payloads, limits) });
    let flushes = agents.iter().map(|agent| agent.flush(&service));
    let flushed = opened.wait(futures::future::try_join_all(flushes))?;
    match flushed.iter().find_map(|flushed| flushed.rejection.as_ref()) {
        None => Ok(flushed.iter().map(|flushed| flushed.accepted).sum()),
        Some(rejection) => {
            let (sequence, code) = (rejection.sequence, &rejection.code);
            let message = format!("the service has rejected a record: {code} at sequence {sequence}");
            Err(Failure::unfinished("demo", message))
        }
    }
}

fn export_to(opened: &Opened, path: &Path, filter: Filter) -> Result<u64, Failure> {
    let target = Target::File(path.to_owned());
    Ok(opened.wait(export(&*opened.ledger, &filter, target, |_| true))?.records)
}

fn verify(export: &Path, keys: &KeyRing, heads: &Heads) -> Result<Report, Failure> {
    let checks = Checks { keys: Some(keys), heads: Some(heads), ..Checks::default() };
    let progress = Arc::new(Progress::default());
    let sources = vec![Source::Path(export.to_owned())];
    Ok(edgesentry_formats::verify(sources, &checks, &Options::default(), &progress)?)
}
