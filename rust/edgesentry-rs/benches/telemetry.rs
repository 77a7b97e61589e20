//! The cost of telemetry per record: a whole ingest, into stores that keep nothing, with and without a subscriber.
//!
//!     cargo bench --workspace --bench telemetry
//!     cargo bench -p edgesentry-rs --bench telemetry --features tracing/max_level_off   events and spans compiled out
#![allow(clippy::unwrap_used, missing_docs)]

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use edgesentry_chain::{Device, Hash, Head, Heads, Scheme};
use edgesentry_rs::ingest::storage::{IngestService, Limits};
use edgesentry_rs::ingest::verify::{DeviceKeys, Outcome, RegisteredKey, Registry, Submission};
use edgesentry_rs::ledger::{
    AppendError, Decision, Entry, Ledger, LogEntry, LogQuery, Page, RecordStream, RegisteredDevice,
    Registration, RevocationReason,
};
use edgesentry_rs::payload::{Memory, PayloadStore};
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::{Error, Filter, StoreError};
use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;

const RECORDS: usize = 1024;

/// Accepts everything and keeps nothing: measures the service alone.
struct Nowhere(Registry);

#[async_trait]
impl Ledger for Nowhere {
    fn place(&self) -> &str {
        "nowhere"
    }

    async fn append(&self, entries: &[Entry]) -> Result<Vec<Decision>, AppendError> {
        Ok(vec![Decision::Decided(Outcome::Accepted); entries.len()])
    }

    async fn keys(&self, _: &[Arc<str>]) -> Result<Registry, StoreError> {
        Ok(self.0.clone())
    }

    async fn register(&self, _: &Registration) -> Result<(), Error> {
        Ok(())
    }

    async fn revoke_for(&self, _: &str, _: RevocationReason) -> Result<u64, Error> {
        Ok(1)
    }

    async fn devices(&self) -> Result<Vec<RegisteredDevice>, StoreError> {
        Ok(Vec::new())
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        Ok(Heads::default())
    }

    fn records(&self, _: &Filter) -> RecordStream {
        futures::stream::empty().boxed()
    }

    fn page(&self, _: &Filter, _: &Page) -> RecordStream {
        futures::stream::empty().boxed()
    }

    async fn operation_log(&self, _: &LogQuery) -> Result<Vec<LogEntry>, StoreError> {
        Ok(Vec::new())
    }
}

/// Emits everything on one thread, so that the subscriber of the thread is that of the service.
fn service(runtime: &Runtime, device: &Device) -> IngestService {
    let key = device.public_key().unwrap();
    let key = edgesentry_chain::RingKey { key, scheme: device.scheme(), valid_from: 1 };
    let head = Head { sequence: 0, hash: Hash::ZERO };
    let keys = DeviceKeys { version: 1, keys: [RegisteredKey { key, revoked_from: None }].into(), head };
    let ledger = Nowhere(Registry::from([(device.device_id().into(), keys)]));
    let payloads: Arc<dyn PayloadStore> = Arc::new(Memory::default());
    let _inside = runtime.enter();
    IngestService::start_with(Arc::new(ledger), payloads, Limits::default(), Metrics::new())
}

fn ingest(criterion: &mut Criterion) {
    let mut device = Device::from_seed("lift-01", [1; 32], Scheme::Record);
    let records: Vec<Submission> = (0..RECORDS)
        .map(|at| {
            let payload = Bytes::from_static(&[7; 256]);
            let record = device.sign(at as u64, &payload, format!("lift-01/{at}.bin")).unwrap();
            Submission { record: Arc::new(record), payload }
        })
        .collect();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let service = service(&runtime, &device);
    let mut group = criterion.benchmark_group("ingest 1024 records into nothing");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(40);
    let mut measure = |name: &str, filter: Option<&str>| {
        let _subscriber = filter.map(|filter| {
            let lines = fmt().json().with_env_filter(EnvFilter::new(filter)).with_writer(io::sink);
            tracing::subscriber::set_default(lines.finish())
        });
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(service.ingest_many(records.clone())));
        });
    };
    measure("no subscriber", None);
    measure("JSON to nowhere, warn", Some("edgesentry_rs=warn"));
    measure("JSON to nowhere, info", Some("edgesentry_rs=info"));
    measure("JSON to nowhere, debug", Some("edgesentry_rs=debug"));
    measure("no subscriber, again", None);
}

fn metrics(criterion: &mut Criterion) {
    let metrics = Metrics::new();
    criterion.bench_function("metrics as text", |bencher| bencher.iter(|| metrics.text()));
}

criterion_group!(benches, ingest, metrics);
criterion_main!(benches);
