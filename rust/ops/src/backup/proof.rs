//! Whether a backup can be restored: extracted, with its write-ahead log in place, and verified by PostgreSQL's own
//! program.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use super::{LONG, version_line};
use crate::error::Error;
use crate::observe::blocking;
use crate::postgres::Programs;
use crate::program;
use crate::wal::Lsn;

/// What a proven backup covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proof {
    /// The timeline.
    pub(crate) timeline: u32,
    /// Where recovery begins.
    pub(crate) start: Lsn,
    /// What it must reach.
    pub(crate) stop: Lsn,
    /// What the program said.
    pub(crate) said: String,
}

/// The part of `backup_manifest` that we need.
#[derive(Deserialize)]
struct ServerManifest {
    #[serde(rename = "WAL-Ranges")]
    ranges: Vec<Range>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: Lsn,
    #[serde(rename = "End-LSN")]
    end: Lsn,
}

/// Extracts the backup in `files` into `data`, and proves it.
pub(crate) async fn prove(programs: &Programs, files: &Path, data: &Path) -> Result<Proof, Error> {
    let (programs, files, data) = (programs.clone(), files.to_owned(), data.to_owned());
    blocking(move || {
        unpack(&files, &data, |_| Ok(()))?;
        fs::copy(files.join("backup_manifest"), data.join("backup_manifest"))
            .map_err(Error::io("copy the manifest", &data))?;
        // With the write-ahead log: the program reads it through from the start to the end of the backup.
        program::done(programs.command("pg_verifybackup").arg(&data), LONG)?;
        let said = format!("backup successfully verified by {}", version_line(&programs, "pg_verifybackup")?);
        let manifest = files.join("backup_manifest");
        let range = range(&manifest)?;
        Ok(Proof { timeline: range.timeline, start: range.start, stop: range.end, said })
    })
    .await
}

fn range(manifest: &Path) -> Result<Range, Error> {
    let file = File::open(manifest).map_err(Error::io("read", manifest))?;
    let read: Result<ServerManifest, _> = serde_json::from_reader(BufReader::new(file));
    let problem = |problem: String| Error::Archive { place: manifest.display().to_string(), problem };
    let mut ranges = read.map_err(|error| problem(format!("is damaged: {error}")))?.ranges;
    match (ranges.pop(), ranges.is_empty()) {
        (Some(range), true) => Ok(range),
        _ => Err(problem(
            "it covers several timelines; take a backup of a server that is not promoted meanwhile".into(),
        )),
    }
}

/// Extracts `base.tar.gz` and, into its `pg_wal`, `pg_wal.tar.gz`; `own` sees every path that was made.
pub(crate) fn unpack(
    files: &Path,
    data: &Path,
    own: impl Fn(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    make_private(data)?;
    own(data)?;
    extract(&files.join("base.tar.gz"), data, &own)?;
    let wal = data.join("pg_wal");
    if !wal.is_dir() {
        make_private(&wal)?;
        own(&wal)?;
    }
    extract(&files.join("pg_wal.tar.gz"), &wal, &own)
}

/// PostgreSQL refuses a folder that others may read.
fn make_private(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)))
        .map_err(Error::io("make the data folder", folder))
}

fn extract(archive: &Path, into: &Path, own: &impl Fn(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let file = File::open(archive).map_err(Error::io("read", archive))?;
    let damaged = || Error::io("extract", archive);
    let mut tar = tar::Archive::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 20, file)));
    for entry in tar.entries().map_err(damaged())? {
        let mut entry = entry.map_err(damaged())?;
        let path = into.join(entry.path().map_err(damaged())?);
        // Refuses what would lead out of the folder.
        if !entry.unpack_in(into).map_err(damaged())? {
            let problem = format!("it holds a path that leads out of it: {}", path.display());
            return Err(Error::Archive { place: archive.display().to_string(), problem });
        }
        own(&path)?;
    }
    Ok(())
}
