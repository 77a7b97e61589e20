//! What commands outside of `eds ops` and `eds drill` use of the operations.

use edgesentry_formats::describe;
use std::path::PathBuf;

use edgesentry_ops::textfile::TextfileError;
pub(crate) use edgesentry_ops::textfile::{HEADS_LAST_SUCCESS, HEADS_REWRITTEN, Textfile};

use edgesentry_ops::OpsSettings;
use edgesentry_rs::Settings;

use crate::exit::Failure;

/// Refuses a section `[ops]` that is wrong.
pub(crate) fn check(settings: &Settings) -> Result<(), edgesentry_rs::Error> {
    OpsSettings::of(settings).map(drop)
}

/// The file of metrics that the settings name.
pub(crate) fn metrics_file(settings: &Settings) -> Result<Option<PathBuf>, edgesentry_rs::Error> {
    Ok(OpsSettings::of(settings)?.textfile)
}

impl From<TextfileError> for Failure {
    fn from(error: TextfileError) -> Failure {
        match error {
            TextfileError::Io { .. } => Failure::unfinished("io", describe(&error)),
            TextfileError::Name(_) | TextfileError::Foreign { .. } => {
                Failure::usage("metrics_file", describe(&error))
            }
        }
    }
}

impl From<edgesentry_ops::Error> for Failure {
    fn from(error: edgesentry_ops::Error) -> Failure {
        use edgesentry_ops::Error;
        match error {
            Error::Service(error) => error.into(),
            Error::Config(_) | Error::Missing(_) => Failure::usage(error.code(), describe(&error)),
            _ => Failure::unfinished(error.code(), describe(&error)),
        }
    }
}
