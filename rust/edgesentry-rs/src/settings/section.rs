//! A section of the settings that a higher crate reads.

use std::fmt;

use config::{Config, ConfigError};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny};

use crate::error::{Error, describe};
use crate::secret::redact;

/// A section that is stored unparsed until its reader parses it. It may hold secrets and is not displayed.
#[derive(Clone, Default)]
pub struct Section(Option<Written>);

#[derive(Clone)]
struct Written {
    name: &'static str,
    place: String,
    config: Config,
}

impl Section {
    /// Creates the section `name` of settings that were read from `place`.
    pub(super) fn new(name: &'static str, place: String, config: Config) -> Section {
        Section(Some(Written { name, place, config }))
    }

    /// Parses the section; a missing one has the defaults.
    ///
    /// # Errors
    /// Fails if a value is wrong, or if `T` does not know a key.
    pub fn parse<T: DeserializeOwned + Default>(&self) -> Result<T, Error> {
        let Some(Written { name, place, config }) = &self.0 else { return Ok(T::default()) };
        match config.get(name) {
            Err(ConfigError::NotFound(key)) if key == *name => Ok(T::default()),
            read => read.map_err(|error| wrong(place, &error)),
        }
    }
}

/// Returns the error for unreadable settings.
pub(super) fn wrong(place: &str, error: &ConfigError) -> Error {
    Error::Config(format!("settings ({place}): {}", redact(&describe(error))))
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Section")
    }
}

impl<'de> Deserialize<'de> for Section {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Section, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Section(None))
    }
}
