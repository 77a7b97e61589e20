//! Devices of a drill, their acknowledged records, and whether a ledger still has these.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use edgesentry_chain::count;
use edgesentry_chain::{Device, Hash, Head, Heads, KeyRing, Scheme};
use edgesentry_formats::times::now_ms;
use edgesentry_formats::{Options, Progress};
use edgesentry_rs::agent;
use edgesentry_rs::ledger::Registration;
use edgesentry_rs::verify::{Registered, Verification};
use edgesentry_rs::{Filter, IngestService, Ledger, Outcome, PayloadStore, Submission};
use futures::TryStreamExt;
use rayon::prelude::*;
use tokio::task::JoinSet;

use crate::check::Check;
use crate::error::Error;

/// Records of a device that are sent in one call while a ledger is filled.
const FILL_BATCH_RECORDS: usize = 100;
/// The pause before a device sends a record again that was not accepted.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);

/// An acknowledged record.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    hash: Hash,
    at_ms: u64,
}

/// The devices of a drill, and the acknowledged records of each, by sequence.
pub(super) struct Fleet {
    devices: Vec<Device>,
    acknowledged: Vec<Vec<Acknowledged>>,
    payload: fn(&str, u64) -> String,
}

/// The acknowledged records that a ledger has.
pub(super) struct Kept {
    /// Acknowledged records.
    pub(super) acknowledged: u64,
    /// Acknowledged records that the ledger does not have.
    pub(super) lost: u64,
    /// Unix milliseconds of the acknowledgement of the first lost record.
    pub(super) lost_since_ms: Option<u64>,
}

impl Fleet {
    /// Returns `count` devices whose names begin with `prefix`.
    pub(super) fn new(prefix: &str, count: usize) -> Fleet {
        let device = |number| {
            let id = format!("{prefix}-{number:03}");
            let seed = Hash::of(format!("edgesentry drill: {id}").as_bytes()).0;
            Device::from_seed(id, seed, Scheme::Record)
        };
        let payload = |id: &str, sequence: u64| format!("{id} {sequence}");
        Fleet { devices: (0..count).map(device).collect(), acknowledged: vec![Vec::new(); count], payload }
    }

    /// Registers all devices.
    pub(super) async fn register(&self, ledger: &dyn Ledger) -> Result<(), Error> {
        for device in &self.devices {
            let key = device.public_key().map_err(no_key)?;
            let (device_id, scheme) = (device.device_id().to_owned(), device.scheme());
            let registration = Registration { device_id, key, scheme, valid_from: None, start: None };
            ledger.register(&registration).await?;
        }
        Ok(())
    }

    /// Returns the keys of all devices, as their owner knows them.
    pub(super) fn keys(&self) -> Result<KeyRing, Error> {
        let mut ring = KeyRing::new();
        for device in &self.devices {
            let key = device.public_key().map_err(no_key)?;
            let key = edgesentry_chain::RingKey { key, scheme: device.scheme(), valid_from: 1 };
            ring.insert(device.device_id(), key).map_err(no_key)?;
        }
        Ok(ring)
    }

    /// Returns the number of acknowledged records.
    pub(super) fn count(&self) -> u64 {
        self.acknowledged.iter().map(|records| records.len() as u64).sum()
    }

    /// Returns the last acknowledged link of each device: the heads that the ledger must have.
    pub(super) fn heads(&self) -> Heads {
        let head = |(device, records): (&Device, &Vec<Acknowledged>)| {
            let hash = records.last()?.hash;
            Some((device.device_id().into(), Head { sequence: records.len() as u64, hash }))
        };
        self.devices.iter().zip(&self.acknowledged).filter_map(head).collect()
    }

    /// Returns object references of the first records, one record of each device in turn.
    pub(super) fn first(&self, count: usize) -> Vec<(String, u64)> {
        let sequences = 1..=self.acknowledged.iter().map(Vec::len).max().unwrap_or(0) as u64;
        let all = sequences.flat_map(|sequence| {
            self.devices.iter().map(move |device| (device.device_id().to_owned(), sequence))
        });
        all.take(count).collect()
    }

    /// Returns the payload of a record.
    pub(super) fn payload(&self, device_id: &str, sequence: u64) -> Bytes {
        Bytes::from((self.payload)(device_id, sequence))
    }

