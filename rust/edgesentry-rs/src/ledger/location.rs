//! The name of a ledger, as settings and the command line give it.

use std::path::PathBuf;

use crate::error::Error;

/// The location of a ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    /// A file: `sqlite:PATH`, or the path alone. Every character of the path is literal.
    Sqlite(PathBuf),
    /// A database: `postgres://…`. The URL may hold a password and stays in the settings.
    Postgres,
}

impl Location {
    /// Parses a name. The error for an invalid one shows no more than the scheme, because the rest may be a password.
    pub fn parse(name: &str) -> Result<Location, Error> {
        if name.trim().is_empty() {
            return Err(Error::Config(
                "settings: ledger is empty; name sqlite:PATH or postgres://…".to_owned(),
            ));
        }
        let scheme = scheme_of(name);
        let path = match scheme {
            Some("postgres" | "postgresql") if has_authority(name) => {
                return if is_escaped(name) { Ok(Location::Postgres) } else { Err(invalid(UNESCAPED)) };
            }
            Some("postgres" | "postgresql") => {
                return Err(invalid(
                    "a PostgreSQL ledger is named postgres://HOST/DATABASE, with two slashes",
                ));
            }
            Some("sqlite") => {
                let path = &name["sqlite:".len()..];
                path.strip_prefix("//").unwrap_or(path)
            }
            None => name,
            Some(scheme) => {
                return Err(invalid(&format!(
                    "the scheme {scheme:?} is not known; a ledger is named sqlite:PATH, a path, or \
                     postgres://HOST/DATABASE (a file whose name begins so: ./NAME)"
                )));
            }
        };
        if path.is_empty() || path.contains('\0') || path.contains("://") {
            return Err(invalid("a ledger is named sqlite:PATH, a path, or postgres://HOST/DATABASE"));
        }
        // SQLite drops the slash and creates a file; it would not be the one whose mode and locks were checked.
        if path.ends_with('/') {
            return Err(invalid(
                "a SQLite ledger is a file, and this name ends in / as that of a folder does",
            ));
        }
        if path.starts_with(':') {
            return Err(invalid(
                "a ledger in memory would lose what it has acknowledged; name a file, sqlite:PATH",
            ));
        }
        if has_parameters(path) {
            return Err(invalid(
                "a SQLite ledger takes no parameters behind a ?; name the file alone, sqlite:PATH",
            ));
        }
        if looks_like_login(path) {
            return Err(invalid(
                "it looks like a login without its scheme; a PostgreSQL ledger is named \
                              postgres://USER:PASSWORD@HOST/DATABASE",
            ));
        }
        Ok(Location::Sqlite(PathBuf::from(path)))
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

const UNESCAPED: &str = "the user name or the password in its URL holds / ? # or @; write %2F %3F %23 and %40 for them, also \
                         for an @ behind the host";

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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_for_itself() {
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
