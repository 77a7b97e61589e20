//! The statements that write a group: one each, and all of them as one.
//!
//! [`continuation`] is a single statement, and so a single request and a single transaction. It decides under the locks
//! like [`append`](super::append::append), which locks and reads the heads first:
//!
//! - It locks the heads of all devices of the group before it writes. Each part that writes has the condition
//!   `(SELECT holds FROM expected)`, which PostgreSQL evaluates before the first row, and `expected` reads every row of `locked`.
//! - It takes the locks in the order of device ids, as every appender does, so appenders cannot deadlock. A part of `WITH` that
//!   locks rows is evaluated once, and never merged with the parts that read it.
//! - `locked` has the heads as of the lock, not as of the snapshot of the statement: under READ COMMITTED, a row that another
//!   transaction has changed is read again once it is locked. For the same reason the update finds the row that is locked.
//!   Under REPEATABLE READ such a row is an error, and the append is tried again.
//! - If a head is missing, or its sequence, hash or version of keys differs, no part writes anything.

use std::sync::{Arc, LazyLock};

use edgesentry_chain::{Hash, Head};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};

use super::copy::Rows;
use crate::clock::now_ms;
use crate::ledger::plan::{Continuation, Locked, LogRow};
use crate::payload::Stored;

type Statement<'q> = Query<'q, Postgres, PgArguments>;

const RECORD_COLUMNS: &str =
    "received_at_ms, device_id, sequence, timestamp_ms, payload_hash, signature, prev_record_hash,
                              object_ref, record_hash";
const LOG_COLUMNS: &str =
    "at_ms, device_id, sequence, outcome, reason, record_hash, expected, actual, evidence";
const RECORDS: [&str; 8] = ["text", "bigint", "bigint", "bytea", "bytea", "bytea", "text", "bytea"];
const HEADS: [&str; 3] = ["text", "bigint", "bytea"];
const LOG: [&str; 8] = ["text", "bigint", "text", "text", "bytea", "text", "text", "bytea"];

/// Records or rows of the log from which on COPY, which takes more requests, is faster and writes less write-ahead log.
pub(super) const COPY_FROM: usize = 1_000;

/// The parameters of `expected`.
const EXPECTED: usize = 4;

static CONTINUATION: LazyLock<String> = LazyLock::new(|| {
    let holds = "(SELECT holds FROM expected)";
    let records_at = EXPECTED + 1;
    let heads_at = records_at + 1 + RECORDS.len();
    let log_at = heads_at + 1 + HEADS.len();
    format!(
        "WITH locked AS MATERIALIZED (
             SELECT device_id, sequence, record_hash, keys_version FROM chain_heads WHERE device_id = ANY($1::text[])
             ORDER BY device_id FOR UPDATE
         ), expected AS MATERIALIZED (
             SELECT coalesce(array_agg(device_id), '{{}}') = $1::text[]
                    AND coalesce(array_agg(sequence), '{{}}') = $2::bigint[]
                    AND coalesce(array_agg(record_hash), '{{}}') = $3::bytea[]
                    AND coalesce(array_agg(keys_version), '{{}}') = $4::bigint[] AS holds
             FROM locked
         ), records AS ({}), heads AS ({}), log AS ({})
         SELECT holds FROM expected",
        records(records_at, &format!("WHERE {holds}")),
        heads(heads_at, &format!("AND {holds}")),
        log(log_at, &format!("WHERE {holds}")),
    )
});

/// Writes a group if the heads are as it expects them; returns whether they are.
pub(super) async fn continuation(
    connection: &mut PgConnection,
    continuation: &Continuation<'_>,
) -> Result<bool, sqlx::Error> {
    let Continuation { expected, plan } = continuation;
    let heads = || expected.values().map(|Locked { chain, .. }| &chain.head);
    let query = sqlx::query(CONTINUATION.as_str())
        .bind(expected.keys().map(|device_id| &**device_id).collect::<Vec<&str>>())
        .bind(heads().map(|head| head.sequence.cast_signed()).collect::<Vec<i64>>())
        .bind(heads().map(|head| &head.hash.as_bytes()[..]).collect::<Vec<&[u8]>>())
        .bind(expected.values().map(|locked| locked.keys_version).collect::<Vec<i64>>());
    let query = bind_log(bind_heads(bind_records(query, &plan.accepted), &plan.heads), &plan.log);
    query.fetch_one(connection).await?.try_get(0)
}

/// Inserts records; `$at` and the parameters behind it are those of [`bind_records`].
pub(super) fn records(at: usize, condition: &str) -> String {
    format!(
        "INSERT INTO audit_records ({RECORD_COLUMNS}) SELECT ${at}::bigint, * FROM {} {condition}",
        unnest(at + 1, &RECORDS)
    )
}

