//! Which servers may write into an archive: the original, until a restored copy is adopted.
//!
//! A restored copy has the identity of the original and would continue its archive under a timeline of its own. A
//! restore therefore marks the copy by a setting that its base backups and standbys inherit. A marked server archives
//! nothing until `adopted.json` in the archive names its mark. From then on the archive rejects servers of other
//! timelines, such as the original if it comes back.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edgesentry_formats::times::{now_ms, to_rfc3339};
use edgesentry_rs::ledger::PostgresUrl;
use serde::{Deserialize, Serialize};

use crate::archive::{Archive, Identity};
use crate::blocking::blocking;
use crate::data_folder;
use crate::error::Error;
use crate::marks::{self, ADOPTED};
use crate::postgres::{Programs, Sql};
use crate::random::random;
use crate::restore::{RestoreCommand, quoted, write_file};
use crate::settings::Settings;
use crate::source::{self, Source, control_data};
use crate::wal::{History, Inventory, WalName, archive_wal, read_history};

/// The setting with the mark. Anyone who may connect can read it.
pub(crate) const SETTING: &str = "edgesentry.restored_copy";
/// An original that cannot be reached counts as gone if it archived nothing for this long.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(600);

/// The restored copy that writes an archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Adopted {
    /// The mark of the copy.
    pub copy: String,
    /// The timeline of the copy at its adoption.
    pub timeline: u32,
    /// The time of the adoption, Unix milliseconds.
    pub adopted_at_ms: u64,
}

/// A server that asks to write into an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Writer {
    /// The mark of the server, if it is a restored copy.
    pub copy: Option<String>,
    /// The timeline that the server writes.
    pub timeline: u32,
}

impl Writer {
    /// Returns the server that archives a file. PostgreSQL runs the archiver in the data directory, and the file is
    /// in `pg_wal` there; an operator may run it elsewhere.
    ///
    /// # Errors
    /// The settings of the server cannot be read: it may be a copy.
    pub fn of_file(file: &Path, name: WalName) -> Result<Writer, Error> {
        let above = file.parent().and_then(Path::parent).unwrap_or(Path::new(""));
        let copy = match mark_of(Path::new("."))? {
            Some(mark) => Some(mark),
            None => mark_of(above)?,
        };
        Ok(Writer::of(copy, name))
    }

    /// Returns the server with this mark that archives a file.
    pub(crate) fn of(copy: Option<String>, name: WalName) -> Writer {
        let timeline = match name {
            WalName::History(timeline) => timeline,
            WalName::Segment(segment) | WalName::Partial(segment) | WalName::Backup(segment, _) => {
                segment.timeline
            }
        };
        Writer { copy, timeline }
    }
}

/// Returns the copy that the archive was handed over to.
///
/// # Errors
/// Also if a key is configured and no trusted key has signed the adoption.
pub(crate) async fn adopted(archive: &Archive) -> Result<Option<Adopted>, Error> {
    let Some((adopted, standing)) = marks::stated_adoption(archive).await? else { return Ok(None) };
    standing.map_err(|problem| marks::unsigned(archive, problem))?;
    Ok(Some(adopted))
}

/// Rejects a restored copy that was not adopted, and a server of another timeline than the adopted copy. `history` is
/// the writer's own file if it archives one: the archive does not have it yet.
///
/// # Errors
/// The server may not archive there, or the archive cannot be read.
pub async fn admit(archive: &Archive, writer: &Writer, history: Option<&Path>) -> Result<(), Error> {
    let adopted = adopted(archive).await?;
    match (&writer.copy, adopted) {
        (None, None) => Ok(()),
        (Some(copy), Some(adopted)) if *copy == adopted.copy => Ok(()),
        (Some(_), _) => Err(archive.problem(
            "the server is a restored copy that was not adopted for this archive, so nothing of it is archived; see eds \
             ops adopt"
                .to_owned(),
        )),
        (None, Some(adopted)) => {
            let comes_from_it = writer.timeline == adopted.timeline
                || ancestors(archive, writer.timeline, history)
                    .await?
                    .0
                    .iter()
                    .any(|(timeline, _)| *timeline == adopted.timeline);
            if comes_from_it {
                return Ok(());
            }
            Err(archive.problem(format!(
                "it was handed over to a restored copy on timeline {} ({}), and this server is on timeline {}; stop this \
                 server: it is the original, or descends from it",
                adopted.timeline,
                to_rfc3339(adopted.adopted_at_ms),
                writer.timeline
            )))
        }
    }
}

