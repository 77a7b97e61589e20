//! The result of each level of verification in a report.

use edgesentry_chain::{Coverage, InputKind, Level, NotChecked, ProvidedBy, Report, RootCheck};
use edgesentry_formats::times::to_rfc3339;

use crate::text::{count, name, number};

/// The result of a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// All of it was checked and holds.
    Holds,
    /// The checked part holds, but tampering could still go unnoticed.
    Partly,
    /// A check failed.
    Findings,
    /// Its input was missing, or its main check was not made.
    NotChecked,
}

/// The result and the coverage of one level.
pub(crate) struct Examined<'a> {
    pub(crate) level: Level,
    pub(crate) standing: Standing,
    /// The number of checked items; none if its input was missing.
    pub(crate) checked: Option<String>,
    /// The providers of its inputs, such as `keys from the auditor`; none if it needs none.
    pub(crate) provided: Option<String>,
    pub(crate) findings: u64,
    /// The unchecked parts, and the tampering that could therefore go unnoticed.
    pub(crate) notes: Vec<&'a NotChecked>,
}

/// Returns the result of every level in a report.
pub(crate) fn examined(report: &Report) -> impl Iterator<Item = Examined<'_>> {
    report.coverage.levels().map(|level| examine(level, report))
}

/// Returns the result of a level in a report.
pub(crate) fn examine(level: Level, report: &Report) -> Examined<'_> {
    let checked = checked(level, &report.coverage);
    let notes = report.coverage.not_checked.iter().filter(|note| note.level() == level);
    let notes: Vec<&NotChecked> = notes.collect();
    let counts = report.counts.iter();
    let findings = counts.filter(|(code, _)| code.level() == level).map(|(_, total)| total).sum();
    let log = report.coverage.log.as_ref().filter(|_| level == Level::Log);
    let is_compared = log.is_none_or(|log| log.root == RootCheck::Compared);
    let standing = match (&checked, findings, notes.is_empty()) {
        (None, ..) => Standing::NotChecked,
        (Some(_), 0, _) if !is_compared => Standing::NotChecked,
        (Some(_), 1.., _) => Standing::Findings,
        (Some(_), 0, false) => Standing::Partly,
        (Some(_), 0, true) => Standing::Holds,
    };
    Examined { level, standing, checked, provided: provided(level, &report.coverage), findings, notes }
}

/// Returns the number of checked items of a level; `None` if its input was missing.
fn checked(level: Level, coverage: &Coverage) -> Option<String> {
    match level {
        Level::Links => {
            let links =
                format!("{} in {}", count(coverage.records, "record"), count(coverage.devices, "chain"));
            Some(match coverage.malformed {
                0 => links,
                1 => format!("{links}, 1 entry is not a record"),
                more => format!("{links}, {} entries are not records", number(more)),
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
        Level::Payloads => coverage.payloads.as_ref().map(|payloads| {
            let parts =
                [(payloads.erased, "erased"), (payloads.erased_present, "erased in the log but present")];
            let parts = parts.iter().filter(|(payloads, _)| *payloads > 0);
            let parts = parts.map(|(payloads, how)| format!(", {} {how}", number(*payloads)));
            format!("{}{}", count(payloads.checked, "payload"), parts.collect::<String>())
        }),
        Level::Heads => coverage.heads.as_ref().map(|heads| {
            let trusted =
                (heads.trusted > 0 || heads.claimed == 0).then(|| count(heads.trusted, "trusted head"));
            let claimed = (heads.claimed > 0).then(|| count(heads.claimed, "claimed head"));
            [trusted, claimed].into_iter().flatten().collect::<Vec<_>>().join(", ")
        }),
        Level::Log => coverage.log.as_ref().map(|log| {
            let leaves = match log.root {
                RootCheck::Compared => match log.size {
                    1 => format!("1 leaf of {}", log.origin),
                    size => format!("{} leaves of {}", number(size), log.origin),
                },
                _ => format!("root of {} not compared", log.origin),
            };
            let succeeds = log.predecessor.as_ref().map_or_else(String::new, |before| {
                let (origin, size) = (name(&before.origin), number(before.size));
                format!(", succeeds {origin} at size {size}, root {}", before.root)
            });
            let stamp = log.timestamps.iter().min_by_key(|stamp| stamp.before_ms).map(|stamp| {
                let (time, authority) = (to_rfc3339(stamp.before_ms), name(&stamp.authority));
                format!(", existed before {time} (time stamp by {authority})")
            });
            let cosignatures = count(log.witnesses, "cosignature");
            format!("{leaves}, {cosignatures}{}{succeeds}", stamp.unwrap_or_default())
        }),
    }
}

/// Returns the providers of a level's inputs.
fn provided(level: Level, coverage: &Coverage) -> Option<String> {
    let inputs = coverage.provided_by.iter().filter(|(kind, _)| kind.level() == level);
    let inputs = inputs.flat_map(|(kind, by)| by.iter().map(|by| from(*kind, *by)));
    let inputs: Vec<String> = inputs.collect();
    (!inputs.is_empty()).then(|| inputs.join(", "))
}

/// Formats a provider as `keys from the auditor`, `heads claimed by the manifest`.
fn from(kind: InputKind, by: ProvidedBy) -> String {
    let name = kind.name().replace('_', " ");
    let how = if by.is_trusted() || kind == InputKind::Payloads { "from" } else { "claimed by" };
    format!("{name} {how} {by}")
}
