//! Cosignatures of witnesses for the checkpoints of the log, and publication at the quorum of the policy.
//!
//! Only the log's own signature lines go to a witness. A witness that names a smaller size than it has cosigned has lost
//! its state; the log reports it and sends it no older state again.

#[cfg(feature = "client")]
mod http;
#[cfg(not(feature = "client"))]
#[path = "cosign/http_absent.rs"]
mod http;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edgesentry_formats::read_file;
use edgesentry_formats::times::now_ms;
use edgesentry_log::{
    AddCheckpoint, Checkpoint, CheckpointError, MAX_FAST_SECONDS, MAX_POLICY_BYTES, MAX_SIGNATURES, MAX_SIZE,
    Note, NoteSignature, Policy, PolicyError, VerifierKey, read_cosignature, read_witness_size, witness_path,
};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tracing::{error, info, warn};

use super::{LogError, TransparencyLog};
use crate::error::Error;
use crate::ledger::{CheckpointRow, CosignatureRow, Leader, MAX_COSIGNED};
use crate::telemetry::metrics::{Asked, Metrics};

/// The time that a witness has for a response.
const WITNESS_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests to a witness for one checkpoint: the second one follows a response that names another size.
const ATTEMPTS: usize = 2;
/// The age at which a cosignature is renewed by default, seconds.
const RENEW_SECONDS: u64 = 3600;
/// The part of an unexpected response that is shown.
const SHOWN_CHARS: usize = 200;

/// The response of a witness.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessResponse {
    /// The HTTP status.
    pub status: u16,
    /// The body, at most 16 KiB.
    pub body: Vec<u8>,
}

/// The connection to a witness.
#[async_trait]
pub trait WitnessClient: Send + Sync + 'static {
    /// Sends a request to `add-checkpoint`. An error is a sentence without secrets.
    async fn add_checkpoint(&self, request: String) -> Result<WitnessResponse, String>;

    /// Gets the last checkpoint of a log, by its [path](witness_path).
    async fn latest(&self, path: &str) -> Result<WitnessResponse, String>;
}

/// The witnesses of a policy, as the log asks them.
pub struct Cosigners {
    policy: Policy,
    witnesses: Vec<AskedWitness>,
    require_quorum: bool,
    /// The age at which a cosignature of the last checkpoint is renewed, seconds.
    renew_seconds: u64,
    metrics: Metrics,
}

/// The witnesses for whose responses a round waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Until {
    /// Those that complete the quorum.
    Quorum,
    /// All, or until their time is up. The checkpoint is published before, at the quorum.
    All,
}

struct AskedWitness {
    name: String,
    key: VerifierKey,
    client: Arc<dyn WitnessClient>,
    /// True once its last checkpoint was read.
    looked: AtomicBool,
    /// The result that was reported last.
    reported: Mutex<Option<Asked>>,
}

/// The result of a request to a witness.
enum Answer {
    Cosigned(CosignatureRow),
    Failed(Asked, String),
}

/// A checkpoint for witnesses.
struct Submission {
    /// The note with the lines of the log alone.
    note: Note,
    checkpoint: Checkpoint,
}

impl fmt::Debug for Cosigners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cosigners").field("require_quorum", &self.require_quorum).finish_non_exhaustive()
    }
}

impl Cosigners {
    /// Creates the witnesses of a policy that have a client.
    pub fn new(policy: Policy, require_quorum: bool, metrics: Metrics) -> Cosigners {
        let (witnesses, renew_seconds) = (Vec::new(), RENEW_SECONDS);
        Cosigners { policy, witnesses, require_quorum, renew_seconds, metrics }
    }

    /// Asks witnesses again for the last checkpoint when their cosignatures are so old. By default after an hour.
    #[must_use]
    pub fn renewed_after(self, renew_seconds: u64) -> Cosigners {
        Cosigners { renew_seconds, ..self }
    }

    /// Adds a witness of the policy, by its name there.
    #[must_use]
    pub fn with_witness(mut self, name: &str, client: Arc<dyn WitnessClient>) -> Cosigners {
        if let Some(witness) = self.policy.witnesses().iter().find(|witness| witness.name == name) {
            self.metrics.log_witness(name);
            let (name, key) = (name.to_owned(), witness.key.clone());
            let (looked, reported) = (AtomicBool::default(), Mutex::default());
            self.witnesses.push(AskedWitness { name, key, client, looked, reported });
        }
        self
    }

