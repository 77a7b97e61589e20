//! The drill `db-failover`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edgesentry_rs::ledger::{Postgres, PostgresSettings};
use edgesentry_rs::payload::Memory;
use edgesentry_rs::{IngestService, Ledger, Limits, PayloadStore};
use rustix::process::{Pid, Signal, kill_process};

use super::load::{Fleet, Load};
use super::unix_ms;
use super::{DrillReport, Plan};
use crate::check::Check;
use crate::error::Error;
use crate::failover::{self, Detection};
use crate::postgres::Programs;
use crate::servers::{Cluster, POSTGRESQL, Primary};

/// Devices that send at once.
const DEVICES: usize = 16;
/// How long ingest may take to go on, on a slow machine; the pass criterion is another figure.
const PATIENCE: Duration = Duration::from_secs(1800);
/// The runbook's time for a failover, in seconds.
const LIMIT: f64 = 1800.0;
/// How far an asynchronous standby is behind when its primary dies.
const LAG: Duration = Duration::from_secs(1);
/// Settings of the clusters: as in production, but for a small machine.
const SETTINGS: [&str; 3] = ["max_connections = 40", "wal_keep_size = '128MB'", "max_wal_size = '2GB'"];

/// What is known of it beforehand.
pub const PLAN: Plan = Plan {
    name: "db-failover",
    about: "The primary is killed under load and fenced, and its synchronous standby is promoted.",
    criterion: "no acknowledged record is lost, the old primary takes no writes, and ingest goes on within 30 minutes",
    needs: &[POSTGRESQL],
};

/// How the drill is run.
#[derive(Clone, Debug)]
pub struct Failover {
    /// What the clusters run on.
    pub programs: Programs,
    /// Records in the ledger before the load begins.
    pub records: u64,
    /// Records that the load must have brought before the crash, and again after each later step.
    pub load: u64,
    /// Without a synchronous standby, one that is a second behind: shows what is lost then.
    pub asynchronous: bool,
}

impl Failover {
    /// Runs the drill. Servers are stopped and gone when it returns or is dropped.
    pub async fn run(&self, report: &mut DrillReport) -> Result<(), Error> {
        let (mut primary, mut standby) = blocking(|| self.pair(report))?;
        let url = primary.url_with([primary.host(), standby.host()], "postgres");
        let ledger: Arc<dyn Ledger> = Arc::new(Postgres::connect(&settings(url)).await?);
        let payloads: Arc<dyn PayloadStore> = Arc::new(Memory::default());
        let service = IngestService::start(Arc::clone(&ledger), Arc::clone(&payloads), Limits::default());
        let mut fleet = Fleet::new("drill", DEVICES);
        fleet.register(&*ledger).await?;
        fleet.fill(&service, self.records).await?;
        report.step(format!("the ledger holds {} records", fleet.count()));
        let load = fleet.send(&service, Duration::ZERO);
        if !load.wait_for_more(self.load, PATIENCE).await {
            return Err(stalled("before the crash"));
        }

        if self.asynchronous {
            hold_wal(&primary, report).await?;
        }
        let crash = self.fail_over(&mut primary, &mut standby, &load, report).await?;
        self.old_primary_returns(&mut primary, report)?;
        let rebuilt =
            if self.asynchronous { None } else { Some(self.rebuild(&standby, &load, report).await?) };

        let (fleet, seen) = load.stop().await?;
        report.step(format!("the load ends: {} attempts were repeated", seen.retried));
        let new: Arc<dyn Ledger> = Arc::new(Postgres::connect(&settings(standby.url("postgres"))).await?);
        let kept = fleet.kept(&*new).await?;
        report.check(Check::new(
            "every acknowledged record is in the new primary",
            kept.lost == 0,
            format!("{} of {} acknowledged records are missing", kept.lost, kept.acknowledged),
        ));
        let verified = fleet.verify(&new, Some(&payloads)).await?;
        report.check(verified);
        let evidence = match seen.rejected.first() {
            None => format!("none of {DEVICES} devices was rejected"),
            Some(first) => {
                format!("{} of {DEVICES} devices were rejected, such as {first}", seen.rejected.len())
            }
        };
        report.check(Check::new("every device goes on with its chain", seen.rejected.is_empty(), evidence));
        report.measure("records_acknowledged", kept.acknowledged as f64, None);
        report.measure("records_lost", kept.lost as f64, Some(0.0));
        if let Some(since) = kept.lost_since_ms {
            report.measure("lost_seconds", crash.saturating_sub(since) as f64 / 1000.0, None);
        }
        service.ledger().close().await;
        new.close().await;
        blocking(|| drop((primary, standby, rebuilt)));
        Ok(())
    }

