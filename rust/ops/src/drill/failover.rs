//! The drill `db-failover`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edgesentry_chain::count;
use edgesentry_formats::times::now_ms;
use edgesentry_rs::ledger::{Postgres, PostgresSettings};
use edgesentry_rs::payload::Memory;
use edgesentry_rs::{IngestService, Ledger, Limits, PayloadStore};
use rustix::process::{Pid, Signal, kill_process};

use super::facts::postgres_version;
use super::load::{Fleet, Load};
use super::{DrillReport, Plan};
use crate::blocking::in_place;
use crate::check::Check;
use crate::error::Error;
use crate::failover::{self, Detection};
use crate::postgres::Programs;
use crate::servers::{Cluster, POSTGRESQL, Primary};

/// Records in the ledger of the full drill before the load begins.
pub const RECORDS: u64 = 10_000;
/// Records that the load of the full drill writes before the crash and after each step.
pub const LOAD: u64 = 2_000;
/// Devices that send concurrently.
const DEVICES: usize = 16;
/// The timeout for ingest to resume, on a slow machine; the pass criterion is another figure.
pub(super) const RESUME_TIMEOUT: Duration = Duration::from_secs(1800);
/// The RTO of the runbook, in seconds.
pub(super) const LIMIT_SECONDS: f64 = 1800.0;
/// The lag of an asynchronous standby when its primary crashes.
const LAG: Duration = Duration::from_secs(1);
/// Settings of the clusters: as in production, but for a small machine.
const SETTINGS: [&str; 3] = ["max_connections = 40", "wal_keep_size = '128MB'", "max_wal_size = '2GB'"];

/// The plan of the drill.
pub const PLAN: Plan = Plan {
    name: "db-failover",
    about: "The primary is killed under load and fenced, and its synchronous standby is promoted.",
    criterion: "no acknowledged record is lost, the old primary accepts no writes, and ingest continues within 30 \
         minutes",
    needs: &[POSTGRESQL],
};

/// The settings of the drill.
#[derive(Clone, Debug)]
pub struct Failover {
    /// The programs of PostgreSQL.
    pub programs: Programs,
    /// Records in the ledger before the load begins.
    pub records: u64,
    /// Records that the load must have written before the crash, and again after each later step.
    pub load: u64,
    /// Use a standby that is a second behind in place of a synchronous one, to show the loss.
    pub asynchronous: bool,
}

impl Failover {
    /// Runs the drill. Its servers are stopped and removed when it returns or is dropped.
    ///
    /// # Errors
    /// The drill could not finish; `report` has the results so far.
    pub async fn run(&self, report: &mut DrillReport) -> Result<(), Error> {
        report.at_least("records", self.records, RECORDS);
        report.at_least("load", self.load, LOAD);
        report.option("asynchronous", self.asynchronous);
        report.full_if(!self.asynchronous);
        report.version("PostgreSQL", postgres_version(&self.programs));
        let (mut primary, mut standby) = in_place(|| self.pair(report))?;
        let url = primary.url_with([primary.host(), standby.host()], "postgres");
        let rehearsal = Rehearsal::begin(settings(url), "drill", self.records, self.load, report).await?;
        let load = &rehearsal.load;
        if self.asynchronous {
            hold_wal(&primary, report).await?;
        }
        let crash = self.fail_over(&mut primary, &mut standby, load, report).await?;
        self.old_primary_returns(&mut primary, report)?;
        let rebuilt =
            if self.asynchronous { None } else { Some(self.rebuild(&standby, load, report).await?) };

        rehearsal.conclude(settings(standby.url("postgres")), crash, report).await?;
        in_place(|| drop((primary, standby, rebuilt)));
        Ok(())
    }

