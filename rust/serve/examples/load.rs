//! Measures the throughput of the service over HTTP and HTTPS, and of the same stores without a network: `make load`.
//!
//! Prints one JSON line per measurement on stdout, and a table at the end. Bounded in records and time, on loopback
//! only, with the servers that `scripts/servers/with` starts. Service and clients share this process and its cores.
//!
//! Variables: `LOAD_SECONDS` (limit of one measurement, 10), `LOAD_CLIENTS` (64), `LOAD_RECORDS` (of one measurement,
//! 40000), `LOAD_ROUNDS` (of the batches, 3: in process, HTTP and HTTPS take turns, and the table has the median of the
//! ratios), `LOAD_PAYLOADS` (`s3,folder,packs,memory,sqlite`; with memory only the ledger is durable, which shows the cost of
//! the network and PostgreSQL; sqlite is a ledger with its payloads in one file, the others are in PostgreSQL),
//! `LOAD_SOAK_SECONDS` (instead of all measurements: single records from all clients for this time, with the memory of
//! the process every 10 s).
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use edgesentry_chain::{Device, Scheme};
use edgesentry_rs::ledger::{Ledger, Registration};
use edgesentry_rs::payload::Memory;
use edgesentry_rs::settings::{Access, Overrides};
use edgesentry_rs::transport::{Client, ClientSettings};
use edgesentry_rs::{IngestService, Outcome, Settings, Submission};
use edgesentry_serve::{ServeSettings, Server};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use sqlx::Connection;

const PAYLOAD: [u8; 256] = [0x42; 256];

