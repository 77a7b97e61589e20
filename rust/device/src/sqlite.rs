//! An embedded database file: one writer in this process, many readers, any number of processes.

mod contents;
mod reading;
mod uses;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use sqlx::migrate::{MigrateError, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr, Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::error::{Component, Error};
use crate::sql::failed;

pub use contents::{Contents, MAX_NAMES, MIGRATIONS_TABLE, Migration, Schema};
use reading::{Reading, beside, cannot_open, reader_of};
use uses::Use;

/// How long to wait for another process that writes.
const WRITE_LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// The settings of every connection that writes.
pub const WRITER_PRAGMAS: [(&str, &str); 5] = [
    // Every commit is on the disk before it is acknowledged.
    ("synchronous", "FULL"),
    ("trusted_schema", "OFF"),
    // KiB: writes to the index by previous hash are scattered.
    ("cache_size", "-65536"),
    // Pages in the write-ahead log before a checkpoint, and the size limit of the log, in bytes.
    ("wal_autocheckpoint", "8192"),
    ("journal_size_limit", "67108864"),
];
/// How long a close waits for readers.
const READERS_TIMEOUT: Duration = Duration::from_secs(2);
/// The numbers of rows in one INSERT; only a few sizes, so that their statements stay prepared.
const ROWS_PER_STATEMENT: [usize; 4] = [256, 32, 4, 1];

/// How often to look at a file that another process is about to create, and the interval.
const MAX_LOOKS: usize = 5;
const LOOK_INTERVAL: Duration = Duration::from_millis(40);

/// An open database file.
#[derive(Debug)]
pub struct Database {
    /// The path, for errors.
    pub place: Arc<str>,
    /// The connections that read; see [`Database::unchanged`].
    pub readers: SqlitePool,
    /// None if the file is read-only or closed.
    writer: Mutex<Option<Writer>>,
    reading: Option<Reading>,
    _writing: Option<Use>,
}

/// The connection that writes, and its options.
#[derive(Debug)]
struct Writer {
    connection: SqliteConnection,
    options: SqliteConnectOptions,
}

impl Writer {
    /// Replaces a connection with a stuck transaction. SQLite ends a transaction by itself when a write to the disk
    /// fails; sqlx then cannot end it again, and would refuse every later one.
    async fn mend(&mut self) -> Result<(), sqlx::Error> {
        if !self.connection.is_in_transaction() {
            return Ok(());
        }
        // The rollback of a dropped transaction may be in progress; it runs before the ping.
        let _ = self.connection.ping().await;
        if self.connection.is_in_transaction() {
            let mut fresh = self.options.connect().await?;
            refuse_read_only(&mut fresh).await?;
            let _ = std::mem::replace(&mut self.connection, fresh).close().await;
        }
        Ok(())
    }
}

impl Database {
    /// Opens a file and migrates its tables; `create` creates a missing file, and the tables of an empty one. A file
    /// that holds other tables is an error, and stays unchanged.
    ///
    /// # Errors
    /// The file cannot be opened or migrated, holds other tables, or is of a newer release.
    pub async fn open(
        path: &Path,
        component: Component,
        create: bool,
        schema: &'static Schema,
    ) -> Result<Database, Error> {
        let place: Arc<str> = path.display().to_string().into();
        let opening = || failed(&place, component, "open the database");
        // SQLite does not treat `file:` and `:memory:` as names of files.
        let path = &std::path::absolute(path).map_err(|error| opening()(error.into()))?;
        let looked = look_before_writing(path, schema).await;
        let looked = looked.map_err(no_database(schema)).map_err(permission_denied(path));
        match looked.map_err(opening())? {
            Contents::Empty if create => {}
            Contents::Complete { version } => schema.refuse_newer(&place, version)?,
            contents => return Err(schema.missing(&place, &contents)),
        }
        if create {
            create_private(path);
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(WRITE_LOCK_TIMEOUT)
            .disable_statement_logging();
        let options =
            WRITER_PRAGMAS.into_iter().fold(options, |options, (name, value)| options.pragma(name, value));
        // If the file does not exist yet, use the name that it will have.
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let writing = Use::writing(&canonical).map_err(opening())?;
        let mut writer = options.connect().await.map_err(permission_denied(path)).map_err(opening())?;
        let writer_options = options.clone();
        migrate(&mut writer, schema.migrations)
            .await
            .map_err(|error| failed(&place, component, "bring the tables up to date")(into_sqlx(error)))?;
        let readers =
            SqlitePoolOptions::new().max_connections(8).connect_lazy_with(options.pragma("query_only", "ON"));
        refuse_read_only(&mut writer).await.map_err(permission_denied(path)).map_err(failed(
            &place,
            component,
            "open the database for writing",
        ))?;
        let writer = Writer { connection: writer, options: writer_options };
        Ok(Database {
            place,
            readers,
            writer: Mutex::new(Some(writer)),
            reading: None,
            _writing: Some(writing),
        })
    }

    /// Opens a file for reading. It changes neither the file nor anything beside it, and reads tables of an older
    /// version as they are.
    ///
    /// # Errors
    /// The file cannot be read, holds other tables, or is of a newer release.
    pub async fn read(path: &Path, component: Component, schema: &'static Schema) -> Result<Database, Error> {
        let place: Arc<str> = path.display().to_string().into();
        let opening = || failed(&place, component, "open the database for reading");
        let path = &std::path::absolute(path).map_err(|error| opening()(error.into()))?;
        if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0) {
            return Err(schema.missing(&place, &Contents::Empty));
        }
        let opened = Reading::open(path).await.map_err(no_database(schema));
        let (reading, readers) = opened.map_err(permission_denied(path)).map_err(opening())?;
        let database = Database {
            place: Arc::clone(&place),
            readers,
            writer: Mutex::new(None),
            reading: Some(reading),
            _writing: None,
        };
        let looked = async { contents::contents(&mut *database.reader().await?, schema).await };
        let contents = database.unchanged(looked.await).map_err(no_database(schema));
        let contents = contents.map_err(permission_denied(path)).map_err(opening())?;
        match contents {
            Contents::Complete { version } => schema.refuse_newer(&place, version)?,
            contents => return Err(schema.missing(&place, &contents)),
        }
        Ok(database)
    }

