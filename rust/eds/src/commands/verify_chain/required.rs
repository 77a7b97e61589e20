//! Levels that must be covered in full.

use clap::ValueEnum;
use edgesentry_chain::Coverage;

use crate::exit::Failure;
use crate::text::{count, number};

/// A level that can be required.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Required {
    Signatures,
    Payloads,
    Heads,
}

/// Records or devices that a required level did not cover.
pub(super) fn uncovered(required: &[Required], coverage: &Coverage) -> Option<Failure> {
    let gaps: Vec<String> = required.iter().filter_map(|level| level.gap(coverage)).collect();
    if gaps.is_empty() {
        return None;
    }
    let message = format!("not everything that --require names was covered: {}", gaps.join("; "));
    Some(Failure::usage("required_not_covered", message))
}

impl Required {
    fn gap(self, coverage: &Coverage) -> Option<String> {
        match self {
            Required::Signatures => {
                let unchecked = coverage.signatures.as_ref().map_or(0, |signatures| signatures.unchecked);
                let records = count(unchecked, "record");
                (unchecked > 0)
                    .then(|| format!("signatures of {records} could not be checked for want of a key"))
            }
            Required::Payloads => {
                let checked = coverage.payloads.as_ref().map_or(0, |payloads| payloads.checked);
                let missed = coverage.records.saturating_sub(checked);
                (missed > 0).then(|| format!("{} payloads were not checked", number(missed)))
            }
            Required::Heads => {
                let without = coverage.heads.as_ref().map_or(0, |heads| heads.devices_without);
                (without > 0).then(|| format!("{} without a trusted head", count(without, "device")))
            }
        }
    }
}
