//! The slots, standbys and write-ahead log of a PostgreSQL server, for alerts.

use crate::blocking::blocking;
use crate::error::Error;
use crate::source::Source;
use crate::textfile::{Family, SLOT_RETAINED, STANDBY_LAG, Sample, WAL_SIZE};

/// The metrics of a server.
pub const FAMILIES: [Family; 3] = [SLOT_RETAINED, STANDBY_LAG, WAL_SIZE];

/// Queries a server; returns all samples of [`FAMILIES`].
///
/// # Errors
/// The server cannot be queried, or responds with unknown rows.
pub async fn look(source: &Source) -> Result<Vec<Sample>, Error> {
    let sql = source.sql.clone();
    let rows = blocking(move || sql.query(QUERY)).await?;
    let wrong = || Error::Server {
        server: source.sql.place().to_owned(),
        problem: format!("unexpected response: {rows:?}"),
    };
    let sample = |row: &str| {
        let mut fields = row.splitn(3, '|');
        let (kind, value, name) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
        let family = match kind {
            "slot" => SLOT_RETAINED,
            "standby" => STANDBY_LAG,
            "wal" => WAL_SIZE,
            _ => return None,
        };
        Some(family.sample(name, value))
    };
    rows.lines().map(|row| sample(row).ok_or_else(wrong)).collect()
}

/// The name comes last, because it may contain any character.
const QUERY: &str = "\
    SELECT 'slot', greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0), slot_name \
      FROM pg_replication_slots WHERE restart_lsn IS NOT NULL \
    UNION ALL \
    SELECT 'standby', greatest(max(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn)), 0), \
           replace(application_name, E'\\n', ' ') \
      FROM pg_stat_replication WHERE flush_lsn IS NOT NULL GROUP BY application_name \
    UNION ALL \
    SELECT 'wal', coalesce(sum(size), 0), '' FROM pg_ls_waldir()";
