//! Services that are killed at random points under load: nothing acknowledged is lost, nothing is blocked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use edgesentry_rs::ledger::Filter;

use crate::common::{Place, all, device, names, records};
use crate::on_every_ledger;
use crate::worker;

on_every_ledger!(what_is_acknowledged_survives_kill_9);

/// How often the service is killed; `make soak` sets more.
fn rounds() -> u64 {
    std::env::var("EDGESENTRY_CRASH_ROUNDS").map_or(50, |rounds| rounds.parse().unwrap())
}

/// The last acknowledged sequence of each device.
type Acknowledged = BTreeMap<String, u64>;

fn take_down(acknowledged: &mut Acknowledged, line: &str) {
    let mut words = line.split(' ');
    if words.next() == Some("ack")
        && let (Some(device), Some(sequence)) = (words.next(), words.next())
    {
        let sequence: u64 = sequence.parse().unwrap();
        let last = acknowledged.entry(device.to_owned()).or_default();
        *last = sequence.max(*last);
    }
}

async fn what_is_acknowledged_survives_kill_9(place: Place) {
    let mut acknowledged = Acknowledged::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let all_are_acknowledged = |acknowledged: &Acknowledged| acknowledged.len() == 4;
    for round in 0..rounds() * 10 {
        // On a busy machine a device may get no acknowledgement within the time of the first rounds.
        if round >= rounds() && all_are_acknowledged(&acknowledged) {
            break;
        }
        let mut child = worker::start("load", &place);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<String>>());
        // Some die during the start, most under load.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros(20_000 + (random >> 33) % 300_000));
        assert!(child.try_wait().unwrap().is_none(), "the worker has ended by itself");
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{said}");
        reader.join().unwrap().iter().for_each(|line| take_down(&mut acknowledged, line));
        if round % 10 == 9 {
            check(&place, &acknowledged).await;
        }
    }
    assert!(all_are_acknowledged(&acknowledged), "{acknowledged:?}");
    // New services send the remaining records of the outboxes.
    let output = worker::command("finish", &place).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    worker::lines(&output).iter().for_each(|line| take_down(&mut acknowledged, line));
    check(&place, &acknowledged).await;
    resend(&place).await;
}

async fn check(place: &Place, acknowledged: &Acknowledged) {
    let report = place.report().await;
    assert!(report.findings.is_empty(), "{report:?}");
    let heads = place.ledger().await.heads().await.unwrap();
    for (device, last) in acknowledged {
        let held = heads.get(device.as_str()).map_or(0, |head| head.sequence);
        assert!(held >= *last, "{device}: {last} was acknowledged, the ledger ends at {held}");
    }
}

/// Sends every record again: the service holds them all.
async fn resend(place: &Place) {
    let (service, payloads) = (place.service().await, place.payloads().await);
    for number in 1..=4 {
        let id = device(number).device_id().to_owned();
        let filter = Filter { devices: vec![id], ..Filter::default() };
        let mut again = Vec::new();
        for record in records(&**service.ledger(), &filter).await {
            let payload = payloads.get(&record).await.unwrap().unwrap();
            again.push(edgesentry_rs::Submission { record: record.into(), payload });
        }
        let count = again.len();
        assert_eq!(names(&service.ingest_many(again).await), all("duplicate", count));
    }
}