    /// Reads a policy, and prepares a connection to each of its witnesses that has a URL.
    pub(super) fn open(
        path: &Path,
        key: &VerifierKey,
        log_keys: usize,
        require_quorum: bool,
    ) -> Result<Cosigners, Error> {
        let place = format!("log.policy: {}", path.display());
        let config = |problem: String| Error::Config(format!("{place}: {problem}"));
        let bytes = read_file(path, MAX_POLICY_BYTES as u64);
        let policy = Policy::parse(&bytes.map_err(|error| Error::unusable(&place, error))?);
        let policy = policy.map_err(|error| Error::unusable(&place, error))?;
        if !policy.logs().iter().any(|log| log.key == *key) {
            return Err(config(format!("it has no line `log {key}` with the key of this log")));
        }
        let (witnesses, room) = (policy.witnesses().len(), MAX_SIGNATURES.saturating_sub(log_keys));
        if witnesses > room {
            return Err(config(format!(
                "it has {witnesses} witnesses, and a checkpoint has room for the signatures of {room}; name fewer"
            )));
        }
        let mut cosigners = Cosigners::new(policy.clone(), require_quorum, Metrics::global());
        for witness in policy.witnesses() {
            let Some(url) = &witness.url else { continue };
            let client = http::client(url, WITNESS_TIMEOUT)
                .map_err(|error| Error::unusable(format!("{place}: witness {}", witness.name), error))?;
            cosigners = cosigners.with_witness(&witness.name, client);
        }
        Ok(cosigners)
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the cosignatures of a checkpoint by witnesses of the policy, in its order.
    fn cosignatures(&self, text: &str, rows: &[CosignatureRow]) -> Vec<(NoteSignature, u64)> {
        let found = self.policy.witnesses().iter().filter_map(|witness| {
            let vkey = witness.key.to_string();
            let row = rows.iter().find(|row| row.vkey == vkey)?;
            // Anyone with access to the database could have written the line.
            read_line(&row.line, text, &witness.key)
        });
        found.collect()
    }

    /// Returns the number of witnesses of the policy whose cosignatures a note has.
    fn count(&self, note: &Note) -> usize {
        self.policy.witnesses().iter().filter(|witness| line_of(note, &witness.key).is_some()).count()
    }
}

/// Returns a cosignature and its time, unless it does not hold or is dated in the future.
fn read_line(line: &str, text: &str, key: &VerifierKey) -> Option<(NoteSignature, u64)> {
    let cosignature = read_cosignature(format!("{line}\n").as_bytes(), text, key).ok()?;
    (cosignature.1 <= latest()).then_some(cosignature)
}

/// Returns the cosignature of a key in a note, and its time.
fn line_of(note: &Note, key: &VerifierKey) -> Option<(NoteSignature, u64)> {
    let line = note.signatures().iter().find(|line| (line.name(), line.id()) == (key.name(), key.id()))?;
    read_line(&line.to_string(), note.text(), key)
}

fn now_seconds() -> u64 {
    now_ms() / 1000
}

/// Returns the latest time that a cosignature may have now. A later one would count as the newest for good.
pub(super) fn latest() -> u64 {
    now_seconds() + MAX_FAST_SECONDS
}

/// A cosignature that was added by hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddedCosignature {
    /// The name of the witness in the policy.
    pub witness: String,
    /// The size of the checkpoint.
    pub size: u64,
}

/// The progress of a witness of the policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessProgress {
    /// Its name in the policy.
    pub name: String,
    /// The largest size that it has cosigned; `None` before the first.
    pub size: Option<u64>,
}

impl TransparencyLog {
    /// Publishes each checkpoint after the witnesses of a policy have cosigned it.
    #[must_use]
    pub fn with_cosigners(self, cosigners: Cosigners) -> TransparencyLog {
        TransparencyLog { cosigners: Some(Arc::new(cosigners)), ..self }
    }

