//! Restore: a base backup and the write-ahead log after it, up to a target, into a new server.
//!
//! All preconditions are checked before anything is written. The server starts on loopback only: no client writes to
//! it before it is verified ([`crate::recovery`]).

mod choice;
mod reach;
mod settings;
mod space;
mod start;
mod unfinished;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use edgesentry_chain::count;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::archive::Archive;
use crate::backup;
use crate::blocking::blocking;
use crate::check::Status;
use crate::error::Error;
use crate::extract;
use crate::observe::{Event, Observer};
use crate::postgres::Programs;
use crate::settings::Settings;
use crate::source;
use crate::temporary::Temporary;
use crate::wal::Coverage;

use choice::{Choice, Known};
use unfinished::Unfinished;

pub use settings::RestoreCommand;
pub(crate) use settings::{quoted, write_file};
pub(crate) use space::require as require_space;

/// The target of a recovery.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Target {
    /// To the end of the archive.
    Latest,
    /// To the last commit at or before a time, by the clock of the lost server.
    Time(OffsetDateTime),
    /// To a restore point made with `pg_create_restore_point`.
    Point(String),
}

impl Target {
    /// Parses a time in RFC 3339 with its zone, such as `2026-01-31T12:00:00Z` or `2026-01-31T13:00:00+01:00`.
    ///
    /// # Errors
    /// A sentence with the expected form.
    pub fn time(text: &str) -> Result<Target, String> {
        let time = OffsetDateTime::parse(text, &Rfc3339);
        time.map(Target::Time).map_err(|_| {
            format!("expected a time with its zone, such as 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00, got \
                 {text:?}")
        })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Latest => f.write_str("the end of the archive"),
            Target::Time(time) => f.write_str(&time.format(&Rfc3339).unwrap_or_default()),
            Target::Point(name) => write!(f, "the restore point {name:?}"),
        }
    }
}

/// The parameters of a restore.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The backup; by default the last one that finished before the target.
    pub backup: Option<String>,
    /// The target.
    pub target: Target,
    /// The timeline to follow; by default the one that the archive is written on now, or, for a time before that
    /// began, the one that was written then. To the end of the archive it must be named if only times tell which one
    /// that is.
    pub timeline: Option<u32>,
    /// The data directory: empty or missing.
    pub data: PathBuf,
    /// The port on loopback.
    pub port: u16,
    /// The command with which the server fetches write-ahead log.
    pub command: RestoreCommand,
    /// The copy is temporary: it never archives anything. Another copy archives nothing until it is adopted
    /// ([`crate::adopt`]).
    pub drill: bool,
    /// Restore although write-ahead log is missing, so that recovery to the end of the archive ends before the gap.
    pub accept_loss: bool,
    /// The timeout of the recovery.
    pub patience: Duration,
}

/// A running restored server.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Restored {
    /// The backup.
    pub backup: String,
    /// The requested target.
    pub target: String,
    /// The data directory.
    pub data: PathBuf,
    /// The port on loopback.
    pub port: u16,
    /// The process of the server, which goes on running.
    pub pid: u32,
    /// The timeline that recovery followed.
    pub followed: u32,
    /// The timeline that it writes now.
    pub timeline: u32,
    /// The last recovered commit, as the server reports it; none if only the backup was recovered.
    pub last_commit: Option<String>,
    /// The duration of the download, seconds.
    pub download_seconds: f64,
    /// The duration of the extraction, seconds.
    pub extract_seconds: f64,
    /// Seconds from the start of the server until it took writes.
    pub recover_seconds: f64,
    /// Notes for the operator.
    pub notes: Vec<String>,
}

/// The end of an archive.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reached {
    /// The timeline that it is written on now.
    pub timeline: u32,
    /// The time at which its last transaction ended. Recovery to this time or later fails; use [`Target::Latest`].
    pub last_transaction: Option<OffsetDateTime>,
}

/// Returns the end of an archive along its current timeline.
///
/// # Errors
/// The programs are missing, or the archive cannot be read.
pub async fn reached(settings: &Settings, archive: &Archive) -> Result<Reached, Error> {
    let programs = source::programs(settings)?;
    let (timeline, last_transaction) = Known::of(archive, &programs).await?.last_transaction().await?;
    Ok(Reached { timeline, last_transaction })
}

/// Restores, waits until the server takes writes, and leaves it running.
///
/// # Errors
/// A failed precondition is an error before anything is written. If the restore fails later, or is dropped, its files
/// are removed; only a server that does not recover stays in its directory for inspection.
pub async fn restore(
    settings: &Settings,
    archive: &Archive,
    restore: &Restore,
    observer: Observer<'_>,
) -> Result<Restored, Error> {
    let mut needed_bytes = None;
    let restored = attempt(settings, archive, restore, observer, &mut needed_bytes).await;
    restored.map_err(|error| match needed_bytes {
        Some(needed_bytes) => space::explain(error, &restore.data, needed_bytes),
        // Nothing has been downloaded yet.
        None => error,
    })
}

