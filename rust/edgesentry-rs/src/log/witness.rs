//! A witness: it cosigns checkpoints of logs, one history of each log.
//!
//! The state is the last cosigned checkpoint of each log, in a database. A new state is durable before the cosignature
//! leaves the witness, and it replaces only the state that the decision was about. So two processes with one database
//! never cosign two histories. Requests that arrive together share a transaction.

mod settings;

use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use edgesentry_log::{
    AddCheckpoint, Checkpoint, EvidenceKind, Note, NoteError, NoteSignature, SignerKey, VerifierKey,
    WitnessDecision, WitnessRefusal, WitnessedLogs, cosigned_note, decide_witness, evidence_digest,
    witness_path,
};
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

pub use self::settings::{WitnessSettings, bind_witness};
use crate::clock::now_ms;
use crate::error::StoreError;
use crate::ledger::{EvidenceRow, NewEvidence, WitnessTables, WitnessedChange, WitnessedRow};
use crate::telemetry::metrics::Metrics;

/// Requests of one transaction.
const BATCH_REQUESTS: usize = 64;
/// Requests that wait for a transaction.
const WAITING_REQUESTS: usize = 1024;
/// How often a request is decided again because another process changed the state, or a transaction failed.
const ATTEMPTS: usize = 5;

/// The reason why a witness returned no cosignature.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// The witness refused the request.
    #[error(transparent)]
    Refused(#[from] WitnessRefusal),
    /// The database of the witness failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Other processes changed the state again and again.
    #[error("{place}: other processes change the state of this log at the same time; send the request again")]
    Busy {
        /// The location of the state.
        place: String,
    },
    /// The clock is behind the last cosignature of the log.
    #[error("the clock is {seconds} s behind the last cosignature of this log; set the clock")]
    Clock {
        /// How far it is behind.
        seconds: u64,
    },
    /// The key cannot cosign, or the note has too many lines.
    #[error("the checkpoint cannot be cosigned: {0}")]
    Note(#[from] NoteError),
    /// The request has a cosignature by this witness that its state lacks.
    #[error(
        "the witness has cosigned size {size} of this log, and its state lacks it: the state was lost or restored; retire \
         the name and key of the witness"
    )]
    RolledBack {
        /// The size that the witness has cosigned.
        size: u64,
    },
    /// The program failed.
    #[error("the witness failed by an error of its program; nothing was cosigned")]
    Internal,
    /// The witness is shutting down.
    #[error("the witness has stopped; nothing was cosigned, send the request again")]
    Stopped,
}

impl WitnessError {
    /// Returns the HTTP status of C2SP tlog-witness. For an error of the witness itself it is 503 if the same request can
    /// succeed later, and 500 if its operator must act first.
    pub fn status(&self) -> u16 {
        match self {
            WitnessError::Refused(refusal) => refusal.status(),
            WitnessError::Note(_)
            | WitnessError::Clock { .. }
            | WitnessError::RolledBack { .. }
            | WitnessError::Internal => 500,
            WitnessError::Store(_) | WitnessError::Busy { .. } | WitnessError::Stopped => 503,
        }
    }
}

/// A witness with its key, its logs and its state. Cheap to clone.
#[derive(Clone)]
pub struct Witness {
    inner: Arc<Inner>,
    jobs: mpsc::Sender<Job>,
    /// The origins of the logs whose last checkpoints are shown, by their paths.
    paths: Arc<HashMap<String, String>>,
}

struct Inner {
    tables: Arc<dyn WitnessTables>,
    logs: WitnessedLogs,
    key: SignerKey,
    metrics: Metrics,
    /// True after an error that only the operator can end, until a cosignature.
    is_failing: AtomicBool,
    /// The size in the last cosignature by this witness that its state lacks.
    rolled_back: AtomicU64,
    /// Pieces of evidence when they were counted last.
    evidence: AtomicU64,
}

/// A request with a valid signature of a known log.
struct Job {
    request: AddCheckpoint,
    /// The note without the lines of other keys.
    signed: Note,
    answer: oneshot::Sender<Result<NoteSignature, WitnessError>>,
}

