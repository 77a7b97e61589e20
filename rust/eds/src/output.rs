//! The output of commands: data to stdout, the rest to stderr.

use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Style};
use edgesentry_chain::escape;
use serde::Serialize;

use crate::envelope;
use crate::exit::{Exit, Failure};
use crate::remarks::remark;
use crate::text::sentence;

const ERROR: Style = AnsiColor::Red.on_default().bold();

/// The output format of this run.
#[derive(Clone)]
pub(crate) struct Output {
    /// The envelope instead of text.
    pub(crate) json: bool,
    /// The command with its subcommand, such as `device list`, once it is known.
    pub(crate) command: Option<String>,
}

/// The results of a command, for both formats.
pub(crate) struct Answer<'a, T> {
    /// Whether everything requested holds.
    pub(crate) ok: bool,
    /// The name of the content in the envelope.
    pub(crate) name: &'a str,
    /// The content of the envelope.
    pub(crate) content: &'a T,
    /// The same for people, with colours.
    pub(crate) text: String,
    /// The failure beside the results.
    pub(crate) failure: Option<Failure>,
}

impl Output {
    /// Writes the results to stdout, and a failure beside them to stderr.
    pub(crate) fn answer<T: Serialize>(&self, answer: &Answer<'_, T>) -> Result<(), Failure> {
        let Answer { ok, name, content, text, failure } = answer;
        if self.json {
            return write(&envelope::result(
                self.command.as_deref(),
                *ok,
                (name, content),
                failure.as_ref(),
            )?);
        }
        write(&escape::lines(text))?;
        if let Some(failure) = failure {
            complain_of(failure);
        }
        Ok(())
    }

    /// Reports why the command failed.
    pub(crate) fn fail(&self, failure: &Failure) -> Exit {
        if self.json {
            let written = envelope::failure(self.command.as_deref(), failure).and_then(|line| write(&line));
            if let Err(failure) = written {
                complain_of(&failure);
            }
        } else {
            complain_of(failure);
        }
        failure.exit
    }

    /// Writes a remark for people.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            remark(&sentence(text));
        }
    }
}

/// Writes to stdout. A closed pipe (`| head`) is not an error: the exit code stays that of the work.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    write_if_read(text).map(|_| ())
}

/// Writes to stdout; false if the pipe is closed.
pub(crate) fn write_if_read(text: &str) -> Result<bool, Failure> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::unfinished("io", format!("cannot write to stdout: {error}"))),
        Ok(()) => Ok(true),
    }
}

/// Writes text to stderr unchanged. Errors are ignored: there is no other channel.
pub(crate) fn write_stderr(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Writes lines to stderr, on which no runner acts. Errors are ignored: there is no other channel.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{}", escape::lines(line));
}

fn complain_of(failure: &Failure) {
    complain(&format!("{ERROR}error:{ERROR:#} {}", sentence(&failure.message)));
}
