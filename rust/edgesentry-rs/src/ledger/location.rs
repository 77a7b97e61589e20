//! The name of a ledger, as settings and the command line give it.

use std::path::PathBuf;

use crate::error::Error;

/// The location of a ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Location {
    /// A file: `sqlite:PATH`, or the path alone. Every character of the path is literal.
    Sqlite(PathBuf),
    /// A database: `postgres://…`. The URL may hold a password and stays in the settings.
    Postgres,
}

impl Location {
    /// Parses a name. The error for an invalid one shows no more than the scheme, because the rest may be a password.
    ///
    /// # Errors
    /// The name has neither form.
    pub fn parse(name: &str) -> Result<Location, Error> {
        if name.trim().is_empty() {
            return Err(Error::Config(
                "settings: ledger is empty; set sqlite:PATH or postgres://…".to_owned(),
            ));
        }
        let scheme = scheme_of(name);
        let path = match scheme {
            Some("postgres" | "postgresql") if has_authority(name) => {
                return if is_escaped(name) { Ok(Location::Postgres) } else { Err(invalid(UNESCAPED)) };
            }
            Some("postgres" | "postgresql") => {
                return Err(invalid("expected postgres://HOST/DATABASE, with two slashes"));
            }
            Some("sqlite") => {
                let path = &name["sqlite:".len()..];
                path.strip_prefix("//").unwrap_or(path)
            }
            None => name,
            Some(scheme) => {
                return Err(invalid(&format!(
                    "unknown scheme {scheme:?}; expected sqlite:PATH, a path, or postgres://HOST/DATABASE (for a file \
                     with such a name: ./NAME)"
                )));
            }
        };
        if path.is_empty() || path.contains('\0') || path.contains("://") {
            return Err(invalid("expected sqlite:PATH, a path, or postgres://HOST/DATABASE"));
        }
        // SQLite drops the slash and creates a file; it would not be the one whose mode and locks were checked.
        if path.ends_with('/') {
            return Err(invalid("a SQLite ledger is a file, but this name ends in / as that of a directory"));
        }
        if path.starts_with(':') {
            return Err(invalid(
                "a ledger in memory would lose acknowledged records; use a file, sqlite:PATH",
            ));
        }
        if has_parameters(path) {
            return Err(invalid(
                "a SQLite ledger takes no parameters after a ?; use the file alone, sqlite:PATH",
            ));
        }
        if looks_like_login(path) {
            return Err(invalid(
                "it looks like a login without a scheme; expected postgres://USER:PASSWORD@HOST/DATABASE",
            ));
        }
        Ok(Location::Sqlite(PathBuf::from(path)))
    }
}

/// The parts of a PostgreSQL URL that may list several hosts, with commas between.
// Without Debug: the user may have a password.
#[derive(Clone, Copy)]
pub struct PostgresUrl<'a> {
    scheme: &'a str,
    /// With the at sign.
    user: &'a str,
    hosts: &'a str,
    /// Path, query and fragment.
    tail: &'a str,
}

impl<'a> PostgresUrl<'a> {
    /// Splits a URL.
    ///
    /// # Errors
    /// It is not a PostgreSQL URL, or parts of a password would be taken for other parts of it.
    pub fn split(url: &'a str) -> Result<PostgresUrl<'a>, Error> {
        let not_postgres = || invalid("expected postgres://HOST/DATABASE");
        if Location::parse(url)? != Location::Postgres {
            return Err(not_postgres());
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(not_postgres)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        Ok(PostgresUrl { scheme, user, hosts, tail })
    }

    /// One URL for each host.
    pub fn each_host(self) -> impl Iterator<Item = String> {
        let PostgresUrl { scheme, user, hosts, tail } = self;
        hosts.split(',').map(move |host| format!("{scheme}://{user}{host}{tail}"))
    }

    /// Its hosts, each with its port if it has one.
    pub fn hosts(self) -> &'a str {
        self.hosts
    }

    /// Hosts and database, without secrets.
    pub fn place(self) -> String {
        let path = self.tail.split(['?', '#']).next().unwrap_or_default();
        format!("postgres://{}/{}", self.hosts, path.trim_start_matches('/'))
    }
}

fn invalid(problem: &str) -> Error {
    Error::Config(format!("the ledger: {problem}"))
}

/// Returns the letters before the first colon, if they are a scheme of RFC 3986.
fn scheme_of(name: &str) -> Option<&str> {
    let (scheme, _) = name.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|other| other.is_ascii_alphanumeric() || "+.-".contains(other));
    is_scheme.then_some(scheme)
}

