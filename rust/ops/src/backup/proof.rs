//! Proof that a backup can be restored: extracted, with its write-ahead log in place, and verified by PostgreSQL's
//! own program.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;

use super::{NO_TIMEOUT, version_line};
use crate::error::Error;
use crate::extract;
use crate::observe::blocking;
use crate::postgres::Programs;
use crate::program;
use crate::wal::Lsn;

/// The range of a proven backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proof {
    /// The timeline.
    pub(crate) timeline: u32,
    /// The position at which recovery begins.
    pub(crate) start: Lsn,
    /// The position that recovery must reach.
    pub(crate) stop: Lsn,
    /// The output of the program.
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

/// Extracts the backup from `files` into `data`, and proves it.
pub(crate) async fn prove(programs: &Programs, files: &Path, data: &Path) -> Result<Proof, Error> {
    let (programs, files, data) = (programs.clone(), files.to_owned(), data.to_owned());
    blocking(move || {
        extract::base_backup(&files, &data, None, &|| Ok(()))?;
        // With the write-ahead log: the program reads it from the start to the end of the backup.
        program::done(programs.command("pg_verifybackup").arg(&data), NO_TIMEOUT)?;
        let said = format!("backup successfully verified by {}", version_line(&programs, "pg_verifybackup")?);
        let manifest = files.join(extract::MANIFEST);
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
