//! Cosignatures of checkpoints.

use async_trait::async_trait;

use super::{
    CHECKPOINT, CheckpointRow, Failure, LogDatabase, LogTablesError, Row, Statements, Value, Work,
    checkpoint, read_row, write,
};
use crate::error::StoreError;

/// A verified cosignature of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CosignatureRow {
    /// The verifier key of the witness.
    pub vkey: String,
    /// The size of the checkpoint.
    pub size: u64,
    /// The time of the cosignature, Unix seconds by the clock of the witness.
    pub at: u64,
    /// The signature line.
    pub line: String,
}

/// The cosignatures in the tables of a log.
#[async_trait]
pub trait LogCosignatures: Send + Sync + 'static {
    /// Returns the cosignatures of the checkpoint of a size.
    async fn cosignatures(&self, size: u64) -> Result<Vec<CosignatureRow>, StoreError>;

    /// Returns the largest size that a key has cosigned; `None` before the first cosignature.
    async fn last_cosigned(&self, vkey: &str) -> Result<Option<u64>, StoreError>;

    /// Notes cosignatures. A newer one of the same key and size replaces the older one, and any other one that is dated
    /// after `latest`, Unix seconds. A line proves itself, so no leader is needed.
    async fn note_cosignatures(&self, rows: Vec<CosignatureRow>, latest: u64) -> Result<(), LogTablesError>;

    /// Returns the sizes with cosignatures, each with the key of one: at least `least`, below `end`, the largest first, at
    /// most `MAX_COSIGNED`.
    async fn cosigned(&self, least: u64, end: u64) -> Result<Vec<(u64, String)>, StoreError>;

    /// Returns the signed checkpoints with a size of at least `least` and below `end`, the largest first, at most
    /// `CHECKPOINTS_AT_ONCE`.
    async fn checkpoints(&self, least: u64, end: u64) -> Result<Vec<CheckpointRow>, StoreError>;
}

/// Cosignatures in one read.
pub(crate) const MAX_COSIGNED: u64 = 16_384;
/// Checkpoints in one read.
const CHECKPOINTS_AT_ONCE: u64 = 64;

#[async_trait]
impl<D: LogDatabase> LogCosignatures for D {
    async fn cosignatures(&self, size: u64) -> Result<Vec<CosignatureRow>, StoreError> {
        let work: Work<Vec<CosignatureRow>> = Box::new(move |s| Box::pin(of_size(s, size)));
        read_row(self, "read the cosignatures of a checkpoint", work).await
    }

    async fn last_cosigned(&self, vkey: &str) -> Result<Option<u64>, StoreError> {
        let values = [Value::from(vkey.to_owned())];
        let work: Work<Option<u64>> = Box::new(move |s| {
            Box::pin(async move {
                if !s.has_table("cosignatures").await? {
                    return Ok(None);
                }
                let statement = "SELECT size FROM cosignatures WHERE vkey = $1 ORDER BY size DESC LIMIT 1";
                let rows = s.select(statement, &values).await?;
                rows.first()
                    .map(|row| Row::new("cosignatures", row).number(0))
                    .transpose()
                    .map_err(Failure::from)
            })
        });
        read_row(self, "read the last cosignature of a witness", work).await
    }

    async fn note_cosignatures(&self, rows: Vec<CosignatureRow>, latest: u64) -> Result<(), LogTablesError> {
        let work: Work<()> = Box::new(move |s| {
            Box::pin(async move {
                let insert = "INSERT INTO cosignatures (vkey, size, at, line) VALUES ($1, $2, $3, $4)
                              ON CONFLICT (vkey, size) DO UPDATE SET at = excluded.at, line = excluded.line
                              WHERE cosignatures.at <= excluded.at OR cosignatures.at > $5";
                for CosignatureRow { vkey, size, at, line } in rows {
                    let (size, at, latest) = (Value::number(size), Value::number(at), Value::number(latest));
                    s.execute(insert, &[vkey.into(), size, at, line.into(), latest]).await?;
                }
                Ok(())
            })
        });
        write(self, "note cosignatures", work).await
    }

    async fn cosigned(&self, least: u64, end: u64) -> Result<Vec<(u64, String)>, StoreError> {
        let values = [least, end, MAX_COSIGNED].map(Value::number);
        let work: Work<Vec<(u64, String)>> = Box::new(move |s| {
            Box::pin(async move {
                let statement = "SELECT size, vkey FROM cosignatures WHERE size >= $1 AND size < $2
                                 ORDER BY size DESC LIMIT $3";
                let rows = s.select(statement, &values).await?;
                let row = |row: &Vec<Value>| {
                    let row = Row::new("cosignatures", row);
                    Ok((row.number(0)?, row.text(1)?.to_owned()))
                };
                rows.iter().map(row).collect()
            })
        });
        read_row(self, "read the cosigned sizes", work).await
    }

    async fn checkpoints(&self, least: u64, end: u64) -> Result<Vec<CheckpointRow>, StoreError> {
        let values = [least, end, CHECKPOINTS_AT_ONCE].map(Value::number);
        let work: Work<Vec<CheckpointRow>> = Box::new(move |s| {
            Box::pin(async move {
                let end = "WHERE size >= $1 AND size < $2 ORDER BY size DESC LIMIT $3";
                let rows = s.select(&format!("{CHECKPOINT} {end}"), &values).await?;
                rows.iter().map(|row| checkpoint(row)).collect()
            })
        });
        read_row(self, "read signed checkpoints", work).await
    }
}

async fn of_size(s: &mut dyn Statements, size: u64) -> Result<Vec<CosignatureRow>, Failure> {
    // The tables may be of an earlier release if they are only read.
    if !s.has_table("cosignatures").await? {
        return Ok(Vec::new());
    }
    let statement =
        "SELECT vkey, size, at, line FROM cosignatures WHERE size = $1 AND octet_length(line) <= 8192
                     ORDER BY vkey";
    let rows = s.select(statement, &[Value::number(size)]).await?;
    let row = |row: &Vec<Value>| {
        let row = Row::new("cosignatures", row);
        Ok(CosignatureRow {
            vkey: row.text(0)?.to_owned(),
            size: row.number(1)?,
            at: row.number(2)?,
            line: row.text(3)?.to_owned(),
        })
    };
    rows.iter().map(row).collect()
}
