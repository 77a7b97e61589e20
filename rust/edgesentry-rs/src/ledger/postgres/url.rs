//! The URL of a ledger in PostgreSQL.

use std::net::IpAddr;
use std::sync::Arc;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tracing::warn;
use url::Url;

use crate::error::{Error, describe};
use crate::ledger::PostgresUrl;

/// Supported parameters of the URL.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Splits a URL with several hosts into options for each, and a name without secrets.
pub(super) fn parse(url: &str) -> Result<(Arc<str>, Vec<PgConnectOptions>), Error> {
    let wrong = |problem: &str| Error::Config(format!("the ledger URL: {problem}"));
    let url = PostgresUrl::split(url)?;
    let mut options = Vec::new();
    for one in url.each_host() {
        // The errors do not quote the URL.
        let mut parsed = Url::parse(&one).map_err(|error| wrong(&error.to_string()))?;
        let query = parsed.query().unwrap_or_default().to_owned();
        parsed.set_query(None);
        add_parameters(&mut parsed, &query);
        let literal = parsed.host_str().and_then(|host| host.strip_prefix('[')?.strip_suffix(']'));
        let literal = literal.map(str::to_owned);
        let mut parsed = PgConnectOptions::from_url(&parsed).map_err(|error| wrong(&describe(&error)))?;
        // Only a URL has an IPv6 address in brackets.
        if let Some(literal) = literal
            && parsed.get_host() == format!("[{literal}]")
        {
            parsed = parsed.host(&literal);
        }
        // Poolers refuse unknown parameters, and we read no floating-point numbers.
        let parsed = parsed.extra_float_digits(None).application_name("edgesentry");
        options.push(parsed.disable_statement_logging());
    }
    Ok((url.place().into(), options))
}

/// Adds the supported parameters; of the others, only the name is logged.
fn add_parameters(url: &mut Url, query: &str) {
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if PARAMETERS.contains(&&*name) || name.starts_with("options[") {
            url.query_pairs_mut().append_pair(&name, &value);
        } else {
            warn!(parameter = &*name, "the ledger URL has an unknown parameter, which is ignored");
        }
    }
}

/// Returns a note for users about remote hosts to which the connection may be unencrypted.
pub(super) fn unencrypted(place: &str, hosts: &[PgConnectOptions]) -> Option<String> {
    let exposed = |options: &&PgConnectOptions| {
        let may_be_plain =
            matches!(options.get_ssl_mode(), PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer);
        may_be_plain && options.get_socket().is_none() && !is_local(options.get_host())
    };
    let options = hosts.iter().find(exposed)?;
    Some(format!(
        "{place}: the connection to {} is not required to be encrypted, so the password and the records may be read and \
         changed on the way; add ?sslmode=verify-full to the URL",
        options.get_host()
    ))
}

fn is_local(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_hosts_becomes_one_set_of_options_each() {
        let (place, hosts) = parse("postgres://me:p%40ss@one:5433,two/audit?sslmode=require").unwrap();
        assert_eq!(&*place, "postgres://one:5433,two/audit");
        let hosts: Vec<_> =
            hosts.iter().map(|host| (host.get_host(), host.get_port(), host.get_database())).collect();
        assert_eq!(hosts, [("one", 5433, Some("audit")), ("two", 5432, Some("audit"))]);
        assert!(parse("audit").is_err());
    }

    #[test]
    fn an_ipv6_address_is_in_brackets() {
        let (place, hosts) = parse("postgres://me@[::1]:5433,[2001:db8::2]/audit").unwrap();
        assert_eq!(&*place, "postgres://[::1]:5433,[2001:db8::2]/audit");
        let hosts: Vec<_> = hosts.iter().map(|host| (host.get_host(), host.get_port())).collect();
        assert_eq!(hosts, [("::1", 5433), ("2001:db8::2", 5432)]);
    }

    #[test]
    fn no_error_and_no_place_shows_a_password() {
        for url in [
            "postgres://u:/secret@host/db",
            "postgres://u:12/34secret@db/x",
            "postgres://u:secret?x@db/x",
            "postgres://u:secret#x@db/x",
            "postgres://u:a@secret/b@db/x",
            "postgres://u:secret@db/x?user=me@secret",
            "postgres://me:secret@host:port/x",
            "postgres://u:secret",
            "postgres://u:secret@db/x?port=secret",
            "postgres://u:secret@/x?host=db&port=99999999",
            "postgres:u:secret@db",
            "mysql://u:secret@db",
            "u:secret@db",
        ] {
            match parse(url) {
                Ok((place, _)) => assert!(!place.contains("secret"), "{url}: {place}"),
                Err(error) => assert!(!error.to_string().contains("secret"), "{url}: {error}"),
            }
        }
    }

    #[test]
    fn connections_that_may_be_plain_are_named_beyond_this_machine() {
        let note = |url: &str| {
            let (place, hosts) = parse(url).unwrap();
            unencrypted(&place, &hosts)
        };
        let note_of_db = note("postgres://u:hush@db/x").unwrap();
        assert!(note_of_db.contains("connection to db") && !note_of_db.contains("hush"), "{note_of_db}");
        for plain in
            ["postgres://db/x?sslmode=disable", "postgres://[::1],10.0.0.1/x", "postgres://[2001:db8::1]/x"]
        {
            assert!(note(plain).is_some(), "{plain}");
        }
        for good in [
            "postgres://db/x?sslmode=verify-full",
            "postgres://db/x?sslmode=require",
            "postgres://localhost/x",
            "postgres://127.0.0.2/x",
            "postgres://[::1]/x",
            "postgres:///x?host=/run/postgresql",
            "postgres://%2Frun%2Fpostgresql/x",
        ] {
            assert_eq!(note(good), None, "{good}");
        }
    }
}
