//! Cosignatures of checkpoints.

use async_trait::async_trait;

use super::{
    Failure, LogDatabase, LogTablesError, Row, Statements, Value, Work, locked_state, read_row, write,
};
use crate::error::StoreError;
use crate::ledger::Leader;

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

    /// Notes cosignatures. A newer one of the same key and size replaces the older one.
    async fn note_cosignatures(
        &self,
        leader: &Leader,
        rows: Vec<CosignatureRow>,
    ) -> Result<(), LogTablesError>;
}

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

    async fn note_cosignatures(
        &self,
        leader: &Leader,
        rows: Vec<CosignatureRow>,
    ) -> Result<(), LogTablesError> {
        let term = leader.term;
        let work: Work<()> = Box::new(move |s| {
            Box::pin(async move {
                locked_state(s, term).await?;
                let insert = "INSERT INTO cosignatures (vkey, size, at, line) VALUES ($1, $2, $3, $4)
                              ON CONFLICT (vkey, size) DO UPDATE SET at = excluded.at, line = excluded.line
                              WHERE cosignatures.at <= excluded.at";
                for CosignatureRow { vkey, size, at, line } in rows {
                    let values = [vkey.into(), Value::number(size), Value::number(at), line.into()];
                    s.execute(insert, &values).await?;
                }
                Ok(())
            })
        });
        write(self, "note cosignatures", work).await
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
