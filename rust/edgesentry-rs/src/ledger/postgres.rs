//! A ledger in PostgreSQL.

mod connect;
mod copy;
mod log;
mod schema;
mod url;
mod write;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use edgesentry_chain::{Head, Heads, PublicKey, RingKey};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use self::connect::{Servers, Use};
use self::schema::SCHEMA;
use super::append::{self, Dialect};
use super::change;
use super::log::POSTGRES_WITNESS;
use super::plan::{self, Chains, Continuation, Held, LogRow, Plan};
use super::rows::Kind;
use super::{
    AppendError, Decision, Entry, Filter, Ledger, LedgerViews, LogEntry, LogQuery, LogTables,
    MAX_DEVICES_WITH_KEY, Page, PostgresSettings, Pruned, RecordStream, RegisteredDevice, Registration,
    RejectionLimits, Rejections, Revocation, RevocationReason, WitnessTables, prune, rows, stream,
};
use crate::admission::{Admitted, OutcomeKind, Registry, RejectionCode};
use crate::clock::now_ms;
use crate::error::{Component, Error, StoreError};
use crate::sql::failed;
use crate::telemetry::metrics::timing_operation_log;
use crate::tls;

/// Opens a ledger for reading, or for reading and writing.
pub(crate) async fn open(settings: &PostgresSettings, read_only: bool) -> Result<Arc<dyn Ledger>, Error> {
    tls::install_provider();
    Ok(Arc::new(if read_only {
        Postgres::read(settings).await?
    } else {
        Postgres::connect(settings).await?
    }))
}

/// Opens the state of a witness for reading, or for reading and writing.
pub(crate) async fn open_witness(
    settings: &PostgresSettings,
    read_only: bool,
) -> Result<Arc<dyn WitnessTables>, Error> {
    tls::install_provider();
    let purpose = if read_only { Use::Read } else { Use::Write };
    let servers = Servers::connect(settings, purpose, &POSTGRES_WITNESS).await?;
    Ok(Arc::new(Postgres { servers: Arc::new(servers) }))
}

/// A ledger in PostgreSQL, for any number of service processes at once.
#[derive(Debug, Clone)]
pub struct Postgres {
    servers: Arc<Servers>,
}

impl Postgres {
    /// Connects to the server of the list that accepts writes, and migrates the tables. A database that holds other
    /// tables in its public schema, and no ledger, is an error, and stays unchanged.
    ///
    /// # Errors
    /// No server of the list takes writes in time, the URL or the role cannot be used, or the database holds other
    /// tables.
    pub async fn connect(settings: &PostgresSettings) -> Result<Postgres, Error> {
        let servers = Servers::connect(settings, Use::Write, &SCHEMA).await?;
        Ok(Postgres { servers: Arc::new(servers) })
    }

