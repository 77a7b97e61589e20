//! `eds ops check-archive`: whether write-ahead log is missing.

use clap::Args;
use edgesentry_formats::times::to_rfc3339;
use edgesentry_ops::backup::{Backup, backups, signed};
use edgesentry_ops::check::{Check, Status};
use edgesentry_ops::dump::dumps;
use edgesentry_ops::textfile::ARCHIVE_GAPS;
use edgesentry_ops::wal::{Inventory, check_contents};

use super::checklist;
use super::session::{Session, Signatures, Telling, note, note_refusal};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::stores::ConfigFile;

/// Look for gaps in the archived write-ahead log, from each backup to the newest segment
///
/// The command compares names, timelines, histories and the signatures of manifests. With --contents it
/// downloads every segment from the oldest backup on and checks its signature, its hash, the header of each
/// page and the CRC-32C of each record. Exit code 1 if segments are missing or damaged, or if two servers
/// archive at the same time.
#[derive(Args, Debug)]
pub(super) struct CheckArchive {
    /// Download the log and read all of it
    #[arg(long)]
    contents: bool,
    #[command(flatten)]
    signatures: Signatures,
    #[command(flatten)]
    file: ConfigFile,
}

impl CheckArchive {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?.with(&self.signatures);
        let archive = session.archive()?;
        let telling = Telling::new(output.json);
        let read = session.wait(async {
            let inventory = Inventory::of(&archive).await?;
            let backups = backups(&archive).await?;
            let mut checks = Vec::new();
            for backup in &backups {
                let standing = backup.standing(&archive).await?;
                checks.extend(signed(standing, &backup.id, &|event| telling.tell(event)));
            }
            for dump in dumps(&archive).await? {
                let standing = dump.standing(&archive).await?;
                checks.extend(signed(standing, &dump.id, &|event| telling.tell(event)));
            }
            Ok::<_, edgesentry_ops::Error>((backups, inventory, checks))
        });
        let read = note_refusal(&session.settings, read, ARCHIVE_GAPS.sample("", 1.0), output);
        let (backups, inventory, mut checks) = read?;
        checks.extend(timelines(&inventory));
        for backup in &backups {
            let name = format!("no write-ahead log is missing after backup {}", backup.id);
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
                        "missing: {} and all after it; is archive_mode on?",
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
        if self.contents {
            let number = |backup: &Backup| backup.first_segment.number(inventory.segment_bytes);
            let first = backups.iter().map(number).min().unwrap_or(0);
            let read = async {
                check_contents(&archive, &inventory, first..=u64::MAX, &|event| telling.tell(event)).await
            };
            checks.push(session.wait(read)?);
        }
        drop(telling);
        let gaps = checks.iter().filter(|check| check.status == Status::Failed).count();
        note(&session.settings, &[ARCHIVE_GAPS.sample("", gaps as f64)], output);
        checklist::answer(output, archive.place(), &checks)
    }
}

/// Checks, if there are several timelines, that only the current one is still archived.
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
                "timeline {} was archived at {}, next to timeline {current}",
                branch.timeline,
                to_rfc3339(branch.last_ms)
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
        evidence.push_str(&format!("; next to it {} up to {}", branch.timeline, branch.newest));
    }
    if !living.is_empty() {
        evidence = format!("{}: stop one of the servers; {evidence}", living.join("; "));
    }
    Some(Check::new("one server at a time is archived", living.is_empty(), evidence))
}
