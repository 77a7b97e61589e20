//! `eds ops backups`: the backups to restore from.

use anstyle::Style;
use clap::Args;
use edgesentry_formats::times::{now_ms, to_rfc3339};
use edgesentry_ops::backup::{Backup, backups};
use edgesentry_ops::dump::dumps;
use edgesentry_ops::wal::{Coverage, Inventory, Segment};
use serde_json::json;

use super::session::{Session, size};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;

const BOLD: Style = Style::new().bold();

/// List backups and dumps with age, size, and the times that they can be restored to
///
/// Exit code 1 if no base backup exists.
#[derive(Args, Debug)]
pub(super) struct Backups {
    #[command(flatten)]
    file: ConfigFile,
}

impl Backups {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let archive = session.archive()?;
        let (backups, dumps, inventory) = session.wait(async {
            let inventory = Inventory::of(&archive).await?;
            Ok::<_, edgesentry_ops::Error>((backups(&archive).await?, dumps(&archive).await?, inventory))
        })?;
        let now = now_ms();
        let age_seconds = |at_ms: u64| now.saturating_sub(at_ms) / 1000;
        let covered: Vec<Coverage> = backups.iter().map(|backup| backup.coverage(&inventory)).collect();
        let listed: Vec<_> = backups
            .iter()
            .zip(&covered)
            .map(|(backup, covered)| {
                json!({"backup": backup, "age_seconds": age_seconds(backup.finished_at_ms), "log": covered})
            })
            .collect();
        let content = json!({
            "archive": archive.place(),
            "backups": listed,
            "dumps": dumps,
            "newest_log_at_ms": inventory.newest_ms,
        });
        let mut text = format!("{BOLD}{:<18}  {:>9}  {:>11}  RESTORES{BOLD:#}\n", "BACKUP", "AGE", "SIZE");
        for (backup, covered) in backups.iter().zip(&covered) {
            text.push_str(&line(backup, covered, age_seconds(backup.finished_at_ms), &inventory));
        }
        for dump in &dumps {
            let bytes = dump.files.iter().map(|file| file.size_bytes).sum();
            let (age, at) = (age(age_seconds(dump.started_at_ms)), to_rfc3339(dump.started_at_ms));
            text.push_str(&format!("{:<18}  {age:>9}  {:>11}  dump of {at}\n", dump.id, size(bytes)));
        }
        let exit = if backups.is_empty() { Exit::Findings } else { Exit::Holds };
        if backups.is_empty() {
            text.push_str("there is no base backup; make one with eds ops backup\n");
        }
        output.answer(&Answer {
            ok: exit == Exit::Holds,
            name: "archive",
            content: &content,
            text,
            failure: None,
        })?;
        Ok(exit)
    }
}

fn line(backup: &Backup, covered: &Coverage, age_seconds: u64, inventory: &Inventory) -> String {
    let from = to_rfc3339(backup.finished_at_ms);
    let number = |segment: Segment| segment.number(inventory.segment_bytes);
    // The store's clock may lag behind the server's, and S3 has whole seconds only: names decide.
    let goes_on = covered.newest.is_some_and(|newest| number(newest) > number(backup.last_segment));
    let restores = match covered.gaps.first() {
        Some(gap) => format!("{from} to a gap at {}", gap.first),
        None if goes_on || covered.receiving.is_some() => {
            let of_line = covered.newest.filter(|_| covered.receiving.is_none());
            let activity = of_line.and_then(|newest| inventory.activity.get(&newest.timeline));
            let last = activity.map_or(inventory.newest_ms, |(_, last)| *last);
            format!("{from} to {}", to_rfc3339(last.max(backup.finished_at_ms)))
        }
        None => format!("{from} only: no log after it is archived"),
    };
    format!("{:<18}  {:>9}  {:>11}  {restores}\n", backup.id, age(age_seconds), size(backup.size_bytes()))
}

/// Formats an age as `3 d 4 h`.
fn age(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