/// A decision that holds if a change was made: that on whose result it depends.
struct Decided {
    outcome: Result<NoteSignature, WitnessError>,
    depends_on: Option<usize>,
}

/// The state of a log within a transaction.
#[derive(Default)]
struct State {
    row: Option<WitnessedRow>,
    /// The last change of it.
    change: Option<usize>,
}

impl Witness {
    /// Starts a witness on the current Tokio runtime.
    pub fn start(
        tables: Arc<dyn WitnessTables>,
        logs: WitnessedLogs,
        key: SignerKey,
        metrics: Metrics,
    ) -> Witness {
        let paths = logs.origins().map(|origin| (witness_path(origin), origin.to_owned())).collect();
        let inner = Arc::new(Inner {
            tables,
            logs,
            key,
            metrics,
            is_failing: AtomicBool::default(),
            rolled_back: AtomicU64::default(),
            evidence: AtomicU64::default(),
        });
        let (jobs, waiting) = mpsc::channel(WAITING_REQUESTS);
        tokio::spawn(work(Arc::clone(&inner), waiting));
        Witness { inner, jobs, paths: Arc::new(paths) }
    }

    /// Shows the last checkpoints of all logs in the state, also of those that it does not cosign any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn with_former_logs(self) -> Result<Witness, StoreError> {
        let rows = self.inner.tables.all_witnessed().await?;
        let mut paths = HashMap::clone(&self.paths);
        paths.extend(rows.into_iter().map(|row| (witness_path(&row.origin), row.origin)));
        Ok(Witness { paths: Arc::new(paths), ..self })
    }

    /// Returns the public key of the witness.
    pub fn key(&self) -> &VerifierKey {
        self.inner.key.verifier()
    }

    /// Returns the location of the state, without secrets.
    pub fn place(&self) -> &str {
        self.inner.tables.place()
    }

    /// Records the number of logs' contradictions that the witness keeps, for the metrics.
    ///
    /// # Errors
    /// The database failed.
    pub async fn observe(&self) -> Result<(), StoreError> {
        self.inner.observe().await.map(drop)
    }

    /// Returns the metrics of the witness.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Cosigns the checkpoint of a request (C2SP add-checkpoint). The new state is durable when the function returns.
    ///
    /// # Errors
    /// See [`WitnessError`].
    pub async fn add_checkpoint(&self, request: &[u8]) -> Result<NoteSignature, WitnessError> {
        let answer = self.add(request).await;
        let status = answer.as_ref().map_or_else(WitnessError::status, |_| 200);
        self.inner.metrics.witness_answered(status);
        match &answer {
            Ok(_) => self.inner.is_failing.store(false, Ordering::Relaxed),
            // One event for the first of many requests.
            Err(error) if status == 500 && !self.inner.is_failing.swap(true, Ordering::Relaxed) => {
                error!(error = %error, "the witness cannot cosign, and its operator must act");
            }
            Err(_) => {}
        }
        answer
    }

    async fn add(&self, request: &[u8]) -> Result<NoteSignature, WitnessError> {
        let request = AddCheckpoint::parse(request).map_err(WitnessRefusal::from)?;
        let signed = self.inner.logs.check(&request)?;
        let (answer, answered) = oneshot::channel();
        let job = Job { request, signed, answer };
        self.jobs.send(job).await.map_err(|_| WitnessError::Stopped)?;
        answered.await.unwrap_or(Err(WitnessError::Internal))
    }

    /// Cosigns the checkpoint of a request like [`Witness::add_checkpoint`]. If it is the last cosigned one, returns its
    /// cosignature again, with a proof from any size.
    ///
    /// # Errors
    /// See [`WitnessError`].
    pub async fn cosign(&self, request: &[u8]) -> Result<NoteSignature, WitnessError> {
        let refused = match self.add_checkpoint(request).await {
            Err(WitnessError::Refused(refused @ WitnessRefusal::Conflict { .. })) => refused,
            answer => return answer,
        };
        let request = AddCheckpoint::parse(request).map_err(WitnessRefusal::from)?;
        let rows = self.inner.tables.witnessed(vec![request.origin().to_owned()]).await?;
        let same = rows.into_iter().find(|row| (row.size, row.root) == (request.size(), request.root()));
        let note = same.and_then(|row| Note::parse(&row.note).ok());
        let key = self.key();
        let line = note.and_then(|note| {
            let own = |line: &&NoteSignature| (line.name(), line.id()) == (key.name(), key.id());
            note.signatures().iter().find(own).cloned()
        });
        line.ok_or(WitnessError::Refused(refused))
    }

    /// Returns the last cosigned checkpoint of a log by its [path](witness_path); `None` before the first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn latest(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        let Some(origin) = self.paths.get(path) else { return Ok(None) };
        let rows = self.inner.tables.witnessed(vec![origin.clone()]).await?;
        Ok(rows.into_iter().next().map(|row| row.note.into()))
    }

    /// Checks that the witness can cosign: the database responds, the clock is not behind the last cosignature, and no
    /// request has shown a cosignature that the state lacks.
    ///
    /// # Errors
    /// The witness cannot cosign.
    pub async fn check(&self) -> Result<(), WitnessError> {
        if self.jobs.is_closed() {
            return Err(WitnessError::Stopped);
        }
        let size = self.inner.rolled_back.load(Ordering::Relaxed);
        if size > 0 {
            return Err(WitnessError::RolledBack { size });
        }
        let last = self.inner.tables.last_witnessed().await?;
        match last.map_or(0, |last| last.saturating_sub(now_seconds())) {
            0 => Ok(()),
            seconds => Err(WitnessError::Clock { seconds }),
        }
    }
}

