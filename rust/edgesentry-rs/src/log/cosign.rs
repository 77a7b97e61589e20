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
use edgesentry_log::{
    AddCheckpoint, Checkpoint, CheckpointError, MAX_POLICY_BYTES, Note, Policy, PolicyError,
    TrustedCheckpoint, VerifierKey, read_cosignature, read_witness_size, witness_path,
};
use futures::future::join_all;
use tracing::{error, info, warn};

use super::{LogError, TransparencyLog};
use crate::error::Error;
use crate::ledger::{CheckpointRow, CosignatureRow, Leader};
use crate::telemetry::metrics::{Asked, Metrics};

/// The time that a witness has for a response.
const WITNESS_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests to a witness for one checkpoint: the second one follows a response that names another size.
const ATTEMPTS: usize = 2;
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
    metrics: Metrics,
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

/// A checkpoint with its cosignatures.
struct CosignedNote {
    note: Note,
    trusted: Result<TrustedCheckpoint, PolicyError>,
    /// What witnesses without a cosignature said.
    problems: Vec<String>,
}

impl fmt::Debug for Cosigners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cosigners").field("require_quorum", &self.require_quorum).finish_non_exhaustive()
    }
}

impl Cosigners {
    /// Creates the witnesses of a policy that have a client.
    pub fn new(policy: Policy, require_quorum: bool, metrics: Metrics) -> Cosigners {
        Cosigners { policy, witnesses: Vec::new(), require_quorum, metrics }
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
    pub(super) fn open(path: &Path, key: &VerifierKey, require_quorum: bool) -> Result<Cosigners, Error> {
        let config = |problem: String| Error::Config(format!("log.policy: {}: {problem}", path.display()));
        let bytes = read_file(path, MAX_POLICY_BYTES as u64).map_err(|error| config(error.to_string()))?;
        let policy = Policy::parse(&bytes).map_err(|error| config(error.to_string()))?;
        if !policy.logs().iter().any(|log| log.key == *key) {
            return Err(config(format!("it has no line `log {key}` with the key of this log")));
        }
        let mut cosigners = Cosigners::new(policy.clone(), require_quorum, Metrics::global());
        for witness in policy.witnesses() {
            let Some(url) = &witness.url else { continue };
            let client = http::client(url, WITNESS_TIMEOUT)
                .map_err(|error| config(format!("witness {}: {error}", witness.name)))?;
            cosigners = cosigners.with_witness(&witness.name, client);
        }
        Ok(cosigners)
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Joins a note of the log and the lines of witnesses of the policy, in its order.
    fn assemble(&self, submission: &Submission, rows: &[CosignatureRow]) -> Result<Note, LogError> {
        let mut note = submission.note.clone();
        for witness in self.policy.witnesses() {
            let vkey = witness.key.to_string();
            // Anyone with access to the database could have written the line.
            let line = rows.iter().find(|row| row.vkey == vkey).map(|row| format!("{}\n", row.line));
            let line =
                line.and_then(|line| read_cosignature(line.as_bytes(), note.text(), &witness.key).ok());
            if let Some((line, _)) = line {
                note.add(line).map_err(CheckpointError::from)?;
            }
        }
        Ok(note)
    }
}

impl TransparencyLog {
    /// Publishes each checkpoint after the witnesses of a policy have cosigned it.
    #[must_use]
    pub fn with_cosigners(self, cosigners: Cosigners) -> TransparencyLog {
        TransparencyLog { cosigners: Some(Arc::new(cosigners)), ..self }
    }

    /// Publishes the last signed checkpoint, after a quorum of witnesses has cosigned it if the log has a policy.
    pub(super) async fn publish_cosigned(&self, leader: &Leader) -> Result<(), LogError> {
        let Some(last) = self.tables.last_checkpoint().await? else { return Ok(()) };
        let Some(cosigners) = &self.cosigners else {
            return Ok(self.publish(last.size, &last.note).await?);
        };
        let submission = self.submission(&last)?;
        let cosigned = self.cosign(cosigners, leader, &submission).await?;
        self.finish(cosigners, &submission, cosigned).await
    }

    /// Returns the last checkpoint with the lines of the log alone.
    fn submission(&self, last: &CheckpointRow) -> Result<Submission, LogError> {
        let checkpoint = self.own_checkpoint(last.lock_number, &last.note)?;
        let note = Note::parse(&last.note).map_err(CheckpointError::from)?;
        let keys: Vec<_> = self.keys().map(|key| (key.name(), key.id())).collect();
        let note = note.retain(|line| keys.contains(&(line.name(), line.id())));
        Ok(Submission { note, checkpoint })
    }

    async fn last_submission(&self) -> Result<Submission, LogError> {
        let none =
            || LogError::Witness("the log has no checkpoint yet; sign one with eds checkpoint".to_owned());
        self.submission(&self.tables.last_checkpoint().await?.ok_or_else(none)?)
    }

    fn policy(&self) -> Result<&Policy, LogError> {
        let none =
            || LogError::Witness("log.policy is not set; set it to the policy with the witnesses".to_owned());
        self.cosigners.as_deref().map(Cosigners::policy).ok_or_else(none)
    }

    /// Returns a request for a witness of the policy that the log cannot reach, to cosign the last checkpoint. The proof
    /// leads from the last size that the witness has cosigned, or from `old`.
    ///
    /// # Errors
    /// The policy has no such witness, the log has no checkpoint, or it fails.
    pub async fn witness_request(&self, name: &str, old: Option<u64>) -> Result<AddCheckpoint, LogError> {
        let witness = self.policy()?.witnesses().iter().find(|witness| witness.name == name);
        let unknown =
            || LogError::Witness(format!("log.policy has no witness {name:?}; pass one of its names"));
        let vkey = witness.ok_or_else(unknown)?.key.to_string();
        let submission = self.last_submission().await?;
        let size = submission.checkpoint.size();
        let known = self.tables.last_cosigned(&vkey).await?.unwrap_or(0);
        let old = old.unwrap_or(known);
        if old > size {
            return Err(LogError::Witness(format!(
                "size {old} is beyond the last checkpoint, which has size {size}"
            )));
        }
        let proof = self.store.growth(old, size).await?;
        AddCheckpoint::new(old, proof, submission.note).map_err(|error| LogError::Witness(error.to_string()))
    }

    /// Keeps the cosignature of a witness of the policy for the last checkpoint, and publishes the checkpoint if a quorum
    /// has cosigned it. Returns the name of the witness.
    ///
    /// # Errors
    /// The text is not such a cosignature; [`LogError::QuorumMissing`] after it was kept; the log fails.
    pub async fn add_cosignature(&self, leader: &Leader, response: &[u8]) -> Result<String, LogError> {
        let submission = self.last_submission().await?;
        let (text, size) = (submission.note.text(), submission.checkpoint.size());
        let found = self.policy()?.witnesses().iter().find_map(|witness| {
            let (line, at) = read_cosignature(response, text, &witness.key).ok()?;
            let row = CosignatureRow { vkey: witness.key.to_string(), size, at, line: line.to_string() };
            Some((witness.name.clone(), row))
        });
        let none = || {
            LogError::Witness(format!(
                "the text has no valid cosignature by a witness of log.policy for the last checkpoint, of size {size}"
            ))
        };
        let (name, row) = found.ok_or_else(none)?;
        self.tables.note_cosignatures(leader, vec![row]).await?;
        self.publish_cosigned(leader).await?;
        Ok(name)
    }

    /// Collects the cosignatures of a checkpoint, and keeps them in the ledger.
    async fn cosign(
        &self,
        cosigners: &Cosigners,
        leader: &Leader,
        submission: &Submission,
    ) -> Result<CosignedNote, LogError> {
        let size = submission.checkpoint.size();
        let there = self.tables.cosignatures(size).await?;
        let there = cosigners.assemble(submission, &there)?;
        let has_line = |key: &VerifierKey| {
            there.signatures().iter().any(|line| (line.name(), line.id()) == (key.name(), key.id()))
        };
        let asked = cosigners.witnesses.iter().map(|witness| {
            let has_line = has_line(&witness.key);
            async move {
                let answer = self.ask(witness, submission, has_line).await?;
                Ok::<_, LogError>(answer.map(|answer| (witness, answer)))
            }
        });
        let (mut rows, mut problems) = (Vec::new(), Vec::new());
        for answer in join_all(asked).await {
            let Some((witness, answer)) = answer? else { continue };
            match answer {
                Answer::Cosigned(row) => {
                    witness.report(Asked::Cosigned, "", &cosigners.metrics);
                    rows.push(row);
                }
                Answer::Failed(asked, problem) => {
                    witness.report(asked, &problem, &cosigners.metrics);
                    problems.push(format!("witness {}: {problem}", witness.name));
                }
            }
        }
        if !rows.is_empty() {
            self.tables.note_cosignatures(leader, rows).await?;
        }
        let note = cosigners.assemble(submission, &self.tables.cosignatures(size).await?)?;
        let trusted = cosigners.policy.evaluate(&note);
        Ok(CosignedNote { note, trusted, problems })
    }

    /// Publishes a checkpoint that has a quorum, or may be published without one.
    async fn finish(
        &self,
        cosigners: &Cosigners,
        submission: &Submission,
        cosigned: CosignedNote,
    ) -> Result<(), LogError> {
        let size = submission.checkpoint.size();
        cosigners.metrics.log_quorum(cosigned.trusted.is_err());
        let missing = match cosigned.trusted {
            Ok(trusted) => {
                cosigners.metrics.log_cosigned(size, trusted.quorum_time().unwrap_or_default());
                None
            }
            Err(problem) => {
                let problem = [vec![problem.to_string()], cosigned.problems].concat().join("; ");
                Some(problem)
            }
        };
        match missing {
            Some(problem) if cosigners.require_quorum => Err(LogError::QuorumMissing { size, problem }),
            Some(problem) => {
                warn!(size, problem, "a checkpoint of the transparency log is published without a quorum");
                Ok(self.publish(size, cosigned.note.to_string().as_bytes()).await?)
            }
            None => Ok(self.publish(size, cosigned.note.to_string().as_bytes()).await?),
        }
    }

    /// Asks a witness for its cosignature unless the checkpoint has it. The first time, looks at its last checkpoint.
    async fn ask(
        &self,
        witness: &AskedWitness,
        submission: &Submission,
        has_line: bool,
    ) -> Result<Option<Answer>, LogError> {
        let known = self.tables.last_cosigned(&witness.key.to_string()).await?.unwrap_or(0);
        if !witness.looked.load(Ordering::Relaxed) {
            match witness.look(&submission.checkpoint, known).await {
                Ok(()) => witness.looked.store(true, Ordering::Relaxed),
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
            Ok((line, at)) => {
                let (vkey, size) = (self.key.to_string(), submission.checkpoint.size());
                Answer::Cosigned(CosignatureRow { vkey, size, at, line: line.to_string() })
            }
            Err(error) => Answer::Failed(Asked::Invalid, error.to_string()),
        }
    }

    /// Compares the last checkpoint that the witness shows. An error without an answer means that it shows none.
    async fn look(&self, checkpoint: &Checkpoint, known: u64) -> Result<(), Option<Answer>> {
        let shown = in_time(self.client.latest(&witness_path(checkpoint.origin()))).await;
        let shown = shown.ok().filter(|response| response.status == 200).ok_or(None)?;
        let note = Note::parse(&shown.body).ok();
        let note = note.filter(|note| note.verify([&self.key]).is_ok()).ok_or(None)?;
        let seen = Checkpoint::parse(note.text()).map_err(|_| None)?;
        if seen.origin() != checkpoint.origin() {
            return Err(None);
        }
        let (seen, size) = (seen.size(), checkpoint.size());
        match seen {
            seen if seen < known => Err(Some(behind(seen, known))),
            seen if seen > size => Err(Some(ahead(seen, size))),
            _ => Ok(()),
        }
    }

    /// Records a result, and logs it if it differs from the last one.
    fn report(&self, asked: Asked, problem: &str, metrics: &Metrics) {
        metrics.log_witness_asked(&self.name, asked);
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.replace(asked) == Some(asked) {
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
