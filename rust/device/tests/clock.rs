//! Clock records: the times that a device has, in its chain.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_device::sqlite::MIGRATIONS_TABLE;
use edgesentry_device::{
    ClockRecord, Device, Error, Hash, Outbox, Outcome, PublicKey, Scheme, SeedSigner, ServiceTime, Signer,
    SignerError, Sink, Submission,
};
use sqlx::{ConnectOptions, Connection};

const NOW_MS: u64 = 1_790_000_000_000;

/// A service that accepts all records, and has a clock or none.
struct Accepting {
    times: Mutex<Vec<Option<ServiceTime>>>,
    payloads: Mutex<Vec<Bytes>>,
}

impl Accepting {
    /// Answers each request with the next of the times.
    fn at(times: &[Option<ServiceTime>]) -> Accepting {
        Accepting { times: Mutex::new(times.iter().rev().copied().collect()), payloads: Mutex::default() }
    }
}

#[async_trait]
impl Sink for Accepting {
    async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        let mut times = self.times.lock().unwrap();
        if times.len() > 1 {
            times.pop();
        }
        self.payloads.lock().unwrap().extend(submissions.iter().map(|sent| sent.payload.clone()));
        submissions.iter().map(|_| Ok(Outcome::Accepted)).collect()
    }

    fn service_time(&self) -> Option<ServiceTime> {
        self.times.lock().unwrap().last().copied().flatten()
    }
}

async fn open(path: &Path) -> Outbox {
    Outbox::open(path, Device::from_seed("lift-01", [7; 32], Scheme::Record)).await.unwrap()
}

fn time(service_ms: u64, device_ms: u64) -> Option<ServiceTime> {
    Some(ServiceTime { service_ms, device_ms })
}

#[tokio::test]
async fn a_clock_record_has_the_known_times() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let outbox = open(&path).await;
    let record = outbox.sign_clock(NOW_MS, None, None).await.unwrap();
    assert_eq!((record.sequence, record.object_ref.as_str()), (1, "lift-01/clock/1.json"));
    assert_eq!(record.payload_hash, Hash::of(ClockRecord::at(NOW_MS).payload().as_bytes()));

    let told = time(NOW_MS + 500, NOW_MS - 100);
    let service = Accepting::at(&[None, told]);
    outbox.flush(&service).await.unwrap();
    assert_eq!(outbox.service_time().await.unwrap(), told);
    outbox.close().await;
    // The time is durable.
    let outbox = open(&path).await;
    outbox.sign_clock(NOW_MS, Some(7), Some(90_000)).await.unwrap();
    // The clock went back.
    outbox.sign_clock(5, Some(8), None).await.unwrap();
    outbox.flush(&service).await.unwrap();
    let payloads = service.payloads.lock().unwrap().clone();
    let read: Vec<ClockRecord> =
        payloads.iter().map(|payload| ClockRecord::parse(payload).unwrap()).collect();
    assert_eq!(read[0], ClockRecord::at(NOW_MS));
    let [second, third] = &read[1..] else { panic!("{read:?}") };
    assert_eq!((second.boot_counter, second.uptime_ms), (Some(7), Some(90_000)));
    assert_eq!((second.service_time_ms, second.service_time_age_ms), (Some(NOW_MS + 500), Some(100)));
    assert_eq!((third.timestamp_ms, third.boot_counter, third.uptime_ms), (5, Some(8), None));
    assert_eq!((third.service_time_ms, third.service_time_age_ms), (Some(NOW_MS + 500), None));
}

#[tokio::test]
async fn only_a_response_to_this_outbox_gives_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(&folder.path().join("outbox.db")).await;
    let old = time(1000, 1000);
    // The client knows a time from before, and the responses have none; then nothing is sent.
    let service = Accepting::at(&[old, old]);
    outbox.sign_clock(NOW_MS, None, None).await.unwrap();
    outbox.flush(&service).await.unwrap();
    outbox.flush(&Accepting::at(&[None, time(2000, 2000)])).await.unwrap();
    assert_eq!(outbox.service_time().await.unwrap(), None);
    // A clock that went back does not keep the earlier time for ever.
    for times in [time(9000, 9000), time(9001, 3)] {
        outbox.sign_clock(NOW_MS, None, None).await.unwrap();
        outbox.flush(&Accepting::at(&[old, times])).await.unwrap();
        assert_eq!(outbox.service_time().await.unwrap(), times);
    }
    outbox.note_service_time(NOW_MS).await.unwrap();
    assert_eq!(outbox.service_time().await.unwrap().unwrap().service_ms, NOW_MS);
    for refused in [u64::MAX, 1 << 63] {
        outbox.note_service_time(refused).await.unwrap_err();
        outbox.sign_clock(refused, None, None).await.unwrap_err();
    }
    let full = outbox.limited(0);
    assert!(full.sign_clock(NOW_MS, None, None).await.unwrap_err().to_string().contains("full"));
    assert_eq!(full.head().await.unwrap().unwrap().sequence, 3);
}

/// A key behind a bus: it may block.
struct Slow(SeedSigner);

impl Signer for Slow {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        self.0.sign(message)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_clock_record_names_its_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let slow = Arc::new(Slow(SeedSigner::new([7; 32]).unwrap()));
    let outboxes = [
        Arc::new(open(&path).await),
        Arc::new(Outbox::open(&path, Device::from_signer("lift-01", slow, Scheme::Record)).await.unwrap()),
    ];
    let signing: Vec<_> = (0..20)
        .map(|number| {
            let outbox = Arc::clone(&outboxes[number % 2]);
            tokio::spawn(async move { outbox.sign_clock(NOW_MS, Some(number as u64), None).await.unwrap() })
        })
        .collect();
    let mut sequences = Vec::new();
    for record in signing {
        let record = record.await.unwrap();
        assert_eq!(record.object_ref, format!("lift-01/clock/{}.json", record.sequence));
        sequences.push(record.sequence);
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=20).collect::<Vec<u64>>());
}

#[tokio::test]
async fn an_outbox_of_an_earlier_release_continues() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let outbox = open(&path).await;
    outbox.sign(NOW_MS, Bytes::from_static(b"open"), "1.bin").await.unwrap();
    outbox.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut earlier = options.connect().await.unwrap();
    let undo = format!(
        "ALTER TABLE device DROP COLUMN service_time_ms; ALTER TABLE device DROP COLUMN service_time_at_ms;
         DELETE FROM {MIGRATIONS_TABLE} WHERE version = 5"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(undo)).execute(&mut earlier).await.unwrap();
    earlier.close().await.unwrap();
    let outbox = open(&path).await;
    assert_eq!((outbox.waiting().await.unwrap(), outbox.service_time().await.unwrap()), (1, None));
    assert_eq!(outbox.sign_clock(NOW_MS, None, None).await.unwrap().sequence, 2);
}
