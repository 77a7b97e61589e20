//! Erasures: payloads to delete, each with its leaf of the log.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use edgesentry_chain::Hash;
use edgesentry_log::{Assignment, ErasedLeaf};

use super::{
    Failure, LogDatabase, LogTablesError, Row, Statements, Value, Work, inconsistent, read_row, write,
};
use crate::error::StoreError;

/// The maximum length of the reason for an erasure, bytes.
pub const MAX_REASON_BYTES: usize = 1024;
/// Excludes rows that no service wrote and that cannot be read, so that one of them does not stop the others.
const SOUND: &str = "e.at_ms BETWEEN 0 AND 9223372036854775807 AND CAST(e.at_ms AS bigint) = e.at_ms
             AND CAST(e.reason AS text) = e.reason AND octet_length(e.device_id) <= 1024";
/// Erasures in one read.
const PAGE_ROWS: i64 = 256;

/// An erasure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErasureRow {
    /// The device.
    pub device_id: String,
    /// The sequence of the record, which stays.
    pub sequence: u64,
    /// BLAKE3 of the payload.
    pub payload_hash: Hash,
    /// The reason, in the operator's words.
    pub reason: String,
    /// When it was requested, Unix milliseconds.
    pub at_ms: u64,
    /// The leaf of the erasure; `None` until it has a position.
    pub log_index: Option<u64>,
    /// The most versions that the store had of the payload; `None` before the first look.
    pub versions: Option<u64>,
    /// The reason why the store still has the payload.
    pub problem: Option<String>,
    /// When to try again, Unix milliseconds; `None` at the next opportunity.
    pub retry_at_ms: Option<u64>,
    /// When the store had none of it any more, Unix milliseconds; `None` until then.
    pub erased_at_ms: Option<u64>,
}

/// The progress of an erasure. Exhaustive: each must be noted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ErasureStep {
    /// The store has this many versions, and none was deleted yet.
    Found(u64),
    /// The store keeps the payload, for this reason, at least until a time in Unix milliseconds.
    Kept(String, Option<u64>),
    /// No version of the payload remains in the store, since a time in Unix milliseconds.
    Erased(u64),
}

/// A selection of erasures, by device and sequence.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ErasureQuery {
    /// Only after this device and sequence.
    pub after: Option<(String, u64)>,
    /// Only these.
    pub of: ErasureSelection,
}

/// The progress of selected erasures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum ErasureSelection {
    /// In the log.
    #[default]
    Logged,
    /// Noted, in the log or not yet.
    Noted,
    /// In the log, not finished, and to be tried at this time, Unix milliseconds.
    Due(u64),
    /// In the log, and no version of the payload remains in the store.
    Finished,
}

impl ErasureSelection {
    /// Returns a condition with the parameter $3.
    fn condition(self) -> (&'static str, u64) {
        match self {
            ErasureSelection::Logged => ("log_index IS NOT NULL AND $3 >= 0", 0),
            ErasureSelection::Noted => ("$3 >= 0", 0),
            ErasureSelection::Due(at_ms) => {
                ("log_index IS NOT NULL AND erased_at_ms IS NULL AND coalesce(retry_at_ms, 0) <= $3", at_ms)
            }
            ErasureSelection::Finished => {
                ("log_index IS NOT NULL AND erased_at_ms IS NOT NULL AND $3 >= 0", 0)
            }
        }
    }
}

/// The erasures that are not finished.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct OpenErasures {
    /// Their number.
    pub count: u64,
    /// When the oldest of them was requested, Unix milliseconds, without those whose payloads Object Lock keeps until a
    /// time to come.
    pub oldest_at_ms: Option<u64>,
}

/// The beginning of the problem of an erasure whose payload Object Lock keeps.
pub const OBJECT_LOCK_KEEPS: &str = "Object Lock keeps";

