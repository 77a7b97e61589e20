//! The server to back up.

use std::path::Path;

use edgesentry_rs::ledger::{Location, PostgresUrl};
use url::Url;

use crate::adopt::Writer;
use crate::archive::Identity;
use crate::blocking::blocking;
use crate::error::Error;
use crate::postgres::{Programs, Sql};
use crate::settings::Settings;

/// A server, the programs of its version, and its properties.
#[derive(Clone, Debug)]
pub struct Source {
    /// The programs of its major version.
    pub programs: Programs,
    /// The server; of several hosts the one that takes writes.
    pub sql: Sql,
    /// The cluster whose write-ahead log it writes.
    pub identity: Identity,
    /// Such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// Such as 150018.
    pub version_number: u32,
    /// The timeline that it writes.
    pub timeline: u32,
    /// Its mark, if it is a restored copy ([`crate::adopt`]).
    pub copy: Option<String>,
    /// Its user-defined tablespaces, separated by commas; empty if it has none.
    tablespaces: String,
}

/// Returns the programs of the settings, `ops.postgres_bin`.
///
/// # Errors
/// As [`Programs::find`].
pub fn programs(settings: &Settings) -> Result<Programs, Error> {
    Programs::find(settings.ops.postgres_bin.as_deref())
}

/// Returns the URL of the settings: `ops.postgres`, or the ledger if that is PostgreSQL.
///
/// # Errors
/// [`Error::Config`] if neither setting names a PostgreSQL.
pub fn url(settings: &Settings) -> Result<&str, Error> {
    let url = settings.ops.postgres.as_ref().unwrap_or(&settings.stores.ledger).reveal();
    if Location::parse(url)? == Location::Postgres {
        return Ok(url);
    }
    let message =
        "no PostgreSQL is set; set ops.postgres, or the ledger, to postgres://user:password@host/database";
    Err(Error::Config(message.to_owned()))
}

impl Source {
    /// Connects to the server of the settings.
    ///
    /// # Errors
    /// The programs are missing, or no host of the URL is a primary that can be queried.
    pub async fn connect(settings: &Settings) -> Result<Source, Error> {
        let (programs, url) = (programs(settings)?, url(settings)?.to_owned());
        blocking(move || Source::of(&programs, &url)).await
    }

    fn of(programs: &Programs, url: &str) -> Result<Source, Error> {
        let mut problem = None;
        for url in PostgresUrl::split(url)?.each_host() {
            let sql = Sql::new(programs, &url)?;
            match sql.query(FACTS) {
                Ok(row) => match Source::from_row(programs, &sql, &row)? {
                    Some(source) => return Ok(source),
                    None => {
                        let server = sql.place().to_owned();
                        let standby = "it is a standby and accepts no writes".to_owned();
                        problem = Some(Error::Server { server, problem: standby });
                    }
                },
                Err(error) => problem = Some(error),
            }
        }
        Err(problem.unwrap_or_else(|| Error::Config("the PostgreSQL URL names no host".to_owned())))
    }

    /// Returns `None` for a standby.
    fn from_row(programs: &Programs, sql: &Sql, row: &str) -> Result<Option<Source>, Error> {
        let server = sql.place();
        let wrong = |problem: String| Error::Server { server: server.to_owned(), problem };
        let fields: Vec<&str> = row.trim().split('|').collect();
        let [number, version, system, segment, tablespaces, recovering, log, copy] = fields.as_slice() else {
            return Err(wrong(format!("unexpected response: {row:?}")));
        };
        let parse =
            |text: &str| text.parse::<u64>().map_err(|_| wrong(format!("unexpected response: {row:?}")));
        if *recovering == "t" {
            return Ok(None);
        }
        let version_number = u32::try_from(parse(number)?).unwrap_or(0);
        if version_number / 10_000 != programs.major() {
            return Err(wrong(format!(
                "it is PostgreSQL {version}, and the programs in {} are of version {}; set ops.postgres_bin to \
                 those of version {}",
                programs.folder().display(),
                programs.major(),
                version_number / 10_000
            )));
        }
        Ok(Some(Source {
            programs: programs.clone(),
            sql: sql.clone(),
            identity: Identity { system_identifier: parse(system)?, wal_segment_bytes: parse(segment)? },
            version: (*version).to_owned(),
            version_number,
            timeline: u32::from_str_radix(log.get(..8).unwrap_or_default(), 16)
                .map_err(|_| wrong(format!("unexpected response: {row:?}")))?,
            copy: (!copy.is_empty()).then(|| (*copy).to_owned()),
            tablespaces: (*tablespaces).to_owned(),
        }))
    }

