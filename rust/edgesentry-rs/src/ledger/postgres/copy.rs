//! COPY of PostgreSQL in its binary format, which is the fastest way to read records, and to write many.
//!
//! Format: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format".

use std::pin::pin;

use edgesentry_chain::{AuditRecord, Hash};
use futures::TryStreamExt;
use sqlx::{Connection, Executor, PgConnection, Row};

use super::Servers;
use crate::background;
use crate::ledger::log::Span;
use crate::ledger::rows;
use crate::ledger::stream::{self, CHUNK, Chunks};
use crate::ledger::{Filter, Page};

/// Signature, flags, length of the header extension.
const HEADER_BYTES: usize = 11 + 4 + 4;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Sends all records of a [`statement`], as it sees them.
pub(super) async fn read(servers: &Servers, statement: &str, chunks: &Chunks) -> Result<(), sqlx::Error> {
    // Detached from the pool: a reader that stops early leaves rows behind in it.
    let mut connection = servers.pool().await.acquire().await?.detach();
    servers.in_time(connection.execute("BEGIN TRANSACTION READ ONLY")).await??;
    // A simple query, which a pooler forwards as a whole.
    let process = servers.in_time(connection.fetch_one("SELECT pg_backend_pid()")).await??.try_get(0)?;
    let mut rows = patiently(servers, process, connection.copy_out_raw(statement)).await?;
    let mut received = Received::default();
    let mut chunk = Vec::with_capacity(CHUNK);
    while let Some(bytes) = patiently(servers, process, rows.try_next()).await? {
        received.add(&bytes);
        while let Some(columns) = received.row()? {
            chunk.push(record(columns)?);
            if chunk.len() == CHUNK {
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                if chunks.send(Ok(full)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    drop(rows);
    if !chunk.is_empty() {
        // The receiver may be gone.
        let _ = chunks.send(Ok(chunk)).await;
    }
    // Every record is sent. After a slow reader, the server may have ended the transaction.
    let _ = servers.in_time(connection.close()).await;
    Ok(())
}

/// Waits for a response as long as the server works for it: it may sort before the first row.
async fn patiently<T>(
    servers: &Servers,
    process: i32,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let mut answer = pin!(answer);
    loop {
        match servers.in_time(answer.as_mut()).await {
            Ok(answer) => return answer,
            Err(_) if servers.works_for(process).await => {}
            Err(late) => return Err(late),
        }
    }
}

/// Returns the records of spans of sequences, in the order of the spans.
pub(super) async fn spans(
    connection: &mut PgConnection,
    spans: &[Span],
) -> Result<Vec<AuditRecord>, sqlx::Error> {
    let mut rows = connection.copy_out_raw(&spans_statement(spans)).await?;
    let mut received = Received::default();
    while let Some(bytes) = rows.try_next().await? {
        received.add(&bytes);
    }
    background::run(move || records_of_spans(received)).await
}

fn records_of_spans(mut received: Received) -> Result<Vec<AuditRecord>, sqlx::Error> {
    let mut records = Vec::new();
    while let Some([columns @ .., place]) = received.row::<8>()? {
        let record = record(columns)?;
        records.push((number(place).ok_or_else(malformed)?, record));
    }
    // The server sends them in this order, and SQL does not promise it.
    records.sort_by_key(|(place, record)| (*place, record.sequence));
    Ok(records.into_iter().map(|(_, record)| record).collect())
}

/// The COPY of the records of spans, each with the place of its span. Without ORDER BY the server sorts nothing: it
/// walks the spans, and the primary key for each.
fn spans_statement(spans: &[Span]) -> String {
    let devices: Vec<String> = spans.iter().map(|(device_id, ..)| text_literal(device_id)).collect();
    let numbers =
        |of: fn(&Span) -> i64| spans.iter().map(|span| of(span).to_string()).collect::<Vec<_>>().join(",");
    format!(
        "COPY (SELECT r.*, span.place
         FROM unnest(ARRAY[{}]::text[], '{{{}}}'::bigint[], '{{{}}}'::bigint[])
             WITH ORDINALITY AS span (device, first, last, place)
         CROSS JOIN LATERAL (
             SELECT {} FROM audit_records
             WHERE device_id = span.device AND sequence BETWEEN span.first AND span.last
             ORDER BY sequence
         ) r) TO STDOUT (FORMAT binary)",
        devices.join(","),
        numbers(|(_, first, _)| *first),
        numbers(|(.., last)| *last),
        super::columns(&rows::RECORD)
    )
}

/// Returns an SQL expression of a text. Its hexadecimal digits cannot end the literal.
fn text_literal(text: &str) -> String {
    format!("convert_from('\\x{}', 'UTF8')", hex::encode(text))
}

/// The COPY of the records of a filter, or of a page of it. It takes no parameters.
pub(super) fn statement(filter: &Filter, page: Option<&Page>) -> String {
    let mut conditions = vec!["true".to_owned()];
    if !filter.devices.is_empty() {
        let devices = filter.devices.iter().map(|device_id| text_literal(device_id));
        conditions.push(format!("device_id IN ({})", devices.collect::<Vec<_>>().join(", ")));
    }
    // The column is a signed integer: a larger bound excludes nothing.
    let before_ms = filter.before_ms.filter(|ms| i64::try_from(*ms).is_ok());
    let mut bound = |column: &str, comparison: &str, value: Option<u64>| {
        if value.is_some() {
            conditions.push(format!("{column} {comparison} {}", stream::column(value, 0)));
        }
    };
    bound("sequence", ">=", filter.from_sequence);
    bound("sequence", "<=", filter.to_sequence);
    bound("timestamp_ms", ">=", filter.from_ms);
    bound("timestamp_ms", "<", before_ms);
    let mut limit = String::new();
    if let Some(Page { after, limit: records }) = page {
        limit = format!(" LIMIT {records}");
        if let Some((device_id, sequence)) = after {
            let last = stream::column(Some(*sequence), 0);
            conditions.push(if filter.devices == [device_id.as_str()] {
                // The primary key finds the first row; with both columns it would begin at the first row of the device.
                format!("r.sequence > {last}")
            } else {
                format!("(r.device_id, r.sequence) > ({}, {last})", text_literal(device_id))
            });
        }
    }
    format!(
        "COPY (SELECT {} FROM audit_records r WHERE {} ORDER BY r.device_id, r.sequence{limit}) TO STDOUT (FORMAT binary)",
        super::columns(&rows::RECORD),
        conditions.join(" AND ")
    )
}

/// Rows to write.
pub(super) struct Rows(Vec<u8>);

impl Default for Rows {
    fn default() -> Rows {
        // No flags, and no header extension.
        Rows([SIGNATURE, &[0; HEADER_BYTES - SIGNATURE.len()]].concat())
    }
}

impl Rows {
    /// Begins a row of this number of columns.
    pub(super) fn begin(&mut self, columns: i16) {
        self.0.extend(columns.to_be_bytes());
    }

    pub(super) fn integer(&mut self, value: i64) {
        self.0.extend(8_i32.to_be_bytes());
        self.0.extend(value.to_be_bytes());
    }

    /// Adds a text or bytes.
    pub(super) fn bytes(&mut self, value: &[u8]) -> Result<(), sqlx::Error> {
        let length = i32::try_from(value.len()).map_err(|error| sqlx::Error::Encode(error.into()))?;
        self.0.extend(length.to_be_bytes());
        self.0.extend(value);
        Ok(())
    }

    pub(super) fn null(&mut self) {
        self.0.extend((-1_i32).to_be_bytes());
    }

    pub(super) fn optional(&mut self, value: Option<&[u8]>) -> Result<(), sqlx::Error> {
        match value {
            Some(value) => self.bytes(value),
            None => {
                self.null();
                Ok(())
            }
        }
    }

    /// Writes the rows by this COPY.
    pub(super) async fn copy(
        mut self,
        connection: &mut PgConnection,
        statement: &str,
    ) -> Result<(), sqlx::Error> {
        // The trailer.
        self.0.extend((-1_i16).to_be_bytes());
        let mut copy = connection.copy_in_raw(statement).await?;
        copy.send(self.0).await?;
        copy.finish().await?;
        Ok(())
    }
}

fn malformed() -> sqlx::Error {
    sqlx::Error::Protocol("the server's COPY stream does not follow its documentation".to_owned())
}

/// Returns the length of the header.
fn header(bytes: &[u8]) -> Result<usize, sqlx::Error> {
    let extension = bytes.get(HEADER_BYTES - 4..HEADER_BYTES).and_then(|bytes| bytes.try_into().ok());
    let extension = usize::try_from(i32::from_be_bytes(extension.ok_or_else(malformed)?));
    if !bytes.starts_with(SIGNATURE) {
        return Err(malformed());
    }
    Ok(HEADER_BYTES + extension.map_err(|_| malformed())?)
}

type Columns<'a, const N: usize> = [&'a [u8]; N];

/// The bytes of a COPY that are not read yet.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    /// The bytes of complete rows.
    read: usize,
    begun: bool,
}

impl Received {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the columns of the next row; `None` if it is incomplete, or is the trailer.
    fn row<const N: usize>(&mut self) -> Result<Option<Columns<'_, N>>, sqlx::Error> {
        if !self.begun {
            if self.bytes.len() < HEADER_BYTES {
                return Ok(None);
            }
            self.read = header(&self.bytes)?;
            self.begun = true;
        }
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        Ok(row(rest)?.map(|(columns, length)| {
            self.read += length;
            columns
        }))
    }
}

