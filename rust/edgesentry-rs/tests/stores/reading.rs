//! Ledgers opened for reading.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use edgesentry_rs::ingest::storage::Limits;
use edgesentry_rs::ledger::{Filter, Ledger, LogQuery, Postgres, PostgresSettings, Sqlite};
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::{Error, IngestService};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use crate::common::{
    Kind, Place, Server, chain, database, device, devices, names, postgres, records, registration, server,
    unique, verify,
};

/// Bytes, mode, time of the last change and inode of a file.
type FileState = (Vec<u8>, u32, (i64, i64), u64);

/// Returns the state of all files of a directory that a reader might change.
fn state(folder: &Path) -> BTreeMap<String, FileState> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let of = |entry: fs::DirEntry| {
        let metadata = entry.metadata().unwrap();
        let bytes = if metadata.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        (entry.file_name().into_string().unwrap(), (bytes, metadata.mode(), modified, metadata.ino()))
    };
    entries.map(of).collect()
}

/// Reads and verifies everything.
async fn read_all(ledger: Arc<dyn Ledger>, records_expected: usize) {
    assert_eq!(records(&*ledger, &Filter::default()).await.len(), records_expected);
    assert_eq!(ledger.devices().await.unwrap().len(), 2);
    assert_eq!(ledger.heads().await.unwrap().len(), 2);
    assert_eq!(ledger.operation_log(&LogQuery::default()).await.unwrap().len(), records_expected);
    let report = verify(ledger, None).await;
    assert!(report.ok(), "{report:?}");
}

/// Stores two chains of five records.
async fn fill(place: &Place) {
    let service = place.service().await;
    for mut device in devices(&*place.ledger().await, 2).await {
        let outcomes = service.ingest_many(chain(&mut device, 5)).await;
        assert_eq!(names(&outcomes), ["accepted"; 5]);
    }
}

async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

async fn tables(url: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
}

/// Returns the indexes of the records.
async fn indexes(url: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = "SELECT indexname::text FROM pg_indexes WHERE tablename = 'audit_records' ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
}

