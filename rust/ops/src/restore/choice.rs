//! The backup that a restore begins with and the timeline that it follows: chosen before anything is downloaded.
//!
//! By default the timeline that the archive is written on now is followed; for a time before that began, the one that
//! was written then.

use edgesentry_formats::times::to_rfc3339;
use time::OffsetDateTime;

use super::reach::Reach;
use super::{Restore, Target};
use crate::archive::Archive;
use crate::backup::{self, Backup};
use crate::error::Error;
use crate::observe::{Event, Observer};
use crate::postgres::Programs;
use crate::wal::{Coverage, Inventory, Line, Lsn, coverage};

/// The program that reads write-ahead log.
const WALDUMP: &str = "pg_waldump";

/// The chosen backup and timeline.
pub(super) struct Choice {
    pub(super) backup: Backup,
    pub(super) line: Line,
    /// The position of the named restore point, if the log could be read.
    pub(super) point: Option<Lsn>,
    /// Notes for the operator.
    pub(super) notes: Vec<String>,
}

/// The listing of an archive.
pub(super) struct Known<'a> {
    pub(super) archive: &'a Archive,
    pub(super) programs: &'a Programs,
    pub(super) backups: Vec<Backup>,
    pub(super) inventory: Inventory,
}

/// A way to the target.
struct Way {
    line: Line,
    point: Option<Lsn>,
    backup: Backup,
    covered: Coverage,
}