/// Returns the columns of the next row and its length; `None` if it is incomplete, or is the trailer.
fn row<const N: usize>(bytes: &[u8]) -> Result<Option<(Columns<'_, N>, usize)>, sqlx::Error> {
    let Some(fields) = bytes.first_chunk::<2>() else { return Ok(None) };
    match i16::from_be_bytes(*fields) {
        -1 => return Ok(None),
        columns if usize::try_from(columns) == Ok(N) => {}
        _ => return Err(malformed()),
    }
    let mut at = 2;
    let mut values: [&[u8]; N] = [&[]; N];
    for value in &mut values {
        let Some(length) = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>) else { return Ok(None) };
        // NULL has the length -1.
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            return Err(invalid(values[0], values[1], "a column that is NULL or too long"));
        };
        if length > stream::MAX_TEXT_BYTES {
            return Err(malformed());
        }
        let Some(bytes) = bytes.get(at + 4..at + 4 + length) else { return Ok(None) };
        (*value, at) = (bytes, at + 4 + length);
    }
    Ok(Some((values, at)))
}

/// Returns the record with these columns.
fn record(columns: [&[u8]; 7]) -> Result<AuditRecord, sqlx::Error> {
    let [device_id, sequence, timestamp_ms, payload_hash, signature, prev_record_hash, object_ref] = columns;
    let invalid_column = |column: &'static str| move || invalid(device_id, sequence, column);
    Ok(AuditRecord {
        device_id: text(device_id).ok_or_else(invalid_column("device_id"))?,
        sequence: number(sequence).ok_or_else(invalid_column("sequence"))?,
        timestamp_ms: number(timestamp_ms).ok_or_else(invalid_column("timestamp_ms"))?,
        payload_hash: array(payload_hash).map(Hash).ok_or_else(invalid_column("payload_hash"))?,
        signature: array(signature).ok_or_else(invalid_column("signature"))?,
        prev_record_hash: array(prev_record_hash).map(Hash).ok_or_else(invalid_column("prev_record_hash"))?,
        object_ref: text(object_ref).ok_or_else(invalid_column("object_ref"))?,
    })
}

/// Returns the error for a value that no ledger writes, with its row.
fn invalid(device_id: &[u8], sequence: &[u8], column: &str) -> sqlx::Error {
    let device_id: String = String::from_utf8_lossy(device_id).chars().take(64).collect();
    let sequence =
        array(sequence).map_or_else(|| "?".to_owned(), |bytes| i64::from_be_bytes(bytes).to_string());
    let place = format!("device_id {device_id:?}, sequence {sequence}");
    stream::malformed(&place, column, "is not a value that a ledger writes")
}

fn text(bytes: &[u8]) -> Option<String> {
    str::from_utf8(bytes).ok().map(str::to_owned)
}

fn number(bytes: &[u8]) -> Option<u64> {
    stream::number(i64::from_be_bytes(array(bytes)?))
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}
