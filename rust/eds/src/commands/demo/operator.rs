//! The operator of the demo, who has the database and the key of the log, against an auditor who keeps a checkpoint.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Checks, Report, Scheme};
use edgesentry_formats::times::now_ms;
use edgesentry_formats::{
    LogCheck, Options, Progress, Source, describe, layout_path, verify_with_log, write_key_ring,
};
use edgesentry_log::{LogInputs, Note, Policy};
use edgesentry_rs::export::{Target, export_logged};
use edgesentry_rs::log::{LogSettings, Logged, Stores};
use edgesentry_rs::settings::Access;
use edgesentry_rs::{IngestService, Settings, Submission};

use super::bundle::{self, Bundle};
use super::folder::{DemoFolder, write};
use super::trials::Trial;
use crate::commands::checkpoint;
use crate::exit::Failure;
use crate::fleet::{Fleet, WATER};
use crate::stores::Opened;
use crate::tamper;

const ORIGIN: &str = "log.example/demo";

/// Signs a checkpoint, which the auditor keeps. Then replaces the ledger by a copy with an edited record, and makes the
/// log again, with its own key. Leaves the export of the copy, an evidence bundle of the first ledger and the files of the
/// auditor in the directory.
pub(super) fn trials(fleet: &Fleet, folder: &DemoFolder) -> Result<([Trial; 2], Bundle), Failure> {
    checkpoint::create_key(&folder.of_log("log.seed"))?;
    let (honest, kept) = ledger(fleet, &fleet.records, folder, "ledger.db")?;
    write(&folder.of_log("keys.json"), write_key_ring(&fleet.keys).as_bytes())?;
    write(&folder.of_log("kept"), &kept.checkpoint.note)?;

    let mut records = fleet.records.clone();
    // The signature of this device does not cover the time, so the service accepts the edited chain.
    let unseen =
        tamper::edit_time_and_relink(&mut records, WATER, fleet.last(WATER) / 2, Scheme::PayloadHash);
    let (edited, rebuilt) = ledger(fleet, &records, folder, "edited.db")?;
    let export = folder.of_log("edited.json");
    edited.wait(export_logged(&*edited.ledger, &rebuilt, Target::File(export.clone()), |_| true))?;
    write(&layout_path(&export), &rebuilt.layout)?;

    let key = checkpoint::log_of(&edited, Stores::Existing)?.key().to_string();
    let policy = format!("log {key}\nquorum none\n");
    write(&folder.of_log("policy"), policy.as_bytes())?;
    let policy = Policy::parse(policy.as_bytes()).map_err(|error| failure(&error))?;
    let bundle = bundle::write(&honest, &fleet.keys, &policy, folder)?;
    let (note, kept) = (note_of(&rebuilt)?, note_of(&kept)?);
    let verify = |previous: Option<&Note>| -> Result<Report, Failure> {
        let places = Some(&rebuilt.places);
        let log = LogInputs { policy: &policy, checkpoint: &note, places, previous, max_age: None };
        let checks = Checks { keys: Some(&fleet.keys), ..Checks::default() };
        let (log, progress) = (LogCheck::new(&log), Arc::new(Progress::default()));
        let sources = vec![Source::Path(export.clone())];
        Ok(verify_with_log(sources, &checks, Some(&log), &Options::default(), &progress)?)
    };
    let trials = [
        Trial::new("a time edited, the log rebuilt and signed", unseen, &verify(None)?)
            .unseen("nothing: links, signatures and the new log agree"),
        Trial::new("  the same, against the kept checkpoint", tamper::log_rebuilt(), &verify(Some(&kept))?),
    ];
    Ok((trials, bundle))
}

/// Ingests records into a new ledger, and signs a checkpoint of its log.
fn ledger(
    fleet: &Fleet,
    records: &[AuditRecord],
    folder: &DemoFolder,
    file: &str,
) -> Result<(Opened, Logged), Failure> {
    let key = Some(folder.of_log("log.seed"));
    let settings = Settings {
        ledger: format!("sqlite:{}", folder.of_log(file).display()).into(),
        log: LogSettings { origin: Some(ORIGIN.to_owned()), key, ..LogSettings::default() },
        ..Settings::default()
    };
    let opened = Opened::new(settings, Access::Create)?;
    opened.register(&fleet.keys)?;
    let (payloads, limits) = (opened.payloads()?, opened.settings.ingest.clone());
    let submissions = records.iter().zip(&fleet.payloads).map(|(record, payload)| Submission {
        record: Arc::new(record.clone()),
        payload: Bytes::from(payload.clone()),
    });
    let outcomes = opened.runtime.block_on(async {
        let service = IngestService::start(Arc::clone(&opened.ledger), payloads, limits);
        service.ingest_many(submissions.collect()).await
    });
    for outcome in outcomes {
        if let Some(rejection) = outcome?.rejection() {
            let message = format!("the service has rejected a record: {}", rejection.code.name());
            return Err(Failure::unfinished("demo", message));
        }
    }
    let log = checkpoint::log_of(&opened, Stores::Create)?;
    let logged = checkpoint::wait(&opened, async {
        log.init(now_ms()).await?;
        log.sequence(&mut log.lead().await?).await?;
        Logged::read(&*opened.ledger).await
    })?;
    Ok((opened, logged))
}

fn note_of(logged: &Logged) -> Result<Note, Failure> {
    Note::parse(&logged.checkpoint.note).map_err(|error| failure(&error))
}

fn failure(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::unfinished("demo", describe(error))
}
