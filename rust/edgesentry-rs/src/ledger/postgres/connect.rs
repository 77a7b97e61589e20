//! The choice of a server: of a list, the one that accepts writes, or for reading one that responds.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use futures::stream::BoxStream;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, Postgres, Row, Transaction,
};
use tokio::sync::{Mutex, RwLock};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::warn;

use super::schema;
use super::url::{parse, unencrypted};
use crate::error::{Component, Error, StoreError};
use crate::ledger::PostgresSettings;
use crate::sql::failed;
use crate::sqlite::Schema;

/// How long an idle connection may take to respond before it counts as lost: behind a firewall that has dropped its
/// state, it never responds.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection that is kept for appends may be idle before it is checked. A connection that is lost sooner fails
/// an append, which is safe to repeat.
const CHECK_AFTER: Duration = Duration::from_secs(1);
/// How long a connection is kept for appends: the default of the pool.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Appends at once of groups of different devices: while the server writes and syncs one, the next is on its way.
const CONCURRENT_APPENDS: usize = 2;
/// How long one server of a list may take to respond before the next is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for a connection before searching for the server that accepts writes.
const SEARCH_AFTER: Duration = Duration::from_millis(500);
/// The shortest time between two searches for the server that accepts writes.
const SEARCH_INTERVAL: Duration = Duration::from_millis(200);

/// The purpose of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// Reading and writing, on the server that accepts writes.
    Write,
    /// Reading only, on a standby if no other server responds.
    Read,
}

/// The servers of a list, and connections to the current one.
#[derive(Debug)]
pub(super) struct Servers {
    place: Arc<str>,
    hosts: Vec<PgConnectOptions>,
    purpose: Use,
    pooled: bool,
    connections: u32,
    patience: Duration,
    pool: RwLock<PgPool>,
    /// Connections that wait for the next append outside of the pool, which pings each of them twice.
    kept: Lock<Vec<Kept>>,
    looked: Mutex<Instant>,
    notes: Vec<String>,
}

impl Servers {
    /// Connects to a database with the tables of a schema; for writing, an empty one gets them.
    pub(super) async fn connect(
        settings: &PostgresSettings,
        purpose: Use,
        tables: &'static Schema,
    ) -> Result<Servers, Error> {
        let (place, hosts) = parse(settings.url.reveal())?;
        let patience = Duration::from_secs(settings.timeout_seconds.max(1));
        let pooled = settings.transaction_pooling;
        let mut notes: Vec<String> = unencrypted(&place, &hosts).into_iter().collect();
        for note in &notes {
            warn!("{note}");
        }
        let Found { options, mut connection, is_standby } = find(&hosts, &place, purpose).await?;
        // A server may be lost at any moment, and then never responds. The duration of a migration is unknown.
        let late = |elapsed: Elapsed| {
            failed(&place, Component::AuditLedger, "get a response in time")(elapsed_error(elapsed))
        };
        let check = schema::check(&mut connection, &place, purpose == Use::Write, tables);
        let version = timeout(patience, check).await.map_err(late)??;
        match purpose {
            Use::Read if is_standby => {
                let (host, port) = (options.get_host(), options.get_port());
                notes.push(format!("{place}: read from the standby {host}:{port}, which may lag behind"));
            }
            Use::Read => {}
            Use::Write => {
                if version < tables.version() {
                    let migrating = failed(&place, Component::AuditLedger, "bring the tables up to date");
                    schema::migrate(&mut connection, pooled, tables).await.map_err(migrating)?;
                }
                timeout(patience, warn_of_lost_commits(&mut connection, &place)).await.map_err(late)?;
            }
        }
        // Best effort: an unclean close loses nothing.
        let _ = connection.close().await;
        let pool = RwLock::new(pool(options, settings.connections, patience, purpose, pooled));
        let connections = settings.connections;
        let (kept, looked) = (Lock::default(), Mutex::new(Instant::now()));
        Ok(Servers { place, hosts, purpose, pooled, connections, patience, pool, kept, looked, notes })
    }