    /// Connects for reading, in transactions that cannot write: to a server of the list that accepts writes if one
    /// responds, else to a standby. The role needs SELECT only; tables of an older version are read as they are.
    ///
    /// # Errors
    /// No server of the list responds in time, the URL or the role cannot be used, or the database holds no ledger.
    pub async fn read(settings: &PostgresSettings) -> Result<Postgres, Error> {
        let servers = Servers::connect(settings, Use::Read, &SCHEMA).await?;
        Ok(Postgres { servers: Arc::new(servers) })
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError + use<> {
        failed(self.servers.place(), Component::AuditLedger, action)
    }

    /// The records of a COPY.
    fn stream(&self, statement: String) -> RecordStream {
        let servers = Arc::clone(&self.servers);
        let reading = self.failed("read records");
        stream::spawn(move |chunks| async move {
            if let Err(error) = copy::read(&servers, &statement, &chunks).await {
                // A receiver that has gone away wants nothing.
                let _ = chunks.send(Err(reading(error))).await;
            }
        })
    }

    async fn keys_failed(&self, error: sqlx::Error) -> StoreError {
        let error = self.failed("read device keys")(error);
        if error.is_retryable() {
            self.servers.look_again().await;
        }
        error
    }

    async fn keys_once(&self, device_ids: &[Arc<str>]) -> Result<Vec<stream::KeysRow>, sqlx::Error> {
        let names: Vec<&str> = device_ids.iter().map(|id| &**id).collect();
        let mut reader = self.servers.reader().await?;
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {} FROM chain_heads h JOIN devices d USING (device_id) WHERE h.device_id = ANY($1)
             ORDER BY h.device_id, d.valid_from",
            columns(&rows::KEYS),
        )))
        .bind(names)
        .fetch_all(&mut *reader)
        .await?;
        reader.end().await?;
        rows.iter().map(rows::keys).collect()
    }

    async fn append_once(
        &self,
        connection: &mut PgConnection,
        entries: &[Entry],
    ) -> Result<Vec<Decision>, AppendError> {
        let begin_failed = || self.failed("begin a transaction");
        if self.servers.takes_statements().map_err(begin_failed())?
            && entries.len() < write::COPY_FROM
            && let Some(continuation) = plan::continuation(entries)
            && self.continue_chains(connection, &continuation).await?
        {
            return Ok(continuation.plan.decisions);
        }
        let transaction = self.servers.begin(connection, "BEGIN").await.map_err(begin_failed())?;
        append::append(transaction, self.servers.place(), entries).await
    }

    /// Writes a group in one statement, which is a transaction by itself; returns false, and writes nothing, if the heads are
    /// not as the group expects them, or if the statement fails for good: the transaction of all statements then decides
    /// each entry, or names the one that fails.
    async fn continue_chains(
        &self,
        connection: &mut PgConnection,
        continuation: &Continuation<'_>,
    ) -> Result<bool, StoreError> {
        match timing_operation_log(write::continuation(connection, continuation)).await {
            Ok(is_written) => Ok(is_written),
            Err(error) => {
                let error = self.failed("append to the ledger")(error);
                if error.is_retryable() { Err(error) } else { Ok(false) }
            }
        }
    }

    async fn register_once(&self, registration: &Registration) -> Result<(), Error> {
        let failed = || self.failed("register a device");
        let mut connection = self.servers.writer().await.map_err(failed())?;
        let transaction = self.servers.begin(&mut connection, "BEGIN").await.map_err(failed())?;
        append::register(transaction, self.servers.place(), registration).await?;
        connection.end().await.map_err(failed())?;
        Ok(())
    }

    async fn revoke_once(&self, device_id: &str, reason: RevocationReason) -> Result<u64, Error> {
        let failed = || self.failed("revoke the keys of a device");
        let mut connection = self.servers.writer().await.map_err(failed())?;
        let transaction = self.servers.begin(&mut connection, "BEGIN").await.map_err(failed())?;
        let next = append::revoke(transaction, self.servers.place(), device_id, reason).await?;
        connection.end().await.map_err(failed())?;
        Ok(next)
    }

    async fn revocations_once(&self) -> Result<Vec<Revocation>, sqlx::Error> {
        let mut reader = self.servers.reader().await?;
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {} FROM revocations ORDER BY device_id, revoked_from",
            columns(&rows::REVOCATION),
        )))
        .fetch_all(&mut *reader)
        .await?;
        reader.end().await?;
        rows.iter().map(rows::revocation).collect()
    }

    async fn counts_once(&self) -> Result<Vec<Rejections>, sqlx::Error> {
        let mut reader = self.servers.reader().await?;
        let mut counts = Vec::with_capacity(RejectionCode::ALL.len());
        for code in RejectionCode::ALL {
            counts.push(prune::count(&mut *reader, code).await?);
        }
        reader.end().await?;
        Ok(counts)
    }

    async fn pruned_once(&self) -> Result<Pruned, sqlx::Error> {
        let mut reader = self.servers.reader().await?;
        let row = sqlx::query(
            "SELECT CAST(coalesce(sum(entries), 0) AS bigint), coalesce(max(up_to_id), 0) FROM pruned_rejections",
        )
        .fetch_one(&mut *reader)
        .await?;
        reader.end().await?;
        Ok(Pruned {
            entries: row.try_get::<i64, _>(0)?.cast_unsigned(),
            up_to_id: row.try_get::<i64, _>(1)?.cast_unsigned(),
        })
    }

    /// Deletes and counts the rejections of one reason, in one transaction.
    async fn prune_reason(
        &self,
        code: RejectionCode,
        limits: &RejectionLimits,
    ) -> Result<Rejections, StoreError> {
        let failed = || failed(self.servers.place(), Component::OperationLog, "prune the operation log");
        let mut connection = self.servers.writer().await.map_err(failed())?;
        let mut transaction = connection.begin().await.map_err(failed())?;
        let counts = prune::prune(&mut *transaction, code, limits).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())?;
        connection.end().await.map_err(failed())?;
        Ok(counts)
    }
}

