//! Retention of rejections in the operation log: the statements are the same for both databases.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::admission::RejectionCode;
use crate::clock::now_ms;
use crate::ledger::{RejectionLimits, Rejections};

/// Entries of a reason that are deleted at a time.
const PRUNE_BATCH_ROWS: i64 = 10_000;
/// Entries of a reason that are counted if nothing is deleted: it bounds the time.
const MAX_COUNTED_ROWS: i64 = 200_000;

/// A connection to one of the databases.
#[async_trait]
pub(super) trait Database: Send {
    /// Returns the first column of the rows of a statement about a reason: `$1` is the reason, `$2` and so on are the
    /// numbers.
    async fn numbers(
        &mut self,
        statement: String,
        reason: &str,
        numbers: &[i64],
    ) -> Result<Vec<i64>, sqlx::Error>;
}

#[async_trait]
impl Database for SqliteConnection {
    async fn numbers(
        &mut self,
        statement: String,
        reason: &str,
        numbers: &[i64],
    ) -> Result<Vec<i64>, sqlx::Error> {
        let query = sqlx::query_scalar(AssertSqlSafe(statement)).bind(reason.to_owned());
        numbers.iter().fold(query, |query, number| query.bind(*number)).fetch_all(self).await
    }
}

/// Deletes and counts the rejections of a reason. The newest stay.
pub(super) async fn prune(
    database: &mut impl Database,
    code: RejectionCode,
    limits: &RejectionLimits,
) -> Result<Rejections, sqlx::Error> {
    let reason = code.name();
    let (too_old, too_many) = if code.is_signed() {
        let ranked =
            "SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY device_id ORDER BY id DESC) AS place
                      FROM operation_logs WHERE outcome = 'rejected' AND reason = $1) AS ranked
                      WHERE place > $2 ORDER BY id LIMIT $3";
        (0, delete(database, ranked, reason, limits.signed_entries).await?)
    } else {
        let old = "SELECT id FROM operation_logs WHERE outcome = 'rejected' AND reason = $1 AND at_ms < $2
                   ORDER BY id LIMIT $3";
        let many = "SELECT id FROM operation_logs WHERE outcome = 'rejected' AND reason = $1 AND id <= (
                        SELECT id FROM operation_logs WHERE outcome = 'rejected' AND reason = $1
                        ORDER BY id DESC LIMIT 1 OFFSET $2)
                    ORDER BY id LIMIT $3";
        let too_old = delete(database, old, reason, limits.unsigned_from_ms).await?;
        (too_old, delete(database, many, reason, limits.unsigned_entries).await?)
    };
    let kept = kept(database, code, i64::MAX).await?;
    Ok(Rejections { pruned_by_number: too_many, pruned_by_age: too_old, ..kept })
}

/// Counts the rejections of a reason, up to a limit.
pub(super) async fn count(
    database: &mut impl Database,
    code: RejectionCode,
) -> Result<Rejections, sqlx::Error> {
    kept(database, code, MAX_COUNTED_ROWS).await
}

async fn kept(
    database: &mut impl Database,
    code: RejectionCode,
    at_most: i64,
) -> Result<Rejections, sqlx::Error> {
    let reason = code.name();
    let statement = "SELECT count(*) FROM (
                         SELECT id FROM operation_logs WHERE outcome = 'rejected' AND reason = $1 LIMIT $2) AS kept";
    let counts = database.numbers(statement.to_owned(), reason, &[at_most]).await?;
    let kept = counts.first().map_or(0, |kept| kept.cast_unsigned());
    Ok(Rejections { reason, kept, pruned_by_number: 0, pruned_by_age: 0 })
}

/// Deletes the entries that a statement selects, and counts them.
async fn delete(
    database: &mut impl Database,
    chosen: &str,
    reason: &str,
    limit: u64,
) -> Result<u64, sqlx::Error> {
    let statement = format!("DELETE FROM operation_logs WHERE id IN ({chosen}) RETURNING id");
    let limits = [i64::try_from(limit).unwrap_or(i64::MAX), PRUNE_BATCH_ROWS];
    let ids = database.numbers(statement, reason, &limits).await?;
    let Some(last) = ids.iter().max() else { return Ok(0) };
    let entries = ids.len() as u64;
    let statement = "INSERT INTO pruned_rejections (reason, entries, up_to_id, at_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (reason) DO UPDATE SET entries = pruned_rejections.entries + $2, at_ms = $4,
             up_to_id = CASE WHEN pruned_rejections.up_to_id > $3 THEN pruned_rejections.up_to_id ELSE $3 END
         RETURNING entries";
    database.numbers(statement.to_owned(), reason, &[entries.cast_signed(), *last, now_ms()]).await?;
    Ok(entries)
}