    /// A primary and its standby, which run.
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

    /// Crash, detection, fence, promotion, and the first record after it. Answers when the crash was, Unix milliseconds.
    async fn fail_over(
        &self,
        primary: &mut Cluster,
        standby: &mut Cluster,
        load: &Load,
        report: &mut DrillReport,
    ) -> Result<u64, Error> {
        let (crash_ms, begin) = (unix_ms(), Instant::now());
        blocking(|| primary.kill())?;
        report.step(format!(
            "the primary is killed with SIGKILL, {} records into the load",
            load.acknowledged()
        ));
        let old = primary.sql()?;
        if !blocking(|| failover::wait_until_gone(&old, Detection::default(), PATIENCE)) {
            return Err(stalled("the killed primary still answers"));
        }
        let detected = begin.elapsed();
        report.step("the primary counts as gone: no answer for a second");
        failover::fence(&self.programs, &primary.data())?;
        report.step("the old primary is fenced: standby.signal in its data folder");
        let promoting = Instant::now();
        blocking(|| failover::promote(&standby.sql()?))?;
        let promoted = promoting.elapsed();
        report.step("the standby is promoted and takes writes");
        let resumed = load.wait_for_more(1, PATIENCE).await;
        let recovered = begin.elapsed();
        let evidence = if resumed {
            report.step("the first record is acknowledged again");
            format!("the first record was acknowledged {:.2} s after the crash", recovered.as_secs_f64())
        } else {
            "no record was acknowledged any more".to_owned()
        };
        report.check(Check::new("ingest goes on by itself, through the list of hosts", resumed, evidence));
        report.measure("detection_seconds", detected.as_secs_f64(), None);
        report.measure("promotion_seconds", promoted.as_secs_f64(), None);
        if resumed {
            report.measure("recovery_seconds", recovered.as_secs_f64(), Some(LIMIT));
            load.wait_for_more(self.load, PATIENCE).await;
        }
        Ok(crash_ms)
    }

    /// The old primary comes back, as it will when its machine is repaired.
    fn old_primary_returns(&self, primary: &mut Cluster, report: &mut DrillReport) -> Result<(), Error> {
        let check = blocking(|| -> Result<Check, Error> {
            primary.start()?;
            let check = failover::refuses_writes(&primary.sql()?);
            primary.stop()?;
            Ok(check)
        })?;
        report.step("the old primary was started once more, tried, and stopped");
        report.check(check);
        Ok(())
    }

    /// A new standby for the new primary; commits wait for it.
    async fn rebuild(
        &self,
        primary: &Cluster,
        load: &Load,
        report: &mut DrillReport,
    ) -> Result<Cluster, Error> {
        let begin = Instant::now();
        let rebuilt = blocking(|| -> Result<Cluster, Error> {
            let mut standby = Cluster::standby(Primary { cluster: primary, standby: "standby2" }, &[])?;
            standby.start()?;
            failover::synchronous(&primary.sql()?, "standby2")?;
            Ok(standby)
        })?;
        report.step("the new primary has a synchronous standby again: FIRST 1 (standby2)");
        report.measure("redundancy_seconds", begin.elapsed().as_secs_f64(), None);
        let goes_on = load.wait_for_more(self.load, PATIENCE).await;
        let evidence =
            if goes_on { "records are acknowledged with it" } else { "no record is acknowledged any more" };
        report.check(Check::new("the new primary has a synchronous standby", goes_on, evidence));
        Ok(rebuilt)
    }
}

fn settings(url: String) -> PostgresSettings {
    PostgresSettings { url: url.into(), timeout_seconds: 10, ..PostgresSettings::default() }
}

/// Holds back write-ahead log, so that the standby is behind when the primary dies.
async fn hold_wal(primary: &Cluster, report: &mut DrillReport) -> Result<(), Error> {
    let pid = blocking(|| primary.sql()?.query("SELECT pid FROM pg_stat_replication"))?;
    if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::STOP).map_err(|error| {
            Error::Config(format!("the sender of write-ahead log cannot be held: {error}"))
        })?;
    }
    report.step(format!("the standby is left behind for {} s", LAG.as_secs()));
    tokio::time::sleep(LAG).await;
    Ok(())
}

fn stalled(when: &str) -> Error {
    Error::Server { server: "the drill".to_owned(), problem: format!("it does not go on: {when}") }
}

/// Does work that blocks; the tasks of the drill run on.
pub(super) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
