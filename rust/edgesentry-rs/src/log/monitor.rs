//! A monitor: replays every leaf of a log, compares each checkpoint with the one before and with every witness, and keeps
//! its findings.
//!
//! Three classes of results never mix. *Tamper*: two statements that the log signed contradict each other, or a leaf under
//! a signed root contradicts the leaves before it. *Unverifiable*: the monitor cannot check or does not trust a signed
//! statement. *Infrastructure*: a place cannot be read, or its content does not lead to a signed root; this says nothing
//! about the log.
//!
//! The state moves in one transaction, after every leaf up to a checkpoint was replayed and the root holds. Every checkpoint
//! with a signature of the log, from any source, with or without a quorum, is kept until it is compared with the
//! verified tree.

mod compare;
mod finding;
mod source;
mod state;
mod tiles;
mod witness;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use edgesentry_chain::Hash;
use edgesentry_formats::times;
use edgesentry_log::{
    Checkpoint, FINDINGS_DROPPED, FollowError, Follower, MAX_NOTE_BYTES, MaxAge, Note, NoteSignature, Policy,
    TreeHash, VerifierKey,
};
use futures::StreamExt;
use tracing::{error, warn};

use self::finding::Found;
use self::source::{Access, Source};
use self::state::{KeptLeaf, Progress, Results, State, Stored};
use self::tiles::{Bundle, TileTree, bundles, roots_of_leaves};
use self::witness::WitnessSource;
use crate::error::Error;
use crate::s3_settings::S3Settings;
use crate::secret::Secret;
use crate::telemetry::metrics::Metrics;

pub use finding::{
    Checked, Failure, FailureKind, FindingClass, MonitorFinding, MonitorOutcome, VerifiedCheckpoint,
    WitnessView,
};

/// Bundles after which the progress of a replay is stored.
const BUNDLES_OF_PROGRESS: usize = 16;
/// How long the replay of a round may take by default.
const MAX_ROUND: Duration = Duration::from_secs(10 * 60);
/// The longest pause after failures, unless the interval is longer.
const MAX_PAUSE: Duration = Duration::from_secs(15 * 60);

/// The inputs of a monitor.
#[derive(Clone, Debug)]
pub struct MonitorSettings {
    /// The location of the log: `http://`, `https://`, `s3://BUCKET/PREFIX` or `folder:PATH`. Below it are `checkpoint`
    /// and `tile/`.
    pub url: String,
    /// The trusted keys of the log and of its witnesses, and the quorum.
    pub policy: Policy,
    /// The name of the log, if the policy has several.
    pub origin: Option<String>,
    /// The file of the state.
    pub state: PathBuf,
    /// True to continue under a policy other than that of the state.
    pub accept_policy: bool,
    /// The maximum age of the cosignatures, seconds.
    pub max_age: Option<u64>,
    /// A token for the log, if it is not public. Witnesses do not get it.
    pub token: Option<Secret>,
    /// PEM file of the trusted authorities; those of the system by default.
    pub ca: Option<PathBuf>,
    /// How long a place may take for a response.
    pub timeout: Duration,
    /// How long a round may replay leaves; the next round continues.
    pub max_round: Duration,
    /// How to reach S3.
    pub s3: S3Settings,
    /// Returns the time, Unix milliseconds.
    pub now_ms: fn() -> u64,
}

impl MonitorSettings {
    /// Returns the default settings for a log, a policy and a state.
    pub fn new(url: impl Into<String>, policy: Policy, state: impl Into<PathBuf>) -> MonitorSettings {
        MonitorSettings {
            url: url.into(),
            policy,
            origin: None,
            state: state.into(),
            accept_policy: false,
            max_age: None,
            token: None,
            ca: None,
            timeout: Duration::from_secs(30),
            max_round: MAX_ROUND,
            s3: S3Settings::default(),
            now_ms: times::now_ms,
        }
    }

