//! The drills, in a short form, on real servers.
#![allow(clippy::unwrap_used)]

use edgesentry_ops::check::Status;
use edgesentry_ops::drill::failover::Failover;
use edgesentry_ops::drill::{DB_FAILOVER, DrillReport};
use edgesentry_ops::postgres::Programs;

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_record_is_lost_with_a_synchronous_standby() {
    let mut report = DrillReport::begin(DB_FAILOVER.name, DB_FAILOVER.about);
    let programs = Programs::find(None).unwrap();
    let drill = Failover { programs, records: 500, load: 200, asynchronous: false };
    drill.run(&mut report).await.unwrap();
    report.end();
    assert_eq!(report.status(), Status::Passed, "{}", report.text());
    assert_eq!(report.checks.len(), 7, "{}", report.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_standby_loses_records_and_the_drill_says_so() {
    let mut report = DrillReport::begin(DB_FAILOVER.name, DB_FAILOVER.about);
    let programs = Programs::find(None).unwrap();
    let drill = Failover { programs, records: 100, load: 200, asynchronous: true };
    drill.run(&mut report).await.unwrap();
    report.end();
    assert_eq!(report.status(), Status::Failed, "{}", report.text());
    let lost = report.measures.iter().find(|measure| measure.name == "records_lost").unwrap();
    assert!(lost.value > 0.0, "{}", report.text());
}
