//! Names of the files that PostgreSQL archives, and their arithmetic.
//!
//! A segment is named by timeline and number: 24 hex digits, `TTTTTTTTXXXXXXXXYYYYYYYY` with
//! number = X · (4 GiB / segment size) + Y.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::archive::Identity;
use crate::signature::{Kind, Subject};

/// A position in the write-ahead log, such as `16/B374D848`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Lsn, String> {
        let wrong = || format!("expected a position such as 16/B374D848, got {text:?}");
        let (high, low) = text.split_once('/').ok_or_else(wrong)?;
        let part = |text: &str| u32::from_str_radix(text, 16).map_err(|_| wrong());
        Ok(Lsn(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> String {
        lsn.to_string()
    }
}

impl TryFrom<String> for Lsn {
    type Error = String;

    fn try_from(text: String) -> Result<Lsn, String> {
        text.parse()
    }
}

/// A segment: a file of the write-ahead log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Segment {
    /// The timeline in its name.
    pub timeline: u32,
    /// Its high 32 bits.
    pub high: u32,
    /// Its low part, less than 4 GiB / segment size.
    pub low: u32,
}

impl Segment {
    /// Returns the segment with a number.
    pub fn at(timeline: u32, number: u64, segment_bytes: u64) -> Segment {
        let each = segments_each(segment_bytes);
        let part = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Segment { timeline, high: part(number / each), low: part(number % each) }
    }

    /// Returns the segment that contains a position.
    pub fn of(timeline: u32, position: Lsn, segment_bytes: u64) -> Segment {
        Segment::at(timeline, position.0 / segment_bytes.max(1), segment_bytes)
    }

    /// Returns its number, the same on every timeline.
    pub fn number(self, segment_bytes: u64) -> u64 {
        u64::from(self.high) * segments_each(segment_bytes) + u64::from(self.low)
    }

    /// Returns true if PostgreSQL gives this name to a segment of that size. An archive may have other names, with
    /// the number of a segment that has another name.
    pub fn is_possible(self, segment_bytes: u64) -> bool {
        self.timeline > 0 && u64::from(self.low) < segments_each(segment_bytes)
    }

    /// Returns the segment `count` segments further on the same timeline.
    pub fn plus(self, count: u64, segment_bytes: u64) -> Segment {
        Segment::at(self.timeline, self.number(segment_bytes) + count, segment_bytes)
    }
}

fn segments_each(segment_bytes: u64) -> u64 {
    ((1_u64 << 32) / segment_bytes.max(1)).max(1)
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline, self.high, self.low)
    }
}

impl FromStr for Segment {
    type Err = String;

    fn from_str(name: &str) -> Result<Segment, String> {
        let wrong = || format!("expected a segment name of 24 hex digits, got {name:?}");
        let is_valid_id = name.len() == 24
            && name.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
        if !is_valid_id {
            return Err(wrong());
        }
        let part = |from: usize| u32::from_str_radix(&name[from..from + 8], 16).map_err(|_| wrong());
        Ok(Segment { timeline: part(0)?, high: part(8)?, low: part(16)? })
    }
}

impl Serialize for Segment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Segment, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A file that PostgreSQL archives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WalName {
    /// A complete segment.
    Segment(Segment),
    /// The last segment of a timeline that ended with a promotion.
    Partial(Segment),
    /// The origin of a timeline.
    History(u32),
    /// A note of a base backup: the segment and the offset at which it began.
    Backup(Segment, u32),
}

impl WalName {
    /// Returns the key in the archive.
    pub fn key(self) -> String {
        match self {
            WalName::History(_) => format!("wal/{self}.zst"),
            WalName::Segment(segment) | WalName::Partial(segment) | WalName::Backup(segment, _) => {
                format!("wal/{:08X}/{self}.zst", segment.timeline)
            }
        }
    }

