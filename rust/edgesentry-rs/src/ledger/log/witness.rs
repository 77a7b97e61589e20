//! The tables of a witness: the last cosigned checkpoint of each log, and evidence. They are in a database of their own.

use std::sync::Arc;

use async_trait::async_trait;
use edgesentry_log::{EvidenceKind, TreeHash};

use super::{Failure, LogDatabase, LogTablesError, Row, Statements, Value, Work};
use crate::error::{Component, Error, StoreError};
use crate::ledger::{Location, PostgresSettings, Sqlite, postgres};
use crate::secret::Secret;
use crate::sql::failed;
use crate::sqlite::Schema;

/// Pieces of evidence of each kind that are kept for each log.
pub const MAX_EVIDENCE_PER_KIND: u64 = 16;

const TABLES: [&str; 2] = ["witness_logs", "witness_evidence"];

pub(in crate::ledger) static SQLITE_WITNESS: Schema = Schema {
    name: "state of a witness",
    tables: &TABLES,
    later_tables: &["witness_key"],
    migrations: &[
        (1, "witness", include_str!("../../../migrations/witness/sqlite_0001_witness.sql")),
        (2, "key", include_str!("../../../migrations/witness/sqlite_0002_key.sql")),
    ],
};

#[cfg(feature = "postgres")]
pub(in crate::ledger) static POSTGRES_WITNESS: Schema = Schema {
    name: "state of a witness",
    tables: &TABLES,
    later_tables: &["witness_key"],
    migrations: &[
        (1, "witness", include_str!("../../../migrations/witness/postgres_0001_witness.sql")),
        (2, "key", include_str!("../../../migrations/witness/postgres_0002_key.sql")),
    ],
};

/// The purpose for which the state of a witness is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WitnessAccess {
    /// Reading and writing; a missing file or missing tables are created.
    Create,
    /// Reading and writing; a file must exist.
    Existing,
    /// Reading only.
    Read,
}

/// Opens the state of a witness: `sqlite:PATH`, or the URL of a PostgreSQL database or schema of its own.
///
/// # Errors
/// The name is invalid, the state cannot be opened, or the database holds other tables.
pub async fn open_witness(
    state: &Secret,
    access: WitnessAccess,
    settings: &PostgresSettings,
) -> Result<Arc<dyn WitnessTables>, Error> {
    match Location::parse(state.reveal())? {
        Location::Sqlite(path) => {
            if access != WitnessAccess::Create && !path.exists() {
                let problem = format!(
                    "{}: there is no state of a witness; eds witness init creates that of a new witness",
                    path.display()
                );
                return Err(Error::Config(problem));
            }
            Ok(Arc::new(Sqlite::open_witness(&path, access).await?))
        }
        Location::Postgres => {
            let settings = PostgresSettings { url: state.clone(), ..settings.clone() };
            if access == WitnessAccess::Create {
                return postgres::open_witness(&settings, false).await;
            }
            // Reading refuses an empty database.
            let reading = postgres::open_witness(&settings, true).await?;
            if access == WitnessAccess::Read {
                Ok(reading)
            } else {
                postgres::open_witness(&settings, false).await
            }
        }
    }
}

/// The last checkpoint of a log that a witness cosigned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessedRow {
    /// The name of the log.
    pub origin: String,
    /// The size of the checkpoint.
    pub size: u64,
    /// Its root.
    pub root: TreeHash,
    /// The note with the lines of the log and the cosignature.
    pub note: Vec<u8>,
    /// The time of the cosignature, Unix seconds.
    pub at: u64,
}

/// A change of the state of a log: from a size and root, `None` before the first checkpoint, to a new row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessedChange {
    /// The size and root that the state must still have.
    pub from: Option<(u64, TreeHash)>,
    /// The new state.
    pub to: WitnessedRow,
}

/// A request that contradicts the last cosigned checkpoint of its log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvidenceRow {
    /// The name of the log.
    pub origin: String,
    /// The kind of contradiction.
    pub kind: EvidenceKind,
    /// BLAKE3 of the text of the checkpoint in the request.
    pub digest: [u8; 32],
    /// The last cosigned note.
    pub last: Vec<u8>,
    /// The request.
    pub request: Vec<u8>,
    /// When it came, Unix seconds.
    pub at: u64,
}

/// Evidence to keep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEvidence {
    /// The evidence.
    pub row: EvidenceRow,
    /// The change that makes `row.last` the last cosigned note, by its index; `None` if it was so before. The evidence is
    /// kept only if this change is made.
    pub after: Option<usize>,
}

