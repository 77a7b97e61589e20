//! The progress of a long operation for its caller.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::error::Error;
use crate::process::Process;
use crate::program;

/// A progress event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A step begins.
    Step(&'a str),
    /// Progress of the step in bytes.
    Bytes {
        /// Done.
        done: u64,
        /// The total; 0 if it is unknown.
        total: u64,
    },
    /// Information for the caller.
    Note(&'a str),
}

/// Receives the progress.
pub type Observer<'a> = &'a (dyn Fn(Event<'_>) + Send + Sync);

/// Discards the progress.
pub fn nobody(_: Event<'_>) {}

/// Runs a program to its end with its output in the file `log`, and calls `look` with the end of the log
/// periodically. The program is killed when this is dropped.
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
                let said = words(&process.last_words());
                return Err(failed(if said.is_empty() { status.to_string() } else { said }));
            }
        }
    }
}

/// Returns the output of a program on one line, without its progress.
fn words(said: &str) -> String {
    let lines = said.split(['\r', '\n']).map(str::trim);
    let words: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.contains(" kB (")).collect();
    words.join(" ")
}

/// Runs blocking work on another thread. When dropped, it kills the programs of the work.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let waiting = Waiting::default();
    let given_up = Arc::clone(&waiting.given_up);
    let done = tokio::task::spawn_blocking(|| program::unless(given_up, work)).await;
    done.unwrap_or_else(|error| Err(Error::Config(format!("a worker thread has ended early: {error}"))))
}

/// The caller of the work; dropping it aborts the work.
#[derive(Default)]
struct Waiting {
    given_up: Arc<AtomicBool>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.given_up.store(true, SeqCst);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_no_reason() {
        let said =
            "waiting for checkpoint\r  11824/51377 kB (23%), 0/1 tablespace\npg_basebackup: error: no room\n";
        assert_eq!(words(said), "waiting for checkpoint pg_basebackup: error: no room");
    }

    #[test]
    fn work_that_nobody_waits_for_any_more_ends_its_program() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let started = folder.path().join("started");
        let mut command = Command::new("sh");
        command.args(["-c", "touch $0; exec sleep 600"]).arg(&started);
        runtime.block_on(async {
            let work = blocking(move || program::done(&mut command, Duration::from_secs(600)));
            let is_started = async {
                while !started.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                done = work => panic!("{done:?}"),
                () = is_started => {}
            }
        });
        // Waits for the thread, whose program would run for 10 more minutes.
        drop(runtime);
    }
}