impl<'a> Known<'a> {
    /// Lists an archive.
    pub(super) async fn of(archive: &'a Archive, programs: &'a Programs) -> Result<Known<'a>, Error> {
        let backups = backup::backups(archive).await?;
        if backups.is_empty() {
            return Err(archive.problem("there is no backup; make one with eds ops backup".to_owned()));
        }
        Ok(Known { archive, programs, backups, inventory: Inventory::of(archive).await? })
    }

    /// Chooses backup and timeline; an error states why the target cannot be reached, and which targets can.
    pub(super) async fn choose(&self, restore: &Restore, observer: Observer<'_>) -> Result<Choice, Error> {
        let lines = self.lines(restore)?;
        let (mut refusal, last) = (None, lines.len().saturating_sub(1));
        for (at, line) in lines.into_iter().enumerate() {
            match self.way(line, restore, observer).await {
                Ok(way) => {
                    let notes = self.notes(&way, restore)?;
                    return Ok(Choice { backup: way.backup, line: way.line, point: way.point, notes });
                }
                // The timeline that was written then may end before the target time, and the next one continue from
                // there: its own error is more precise.
                Err(error) if at < last => refusal = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refusal.unwrap_or_else(|| self.archive.problem("there is no timeline".to_owned())))
    }

    /// Returns the lines that may be followed, the best first.
    fn lines(&self, restore: &Restore) -> Result<Vec<Line>, Error> {
        if let Some(timeline) = restore.timeline {
            let mut known = self.inventory.timelines();
            known.extend(self.backups.iter().map(|backup| backup.timeline));
            known.sort_unstable();
            known.dedup();
            if !known.contains(&timeline) {
                let known: Vec<String> = known.iter().map(u32::to_string).collect();
                let known = known.join(", ");
                let problem = format!("there is no timeline {timeline}; the archive has {known}");
                return Err(self.archive.problem(problem));
            }
            return Ok(vec![self.inventory.line(timeline)]);
        }
        if let (Target::Latest, Some(newest), Some(current)) =
            (&restore.target, self.inventory.newer_than_current(), self.inventory.current())
        {
            let last = |timeline: u32| {
                let activity = self.inventory.activity.get(&timeline);
                activity.map_or_else(|| "never".to_owned(), |(_, last)| to_rfc3339(*last))
            };
            return Err(self.archive.problem(format!(
                "timeline {newest} is the newest one, archived last at {}, and timeline {current} was archived later, last at \
                 {}; a copy of the archive has other times, so choose the one to follow: --timeline {newest} or \
                 --timeline {current}",
                last(newest),
                last(current)
            )));
        }
        let newest = self.backups.last().map_or(1, |backup| backup.timeline);
        let mut lines = vec![self.inventory.line(self.inventory.current().unwrap_or(newest))];
        if let Target::Time(moment) = &restore.target {
            while let Some(line) = lines.first()
                && let Some((parent, _)) = line.parent()
                && i128::from(self.inventory.born_ms(line.timeline())) > milliseconds(*moment)
            {
                lines.insert(0, self.inventory.line(parent));
            }
        }
        if let Some(id) = &restore.backup {
            let backup = self.find(id)?;
            let passing: Vec<Line> =
                lines.into_iter().filter(|line| line.passes(backup.timeline, backup.stop_lsn)).collect();
            lines = passing;
            if lines.is_empty() {
                lines.push(self.inventory.line_through(backup.timeline, backup.stop_lsn));
            }
        }
        Ok(lines)
    }

    fn find(&self, id: &str) -> Result<&Backup, Error> {
        let named = self.backups.iter().find(|backup| backup.id == id);
        named.ok_or_else(|| self.archive.problem(format!("there is no backup {id}; see eds ops backups")))
    }

    /// Returns the way along a line, if it leads to the target.
    async fn way(&self, line: Line, restore: &Restore, observer: Observer<'_>) -> Result<Way, Error> {
        let point = match &restore.target {
            Target::Point(name) => self.restore_point(&line, name, observer).await?,
            Target::Latest | Target::Time(_) => None,
        };
        let backup = self.backup(&line, restore, point)?;
        let covered = coverage(&self.inventory, &line, backup.first_segment);
        if let Target::Time(moment) = &restore.target
            && self.can_read()
        {
            let reach = self.reach(&line, &covered).last_transaction().await?;
            if reach.is_none_or(|reach| reach <= *moment) {
                return Err(self.archive.problem(beyond(&line, &backup, reach, &restore.target)));
            }
        }
        Ok(Way { line, point, backup, covered })
    }

    fn reach<'b>(&'b self, line: &'b Line, covered: &'b Coverage) -> Reach<'b> {
        Reach { archive: self.archive, programs: self.programs, inventory: &self.inventory, line, covered }
    }

    fn can_read(&self) -> bool {
        self.programs.folder().join(WALDUMP).is_file()
    }

    /// Returns the position of a restore point on a line, or `None` if the log cannot be read here.
    async fn restore_point(
        &self,
        line: &Line,
        name: &str,
        observer: Observer<'_>,
    ) -> Result<Option<Lsn>, Error> {
        let oldest = self.backups.iter().find(|backup| line.passes(backup.timeline, backup.stop_lsn));
        let (Some(oldest), true) = (oldest, self.can_read()) else { return Ok(None) };
        observer(Event::Step("look for the restore point"));
        let covered = coverage(&self.inventory, line, oldest.first_segment);
        let found = self.reach(line, &covered).restore_point(name).await?;
        if found.is_none() {
            let (timeline, from) = (line.timeline(), covered.from);
            let problem = format!(
                "there is no restore point {name:?} in the archived log of timeline {timeline}, from {from} on"
            );
            return Err(self.archive.problem(problem));
        }
        Ok(found)
    }

    /// Returns the backup to begin with: the last one on the line before the target.
    fn backup(&self, line: &Line, restore: &Restore, point: Option<Lsn>) -> Result<Backup, Error> {
        let in_time = |backup: &&Backup| match &restore.target {
            Target::Time(moment) => i128::from(backup.finished_at_ms) <= milliseconds(*moment),
            Target::Point(_) => point.is_none_or(|point| backup.stop_lsn <= point),
            Target::Latest => true,
        };
        let on_line = |backup: &&Backup| line.passes(backup.timeline, backup.stop_lsn);
        let timeline = line.timeline();
        if let Some(id) = &restore.backup {
            let named = self.find(id)?;
            let problem = if !in_time(&named) {
                format!("backup {id} was not finished yet at {}; name an earlier one", restore.target)
            } else if !on_line(&named) {
                format!(
                    "backup {id} of timeline {} ends at {}, which is not on the way to timeline {timeline}; name an \
                     earlier backup, or follow the backup with --timeline {}",
                    named.timeline, named.stop_lsn, named.timeline
                )
            } else {
                return Ok(named.clone());
            };
            return Err(self.archive.problem(problem));
        }
        if let Some(backup) = self.backups.iter().rev().filter(in_time).find(on_line) {
            return Ok(backup.clone());
        }
        let problem = match self.backups.iter().rev().find(in_time) {
            Some(other) => format!(
                "no backup on the way to timeline {timeline} was finished by {}; backup {} is on timeline {}, which is \
                 followed with --timeline {}",
                restore.target, other.id, other.timeline, other.timeline
            ),
            None => format!(
                "no backup was finished by {}; the oldest can be restored from {} on",
                restore.target,
                self.backups.first().map_or_else(String::new, |oldest| to_rfc3339(oldest.finished_at_ms))
            ),
        };
        Err(self.archive.problem(problem))
    }

    /// Returns notes about the log missing at the end of the way, and about the choice of the timeline.
    fn notes(&self, way: &Way, restore: &Restore) -> Result<Vec<String>, Error> {
        let mut notes = super::gaps(&way.covered, restore, self.archive)?;
        let timeline = way.line.timeline();
        let current = self.inventory.current().filter(|current| *current != timeline);
        if let (Some(current), None) = (current, restore.timeline) {
            notes.push(format!(
                "timeline {timeline} is followed, which was written then; the archive is on timeline {current} now"
            ));
        }
        let moment = match &restore.target {
            Target::Time(moment) => Some(milliseconds(*moment)),
            Target::Latest | Target::Point(_) => None,
        };
        for branch in self.inventory.beside(&way.line) {
            // Later timelines cannot be missing.
            let later =
                moment.is_some_and(|moment| i128::from(self.inventory.born_ms(branch.timeline)) > moment);
            if later {
                continue;
            }
            let parted =
                branch.parted.map_or_else(|| "an unknown position".to_owned(), |parted| parted.to_string());
            notes.push(format!(
                "timeline {} has separate log from {parted} to {}, archived last at {}: it is not restored here; \
                 --timeline {} follows it",
                branch.timeline,
                branch.newest,
                to_rfc3339(branch.last_ms),
                branch.timeline
            ));
        }
        if !self.can_read() && !matches!(restore.target, Target::Latest) {
            notes.push(format!(
                "{} has no {WALDUMP}, so it was not checked whether the archived log reaches the target",
                self.programs.folder().display()
            ));
        }
        Ok(notes)
    }

    /// Returns the time at which the last transaction of the current timeline's archived log ended.
    pub(super) async fn last_transaction(&self) -> Result<(u32, Option<OffsetDateTime>), Error> {
        let newest = self.backups.last().map_or(1, |backup| backup.timeline);
        let line = self.inventory.line(self.inventory.current().unwrap_or(newest));
        let restore_from =
            self.backups.iter().rev().find(|backup| line.passes(backup.timeline, backup.stop_lsn));
        let Some(backup) = restore_from else { return Ok((line.timeline(), None)) };
        self.programs.require(&[WALDUMP])?;
        let covered = coverage(&self.inventory, &line, backup.first_segment);
        Ok((line.timeline(), self.reach(&line, &covered).last_transaction().await?))
    }
}

fn milliseconds(time: OffsetDateTime) -> i128 {
    time.unix_timestamp_nanos() / 1_000_000
}

/// Returns the error for a time after the last transaction: recovery to a time ends only at a transaction after it.
fn beyond(line: &Line, backup: &Backup, reach: Option<OffsetDateTime>, target: &Target) -> String {
    let last = match reach {
        Some(reach) => format!("the last transaction in it ended at {}", Target::Time(reach)),
        None => format!("it has no transaction after backup {}", backup.id),
    };
    format!(
        "the archived log of timeline {} does not reach {target}: {last}; restore to an earlier time, or without \
         --target-time to the end of the archive, or commit something on the original, switch its segment with SELECT \
         pg_switch_wal() and wait until it is archived",
        line.timeline()
    )
}
