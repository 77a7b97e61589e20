//! The results of a monitor: findings, which stay until they are acknowledged, and failures, which pass.

use std::fmt;

use edgesentry_log::{Contradiction, FINDINGS_DROPPED, LEAF_UNREAD, ReplacedKeys, TreeHash};

use crate::log::WitnessState;
use crate::telemetry::metrics::Metrics;

/// Characters of a message and of a device id in a finding: a leaf may have 64 KiB of them.
const MAX_MESSAGE: usize = 1024;
const MAX_DEVICE: usize = 256;

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
    /// The names of its files of evidence.
    pub evidence: Vec<String>,
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
    pub(super) times: u64,
    pub(super) evidence: Vec<(&'static str, Vec<u8>)>,
}

impl Found {
    pub(super) fn new(class: FindingClass, code: &'static str, instance: String, message: String) -> Found {
        Found {
            class,
            code,
            subject: code.to_owned(),
            instance,
            message: cut(&message, MAX_MESSAGE),
            device_id: None,
            sequence: None,
            leaf: None,
            times: 1,
            evidence: Vec::new(),
        }
    }

    pub(super) fn of_leaf(contradiction: Contradiction) -> Found {
        let Contradiction { code, index, leaf, device_id, sequence, expected, actual, is_certain, count } =
            contradiction;
        let class = if is_certain { FindingClass::Tamper } else { FindingClass::Unverifiable };
        let message = format!("leaf {index}: expected {expected}, found {actual}");
        let instance = format!("{code} {index}");
        let subject = match code {
            // A log of a newer release has many leaves of a new kind: one finding for all of them.
            LEAF_UNREAD => code.to_owned(),
            FINDINGS_DROPPED => dropped_subject(class),
            _ => instance.clone(),
        };
        let mut found = Found::new(class, code, instance, message);
        found.evidence.extend(leaf.map(|leaf| (LEAF, leaf)));
        let device_id = device_id.map(|device_id| cut(&device_id, MAX_DEVICE));
        Found { subject, device_id, sequence, leaf: Some(index), times: count, ..found }
    }

    /// Returns the index of the leaf of an instance that [`Found::of_leaf`] has named.
    pub(super) fn leaf_of(instance: &str) -> Option<u64> {
        instance.rsplit(' ').next()?.parse().ok()
    }

    /// Returns true if this finding counts those that are not kept.
    pub(super) fn is_dropped(&self) -> bool {
        self.code == FINDINGS_DROPPED
    }

    /// Returns the finding in place of this one if too many of its class are open.
    pub(super) fn dropped(&self, limit: i64) -> Found {
        let Found { class, code, message, instance, times, leaf, .. } = self;
        let message = format!(
            "expected at most {limit} open findings about leaves, found more; the last: {code}, {message}"
        );
        let found = Found::new(*class, FINDINGS_DROPPED, instance.clone(), message);
        Found { subject: dropped_subject(*class), leaf: *leaf, times: *times, ..found }
    }
}

/// The file of evidence with a leaf, before its proof is known.
pub(super) const LEAF: &str = "leaf";

fn dropped_subject(class: FindingClass) -> String {
    format!("{FINDINGS_DROPPED} {class}")
}

fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The kind of a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// The log cannot be read, or its files do not lead to a signed root.
    Log,
    /// A witness cannot be read or compared.
    Witness,
    /// The replay reached the limit of the round.
    Unfinished,
}

impl FailureKind {
    /// Returns a stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            FailureKind::Log => "log_unreachable",
            FailureKind::Witness => "witness_not_compared",
            FailureKind::Unfinished => "replay_unfinished",
        }
    }
}

/// A place that could not be read, or whose content is not that of a log or a witness. It says nothing about the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// The location, without secrets.
    pub place: String,
    /// The problem.
    pub problem: String,
}

impl Failure {
    pub(super) fn new(place: &str, problem: String) -> Failure {
        Failure { kind: FailureKind::Log, place: place.to_owned(), problem: cut(&problem, MAX_MESSAGE) }
    }

    pub(super) fn of(self, kind: FailureKind) -> Failure {
        Failure { kind, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
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
    /// Every leaf up to the checkpoint that the log shows was replayed, every witness was compared, and no finding is
    /// open.
    Verified,
    /// A finding of the class tamper is open.
    Tamper,
    /// Findings are open, none of them of the class tamper; or the round found an acknowledged finding again.
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
    /// True if the log showed a trusted checkpoint in this round, and every leaf up to it was replayed.
    pub confirmed: bool,
    /// The keys under the verified checkpoint that have replaced others.
    pub replaced_keys: ReplacedKeys,
    /// The open findings, oldest first.
    pub findings: Vec<MonitorFinding>,
    /// The class of what this round found about checkpoints and witnesses, also if it is acknowledged.
    pub found: Option<FindingClass>,
    /// Findings that were not kept, because there were too many. They are open findings of the code `findings_dropped`.
    pub dropped: u64,
    /// The failures of this round.
    pub failures: Vec<Failure>,
    /// The witnesses of the policy that have a URL.
    pub witnesses: Vec<WitnessView>,
}

impl Checked {
    /// Returns the result as one word.
    pub fn outcome(&self) -> MonitorOutcome {
        if self.has(FindingClass::Tamper) || self.found == Some(FindingClass::Tamper) {
            MonitorOutcome::Tamper
        } else if !self.findings.is_empty() || self.found.is_some() {
            MonitorOutcome::Unverifiable
        } else if !self.failures.is_empty() || !self.confirmed {
            MonitorOutcome::Infrastructure
        } else {
            MonitorOutcome::Verified
        }
    }

    /// Returns true if the replay reached the limit of the round, so that the next one can begin at once.
    pub fn is_unfinished(&self) -> bool {
        self.failures.iter().any(|failure| failure.kind == FailureKind::Unfinished)
    }

    /// Returns true if a place could not be read or compared.
    pub fn has_failed(&self) -> bool {
        self.failures.iter().any(|failure| failure.kind != FailureKind::Unfinished)
    }

    /// Records the findings and the verified checkpoint in metrics.
    pub(super) fn observe_state(&self, metrics: &Metrics) {
        let open = |class| self.findings.iter().filter(|finding| finding.class == class).count();
        let verified = self.verified.as_ref().map_or((0, 0), |verified| (verified.size, verified.at_ms));
        metrics.monitor_state(verified, FindingClass::ALL.map(|class| (class.name(), open(class))));
    }

    /// Records the round in metrics.
    pub fn observe(&self, metrics: &Metrics) {
        self.observe_state(metrics);
        for witness in &self.witnesses {
            metrics.monitor_witness(&witness.name, witness.state, witness.size);
        }
        metrics.monitor_round(self.has_failed());
    }

    /// Returns true if a finding of this class is open.
    pub fn has(&self, class: FindingClass) -> bool {
        self.findings.iter().any(|finding| finding.class == class)
    }
}
