//! Into the archive: the `archive_command`.

use std::path::Path;

use bytes::Bytes;
use edgesentry_rs::objects::{Write, Written};

use super::gaps::History;
use super::name::WalName;
use super::{packed, segment};
use crate::archive::{Archive, Identity};
use crate::error::Error;

/// What came of archiving a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Archived {
    /// It is in the archive now, durably.
    Stored,
    /// The same bytes were there already.
    AlreadyThere,
}

/// The object that [`try_archiving`] leaves: one that is replaced again and again. It is not deleted, so that archiving
/// needs no right to delete.
const TRIAL: &str = "trial.json";

/// Whether files could be archived: the archive is reached, and written to.
pub async fn try_archiving(archive: &Archive) -> Result<(), Error> {
    archive.objects().check().await?;
    archive.stated_identity().await?;
    drop(archive.temporary()?);
    archive.objects().put(TRIAL, Bytes::from_static(b"{}\n"), Write::Replace).await?;
    Ok(())
}

/// Archives a file of the write-ahead log under its name, durably. Other bytes that are there already are never
/// overwritten: that is an error, and so is a segment of another cluster. The same bytes without a signature that counts
/// are replaced by signed ones.
pub async fn archive_wal(archive: &Archive, file: &Path, name: WalName) -> Result<Archived, Error> {
    let subject = name.subject(claim(archive, file, name).await?);
    if let WalName::History(timeline) = name {
        // One that cannot be would stand in the way of every restore.
        History::of_file(timeline, file)?;
    }
    let folder = archive.temporary()?;
    let (ours, theirs) = (folder.path().join("packed"), folder.path().join("there"));
    let content = packed::pack(archive, file, &ours, &subject)?;
    let key = name.key();
    if archive.objects().put_file(&key, &ours, Write::IfAbsent).await? == Written::Stored {
        return Ok(Archived::Stored);
    }
    archive.fetch(&key, &theirs).await?;
    let there = packed::content_of(&theirs)
        .map_err(|error| archive.problem(format!("{key}: is there already and cannot be read: {error}")))?;
    if there != content {
        return Err(archive.problem(format!(
            "{key}: other bytes are there already, and stay; two servers archive under one prefix, or a server was \
             restored and goes on under the timeline of the original"
        )));
    }
    if !archive.trust().signs() || packed::inspect(archive, &theirs, &subject).is_ok() {
        return Ok(Archived::AlreadyThere);
    }
    archive.objects().put_file(&key, &ours, Write::Replace).await?;
    Ok(Archived::Stored)
}

/// Whose file it is. The archive becomes that of its cluster, or is it already.
async fn claim(archive: &Archive, file: &Path, name: WalName) -> Result<Identity, Error> {
    let identity = match name {
        WalName::Segment(segment) | WalName::Partial(segment) => segment::identity_of(file, segment)?,
        // Small texts, which do not say whose they are. A segment was archived before them, or lies beside them.
        WalName::History(_) | WalName::Backup(..) => match archive.stated_identity().await? {
            Some((identity, Ok(_))) => return Ok(identity),
            _ => segment::identity_beside(file)?,
        },
    };
    archive.claim(identity).await?;
    Ok(identity)
}