#[async_trait]
impl Ledger for Postgres {
    fn place(&self) -> &str {
        self.servers.place()
    }

    fn notes(&self) -> Vec<String> {
        self.servers.notes().to_vec()
    }

    fn log(&self) -> Option<Arc<dyn LogTables>> {
        Some(Arc::new(self.clone()))
    }

    fn views(&self) -> Option<Arc<dyn LedgerViews>> {
        Some(Arc::new(self.clone()))
    }

    async fn takes_writes(&self) -> Result<Option<bool>, StoreError> {
        let ask = async {
            let mut reader = self.servers.reader().await?;
            // The transaction of a reader is always read-only, so read the default.
            let takes = sqlx::query_scalar(
                "SELECT NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off'",
            );
            let takes = takes.fetch_one(&mut *reader).await?;
            reader.end().await?;
            Ok(Some(takes))
        };
        let takes = self.servers.in_time(ask).await.and_then(|takes| takes);
        takes.map_err(self.failed("check whether the server accepts writes"))
    }

    async fn append(&self, entries: &[Entry]) -> Result<Vec<Decision>, AppendError> {
        let mut connection = match self.servers.acquire().await {
            Ok(connection) => connection,
            Err(error) => {
                self.servers.look_again().await;
                return Err(self.failed("connect to the ledger")(error).into());
            }
        };
        let appended = self.servers.in_time(self.append_once(&mut connection, entries)).await;
        let appended =
            appended.unwrap_or_else(|error| Err(self.failed("get a response in time")(error).into()));
        match &appended {
            Ok(_) => self.servers.keep(connection),
            Err(AppendError::Store(error)) if error.is_retryable() => {
                // Its state is unknown: do not return it to the pool.
                drop(connection);
                self.servers.look_again().await;
            }
            // The ping of the pool also ends a transaction that failed.
            Err(_) => connection.end().await.map_err(self.failed("return a connection"))?,
        }
        appended
    }

    fn concurrent_appends(&self) -> usize {
        self.servers.concurrent_appends()
    }

    async fn keys(&self, device_ids: &[Arc<str>]) -> Result<Registry, StoreError> {
        match self.servers.in_time(self.keys_once(device_ids)).await.and_then(|read| read) {
            Ok(rows) => Ok(stream::registry(rows)),
            Err(error) => Err(self.keys_failed(error).await),
        }
    }

    async fn register(&self, registration: &Registration) -> Result<(), Error> {
        change::check(registration)?;
        let late = || self.failed("get a response in time");
        match self.servers.in_time(self.register_once(registration)).await.map_err(late())? {
            Err(Error::Store(error)) if is_unique_violation(&error) => {
                self.servers.in_time(self.register_once(registration)).await.map_err(late())?
            }
            other => other,
        }
    }

    async fn devices_with_key(&self, key: &PublicKey) -> Result<Vec<String>, StoreError> {
        let failed = || self.failed("read the devices");
        let mut reader = self.servers.reader().await.map_err(failed())?;
        let devices = sqlx::query_scalar(
            "SELECT DISTINCT device_id FROM devices WHERE public_key = $1 ORDER BY device_id LIMIT $2",
        )
        .bind(&key.as_bytes()[..])
        .bind(MAX_DEVICES_WITH_KEY as i64)
        .fetch_all(&mut *reader);
        let devices = self.servers.in_time(devices).await.and_then(|read| read).map_err(failed())?;
        reader.end().await.map_err(failed())?;
        Ok(devices)
    }

    async fn revoke_for(&self, device_id: &str, reason: RevocationReason) -> Result<u64, Error> {
        let late = self.failed("get a response in time");
        self.servers.in_time(self.revoke_once(device_id, reason)).await.map_err(late)?
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        match self.servers.in_time(self.revocations_once()).await.and_then(|read| read) {
            // A ledger opened for reading may be of an earlier release, or grant nothing on this table.
            Err(error) if is_out_of_reach(&error) => Ok(Vec::new()),
            read => read.map_err(self.failed("read the revocations")),
        }
    }

