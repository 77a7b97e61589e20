//! The parts of the operations that commands other than `eds ops` and `eds drill` use.

use std::path::PathBuf;

use edgesentry_formats::describe;
use edgesentry_ops::textfile::TextfileError;
pub(crate) use edgesentry_ops::textfile::{
    HEADS_LAST_SUCCESS, HEADS_REWRITTEN, RECEIPTS_AGE, RECEIPTS_PENDING, Textfile,
};

use edgesentry_ops::OpsSettings;
use edgesentry_rs::Settings;

use crate::exit::{Exit, Failure};

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
            TextfileError::Name(_) | TextfileError::Foreign { .. } => {
                Failure::usage("metrics_file", describe(&error))
            }
            _ => Failure::unfinished("io", describe(&error)),
        }
    }
}

impl From<edgesentry_ops::Error> for Failure {
    fn from(error: edgesentry_ops::Error) -> Failure {
        match error {
            edgesentry_ops::Error::Service(error) => error.into(),
            error => Failure { code: error.code(), message: describe(&error), exit: Exit::of(error.fault()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use edgesentry_ops::Error;

    use super::*;

    #[test]
    fn exit_codes_follow_the_fault() {
        let text = || "x".to_owned();
        let disk = io::Error::from(io::ErrorKind::StorageFull);
        let ended = |error: Error| {
            let failure = Failure::from(error);
            (failure.code, failure.exit.code())
        };
        let errors = [
            (Error::Config(text()), ("config", 2)),
            (Error::Unusable { problem: text(), source: "gone".into() }, ("config", 2)),
            (Error::Missing(text()), ("program_missing", 2)),
            (Error::io("write", Path::new("x"))(disk), ("io", 3)),
            (Error::Program { program: text(), said: text() }, ("program", 3)),
            (Error::Server { server: text(), problem: text() }, ("server", 3)),
            (Error::Archive { place: text(), problem: text() }, ("archive", 3)),
            (Error::Random(getrandom::Error::UNSUPPORTED), ("random", 3)),
            (Error::Internal { what: "x", source: "panicked".into() }, ("internal", 3)),
            (Error::Interrupted("the restore"), ("interrupted", 130)),
            (Error::Service(edgesentry_rs::Error::Config(text())), ("config", 2)),
            (Error::Service(edgesentry_rs::Error::Stopped), ("stopped", 3)),
        ];
        for (error, code_and_exit) in errors {
            assert_eq!(ended(error), code_and_exit);
        }
    }
}
