//! The jobs that the tests run in separate processes, to kill them.
//!
//! The test binary is its own worker: `cargo test` ignores [`worker`], the tests call it by name.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use edgesentry_rs::agent::Outbox;
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::settings::{Access, Overrides, Settings};

use crate::common::{Kind, Place, START_MS, chain, device, registration};

const JOB: &str = "EDGESENTRY_TEST_JOB";

/// Returns a command that runs `job` of [`worker`] on the stores of a place.
pub fn command(job: &str, place: &Place) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "worker::worker", "--ignored", "--nocapture", "--test-threads=1"])
        .env(JOB, job)
        .env("EDS_LEDGER", &place.url)
        .env("EDGESENTRY_TEST_FOLDER", place.folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if place.kind == Kind::Postgres {
        command.env("EDS_PAYLOADS", format!("packs:{}", place.path("payloads").display()));
    }
    command
}

pub fn start(job: &str, place: &Place) -> Child {
    command(job, place).spawn().unwrap()
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn worker() {
    let job = std::env::var(JOB).expect("only other tests run this one");
    let folder = PathBuf::from(std::env::var_os("EDGESENTRY_TEST_FOLDER").unwrap());
    // Ends the line that the test harness has begun.
    say("");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let settings = Settings::load(None, &Overrides::default()).unwrap();
        let stores = settings.open(Access::Create).await.unwrap();
        let payloads = stores.payloads().unwrap();
        let service = IngestService::start(stores.ledger, payloads, settings.ingest);
        let job: Vec<&str> = job.split(' ').collect();
        match job[..] {
            ["load"] => load(&service, &folder, None).await,
            ["finish"] => load(&service, &folder, Some(0)).await,
            ["race", number] => race(&service, number.parse().unwrap()).await,
            ["fill"] => fill(&service).await,
            ["packs"] => crate::packs::limited(&folder).await,
            ["large"] => say(&format!("answers {}", crate::admission::large(&service).await)),
            _ => panic!("no such job: {job:?}"),
        }
    });
}

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").unwrap();
    stdout.flush().unwrap();
}

/// Four devices sign into their outboxes and flush, printing the acknowledged records, until they are killed or have
/// each signed `records` more.
async fn load(service: &IngestService, folder: &Path, records: Option<u64>) {
    let tasks: Vec<_> = (1..=4)
        .map(|number| {
            let (service, outbox) = (service.clone(), folder.join(format!("outbox-{number}.db")));
            tokio::spawn(async move {
                let device = device(number);
                service.register(&registration(&device)).await.unwrap();
                let id = device.device_id().to_owned();
                let agent = Outbox::open(&outbox, device).await.unwrap();
                let mut signed = 0;
                loop {
                    let flushed = agent.flush(&service).await.unwrap();
                    assert_eq!(flushed.rejection, None, "{id}");
                    if let Some(head) = agent.head().await.unwrap() {
                        say(&format!("ack {id} {}", head.sequence));
                    }
                    if records.is_some_and(|records| signed >= records) {
                        break;
                    }
                    for _ in 0..5 {
                        let next = agent.head().await.unwrap().map_or(1, |head| head.sequence + 1);
                        let payload = Bytes::from(format!("{id} {next}"));
                        agent.sign(START_MS + next, payload, &format!("{id}/{next}.bin")).await.unwrap();
                        signed += 1;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Runs eight tasks that all continue the same chains in their own way, see `race.rs`.
async fn race(service: &IngestService, number: u64) {
    let won = crate::race::eight_tasks(service, number).await;
    say(&format!("won {won}"));
}

/// Ingests until a store fails.
async fn fill(service: &IngestService) {
    let mut lift = device(1);
    service.register(&registration(&lift)).await.unwrap();
    let head = service.ledger().heads().await.unwrap().get("lift-01").copied();
    lift = lift.resume(head);
    for _ in 0..1000 {
        let batch = chain(&mut lift, 50);
        let answers = service.ingest_many(batch.clone()).await;
        for (submission, answer) in batch.iter().zip(answers) {
            match answer {
                Ok(outcome) if outcome.is_success() => {
                    say(&format!("ack lift-01 {}", submission.record.sequence))
                }
                Ok(outcome) => panic!("{outcome:?}"),
                Err(error) => {
                    say(&format!("error {} {} {error}", error.code(), error.is_retryable()));
                    return;
                }
            }
        }
    }
    panic!("the disk never filled");
}

/// Returns the lines of a worker that has ended.
pub fn lines(output: &std::process::Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
