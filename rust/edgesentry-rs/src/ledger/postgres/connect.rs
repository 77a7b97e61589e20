//! Which server to talk to: of a list, the one that takes writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use serde::Deserialize;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, SqlSafeStr};
use tokio::sync::{Mutex, RwLock};
use tracing::warn;
use url::Url;

use crate::error::{Component, Error, StoreError, describe};
use crate::secret::Secret;
use crate::sql::failed;
use crate::sqlite::into_sqlx;

const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "ledger", include_str!("../../../migrations/postgres/0001_ledger.sql"))];

/// How long one server of a list may take to answer before the next is tried.
const TRY: Duration = Duration::from_secs(5);
/// How long a connection may take before the server that takes writes is looked for again.
const LOOK: Duration = Duration::from_millis(500);
/// The shortest time between two searches for the server that takes writes.
const PAUSE: Duration = Duration::from_millis(200);

/// How to reach PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port,host:port/database?sslmode=verify-full&sslrootcert=FILE`. Of several
    /// hosts the one that takes writes is used.
    #[serde(skip)]
    pub url: Secret,
    /// The most connections of this process.
    pub connections: u32,
    /// Seconds to wait for a free connection, and for a commit.
    pub timeout_seconds: u64,
}

impl Default for PostgresSettings {
    fn default() -> PostgresSettings {
        PostgresSettings { url: String::new().into(), connections: 8, timeout_seconds: 30 }
    }
}

/// The servers of a list, and connections to the one that takes writes.
#[derive(Debug)]
pub(super) struct Servers {
    place: Arc<str>,
    hosts: Vec<PgConnectOptions>,
    connections: u32,
    patience: Duration,
    pool: RwLock<PgPool>,
    looked: Mutex<Instant>,
}

impl Servers {
    pub(super) async fn connect(settings: &PostgresSettings) -> Result<Servers, Error> {
        let (place, hosts) = parse(settings.url.reveal())?;
        let patience = Duration::from_secs(settings.timeout_seconds.max(1));
        let (options, mut connection) = writable(&hosts, &place).await?;
        migrate(&mut connection).await.map_err(failed(
            &place,
            Component::AuditLedger,
            "bring the tables up to date",
        ))?;
        warn_of_lost_commits(&mut connection, &place).await;
        // Nothing is lost with a connection that does not say goodbye.
        let _ = connection.close().await;
        let pool = RwLock::new(pool(options, settings.connections, patience));
        let connections = settings.connections;
        Ok(Servers { place, hosts, connections, patience, pool, looked: Mutex::new(Instant::now()) })
    }

    /// Where, without secrets.
    pub(super) fn place(&self) -> &Arc<str> {
        &self.place
    }

    /// How long a commit may take.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Connections to the server that took writes when it was last looked for.
    pub(super) async fn pool(&self) -> PgPool {
        self.pool.read().await.clone()
    }

    /// A connection to the server that takes writes. Where it takes long and there is a choice, that server is looked for
    /// meanwhile: the pool alone would try one that is gone until its patience is over.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<sqlx::Postgres>, sqlx::Error> {
        let begin = Instant::now();
        loop {
            let pool = self.pool().await;
            if self.hosts.len() < 2 {
                return pool.acquire().await;
            }
            match tokio::time::timeout(LOOK, pool.acquire()).await {
                Ok(acquired) => return acquired,
                Err(_) if begin.elapsed() >= self.patience => return Err(sqlx::Error::PoolTimedOut),
                Err(_) => self.look_again().await,
            }
        }
    }

    /// After an error: looks for the server that takes writes now, where there is a choice.
    pub(super) async fn look_again(&self) {
        if self.hosts.len() < 2 {
            return;
        }
        let mut looked = self.looked.lock().await;
        if looked.elapsed() < PAUSE {
            return;
        }
        if let Ok((options, connection)) = writable(&self.hosts, &self.place).await {
            let _ = connection.close().await;
            let mut current = self.pool.write().await;
            let now = (options.get_host().to_owned(), options.get_port());
            let then = current.connect_options();
            if (then.get_host(), then.get_port()) != (now.0.as_str(), now.1) {
                warn!(host = now.0, port = now.1, "another server takes the ledger's writes now");
                let old = std::mem::replace(&mut *current, pool(options, self.connections, self.patience));
                tokio::spawn(async move { old.close().await });
            }
        }
        *looked = Instant::now();
    }
}

