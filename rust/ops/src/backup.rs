//! Base backups: taken by `pg_basebackup`, proven by `pg_verifybackup`, and there as a whole or not at all.

mod proof;

use std::path::Path;
use std::time::Duration;

use edgesentry_chain::Hash;
use edgesentry_rs::objects::{Write, Written};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::adopt;
use crate::archive::{Archive, Identity};
use crate::check::Check;
use crate::error::Error;
use crate::observe::{Event, Observer, blocking, run};
use crate::postgres::Programs;
use crate::program;
use crate::source::Source;
use crate::wal::{Coverage, Inventory, Lsn, Segment, coverage};

/// The version of the manifest.
const MANIFEST: u32 = 1;
/// The largest database whose extraction and verification are waited for: whatever it takes.
pub(crate) const LONG: Duration = Duration::from_secs(7 * 24 * 3600);

/// A base backup: the manifest that lies beside its files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backup {
    /// The version of the manifest.
    pub backup: u32,
    /// Its name: when it was begun, such as `20260131T120000Z`.
    pub id: String,
    /// The cluster.
    #[serde(flatten)]
    pub identity: Identity,
    /// Such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub server_version: String,
    /// Such as 150018.
    pub server_version_number: u32,
    /// The timeline that it was taken on.
    pub timeline: u32,
    /// Where recovery begins.
    pub start_lsn: Lsn,
    /// The position that recovery must reach.
    pub stop_lsn: Lsn,
    /// The first segment that recovery needs.
    pub first_segment: Segment,
    /// The last segment that recovery needs at least.
    pub last_segment: Segment,
    /// By the clock of the server, Unix milliseconds.
    pub started_at_ms: u64,
    /// The earliest moment that it can be restored to; by the clock of the server, Unix milliseconds.
    pub finished_at_ms: u64,
    /// What `pg_verifybackup` said before it was archived.
    pub verified: String,
    /// Its files.
    pub files: Vec<StoredFile>,
}

/// A file of a backup or a dump.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// BLAKE3 of its bytes.
    pub blake3: Hash,
}

impl Backup {
    /// The size of all its files.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }

    /// The write-ahead log behind it, along the current timeline if that passes through it.
    pub fn coverage(&self, inventory: &Inventory) -> Coverage {
        coverage(inventory, &inventory.line_through(self.timeline, self.stop_lsn), self.first_segment)
    }

    fn key(id: &str) -> String {
        format!("backups/{id}/backup.json")
    }
}

/// Takes a backup, proves it, and archives it; the manifest comes last, so that half a backup is none.
pub async fn backup(archive: &Archive, source: &Source, observer: Observer<'_>) -> Result<Backup, Error> {
    source.programs.require(&["pg_basebackup", "pg_verifybackup"])?;
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
    let files = store(archive, &format!("backups/{id}"), &files, observer).await?;
    let backup = Backup {
        backup: MANIFEST,
        identity: source.identity,
        server_version: source.version.clone(),
        server_version_number: source.version_number,
        timeline: proof.timeline,
        start_lsn: proof.start,
        stop_lsn: proof.stop,
        first_segment: Segment::of(proof.timeline, proof.start, bytes),
        // A position on the border of a segment is the end of the one before.
        last_segment: Segment::of(proof.timeline, Lsn(proof.stop.0.saturating_sub(1)), bytes),
        started_at_ms,
        finished_at_ms,
        verified: proof.said,
        files,
        id,
    };
    if archive.write_json(&Backup::key(&backup.id), &backup).await? == Written::Taken {
        return Err(archive.problem(format!("a backup {} is there already; try again", backup.id)));
    }
    Ok(backup)
}

/// All backups, oldest first. One whose manifest cannot be read is an error: what it needs is not known.
pub async fn backups(archive: &Archive) -> Result<Vec<Backup>, Error> {
    let mut backups = Vec::new();
    for object in archive.objects().list("backups/").await? {
        if !object.key.ends_with("/backup.json") {
            continue;
        }
        let backup: Option<Backup> = archive.read_json(&object.key).await?;
        let backup = backup.filter(|backup| Backup::key(&backup.id) == object.key);
        let backup =
            backup.ok_or_else(|| archive.problem(format!("{}: it is another backup's", object.key)))?;
        if backup.backup > MANIFEST {
            let problem = format!("{}: its manifest is newer than this eds knows", object.key);
            return Err(archive.problem(problem));
        }
        backups.push(backup);
    }
    backups.sort_by_key(|backup| backup.started_at_ms);
    Ok(backups)
}

/// The backup of a name, or the newest one.
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

