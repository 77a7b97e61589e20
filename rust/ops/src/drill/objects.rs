//! The drill `s3-object-recovery`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, count};
use edgesentry_formats::content_path;
use edgesentry_rs::ledger::Sqlite;
use edgesentry_rs::payload::{S3, S3Settings};
use edgesentry_rs::{Filter, IngestService, Ledger, Limits, PayloadStore};
use futures::TryStreamExt;

use super::facts::version_of;
use super::load::Fleet;
use super::{DrillReport, Plan};
use crate::blocking::in_place;
use crate::check::{Check, Status};
use crate::error::Error;
use crate::restore_object::{self, State};
use crate::s3::{Bucket, Holds, Setup};
use crate::servers::{SEAWEEDFS, SeaweedFs};

/// Records of the full drill.
pub const RECORDS: u64 = 200;
/// Devices whose payloads are stored.
const DEVICES: usize = 5;
/// Payloads that are deleted, and the same number that is overwritten.
const DAMAGED: usize = 3;
/// The bucket of the drill.
const BUCKET: &str = "drill-payloads";
/// The RTO of the runbook for the recovery of objects, in seconds.
const LIMIT_SECONDS: f64 = 1800.0;

/// The plan of the drill.
pub const PLAN: Plan = Plan {
    name: "s3-object-recovery",
    about: "Payloads are deleted and overwritten in S3, and brought back from their versions.",
    criterion: "every payload is byte-identical again, and no version of one could be deleted",
    needs: &[SEAWEEDFS],
};

/// The settings of the drill.
#[derive(Clone, Debug)]
pub struct ObjectRecovery {
    /// The program `weed`.
    pub weed: PathBuf,
    /// Records whose payloads are stored.
    pub records: u64,
}

impl ObjectRecovery {
    /// Runs the drill. The server is stopped and removed when it returns or is dropped.
    ///
    /// # Errors
    /// The drill could not finish; `report` has the results so far.
    pub async fn run(&self, report: &mut DrillReport) -> Result<(), Error> {
        report.at_least("records", self.records, RECORDS);
        report.version("SeaweedFS", version_of(&self.weed, "version"));
        enough(self.records)?;
        let server = in_place(|| SeaweedFs::start(&self.weed))?;
        report.step(format!("SeaweedFS at {}", server.endpoint()));
        let settings = server.settings();
        let bucket = Bucket::new(BUCKET, &settings).await?;
        let steps = Setup { holds: Holds::Payloads, retention_days: 30, replication: None, existing: false }
            .run(&bucket, true)
            .await?;
        if let Some(step) = steps.iter().find(|step| step.status == Status::Failed) {
            return Err(Error::Server {
                server: bucket.place(),
                problem: format!("{}: {}", step.what, step.evidence),
            });
        }
        report.step("the bucket keeps versions, locked in mode COMPLIANCE for 30 days");

        recover(&bucket, &settings, "drill", self.records, report).await?;
        in_place(|| drop(server));
        Ok(())
    }
}

/// Checks that there are enough payloads to damage.
pub(super) fn enough(records: u64) -> Result<(), Error> {
    if records >= 2 * DAMAGED as u64 {
        return Ok(());
    }
    Err(Error::Config(format!("the drill needs {} records or more", 2 * DAMAGED)))
}

/// Stores payloads of devices whose names begin with `devices`, damages some, and restores them.
pub(super) async fn recover(
    bucket: &Bucket,
    settings: &S3Settings,
    devices: &str,
    records: u64,
    report: &mut DrillReport,
) -> Result<(), Error> {
    let folder = tempfile::tempdir().map_err(Error::io("create a directory", &std::env::temp_dir()))?;
    let ledger = Sqlite::open(&folder.path().join("ledger.db")).await?;
    let ledger: Arc<dyn Ledger> = Arc::new(ledger);
    let store = Arc::new(S3::connect(bucket.name(), settings).await?);
    let payloads: Arc<dyn PayloadStore> = Arc::<S3>::clone(&store);
    let service = IngestService::start(Arc::clone(&ledger), Arc::clone(&payloads), Limits::default());
    let mut fleet = Fleet::new(devices, DEVICES);
    fleet.register(&*ledger).await?;
    fleet.fill(&service, records).await?;
    report.step(format!("{}, their payloads in the bucket", count(fleet.count(), "record")));

    let mut damaged = Vec::with_capacity(2 * DAMAGED);
    for (device_id, sequence) in fleet.first(2 * DAMAGED) {
        let filter = Filter {
            devices: vec![device_id],
            from_sequence: Some(sequence),
            to_sequence: Some(sequence),
            ..Filter::default()
        };
        let records: Vec<_> = ledger.records(&filter).try_collect().await?;
        damaged.extend(records.concat());
    }
    damage(bucket, &store, &damaged, report).await?;
    let before = fleet.verify(&ledger, Some(&payloads)).await?;
    let noticed = Check::new(
        "verification notices every damaged payload",
        before.status == Status::Failed,
        before.evidence,
    );
    report.check(noticed);

    let begin = Instant::now();
    let mut exact = 0;
    for record in &damaged {
        let restored = restore_object::from_versions(&store, record, true).await?;
        let bytes = store.get(record).await?;
        let expected = fleet.payload(&record.device_id, record.sequence);
        exact += usize::from(restored.state == State::Restored && bytes == Some(expected));
    }
    let recovered = begin.elapsed();
    report.step("the payloads are restored from their versions");
    report.check(Check::new(
        "every damaged payload is byte-identical again",
        exact == damaged.len(),
        format!("{exact} of {}", damaged.len()),
    ));
    report.check(fleet.verify(&ledger, Some(&payloads)).await?);
    report.measure("recovery_seconds", recovered.as_secs_f64(), Some(LIMIT_SECONDS));
    report.measure("payloads_restored", exact as f64, None);
    service.ledger().close().await;
    Ok(())
}

/// Deletes half of the payloads and overwrites the others; then tries to delete every version for good.
async fn damage(
    bucket: &Bucket,
    store: &S3,
    damaged: &[AuditRecord],
    report: &mut DrillReport,
) -> Result<(), Error> {
    // Without Object Lock each version could be deleted: the drill skips that, so that the rest can be rehearsed.
    let locked = bucket.lock_days().await?.is_some();
    let (mut deletable, mut tried) = (Vec::new(), 0);
    for (at, record) in damaged.iter().enumerate() {
        let key = content_path(record);
        if at % 2 == 0 {
            bucket.delete(&key).await?;
        } else {
            store.put_on_top(&key, Bytes::from_static(b"forged")).await?;
        }
        let versions = if locked { store.versions(record).await? } else { Vec::new() };
        for version in versions.iter().filter(|version| !version.deleted) {
            tried += 1;
            if bucket.delete_version(&key, &version.id).await? {
                deletable.push(format!("{key} version {}", version.id));
            }
        }
    }
    report.step(format!("{DAMAGED} payloads are deleted, {DAMAGED} are overwritten"));
    let evidence = match deletable.first() {
        None if !locked => "the bucket has no Object Lock in mode COMPLIANCE, so each could be".to_owned(),
        None => format!("{tried} versions were tried, all refused"),
        Some(first) => format!("{} of {tried} versions were deleted, such as {first}", deletable.len()),
    };
    report.check(Check::new(
        "no version of a payload can be deleted",
        locked && deletable.is_empty(),
        evidence,
    ));
    Ok(())
}
