//! Coverage: the checks made, the providers of their inputs, and the checks not made (docs/reference/spec.md, step 9).

use crate::count::count;
use std::fmt;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::level::{InputKind, Level, ProvidedBy, Providers};

/// The checks that were made and those that were not.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Coverage {
    /// Records whose links were checked.
    pub records: u64,
    /// Devices of these records.
    pub devices: u64,
    /// Entries that are not records.
    pub malformed: u64,
    /// How the starts of the chains are known.
    pub links: LinkCoverage,
    /// Signatures, if there were keys.
    pub signatures: Option<SignatureCoverage>,
    /// Payloads, if there was a payload store.
    pub payloads: Option<PayloadCoverage>,
    /// Heads, if there were any.
    pub heads: Option<HeadCoverage>,
    /// The log, if there was a checkpoint.
    pub log: Option<LogCoverage>,
    /// The providers of the inputs that the levels were checked against.
    pub provided_by: Providers,
    /// Checks that were not made, and the attacks that could therefore go unnoticed. JSON has them as sentences in
    /// `not_checked` and as data in `gaps`.
    #[serde(flatten, serialize_with = "sentences_and_gaps")]
    pub not_checked: Vec<NotChecked>,
}

impl Coverage {
    /// Returns the claimant of an input that the auditor did not provide.
    pub fn claimed_by(&self, kind: InputKind) -> Option<ProvidedBy> {
        let by = self.provided_by.get(&kind)?;
        by.first().copied().filter(|by| !by.is_trusted())
    }

    /// Returns the levels of this report: all but the log, which is one of them only if there was a checkpoint.
    pub fn levels(&self) -> impl Iterator<Item = Level> {
        let levels = Level::ALL.iter().copied();
        levels.filter(|level| *level != Level::Log || self.log.is_some())
    }
}

/// How the starts of chains are known. A chain with a wrong start is a finding and is not counted here.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LinkCoverage {
    /// Chains that start at sequence 1.
    pub from_first: u64,
    /// Chains that continue a start head of the auditor.
    pub from_trusted: u64,
    /// Chains that continue a start head that the side under test claims.
    pub from_claimed: u64,
}

/// Signatures that were decided.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SignatureCoverage {
    /// Decided under scheme `payload-hash`, which covers the payload hash only.
    pub payload_hash: u64,
    /// Decided under scheme `record`, which covers the whole record.
    pub record: u64,
    /// Not decided: no key for the device, or none valid at the sequence.
    pub unchecked: u64,
}

/// Payloads that were looked up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PayloadCoverage {
    /// Looked up, and hashed if found.
    pub checked: u64,
    /// Not found, and erased according to the log of a trusted checkpoint: no findings.
    pub erased: u64,
    /// Found with the bytes of their records, although this log says that they were erased.
    pub erased_present: u64,
}

/// Heads that were compared.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HeadCoverage {
    /// Heads from the auditor.
    pub trusted: u64,
    /// Heads that the side under test claims.
    pub claimed: u64,
    /// Devices in the input without a trusted head.
    pub devices_without: u64,
    /// Devices of these for which a head is claimed.
    pub devices_claimed: u64,
}

/// A log that was compared with a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogCoverage {
    /// The name of the log.
    pub origin: String,
    /// The number of leaves up to the checkpoint.
    pub size: u64,
    /// Records of the input up to the checkpoint.
    pub records: u64,
    /// Records of the log after the checkpoint, which were not compared.
    pub after: u64,
    /// Records of the input whose payloads the log says were erased; 0 unless the root is that of a trusted checkpoint.
    pub erased: u64,
    /// Leaves of unknown kinds: part of the root, but their content was not checked.
    pub unknown_leaves: u64,
    /// Witnesses of the policy that have signed the checkpoint.
    pub witnesses: u64,
    /// True if the policy requires witnesses.
    pub quorum: bool,
    /// Whether the root was computed from the records.
    pub root: RootCheck,
    /// Whether the log was compared with the checkpoint that the auditor kept; `None` if there was none.
    pub previous: Option<bool>,
    /// The log that this one succeeds, according to its first leaf; `None` unless the root is that of a trusted checkpoint.
    pub predecessor: Option<Predecessor>,
    /// The valid time stamps of the checkpoint.
    pub timestamps: Vec<TimeStamp>,
}

