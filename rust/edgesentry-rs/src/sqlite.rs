//! An embedded database file: one writer in this process, many readers, any number of processes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr, SqliteConnection, SqlitePool};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::error::{Component, StoreError};
use crate::sql::failed;

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(30);
/// How long to wait for readers at the end.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many rows go into one INSERT; few sizes, so that their statements stay prepared.
const ROWS: [usize; 4] = [256, 32, 4, 1];

/// An open database file.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) place: Arc<str>,
    pub(crate) readers: SqlitePool,
    /// None once it is closed.
    writer: Mutex<Option<SqliteConnection>>,
}

impl Database {
    /// Opens a file and brings its tables up to date; `create` makes it where it is missing.
    pub(crate) async fn open(
        path: &Path,
        component: Component,
        create: bool,
        migrations: &[(i64, &'static str, &'static str)],
    ) -> Result<Database, StoreError> {
        let place: Arc<str> = path.display().to_string().into();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            // Every commit is on the disk before it is acknowledged.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .pragma("trusted_schema", "OFF")
            // KiB: the index by previous hash is written to all over.
            .pragma("cache_size", "-65536")
            // Pages in the write-ahead log before they are copied into the file, and what it may keep, in bytes.
            .pragma("wal_autocheckpoint", "8192")
            .pragma("journal_size_limit", "67108864")
            .disable_statement_logging();
        let mut writer = options.connect().await.map_err(failed(&place, component, "open the database"))?;
        migrate(&mut writer, migrations)
            .await
            .map_err(|error| failed(&place, component, "bring the tables up to date")(into_sqlx(error)))?;
        let readers =
            SqlitePoolOptions::new().max_connections(8).connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Database { place, readers, writer: Mutex::new(Some(writer)) })
    }

    /// The connection that writes.
    pub(crate) async fn writer(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, sqlx::Error> {
        let writer = self.writer.lock().await;
        MutexGuard::try_map(writer, Option::as_mut).map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Closes the file once those who read and write have ended; the last process to close it copies the write-ahead
    /// log into it and removes the log.
    pub(crate) async fn close(&self) {
        // Whoever still reads after this time keeps the log in place.
        let _ = tokio::time::timeout(PATIENCE, self.readers.close()).await;
        if let Some(writer) = self.writer.lock().await.take() {
            // What is not copied now is copied when the file is opened again.
            let _ = writer.close().await;
        }
    }
}

async fn migrate(
    connection: &mut SqliteConnection,
    migrations: &[(i64, &'static str, &'static str)],
) -> Result<(), MigrateError> {
    let migrations = migrations.iter().map(|(version, name, sql)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    // Two processes may open a new file at once. Each migration is one transaction, so that the one that comes
    // late fails, and finds the work done when it looks again.
    let again = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_millis(500))
        .with_max_times(8)
        .with_jitter();
    let connection = Mutex::new(connection);
    // Not `run`: the future of its `Acquire` is one that no task can be spawned with.
    let run = || async { migrator.run_direct(None, &mut **connection.lock().await, false).await };
    run.retry(again)
        .when(|error| matches!(error, MigrateError::Execute(_) | MigrateError::ExecuteMigration(..)))
        .await
}

pub(crate) fn into_sqlx(error: MigrateError) -> sqlx::Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
        other => sqlx::Error::Decode(Box::new(other)),
    }
}

/// The arguments of a statement.
pub(crate) type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

/// Inserts rows, many in a statement. `insert` ends before VALUES; `bind` binds one row of `columns` values.
pub(crate) async fn insert<T>(
    connection: &mut SqliteConnection,
    insert: &'static str,
    columns: usize,
    rows: &[T],
    bind: impl for<'q> Fn(Query<'q>, &T) -> Query<'q>,
) -> Result<(), sqlx::Error> {
    let mut rest = rows;
    for size in ROWS {
        if rest.len() < size {
            continue;
        }
        let row = format!("({})", vec!["?"; columns].join(","));
        let sql: Arc<str> = format!("{insert} VALUES {}", vec![row; size].join(",")).into();
        while rest.len() >= size {
            let (now, later) = rest.split_at(size);
            let query = now.iter().fold(sqlx::query(AssertSqlSafe(Arc::clone(&sql))), &bind);
            query.execute(&mut *connection).await?;
            rest = later;
        }
    }
    Ok(())
}