    /// Returns notes for users.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Begins a transaction that writes, by this statement; its commit is durable.
    pub(super) async fn begin<'c>(
        &self,
        connection: &'c mut PgConnection,
        begin: &'static str,
    ) -> Result<Transaction<'c, Postgres>, sqlx::Error> {
        self.check_writable()?;
        let mut transaction = connection.begin_with(begin).await?;
        if self.pooled {
            transaction.execute(AssertSqlSafe(pooled_write(self.patience))).await?;
        }
        Ok(transaction)
    }

    /// Returns true if one statement outside of a transaction can write durably: behind a transaction pooler each
    /// transaction sets its own limits.
    pub(super) fn takes_statements(&self) -> Result<bool, sqlx::Error> {
        self.check_writable()?;
        Ok(!self.pooled)
    }

    fn check_writable(&self) -> Result<(), sqlx::Error> {
        match self.purpose {
            Use::Read => Err(sqlx::Error::Configuration("it is open read-only".into())),
            Use::Write => Ok(()),
        }
    }

    /// Returns a connection for reads: in a transaction that cannot write if it is open read-only.
    pub(super) async fn reader(&self) -> Result<Lease, sqlx::Error> {
        let mut lease = self.lease().await?;
        if self.purpose == Use::Write && !self.pooled {
            return Ok(lease);
        }
        lease.is_in_transaction = true;
        let begin = if self.pooled { POOLED_READ } else { BEGIN_READ };
        self.in_time(lease.execute(begin)).await??;
        Ok(lease)
    }

    /// Returns a connection for writes other than appends.
    pub(super) async fn writer(&self) -> Result<Lease, sqlx::Error> {
        self.lease().await
    }

    async fn lease(&self) -> Result<Lease, sqlx::Error> {
        let pool = self.pool().await;
        let connection = pool.acquire().await?;
        Ok(Lease::new(pool, connection, self.patience))
    }

    /// Waits for a response as long as a commit may take. A lost server, or one behind a firewall that has dropped the
    /// connection, never responds.
    pub(super) async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, sqlx::Error> {
        timeout(self.patience, answer).await.map_err(elapsed_error)
    }

    /// Reads all rows of a response, however many: only the wait for the next row has a timeout.
    pub(super) async fn rows(
        &self,
        mut answer: BoxStream<'_, Result<PgRow, sqlx::Error>>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut rows = Vec::new();
        while let Some(row) = self.in_time(answer.try_next()).await?? {
            rows.push(row);
        }
        Ok(rows)
    }

    /// Returns true if the server still works for a silent connection, such as when it sorts; asks through another
    /// connection. If its process waits for the client, a message was lost.
    pub(super) async fn works_for(&self, process: i32) -> bool {
        let asked = async {
            let mut reader = self.reader().await?;
            let works = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active'
                                AND wait_event_type IS DISTINCT FROM 'Client')",
            );
            let works: bool = works.bind(process).fetch_one(&mut *reader).await?;
            reader.end().await?;
            Ok::<_, sqlx::Error>(works)
        };
        matches!(self.in_time(asked).await, Ok(Ok(true)))
    }

    /// Returns the location, without secrets.
    pub(super) fn place(&self) -> &Arc<str> {
        &self.place
    }

    /// Returns the pool of connections to the last known server that accepts writes.
    pub(super) async fn pool(&self) -> PgPool {
        self.pool.read().await.clone()
    }

    /// Returns a connection for an append to the server that accepts writes. If it takes long and there are several servers,
    /// searches for that server meanwhile: the pool alone would retry a lost one until the timeout.
    pub(super) async fn acquire(&self) -> Result<Lease, sqlx::Error> {
        if let Some(lease) = self.take_kept().await {
            return Ok(lease);
        }
        let begin = Instant::now();
        loop {
            if self.hosts.len() < 2 {
                return self.lease().await;
            }
            match timeout(SEARCH_AFTER, self.lease()).await {
                Ok(acquired) => return acquired,
                Err(_) if begin.elapsed() >= self.patience => return Err(sqlx::Error::PoolTimedOut),
                Err(_) => self.look_again().await,
            }
        }
    }

    /// Returns how many appends of one service are in progress at once; a connection of the pool is left for readers.
    pub(super) fn concurrent_appends(&self) -> usize {
        CONCURRENT_APPENDS.min(pool_size(self.connections) as usize - 1)
    }

    /// Takes back the connection of an append, all of whose requests got a response, for the next append.
    pub(super) fn keep(&self, mut lease: Lease) {
        lease.has_answered = true;
        let mut kept = self.kept();
        if kept.len() < self.concurrent_appends()
            && !lease.pool.is_closed()
            && lease.since.elapsed() < MAX_LIFETIME
        {
            kept.push(Kept { lease, idle_since: Instant::now() });
        }
    }

    async fn take_kept(&self) -> Option<Lease> {
        loop {
            let Kept { mut lease, idle_since } = self.kept().pop()?;
            lease.has_answered = false;
            if lease.pool.is_closed() {
                continue;
            }
            if idle_since.elapsed() < CHECK_AFTER || answers(&mut lease).await.is_ok() {
                return Some(lease);
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Searches, after an error, for the server that accepts writes now, if there are several.
    pub(super) async fn look_again(&self) {
        if self.hosts.len() < 2 {
            return;
        }
        let mut looked = self.looked.lock().await;
        if looked.elapsed() < SEARCH_INTERVAL {
            return;
        }
        if let Ok(Found { options, connection, .. }) = find(&self.hosts, &self.place, self.purpose).await {
            let _ = connection.close().await;
            let mut current = self.pool.write().await;
            let now = (options.get_host().to_owned(), options.get_port());
            let then = current.connect_options();
            if (then.get_host(), then.get_port()) != (now.0.as_str(), now.1) {
                warn!(host = now.0, port = now.1, "another server accepts the ledger's writes now");
                let new = pool(options, self.connections, self.patience, self.purpose, self.pooled);
                let old = std::mem::replace(&mut *current, new);
                self.kept().clear();
                tokio::spawn(async move { old.close().await });
            }
        }
        *looked = Instant::now();
    }
}

impl Drop for Servers {
    /// The pool takes a connection back in a task, and the last user of a ledger may be outside of a runtime.
    fn drop(&mut self) {
        for Kept { lease, .. } in self.kept().drain(..) {
            lease.detach();
        }
    }
}

/// Returns the size of a pool: two, so that readers do not wait for an append.
fn pool_size(connections: u32) -> u32 {
    connections.max(2)
}

fn pool(
    options: PgConnectOptions,
    connections: u32,
    patience: Duration,
    purpose: Use,
    pooled: bool,
) -> PgPool {
    let pool = PgPoolOptions::new()
        .max_connections(pool_size(connections))
        .acquire_timeout(patience.min(Duration::from_secs(10)))
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(answers(connection)));
    if pooled {
        return pool.connect_lazy_with(options.statement_cache_capacity(0));
    }
    match purpose {
        Use::Read => pool.connect_lazy_with(options),
        Use::Write => pool
            .after_connect(move |connection, _| Box::pin(prepare(connection, patience)))
            .connect_lazy_with(options),
    }
}

fn elapsed_error(elapsed: Elapsed) -> sqlx::Error {
    sqlx::Error::Io(elapsed.into())
}

/// Checks a connection: an error if it does not respond in time, so that the pool drops it.
async fn answers(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    timeout(PING_TIMEOUT, connection.ping()).await.map_err(elapsed_error)??;
    Ok(true)
}

/// Prepares a connection for writing.
///
/// - A commit that is acknowledged must be on the disk, even if the server's default differs.
/// - The locks of a transaction end soon after its client is lost without a close, as in a power failure. Until then
///   other nodes cannot ingest records of the same devices; the server itself would notice after hours.
/// - A wait for a lock ends when the client stops waiting, or such waits would take all connections of the server.
async fn prepare(connection: &mut PgConnection, patience: Duration) -> Result<(), sqlx::Error> {
    sqlx::query(
        "SELECT set_config('lock_timeout', $1, false), set_config('idle_in_transaction_session_timeout', $1, false),
                set_config('tcp_keepalives_idle', '60', false), set_config('tcp_keepalives_interval', '10', false),
                set_config('tcp_keepalives_count', '6', false)",
    )
    .bind(milliseconds(patience))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Formats a duration as a setting of PostgreSQL.
fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Begins a transaction that cannot write.
const BEGIN_READ: &str = "BEGIN TRANSACTION READ ONLY";
/// The same behind a transaction pooler: statements that another client left prepared on this connection of the server
/// have the names of ours.
const POOLED_READ: &str = "BEGIN TRANSACTION READ ONLY; DEALLOCATE ALL";
/// Drops such statements, and does the work of [`prepare`], for this transaction.
fn pooled_write(patience: Duration) -> String {
    let limit = milliseconds(patience);
    format!(
        "DEALLOCATE ALL; SET LOCAL lock_timeout = '{limit}'; SET LOCAL idle_in_transaction_session_timeout = '{limit}';
         SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
    )
}

/// A connection of the pool. It returns to the pool if all its requests got a response, and is closed otherwise: the
/// pool pings returned connections without a timeout.
#[derive(Debug)]
pub(super) struct Lease {
    pool: PgPool,
    /// `None` once it is detached.
    connection: Option<PoolConnection<Postgres>>,
    since: Instant,
    /// True in a transaction that was begun for this lease.
    is_in_transaction: bool,
    has_answered: bool,
    patience: Duration,
}

/// A connection that waits for the next append.
#[derive(Debug)]
struct Kept {
    lease: Lease,
    idle_since: Instant,
}

impl Lease {
    fn new(pool: PgPool, connection: PoolConnection<Postgres>, patience: Duration) -> Lease {
        let (connection, since) = (Some(connection), Instant::now());
        Lease { pool, connection, since, is_in_transaction: false, has_answered: false, patience }
    }

    /// Ends the transaction of a reader, and returns the connection.
    pub(super) async fn end(mut self) -> Result<(), sqlx::Error> {
        if self.is_in_transaction {
            timeout(self.patience, self.execute("COMMIT")).await.map_err(elapsed_error)??;
        }
        self.has_answered = true;
        Ok(())
    }

    /// Closes the connection at once.
    fn detach(mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection
            && !self.has_answered
        {
            connection.close_on_drop();
        }
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("a lease is dropped when its connection is detached"),
        }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("a lease is dropped when its connection is detached"),
        }
    }
}