/// Downloads a backup, compares its hashes, and proves it again with `pg_verifybackup`.
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
    if checks.iter().all(|check| check.status == crate::check::Status::Passed) {
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
        checks.push(Check::unknown(name, "not tried on files that are not what was archived"));
    }
    Ok(checks)
}

/// What to do where the programs are of another version than a backup.
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

/// Downloads the files of a backup into a new folder; a check for each, whether it is what was archived.
pub(crate) async fn download(
    archive: &Archive,
    backup: &Backup,
    folder: &Path,
    observer: Observer<'_>,
) -> Result<Vec<Check>, Error> {
    observer(Event::Step("download"));
    std::fs::create_dir(folder).map_err(Error::io("make a folder", folder))?;
    let (mut checks, mut done, total) = (Vec::new(), 0, backup.size_bytes());
    for file in &backup.files {
        let name = format!("{} is what was archived", file.name);
        if file.name.contains('/') {
            checks.push(Check::new(name, false, "its name is no name of a file"));
            continue;
        }
        let (key, path) = (format!("backups/{}/{}", backup.id, file.name), folder.join(&file.name));
        let Some(size) = archive.objects().get_file(&key, &path).await? else {
            checks.push(Check::new(name, false, format!("{key} is missing")));
            continue;
        };
        let hash = hash(&path).await?;
        let evidence =
            format!("{size} bytes, BLAKE3 {hash}; expected {} bytes, {}", file.size_bytes, file.blake3);
        checks.push(Check::new(name, (size, hash) == (file.size_bytes, file.blake3), evidence));
        done += size;
        observer(Event::Bytes { done, total });
    }
    Ok(checks)
}

/// Archives all files of a folder, each once.
pub(crate) async fn store(
    archive: &Archive,
    prefix: &str,
    folder: &Path,
    observer: Observer<'_>,
) -> Result<Vec<StoredFile>, Error> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let size_bytes = std::fs::metadata(&path).map_err(Error::io("look at", &path))?.len();
        files.push((StoredFile { name, size_bytes, blake3: hash(&path).await? }, path));
    }
    files.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let (mut done, total) = (0, files.iter().map(|(file, _)| file.size_bytes).sum());
    for (file, path) in &files {
        let key = format!("{prefix}/{}", file.name);
        if archive.objects().put_file(&key, path, Write::IfAbsent).await? == Written::Taken {
            return Err(
                archive.problem(format!("{key}: is there already; two backups began at once, try again"))
            );
        }
        done += file.size_bytes;
        observer(Event::Bytes { done, total });
    }
    Ok(files.into_iter().map(|(file, _)| file).collect())
}

/// BLAKE3 of a file.
pub(crate) async fn hash(path: &Path) -> Result<Hash, Error> {
    let path = path.to_owned();
    blocking(move || {
        let mut hasher = blake3::Hasher::new();
        let file = std::fs::File::open(&path);
        let copied = file.and_then(|mut file| std::io::copy(&mut file, &mut hasher));
        copied.map_err(Error::io("read", &path))?;
        Ok(Hash(hasher.finalize().into()))
    })
    .await
}

/// The time of the server's clock, by which moments to restore to are named; Unix milliseconds.
pub(crate) async fn server_time(source: &Source) -> Result<u64, Error> {
    let sql = source.sql.clone();
    let text =
        blocking(move || sql.query("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"))
            .await?;
    text.trim().parse().map_err(|_| Error::Server {
        server: source.sql.place().to_owned(),
        problem: format!("its answer is not understood: {text:?}"),
    })
}

/// `20260131T120000Z`.
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

/// kB done and in all, from the last line such as `12345/67890 kB (18%), 0/1 tablespace`.
fn progress(said: &str) -> Option<(u64, u64)> {
    let line = said.rsplit(['\r', '\n']).find(|line| line.contains(" kB ("))?;
    let (done, total) = line.trim().split_once(" kB (")?.0.split_once('/')?;
    Some((done.trim().parse().ok()?, total.trim().parse().ok()?))
}

/// The version that a program says it has.
pub(crate) fn version_line(programs: &Programs, name: &str) -> Result<String, Error> {
    let said = program::done(programs.command(name).arg("--version"), Duration::from_secs(60))?;
    Ok(said.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_what_pg_basebackup_says() {
        let said = "waiting for checkpoint\r 1234/67890 kB (1%), 0/1 tablespace\r67890/67890 kB (100%), 1/1 tablespace\n";
        assert_eq!(progress(said), Some((67890, 67890)));
        assert_eq!(progress("NOTICE:  WAL archiving is not enabled"), None);
        assert_eq!(name_of(1_769_860_800_999), "20260131T120000Z");
    }
}