    /// Returns a connection for reading. Its results count only after [`Database::unchanged`] has checked them.
    ///
    /// # Errors
    /// No connection is free in time.
    pub async fn reader(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.readers.acquire().await
    }

    /// Returns the result of a read if the file is unchanged since it was opened. Only a file that is read without
    /// locks can change; rows that were read meanwhile may be missing or damaged.
    ///
    /// # Errors
    /// The read failed, or the file has changed since it was opened.
    pub fn unchanged<T>(&self, read: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        self.reading.as_ref().map_or(Ok(()), Reading::check_unchanged)?;
        read
    }

    /// Returns a note for users if the read includes files beside the database.
    pub fn note(&self) -> Option<String> {
        self.reading.as_ref()?.note(&self.place)
    }

    /// Returns the connection that writes.
    ///
    /// # Errors
    /// The file is open for reading only, or closed.
    pub async fn writer(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, sqlx::Error> {
        if self.reading.is_some() {
            return Err(sqlx::Error::Configuration("it is open read-only".into()));
        }
        let mut writer = self.writer.lock().await;
        if let Some(writer) = writer.as_mut() {
            writer.mend().await?;
        }
        MutexGuard::try_map(writer, |writer| writer.as_mut().map(|writer| &mut writer.connection))
            .map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Closes the file once readers and writers have ended. The last process to close it copies the write-ahead log
    /// into it and removes the log.
    pub async fn close(&self) {
        // A reader that is still active after this time keeps the log in place.
        let _ = tokio::time::timeout(READERS_TIMEOUT, self.readers.close()).await;
        if let Some(writer) = self.writer.lock().await.take() {
            // SQLite copies the rest when the file is next opened.
            let _ = writer.connection.close().await;
        }
        if let Some(reading) = &self.reading {
            reading.close().await;
        }
    }
}

/// Inspects a file before it is opened for writing, and leaves it unchanged.
async fn look_before_writing(path: &Path, schema: &Schema) -> Result<Contents, sqlx::Error> {
    let is_there = || std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
    for _ in 1..MAX_LOOKS {
        if !is_there() {
            return Ok(Contents::Empty);
        }
        let contents = look(path, schema).await;
        if matches!(contents, Ok(Contents::Empty | Contents::Complete { .. })) {
            return contents;
        }
        // Another process may be creating it, and may have written only part of it.
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    look(path, schema).await
}

async fn look(path: &Path, schema: &Schema) -> Result<Contents, sqlx::Error> {
    let is_logged = beside(&path.canonicalize()?, "-wal").exists();
    // With a log, open it as every other writer does; without one, in a mode that creates none.
    let parameters = if is_logged { "mode=ro" } else { "immutable=1" };
    let mut connection = reader_of(path, parameters).connect().await?;
    let contents = contents::contents(&mut connection, schema).await;
    connection.close().await?;
    contents
}

/// Adds the reason to SQLITE_NOTADB, which only reports that the file is not a database.
fn no_database(schema: &'static Schema) -> impl Fn(sqlx::Error) -> sqlx::Error {
    move |error| match error.as_database_error().and_then(|error| error.code()) {
        Some(code) if code == "26" => {
            let problem = format!("it is not a SQLite database, so it contains no {}", schema.name);
            sqlx::Error::Configuration(problem.into())
        }
        _ => error,
    }
}

/// SQLite reports that it cannot open or write a file, but not why: adds the reason if it is a missing permission.
fn permission_denied(path: &Path) -> impl Fn(sqlx::Error) -> sqlx::Error {
    move |error| match cannot_open(&error).then(|| what_is_denied(path)).flatten() {
        Some(problem) => sqlx::Error::Configuration(problem.into()),
        None => error,
    }
}

/// Returns the missing permission of this user on a database file or the files beside it.
fn what_is_denied(path: &Path) -> Option<String> {
    let is_denied = |opened: std::io::Result<std::fs::File>| {
        opened.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    let files = ["", "-wal", "-shm", "-journal"].map(|suffix| beside(path, suffix));
    let denied = |what: &str, file: &Path| {
        format!(
            "permission denied: this user may not {what} {}; run it as the owner of the file, or change the \
             permissions of the file",
            file.display()
        )
    };
    let may_not = |what, options: &std::fs::OpenOptions| {
        files.iter().find(|file| is_denied(options.open(file))).map(|file| denied(what, file))
    };
    may_not("read", std::fs::OpenOptions::new().read(true))
        .or_else(|| may_not("write", std::fs::OpenOptions::new().append(true)))
}

/// Refuses a connection that cannot write. SQLite falls back to reading if it cannot open a file for writing, even for
/// a moment only, and reports it at the first write.
async fn refuse_read_only(writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let nothing = "UPDATE _sqlx_migrations SET success = success WHERE false";
    sqlx::query(nothing).execute(writer).await.map(|_| ())
}

/// Creates a missing file for its owner alone: SQLite would apply the umask, and gives its other files the mode of this
/// one. If this fails, opening the database reports why.
fn create_private(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(path);
}

async fn migrate(connection: &mut SqliteConnection, migrations: &[Migration]) -> Result<(), MigrateError> {
    let migrations = migrations.iter().map(|(version, name, sql)| {
        sqlx::migrate::Migration::new(
            *version,
            (*name).into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    // Two processes may open a new file at once. Each migration is one transaction, so the late one fails, and finds
    // the tables complete when it retries.
    let again = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_millis(500))
        .with_max_times(8)
        .with_jitter();
    let connection = Mutex::new(connection);
    // Not `run`: the future of its `Acquire` cannot be spawned.
    let run = || async { migrator.run_direct(None, &mut **connection.lock().await, false).await };
    run.retry(again)
        .when(|error| matches!(error, MigrateError::Execute(_) | MigrateError::ExecuteMigration(..)))
        .await
}

/// Returns the database error in an error of a migration.
pub fn into_sqlx(error: MigrateError) -> sqlx::Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
        other => sqlx::Error::Decode(Box::new(other)),
    }
}

/// The arguments of a statement.
pub type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

/// Inserts rows, many per statement. `insert` ends before VALUES; `bind` binds one row of `columns` values.
///
/// # Errors
/// The database refuses the rows.
pub async fn insert<T>(
    connection: &mut SqliteConnection,
    insert: &'static str,
    columns: usize,
    rows: &[T],
    bind: impl for<'q> Fn(Query<'q>, &T) -> Query<'q>,
) -> Result<(), sqlx::Error> {
    insert_or(connection, insert, columns, rows, "", bind).await
}

/// Like [`insert`]; each statement ends with `conflict`, which says what becomes of rows whose key is taken.
///
/// # Errors
/// The database refuses the rows.
pub async fn insert_or<T>(
    connection: &mut SqliteConnection,
    insert: &str,
    columns: usize,
    rows: &[T],
    conflict: &str,
    bind: impl for<'q> Fn(Query<'q>, &T) -> Query<'q>,
) -> Result<(), sqlx::Error> {
    let mut rest = rows;
    for size in ROWS_PER_STATEMENT {
        if rest.len() < size {
            continue;
        }
        let row = format!("({})", vec!["?"; columns].join(","));
        let sql: Arc<str> = format!("{insert} VALUES {} {conflict}", vec![row; size].join(",")).into();
        while rest.len() >= size {
            let (now, later) = rest.split_at(size);
            let query = now.iter().fold(sqlx::query(AssertSqlSafe(Arc::clone(&sql))), &bind);
            query.execute(&mut *connection).await?;
            rest = later;
        }
    }
    Ok(())
}
