//! Base backups: `pg_basebackup` takes them, `pg_verifybackup` proves them, and they are archived atomically.

mod proof;

use std::path::Path;
use std::time::Duration;

use edgesentry_rs::objects::Written;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::adopt;
use crate::archive::{Archive, Identity};
use crate::blocking::blocking;
use crate::check::{Check, Status, verdict};
use crate::error::Error;
use crate::files;
use crate::observe::{Event, Observer};
use crate::postgres::Programs;
use crate::process::run;
use crate::program;
use crate::signature::{Kind, Standing, Subject};
use crate::source::Source;
use crate::wal::{Coverage, Inventory, Lsn, Segment, check_contents, coverage};

pub use crate::files::StoredFile;

/// The version of the manifest.
const MANIFEST: u32 = 1;

/// A base backup: the manifest beside its files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backup {
    /// The version of the manifest.
    pub backup: u32,
    /// The name: the time at which it began, such as `20260131T120000Z`.
    pub id: String,
    /// The cluster.
    #[serde(flatten)]
    pub identity: Identity,
    /// Such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub server_version: String,
    /// Such as 150018.
    pub server_version_number: u32,
    /// The timeline of the backup.
    pub timeline: u32,
    /// The position at which recovery begins.
    pub start_lsn: Lsn,
    /// The position that recovery must reach.
    pub stop_lsn: Lsn,
    /// The first segment that recovery needs.
    pub first_segment: Segment,
    /// The last segment that recovery needs at least.
    pub last_segment: Segment,
    /// By the clock of the server, Unix milliseconds.
    pub started_at_ms: u64,
    /// The earliest time that it can be restored to; by the clock of the server, Unix milliseconds.
    pub finished_at_ms: u64,
    /// The output of `pg_verifybackup` before it was archived.
    pub verified: String,
    /// Its files.
    pub files: Vec<StoredFile>,
}

impl Backup {
    /// Returns the stored size of all its files.
    pub fn size_bytes(&self) -> u64 {
        files::stored_bytes(&self.files)
    }

    /// Checks that a trusted key has signed its manifest; if not, returns the reason. No file of a backup for which
    /// this is an error may be extracted.
    ///
    /// # Errors
    /// The archive or a key cannot be read.
    pub async fn standing(&self, archive: &Archive) -> Result<Result<Standing, String>, Error> {
        archive.verify_manifest(&Backup::key(&self.id), &self.subject(), self).await
    }

    fn subject(&self) -> Subject {
        Subject {
            kind: Kind::Backup,
            name: self.id.clone(),
            system_identifier: self.identity.system_identifier,
        }
    }

    /// Returns the coverage of the write-ahead log after it, along the current timeline if that passes through it.
    pub fn coverage(&self, inventory: &Inventory) -> Coverage {
        coverage(inventory, &inventory.line_through(self.timeline, self.stop_lsn), self.first_segment)
    }

    fn key(id: &str) -> String {
        format!("backups/{id}/backup.json")
    }
}

/// Takes a backup, proves it, and archives it. The manifest comes last, so that half a backup does not count.
///
/// # Errors
/// A precondition is not met, the archive belongs to another cluster, `pg_basebackup` or the proof fails, or the
/// archive cannot be written.
pub async fn backup(archive: &Archive, source: &Source, observer: Observer<'_>) -> Result<Backup, Error> {
    source.programs.require(&["pg_basebackup", "pg_verifybackup"])?;
    source.refuse_tablespaces()?;
    source.require_replication().await?;
    archive.objects().check().await?;
    adopt::claim(archive, source).await?;
    let folder = archive.temporary()?;
    let files = folder.path().join("files");
    let started_at_ms = server_time(source).await?;
    let id = name_of(started_at_ms);
    observer(Event::Step("pg_basebackup"));
    let mut command = source.sql.client("pg_basebackup");
    command
        .args(["-Ft", "-z", "-X", "stream", "-c", "fast", "-P", "--label"])
        .arg(format!("edgesentry {id}"));
    let log = folder.path().join("log");
    run(command.arg("-D").arg(&files), &log, |said| {
        if let Some((done, total)) = progress(said) {
            observer(Event::Bytes { done: done * 1024, total: total * 1024 });
        }
    })
    .await?;
    let finished_at_ms = server_time(source).await?;
    observer(Event::Step("pg_verifybackup"));
    let proof = proof::prove(&source.programs, &files, &folder.path().join("data")).await?;
    let bytes = source.identity.wal_segment_bytes;
    observer(Event::Step("archive"));
    let files = files::store(archive, &format!("backups/{id}"), &files, observer).await?;
    let backup = Backup {
        backup: MANIFEST,
        identity: source.identity,
        server_version: source.version.clone(),
        server_version_number: source.version_number,
        timeline: proof.timeline,
        start_lsn: proof.start,
        stop_lsn: proof.stop,
        first_segment: Segment::of(proof.timeline, proof.start, bytes),
        // A position on the border of a segment is the end of the previous segment.
        last_segment: Segment::of(proof.timeline, Lsn(proof.stop.0.saturating_sub(1)), bytes),
        started_at_ms,
        finished_at_ms,
        verified: proof.said,
        files,
        id,
    };
    let written = archive.write_manifest(&Backup::key(&backup.id), &backup.subject(), &backup).await?;
    if written == Written::Taken {
        return Err(archive.problem(format!("a backup {} already exists; try again", backup.id)));
    }
    Ok(backup)
}

