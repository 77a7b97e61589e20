//! Restoring a dump into an empty database, in one transaction.

use std::time::Instant;

use serde::Serialize;

use super::{Dump, FILE, dumps, verify_files};
use crate::archive::Archive;
use crate::blocking::blocking;
use crate::check::Status;
use crate::error::Error;
use crate::observe::{Event, Observer};
use crate::postgres::{Programs, Sql};
use crate::process::run;
use crate::program::NO_TIMEOUT;
use crate::restore::require_space;
use crate::settings::Settings;
use crate::source;

/// The dump and its destination.
#[derive(Clone, Debug)]
pub struct RestoreDump {
    /// The dump; the newest one by default.
    pub dump: Option<String>,
    /// The URL of the database, which must exist and be empty.
    pub into: String,
}

/// A restored dump.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DumpRestored {
    /// The dump.
    pub dump: String,
    /// The time at which it began, Unix milliseconds: it contains nothing later.
    pub taken_at_ms: u64,
    /// The database, without secrets.
    pub database: String,
    /// The number of its tables after the restore.
    pub tables: u64,
    /// The duration of the whole restore, seconds.
    pub seconds: f64,
}

/// Restores a dump by `pg_restore`. A dump has no roles and privileges: everything belongs to the role of the URL and
/// goes into the default tablespace of the database.
///
/// # Errors
/// The database is not empty or does not suit the dump; then it is unchanged. If the restore fails or is dropped, the
/// server rolls its transaction back.
pub async fn restore_dump(
    settings: &Settings,
    archive: &Archive,
    restore: &RestoreDump,
    observer: Observer<'_>,
) -> Result<DumpRestored, Error> {
    let begin = Instant::now();
    let programs = source::programs(settings)?;
    programs.require(&["pg_restore"])?;
    let sql = Sql::new(&programs, &restore.into)?;
    archive.objects().check().await?;
    archive.existing_identity().await?;
    let dump = choose(archive, restore.dump.as_deref()).await?;
    refuse_unfit(&programs, &sql, &dump).await?;
    let folder = archive.temporary()?;
    let size: u64 = dump.files.iter().map(|file| file.size_bytes).sum();
    require_space(folder.path(), size, "the dump")?;

    let files = folder.path().join("files");
    let file = files.join(FILE);
    for check in verify_files(archive, &programs, &dump, &files, observer).await? {
        if check.status != Status::Passed {
            return Err(archive.problem(format!(
                "nothing of dump {} was restored, because it failed the check \"{}\": {}",
                dump.id, check.name, check.evidence
            )));
        }
    }
    observer(Event::Step("pg_restore"));
    let mut command = sql.client("pg_restore");
    command
        .args([
            "--no-owner",
            "--no-privileges",
            "--no-tablespaces",
            "--exit-on-error",
            "--single-transaction",
        ])
        .arg(&file);
    run(&mut command, &folder.path().join("log"), |_| {}).await?;
    observer(Event::Step("analyze"));
    let asked = sql.clone();
    let tables = blocking(move || {
        asked.query_within("ANALYZE", NO_TIMEOUT)?;
        asked.query(TABLES)
    })
    .await?;
    Ok(DumpRestored {
        dump: dump.id,
        taken_at_ms: dump.started_at_ms,
        database: sql.place().to_owned(),
        tables: tables.trim().parse().unwrap_or(0),
        seconds: begin.elapsed().as_secs_f64(),
    })
}

async fn choose(archive: &Archive, id: Option<&str>) -> Result<Dump, Error> {
    let mut dumps = dumps(archive).await?;
    let found = match id {
        Some(id) => dumps.into_iter().find(|dump| dump.id == id),
        None => dumps.pop(),
    };
    found.ok_or_else(|| match id {
        Some(id) => archive.problem(format!("there is no dump {id}; see eds ops backups")),
        None => archive.problem("there is no dump; make one with eds ops dump".to_owned()),
    })
}

/// The version, whether the server is a standby, and the objects in the database.
const FACTS: &str = "SELECT current_setting('server_version_num')::int / 10000, pg_is_in_recovery(), \
    (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%')";
const TABLES: &str = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'";

async fn refuse_unfit(programs: &Programs, sql: &Sql, dump: &Dump) -> Result<(), Error> {
    let asked = sql.clone();
    let row = blocking(move || asked.query(FACTS)).await?;
    let server = |problem: String| Error::Server { server: sql.place().to_owned(), problem };
    let fields: Vec<&str> = row.trim().split('|').collect();
    let [major, standby, objects] = fields.as_slice() else {
        return Err(server(format!("unexpected response: {row:?}")));
    };
    let of_dump: u32 = dump
        .server_version
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|major| major.parse().ok())
        .unwrap_or(0);
    if *standby == "t" {
        return Err(server("it is a standby and accepts no writes".to_owned()));
    }
    if *objects != "0" {
        return Err(Error::Config(format!(
            "{}: the database is not empty ({objects} tables, indexes and the like); restore into a new database, \
             made with CREATE DATABASE",
            sql.place()
        )));
    }
    if major.parse().is_ok_and(|major: u32| major < of_dump) {
        return Err(server(format!(
            "it is PostgreSQL {major}, and the dump is of {}; restore it into version {of_dump} or newer",
            dump.server_version
        )));
    }
    if programs.major() < of_dump {
        return Err(Error::Missing(format!(
            "the dump is of PostgreSQL {}, and the programs in {} are of version {}; set ops.postgres_bin to those of \
             version {of_dump} or newer",
            dump.server_version,
            programs.folder().display(),
            programs.major()
        )));
    }
    Ok(())
}
