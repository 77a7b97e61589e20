//! The programs of PostgreSQL on this machine, and SQL that needs no driver.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use edgesentry_rs::secret::Secret;
use url::Url;

use crate::error::Error;
use crate::program;

/// The oldest major version that is supported.
pub const MIN_MAJOR_VERSION: u32 = 15;
/// The programs of the server packages; client packages do not have them.
const SERVER: [&str; 3] = ["initdb", "postgres", "pg_controldata"];
/// The timeout of one statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The programs of one PostgreSQL installation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Programs {
    folder: PathBuf,
    major: u32,
    /// The user that servers run as if we are root, because PostgreSQL refuses to run as root.
    owner: Option<(u32, u32)>,
}

impl Programs {
    /// Finds the programs of `folder`, or the newest ones in the usual places and in `PATH`; first among those that
    /// have the server's programs as well. The client programs alone are enough for backups: see
    /// [`Programs::require`].
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no PostgreSQL, only one that is too old, or, for root, no user `postgres`.
    pub fn find(folder: Option<&Path>) -> Result<Programs, Error> {
        let places = folder.map_or_else(usual_folders, |folder| vec![folder.to_owned()]);
        let with_client = places.into_iter().filter(|place| place.join("psql").is_file());
        let has_server = |place: &Path| SERVER.iter().all(|name| place.join(name).is_file());
        let found = with_client.filter_map(|place| Some((has_server(&place), version(&place)?, place))).max();
        let Some((_, major, folder)) = found else {
            let place = folder.map(|folder| format!(" in {}", folder.display())).unwrap_or_default();
            return Err(Error::Missing(format!(
                "PostgreSQL is missing: no psql{place}; install it (on Debian: apt install postgresql, or \
                 postgresql-client for backups alone) and try again"
            )));
        };
        if major < MIN_MAJOR_VERSION {
            let message = format!(
                "{}: PostgreSQL {major} is too old; install PostgreSQL {MIN_MAJOR_VERSION} or newer",
                folder.display()
            );
            return Err(Error::Missing(message));
        }
        let owner = if rustix::process::geteuid().is_root() { Some(owner()?) } else { None };
        Ok(Programs { folder, major, owner })
    }

    /// Returns their directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the major version, such as 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Checks that the programs of an operation's late steps exist, before hours of work.
    ///
    /// # Errors
    /// [`Error::Missing`] names the missing programs and their package.
    pub fn require(&self, programs: &[&str]) -> Result<(), Error> {
        let missing: Vec<&str> =
            programs.iter().copied().filter(|name| !self.folder.join(name).is_file()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (what, package) = match missing.iter().any(|name| SERVER.contains(name)) {
            true => ("the server", "postgresql"),
            false => ("its client programs", "postgresql-client"),
        };
        Err(Error::Missing(format!(
            "PostgreSQL is not complete: no {} in {}; install {what} (on Debian: apt install {package}-{}) and try again",
            missing.join(", "),
            self.folder.display(),
            self.major
        )))
    }

    /// Returns a program, without the environment variables that would change its connection.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join(program));
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C.UTF-8").env("PGCONNECT_TIMEOUT", "10");
        command
    }

    /// Returns a program that works on the files of a cluster: as the user postgres if we are root.
    pub fn owned(&self, program: &str) -> Command {
        let mut command = self.command(program);
        if let Some((user, group)) = self.owner {
            // That user may not have access to the current directory.
            command.uid(user).gid(group).current_dir("/");
        }
        command
    }

    /// Returns user and group that [`Programs::owned`] runs as, if we are root.
    pub(crate) fn owner(&self) -> Option<(u32, u32)> {
        self.owner
    }

    /// Gives a file or a directory to the user that [`Programs::owned`] runs as. A symbolic link is not followed.
    ///
    /// # Errors
    /// The owner cannot be changed.
    pub fn own(&self, path: &Path) -> Result<(), Error> {
        let Some((user, group)) = self.owner else { return Ok(()) };
        std::os::unix::fs::lchown(path, Some(user), Some(group))
            .map_err(Error::io("hand over to the user postgres", path))
    }
}

fn usual_folders() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("/usr/local/pgsql/bin")];
    for parent in ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt"] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let named = entries.filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            parent == "/usr/lib/postgresql" || name.starts_with("pgsql-") || name.starts_with("postgresql")
        });
        folders.extend(named.map(|entry| entry.path().join("bin")));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders
}

