//! The members of a bundle, read once from front to back (steps 1 to 3 and 6 of docs/reference/bundle.md).

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use edgesentry_chain::{AuditRecord, Finding, FindingCode, Hash, Location, SLICE_RECORDS};
use edgesentry_log::{
    BLOCK_BYTES, BundleFile, BundleManifest, FileDigest, LeafItems, LeafWalk, MANIFEST_NAME,
    MAX_MANIFEST_BYTES, manifest_bytes, member_header, padding_bytes,
};

use crate::error::Error;
use crate::progress::Progress;
use crate::read::{Chunk, ChunkReader, Malformed};

/// Bytes read at a time.
const READ_BYTES: u64 = 256 << 10;
/// The zero bytes at the end of a bundle.
const END_BYTES: usize = 2 * BLOCK_BYTES;

/// The end of a verification before its report.
pub(super) enum Stop {
    /// The file is not a bundle: the one finding of the report.
    Malformed(Box<Finding>),
    /// The file cannot be read.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Reads members in the order of the manifest, and compares their digests.
pub(super) struct Members {
    name: Arc<str>,
    reader: Box<dyn Read + Send>,
    progress: Arc<Progress>,
    /// The findings of members whose digest differs.
    pub(super) differing: Vec<Finding>,
    current: Option<Current>,
}

/// The member under reading.
struct Current {
    file: BundleFile,
    /// Bytes of the content not read yet.
    remaining: u64,
    digest: FileDigest,
}

impl Members {
    pub(super) fn new(name: Arc<str>, reader: Box<dyn Read + Send>, progress: &Arc<Progress>) -> Members {
        let progress = Arc::clone(progress);
        Members { name, reader, progress, differing: Vec::new(), current: None }
    }

    /// Returns the name of a member in findings.
    pub(super) fn name_of(&self, file: &str) -> Arc<str> {
        format!("{}/{file}", self.name).into()
    }

    /// Returns the finding of a malformed file; without a name, of the bundle itself.
    pub(super) fn finding(&self, file: Option<&str>, expected: &str, actual: impl Into<String>) -> Finding {
        let mut finding = Finding::new(FindingCode::BundleMalformed, expected, actual);
        let input = file.map_or_else(|| Arc::clone(&self.name), |file| self.name_of(file));
        finding.location = Some(Location { input, record: 0 });
        finding
    }

    pub(super) fn malformed(&self, file: &str, expected: &str, actual: impl Into<String>) -> Stop {
        Stop::Malformed(Box::new(self.finding(Some(file), expected, actual)))
    }

    /// Reads the manifest.
    pub(super) fn manifest(&mut self) -> Result<BundleManifest, Stop> {
        let mut header = [0; BLOCK_BYTES];
        self.fill(&mut header, MANIFEST_NAME)?;
        let bytes = manifest_bytes(&header).filter(|bytes| *bytes <= MAX_MANIFEST_BYTES as u64);
        let Some(bytes) = bytes else {
            let expected = "the header of a bundle that begins with its manifest";
            return Err(self.malformed(MANIFEST_NAME, expected, "other bytes"));
        };
        let mut content = Vec::new();
        self.take(bytes, &mut content, MANIFEST_NAME)?;
        let manifest = BundleManifest::parse(&content);
        let manifest = manifest
            .map_err(|error| self.malformed(MANIFEST_NAME, "the manifest of a bundle", error.to_string()))?;
        self.padding(bytes, MANIFEST_NAME)?;
        Ok(manifest)
    }

    /// Reads the header of the next member.
    pub(super) fn begin(&mut self, file: &BundleFile) -> Result<(), Stop> {
        let mut header = [0; BLOCK_BYTES];
        self.fill(&mut header, &file.name)?;
        if header != member_header(&file.name, file.bytes) {
            let expected = "the header for the name and size in the manifest";
            return Err(self.malformed(&file.name, expected, "other bytes"));
        }
        let (file, remaining) = (file.clone(), file.bytes);
        self.current = Some(Current { file, remaining, digest: FileDigest::default() });
        Ok(())
    }

    /// Appends bytes of the member to `buffer`. Returns their number, 0 at the end of the content.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> Result<usize, Stop> {
        let Some(Current { file, remaining, .. }) = &self.current else { return Ok(0) };
        let (name, bytes) = (file.name.clone(), READ_BYTES.min(*remaining));
        let start = buffer.len();
        self.take(bytes, buffer, &name)?;
        if let Some(current) = &mut self.current {
            current.remaining -= bytes;
            current.digest.update(&buffer[start..]);
        }
        Ok(buffer.len() - start)
    }

    /// Reads the whole content of a small member.
    pub(super) fn content(&mut self, file: &BundleFile) -> Result<Vec<u8>, Stop> {
        self.begin(file)?;
        let mut content = Vec::new();
        while self.read(&mut content)? > 0 {}
        Ok(content)
    }

    /// Reads the padding of the member, and compares its digest.
    pub(super) fn end(&mut self) -> Result<(), Stop> {
        let Some(Current { file, digest, .. }) = self.current.take() else { return Ok(()) };
        self.padding(file.bytes, &file.name)?;
        if digest.finish() != file.sha256 {
            let expected = "content with the SHA-256 in the manifest";
            self.differing.push(self.finding(Some(&file.name), expected, "content with another one"));
        }
        Ok(())
    }

