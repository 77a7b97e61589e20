//! The outcomes of the records.

use std::collections::BTreeMap;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use edgesentry_chain::AuditRecord;
use edgesentry_formats::Malformed;
use edgesentry_rs::{Error, Outcome};
use serde::Serialize;

use crate::text::{count, name, number, shown};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The number of records that are listed.
const MAX_LISTED_REJECTIONS: usize = 20;

/// Counts, and the first records that were not accepted.
#[derive(Default, Debug, Serialize)]
pub(crate) struct Tally {
    /// Records that were read.
    pub(super) records: u64,
    accepted: u64,
    duplicate: u64,
    /// By reason code.
    rejected: BTreeMap<&'static str, u64>,
    payload_missing: u64,
    /// Malformed entries.
    malformed: u64,
    /// Records that were held back, because an earlier one could not be sent.
    pub(super) not_sent: u64,
    /// Records for which a store failed.
    errors: u64,
    /// The first records that were not accepted.
    rejections: Vec<NotTaken>,
}

#[derive(Debug, Serialize)]
struct NotTaken {
    device_id: Option<String>,
    sequence: Option<u64>,
    reason: &'static str,
    expected: String,
    actual: String,
}

/// Why a record was not sent.
pub(super) enum Unsent<'a> {
    /// The directory does not have its payload.
    PayloadMissing { folder: &'a Path },
    /// An earlier record of the device lacks its payload.
    BehindMissing,
}

impl Tally {
    /// Returns true if the ledger has every record.
    pub(super) fn all_taken(&self) -> bool {
        self.records > 0 && self.accepted + self.duplicate == self.records
    }

    pub(super) fn malformed(&mut self, Malformed { expected, actual }: Malformed) {
        self.records += 1;
        self.malformed += 1;
        self.list(NotTaken { device_id: None, sequence: None, reason: "record_malformed", expected, actual });
    }

    pub(super) fn unsent(&mut self, record: &AuditRecord, why: Unsent<'_>) {
        self.records += 1;
        match why {
            Unsent::BehindMissing => self.not_sent += 1,
            Unsent::PayloadMissing { folder } => {
                self.payload_missing += 1;
                let expected = format!("the payload of {}", record.object_ref);
                let actual = format!("no file for it in {}", folder.display());
                self.list(NotTaken::new(record, "payload_missing", expected, actual));
            }
        }
    }

    /// Counts the outcome of a record; returns the error of a store.
    pub(super) fn answer(
        &mut self,
        record: &AuditRecord,
        outcome: Result<Outcome, Error>,
    ) -> Result<(), Error> {
        self.records += 1;
        match outcome {
            Ok(Outcome::Accepted) => self.accepted += 1,
            Ok(Outcome::Duplicate) => self.duplicate += 1,
            Ok(Outcome::Rejected(rejection)) => {
                let reason = rejection.code.name();
                *self.rejected.entry(reason).or_default() += 1;
                let (expected, actual) = (rejection.expected.to_string(), rejection.actual.to_string());
                self.list(NotTaken::new(record, reason, expected, actual));
            }
            Err(error) => {
                self.errors += 1;
                return Err(error);
            }
        }
        Ok(())
    }

    fn list(&mut self, not_taken: NotTaken) {
        if self.rejections.len() < MAX_LISTED_REJECTIONS {
            self.rejections.push(not_taken);
        }
    }

    pub(super) fn text(&self) -> String {
        let (style, verdict) = if self.all_taken() { (GOOD, "INGESTED") } else { (BAD, "NOT ALL INGESTED") };
        let mut text = format!(
            "{style}{verdict}{style:#}  {}: {} accepted, {} duplicate\n",
            count(self.records, "record"),
            number(self.accepted),
            number(self.duplicate)
        );
        let others = [
            ("payload_missing", self.payload_missing),
            ("record_malformed", self.malformed),
            ("not sent", self.not_sent),
            ("not stored", self.errors),
        ];
        let reasons = self.rejected.iter().map(|(reason, total)| (*reason, *total)).chain(others);
        for (reason, total) in reasons.filter(|(_, total)| *total > 0) {
            text.push_str(&format!("  {BAD}{reason:<25}{BAD:#}{}\n", number(total)));
        }
        if !self.rejections.is_empty() {
            text.push_str(&format!("\n{BOLD}Not ingested{BOLD:#}\n"));
        }
        for rejection in &self.rejections {
            rejection.write(&mut text);
        }
        let listed = self.rejections.len() as u64;
        let listable = self.rejected.values().sum::<u64>() + self.payload_missing + self.malformed;
        if listable > listed {
            let more = number(listable - listed);
            text.push_str(&format!(
                "  {DIM}and {more} more; eds log --outcome rejected lists rejections{DIM:#}\n"
            ));
        }
        text
    }
}

impl NotTaken {
    fn new(record: &AuditRecord, reason: &'static str, expected: String, actual: String) -> NotTaken {
        let (device_id, sequence) = (Some(record.device_id.clone()), Some(record.sequence));
        NotTaken { device_id, sequence, reason, expected, actual }
    }

    fn write(&self, text: &mut String) {
        let place = match (&self.device_id, self.sequence) {
            (Some(device_id), Some(sequence)) => format!("{} sequence {sequence}", name(device_id)),
            _ => "an entry".to_owned(),
        };
        text.push_str(&format!("  {BOLD}{place}{BOLD:#}  {BAD}{}{BAD:#}\n", self.reason));
        text.push_str(&format!(
            "    expected  {}\n    actual    {}\n",
            shown(&self.expected),
            shown(&self.actual)
        ));
    }
}
