//! The state of the fleet, as all pages and connections of this process see it: each part is read once for all of them,
//! and only while a page is open.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use edgesentry_formats::times::now_ms;
use edgesentry_log::{Policy, VerifierKey};
use edgesentry_rs::error::StoreError;
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::ledger::{Census, EntryQuery, LogEntry};
use edgesentry_rs::log::{LogReader, ProveError, Published};

use super::alerts::{Alert, Alertmanager};
use super::exposition::Values;
use super::kept::{Kept, Read};
use super::operations::{self, Operations};

/// The ages up to which a part is not read again.
pub(super) const READ_INTERVAL: Duration = Duration::from_secs(2);
const MAX_CENSUS_AGE: Duration = Duration::from_secs(30);
const MAX_CHECKPOINT_AGE: Duration = Duration::from_secs(5);
const MAX_OPERATIONS_AGE: Duration = Duration::from_secs(15);
const MAX_ALERTS_AGE: Duration = Duration::from_secs(15);
/// How long a page waits for all parts that are not read yet.
const PAGE_TIMEOUT: Duration = Duration::from_millis(800);
/// How long a ledger may take for a part.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(30);
/// The decisions on the first page.
const LAST_DECISIONS: u32 = 10;
/// The samples of the rate, and the time between them.
const SAMPLES: usize = 7;
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

pub(super) type Part<T> = Option<Arc<Read<Result<T, String>>>>;

/// The state of the fleet.
pub(super) struct Snapshot {
    pub(super) at_ms: u64,
    pub(super) values: Values,
    /// Accepted records per second, and over which time.
    pub(super) rate: Option<(f64, Duration)>,
    pub(super) census: Part<Census>,
    pub(super) decisions: Part<Vec<LogEntry>>,
    pub(super) checkpoint: Option<Part<Checkpoint>>,
    pub(super) operations: Option<Part<Operations>>,
    pub(super) alerts: Option<Part<Vec<Alert>>>,
}

/// The published checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) origin: String,
    pub(super) size: u64,
    pub(super) signed_at_ms: Option<u64>,
    /// The witnesses that have cosigned it, with the time by their clocks, Unix milliseconds.
    pub(super) witnesses: Vec<(String, u64)>,
    /// The verdict of the policy; none without a policy.
    pub(super) trusted: Option<Result<(), String>>,
}

/// The sources of a snapshot.
pub(super) struct Sources {
    service: IngestService,
    log: Option<LogReader>,
    policy: Option<Arc<Policy>>,
    alertmanager: Option<Alertmanager>,
    operations: Option<PathBuf>,
    samples: Mutex<VecDeque<(Instant, u64)>>,
    kept_census: Kept<Result<Census, String>>,
    kept_decisions: Kept<Result<Vec<LogEntry>, String>>,
    kept_checkpoint: Kept<Result<Checkpoint, String>>,
    kept_operations: Kept<Result<Operations, String>>,
    kept_alerts: Kept<Result<Vec<Alert>, String>>,
}

impl Sources {
    pub(super) fn new(
        service: IngestService,
        log: Option<LogReader>,
        policy: Option<Arc<Policy>>,
        alertmanager: Option<Alertmanager>,
        operations: Option<PathBuf>,
    ) -> Sources {
        Sources {
            service,
            log,
            policy,
            alertmanager,
            operations,
            samples: Mutex::default(),
            kept_census: Kept::new(100),
            kept_decisions: Kept::new(0),
            kept_checkpoint: Kept::new(0),
            kept_operations: Kept::new(0),
            kept_alerts: Kept::new(0),
        }
    }