async fn work(inner: Arc<Inner>, mut waiting: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(BATCH_REQUESTS);
    while waiting.recv_many(&mut batch, BATCH_REQUESTS).await > 0 {
        let answered = inner.answer(std::mem::take(&mut batch));
        if AssertUnwindSafe(answered).catch_unwind().await.is_err() {
            error!("the witness panicked; the requests of the transaction were not answered");
        }
    }
}

fn now_seconds() -> u64 {
    (now_ms() / 1000).cast_unsigned()
}

impl Inner {
    /// Returns true if there is more evidence than before.
    async fn observe(&self) -> Result<bool, StoreError> {
        let count = self.tables.evidence_count().await?;
        self.metrics.witness_two_roots(count);
        Ok(self.evidence.swap(count, Ordering::Relaxed) < count)
    }

    /// Answers requests, after their changes are durable.
    async fn answer(&self, mut jobs: Vec<Job>) {
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            match self.attempt(&jobs).await {
                Ok(answers) => {
                    failed = None;
                    jobs = send(jobs, answers);
                }
                Err(error) if error.is_retryable() => failed = Some(error),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            if jobs.is_empty() {
                return;
            }
        }
        if let Some(error) = &failed {
            error!(error = %error, "the state of the witness cannot be written; nothing was cosigned");
        }
        for job in jobs {
            let busy = || WitnessError::Busy { place: self.tables.place().to_owned() };
            // A sender that is gone needs no answer.
            let _ = job.answer.send(Err(failed.clone().map_or_else(busy, WitnessError::Store)));
        }
    }

