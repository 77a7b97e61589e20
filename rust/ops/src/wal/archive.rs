//! Into the archive: the `archive_command`.

use std::path::Path;

use edgesentry_rs::objects::{Write, Written};

use super::name::WalName;
use super::{packed, segment};
use crate::archive::Archive;
use crate::error::Error;

/// What came of archiving a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Archived {
    /// It is in the archive now, durably.
    Stored,
    /// The same bytes were there already.
    AlreadyThere,
}

/// Archives a file of the write-ahead log under its name, durably. Other bytes that are there already are never
/// overwritten: that is an error, and so is a segment of another cluster.
pub async fn archive_wal(archive: &Archive, file: &Path, name: WalName) -> Result<Archived, Error> {
    match name {
        WalName::Segment(segment) | WalName::Partial(segment) => {
            archive.claim(segment::identity_of(file, segment)?).await?;
        }
        // Small texts, which do not say whose they are; a segment was archived before them.
        WalName::History(_) | WalName::Backup(..) => {}
    }
    let folder = archive.temporary()?;
    let (ours, theirs) = (folder.path().join("packed"), folder.path().join("there"));
    let content = packed::pack(file, &ours)?;
    let key = name.key();
    if archive.objects().put_file(&key, &ours, Write::IfAbsent).await? == Written::Stored {
        return Ok(Archived::Stored);
    }
    archive.fetch(&key, &theirs).await?;
    let there = packed::unpack(&theirs, &folder.path().join("unpacked"))
        .map_err(|error| archive.problem(format!("{key}: is there already and cannot be read: {error}")))?;
    if there == content {
        return Ok(Archived::AlreadyThere);
    }
    Err(archive.problem(format!(
        "{key}: other bytes are there already, and stay; two servers archive under one prefix, or a server was \
         restored and goes on under the timeline of the original"
    )))
}
