//! Reports that were kept as JSON.

use edgesentry_chain::Report;
use edgesentry_chain::state::ReportJson;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::recognise::other_file;

/// The reason why a file is not a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The file is not JSON of the expected form.
    #[error("report: {0}")]
    Json(serde_json::Error),
    /// The file is of another kind.
    #[error("{0}")]
    OtherFile(String),
    /// The output of a command without a report.
    #[error("it is the output of eds{}, which has no report; pass that of eds verify-chain --json", .0.as_ref().map_or_else(String::new, |name| format!(" {name}")))]
    NoReport(Option<String>),
    /// The parts contradict each other.
    #[error("report: {0}; it was changed, so verify the records again")]
    Inconsistent(&'static str),
}

/// Parses the output of `eds verify-chain --json`, or the report in it. Evidence becomes text.
///
/// # Errors
/// The text is not a report, or its parts contradict each other.
pub fn read_report(json: &[u8]) -> Result<Report, ReportError> {
    #[derive(Deserialize)]
    struct Names {
        edgesentry: Option<IgnoredAny>,
        verdict: Option<IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Envelope {
        command: Option<String>,
        report: Option<ReportJson>,
    }
    let names: Names = serde_json::from_slice(json).map_err(|error| not_a_report(json, error))?;
    let report = match names {
        Names { edgesentry: Some(_), .. } => {
            let Envelope { command, report } = serde_json::from_slice(json).map_err(ReportError::Json)?;
            report.ok_or(ReportError::NoReport(command))?
        }
        Names { verdict: Some(_), .. } => serde_json::from_slice(json).map_err(ReportError::Json)?,
        _ => {
            let missing = serde::de::Error::missing_field("verdict");
            return Err(not_a_report(json, missing));
        }
    };
    Report::try_from(report).map_err(ReportError::Inconsistent)
}

fn not_a_report(json: &[u8], error: serde_json::Error) -> ReportError {
    other_file(json, "a report").map_or(ReportError::Json(error), ReportError::OtherFile)
}
