//! Exit codes, and failures of commands.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use edgesentry_formats::{DestinationError, Error as FormatError, SeedError, SnapshotError, describe};
use edgesentry_rs::StoreError;
use edgesentry_rs::error::Fault;

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
    /// How the command ends after an error.
    pub(crate) fn of(fault: Fault) -> Exit {
        match fault {
            Fault::Usage => Exit::Usage,
            Fault::Data | Fault::Environment | Fault::Internal => Exit::Unfinished,
            Fault::Interrupted => Exit::Interrupted,
        }
    }

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

    /// Returns a failure to read or write a file: usage if it does not exist or cannot be opened.
    pub(crate) fn file(message: impl Into<String>, cause: &io::Error) -> Failure {
        use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
        match cause.kind() {
            NotFound | NotADirectory | IsADirectory | PermissionDenied => Failure::usage("io", message),
            _ => Failure::unfinished("io", message),
        }
    }

    /// Returns a failure to finish the work.
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
        match &error {
            SnapshotError::Before { .. } => Failure::usage("heads", describe(&error)),
            SnapshotError::Io { source, .. } => Failure::file(describe(&error), source),
            _ => Failure::unfinished("io", describe(&error)),
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
            SeedError::Io { source, .. } => Failure::file(message, &source),
            _ => Failure::unfinished("io", message),
        }
    }
}

impl From<edgesentry_rs::Error> for Failure {
    fn from(error: edgesentry_rs::Error) -> Failure {
        // The ledger of a service: its error already has the place.
        if let edgesentry_rs::Error::Store(StoreError { source, .. }) = &error
            && let Some(of_service) = source.downcast_ref::<edgesentry_rs::Error>()
        {
            return of_service.clone().into();
        }
        match &error {
            edgesentry_rs::Error::Export(source) => of_format(source),
            // A verdict about the log, as `eds verify-proof` returns it.
            edgesentry_rs::Error::Receipt { code, .. } => {
                Failure { code, message: describe(&error), exit: Exit::Findings }
            }
            _ => Failure { code: error.code(), message: describe(&error), exit: Exit::of(error.fault()) },
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
        FormatError::Io { source, .. } => return Failure::file(describe(error), source),
        FormatError::Unreadable { .. } => "unreadable",
        FormatError::Payload(_) => "payload_unreadable",
        FormatError::PolicyMissing => return Failure::usage("policy_missing", describe(error)),
        FormatError::Cancelled => "cancelled",
        _ => "source",
    };
    Failure::unfinished(code, describe(error))
}

fn of_destination(error: &DestinationError) -> Failure {
    match error {
        DestinationError::Unusable { source, .. } => Failure::file(describe(error), source),
        _ => Failure::usage("output_refused", describe(error)),
    }
}

/// Runs a command, or a part of one. A panic is a bug, so that it never ends as usage or as a verdict.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // Nothing of the work is used after a panic.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(Failure::unfinished("panic", "the command has failed in a way that is a bug; please report it"))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use edgesentry_rs::Error;
    use edgesentry_rs::error::{Component, FailureKind, NotTried};
    use edgesentry_rs::wire::ProblemCode;

    use super::{Exit, Failure, FormatError, StoreError, guarded, io};

    fn ended(error: Error) -> (&'static str, u8) {
        let failure = Failure::from(error);
        (failure.code, failure.exit.code())
    }

    #[test]
    fn exit_codes_follow_the_fault() {
        let passing = StoreError {
            component: Component::AuditLedger,
            action: "append to the ledger",
            place: "here".into(),
            kind: FailureKind::Passing,
            source: Arc::new(io::Error::other("full")),
        };
        let not_tried =
            Error::NotTried { device_id: "lift-01".to_owned(), sequence: 1, why: NotTried::UnderWay };
        let refused = Error::Service {
            place: "http://here".into(),
            code: ProblemCode::Other("of_a_newer_service".to_owned()),
            detail: String::new(),
            retryable: false,
        };
        let registry = Error::Registry { device_id: "lift-01".to_owned(), problem: String::new() };
        let export = Error::from(FormatError::Cancelled);
        let threads = Error::Threads("telemetry", Arc::new(io::Error::other("too many")));
        assert_eq!(ended(Error::Config("wrong".to_owned())), ("config", 2));
        assert_eq!(ended(Error::unusable("x.toml", io::Error::other("gone"))), ("config", 2));
        assert_eq!(ended(registry), ("registry", 2));
        assert_eq!(ended(passing.into()), ("store", 3));
        assert_eq!(ended(not_tried), ("not_tried", 3));
        assert_eq!(ended(Error::Stopped), ("stopped", 3));
        assert_eq!(ended(refused), ("service", 3));
        assert_eq!(ended(export), ("cancelled", 3));
        assert_eq!(ended(Error::Outbox("damaged".to_owned())), ("agent", 3));
        let receipt =
            Error::Receipt { place: "outbox".into(), code: "proof_invalid", problem: String::new() };
        assert_eq!(ended(receipt), ("proof_invalid", 1));
        assert_eq!(ended(threads), ("threads", 3));
        assert_eq!(ended(Error::internal("a worker has panicked", "here")), ("internal", 3));
    }

    #[test]
    fn an_error_is_printed_with_its_source() {
        let failure =
            Failure::from(Error::unusable("x.toml: cannot read the settings", io::Error::other("gone")));
        assert_eq!(failure.message, "x.toml: cannot read the settings: gone");
    }

    #[test]
    fn a_panic_is_a_failure_of_the_command() {
        let failure = guarded::<()>(|| panic!("a bug")).unwrap_err();
        assert_eq!((failure.code, failure.exit), ("panic", Exit::Unfinished));
    }
}