/// The last checkpoint of the log that another one succeeds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Predecessor {
    /// The name of the log.
    pub origin: String,
    /// The number of leaves up to the checkpoint.
    pub size: u64,
    /// The root in base64, as in the checkpoint.
    pub root: String,
}

/// A valid time stamp of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimeStamp {
    /// The file.
    pub file: String,
    /// The subject of the authority's certificate.
    pub authority: String,
    /// The serial number in hex.
    pub serial: String,
    /// The time in it, Unix milliseconds, rounded up.
    pub time_ms: u64,
    /// The checkpoint existed before this time: the time in it and its accuracy, Unix milliseconds.
    pub before_ms: u64,
}

/// Whether the root of a log was computed from the records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RootCheck {
    /// Computed, and compared with that of the checkpoint.
    Compared,
    /// There was no layout: the order of the leaves is not known.
    NoLayout,
    /// A leaf is missing or there twice.
    Incomplete,
    /// The records are in too many pieces to be put in order in memory.
    OutOfOrder,
}

/// A check that was not made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotChecked {
    /// Chains continue a link that the side under test claims.
    BeginningsClaimed {
        /// The number of chains.
        chains: u64,
        /// The claimant.
        by: ProvidedBy,
    },
    /// There was no key ring.
    NoKeys,
    /// The keys come from the side under test.
    KeysClaimed {
        /// The claimant.
        by: ProvidedBy,
    },
    /// Records without a valid key.
    Unsigned {
        /// The number of records.
        records: u64,
    },
    /// Records whose signature covers the payload hash only.
    PayloadHashOnly {
        /// The number of records.
        records: u64,
    },
    /// There was no payload store.
    NoPayloads,
    /// Payloads are missing because they were erased, as the log says.
    PayloadErased {
        /// The number of payloads.
        payloads: u64,
    },
    /// There were no heads.
    NoHeads,
    /// Only the side under test provides the heads of devices.
    HeadsClaimed {
        /// The number of devices.
        devices: u64,
        /// The claimant.
        by: ProvidedBy,
    },
    /// Devices without any head.
    DevicesWithoutHead {
        /// The number of devices.
        devices: u64,
    },
    /// There was no layout of the log.
    NoLayout,
    /// A leaf of the log was missing or there twice.
    LogIncomplete,
    /// The records are in too many pieces to compute the root.
    LogOutOfOrder,
    /// The log was not compared with the checkpoint that the auditor kept.
    PreviousNotCompared,
    /// The policy requires no witness.
    NoWitnesses,
    /// Records of the log after the checkpoint.
    RecordsAfterCheckpoint {
        /// The number of records.
        records: u64,
    },
    /// Leaves of unknown kinds.
    UnknownLeaves {
        /// The number of leaves.
        leaves: u64,
    },
    /// The policy comes from the side under test.
    PolicyClaimed {
        /// The claimant.
        by: ProvidedBy,
    },
    /// A bundle has single records.
    LinksNotChecked,
    /// A bundle has a part of the log.
    PartOfLog,
    /// There are time stamps, and no roots of authorities to verify them.
    TimestampsNotChecked {
        /// The number of files.
        files: u64,
    },
}

impl NotChecked {
    /// Returns the level of the missing check.
    pub fn level(&self) -> Level {
        match self {
            NotChecked::BeginningsClaimed { .. } | NotChecked::LinksNotChecked => Level::Links,
            NotChecked::NoKeys
            | NotChecked::KeysClaimed { .. }
            | NotChecked::Unsigned { .. }
            | NotChecked::PayloadHashOnly { .. } => Level::Signatures,
            NotChecked::NoPayloads | NotChecked::PayloadErased { .. } => Level::Payloads,
            NotChecked::NoHeads | NotChecked::HeadsClaimed { .. } | NotChecked::DevicesWithoutHead { .. } => {
                Level::Heads
            }
            NotChecked::NoLayout
            | NotChecked::LogIncomplete
            | NotChecked::LogOutOfOrder
            | NotChecked::PreviousNotCompared
            | NotChecked::NoWitnesses
            | NotChecked::RecordsAfterCheckpoint { .. }
            | NotChecked::UnknownLeaves { .. }
            | NotChecked::PolicyClaimed { .. }
            | NotChecked::PartOfLog
            | NotChecked::TimestampsNotChecked { .. } => Level::Log,
        }
    }