    /// Sends this number of records, as fast as the service accepts them.
    pub(super) async fn fill(&mut self, service: &IngestService, records: u64) -> Result<(), Error> {
        let mut missing = usize::try_from(records).unwrap_or(usize::MAX);
        while missing > 0 {
            let devices = self.devices.len();
            let each = FILL_BATCH_RECORDS.min(missing.div_ceil(devices));
            let payload = self.payload;
            let signed: Result<Vec<Vec<Submission>>, Error> = self
                .devices
                .par_iter_mut()
                .take(missing.min(devices))
                .map(|device| (0..each).map(|_| sign(device, payload)).collect())
                .collect();
            let submissions: Vec<Submission> = signed?.into_iter().flatten().collect();
            let hashes: Vec<Hash> = submissions.iter().map(|submission| submission.record.hash()).collect();
            missing = missing.saturating_sub(submissions.len());
            for (at, answer) in service.ingest_many(submissions).await.into_iter().enumerate() {
                if let Outcome::Rejected(rejection) = answer? {
                    return Err(Error::Server {
                        server: service.ledger().place().to_owned(),
                        problem: format!("a record of the drill was rejected: {}", rejection.code.name()),
                    });
                }
                self.acknowledged[at / each].push(Acknowledged { hash: hashes[at], at_ms: now_ms() });
            }
        }
        Ok(())
    }

    /// Makes every device send records one by one, each repeatedly until it is accepted.
    pub(super) fn send(self, service: &IngestService, pause: Duration) -> Load {
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for (number, (device, acknowledged)) in self.devices.into_iter().zip(self.acknowledged).enumerate() {
            let sender = Sender {
                number,
                device,
                acknowledged,
                payload: self.payload,
                pause,
                service: service.clone(),
                shared: Arc::clone(&shared),
            };
            tasks.spawn(sender.run());
        }
        Load { tasks, shared, payload: self.payload }
    }

    /// Compares a ledger with the acknowledged records.
    pub(super) async fn kept(&self, ledger: &dyn Ledger) -> Result<Kept, Error> {
        let numbers: BTreeMap<&str, usize> =
            self.devices.iter().enumerate().map(|(number, device)| (device.device_id(), number)).collect();
        let mut found: Vec<Vec<bool>> =
            self.acknowledged.iter().map(|records| vec![false; records.len()]).collect();
        let mut records = ledger.records(&Filter::default());
        while let Some(chunk) = records.try_next().await? {
            for record in chunk {
                let Some(&number) = numbers.get(&*record.device_id) else { continue };
                let at = usize::try_from(record.sequence).unwrap_or(usize::MAX).wrapping_sub(1);
                if self.acknowledged[number].get(at).is_some_and(|known| known.hash == record.hash()) {
                    found[number][at] = true;
                }
            }
        }
        let lost: Vec<u64> = found
            .iter()
            .zip(&self.acknowledged)
            .flat_map(|(found, records)| found.iter().zip(records).filter(|(found, _)| !**found))
            .map(|(_, record)| record.at_ms)
            .collect();
        Ok(Kept {
            acknowledged: self.count(),
            lost: lost.len() as u64,
            lost_since_ms: lost.into_iter().min(),
        })
    }

    /// Verifies a whole ledger under the devices' own keys and heads; hashes payloads again if a store is given.
    pub(super) async fn verify(
        &self,
        ledger: &Arc<dyn Ledger>,
        payloads: Option<&Arc<dyn PayloadStore>>,
    ) -> Result<Check, Error> {
        self.verify_against(ledger, payloads, Some(self.heads())).await
    }

    /// Verifies the records of a ledger, which may end before the acknowledged heads.
    pub(super) async fn verify_what_is_there(&self, ledger: &Arc<dyn Ledger>) -> Result<Check, Error> {
        self.verify_against(ledger, None, None).await
    }

    async fn verify_against(
        &self,
        ledger: &Arc<dyn Ledger>,
        payloads: Option<&Arc<dyn PayloadStore>>,
        heads: Option<Heads>,
    ) -> Result<Check, Error> {
        let mut levels = vec!["links", "signatures"];
        levels.extend(payloads.map(|_| "payloads"));
        levels.extend(heads.as_ref().map(|_| "heads"));
        let verification = Verification {
            ledger: Arc::clone(ledger),
            payloads: payloads.map(Arc::clone),
            filter: Filter::default(),
            keys: Some(self.keys()?),
            claimed_keys: None,
            heads,
            start_heads: None,
            registered: Registered::default(),
            manifest: None,
            options: Options::default(),
        };
        let handle = tokio::runtime::Handle::current();
        let run = move || verification.run(&handle, &Arc::new(Progress::default()));
        let ended = tokio::task::spawn_blocking(run).await;
        let report = ended.map_err(|error| Error::internal("the verification has ended early", error))??;
        let findings: Vec<String> = report
            .findings
            .iter()
            .take(3)
            .map(|finding| {
                format!("{} of {}", finding.code.name(), finding.device_id.as_deref().unwrap_or("no device"))
            })
            .collect();
        let evidence = format!(
            "{} of {} of {}: {} {}",
            levels.join(", "),
            count(report.coverage.records, "record"),
            count(report.coverage.devices, "device"),
            count(report.counts.values().sum(), "finding"),
            findings.join(", ")
        );
        Ok(Check::new("every chain verifies", report.ok(), evidence.trim_end()))
    }
}