    /// Decides requests in one transaction. Returns `None` for a decision about a state that another process has changed.
    async fn attempt(
        &self,
        jobs: &[Job],
    ) -> Result<Vec<Option<Result<NoteSignature, WitnessError>>>, StoreError> {
        let mut states: HashMap<String, State> =
            jobs.iter().map(|job| (job.request.origin().to_owned(), State::default())).collect();
        for row in self.tables.witnessed(states.keys().cloned().collect()).await? {
            if let Some(state) = states.get_mut(&row.origin) {
                state.row = Some(row);
            }
        }
        let (mut changes, mut evidence, mut decided) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            let state = states.entry(job.request.origin().to_owned()).or_default();
            decided.push(self.decide(job, state, &mut changes, &mut evidence));
        }
        let is_new = !evidence.is_empty();
        let origins: BTreeSet<String> = evidence.iter().map(|one| one.row.origin.clone()).collect();
        let made = match changes.is_empty() && !is_new {
            true => Vec::new(),
            false => self.tables.swap(changes, evidence).await?,
        };
        // The changes are made: an error of the count is none of the requests.
        if is_new && self.observe().await.unwrap_or_default() {
            error!(
                origins = ?origins,
                "a log has signed two roots for one size; both notes are kept, see eds witness evidence"
            );
        }
        let holds = |depends_on: Option<usize>| {
            depends_on.is_none_or(|change| made.get(change).copied().unwrap_or_default())
        };
        Ok(decided.into_iter().map(|one| holds(one.depends_on).then_some(one.outcome)).collect())
    }

    fn decide(
        &self,
        job: &Job,
        state: &mut State,
        changes: &mut Vec<WitnessedChange>,
        evidence: &mut Vec<NewEvidence>,
    ) -> Decided {
        let Job { request, signed, .. } = job;
        let row = state.row.as_ref();
        let last = row.and_then(|row| Checkpoint::new(&row.origin, row.size, row.root).ok());
        let WitnessDecision { outcome, evidence: kind } = decide_witness(request, last.as_ref());
        let now = now_seconds();
        if let Some((kind, row)) = kind.zip(row) {
            let row = evidence_row(kind, request, row, now);
            // The state may be that of an earlier request of this transaction.
            evidence.push(NewEvidence { row, after: state.change });
        }
        let is_lacking = self.lacks(request, row);
        // A cosignature says that no larger checkpoint was cosigned before its time.
        let late = row.map_or(0, |row| row.at.saturating_sub(now));
        let from = row.map(|row| (row.size, row.root));
        let cosigned = outcome.map_err(WitnessError::from).and_then(|checkpoint| {
            if is_lacking {
                return Err(WitnessError::RolledBack { size: request.size() });
            }
            if late > 0 {
                return Err(WitnessError::Clock { seconds: late });
            }
            let (note, line) = cosigned_note(&checkpoint, signed, &self.key, now)?;
            Ok((checkpoint, note, line))
        });
        let outcome = cosigned.map(|(checkpoint, note, line)| {
            let note = note.to_string().into_bytes();
            let (origin, size, root) = (checkpoint.origin().to_owned(), checkpoint.size(), checkpoint.root());
            let to = WitnessedRow { origin, size, root, note, at: now };
            changes.push(WitnessedChange { from, to: to.clone() });
            *state = State { row: Some(to), change: Some(changes.len() - 1) };
            line
        });
        Decided { outcome, depends_on: state.change }
    }

    /// Returns true if a request has a cosignature by this witness that the state lacks: the state was restored or lost.
    fn lacks(&self, request: &AddCheckpoint, row: Option<&WitnessedRow>) -> bool {
        let (size, root) = (request.size(), request.root());
        let is_newer = |row: &WitnessedRow| size > row.size || (size == row.size && root != row.root);
        let is_lacking = row.is_none_or(is_newer) && request.note().verify([self.key.verifier()]).is_ok();
        if is_lacking {
            self.metrics.witness_rolled_back();
            if self.rolled_back.swap(size, Ordering::Relaxed) != size {
                let (origin, last_size) = (request.origin(), row.map(|row| row.size));
                error!(
                    origin,
                    size,
                    last_size,
                    "a request has a cosignature by this witness that its state lacks: the state was lost or restored; \
                     retire the name and key of the witness"
                );
            }
        }
        is_lacking
    }
}

/// Sends the answers, and returns the requests without one.
fn send(jobs: Vec<Job>, answers: Vec<Option<Result<NoteSignature, WitnessError>>>) -> Vec<Job> {
    let mut open = Vec::new();
    for (job, answer) in jobs.into_iter().zip(answers) {
        match answer {
            Some(answer) => {
                if answer.is_ok() {
                    info!(
                        origin = job.request.origin(),
                        size = job.request.size(),
                        "a checkpoint is cosigned"
                    );
                }
                // A sender that is gone needs no answer.
                let _ = job.answer.send(answer);
            }
            None => open.push(job),
        }
    }
    open
}

fn evidence_row(kind: EvidenceKind, request: &AddCheckpoint, row: &WitnessedRow, at: u64) -> EvidenceRow {
    EvidenceRow {
        origin: request.origin().to_owned(),
        kind,
        digest: evidence_digest(request).0,
        last: row.note.clone(),
        request: request.to_string().into_bytes(),
        at,
    }
}
