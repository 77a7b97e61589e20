//! The tables of the transparency log in SQLite. The transaction of a writer holds the file's only write lock, and the
//! term in the state distinguishes leaders.

use std::sync::Arc;

use async_trait::async_trait;
use edgesentry_chain::AuditRecord;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection, TypeInfo, ValueRef};

use super::{Sqlite, columns};
use crate::error::StoreError;
use crate::ledger::log::{Failure, Guard, Kind, LogDatabase, Span, Statements, Value, Work};
use crate::ledger::rows;
use crate::sqlite::{Query, insert_or};

#[async_trait]
impl LogDatabase for Sqlite {
    fn where_it_is(&self) -> &Arc<str> {
        &self.database.place
    }

    async fn reading<T: Send + 'static>(&self, work: Work<T>) -> Result<T, Failure> {
        let mut reader = self.database.reader().await?;
        let read = work(&mut *reader).await;
        self.database.unchanged(Ok(()))?;
        read
    }

    async fn writing<T: Send + 'static>(&self, work: Work<T>) -> Result<T, Failure> {
        let mut writer = self.database.writer().await?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let done = work(&mut *transaction).await;
        match done {
            Ok(done) => transaction.commit().await.map(|()| done).map_err(Failure::from),
            Err(failure) => {
                transaction.rollback().await?;
                Err(failure)
            }
        }
    }

    async fn guard(&self) -> Result<Option<Option<Box<dyn Guard>>>, StoreError> {
        Ok(Some(None))
    }
}

#[async_trait]
impl Statements for SqliteConnection {
    fn for_update(&self) -> &'static str {
        ""
    }

    async fn has_table(&mut self, name: &'static str) -> Result<bool, sqlx::Error> {
        let find = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?)";
        sqlx::query_scalar(find).bind(name).fetch_one(self).await
    }

    async fn select(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Vec<Value>>, sqlx::Error> {
        let query = bind(sqlx::query(AssertSqlSafe(statement.to_owned())), values);
        query.fetch_all(self).await?.iter().map(decode).collect()
    }

    async fn execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, sqlx::Error> {
        let query = bind(sqlx::query(AssertSqlSafe(statement.to_owned())), values);
        Ok(query.execute(self).await?.rows_affected())
    }

    async fn insert(
        &mut self,
        table: &str,
        columns: &[(&str, Kind)],
        rows: Vec<Vec<Value>>,
        conflict: &str,
    ) -> Result<(), sqlx::Error> {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let insert = format!("INSERT INTO {table} ({})", names.join(", "));
        insert_or(self, &insert, columns.len(), &rows, conflict, |query, row: &Vec<Value>| bind(query, row))
            .await
    }

    async fn records(&mut self, spans: &[Span]) -> Result<Vec<AuditRecord>, sqlx::Error> {
        // In the order of the spans: SQLite does not reorder a cross join.
        let statement = format!(
            "SELECT {} FROM json_each(?) AS span CROSS JOIN audit_records
             WHERE device_id = json_extract(span.value, '$[0]')
                 AND sequence BETWEEN json_extract(span.value, '$[1]') AND json_extract(span.value, '$[2]')
             ORDER BY span.key, sequence",
            columns(&rows::RECORD)
        );
        let query = sqlx::query(AssertSqlSafe(statement)).bind(serde_json::json!(spans).to_string());
        query.fetch_all(self).await?.iter().map(rows::record).collect()
    }
}

fn bind<'q>(query: Query<'q>, values: &[Value]) -> Query<'q> {
    values.iter().fold(query, |query, value| match value {
        Value::Integer(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.clone()),
        Value::Bytes(bytes) => query.bind(bytes.clone()),
        Value::Null => query.bind(None::<i64>),
    })
}

/// Decodes values by their own types: SQLite stores any type in any column.
fn decode(row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    let value = |index: usize| {
        let raw = row.try_get_raw(index)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        match raw.type_info().name() {
            "INTEGER" => row.try_get_unchecked(index).map(Value::Integer),
            "TEXT" => row.try_get_unchecked(index).map(Value::Text),
            "BLOB" => row.try_get_unchecked(index).map(Value::Bytes),
            // No column of the log has another type.
            _ => Ok(Value::Null),
        }
    };
    (0..row.len()).map(value).collect()
}
