//! `[log.tsa]`: the settings of time stamps.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Stamper;
use crate::error::Error;

/// The time stamping authorities of a log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TsaSettings {
    /// The URLs of the authorities: `http://HOST/PATH` or `https://HOST/PATH`.
    pub urls: Vec<String>,
    /// The time after which an authority is asked for its next time stamp, seconds.
    pub interval_seconds: u64,
    /// PEM file with the roots of the authorities: each answer is verified against them.
    pub roots: Option<PathBuf>,
}

impl Default for TsaSettings {
    fn default() -> TsaSettings {
        TsaSettings { urls: Vec::new(), interval_seconds: 3600, roots: None }
    }
}

impl TsaSettings {
    /// Prepares the authorities; `None` if there are none.
    pub(in crate::log) fn open(&self) -> Result<Option<Stamper>, Error> {
        if self.urls.is_empty() {
            return Ok(None);
        }
        let Some(roots) = &self.roots else {
            let problem = "log.tsa.roots is not set; set it to a PEM file with the roots of the authorities";
            return Err(Error::Config(problem.to_owned()));
        };
        Stamper::open(&self.urls, roots, Duration::from_secs(self.interval_seconds)).map(Some)
    }
}
