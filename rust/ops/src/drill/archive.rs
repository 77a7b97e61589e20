//! The drill `db-restore` on an archive that exists: restored beside it, and only read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edgesentry_chain::{Heads, KeyRing};
use edgesentry_rs::Settings;
use time::OffsetDateTime;

use super::DrillReport;
use super::failover::blocking;
use super::restore::LIMIT;
use super::site::{RestoredServer, Scratch};
use crate::archive::Archive;
use crate::error::Error;
use crate::observe::nobody;
use crate::recovery::{self, Recovery};
use crate::restore::{Restore, Target, restore};
use crate::servers::free_port;
use crate::source;

/// How the drill is run.
pub struct ArchiveDrill {
    /// The settings that name the archive, its server, and the payload store, whose payloads are hashed again.
    pub settings: Settings,
    /// The same as a file, for the commands that PostgreSQL runs; none where they are `EDS_` variables.
    pub config: Option<PathBuf>,
    /// `eds` itself.
    pub eds: PathBuf,
    /// How far back from now.
    pub back: Duration,
    /// Heads that must be there.
    pub heads: Option<Heads>,
    /// The devices' keys; those of the ledger if none are given.
    pub keys: Option<KeyRing>,
    /// The links after which chains begin that do not begin at sequence 1.
    pub start_heads: Option<Heads>,
}

impl ArchiveDrill {
    /// Runs the drill. The archive is only read; the restored server archives nothing, and is gone when it is over.
    pub async fn run(self, report: &mut DrillReport) -> Result<(), Error> {
        let archive = Archive::open(&self.settings).await?;
        let payloads = self.settings.open_payloads().await?;
        let programs = source::programs(&self.settings)?;
        let scratch =
            Scratch::new(&programs, &self.eds, self.config.as_deref(), self.settings.ops.temp.as_deref())?;
        let target = OffsetDateTime::now_utc() - self.back;
        report.step(format!("{} is restored to {}", archive.place(), Target::Time(target)));
        let port = free_port().map_err(Error::io("find a free port", scratch.folder()))?;
        let wanted = Restore {
            backup: None,
            target: Target::Time(target),
            data: scratch.folder().join("restored"),
            port,
            command: scratch.command(),
            drill: true,
            timeline: None,
            accept_loss: false,
            patience: Duration::from_secs(24 * 3600),
        };
        let begin = Instant::now();
        let restored = restore(&self.settings, &archive, &wanted, &nobody).await?;
        let url = source::on_loopback(source::url(&self.settings)?, port)?;
        let server = RestoredServer::new(restored.pid, url);
        report.step(format!("the restored server takes writes; last commit {:?}", restored.last_commit));
        let ledger = server.ledger().await?;
        let target_ms = u64::try_from(target.unix_timestamp_nanos() / 1_000_000).ok();
        let recovery = Recovery {
            ledger: Arc::clone(&ledger),
            payloads,
            heads: self.heads,
            keys: self.keys,
            start_heads: self.start_heads,
            target_ms,
            silences: Some(Ok(Vec::new())),
        };
        for check in recovery::verify(&recovery, &Arc::default()).await {
            report.check(check);
        }
        report.step("the checklist of verify-recovery is gone through");
        report.measure("download_seconds", restored.download_seconds, None);
        report.measure("extract_seconds", restored.extract_seconds, None);
        report.measure("replay_seconds", restored.recover_seconds, None);
        report.measure("recovery_seconds", begin.elapsed().as_secs_f64(), Some(LIMIT));
        ledger.close().await;
        blocking(|| drop((server, scratch)));
        Ok(())
    }
}
