//! stdout as the destination of an export.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::envelope::terminal_safe;
use crate::exit::Failure;

/// Writes raw bytes to a pipe or a file, and lines without control characters to a terminal.
pub(super) struct Stdout {
    /// The beginning of an unfinished line.
    line: Option<Vec<u8>>,
    reader: Reader,
}

/// The reader of stdout.
#[derive(Clone, Default)]
pub(super) struct Reader(Arc<AtomicBool>);

impl Reader {
    /// Returns true if the reader has closed stdout.
    pub(super) fn is_gone(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Stdout {
    /// Opens stdout; rejects anything but text for a terminal.
    pub(super) fn open(is_text: bool) -> Result<(Stdout, Reader), Failure> {
        let is_terminal = io::stdout().is_terminal();
        if is_terminal && !is_text {
            let message =
                "this format is not text for a terminal; redirect stdout to a file, or use --output";
            return Err(Failure::usage("usage", message));
        }
        let reader = Reader::default();
        Ok((Stdout { line: is_terminal.then(Vec::new), reader: reader.clone() }, reader))
    }

    fn hand_on(&self, bytes: &[u8]) -> io::Result<()> {
        let written = io::stdout().lock().write_all(bytes);
        if written.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            self.reader.0.store(true, Relaxed);
        }
        written
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(mut line) = self.line.take() else {
            self.hand_on(bytes)?;
            return Ok(bytes.len());
        };
        line.extend_from_slice(bytes);
        if let Some(end) = line.iter().rposition(|byte| *byte == b'\n') {
            let rest = line.split_off(end + 1);
            self.hand_on(terminal_safe(&String::from_utf8_lossy(&line)).as_bytes())?;
            line = rest;
        }
        self.line = Some(line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(line) = &mut self.line {
            let line = std::mem::take(line);
            self.hand_on(terminal_safe(&String::from_utf8_lossy(&line)).as_bytes())?;
        }
        io::stdout().lock().flush()
    }
}