/// The tables of a witness.
#[async_trait]
pub trait WitnessTables: Send + Sync + 'static {
    /// Returns the location, without secrets.
    fn place(&self) -> &str;

    /// Returns the states of these logs, in any order.
    async fn witnessed(&self, origins: Vec<String>) -> Result<Vec<WitnessedRow>, StoreError>;

    /// Returns the states of all logs, by name.
    async fn all_witnessed(&self) -> Result<Vec<WitnessedRow>, StoreError>;

    /// Returns the latest time of a cosignature, Unix seconds.
    async fn last_witnessed(&self) -> Result<Option<u64>, StoreError>;

    /// Returns the verifier key to which the state belongs; `None` if it belongs to no key yet.
    async fn bound(&self) -> Result<Option<String>, StoreError>;

    /// Lets the state belong to a verifier key, unless it belongs to one, and returns the key to which it belongs.
    async fn bind(&self, vkey: String) -> Result<String, StoreError>;

    /// Makes changes and keeps evidence in one transaction, which is durable when the function returns. Returns for each
    /// change whether the state was as expected; a change that finds another state changes nothing.
    ///
    /// For each log and kind at most [`MAX_EVIDENCE_PER_KIND`] pieces of evidence are kept, the first ones.
    async fn swap(
        &self,
        changes: Vec<WitnessedChange>,
        evidence: Vec<NewEvidence>,
    ) -> Result<Vec<bool>, StoreError>;

    /// Returns the number of pieces of evidence.
    async fn evidence_count(&self) -> Result<u64, StoreError>;

    /// Returns the evidence, by log, kind and time.
    async fn evidence(&self) -> Result<Vec<EvidenceRow>, StoreError>;
}

#[async_trait]
impl<D: LogDatabase> WitnessTables for D {
    fn place(&self) -> &str {
        self.where_it_is()
    }

    async fn witnessed(&self, origins: Vec<String>) -> Result<Vec<WitnessedRow>, StoreError> {
        let work: Work<Vec<WitnessedRow>> = Box::new(move |s| {
            Box::pin(async move {
                let mut rows = Vec::new();
                for origin in origins {
                    let statement = format!("{WITNESSED} WHERE origin = $1");
                    rows.extend(witnessed(s, &statement, &[origin.into()]).await?);
                }
                Ok(rows)
            })
        });
        told(self, "read the state of a log", self.reading(work).await)
    }

    async fn all_witnessed(&self) -> Result<Vec<WitnessedRow>, StoreError> {
        let work: Work<Vec<WitnessedRow>> = Box::new(|s| {
            Box::pin(async move { witnessed(s, &format!("{WITNESSED} ORDER BY origin"), &[]).await })
        });
        told(self, "read the states of the logs", self.reading(work).await)
    }

    async fn last_witnessed(&self) -> Result<Option<u64>, StoreError> {
        let work: Work<Option<u64>> = Box::new(|s| {
            Box::pin(async move {
                let rows = s.select("SELECT at FROM witness_logs ORDER BY at DESC LIMIT 1", &[]).await?;
                let at = rows.first().map(|row| Row::new("witness_logs", row).number(0));
                at.transpose().map_err(Failure::from)
            })
        });
        told(self, "read the last time of a cosignature", self.reading(work).await)
    }

    async fn bound(&self) -> Result<Option<String>, StoreError> {
        let work: Work<Option<String>> = Box::new(|s| Box::pin(bound(s)));
        told(self, "read the key of the state", self.reading(work).await)
    }

    async fn bind(&self, vkey: String) -> Result<String, StoreError> {
        let work: Work<String> = Box::new(move |s| {
            Box::pin(async move {
                let insert = "INSERT INTO witness_key (only_row, vkey) VALUES (1, $1)
                              ON CONFLICT (only_row) DO NOTHING";
                s.execute(insert, &[Value::from(vkey.clone())]).await?;
                Ok(bound(s).await?.unwrap_or(vkey))
            })
        });
        told(self, "note the key of the state", self.writing(work).await)
    }

    async fn swap(
        &self,
        changes: Vec<WitnessedChange>,
        evidence: Vec<NewEvidence>,
    ) -> Result<Vec<bool>, StoreError> {
        let work: Work<Vec<bool>> = Box::new(move |s| {
            Box::pin(async move {
                let mut swapped = Vec::with_capacity(changes.len());
                for change in changes {
                    swapped.push(swap(s, change).await?);
                }
                for NewEvidence { row, after } in evidence {
                    if after.is_none_or(|change| swapped.get(change).copied().unwrap_or_default()) {
                        keep(s, row).await?;
                    }
                }
                Ok(swapped)
            })
        });
        told(self, "note cosigned checkpoints", self.writing(work).await)
    }

    async fn evidence_count(&self) -> Result<u64, StoreError> {
        let work: Work<u64> = Box::new(|s| {
            Box::pin(async move {
                let statement = "SELECT count(*) FROM witness_evidence WHERE kind = 'two_roots'";
                let rows = s.select(statement, &[]).await?;
                Ok(rows.first().map_or(Ok(0), |row| Row::new("witness_evidence", row).number(0))?)
            })
        });
        told(self, "count the evidence", self.reading(work).await)
    }