    /// Starts a primary and its standby.
    fn pair(&self, report: &mut DrillReport) -> Result<(Cluster, Cluster), Error> {
        let mut primary = Cluster::create(&self.programs, "primary", &SETTINGS)?;
        primary.start()?;
        let mut standby = Cluster::standby(Primary { cluster: &primary, standby: "standby1" }, &[])?;
        standby.start()?;
        let how = if self.asynchronous {
            "asynchronous"
        } else {
            failover::synchronous(&primary.sql()?, "standby1")?;
            "synchronous: FIRST 1 (standby1)"
        };
        report.step(format!(
            "PostgreSQL {} on ports {} and {}, replication {how}",
            self.programs.major(),
            primary.port(),
            standby.port()
        ));
        Ok((primary, standby))
    }

    /// Crashes the primary, fences it, promotes the standby and waits for a record. Returns the time of the crash.
    async fn fail_over(
        &self,
        primary: &mut Cluster,
        standby: &mut Cluster,
        load: &Load,
        report: &mut DrillReport,
    ) -> Result<u64, Error> {
        let (crash_ms, begin) = (now_ms(), Instant::now());
        in_place(|| primary.kill())?;
        report.step(format!(
            "the primary is killed with SIGKILL, {} into the load",
            count(load.acknowledged(), "record")
        ));
        let old = primary.sql()?;
        if !in_place(|| failover::wait_until_gone(&old, Detection::default(), RESUME_TIMEOUT)) {
            return Err(stalled("the killed primary still responds"));
        }
        let detected = begin.elapsed();
        report.step("the primary is considered down: no response for a second");
        failover::fence(&self.programs, &primary.data())?;
        report.step("the old primary is fenced: standby.signal in its data directory");
        let promoting = Instant::now();
        in_place(|| failover::promote(&standby.sql()?))?;
        let promoted = promoting.elapsed();
        report.step("the standby is promoted and accepts writes");
        let resumed = load.wait_for_more(1, RESUME_TIMEOUT).await;
        let recovered = begin.elapsed();
        let evidence = if resumed {
            report.step("the first record is acknowledged again");
            format!("the first record was acknowledged {:.2} s after the crash", recovered.as_secs_f64())
        } else {
            "no further record was acknowledged".to_owned()
        };
        report.check(Check::new("ingest continues by itself, through the list of hosts", resumed, evidence));
        report.measure("detection_seconds", detected.as_secs_f64(), None);
        report.measure("promotion_seconds", promoted.as_secs_f64(), None);
        if resumed {
            report.measure("recovery_seconds", recovered.as_secs_f64(), Some(LIMIT_SECONDS));
            load.wait_for_more(self.load, RESUME_TIMEOUT).await;
        }
        Ok(crash_ms)
    }

    /// Brings the old primary back, as after the repair of its machine.
    fn old_primary_returns(&self, primary: &mut Cluster, report: &mut DrillReport) -> Result<(), Error> {
        let check = in_place(|| -> Result<Check, Error> {
            primary.start()?;
            let check = failover::refuses_writes(&primary.sql()?);
            primary.stop()?;
            Ok(check)
        })?;
        report.step("the old primary was started once more, tried, and stopped");
        report.check(check);
        Ok(())
    }

    /// Makes a standby for the new primary; commits wait for it.
    async fn rebuild(
        &self,
        primary: &Cluster,
        load: &Load,
        report: &mut DrillReport,
    ) -> Result<Cluster, Error> {
        let begin = Instant::now();
        let rebuilt = in_place(|| -> Result<Cluster, Error> {
            let mut standby = Cluster::standby(Primary { cluster: primary, standby: "standby2" }, &[])?;
            standby.start()?;
            failover::synchronous(&primary.sql()?, "standby2")?;
            Ok(standby)
        })?;
        report.step("the new primary has a synchronous standby again: FIRST 1 (standby2)");
        report.measure("redundancy_seconds", begin.elapsed().as_secs_f64(), None);
        let goes_on = load.wait_for_more(self.load, RESUME_TIMEOUT).await;
        let evidence =
            if goes_on { "records are acknowledged with it" } else { "no record is acknowledged any more" };
        report.check(Check::new("the new primary has a synchronous standby", goes_on, evidence));
        Ok(rebuilt)
    }
}

