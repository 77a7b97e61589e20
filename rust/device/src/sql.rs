//! The errors of both databases.

use std::sync::Arc;

use crate::error::{Component, FailureKind, StoreError};

/// Returns the error of a database call.
pub fn failed(
    place: &Arc<str>,
    component: Component,
    action: &'static str,
) -> impl FnOnce(sqlx::Error) -> StoreError + use<> {
    let place = Arc::clone(place);
    move |source| {
        let kind = failure(&source);
        let source: Arc<dyn std::error::Error + Send + Sync> =
            if is_pooled(&source) { Arc::new(Pooled(source)) } else { Arc::new(source) };
        StoreError { component, action, place, kind, source }
    }
}

/// A transaction pooler sits between client and server, but `postgres.transaction_pooling` is not set.
#[derive(Debug, thiserror::Error)]
#[error(
    "a prepared statement was lost; with a transaction pooler such as PgBouncer, set postgres.transaction_pooling \
     = true"
)]
struct Pooled(#[source] sqlx::Error);

/// Returns true if another client prepared a statement under our name, or one of ours is gone.
fn is_pooled(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["42P05", "26000"].contains(&&*code))
}

/// Returns how long a failure lasts: an error passes unless the database itself blames the call or its files, or a
/// value cannot be decoded.
fn failure(error: &sqlx::Error) -> FailureKind {
    match error {
        sqlx::Error::Database(error) if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() => {
            sqlite_failure(error.code().and_then(|code| code.parse().ok()).unwrap_or(0))
        }
        sqlx::Error::Database(error) => postgres_failure(&error.code().unwrap_or_default()),
        sqlx::Error::Configuration(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::TypeNotFound { .. } => FailureKind::Setup,
        _ => FailureKind::Passing,
    }
}

/// Classifies by the primary result code of <https://www.sqlite.org/rescode.html>.
fn sqlite_failure(code: u32) -> FailureKind {
    match code & 0xff {
        // Busy, locked, out of memory, read-only, interrupted, I/O error, full, cannot open, protocol.
        5 | 6 | 7 | 8 | 9 | 10 | 13 | 14 | 15 => FailureKind::Passing,
        // Too big.
        18 => FailureKind::Item,
        _ => FailureKind::Setup,
    }
}

/// Classifies by the class of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn postgres_failure(code: &str) -> FailureKind {
    match (code.get(..2).unwrap_or_default(), code) {
        // Connection, resources, operator intervention, system error, lock not available, transaction rollback.
        ("08" | "53" | "57" | "58" | "55" | "40", _) => FailureKind::Passing,
        // A server that became a standby; a transaction that took too long.
        (_, "25006" | "25P03" | "25P04") => FailureKind::Passing,
        // Text that the encoding of the database cannot hold; a row or an index entry that is too large.
        ("22" | "54", _) => FailureKind::Item,
        _ => FailureKind::Setup,
    }
}