    async fn evidence(&self) -> Result<Vec<EvidenceRow>, StoreError> {
        let work: Work<Vec<EvidenceRow>> = Box::new(|s| Box::pin(evidence(s)));
        told(self, "read the evidence", self.reading(work).await)
    }
}

fn told<D: LogDatabase, T>(
    database: &D,
    action: &'static str,
    done: Result<T, Failure>,
) -> Result<T, StoreError> {
    done.map_err(|failure| match failure {
        Failure::Sql(error) => failed(database.where_it_is(), Component::TransparencyLog, action)(error),
        Failure::Log(LogTablesError::Store(error)) => error,
        Failure::Log(other) => {
            let error = sqlx::Error::Decode(other.to_string().into());
            failed(database.where_it_is(), Component::TransparencyLog, action)(error)
        }
    })
}

async fn bound(s: &mut dyn Statements) -> Result<Option<String>, Failure> {
    // The tables may be of an earlier release if they are only read.
    if !s.has_table("witness_key").await? {
        return Ok(None);
    }
    let rows = s.select("SELECT vkey FROM witness_key", &[]).await?;
    let vkey = rows.first().map(|row| Row::new("witness_key", row).text(0).map(str::to_owned));
    vkey.transpose().map_err(Failure::from)
}

const WITNESSED: &str =
    "SELECT origin, size, root, CASE WHEN octet_length(note) <= 131072 THEN note END, at FROM witness_logs";

async fn witnessed(
    s: &mut dyn Statements,
    statement: &str,
    values: &[Value],
) -> Result<Vec<WitnessedRow>, Failure> {
    let rows = s.select(statement, values).await?;
    let row = |row: &Vec<Value>| {
        let row = Row::new("witness_logs", row);
        Ok(WitnessedRow {
            origin: row.text(0)?.to_owned(),
            size: row.number(1)?,
            root: TreeHash(row.array(2)?),
            note: row.bytes(3)?.to_vec(),
            at: row.number(4)?,
        })
    };
    rows.iter().map(row).collect()
}

/// Changes the state of a log if it is the expected one.
async fn swap(s: &mut dyn Statements, change: WitnessedChange) -> Result<bool, Failure> {
    let WitnessedRow { origin, size, root, note, at } = change.to;
    let root = Value::Bytes(root.0.to_vec());
    let mut values = vec![origin.into(), Value::number(size), root, Value::Bytes(note), Value::number(at)];
    let statement = match change.from {
        None => {
            "INSERT INTO witness_logs (origin, size, root, note, at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (origin) DO NOTHING"
        }
        Some((size, root)) => {
            values.extend([Value::number(size), Value::Bytes(root.0.to_vec())]);
            "UPDATE witness_logs SET size = $2, root = $3, note = $4, at = $5
             WHERE origin = $1 AND size = $6 AND root = $7"
        }
    };
    Ok(s.execute(statement, &values).await? == 1)
}

async fn keep(s: &mut dyn Statements, row: EvidenceRow) -> Result<(), Failure> {
    let count = "SELECT count(*) FROM witness_evidence WHERE origin = $1 AND kind = $2";
    let key = [Value::from(row.origin.clone()), Value::from(row.kind.name().to_owned())];
    let rows = s.select(count, &key).await?;
    let kept = rows.first().map_or(Ok(0), |row| Row::new("witness_evidence", row).number(0))?;
    if kept >= MAX_EVIDENCE_PER_KIND {
        return Ok(());
    }
    let insert = "INSERT INTO witness_evidence (origin, kind, digest, last, request, at)
                  VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (origin, kind, digest) DO NOTHING";
    let [origin, kind] = key;
    let values = [
        origin,
        kind,
        Value::Bytes(row.digest.to_vec()),
        Value::Bytes(row.last),
        Value::Bytes(row.request),
        Value::number(row.at),
    ];
    s.execute(insert, &values).await?;
    Ok(())
}

async fn evidence(s: &mut dyn Statements) -> Result<Vec<EvidenceRow>, Failure> {
    // Releases before kept requests that prove nothing as well.
    let statement = "SELECT origin, kind, digest, last, request, at FROM witness_evidence
                     WHERE kind = 'two_roots' AND octet_length(last) <= 131072 AND octet_length(request) <= 131072
                     ORDER BY origin, kind, at, digest";
    let rows = s.select(statement, &[]).await?;
    let row = |row: &Vec<Value>| {
        let row = Row::new("witness_evidence", row);
        let kind = EvidenceKind::by_name(row.text(1)?).ok_or_else(|| row.wrong(1))?;
        Ok(EvidenceRow {
            origin: row.text(0)?.to_owned(),
            kind,
            digest: row.array(2)?,
            last: row.bytes(3)?.to_vec(),
            request: row.bytes(4)?.to_vec(),
            at: row.number(5)?,
        })
    };
    rows.iter().map(row).collect()
}