    pub(super) fn policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }

    /// Notes the number of accepted records, for the rate.
    pub(super) fn sample(&self) {
        let accepted = Values::of(&self.service.metrics().text()).count("ingest_accepted_total", "");
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back((Instant::now(), accepted));
    }

    fn rate(&self, values: &Values) -> Option<(f64, Duration)> {
        let (at, before) = *self.samples.lock().unwrap_or_else(PoisonError::into_inner).front()?;
        let (time, accepted) = (at.elapsed(), values.count("ingest_accepted_total", ""));
        // Less is a guess.
        (time >= Duration::from_secs(1))
            .then(|| (accepted.saturating_sub(before) as f64 / time.as_secs_f64(), time))
    }

    /// Returns the current state; a part that is not read in time is missing.
    pub(super) async fn snapshot(&self) -> Snapshot {
        let (census, decisions, checkpoint, operations, alerts) = tokio::join!(
            self.census(),
            self.decisions(),
            async { Some(self.checkpoint().await).filter(|_| self.log.is_some()) },
            async {
                let path = self.operations.clone()?;
                Some(
                    self.kept_operations
                        .get(MAX_OPERATIONS_AGE, PAGE_TIMEOUT, || operations::read(path))
                        .await,
                )
            },
            self.alerts(),
        );
        // Taken last, to agree with a scrape at this time.
        let values = Values::of(&self.service.metrics().text());
        let rate = self.rate(&values);
        Snapshot { at_ms: now_ms(), values, rate, census, decisions, checkpoint, operations, alerts }
    }

    /// Returns the alerts that fire; none without an Alertmanager.
    pub(super) async fn alerts(&self) -> Option<Part<Vec<Alert>>> {
        let alertmanager = self.alertmanager.clone()?;
        Some(self.kept_alerts.get(MAX_ALERTS_AGE, PAGE_TIMEOUT, || alertmanager.alerts()).await)
    }

    async fn census(&self) -> Part<Census> {
        let views = self.service.ledger().views();
        let read = || async move {
            let views = views.ok_or_else(no_views)?;
            in_time(views.census(now_ms())).await
        };
        self.kept_census.get(MAX_CENSUS_AGE, PAGE_TIMEOUT, read).await
    }

    async fn decisions(&self) -> Part<Vec<LogEntry>> {
        let views = self.service.ledger().views();
        let read = || async move {
            let views = views.ok_or_else(no_views)?;
            let query = EntryQuery { limit: LAST_DECISIONS, ..EntryQuery::default() };
            Ok(in_time(views.entry_part(&query)).await?.found)
        };
        self.kept_decisions.get(READ_INTERVAL, PAGE_TIMEOUT, read).await
    }

    async fn checkpoint(&self) -> Part<Checkpoint> {
        let log = self.log.clone()?;
        let (ledger, policy) = (Arc::clone(self.service.ledger()), self.policy.clone());
        let read = || async move {
            let published = log.published().await.map_err(|error| log_trouble(&error))?;
            let size = published.checkpoint.size();
            let tables = ledger.log().ok_or_else(no_views)?;
            let row = tables.checkpoint_of(size).await.map_err(|error| trouble(&error))?;
            let rows = tables.cosignatures(size).await.map_err(|error| trouble(&error))?;
            let witness = |vkey: &str| {
                vkey.parse().map_or_else(|_| vkey.to_owned(), |key: VerifierKey| key.name().to_owned())
            };
            Ok(Checkpoint {
                origin: published.checkpoint.origin().to_owned(),
                size,
                signed_at_ms: row.map(|row| row.signed_at_ms),
                witnesses: rows.iter().map(|row| (witness(&row.vkey), row.at.saturating_mul(1000))).collect(),
                trusted: policy.map(|policy| trust(&policy, &published)),
            })
        };
        self.kept_checkpoint.get(MAX_CHECKPOINT_AGE, PAGE_TIMEOUT, read).await
    }
}

/// Returns the verdict of a policy on a checkpoint.
pub(super) fn trust(policy: &Policy, published: &Published) -> Result<(), String> {
    policy.evaluate(&published.note).map(|_| ()).map_err(|error| error.to_string())
}

pub(super) fn no_views() -> String {
    "This kind of ledger has no views.".to_owned()
}

/// Returns a failure of a store as a sentence, without its location.
pub(super) fn trouble(error: &StoreError) -> String {
    let again = if error.is_retryable() { "" } else { " A retry fails until the store is repaired." };
    format!("{}: cannot {}; the log of the service has the reason.{again}", error.component, error.action)
}

/// Returns the reason why there is no proof or checkpoint, without the location of the log.
pub(super) fn log_trouble(error: &ProveError) -> String {
    match error {
        ProveError::NoCheckpoint { .. } => "The transparency log has no checkpoint yet.".to_owned(),
        ProveError::NotLogged { .. } => "No checkpoint covers the record yet.".to_owned(),
        _ => format!("The transparency log cannot be read ({}); see eds checkpoint status.", error.code()),
    }
}

async fn in_time<T>(read: impl Future<Output = Result<T, StoreError>>) -> Result<T, String> {
    match tokio::time::timeout(LEDGER_TIMEOUT, read).await {
        Ok(read) => read.map_err(|error| trouble(&error)),
        Err(_) => Err("The ledger does not respond in time.".to_owned()),
    }
}