async fn attempt(
    settings: &Settings,
    archive: &Archive,
    restore: &Restore,
    observer: Observer<'_>,
    needed_bytes: &mut Option<u64>,
) -> Result<Restored, Error> {
    let programs = source::programs(settings)?;
    let url = source::url(settings)?;
    let Choice { backup, line, point, mut notes } = choose(&programs, archive, restore, observer).await?;

    // Beside the data directory, on the disk that has room for the data.
    let parent = restore.data.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let temporary = || {
        let folder = Temporary::new(".edgesentry-restore-", &parent);
        folder.map_err(Error::io("create a temporary directory", &parent))
    };
    let (command, owner, theirs) = (restore.command.clone(), programs.clone(), temporary()?);
    blocking(move || command.attempt(&owner, theirs)).await?;
    let folder = temporary()?;
    *needed_bytes = Some(space::check(archive, &backup, folder.path(), &restore.data).await?);

    let begin = Instant::now();
    let files = folder.path().join("files");
    let checks = backup::download(archive, &backup, &files, observer).await?;
    if let Some(check) = checks.iter().find(|check| check.status != Status::Passed) {
        return Err(archive.problem(format!(
            "nothing of backup {} was extracted, because it failed the check \"{}\": {}",
            backup.id, check.name, check.evidence
        )));
    }
    let download_seconds = begin.elapsed().as_secs_f64();

    observer(Event::Step("extract"));
    let begin = Instant::now();
    let unfinished = Unfinished::claim(&restore.data, observer)?;
    let (data, owner, work) = (restore.data.clone(), programs.owner(), unfinished.work());
    blocking(move || work.run(|| extract::base_backup(&files, &data, owner, &|| work.check()))).await?;
    drop(folder);
    notes.extend(settings::write(&programs, restore, &backup, line.timeline(), point)?);
    let extract_seconds = begin.elapsed().as_secs_f64();

    observer(Event::Step("recover"));
    let begin = Instant::now();
    let way = start::Way { first: backup.first_segment, timeline: line.timeline() };
    let started = start::start(&programs, restore, way, &source::on_loopback(url, restore.port)?).await;
    unfinished.finish();
    let server = started?;
    settings::clear(&programs, restore)?;
    notes.extend(server.note);
    if settings.stores.log.is_on() {
        let note = "the transparency log signs nothing until this ledger is recovered from it: see eds ops verify-recovery";
        notes.push(note.to_owned());
    }
    Ok(Restored {
        backup: backup.id,
        target: restore.target.to_string(),
        data: restore.data.clone(),
        port: restore.port,
        pid: server.pid,
        followed: line.timeline(),
        timeline: server.timeline,
        last_commit: server.last_commit,
        download_seconds,
        extract_seconds,
        recover_seconds: begin.elapsed().as_secs_f64(),
        notes,
    })
}

/// Checks everything that needs no data, and chooses a backup that fits the archive and the programs.
async fn choose(
    programs: &Programs,
    archive: &Archive,
    restore: &Restore,
    observer: Observer<'_>,
) -> Result<Choice, Error> {
    programs.require(&["postgres", "pg_controldata"])?;
    refuse_folder(&restore.data)?;
    restore.command.check()?;
    refuse_port(restore.port)?;
    archive.objects().check().await?;
    let identity = archive.existing_identity().await?;
    let choice = Known::of(archive, programs).await?.choose(restore, observer).await?;
    let backup = &choice.backup;
    if backup.identity != identity {
        return Err(archive.problem(format!("backup {} is of another cluster than the archive", backup.id)));
    }
    if backup.server_version_number / 10_000 != programs.major() {
        return Err(Error::Missing(backup::wrong_programs(backup, programs)));
    }
    Ok(choice)
}

fn refuse_folder(data: &Path) -> Result<(), Error> {
    let refuse = |problem: &str| Err(Error::Config(format!("{}: {problem}", data.display())));
    if !data.is_absolute() {
        return refuse("the data directory must be an absolute path");
    }
    match std::fs::read_dir(data) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => refuse("the directory is not empty; use another one, or move it away"),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match data.parent() {
            Some(parent) if parent.is_dir() => Ok(()),
            _ => refuse("its parent directory does not exist"),
        },
        Err(error) => Err(Error::io("read the data directory", data)(error)),
    }
}

fn refuse_port(port: u16) -> Result<(), Error> {
    match std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Error::unusable(format!("port {port} cannot be used; choose another one with --port"), error))
        }
    }
}

/// Checks for gaps: one ends recovery to the end of the archive too early, and PostgreSQL does not report it.
fn gaps(covered: &Coverage, restore: &Restore, archive: &Archive) -> Result<Vec<String>, Error> {
    let Some(gap) = covered.gaps.first() else { return Ok(Vec::new()) };
    let missing = format!(
        "{} of write-ahead log {} missing, {} to {}; see eds ops check-archive",
        count(gap.segments, "segment"),
        if gap.segments == 1 { "is" } else { "are" },
        gap.first,
        gap.last
    );
    if restore.target == Target::Latest && !restore.accept_loss {
        let advice = "recovery would end there without an error, and everything after it would be lost; restore to a \
            time before it with --target-time, or accept the loss with --accept-loss";
        return Err(archive.problem(format!("{missing}: {advice}")));
    }
    Ok(vec![missing])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_refused() {
        for bad in ["2026-01-31T12:00:00", "2026-01-31 12:00:00", "2026-01-31", "now", ""] {
            assert!(Target::time(bad).is_err(), "{bad}");
        }
        for good in ["2026-01-31T12:00:00Z", "2026-01-31 13:00:00.25+01:00"] {
            assert!(Target::time(good).is_ok(), "{good}");
        }
    }
}