    fn origin(&self) -> Result<&str, Error> {
        let mut origins: Vec<&str> = self.policy.logs().iter().map(|log| log.key.name()).collect();
        origins.sort_unstable();
        origins.dedup();
        match (&self.origin, origins.as_slice()) {
            (Some(origin), all) if all.contains(&origin.as_str()) => Ok(origin),
            (Some(origin), _) => {
                Err(Error::Config(format!("the policy has no log {origin:?}; name one of its logs")))
            }
            (None, [origin]) => Ok(origin),
            (None, _) => {
                let problem = "the policy must have exactly one log, or name the log with --origin";
                Err(Error::Config(problem.to_owned()))
            }
        }
    }
}

/// Monitors one log.
pub struct Monitor {
    origin: String,
    policy: Policy,
    max_age: Option<u64>,
    max_round: Duration,
    source: Arc<dyn Source>,
    witnesses: Vec<WitnessSource>,
    state: State,
    /// At the end of the replayed leaves; `None` before they are read from the state.
    follower: Option<Follower>,
    /// The findings of which an event was emitted.
    reported: BTreeSet<u64>,
}

/// The results of a round so far.
#[derive(Default)]
struct Round {
    /// The results to store; findings among them.
    results: Results,
    failures: Vec<Failure>,
    witnesses: Vec<WitnessView>,
    /// The checkpoints that contradict another one, with their sources.
    contradicted: BTreeSet<(String, u64, TreeHash)>,
    /// True if every leaf up to the checkpoint that the log shows is replayed.
    confirmed: bool,
}

impl Round {
    fn find(&mut self, found: Found) {
        self.results.found.push(found);
    }

    fn is_contradicted(&self, source: &str, signed: &Signed) -> bool {
        let (size, root) = signed.id();
        self.contradicted.contains(&(source.to_owned(), size, root))
    }

    /// Forgets a checkpoint that is compared.
    fn settle(&mut self, source: &str, signed: &Signed) {
        self.results.settled.push((source.to_owned(), signed.size(), signed.checkpoint.root()));
    }

    fn is_settled(&self, source: &str, signed: &Signed) -> bool {
        let (size, root) = signed.id();
        self.results
            .settled
            .iter()
            .any(|settled| (settled.0 == source) && (settled.1, settled.2) == (size, root))
    }
}

/// A checkpoint with a signature of the log.
#[derive(Clone)]
struct Signed {
    checkpoint: Checkpoint,
    note: Note,
}

impl Signed {
    fn of(note: Note) -> Option<Signed> {
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        Some(Signed { checkpoint, note })
    }

    fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    fn id(&self) -> (u64, TreeHash) {
        (self.checkpoint.size(), self.checkpoint.root())
    }
}

/// The checkpoint that the log shows.
struct Shown {
    signed: Signed,
    /// True if the policy trusts it.
    is_trusted: bool,
}

/// The reason why a replay ended before its checkpoint.
enum Stop {
    /// A place cannot be read, or the limit of the round is reached.
    Failed(Failure),
    /// The leaves do not have the root of the checkpoint.
    OtherRoot,
    /// The log cannot be followed.
    Follow(FollowError),
    /// The state cannot be read or written.
    State(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::State(error)
    }
}

impl Monitor {
    /// Opens a monitor with its state, which is created if it is missing. Reads nothing from the log.
    ///
    /// # Errors
    /// The state is in use, damaged, of another log, or was made under another policy; a URL cannot be used.
    pub async fn open(settings: MonitorSettings) -> Result<Monitor, Error> {
        let origin = settings.origin()?.to_owned();
        let MonitorSettings {
            url, policy, state, accept_policy, max_age, token, ca, timeout, max_round, ..
        } = settings;
        let (s3, now_ms) = (settings.s3, settings.now_ms);
        let access = Access { token, ca, timeout };
        let source = source::open(&url, access.clone(), &s3).await?;
        let witnesses = witness::open(&policy, &origin, Access { token: None, ..access }, &s3).await?;
        let state = State::open(&state, now_ms).await?;
        state.claim(&origin, &policy.to_string(), accept_policy).await?;
        let monitor = Monitor {
            origin,
            policy,
            max_age,
            max_round,
            source,
            witnesses,
            state,
            follower: None,
            reported: BTreeSet::new(),
        };
        monitor.forget_unsigned().await?;
        Ok(monitor)
    }

    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Records the stored findings and the verified checkpoint in metrics, before the first round.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn observe(&self, metrics: &Metrics) -> Result<(), Error> {
        self.conclude(Round::default()).await?.observe_state(metrics);
        Ok(())
    }