    /// Returns the server as a writer of an archive.
    pub fn writer(&self) -> Writer {
        Writer { copy: self.copy.clone(), timeline: self.timeline }
    }
}

impl Source {
    /// Rejects a server with user-defined tablespaces, which a base backup would not contain.
    pub(crate) fn refuse_tablespaces(&self) -> Result<(), Error> {
        if self.tablespaces.is_empty() {
            return Ok(());
        }
        Err(Error::Server {
            server: self.sql.place().to_owned(),
            problem: format!(
                "it has tablespaces of its own ({}), which a base backup would not hold; move their tables with ALTER \
                 TABLE ... SET TABLESPACE pg_default and drop them, or take dumps, which need no tablespaces",
                self.tablespaces
            ),
        })
    }

    /// Rejects a role that may not replicate, before any write: `pg_basebackup` and `pg_receivewal` need the
    /// privilege.
    ///
    /// # Errors
    /// The role may not replicate, or the server cannot be queried.
    pub async fn require_replication(&self) -> Result<(), Error> {
        let sql = self.sql.clone();
        let asked = "SELECT rolsuper OR rolreplication, rolname FROM pg_roles WHERE rolname = current_user";
        let row = blocking(move || sql.query(asked)).await?;
        let Some(role) = row.strip_prefix("f|") else { return Ok(()) };
        Err(Error::Server {
            server: self.sql.place().to_owned(),
            problem: format!(
                "the role {role:?} may not replicate, which base backups and receive-wal need; grant it with ALTER ROLE \
                 ... REPLICATION, or use another role in ops.postgres; a managed PostgreSQL that has no such role is \
                 backed up by its provider and by eds ops dump"
            ),
        })
    }
}

const FACTS: &str = "SELECT current_setting('server_version_num'), current_setting('server_version'), \
    (SELECT system_identifier FROM pg_control_system()), pg_size_bytes(current_setting('wal_segment_size')), \
    (SELECT string_agg(quote_ident(replace(spcname, '|', '_')), ', ' ORDER BY spcname) FROM pg_tablespace \
    WHERE spcname NOT IN ('pg_default', 'pg_global')), pg_is_in_recovery(), \
    CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_walfile_name(pg_current_wal_lsn()) END, \
    current_setting('edgesentry.restored_copy', true)";

const UNREADABLE: &str = "the PostgreSQL URL cannot be read";

/// Returns the same role and database on another port of this machine, without TLS settings, which name another host.
pub(crate) fn on_loopback(url: &str, port: u16) -> Result<String, Error> {
    // The error of a URL does not quote it.
    let wrong = |error| Error::unusable(UNREADABLE, error);
    let one = PostgresUrl::split(url)?.each_host().next().unwrap_or_default();
    let mut url = Url::parse(&one).map_err(wrong)?;
    url.set_query(None);
    url.set_host(Some("127.0.0.1")).map_err(wrong)?;
    url.set_port(Some(port)).map_err(|()| Error::Config(UNREADABLE.to_owned()))?;
    Ok(url.into())
}

/// Returns the same server and role with another database.
pub(crate) fn with_database(url: &str, database: &str) -> Result<String, Error> {
    let mut url = Url::parse(url).map_err(|error| Error::unusable(UNREADABLE, error))?;
    url.set_path(database);
    Ok(url.into())
}

/// Returns the lines `NAME: VALUE` that `pg_controldata` prints about a data directory.
pub(crate) fn control_data(programs: &Programs, data: &Path) -> Result<Vec<(String, String)>, Error> {
    let mut command = programs.owned("pg_controldata");
    let text = crate::program::done(command.arg(data), std::time::Duration::from_secs(60))?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    Ok(lines.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_server_is_the_only_host() {
        let restored = on_loopback("postgres://me:p%40ss@one,two/audit?sslmode=require", 5440).unwrap();
        assert_eq!(restored, "postgres://me:p%40ss@127.0.0.1:5440/audit");
    }
}
