//! The `archive_command`: a file goes into the archive.

use std::path::Path;

use bytes::Bytes;
use edgesentry_rs::objects::{Write, Written};

use super::gaps::History;
use super::name::WalName;
use super::{packed, segment};
use crate::archive::{Archive, Identity};
use crate::error::Error;

/// The result of archiving a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Archived {
    /// It is now in the archive, durably.
    Stored,
    /// The archive already had the same bytes.
    AlreadyThere,
}

/// The object that [`try_archiving`] leaves and replaces each time. It is not deleted, so that archiving needs no
/// right to delete.
const TRIAL: &str = "trial.json";

/// Checks that files can be archived: the archive is reachable and writable.
///
/// # Errors
/// The archive cannot be reached, read or written.
pub async fn try_archiving(archive: &Archive) -> Result<(), Error> {
    archive.objects().check().await?;
    archive.stated_identity().await?;
    drop(archive.temporary()?);
    archive.objects().put(TRIAL, Bytes::from_static(b"{}\n"), Write::Replace).await?;
    Ok(())
}

/// Archives a file of the write-ahead log under its name, durably. It never overwrites other bytes: that is an error,
/// and so is a segment of another cluster. If the same bytes lack a valid signature, they are replaced by signed
/// ones.
///
/// # Errors
/// The archive has other bytes under the name, belongs to another cluster or cannot be written, or the file is not that
/// of its name.
pub async fn archive_wal(archive: &Archive, file: &Path, name: WalName) -> Result<Archived, Error> {
    let subject = name.subject(claim(archive, file, name).await?);
    if let WalName::History(timeline) = name {
        // An unreadable history would block every restore.
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
        .map_err(|error| archive.problem(format!("{key}: already exists and cannot be read: {error}")))?;
    if there != content {
        return Err(archive.problem(format!(
            "{key}: already exists with other bytes, which are kept; two servers archive under one prefix, or a \
             restored server continues the timeline of the original"
        )));
    }
    if !archive.trust().signs() || packed::inspect(archive, &theirs, &subject).is_ok() {
        return Ok(Archived::AlreadyThere);
    }
    archive.objects().put_file(&key, &ours, Write::Replace).await?;
    Ok(Archived::Stored)
}

/// Returns the cluster of a file, after claiming the archive for it.
async fn claim(archive: &Archive, file: &Path, name: WalName) -> Result<Identity, Error> {
    let identity = match name {
        WalName::Segment(segment) | WalName::Partial(segment) => segment::identity_of(file, segment)?,
        // Small texts, which do not name their cluster. A segment was archived before them, or is beside them.
        WalName::History(_) | WalName::Backup(..) => match archive.stated_identity().await? {
            Some((identity, Ok(_))) => return Ok(identity),
            _ => segment::identity_beside(file)?,
        },
    };
    archive.claim(identity).await?;
    Ok(identity)
}