const UNESCAPED: &str = "the user name or the password in its URL contains / ? # or @; write them as %2F %3F %23 and \
     %40, also an @ after the host";

/// Returns true if a URL has no at sign behind its authority. Otherwise a part of a password would be read as the name
/// of a host or of a database, and shown.
fn is_escaped(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    !rest[end..].contains('@')
}

fn has_authority(name: &str) -> bool {
    name.split_once(':').is_some_and(|(_, rest)| rest.starts_with("//"))
}

/// Matches `user:password@host` in place of a directory name, and `host=… password=…`.
fn looks_like_login(path: &str) -> bool {
    const KEYWORDS: [&str; 6] = ["host=", "hostaddr=", "dbname=", "user=", "password=", "service="];
    if path.starts_with(['/', '.']) {
        return false;
    }
    let login = path.split_once('@').is_some_and(|(login, _)| login.contains(':'));
    login || path.split_whitespace().any(|word| KEYWORDS.iter().any(|keyword| word.starts_with(keyword)))
}

/// Returns true if a name ends in parameters, such as `?mode=memory&cache=shared`. Without the equals sign it is a name
/// with a question mark.
fn has_parameters(path: &str) -> bool {
    path.split_once('?').is_some_and(|(_, query)| query.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_hosts_becomes_one_url_each() {
        let url = PostgresUrl::split("postgres://me:p%40ss@one:5433,two/audit?sslmode=require").unwrap();
        let expected = [
            "postgres://me:p%40ss@one:5433/audit?sslmode=require",
            "postgres://me:p%40ss@two/audit?sslmode=require",
        ];
        assert_eq!(url.each_host().collect::<Vec<_>>(), expected);
        assert_eq!(url.place(), "postgres://one:5433,two/audit");
        assert!(PostgresUrl::split("audit").is_err());
    }

    #[test]
    fn a_path_is_literal() {
        for (name, path) in [
            ("sqlite:audit.db", "audit.db"),
            ("sqlite://audit.db", "audit.db"),
            ("sqlite:///srv/audit.db", "/srv/audit.db"),
            ("audit.db", "audit.db"),
            ("sqlite:what?.db", "what?.db"),
            ("50%25 #1.db", "50%25 #1.db"),
            ("./file:x.db", "./file:x.db"),
            ("/srv/a:b/me@home.db", "/srv/a:b/me@home.db"),
            ("./host=db password=x", "./host=db password=x"),
        ] {
            assert_eq!(Location::parse(name).unwrap(), Location::Sqlite(path.into()), "{name}");
        }
        for name in ["postgres://db/audit", "postgresql://u:p@db/audit"] {
            assert_eq!(Location::parse(name).unwrap(), Location::Postgres);
        }
    }

    #[test]
    fn all_else_is_refused_and_no_secret_is_shown() {
        for name in [
            "",
            "sqlite:",
            "sqlite://",
            ":memory:",
            "sqlite::memory:",
            "sqlite://:memory:",
            "file:audit?mode=memory&cache=shared",
            "file:b.db",
            "sqlite:x.db?mode=rwc",
            "x.db?mode=rwc",
            "sqlite3:x.db",
            "SQLITE:x.db",
            "postgres:u:hush@db",
            "postgres:/db",
            "postgres://u:/hush@host/db",
            "postgres://u:12/34hush@db/x",
            "postgres://u:hu?sh@db/x",
            "postgres://u:a@hush/b@db/x",
            "POSTGRES://u:hush@db/x",
            "mysql://me:hush@x",
            "mysql:hush",
            "u:hush@db/x",
            "sqlite:u:hush@db/x",
            "sqlite:a\0b",
            " ",
            "dir/",
            "sqlite:/srv/audit.db/",
            "host=db password=hush dbname=x",
            "sqlite:dbname=x  password=hush",
        ] {
            let error = Location::parse(name).unwrap_err().to_string();
            assert!(!error.contains("hush") && !error.contains('\n'), "{name}: {error}");
        }
    }
}