/// Returns the newest backup if at most `log_bytes` of write-ahead log were written since it began: a restore to now
/// replays no more than that. Returns `None` if there are more, if the newest backup is of another timeline or
/// cluster, or if no trusted key has signed it although the settings name one.
///
/// # Errors
/// The archive or the server cannot be read.
pub async fn sufficient(archive: &Archive, source: &Source, log_bytes: u64) -> Result<Option<Backup>, Error> {
    let Some(newest) = backups(archive).await?.pop() else { return Ok(None) };
    if (newest.identity, newest.timeline) != (source.identity, source.timeline)
        || newest.standing(archive).await?.is_err()
    {
        return Ok(None);
    }
    let sql = source.sql.clone();
    let text = blocking(move || sql.query("SELECT pg_current_wal_lsn()")).await?;
    let now: Lsn = text.trim().parse().map_err(|_| Error::Server {
        server: source.sql.place().to_owned(),
        problem: format!("unexpected response: {text:?}"),
    })?;
    Ok((now.0.saturating_sub(newest.start_lsn.0) <= log_bytes).then_some(newest))
}

/// Returns all backups, oldest first. An unreadable manifest is an error: the segments that it needs are unknown.
///
/// # Errors
/// The archive or a manifest cannot be read.
pub async fn backups(archive: &Archive) -> Result<Vec<Backup>, Error> {
    let mut backups = Vec::new();
    for object in archive.objects().list("backups/").await? {
        if !object.key.ends_with("/backup.json") {
            continue;
        }
        let backup: Option<Backup> = archive.read_json(&object.key).await?;
        let backup = backup.filter(|backup| Backup::key(&backup.id) == object.key);
        let backup =
            backup.ok_or_else(|| archive.problem(format!("{}: it belongs to another backup", object.key)))?;
        if backup.backup > MANIFEST {
            let problem = format!("{}: its manifest is newer than this eds supports", object.key);
            return Err(archive.problem(problem));
        }
        backups.push(backup);
    }
    backups.sort_by_key(|backup| backup.started_at_ms);
    Ok(backups)
}

/// Returns the backup with a name, or the newest one.
///
/// # Errors
/// There is no such backup, or the archive cannot be read.
pub async fn find(archive: &Archive, id: Option<&str>) -> Result<Backup, Error> {
    let mut backups = backups(archive).await?;
    let found = match id {
        Some(id) => backups.into_iter().find(|backup| backup.id == id),
        None => backups.pop(),
    };
    found.ok_or_else(|| match id {
        Some(id) => archive.problem(format!("there is no backup {id}; see eds ops backups")),
        None => archive.problem("there is no backup; make one with eds ops backup".to_owned()),
    })
}

/// Downloads a backup, compares its signature and its hashes, proves it again with `pg_verifybackup`, and reads the
/// segments of its log from the archive.
///
/// # Errors
/// The archive cannot be read, or a program cannot be run. A failed comparison is a failed check.
pub async fn verify(
    archive: &Archive,
    programs: &Programs,
    backup: &Backup,
    observer: Observer<'_>,
) -> Result<Vec<Check>, Error> {
    programs.require(&["pg_verifybackup"])?;
    let folder = archive.temporary()?;
    let files = folder.path().join("files");
    let mut checks = download(archive, backup, &files, observer).await?;
    let name = "pg_verifybackup finds every file and the write-ahead log as the server wrote them";
    if backup.server_version_number / 10_000 != programs.major() {
        checks.push(Check::unknown(name, wrong_programs(backup, programs)));
        return Ok(checks);
    }
    if verdict(&checks) == Status::Passed {
        observer(Event::Step("pg_verifybackup"));
        checks.push(match proof::prove(programs, &files, &folder.path().join("data")).await {
            Ok(proof) => {
                let is_it = (proof.start, proof.stop) == (backup.start_lsn, backup.stop_lsn);
                let range = format!("{}; write-ahead log {} to {}", proof.said, proof.start, proof.stop);
                Check::new(name, is_it, range)
            }
            Err(error @ Error::Missing(_)) => return Err(error),
            Err(error) => Check::new(name, false, error.describe()),
        });
    } else {
        checks.push(Check::unknown(name, "not run, because the files differ from the archived ones"));
    }
    // The backup contains its log too: the archiver may not have archived these segments yet.
    let inventory = Inventory::of(archive).await?;
    let number = |segment: Segment| segment.number(inventory.segment_bytes);
    let numbers = number(backup.first_segment)..=number(backup.last_segment);
    if inventory.segments.iter().any(|(_, number)| numbers.contains(number)) {
        checks.push(check_contents(archive, &inventory, numbers, observer).await?);
    }
    Ok(checks)
}