/// Devices that send through a list of hosts while one of them is lost.
pub(super) struct Rehearsal {
    service: IngestService,
    payloads: Arc<dyn PayloadStore>,
    pub(super) load: Load,
}

impl Rehearsal {
    /// Fills the ledger, and starts the load.
    pub(super) async fn begin(
        ledger: PostgresSettings,
        devices: &str,
        records: u64,
        load: u64,
        report: &mut DrillReport,
    ) -> Result<Rehearsal, Error> {
        let ledger: Arc<dyn Ledger> = Arc::new(Postgres::connect(&ledger).await?);
        let payloads: Arc<dyn PayloadStore> = Arc::new(Memory::default());
        let service = IngestService::start(Arc::clone(&ledger), Arc::clone(&payloads), Limits::default());
        let mut fleet = Fleet::new(devices, DEVICES);
        fleet.register(&*ledger).await?;
        fleet.fill(&service, records).await?;
        report.step(format!("the ledger holds {}", count(fleet.count(), "record")));
        let sending = fleet.send(&service, Duration::ZERO);
        if !sending.wait_for_more(load, RESUME_TIMEOUT).await {
            return Err(stalled("before the crash"));
        }
        Ok(Rehearsal { service, payloads, load: sending })
    }

    /// Ends the load, and compares the new primary with the acknowledged records.
    pub(super) async fn conclude(
        self,
        new_primary: PostgresSettings,
        crash_ms: u64,
        report: &mut DrillReport,
    ) -> Result<(), Error> {
        let (fleet, seen) = self.load.stop().await?;
        report.step(format!("the load ends: {} attempts were repeated", seen.retried));
        let new: Arc<dyn Ledger> = Arc::new(Postgres::connect(&new_primary).await?);
        let kept = fleet.kept(&*new).await?;
        report.check(Check::new(
            "every acknowledged record is in the new primary",
            kept.lost == 0,
            format!("{} of {} acknowledged records are missing", kept.lost, kept.acknowledged),
        ));
        let verified = fleet.verify(&new, Some(&self.payloads)).await?;
        report.check(verified);
        let evidence = match seen.rejected.first() {
            None => format!("none of {DEVICES} devices was rejected"),
            Some(first) => {
                format!("{} of {DEVICES} devices were rejected, such as {first}", seen.rejected.len())
            }
        };
        report.check(Check::new("every device continues its chain", seen.rejected.is_empty(), evidence));
        report.measure("records_acknowledged", kept.acknowledged as f64, None);
        report.measure("records_lost", kept.lost as f64, Some(0.0));
        if let Some(since) = kept.lost_since_ms {
            report.measure("lost_seconds", crash_ms.saturating_sub(since) as f64 / 1000.0, None);
        }
        self.service.ledger().close().await;
        new.close().await;
        Ok(())
    }
}

fn settings(url: String) -> PostgresSettings {
    PostgresSettings { url: url.into(), timeout_seconds: 10, ..PostgresSettings::default() }
}

/// Holds back write-ahead log, so that the standby is behind when the primary crashes.
async fn hold_wal(primary: &Cluster, report: &mut DrillReport) -> Result<(), Error> {
    let pid = in_place(|| primary.sql()?.query("SELECT pid FROM pg_stat_replication"))?;
    if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
        let process = format!("/proc/{}", pid.as_raw_nonzero());
        let stopped = kill_process(pid, Signal::STOP).map_err(std::io::Error::from);
        stopped.map_err(Error::io("stop the sender of write-ahead log", Path::new(&process)))?;
    }
    report.step(format!("the standby lags for {} s", LAG.as_secs()));
    tokio::time::sleep(LAG).await;
    Ok(())
}

pub(super) fn stalled(when: &str) -> Error {
    Error::Server { server: "the drill".to_owned(), problem: format!("it does not continue: {when}") }
}
