//! Levels of verification, and the providers of their inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
