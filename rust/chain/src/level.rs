//! Levels of verification, the providers of their inputs, and `require`.

use crate::count::count;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::coverage::{Coverage, NotChecked, RootCheck};
use crate::finding::FindingCode;

/// A level of verification, in display order. Exhaustive: every report and every `require` must
/// decide about each level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Every record continues the previous one. Always checked.
    Links,
    /// The device made the record. Needs keys.
    Signatures,
    /// The payloads match the records. Needs payloads.
    Payloads,
    /// Every chain is complete up to its end. Needs heads.
    Heads,
    /// The records are the log of a checkpoint. Needs a policy and a checkpoint.
    Log,
}

impl Level {
    /// All levels.
    pub const ALL: &'static [Level] =
        &[Level::Links, Level::Signatures, Level::Payloads, Level::Heads, Level::Log];

    /// The levels that can be required: those that need an input.
    pub const REQUIRABLE: &'static [Level] = &[Level::Signatures, Level::Payloads, Level::Heads, Level::Log];

    /// Returns the stable name, such as `signatures`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Links => "links",
            Level::Signatures => "signatures",
            Level::Payloads => "payloads",
            Level::Heads => "heads",
            Level::Log => "log",
        }
    }

    /// Returns the question that the level settles.
    pub fn question(self) -> &'static str {
        match self {
            Level::Links => "Does every record continue the one before it?",
            Level::Signatures => "Did the device with this key make the record?",
            Level::Payloads => "Are the payloads those that the records commit to?",
            Level::Heads => "Is every chain complete up to its expected end?",
            Level::Log => "Are the records exactly those of the checkpoint?",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Level, UnknownLevel> {
        let known = Level::ALL.iter().find(|level| level.name() == text);
        known.copied().ok_or_else(|| UnknownLevel(text.chars().take(60).collect()))
    }
}

/// The text is not the name of a level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown level {0:?}")]
pub struct UnknownLevel(String);

impl FindingCode {
    /// Returns the level whose check failed.
    pub fn level(self) -> Level {
        match self {
            FindingCode::PrevHashMismatch
            | FindingCode::SequenceGap
            | FindingCode::SequenceDuplicate
            | FindingCode::SequenceOutOfOrder
            | FindingCode::Fork
            | FindingCode::FirstRecordNotGenesis
            | FindingCode::RecordMalformed => Level::Links,
            FindingCode::SignatureInvalid
            | FindingCode::UnknownDevice
            | FindingCode::KeyNotValidAtSequence
            | FindingCode::SuccessionInvalid => Level::Signatures,
            FindingCode::PayloadHashMismatch | FindingCode::PayloadMissing => Level::Payloads,
            FindingCode::HeadMismatch | FindingCode::DeviceMissing => Level::Heads,
            FindingCode::CheckpointUntrusted
            | FindingCode::WitnessQuorumMissing
            | FindingCode::CheckpointStale
            | FindingCode::CheckpointMismatch
            | FindingCode::CheckpointInconsistent
            | FindingCode::LeafMissing
            | FindingCode::NotIncluded
            | FindingCode::HeadsMismatch
            | FindingCode::KeyNotLogged
            | FindingCode::TimestampInvalid
            | FindingCode::BundleMalformed => Level::Log,
        }
    }
}

/// The provider of an input. Inputs from the auditor are trusted; those from the side under test are claims and satisfy
/// no requirement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProvidedBy {
    /// The auditor, from storage that the side under test cannot write.
    Auditor,
    /// The manifest, which the exporter wrote.
    Manifest,
    /// The verified ledger.
    Ledger,
    /// The verified record.
    Record,
    /// The verified bundle.
    Bundle,
}

impl ProvidedBy {
    /// Returns the stable name, such as `auditor`.
    pub fn name(self) -> &'static str {
        match self {
            ProvidedBy::Auditor => "auditor",
            ProvidedBy::Manifest => "manifest",
            ProvidedBy::Ledger => "ledger",
            ProvidedBy::Record => "record",
            ProvidedBy::Bundle => "bundle",
        }
    }

    /// Returns true if the input is more than a claim.
    pub fn is_trusted(self) -> bool {
        self == ProvidedBy::Auditor
    }
}

