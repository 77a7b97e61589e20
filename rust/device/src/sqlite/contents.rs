//! The tables that a database file holds. They are inspected before anything is written to it.

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::error::Error;

/// A migration: version, name, statements.
pub type Migration = (i64, &'static str, &'static str);

/// The tables that a file is expected to hold.
#[derive(Debug)]
pub struct Schema {
    /// The subject of the tables: `ledger`, `outbox`.
    pub name: &'static str,
    /// Tables of every version.
    pub tables: &'static [&'static str],
    /// Tables that only newer versions have.
    pub later_tables: &'static [&'static str],
    /// The migrations, by version.
    pub migrations: &'static [Migration],
}

impl Schema {
    /// Returns the version that this program knows.
    pub fn version(&self) -> i64 {
        self.migrations.iter().map(|(version, ..)| *version).max().unwrap_or(0)
    }

    /// Refuses a newer version, whose tables may differ in meaning; older ones can be read.
    ///
    /// # Errors
    /// The version is newer than this program knows.
    pub fn refuse_newer(&self, place: &str, version: i64) -> Result<(), Error> {
        if version <= self.version() {
            return Ok(());
        }
        Err(Error::Config(format!(
            "{place}: the {} has schema version {version}, and this program supports versions up to {}; use a newer \
             version of EdgeSentry",
            self.name,
            self.version()
        )))
    }

    /// Returns the error for a database that does not hold the schema.
    pub fn missing(&self, place: &str, contents: &Contents) -> Error {
        let name = self.name;
        Error::Config(match contents {
            Contents::Empty | Contents::Complete { .. } => {
                format!("{place}: it contains no {name}: it is empty")
            }
            Contents::Foreign(tables) => format!(
                "{place}: it contains no {name}: it holds other tables ({}); nothing was changed",
                tables.iter().map(|table| format!("{table:?}")).collect::<Vec<_>>().join(", ")
            ),
        })
    }
}

/// The tables of a database.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contents {
    /// No tables: the schema may be created.
    Empty,
    /// All tables of the schema, with the version of its last migration; 0 if no migration is recorded.
    Complete {
        /// The version of the last migration.
        version: i64,
    },
    /// Other tables; some of their names.
    Foreign(Vec<String>),
}

/// How many foreign tables an error names.
pub const MAX_NAMES: usize = 3;
/// The table of the migrations.
pub const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// Inspects the tables of a file. Views, virtual tables and tables with generated columns count as foreign even under
/// our names: they can show each reader different rows, and take any time and memory to read.
pub(super) async fn contents(
    connection: &mut SqliteConnection,
    schema: &Schema,
) -> Result<Contents, sqlx::Error> {
    let tables = serde_json::json!(schema.tables);
    let later = serde_json::json!([schema.later_tables, &[MIGRATIONS_TABLE]].concat());
    let (ours, strange): (i64, i64) = sqlx::query_as(
        "WITH named AS (
             SELECT name, type = 'table' AND rootpage > 0
                 AND NOT EXISTS (SELECT 1 FROM pragma_table_xinfo(sqlite_master.name) WHERE hidden <> 0) AS plain
             FROM sqlite_master WHERE type IN ('table', 'view')
         )
         SELECT (SELECT count(*) FROM named WHERE plain AND name IN (SELECT value FROM json_each(?))),
                (SELECT count(*) FROM named WHERE NOT plain AND name IN (SELECT value FROM json_each(?)))",
    )
    .bind(tables.to_string())
    .bind(later.to_string())
    .fetch_one(&mut *connection)
    .await?;
    let recorded: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?)")
            .bind(MIGRATIONS_TABLE)
            .fetch_one(&mut *connection)
            .await?;
    if usize::try_from(ours) == Ok(schema.tables.len()) && strange == 0 {
        let version = if recorded {
            let newest = format!("SELECT coalesce(max(version), 0) FROM {MIGRATIONS_TABLE}");
            sqlx::query_scalar(AssertSqlSafe(newest)).fetch_one(&mut *connection).await?
        } else {
            0
        };
        return Ok(Contents::Complete { version });
    }
    let others: Vec<String> = sqlx::query_scalar(
        "SELECT substr(name, 1, 64) FROM sqlite_master WHERE type IN ('table', 'view') AND name <> ?
         AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name LIMIT ?",
    )
    .bind(MIGRATIONS_TABLE)
    .bind(i64::try_from(MAX_NAMES).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    // A process that is creating the schema, or died while it did, creates the table of migrations first.
    Ok(if others.is_empty() { Contents::Empty } else { Contents::Foreign(others) })
}
