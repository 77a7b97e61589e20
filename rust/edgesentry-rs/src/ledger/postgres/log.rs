//! The tables of the transparency log in PostgreSQL. The leader holds an advisory lock on a separate connection, so
//! that the server frees the lock when the leader exits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgesentry_chain::AuditRecord;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Column, Connection, Executor, PgConnection, Postgres as Database, Row, TypeInfo};
use tokio::time::timeout;

use super::{Postgres, copy};
use crate::error::StoreError;
use crate::ledger::log::{Failure, Guard, Kind, LogDatabase, Span, Statements, Value, Work};

/// The seed of the hash of the schema's name that is the key of the advisory lock.
const LEADER_LOCK: i64 = 0x6564_735f_6c6f_6731;
/// The idle limit of the leader's connection. It frees the lock of a leader that exited without closing its connection.
/// The leader pings more often.
const LEADER_IDLE: &str = "120s";
/// The time limit of a statement. Some statements read the heads of all devices.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);
/// Rows of one INSERT.
const ROWS_PER_STATEMENT: usize = 10_000;

#[async_trait]
impl LogDatabase for Postgres {
    fn where_it_is(&self) -> &Arc<str> {
        self.servers.place()
    }

    async fn reading<T: Send + 'static>(&self, work: Work<T>) -> Result<T, Failure> {
        let mut reader = self.servers.reader().await?;
        let read = work(&mut *reader).await?;
        reader.end().await?;
        Ok(read)
    }

    async fn writing<T: Send + 'static>(&self, work: Work<T>) -> Result<T, Failure> {
        let mut connection = self.servers.writer().await?;
        // REPEATABLE READ, so that all statements see the same heads.
        let begun = self.servers.begin(&mut connection, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        let mut transaction = self.servers.in_time(begun).await??;
        let done = work(&mut *transaction).await?;
        self.servers.in_time(transaction.commit()).await??;
        connection.end().await?;
        Ok(done)
    }

    async fn guard(&self) -> Result<Option<Option<Box<dyn Guard>>>, StoreError> {
        let lock = async {
            let mut connection = self.servers.pool().await.acquire().await?.detach();
            // In a transaction, so that it also works through a transaction pooler. Each schema has its own ledger.
            let begin = format!("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{LEADER_IDLE}'");
            Executor::execute(&mut connection, AssertSqlSafe(begin)).await?;
            let lock = format!(
                "SELECT pg_try_advisory_xact_lock(hashtextextended(coalesce(current_schema(), ''), {LEADER_LOCK}))"
            );
            let row = connection.fetch_one(AssertSqlSafe(lock)).await?;
            if row.try_get::<bool, _>(0)? {
                return Ok(Some(connection));
            }
            connection.close().await?;
            Ok(None)
        };
        let locked = self.servers.in_time(lock).await.and_then(|locked| locked);
        let locked = locked.map_err(self.failed("take the lock of the log"))?;
        Ok(locked.map(|connection| {
            let guard: Box<dyn Guard> = Box::new(Locked { postgres: self.clone(), connection });
            Some(guard)
        }))
    }
}

/// A connection that holds the advisory lock.
struct Locked {
    postgres: Postgres,
    connection: PgConnection,
}

#[async_trait]
impl Guard for Locked {
    async fn holds(&mut self) -> Result<(), StoreError> {
        let asked = self.postgres.servers.in_time(Executor::execute(&mut self.connection, "SELECT 1")).await;
        let asked = asked.and_then(|asked| asked.map(|_| ()));
        asked.map_err(self.postgres.failed("keep the lock of the log"))
    }
}

#[async_trait]
impl Statements for PgConnection {
    fn for_update(&self) -> &'static str {
        " FOR UPDATE"
    }

    async fn has_table(&mut self, name: &'static str) -> Result<bool, sqlx::Error> {
        in_time(sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(name).fetch_one(self)).await
    }

    async fn select(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Vec<Value>>, sqlx::Error> {
        let query = bind(sqlx::query(AssertSqlSafe(statement.to_owned())), values);
        in_time(query.fetch_all(self)).await?.iter().map(decode).collect()
    }

    async fn execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, sqlx::Error> {
        let query = bind(sqlx::query(AssertSqlSafe(statement.to_owned())), values);
        Ok(in_time(query.execute(self)).await?.rows_affected())
    }

    async fn insert(
        &mut self,
        table: &str,
        columns: &[(&str, Kind)],
        rows: Vec<Vec<Value>>,
        conflict: &str,
    ) -> Result<(), sqlx::Error> {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let arrays = columns.iter().zip(1..).map(|((_, kind), place)| {
            let of = match kind {
                Kind::Integer => "bigint",
                Kind::Text => "text",
                Kind::Bytes => "bytea",
            };
            format!("${place}::{of}[]")
        });
        let statement = format!(
            "INSERT INTO {table} ({}) SELECT * FROM unnest({}) {conflict}",
            names.join(", "),
            arrays.collect::<Vec<_>>().join(", ")
        );
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            let query = sqlx::query(AssertSqlSafe(statement.clone()));
            let query = columns.iter().enumerate().fold(query, |query, (at, (_, kind))| {
                let values = rows.iter().map(|row| row.get(at));
                match kind {
                    Kind::Integer => query.bind(values.map(integer).collect::<Vec<Option<i64>>>()),
                    Kind::Text => query.bind(values.map(text).collect::<Vec<Option<String>>>()),
                    Kind::Bytes => query.bind(values.map(bytes).collect::<Vec<Option<Vec<u8>>>>()),
                }
            });
            in_time(query.execute(&mut *self)).await?;
        }
        Ok(())
    }

    async fn records(&mut self, spans: &[Span]) -> Result<Vec<AuditRecord>, sqlx::Error> {
        in_time(copy::spans(self, spans)).await
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(STATEMENT_TIMEOUT, answer).await.map_err(|elapsed| sqlx::Error::Io(elapsed.into()))?
}

fn bind<'q>(query: Query<'q, Database, PgArguments>, values: &[Value]) -> Query<'q, Database, PgArguments> {
    values.iter().fold(query, |query, value| match value {
        Value::Integer(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.clone()),
        Value::Bytes(bytes) => query.bind(bytes.clone()),
        Value::Null => query.bind(None::<i64>),
    })
}

fn integer(value: Option<&Value>) -> Option<i64> {
    if let Some(Value::Integer(number)) = value { Some(*number) } else { None }
}

fn text(value: Option<&Value>) -> Option<String> {
    if let Some(Value::Text(text)) = value { Some(text.clone()) } else { None }
}

fn bytes(value: Option<&Value>) -> Option<Vec<u8>> {
    if let Some(Value::Bytes(bytes)) = value { Some(bytes.clone()) } else { None }
}

fn decode(row: &PgRow) -> Result<Vec<Value>, sqlx::Error> {
    let value = |(index, column): (usize, &sqlx::postgres::PgColumn)| {
        let value = match column.type_info().name() {
            "INT8" => row.try_get::<Option<i64>, _>(index)?.map(Value::Integer),
            "TEXT" => row.try_get::<Option<String>, _>(index)?.map(Value::Text),
            "BYTEA" => row.try_get::<Option<Vec<u8>>, _>(index)?.map(Value::Bytes),
            // No column of the log has another type.
            _ => None,
        };
        Ok(value.unwrap_or(Value::Null))
    };
    row.columns().iter().enumerate().map(value).collect()
}
