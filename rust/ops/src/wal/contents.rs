//! Checks that archived segments have the content that PostgreSQL wrote, of the right cluster: signature, hash, page
//! headers, CRC-32C of each record.

use std::fs::File;
use std::io::BufReader;
use std::ops::RangeInclusive;
use std::path::Path;

use edgesentry_rs::error::{FailureKind, Fault};
use futures::stream::{self, StreamExt};

use super::gaps::Inventory;
use super::name::{Segment, WalName};
use super::pages::Walk;
use super::{packed, segment};
use crate::archive::{Archive, Identity};
use crate::blocking::blocking;
use crate::check::Check;
use crate::error::Error;
use crate::observe::{Event, Observer};
use crate::signature::Standing;

/// Segments that are downloaded concurrently. One more is unpacked beside them, which bounds the disk space.
const CONCURRENT_SEGMENTS: usize = 4;
/// The number of problems that are named.
const MAX_SHOWN: usize = 5;

/// The result of reading segments.
#[derive(Default)]
struct Found {
    segments: u64,
    signed: u64,
    records: u64,
    pages: u64,
    /// Encrypted segments without an identity: their hash and signature were compared, not their pages.
    unread: u64,
    problems: Vec<String>,
}

/// Downloads the complete segments with these numbers, on every timeline, and reads them.
///
/// # Errors
/// The archive cannot be read, or a setting is wrong. A damaged segment is a failed check.
pub async fn check_contents(
    archive: &Archive,
    inventory: &Inventory,
    numbers: RangeInclusive<u64>,
    observer: Observer<'_>,
) -> Result<Check, Error> {
    let name = "every archived segment holds the pages and records that PostgreSQL wrote";
    let identity = archive.existing_identity().await?;
    let most = packed::largest(identity.wal_segment_bytes);
    let wanted: Vec<(u32, u64)> =
        inventory.segments.iter().copied().filter(|(_, number)| numbers.contains(number)).collect();
    let (mut done, total) = (0, wanted.len() as u64 * inventory.segment_bytes);
    observer(Event::Step("read the archived log"));
    let folder = archive.temporary()?;
    let place = folder.path();
    let mut downloads = stream::iter(wanted.into_iter().map(|(timeline, number)| async move {
        let segment = Segment::at(timeline, number, inventory.segment_bytes);
        let packed = place.join(format!("{segment}.zst"));
        let got = archive.objects().get_file(&WalName::Segment(segment).key(), &packed, most).await;
        let problem = match got {
            Ok(Some(_)) => None,
            Ok(None) => Some("it was deleted meanwhile".to_owned()),
            Err(error) if error.kind == FailureKind::Item => Some(Error::from(error).describe()),
            Err(error) => return Err(error.into()),
        };
        Ok::<_, Error>((segment, packed, problem))
    }))
    .buffered(CONCURRENT_SEGMENTS);
    let (mut found, mut walk, mut before) = (Found::default(), Walk::new(), None);
    while let Some(downloaded) = downloads.next().await {
        let (segment, packed, problem) = downloaded?;
        found.segments += 1;
        if let Some(problem) = problem {
            found.problems.push(format!("{segment}: {problem}"));
            continue;
        }
        if before != Some(segment) {
            walk.restart();
        }
        before = Some(segment.plus(1, inventory.segment_bytes));
        let (archive, plain) = (archive.clone(), place.join("segment"));
        let read = blocking(move || {
            let read = read(&archive, identity, segment, &packed, &plain, &mut walk);
            for file in [&packed, &plain] {
                let _ = std::fs::remove_file(file);
            }
            Ok((read, walk))
        });
        let (read, walked) = read.await?;
        walk = walked;
        match read {
            Ok(read) => {
                found.signed += u64::from(read.is_signed);
                found.unread += u64::from(!read.is_walked);
            }
            // The segment is not at fault.
            Err(error) if error.fault() != Fault::Data => return Err(error),
            Err(error) => found.problems.push(format!("{segment}: {}", error.describe())),
        }
        done += inventory.segment_bytes;
        observer(Event::Bytes { done, total });
    }
    (found.records, found.pages) = (walk.records, walk.pages);
    Ok(found.check(name))
}

struct Read {
    is_signed: bool,
    is_walked: bool,
}

fn read(
    archive: &Archive,
    identity: Identity,
    segment: Segment,
    packed: &Path,
    plain: &Path,
    walk: &mut Walk,
) -> Result<Read, Error> {
    let subject = WalName::Segment(segment).subject(identity);
    if packed::is_encrypted(packed)? && !archive.encryption().has_identity() {
        let (_, standing) = packed::inspect(archive, packed, &subject)?;
        return Ok(Read { is_signed: standing != Standing::Unsigned, is_walked: false });
    }
    let (_, standing) = packed::unpack(archive, packed, plain, &subject)?;
    let problem = |problem: String| Error::Archive { place: archive.place().to_owned(), problem };
    if segment::identity_of(plain, segment)? != identity {
        return Err(problem("it is of another cluster".to_owned()));
    }
    let file = File::open(plain).map_err(Error::io("read", plain))?;
    let mut content = BufReader::with_capacity(1 << 17, file);
    let walked = walk.segment(segment, identity.wal_segment_bytes, &mut content);
    match walked.map_err(Error::io("read", plain))? {
        Ok(()) => Ok(Read { is_signed: standing != Standing::Unsigned, is_walked: true }),
        Err(wrong) => {
            // The next segment is read on its own.
            walk.restart();
            Err(problem(wrong))
        }
    }
}

impl Found {
    fn check(&self, name: &str) -> Check {
        let mut evidence = format!(
            "segments: {}, of them signed: {}; page headers: {}; records, by their CRC-32C: {}",
            self.segments, self.signed, self.pages, self.records
        );
        if !self.problems.is_empty() {
            let more = self.problems.len().saturating_sub(MAX_SHOWN);
            let shown = self.problems.iter().take(MAX_SHOWN).cloned().collect::<Vec<_>>().join("; ");
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            return Check::new(name, false, format!("{shown}{more}; {evidence}"));
        }
        if self.unread > 0 {
            evidence.push_str(&format!(
                "; {} are encrypted, and without ops.identity only their hashes were compared",
                self.unread
            ));
            return Check::unknown(name, evidence);
        }
        Check::new(name, self.segments > 0, evidence)
    }
}