    /// Reads the end of the bundle.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        let mut end = Vec::new();
        let read = self.reader.by_ref().take(END_BYTES as u64 + 1).read_to_end(&mut end);
        read.map_err(|source| Error::reading(&self.name, source))?;
        self.progress.add_bytes(end.len() as u64);
        if end == [0; END_BYTES] {
            return Ok(());
        }
        let expected = "two blocks of zero bytes and the end of the file";
        let finding = self.finding(None, expected, "other bytes after the last member");
        Err(Stop::Malformed(Box::new(finding)))
    }

    fn padding(&mut self, bytes: u64, file: &str) -> Result<(), Stop> {
        let mut padding = Vec::new();
        self.take(padding_bytes(bytes), &mut padding, file)?;
        if padding.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        Err(self.malformed(file, "padding of zero bytes", "other bytes"))
    }

    fn fill(&mut self, buffer: &mut [u8], file: &str) -> Result<(), Stop> {
        self.progress.add_bytes(buffer.len() as u64);
        self.reader.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.truncated(file),
            _ => Error::reading(&self.name, error).into(),
        })
    }

    /// Appends exactly so many bytes. Memory grows with the bytes that are there, not with those that are announced.
    fn take(&mut self, bytes: u64, buffer: &mut Vec<u8>, file: &str) -> Result<(), Stop> {
        let read = self.reader.by_ref().take(bytes).read_to_end(buffer);
        let read = read.map_err(|source| Error::reading(&self.name, source))?;
        self.progress.add_bytes(read as u64);
        if read as u64 == bytes { Ok(()) } else { Err(self.truncated(file)) }
    }

    /// Returns the stop of a malformed content of the current member.
    fn current(&self, expected: &str, actual: impl Into<String>) -> Stop {
        let file = self.current.as_ref().map(|current| current.file.name.as_str());
        Stop::Malformed(Box::new(self.finding(file, expected, actual)))
    }

    fn truncated(&self, file: &str) -> Stop {
        self.malformed(file, "a whole member", "the end of the file")
    }
}

/// The leaves of a bundle.
pub(super) struct Leaves {
    pub(super) members: Members,
    pub(super) walk: LeafWalk,
    items: LeafItems,
    /// The payloads of the manifest, each with the first record that has it.
    pub(super) payloads: HashMap<Hash, Option<(String, u64)>>,
    /// The bytes of the part that are not parsed, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// Entries so far: records, and those that are malformed.
    entries: u64,
    /// True if the bundle has payloads.
    has_payloads: bool,
    /// An entry after the records of the last chunk.
    next: Option<Malformed>,
    pub(super) malformed: Option<Finding>,
}

impl Leaves {
    pub(super) fn new(
        members: Members,
        walk: LeafWalk,
        items: LeafItems,
        has_payloads: bool,
        payloads: HashMap<Hash, Option<(String, u64)>>,
    ) -> Leaves {
        Leaves {
            members,
            walk,
            items,
            payloads,
            buffer: Vec::new(),
            start: 0,
            entries: 0,
            has_payloads,
            next: None,
            malformed: None,
        }
    }

    /// Returns the next entries of a part; `None` at its end.
    fn next_chunk(&mut self, progress: &Progress) -> Result<Option<Chunk>, Stop> {
        let mut records = Vec::new();
        loop {
            if progress.is_cancelled() {
                return Err(Error::Cancelled.into());
            }
            if self.next.is_none() {
                self.parse(&mut records)?;
            }
            if !records.is_empty() && (self.next.is_some() || records.len() >= 2 * SLICE_RECORDS) {
                return Ok(Some(Chunk::Records(records)));
            }
            if let Some(malformed) = self.next.take() {
                return Ok(Some(Chunk::Malformed(malformed)));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            if self.members.read(&mut self.buffer)? == 0 {
                return self.end_of_part(records);
            }
        }
    }

    /// Parses the items in the buffer, up to a malformed record or the limit of a chunk.
    fn parse(&mut self, records: &mut Vec<AuditRecord>) -> Result<(), Stop> {
        let mut rest = &self.buffer[self.start..];
        while records.len() < 2 * SLICE_RECORDS {
            let item = self.items.next(&mut rest);
            let item = item.map_err(|error| self.members.current("items of leaves", error.to_string()))?;
            let Some(item) = item else { break };
            match self.walk.push(&item) {
                None => {}
                Some(Ok(record)) => {
                    match self.payloads.get_mut(&record.payload_hash) {
                        Some(first @ None) => *first = Some((record.device_id.clone(), record.sequence)),
                        None if self.has_payloads => self.walk.lacks_payload(self.entries, &record),
                        _ => {}
                    }
                    self.entries += 1;
                    records.push(record);
                }
                Some(Err(error)) => {
                    let expected = "the canonical bytes of a record".to_owned();
                    let actual = format!("leaf {}: {error}", self.items.position() - 1);
                    self.entries += 1;
                    self.next = Some(Malformed { expected, actual });
                    break;
                }
            }
        }
        self.start = self.buffer.len() - rest.len();
        Ok(())
    }

    fn end_of_part(&mut self, records: Vec<AuditRecord>) -> Result<Option<Chunk>, Stop> {
        if !self.buffer.is_empty() {
            return Err(self.members.current("whole items", "an item that continues after the part"));
        }
        self.members.end()?;
        Ok((!records.is_empty()).then_some(Chunk::Records(records)))
    }
}

/// Reads one part of the leaves; the parts share their state.
pub(super) struct Part {
    pub(super) leaves: Arc<Mutex<Leaves>>,
    /// The member, until it is begun.
    pub(super) file: Option<BundleFile>,
}

impl ChunkReader for Part {
    fn next_chunk(&mut self, progress: &Progress) -> Result<Option<Chunk>, Error> {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if leaves.malformed.is_some() {
            return Ok(None);
        }
        let begun = self.file.take().map_or(Ok(()), |file| leaves.members.begin(&file));
        match begun.and_then(|()| leaves.next_chunk(progress)) {
            Ok(chunk) => Ok(chunk),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Malformed(finding)) => {
                leaves.malformed = Some(*finding);
                Ok(None)
            }
        }
    }
}
