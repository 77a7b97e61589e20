//! Statements on a connection to either database.

use async_trait::async_trait;
use edgesentry_chain::{AuditRecord, Hash};

use crate::ledger::stream::{self, malformed};

/// A value of a column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::ledger) enum Value {
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// Any type if it is read; an integer if it is written.
    Null,
}

impl Value {
    /// Converts a number. No ledger has numbers beyond 2^63 - 1.
    pub(in crate::ledger) fn number(number: u64) -> Value {
        Value::Integer(stream::column(Some(number), 0))
    }

    pub(in crate::ledger) fn hash(hash: Hash) -> Value {
        Value::Bytes(hash.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

/// The type of a written column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ledger) enum Kind {
    Integer,
    Text,
    Bytes,
}

/// A device with the first and last sequence of its records.
pub(in crate::ledger) type Span = (String, i64, i64);

/// Statements on a connection.
#[async_trait]
pub(in crate::ledger) trait Statements: Send {
    /// Returns the end of a SELECT that locks its rows; empty if the transaction has locked the database.
    fn for_update(&self) -> &'static str;

    /// Returns true if there is a table of this name: those of an earlier release lack some.
    async fn has_table(&mut self, name: &'static str) -> Result<bool, sqlx::Error>;

    /// Returns the rows of a statement with the parameters $1, $2, …
    async fn select(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Vec<Value>>, sqlx::Error>;

    /// Returns the number of rows that a statement changed.
    async fn execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, sqlx::Error>;

    /// Inserts rows; the statement ends with `conflict`.
    async fn insert(
        &mut self,
        table: &str,
        columns: &[(&str, Kind)],
        rows: Vec<Vec<Value>>,
        conflict: &str,
    ) -> Result<(), sqlx::Error>;

    /// Returns the records of spans, in their order.
    async fn records(&mut self, spans: &[Span]) -> Result<Vec<AuditRecord>, sqlx::Error>;
}

/// A row of a table. Values are decoded strictly, because other programs can change the tables.
pub(in crate::ledger) struct Row<'r> {
    table: &'static str,
    values: &'r [Value],
}

impl<'r> Row<'r> {
    pub(in crate::ledger) fn new(table: &'static str, values: &'r [Value]) -> Row<'r> {
        Row { table, values }
    }

    pub(in crate::ledger) fn number(&self, index: usize) -> Result<u64, sqlx::Error> {
        self.optional_number(index)?.ok_or_else(|| self.wrong(index))
    }

    pub(in crate::ledger) fn optional_number(&self, index: usize) -> Result<Option<u64>, sqlx::Error> {
        match self.values.get(index) {
            Some(Value::Null) => Ok(None),
            Some(Value::Integer(number)) => {
                stream::number(*number).map(Some).ok_or_else(|| self.wrong(index))
            }
            _ => Err(self.wrong(index)),
        }
    }

    pub(in crate::ledger) fn text(&self, index: usize) -> Result<&'r str, sqlx::Error> {
        match self.values.get(index) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(self.wrong(index)),
        }
    }

    pub(in crate::ledger) fn bytes(&self, index: usize) -> Result<&'r [u8], sqlx::Error> {
        match self.values.get(index) {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            _ => Err(self.wrong(index)),
        }
    }

    pub(in crate::ledger) fn array<const N: usize>(&self, index: usize) -> Result<[u8; N], sqlx::Error> {
        self.bytes(index)?.try_into().map_err(|_| self.wrong(index))
    }

    pub(in crate::ledger) fn optional_array<const N: usize>(
        &self,
        index: usize,
    ) -> Result<Option<[u8; N]>, sqlx::Error> {
        match self.values.get(index) {
            Some(Value::Null) => Ok(None),
            _ => self.array(index).map(Some),
        }
    }

    pub(in crate::ledger) fn is_null(&self, index: usize) -> bool {
        matches!(self.values.get(index), Some(Value::Null))
    }

    pub(in crate::ledger) fn wrong(&self, index: usize) -> sqlx::Error {
        // The first column identifies the row.
        let place = match self.values.first() {
            Some(Value::Text(text)) => {
                format!("{} {:?}", self.table, text.chars().take(64).collect::<String>())
            }
            Some(Value::Integer(number)) => format!("{} {number}", self.table),
            _ => self.table.to_owned(),
        };
        malformed(&place, &format!("value {}", index + 1), "is not one that the log writes")
    }
}