    /// Returns the sentence after the name of its level: `heads: no heads were given, ...`.
    pub fn with_level(&self) -> String {
        format!("{}: {self}", self.level())
    }
}

/// The missing check, and what could therefore go unnoticed: a sentence without its full stop.
impl fmt::Display for NotChecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            NotChecked::BeginningsClaimed { by: ProvidedBy::Record, .. } => {
                f.write_str("the previous record was not given, so the link to it was not checked")
            }
            NotChecked::BeginningsClaimed { chains, by } => {
                let start = if chains == 1 { "starts" } else { "start" };
                write!(
                    f,
                    "{} {start} after a link claimed by {by}, so earlier records could have been removed",
                    count(chains, "chain")
                )
            }
            NotChecked::NoKeys => {
                f.write_str("no key ring was given, so a chain rewritten and re-linked by anyone would pass")
            }
            NotChecked::KeysClaimed { by } => write!(
                f,
                "the keys are claimed by {by}, so a chain signed again with newly registered keys would pass"
            ),
            NotChecked::Unsigned { records } => {
                let have = if records == 1 {
                    "has no valid key in the key ring and was"
                } else {
                    "have no valid key in the key ring and were"
                };
                write!(f, "{} {have} not checked", count(records, "record"))
            }
            NotChecked::PayloadHashOnly { records } => write!(
                f,
                "{} {} checked under scheme payload-hash, which covers the payload hash only; device, sequence, timestamp \
                 and object reference could be changed and re-linked unnoticed",
                count(records, "record"),
                if records == 1 { "was" } else { "were" }
            ),
            NotChecked::NoPayloads => {
                f.write_str("no payload store was given, so changed or missing payloads would pass")
            }
            NotChecked::PayloadErased { payloads } => {
                let were = if payloads == 1 { "was" } else { "were" };
                write!(
                    f,
                    "{} {were} erased according to the log and not compared; only the hashes in the records remain",
                    count(payloads, "payload")
                )
            }
            NotChecked::NoHeads => f.write_str(
                "no trusted heads were given, so a chain cut off at its end or a device left out would pass",
            ),
            NotChecked::HeadsClaimed { devices, by } => {
                write!(
                    f,
                    "the heads of {} are claimed by {by}, so a chain cut off at its end or a device left out would pass",
                    count(devices, "device")
                )
            }
            NotChecked::DevicesWithoutHead { devices: 1 } => {
                f.write_str("1 device has no trusted head, so its chain could have been cut off")
            }
            NotChecked::DevicesWithoutHead { devices } => {
                write!(f, "{devices} devices have no trusted head, so their chains could have been cut off")
            }
            NotChecked::NoLayout => f.write_str(
                "no layout of the log was read, so the records were not compared with the checkpoint and could be others",
            ),
            NotChecked::LogIncomplete => f.write_str(
                "not every leaf of the log is there once, so the root was not computed and further records could be \
                 changed",
            ),
            NotChecked::LogOutOfOrder => f.write_str(
                "the records are too far from the order of their chains to compute the root; export them again",
            ),
            NotChecked::PreviousNotCompared => f.write_str(
                "the log was not compared with the earlier checkpoint, so records before it could be changed",
            ),
            NotChecked::NoWitnesses => f.write_str(
                "the policy requires no witness, so who holds the key of the log could have signed another history",
            ),
            NotChecked::RecordsAfterCheckpoint { records } => {
                let are = if records == 1 { "1 record is" } else { &format!("{records} records are") };
                write!(f, "{are} in the log after the checkpoint and were not compared with it")
            }
            NotChecked::UnknownLeaves { leaves } => {
                let are = if leaves == 1 { "1 leaf is" } else { &format!("{leaves} leaves are") };
                write!(f, "{are} of a kind that this release does not know; only the hash was checked")
            }
            NotChecked::PolicyClaimed { by } => write!(
                f,
                "the policy is claimed by {by}, so a log that the author of the bundle signed with other keys would pass"
            ),
            NotChecked::LinksNotChecked => {
                f.write_str("the bundle has single records, so the records before and after them were not checked")
            }
            NotChecked::PartOfLog => {
                f.write_str("the bundle has a part of the log, so nothing is said about the other records")
            }
            NotChecked::TimestampsNotChecked { files } => {
                let were = if files == 1 { "was" } else { "were" };
                let files = count(files, "file");
                write!(f, "{files} of time stamps {were} not verified, as no roots of their authorities were given")
            }
        }
    }
}

