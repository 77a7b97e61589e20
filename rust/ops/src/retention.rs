//! Deletes objects that an archive no longer needs. The plan states its reasons, and is applied only on request.
//!
//! All backups of the last days are kept, and the newest one before them, so that every time of those days can be
//! restored, and always the newest one of all. Write-ahead log is kept from the first segment of the oldest kept
//! backup on, on every timeline: numbers only grow along a line of timelines, so no segment before that number is
//! needed. Histories are kept forever.

use std::collections::BTreeSet;
use std::time::Duration;

use edgesentry_chain::count;
use edgesentry_formats::times::to_rfc3339;
use edgesentry_rs::objects::Object;
use serde::Serialize;

use crate::archive::Archive;
use crate::backup;
use crate::dump;
use crate::error::Error;
use crate::wal::{Segment, WalName};

/// The retention periods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Base backups, and with them the write-ahead log.
    pub backups: Duration,
    /// Logical dumps; the newest one is kept regardless of its age.
    pub dumps: Duration,
    /// Files of backups and dumps without a manifest: an aborted backup, unless it is still running.
    pub unfinished: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        Policy { backups: days(30), dumps: days(7), unfinished: days(2) }
    }
}

/// The objects that retention decides about.
#[derive(Clone, Default, Debug)]
pub struct Contents {
    /// Backups: name, end, first segment, keys.
    pub backups: Vec<Kept>,
    /// Dumps: name and end.
    pub dumps: Vec<Kept>,
    /// All objects in the archive.
    pub objects: Vec<Object>,
    /// The size of a segment.
    pub segment_bytes: u64,
}

/// A backup or a dump.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The name.
    pub id: String,
    /// The time at which it finished, Unix milliseconds.
    pub finished_at_ms: u64,
    /// The first segment that it needs; none for a dump.
    pub first_segment: Option<Segment>,
    /// Whether its manifest counts: a trusted key has signed it, or no signature is required. Anyone with write
    /// access to the archive can add another manifest, which must not cause deletions.
    pub is_trusted: bool,
}

/// A group of objects to delete.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Deletion {
    /// The description, such as `backup 20260131T120000Z`.
    pub what: String,
    /// The reason.
    pub why: String,
    /// The keys, in the order of deletion: a manifest first, so that half a backup is never listed.
    pub keys: Vec<String>,
    /// The total size.
    pub size_bytes: u64,
}

/// The objects to delete and to keep.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Plan {
    /// The deletions, in order.
    pub delete: Vec<Deletion>,
    /// The kept backups and dumps, each with the reason.
    pub keep: Vec<(String, String)>,
}

impl Contents {
    /// Reads an archive. An unreadable manifest is an error, and nothing is deleted.
    ///
    /// # Errors
    /// The archive or a manifest cannot be read.
    pub async fn of(archive: &Archive) -> Result<Contents, Error> {
        let segment_bytes = archive.existing_identity().await?.wal_segment_bytes;
        // Listed before the manifests are read: the plan excludes objects written in the meantime.
        let objects = archive.objects().list("").await?;
        let backups = backup::backups(archive).await?;
        let dumps = dump::dumps(archive).await?;
        let mut contents = Contents { objects, segment_bytes, ..Contents::default() };
        for backup in &backups {
            contents.backups.push(Kept {
                id: backup.id.clone(),
                finished_at_ms: backup.finished_at_ms,
                first_segment: Some(backup.first_segment),
                is_trusted: backup.standing(archive).await?.is_ok(),
            });
        }
        for dump in &dumps {
            contents.dumps.push(Kept {
                id: dump.id.clone(),
                finished_at_ms: dump.started_at_ms,
                first_segment: None,
                is_trusted: dump.standing(archive).await?.is_ok(),
            });
        }
        Ok(contents)
    }
}

