//! An object, read in blocks that are requested ahead.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use edgesentry_formats::Source;

use super::{Bucket, Listed};
use crate::s3::{self, BodyError};

/// The size of a block, which is one request.
const BLOCK_BYTES: u64 = 2 << 20;
/// Blocks requested behind the one that is read. Parquet reads seven columns side by side.
const AHEAD: u64 = 2;
/// Maximum number of blocks in memory: seven columns with their blocks ahead, and some to spare.
const MAX_BLOCKS: usize = 32;

pub(super) struct Object {
    bucket: Arc<Bucket>,
    listed: Arc<Listed>,
    position: u64,
    blocks: BTreeMap<u64, Block>,
    /// Counts uses of blocks.
    uses: u64,
}

struct Block {
    content: Content,
    last_use: u64,
}

enum Content {
    /// It is on its way.
    Requested(Receiver<io::Result<Bytes>>),
    Here(Bytes),
}

impl Object {
    /// Returns the object as a source.
    pub(super) fn source(bucket: &Arc<Bucket>, listed: Listed) -> Source {
        let modified = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(listed.modified_ms));
        let (name, bytes) = (format!("s3://{}/{}", bucket.name, listed.key), listed.bytes);
        let object = Object {
            bucket: Arc::clone(bucket),
            listed: Arc::new(listed),
            position: 0,
            blocks: BTreeMap::new(),
            uses: 0,
        };
        Source::Ranges { name: name.into(), ranges: Box::new(object), bytes, modified }
    }

    /// Returns a block, and requests those behind it.
    fn block(&mut self, index: u64) -> io::Result<&Bytes> {
        let wanted = index..=index + AHEAD;
        for index in wanted.clone() {
            let start = index * BLOCK_BYTES;
            if start < self.listed.bytes && !self.blocks.contains_key(&index) {
                self.make_room(|index| wanted.contains(&index));
                let range = start..self.listed.bytes.min(start + BLOCK_BYTES);
                let block = Block { content: self.request(range), last_use: self.uses };
                self.blocks.insert(index, block);
            }
        }
        self.uses += 1;
        let missing = || io::Error::other("a block of an object was not requested");
        let block = self.blocks.get_mut(&index).ok_or_else(missing)?;
        block.last_use = self.uses;
        if let Content::Requested(answer) = &block.content {
            let answer = answer.recv().unwrap_or_else(|_| Err(io::Error::other("the transfer was stopped")));
            match answer {
                Ok(bytes) => block.content = Content::Here(bytes),
                Err(error) => {
                    self.blocks.remove(&index);
                    return Err(error);
                }
            }
        }
        match self.blocks.get(&index).map(|block| &block.content) {
            Some(Content::Here(bytes)) => Ok(bytes),
            _ => Err(missing()),
        }
    }

    /// Drops the block that was used least recently, except those that are required.
    fn make_room(&mut self, is_wanted: impl Fn(u64) -> bool) {
        if self.blocks.len() < MAX_BLOCKS {
            return;
        }
        let others = self.blocks.iter().filter(|(index, _)| !is_wanted(**index));
        if let Some(index) = others.min_by_key(|(_, block)| block.last_use).map(|(index, _)| *index) {
            self.blocks.remove(&index);
        }
    }

    fn request(&self, range: Range<u64>) -> Content {
        let (sender, answer) = sync_channel(1);
        let (bucket, listed) = (Arc::clone(&self.bucket), Arc::clone(&self.listed));
        // Its own handles: the task must not keep the runtime that runs it.
        let (client, name, attempts) = (bucket.client.clone(), bucket.name.clone(), bucket.attempts);
        bucket.runtime.spawn(async move {
            let _ = sender.send(fetch(&client, &name, &listed, range, attempts).await);
        });
        Content::Requested(answer)
    }
}

/// Reads a range of an object that is still the listed one.
async fn fetch(
    client: &aws_sdk_s3::Client,
    bucket: &str,
    listed: &Listed,
    range: Range<u64>,
    attempts: u32,
) -> io::Result<Bytes> {
    let length = range.end - range.start;
    let mut attempt = 1;
    loop {
        let get = client.get_object().bucket(bucket).key(&listed.key).if_match(&listed.etag);
        let object = match get.range(format!("bytes={}-{}", range.start, range.end - 1)).send().await {
            Ok(object) => object,
            Err(error) => {
                let status = error.raw_response().map(|response| response.status().as_u16());
                return Err(match status {
                    Some(404 | 412 | 416) => changed(),
                    _ => io::Error::other(s3::reason(error).1),
                });
            }
        };
        // Some servers list it without quotes.
        let bare = |etag: &str| etag.trim_matches('"').to_owned();
        if object.e_tag().map(bare) != Some(bare(&listed.etag)) {
            return Err(changed());
        }
        let problem = match s3::body(object, length).await {
            Ok(bytes) if bytes.len() as u64 == length => return Ok(bytes),
            Ok(bytes) => format!("{} bytes came of {length}", bytes.len()).into(),
            Err(BodyError::TooLarge(_)) => {
                return Err(io::Error::other("the server ignores ranges; copy the object to a file first"));
            }
            Err(BodyError::Broken(error)) => error,
        };
        // The client has repeated failed requests, but not transfers that broke off.
        if attempt >= attempts {
            return Err(io::Error::other(problem));
        }
        attempt += 1;
    }
}

fn changed() -> io::Error {
    io::Error::other(
        "the object was replaced or deleted while it was read; verify it again when no program writes there",
    )
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.listed.bytes || buffer.is_empty() {
            return Ok(0);
        }
        let (index, start) = (self.position / BLOCK_BYTES, (self.position % BLOCK_BYTES) as usize);
        let bytes = self.block(index)?.get(start..).unwrap_or_default();
        let size = bytes.len().min(buffer.len());
        buffer[..size].copy_from_slice(&bytes[..size]);
        self.position += size as u64;
        Ok(size)
    }
}

impl Seek for Object {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.listed.bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the first byte");
        self.position = position.ok_or_else(invalid)?;
        Ok(self.position)
    }
}
