//! Logical dumps: `pg_dump -Fc`, listed by `pg_restore` before they are archived. They survive a damaged cluster and
//! a change of version, but do not have the records of the minutes after them.

mod restore;

use std::path::Path;

use edgesentry_rs::objects::Written;
use serde::{Deserialize, Serialize};

use crate::adopt;
use crate::archive::{Archive, Identity};
use crate::backup;
use crate::blocking::blocking;
use crate::check::{Check, Status, verdict};
use crate::error::Error;
use crate::files::{self, StoredFile};
use crate::observe::{Event, Observer};
use crate::postgres::Programs;
use crate::process::run;
use crate::program;
use crate::program::NO_TIMEOUT;
use crate::signature::{Kind, Standing, Subject};
use crate::source::Source;

pub use restore::{DumpRestored, RestoreDump, restore_dump};

/// The version of the manifest.
const MANIFEST: u32 = 1;
/// The file of a dump.
const FILE: &str = "ledger.dump";

/// A dump: the manifest beside its file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dump {
    /// The version of the manifest.
    pub dump: u32,
    /// The name: the time at which it began.
    pub id: String,
    /// The cluster.
    #[serde(flatten)]
    pub identity: Identity,
    /// Such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub server_version: String,
    /// By the clock of the server, Unix milliseconds.
    pub started_at_ms: u64,
    /// Entries that `pg_restore --list` shows.
    pub entries: u64,
    /// Its file.
    pub files: Vec<StoredFile>,
}

impl Dump {
    fn key(id: &str) -> String {
        format!("dumps/{id}/dump.json")
    }

    /// Checks that a trusted key has signed its manifest; if not, returns the reason. No file of a dump for which
    /// this is an error may be restored.
    ///
    /// # Errors
    /// The archive or a key cannot be read.
    pub async fn standing(&self, archive: &Archive) -> Result<Result<Standing, String>, Error> {
        archive.verify_manifest(&Dump::key(&self.id), &self.subject(), self).await
    }

    fn subject(&self) -> Subject {
        Subject {
            kind: Kind::Dump,
            name: self.id.clone(),
            system_identifier: self.identity.system_identifier,
        }
    }
}

/// Takes a dump of the database of the settings.
///
/// # Errors
/// `pg_dump` fails, or the archive belongs to another cluster or cannot be written.
pub async fn dump(archive: &Archive, source: &Source, observer: Observer<'_>) -> Result<Dump, Error> {
    source.programs.require(&["pg_dump", "pg_restore"])?;
    archive.objects().check().await?;
    adopt::claim(archive, source).await?;
    let folder = archive.temporary()?;
    let files = folder.path().join("files");
    std::fs::create_dir(&files).map_err(Error::io("create a directory", &files))?;
    let started_at_ms = backup::server_time(source).await?;
    let id = backup::name_of(started_at_ms);
    observer(Event::Step("pg_dump"));
    let mut command = source.sql.client("pg_dump");
    command.arg("-Fc").arg("-f").arg(files.join(FILE));
    run(&mut command, &folder.path().join("log"), |_| {}).await?;
    observer(Event::Step("pg_restore --list"));
    let entries = list(&source.programs, &files.join(FILE)).await?;
    observer(Event::Step("archive"));
    let files = files::store(archive, &format!("dumps/{id}"), &files, observer).await?;
    let dump = Dump {
        dump: MANIFEST,
        identity: source.identity,
        server_version: source.version.clone(),
        started_at_ms,
        entries,
        files,
        id,
    };
    let written = archive.write_manifest(&Dump::key(&dump.id), &dump.subject(), &dump).await?;
    if written == Written::Taken {
        return Err(archive.problem(format!("a dump {} already exists; try again", dump.id)));
    }
    Ok(dump)
}

/// Returns all dumps, oldest first.
///
/// # Errors
/// The archive or a manifest cannot be read.
pub async fn dumps(archive: &Archive) -> Result<Vec<Dump>, Error> {
    let mut dumps: Vec<Dump> = Vec::new();
    for object in archive.objects().list("dumps/").await? {
        if !object.key.ends_with("/dump.json") {
            continue;
        }
        let dump: Option<Dump> = archive.read_json(&object.key).await?;
        let dump = dump.filter(|dump| Dump::key(&dump.id) == object.key);
        let dump =
            dump.ok_or_else(|| archive.problem(format!("{}: it belongs to another dump", object.key)))?;
        if dump.dump > MANIFEST {
            let problem = format!("{}: its manifest is newer than this eds supports", object.key);
            return Err(archive.problem(problem));
        }
        dumps.push(dump);
    }
    dumps.sort_by_key(|dump| dump.started_at_ms);
    Ok(dumps)
}

/// Downloads a dump into a new directory, if a trusted key has signed its manifest. Returns checks of both.
pub(crate) async fn download(
    archive: &Archive,
    dump: &Dump,
    folder: &Path,
    observer: Observer<'_>,
) -> Result<Vec<Check>, Error> {
    let mut checks = Vec::from_iter(backup::signed(dump.standing(archive).await?, &dump.id, observer));
    if verdict(&checks) != Status::Failed {
        let prefix = format!("dumps/{}", dump.id);
        checks.extend(files::download(archive, &prefix, &dump.files, folder, observer).await?);
    }
    Ok(checks)
}

/// Downloads a dump, compares its signature and hash, and lists it again.
///
/// # Errors
/// The archive cannot be read, or a program cannot be run. A failed comparison is a failed check.
pub async fn verify(
    archive: &Archive,
    programs: &Programs,
    dump: &Dump,
    observer: Observer<'_>,
) -> Result<Vec<Check>, Error> {
    programs.require(&["pg_restore"])?;
    let folder = archive.temporary()?;
    verify_files(archive, programs, dump, &folder.path().join("files"), observer).await
}

/// Like [`verify`], but into a new directory that stays.
async fn verify_files(
    archive: &Archive,
    programs: &Programs,
    dump: &Dump,
    files: &Path,
    observer: Observer<'_>,
) -> Result<Vec<Check>, Error> {
    let mut checks = download(archive, dump, files, observer).await?;
    let lists = "pg_restore lists it";
    if verdict(&checks) != Status::Passed {
        checks.push(Check::unknown(lists, "not run, because the file differs from the archived one"));
        return Ok(checks);
    }
    checks.push(match list(programs, &files.join(FILE)).await {
        Ok(entries) => {
            Check::new(lists, entries == dump.entries, format!("{entries} entries, then {}", dump.entries))
        }
        Err(error) => Check::new(lists, false, error.describe()),
    });
    Ok(checks)
}

/// Returns the number of entries in a dump.
async fn list(programs: &Programs, file: &Path) -> Result<u64, Error> {
    let (programs, file) = (programs.clone(), file.to_owned());
    let text =
        blocking(move || program::done(programs.command("pg_restore").arg("--list").arg(file), NO_TIMEOUT))
            .await?;
    Ok(text.lines().filter(|line| !line.is_empty() && !line.starts_with(';')).count() as u64)
}
