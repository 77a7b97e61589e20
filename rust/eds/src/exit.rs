//! Exit codes, and failures of commands.

use std::error::Error;

use edgesentry_formats::{DestinationError, Error as FormatError, SeedError, SnapshotError};
use edgesentry_rs::StoreError;

/// The exit status of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Everything requested was checked and holds.
    Holds,
    /// At least one finding.
    Findings,
    /// Bad arguments, bad keys, or a required level that was not covered.
    Usage,
    /// The work could not finish, or there was nothing to verify.
    Unfinished,
    /// Ctrl-C.
    Interrupted,
    /// For PostgreSQL: the file provably does not exist, so the log ends here.
    Absent,
    /// For PostgreSQL: any other failure, so that recovery stops; above 125, and not the code of a signal.
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

/// Why the command could not do its work. Never a verdict about evidence.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Stable, for scripts.
    pub(crate) code: &'static str,
    /// One sentence: the problem, the place and the remedy, with the chain of its sources.
    pub(crate) message: String,
    pub(crate) exit: Exit,
}

impl Failure {
    /// Returns an error that the caller can fix: arguments, keys, snapshots.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), exit: Exit::Usage }
    }

    /// Returns the failure of work that Ctrl-C ended cleanly.
    pub(crate) fn interrupted(message: impl Into<String>) -> Failure {
        Failure { code: "interrupted", message: message.into(), exit: Exit::Interrupted }
    }

    /// Returns a failure to read or write.
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
            SnapshotError::Before { .. } => Failure::usage("heads", chain(&error)),
            SnapshotError::Io { .. } => Failure::unfinished("io", chain(&error)),
        }
    }
}

impl From<SeedError> for Failure {
    fn from(error: SeedError) -> Failure {
        let message = chain(&error);
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
            Error::Config(_) | Error::Registry { .. } => Failure::usage(error.code(), chain(&error)),
            Error::Export(source) => of_format(source),
            _ => Failure::unfinished(error.code(), chain(&error)),
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
    Failure::unfinished(code, chain(error))
}

fn of_destination(error: &DestinationError) -> Failure {
    match error {
        DestinationError::Unusable { .. } => Failure::unfinished("io", chain(error)),
        _ => Failure::usage("output_refused", chain(error)),
    }
}

/// Returns an error and its sources, as one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        // Some errors already quote their source.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}