    /// Publishes the last signed checkpoint. If the log has a policy, first asks its witnesses, and publishes the checkpoint
    /// as soon as a quorum has cosigned it. Without a quorum, publishes the largest checkpoint that has one.
    pub(super) async fn publish_cosigned(&self, leader: &Leader, until: Until) -> Result<(), LogError> {
        let Some(last) = self.tables.last_checkpoint().await? else { return Ok(()) };
        let Some(cosigners) = &self.cosigners else {
            return self.publish(Some(leader), last.size, &last.note).await;
        };
        let submission = self.submission(&last)?;
        let problems = self.ask_all(cosigners, leader, &submission, until).await?;
        self.finish(cosigners, leader, &submission, problems).await
    }

    /// Returns true if the last checkpoint waits for a quorum of witnesses.
    pub(super) async fn waits_for_witnesses(&self) -> Result<bool, LogError> {
        let Some(cosigners) = &self.cosigners else { return Ok(false) };
        let Some(last) = self.tables.last_checkpoint().await? else { return Ok(false) };
        let note = self.cosigned_note(cosigners, &self.submission(&last)?).await?;
        Ok(cosigners.policy.evaluate(&note).is_err())
    }

    /// Notes the cosignatures of the published checkpoint: a ledger that was restored lacks them, and a witness that was
    /// restored as well would go unnoticed.
    pub(super) async fn note_published(&self) -> Result<(), LogError> {
        let Some(cosigners) = &self.cosigners else { return Ok(()) };
        let Some(published) = self.store.checkpoint().await? else { return Ok(()) };
        let (Ok(checkpoint), Ok(note)) = (self.own_checkpoint(0, &published), Note::parse(&published)) else {
            return Ok(());
        };
        let rows = cosigners.policy.witnesses().iter().filter_map(|witness| {
            let (line, at) = line_of(&note, &witness.key)?;
            let (vkey, size) = (witness.key.to_string(), checkpoint.size());
            Some(CosignatureRow { vkey, size, at, line: line.to_string() })
        });
        let rows: Vec<CosignatureRow> = rows.collect();
        if rows.is_empty() {
            return Ok(());
        }
        Ok(self.tables.note_cosignatures(rows, latest()).await?)
    }

    /// Returns the number of cosignatures that a note is known to have.
    pub(super) fn cosignatures_in(&self, note: &[u8]) -> usize {
        let Ok(note) = Note::parse(note) else { return 0 };
        match &self.cosigners {
            Some(cosigners) => cosigners.count(&note),
            // Without a policy, no line of another key can be verified.
            None => note.signatures().len(),
        }
    }

    /// Returns how far the witnesses of the policy are.
    pub(super) async fn witness_progress(&self) -> Result<Vec<WitnessProgress>, LogError> {
        let mut progress = Vec::new();
        let witnesses = self.cosigners.iter().flat_map(|cosigners| cosigners.policy.witnesses());
        for witness in witnesses {
            let size = self.tables.last_cosigned(&witness.key.to_string()).await?;
            progress.push(WitnessProgress { name: witness.name.clone(), size });
        }
        Ok(progress)
    }

    /// Returns a signed checkpoint with the lines of the log alone.
    fn submission(&self, row: &CheckpointRow) -> Result<Submission, LogError> {
        let checkpoint = self.own_checkpoint(row.lock_number, &row.note)?;
        let note = Note::parse(&row.note).map_err(CheckpointError::from)?;
        let keys: Vec<_> = self.keys().map(|key| (key.name(), key.id())).collect();
        let note = note.retain(|line| keys.contains(&(line.name(), line.id())));
        Ok(Submission { note, checkpoint })
    }

    async fn last_submission(&self) -> Result<Submission, LogError> {
        let none =
            || LogError::Witness("the log has no checkpoint yet; sign one with eds checkpoint".to_owned());
        self.submission(&self.tables.last_checkpoint().await?.ok_or_else(none)?)
    }

    fn cosigners(&self) -> Result<&Cosigners, LogError> {
        let none =
            || LogError::Witness("log.policy is not set; set it to the policy with the witnesses".to_owned());
        self.cosigners.as_deref().ok_or_else(none)
    }

