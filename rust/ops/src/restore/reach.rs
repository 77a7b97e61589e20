//! The end of the archived log, read from the log itself by `pg_waldump` before a backup is downloaded.

use std::path::Path;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::archive::Archive;
use crate::backup::NO_TIMEOUT;
use crate::error::Error;
use crate::observe::blocking;
use crate::postgres::Programs;
use crate::program;
use crate::wal::{
    Coverage, Inventory, Line, Lsn, Segment, WalName, packed, receiving_key, receiving_subject,
};

/// The archived log along a line, from a segment to its end or to the first gap.
pub(super) struct Reach<'a> {
    pub(super) archive: &'a Archive,
    pub(super) programs: &'a Programs,
    pub(super) inventory: &'a Inventory,
    pub(super) line: &'a Line,
    pub(super) covered: &'a Coverage,
}

impl Reach<'_> {
    /// Returns the time at which the last transaction ended, or `None` if there is no transaction.
    pub(super) async fn last_transaction(&self) -> Result<Option<OffsetDateTime>, Error> {
        let found = self.backwards("Transaction", transaction).await?;
        Ok(found.into_iter().max())
    }

    /// Returns the position of a named restore point.
    pub(super) async fn restore_point(&self, name: &str) -> Result<Option<Lsn>, Error> {
        let found = self.backwards("XLOG", |line| restore_point(line, name)).await?;
        Ok(found.into_iter().max())
    }

    /// Returns the matches of the last segment that has any.
    async fn backwards<T>(&self, kind: &str, found: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Error> {
        let bytes = self.inventory.segment_bytes;
        let from = self.covered.from.number(bytes);
        let end = match (self.covered.gaps.first(), self.covered.receiving, self.covered.newest) {
            // Recovery ends before a gap.
            (Some(gap), ..) => gap.first.number(bytes).checked_sub(1),
            (None, Some(segment), _) | (None, None, Some(segment)) => Some(segment.number(bytes)),
            (None, None, None) => None,
        };
        let Some(end) = end else { return Ok(Vec::new()) };
        for number in (from..=end).rev() {
            let Some((segment, complete)) = self.inventory.on_line(self.line, number) else { continue };
            let text = self.dump(segment, complete, kind).await?;
            let these: Vec<T> = text.lines().filter_map(&found).collect();
            if !these.is_empty() {
                return Ok(these);
            }
        }
        Ok(Vec::new())
    }

    /// Returns the records of a segment.
    async fn dump(&self, segment: Segment, complete: bool, kind: &str) -> Result<String, Error> {
        let folder = self.archive.temporary()?;
        let (packed, file) = (folder.path().join("packed"), folder.path().join(segment.to_string()));
        let identity = self.archive.existing_identity().await?;
        let most = packed::largest(identity.wal_segment_bytes);
        let of = |name: WalName| (name.key(), name.subject(identity));
        let places = if complete {
            vec![of(WalName::Segment(segment))]
        } else {
            let receiving = (receiving_key(segment), receiving_subject(segment, identity));
            vec![receiving, of(WalName::Partial(segment))]
        };
        let mut found = None;
        for (key, subject) in places {
            if self.archive.objects().get_file(&key, &packed, most).await?.is_some() {
                found = Some(subject);
                break;
            }
        }
        // A missing segment was deleted since the listing.
        let Some(subject) = found else { return Ok(String::new()) };
        let (archive, programs, kind) = (self.archive.clone(), self.programs.clone(), kind.to_owned());
        blocking(move || {
            packed::unpack(&archive, &packed, &file, &subject)?;
            let text = dump(&programs, &file, &kind);
            drop(folder);
            text
        })
        .await
    }
}

/// Returns the records of a file. The last segment ends within a record, after which the program reports an error.
fn dump(programs: &Programs, file: &Path, kind: &str) -> Result<String, Error> {
    let mut command = programs.command("pg_waldump");
    Ok(program::run(command.env("TZ", "UTC").arg(format!("--rmgr={kind}")).arg(file), NO_TIMEOUT)?.stdout)
}

/// Parses the end of a transaction from a line such as `… desc: COMMIT 2026-01-31 12:00:00.123456 UTC; …`: recovery
/// to a time stops at the first one after it.
fn transaction(line: &str) -> Option<OffsetDateTime> {
    let (_, what) = line.split_once("desc: ")?;
    let ends = ["COMMIT ", "COMMIT_PREPARED ", "ABORT ", "ABORT_PREPARED "];
    ends.iter().find(|end| what.starts_with(**end))?;
    let words: Vec<&str> = what.split([' ', ';']).collect();
    let words = words.windows(3).find(|words| words[2] == "UTC")?;
    OffsetDateTime::parse(&format!("{}T{}Z", words[0], words[1]), &Rfc3339).ok()
}

/// Parses the position of a restore point from a line such as `… lsn: 0/03000028, prev … desc: RESTORE_POINT name`.
fn restore_point(line: &str, name: &str) -> Option<Lsn> {
    let (_, what) = line.split_once("desc: RESTORE_POINT ")?;
    let (_, at) = line.split_once("lsn: ")?;
    (what.trim_end() == name).then(|| at.split(',').next()?.trim().parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "rmgr: Transaction len (rec/tot):     34/    34, tx:        735, lsn: 0/0152A3B8, prev \
        0/0152A380, desc: COMMIT 2026-01-31 12:00:00.250000 UTC; inval msgs: catcache 21";

    #[test]
    fn the_end_of_a_transaction_is_read() {
        let expected = OffsetDateTime::parse("2026-01-31T12:00:00.25Z", &Rfc3339).unwrap();
        assert_eq!(transaction(COMMIT), Some(expected));
        let prepared = COMMIT.replace("COMMIT 2", "COMMIT_PREPARED 735: 2");
        assert_eq!(transaction(&prepared), Some(expected));
        assert_eq!(transaction(&COMMIT.replace("COMMIT", "ASSIGNMENT")), None);
    }

    #[test]
    fn a_restore_point_is_found_by_its_whole_name() {
        let line = "rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 1/03000028, prev 0/02000110, \
            desc: RESTORE_POINT before migration";
        assert_eq!(restore_point(line, "before migration"), Some(Lsn(0x1_0300_0028)));
        assert_eq!(restore_point(line, "before"), None);
    }
}
