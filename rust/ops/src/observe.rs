//! What a long operation tells whoever waits for it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::error::Error;
use crate::servers::Process;

/// Something that has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A step begins.
    Step(&'a str),
    /// So many bytes of the step are done.
    Bytes {
        /// Done.
        done: u64,
        /// Of all; 0 where that is not known.
        total: u64,
    },
    /// Something that whoever waits should know.
    Note(&'a str),
}

/// Whoever waits.
pub type Observer<'a> = &'a (dyn Fn(Event<'_>) + Send + Sync);

/// Nobody.
pub fn nobody(_: Event<'_>) {}

/// Runs a program to its end, its output in the file `log`; `look` sees the end of that again and again. Dropped, it is
/// killed.
pub(crate) async fn run(command: &mut Command, log: &Path, mut look: impl FnMut(&str)) -> Result<(), Error> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let program = program.to_string_lossy().into_owned();
    let failed = |said: String| Error::Program { program: program.clone(), said };
    let mut process = Process::start(command, log).map_err(|error| failed(error.to_string()))?;
    loop {
        let ended = process.ended().map_err(|error| failed(error.to_string()))?;
        match ended {
            None => {
                look(&process.last_words());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                let said = process.last_words();
                return Err(failed(if said.is_empty() { status.to_string() } else { said }));
            }
        }
    }
}

/// Does work that blocks beside everything else.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::Config(format!("a worker thread has ended early: {error}"))))
}
