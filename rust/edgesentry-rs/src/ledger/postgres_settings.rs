//! `[postgres]`: how to reach PostgreSQL.

use serde::Deserialize;

use crate::secret::Secret;

/// Settings of the PostgreSQL connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port,host:port/database?sslmode=verify-full&sslrootcert=FILE`. With several
    /// hosts, the one that accepts writes is used.
    #[serde(skip)]
    pub url: Secret,
    /// The maximum number of connections of this process.
    pub connections: u32,
    /// Seconds to wait for a free connection, and for a commit.
    pub timeout_seconds: u64,
    /// True behind a pooler such as PgBouncer in transaction mode: each transaction may reach another connection of the
    /// server, so no statement stays prepared and each read is a transaction.
    pub transaction_pooling: bool,
}

impl Default for PostgresSettings {
    fn default() -> PostgresSettings {
        PostgresSettings {
            url: String::new().into(),
            connections: 8,
            timeout_seconds: 30,
            transaction_pooling: false,
        }
    }
}
