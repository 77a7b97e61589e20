//! A monitor: replays every leaf of a log, compares each checkpoint with the one before and with every witness, and keeps
//! its findings.
//!
//! Three classes of results never mix. *Tamper*: two statements that the log signed contradict each other, or a leaf under
//! a signed root contradicts the leaves before it. *Unverifiable*: the monitor cannot check or does not trust a signed
//! statement. *Infrastructure*: a place cannot be read, or its content does not lead to a signed root; this says nothing
//! about the log.
//!
//! The state moves in one transaction, after every leaf up to a checkpoint was replayed and the root holds.

mod finding;
mod source;
mod state;
mod tiles;
mod witness;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use edgesentry_formats::times;
use edgesentry_log::{
    Checkpoint, ConsistencyProof, FollowError, Follower, MAX_NOTE_BYTES, MaxAge, Note, Policy, PolicyError,
    TreeHash,
};
use futures::StreamExt;
use tracing::{error, warn};

use self::finding::Found;
use self::source::{Access, Source};
use self::state::{Progress, State, Stored};
use self::tiles::{Bundle, TileTree, bundles, roots_of_leaves};
use self::witness::WitnessSource;
use crate::error::Error;
use crate::s3_settings::S3Settings;
use crate::secret::Secret;

pub use finding::{
    Checked, Failure, FindingClass, MonitorFinding, MonitorOutcome, VerifiedCheckpoint, WitnessState,
    WitnessView,
};

/// Bundles after which the progress of a replay is stored.
const BUNDLES_OF_PROGRESS: usize = 16;
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
    /// How to reach S3.
    pub s3: S3Settings,
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
            s3: S3Settings::default(),
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
    found: Vec<Found>,
    failures: Vec<Failure>,
    witnesses: Vec<WitnessView>,
}

/// A signed checkpoint of the log.
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
}