/// Formats the provider for a sentence: `the auditor`, `the manifest`.
impl fmt::Display for ProvidedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {}", self.name())
    }
}

/// An input that a level is checked against.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InputKind {
    /// Links before the first records, for chains that do not start at sequence 1.
    StartHeads,
    /// Public keys.
    Keys,
    /// Payloads. They are evidence, like the records: a hash decides, not the provider.
    Payloads,
    /// Links that the chains must contain.
    Heads,
    /// The logs, witnesses and quorum whose checkpoints are trusted. Checkpoint and layout are evidence: the policy and
    /// hashes decide, not the provider.
    Policy,
}

impl InputKind {
    /// Returns the stable name, such as `start_heads`.
    pub fn name(self) -> &'static str {
        match self {
            InputKind::StartHeads => "start_heads",
            InputKind::Keys => "keys",
            InputKind::Payloads => "payloads",
            InputKind::Heads => "heads",
            InputKind::Policy => "policy",
        }
    }

    /// Returns the level that needs it.
    pub fn level(self) -> Level {
        match self {
            InputKind::StartHeads => Level::Links,
            InputKind::Keys => Level::Signatures,
            InputKind::Payloads => Level::Payloads,
            InputKind::Heads => Level::Heads,
            InputKind::Policy => Level::Log,
        }
    }
}

/// The inputs, each with its providers.
pub type Providers = BTreeMap<InputKind, BTreeSet<ProvidedBy>>;

/// A required level that the given inputs cannot cover. Known before any evidence is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MissingInput {
    /// The level.
    pub level: Level,
    /// The claimant of the input that the auditor should provide; none if it is missing.
    pub claimed_by: Option<ProvidedBy>,
}

/// Returns the required levels that these inputs cannot cover. Keys, heads and policy must come from the auditor;
/// payloads may come from any provider.
pub fn missing_inputs(required: &[Level], providers: &Providers) -> Vec<MissingInput> {
    let missing = |level: &Level| {
        let kind = match level {
            Level::Links => return None,
            Level::Signatures => InputKind::Keys,
            Level::Payloads => InputKind::Payloads,
            Level::Heads => InputKind::Heads,
            Level::Log => InputKind::Policy,
        };
        let by = providers.get(&kind);
        let is_there = by.is_some_and(|by| kind == InputKind::Payloads || by.contains(&ProvidedBy::Auditor));
        let claimed_by = by.and_then(|by| by.first().copied());
        (!is_there).then_some(MissingInput { level: *level, claimed_by })
    };
    required.iter().filter_map(missing).collect()
}

/// The reason why a required level was not fully covered.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NotCovered {
    /// Signatures without a key.
    SignaturesUnchecked(u64),
    /// Signatures under keys from the side under test.
    KeysClaimed(ProvidedBy),
    /// Payloads that were not looked up.
    PayloadsUnchecked(u64),
    /// Devices without a head from the auditor.
    DevicesWithoutHead(u64),
    /// Chains that continue a link that the side under test claims.
    BeginningsClaimed(u64),
    /// The root of the log was not computed.
    LogNotCompared,
    /// The log was not compared with the checkpoint that the auditor kept.
    PreviousNotCompared,
    /// The policy requires no witness, so the operator alone could have signed the checkpoint.
    NoWitnesses,
    /// Records of the log after the checkpoint.
    RecordsAfterCheckpoint(u64),
    /// Leaves of unknown kinds.
    UnknownLeaves(u64),
    /// The records are a part of the log.
    PartOfLog,
}

impl NotCovered {
    /// Returns the required level.
    pub fn level(&self) -> Level {
        match self {
            NotCovered::SignaturesUnchecked(_) | NotCovered::KeysClaimed(_) => Level::Signatures,
            NotCovered::PayloadsUnchecked(_) => Level::Payloads,
            NotCovered::DevicesWithoutHead(_) | NotCovered::BeginningsClaimed(_) => Level::Heads,
            NotCovered::LogNotCompared
            | NotCovered::PreviousNotCompared
            | NotCovered::NoWitnesses
            | NotCovered::RecordsAfterCheckpoint(_)
            | NotCovered::UnknownLeaves(_)
            | NotCovered::PartOfLog => Level::Log,
        }
    }
}

