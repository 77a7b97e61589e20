//! The transparency log in the drills of a restore: it signs nothing with a restored ledger, and continues after a recovery.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edgesentry_chain::count;
use edgesentry_formats::create_seed_file;
use edgesentry_formats::times::now_ms;
use edgesentry_rs::ledger::{Conflicts, Leader};
use edgesentry_rs::log::{LogError, LogReader, LogSettings, Published, Recovered, Stores, TransparencyLog};
use edgesentry_rs::settings::Access;
use edgesentry_rs::{IngestService, Ledger, Limits, Settings};
use tempfile::TempDir;

use super::DrillReport;
use super::load::Fleet;
use super::site::{LOG_STORE, Site};
use crate::check::{Check, Status};
use crate::error::Error;
use crate::random::random;
use crate::recovery::RestoredLog;
use crate::recovery::transparency;

/// The name of a drill's own log.
const ORIGIN: &str = "drill.example/ledger";
/// Records after the recovery.
const NEXT: u64 = 3;
/// The duration of a recovery.
const MEASURE: &str = "log_recover_seconds";
/// The time within which the lock of an earlier leader must be free: a server notices a closed connection later.
const LEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The log of a drill's own ledger.
pub(super) struct DrillLog {
    settings: Settings,
    _folder: TempDir,
}

impl DrillLog {
    /// Opens a log of the ledger of a site.
    pub(super) async fn open(site: &Site, report: &mut DrillReport) -> Result<DrillLog, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("create a directory", &std::env::temp_dir()))?;
        let key = folder.path().join("log.seed");
        create_seed_file(&key, &random()?)
            .map_err(|error| Error::unusable(format!("{}: cannot write a key", key.display()), error))?;
        let log = LogSettings {
            origin: Some(ORIGIN.to_owned()),
            key: Some(key),
            store: Some(LOG_STORE.to_owned()),
            ..LogSettings::default()
        };
        let settings = Settings { log, ..site.settings.stores.clone() };
        let drill = DrillLog { settings, _folder: folder };
        let log = drill.of(&*site.ledger).await?;
        log.init(now_ms()).await.map_err(|error| failed(&error))?;
        report
            .step(format!("the transparency log {ORIGIN} is opened, with its lock in {}", log.lock_place()));
        Ok(drill)
    }

    /// Signs a checkpoint, and returns it.
    pub(super) async fn sign(
        &self,
        ledger: &dyn Ledger,
        report: &mut DrillReport,
    ) -> Result<Published, Error> {
        let log = self.of(ledger).await?;
        log.sequence(&mut lead(&log).await?).await.map_err(|error| failed(&error))?;
        let published = self.reader(ledger).await?.published().await.map_err(|error| failed(&error))?;
        report.step(format!("a checkpoint of size {} is signed", published.checkpoint.size()));
        Ok(published)
    }

    /// Shows that the log signs nothing with a restored ledger, and recovers the ledger.
    pub(super) async fn recover(&self, ledger: &dyn Ledger, report: &mut DrillReport) -> Result<(), Error> {
        refuse_and_recover(&self.of(ledger).await?, ("", MEASURE), report).await
    }

    /// Does the same with a ledger that was restored from a dump.
    pub(super) async fn recover_dump(
        &self,
        ledger: &dyn Ledger,
        report: &mut DrillReport,
    ) -> Result<(), Error> {
        let named = ("from the dump: ", "dump_log_recover_seconds");
        refuse_and_recover(&self.of(ledger).await?, named, report).await
    }

    /// Signs the next checkpoint after the recovery of a ledger, and compares it with one that was kept.
    pub(super) async fn go_on(
        &self,
        site: &Site,
        ledger: &Arc<dyn Ledger>,
        (later, kept): (&mut Fleet, &Published),
        report: &mut DrillReport,
    ) -> Result<(), Error> {
        let back = later.kept(&**ledger).await?;
        let evidence = format!("{} of {} records are missing", back.lost, back.acknowledged);
        report.check(Check::new("every record that the log has is back", back.lost == 0, evidence));
        let limits = Limits { attempts: 1, ..Limits::default() };
        let service = IngestService::start(Arc::clone(ledger), Arc::clone(&site.payloads), limits);
        later.fill(&service, NEXT).await?;
        let next = self.sign(&**ledger, report).await?;
        let proof = self.reader(&**ledger).await?.prove_consistency(&next, &kept.checkpoint).await;
        let (from, to) = (kept.checkpoint.size(), next.checkpoint.size());
        let evidence = match &proof {
            Ok(_) => format!("from size {from} to size {to}"),
            Err(error) => error.to_string(),
        };
        let name =
            "the next checkpoint is signed, and extends the one that was kept from before the incident";
        report.check(Check::new(name, proof.is_ok() && to > from, evidence));
        Ok(())
    }

    async fn of(&self, ledger: &dyn Ledger) -> Result<TransparencyLog, Error> {
        Ok(self.settings.log.open(ledger, None, &self.settings.s3, Stores::Existing).await?)
    }

    async fn reader(&self, ledger: &dyn Ledger) -> Result<LogReader, Error> {
        Ok(self.settings.log.open_reader(ledger, None, &self.settings.s3).await?)
    }
}

