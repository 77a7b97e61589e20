//! The parts of the operations that commands other than `eds ops` and `eds drill` use.

use edgesentry_ops::textfile::TextfileError;
pub(crate) use edgesentry_ops::textfile::{HEADS_LAST_SUCCESS, HEADS_REWRITTEN, Textfile};

use crate::exit::{Failure, chain};

impl From<TextfileError> for Failure {
    fn from(error: TextfileError) -> Failure {
        match error {
            TextfileError::Io { .. } => Failure::unfinished("io", chain(&error)),
            TextfileError::Name(_) | TextfileError::Foreign { .. } => {
                Failure::usage("metrics_file", chain(&error))
            }
        }
    }
}

impl From<edgesentry_ops::Error> for Failure {
    fn from(error: edgesentry_ops::Error) -> Failure {
        use edgesentry_ops::Error;
        match error {
            Error::Service(error) => error.into(),
            Error::Config(_) | Error::Missing(_) => Failure::usage(error.code(), chain(&error)),
            _ => Failure::unfinished(error.code(), chain(&error)),
        }
    }
}