    /// Returns a request for a witness of the policy that the log cannot reach, to cosign the last checkpoint. The proof
    /// leads from the last size that the witness has cosigned, or from `old`.
    ///
    /// # Errors
    /// The policy has no such witness, the log has no checkpoint, or it fails. `old` is smaller than what the witness is
    /// known to have cosigned.
    pub async fn witness_request(&self, name: &str, old: Option<u64>) -> Result<AddCheckpoint, LogError> {
        let witness = self.cosigners()?.policy.witnesses().iter().find(|witness| witness.name == name);
        let unknown =
            || LogError::Witness(format!("log.policy has no witness {name:?}; pass one of its names"));
        let vkey = witness.ok_or_else(unknown)?.key.to_string();
        let submission = self.last_submission().await?;
        let size = submission.checkpoint.size();
        let known = self.tables.last_cosigned(&vkey).await?.unwrap_or(0);
        let old = old.unwrap_or(known);
        if old < known {
            return Err(LogError::Witness(format!(
                "witness {name:?} has cosigned size {known}, and a request from size {old} is for a witness that has \
                 forgotten it: a witness whose state was lost or restored must retire its name and key"
            )));
        }
        if old > size {
            return Err(LogError::Witness(format!(
                "size {old} is beyond the last checkpoint, which has size {size}"
            )));
        }
        let proof = self.store.growth(old, size).await?;
        AddCheckpoint::new(old, proof, submission.note).map_err(|error| LogError::Witness(error.to_string()))
    }

    /// Keeps the cosignature of a witness of the policy for the published checkpoint or a larger signed one. Needs no
    /// leader; [`TransparencyLog::publish_added`] publishes.
    ///
    /// # Errors
    /// The text is not such a cosignature, or is dated in the future; the log fails.
    pub async fn add_cosignature(&self, response: &[u8]) -> Result<AddedCosignature, LogError> {
        let cosigners = self.cosigners()?;
        let least = self.published_size().await?.unwrap_or(0);
        let mut end = MAX_SIZE;
        loop {
            let rows = self.tables.checkpoints(least, end).await?;
            let Some(smallest) = rows.last() else { break };
            end = smallest.size;
            for row in &rows {
                let Ok(note) = Note::parse(&row.note) else { continue };
                let found = cosigners.policy.witnesses().iter().find_map(|witness| {
                    Some((witness, read_cosignature(response, note.text(), &witness.key).ok()?))
                });
                let Some((witness, (line, at))) = found else { continue };
                let size = self.submission(row)?.checkpoint.size();
                if at > latest() {
                    let name = &witness.name;
                    return Err(LogError::Witness(format!("witness {name}: {}", dated(at))));
                }
                let row = CosignatureRow { vkey: witness.key.to_string(), size, at, line: line.to_string() };
                self.tables.note_cosignatures(vec![row], latest()).await?;
                return Ok(AddedCosignature { witness: witness.name.clone(), size });
            }
        }
        Err(LogError::Witness(format!(
            "the text has no valid cosignature by a witness of log.policy for a checkpoint of size {least} or more"
        )))
    }

    /// Publishes the largest checkpoint that a quorum has cosigned, and asks no witness.
    ///
    /// # Errors
    /// [`LogError::QuorumMissing`] if the published checkpoint is still smaller than `size`; the log fails.
    pub async fn publish_added(&self, leader: &Leader, size: u64) -> Result<(), LogError> {
        let cosigners = self.cosigners()?;
        self.check_lock_of(leader).await?;
        self.publish_waiting(cosigners, leader, MAX_SIZE).await?;
        if self.published_size().await?.is_some_and(|published| published >= size) {
            return Ok(());
        }
        let row = self.tables.checkpoint_of(size).await?;
        let problem = match row.map(|row| self.submission(&row)).transpose()? {
            Some(submission) => {
                let note = self.cosigned_note(cosigners, &submission).await?;
                cosigners.policy.evaluate(&note).err().map(|error| error.to_string())
            }
            None => None,
        };
        Err(LogError::QuorumMissing { size, problem: problem.unwrap_or_default() })
    }

    /// Returns a checkpoint with the cosignatures that the ledger has.
    async fn cosigned_note(&self, cosigners: &Cosigners, submission: &Submission) -> Result<Note, LogError> {
        let rows = self.tables.cosignatures(submission.checkpoint.size()).await?;
        let mut note = submission.note.clone();
        for (line, _) in cosigners.cosignatures(note.text(), &rows) {
            note.add(line).map_err(CheckpointError::from)?;
        }
        Ok(note)
    }

