//! The `restore_command`: a file comes out of the archive.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::task::JoinSet;

use super::name::{Segment, WalName, receiving_key, receiving_subject};
use super::{ahead, packed, segment};
use crate::archive::{Archive, Identity};
use crate::error::Error;
use crate::signature::Subject;

/// The directory of segments that were fetched ahead, beside the file that PostgreSQL requests: in `pg_wal`, which
/// base backups leave out.
const SPOOL: &str = "edgesentry_spool";

/// The result of fetching a file. Exhaustive: PostgreSQL ends or stops its recovery by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fetched {
    /// It was downloaded from the archive.
    Archive,
    /// It was fetched ahead before.
    Spool,
    /// It was fetched ahead by the process beside the server.
    Ahead,
    /// The archive had only its beginning, which was received before the server was lost.
    Partial,
    /// It is provably not in the archive.
    Absent,
}

/// The number of segments that are fetched ahead concurrently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefetch(pub u64);

impl Default for Prefetch {
    fn default() -> Prefetch {
        Prefetch(8)
    }
}

/// Fetches a file of the write-ahead log to `target`, atomically and synced.
///
/// Returns [`Fetched::Absent`] only if the archive was reached, belongs to a cluster, and reports that it does not
/// have the file. A segment of another cluster is an error.
///
/// # Errors
/// The archive cannot be read, the file in it is damaged or of another cluster, or the target cannot be written.
pub async fn fetch_wal(
    archive: &Archive,
    name: WalName,
    target: &Path,
    prefetch: Prefetch,
) -> Result<Fetched, Error> {
    if let WalName::Segment(segment) = name
        && ahead::take(segment, target).await?
    {
        return Ok(Fetched::Ahead);
    }
    let identity = archive.existing_identity().await?;
    let place = Place { archive, identity, target };
    let most = packed::largest(identity.wal_segment_bytes);
    let WalName::Segment(segment) = name else {
        let folder = archive.temporary()?;
        let packed = folder.path().join("packed");
        let found = archive.objects().get_file(&name.key(), &packed, most).await?.is_some();
        return if found {
            place.deliver(&packed, &name.subject(identity), None).map(|()| Fetched::Archive)
        } else {
            Ok(Fetched::Absent)
        };
    };
    let subject = name.subject(identity);
    // Otherwise every segment would be fetched twice.
    let prefetch = if ahead::runs(target) { Prefetch(0) } else { prefetch };
    let spool = Spool::open(target)?;
    let ahead: BTreeSet<Segment> =
        (0..=prefetch.0).map(|count| segment.plus(count, identity.wal_segment_bytes)).collect();
    spool.keep_only(&ahead);
    let packed = spool.path(segment);
    if packed.exists() {
        let delivered = place.deliver(&packed, &subject, Some(segment));
        let _ = std::fs::remove_file(&packed);
        if delivered.is_ok() {
            return Ok(Fetched::Spool);
        }
        // A crash can leave a file without its content: fetch it again.
    }
    let mut others = JoinSet::new();
    for next in ahead.into_iter().filter(|next| *next != segment && !spool.path(*next).exists()) {
        let (archive, spool) = (archive.clone(), spool.clone());
        // A failed segment is fetched again when it is needed.
        others.spawn(async move { spool.fill(&archive, next, most).await });
    }
    // An early return drops `others` and cancels the downloads.
    if !spool.fill(archive, segment, most).await? {
        return place.incomplete(segment).await;
    }
    place.deliver(&packed, &subject, Some(segment))?;
    let _ = std::fs::remove_file(&packed);
    while others.join_next().await.is_some() {}
    Ok(Fetched::Archive)
}

/// The destination of a file.
struct Place<'a> {
    archive: &'a Archive,
    identity: Identity,
    target: &'a Path,
}

