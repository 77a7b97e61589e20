//! Fills a ledger with SQL, faster than its service would.

use edgesentry_chain::{AuditRecord, Hash};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::{Clock, Options, is_postgres, open};

/// Rows that are written together.
const ROWS: usize = 20_000;
const START_MS: u64 = 1_700_000_000_000;

pub(super) async fn run(place: &str, options: &Options) -> Value {
    let (records, devices) = (options.number("records", 1_000_000), options.number("devices", 100));
    // Creates the tables.
    open(place, None).await.0.close().await;
    let mut tables = Tables::open(place).await;
    let clock = Clock::start();
    let each = records / devices;
    let (mut keys, mut heads, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..devices {
        let device_id = device_id(number);
        let mut last = Hash::ZERO;
        for sequence in 1..=each {
            let record = record(&device_id, sequence, last);
            last = record.hash();
            rows.push(record_row(&record, last));
        }
        keys.push(vec![
            Cell::Text(device_id.clone()),
            Cell::Integer(1),
            Cell::Bytes(Hash::of(device_id.as_bytes()).as_bytes().to_vec()),
            Cell::Text("record".to_owned()),
            Cell::Integer(START_MS.cast_signed()),
        ]);
        heads.push(vec![
            Cell::Text(device_id),
            Cell::Integer(each.cast_signed()),
            Cell::Bytes(last.as_bytes().to_vec()),
            Cell::Integer(0),
            Cell::Bytes(vec![0; 32]),
            Cell::Integer(1),
            Cell::Integer(START_MS.cast_signed()),
        ]);
        if rows.len() >= ROWS || heads.len() >= ROWS || number + 1 == devices {
            tables.write("devices", &KEY_COLUMNS, std::mem::take(&mut keys)).await;
            tables.write("chain_heads", &HEAD_COLUMNS, std::mem::take(&mut heads)).await;
            tables.write("audit_records", &RECORD_COLUMNS, std::mem::take(&mut rows)).await;
        }
    }
    tables.end().await;
    json!({"records": each * devices, "devices": devices, "fill": clock.times()})
}

/// Appends one record to each of the first devices.
pub(super) async fn append(place: &str, devices: u64) {
    let mut tables = Tables::open(place).await;
    for number in 0..devices {
        let device_id = device_id(number);
        let (sequence, last) = tables.head(&device_id).await;
        let record = record(&device_id, sequence + 1, last);
        let hash = record.hash();
        tables.write("audit_records", &RECORD_COLUMNS, vec![record_row(&record, hash)]).await;
        tables.move_head(&device_id, sequence + 1, hash).await;
    }
}

fn device_id(number: u64) -> String {
    format!("device-{number:07}")
}

fn record(device_id: &str, sequence: u64, prev_record_hash: Hash) -> AuditRecord {
    let mut payload_hash = [0x5a; 32];
    payload_hash[..8].copy_from_slice(&sequence.to_le_bytes());
    AuditRecord {
        device_id: device_id.to_owned(),
        sequence,
        timestamp_ms: START_MS + sequence * 1000,
        payload_hash: Hash(payload_hash),
        signature: [0x7e; 64],
        prev_record_hash,
        object_ref: format!("{device_id}/{sequence}.bin"),
    }
}

const KEY_COLUMNS: [&str; 5] = ["device_id", "valid_from", "public_key", "scheme", "registered_at_ms"];
const HEAD_COLUMNS: [&str; 7] =
    ["device_id", "sequence", "record_hash", "start_sequence", "start_hash", "keys_version", "moved_at_ms"];
const RECORD_COLUMNS: [&str; 9] = [
    "device_id",
    "sequence",
    "timestamp_ms",
    "payload_hash",
    "signature",
    "prev_record_hash",
    "object_ref",
    "record_hash",
    "received_at_ms",
];

fn record_row(record: &AuditRecord, hash: Hash) -> Vec<Cell> {
    vec![
        Cell::Text(record.device_id.clone()),
        Cell::Integer(record.sequence.cast_signed()),
        Cell::Integer(record.timestamp_ms.cast_signed()),
        Cell::Bytes(record.payload_hash.as_bytes().to_vec()),
        Cell::Bytes(record.signature.to_vec()),
        Cell::Bytes(record.prev_record_hash.as_bytes().to_vec()),
        Cell::Text(record.object_ref.clone()),
        Cell::Bytes(hash.as_bytes().to_vec()),
        Cell::Integer(record.timestamp_ms.cast_signed()),
    ]
}

enum Cell {
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The tables of a ledger.
enum Tables {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Tables {
    async fn open(place: &str) -> Tables {
        if is_postgres(place) {
            return Tables::Postgres(PgConnection::connect(place).await.unwrap());
        }
        let mut connection = SqliteConnection::connect(&format!("sqlite:{place}")).await.unwrap();
        for pragma in ["PRAGMA synchronous = OFF", "PRAGMA cache_size = -65536"] {
            sqlx::query(pragma).execute(&mut connection).await.unwrap();
        }
        Tables::Sqlite(connection)
    }

    async fn write(&mut self, table: &str, columns: &[&str], rows: Vec<Vec<Cell>>) {
        match self {
            Tables::Postgres(connection) => copy(connection, table, columns, &rows).await,
            Tables::Sqlite(connection) => insert(connection, table, columns, rows).await,
        }
    }

    async fn head(&mut self, device_id: &str) -> (u64, Hash) {
        let select = "SELECT sequence, record_hash FROM chain_heads WHERE device_id = $1";
        let (sequence, hash): (i64, Vec<u8>) = match self {
            Tables::Postgres(connection) => {
                sqlx::query_as(select).bind(device_id).fetch_one(connection).await
            }
            Tables::Sqlite(connection) => sqlx::query_as(select).bind(device_id).fetch_one(connection).await,
        }
        .unwrap();
        (sequence.cast_unsigned(), Hash(hash.try_into().unwrap()))
    }

    async fn move_head(&mut self, device_id: &str, sequence: u64, hash: Hash) {
        let update = "UPDATE chain_heads SET sequence = $2, record_hash = $3 WHERE device_id = $1";
        let (sequence, hash) = (sequence.cast_signed(), hash.as_bytes().to_vec());
        match self {
            Tables::Postgres(connection) => {
                let query = sqlx::query(update).bind(device_id).bind(sequence).bind(hash);
                query.execute(connection).await.map(|_| ())
            }
            Tables::Sqlite(connection) => {
                let query = sqlx::query(update).bind(device_id).bind(sequence).bind(hash);
                query.execute(connection).await.map(|_| ())
            }
        }
        .unwrap();
    }

    /// Leaves the database as one that has been in use: with statistics of its tables, and nothing left to write.
    async fn end(self) {
        match self {
            Tables::Postgres(mut connection) => {
                for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
                    sqlx::query(statement).execute(&mut connection).await.unwrap();
                }
            }
            Tables::Sqlite(mut connection) => {
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }
}

/// Writes rows by a binary COPY.
async fn copy(connection: &mut PgConnection, table: &str, columns: &[&str], rows: &[Vec<Cell>]) {
    let statement = format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", columns.join(", "));
    let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for row in rows {
        out.extend((row.len() as i16).to_be_bytes());
        for cell in row {
            let integer;
            let bytes = match cell {
                Cell::Integer(number) => {
                    integer = number.to_be_bytes();
                    &integer[..]
                }
                Cell::Text(text) => text.as_bytes(),
                Cell::Bytes(bytes) => bytes,
            };
            out.extend((bytes.len() as i32).to_be_bytes());
            out.extend(bytes);
        }
    }
    out.extend((-1_i16).to_be_bytes());
    let mut copy = connection.copy_in_raw(&statement).await.unwrap();
    copy.send(out).await.unwrap();
    copy.finish().await.unwrap();
}

async fn insert(connection: &mut SqliteConnection, table: &str, columns: &[&str], rows: Vec<Vec<Cell>>) {
    let mut transaction = connection.begin().await.unwrap();
    let row = format!("({})", vec!["?"; columns.len()].join(","));
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let some: Vec<Vec<Cell>> = rows.by_ref().take(256).collect();
        let places = vec![row.as_str(); some.len()].join(",");
        let statement = format!("INSERT INTO {table} ({}) VALUES {places}", columns.join(", "));
        let query =
            some.into_iter().flatten().fold(
                sqlx::query(AssertSqlSafe(statement)),
                |query, cell| match cell {
                    Cell::Integer(number) => query.bind(number),
                    Cell::Text(text) => query.bind(text),
                    Cell::Bytes(bytes) => query.bind(bytes),
                },
            );
        query.execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
}