/// Returns the major version of the programs in a directory.
fn version(folder: &Path) -> Option<u32> {
    let mut command = Command::new(folder.join("psql"));
    let text = program::done(command.arg("--version"), STATEMENT_TIMEOUT).ok()?;
    // psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
    let number = text.split_whitespace().nth(2)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Returns user and group of postgres.
fn owner() -> Result<(u32, u32), Error> {
    let missing = || {
        let message = "PostgreSQL refuses to run as root and there is no user postgres; create it, or run as another \
             user";
        Error::Missing(message.to_owned())
    };
    let ask = |what: &str| -> Result<u32, Error> {
        let text = program::done(Command::new("id").args([what, "postgres"]), STATEMENT_TIMEOUT);
        text.map_err(|_| missing())?.trim().parse().map_err(|_| missing())
    };
    Ok((ask("-u")?, ask("-g")?))
}

/// A database of a server, queried through psql.
#[derive(Clone, Debug)]
pub struct Sql {
    programs: Programs,
    /// The URL without the password.
    url: String,
    password: Secret,
}

impl Sql {
    /// Parses the URL of a server, `postgres://user:password@host:port/database`.
    ///
    /// # Errors
    /// [`Error::Config`] for another form or several hosts; it does not quote the URL.
    pub fn new(programs: &Programs, url: &str) -> Result<Sql, Error> {
        let wrong = || {
            let message = "expected postgres://user:password@host:port/database with one host";
            Error::Config(message.to_owned())
        };
        let mut parsed = Url::parse(url).map_err(|_| wrong())?;
        let is_one = matches!(parsed.scheme(), "postgres" | "postgresql")
            && parsed.host_str().is_some_and(|host| !host.contains(','));
        if !is_one {
            return Err(wrong());
        }
        let in_query = parsed.query_pairs().find(|(name, _)| name == "password");
        let in_query = in_query.map(|(_, password)| password.into_owned());
        let password = in_query.unwrap_or_else(|| percent_decoded(parsed.password().unwrap_or_default()));
        parsed.set_password(None).map_err(|()| wrong())?;
        let others = parsed.query().map(|query| {
            let others = query.split('&').filter(|pair| !pair.starts_with("password="));
            others.collect::<Vec<_>>().join("&")
        });
        parsed.set_query(others.as_deref().filter(|others| !others.is_empty()));
        Ok(Sql { programs: programs.clone(), url: parsed.into(), password: password.into() })
    }

    /// Returns the programs that it uses.
    pub(crate) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Returns the location, without secrets.
    pub fn place(&self) -> &str {
        &self.url
    }

    /// Returns a client program that connects to it: psql, pg_basebackup, pg_dump...
    pub fn client(&self, program: &str) -> Command {
        let mut command = self.programs.command(program);
        self.sign_in(&mut command);
        command
    }

    /// Makes a client program connect to it.
    pub fn sign_in(&self, command: &mut Command) {
        // -w: no password prompt on the terminal if the password is wrong.
        command.env("PGPASSWORD", self.password.reveal()).args(["-w", "-d"]).arg(&self.url);
    }

    /// Runs statements, each in a transaction of its own, and returns the rows of the last: fields separated by `|`,
    /// without headings.
    ///
    /// # Errors
    /// [`Error::Server`] if the server cannot be reached or refuses a statement, or at the timeout.
    pub fn query(&self, sql: &str) -> Result<String, Error> {
        self.query_within(sql, STATEMENT_TIMEOUT)
    }

    /// Like [`Sql::query`], with a timeout: the server's own `statement_timeout` does not end a wait for a standby.
    ///
    /// # Errors
    /// As [`Sql::query`].
    pub fn query_within(&self, sql: &str, patience: Duration) -> Result<String, Error> {
        let mut psql = self.client("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        for statement in sql.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            psql.arg("-c").arg(OsStr::new(statement));
        }
        let answer = program::done(&mut psql, patience).map_err(|error| match error {
            Error::Program { said, .. } => Error::Server { server: self.url.clone(), problem: said },
            other => other,
        })?;
        Ok(answer.trim_end().to_owned())
    }
}

/// Decodes the percent escapes of a part of a URL.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped =
            (first == b'%').then(|| tail.get(..2).and_then(|digits| hex::decode(digits).ok())).flatten();
        match escaped {
            Some(byte) => {
                bytes.extend(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_in_the_arguments_or_in_an_error() {
        let programs = Programs::find(None).unwrap();
        let sql = Sql::new(&programs, "postgres://me:hu%2Fsh@127.0.0.1:1/audit").unwrap();
        assert_eq!(sql.place(), "postgres://me@127.0.0.1:1/audit");
        assert_eq!(sql.password.reveal(), "hu/sh");
        let error = sql.query("SELECT 1").unwrap_err().to_string();
        assert!(error.starts_with("postgres://me@127.0.0.1:1/audit: "), "{error}");
        assert!(!format!("{sql:?} {error}").contains("hu/sh"));
        let sql = Sql::new(&programs, "postgres://me@db/audit?password=hu%2Fsh&sslmode=require").unwrap();
        assert_eq!((sql.place(), sql.password.reveal()), ("postgres://me@db/audit?sslmode=require", "hu/sh"));
        assert!(Sql::new(&programs, "postgres://one,two/audit").is_err());
        assert!(Sql::new(&programs, "sqlite:audit.db").is_err());
    }

    #[test]
    fn a_missing_installation_is_one_sentence() {
        let error = Programs::find(Some(Path::new("/nowhere"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "PostgreSQL is missing: no psql in /nowhere; install it (on Debian: apt install postgresql, or \
             postgresql-client for backups alone) and try again"
        );
    }

    #[test]
    fn client_programs_alone_are_enough_to_begin_with() {
        let all = Programs::find(None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for name in ["psql", "pg_basebackup"] {
            std::os::unix::fs::symlink(all.folder().join(name), folder.path().join(name)).unwrap();
        }
        let client = Programs::find(Some(folder.path())).unwrap();
        assert_eq!(client.major(), all.major());
        client.require(&["psql", "pg_basebackup"]).unwrap();
        let error = client.require(&["initdb"]).unwrap_err().to_string();
        assert!(
            error.contains("install the server") && error.contains("apt install postgresql-1"),
            "{error}"
        );
        let error = client.require(&["pg_dump"]).unwrap_err().to_string();
        assert!(error.contains("apt install postgresql-client-1"), "{error}");
    }
}