    /// Parses a key; returns `None` for another key.
    pub fn of_key(key: &str) -> Option<WalName> {
        let name = key.strip_prefix("wal/")?.rsplit('/').next()?.strip_suffix(".zst")?;
        name.parse().ok().filter(|name: &WalName| name.key() == key)
    }

    /// Returns the segment, or `None` for a history.
    pub fn segment(self) -> Option<Segment> {
        match self {
            WalName::History(_) => None,
            WalName::Segment(segment) | WalName::Partial(segment) | WalName::Backup(segment, _) => {
                Some(segment)
            }
        }
    }
}

impl WalName {
    /// Returns the signed subject of this file of a cluster.
    pub(crate) fn subject(self, identity: Identity) -> Subject {
        Subject { kind: Kind::Wal, name: self.to_string(), system_identifier: identity.system_identifier }
    }
}

/// Returns the signed subject of the beginning of a segment, which never passes for the whole segment.
pub(crate) fn receiving_subject(segment: Segment, identity: Identity) -> Subject {
    Subject { kind: Kind::Receiving, ..WalName::Segment(segment).subject(identity) }
}

/// Returns the key of a segment that is still being received.
pub(crate) fn receiving_key(segment: Segment) -> String {
    format!("partial/{segment}.zst")
}

impl fmt::Display for WalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalName::Segment(segment) => write!(f, "{segment}"),
            WalName::Partial(segment) => write!(f, "{segment}.partial"),
            WalName::History(timeline) => write!(f, "{timeline:08X}.history"),
            WalName::Backup(segment, offset) => write!(f, "{segment}.{offset:08X}.backup"),
        }
    }
}

impl FromStr for WalName {
    type Err = String;

    fn from_str(name: &str) -> Result<WalName, String> {
        let parsed = match name.split_once('.') {
            None => name.parse().ok().map(WalName::Segment),
            Some((segment, "partial")) => segment.parse().ok().map(WalName::Partial),
            Some((timeline, "history")) => u32::from_str_radix(timeline, 16).ok().map(WalName::History),
            Some((segment, rest)) => rest.strip_suffix(".backup").and_then(|offset| {
                Some(WalName::Backup(segment.parse().ok()?, u32::from_str_radix(offset, 16).ok()?))
            }),
        };
        // It must format to the same name: no other digits, case or length.
        parsed.filter(|parsed| parsed.to_string() == name).ok_or_else(|| {
            format!(
                "{name:?}: not a file of the write-ahead log; PostgreSQL passes its name as %f and its path as %p"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB16: u64 = 16 << 20;

    #[test]
    fn names_are_read_and_written() {
        for name in [
            "0000000100000000000000FF",
            "0000000100000000000000FF.partial",
            "0000000A.history",
            "0000000100000000000000FF.00000028.backup",
        ] {
            let parsed: WalName = name.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
            assert_eq!(WalName::of_key(&parsed.key()), Some(parsed));
        }
        for bad in [
            "",
            "x",
            "../../etc/passwd",
            "0000000100000000000000ff",
            "1.history",
            "0000000A.histor",
            "backup.json",
        ] {
            assert!(bad.parse::<WalName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_carry_over() {
        let last: Segment = "0000000100000000000000FF".parse().unwrap();
        assert_eq!(last.plus(1, MIB16).to_string(), "000000010000000100000000");
        assert_eq!(last.number(MIB16), 255);
        assert!(last.is_possible(MIB16));
        for other in ["000000010000000000000100", "0000000000000000000000FF"] {
            assert!(!other.parse::<Segment>().unwrap().is_possible(MIB16), "{other}");
        }
        assert_eq!(last.plus(1, MIB16).number(MIB16), 256);
        let lsn: Lsn = "1/2000028".parse().unwrap();
        assert_eq!(lsn.to_string(), "1/2000028");
        assert_eq!(Segment::of(2, lsn, MIB16).to_string(), "000000020000000100000002");
        assert_eq!(Segment::of(1, Lsn(1 << 32), 1 << 30).number(1 << 30), 4);
    }
}