/// Claims the archive for a server and admits the server, before the server writes anything there.
pub(crate) async fn claim(archive: &Archive, source: &Source) -> Result<(), Error> {
    archive.claim(source.identity).await?;
    admit(archive, &source.writer(), None).await
}

async fn ancestors(archive: &Archive, timeline: u32, own: Option<&Path>) -> Result<History, Error> {
    if let Some(own) = own {
        return History::of_file(timeline, own);
    }
    let key = WalName::History(timeline).key();
    let there = archive.objects().list(&key).await?.iter().any(|object| object.key == key);
    if !there {
        return Ok(History::default());
    }
    read_history(archive, timeline, archive.existing_identity().await?).await
}

/// Returns the mark in the settings of a copy, or `None` for another directory.
pub(crate) fn mark_of(data: &Path) -> Result<Option<String>, Error> {
    let text = data_folder::text(&data.join("postgresql.auto.conf"))?.unwrap_or_default();
    Ok(text.lines().rev().find_map(is_mark).map(str::to_owned))
}

/// Returns the value of a line that sets the mark.
pub(crate) fn is_mark(line: &str) -> Option<&str> {
    line.strip_prefix(SETTING)?.trim_start().strip_prefix('=')?.trim().strip_prefix('\'')?.strip_suffix('\'')
}

/// Returns the time at which a copy was restored, Unix seconds: its mark begins with it.
fn restored_at(mark: &str) -> Option<u64> {
    mark.split('-').next()?.parse().ok()
}

/// Returns a mark that no other copy has.
pub(crate) fn new_mark() -> Result<String, Error> {
    Ok(format!("{}-{}", now_ms() / 1000, hex::encode(random::<8>()?)))
}

/// A copy to adopt.
#[derive(Clone, Debug)]
pub struct Adopt {
    /// The data directory of the copy.
    pub data: PathBuf,
    /// The command with which the copy archives from now on.
    pub command: RestoreCommand,
    /// Take over the archive of the original. Without it an archive that is in use is rejected.
    pub take_over: bool,
}

/// An adopted copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Adoption {
    /// The archive that the copy writes.
    pub archive: String,
    /// The timeline of the copy.
    pub timeline: u32,
    /// Whether the archive was in use before.
    pub taken_over: bool,
    /// Whether a running server was notified.
    pub running: bool,
}

/// Lets a restored copy archive into the archive of the settings.
///
/// # Errors
/// The directory does not belong to a restored copy, the archive is in use and may not be taken over, or the original
/// still archives there.
pub async fn adopt(settings: &Settings, archive: &Archive, adopt: &Adopt) -> Result<Adoption, Error> {
    let programs = source::programs(settings)?;
    adopt.command.check()?;
    let copy = Copy::read(&programs, &adopt.data)?;
    archive.objects().check().await?;
    let before = archive.stated_identity().await?;
    archive.claim(copy.identity).await?;
    // Only a take-over replaces a record that no trusted key has signed.
    let known = marks::stated_adoption(archive).await?.filter(|(known, _)| known.copy == copy.mark);
    let is_known = match known {
        Some((_, Err(problem))) => return Err(marks::unsigned(archive, problem)),
        known => known.is_some(),
    };
    if before.is_some() && !is_known {
        if !adopt.take_over {
            return Err(archive.problem(
                "the original archives here, or did; set a separate archive for the copy, or stop the original \
                 permanently and take its archive over with --take-over"
                    .to_owned(),
            ));
        }
        refuse_living_original(settings, &programs, &copy).await?;
        refuse_taken(archive, &copy).await?;
    }
    let folder = archive.temporary()?;
    let (command, owner) = (adopt.command.clone(), programs.clone());
    blocking(move || command.attempt(&owner, folder)).await?;
    let history = WalName::History(copy.timeline);
    // This must come first: other restores must know where the timeline branched off, and other bytes under this name
    // are another server's timeline.
    archive_wal(archive, &adopt.data.join("pg_wal").join(history.to_string()), history).await?;
    if !is_known {
        let record = Adopted { copy: copy.mark.clone(), timeline: copy.timeline, adopted_at_ms: now_ms() };
        archive.replace_signed(ADOPTED, &marks::subject(ADOPTED, copy.identity), &record).await?;
    }
    set_archiving(&programs, &adopt.data, &adopt.command)?;
    Ok(Adoption {
        archive: archive.place().to_owned(),
        timeline: copy.timeline,
        taken_over: before.is_some() && !is_known,
        running: reload(&adopt.data),
    })
}