impl Place<'_> {
    fn deliver(&self, packed: &Path, subject: &Subject, segment: Option<Segment>) -> Result<(), Error> {
        let folder = Spool::open(self.target)?.temporary()?;
        let source = Source { archive: self.archive, identity: self.identity, packed, subject, segment };
        source.deliver(&folder.path().join("unpacked"), self.target)
    }

    /// Returns the beginning of a segment that was never archived whole.
    async fn incomplete(&self, segment: Segment) -> Result<Fetched, Error> {
        let folder = self.archive.temporary()?;
        let most = packed::largest(self.identity.wal_segment_bytes);
        let left = WalName::Partial(segment);
        for (key, subject) in [
            (receiving_key(segment), receiving_subject(segment, self.identity)),
            (left.key(), left.subject(self.identity)),
        ] {
            let packed = folder.path().join("packed");
            if self.archive.objects().get_file(&key, &packed, most).await?.is_some() {
                return self.deliver(&packed, &subject, Some(segment)).map(|()| Fetched::Partial);
            }
        }
        Ok(Fetched::Absent)
    }
}

/// A fetched packed file.
pub(super) struct Source<'a> {
    pub(super) archive: &'a Archive,
    pub(super) identity: Identity,
    pub(super) packed: &'a Path,
    pub(super) subject: &'a Subject,
    /// The segment that it must be, if it is one.
    pub(super) segment: Option<Segment>,
}

impl Source<'_> {
    /// Checks its signature, unpacks it into the file `part`, checks the cluster of the segment, and renames it to
    /// `target`.
    pub(super) fn deliver(&self, part: &Path, target: &Path) -> Result<(), Error> {
        packed::unpack(self.archive, self.packed, part, self.subject)?;
        let found = self.segment.map(|segment| segment::identity_of(part, segment)).transpose()?;
        if let Some(identity) = found.filter(|identity| *identity != self.identity) {
            return Err(self.archive.problem(format!(
                "the segment is of the cluster {}, and the archive of the cluster {}",
                identity.system_identifier, self.identity.system_identifier
            )));
        }
        std::fs::rename(part, target).map_err(Error::io("put into place", target))
    }
}

/// Packed segments that were fetched ahead. Their hashes are checked when they are used, so that a crash or a
/// leftover does no harm.
#[derive(Clone)]
struct Spool(PathBuf);

impl Spool {
    fn open(target: &Path) -> Result<Spool, Error> {
        let folder = target.parent().unwrap_or(Path::new("")).join(SPOOL);
        std::fs::create_dir_all(&folder).map_err(Error::io("make the spool", &folder))?;
        Ok(Spool(folder))
    }

    fn path(&self, segment: Segment) -> PathBuf {
        self.0.join(format!("{segment}.zst"))
    }

    /// Creates a directory for an incomplete file, with an unpredictable name; removed when dropped.
    fn temporary(&self) -> Result<TempDir, Error> {
        let made = tempfile::Builder::new().prefix(".").tempdir_in(&self.0);
        made.map_err(Error::io("create a temporary directory", &self.0))
    }

    /// Removes everything else: files of another timeline, of an earlier start, or of a killed process.
    fn keep_only(&self, wanted: &BTreeSet<Segment>) {
        let wanted: BTreeSet<_> = wanted.iter().map(|segment| self.path(*segment)).collect();
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if !wanted.contains(&entry.path()) {
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let remove = if is_folder { std::fs::remove_dir_all } else { std::fs::remove_file };
                let _ = remove(entry.path());
            }
        }
    }

    /// Fetches a segment; returns false if it provably does not exist.
    async fn fill(&self, archive: &Archive, segment: Segment, most: u64) -> Result<bool, Error> {
        let folder = self.temporary()?;
        let part = folder.path().join("packed");
        if archive.objects().get_file(&WalName::Segment(segment).key(), &part, most).await?.is_none() {
            return Ok(false);
        }
        let path = self.path(segment);
        std::fs::rename(&part, &path).map_err(Error::io("put into the spool", &path))?;
        Ok(true)
    }
}