/// Makes the log of a site sign a checkpoint before its archive is restored.
pub(super) async fn sign_on_site(settings: &Settings, report: &mut DrillReport) -> Result<(), Error> {
    if !settings.log.is_on() {
        return Ok(());
    }
    let stores = Settings { payloads: None, ..settings.clone() }.open(Access::Existing).await?;
    let signed = async {
        let log = settings.log.open(&*stores.ledger, None, &settings.s3, Stores::Existing).await?;
        let done = match log.lead().await {
            Ok(mut leader) => log.sequence(&mut leader).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(done) => report.step(format!(
                "the transparency log {} of the site signs {}",
                log.origin(),
                count(done.batches, "checkpoint")
            )),
            Err(LogError::LedElsewhere) => report.step(format!(
                "another process writes the transparency log {} of the site, and signs its checkpoints",
                log.origin()
            )),
            Err(error) => return Err(failed(&error)),
        }
        Ok(())
    };
    let signed = signed.await;
    stores.ledger.close().await;
    signed
}

/// Recovers a restored copy of a site's ledger. Nothing of the site's log is changed, and nothing is signed.
pub(super) async fn rehearse(
    settings: &Settings,
    ledger: &dyn Ledger,
    report: &mut DrillReport,
) -> Result<(), Error> {
    let restored = RestoredLog::open(settings, ledger, "eds checkpoint recover".to_owned()).await;
    let restored = match restored {
        RestoredLog::Opened { log, recover } => {
            RestoredLog::Opened { log: Box::new(log.read_only()), recover }
        }
        other => other,
    };
    if let RestoredLog::Opened { log, .. } = &restored {
        match log.lag().await {
            Ok(Some(_)) => {
                refuse_and_recover(log, ("", MEASURE), report).await?;
                report.step("no checkpoint is signed: the log belongs to the site, and is only read");
            }
            Ok(None) => report.step("no checkpoint was signed after the moment: nothing has to be recovered"),
            // The check below has the error.
            Err(_) => {}
        }
    }
    if let Some(check) = transparency::check(&restored, ledger).await {
        if matches!(restored, RestoredLog::NotConfigured) && check.status == Status::Passed {
            report.step(check.evidence.clone());
        }
        report.check(check);
    }
    Ok(())
}

/// Checks begin with `prefix`; `measure` is the duration of the recovery.
async fn refuse_and_recover(
    log: &TransparencyLog,
    (prefix, measure): (&str, &str),
    report: &mut DrillReport,
) -> Result<(), Error> {
    log.reopen().await.map_err(|error| failed(&error))?;
    let mut leader = lead(log).await?;
    let refusal = log.sequence(&mut leader).await;
    let (refused, evidence) = match &refusal {
        Ok(_) => (false, "it signed".to_owned()),
        Err(error) => (error.code() == "log_behind", format!("{}: {error}", error.code())),
    };
    let name = format!("{prefix}the transparency log signs nothing with the restored ledger");
    report.check(Check::new(name, refused, evidence));

    let begin = Instant::now();
    let recovered = log.recover(&mut leader, Conflicts::Refuse).await;
    let seconds = begin.elapsed().as_secs_f64();
    let evidence = match &recovered {
        Ok(Recovered { batches, leaves, .. }) => {
            format!("{} under {}", count(*leaves, "leaf"), count(*batches, "checkpoint"))
        }
        Err(error) if error.is_retryable() => return Err(failed(error)),
        Err(error) => error.to_string(),
    };
    let name = format!("{prefix}eds checkpoint recover puts the records of the log back");
    report.check(Check::new(name, recovered.is_ok(), evidence));
    report.measure(measure, seconds, None);
    Ok(())
}

/// Becomes the leader, once the lock of an earlier one is free.
async fn lead(log: &TransparencyLog) -> Result<Leader, Error> {
    let begin = Instant::now();
    loop {
        match log.lead().await {
            Err(LogError::LedElsewhere) if begin.elapsed() < LEAD_TIMEOUT => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            done => return done.map_err(|error| failed(&error)),
        }
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Server {
        server: "the transparency log".to_owned(),
        problem: edgesentry_rs::error::describe(error),
    }
}
