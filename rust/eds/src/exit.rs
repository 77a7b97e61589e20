//! Exit codes, and failures to do the job.

use edgesentry_formats::{DestinationError, Error as FormatError, SeedError, SnapshotError, describe};
use edgesentry_rs::StoreError;

/// How the command ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// All that was asked was checked and holds.
    Holds,
    /// At least one finding.
    Findings,
    /// Bad arguments, bad keys, or a required level that was not covered.
    Usage,
    /// The job could not be finished, or there was nothing to verify.
    Unfinished,
    /// Ctrl-C.
    Interrupted,
    /// For PostgreSQL: there is provably no such file, so the log ends here.
    Absent,
    /// For PostgreSQL: anything else, so that recovery stops; above 125, and the code of no signal.
    StopRecovery,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Holds => 0,
            Exit::Findings => 1,
            Exit::Usage => 2,
            Exit::Unfinished => 3,
            Exit::Interrupted => 130,
            Exit::Absent => 1,
            Exit::StopRecovery => 200,
        }
    }
}

/// Why the command could not do its job. Never a verdict about evidence.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Stable, for scripts.
    pub(crate) code: &'static str,
    /// One sentence: what, where, what to do; with the chain of its sources.
    pub(crate) message: String,
    pub(crate) exit: Exit,
}

impl Failure {
    /// The caller can put it right: arguments, keys, snapshots.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), exit: Exit::Usage }
    }

    /// Ctrl-C was answered in good order.
    pub(crate) fn interrupted(message: impl Into<String>) -> Failure {
        Failure { code: "interrupted", message: message.into(), exit: Exit::Interrupted }
    }

    /// Reading or writing failed.
    pub(crate) fn unfinished(code: &'static str, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), exit: Exit::Unfinished }
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Failure {
        of_format(&error)
    }
}

impl From<DestinationError> for Failure {
    fn from(error: DestinationError) -> Failure {
        of_destination(&error)
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Failure {
        match error {
            SnapshotError::Before { .. } => Failure::usage("heads", describe(&error)),
            SnapshotError::Io { .. } => Failure::unfinished("io", describe(&error)),
        }
    }
}

impl From<SeedError> for Failure {
    fn from(error: SeedError) -> Failure {
        let message = describe(&error);
        match error {
            SeedError::Exists { .. } => Failure::usage("seed_file_exists", message),
            SeedError::Malformed(_) => Failure::usage("seed_malformed", message),
            SeedError::Shared { .. } => Failure::usage("seed_file_shared", message),
            SeedError::Io { action: "read", .. } => Failure::usage("seed_unreadable", message),
            SeedError::Io { .. } => Failure::unfinished("io", message),
        }
    }
}

impl From<edgesentry_rs::Error> for Failure {
    fn from(error: edgesentry_rs::Error) -> Failure {
        use edgesentry_rs::Error;
        match &error {
            Error::Config(_) | Error::Registry { .. } => Failure::usage(error.code(), describe(&error)),
            Error::Export(source) => of_format(source),
            _ => Failure::unfinished(error.code(), describe(&error)),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        edgesentry_rs::Error::from(error).into()
    }
}

fn of_format(error: &FormatError) -> Failure {
    let code = match error {
        FormatError::Destination(error) => return of_destination(error),
        FormatError::Io { .. } => "io",
        FormatError::Unreadable { .. } => "unreadable",
        FormatError::Payload(_) => "payload_unreadable",
        FormatError::Cancelled => "cancelled",
        FormatError::Source { .. } => "source",
    };
    Failure::unfinished(code, describe(error))
}

fn of_destination(error: &DestinationError) -> Failure {
    match error {
        DestinationError::Unusable { .. } => Failure::unfinished("io", describe(error)),
        _ => Failure::usage("output_refused", describe(error)),
    }
}
