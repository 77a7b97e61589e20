//! The header of a segment: the long header of its first page (src/include/access/xlog_internal.h).

use std::io::Read;
use std::path::Path;

use super::name::Segment;
use crate::archive::Identity;
use crate::data_folder;
use crate::error::Error;

/// `XLP_LONG_HEADER` in `xlp_info`.
const LONG_HEADER: u16 = 0x0002;
/// `sizeof(XLogLongPageHeaderData)`.
const HEADER_BYTES: usize = 40;

/// Returns the cluster that wrote the segment in `file`; fails if it is not the segment in its name.
///
/// # Errors
/// The file cannot be read, or is not the segment of its name.
pub fn identity_of(file: &Path, segment: Segment) -> Result<Identity, Error> {
    let io = || Error::io("read the segment", file);
    let mut header = [0; HEADER_BYTES];
    let mut opened = data_folder::open(file).map_err(io())?;
    let size = opened.metadata().map_err(io())?.len();
    let read = opened.read_exact(&mut header);
    let problem = |problem: String| Error::Archive { place: file.display().to_string(), problem };
    if read.is_err() {
        return Err(problem(format!("not a WAL segment ({size} bytes)")));
    }
    let (identity, timeline, position) = parse(&header)
        .ok_or_else(|| problem("not a WAL segment: its first page has no header".to_owned()))?;
    if !identity.is_possible() {
        return Err(problem(format!("{} bytes are not a valid segment size", identity.wal_segment_bytes)));
    }
    if size != identity.wal_segment_bytes {
        let wanted = identity.wal_segment_bytes;
        return Err(problem(format!("expected a segment of {wanted} bytes, found {size}")));
    }
    // The first segment of a timeline begins as a copy of its parent's.
    let is_it =
        Segment::at(segment.timeline, position / size, size) == segment && timeline <= segment.timeline;
    if !is_it {
        let found = Segment::at(timeline, position / size, size);
        return Err(problem(format!("it holds the segment {found}, and its name says {segment}")));
    }
    Ok(identity)
}

/// Returns the cluster of a file that does not state it: that of a segment in the same directory.
pub(super) fn identity_beside(file: &Path) -> Result<Identity, Error> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let mut identities = entries.flatten().filter_map(|entry| {
        let segment = entry.file_name().to_str()?.parse().ok()?;
        identity_of(&entry.path(), segment).ok()
    });
    identities.next().ok_or_else(|| Error::Archive {
        place: file.display().to_string(),
        problem: "its cluster is unknown: the archive is empty, and no segment is next to it".to_owned(),
    })
}

/// Parses cluster, timeline and position of a page.
fn parse(header: &[u8; HEADER_BYTES]) -> Option<(Identity, u32, u64)> {
    let bytes = |at: usize| header.get(at..at + 8)?.try_into().ok();
    let short = |at: usize| Some(u16::from_ne_bytes(header.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_ne_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| bytes(at).map(u64::from_ne_bytes);
    // xlp_magic differs with every major version: PostgreSQL compares it.
    if short(0)? == 0 || short(2)? & LONG_HEADER == 0 {
        return None;
    }
    let identity = Identity { system_identifier: long(24)?, wal_segment_bytes: word(32)?.into() };
    Some((identity, word(4)?, long(8)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(name: &str, position: u64, size: usize) -> Vec<u8> {
        let segment: Segment = name.parse().unwrap();
        let mut bytes = vec![0; size];
        bytes[0..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
        bytes[2..4].copy_from_slice(&LONG_HEADER.to_ne_bytes());
        bytes[4..8].copy_from_slice(&segment.timeline.to_ne_bytes());
        bytes[8..16].copy_from_slice(&position.to_ne_bytes());
        bytes[24..32].copy_from_slice(&77_u64.to_ne_bytes());
        bytes[32..36].copy_from_slice(&(1_u32 << 20).to_ne_bytes());
        bytes
    }

    #[test]
    fn a_segment_under_another_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("segment");
        let name = "000000010000000000000003";
        std::fs::write(&file, segment(name, 3 << 20, 1 << 20)).unwrap();
        let identity = identity_of(&file, name.parse().unwrap()).unwrap();
        assert_eq!(identity, Identity { system_identifier: 77, wal_segment_bytes: 1 << 20 });
        for other in ["000000010000000000000004", "000000010000000100000003"] {
            let error = identity_of(&file, other.parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(other), "{error}");
        }
        // The first segment of the next timeline is a copy of this one.
        identity_of(&file, "000000020000000000000003".parse().unwrap()).unwrap();
        for damaged in [vec![], vec![0; 1 << 20], segment(name, 3 << 20, 1 << 19)] {
            std::fs::write(&file, damaged).unwrap();
            assert!(identity_of(&file, name.parse().unwrap()).is_err());
        }
    }
}
