//! The pages of the runbook: every command on them runs, and prints the output on the page.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Device, Hash, Head, Heads, Scheme};
use edgesentry_ops::servers::{Process, Prometheus, free_port};
use edgesentry_ops::textfile::{
    ARCHIVE_GAPS, BACKUP_LAST_SUCCESS, BACKUP_VERIFY_FAILED, HEADS_LAST_SUCCESS, POSTGRES_OBSERVED,
    RECEIVER_LAST_SEEN, SLOT_RETAINED, STANDBY_LAG, Textfile, UNIT_FAILED, WAL_SIZE,
};
use edgesentry_rs::ledger::{Registration, Sqlite};
use edgesentry_rs::log::{Eraser, LogSettings, Stores, TransparencyLog};
use edgesentry_rs::payload::{self, PayloadStore, S3Settings};
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::{IngestService, Ledger, Limits, Submission};
use edgesentry_serve::metrics::MetricsServer;

use crate::Folder;

const TIMEOUT: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Returns the parts of a page: the text before its first heading, then each part under its heading.
fn parts(page: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("docs/runbook").join(page)).unwrap();
    let mut parts = vec![("introduction".to_owned(), String::new())];
    for line in text.lines() {
        match line.strip_prefix("## ") {
            Some(heading) => parts.push((heading.to_owned(), String::new())),
            None => {
                let (_, text) = parts.last_mut().unwrap();
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    parts
}

/// Returns the contents of the fenced blocks of a language.
fn blocks(text: &str, language: &str) -> String {
    let opening = format!("```{language}\n");
    let blocks = text.split(opening.as_str()).skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

/// Returns a line without the parts that differ from run to run: numbers and widths.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        if !character.is_ascii_digit() {
            shape.push(character);
            continue;
        }
        shape.push('#');
        while characters.next_if(|next| next.is_ascii_digit() || *next == '.').is_some() {}
    }
    shape.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs the commands of every part of a page, each in the same directory.
fn execute(folder: &Folder, page: &str, variables: &[(&str, String)]) {
    let parts = parts(page);
    let introduction = blocks(&parts[0].1, "sh");
    for (heading, text) in &parts[1..] {
        let commands = blocks(text, "sh");
        if commands.is_empty() {
            continue;
        }
        let eds = Path::new(env!("CARGO_BIN_EXE_eds")).parent().unwrap();
        let path = format!("{}:{}", eds.display(), std::env::var("PATH").unwrap());
        let script = format!("set -eu\n{introduction}{commands}");
        let mut bash = folder.command_of("bash");
        bash.args(["-c", &script]).env("PATH", path);
        bash.envs(variables.iter().map(|(name, value)| (name, value)));
        let output = bash.output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{page}, {heading}: {commands}\n{stdout}\n{stderr}");
        let shown: Vec<String> = stdout.lines().map(shape).collect();
        for line in blocks(text, "text").lines() {
            assert!(shown.contains(&shape(line)), "{page}, {heading}: no line like {line:?} in\n{stdout}");
        }
    }
}

fn record(device: &mut Device) -> AuditRecord {
    let sequence = device.head().map_or(1, |head| head.sequence + 1);
    let object_ref = format!("{}/{sequence}.bin", device.device_id());
    device.sign(1_700_000_000_000 + sequence, b"door", object_ref).unwrap()
}

fn lift() -> Device {
    Device::from_seed("lift-01", [1; 32], Scheme::Record)
}

/// Servers that run until this is dropped.
struct Incident {
    _service: IngestService,
    metrics: MetricsServer,
    prometheus: Prometheus,
    _node: Process,
}

/// Starts a service with all the incidents of the pages, and a Prometheus that has scraped it.
async fn incident(folder: &Folder) -> Incident {
    let ledger: Arc<dyn Ledger> = Arc::new(Sqlite::open(&folder.path("edgesentry.db")).await.unwrap());
    let store = folder.path("store");
    let payloads: Arc<dyn PayloadStore> = Arc::new(payload::Folder::open(&store).unwrap());
    let metrics = Metrics::new();
    let limits = Limits { attempts: 1, ..Limits::default() };
    let service =
        IngestService::start_with(Arc::clone(&ledger), Arc::clone(&payloads), limits, metrics.clone());
    let mut lift = lift();
    let registration = Registration {
        device_id: "lift-01".to_owned(),
        key: lift.public_key().unwrap(),
        scheme: Scheme::Record,
        valid_from: None,
        start: None,
    };
    service.register(&registration).await.unwrap();
    let counted = metrics.clone();
    let metrics = MetricsServer::start("127.0.0.1:0", metrics).await.unwrap();
    let (prometheus, node) = scraping(folder, metrics.address().to_string()).await;
    wait_for(&prometheus, "edgesentry_ingest_error_total == 0").await;

    let send = async |record: AuditRecord| {
        let submission = Submission { record: Arc::new(record), payload: Bytes::from_static(b"door") };
        service.ingest(submission).await
    };
    for _ in 0..3 {
        assert!(send(record(&mut lift)).await.unwrap().is_success());
    }
    let mut forged = record(&mut lift.clone());
    forged.signature[0] ^= 1;
    assert!(!send(forged).await.unwrap().is_success());
    let mut broken = record(&mut lift.clone());
    broken.prev_record_hash = Hash::of(b"another record");
    lift.sign_record(&mut broken).unwrap();
    assert!(!send(broken).await.unwrap().is_success());
    let mut stranger = Device::from_seed("stranger", [2; 32], Scheme::Record);
    for _ in 0..60 {
        assert!(!send(record(&mut stranger)).await.unwrap().is_success());
    }
    // A file in place of the directory cannot store payloads.
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::write(&store, b"").unwrap();
    assert!(send(record(&mut lift)).await.is_err());
    // The log stops, because one of its heads is changed.
    let log = log(folder, &*ledger).await;
    let eraser = Eraser::new(log.clone(), ledger, payloads);
    tokio::spawn(log.keep(eraser, Duration::from_secs(1), counted));
    wait_for(&prometheus, "edgesentry_log_checkpoint_size > 0").await;
    let edit = "UPDATE log_heads SET record_hash = zeroblob(32)";
    tokio::task::block_in_place(|| folder.tamper("edgesentry.db", edit));
    wait_for(&prometheus, "edgesentry_log_stopped{code=\"ledger_tampered\"} > 0").await;
    wait_for(&prometheus, "increase(edgesentry_ingest_error_total[10m]) > 0").await;
    wait_for(&prometheus, "increase(edgesentry_ingest_rejected_total[5m]) > 50").await;
    wait_for(&prometheus, "edgesentry_backup_last_success_timestamp_seconds").await;
    Incident { _service: service, metrics, prometheus, _node: node }
}

/// Opens a transparency log of the ledger, and writes its settings.
async fn log(folder: &Folder, ledger: &dyn Ledger) -> TransparencyLog {
    edgesentry_formats::create_seed_file(&folder.path("log.seed"), &[42; 32]).unwrap();
    folder.write("eds.toml", "[log]\norigin = \"log.example/lifts\"\nkey = \"log.seed\"\n");
    let settings = LogSettings {
        origin: Some("log.example/lifts".to_owned()),
        key: Some(folder.path("log.seed")),
        ..LogSettings::default()
    };
    let (file, s3) = (folder.path("edgesentry.db"), S3Settings::default());
    let log = settings.open(ledger, Some(&file), &s3, Stores::Create).await.unwrap();
    log.init(1).await.unwrap();
    log
}

/// Starts a Prometheus that scrapes a service, and a textfile as node_exporter would serve it.
async fn scraping(folder: &Folder, service: String) -> (Prometheus, Process) {
    let textfile = Textfile::open(&folder.path("metrics.prom")).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let long_ago = now - 30.0 * 3600.0;
    textfile
        .set(&[
            BACKUP_LAST_SUCCESS.sample("base", long_ago),
            HEADS_LAST_SUCCESS.sample("", long_ago),
            ARCHIVE_GAPS.sample("", 2.0),
            BACKUP_VERIFY_FAILED.sample("base", 1.0),
            RECEIVER_LAST_SEEN.sample("", long_ago),
            SLOT_RETAINED.sample("standby1", 1e10),
            WAL_SIZE.sample("", 2e10),
            STANDBY_LAG.sample("standby1", 5e8),
            POSTGRES_OBSERVED.sample("", long_ago),
            UNIT_FAILED.sample("edgesentry-backup.service", 1.0),
        ])
        .unwrap();
    let port = free_port().unwrap();
    let mut node = Command::new("python3");
    node.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1", "--directory"])
        .arg(folder.0.path());
    let node = Process::start(&mut node, &folder.path("node.log")).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: edgesentry
    static_configs: [{{targets: [\"{service}\"]}}]
  - job_name: node
    metrics_path: /metrics.prom
    static_configs: [{{targets: [\"127.0.0.1:{port}\"]}}]
"
    );
    folder.write("prometheus.yml", config);
    (Prometheus::start(folder.0.path(), &folder.path("prometheus.yml")).await.unwrap(), node)
}

async fn wait_for(prometheus: &Prometheus, expression: &str) {
    let begin = Instant::now();
    while prometheus.query(expression).await.unwrap().is_empty() {
        assert!(begin.elapsed() < TIMEOUT, "{expression} gives nothing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn the_page_of_alerts_runs() {
    let folder = Folder::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Incident { metrics, prometheus, .. } = &runtime.block_on(incident(&folder));
    let key = lift().public_key().unwrap();
    folder.write("keys.json", format!("{{\"lift-01\": {{\"key\": \"{key}\", \"scheme\": \"record\"}}}}"));
    // Heads of a longer chain.
    let longer = Head { sequence: 9, hash: Hash::of(b"a record that is gone") };
    folder.write("heads.json", edgesentry_formats::write_heads(&Heads::from([("lift-01".into(), longer)])));
    let postgres = std::env::var("EDGESENTRY_TEST_POSTGRES").expect(
        "EDGESENTRY_TEST_POSTGRES is not set: run the tests by make test, or under scripts/servers/with",
    );
    let variables = [
        ("PROMETHEUS", prometheus.url().to_owned()),
        ("METRICS", format!("http://{}", metrics.address())),
        ("EDS_LEDGER", "sqlite:edgesentry.db".to_owned()),
        ("EDS_CONFIG", "eds.toml".to_owned()),
        ("POSTGRES", postgres),
    ];
    execute(&folder, "alerts.md", &variables);
}

#[test]
fn observability() {
    let folder = Folder::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let metrics = runtime.block_on(MetricsServer::start("127.0.0.1:0", Metrics::new())).unwrap();
    std::os::unix::fs::symlink(root().join("deploy"), folder.path("deploy")).unwrap();

    let mut lift = lift();
    let mut records: Vec<AuditRecord> = (0..3).map(|_| record(&mut lift)).collect();
    let mut forged = record(&mut lift);
    forged.signature[0] ^= 1;
    records.push(forged);
    folder.write_records("records.ndjson", &records);
    std::fs::create_dir_all(folder.path("payloads/lift-01")).unwrap();
    for record in &records {
        folder.write(&format!("payloads/{}", record.object_ref), b"door");
    }
    let key = lift.public_key().unwrap();
    let run = folder
        .eds(&format!("device register lift-01 --public-key {key} --scheme record --ledger edgesentry.db"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let variables = [("METRICS", format!("http://{}", metrics.address()))];
    execute(&folder, "observability.md", &variables);
}

#[test]
fn shapes_leave_out_variable_parts() {
    assert_eq!(shape("  a  1.25 @[17.5]"), "a # @[#]");
    assert_eq!(shape("2026-11-24T22:40:10.417Z"), "#-#-#T#:#:#Z");
}