    /// Runs one round: reads the checkpoint, replays the new leaves, and compares the witnesses.
    ///
    /// The future may be dropped at any point: the next round continues from the stored progress.
    ///
    /// # Errors
    /// The state cannot be read or written. Failures of the log and the witnesses are part of the result.
    pub async fn check(&mut self) -> Result<Checked, Error> {
        let mut round = Round::default();
        // First, so that a log that grows meanwhile is not behind its witnesses.
        let of_witnesses = self.witness_notes().await;
        let shown = match self.read_checkpoint().await {
            Ok(note) => self.judge(note, &mut round),
            Err(failure) => {
                round.failures.push(failure);
                None
            }
        };
        self.hold(shown.as_ref(), &of_witnesses, &mut round).await?;
        let shown_size = self.shown_size(shown.as_ref()).await?;
        if let Some(shown) = shown.as_ref().filter(|shown| shown.is_trusted) {
            self.advance(&shown.signed, &mut round).await?;
        }
        self.settle(shown.as_ref(), &mut round).await?;
        self.compare_witnesses(shown.as_ref(), shown_size, of_witnesses, &mut round).await?;
        round.results.confirms = round.confirmed && round.results.found.is_empty();
        let found = round.results.found.iter().map(|found| found.class).min();
        self.state.keep(std::mem::take(&mut round.results)).await?;
        self.prove_leaves().await?;
        let checked = Checked { found, ..self.conclude(round).await? };
        self.report(&checked);
        Ok(checked)
    }

    /// Emits an event for each failure, and once for each open finding.
    fn report(&mut self, checked: &Checked) {
        for failure in &checked.failures {
            warn!(error = %failure, "a place of the monitored log cannot be read");
        }
        for finding in &checked.findings {
            if self.reported.insert(finding.id) {
                let MonitorFinding { id, class, code, message, .. } = finding;
                error!(id, class = class.name(), code, message, "the monitor of the log has a finding");
            }
        }
    }

    /// Closes the state.
    pub async fn close(self) {
        self.state.close().await;
    }

    async fn conclude(&self, round: Round) -> Result<Checked, Error> {
        let stored = self.state.stored().await?;
        let replaced_keys = stored.replaced_keys().map_err(|error| self.state.damaged(&error))?;
        let Stored { verified, verified_at_ms, .. } = stored;
        let verified = verified.and_then(Signed::of).map(|Signed { checkpoint, .. }| VerifiedCheckpoint {
            size: checkpoint.size(),
            root: checkpoint.root(),
            at_ms: verified_at_ms,
        });
        let end = self.follower.as_ref().map_or(0, Follower::size);
        let Round { failures, witnesses, confirmed, .. } = round;
        let findings = self.state.findings(false).await?;
        let dropped = findings.iter().filter(|finding| finding.code == FINDINGS_DROPPED);
        Ok(Checked {
            origin: self.origin.clone(),
            replayed: end.saturating_sub(verified.as_ref().map_or(0, |verified| verified.size)),
            verified,
            confirmed,
            replaced_keys,
            dropped: dropped.map(|finding| finding.times).sum(),
            findings,
            found: None,
            failures,
            witnesses,
        })
    }

    /// Returns the checkpoint up to which every leaf was replayed.
    async fn verified(&self) -> Result<Option<Signed>, Error> {
        Ok(self.state.stored().await?.verified.and_then(Signed::of))
    }

    async fn read_checkpoint(&self) -> Result<Note, Failure> {
        let place = self.source.place();
        let bytes = self.source.get("checkpoint", MAX_NOTE_BYTES).await?;
        let bytes = bytes.ok_or_else(|| Failure::new(place, "the log has no checkpoint yet".to_owned()))?;
        Note::parse(&bytes)
            .map_err(|error| Failure::new(place, format!("checkpoint: not a signed note: {error}")))
    }

