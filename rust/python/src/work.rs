//! Work on a separate thread, while the calling thread handles Ctrl-C, shows progress, and reads from Python objects
//! for the worker.
//!
//! The worker never touches Python: it requests data of a Python iterable or file object, and the calling thread
//! fetches it. So objects bound to a thread, such as a database cursor, just work, an exception that they raise reaches
//! the caller unchanged, and a worker abandoned after Ctrl-C owns all data that it still uses.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use edgesentry_chain::AuditRecord;
use edgesentry_formats::{Error as FormatError, Progress, Source, thread_count};
use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyIterator;
use rayon::ThreadPoolBuilder;

use crate::errors::{EdgesentryError, failure};
use crate::progress::Bar;
use crate::record::record_from_any;
use crate::source::Input;

/// The interval at which the calling thread checks for signals.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The time limit for a worker to clean up after an error.
const CLEAN_UP_TIMEOUT: Duration = Duration::from_secs(5);
/// The same after Ctrl-C; with one POLL_INTERVAL it stays within the 200 ms limit for handling Ctrl-C.
const INTERRUPTED_CLEAN_UP_TIMEOUT: Duration = Duration::from_millis(100);
/// Bytes requested from a file object at a time.
const READ_BYTES: usize = 1 << 20;
/// Records requested from an iterable at a time.
const READ_RECORDS: usize = 1024;
/// Number of responses that the worker requests ahead.
const MAX_AHEAD: usize = 2;
/// Number of results that may be queued; the worker pauses until there is room.
const MAX_WAITING: usize = 2;

/// A message of the worker.
enum Event<T> {
    /// The worker needs the next piece of the Python object.
    Wanted,
    /// A result.
    Item(T),
    /// There are no more results.
    End(Result<(), FormatError>),
}

/// Running work that yields results of type T.
pub(crate) struct Work<T> {
    events: Receiver<Event<T>>,
    /// The Python object that the worker reads from, if any.
    feed: Option<Feed>,
    /// One permit for each queued result.
    permits: Receiver<()>,
    progress: Arc<Progress>,
}

/// The sink of the worker for its results.
pub(crate) struct Results<T> {
    events: Sender<Event<T>>,
    permits: SyncSender<()>,
}

impl<T> Results<T> {
    /// Passes a result on, once there is room for it. Returns an error if the receiver is gone.
    pub(crate) fn put(&self, result: T) -> Result<(), FormatError> {
        self.permits.send(()).map_err(|_| FormatError::Cancelled)?;
        self.events.send(Event::Item(result)).map_err(|_| FormatError::Cancelled)
    }
}