    async fn devices(&self) -> Result<Vec<RegisteredDevice>, StoreError> {
        let failed = || self.failed("read the devices");
        let mut reader = self.servers.reader().await.map_err(failed())?;
        let rows = self.servers.rows(device_rows(&mut reader, None)).await.map_err(failed())?;
        let devices = registered(&rows).map_err(failed())?;
        reader.end().await.map_err(failed())?;
        Ok(devices)
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        let failed = || self.failed("read the heads");
        let mut reader = self.servers.reader().await.map_err(failed())?;
        let heads = sqlx::query(AssertSqlSafe(format!(
            "SELECT {} FROM chain_heads h WHERE sequence > start_sequence",
            columns(&rows::HEAD),
        )));
        let rows = self.servers.rows(heads.fetch(&mut *reader)).await;
        let heads = rows.and_then(|rows| rows.iter().map(rows::head).collect()).map_err(failed())?;
        reader.end().await.map_err(failed())?;
        Ok(heads)
    }

    fn records(&self, filter: &Filter) -> RecordStream {
        self.stream(copy::statement(filter, None))
    }

    fn page(&self, filter: &Filter, page: &Page) -> RecordStream {
        self.stream(copy::statement(filter, Some(page)))
    }

    async fn operation_log(&self, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError> {
        let place = self.servers.place();
        let failed = || failed(place, Component::OperationLog, "read the operation log");
        let mut reader = self.servers.reader().await.map_err(failed())?;
        let order = if query.newest { "DESC" } else { "ASC" };
        let entries = sqlx::query(AssertSqlSafe(format!(
            "SELECT {} FROM operation_logs WHERE id > $1 AND ($2::text IS NULL OR device_id = $2)
             AND ($3::text IS NULL OR outcome = $3) AND ($4::text IS NULL OR reason = $4)
             AND ($6::bigint IS NULL OR at_ms >= $6) ORDER BY id {order} LIMIT $5",
            columns(&rows::LOG),
        )))
        .bind(stream::column(Some(query.after_id), 0))
        .bind(query.device_id.as_deref())
        .bind(query.outcome.map(OutcomeKind::as_str))
        .bind(query.reason.as_deref())
        .bind(i64::from(query.limit))
        .bind(query.since_ms.map(|since_ms| stream::column(Some(since_ms), 0)));
        let rows = self.servers.rows(entries.fetch(&mut *reader)).await;
        let entries = rows.and_then(|rows| rows.iter().map(rows::log_entry).collect()).map_err(failed())?;
        reader.end().await.map_err(failed())?;
        Ok(query.in_order(entries))
    }

    async fn prune_rejections(&self, limits: &RejectionLimits) -> Result<Vec<Rejections>, StoreError> {
        let mut counts = Vec::with_capacity(RejectionCode::ALL.len());
        for code in RejectionCode::ALL {
            counts.push(self.prune_reason(code, limits).await?);
        }
        Ok(counts)
    }

    async fn count_rejections(&self) -> Result<Vec<Rejections>, StoreError> {
        let failed = failed(self.servers.place(), Component::OperationLog, "read the operation log");
        self.servers.in_time(self.counts_once()).await.and_then(|counts| counts).map_err(failed)
    }

    async fn pruned(&self) -> Result<Pruned, StoreError> {
        match self.servers.in_time(self.pruned_once()).await.and_then(|pruned| pruned) {
            // A ledger opened for reading may be of an earlier release, or grant nothing on this table.
            Err(sqlx::Error::Database(_)) => Ok(Pruned::default()),
            pruned => pruned.map_err(failed(
                self.servers.place(),
                Component::OperationLog,
                "read the operation log",
            )),
        }
    }
}

/// Returns an expression that is NULL, which is an error, if the value is longer than any that a ledger writes.
fn bounded(column: &str, most_bytes: usize) -> String {
    format!("CASE WHEN octet_length({column}) <= {most_bytes} THEN {column} END")
}

/// Returns the columns of a SELECT, each [`bounded`].
fn columns(columns: &[rows::Column]) -> String {
    let column = |(name, kind): &rows::Column| match kind {
        Kind::Integer => (*name).to_owned(),
        Kind::Text | Kind::Bytes => bounded(name, stream::MAX_TEXT_BYTES),
        Kind::Evidence => bounded(name, stream::MAX_EVIDENCE_BYTES),
    };
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// Returns true if a table does not exist (`undefined_table`), or the role may not read it (`insufficient_privilege`).
fn is_out_of_reach(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| matches!(&*code, "42P01" | "42501"))
}

fn is_unique_violation(error: &StoreError) -> bool {
    let error = error.source.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    error.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

#[async_trait]
impl prune::Database for PgConnection {
    async fn numbers(
        &mut self,
        statement: String,
        reason: &str,
        numbers: &[i64],
    ) -> Result<Vec<i64>, sqlx::Error> {
        let query = sqlx::query_scalar(AssertSqlSafe(statement)).bind(reason);
        numbers.iter().fold(query, |query, number| query.bind(*number)).fetch_all(self).await
    }
}

impl rows::Columns for PgRow {
    fn integer(&self, index: usize) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(index)
    }

    fn text(&self, index: usize) -> Result<Option<&str>, sqlx::Error> {
        self.try_get(index)
    }

    fn bytes(&self, index: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        self.try_get(index)
    }
}

#[async_trait]
impl Dialect for PgConnection {
    /// Locks the heads of the devices of a group, in the order of device ids like every appender, which prevents
    /// deadlocks.
    async fn lock(&mut self, device_ids: Vec<String>) -> Result<Chains, sqlx::Error> {
        if device_ids.is_empty() {
            return Ok(Chains::new());
        }
        let rows = sqlx::query(
            "SELECT device_id, sequence, record_hash, keys_version FROM chain_heads WHERE device_id = ANY($1)
             ORDER BY device_id FOR UPDATE",
        )
        .bind(device_ids)
        .fetch_all(&mut *self)
        .await?;
        rows.iter().map(rows::locked).collect()
    }

