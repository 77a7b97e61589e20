//! `eds ops check-archive`: whether write-ahead log is missing.

use clap::Args;
use edgesentry_ops::backup::backups;
use edgesentry_ops::check::Check;
use edgesentry_ops::wal::Inventory;

use super::checklist;
use super::session::Session;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::stores::ConfigFile;
use crate::times;

/// Look for gaps in the archived write-ahead log, from each backup to the newest segment
///
/// Names, timelines and histories are compared; contents are compared when they are fetched. Exit code 1 names the
/// missing ranges, and timelines that two servers archive at once.
#[derive(Args, Debug)]
pub(super) struct CheckArchive {
    #[command(flatten)]
    file: ConfigFile,
}

impl CheckArchive {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let archive = session.archive()?;
        let (backups, inventory) = session.wait(async {
            let inventory = Inventory::of(&archive).await?;
            Ok::<_, edgesentry_ops::Error>((backups(&archive).await?, inventory))
        })?;
        let mut checks: Vec<Check> = timelines(&inventory).into_iter().collect();
        for backup in &backups {
            let name = format!("no write-ahead log is missing behind backup {}", backup.id);
            let found = backup.coverage(&inventory);
            let gaps: Vec<String> = found
                .gaps
                .iter()
                .map(|gap| format!("{} to {} ({})", gap.first, gap.last, gap.segments))
                .collect();
            let number = |segment: edgesentry_ops::wal::Segment| segment.number(inventory.segment_bytes);
            let newest = found.newest.filter(|newest| number(*newest) >= number(backup.last_segment));
            checks.push(match newest {
                _ if !gaps.is_empty() => Check::new(name, false, format!("missing: {}", gaps.join(", "))),
                None => Check::new(
                    name,
                    false,
                    format!(
                        "missing: {} and all behind it; is archive_mode on?",
                        found
                            .newest
                            .map_or(backup.first_segment, |newest| newest.plus(1, inventory.segment_bytes))
                    ),
                ),
                Some(newest) => {
                    let receiving =
                        found.receiving.map(|segment| format!(", and the beginning of {segment}"));
                    let evidence = format!("{} to {newest}{}", found.from, receiving.unwrap_or_default());
                    Check::new(name, true, evidence)
                }
            });
        }
        if backups.is_empty() {
            checks.push(Check::new(
                "there is a base backup to restore from",
                false,
                "none; make one with eds ops backup",
            ));
        }
        checklist::answer(output, archive.place(), &checks)
    }
}

/// Where there are several timelines: which one is current, and whether another one is still archived beside it.
fn timelines(inventory: &Inventory) -> Option<Check> {
    let current = inventory.current()?;
    let all = inventory.timelines();
    if all.len() < 2 {
        return None;
    }
    let line = inventory.line(current);
    let beside = inventory.beside(&line);
    let living: Vec<String> = beside
        .iter()
        .filter(|branch| inventory.is_living(branch))
        .map(|branch| {
            format!(
                "timeline {} was archived at {}, beside timeline {current}",
                branch.timeline,
                times::shown(branch.last_ms)
            )
        })
        .collect();
    let way: Vec<String> = line
        .spans()
        .iter()
        .map(|span| match span.end {
            Some(end) => format!("{} until {end}", span.timeline),
            None => format!("{} now", span.timeline),
        })
        .collect();
    let mut evidence = format!("timeline {}", way.join(", "));
    for branch in &beside {
        evidence.push_str(&format!("; beside it {} up to {}", branch.timeline, branch.newest));
    }
    if !living.is_empty() {
        evidence = format!("{}: stop one of the servers; {evidence}", living.join("; "));
    }
    Some(Check::new("one server at a time is archived", living.is_empty(), evidence))
}