/// The erasures in the tables of a log.
#[async_trait]
pub trait LogErasures: Send + Sync + 'static {
    /// Notes that the payload of a record is to be erased, unless that is noted, and returns the erasure. `None` if the
    /// ledger has no such record.
    async fn request_erasure(
        &self,
        device_id: &str,
        sequence: u64,
        reason: &str,
        at_ms: u64,
    ) -> Result<Option<ErasureRow>, LogTablesError>;

    /// Returns the erasure of a record; `None` if there is none.
    async fn erasure(&self, device_id: &str, sequence: u64) -> Result<Option<ErasureRow>, StoreError>;

    /// Returns a page of erasures, in order; the last page is empty.
    async fn erasures(&self, query: &ErasureQuery) -> Result<Vec<ErasureRow>, StoreError>;

    /// Returns the erasures that are not finished at a time, Unix milliseconds.
    async fn open_erasures(&self, now_ms: u64) -> Result<OpenErasures, StoreError>;

    /// Notes the progress of an erasure.
    async fn note_erasure(
        &self,
        device_id: &str,
        sequence: u64,
        step: ErasureStep,
    ) -> Result<(), LogTablesError>;
}

/// Returns the sequences of the erased payloads of each device, as the ledger lists them.
pub(crate) async fn listed_erasures(
    tables: &(impl LogErasures + ?Sized),
) -> Result<HashMap<String, BTreeSet<u64>>, StoreError> {
    let mut listed: HashMap<String, BTreeSet<u64>> = HashMap::new();
    let mut query = ErasureQuery::default();
    loop {
        let page = tables.erasures(&query).await?;
        let Some(last) = page.last() else { return Ok(listed) };
        query.after = Some((last.device_id.clone(), last.sequence));
        for erasure in page {
            listed.entry(erasure.device_id).or_default().insert(erasure.sequence);
        }
    }
}

#[async_trait]
impl<D: LogDatabase> LogErasures for D {
    async fn request_erasure(
        &self,
        device_id: &str,
        sequence: u64,
        reason: &str,
        at_ms: u64,
    ) -> Result<Option<ErasureRow>, LogTablesError> {
        if !is_storable(device_id, sequence) {
            return Ok(None);
        }
        let (device_id, reason) = (device_id.to_owned(), reason.to_owned());
        let work: Work<Option<ErasureRow>> =
            Box::new(move |s| Box::pin(request(s, device_id, sequence, reason, at_ms)));
        write(self, "note an erasure", work).await
    }

    async fn erasure(&self, device_id: &str, sequence: u64) -> Result<Option<ErasureRow>, StoreError> {
        if !is_storable(device_id, sequence) {
            return Ok(None);
        }
        let device_id = device_id.to_owned();
        let work: Work<Option<ErasureRow>> = Box::new(move |s| {
            Box::pin(async move {
                if has_erasures(s).await? { one(s, &device_id, sequence).await } else { Ok(None) }
            })
        });
        read_row(self, "read an erasure", work).await
    }

    async fn erasures(&self, query: &ErasureQuery) -> Result<Vec<ErasureRow>, StoreError> {
        let query = query.clone();
        let work: Work<Vec<ErasureRow>> = Box::new(move |s| Box::pin(page(s, query)));
        read_row(self, "read the erasures", work).await
    }

    async fn open_erasures(&self, now_ms: u64) -> Result<OpenErasures, StoreError> {
        let work: Work<OpenErasures> = Box::new(move |s| Box::pin(open(s, now_ms)));
        read_row(self, "count the erasures", work).await
    }

    async fn note_erasure(
        &self,
        device_id: &str,
        sequence: u64,
        step: ErasureStep,
    ) -> Result<(), LogTablesError> {
        let mut values = vec![device_id.to_owned().into(), Value::number(sequence)];
        let changes = match step {
            ErasureStep::Found(versions) => {
                values.push(Value::number(versions));
                "versions = $3 WHERE device_id = $1 AND sequence = $2 AND coalesce(versions, -1) < $3"
            }
            ErasureStep::Kept(problem, until_ms) => {
                values.push(problem.into());
                values.push(until_ms.map_or(Value::Null, Value::number));
                "problem = $3, retry_at_ms = $4, erased_at_ms = NULL WHERE device_id = $1 AND sequence = $2"
            }
            ErasureStep::Erased(at_ms) => {
                values.push(Value::number(at_ms));
                "problem = NULL, retry_at_ms = NULL, erased_at_ms = $3 WHERE device_id = $1 AND sequence = $2"
            }
        };
        let work: Work<()> = Box::new(move |s| {
            Box::pin(async move {
                s.execute(&format!("UPDATE erasures SET {changes}"), &values).await?;
                Ok(())
            })
        });
        write(self, "note the progress of an erasure", work).await
    }
}