    /// Judges the checkpoint of the log. It counts against the log if a key of the log has signed it, trusted or not.
    fn judge(&self, note: Note, round: &mut Round) -> Option<Shown> {
        let trusted = self.policy.evaluate(&note);
        let instance = Hash::of(note.text().as_bytes()).to_string();
        let signed = self.signed(&note);
        match (&trusted, &signed) {
            (Ok(trusted), Some(signed)) => {
                let stale = self.stale(signed, trusted.quorum_time());
                round.results.found.extend(stale);
                self.note_cosigned(trusted, round);
            }
            (Ok(_), None) => {
                let message =
                    format!("expected a checkpoint of log {:?}, found one of another log", self.origin);
                round.find(unverifiable("checkpoint_untrusted", &instance, message));
            }
            (Err(error), _) => round.find(unverifiable(error.code(), &instance, error.to_string())),
        }
        Some(Shown { signed: signed?, is_trusted: trusted.is_ok() })
    }

    /// Returns the checkpoint of a note that a key of this log has signed. Other lines of the note may be damaged: the log
    /// is held to its own signature.
    fn signed(&self, note: &Note) -> Option<Signed> {
        let valid = |key: &VerifierKey| {
            let is_valid = |line: &&NoteSignature| {
                let alone = Note::assemble(note.text(), [(*line).clone()]);
                alone.is_ok_and(|alone| alone.verify([key]).is_ok())
            };
            note.signatures().iter().find(is_valid).cloned()
        };
        let own: Vec<NoteSignature> = self.log_keys().filter_map(valid).collect();
        if own.is_empty() {
            return None;
        }
        let of_witnesses = self.policy.witnesses().iter().filter_map(|witness| valid(&witness.key));
        let note = Note::assemble(note.text(), own.into_iter().chain(of_witnesses)).ok()?;
        Signed::of(note).filter(|signed| signed.checkpoint.origin() == self.origin)
    }

    fn log_keys(&self) -> impl Iterator<Item = &VerifierKey> + Clone {
        self.policy.logs().iter().map(|log| &log.key).filter(|key| key.name() == self.origin)
    }

    fn stale(&self, shown: &Signed, quorum_time: Option<u64>) -> Option<Found> {
        let limit = MaxAge { seconds: self.max_age?, now: (self.state.now_ms)() / 1000 };
        let (expected, actual) = limit.exceeded(quorum_time)?;
        let message = format!(
            "expected {expected}, found a checkpoint of size {} that is {actual}",
            shown.checkpoint.size()
        );
        Some(unverifiable("checkpoint_stale", &shown.checkpoint.to_string(), message))
    }