/// A restored copy, as its files describe it.
struct Copy {
    mark: String,
    timeline: u32,
    identity: Identity,
}

impl Copy {
    fn read(programs: &Programs, data: &Path) -> Result<Copy, Error> {
        let wrong = |problem: &str| Error::Config(format!("{}: {problem}", data.display()));
        let mark = mark_of(data)?.ok_or_else(|| {
            wrong(&format!(
                "not the data directory of a restored copy: its postgresql.auto.conf does not set {SETTING}; pass the \
                 directory that eds ops restore made"
            ))
        })?;
        let text = data_folder::text(&data.join("postgresql.auto.conf"))?.unwrap_or_default();
        if text.lines().any(|line| line.trim() == NEVER) {
            return Err(wrong(
                "it was restored with --drill and never archives; restore again without --drill",
            ));
        }
        let lines = control_data(programs, data)?;
        let value = |name: &str| lines.iter().find(|(line, _)| line == name).map(|(_, value)| value.as_str());
        let number = |name: &str| value(name).and_then(|value| value.parse::<u64>().ok());
        if !matches!(value("Database cluster state"), Some("in production" | "shut down")) {
            return Err(wrong("it has not finished its recovery; wait until eds ops restore has ended"));
        }
        let unclear = || Error::Program {
            program: "pg_controldata".to_owned(),
            said: format!("{}: its timeline, identifier or segment size is not a number", data.display()),
        };
        let timeline = number("Latest checkpoint's TimeLineID").and_then(|number| u32::try_from(number).ok());
        Ok(Copy {
            mark,
            timeline: timeline.ok_or_else(unclear)?,
            identity: Identity {
                system_identifier: number("Database system identifier").ok_or_else(unclear)?,
                wal_segment_bytes: number("Bytes per WAL segment").ok_or_else(unclear)?,
            },
        })
    }
}

/// The setting of a drill's copy.
pub(crate) const NEVER: &str = "archive_mode = off";

/// Rejects the adoption if the original still responds: it would go on archiving.
async fn refuse_living_original(settings: &Settings, programs: &Programs, copy: &Copy) -> Result<(), Error> {
    let url = source::url(settings)?.to_owned();
    let (programs, mark, identity) = (programs.clone(), copy.mark.clone(), copy.identity);
    blocking(move || {
        for url in PostgresUrl::split(&url)?.each_host() {
            let sql = Sql::new(&programs, &url)?;
            let asked = sql.query(&format!(
                "SELECT (SELECT system_identifier FROM pg_control_system()), current_setting('{SETTING}', true)"
            ));
            // If the original does not respond, only its archive shows whether it still writes.
            let Ok(row) = asked else { continue };
            let is_same = row.trim() == format!("{}|{mark}", identity.system_identifier);
            if !is_same && row.trim().starts_with(&format!("{}|", identity.system_identifier)) {
                return Err(Error::Server {
                    server: sql.place().to_owned(),
                    problem: "the original runs, and would continue to archive; stop it permanently first, or set a \
                         separate archive for the copy"
                        .to_owned(),
                });
            }
        }
        Ok(())
    })
    .await
}

