//! `require=`: levels that inputs from the auditor must fully cover.

use edgesentry_chain::{Level, MissingInput, Providers, Verdict, missing_inputs, require};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::RequirementError;
use crate::report::Report;

/// The required levels.
pub(crate) struct Required(Vec<Level>);

impl Required {
    /// Parses None, one name or several.
    pub(crate) fn from_any(levels: Option<&Bound<'_, PyAny>>) -> PyResult<Required> {
        let names = match levels {
            None => Vec::new(),
            Some(levels) => match levels.extract::<String>() {
                Ok(level) => vec![level],
                Err(_) => levels.try_iter()?.map(|level| level?.extract()).collect::<PyResult<_>>()?,
            },
        };
        let level = |name: &String| {
            let known = Level::REQUIRABLE.iter().find(|level| level.name() == name);
            known.copied().ok_or_else(|| {
                PyValueError::new_err(format!(
                    "require must be signatures, payloads, heads or log, not {name:?}"
                ))
            })
        };
        Ok(Required(names.iter().map(level).collect::<PyResult<_>>()?))
    }

    /// Returns true if a level is required.
    pub(crate) fn has(&self, level: Level) -> bool {
        self.0.contains(&level)
    }

    /// Rejects a level that the given inputs cannot cover, before any input is read. `for_log` names the arguments of
    /// the level `log`.
    pub(crate) fn refuse_missing(&self, providers: &Providers, for_log: &str) -> PyResult<()> {
        let Some(MissingInput { level, claimed_by }) = missing_inputs(&self.0, providers).into_iter().next()
        else {
            return Ok(());
        };
        let argument = match level {
            Level::Signatures => "keys",
            Level::Payloads => "payloads",
            Level::Log => for_log,
            _ => "heads",
        };
        let claim = claimed_by.map_or_else(String::new, |by| format!(": {by} provides only a claim"));
        let are = if level == Level::Log { "is" } else { "are" };
        Err(PyValueError::new_err(format!("{level} {are} required; give {argument}={claim}")))
    }

    /// Returns the report, unless it is valid although a required level is not fully covered, or the file differs from
    /// its manifest.
    pub(crate) fn refuse_uncovered(
        &self,
        py: Python<'_>,
        report: Report,
        other_file: Option<String>,
    ) -> PyResult<Report> {
        let gaps = require(&self.0, &report.0.coverage);
        let gaps: Vec<String> = other_file.into_iter().chain(gaps.iter().map(ToString::to_string)).collect();
        if gaps.is_empty() || report.0.verdict != Verdict::Valid {
            return Ok(report);
        }
        Err(RequirementError::new_err((Py::new(py, report)?, gaps.join("; "))))
    }
}
