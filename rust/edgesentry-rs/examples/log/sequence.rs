//! Sequences a ledger that is older than its log, and single rounds after it.

use serde_json::{Value, json};

use super::{Clock, Options, fill, open, open_log, peak_mib};

pub(super) async fn run(place: &str, options: &Options) -> Value {
    let (ledger, _) = open(place, None).await;
    let log = open_log(
        &*ledger,
        options.path("store").expect("store=DIRECTORY"),
        options.number("max_records", 100_000),
    )
    .await;
    let mut leader = log.lead().await.unwrap();
    let clock = Clock::start();
    let all = log.sequence(&mut leader).await.unwrap();
    let mut done = json!({
        "leaves": all.leaves, "batches": all.batches, "all": clock.times(), "peak_mib": peak_mib(),
    });
    let clock = Clock::start();
    assert_eq!(log.sequence(&mut leader).await.unwrap().batches, 0);
    done["idle"] = clock.times();
    let clock = Clock::start();
    assert_eq!(log.status().await.unwrap().backlog, 0);
    done["status"] = clock.times();
    let moved = options.number("moved", 10);
    fill::append(place, moved).await;
    let clock = Clock::start();
    assert_eq!(log.sequence(&mut leader).await.unwrap().leaves, moved + 1);
    done["few"] = clock.times();
    done["peak_mib_of_all"] = peak_mib().into();
    ledger.close().await;
    done
}
