//! Measures the transparency log of a ledger. `make bench-log` runs it for each measurement.
//!
//! ```text
//! log JOB LEDGER [NAME=VALUE]...
//! ```
//!
//! LEDGER is the file of a SQLite ledger or the URL of a database. Each job prints one JSON object. Time is wall-clock
//! time, CPU time and memory are those of this process.
//!
//! - `fill`: writes `records` records of `devices` devices into a new ledger with SQL. Links are valid, signatures are
//!   not: the log does not read them.
//! - `sequence`: signs all records into a log in the directory `store`, in batches of `max_records`; then runs one round
//!   without new records, and one after `moved` devices have sent a record each.
//! - `ingest`: sends `records` signed records of `devices` devices in batches of `batch`, at `rate` records per second
//!   (0: as fast as possible). With `store`, the log runs beside it, a round every `interval_ms`. With `payloads`, the
//!   payloads of a PostgreSQL ledger are stored in that directory. With `single=1`, each device sends its records from a
//!   caller of its own, one at a time.
#![allow(clippy::unwrap_used)]

mod fill;
mod ingest;
mod sequence;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use edgesentry_log::{KeyType, SignerKey};
use edgesentry_rs::error::Component;
use edgesentry_rs::ledger::{Ledger, Postgres, PostgresSettings, Sqlite};
use edgesentry_rs::log::TransparencyLog;
use edgesentry_rs::objects::FolderObjects;
use edgesentry_rs::payload::{Folder, Memory, PayloadStore};
use serde_json::{Value, json};

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [job, place, options @ ..] = words.as_slice() else {
        panic!("expected: log JOB LEDGER [NAME=VALUE]...")
    };
    let options = options.iter().map(|option| option.split_once('=').expect("NAME=VALUE"));
    let job_options = Options(options.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    let done = match job.as_str() {
        "fill" => fill::run(place, &job_options).await,
        "sequence" => sequence::run(place, &job_options).await,
        "ingest" => ingest::run(place, &job_options).await,
        other => panic!("{other}: expected fill, sequence or ingest"),
    };
    println!("{done}");
}

/// The options of a job.
struct Options(BTreeMap<String, String>);

impl Options {
    fn number(&self, name: &str, default: u64) -> u64 {
        self.0.get(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}: a number")))
    }

    fn size(&self, name: &str, default: u64) -> usize {
        usize::try_from(self.number(name, default)).unwrap()
    }

    fn path(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn is_postgres(place: &str) -> bool {
    place.starts_with("postgres")
}

/// Opens a ledger, and the payload store that the measurements use: a SQLite file holds its payloads, and PostgreSQL
/// has them in memory, so that only the ledger is measured, or in a directory.
async fn open(place: &str, payloads: Option<&str>) -> (Arc<dyn Ledger>, Arc<dyn PayloadStore>) {
    if is_postgres(place) {
        let settings = PostgresSettings { url: place.to_owned().into(), ..PostgresSettings::default() };
        let payloads: Arc<dyn PayloadStore> = match payloads {
            Some(folder) => Arc::new(Folder::open(folder.as_ref()).unwrap()),
            None => Arc::new(Memory::default()),
        };
        return (Arc::new(Postgres::connect(&settings).await.unwrap()), payloads);
    }
    let ledger = Sqlite::open(place.as_ref()).await.unwrap();
    let payloads = Arc::new(ledger.payloads());
    (Arc::new(ledger), payloads)
}

/// Opens the log of a ledger in a directory.
async fn open_log(ledger: &dyn Ledger, store: &str, max_records: u64) -> TransparencyLog {
    std::fs::create_dir_all(store).unwrap();
    let objects = Arc::new(FolderObjects::open(store.as_ref(), Component::TransparencyLog).unwrap());
    let key = SignerKey::from_seed("log.example/bench", KeyType::Ed25519, [42; 32]).unwrap();
    let lock = Arc::clone(&objects);
    let log = TransparencyLog::new(ledger.log().unwrap(), objects, lock, key, max_records);
    log.init(1).await.unwrap();
    log
}

/// The time since it began: wall-clock and CPU.
struct Clock {
    begun: Instant,
    cpu: f64,
}

impl Clock {
    fn start() -> Clock {
        Clock { begun: Instant::now(), cpu: cpu_seconds() }
    }

    fn times(&self) -> Value {
        let (seconds, cpu) = (self.begun.elapsed().as_secs_f64(), cpu_seconds() - self.cpu);
        json!({"seconds": rounded(seconds), "cpu_seconds": rounded(cpu)})
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// Returns the CPU time of this process, user and system.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    // Linux reports 100 ticks per second.
    ticks as f64 / 100.0
}

/// Returns the peak memory of this process, MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