/// The bounds of a measurement.
#[derive(Clone, Copy)]
struct Bounds {
    limit: Duration,
    clients: usize,
    records: usize,
    rounds: u64,
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::main]
async fn main() {
    let bounds = Bounds {
        limit: Duration::from_secs(variable("LOAD_SECONDS", 10)),
        clients: usize::try_from(variable("LOAD_CLIENTS", 64)).unwrap().max(1),
        records: usize::try_from(variable("LOAD_RECORDS", 40_000)).unwrap(),
        rounds: variable("LOAD_ROUNDS", 3).max(1),
    };
    let stores =
        std::env::var("LOAD_PAYLOADS").unwrap_or_else(|_| "s3,folder,packs,memory,sqlite".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let mut rows = Vec::new();
    for payloads in stores.split(',') {
        let bench = Bench::new(payloads, folder.path(), bounds).await;
        match std::env::var("LOAD_SOAK_SECONDS") {
            Ok(seconds) => bench.soak(Duration::from_secs(seconds.parse().unwrap())).await,
            Err(_) => rows.extend(bench.all().await),
        }
    }
    table(&rows);
}

/// One pair of stores, and a service on it with and without TLS.
struct Bench {
    payloads: String,
    bounds: Bounds,
    service: IngestService,
    http: Client,
    https: Client,
    devices: std::sync::atomic::AtomicUsize,
}

impl Bench {
    async fn new(payloads: &str, folder: &std::path::Path, bounds: Bounds) -> Bench {
        let server =
            |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: use make load"));
        let name = format!("load_{}_{payloads}", std::process::id());
        let mut settings = Settings::load(None, &Overrides::default()).unwrap();
        settings.ledger = match payloads {
            "sqlite" => folder.join("ledger.db").display().to_string().into(),
            _ => database(&server("EDGESENTRY_TEST_POSTGRES"), &name).await.into(),
        };
        settings.payloads = Some(match payloads {
            "sqlite" => "ledger".to_owned(),
            "s3" => {
                settings.s3.endpoint = Some(server("EDGESENTRY_TEST_S3"));
                settings.s3.access_key_id = Some("edgesentry".to_owned());
                settings.s3.secret_access_key = Some("edgesentry-secret".to_owned().into());
                bucket(&settings, &name.replace('_', "-")).await
            }
            // The directory is then not written to.
            "folder" | "memory" => format!("folder:{}", folder.join("payloads").display()),
            // A directory of its own: the payloads of one with files would all be there already.
            "packs" => format!("packs:{}", folder.join("packs").display()),
            other => panic!("LOAD_PAYLOADS: s3, folder, packs, memory or sqlite, not {other}"),
        });
        let stores = settings.open(Access::Create).await.unwrap();
        let kept = match payloads {
            "memory" => Arc::new(Memory::default()),
            _ => stores.payloads().unwrap(),
        };
        let service = IngestService::start(Arc::clone(&stores.ledger), kept, settings.ingest.clone());
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        std::fs::write(&certificate, cert.pem()).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let plain = ServeSettings { listen, ..ServeSettings::default() };
        let secure: ServeSettings = serde_json::from_value(json!({
            "listen": "127.0.0.1:0", "tls": { "certificate": certificate, "key": key },
        }))
        .unwrap();
        let http = format!("http://localhost:{}", serve(&service, &plain).await);
        let https = format!("https://localhost:{}", serve(&service, &secure).await);
        let client =
            |url| Client::new(ClientSettings { ca: Some(certificate.clone()), ..ClientSettings::new(url) });
        Bench {
            payloads: payloads.to_owned(),
            bounds,
            service,
            http: client(http).unwrap(),
            https: client(https).unwrap(),
            devices: Default::default(),
        }
    }

    async fn all(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        for _ in 0..self.bounds.rounds {
            rows.push(self.batch("in process", None).await);
            rows.push(self.batch("http", Some(&self.http)).await);
            rows.push(self.batch("https", Some(&self.https)).await);
        }
        for (over, client) in [("http", &self.http), ("https", &self.https)] {
            let full = self.single(over, client, None).await;
            let half = full["records_per_second"].as_f64().unwrap() / 2.0;
            rows.push(full);
            rows.push(self.single(over, client, Some(half)).await);
        }
        rows
    }

    /// Sends batches of 4096 records of many devices from one sender.
    async fn batch(&self, over: &str, client: Option<&Client>) -> Value {
        let chains = self.chains(self.bounds.records / self.bounds.clients).await;
        let mut batches = Vec::new();
        let mut batch = Vec::new();
        for at in 0..chains[0].len() {
            batch.extend(chains.iter().map(|chain| chain[at].clone()));
            if batch.len() >= 4096 {
                batches.push(std::mem::take(&mut batch));
            }
        }
        let (begun, mut taken) = (Instant::now(), 0);
        for batch in batches {
            let outcomes = match client {
                Some(client) => client.ingest_many(batch).await,
                None => self.service.ingest_many(batch).await,
            };
            assert!(
                outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Accepted))),
                "{:?}",
                outcomes[0]
            );
            taken += outcomes.len();
            if begun.elapsed() > self.bounds.limit {
                break;
            }
        }
        self.row(json!({"over": over, "how": "batch", "clients": 1}), taken, begun.elapsed(), Vec::new())
    }

    /// Every client sends the records of its device one by one over its connection, each after the response to the last
    /// one, or at a rate over all clients.
    async fn single(&self, over: &str, client: &Client, rate: Option<f64>) -> Value {
        let Bounds { limit, clients, records, .. } = self.bounds;
        let chains = self.chains(records / clients).await;
        let begun = Instant::now();
        let tasks = chains.into_iter().enumerate().map(|(number, chain)| {
            let client = client.clone();
            let step = rate.map(|rate| Duration::from_secs_f64(clients as f64 / rate));
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(chain.len());
                // Spread the clients over the first step.
                let mut due =
                    Instant::now() + step.unwrap_or_default().mul_f64(number as f64 / clients as f64);
                for submission in chain {
                    if let Some(step) = step {
                        tokio::time::sleep_until(due.into()).await;
                        due += step;
                    }
                    let sent = Instant::now();
                    assert_eq!(client.ingest(submission).await.unwrap(), Outcome::Accepted);
                    times.push(sent.elapsed());
                    if begun.elapsed() > limit {
                        break;
                    }
                }
                times
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.unwrap());
        }
        let how = if rate.is_some() { "single, half load" } else { "single" };
        let taken = times.len();
        self.row(json!({"over": over, "how": how, "clients": clients}), taken, begun.elapsed(), times)
    }

    /// Sends single records for `length`, and reports the memory meanwhile.
    async fn soak(&self, length: Duration) {
        let begun = Instant::now();
        let mut taken = 0;
        while begun.elapsed() < length {
            let round = Bench::single(self, "http", &self.http, None).await;
            taken += round["records"].as_u64().unwrap();
            let line =
                json!({"soak_seconds": begun.elapsed().as_secs(), "records": taken, "rss_mib": rss_mib()});
            println!("{line}");
        }
    }

    fn row(&self, mut row: Value, records: usize, time: Duration, mut times: Vec<Duration>) -> Value {
        times.sort_unstable();
        let quantile = |share: f64| {
            let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
            times.get(at).map(|time| (time.as_secs_f64() * 1e5).round() / 100.0)
        };
        row["payloads"] = self.payloads.clone().into();
        row["records"] = records.into();
        row["seconds"] = ((time.as_secs_f64() * 100.0).round() / 100.0).into();
        row["records_per_second"] = (records as f64 / time.as_secs_f64()).round().into();
        row["p50_ms"] = quantile(0.5).into();
        row["p99_ms"] = quantile(0.99).into();
        println!("{row}");
        row
    }

    /// Registers new devices, and returns a chain of each.
    async fn chains(&self, length: usize) -> Vec<Vec<Submission>> {
        let mut chains = Vec::new();
        for _ in 0..self.bounds.clients {
            let number = self.devices.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let id = format!("load-{}-{number}", std::process::id());
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            let mut device = Device::from_seed(id.as_str(), seed, Scheme::Record);
            register(&**self.service.ledger(), &device).await;
            let chain = (1..=length as u64).map(|sequence| {
                let record = device.sign(sequence, &PAYLOAD, format!("{id}/{sequence}.bin")).unwrap();
                Submission { record: Arc::new(record), payload: Bytes::from_static(&PAYLOAD) }
            });
            chains.push(chain.collect());
        }
        chains
    }
}

