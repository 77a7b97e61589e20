//! Tasks and processes that race on the same devices: no chain ever forks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::ingest::verify::Submission;
use edgesentry_rs::ledger::Filter;

use crate::common::{Place, device, devices, names, records};
use crate::on_every_ledger;
use crate::worker;

on_every_ledger!(tasks_and_processes_never_fork_a_chain);

const DEVICES: u8 = 3;
const RECORDS: u64 = 40;

/// Runs eight tasks, each of which tries to write every record of every chain; returns how many they have won.
pub async fn eight_tasks(service: &IngestService, number: u64) -> u64 {
    let won = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (service, won) = (service.clone(), Arc::clone(&won));
            tokio::spawn(async move {
                for id in 1..=DEVICES {
                    continue_chain(&service, id, number * 8 + task, &won).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    won.load(Ordering::Relaxed)
}

async fn continue_chain(service: &IngestService, id: u8, writer: u64, won: &AtomicU64) {
    loop {
        let lift = device(id);
        let head = service.ledger().heads().await.unwrap().get(lift.device_id()).copied();
        let mut lift = lift.resume(head);
        let sequence = head.map_or(1, |head| head.sequence + 1);
        if sequence > RECORDS {
            return;
        }
        let payload = Bytes::from(format!("{id} {sequence} by {writer}"));
        let record = lift.sign(writer, &payload, format!("{id}/{sequence}/{writer}")).unwrap();
        let answer = service.ingest(Submission { record: Arc::new(record), payload }).await;
        match names(&[answer])[0] {
            "accepted" => drop(won.fetch_add(1, Ordering::Relaxed)),
            // Another task was faster.
            "fork" => {}
            other => panic!("{other}"),
        }
    }
}

async fn tasks_and_processes_never_fork_a_chain(place: Place) {
    devices(&*place.ledger().await, DEVICES).await;
    let processes: Vec<_> = (1..=2).map(|number| worker::start(&format!("race {number}"), &place)).collect();
    // A third service, in this process.
    let mut won = eight_tasks(&place.service().await, 0).await;
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = worker::lines(&output);
        let line = lines.iter().find_map(|line| line.strip_prefix("won ")).unwrap();
        won += line.parse::<u64>().unwrap();
    }
    assert_eq!(won, u64::from(DEVICES) * RECORDS, "each record was acknowledged to one writer");
    assert_eq!(records(&*place.ledger().await, &Filter::default()).await.len() as u64, won);
    let report = place.report().await;
    assert!(report.ok(), "{report:?}");
}