fn settings(url: &str) -> PostgresSettings {
    PostgresSettings { url: url.to_owned().into(), ..PostgresSettings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_leaves_a_file_unchanged_with_and_without_its_log() {
    let place = Place::new(Kind::Sqlite).await;
    let ledger = Sqlite::open(&place.path("ledger.db")).await.unwrap();
    // While the ledger is open, the log holds the writes.
    fill(&place).await;
    let source = place.path("ledger.db");
    for files in [vec![".db", ".db-wal", ".db-shm"], vec![".db", ".db-wal"]] {
        let folder = tempfile::tempdir().unwrap();
        for file in &files {
            fs::copy(source.with_extension(&file[1..]), folder.path().join(format!("copy{file}"))).unwrap();
        }
        let before = state(folder.path());
        let copy: Arc<dyn Ledger> = Arc::new(Sqlite::read(&folder.path().join("copy.db")).await.unwrap());
        assert!(copy.notes()[0].contains("-wal"), "{:?}", copy.notes());
        read_all(Arc::clone(&copy), 10).await;
        copy.close().await;
        assert_eq!(state(folder.path()), before, "{files:?}");
    }
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_does_not_block_a_writer() {
    let place = Place::new(Kind::Sqlite).await;
    fill(&place).await;
    let writer = Arc::new(Sqlite::open(&place.path("ledger.db")).await.unwrap());
    let service = IngestService::start_with(
        writer.clone(),
        Arc::new(writer.payloads()),
        Limits::default(),
        Metrics::global(),
    );
    let reader: Arc<dyn Ledger> = Arc::new(Sqlite::read(&place.path("ledger.db")).await.unwrap());
    let mut third = device(3);
    writer.register(&registration(&third)).await.unwrap();
    for _ in 0..3 {
        let outcomes = service.ingest_many(chain(&mut third, 50)).await;
        assert_eq!(names(&outcomes), ["accepted"; 50]);
        let report = verify(reader.clone(), None).await;
        assert!(report.ok(), "{report:?}");
    }
    assert_eq!(records(&*reader, &Filter::default()).await.len(), 160);
    reader.close().await;
    writer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_beside_a_reader_in_one_process_writes_or_fails_with_a_reason() {
    let place = Place::new(Kind::Sqlite).await;
    fill(&place).await;
    let path = place.path("ledger.db");
    // As a writer in another process leaves them: copies, which this process does not have open.
    let writer = Sqlite::open(&path).await.unwrap();
    writer.register(&registration(&device(3))).await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let from = place.path(&format!("ledger.db{suffix}"));
        fs::copy(from, place.path(&format!("other.db{suffix}"))).unwrap();
    }
    // A writer that precedes a reader can still write, and others can join.
    let reader = Sqlite::read(&path).await.unwrap();
    let second = Sqlite::open(&path).await.unwrap();
    second.register(&registration(&device(4))).await.unwrap();
    assert_eq!(reader.devices().await.unwrap().len(), 4);
    let reader = Sqlite::read(&place.path("other.db")).await.unwrap();
    let error = Sqlite::open(&place.path("other.db")).await.unwrap_err();
    let Error::Store(store) = &error else { panic!("{error}") };
    assert!(store.describe().contains("close it first") && !store.is_retryable(), "{}", store.describe());
    reader.close().await;
    drop(reader);
    Sqlite::open(&place.path("other.db")).await.unwrap().register(&registration(&device(5))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_while_it_is_read_without_locks_is_an_error() {
    let place = Place::new(Kind::Sqlite).await;
    fill(&place).await;
    // A copy by itself, without a log beside it.
    let path = place.path("alone.db");
    let copied = format!("VACUUM INTO '{}'", path.display());
    let mut connection = SqliteConnection::connect(&place.url).await.unwrap();
    connection.execute(AssertSqlSafe(copied)).await.unwrap();
    let before = state(place.folder.path());
    let reader: Arc<dyn Ledger> = Arc::new(Sqlite::read(&path).await.unwrap());
    assert_eq!(reader.notes(), Vec::<String>::new());
    read_all(reader.clone(), 10).await;
    assert_eq!(state(place.folder.path()), before);
    let mut writer = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    writer.execute("UPDATE audit_records SET timestamp_ms = timestamp_ms + 1").await.unwrap();
    let error = reader.heads().await.unwrap_err();
    assert!(error.describe().contains("was written to while it was read"), "{}", error.describe());
    assert!(error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_open_for_reading_refuses_writes() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = Place::new(kind).await;
        fill(&place).await;
        let ledger: Arc<dyn Ledger> = match kind {
            Kind::Sqlite => Arc::new(Sqlite::read(&place.path("ledger.db")).await.unwrap()),
            Kind::Postgres => Arc::new(Postgres::read(&settings(&place.url)).await.unwrap()),
        };
        let error = ledger.register(&registration(&device(9))).await.unwrap_err();
        let Error::Store(store) = &error else { panic!("{error}") };
        assert!(
            store.describe().contains("it is open read-only") && !store.is_retryable(),
            "{}",
            store.describe()
        );
        assert!(ledger.revoke("lift-01").await.is_err());
        read_all(ledger, 10).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_an_error() {
    let place = Place::new(Kind::Sqlite).await;
    fill(&place).await;
    place.tamper("UPDATE _sqlx_migrations SET version = 99 WHERE version = 1").await;
    for opened in [
        Sqlite::read(&place.path("ledger.db")).await.err(),
        Sqlite::open(&place.path("ledger.db")).await.err(),
    ] {
        let error = opened.unwrap();
        assert!(error.to_string().contains("schema version 99") && !error.is_retryable(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_an_earlier_release_are_read_as_they_are_and_change_with_the_first_writer() {
    let place = Place::new(Kind::Postgres).await;
    fill(&place).await;
    let earlier = "ALTER TABLE audit_records ADD UNIQUE (device_id, prev_record_hash);
                   DROP TABLE log_state, log_batches, log_runs, log_events, log_heads, log_keys, checkpoints, erasures, cosignatures, timestamps, revocations CASCADE;
                   DELETE FROM _sqlx_migrations WHERE version >= 3";
    run(&place.url, earlier).await;
    read_all(Arc::new(Postgres::read(&settings(&place.url)).await.unwrap()), 10).await;
    assert_eq!(
        indexes(&place.url).await,
        ["audit_records_device_id_prev_record_hash_key", "audit_records_pkey"]
    );

    let ledger = Postgres::connect(&settings(&place.url)).await.unwrap();
    assert_eq!(indexes(&place.url).await, ["audit_records_pkey"]);
    read_all(Arc::new(ledger), 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_program_gets_no_table() {
    let url = database(&server("EDGESENTRY_TEST_POSTGRES")).await;
    // Reading creates nothing, even in an empty database.
    let error = Postgres::read(&settings(&url)).await.unwrap_err();
    assert!(error.to_string().contains("it contains no ledger"), "{error}");
    run(&url, "CREATE TABLE notes (x int)").await;
    for opened in
        [Postgres::read(&settings(&url)).await.err(), Postgres::connect(&settings(&url)).await.err()]
    {
        let error = opened.unwrap();
        assert!(error.to_string().contains("it holds other tables (\"public.notes\")"), "{error}");
        assert!(matches!(error, Error::Config(_)));
    }
    assert_eq!(tables(&url).await, ["notes"]);
    // In a schema of its own, a ledger may share the database.
    run(&url, "CREATE SCHEMA audit").await;
    let own = format!("{url}?options=-csearch_path%3Daudit");
    Postgres::connect(&settings(&own)).await.unwrap().register(&registration(&device(1))).await.unwrap();
    assert_eq!(Postgres::read(&settings(&own)).await.unwrap().devices().await.unwrap().len(), 1);
    assert_eq!(tables(&url).await, ["notes"]);
    // A view with the name of a table is not a table.
    let url = database(&server("EDGESENTRY_TEST_POSTGRES")).await;
    for table in ["audit_records", "chain_heads", "devices", "operation_logs"] {
        run(&url, &format!("CREATE VIEW {table} AS SELECT 1")).await;
    }
    assert!(Postgres::read(&settings(&url)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_computed_table_in_a_file_is_refused() {
    // Each value would take 800 MB of the reader's memory.
    let (table, view) = ("TABLE computed (a, object_ref AS", "VIEW computed AS SELECT");
    for name in ["audit_records", "devices", "payloads", "record_payloads", "_sqlx_migrations"] {
        for (what, end) in [(table, ")"), (view, "")] {
            let place = Place::new(Kind::Sqlite).await;
            fill(&place).await;
            let what = what.replace("computed", name);
            let mut connection = SqliteConnection::connect(&place.url).await.unwrap();
            for sql in
                [format!("DROP TABLE {name}"), format!("CREATE {what} (hex(zeroblob(400000000))){end}")]
            {
                connection.execute(AssertSqlSafe(sql)).await.unwrap();
            }
            connection.close().await.unwrap();
            let path = place.path("ledger.db");
            for opened in [Sqlite::read(&path).await.err(), Sqlite::open(&path).await.err()] {
                let error = opened.expect(name);
                assert!(error.to_string().contains("it contains no ledger"), "{name}: {error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_select_verifies() {
    let place = Place::new(Kind::Postgres).await;
    fill(&place).await;
    let role = format!("auditor_{}", unique());
    let database = place.url.rsplit('/').next().unwrap();
    run(
        &place.url,
        &format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'read'; GRANT CONNECT ON DATABASE {database} TO {role};
             GRANT SELECT ON audit_records, chain_heads, devices, operation_logs TO {role}"
        ),
    )
    .await;
    let host = place.url.split('@').nth(1).unwrap();
    let url = format!("postgres://{role}:read@{host}");
    let ledger: Arc<dyn Ledger> = Arc::new(Postgres::read(&settings(&url)).await.unwrap());
    assert_eq!(ledger.revocations().await.unwrap(), []);
    read_all(ledger, 10).await;
    run(&place.url, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_read() {
    let server = Server::start("postgres", "start");
    let ledger = postgres(&server.url).await;
    let service = IngestService::start_with(
        Arc::new(ledger.clone()),
        Arc::new(edgesentry_rs::payload::Memory::default()),
        Limits::default(),
        Metrics::global(),
    );
    for mut device in devices(&ledger, 2).await {
        assert_eq!(names(&service.ingest_many(chain(&mut device, 5)).await), ["accepted"; 5]);
    }
    ledger.close().await;
    server.run("stop");
    fs::write(server.data().join("standby.signal"), "").unwrap();
    server.run("start");
    let standby: Arc<dyn Ledger> = Arc::new(Postgres::read(&settings(&server.url)).await.unwrap());
    assert!(standby.notes()[0].contains("read from the standby"), "{:?}", standby.notes());
    read_all(standby, 10).await;
    let error = Postgres::connect(&settings(&server.url)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_read_through_a_pooler_of_transactions() {
    let url = database(&server("EDGESENTRY_TEST_POSTGRES")).await;
    let pooler = Server::start_with("pgbouncer", "start", &[&url]);
    let pooled = PostgresSettings { transaction_pooling: true, ..settings(&pooler.url) };
    // Three services share the pooler's two connections to the server.
    let mut services = Vec::new();
    for number in 1..=3 {
        let ledger = Postgres::connect(&pooled).await.unwrap();
        let mut device = device(number);
        ledger.register(&registration(&device)).await.unwrap();
        let memory = Arc::new(edgesentry_rs::payload::Memory::default());
        let service =
            IngestService::start_with(Arc::new(ledger), memory, Limits::default(), Metrics::global());
        services.push(tokio::spawn(async move {
            for _ in 0..5 {
                assert_eq!(names(&service.ingest_many(chain(&mut device, 20)).await), ["accepted"; 20]);
            }
        }));
    }
    for service in services {
        service.await.unwrap();
    }
    let ledger: Arc<dyn Ledger> = Arc::new(Postgres::read(&pooled).await.unwrap());
    let report = verify(ledger, None).await;
    assert!(report.ok(), "{report:?}");
    assert_eq!(report.coverage.records, 300);
    // A session setting would stay with the server's connection, and affect its next user.
    let direct = Postgres::connect(&settings(&url)).await.unwrap();
    direct.register(&registration(&device(4))).await.unwrap();
    Postgres::connect(&pooled).await.unwrap().register(&registration(&device(5))).await.unwrap();
}