/// The reason why a replay ended before its checkpoint.
enum Stop {
    /// A place cannot be read.
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
        let MonitorSettings { url, policy, state, accept_policy, max_age, token, ca, timeout, s3, .. } =
            settings;
        let access = Access { token, ca, timeout };
        let source = source::open(&url, access.clone(), &s3).await?;
        let witnesses = witness::open(&policy, &origin, Access { token: None, ..access }, &s3).await?;
        let state = State::open(&state).await?;
        state.claim(&origin, &policy.to_string(), accept_policy).await?;
        Ok(Monitor {
            origin,
            policy,
            max_age,
            source,
            witnesses,
            state,
            follower: None,
            reported: BTreeSet::new(),
        })
    }

    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
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
        match self.read_checkpoint().await {
            Ok(note) => self.judge(note, of_witnesses, &mut round).await?,
            Err(failure) => round.failures.push(failure),
        }
        self.state.keep(std::mem::take(&mut round.found)).await?;
        let checked = self.conclude(round).await?;
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
        let verified =
            stored.verified.and_then(Signed::of).map(|Signed { checkpoint, .. }| VerifiedCheckpoint {
                size: checkpoint.size(),
                root: checkpoint.root(),
                at_ms: stored.verified_at_ms,
            });
        let end = self.follower.as_ref().map_or(0, Follower::size);
        let Round { failures, witnesses, .. } = round;
        Ok(Checked {
            origin: self.origin.clone(),
            replayed: end.saturating_sub(verified.as_ref().map_or(0, |verified| verified.size)),
            verified,
            findings: self.state.findings(false).await?,
            dropped: self.state.dropped().await?,
            failures,
            witnesses,
        })
    }

    async fn read_checkpoint(&self) -> Result<Note, Failure> {
        let place = self.source.place();
        let bytes = self.source.get("checkpoint", MAX_NOTE_BYTES).await?;
        let bytes = bytes.ok_or_else(|| Failure::new(place, "the log has no checkpoint yet".to_owned()))?;
        Note::parse(&bytes)
            .map_err(|error| Failure::new(place, format!("checkpoint: not a signed note: {error}")))
    }

    /// Judges the checkpoint of the log.
    async fn judge(
        &mut self,
        note: Note,
        of_witnesses: Vec<Result<Option<Note>, Failure>>,
        round: &mut Round,
    ) -> Result<(), Error> {
        let trusted = self.policy.evaluate(&note);
        let quorum_time = match &trusted {
            Ok(trusted) => trusted.quorum_time(),
            // The log has signed it: it must be consistent, even if no state moves to it.
            Err(PolicyError::QuorumMissing { .. }) => None,
            Err(error) => {
                round.found.push(unverifiable("checkpoint_untrusted", note.text(), error.to_string()));
                return Ok(());
            }
        };
        let Some(shown) = Signed::of(note).filter(|shown| shown.checkpoint.origin() == self.origin) else {
            let message = format!("expected a checkpoint of log {:?}, found one of another log", self.origin);
            round.found.push(unverifiable("checkpoint_untrusted", "", message));
            return Ok(());
        };
        let stored = self.state.stored().await?;
        if let Some(found) = self.contradiction(&shown, &stored).await {
            round.found.push(found);
            return Ok(());
        }
        match &trusted {
            Ok(_) => {
                round.found.extend(self.stale(&shown, quorum_time));
                self.advance(&shown, &stored, round).await?;
            }
            Err(error) => {
                let instance = shown.checkpoint.to_string();
                round.found.push(unverifiable("witness_quorum_missing", &instance, error.to_string()));
            }
        }
        self.compare_witnesses(&shown, of_witnesses, round).await
    }

    fn stale(&self, shown: &Signed, quorum_time: Option<u64>) -> Option<Found> {
        let limit = MaxAge { seconds: self.max_age?, now: times::now_ms() / 1000 };
        let (expected, actual) = limit.exceeded(quorum_time)?;
        let message = format!(
            "expected {expected}, found a checkpoint of size {} that is {actual}",
            shown.checkpoint.size()
        );
        Some(unverifiable("checkpoint_stale", &shown.checkpoint.to_string(), message))
    }

    /// Compares a checkpoint with the last ones of the state, without a look at the leaves.
    async fn contradiction(&self, shown: &Signed, stored: &Stored) -> Option<Found> {
        for kept in [&stored.verified, &stored.seen].into_iter().flatten().cloned().filter_map(Signed::of) {
            if shown.checkpoint.size() > kept.checkpoint.size() || shown.checkpoint == kept.checkpoint {
                continue;
            }
            // The log shows an older tree again, or another one.
            let is_smaller = shown.checkpoint.size() < kept.checkpoint.size();
            let (smaller, larger) = if is_smaller { (shown, &kept) } else { (&kept, shown) };
            let mut tree = TileTree::new(&*self.source, &larger.checkpoint);
            let proof = tree.proof(smaller.checkpoint.size(), &larger.note).await;
            return Some(inconsistent("checkpoint", &kept, shown, proof));
        }
        None
    }

    /// Replays the log up to the checkpoint; first up to the one whose replay was interrupted.
    async fn advance(&mut self, shown: &Signed, stored: &Stored, round: &mut Round) -> Result<(), Error> {
        let verified = stored.verified.clone().and_then(Signed::of);
        let interrupted = stored.seen.clone().and_then(Signed::of);
        let mut size = verified.as_ref().map(|verified| verified.checkpoint.size());
        if size == Some(shown.checkpoint.size()) {
            return self.state.confirm().await;
        }
        for target in interrupted.iter().chain([shown]) {
            if Some(target.checkpoint.size()) <= size {
                continue;
            }
            self.state.set_seen(&target.note).await?;
            match self.replay(target).await {
                Ok(()) => size = Some(target.checkpoint.size()),
                Err(Stop::Failed(failure)) => {
                    round.failures.push(failure);
                    return Ok(());
                }
                Err(Stop::OtherRoot) => {
                    self.follower = None;
                    self.state.discard().await?;
                    let older = [verified.as_ref(), Some(target)];
                    return self.explain(older.into_iter().flatten(), shown, round).await;
                }
                Err(Stop::Follow(error)) => {
                    self.follower = None;
                    round.found.push(unverifiable("log_too_large", "", error.to_string()));
                    return Ok(());
                }
                Err(Stop::State(error)) => {
                    self.follower = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Replays the leaves up to a checkpoint, whose root must hold.
    async fn replay(&mut self, target: &Signed) -> Result<(), Stop> {
        let size = target.checkpoint.size();
        let mut follower = match self.follower.take() {
            Some(follower) => follower,
            None => self.state.follower(&self.origin, &self.state.stored().await?).await?,
        };
        let source = Arc::clone(&self.source);
        let mut bundles = std::pin::pin!(bundles(source, follower.size(), size));
        let mut number = 0;
        while let Some(bundle) = bundles.next().await {
            let pushed = match bundle {
                Ok(bundle) => push(follower, bundle, self.source.place()).await?,
                Err(failure) => (follower, Err(Stop::Failed(failure))),
            };
            follower = pushed.0;
            number += 1;
            match pushed.1 {
                Ok(()) if number % BUNDLES_OF_PROGRESS != 0 => {}
                Ok(()) => self.state.advance(Progress::of(&mut follower), None).await?,
                Err(Stop::Failed(failure)) => {
                    self.state.advance(Progress::of(&mut follower), None).await?;
                    self.follower = Some(follower);
                    return Err(Stop::Failed(failure));
                }
                Err(stop) => return Err(stop),
            }
        }
        if (follower.size(), follower.root()) != (size, target.checkpoint.root()) {
            return Err(Stop::OtherRoot);
        }
        follower.end_checkpoint();
        self.state.advance(Progress::of(&mut follower), Some(&target.note)).await?;
        self.follower = Some(follower);
        Ok(())
    }

    /// Explains leaves without the root of the checkpoint: a tree that does not extend an older one is a finding, and
    /// anything else is damage of the files.
    async fn explain<'s>(
        &self,
        older: impl Iterator<Item = &'s Signed>,
        shown: &Signed,
        round: &mut Round,
    ) -> Result<(), Error> {
        let size = shown.checkpoint.size();
        let older: Vec<&Signed> = older.filter(|older| older.checkpoint.size() < size).collect();
        let sizes: Vec<u64> = older.iter().map(|older| older.checkpoint.size()).collect();
        let mut tree = TileTree::new(&*self.source, &shown.checkpoint);
        let roots = match self.roots_of_tiles(&mut tree, &sizes).await {
            Ok(roots) => Ok(roots),
            // The tiles lead nowhere. The leaves may.
            Err(_) => roots_of_leaves(&self.source, &shown.checkpoint, &sizes).await,
        };
        let roots = match roots {
            Ok(roots) => roots,
            Err(failure) => {
                round.failures.push(failure);
                return Ok(());
            }
        };
        let differs = |(older, root): &(&&Signed, TreeHash)| older.checkpoint.root() != *root;
        match older.iter().zip(roots).find(differs) {
            Some((older, _)) => {
                let proof = tree.proof(older.checkpoint.size(), &shown.note).await;
                round.found.push(inconsistent("checkpoint", older, shown, proof));
            }
            None => {
                let problem = format!("the entry bundles do not have the leaves of the tree of size {size}");
                round.failures.push(Failure::new(self.source.place(), problem));
            }
        }
        Ok(())
    }

    async fn roots_of_tiles(&self, tree: &mut TileTree<'_>, sizes: &[u64]) -> Result<Vec<TreeHash>, Failure> {
        let mut roots = Vec::with_capacity(sizes.len());
        for size in sizes {
            roots.push(tree.root_at(*size).await?);
        }
        Ok(roots)
    }
}

/// Replays the leaves of a bundle on a thread that may block.
async fn push(
    mut follower: Follower,
    bundle: Bundle,
    place: &str,
) -> Result<(Follower, Result<(), Stop>), Stop> {
    let work = move || {
        let pushed = bundle.each(|leaf| follower.push(leaf));
        (follower, pushed)
    };
    let done = tokio::task::spawn_blocking(work).await;
    let (follower, pushed) = done.map_err(|error| Error::internal("the replay of a log", error))?;
    let pushed = match pushed {
        Ok(pushed) => pushed.map_err(Stop::Follow),
        Err(problem) => Err(Stop::Failed(Failure::new(place, problem))),
    };
    Ok((follower, pushed))
}

fn unverifiable(code: &'static str, instance: &str, message: String) -> Found {
    Found::new(FindingClass::Unverifiable, code, instance.to_owned(), message)
}

/// Returns the finding of two checkpoints that cannot both be of one log that only grows.
///
/// The evidence is for `eds verify-proof`: the smaller checkpoint as the previous one, and the proof from it to the other.
fn inconsistent(subject: &str, older: &Signed, newer: &Signed, proof: Option<ConsistencyProof>) -> Found {
    let show =
        |signed: &Signed| format!("root {} at size {}", signed.checkpoint.root(), signed.checkpoint.size());
    let message = format!("expected a checkpoint that continues {}, found {}", show(older), show(newer));
    let instance = format!("{}{}", older.checkpoint, newer.checkpoint);
    let code = "checkpoint_inconsistent";
    let mut found = Found::new(FindingClass::Tamper, code, instance, message);
    found.subject = format!("{code} {subject} {}", older.checkpoint);
    let is_rollback = older.checkpoint.size() > newer.checkpoint.size();
    let (previous, other) = if is_rollback { (newer, older) } else { (older, newer) };
    found.evidence = vec![
        ("previous.checkpoint", previous.note.to_string().into_bytes()),
        ("other.checkpoint", other.note.to_string().into_bytes()),
    ];
    found.evidence.extend(proof.map(|proof| ("consistency.proof", proof.to_string().into_bytes())));
    found
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
        self.0.evidence().await
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
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_and_end() {
        let pause = |seconds, failed| monitor_pause(Duration::from_secs(seconds), failed).as_secs();
        assert_eq!([0, 1, 2, 3, 4].map(|failed| pause(60, failed)), [60, 60, 120, 240, 480]);
        assert_eq!([5, 100, u32::MAX].map(|failed| pause(60, failed)), [900; 3]);
        assert_eq!([pause(3600, 0), pause(3600, 9)], [3600, 3600]);
    }
}