impl<T: Send + 'static> Work<T> {
    /// Starts a thread that runs `work` on the inputs.
    pub(crate) fn start<F>(inputs: Vec<Input>, work: F) -> PyResult<Work<T>>
    where
        F: FnOnce(Vec<Source>, &Arc<Progress>, &Results<T>) -> Result<(), FormatError> + Send + 'static,
    {
        let (sender, events) = channel();
        let mut feed = None;
        let mut sources = Vec::with_capacity(inputs.len());
        for input in inputs {
            let asker = sender.clone();
            let ask = Box::new(move || asker.send(Event::Wanted).is_ok());
            sources.push(match input {
                Input::Ready(source) => source,
                Input::PyArrow { name, batches } => Source::Batches { name, batches: Box::new(batches) },
                Input::File { name, read } => {
                    let (answers, pieces) = channel();
                    feed = Some(Feed::File { read, answers });
                    let reader = FedBytes { pieces: Pieces::new(ask, pieces), piece: io::Cursor::default() };
                    Source::Reader { name, reader: Box::new(reader) }
                }
                Input::Records { name, iterator } => {
                    let (answers, pieces) = channel();
                    feed = Some(Feed::Records { iterator, answers, position: 0 });
                    let records =
                        FedRecords { pieces: Pieces::new(ask, pieces), piece: Vec::new().into_iter() };
                    Source::Records { name, records: Box::new(records) }
                }
            });
        }
        let progress = Arc::new(Progress::default());
        let counters = Arc::clone(&progress);
        let (taken, permits) = sync_channel(MAX_WAITING);
        let worker = move || {
            let results = Results { events: sender, permits: taken };
            let end = work(sources, &counters, &results);
            // The receiver is gone after Ctrl-C.
            let _ = results.events.send(Event::End(end));
        };
        thread::Builder::new().name("edgesentry".into()).spawn(worker)?;
        Ok(Work { events, feed, permits, progress })
    }

    /// Returns the counters of the work.
    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Waits for the next result. Returns None at the end. Calls `tick` at least twenty times a second.
    pub(crate) fn next(
        &mut self,
        py: Python<'_>,
        mut tick: impl FnMut(&Progress) -> PyResult<()>,
    ) -> PyResult<Option<T>> {
        loop {
            let events = &mut self.events;
            let event = py.detach(move || events.recv_timeout(POLL_INTERVAL));
            py.check_signals()?;
            tick(&self.progress)?;
            match event {
                Ok(Event::Wanted) => self.fetch(py)?,
                Ok(Event::Item(result)) => {
                    // Its permit was sent before it.
                    let _ = self.permits.try_recv();
                    return Ok(Some(result));
                }
                Ok(Event::End(end)) => return end.map(|()| None).map_err(|error| failure(py, error)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let message = "the worker thread panicked; this is a bug in edgesentry, please report it";
                    return Err(EdgesentryError::new_err(message));
                }
            }
        }
    }

    /// Stops the worker because of an error and gives it time to clean up, so that no half-written file is left when
    /// the error is raised. A worker that hangs, such as in a read of a pipe, is abandoned. Returns the error to raise:
    /// a Ctrl-C during the wait, or the given error.
    pub(crate) fn stop(&mut self, py: Python<'_>, mut error: PyErr) -> PyErr {
        self.progress.cancel();
        self.feed = None;
        let started = Instant::now();
        loop {
            let is_error = error.is_instance_of::<PyException>(py);
            if started.elapsed() >= if is_error { CLEAN_UP_TIMEOUT } else { INTERRUPTED_CLEAN_UP_TIMEOUT } {
                return error;
            }
            let events = &mut self.events;
            match py.detach(move || events.recv_timeout(POLL_INTERVAL)) {
                Ok(Event::End(_)) | Err(RecvTimeoutError::Disconnected) => return error,
                Ok(Event::Item(_)) => {
                    let _ = self.permits.try_recv();
                }
                Ok(Event::Wanted) | Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(interrupt) = py.check_signals() {
                error = interrupt;
            }
        }
    }

    fn fetch(&mut self, py: Python<'_>) -> PyResult<()> {
        match &mut self.feed {
            Some(feed) => feed.fetch(py),
            None => Ok(()),
        }
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.progress.cancel();
    }
}

/// A Python object that the calling thread reads for the worker. An empty response is the end.
enum Feed {
    File { read: Py<PyAny>, answers: Sender<Vec<u8>> },
    Records { iterator: Py<PyIterator>, answers: Sender<Vec<AuditRecord>>, position: u64 },
}

impl Feed {
    fn fetch(&mut self, py: Python<'_>) -> PyResult<()> {
        // A worker that has ended receives no response, and its last event reports this.
        match self {
            Feed::File { read, answers } => {
                let piece = read.bind(py).call1((READ_BYTES,))?;
                let bytes = piece.extract::<PyBackedBytes>().map_err(|_| not_bytes(&piece))?;
                let _ = answers.send(bytes.to_vec());
            }
            Feed::Records { iterator, answers, position } => {
                let mut records = Vec::with_capacity(READ_RECORDS);
                for item in iterator.bind(py).clone().take(READ_RECORDS) {
                    records.push(record_from_any(&item?).map_err(|error| at_position(py, error, *position))?);
                    *position += 1;
                }
                let _ = answers.send(records);
            }
        }
        Ok(())
    }
}