    async fn held(&mut self, places: &[(&str, u64)]) -> Result<Held, sqlx::Error> {
        if places.is_empty() {
            return Ok(Held::new());
        }
        let (devices, sequences): (Vec<&str>, Vec<i64>) =
            places.iter().map(|(device, sequence)| (*device, sequence.cast_signed())).unzip();
        let rows = sqlx::query(
            "SELECT r.device_id, r.sequence, r.record_hash FROM unnest($1::text[], $2::bigint[]) AS b (device_id, sequence)
             JOIN audit_records r USING (device_id, sequence)",
        )
        .bind(devices)
        .bind(sequences)
        .fetch_all(&mut *self)
        .await?;
        rows.iter().map(rows::held).collect()
    }

    /// This ledger has no payload store.
    async fn write_payloads(&mut self, admitted: &[&Admitted]) -> Result<Vec<bool>, sqlx::Error> {
        Ok(vec![false; admitted.len()])
    }

    async fn write_records(&mut self, plan: &Plan<'_>) -> Result<(), sqlx::Error> {
        if plan.accepted.is_empty() {
            return Ok(());
        }
        if plan.accepted.len() < write::COPY_FROM {
            let records = sqlx::query(AssertSqlSafe(write::records(1, "")));
            write::bind_records(records, &plan.accepted).execute(&mut *self).await?;
        } else {
            write::copy_records(self, &plan.accepted).await?;
        }
        let heads = write::heads(1, "");
        write::bind_heads(sqlx::query(AssertSqlSafe(heads)), &plan.heads).execute(&mut *self).await?;
        Ok(())
    }

    async fn write_log(&mut self, rows: &[LogRow]) -> Result<(), sqlx::Error> {
        if rows.len() >= write::COPY_FROM {
            return write::copy_log(self, rows).await;
        }
        write::bind_log(sqlx::query(AssertSqlSafe(write::log(1, ""))), rows).execute(&mut *self).await?;
        Ok(())
    }

    /// Only the first key of a new device finds no row to lock; of two concurrent ones, one fails on the primary key.
    async fn lock_device(&mut self, device_id: &str) -> Result<Option<RegisteredDevice>, sqlx::Error> {
        sqlx::query("SELECT FROM chain_heads WHERE device_id = $1 FOR UPDATE")
            .bind(device_id)
            .execute(&mut *self)
            .await?;
        let rows: Vec<PgRow> = device_rows(self, Some(device_id)).try_collect().await?;
        Ok(registered(&rows)?.pop())
    }

