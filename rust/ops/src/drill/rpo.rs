//! The drill `rpo`: the loss of records if the primary and its disk are lost, without and with the WAL receiver.

use std::time::Duration;

use edgesentry_chain::count;
use edgesentry_formats::times::now_ms;
use tokio::sync::oneshot;

use super::load::Fleet;
use super::site::{Site, Tools};
use super::{DrillReport, Plan};
use crate::blocking::in_place;
use crate::check::Check;
use crate::error::Error;
use crate::failover;
use crate::observe::ignore;
use crate::restore::Target;
use crate::servers::{POSTGRESQL, SEAWEEDFS};
use crate::source::Source;
use crate::wal::Receiver;

/// The duration of the full drill's load before the crash.
pub const LOAD: Duration = Duration::from_secs(30);
/// `archive_timeout` of the full drill.
pub const ARCHIVE_TIMEOUT: Duration = Duration::from_secs(60);
/// Devices that send records one by one.
const DEVICES: usize = 4;
/// The pause between two records of a device.
const RECORD_INTERVAL: Duration = Duration::from_millis(5);
/// The RPO of the runbook, in seconds.
const LIMIT_SECONDS: f64 = 300.0;
/// The `application_name` of `pg_receivewal` as a standby.
const SIDECAR: &str = "pg_receivewal";

/// The plan of the drill.
pub const PLAN: Plan = Plan {
    name: "rpo",
    about: "The primary is lost with its disk between two archived segments, without and with the WAL receiver.",
    criterion: "less than 5 minutes of records are lost without the WAL receiver, and none with it",
    needs: &[POSTGRESQL, SEAWEEDFS],
};

/// The settings of the drill.
#[derive(Clone, Debug)]
pub struct Rpo {
    /// The programs that it needs.
    pub tools: Tools,
    /// The duration of the load before the crash.
    pub load: Duration,
    /// `archive_timeout` of the primary.
    pub archive_timeout: Duration,
}

impl Rpo {
    /// Runs the drill. Its servers are stopped and removed when it returns or is dropped.
    ///
    /// # Errors
    /// The drill could not finish; `report` has the results so far.
    pub async fn run(&self, report: &mut DrillReport) -> Result<(), Error> {
        report.at_least("seconds", self.load.as_secs(), LOAD.as_secs());
        report.at_least("archive_timeout", self.archive_timeout.as_secs(), ARCHIVE_TIMEOUT.as_secs());
        for sidecar in [false, true] {
            self.lose(sidecar, report).await?;
        }
        Ok(())
    }

    async fn lose(&self, sidecar: bool, report: &mut DrillReport) -> Result<(), Error> {
        let (how, suffix) = if sidecar {
            ("with the WAL receiver", "with_sidecar")
        } else {
            ("by the archive alone", "archive_only")
        };
        let mut site = Site::start(&self.tools, self.archive_timeout, report).await?;
        let mut fleet = Fleet::new("drill", DEVICES);
        fleet.register(&*site.ledger).await?;
        fleet.fill(&site.service, 100).await?;
        site.backup(report).await?;
        let receiving = if sidecar { Some(Receiving::start(&site, report).await?) } else { None };
        let load = fleet.send(&site.service, RECORD_INTERVAL);
        report.step(format!("records come for {} s, {how}", self.load.as_secs_f64()));
        tokio::time::sleep(self.load).await;
        let crash = now_ms();
        in_place(|| site.primary.kill())?;
        report.step(format!(
            "the primary is killed and its disk is lost, {} into the load",
            count(load.acknowledged(), "record")
        ));
        let (fleet, _) = load.stop().await?;
        if let Some(receiving) = receiving {
            receiving.end().await?;
        }
        let (server, restored) = site.restore(Target::Latest).await?;
        report.step(format!("restored to the end of the archive; last commit {:?}", restored.last_commit));
        let ledger = server.ledger().await?;
        let kept = fleet.kept(&*ledger).await?;
        let lost_seconds =
            kept.lost_since_ms.map_or(0.0, |since| crash.saturating_sub(since) as f64 / 1000.0);
        let intact = fleet.verify_what_is_there(&ledger).await?;
        report.check(Check { name: format!("every chain verifies up to its end, {how}"), ..intact });
        report.measure(&format!("records_acknowledged_{suffix}"), kept.acknowledged as f64, None);
        report.measure(&format!("records_lost_{suffix}"), kept.lost as f64, sidecar.then_some(0.0));
        report.measure(
            &format!("lost_seconds_{suffix}"),
            lost_seconds,
            Some(if sidecar { 0.0 } else { LIMIT_SECONDS }),
        );
        ledger.close().await;
        in_place(|| drop(server));
        site.end().await;
        Ok(())
    }
}

/// A running WAL receiver.
struct Receiving {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Receiving {
    /// Starts the WAL receiver, and makes commits wait for it.
    async fn start(site: &Site, report: &mut DrillReport) -> Result<Receiving, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("create a directory", &std::env::temp_dir()))?;
        let receiver = Receiver {
            folder: folder.path().to_owned(),
            slot: "edgesentry_sidecar".to_owned(),
            interval: Duration::from_secs(1),
            textfile: None,
        };
        let (archive, source) = (site.archive.clone(), Source::connect(&site.settings).await?);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async {
                // Dropping the drill stops it as well.
                let _ = stopped.await;
            };
            let received = receiver.run(&archive, &source, stopped, &ignore).await;
            drop(folder);
            received
        });
        let sql = site.primary.sql()?;
        in_place(|| failover::synchronous(&sql, SIDECAR))?;
        report.step("the WAL receiver receives write-ahead log, and commits wait for it");
        Ok(Receiving { stop, task })
    }

    /// Waits until it has sent the segments that it received.
    async fn end(self) -> Result<(), Error> {
        let _ = self.stop.send(());
        self.task.await.map_err(|error| Error::internal("the WAL receiver ended early", error))?
    }
}