/// Returns the advice if the programs are of another version than a backup.
pub(crate) fn wrong_programs(backup: &Backup, programs: &Programs) -> String {
    format!(
        "the backup is of PostgreSQL {}, and the programs in {} are of version {}; set ops.postgres_bin to those of \
         version {}",
        backup.server_version,
        programs.folder().display(),
        programs.major(),
        backup.server_version_number / 10_000
    )
}

/// Downloads the files of a backup into a new directory, if a trusted key has signed its manifest. Returns a check of
/// the signature and one of each file's hash.
pub(crate) async fn download(
    archive: &Archive,
    backup: &Backup,
    folder: &Path,
    observer: Observer<'_>,
) -> Result<Vec<Check>, Error> {
    let mut checks: Vec<Check> =
        signed(backup.standing(archive).await?, &backup.id, observer).into_iter().collect();
    if verdict(&checks) != Status::Failed {
        let prefix = format!("backups/{}", backup.id);
        checks.extend(files::download(archive, &prefix, &backup.files, folder, observer).await?);
    }
    Ok(checks)
}

/// Downloads one file of a backup into a directory, if a trusted key has signed the manifest.
///
/// # Errors
/// No trusted key has signed it, or the file is not the archived one.
pub(crate) async fn download_file(
    archive: &Archive,
    backup: &Backup,
    name: &str,
    folder: &Path,
) -> Result<(), Error> {
    let refuse = |why: &str| archive.problem(format!("nothing of backup {} was extracted: {why}", backup.id));
    backup.standing(archive).await?.map_err(|why| refuse(&why))?;
    let file = backup.files.iter().find(|file| file.name == name);
    let file = file.ok_or_else(|| refuse(&format!("its manifest names no {name}")))?;
    let check = files::download_one(archive, &format!("backups/{}", backup.id), file, folder).await?;
    if check.status == Status::Passed { Ok(()) } else { Err(refuse(&format!("{name}: {}", check.evidence))) }
}

/// Returns the check of a signature; reports a note instead if a signature is not required.
pub fn signed(standing: Result<Standing, String>, id: &str, observer: Observer<'_>) -> Option<Check> {
    let name = format!("a trusted key has signed the manifest of {id}");
    match standing {
        Ok(Standing::Signed(key)) => Some(Check::new(name, true, format!("the key {key}"))),
        Ok(Standing::Unsigned) => {
            observer(Event::Note(&format!("{id} is not signed: its origin is not proven")));
            None
        }
        Err(problem) => Some(Check::new(name, false, problem)),
    }
}

/// Returns the server's clock, which names the times to restore to; Unix milliseconds.
pub(crate) async fn server_time(source: &Source) -> Result<u64, Error> {
    let sql = source.sql.clone();
    let text =
        blocking(move || sql.query("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"))
            .await?;
    text.trim().parse().map_err(|_| Error::Server {
        server: source.sql.place().to_owned(),
        problem: format!("unexpected response: {text:?}"),
    })
}

/// Formats a time as `20260131T120000Z`.
pub(crate) fn name_of(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(0);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

/// Returns the kB done and in all, from the last line such as `12345/67890 kB (18%), 0/1 tablespace`.
fn progress(said: &str) -> Option<(u64, u64)> {
    let line = said.rsplit(['\r', '\n']).find(|line| line.contains(" kB ("))?;
    let (done, total) = line.trim().split_once(" kB (")?.0.split_once('/')?;
    Some((done.trim().parse().ok()?, total.trim().parse().ok()?))
}

/// Returns the version line of a program.
pub(crate) fn version_line(programs: &Programs, name: &str) -> Result<String, Error> {
    let said = program::done(programs.command(name).arg("--version"), Duration::from_secs(60))?;
    Ok(said.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_parsed_from_the_output_of_pg_basebackup() {
        let said = "waiting for checkpoint\r 1234/67890 kB (1%), 0/1 tablespace\r67890/67890 kB (100%), 1/1 tablespace\n";
        assert_eq!(progress(said), Some((67890, 67890)));
        assert_eq!(progress("NOTICE:  WAL archiving is not enabled"), None);
        assert_eq!(name_of(1_769_860_800_999), "20260131T120000Z");
    }
}