/// No ledger has larger sequences, or a zero byte in a device id.
pub(super) fn is_storable(device_id: &str, sequence: u64) -> bool {
    i64::try_from(sequence).is_ok() && !device_id.contains('\0')
}

/// Returns false for the tables of an earlier release that is only read.
async fn has_erasures(s: &mut dyn Statements) -> Result<bool, Failure> {
    Ok(s.has_table("erasures").await?)
}

async fn open(s: &mut dyn Statements, now_ms: u64) -> Result<OpenErasures, Failure> {
    if !has_erasures(s).await? {
        return Ok(OpenErasures::default());
    }
    let statement = format!(
        "SELECT count(*), min(CASE WHEN {SOUND} AND NOT (coalesce(e.retry_at_ms, 0) > $1
             AND coalesce(e.problem, '') LIKE '{OBJECT_LOCK_KEEPS} %') THEN e.at_ms END)
         FROM erasures e WHERE e.erased_at_ms IS NULL"
    );
    let rows = s.select(&statement, &[Value::number(now_ms)]).await?;
    let Some(row) = rows.first() else { return Ok(OpenErasures::default()) };
    let row = Row::new("erasures", row);
    Ok(OpenErasures { count: row.number(0)?, oldest_at_ms: row.optional_number(1)? })
}

async fn request(
    s: &mut dyn Statements,
    device_id: String,
    sequence: u64,
    reason: String,
    at_ms: u64,
) -> Result<Option<ErasureRow>, Failure> {
    let statement = "SELECT payload_hash FROM audit_records WHERE device_id = $1 AND sequence = $2";
    let place = [device_id.clone().into(), Value::number(sequence)];
    let rows = s.select(statement, &place).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let payload_hash = Hash(Row::new("audit_records", row).array(0)?);
    let [device, at] = place;
    let values = [device, at, Value::hash(payload_hash), reason.into(), Value::number(at_ms)];
    let insert =
        "INSERT INTO erasures (device_id, sequence, payload_hash, reason, at_ms) VALUES ($1, $2, $3, $4, $5)
                  ON CONFLICT (device_id, sequence) DO NOTHING";
    s.execute(insert, &values).await?;
    let noted = one(s, &device_id, sequence).await?;
    let other = noted.as_ref().filter(|noted| noted.payload_hash != payload_hash);
    if other.is_some() {
        let problem = format!(
            "the erasure of device {device_id:?}, sequence {sequence} is of another payload than the record"
        );
        return Err(inconsistent(problem));
    }
    Ok(noted)
}

/// Texts are cut: another program may have written rows of any size.
const COLUMNS: &str = "device_id, sequence, payload_hash, substr(reason, 1, 1024), at_ms, log_index, versions,
                       CASE WHEN CAST(problem AS text) = problem THEN substr(problem, 1, 4096) END, retry_at_ms,
                       erased_at_ms";

async fn one(s: &mut dyn Statements, device_id: &str, sequence: u64) -> Result<Option<ErasureRow>, Failure> {
    let statement = format!("SELECT {COLUMNS} FROM erasures WHERE device_id = $1 AND sequence = $2");
    let rows = s.select(&statement, &[device_id.to_owned().into(), Value::number(sequence)]).await?;
    rows.first().map(|row| Ok(erasure(row)?)).transpose()
}