async fn warn_of_lost_commits(connection: &mut PgConnection, place: &str) {
    // A simple query, which a pooler forwards as a whole.
    let settings = connection
        .fetch_one("SELECT current_setting('fsync'), current_setting('full_page_writes')")
        .await
        .and_then(|row| Ok((row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?)));
    if let Ok((fsync, pages)) = settings
        && (fsync, pages) != ("on".to_owned(), "on".to_owned())
    {
        warn!(
            place,
            "fsync or full_page_writes is off: this PostgreSQL loses acknowledged records in a crash"
        );
    }
}

/// A server of the list, with a connection to it.
pub(super) struct Found {
    pub(super) options: PgConnectOptions,
    pub(super) connection: PgConnection,
    pub(super) is_standby: bool,
}

/// Finds the first server of the list that is not a standby; for reading, a standby is sufficient.
async fn find(hosts: &[PgConnectOptions], place: &Arc<str>, purpose: Use) -> Result<Found, StoreError> {
    let mut last = sqlx::Error::PoolTimedOut;
    let mut standby = None;
    for options in hosts {
        match timeout(CONNECT_TIMEOUT, connect(options)).await {
            Ok(Ok(found)) if !found.is_standby => return Ok(found),
            Ok(Ok(found)) if purpose == Use::Read => {
                standby.get_or_insert(found);
            }
            Ok(Ok(_)) => {
                let standby = format!("{}:{} is a standby", options.get_host(), options.get_port());
                last = sqlx::Error::Io(std::io::Error::other(standby));
            }
            Ok(Err(error)) => last = error,
            Err(elapsed) => last = elapsed_error(elapsed),
        }
    }
    let action = match purpose {
        Use::Write => "connect to a server that accepts writes",
        Use::Read => "connect to a server",
    };
    standby.ok_or_else(|| failed(place, Component::AuditLedger, action)(last))
}

async fn connect(options: &PgConnectOptions) -> Result<Found, sqlx::Error> {
    let mut connection = options.connect().await?;
    // One transaction, so that a pooler sends both parts of the statement to one server.
    let mut transaction = connection.begin_with("BEGIN TRANSACTION READ ONLY").await?;
    let is_standby = sqlx::query_scalar("SELECT pg_is_in_recovery()")
        .persistent(false)
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Found { options: options.clone(), connection, is_standby })
}
