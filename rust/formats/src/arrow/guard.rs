//! Contains panics of third-party decoders, which damaged files trigger.

use std::cell::Cell;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use crate::Error;

thread_local! {
    /// Set while this thread decodes. A panic is then caught and prints no message.
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

static QUIET_HOOK: Once = Once::new();

/// Runs a decoder on untrusted input. Its errors and panics both mean that the input is damaged; neither prints
/// anything.
pub(super) fn caught<T>(
    name: &Arc<str>,
    format: &str,
    decode: impl FnOnce() -> Result<T, Problem>,
) -> Result<T, Error> {
    QUIET_HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !DECODING.get() {
                loud(info);
            }
        }));
    });
    let before = DECODING.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(decode));
    DECODING.set(before);
    let problem = match outcome {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(Problem::Said(problem))) => problem,
        Ok(Err(Problem::Io(source))) => return Err(Error::reading(name, source)),
        Ok(Err(Problem::Decoder(detail))) => damaged(format, &detail),
        Err(_) => damaged(format, "its parts contradict each other"),
    };
    Err(Error::Unreadable { name: name.clone(), problem })
}

fn damaged(format: &str, mut detail: &str) -> String {
    while let Some(rest) = LABELS.iter().find_map(|label| detail.strip_prefix(label)) {
        detail = rest;
    }
    // Decoders quote input, which may be long.
    let mut detail: String = detail.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    detail.truncate(detail.trim_end_matches(['.', ' ']).len());
    format!("the {format} data is damaged or truncated ({detail}); get an intact copy")
}

/// Labels that decoders put before their messages; they name internal parts.
const LABELS: [&str; 7] = [
    "Parquet argument error: ",
    "Parquet error: ",
    "Arrow: ",
    "External: ",
    "Io error: ",
    "Invalid argument error: ",
    "Ipc error: ",
];

/// The reason why decoding failed.
pub(super) enum Problem {
    /// A message of ours.
    Said(String),
    /// The message of a decoder.
    Decoder(String),
    /// The file could not be read.
    Io(std::io::Error),
}

impl Problem {
    pub(super) fn said(sentence: impl Into<String>) -> Problem {
        Problem::Said(sentence.into())
    }

    pub(super) fn decoder(error: impl Display) -> Problem {
        Problem::Decoder(error.to_string())
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Problem {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Problem::decoder("it ends too early"),
            _ => Problem::Io(error),
        }
    }
}
