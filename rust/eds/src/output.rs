//! Where the command writes: data to stdout, the rest to stderr.

use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Style};
use edgesentry_chain::escape;
use serde::Serialize;

use crate::envelope;
use crate::exit::{Exit, Failure};
use crate::text::sentence;

const ERROR: Style = AnsiColor::Red.on_default().bold();

/// How this run answers.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    /// The envelope instead of text.
    pub(crate) json: bool,
    /// The command, once it is known.
    pub(crate) command: Option<&'static str>,
}

/// What a command has found out, for both forms of answer.
pub(crate) struct Answer<'a, T> {
    /// Whether everything that was asked holds.
    pub(crate) ok: bool,
    /// The name of the content in the envelope.
    pub(crate) name: &'a str,
    /// What the envelope carries.
    pub(crate) content: &'a T,
    /// The same for people, with colours.
    pub(crate) text: String,
    /// What went wrong beside it.
    pub(crate) failure: Option<Failure>,
}

impl Output {
    /// Writes the answer to stdout, and a failure beside it to stderr.
    pub(crate) fn answer<T: Serialize>(&self, answer: &Answer<'_, T>) -> Result<(), Failure> {
        let Answer { ok, name, content, text, failure } = answer;
        if self.json {
            return write(&envelope::result(self.command, *ok, (name, content), failure.as_ref())?);
        }
        write(&escape::lines(text))?;
        if let Some(failure) = failure {
            complain_of(failure);
        }
        Ok(())
    }

    /// Says why the job could not be done.
    pub(crate) fn fail(&self, failure: &Failure) -> Exit {
        if self.json {
            let written = envelope::failure(self.command, failure).and_then(|line| write(&line));
            if let Err(failure) = written {
                complain_of(&failure);
            }
        } else {
            complain_of(failure);
        }
        failure.exit
    }

    /// A remark for people.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            complain(&sentence(text));
        }
    }
}

/// Writes to stdout. A reader that has gone away (`| head`) is no failure: the exit code stays that of the work.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::unfinished("io", format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes text to stderr as it is. Where that fails there is nobody left to tell.
pub(crate) fn write_stderr(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Writes lines to stderr, on which no runner acts. Where that fails there is nobody left to tell.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{}", escape::lines(line));
}

fn complain_of(failure: &Failure) {
    complain(&format!("{ERROR}error:{ERROR:#} {}", sentence(&failure.message)));
}
