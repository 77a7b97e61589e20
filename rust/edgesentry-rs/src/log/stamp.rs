//! Time stamps of checkpoints, from time stamping authorities (RFC 3161).
//!
//! The leader asks each authority once in an interval, beside the rounds of the log: an authority that is down, slow or
//! wrong stops nothing. A stamp is verified before it is kept.

#[cfg(feature = "client")]
mod http;
#[cfg(not(feature = "client"))]
#[path = "stamp/http_absent.rs"]
mod http;
mod settings;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgesentry_formats::{StampCheck, TrustedRoots, read_tsa_roots};
use edgesentry_log::{CheckpointError, Note};
use edgesentry_timestamp::StampRequest;
use futures::future::join_all;
use tracing::{info, warn};

pub use self::settings::TsaSettings;
use super::{LogError, TransparencyLog};
use crate::clock::now_ms;
use crate::error::Error;
use crate::ledger::{CheckpointRow, TimestampRow};
use crate::telemetry::metrics::{Metrics, Stamped};

/// The time that an authority has for an answer.
const TSA_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection to a time stamping authority.
#[async_trait]
pub trait StampClient: Send + Sync + 'static {
    /// Sends a request, a `TimeStampReq`, and returns the answer. An error is a sentence without secrets.
    async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, String>;
}

/// The time stamping authorities of a log.
pub struct Stamper {
    authorities: Vec<Authority>,
    roots: TrustedRoots,
    interval: Duration,
}

struct Authority {
    url: String,
    /// Host and port, for metrics.
    name: String,
    client: Arc<dyn StampClient>,
}

/// The failure of an authority.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StampFailure {
    /// The URL of the authority.
    pub tsa: String,
    /// The reason.
    pub problem: String,
}

/// The results of a round.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StampRound {
    /// New time stamps.
    pub stamps: Vec<TimestampRow>,
    /// Authorities without a valid answer.
    pub failures: Vec<StampFailure>,
}

impl fmt::Debug for Stamper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stamper").field("interval", &self.interval).finish_non_exhaustive()
    }
}

impl Stamper {
    /// Creates a stamper without authorities. Each of them stamps the last checkpoint once in an interval.
    pub fn new(roots: TrustedRoots, interval: Duration) -> Stamper {
        Stamper { authorities: Vec::new(), roots, interval }
    }

    /// Adds an authority.
    #[must_use]
    pub fn with_authority(mut self, url: &str, client: Arc<dyn StampClient>) -> Stamper {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let name = host.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
        self.authorities.push(Authority { url: url.to_owned(), name, client });
        self
    }

    /// Reads the roots, and prepares a connection to each authority.
    fn open(urls: &[String], roots: &Path, interval: Duration) -> Result<Stamper, Error> {
        let roots = read_tsa_roots(roots).map_err(|error| Error::unusable("log.tsa.roots", error))?;
        let mut stamper = Stamper::new(roots, interval);
        for url in urls {
            let client = http::client(url, TSA_TIMEOUT);
            let client = client.map_err(|error| Error::unusable("log.tsa.urls", error))?;
            stamper = stamper.with_authority(url, client);
        }
        Ok(stamper)
    }
}

impl TransparencyLog {
    /// Stamps checkpoints by time stamping authorities.
    #[must_use]
    pub fn with_stamper(self, stamper: Stamper) -> TransparencyLog {
        TransparencyLog { stamper: Some(Arc::new(stamper)), ..self }
    }

