//! Which rejections the operation log keeps.

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::clock::now_ms;
use crate::ingest::verify::RejectionCode;
use crate::ledger::plan::PRUNED_AT_ONCE;
use crate::ledger::{RejectionLimits, Rejections};

/// Deletes and counts the rejections of a reason. The newest stay.
pub(super) async fn prune(
    connection: &mut SqliteConnection,
    code: RejectionCode,
    limits: &RejectionLimits,
) -> Result<Rejections, sqlx::Error> {
    let reason = code.name();
    let (too_old, too_many) = if code.is_signed() {
        let ranked =
            "SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY device_id ORDER BY id DESC) AS place
                      FROM operation_logs WHERE outcome = 'rejected' AND reason = ?1) AS ranked
                      WHERE place > ?2 ORDER BY id LIMIT ?3";
        (0, delete(connection, ranked, reason, limits.signed_entries).await?)
    } else {
        let old = "SELECT id FROM operation_logs WHERE outcome = 'rejected' AND reason = ?1 AND at_ms < ?2
                   ORDER BY id LIMIT ?3";
        let many = "SELECT id FROM operation_logs WHERE outcome = 'rejected' AND reason = ?1 AND id <= (
                        SELECT id FROM operation_logs WHERE outcome = 'rejected' AND reason = ?1
                        ORDER BY id DESC LIMIT 1 OFFSET ?2)
                    ORDER BY id LIMIT ?3";
        let too_old = delete(connection, old, reason, limits.unsigned_from_ms).await?;
        (too_old, delete(connection, many, reason, limits.unsigned_entries).await?)
    };
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM operation_logs WHERE outcome = 'rejected' AND reason = ?1")
            .bind(reason)
            .fetch_one(connection)
            .await?;
    Ok(Rejections { reason, kept: kept.cast_unsigned(), pruned_by_number: too_many, pruned_by_age: too_old })
}

/// Deletes the entries that a statement chooses, and takes down how many.
async fn delete(
    connection: &mut SqliteConnection,
    chosen: &'static str,
    reason: &str,
    limit: u64,
) -> Result<u64, sqlx::Error> {
    let sql = format!("DELETE FROM operation_logs WHERE id IN ({chosen}) RETURNING id");
    let ids: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(reason)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(PRUNED_AT_ONCE)
        .fetch_all(&mut *connection)
        .await?;
    let Some(last) = ids.iter().max() else { return Ok(0) };
    let entries = ids.len() as u64;
    sqlx::query(
        "INSERT INTO pruned_rejections (reason, entries, up_to_id, at_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (reason) DO UPDATE SET entries = pruned_rejections.entries + ?2, at_ms = ?4,
             up_to_id = max(pruned_rejections.up_to_id, ?3)",
    )
    .bind(reason)
    .bind(entries.cast_signed())
    .bind(last)
    .bind(now_ms())
    .execute(connection)
    .await?;
    Ok(entries)
}
