//! The tables in PostgreSQL: inspection and migration.

use futures::future::BoxFuture;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqlSafeStr};

use crate::error::{Component, Error};
use crate::ledger::TABLES;
use crate::sql::failed;
use crate::sqlite::{Contents, MAX_NAMES, MIGRATIONS_TABLE, Schema, into_sqlx};

pub(super) static SCHEMA: Schema = Schema {
    name: "ledger",
    tables: &TABLES,
    later_tables: &[
        "pruned_rejections",
        "log_state",
        "log_batches",
        "log_runs",
        "log_events",
        "log_heads",
        "log_keys",
        "checkpoints",
        "erasures",
        "cosignatures",
        "timestamps",
        "revocations",
    ],
    migrations: &[
        (1, "ledger", include_str!("../../../migrations/postgres/0001_ledger.sql")),
        (2, "rejections", include_str!("../../../migrations/postgres/0002_rejections.sql")),
        (3, "one index less", include_str!("../../../migrations/postgres/0003_one_index_less.sql")),
        (4, "log", include_str!("../../../migrations/postgres/0004_log.sql")),
        (5, "erasures", include_str!("../../../migrations/postgres/0005_erasures.sql")),
        (6, "cosignatures", include_str!("../../../migrations/postgres/0006_cosignatures.sql")),
        (7, "timestamps", include_str!("../../../migrations/postgres/0007_timestamps.sql")),
        (8, "revocations", include_str!("../../../migrations/postgres/0008_revocations.sql")),
    ],
};

/// The lock that makes two starting services create the tables one after the other.
const MIGRATION_LOCK: i64 = 0x6564_7365_6e74_7279;

/// Inspects the tables, in a transaction that only reads. It needs only SELECT, on a standby too.
// Boxed, like all futures that use a transaction: the compiler cannot prove the plain ones to be Send.
pub(super) fn contents<'c>(
    connection: &'c mut PgConnection,
    schema: &'static Schema,
) -> BoxFuture<'c, Result<Contents, sqlx::Error>> {
    Box::pin(async move {
        let mut transaction = connection.begin_with("BEGIN TRANSACTION READ ONLY").await?;
        let contents = look(&mut transaction, schema).await?;
        transaction.commit().await?;
        Ok(contents)
    })
}

/// Views count as foreign: they can show each reader different rows. Only migrations that this role may see are known.
async fn look(connection: &mut PgConnection, schema: &Schema) -> Result<Contents, sqlx::Error> {
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM unnest($1::text[]) AS t (name)
                 JOIN pg_class c ON c.oid = to_regclass(t.name) WHERE c.relkind IN ('r', 'p')),
                coalesce(has_table_privilege(to_regclass($2), 'SELECT'), false)",
    )
    .bind(schema.tables)
    .bind(MIGRATIONS_TABLE)
    .persistent(false)
    .fetch_one(&mut *connection)
    .await?;
    let (ours, recorded): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
    if usize::try_from(ours) == Ok(schema.tables.len()) {
        let version = if recorded {
            let newest = format!("SELECT coalesce(max(version), 0) FROM {MIGRATIONS_TABLE}");
            sqlx::query_scalar(AssertSqlSafe(newest)).persistent(false).fetch_one(connection).await?
        } else {
            0
        };
        return Ok(Contents::Complete { version });
    }
    // In a schema of its own a ledger may share the database with other tables; the public schema must be its alone.
    let others: Vec<String> = sqlx::query_scalar(
        "SELECT left(n.nspname || '.' || c.relname, 128) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v') AND c.relname <> $1
         AND (n.nspname = current_schema() OR coalesce(current_schema(), 'public') = 'public')
         AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname, 'pg_')
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                         AND d.deptype = 'e')
         ORDER BY 1 LIMIT $2",
    )
    .bind(MIGRATIONS_TABLE)
    .bind(i64::try_from(MAX_NAMES).unwrap_or(i64::MAX))
    .persistent(false)
    .fetch_all(connection)
    .await?;
    Ok(if others.is_empty() { Contents::Empty } else { Contents::Foreign(others) })
}

/// Refuses a database without the tables of a schema; for writing, an empty one is accepted.
pub(super) async fn check(
    connection: &mut PgConnection,
    place: &str,
    write: bool,
    schema: &'static Schema,
) -> Result<i64, Error> {
    let looking = failed(&place.into(), Component::AuditLedger, "look for the tables");
    match contents(connection, schema).await.map_err(looking)? {
        Contents::Empty if write => Ok(0),
        Contents::Complete { version } => schema.refuse_newer(place, version).map(|()| version),
        contents => Err(schema.missing(place, &contents)),
    }
}

/// Migrates the tables, in one transaction and under a lock that ends with it, so that it works through a transaction
/// pooler, too.
pub(super) fn migrate<'c>(
    connection: &'c mut PgConnection,
    pooled: bool,
    schema: &'static Schema,
) -> BoxFuture<'c, Result<(), sqlx::Error>> {
    let migrations = schema.migrations.iter().map(|(version, name, sql)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_locking(false);
    Box::pin(async move {
        let mut transaction = connection.begin().await?;
        let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
        transaction.execute(AssertSqlSafe(lock)).await?;
        // The migrator names its statements, and the server's connection behind a pooler keeps them.
        if pooled {
            transaction.execute("DEALLOCATE ALL").await?;
        }
        migrator.run_direct(None, &mut *transaction, false).await.map_err(into_sqlx)?;
        if pooled {
            transaction.execute("DEALLOCATE ALL").await?;
        }
        transaction.commit().await
    })
}
