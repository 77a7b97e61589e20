//! This ingest service.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::{Result, anyhow};
use edgesentry_rs::export::{Target, export as export_records};
use edgesentry_rs::ingest::storage::{IngestService, Limits};
use edgesentry_rs::ledger::{Filter, Ledger, Postgres, PostgresSettings, Registration, Sqlite};
use edgesentry_rs::payload::{Memory, PayloadStore, S3, S3Settings};
use edgesentry_rs::{Submission, ledger};
use futures::StreamExt;

use crate::load::{self, chains, device, interleaved};

/// Number of devices of a measurement of batches.
const DEVICES: usize = 100;

async fn ledger(server: &str) -> Result<Postgres> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("bench_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let (create, url) = (format!("CREATE DATABASE {name}"), server.to_owned());
    let created = tokio::task::spawn_blocking(move || {
        postgres::Client::connect(&url, postgres::NoTls)?.batch_execute(&create)
    });
    created.await??;
    let url = format!("{}/{name}", server.rsplit_once('/').map_or(server, |(server, _)| server));
    Ok(Postgres::connect(&PostgresSettings { url: url.into(), ..PostgresSettings::default() }).await?)
}

async fn register(ledger: &dyn Ledger, devices: usize) -> Result<()> {
    for number in 0..devices {
        let device = device(number);
        let registration = Registration {
            device_id: device.device_id().to_owned(),
            key: device.public_key().map_err(|error| anyhow!("{error}"))?,
            scheme: device.scheme(),
            valid_from: None,
            start: None,
        };
        ledger.register(&registration).await?;
    }
    Ok(())
}

/// Every record must be accepted, or the figure is meaningless.
fn accepted(answers: Vec<Result<edgesentry_rs::Outcome, edgesentry_rs::Error>>) -> Result<()> {
    for answer in answers {
        anyhow::ensure!(answer? == edgesentry_rs::Outcome::Accepted, "a record was not accepted");
    }
    Ok(())
}

async fn batches(service: &IngestService, what: &str, records: Vec<Submission>, size: usize) -> Result<()> {
    let count = records.len();
    let begin = Instant::now();
    for batch in records.chunks(size) {
        accepted(service.ingest_many(batch.to_vec()).await)?;
    }
    load::report(what, &format!("one caller, batches of {size}"), count, begin.elapsed());
    Ok(())
}