impl fmt::Display for NotCovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            NotCovered::SignaturesUnchecked(records) => {
                write!(f, "signatures of {} could not be checked: no valid key", count(records, "record"))
            }
            NotCovered::KeysClaimed(by) => write!(f, "the keys are claimed by {by}"),
            NotCovered::PayloadsUnchecked(payloads) => {
                let were = if payloads == 1 { "was" } else { "were" };
                write!(f, "{} {were} not checked", count(payloads, "payload"))
            }
            NotCovered::DevicesWithoutHead(devices) => {
                write!(f, "{} without a trusted head", count(devices, "device"))
            }
            NotCovered::BeginningsClaimed(chains) => {
                write!(f, "{} without a trusted beginning", count(chains, "chain"))
            }
            NotCovered::LogNotCompared => f.write_str("the records were not compared with the checkpoint"),
            NotCovered::RecordsAfterCheckpoint(records) => {
                write!(f, "{} of the log after the checkpoint", count(records, "record"))
            }
            NotCovered::PreviousNotCompared => {
                f.write_str("the log was not compared with the earlier checkpoint")
            }
            NotCovered::NoWitnesses => f.write_str("the policy requires no witness"),
            NotCovered::PartOfLog => f.write_str("the bundle has a part of the log"),
            NotCovered::UnknownLeaves(1) => f.write_str("1 leaf of the log of an unknown kind"),
            NotCovered::UnknownLeaves(leaves) => write!(f, "{leaves} leaves of the log of unknown kinds"),
        }
    }
}

/// Returns the gaps of the required levels; empty if inputs from the auditor fully covered all of them. `heads`
/// requires both ends of every chain: a trusted head, and a start at sequence 1 or after a trusted start head. `log`
/// requires a witness quorum, leaves of known kinds only, and that the records are all of a log up to the checkpoint.
pub fn require(required: &[Level], coverage: &Coverage) -> Vec<NotCovered> {
    let some = |count: u64, gap: fn(u64) -> NotCovered| (count > 0).then(|| gap(count));
    let Coverage { records, devices, links, signatures, payloads, heads, log, .. } = coverage;
    let gaps = |level: &Level| match level {
        Level::Links => Vec::new(),
        Level::Signatures => {
            let unchecked = signatures.as_ref().map_or(*records, |signatures| signatures.unchecked);
            let claimed_by = coverage.claimed_by(InputKind::Keys);
            vec![some(unchecked, NotCovered::SignaturesUnchecked), claimed_by.map(NotCovered::KeysClaimed)]
        }
        Level::Payloads => {
            let checked = payloads.as_ref().map_or(0, |payloads| payloads.checked);
            vec![some(records.saturating_sub(checked), NotCovered::PayloadsUnchecked)]
        }
        Level::Heads => {
            let without = heads.as_ref().map_or(*devices, |heads| heads.devices_without);
            vec![
                some(without, NotCovered::DevicesWithoutHead),
                some(links.from_claimed, NotCovered::BeginningsClaimed),
            ]
        }
        Level::Log => {
            let Some(log) = log else { return vec![Some(NotCovered::LogNotCompared)] };
            vec![
                (log.root != RootCheck::Compared).then_some(NotCovered::LogNotCompared),
                (log.previous == Some(false)).then_some(NotCovered::PreviousNotCompared),
                (!log.quorum).then_some(NotCovered::NoWitnesses),
                some(log.after, NotCovered::RecordsAfterCheckpoint),
                some(log.unknown_leaves, NotCovered::UnknownLeaves),
                coverage.not_checked.contains(&NotChecked::PartOfLog).then_some(NotCovered::PartOfLog),
            ]
        }
    };
    required.iter().flat_map(gaps).flatten().collect()
}
