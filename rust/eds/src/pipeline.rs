//! The report in the formats that pipelines read: JUnit, SARIF, annotations of GitHub Actions.
//!
//! Each has the same content as the report. Texts from the evidence are first made safe to show, then escaped for the
//! format.

pub(crate) mod github;
pub(crate) mod junit;
pub(crate) mod sarif;

use edgesentry_chain::Finding;

use crate::render::{because, evidence, place};

/// Returns a finding as one sentence.
fn sentence_of(finding: &Finding) -> String {
    let (who, at) = place(finding);
    let place: Vec<&str> = [who.as_str(), at.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
    let cause = finding.cause.as_ref().map(because);
    let cause = cause.map_or_else(String::new, |cause| format!(" (likely because of {cause})"));
    let (expected, found) = (evidence(&finding.expected), evidence(&finding.actual));
    let colon = if place.is_empty() { "" } else { ": " };
    format!("{}{colon}expected {expected}, found {found}{cause}", place.join(", "))
}
