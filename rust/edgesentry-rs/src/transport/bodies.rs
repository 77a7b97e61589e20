//! Request bodies: paced, decompressed, in bounded memory, cut into lines.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::io::StreamReader;

/// The slowest that a body may come, on average, after it was waited for during [`GRACE`].
const SLOWEST_BYTES_PER_SECOND: u64 = 256;
const GRACE: Duration = Duration::from_secs(20);
/// The largest window of zstd, 8 MiB, as RFC 8878 recommends.
const ZSTD_WINDOW_LOG: u32 = 23;
/// What a permit of the memory stands for.
const PERMIT_BYTES: usize = 4096;
/// How long a body waits for memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is longer than {0} bytes")]
    TooLong(u64),
    #[error("a batch has at most {0} records; send the rest in another")]
    TooMany(u64),
    #[error("the body came too slowly")]
    TooSlow,
    #[error("Content-Encoding {0:?} is not known here; identity, gzip and zstd are")]
    Encoding(String),
    #[error("the body ended early or cannot be decompressed: {0}")]
    Broken(io::Error),
    #[error("too many bodies are held at once")]
    NoMemory,
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> BodyError {
        match error.kind() {
            io::ErrorKind::TimedOut => BodyError::TooSlow,
            _ => BodyError::Broken(error),
        }
    }
}

/// A body, decompressed.
pub(super) type Reader = Box<dyn AsyncBufRead + Send + Unpin>;

/// The body of a request as `Content-Encoding` says.
pub(super) fn reader(headers: &HeaderMap, body: Body, stall: Duration) -> Result<Reader, BodyError> {
    let encoding = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    let plain = StreamReader::new(Paced::new(body.into_data_stream(), stall));
    Ok(match encoding.map(str::to_ascii_lowercase).as_deref() {
        None | Some("identity" | "") => Box::new(plain),
        Some("gzip" | "x-gzip") => {
            let mut decoder = GzipDecoder::new(plain);
            decoder.multiple_members(true);
            Box::new(BufReader::with_capacity(64 << 10, decoder))
        }
        Some("zstd") => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
            let mut decoder = ZstdDecoder::with_params(plain, &[window]);
            decoder.multiple_members(true);
            Box::new(BufReader::with_capacity(64 << 10, decoder))
        }
        Some(other) => return Err(BodyError::Encoding(other.chars().take(80).collect())),
    })
}

/// The memory that bodies share.
#[derive(Clone)]
pub(super) struct Memory(Arc<Semaphore>);

impl Memory {
    pub(super) fn new(bytes: usize) -> Memory {
        Memory(Arc::new(Semaphore::new(bytes.div_ceil(PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// A whole body of at most `most` bytes, and the memory that it takes.
    pub(super) async fn read(&self, reader: &mut Reader, most: usize) -> Result<Held, BodyError> {
        let mut held = Held { bytes: Vec::new(), permits: None };
        loop {
            let piece = reader.fill_buf().await?;
            if piece.is_empty() {
                return Ok(held);
            }
            let length = held.bytes.len() + piece.len();
            if length > most {
                return Err(BodyError::TooLong(most as u64));
            }
            // Taken as bytes arrive, so that who only announces a large body holds nothing.
            if length > held.room() {
                let wanted = (length - held.room()).div_ceil(PERMIT_BYTES);
                let wanted = u32::try_from(wanted).map_err(|_| BodyError::NoMemory)?;
                let permits = Arc::clone(&self.0).acquire_many_owned(wanted);
                let permits = tokio::time::timeout(PATIENCE, permits).await;
                let permits = permits.ok().and_then(Result::ok).ok_or(BodyError::NoMemory)?;
                match &mut held.permits {
                    Some(held) => held.merge(permits),
                    None => held.permits = Some(permits),
                }
            }
            held.bytes.extend_from_slice(piece);
            let read = piece.len();
            reader.consume(read);
        }
    }
}

/// A body in memory.
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    permits: Option<OwnedSemaphorePermit>,
}

impl Held {
    fn room(&self) -> usize {
        self.permits.as_ref().map_or(0, |permits| permits.num_permits() * PERMIT_BYTES)
    }
}

/// A body cut into lines, of which none may be too long, nor all together.
pub(super) struct Lines {
    reader: Reader,
    longest: usize,
    left: u64,
    most: u64,
    begun: Vec<u8>,
}

impl Lines {
    pub(super) fn new(reader: Reader, longest: usize, most: u64) -> Lines {
        Lines { reader, longest, left: most, most, begun: Vec::new() }
    }

    /// The next line without its end; `None` at the end of the body. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, BodyError> {
        loop {
            let piece = self.reader.fill_buf().await?;
            if piece.is_empty() {
                return Ok((!self.begun.is_empty()).then(|| std::mem::take(&mut self.begun)));
            }
            let end = memchr::memchr(b'\n', piece);
            let text = &piece[..end.unwrap_or(piece.len())];
            let read = text.len() + usize::from(end.is_some());
            if self.begun.len() + text.len() > self.longest {
                return Err(BodyError::TooLong(self.longest as u64));
            }
            self.left = self.left.checked_sub(read as u64).ok_or(BodyError::TooLong(self.most))?;
            self.begun.extend_from_slice(text);
            self.reader.consume(read);
            if end.is_some() {
                return Ok(Some(std::mem::take(&mut self.begun)));
            }
        }
    }
}

/// A body that may neither stand still nor crawl.
struct Paced {
    body: BodyDataStream,
    stall: Duration,
    bytes: u64,
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Paced {
    fn new(body: BodyDataStream, stall: Duration) -> Paced {
        Paced { body, stall, bytes: 0, waited: Duration::ZERO, waiting: None }
    }
}

impl Stream for Paced {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self.body.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(piece))) => {
                // Only the time that the sender takes counts, not that of our own stores.
                if let Some((since, _)) = self.waiting.take() {
                    self.waited += since.elapsed();
                }
                self.bytes += piece.len() as u64;
                let least = self.waited.saturating_sub(GRACE).as_secs() * SLOWEST_BYTES_PER_SECOND;
                Poll::Ready(Some(if self.bytes < least { Err(too_slow()) } else { Ok(piece) }))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let stall = self.stall;
                let begin = || (Instant::now(), Box::pin(sleep(stall)));
                match self.waiting.get_or_insert_with(begin).1.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(too_slow()))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the body came too slowly")
}