/// Plans the deletions at the time `now_ms`, or at the time of the newest object if the clock is ahead of that: a
/// wrong clock must not make everything old.
pub fn plan(contents: &Contents, policy: &Policy, now_ms: u64) -> Plan {
    let mut plan = Plan::default();
    let newest_ms =
        contents.objects.iter().map(|object| object.modified_ms).max().filter(|newest| *newest > 0);
    let now_ms = newest_ms.map_or(now_ms, |newest| newest.min(now_ms));
    let age = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let backups_from = now_ms.saturating_sub(age(policy.backups));
    let dumps_from = now_ms.saturating_sub(age(policy.dumps));

    let kept = decide(&mut plan, contents, ("backup", "backups"), &contents.backups, backups_from);
    decide(&mut plan, contents, ("dump", "dumps"), &contents.dumps, dumps_from);
    for (folder, known) in [("backups", &contents.backups), ("dumps", &contents.dumps)] {
        let before = now_ms.saturating_sub(age(policy.unfinished));
        plan.delete.extend(unfinished(contents, folder, known, before));
    }
    let first =
        kept.iter().filter_map(|kept| Some((kept.first_segment?, kept))).min_by_key(|(segment, _)| {
            // The number counts, on any timeline.
            segment.number(contents.segment_bytes)
        });
    if let Some((segment, oldest)) = first {
        plan.delete.extend(log_before(contents, segment, &oldest.id));
    }
    plan
}

/// Keeps all that are young enough, the newest before those, and the newest of all; returns the kept ones.
fn decide<'a>(
    plan: &mut Plan,
    contents: &Contents,
    (noun, folder): (&str, &str),
    all: &'a [Kept],
    from_ms: u64,
) -> Vec<&'a Kept> {
    let trusted = || all.iter().filter(|one| one.is_trusted);
    let anchor = trusted().filter(|one| one.finished_at_ms < from_ms).max_by_key(|one| one.finished_at_ms);
    let newest = trusted().max_by_key(|one| one.finished_at_ms);
    let is = |one: &Kept, other: Option<&Kept>| other.is_some_and(|other| other.id == one.id);
    let (mut kept, mut keep, mut delete) = (Vec::new(), Vec::new(), Vec::new());
    for one in all {
        let what = format!("{noun} {}", one.id);
        let why = if !one.is_trusted {
            "no trusted key has signed it: it does not count, but the log that it needs is kept; check its origin, \
             and accept backups from before the key with ops.allow_unsigned"
                .to_owned()
        } else if one.finished_at_ms >= from_ms {
            format!("finished {}, within the retention", to_rfc3339(one.finished_at_ms))
        } else if is(one, newest) {
            format!("the newest {noun} of all")
        } else if noun == "backup" && is(one, anchor) {
            format!(
                "the newest one before {}: restores to times after that begin with it",
                to_rfc3339(from_ms)
            )
        } else {
            let why = format!(
                "finished {}, before {}, and a newer one is kept",
                to_rfc3339(one.finished_at_ms),
                to_rfc3339(from_ms)
            );
            delete.push(deletion(contents, what, why, &format!("{folder}/{}/", one.id)));
            continue;
        };
        keep.push((what, why));
        kept.push(one);
    }
    plan.keep.extend(keep);
    plan.delete.extend(delete);
    kept
}

/// Returns everything under a prefix, the manifest first.
fn deletion(contents: &Contents, what: String, why: String, prefix: &str) -> Deletion {
    let objects = contents.objects.iter().filter(|object| object.key.starts_with(prefix));
    let mut objects: Vec<&Object> = objects.collect();
    objects.sort_by_key(|object| (!object.key.ends_with(".json"), object.key.clone()));
    Deletion {
        what,
        why,
        size_bytes: objects.iter().map(|object| object.size_bytes).sum(),
        keys: objects.into_iter().map(|object| object.key.clone()).collect(),
    }
}

