//! The drill `db-restore` on an existing archive, which is only read: the restore is made beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edgesentry_chain::{Heads, KeyRing};
use time::OffsetDateTime;

use super::facts::postgres_version;
use super::restore::LIMIT_SECONDS;
use super::site::{RestoredServer, Scratch};
use super::{DrillReport, Plan, log};
use crate::archive::Archive;
use crate::blocking::in_place;
use crate::error::Error;
use crate::observe::ignore;
use crate::recovery::{self, Recovery, RestoredLog, Silences};
use crate::restore::{self, Reached, Restore, Target, restore};
use crate::servers::{POSTGRESQL, free_port};
use crate::settings::Settings;
use crate::source::{self, Source};
use crate::wal::WalName;

/// The time within which a segment must reach the archive.
const ARCHIVE_TIMEOUT: Duration = Duration::from_secs(1800);

/// The plan of the drill.
pub const PLAN: Plan = Plan {
    name: "db-restore-archive",
    about: "The archive of a site is restored to a moment, onto a server of the drill's own.",
    criterion: "every chain verifies up to that moment with its payloads, it took less than 30 minutes, and the copy is \
         recovered from the transparency log, if the ledger has one",
    needs: &[POSTGRESQL],
};

/// The settings of the drill.
pub struct ArchiveDrill {
    /// The settings that name the archive, its server, and the payload store, whose payloads are hashed again.
    pub settings: Settings,
    /// The same as a file, for the commands that PostgreSQL runs; none if the settings are `EDS_` variables.
    pub config: Option<PathBuf>,
    /// The `eds` program.
    pub eds: PathBuf,
    /// Commit a transaction on the server first, so that recovery can stop after the target time on an idle server
    /// too.
    pub commit: bool,
    /// The time to restore to, counted back from now.
    pub back: Duration,
    /// Heads that the ledger must have.
    pub heads: Option<Heads>,
    /// The devices' keys; by default those of the ledger.
    pub keys: Option<KeyRing>,
    /// The links after which chains begin that do not begin at sequence 1.
    pub start_heads: Option<Heads>,
}

impl ArchiveDrill {
    /// Runs the drill. The archive is only read; the restored server archives nothing and is removed at the end.
    ///
    /// # Errors
    /// The drill could not finish; `report` has the results so far.
    pub async fn run(self, report: &mut DrillReport) -> Result<(), Error> {
        let archive = Archive::open(&self.settings).await?;
        let payloads = self.settings.stores.open_payloads().await?;
        let programs = source::programs(&self.settings)?;
        report.place = format!("{}, restored onto a server of its own", archive.place());
        report.version("PostgreSQL", postgres_version(&programs));
        report.option("back", self.back.as_secs());
        report.option("commit", self.commit);
        report.option("heads", self.heads.is_some());
        report.option("keys", if self.keys.is_some() { "given" } else { "those of the ledger" });
        let scratch =
            Scratch::new(&programs, &self.eds, self.config.as_deref(), self.settings.ops.temp.as_deref())?;
        let moment = OffsetDateTime::now_utc() - self.back;
        report.step(format!("{} is restored to {}", archive.place(), Target::Time(moment)));
        if self.commit {
            log::sign_on_site(&self.settings.stores, report).await?;
            self.make_commit(&archive, report).await?;
        }
        let (target, timeline) = self.reachable(&archive, moment, report).await?;
        let port = free_port().map_err(Error::io("find a free port", scratch.folder()))?;
        let wanted = Restore {
            backup: None,
            target,
            data: scratch.folder().join("restored"),
            port,
            command: scratch.command(),
            drill: true,
            timeline,
            accept_loss: false,
            patience: Duration::from_secs(24 * 3600),
        };
        let begin = Instant::now();
        let restored = restore(&self.settings, &archive, &wanted, &ignore).await?;
        let url = source::on_loopback(source::url(&self.settings)?, port)?;
        let server = RestoredServer::new(restored.pid, url);
        report.step(format!("the restored server accepts writes; last commit {:?}", restored.last_commit));
        let ledger = server.ledger().await?;
        let target_ms = u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok();
        let recovery = Recovery {
            ledger: Arc::clone(&ledger),
            payloads,
            heads: self.heads,
            keys: self.keys,
            start_heads: self.start_heads,
            target_ms,
            log: RestoredLog::OfDrill,
            silences: Silences::OfDrill,
        };
        for check in recovery::verify(&recovery, &Arc::default()).await {
            report.check(check);
        }
        report.step(recovery::GONE_THROUGH);
        log::rehearse(&self.settings.stores, &*ledger, report).await?;
        report.measure("download_seconds", restored.download_seconds, None);
        report.measure("extract_seconds", restored.extract_seconds, None);
        report.measure("replay_seconds", restored.recover_seconds, None);
        report.measure("recovery_seconds", begin.elapsed().as_secs_f64(), Some(LIMIT_SECONDS));
        ledger.close().await;
        in_place(|| drop((server, scratch)));
        Ok(())
    }