async fn register(ledger: &dyn Ledger, device: &Device) {
    let registration = Registration {
        device_id: device.device_id().to_owned(),
        key: device.public_key().unwrap(),
        scheme: Scheme::Record,
        valid_from: None,
        start: None,
    };
    ledger.register(&registration).await.unwrap();
}

/// Serves until the process ends; returns the port.
async fn serve(service: &IngestService, settings: &ServeSettings) -> u16 {
    let server = Server::bind(service.clone(), settings).await.unwrap();
    let port = server.addresses()[0].port();
    tokio::spawn(server.run(std::future::pending()));
    port
}

/// Creates a database, and returns its URL.
async fn database(postgres: &str, name: &str) -> String {
    let mut connection = sqlx::PgConnection::connect(postgres).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    format!("{}/{name}", postgres.rsplit_once('/').unwrap().0)
}

/// Creates a bucket.
async fn bucket(settings: &Settings, name: &str) -> String {
    use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(settings.s3.endpoint.as_deref().unwrap())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("edgesentry", "edgesentry-secret", None, None, "load"))
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build()).create_bucket().bucket(name).send().await.unwrap();
    format!("s3://{name}")
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Returns the median of the times of batches over a network against those in process, round by round.
fn against_in_process(rows: &[Value], row: &Value) -> Option<f64> {
    let speeds = |over: &Value| -> Vec<f64> {
        rows.iter()
            .filter(|each| each["how"] == "batch" && each["over"] == *over)
            .filter(|each| each["payloads"] == row["payloads"])
            .map(|each| each["records_per_second"].as_f64().unwrap())
            .collect()
    };
    let mut ratios: Vec<f64> = speeds(&"in process".into())
        .iter()
        .zip(speeds(&row["over"]))
        .map(|(in_process, over_network)| in_process / over_network)
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().filter(|_| row["how"] == "batch")
}

fn table(rows: &[Value]) {
    if rows.is_empty() {
        return;
    }
    println!(
        "\n| payloads | over | how | records/s | p50 ms | p99 ms | time against in process |\n|---|---|---|---:|---:|---:|---:|"
    );
    for row in rows {
        let text = |value: &Value| value.as_f64().map_or_else(String::new, |value| format!("{value:.1}"));
        println!(
            "| {} | {} | {} | {:.0} | {} | {} | {} |",
            row["payloads"].as_str().unwrap(),
            row["over"].as_str().unwrap(),
            row["how"].as_str().unwrap(),
            row["records_per_second"].as_f64().unwrap(),
            text(&row["p50_ms"]),
            text(&row["p99_ms"]),
            against_in_process(rows, row).map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        );
    }
}