fn not_bytes(piece: &Bound<'_, PyAny>) -> PyErr {
    let kind = piece.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string());
    PyTypeError::new_err(format!("read() of the file object gives {kind}, not bytes; open it in binary mode"))
}

/// Returns the same exception, with the position of the record as prefix.
fn at_position(py: Python<'_>, error: PyErr, position: u64) -> PyErr {
    let message = format!("record {position} of the iterable: {}", error.value(py));
    let positioned = if error.is_instance_of::<PyTypeError>(py) {
        PyTypeError::new_err(message)
    } else if error.is_instance_of::<PyValueError>(py) {
        PyValueError::new_err(message)
    } else {
        return error;
    };
    positioned.set_cause(py, Some(error));
    positioned
}

/// The worker's end of a feed.
struct Pieces<P> {
    ask: Box<dyn Fn() -> bool + Send>,
    answers: Receiver<P>,
    asked: usize,
    ended: bool,
}

impl<P: Default> Pieces<P> {
    fn new(ask: Box<dyn Fn() -> bool + Send>, answers: Receiver<P>) -> Pieces<P> {
        Pieces { ask, answers, asked: 0, ended: false }
    }

    /// Returns the next piece; an empty one at the end.
    fn next(&mut self, is_empty: impl Fn(&P) -> bool) -> io::Result<P> {
        if self.ended {
            return Ok(P::default());
        }
        while self.asked < MAX_AHEAD {
            if !(self.ask)() {
                return Err(gone());
            }
            self.asked += 1;
        }
        let piece = self.answers.recv().map_err(|_| gone())?;
        self.asked -= 1;
        self.ended = is_empty(&piece);
        Ok(piece)
    }
}

fn gone() -> io::Error {
    io::Error::other("the caller has gone away")
}

struct FedBytes {
    pieces: Pieces<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for FedBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.position() == self.piece.get_ref().len() as u64 {
            self.piece = io::Cursor::new(self.pieces.next(Vec::is_empty)?);
        }
        self.piece.read(buffer)
    }
}

struct FedRecords {
    pieces: Pieces<Vec<AuditRecord>>,
    piece: std::vec::IntoIter<AuditRecord>,
}

impl Iterator for FedRecords {
    type Item = Result<AuditRecord, Box<dyn std::error::Error + Send + Sync>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.piece.len() == 0 {
            match self.pieces.next(Vec::is_empty) {
                Ok(piece) => self.piece = piece.into_iter(),
                Err(error) => return Some(Err(error.into())),
            }
        }
        self.piece.next().map(Ok)
    }
}

/// Creates a pool for this call alone: a global pool would not survive a fork.
pub(crate) fn pool(threads: Option<i64>) -> PyResult<rayon::ThreadPool> {
    let threads = match threads {
        None => thread_count(None),
        Some(threads @ 1..=1024) => threads as usize,
        Some(_) => {
            return Err(PyValueError::new_err("threads must be from 1 to 1024, or None for one per core"));
        }
    };
    let named = ThreadPoolBuilder::new().thread_name(|at| format!("edgesentry-{at}"));
    let pool = named.num_threads(threads).build();
    pool.map_err(|error| EdgesentryError::new_err(format!("cannot start threads: {error}")))
}

/// Waits for the single result of the work, and shows its progress.
pub(crate) fn wait<T: Send + 'static>(py: Python<'_>, mut work: Work<T>, mut bar: Bar) -> PyResult<T> {
    let result = work.next(py, |progress| bar.tick(py, progress)).and_then(|result| {
        bar.finish(py, work.progress())?;
        result.ok_or_else(|| EdgesentryError::new_err("the worker ended without a result"))
    });
    result.map_err(|error| {
        // The first exception takes precedence.
        let _ = bar.close(py);
        work.stop(py, error)
    })
}