    /// Returns the target time, or the end of the archive if no transaction ended after the target: then nothing was
    /// committed between the two.
    async fn reachable(
        &self,
        archive: &Archive,
        moment: OffsetDateTime,
        report: &mut DrillReport,
    ) -> Result<(Target, Option<u32>), Error> {
        let Reached { timeline, last_transaction: last } = restore::reached(&self.settings, archive).await?;
        if last.is_some_and(|last| last > moment) {
            return Ok((Target::Time(moment), None));
        }
        let last = last.map_or("none".to_owned(), |last| Target::Time(last).to_string());
        report.step(format!(
            "no transaction in the archive ended after {}, the last one at {last}: it is restored to its end",
            Target::Time(moment)
        ));
        Ok((Target::Latest, Some(timeline)))
    }

    /// Commits a transaction that changes nothing, and waits until it is in the archive.
    async fn make_commit(&self, archive: &Archive, report: &mut DrillReport) -> Result<(), Error> {
        let Source { sql, .. } = Source::connect(&self.settings).await?;
        // A transaction with an id writes a commit record.
        let commit = "SELECT pg_current_xact_id();\nSELECT pg_walfile_name(pg_switch_wal())";
        let answer = in_place(|| sql.query(commit))?;
        // The id of the transaction is not used.
        let segment = answer.lines().last().unwrap_or_default();
        let name: WalName = segment.parse().map_err(|_| Error::Server {
            server: sql.place().to_owned(),
            problem: format!("its name of a segment is not understood: {segment:?}"),
        })?;
        report.step(format!("a transaction was ended on {}, in segment {segment}", sql.place()));
        let begin = Instant::now();
        while archive.objects().list(&name.key()).await?.is_empty() {
            if begin.elapsed() > ARCHIVE_TIMEOUT {
                return Err(Error::Server {
                    server: sql.place().to_owned(),
                    problem: format!(
                        "{segment} is not in {} after {} s",
                        archive.place(),
                        ARCHIVE_TIMEOUT.as_secs()
                    ),
                });
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        report.step(format!("{segment} is in the archive"));
        Ok(())
    }

    /// Returns the effects of the drill, a sentence each.
    pub fn touches(&self) -> Vec<String> {
        let archive = self.settings.ops.archive.as_deref().unwrap_or("the archive");
        let mut touches =
            vec![format!("{archive} is read, and restored into a directory that is removed at the end")];
        if self.commit {
            let server = "the server of the archive ends a transaction that changes nothing, and switches to another segment";
            touches.push(server.to_owned());
        }
        if let Some(origin) = &self.settings.stores.log.origin {
            touches.push(if self.commit {
                format!("the transparency log {origin} signs the records that wait")
            } else {
                format!("the files of the transparency log {origin} are read")
            });
        }
        touches
    }
}