    /// Replays the log up to the checkpoint that it shows.
    async fn advance(&mut self, shown: &Signed, round: &mut Round) -> Result<(), Error> {
        let verified = self.verified().await?;
        if let Some(verified) = verified.as_ref().filter(|verified| verified.size() >= shown.size()) {
            round.confirmed = verified.checkpoint == shown.checkpoint;
            return Ok(());
        }
        if round.is_contradicted("", shown) {
            return Ok(());
        }
        match self.replay(shown).await {
            Ok(()) => round.confirmed = true,
            Err(Stop::Failed(failure)) => round.failures.push(failure),
            Err(Stop::OtherRoot) => {
                self.follower = None;
                self.state.discard().await?;
                self.explain(verified, shown, round).await?;
            }
            Err(Stop::Follow(error)) => {
                self.follower = None;
                round.find(unverifiable("log_too_large", "", error.to_string()));
            }
            Err(Stop::State(error)) => {
                self.follower = None;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Replays the leaves up to a checkpoint, whose root must hold. Notes the roots at the sizes of checkpoints that wait.
    async fn replay(&mut self, target: &Signed) -> Result<(), Stop> {
        let (begun, size) = (Instant::now(), target.size());
        let mut follower = match self.follower.take() {
            Some(follower) => follower,
            None => self.state.follower(&self.origin, &self.state.stored().await?).await?,
        };
        if follower.size() > size {
            // The log shows less than before.
            self.state.discard().await?;
            follower = self.state.follower(&self.origin, &self.state.stored().await?).await?;
        }
        let seen = self.state.seen().await?;
        let sizes: Arc<BTreeSet<u64>> = Arc::new(seen.iter().map(|seen| seen.signed.size()).collect());
        let mut roots = Vec::new();
        let mut bundles = std::pin::pin!(bundles(Arc::clone(&self.source), follower.size(), size));
        let mut number = 0;
        while let Some(bundle) = bundles.next().await {
            let pushed = match bundle {
                Ok(bundle) => push(follower, bundle, Arc::clone(&sizes), self.source.place()).await?,
                Err(failure) => (follower, Vec::new(), Err(Stop::Failed(failure))),
            };
            follower = pushed.0;
            roots.extend(pushed.1);
            number += 1;
            let stop = match pushed.2 {
                Ok(()) if number % BUNDLES_OF_PROGRESS != 0 || follower.size() >= size => continue,
                Ok(()) if begun.elapsed() < self.max_round => None,
                Ok(()) => Some(self.unfinished(follower.size(), size)),
                Err(Stop::Failed(failure)) => Some(failure),
                Err(stop) => return Err(stop),
            };
            self.state.advance(Progress::of(&mut follower, &mut roots), None).await?;
            if let Some(failure) = stop {
                self.follower = Some(follower);
                return Err(Stop::Failed(failure));
            }
        }
        if (follower.size(), follower.root()) != (size, target.checkpoint.root()) {
            return Err(Stop::OtherRoot);
        }
        follower.end_checkpoint();
        self.state.advance(Progress::of(&mut follower, &mut roots), Some(&target.note)).await?;
        for (device_id, sequence) in follower.take_operator_keys() {
            warn!(device_id, sequence, "a key of the monitored log has no succession by the device");
        }
        self.follower = Some(follower);
        Ok(())
    }

    fn unfinished(&self, reached: u64, size: u64) -> Failure {
        let seconds = self.max_round.as_secs();
        let problem = format!(
            "the round replayed leaves for {seconds} seconds, up to leaf {reached} of {size}; run another round"
        );
        Failure::new(self.source.place(), problem).of(FailureKind::Unfinished)
    }

    /// Explains leaves without the root of the checkpoint: a tree that does not extend an older one is a finding, and
    /// anything else is damage of the files.
    async fn explain(
        &self,
        verified: Option<Signed>,
        shown: &Signed,
        round: &mut Round,
    ) -> Result<(), Error> {
        let size = shown.size();
        let verified_id = verified.as_ref().map(Signed::id);
        let deadline = Instant::now() + self.max_round;
        let seen = self.state.seen().await?.into_iter().map(|seen| seen.signed);
        let older: Vec<Signed> =
            verified.into_iter().chain(seen).filter(|older| older.size() < size).collect();
        let sizes: Vec<u64> = older.iter().map(Signed::size).collect();
        let mut tree = TileTree::new(&*self.source, &shown.checkpoint);
        let roots = match roots_of_tiles(&mut tree, &sizes).await {
            Ok(roots) => Ok(roots),
            // The tiles lead nowhere. The leaves may.
            Err(_) => roots_of_leaves(&self.source, &shown.checkpoint, &sizes, deadline).await,
        };
        let roots = match roots {
            Ok(roots) => roots,
            Err(failure) => {
                round.failures.push(failure);
                return Ok(());
            }
        };
        let differs = |(older, root): &(&Signed, TreeHash)| older.checkpoint.root() != *root;
        match older.iter().zip(roots).find(differs) {
            Some((older, _)) => {
                self.contradict("", shown, older, round).await;
                if Some(older.id()) == verified_id {
                    round.settle("", shown);
                }
            }
            None => {
                let problem = format!("the entry bundles do not have the leaves of the tree of size {size}");
                round.failures.push(Failure::new(self.source.place(), problem));
            }
        }
        Ok(())
    }

    /// Replaces kept leaves by their proofs, as far as the log serves the tiles.
    async fn prove_leaves(&self) -> Result<(), Error> {
        let leaves = self.state.leaves_without_proof().await?;
        let Some(verified) = self.verified().await?.filter(|_| !leaves.is_empty()) else { return Ok(()) };
        let mut tree = TileTree::new(&*self.source, &verified.checkpoint);
        for KeptLeaf { finding, number, index, bytes } in leaves {
            // The leaf stays as evidence without a proof, and a later round tries again.
            let Ok(proof) = tree.leaf_proof(index, bytes, &verified.note).await else { break };
            self.state.prove_leaf(finding, number, &proof.to_string()).await?;
        }
        Ok(())
    }
}

async fn roots_of_tiles(tree: &mut TileTree<'_>, sizes: &[u64]) -> Result<Vec<TreeHash>, Failure> {
    let mut roots = Vec::with_capacity(sizes.len());
    for size in sizes {
        roots.push(tree.root_at(*size).await?);
    }
    Ok(roots)
}

/// Replays the leaves of a bundle on a thread that may block. Returns the roots at the sizes.
async fn push(
    mut follower: Follower,
    bundle: Bundle,
    sizes: Arc<BTreeSet<u64>>,
    place: &str,
) -> Result<(Follower, Vec<(u64, TreeHash)>, Result<(), Stop>), Stop> {
    let work = move || {
        let mut roots = Vec::new();
        let pushed = bundle.each(|leaf| {
            follower.push(leaf)?;
            if sizes.contains(&follower.size()) {
                roots.push((follower.size(), follower.root()));
            }
            Ok(())
        });
        (follower, roots, pushed)
    };
    let done = tokio::task::spawn_blocking(work).await;
    let (follower, roots, pushed) = done.map_err(|error| Error::internal("the replay of a log", error))?;
    let pushed = match pushed {
        Ok(pushed) => pushed.map_err(Stop::Follow),
        Err(problem) => Err(Stop::Failed(Failure::new(place, problem))),
    };
    Ok((follower, roots, pushed))
}

fn unverifiable(code: &'static str, instance: &str, message: String) -> Found {
    Found::new(FindingClass::Unverifiable, code, instance.to_owned(), message)
}

/// The findings of a state, beside a monitor that may use it.
pub struct MonitorFindings(State);

impl MonitorFindings {
    /// Opens the state, which must exist.
    ///
    /// # Errors
    /// The file is missing, or is not the state of a monitor.
    pub async fn open(state: &Path) -> Result<MonitorFindings, Error> {
        Ok(MonitorFindings(State::open_beside(state).await?))
    }

    /// Returns the findings, oldest first: the open ones, or all.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn list(&self, all: bool) -> Result<Vec<MonitorFinding>, Error> {
        self.0.findings(all).await
    }

    /// Acknowledges a finding: it is not reported any more. The state does not move. Returns false if no open finding has
    /// this number.
    ///
    /// # Errors
    /// The state cannot be written.
    pub async fn acknowledge(&self, id: u64) -> Result<bool, Error> {
        self.0.acknowledge(id).await
    }

    /// Returns the evidence of the findings: the number of the finding, and the name and content of each file.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn evidence(&self) -> Result<Vec<(u64, String, Vec<u8>)>, Error> {
        self.0.evidence(None).await
    }

    /// Returns the evidence of one finding, as [`MonitorFindings::evidence`].
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn evidence_of(&self, id: u64) -> Result<Vec<(u64, String, Vec<u8>)>, Error> {
        self.0.evidence(Some(id)).await
    }

    /// Closes the state.
    pub async fn close(self) {
        self.0.close().await;
    }
}

/// Returns the pause before the next round: the interval, and longer after each round that failed.
pub fn monitor_pause(interval: Duration, failed_rounds: u32) -> Duration {
    let grown = interval.saturating_mul(2_u32.saturating_pow(failed_rounds.saturating_sub(1).min(16)));
    if failed_rounds == 0 { interval } else { grown.min(MAX_PAUSE.max(interval)) }
}

#[cfg(test)]
mod tests;