pub(super) fn bind_records<'q>(query: Statement<'q>, accepted: &[&Stored]) -> Statement<'q> {
    let records = || accepted.iter().map(|stored| stored.admitted().record());
    let hashes: Vec<Hash> = accepted.iter().map(|stored| stored.admitted().hash()).collect();
    query
        .bind(now_ms())
        .bind(records().map(|record| record.device_id.as_str()).collect::<Vec<&str>>())
        .bind(records().map(|record| record.sequence.cast_signed()).collect::<Vec<i64>>())
        .bind(records().map(|record| record.timestamp_ms.cast_signed()).collect::<Vec<i64>>())
        .bind(records().map(|record| &record.payload_hash.as_bytes()[..]).collect::<Vec<&[u8]>>())
        .bind(records().map(|record| &record.signature[..]).collect::<Vec<&[u8]>>())
        .bind(records().map(|record| &record.prev_record_hash.as_bytes()[..]).collect::<Vec<&[u8]>>())
        .bind(records().map(|record| record.object_ref.as_str()).collect::<Vec<&str>>())
        .bind(hashes.iter().map(|hash| &hash.as_bytes()[..]).collect::<Vec<&[u8]>>())
}

/// Inserts many records.
pub(super) async fn copy_records(
    connection: &mut PgConnection,
    accepted: &[&Stored],
) -> Result<(), sqlx::Error> {
    let now_ms = now_ms();
    let mut rows = Rows::default();
    for admitted in accepted.iter().map(|stored| stored.admitted()) {
        let record = admitted.record();
        rows.begin(9);
        rows.integer(now_ms);
        rows.bytes(record.device_id.as_bytes())?;
        rows.integer(record.sequence.cast_signed());
        rows.integer(record.timestamp_ms.cast_signed());
        rows.bytes(record.payload_hash.as_bytes())?;
        rows.bytes(&record.signature)?;
        rows.bytes(record.prev_record_hash.as_bytes())?;
        rows.bytes(record.object_ref.as_bytes())?;
        rows.bytes(admitted.hash().as_bytes())?;
    }
    rows.copy(connection, &format!("COPY audit_records ({RECORD_COLUMNS}) FROM STDIN (FORMAT binary)")).await
}

/// Moves heads; `$at` and the parameters behind it are those of [`bind_heads`].
pub(super) fn heads(at: usize, condition: &str) -> String {
    format!(
        "UPDATE chain_heads h SET sequence = m.sequence, record_hash = m.record_hash, moved_at_ms = ${at}::bigint
         FROM {} AS m (device_id, sequence, record_hash) WHERE h.device_id = m.device_id {condition}",
        unnest(at + 1, &HEADS)
    )
}

pub(super) fn bind_heads<'q>(query: Statement<'q>, heads: &[(Arc<str>, Head)]) -> Statement<'q> {
    query
        .bind(now_ms())
        .bind(heads.iter().map(|(device_id, _)| &**device_id).collect::<Vec<&str>>())
        .bind(heads.iter().map(|(_, head)| head.sequence.cast_signed()).collect::<Vec<i64>>())
        .bind(heads.iter().map(|(_, head)| &head.hash.as_bytes()[..]).collect::<Vec<&[u8]>>())
}

/// Inserts into the operation log; `$at` and the parameters behind it are those of [`bind_log`].
pub(super) fn log(at: usize, condition: &str) -> String {
    format!(
        "INSERT INTO operation_logs ({LOG_COLUMNS}) SELECT ${at}::bigint, * FROM {} {condition}",
        unnest(at + 1, &LOG)
    )
}

pub(super) fn bind_log<'q>(query: Statement<'q>, rows: &[LogRow]) -> Statement<'q> {
    query
        .bind(now_ms())
        .bind(rows.iter().map(|row| row.device_id.as_str()).collect::<Vec<&str>>())
        .bind(rows.iter().map(|row| row.sequence).collect::<Vec<Option<i64>>>())
        .bind(rows.iter().map(|row| row.outcome.as_str()).collect::<Vec<&str>>())
        .bind(rows.iter().map(|row| row.reason).collect::<Vec<Option<&str>>>())
        .bind(rows.iter().map(|row| &row.record_hash.as_bytes()[..]).collect::<Vec<&[u8]>>())
        .bind(rows.iter().map(|row| row.expected.as_deref()).collect::<Vec<Option<&str>>>())
        .bind(rows.iter().map(|row| row.actual.as_deref()).collect::<Vec<Option<&str>>>())
        .bind(rows.iter().map(|row| row.evidence.as_deref()).collect::<Vec<Option<&[u8]>>>())
}

/// Inserts many rows into the operation log.
pub(super) async fn copy_log(connection: &mut PgConnection, log: &[LogRow]) -> Result<(), sqlx::Error> {
    let now_ms = now_ms();
    let mut rows = Rows::default();
    for row in log {
        rows.begin(9);
        rows.integer(now_ms);
        rows.bytes(row.device_id.as_bytes())?;
        match row.sequence {
            Some(sequence) => rows.integer(sequence),
            None => rows.null(),
        }
        rows.bytes(row.outcome.as_str().as_bytes())?;
        rows.optional(row.reason.map(str::as_bytes))?;
        rows.bytes(row.record_hash.as_bytes())?;
        rows.optional(row.expected.as_deref().map(str::as_bytes))?;
        rows.optional(row.actual.as_deref().map(str::as_bytes))?;
        rows.optional(row.evidence.as_deref())?;
    }
    rows.copy(connection, &format!("COPY operation_logs ({LOG_COLUMNS}) FROM STDIN (FORMAT binary)")).await
}

/// Returns a table of parameters from `$at` on, one array for each column.
fn unnest(at: usize, types: &[&str]) -> String {
    let arrays: Vec<String> = types.iter().zip(at..).map(|(of, at)| format!("${at}::{of}[]")).collect();
    format!("unnest({})", arrays.join(", "))
}