/// Returns the files of backups that were aborted before their manifest.
fn unfinished(contents: &Contents, folder: &str, known: &[Kept], before_ms: u64) -> Vec<Deletion> {
    let id_of = |key: &str| Some(key.strip_prefix(folder)?.strip_prefix('/')?.split_once('/')?.0.to_owned());
    let is_known = |id: &String| known.iter().any(|one| one.id == *id);
    let of = |id: &String| {
        let prefix = format!("{folder}/{id}/");
        contents.objects.iter().filter(move |object| object.key.starts_with(&prefix))
    };
    let ids: BTreeSet<String> = contents.objects.iter().filter_map(|object| id_of(&object.key)).collect();
    ids.into_iter()
        .filter(|id| !is_known(id))
        // With a manifest written after the listing, the backup is complete; without times its age is unknown.
        .filter(|id| {
            of(id).all(|object| {
                object.modified_ms > 0 && object.modified_ms < before_ms && !object.key.ends_with(".json")
            })
        })
        .map(|id| {
            let why = format!(
                "it is unfinished: it has no manifest, and nothing was written since {}",
                to_rfc3339(before_ms)
            );
            deletion(contents, format!("unfinished {folder} {id}"), why, &format!("{folder}/{id}/"))
        })
        .collect()
}

/// Returns the write-ahead log before the oldest kept backup.
fn log_before(contents: &Contents, first: Segment, backup: &str) -> Option<Deletion> {
    let bytes = contents.segment_bytes;
    let is_old = |object: &&Object| {
        let segment = WalName::of_key(&object.key)
            .and_then(WalName::segment)
            .or_else(|| object.key.strip_prefix("partial/")?.strip_suffix(".zst")?.parse().ok());
        segment.is_some_and(|segment| segment.number(bytes) < first.number(bytes))
    };
    let old: Vec<&Object> = contents.objects.iter().filter(is_old).collect();
    if old.is_empty() {
        return None;
    }
    Some(Deletion {
        what: format!("{} of write-ahead log before {first}", count(old.len() as u64, "file")),
        why: format!("the oldest kept backup, {backup}, begins there"),
        size_bytes: old.iter().map(|object| object.size_bytes).sum(),
        keys: old.into_iter().map(|object| object.key.clone()).collect(),
    })
}