async fn singles(service: &IngestService, what: &str, chains: Vec<Vec<Submission>>) -> Result<()> {
    let (callers, count) = (chains.len(), chains.iter().map(Vec::len).sum());
    let begin = Instant::now();
    let tasks: Vec<_> = chains
        .into_iter()
        .map(|chain| {
            let service = service.clone();
            tokio::spawn(async move {
                for submission in chain {
                    accepted(vec![service.ingest(submission).await])?;
                }
                Ok::<_, anyhow::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    load::report(what, &format!("{callers} callers, one record at a time"), count, begin.elapsed());
    Ok(())
}

/// Batches and concurrent single ingests; payloads in memory, as for the peer.
pub async fn postgres(server: &str, records: usize, payload_bytes: usize) -> Result<()> {
    let what = "edgesentry, PostgreSQL";
    for size in [1_000, 10_000] {
        let ledger = Arc::new(ledger(server).await?);
        register(&*ledger, DEVICES).await?;
        let service = IngestService::start(ledger, Arc::new(Memory::default()), Limits::default());
        batches(&service, what, interleaved(chains(DEVICES, records / DEVICES, payload_bytes)), size).await?;
    }
    for callers in [1, 16, 64, 256] {
        let ledger = Arc::new(ledger(server).await?);
        register(&*ledger, callers).await?;
        let service = IngestService::start(ledger, Arc::new(Memory::default()), Limits::default());
        let each = if callers == 1 { 1_000 } else { 20_000 / callers };
        singles(&service, what, chains(callers, each, payload_bytes)).await?;
    }
    Ok(())
}

/// The embedded default: payloads in the same file.
pub async fn sqlite(records: usize, payload_bytes: usize) -> Result<()> {
    let what = "edgesentry, SQLite with payloads";
    for size in [1_000, 10_000] {
        let folder = tempfile::tempdir()?;
        let service = embedded(folder.path(), DEVICES).await?;
        batches(&service, what, interleaved(chains(DEVICES, records / DEVICES, payload_bytes)), size).await?;
    }
    for callers in [1, 16, 64] {
        let folder = tempfile::tempdir()?;
        let service = embedded(folder.path(), callers).await?;
        let each = if callers == 1 { 500 } else { 8_000 / callers };
        singles(&service, what, chains(callers, each, payload_bytes)).await?;
    }
    Ok(())
}

async fn embedded(folder: &Path, devices: usize) -> Result<IngestService> {
    let ledger = Sqlite::open(&folder.join("ledger.db")).await?;
    register(&ledger, devices).await?;
    let payloads = Arc::new(ledger.payloads());
    Ok(IngestService::start(Arc::new(ledger), payloads, Limits::default()))
}

/// Measures throughput by concurrency of payload writes, for our service and the plain client.
pub async fn s3(endpoint: &str, payload_bytes: usize) -> Result<()> {
    let settings = S3Settings {
        endpoint: Some(endpoint.to_owned()),
        access_key_id: Some("edgesentry".to_owned()),
        secret_access_key: Some("edgesentry-secret".to_owned().into()),
        ..S3Settings::default()
    };
    for payload_puts in [1, 4, 16, 64] {
        let count = if payload_puts == 1 { 500 } else { 4_000 };
        let bucket = bucket(endpoint, payload_puts).await?;
        let begin = Instant::now();
        let client = client(endpoint);
        let puts = (0..count).map(|at| {
            let put = client.put_object().bucket(&bucket).key(format!("plain/{at}"));
            put.body(vec![b'.'; payload_bytes].into()).send()
        });
        let answers: Vec<_> = futures::stream::iter(puts).buffered(payload_puts).collect().await;
        anyhow::ensure!(answers.iter().all(Result::is_ok), "a put failed");
        load::report(
            "aws-sdk-s3 alone, SeaweedFS",
            &format!("{payload_puts} puts at once"),
            count,
            begin.elapsed(),
        );

        let folder = tempfile::tempdir()?;
        let ledger = Arc::new(Sqlite::open(&folder.path().join("ledger.db")).await?);
        register(&*ledger, DEVICES).await?;
        let payloads: Arc<dyn PayloadStore> = Arc::new(S3::connect(&bucket, &settings).await?);
        let service = IngestService::start(ledger, payloads, Limits { payload_puts, ..Limits::default() });
        let records = interleaved(chains(DEVICES, count.div_ceil(DEVICES), payload_bytes));
        let count = records.len();
        let begin = Instant::now();
        accepted(service.ingest_many(records).await)?;
        let what = "edgesentry, SQLite ledger, payloads in SeaweedFS";
        load::report(what, &format!("{payload_puts} puts at once"), count, begin.elapsed());
    }
    Ok(())
}

fn client(endpoint: &str) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("edgesentry", "edgesentry-secret", None, None, "bench"))
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

async fn bucket(endpoint: &str, number: usize) -> Result<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("bench-{}-{}-{number}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    client(endpoint).create_bucket().bucket(&name).send().await?;
    Ok(name)
}

/// Measures the export of a large ledger, and its memory.
pub async fn export(server: &str, records: usize) -> Result<()> {
    let ledger = Arc::new(ledger(server).await?);
    register(&*ledger, DEVICES).await?;
    let service =
        IngestService::start(Arc::clone(&ledger) as _, Arc::new(Memory::default()), Limits::default());
    let begin = Instant::now();
    let filled = fill(&service, records).await?;
    load::report("edgesentry, PostgreSQL", "filling, batches of 10000", filled, begin.elapsed());
    drop(service);
    let folder = tempfile::tempdir()?;
    for name in ["export.parquet", "export.ndjson.zst", "export.json", "export.parquet"] {
        // Resets the peak, so that it is the memory of the export only.
        std::fs::write("/proc/self/clear_refs", "5")?;
        let before = load::peak_mib();
        let begin = Instant::now();
        let target = Target::File(folder.path().join(name));
        let everything = Filter::default();
        let manifest = export_records(&*ledger, &everything, target, |_| true).await?;
        let how = format!("to {name}, peak {} MiB, {before} MiB of them before", load::peak_mib());
        load::report("export from PostgreSQL", &how, usize::try_from(manifest.records)?, begin.elapsed());
    }
    let keys = ledger::key_ring(&ledger.devices().await?).map_err(|error| anyhow!("{error}"))?;
    anyhow::ensure!(keys.len() == DEVICES, "the registry has all devices");
    Ok(())
}

async fn fill(service: &IngestService, records: usize) -> Result<usize> {
    let each = records / DEVICES;
    let mut devices: Vec<_> = (0..DEVICES).map(device).collect();
    let mut filled = 0;
    for _ in 0..each.div_ceil(100) {
        let mut batch = Vec::with_capacity(DEVICES * 100);
        for device in &mut devices {
            for _ in 0..100 {
                let sequence = device.head().map_or(1, |head| head.sequence + 1);
                let object_ref = format!("{}/{sequence}.bin", device.device_id());
                let record = device.sign(1_700_000_000_000 + sequence, b"x", object_ref)?;
                batch.push(Submission { record: Arc::new(record), payload: bytes::Bytes::from_static(b"x") });
            }
        }
        filled += batch.len();
        accepted(service.ingest_many(batch).await)?;
    }
    Ok(filled)
}