/// Rejects the adoption if the original wrote after the copy was restored, or if the copy's timeline number belongs
/// to another server's timeline in the archive.
async fn refuse_taken(archive: &Archive, copy: &Copy) -> Result<(), Error> {
    let inventory = Inventory::of(archive).await?;
    let line_of_others = inventory.activity.iter().filter(|(timeline, _)| **timeline != copy.timeline);
    let newest =
        line_of_others.max_by_key(|(_, (_, last))| *last).map(|(timeline, (_, last))| (timeline, *last));
    let now = now_ms();
    let silence = u64::try_from(SILENCE_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
    if let Some((timeline, last)) = newest
        && last / 1000 > restored_at(&copy.mark).unwrap_or(0)
        && last.saturating_add(silence) > now
    {
        return Err(archive.problem(format!(
            "timeline {timeline} was archived at {}, after the copy was restored: the original runs; stop it \
             permanently and wait until {} have passed without a file from it, or set a separate archive for the copy",
            to_rfc3339(last),
            "10 minutes"
        )));
    }
    let ours = copy.timeline;
    if inventory.segments.iter().any(|(timeline, _)| *timeline == ours) {
        return Err(archive.problem(format!(
            "another server has archived a timeline {ours} here; set a separate archive for the copy, or restore \
             again: a new copy takes the next free number"
        )));
    }
    Ok(())
}

/// Sets the archiving options. All segments written since the promotion are still there and are archived first.
fn set_archiving(programs: &Programs, data: &Path, command: &RestoreCommand) -> Result<(), Error> {
    let path = data.join("postgresql.auto.conf");
    let text = data_folder::text(&path)?.unwrap_or_default();
    let ours = ["archive_mode", "archive_command", "archive_library"];
    let is_ours = |line: &&str| ours.iter().any(|name| line.split(['=', ' ']).next() == Some(name));
    let mut kept: String =
        text.lines().filter(|line| !is_ours(line)).map(|line| format!("{line}\n")).collect();
    kept.push_str(&format!("archive_mode = on\narchive_command = {}\n", quoted(&command.archive())));
    kept.push_str("archive_library = ''\n");
    write_file(programs, &path, &kept)
}

/// Returns true if a process runs as the user that owns the data directory. That user can write any number into
/// `postmaster.pid`, and root must not signal a process of another user because of it.
fn belongs_to_owner(pid: rustix::process::Pid, data: &Path) -> bool {
    let owner = |path: &Path| fs::metadata(path).map(|metadata| metadata.uid());
    let process = owner(Path::new(&format!("/proc/{}", pid.as_raw_nonzero())));
    process.is_ok_and(|process| owner(data).is_ok_and(|data| data == process))
}

/// Reloads the server that runs on the directory. Returns true if there is one.
fn reload(data: &Path) -> bool {
    let text = data_folder::text(&data.join("postmaster.pid")).ok().flatten().unwrap_or_default();
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    let pid = pid.and_then(rustix::process::Pid::from_raw);
    // The directory was moved, or another process has the number now: the second line names the directory.
    let is_here = text.lines().nth(1).is_some_and(|line| Path::new(line) == data);
    let running = pid.filter(|pid| is_here && belongs_to_owner(*pid, data));
    running.is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::HUP).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hostile file names a process of root, the other file one of ours.
    #[test]
    fn a_process_of_another_user_gets_no_signal() {
        let data = tempfile::tempdir().unwrap();
        let (own, init) = (rustix::process::getpid(), rustix::process::Pid::INIT);
        assert!(belongs_to_owner(own, data.path()));
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(data.path(), Some(65_534), None).unwrap();
        }
        assert!(!belongs_to_owner(init, data.path()));
    }

    #[test]
    fn a_copy_is_recognized_by_its_file_and_unreadable_settings_are_not_an_original() {
        let data = tempfile::tempdir().unwrap();
        let (settings, pg_wal) = (data.path().join("postgresql.auto.conf"), data.path().join("pg_wal"));
        fs::create_dir(&pg_wal).unwrap();
        let name: WalName = "000000020000000000000003".parse().unwrap();
        let file = pg_wal.join(name.to_string());
        assert_eq!(Writer::of_file(&file, name).unwrap().copy, None);
        fs::write(&settings, b"application_name = '\xe9'\nedgesentry.restored_copy = '1-a'\n").unwrap();
        assert_eq!(Writer::of_file(&file, name).unwrap().copy.as_deref(), Some("1-a"));
        fs::remove_file(&settings).unwrap();
        std::os::unix::fs::symlink("/nowhere", &settings).unwrap();
        assert!(Writer::of_file(&file, name).is_err());
    }

    #[test]
    fn the_last_mark_counts() {
        let mark_of = |data: &Path| super::mark_of(data).unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(mark_of(folder.path()), None);
        let settings = folder.path().join("postgresql.auto.conf");
        fs::write(&settings, "edgesentry.restored_copy = '1-a'\nwork_mem = '4MB'\n").unwrap();
        assert_eq!(mark_of(folder.path()).as_deref(), Some("1-a"));
        fs::write(&settings, "edgesentry.restored_copy = '1-a'\nedgesentry.restored_copy='2-b'\n").unwrap();
        assert_eq!(mark_of(folder.path()).as_deref(), Some("2-b"));
        let mark = new_mark().unwrap();
        assert!(restored_at(&mark).unwrap() > 1_700_000_000, "{mark}");
    }
}