/// Applies a plan.
///
/// # Errors
/// An object cannot be deleted. Those before it are deleted; the plan can be applied again.
pub async fn apply(archive: &Archive, plan: &Plan) -> Result<(), Error> {
    for key in plan.delete.iter().flat_map(|deletion| &deletion.keys) {
        archive.objects().delete(key).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES: u64 = 16 << 20;
    const NOW: u64 = 1_800_000_000_000;
    const DAY_MS: u64 = 24 * 3600 * 1000;

    fn object(key: String, modified_ms: u64) -> Object {
        Object { key, size_bytes: 1, modified_ms }
    }

    /// Returns a history of days: each adds segments, and possibly a backup or a promotion to the next timeline.
    fn contents(days: &[(u8, bool, bool)]) -> Contents {
        let mut contents = Contents { segment_bytes: BYTES, ..Contents::default() };
        let (mut timeline, mut number) = (1, 1);
        for (at, (segments, is_backup, is_promoted)) in days.iter().enumerate() {
            let day_ms = NOW - (days.len() - at) as u64 * DAY_MS;
            if *is_promoted {
                timeline += 1;
                contents.objects.push(object(WalName::History(timeline).key(), day_ms));
                // The old primary goes on writing for a while.
                let lost = Segment::at(timeline - 1, number + 1, BYTES);
                contents.objects.push(object(WalName::Segment(lost).key(), day_ms));
            }
            if *is_backup {
                let id = format!("day{at}");
                contents.objects.push(object(format!("backups/{id}/backup.json"), day_ms));
                contents.objects.push(object(format!("backups/{id}/base.tar.gz"), day_ms));
                let first_segment = Some(Segment::at(timeline, number, BYTES));
                contents.backups.push(Kept { id, finished_at_ms: day_ms, first_segment, is_trusted: true });
            }
            for _ in 0..*segments {
                contents
                    .objects
                    .push(object(WalName::Segment(Segment::at(timeline, number, BYTES)).key(), day_ms));
                number += 1;
            }
        }
        contents
    }

    proptest! {
        #[test]
        fn nothing_that_a_kept_backup_needs_is_deleted(
            days in prop::collection::vec((0_u8..4, any::<bool>(), prop::bool::weighted(0.1)), 0..90)
        ) {
            let contents = contents(&days);
            let plan = plan(&contents, &Policy::default(), NOW);
            let deleted: BTreeSet<&String> = plan.delete.iter().flat_map(|deletion| &deletion.keys).collect();
            let is_kept = |backup: &&Kept| !deleted.contains(&format!("backups/{}/backup.json", backup.id));
            let kept: Vec<&Kept> = contents.backups.iter().filter(is_kept).collect();
            // Never the last one, and every restorable time of the last 30 days stays restorable.
            prop_assert_eq!(contents.backups.last(), kept.last().copied());
            for moment in 0..30 {
                let moment = NOW - moment * DAY_MS;
                let last_before = |backups: &[&Kept]| {
                    backups.iter().filter(|backup| backup.finished_at_ms <= moment).map(|backup| backup.id.clone()).next_back()
                };
                let all: Vec<&Kept> = contents.backups.iter().collect();
                prop_assert_eq!(last_before(&all), last_before(&kept));
            }
            for backup in &kept {
                let base = format!("backups/{}/base.tar.gz", backup.id);
                prop_assert!(!deleted.contains(&base));
                let first = backup.first_segment.map_or(0, |segment| segment.number(BYTES));
                for key in &deleted {
                    let segment = WalName::of_key(key).and_then(WalName::segment);
                    prop_assert!(segment.is_none_or(|segment| segment.number(BYTES) < first), "{} {}", key, backup.id);
                    prop_assert!(!key.ends_with(".history.zst"));
                }
            }
            // And it deletes enough: nothing before the oldest kept backup is left.
            let oldest = kept.iter().filter_map(|backup| backup.first_segment).map(|segment| segment.number(BYTES)).min();
            for object in &contents.objects {
                let segment = WalName::of_key(&object.key).and_then(WalName::segment);
                if let (Some(segment), Some(oldest)) = (segment, oldest) {
                    prop_assert_eq!(deleted.contains(&object.key), segment.number(BYTES) < oldest);
                }
            }
            // The manifest goes first.
            for deletion in plan.delete.iter().filter(|deletion| deletion.what.starts_with("backup ")) {
                prop_assert!(deletion.keys[0].ends_with("backup.json"));
            }
        }
    }

    #[test]
    fn a_clock_that_is_ahead_makes_nothing_old() {
        let mut contents = contents(&[(1, true, false); 20]);
        contents.objects.push(object("trial.json".to_owned(), NOW));
        let plan = plan(&contents, &Policy::default(), NOW + 400 * DAY_MS);
        assert_eq!((plan.delete.len(), plan.keep.len()), (0, 20), "{plan:?}");
    }

    #[test]
    fn nothing_is_deleted_for_a_backup_that_no_trusted_key_has_signed() {
        let mut contents = contents(&[(1, true, false); 40]);
        let before = plan(&contents, &Policy::default(), NOW);
        for (id, days) in [("anchor", 30), ("newest", 0)] {
            let first_segment = Some(Segment::at(1, 1 << 20, BYTES));
            let finished_at_ms = NOW - days * DAY_MS - DAY_MS - 1;
            contents.backups.push(Kept {
                id: id.to_owned(),
                finished_at_ms,
                first_segment,
                is_trusted: false,
            });
            contents.objects.push(object(format!("backups/{id}/backup.json"), NOW - DAY_MS));
        }
        let after = plan(&contents, &Policy::default(), NOW);
        assert_eq!(after.delete, before.delete);
        assert_eq!(after.keep.len(), before.keep.len() + 2);
    }

    #[test]
    fn incomplete_backups_are_deleted_later() {
        let mut contents = contents(&[(1, true, false)]);
        contents.objects.push(object("backups/broken/base.tar.gz".to_owned(), NOW - 3 * DAY_MS));
        contents.objects.push(object("backups/running/base.tar.gz".to_owned(), NOW - 1000));
        let plan = plan(&contents, &Policy::default(), NOW);
        let keys: Vec<&String> = plan.delete.iter().flat_map(|deletion| &deletion.keys).collect();
        assert_eq!(keys, ["backups/broken/base.tar.gz"]);
    }
}