/// Serializes `not_checked` and `gaps`, one entry each per missing check.
fn sentences_and_gaps<S: Serializer>(gaps: &[NotChecked], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Gap<'a> {
        level: Level,
        #[serde(flatten)]
        gap: &'a NotChecked,
    }
    let sentences: Vec<String> = gaps.iter().map(NotChecked::with_level).collect();
    let gaps: Vec<Gap<'_>> = gaps.iter().map(|gap| Gap { level: gap.level(), gap }).collect();
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("not_checked", &sentences)?;
    map.serialize_entry("gaps", &gaps)?;
    map.end()
}

/// Returns all missing checks, level by level.
pub(crate) fn not_checked(coverage: &Coverage) -> Vec<NotChecked> {
    let mut gaps = Vec::new();
    let claimed = |kind| coverage.provided_by.get(&kind)?.iter().copied().find(|by| !by.is_trusted());
    if let (chains @ 1.., Some(by)) = (coverage.links.from_claimed, claimed(InputKind::StartHeads)) {
        gaps.push(NotChecked::BeginningsClaimed { chains, by });
    }
    match coverage.signatures.as_ref() {
        None => gaps.push(NotChecked::NoKeys),
        Some(&SignatureCoverage { payload_hash, unchecked, .. }) => {
            gaps.extend(coverage.claimed_by(InputKind::Keys).map(|by| NotChecked::KeysClaimed { by }));
            if unchecked > 0 {
                gaps.push(NotChecked::Unsigned { records: unchecked });
            }
            if payload_hash > 0 {
                gaps.push(NotChecked::PayloadHashOnly { records: payload_hash });
            }
        }
    }
    match coverage.payloads.as_ref() {
        None => gaps.push(NotChecked::NoPayloads),
        Some(&PayloadCoverage { erased: payloads @ 1.., .. }) => {
            gaps.push(NotChecked::PayloadErased { payloads });
        }
        Some(_) => {}
    }
    match coverage.heads.as_ref() {
        None => gaps.push(NotChecked::NoHeads),
        Some(&HeadCoverage { devices_without, devices_claimed, .. }) => {
            if let (devices @ 1.., Some(by)) = (devices_claimed, claimed(InputKind::Heads)) {
                gaps.push(NotChecked::HeadsClaimed { devices, by });
            }
            if let devices @ 1.. = devices_without - devices_claimed {
                gaps.push(NotChecked::DevicesWithoutHead { devices });
            }
        }
    }
    // Not every ledger has a log, so a missing checkpoint leaves no gap.
    if let Some(log) = &coverage.log {
        gaps.extend(match log.root {
            RootCheck::Compared => None,
            RootCheck::NoLayout => Some(NotChecked::NoLayout),
            RootCheck::Incomplete => Some(NotChecked::LogIncomplete),
            RootCheck::OutOfOrder => Some(NotChecked::LogOutOfOrder),
        });
        gaps.extend((log.previous == Some(false)).then_some(NotChecked::PreviousNotCompared));
        gaps.extend(coverage.claimed_by(InputKind::Policy).map(|by| NotChecked::PolicyClaimed { by }));
        gaps.extend((!log.quorum).then_some(NotChecked::NoWitnesses));
        if let records @ 1.. = log.after {
            gaps.push(NotChecked::RecordsAfterCheckpoint { records });
        }
        if let leaves @ 1.. = log.unknown_leaves {
            gaps.push(NotChecked::UnknownLeaves { leaves });
        }
    }
    gaps
}