    /// Publishes a checkpoint if a quorum has cosigned it. Returns the reason why not.
    async fn publish_at_quorum(
        &self,
        cosigners: &Cosigners,
        leader: &Leader,
        submission: &Submission,
    ) -> Result<Option<PolicyError>, LogError> {
        let size = submission.checkpoint.size();
        let note = self.cosigned_note(cosigners, submission).await?;
        let trusted = match cosigners.policy.evaluate(&note) {
            Ok(trusted) => trusted,
            Err(problem) => return Ok(Some(problem)),
        };
        self.publish(Some(leader), size, note.to_string().as_bytes()).await?;
        cosigners.metrics.log_cosigned(size, trusted.quorum_time().unwrap_or_default());
        Ok(None)
    }

    /// Publishes the largest checkpoint below a size that a quorum has cosigned, unless a larger one is published: a witness
    /// without a network cosigns late.
    async fn publish_waiting(
        &self,
        cosigners: &Cosigners,
        leader: &Leader,
        end: u64,
    ) -> Result<(), LogError> {
        let least = self.published_size().await?.unwrap_or(0);
        let mut end = end;
        loop {
            let rows = self.tables.cosigned(least, end).await?;
            if self.publish_first_of(cosigners, leader, &rows).await? {
                return Ok(());
            }
            match rows.last() {
                // The rows of the last size may go on beyond this read.
                Some((last, _)) if rows.len() as u64 == MAX_COSIGNED && last + 1 < end => end = last + 1,
                _ => return Ok(()),
            }
        }
    }

