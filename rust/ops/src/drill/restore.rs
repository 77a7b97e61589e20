//! The drill `db-restore`.

use std::time::{Duration, Instant};

use edgesentry_chain::count;
use edgesentry_rs::log::Published;
use time::OffsetDateTime;

use super::load::Fleet;
use super::log::DrillLog;
use super::site::{Site, Tools};
use super::{DrillReport, Plan, dump};
use crate::blocking::in_place;
use crate::check::Check;
use crate::error::Error;
use crate::recovery::{self, Recovery, RestoredLog, Silences};
use crate::restore::Target;
use crate::servers::{POSTGRESQL, SEAWEEDFS};

/// Records of the full drill.
pub const RECORDS: u64 = 20_000;
/// Devices that send.
const DEVICES: usize = 100;
/// Records after the target time; none of them may be in the restored ledger.
const LATER: u64 = 100;
/// The RTO of the runbook, in seconds.
pub(super) const LIMIT_SECONDS: f64 = 1800.0;
const ARCHIVE_TIMEOUT: Duration = Duration::from_secs(60);

/// The plan of the drill.
pub const PLAN: Plan = Plan {
    name: "db-restore",
    about: "Records are destroyed in the database, and a new server is restored to the moment before.",
    criterion: "every chain verifies up to that moment and no later record exists, in less than 30 minutes, a dump \
         restores completely, and the transparency log signs nothing before the ledger is recovered from it",
    needs: &[POSTGRESQL, SEAWEEDFS],
};

/// The settings of the drill.
#[derive(Clone, Debug)]
pub struct RestoreDrill {
    /// The programs that it needs.
    pub tools: Tools,
    /// Records up to the target time: half of them are in the base backup, half in write-ahead log.
    pub records: u64,
}

impl RestoreDrill {
    /// Runs the drill. Its servers are stopped and removed when it returns or is dropped.
    ///
    /// # Errors
    /// The drill could not finish; `report` has the results so far.
    pub async fn run(&self, report: &mut DrillReport) -> Result<(), Error> {
        report.at_least("records", self.records, RECORDS);
        let mut site = Site::start(&self.tools, ARCHIVE_TIMEOUT, report).await?;
        let mut fleet = Fleet::new("drill", DEVICES);
        fleet.register(&*site.ledger).await?;
        let mut later = Fleet::new("later", 3);
        later.register(&*site.ledger).await?;
        let log = DrillLog::open(&site, report).await?;
        fleet.fill(&site.service, self.records / 2).await?;
        log.sign(&*site.ledger, report).await?;
        site.backup(report).await?;
        fleet.fill(&site.service, self.records - self.records / 2).await?;
        let heads = site.ledger.heads().await?;
        report.step(format!("{}; heads are written down", count(fleet.count(), "record")));
        let dump = dump::take(&site, report).await?;
        let (target, checkpoint) = self.incident(&site, &log, &mut later, report).await?;
        in_place(|| site.primary.stop())?;

        let begin = Instant::now();
        report.step(format!("restore to {target}"));
        let (server, restored) = site.restore(target).await?;
        let writable = begin.elapsed();
        report.step(format!("the restored server accepts writes; last commit {:?}", restored.last_commit));
        let ledger = server.ledger().await?;
        let kept = fleet.kept(&*ledger).await?;
        let evidence = format!("{} of {} records are missing", kept.lost, kept.acknowledged);
        report.check(Check::new("every record up to the moment exists", kept.lost == 0, evidence));
        let extra = later.kept(&*ledger).await?;
        let there = extra.acknowledged - extra.lost;
        let evidence = format!("{there} of {} later records exist", extra.acknowledged);
        report.check(Check::new(
            "no record after the moment exists",
            there == 0 && extra.acknowledged > 0,
            evidence,
        ));
        let recovery = Recovery {
            ledger: std::sync::Arc::clone(&ledger),
            payloads: Some(std::sync::Arc::clone(&site.payloads)),
            heads: Some(heads.clone()),
            keys: Some(fleet.keys()?),
            start_heads: None,
            target_ms: None,
            log: RestoredLog::OfDrill,
            silences: Silences::OfDrill,
        };
        for check in recovery::verify(&recovery, &std::sync::Arc::default()).await {
            report.check(check);
        }
        report.step(recovery::GONE_THROUGH);
        report.measure("records", kept.acknowledged as f64, None);
        report.measure("records_lost", kept.lost as f64, Some(0.0));
        report.measure("download_seconds", restored.download_seconds, None);
        report.measure("extract_seconds", restored.extract_seconds, None);
        report.measure("replay_seconds", restored.recover_seconds, None);
        report.measure("writable_seconds", writable.as_secs_f64(), None);
        report.measure("recovery_seconds", begin.elapsed().as_secs_f64(), Some(LIMIT_SECONDS));
        log.recover(&*ledger, report).await?;
        log.go_on(&site, &ledger, (&mut later, &checkpoint), report).await?;
        dump::restore(&site, &dump, &server, (heads, fleet.keys()?, &log), report).await?;
        ledger.close().await;
        in_place(|| drop(server));
        site.end().await;
        Ok(())
    }

    /// Reads the target time, sends the later records, signs a checkpoint, destroys records, and waits until all of it is
    /// archived.
    async fn incident(
        &self,
        site: &Site,
        log: &DrillLog,
        later: &mut Fleet,
        report: &mut DrillReport,
    ) -> Result<(Target, Published), Error> {
        let sql = site.primary.sql()?;
        let now = in_place(|| sql.query("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)"))?;
        let wrong = || Error::Server {
            server: sql.place().to_owned(),
            problem: format!("its time is not a number of microseconds: {now}"),
        };
        let micros: i128 = now.parse().map_err(|_| wrong())?;
        let moment =
            OffsetDateTime::from_unix_timestamp_nanos(micros.saturating_mul(1000)).map_err(|_| wrong())?;
        tokio::time::sleep(Duration::from_millis(20)).await;
        later.fill(&site.service, LATER).await?;
        let checkpoint = log.sign(&*site.ledger, report).await?;
        in_place(|| sql.query("DELETE FROM audit_records WHERE device_id < 'drill-050'"))?;
        report.step("the incident: half of the devices' records are deleted in the database");
        // Recovery to a time fails if nothing was committed after it: the switch archives the later records.
        let last = in_place(|| sql.query("SELECT pg_walfile_name(pg_switch_wal())"))?;
        let archived = format!("SELECT coalesce(last_archived_wal >= '{last}', false) FROM pg_stat_archiver");
        let begin = Instant::now();
        while in_place(|| sql.query(&archived))? != "t" {
            if begin.elapsed() > Duration::from_secs(1800) {
                let problem = in_place(|| sql.query("SELECT last_failed_wal FROM pg_stat_archiver"))?;
                return Err(Error::Server {
                    server: sql.place().to_owned(),
                    problem: format!("{last} is not archived; the last failure: {problem:?}"),
                });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok((Target::Time(moment), checkpoint))
    }
}
