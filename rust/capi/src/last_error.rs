//! The text of the last failure, one for each thread, in fixed memory.

use std::cell::RefCell;
use std::fmt::{self, Write};

use crate::codes::Status;

/// The longest text, in bytes; a longer one is cut.
const MAX_TEXT_BYTES: usize = 512;

struct Text {
    bytes: [u8; MAX_TEXT_BYTES],
    size: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_TEXT_BYTES - self.size;
        let fitting = text.floor_char_boundary(room);
        self.bytes[self.size..self.size + fitting].copy_from_slice(&text.as_bytes()[..fitting]);
        self.size += fitting;
        // Nothing of the rest follows a cut.
        if fitting < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

thread_local! {
    static LAST: RefCell<Text> = const { RefCell::new(Text { bytes: [0; MAX_TEXT_BYTES], size: 0 }) };
}

/// Keeps the text of a failure, and returns its status.
pub(crate) fn fail(status: Status, text: fmt::Arguments<'_>) -> Status {
    LAST.with_borrow_mut(|last| {
        last.size = 0;
        // The text is cut if it is too long.
        let _ = last.write_fmt(text);
    });
    status
}

/// Forgets the text of an earlier failure.
pub(crate) fn clear() {
    LAST.with_borrow_mut(|last| last.size = 0);
}

/// Passes the text of the last failure.
pub(crate) fn with<R>(read: impl FnOnce(&[u8]) -> R) -> R {
    LAST.with_borrow(|last| read(&last.bytes[..last.size]))
}
