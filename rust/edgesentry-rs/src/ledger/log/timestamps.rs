//! Time stamps of checkpoints.

use async_trait::async_trait;

use super::{Failure, LogDatabase, LogTablesError, Row, Statements, Value, Work, read_row, write};
use crate::error::StoreError;

/// A time stamp of a checkpoint, as it was verified when it was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimestampRow {
    /// The size of the checkpoint.
    pub size: u64,
    /// The URL of the time stamping authority.
    pub tsa: String,
    /// Its answer, a `TimeStampResp`.
    pub response: Vec<u8>,
    /// The subject of the certificate of the authority.
    pub authority: String,
    /// The time in the stamp, Unix milliseconds.
    pub time_ms: u64,
    /// The checkpoint existed before this time, Unix milliseconds.
    pub before_ms: u64,
    /// When it was received, Unix milliseconds.
    pub at_ms: u64,
}

/// The time stamps in the tables of a log.
#[async_trait]
pub trait LogTimestamps: Send + Sync + 'static {
    /// Returns the time stamps of the checkpoint of a size, by URL.
    async fn timestamps(&self, size: u64) -> Result<Vec<TimestampRow>, StoreError>;

    /// Returns the size of the last checkpoint with a time stamp, at most `size`.
    async fn last_stamped(&self, size: u64) -> Result<Option<u64>, StoreError>;

    /// Returns the last time stamp of an authority.
    async fn last_timestamp(&self, tsa: &str) -> Result<Option<TimestampRow>, StoreError>;

    /// Notes a time stamp, unless there is one of this authority and checkpoint.
    async fn note_timestamp(&self, row: &TimestampRow) -> Result<(), LogTablesError>;
}

const TIMESTAMP: &str =
    "SELECT size, tsa, CASE WHEN octet_length(response) <= 65536 THEN response END, authority,
     time_ms, before_ms, at_ms FROM timestamps";

#[async_trait]
impl<D: LogDatabase> LogTimestamps for D {
    async fn timestamps(&self, size: u64) -> Result<Vec<TimestampRow>, StoreError> {
        let work: Work<Vec<TimestampRow>> =
            Box::new(move |s| Box::pin(rows(s, "WHERE size = $1 ORDER BY tsa", vec![Value::number(size)])));
        read_row(self, "read the time stamps of a checkpoint", work).await
    }

    async fn last_stamped(&self, size: u64) -> Result<Option<u64>, StoreError> {
        let end = "WHERE size <= $1 ORDER BY size DESC LIMIT 1";
        let work: Work<Option<u64>> = Box::new(move |s| {
            Box::pin(
                async move { Ok(rows(s, end, vec![Value::number(size)]).await?.first().map(|row| row.size)) },
            )
        });
        read_row(self, "read the last time stamp", work).await
    }

    async fn last_timestamp(&self, tsa: &str) -> Result<Option<TimestampRow>, StoreError> {
        let tsa = Value::from(tsa.to_owned());
        let end = "WHERE tsa = $1 ORDER BY size DESC LIMIT 1";
        let work: Work<Option<TimestampRow>> =
            Box::new(move |s| Box::pin(async move { Ok(rows(s, end, vec![tsa]).await?.pop()) }));
        read_row(self, "read the last time stamp", work).await
    }

    async fn note_timestamp(&self, row: &TimestampRow) -> Result<(), LogTablesError> {
        let TimestampRow { size, tsa, response, authority, time_ms, before_ms, at_ms } = row.clone();
        let values = [
            Value::number(size),
            tsa.into(),
            Value::Bytes(response),
            authority.into(),
            Value::number(time_ms),
            Value::number(before_ms),
            Value::number(at_ms),
        ];
        let insert = "INSERT INTO timestamps (size, tsa, response, authority, time_ms, before_ms, at_ms)
                      VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (size, tsa) DO NOTHING";
        let work: Work<()> =
            Box::new(move |s| Box::pin(async move { Ok(s.execute(insert, &values).await.map(|_| ())?) }));
        write(self, "note a time stamp", work).await
    }
}

async fn rows(s: &mut dyn Statements, end: &str, values: Vec<Value>) -> Result<Vec<TimestampRow>, Failure> {
    // The tables may be of an earlier release if they are only read.
    if !s.has_table("timestamps").await? {
        return Ok(Vec::new());
    }
    let rows = s.select(&format!("{TIMESTAMP} {end}"), &values).await?;
    let row = |row: &Vec<Value>| {
        let row = Row::new("timestamps", row);
        Ok(TimestampRow {
            size: row.number(0)?,
            tsa: row.text(1)?.to_owned(),
            response: row.bytes(2)?.to_vec(),
            authority: row.text(3)?.to_owned(),
            time_ms: row.number(4)?,
            before_ms: row.number(5)?,
            at_ms: row.number(6)?,
        })
    };
    rows.iter().map(row).collect()
}
