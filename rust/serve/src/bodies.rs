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
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::io::StreamReader;

use super::identity::SenderKey;
use super::shares::{Pool, Share};

/// The minimum rate of a body. Faster bytes earn credit for at most `stall_seconds`.
const MIN_BYTES_PER_SECOND: u32 = 256;
/// The largest window of zstd, 8 MiB, as RFC 8878 recommends.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Bytes of text that are decompressed at a time.
const TEXT_BYTES: usize = 64 << 10;
/// The memory of a decoder: of gzip its window and tables, of zstd its tables and two blocks of 128 KiB.
const GZIP_BYTES: usize = 64 << 10;
const ZSTD_BYTES: usize = 448 << 10;
/// Memory is reserved in pages, and for the lines of a batch together.
const PAGE_BYTES: usize = 4096;
const LINES_BYTES: usize = 64 << 10;
/// How long a body waits for memory.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is longer than {0} bytes")]
    TooLong(u64),
    #[error("a batch has at most {0} records; send the rest in another batch")]
    TooMany(u64),
    #[error("the body arrived too slowly")]
    TooSlow,
    #[error("unsupported Content-Encoding {0:?}; expected identity, gzip or zstd")]
    Encoding(String),
    #[error("the body ended early or cannot be decompressed: {0}")]
    Broken(io::Error),
    #[error("too many bodies are in memory; send again later")]
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

/// A decompressed body, and the memory of its decoder.
pub(super) struct Reader {
    text: Box<dyn AsyncBufRead + Send + Unpin>,
    decoder: Decoder,
    share: Option<Share>,
    read_bytes: usize,
}

/// The memory of a decoder, without the text that it returns.
#[derive(Clone, Copy, Default)]
struct Decoder {
    /// Its state and its buffers.
    fixed_bytes: usize,
    /// The maximum of returned text that it keeps.
    window_bytes: usize,
}

impl Decoder {
    /// Returns the most memory that it can hold after this much text.
    fn held_bytes(&self, read_bytes: usize) -> usize {
        self.fixed_bytes + read_bytes.min(self.window_bytes).next_multiple_of(TEXT_BYTES)
    }
}

/// Returns the body of a request, decoded as `Content-Encoding` says.
pub(super) fn reader(headers: &HeaderMap, body: Body, stall: Duration) -> Result<Reader, BodyError> {
    let encoding = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    let plain = StreamReader::new(Paced::new(body.into_data_stream(), stall));
    let (text, decoder): (Box<dyn AsyncBufRead + Send + Unpin>, Decoder) =
        match encoding.map(str::to_ascii_lowercase).as_deref() {
            None | Some("identity" | "") => (Box::new(plain), Decoder::default()),
            Some("gzip" | "x-gzip") => {
                let mut decoder = GzipDecoder::new(plain);
                decoder.multiple_members(true);
                let text = BufReader::with_capacity(TEXT_BYTES, decoder);
                (Box::new(text), Decoder { fixed_bytes: TEXT_BYTES + GZIP_BYTES, window_bytes: 0 })
            }
            Some("zstd") => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                let mut decoder = ZstdDecoder::with_params(plain, &[window]);
                decoder.multiple_members(true);
                let text = BufReader::with_capacity(TEXT_BYTES, decoder);
                let window_bytes = 1 << ZSTD_WINDOW_LOG;
                (Box::new(text), Decoder { fixed_bytes: TEXT_BYTES + ZSTD_BYTES, window_bytes })
            }
            Some(other) => return Err(BodyError::Encoding(other.chars().take(80).collect())),
        };
    Ok(Reader { text, decoder, share: None, read_bytes: 0 })
}

impl Reader {
    /// Returns the available text, in memory of `room`; empty at the end. Cancel-safe.
    async fn fill_buf(&mut self, room: &Room) -> Result<&[u8], BodyError> {
        room.grow(&mut self.share, self.decoder.held_bytes(self.read_bytes)).await?;
        Ok(self.text.fill_buf().await?)
    }

    fn consume(&mut self, bytes: usize) {
        self.read_bytes = self.read_bytes.saturating_add(bytes);
        self.text.consume(bytes);
    }
}

/// The memory that the bodies of a sender hold.
#[derive(Clone)]
pub(super) struct Room {
    pool: Arc<Pool>,
    sender: SenderKey,
}

impl Room {
    pub(super) fn new(pool: &Arc<Pool>, sender: SenderKey) -> Room {
        Room { pool: Arc::clone(pool), sender }
    }

    /// Grows a share, or creates it, to this size.
    async fn grow(&self, share: &mut Option<Share>, bytes: usize) -> Result<(), BodyError> {
        let there = share.as_ref().map_or(0, Share::amount);
        if bytes <= there {
            return Ok(());
        }
        let wanted = (bytes - there).next_multiple_of(PAGE_BYTES);
        let more = self.pool.take(self.sender, wanted, MEMORY_TIMEOUT).await.ok_or(BodyError::NoMemory)?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }

    /// Reads a whole body of at most `most` bytes, and reserves its memory.
    pub(super) async fn read(&self, mut reader: Reader, most: usize) -> Result<Held, BodyError> {
        let mut held = Held { bytes: Vec::new(), share: None };
        loop {
            let piece = reader.fill_buf(self).await?;
            if piece.is_empty() {
                return Ok(held);
            }
            let length = held.bytes.len() + piece.len();
            if length > most {
                return Err(BodyError::TooLong(most as u64));
            }
            // Reserved as bytes arrive: an announced length reserves nothing.
            if length > held.bytes.capacity() {
                let room = length.max(held.bytes.len() + held.bytes.len() / 8).min(most);
                self.grow(&mut held.share, room).await?;
                held.bytes.reserve_exact(room - held.bytes.len());
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
    share: Option<Share>,
}

impl Held {
    /// Returns the bytes, and their memory.
    pub(super) fn into_parts(self) -> (Vec<u8>, Option<Share>) {
        (self.bytes, self.share)
    }
}

/// A body split into lines; the length of each line and of the body is limited.
pub(super) struct Lines {
    reader: Reader,
    room: Room,
    longest: usize,
    left: u64,
    most: u64,
    begun: Vec<u8>,
    /// Memory of the current line, and of later ones.
    share: Option<Share>,
}

/// A line without its end, and its memory.
pub(super) struct Line {
    pub(super) text: Vec<u8>,
    pub(super) share: Option<Share>,
}

impl Lines {
    pub(super) fn new(reader: Reader, room: Room, longest: usize, most: u64) -> Lines {
        Lines { reader, room, longest, left: most, most, begun: Vec::new(), share: None }
    }

    /// Returns the next line; `None` at the end of the body. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, BodyError> {
        loop {
            let piece = self.reader.fill_buf(&self.room).await?;
            if piece.is_empty() {
                return Ok((!self.begun.is_empty()).then(|| self.line()));
            }
            let end = memchr::memchr(b'\n', piece);
            let text = &piece[..end.unwrap_or(piece.len())];
            let read = text.len() + usize::from(end.is_some());
            let length = self.begun.len() + text.len();
            if length > self.longest {
                return Err(BodyError::TooLong(self.longest as u64));
            }
            self.left.checked_sub(read as u64).ok_or(BodyError::TooLong(self.most))?;
            if length > self.share.as_ref().map_or(0, Share::amount) {
                self.room.grow(&mut self.share, length.max(LINES_BYTES)).await?;
            }
            self.left -= read as u64;
            self.begun.extend_from_slice(text);
            self.reader.consume(read);
            if end.is_some() {
                return Ok(Some(self.line()));
            }
        }
    }

    fn line(&mut self) -> Line {
        let text = std::mem::take(&mut self.begun);
        let share = self.share.as_mut().map(|share| share.split(text.len()));
        Line { text, share }
    }
}

/// A body with a minimum rate: waiting for it uses up time, and each byte earns some back.
struct Paced {
    body: BodyDataStream,
    stall: Duration,
    /// The time left for waiting.
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Paced {
    fn new(body: BodyDataStream, stall: Duration) -> Paced {
        Paced { body, stall, left: stall, waiting: None }
    }
}

impl Stream for Paced {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self.body.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(piece))) => {
                // Only the sender's time counts, not that of the stores.
                if let Some((since, _)) = self.waiting.take() {
                    self.left = self.left.saturating_sub(since.elapsed());
                }
                let bytes = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                let earned = Duration::from_secs(bytes.into()) / MIN_BYTES_PER_SECOND;
                self.left = self.stall.min(self.left + earned);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let left = self.left;
                let begin = || (Instant::now(), Box::pin(sleep(left)));
                match self.waiting.get_or_insert_with(begin).1.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(too_slow()))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the body arrived too slowly")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of pieces that arrive after pauses, and then stalls for ever.
    fn body(pieces: Vec<(Duration, usize)>) -> Body {
        let pieces = futures::stream::iter(pieces).then(|(pause, bytes)| async move {
            sleep(pause).await;
            Ok::<_, io::Error>(Bytes::from(vec![b'x'; bytes]))
        });
        Body::from_stream(pieces.chain(futures::stream::pending()))
    }

    async fn taken(pieces: Vec<(Duration, usize)>) -> usize {
        let mut paced = Paced::new(body(pieces).into_data_stream(), Duration::from_secs(2));
        let mut taken = 0;
        loop {
            match paced.next().await.unwrap() {
                Ok(piece) => taken += piece.len(),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return taken;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_came_fast_must_not_crawl_afterwards() {
        let crawling = |first: usize| {
            let mut pieces = vec![(Duration::ZERO, first)];
            pieces.extend(std::iter::repeat_n((Duration::from_millis(300), 1), 1000));
            pieces
        };
        // Regardless of the bytes before: a body that crawls after them gets little time.
        let crawled = [16 << 20, 1].map(|first| async move { taken(crawling(first)).await - first });
        for crawled in futures::future::join_all(crawled).await {
            assert!(crawled < 100, "{crawled}");
        }
        // A slow line stays above the minimum rate.
        assert_eq!(taken(vec![(Duration::from_millis(10), 300); 100]).await, 30_000);
    }
}
