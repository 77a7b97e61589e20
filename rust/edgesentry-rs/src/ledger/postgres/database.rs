//! Databases for tests.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, Executor};

use super::connect::{Found, Use, find};
use super::url::parse;
use crate::error::{Component, Error};
use crate::sql::failed;

/// Creates a database on the server of `url`, and returns the URL of the database.
pub async fn create_database(url: &str, name: &str) -> Result<String, Error> {
    let invalid =
        |character: char| !character.is_ascii_lowercase() && !character.is_ascii_digit() && character != '_';
    if name.is_empty() || name.len() > 63 || name.contains(invalid) {
        let problem = format!("a database is called by 1 to 63 of a-z, 0-9 and _, not {name:?}");
        return Err(Error::Config(problem));
    }
    run(url, format!("CREATE DATABASE {name}"), "create a database").await?;
    let (server, parameters) = match url.split_once('?') {
        Some((server, parameters)) => (server, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let hosts = server.find("://").map_or(0, |at| at + 3);
    let end = server[hosts..].find('/').map_or(server.len(), |at| hosts + at);
    Ok(format!("{}/{name}{parameters}", &server[..end]))
}

/// Drops a database that [`create_database`] created with the same `url`, with its connections.
pub async fn drop_database(url: &str, name: &str) -> Result<(), Error> {
    run(url, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), "drop a database").await
}

async fn run(url: &str, statement: String, action: &'static str) -> Result<(), Error> {
    let (place, hosts) = parse(url)?;
    let Found { mut connection, .. } = find(&hosts, &place, Use::Write).await?;
    let done = connection.execute(AssertSqlSafe(statement)).await;
    done.map_err(failed(&Arc::clone(&place), Component::AuditLedger, action))?;
    // Best effort: an unclean close loses nothing.
    let _ = connection.close().await;
    Ok(())
}
