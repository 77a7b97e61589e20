//! The results of a monitor: findings, which stay until they are acknowledged, and failures, which pass.

use std::fmt;

use edgesentry_log::{Contradiction, LEAF_UNREAD, TreeHash};

use crate::telemetry::metrics::Metrics;

/// The class of a finding. A failure of the network or of a server is not a finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum FindingClass {
    /// The log contradicts itself, an earlier checkpoint, or a witness.
    Tamper,
    /// The log shows something that the monitor cannot check or does not trust.
    Unverifiable,
}

impl FindingClass {
    /// Every class.
    pub const ALL: [FindingClass; 2] = [FindingClass::Tamper, FindingClass::Unverifiable];

    /// Returns `tamper` or `unverifiable`.
    pub fn name(self) -> &'static str {
        match self {
            FindingClass::Tamper => "tamper",
            FindingClass::Unverifiable => "unverifiable",
        }
    }
}

impl fmt::Display for FindingClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A finding that the state of a monitor keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MonitorFinding {
    /// The number by which it is acknowledged.
    pub id: u64,
    /// The class.
    pub class: FindingClass,
    /// The stable code, such as `checkpoint_inconsistent`.
    pub code: String,
    /// One sentence: the expected and the actual content.
    pub message: String,
    /// The device, if the finding is about one.
    pub device_id: Option<String>,
    /// The sequence, if the finding is about a record.
    pub sequence: Option<u64>,
    /// The index of the leaf, if the finding is about one.
    pub leaf: Option<u64>,
    /// When it was found first, Unix milliseconds.
    pub first_ms: u64,
    /// When it was found last, Unix milliseconds.
    pub last_ms: u64,
    /// How often it was found.
    pub times: u64,
    /// When it was acknowledged, Unix milliseconds; `None` while it is open.
    pub acknowledged_ms: Option<u64>,
}

/// A finding before the state keeps it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) class: FindingClass,
    pub(super) code: &'static str,
    /// Open findings of one subject are one finding.
    pub(super) subject: String,
    /// An acknowledged finding of the same instance says nothing new.
    pub(super) instance: String,
    pub(super) message: String,
    pub(super) device_id: Option<String>,
    pub(super) sequence: Option<u64>,
    pub(super) leaf: Option<u64>,
    pub(super) evidence: Vec<(&'static str, Vec<u8>)>,
}

impl Found {
    pub(super) fn new(class: FindingClass, code: &'static str, instance: String, message: String) -> Found {
        Found {
            class,
            code,
            subject: code.to_owned(),
            instance,
            message,
            device_id: None,
            sequence: None,
            leaf: None,
            evidence: Vec::new(),
        }
    }

    pub(super) fn of_leaf(contradiction: Contradiction) -> Found {
        let Contradiction { code, index, device_id, sequence, expected, actual, is_certain } = contradiction;
        let class = if is_certain { FindingClass::Tamper } else { FindingClass::Unverifiable };
        let message = format!("leaf {index}: expected {expected}, found {actual}");
        let instance = format!("{code} {index}");
        // A log of a newer release has many leaves of a new kind: one finding for all of them.
        let subject = if code == LEAF_UNREAD { code.to_owned() } else { instance.clone() };
        let found = Found::new(class, code, instance, message);
        Found { subject, device_id, sequence, leaf: Some(index), ..found }
    }
}

/// A place that could not be read, or whose content is not that of a log or a witness. It says nothing about the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The location, without secrets.
    pub place: String,
    /// The problem.
    pub problem: String,
}

impl Failure {
    pub(super) fn new(place: &str, problem: String) -> Failure {
        Failure { place: place.to_owned(), problem }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// The result of a comparison with a witness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WitnessState {
    /// The log extends the checkpoint of the witness, or has the same.
    Agrees,
    /// The checkpoint of the witness is larger, and the log does not show this tree yet.
    Ahead,
    /// The witness has not signed a checkpoint of this log.
    Never,
    /// The checkpoint of the witness contradicts the log.
    Contradicts,
    /// The comparison failed.
    Failed,
}

impl WitnessState {
    /// Returns `agrees`, `ahead`, `never`, `contradicts` or `failed`.
    pub fn name(self) -> &'static str {
        match self {
            WitnessState::Agrees => "agrees",
            WitnessState::Ahead => "ahead",
            WitnessState::Never => "never",
            WitnessState::Contradicts => "contradicts",
            WitnessState::Failed => "failed",
        }
    }
}

/// A witness of the policy, as compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessView {
    /// The name in the policy.
    pub name: String,
    /// The result.
    pub state: WitnessState,
    /// The size of its checkpoint.
    pub size: Option<u64>,
}

/// The checkpoint up to which every leaf was replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedCheckpoint {
    /// The number of leaves.
    pub size: u64,
    /// The root of the tree.
    pub root: TreeHash,
    /// When the monitor last saw the log at this checkpoint or verified it, Unix milliseconds.
    pub at_ms: u64,
}

/// The result of a round.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MonitorOutcome {
    /// Every leaf up to the checkpoint was replayed, and no finding is open.
    Verified,
    /// A finding of the class tamper is open.
    Tamper,
    /// Findings are open, none of them of the class tamper.
    Unverifiable,
    /// No finding is open, and the round could not finish.
    Infrastructure,
}

impl MonitorOutcome {
    /// Returns `verified`, `tamper`, `unverifiable` or `infrastructure`.
    pub fn name(&self) -> &'static str {
        match self {
            MonitorOutcome::Verified => "verified",
            MonitorOutcome::Tamper => "tamper",
            MonitorOutcome::Unverifiable => "unverifiable",
            MonitorOutcome::Infrastructure => "infrastructure",
        }
    }
}

/// The state of a monitor after a round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The name of the log.
    pub origin: String,
    /// The verified checkpoint; `None` before the first.
    pub verified: Option<VerifiedCheckpoint>,
    /// Leaves that were replayed behind it, and count for nothing yet.
    pub replayed: u64,
    /// The open findings, oldest first.
    pub findings: Vec<MonitorFinding>,
    /// Findings that were not kept, because there were too many.
    pub dropped: u64,
    /// The failures of this round.
    pub failures: Vec<Failure>,
    /// The witnesses of the policy that have a URL.
    pub witnesses: Vec<WitnessView>,
}

impl Checked {
    /// Returns the result as one word.
    pub fn outcome(&self) -> MonitorOutcome {
        if self.has(FindingClass::Tamper) {
            MonitorOutcome::Tamper
        } else if !self.findings.is_empty() {
            MonitorOutcome::Unverifiable
        } else if !self.failures.is_empty() {
            MonitorOutcome::Infrastructure
        } else {
            MonitorOutcome::Verified
        }
    }

    /// Records the round in metrics.
    pub fn observe(&self, metrics: &Metrics) {
        let open = |class| self.findings.iter().filter(|finding| finding.class == class).count();
        let verified = self.verified.as_ref().map_or((0, 0), |verified| (verified.size, verified.at_ms));
        metrics.monitor_round(verified, FindingClass::ALL.map(|class| (class.name(), open(class))));
        if !self.failures.is_empty() {
            metrics.monitor_failed();
        }
    }

    /// Returns true if a finding of this class is open.
    pub fn has(&self, class: FindingClass) -> bool {
        self.findings.iter().any(|finding| finding.class == class)
    }
}