    /// Returns those of the keys that a device has. No other key can be registered until the transaction ends, so two
    /// concurrent calls cannot both take one.
    async fn registered_keys(&mut self, keys: &[RingKey]) -> Result<HashSet<[u8; 32]>, sqlx::Error> {
        sqlx::query("LOCK TABLE devices IN SHARE ROW EXCLUSIVE MODE").execute(&mut *self).await?;
        let found: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT public_key FROM devices WHERE public_key = ANY($1)")
                .bind(keys.iter().map(|key| &key.key.as_bytes()[..]).collect::<Vec<&[u8]>>())
                .fetch_all(&mut *self)
                .await?;
        Ok(found.into_iter().filter_map(|key| key.try_into().ok()).collect())
    }

    /// Returns a device that has the key under the other scheme. No other key can be registered until the transaction
    /// ends, so two concurrent calls cannot both find none.
    async fn other_scheme(&mut self, registration: &Registration) -> Result<Option<String>, sqlx::Error> {
        sqlx::query("LOCK TABLE devices IN SHARE ROW EXCLUSIVE MODE").execute(&mut *self).await?;
        sqlx::query_scalar("SELECT min(device_id) FROM devices WHERE public_key = $1 AND scheme <> $2")
            .bind(&registration.key.as_bytes()[..])
            .bind(registration.scheme.name())
            .fetch_one(&mut *self)
            .await
    }

    async fn write_head(&mut self, device_id: &str, start: Head) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO chain_heads VALUES ($1, $2, $3, $2, $3, 1, $4)")
            .bind(device_id)
            .bind(start.sequence.cast_signed())
            .bind(&start.hash.as_bytes()[..])
            .bind(now_ms())
            .execute(&mut *self)
            .await?;
        Ok(())
    }

    async fn write_key(&mut self, device_id: &str, key: RingKey) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO devices VALUES ($1, $2, $3, $4, NULL, $5) ON CONFLICT (device_id, valid_from)
             DO UPDATE SET public_key = $3, scheme = $4, revoked_from = NULL, registered_at_ms = $5",
        )
        .bind(device_id)
        .bind(key.valid_from.cast_signed())
        .bind(&key.key.as_bytes()[..])
        .bind(key.scheme.name())
        .bind(now_ms())
        .execute(&mut *self)
        .await?;
        Ok(())
    }

    async fn count_change_of_keys(&mut self, device_id: &str) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar(
            "UPDATE chain_heads SET keys_version = keys_version + 1 WHERE device_id = $1 RETURNING sequence + 1",
        )
        .bind(device_id)
        .fetch_optional(&mut *self)
        .await
    }

    async fn revoke_keys(&mut self, device_id: &str, from: i64) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE devices SET revoked_from = $1 WHERE device_id = $2 AND revoked_from IS NULL")
            .bind(from)
            .bind(device_id)
            .execute(&mut *self)
            .await?;
        Ok(())
    }

    async fn write_revocation(
        &mut self,
        device_id: &str,
        from: i64,
        reason: RevocationReason,
    ) -> Result<(), sqlx::Error> {
        // A repetition without a reason says nothing new.
        sqlx::query(
            "INSERT INTO revocations VALUES ($1, $2, $3, $4) ON CONFLICT (device_id, revoked_from)
             DO UPDATE SET reason = $3, at_ms = $4 WHERE $3 <> 'unspecified' OR revocations.reason = 'unspecified'",
        )
        .bind(device_id)
        .bind(from)
        .bind(reason.name())
        .bind(now_ms())
        .execute(&mut *self)
        .await?;
        Ok(())
    }
}

/// Reads the keys of one device or of all, with the heads.
fn device_rows<'c>(
    connection: &'c mut PgConnection,
    device_id: Option<&'c str>,
) -> BoxStream<'c, Result<PgRow, sqlx::Error>> {
    let statement = format!(
        "SELECT {} FROM chain_heads h JOIN devices d USING (device_id) WHERE $1::text IS NULL OR h.device_id = $1
         ORDER BY h.device_id, d.valid_from",
        columns(&rows::DEVICE),
    );
    sqlx::query(AssertSqlSafe(statement)).bind(device_id).fetch(connection)
}

fn registered(rows: &[PgRow]) -> Result<Vec<RegisteredDevice>, sqlx::Error> {
    let rows: Result<Vec<_>, sqlx::Error> = rows.iter().map(rows::device).collect();
    Ok(stream::devices(rows?))
}
