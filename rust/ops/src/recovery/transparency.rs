//! The transparency log of a restored ledger: whether it can sign again.

use edgesentry_rs::Settings;
use edgesentry_rs::ledger::{Ledger, LogTablesError};
use edgesentry_rs::log::{Lag, LogError, LogStatus, Stores, TransparencyLog};

use edgesentry_chain::count;

use crate::check::Check;

/// The transparency log that a restored ledger belongs to.
#[non_exhaustive]
pub enum RestoredLog {
    /// The settings name no log.
    NotConfigured,
    /// The log of the settings.
    Opened {
        /// The log, with the restored ledger.
        log: Box<TransparencyLog>,
        /// The command that puts its records back into this ledger.
        recover: String,
    },
    /// The store, the lock or the key of the log cannot be used, and why.
    Unreachable(String),
    /// A drill examines the log by itself, so its checklist does not have the item.
    OfDrill,
}

impl RestoredLog {
    /// Opens the log of settings with a restored ledger. `recover` is the command that recovers this ledger.
    pub async fn open(settings: &Settings, ledger: &dyn Ledger, recover: String) -> RestoredLog {
        if !settings.log.is_on() {
            return RestoredLog::NotConfigured;
        }
        let file = settings.ledger_file();
        match settings.log.open(ledger, file.as_deref(), &settings.s3, Stores::Existing).await {
            Ok(log) => RestoredLog::Opened { log: Box::new(log), recover },
            Err(error) => RestoredLog::Unreachable(edgesentry_rs::error::describe(&error)),
        }
    }
}

const NAME: &str = "the transparency log continues from its last signed checkpoint, and can sign again";

/// Checks that the log can sign with the restored ledger; `None` if a drill does that by itself.
pub(crate) async fn check(restored: &RestoredLog, ledger: &dyn Ledger) -> Option<Check> {
    Some(match restored {
        RestoredLog::OfDrill => return None,
        RestoredLog::NotConfigured => without_settings(ledger).await,
        RestoredLog::Unreachable(why) => Check::unknown(
            NAME,
            format!(
                "the ledger was not compared with the signed checkpoints, because they cannot be reached: {why}"
            ),
        ),
        RestoredLog::Opened { log, recover } => match log.lag().await {
            Ok(None) => can_sign(log).await,
            Ok(Some(lag)) => Check::new(NAME, false, behind(&lag, recover)),
            Err(error) => not_compared(log, &error),
        },
    })
}

/// Returns the evidence for a ledger that lacks a part of its log.
pub(crate) fn behind(lag: &Lag, recover: &str) -> String {
    format!(
        "the ledger is behind by {} ({}); run {recover}; until then nothing is signed",
        count(lag.records, "record"),
        count(lag.checkpoints, "checkpoint"),
    )
}

async fn can_sign(log: &TransparencyLog) -> Check {
    match log.status().await {
        Ok(LogStatus { checkpoint: Some(last), .. }) => {
            let (number, size, place) = (last.lock_number, last.size, log.lock_place());
            let evidence = format!(
                "checkpoint {number} of size {size} is the last one in {place}, and the ledger has it"
            );
            Check::new(NAME, true, evidence)
        }
        Ok(_) => Check::new(NAME, true, format!("no checkpoint is signed yet in {}", log.lock_place())),
        Err(error) => not_compared(log, &error),
    }
}

fn not_compared(log: &TransparencyLog, error: &LogError) -> Check {
    let place = log.lock_place();
    let message = edgesentry_rs::error::describe(error);
    match error {
        LogError::Store(_) | LogError::Tables(LogTablesError::Store(_)) => Check::unknown(
            NAME,
            format!("the ledger was not compared with the signed checkpoints in {place}: {message}"),
        ),
        LogError::Tables(LogTablesError::NotOpened) => Check::unknown(
            NAME,
            format!(
                "{place} has no signed checkpoint, and the ledger no log; correct log.lock, or open a log with eds checkpoint init"
            ),
        ),
        _ => Check::new(NAME, false, format!("{message}; see docs/runbook/log.md")),
    }
}

/// Checks a ledger whose settings name no log.
async fn without_settings(ledger: &dyn Ledger) -> Check {
    let state = match ledger.log() {
        Some(tables) => tables.state().await,
        None => Ok(None),
    };
    match state {
        Ok(None) => Check::new(NAME, true, "no log: the ledger has none, and log.origin is not set"),
        Ok(Some(state)) => Check::unknown(
            NAME,
            format!(
                "the ledger has the log {:?}, and log.origin is not set; pass the settings of the service with --config",
                state.origin
            ),
        ),
        Err(error) => Check::unknown(NAME, error.describe()),
    }
}
