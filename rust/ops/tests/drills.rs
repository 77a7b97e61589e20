//! The drills, in a short form, on real servers.
#![allow(clippy::unwrap_used)]

use edgesentry_ops::check::Status;
use edgesentry_ops::drill::DrillReport;
use edgesentry_ops::drill::failover::{self, Failover};
use edgesentry_ops::drill::objects::{self, ObjectRecovery};
use edgesentry_ops::postgres::Programs;
use edgesentry_ops::s3::{Bucket, Holds, Replication, Setup, check};
use edgesentry_ops::servers::{SeaweedFs, find_weed};

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_record_is_lost_with_a_synchronous_standby() {
    let mut report = DrillReport::begin(failover::PLAN.name, failover::PLAN.about);
    let programs = Programs::find(None).unwrap();
    let drill = Failover { programs, records: 500, load: 200, asynchronous: false };
    drill.run(&mut report).await.unwrap();
    report.end();
    assert_eq!(report.status(), Status::Passed, "{}", report.text());
    assert_eq!(report.checks.len(), 8, "{}", report.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drill_reports_records_lost_by_an_asynchronous_standby() {
    let mut report = DrillReport::begin(failover::PLAN.name, failover::PLAN.about);
    let programs = Programs::find(None).unwrap();
    let drill = Failover { programs, records: 100, load: 200, asynchronous: true };
    drill.run(&mut report).await.unwrap();
    report.end();
    assert_eq!(report.status(), Status::Failed, "{}", report.text());
    let lost = report.measures.iter().find(|measure| measure.name == "records_lost").unwrap();
    assert!(lost.value > 0.0, "{}", report.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_and_overwritten_payloads_are_restored() {
    let mut report = DrillReport::begin(objects::PLAN.name, objects::PLAN.about);
    let drill = ObjectRecovery { weed: find_weed(None).unwrap(), records: 40 };
    drill.run(&mut report).await.unwrap();
    report.end();
    assert_eq!(report.status(), Status::Passed, "{}", report.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_the_promises_of_its_set_up() {
    let server = SeaweedFs::start(&find_weed(None).unwrap()).unwrap();
    let bucket = Bucket::new("audit-payloads", &server.settings()).await.unwrap();
    let replication =
        Replication { to: "arn:aws:s3:::copy".to_owned(), role: "arn:aws:iam::1:role/copy".to_owned() };
    let holds = Holds::Payloads;
    let setup = Setup { holds, retention_days: 2, replication: Some(replication), existing: false };

    let planned = setup.run(&bucket, false).await.unwrap();
    assert!(planned.iter().all(|step| step.change && step.status == Status::Unknown), "{planned:#?}");
    assert!(check(&bucket, holds, 2).await.unwrap_err().to_string().contains("the bucket does not exist"));

    let done = setup.run(&bucket, true).await.unwrap();
    let states: Vec<Status> = done.iter().map(|step| step.status).collect();
    let passed = Status::Passed;
    assert_eq!(states, [passed, passed, passed, passed, Status::Unknown], "{done:#?}");
    assert!(done[4].evidence.starts_with("not supported by this store"), "{done:#?}");
    let again = setup.run(&bucket, true).await.unwrap();
    assert!(again[..4].iter().all(|step| !step.change), "{again:#?}");
    let shorter = Setup { holds, retention_days: 1, replication: None, existing: false }
        .run(&bucket, true)
        .await
        .unwrap_err();
    assert!(shorter.to_string().contains("would become shorter"), "{shorter}");

    let checks = check(&bucket, holds, 2).await.unwrap();
    let not_passed: Vec<&str> = checks
        .iter()
        .filter(|check| check.status != Status::Passed)
        .map(|check| check.name.as_str())
        .collect();
    assert_eq!(not_passed, ["the store replicates"], "{checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unprotected_bucket_is_reported() {
    let server = SeaweedFs::start(&find_weed(None).unwrap()).unwrap();
    let client = server.settings().client().await.unwrap();
    client.create_bucket().bucket("plain").send().await.unwrap();
    let bucket = Bucket::new("plain", &server.settings()).await.unwrap();
    let checks = check(&bucket, Holds::Payloads, 1).await.unwrap();
    let of = |name: &str| checks.iter().find(|check| check.name == name).unwrap().status;
    assert_eq!(of("an overwritten object is kept as a version"), Status::Failed, "{checks:#?}");
    assert_eq!(of("Object Lock COMPLIANCE holds by default"), Status::Failed, "{checks:#?}");
    assert_eq!(of("a version cannot be deleted"), Status::Unknown, "{checks:#?}");
    assert_eq!(of("a write under If-None-Match does not overwrite"), Status::Passed, "{checks:#?}");
}
