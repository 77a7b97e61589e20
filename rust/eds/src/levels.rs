//! The levels of verification, and how each of them came out in a report.

use edgesentry_chain::{Coverage, FindingCode, Report};

use crate::text::{count, number};

/// The levels of verification, in the order in which they are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    Links,
    Signatures,
    Payloads,
    Heads,
}

/// How a level came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// All of it was checked and holds.
    Holds,
    /// What was checked holds, but something could still go unnoticed.
    Partly,
    /// A check failed.
    Findings,
    /// Its input was not given.
    NotChecked,
}

/// What is to be said of one level.
pub(crate) struct Examined<'a> {
    pub(crate) level: Level,
    pub(crate) standing: Standing,
    /// How much was checked; none where its input was not given.
    pub(crate) checked: Option<String>,
    pub(crate) findings: u64,
    /// What was not checked, and what could therefore go unnoticed.
    pub(crate) notes: Vec<&'a str>,
}

impl Level {
    pub(crate) const ALL: [Level; 4] = [Level::Links, Level::Signatures, Level::Payloads, Level::Heads];

    /// As on the command line and in the sentences of the coverage.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Links => "links",
            Level::Signatures => "signatures",
            Level::Payloads => "payloads",
            Level::Heads => "heads",
        }
    }

    /// The question that the level answers.
    pub(crate) fn question(self) -> &'static str {
        match self {
            Level::Links => "Does every record continue the one before it?",
            Level::Signatures => "Did the device with this key make the record?",
            Level::Payloads => "Are the payloads those that the records commit to?",
            Level::Heads => "Is every chain there up to its trusted end?",
        }
    }

    pub(crate) fn of(code: FindingCode) -> Level {
        match code {
            FindingCode::PrevHashMismatch
            | FindingCode::SequenceGap
            | FindingCode::SequenceDuplicate
            | FindingCode::SequenceOutOfOrder
            | FindingCode::Fork
            | FindingCode::FirstRecordNotGenesis
            | FindingCode::RecordMalformed => Level::Links,
            FindingCode::SignatureInvalid
            | FindingCode::UnknownDevice
            | FindingCode::KeyNotValidAtSequence => Level::Signatures,
            FindingCode::PayloadHashMismatch | FindingCode::PayloadMissing => Level::Payloads,
            FindingCode::HeadMismatch | FindingCode::DeviceMissing => Level::Heads,
        }
    }

    /// How the level came out in `report`.
    pub(crate) fn examined(self, report: &Report) -> Examined<'_> {
        let checked = self.checked(&report.coverage);
        let not_checked = report.coverage.not_checked.iter();
        let notes = not_checked.filter_map(|note| note.strip_prefix(self.name())?.strip_prefix(": "));
        let notes: Vec<&str> = notes.collect();
        let counts = report.counts.iter();
        let findings = counts.filter(|(code, _)| Level::of(**code) == self).map(|(_, total)| total).sum();
        let standing = match (&checked, findings, notes.is_empty()) {
            (None, ..) => Standing::NotChecked,
            (Some(_), 1.., _) => Standing::Findings,
            (Some(_), 0, false) => Standing::Partly,
            (Some(_), 0, true) => Standing::Holds,
        };
        Examined { level: self, standing, checked, findings, notes }
    }

    /// How much of a level was checked; none where its input was not given.
    fn checked(self, coverage: &Coverage) -> Option<String> {
        match self {
            Level::Links => {
                let links =
                    format!("{} in {}", count(coverage.records, "record"), count(coverage.devices, "chain"));
                Some(match coverage.malformed {
                    0 => links,
                    1 => format!("{links}, 1 entry is no record"),
                    more => format!("{links}, {} entries are no records", number(more)),
                })
            }
            Level::Signatures => coverage.signatures.as_ref().map(|signatures| {
                let parts = [
                    (signatures.record, "under scheme record"),
                    (signatures.payload_hash, "under scheme payload-hash"),
                    (signatures.unchecked, "not checked"),
                ];
                let parts = parts.iter().filter(|(records, _)| *records > 0);
                let parts: Vec<String> =
                    parts.map(|(records, how)| format!("{} {how}", number(*records))).collect();
                if parts.is_empty() { "none".into() } else { parts.join(", ") }
            }),
            Level::Payloads => coverage.payloads.as_ref().map(|payloads| count(payloads.checked, "payload")),
            Level::Heads => coverage.heads.as_ref().map(|heads| count(heads.trusted, "trusted head")),
        }
    }
}
