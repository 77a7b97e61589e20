//! `require`: the levels that a verification must cover, and the gaps that it leaves.

use std::fmt;

use crate::count::count;
use crate::coverage::{Coverage, NotChecked, RootCheck};
use crate::level::{InputKind, Level, ProvidedBy, Providers};

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