    /// Publishes the first of these checkpoints that has a quorum; false if none has.
    async fn publish_first_of(
        &self,
        cosigners: &Cosigners,
        leader: &Leader,
        rows: &[(u64, String)],
    ) -> Result<bool, LogError> {
        for rows in rows.chunk_by(|a, b| a.0 == b.0) {
            let has = |key: &VerifierKey| {
                let key = key.to_string();
                rows.iter().any(|(_, vkey)| *vkey == key)
            };
            let Some((size, _)) = rows.first().filter(|_| cosigners.policy.is_quorum(has)) else { continue };
            let Some(row) = self.tables.checkpoint_of(*size).await? else { continue };
            // Anyone with access to the database could have written the row.
            if self.lock.get(row.lock_number).await?.is_none_or(|there| *there != *row.note) {
                continue;
            }
            let submission = self.submission(&row)?;
            if self.publish_at_quorum(cosigners, leader, &submission).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks all witnesses whose cosignatures the checkpoint lacks, or that are old, and keeps the new ones in the ledger.
    /// Publishes the checkpoint at the quorum, before the other witnesses have responded. Returns what witnesses without a
    /// cosignature said.
    async fn ask_all(
        &self,
        cosigners: &Cosigners,
        leader: &Leader,
        submission: &Submission,
        until: Until,
    ) -> Result<Vec<String>, LogError> {
        let rows = self.tables.cosignatures(submission.checkpoint.size()).await?;
        let there = cosigners.cosignatures(submission.note.text(), &rows);
        let now = now_seconds();
        let mut asked: FuturesUnordered<_> = cosigners
            .witnesses
            .iter()
            .map(|witness| {
                let is_recent = |at: u64| now.saturating_sub(at) < cosigners.renew_seconds;
                let key = (witness.key.name(), witness.key.id());
                let has_line =
                    there.iter().any(|(line, at)| (line.name(), line.id()) == key && is_recent(*at));
                async move { (witness, self.ask(witness, submission, has_line).await) }
            })
            .collect();
        let mut missing = self.publish_at_quorum(cosigners, leader, submission).await?;
        let mut problems = Vec::new();
        while until == Until::All || missing.is_some() {
            let Some((witness, answer)) = asked.next().await else { break };
            match answer? {
                None => {}
                Some(Answer::Cosigned(row)) => {
                    witness.report(Asked::Cosigned, "", &cosigners.metrics);
                    self.tables.note_cosignatures(vec![row], latest()).await?;
                    if missing.is_some() {
                        missing = self.publish_at_quorum(cosigners, leader, submission).await?;
                    }
                }
                Some(Answer::Failed(asked, problem)) => {
                    witness.report(asked, &problem, &cosigners.metrics);
                    problems.push(format!("witness {}: {problem}", witness.name));
                }
            }
        }
        Ok(problems)
    }

    /// Publishes a checkpoint that has a quorum with all its cosignatures, or one that may be published without a quorum.
    async fn finish(
        &self,
        cosigners: &Cosigners,
        leader: &Leader,
        submission: &Submission,
        problems: Vec<String>,
    ) -> Result<(), LogError> {
        let size = submission.checkpoint.size();
        let missing = self.publish_at_quorum(cosigners, leader, submission).await?;
        cosigners.metrics.log_quorum(missing.is_some());
        let Some(problem) = missing else { return Ok(()) };
        let problem = [vec![problem.to_string()], problems].concat().join("; ");
        if cosigners.require_quorum {
            self.publish_waiting(cosigners, leader, size).await?;
            return Err(LogError::QuorumMissing { size, problem });
        }
        warn!(size, problem, "a checkpoint of the transparency log is published without a quorum");
        let note = self.cosigned_note(cosigners, submission).await?;
        self.publish(Some(leader), size, note.to_string().as_bytes()).await
    }

    /// Asks a witness for its cosignature unless the checkpoint has a recent one. The first time, looks at its last
    /// checkpoint.
    async fn ask(
        &self,
        witness: &AskedWitness,
        submission: &Submission,
        has_line: bool,
    ) -> Result<Option<Answer>, LogError> {
        let known = self.tables.last_cosigned(&witness.key.to_string()).await?.unwrap_or(0);
        if !witness.looked.load(Ordering::Relaxed) {
            match witness.look(&submission.checkpoint, known).await {
                Ok(true) => witness.looked.store(true, Ordering::Relaxed),
                Ok(false) if has_line => return Ok(Some(other_root(submission.checkpoint.size()))),
                // The witness refuses the request, and keeps the contradiction.
                Ok(false) => {}
                Err(Some(problem)) => return Ok(Some(problem)),
                // A witness need not show its checkpoints.
                Err(None) => {}
            }
        }
        if has_line {
            return Ok(None);
        }
        let mut old = known.min(submission.checkpoint.size());
        for _ in 0..ATTEMPTS {
            let proof = self.store.growth(old, submission.checkpoint.size()).await?;
            let request = AddCheckpoint::new(old, proof, submission.note.clone());
            let request = match request {
                Ok(request) => request.to_string(),
                Err(error) => return Ok(Some(Answer::Failed(Asked::Unreachable, error.to_string()))),
            };
            match witness.add_checkpoint(request, submission, old, known).await {
                Ok(answer) => return Ok(Some(answer)),
                Err(size) => old = size,
            }
        }
        let problem = "it named another size again while it was asked".to_owned();
        Ok(Some(Answer::Failed(Asked::Unreachable, problem)))
    }
}

impl AskedWitness {
    /// Sends a request. Returns the size that the witness names if the proof must lead from there.
    async fn add_checkpoint(
        &self,
        request: String,
        submission: &Submission,
        old: u64,
        known: u64,
    ) -> Result<Answer, u64> {
        let response = match in_time(self.client.add_checkpoint(request)).await {
            Ok(response) => response,
            Err(problem) => return Ok(Answer::Failed(Asked::Unreachable, problem)),
        };
        let size = submission.checkpoint.size();
        Ok(match response.status {
            200 => self.cosigned(&response.body, submission),
            409 => match read_witness_size(&response.body) {
                Some(named) if named < known => behind(named, known),
                Some(named) if named > size => ahead(named, size),
                Some(named) if named == old => refused(&response),
                Some(named) => return Err(named),
                None => unexpected(&response),
            },
            422 => refused(&response),
            _ => unexpected(&response),
        })
    }

    fn cosigned(&self, body: &[u8], submission: &Submission) -> Answer {
        match read_cosignature(body, submission.note.text(), &self.key) {
            Ok((_, at)) if at > latest() => Answer::Failed(Asked::Invalid, dated(at)),
            Ok((line, at)) => {
                let (vkey, size) = (self.key.to_string(), submission.checkpoint.size());
                Answer::Cosigned(CosignatureRow { vkey, size, at, line: line.to_string() })
            }
            Err(error) => Answer::Failed(Asked::Invalid, error.to_string()),
        }
    }

    /// Compares the last checkpoint that the witness shows. Returns false if it has another root at the same size. An error
    /// without an answer means that it shows none.
    async fn look(&self, checkpoint: &Checkpoint, known: u64) -> Result<bool, Option<Answer>> {
        let shown = in_time(self.client.latest(&witness_path(checkpoint.origin()))).await;
        // A witness that does not respond here need not be asked for more time.
        let shown = shown.map_err(|problem| Some(Answer::Failed(Asked::Unreachable, problem)))?;
        let shown = Some(shown).filter(|response| response.status == 200).ok_or(None)?;
        let note = Note::parse(&shown.body).ok();
        let note = note.filter(|note| note.verify([&self.key]).is_ok()).ok_or(None)?;
        let seen = Checkpoint::parse(note.text()).map_err(|_| None)?;
        if seen.origin() != checkpoint.origin() {
            return Err(None);
        }
        let size = checkpoint.size();
        match seen.size() {
            seen if seen < known => Err(Some(behind(seen, known))),
            seen if seen > size => Err(Some(ahead(seen, size))),
            seen_size => Ok(seen_size != size || seen.root() == checkpoint.root()),
        }
    }

    /// Records a result, and logs it if it differs from the last one. A witness that has lost its state remains so until
    /// it has caught up, also if it cannot be reached meanwhile.
    fn report(&self, asked: Asked, problem: &str, metrics: &Metrics) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_still_behind =
            *reported == Some(Asked::Behind) && matches!(asked, Asked::Unreachable | Asked::Invalid);
        let state = if is_still_behind { Asked::Behind } else { asked };
        metrics.log_witness_asked(&self.name, asked, state);
        if reported.replace(state) == Some(state) {
            return;
        }
        let (witness, result) = (self.name.as_str(), asked.name());
        match asked {
            Asked::Cosigned => {
                info!(witness, "the witness has cosigned the checkpoint of the transparency log")
            }
            Asked::Unreachable | Asked::Invalid => {
                warn!(witness, result, problem, "the witness has not cosigned the checkpoint");
            }
            Asked::Behind | Asked::Conflict => {
                error!(witness, result, problem, "the witness contradicts the transparency log");
            }
        }
    }
}

async fn in_time(
    response: impl Future<Output = Result<WitnessResponse, String>>,
) -> Result<WitnessResponse, String> {
    let late = |_| Err(format!("no response in {} s", WITNESS_TIMEOUT.as_secs()));
    tokio::time::timeout(WITNESS_TIMEOUT, response).await.unwrap_or_else(late)
}

fn behind(named: u64, known: u64) -> Answer {
    let problem = format!(
        "its last checkpoint has size {named}, and it has cosigned size {known}: its state was lost or restored; retire \
         its name and key"
    );
    Answer::Failed(Asked::Behind, problem)
}

/// Returns the problem of a cosignature from the future.
fn dated(at: u64) -> String {
    let seconds = at.saturating_sub(now_seconds());
    format!("its cosignature is dated {seconds} s in the future; its clock must be set")
}

fn other_root(size: u64) -> Answer {
    Answer::Failed(Asked::Conflict, format!("its last checkpoint has another root at size {size}"))
}

fn ahead(named: u64, size: u64) -> Answer {
    let problem = format!("its last checkpoint has size {named}, and the log has size {size}");
    Answer::Failed(Asked::Conflict, problem)
}

fn refused(response: &WitnessResponse) -> Answer {
    let problem = format!("it refuses the checkpoint with {}: {}", response.status, shown(&response.body));
    Answer::Failed(Asked::Conflict, problem)
}

fn unexpected(response: &WitnessResponse) -> Answer {
    let problem = format!("it responded with {}: {}", response.status, shown(&response.body));
    Answer::Failed(Asked::Unreachable, problem)
}

/// Returns the beginning of a response as escaped text.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    format!("{:?}", text.trim().chars().take(SHOWN_CHARS).collect::<String>())
}
