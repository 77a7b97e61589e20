//! Coverage: what was checked, against whose inputs, and what was not checked (docs/reference/spec.md, step 9).

use crate::count::count;
use std::fmt;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::level::{InputKind, Level, ProvidedBy, Providers};

/// What was checked and what was not.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Coverage {
    /// Records whose links were checked.
    pub records: u64,
    /// Devices among them.
    pub devices: u64,
    /// Entries that are no records.
    pub malformed: u64,
    /// How the beginnings of the chains are known.
    pub links: LinkCoverage,
    /// Signatures, if there were keys.
    pub signatures: Option<SignatureCoverage>,
    /// Payloads, if there was a payload store.
    pub payloads: Option<PayloadCoverage>,
    /// Heads, if there were any.
    pub heads: Option<HeadCoverage>,
    /// The inputs that the levels were checked against, and by whom each was provided.
    pub provided_by: Providers,
    /// What was not checked, and what could therefore go unnoticed. In JSON as sentences under `not_checked`, and as
    /// data under `gaps`.
    #[serde(flatten, serialize_with = "sentences_and_gaps")]
    pub not_checked: Vec<NotChecked>,
}

impl Coverage {
    /// Who claims an input of which the auditor brought nothing.
    pub fn claimed_by(&self, kind: InputKind) -> Option<ProvidedBy> {
        let by = self.provided_by.get(&kind)?;
        by.first().copied().filter(|by| !by.is_trusted())
    }
}

/// How the beginnings of chains are known. Chains that do not begin where they should are findings, and not counted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LinkCoverage {
    /// Chains that begin at sequence 1.
    pub from_first: u64,
    /// Chains that begin behind a start head which the auditor brought.
    pub from_trusted: u64,
    /// Chains that begin behind a start head which the side under test claims.
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

/// Payloads that were looked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PayloadCoverage {
    /// Looked for, and hashed if found.
    pub checked: u64,
}

/// Heads that were compared.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HeadCoverage {
    /// Heads that the auditor brought.
    pub trusted: u64,
    /// Heads that the side under test claims.
    pub claimed: u64,
    /// Devices in the input without a trusted head.
    pub devices_without: u64,
    /// Those of them for which a head is claimed.
    pub devices_claimed: u64,
}

/// Something that was not checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotChecked {
    /// Chains begin behind a link which the side under test claims.
    BeginningsClaimed {
        /// How many.
        chains: u64,
        /// Who claims it.
        by: ProvidedBy,
    },
    /// There was no key ring.
    NoKeys,
    /// The keys are those that the side under test names.
    KeysClaimed {
        /// Who names them.
        by: ProvidedBy,
    },
    /// Records without a valid key.
    Unsigned {
        /// How many.
        records: u64,
    },
    /// Records whose signature covers the payload hash only.
    PayloadHashOnly {
        /// How many.
        records: u64,
    },
    /// There was no payload store.
    NoPayloads,
    /// There were no heads.
    NoHeads,
    /// Devices whose head only the side under test names.
    HeadsClaimed {
        /// How many.
        devices: u64,
        /// Who names it.
        by: ProvidedBy,
    },
    /// Devices without any head.
    DevicesWithoutHead {
        /// How many.
        devices: u64,
    },
}

impl NotChecked {
    /// The level of which it is a part.
    pub fn level(&self) -> Level {
        match self {
            NotChecked::BeginningsClaimed { .. } => Level::Links,
            NotChecked::NoKeys
            | NotChecked::KeysClaimed { .. }
            | NotChecked::Unsigned { .. }
            | NotChecked::PayloadHashOnly { .. } => Level::Signatures,
            NotChecked::NoPayloads => Level::Payloads,
            NotChecked::NoHeads | NotChecked::HeadsClaimed { .. } | NotChecked::DevicesWithoutHead { .. } => {
                Level::Heads
            }
        }
    }

    /// The sentence behind the name of its level: `heads: no heads were given, ...`.
    pub fn with_level(&self) -> String {
        format!("{}: {self}", self.level())
    }
}

/// What was not checked, and what could therefore go unnoticed: a sentence without its full stop.
impl fmt::Display for NotChecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            NotChecked::BeginningsClaimed { by: ProvidedBy::Record, .. } => {
                f.write_str("the record before was not given, so the link to it was not checked")
            }
            NotChecked::BeginningsClaimed { chains, by } => {
                let begin = if chains == 1 { "begins" } else { "begin" };
                write!(
                    f,
                    "{} {begin} behind a link that is claimed by {by}, so the records before it could have been removed",
                    count(chains, "chain")
                )
            }
            NotChecked::NoKeys => {
                f.write_str("no key ring was given, so a chain rewritten and re-linked by anybody would pass")
            }
            NotChecked::KeysClaimed { by } => write!(
                f,
                "the keys are claimed by {by}, so a chain signed anew with keys registered for it would pass"
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
                "{} {} signed under scheme payload-hash, which covers the payload hash only; device, sequence, timestamp \
                 and object reference could be changed and re-linked unnoticed",
                count(records, "record"),
                if records == 1 { "is" } else { "are" }
            ),
            NotChecked::NoPayloads => {
                f.write_str("no payload store was given, so changed or missing payloads would pass")
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
        }
    }
}

/// `not_checked` and `gaps`, one entry each for everything that was not checked.
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

/// Everything that was not checked, level by level.
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
    if coverage.payloads.is_none() {
        gaps.push(NotChecked::NoPayloads);
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
    gaps
}
