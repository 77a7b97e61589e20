//! Ingest in batches, with and without a log beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use edgesentry_chain::{Device, Scheme};
use edgesentry_rs::ingest::storage::Limits;
use edgesentry_rs::ledger::{Ledger, Registration};
use edgesentry_rs::log::{Eraser, TransparencyLog};
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::{IngestService, Outcome, Submission};
use rayon::prelude::*;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Clock, Options, open, open_log, peak_mib};

/// The limit of a measurement.
const TIMEOUT: Duration = Duration::from_secs(1800);

pub(super) async fn run(place: &str, options: &Options) -> Value {
    let devices = options.size("devices", 100);
    let each = options.size("records", 200_000) / devices;
    let (batch, rate) = (options.size("batch", 10_000), options.number("rate", 0));
    let payload = Bytes::from(vec![b'.'; options.size("payload_bytes", 1024)]);
    let (ledger, payloads) = open(place, options.path("payloads")).await;
    let chains = chains(&*ledger, devices, each, &payload).await;
    if options.number("single", 0) != 0 {
        return singles(IngestService::start(ledger, payloads, Limits::default()), chains).await;
    }
    let records: Vec<Submission> =
        (0..each).flat_map(|at| chains.iter().map(move |chain| chain[at].clone())).collect();
    drop(chains);
    let service = IngestService::start(Arc::clone(&ledger), Arc::clone(&payloads), Limits::default());

    let interval = Duration::from_millis(options.number("interval_ms", 1000));
    let log = match options.path("store") {
        Some(store) => Some(open_log(&*ledger, store, options.number("max_records", 100_000)).await),
        None => None,
    };
    let max_backlog = Arc::new(AtomicU64::new(0));
    if let Some(log) = &log {
        let eraser = Eraser::new(log.clone(), Arc::clone(&ledger), payloads);
        tokio::spawn(log.clone().keep(eraser, interval, Metrics::new()));
        if rate > 0 {
            tokio::spawn(watch(log.clone(), Arc::clone(&max_backlog)));
        }
    }

    let count = records.len();
    let (begin, clock) = (Instant::now(), Clock::start());
    for (number, records) in records.chunks(batch).enumerate() {
        if rate > 0 {
            sleep_until(begin + Duration::from_secs_f64((number * batch) as f64 / rate as f64)).await;
        }
        let outcomes = service.ingest_many(records.to_vec()).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Accepted))), "{:?}", outcomes[0]);
    }
    let mut done = json!({"records": count, "ingest": clock.times()});
    if let Some(log) = log {
        done["backlog_at_end"] = log.status().await.unwrap().backlog.into();
        while !is_logged(&log).await {
            assert!(begin.elapsed() < TIMEOUT, "the log does not catch up");
            sleep(Duration::from_millis(500)).await;
        }
        done["until_logged"] = clock.times();
        done["max_backlog"] = max_backlog.load(Ordering::Relaxed).into();
        done["verifier_key"] = log.key().to_string().into();
        done["checkpoints"] = log.status().await.unwrap().checkpoint.map(|last| last.lock_number).into();
    }
    done["peak_mib"] = peak_mib().into();
    done
}

/// Sends the records of each device from a caller of its own, one at a time.
async fn singles(service: IngestService, chains: Vec<Vec<Submission>>) -> Value {
    let count: usize = chains.iter().map(Vec::len).sum();
    let clock = Clock::start();
    let callers = chains.into_iter().map(|chain| {
        let service = service.clone();
        tokio::spawn(async move {
            for submission in chain {
                let outcome = service.ingest(submission).await;
                assert!(matches!(outcome, Ok(Outcome::Accepted)), "{outcome:?}");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    json!({"records": count, "ingest": clock.times(), "peak_mib": peak_mib()})
}

/// Notes the largest number of records without a position.
async fn watch(log: TransparencyLog, max_backlog: Arc<AtomicU64>) {
    loop {
        max_backlog.fetch_max(log.status().await.unwrap().backlog, Ordering::Relaxed);
        sleep(Duration::from_secs(1)).await;
    }
}

/// Returns true if a signed checkpoint covers all records.
async fn is_logged(log: &TransparencyLog) -> bool {
    let status = log.status().await.unwrap();
    status.backlog == 0 && status.open_batch.is_none()
}

/// Registers devices, and signs the records of each.
async fn chains(ledger: &dyn Ledger, devices: usize, each: usize, payload: &Bytes) -> Vec<Vec<Submission>> {
    let mut signers = Vec::with_capacity(devices);
    for number in 0..devices {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let device = Device::from_seed(format!("device-{number:05}"), seed, Scheme::Record);
        let registration = Registration {
            device_id: device.device_id().to_owned(),
            key: device.public_key().unwrap(),
            scheme: Scheme::Record,
            valid_from: None,
            start: None,
        };
        ledger.register(&registration).await.unwrap();
        signers.push(device);
    }
    let sign = |mut device: Device| {
        let chain = (1..=each as u64).map(|sequence| {
            let object_ref = format!("{}/{sequence}.bin", device.device_id());
            let record = device.sign(1_700_000_000_000 + sequence, payload, object_ref).unwrap();
            Submission { record: Arc::new(record), payload: payload.clone() }
        });
        chain.collect()
    };
    signers.into_par_iter().map(sign).collect()
}