fn pool(options: PgConnectOptions, connections: u32, patience: Duration) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections.max(2))
        .acquire_timeout(patience.min(Duration::from_secs(10)))
        .after_connect(|connection, _| Box::pin(prepare(connection)))
        .connect_lazy_with(options)
}

/// A commit that is acknowledged must be on the disk: where the server's default says otherwise, ours does not.
async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn warn_of_lost_commits(connection: &mut PgConnection, place: &str) {
    let settings: Result<(String, String), _> =
        sqlx::query_as("SELECT current_setting('fsync'), current_setting('full_page_writes')")
            .fetch_one(connection)
            .await;
    if let Ok((fsync, pages)) = settings
        && (fsync, pages) != ("on".to_owned(), "on".to_owned())
    {
        warn!(
            place,
            "fsync or full_page_writes is off: this PostgreSQL loses acknowledged records in a crash"
        );
    }
}

/// The first server of the list that is not a standby.
pub(super) async fn writable(
    hosts: &[PgConnectOptions],
    place: &Arc<str>,
) -> Result<(PgConnectOptions, PgConnection), StoreError> {
    let mut last = sqlx::Error::PoolTimedOut;
    for options in hosts {
        let connect = async {
            let mut connection = options.connect().await?;
            let standby: bool =
                sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut connection).await?;
            Ok::<_, sqlx::Error>((connection, standby))
        };
        match tokio::time::timeout(TRY, connect).await {
            Ok(Ok((connection, false))) => return Ok((options.clone(), connection)),
            Ok(Ok((_, true))) => {
                let standby = format!("{}:{} is a standby", options.get_host(), options.get_port());
                last = sqlx::Error::Io(std::io::Error::other(standby));
            }
            Ok(Err(error)) => last = error,
            Err(elapsed) => last = sqlx::Error::Io(elapsed.into()),
        }
    }
    Err(failed(place, Component::AuditLedger, "connect to a server that takes writes")(last))
}

// Boxed: the compiler cannot prove the plain future to be Send.
fn migrate(connection: &mut PgConnection) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    let migrations = MIGRATIONS.iter().map(|(version, name, sql)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    // Under an advisory lock, so that several services may start at once.
    let migrator = Migrator::with_migrations(migrations.collect());
    Box::pin(async move { migrator.run_direct(None, connection, false).await.map_err(into_sqlx) })
}

/// Splits a URL with several hosts into one set of options each, and a name without secrets.
pub(super) fn parse(url: &str) -> Result<(Arc<str>, Vec<PgConnectOptions>), Error> {
    let wrong = |problem: &str| Error::Config(format!("the ledger URL: {problem}"));
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it is not postgres://HOST/DATABASE"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
    let database = tail.split('?').next().unwrap_or_default().trim_start_matches('/');
    let mut options = Vec::new();
    for host in hosts.split(',') {
        let at = if user.is_empty() { String::new() } else { format!("{user}@") };
        let one = format!("{scheme}://{at}{host}{tail}");
        let parsed = Url::parse(&one).map_err(|error| wrong(&error.to_string()))?;
        // Never part of the error: it may quote the password.
        let parsed = PgConnectOptions::from_url(&parsed).map_err(|error| wrong(&describe(&error)))?;
        options.push(parsed.application_name("edgesentry").disable_statement_logging());
    }
    Ok((format!("postgres://{hosts}/{database}").into(), options))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_hosts_becomes_one_set_of_options_each() {
        let (place, hosts) = parse("postgres://me:p%40ss@one:5433,two/audit?sslmode=require").unwrap();
        assert_eq!(&*place, "postgres://one:5433,two/audit");
        let hosts: Vec<_> =
            hosts.iter().map(|host| (host.get_host(), host.get_port(), host.get_database())).collect();
        assert_eq!(hosts, [("one", 5433, Some("audit")), ("two", 5432, Some("audit"))]);
        assert!(!parse("postgres://me:secret@host:port/x").unwrap_err().to_string().contains("secret"));
        assert!(parse("audit").is_err());
    }
}