    /// Asks each authority whose last time stamp is older than the interval for one of the last checkpoint. With
    /// `is_urgent` it asks each authority that has not stamped the last checkpoint.
    ///
    /// # Errors
    /// The ledger failed. An authority that fails is part of the result.
    pub async fn stamp(&self, is_urgent: bool, metrics: &Metrics) -> Result<StampRound, LogError> {
        let mut round = StampRound::default();
        let (Some(stamper), Some(last)) = (&self.stamper, self.tables.last_checkpoint().await?) else {
            return Ok(round);
        };
        let note = Note::parse(&last.note).map_err(CheckpointError::from)?;
        let (note, last) = (&note, &last);
        // Each answer is kept when it comes, also while the other authorities are asked.
        let asked = stamper.authorities.iter().map(|authority| async move {
            let is_due = is_urgent || self.is_due(stamper, authority).await?;
            if !is_due || self.has_stamp(last, authority).await? {
                return Ok(None);
            }
            let answer = authority.stamp(stamper, note, last).await;
            if let Ok(row) = &answer {
                self.tables.note_timestamp(row).await?;
            }
            authority.report(&answer, metrics);
            let failure = |problem| StampFailure { tsa: authority.url.clone(), problem };
            Ok::<_, LogError>(Some(answer.map_err(failure)))
        });
        for asked in join_all(asked).await {
            match asked? {
                Some(Ok(row)) => round.stamps.push(row),
                Some(Err(failure)) => round.failures.push(failure),
                None => {}
            }
        }
        Ok(round)
    }

    /// Returns true if the last time stamp of an authority is older than the interval.
    async fn is_due(&self, stamper: &Stamper, authority: &Authority) -> Result<bool, LogError> {
        let last = self.tables.last_timestamp(&authority.url).await?;
        // A clock that was set back does not end the stamps.
        let age = last.map(|last| Duration::from_millis(now_ms().cast_unsigned().abs_diff(last.at_ms)));
        Ok(age.is_none_or(|age| age >= stamper.interval))
    }

    async fn has_stamp(&self, last: &CheckpointRow, authority: &Authority) -> Result<bool, LogError> {
        let there = self.tables.timestamps(last.size).await?;
        Ok(there.iter().any(|stamp| stamp.tsa == authority.url))
    }

    /// Creates the series of the authorities.
    pub(super) fn observe_authorities(&self, metrics: &Metrics) {
        for authority in self.stamper.iter().flat_map(|stamper| &stamper.authorities) {
            metrics.log_stamped(&authority.name, Stamped::Never);
        }
    }
}

impl Authority {
    /// Asks for a time stamp of a checkpoint, and verifies the answer.
    async fn stamp(
        &self,
        stamper: &Arc<Stamper>,
        note: &Note,
        checkpoint: &CheckpointRow,
    ) -> Result<TimestampRow, String> {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|error| format!("no random nonce: {error}"))?;
        let request = StampRequest { imprint: note.stamp_imprint(), nonce: u64::from_be_bytes(nonce) };
        let asked = tokio::time::timeout(TSA_TIMEOUT, self.client.ask(request.to_der())).await;
        let response = asked.map_err(|_| format!("no answer in {} s", TSA_TIMEOUT.as_secs()))??;
        let (stamper, note, url) = (Arc::clone(stamper), note.clone(), self.url.clone());
        // An answer may need a hundred signatures.
        let verified = tokio::task::spawn_blocking(move || {
            let check = StampCheck::new(&note, &stamper.roots).with_nonce(Some(request.nonce));
            check.verify(&url, &response).map(|stamp| (stamp, response))
        });
        let verified = verified.await.map_err(|error| format!("its verification stopped: {error}"))?;
        let (stamp, response) = verified.map_err(|error| error.to_string())?;
        Ok(TimestampRow {
            size: checkpoint.size,
            tsa: self.url.clone(),
            response,
            authority: stamp.authority,
            time_ms: stamp.time_ms,
            before_ms: stamp.before_ms,
            at_ms: now_ms().cast_unsigned(),
        })
    }

    /// Reports the result of a request.
    fn report(&self, answer: &Result<TimestampRow, String>, metrics: &Metrics) {
        let tsa = &*self.name;
        match answer {
            Ok(row) => {
                info!(size = row.size, tsa, "a checkpoint of the transparency log is stamped");
                metrics.log_stamped(tsa, Stamped::At(row.time_ms));
            }
            Err(problem) => {
                warn!(
                    tsa,
                    error = problem,
                    "a time stamping authority failed and is asked again after the next round"
                );
                metrics.log_stamped(tsa, Stamped::Failed);
            }
        }
    }
}