/// Devices that send.
pub(super) struct Load {
    tasks: JoinSet<Result<Sender, Error>>,
    shared: Arc<Shared>,
    payload: fn(&str, u64) -> String,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    retried: AtomicU64,
    rejected: Mutex<Vec<String>>,
}

/// The observations of a load besides the acknowledged records.
pub(super) struct Seen {
    /// Attempts that failed and were repeated.
    pub(super) retried: u64,
    /// Devices whose record was rejected, and why: they stopped there.
    pub(super) rejected: Vec<String>,
}

impl Load {
    /// Returns the number of records acknowledged since the load began.
    pub(super) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Relaxed)
    }

    /// Waits until `records` more records are acknowledged; returns false if that does not happen in time.
    pub(super) async fn wait_for_more(&self, records: u64, patience: Duration) -> bool {
        let wanted = self.acknowledged() + records;
        let begin = Instant::now();
        while self.acknowledged() < wanted {
            let all_stopped =
                self.shared.rejected.lock().unwrap_or_else(PoisonError::into_inner).len() >= self.tasks.len();
            if all_stopped || begin.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// Completes the requests in flight, and returns the devices.
    pub(super) async fn stop(mut self) -> Result<(Fleet, Seen), Error> {
        self.shared.stop.store(true, Relaxed);
        let mut senders = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            senders.push(
                ended.map_err(|error| Error::internal("a device of the drill has ended early", error))??,
            );
        }
        senders.sort_by_key(|sender| sender.number);
        let (devices, acknowledged) =
            senders.into_iter().map(|sender| (sender.device, sender.acknowledged)).unzip();
        let rejected =
            std::mem::take(&mut *self.shared.rejected.lock().unwrap_or_else(PoisonError::into_inner));
        let seen = Seen { retried: self.shared.retried.load(Relaxed), rejected };
        Ok((Fleet { devices, acknowledged, payload: self.payload }, seen))
    }
}

struct Sender {
    number: usize,
    device: Device,
    acknowledged: Vec<Acknowledged>,
    payload: fn(&str, u64) -> String,
    pause: Duration,
    service: IngestService,
    shared: Arc<Shared>,
}

impl Sender {
    async fn run(mut self) -> Result<Sender, Error> {
        while !self.shared.stop.load(Relaxed) {
            let submission = sign(&mut self.device, self.payload)?;
            let hash = submission.record.hash();
            loop {
                match self.service.ingest(submission.clone()).await {
                    Ok(Outcome::Accepted | Outcome::Duplicate) => break,
                    Ok(Outcome::Rejected(rejection)) => {
                        let why = format!(
                            "{} at {}: {}",
                            self.device.device_id(),
                            submission.record.sequence,
                            rejection.code.name()
                        );
                        self.shared.rejected.lock().unwrap_or_else(PoisonError::into_inner).push(why);
                        return Ok(self);
                    }
                    Err(error) if error.is_retryable() => {
                        self.shared.retried.fetch_add(1, Relaxed);
                        if self.shared.stop.load(Relaxed) {
                            return Ok(self);
                        }
                        tokio::time::sleep(RETRY_BACKOFF).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            self.acknowledged.push(Acknowledged { hash, at_ms: now_ms() });
            self.shared.acknowledged.fetch_add(1, Relaxed);
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
        Ok(self)
    }
}

fn no_key(error: edgesentry_chain::KeyError) -> Error {
    Error::internal("a device of the drill has a key that cannot be used", error)
}

fn sign(device: &mut Device, payload: fn(&str, u64) -> String) -> Result<Submission, Error> {
    let sequence = device.head().map_or(1, |head| head.sequence + 1);
    let payload = Bytes::from(payload(device.device_id(), sequence));
    let object_ref = format!("{}/{sequence}.bin", device.device_id());
    let record = agent::sign(device, now_ms(), &payload, object_ref);
    let record = record.map_err(|error| Error::internal("a device of the drill signs no record", error))?;
    Ok(Submission { record: Arc::new(record), payload })
}