async fn page(s: &mut dyn Statements, query: ErasureQuery) -> Result<Vec<ErasureRow>, Failure> {
    if !has_erasures(s).await? {
        return Ok(Vec::new());
    }
    let (device_id, sequence) = query.after.unwrap_or_default();
    let (condition, at_ms) = query.of.condition();
    let statement = format!(
        "SELECT {COLUMNS} FROM erasures e WHERE {condition} AND (device_id, sequence) > ($1, $2)
             AND {SOUND} ORDER BY device_id, sequence LIMIT $4"
    );
    let values = [device_id.into(), Value::number(sequence), Value::number(at_ms), Value::Integer(PAGE_ROWS)];
    let rows = s.select(&statement, &values).await?;
    Ok(rows.iter().map(|row| erasure(row)).collect::<Result<_, _>>()?)
}

fn erasure(row: &[Value]) -> Result<ErasureRow, sqlx::Error> {
    let row = Row::new("erasures", row);
    let problem = if row.is_null(7) { None } else { Some(row.text(7)?.to_owned()) };
    Ok(ErasureRow {
        device_id: row.text(0)?.to_owned(),
        sequence: row.number(1)?,
        payload_hash: Hash(row.array(2)?),
        reason: row.text(3)?.to_owned(),
        at_ms: row.number(4)?,
        log_index: row.optional_number(5)?,
        versions: row.optional_number(6)?,
        problem,
        retry_at_ms: row.optional_number(8)?,
        erased_at_ms: row.optional_number(9)?,
    })
}

/// Returns at most so many erasures without a position whose records are in the log.
///
/// Omits those that contradict their records, and those with a reason that is too long: no service wrote them.
pub(super) async fn unlogged(s: &mut dyn Statements, most: u64) -> Result<Vec<ErasedLeaf>, Failure> {
    let statement = format!(
        "SELECT e.device_id, e.sequence, e.payload_hash, e.reason, e.at_ms
         FROM erasures e JOIN log_heads l ON l.device_id = e.device_id
         JOIN audit_records r ON r.device_id = e.device_id AND r.sequence = e.sequence
         WHERE e.log_index IS NULL AND e.erased_at_ms IS NULL AND e.sequence <= l.sequence
             AND e.sequence > l.start_sequence AND r.payload_hash = e.payload_hash
             AND octet_length(e.reason) <= {MAX_REASON_BYTES} AND {SOUND}
         ORDER BY e.device_id, e.sequence LIMIT $1"
    );
    let leaf = |row: &Vec<Value>| {
        let row = Row::new("erasures", row);
        Ok(ErasedLeaf {
            device_id: row.text(0)?.to_owned(),
            sequence: row.number(1)?,
            payload_hash: Hash(row.array(2)?),
            reason: row.text(3)?.to_owned(),
            at_ms: row.number(4)?,
        })
    };
    s.select(&statement, &[Value::number(most)]).await?.iter().map(leaf).collect()
}

/// Gives positions to erasures, behind the records of a batch.
pub(super) async fn assign(
    s: &mut dyn Statements,
    batch: &mut Assignment,
    leaves: Vec<ErasedLeaf>,
) -> Result<(), Failure> {
    let statement = "UPDATE erasures SET log_index = $3 WHERE device_id = $1 AND sequence = $2";
    for leaf in leaves {
        let place = [leaf.device_id.clone().into(), Value::number(leaf.sequence)];
        let [device_id, sequence] = place;
        let index = batch.erased(leaf);
        s.execute(statement, &[device_id, sequence, Value::number(index)]).await?;
    }
    Ok(())
}

/// Restores an erasure from its leaf. The payload is deleted again: the payload store may also have been restored.
pub(super) async fn restore(s: &mut dyn Statements, index: u64, leaf: &ErasedLeaf) -> Result<(), Failure> {
    let insert = "INSERT INTO erasures (device_id, sequence, payload_hash, reason, at_ms, log_index)
                  VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (device_id, sequence) DO UPDATE SET
                      payload_hash = excluded.payload_hash, reason = excluded.reason, at_ms = excluded.at_ms,
                      log_index = excluded.log_index, retry_at_ms = NULL, erased_at_ms = NULL";
    let values = [
        leaf.device_id.clone().into(),
        Value::number(leaf.sequence),
        Value::hash(leaf.payload_hash),
        leaf.reason.clone().into(),
        Value::number(leaf.at_ms),
        Value::number(index),
    ];
    s.execute(insert, &values).await?;
    Ok(())
}
