//! The service that the drill attacks: a real one, in this process, with a ledger of its own and a payload store that
//! can be made to fail.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Device, Hash, Scheme};
use edgesentry_formats::times::now_ms;
use edgesentry_rs::agent;
use edgesentry_rs::ingest::verify::Admitted;
use edgesentry_rs::ledger::{Registration, Sqlite};
use edgesentry_rs::payload::{Leftovers, Memory, PayloadStore, Put, Version};
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::{
    Component, Error, IngestService, Ledger, Limits, Outcome, RejectionCode, StoreError, Submission,
};
use edgesentry_serve::metrics::MetricsServer;

use crate::drill::DrillError;

/// The device of the drill, and one that is not registered.
const DEVICE: &str = "drill-device";
const STRANGER: &str = "drill-stranger";
/// Not secret: the ledger that registers the device is removed with the drill.
const SEED: [u8; 32] = *b"a device of the alert-fire drill";
/// The payload of every record.
const PAYLOAD: &[u8] = b"drill";

/// A service, its device and its metrics.
pub(super) struct Harness {
    service: IngestService,
    device: Device,
    store_fails: Arc<AtomicBool>,
    metrics: MetricsServer,
}

impl Harness {
    /// Starts a service with its ledger in `folder` and its metrics, all at 0, at `listen`.
    pub(super) async fn start(folder: &Path, listen: SocketAddr) -> Result<Harness, DrillError> {
        let ledger: Arc<dyn Ledger> = Arc::new(Sqlite::open(&folder.join("ledger.db")).await?);
        let store_fails = Arc::new(AtomicBool::new(false));
        let payloads = FailingPayloads { inner: Memory::default(), fails: Arc::clone(&store_fails) };
        // Not the metrics of the process, which other code changes too.
        let metrics = Metrics::new();
        let limits = Limits { attempts: 1, ..Limits::default() };
        let service = IngestService::start_with(ledger, Arc::new(payloads), limits, metrics.clone());
        let device = Device::from_seed(DEVICE, SEED, Scheme::Record);
        let registration = Registration {
            device_id: DEVICE.to_owned(),
            key: device.public_key().map_err(|error| DrillError::Unfit(error.to_string()))?,
            scheme: Scheme::Record,
            valid_from: None,
            start: None,
        };
        service.register(&registration).await?;
        let metrics = MetricsServer::start(&listen.to_string(), metrics).await?;
        Ok(Harness { service, device, store_fails, metrics })
    }

    /// Returns the address of `GET /metrics`.
    pub(super) fn metrics_address(&self) -> SocketAddr {
        self.metrics.address()
    }

    /// Sends records that continue the chain; every one must be accepted.
    pub(super) async fn good_records(&mut self, count: usize) -> Result<(), DrillError> {
        for _ in 0..count {
            let record = sign(&mut self.device)?;
            accepted(&self.send(record).await?)?;
        }
        Ok(())
    }

    /// Sends records that would continue the chain, but for a flipped bit in the signature.
    pub(super) async fn bad_signatures(&self, count: usize) -> Result<(), DrillError> {
        for bit in 0..count {
            let mut record = self.next()?;
            // Within R, all of whose bits are in use.
            record.signature[bit / 8 % 32] ^= 1 << (bit % 8);
            rejected(&self.send(record).await?, RejectionCode::SignatureInvalid)?;
        }
        Ok(())
    }

    /// Sends a record that the device has signed, but whose previous link names another record.
    pub(super) async fn broken_link(&self) -> Result<(), DrillError> {
        let mut record = self.next()?;
        record.prev_record_hash = Hash::of(b"a record that the ledger does not hold");
        self.device.sign_record(&mut record).map_err(|error| DrillError::Unfit(error.to_string()))?;
        rejected(&self.send(record).await?, RejectionCode::PrevHashMismatch)
    }

    /// Sends records of a device that is not registered.
    pub(super) async fn unknown_device(&self, count: usize) -> Result<(), DrillError> {
        let mut stranger = Device::from_seed(STRANGER, SEED, Scheme::Record);
        for _ in 0..count {
            let record = sign(&mut stranger)?;
            rejected(&self.send(record).await?, RejectionCode::UnknownDevice)?;
        }
        Ok(())
    }

    /// Sends a good record while the payload store fails; sent again, it must be accepted.
    pub(super) async fn failing_store(&mut self) -> Result<(), DrillError> {
        let record = sign(&mut self.device)?;
        self.store_fails.store(true, Ordering::SeqCst);
        let failed = self.send(record.clone()).await;
        self.store_fails.store(false, Ordering::SeqCst);
        match failed {
            Err(Error::Store(StoreError { component: Component::RawDataStore, .. })) => {}
            Err(error) => return Err(error.into()),
            Ok(outcome) => return Err(unexpected("an error of the payload store", &outcome)),
        }
        accepted(&self.send(record).await?)
    }

    /// Returns the next record, without advancing the chain.
    fn next(&self) -> Result<AuditRecord, DrillError> {
        sign(&mut self.device.clone())
    }

    async fn send(&self, record: AuditRecord) -> Result<Outcome, Error> {
        let payload = Bytes::from_static(PAYLOAD);
        self.service.ingest(Submission { record: Arc::new(record), payload }).await
    }
}

fn sign(device: &mut Device) -> Result<AuditRecord, DrillError> {
    let sequence = device.head().map_or(1, |head| head.sequence + 1);
    let object_ref = format!("{}/{sequence}.bin", device.device_id());
    agent::sign(device, now_ms(), PAYLOAD, object_ref).map_err(|error| DrillError::Unfit(error.to_string()))
}

fn accepted(outcome: &Outcome) -> Result<(), DrillError> {
    if *outcome == Outcome::Accepted { Ok(()) } else { Err(unexpected("accepted", outcome)) }
}

fn rejected(outcome: &Outcome, code: RejectionCode) -> Result<(), DrillError> {
    let is_so = outcome.rejection().is_some_and(|rejection| rejection.code == code);
    if is_so { Ok(()) } else { Err(unexpected(code.name(), outcome)) }
}

fn unexpected(wanted: &str, outcome: &Outcome) -> DrillError {
    let answer = outcome.rejection().map_or(outcome.name(), |rejection| rejection.code.name());
    DrillError::Unfit(format!("the service returned {answer} for a record of the drill instead of {wanted}"))
}

/// Payloads in memory that cannot be written while `fails` is true.
struct FailingPayloads {
    inner: Memory,
    fails: Arc<AtomicBool>,
}

#[async_trait]
impl PayloadStore for FailingPayloads {
    fn place(&self) -> &str {
        self.inner.place()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner.check().await
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError {
                component: Component::RawDataStore,
                action: "write a payload",
                place: "the payload store of the drill".into(),
                kind: edgesentry_rs::FailureKind::Passing,
                source: Arc::new(std::io::Error::other("the drill makes it fail")),
            });
        }
        self.inner.put(admitted).await
    }

    async fn get(&self, record: &AuditRecord) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(record).await
    }

    async fn versions(&self, record: &AuditRecord) -> Result<Vec<Version>, StoreError> {
        self.inner.versions(record).await
    }

    fn names(&self, record: &AuditRecord) -> Vec<String> {
        self.inner.names(record)
    }

    async fn erase(&self, record: &AuditRecord, name: &str) -> Result<Leftovers, StoreError> {
        self.inner.erase(record, name).await
    }
}
