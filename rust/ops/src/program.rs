//! External programs that run to their end, or until their work is given up.

use std::cell::RefCell;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::guard::Guarded;

/// The interval of checking whether a program has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

thread_local! {
    /// Set to true when the work of this thread is given up; `None` if it cannot be given up.
    static GIVEN_UP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Does work whose programs are killed once `given_up` is set.
pub(crate) fn unless<T>(given_up: Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    let before = GIVEN_UP.replace(Some(given_up));
    let done = work();
    GIVEN_UP.set(before);
    done
}

fn is_given_up() -> bool {
    GIVEN_UP.with_borrow(|given_up| given_up.as_ref().is_some_and(|given_up| given_up.load(SeqCst)))
}

/// The result of a program.
#[derive(Debug)]
pub struct Ended {
    /// The exit status.
    pub status: ExitStatus,
    /// The content of stdout.
    pub stdout: String,
    /// The content of stderr.
    pub stderr: String,
}

impl Ended {
    /// Returns its error message on one line, or its exit status if there is none.
    pub(crate) fn said(&self) -> String {
        let lines: Vec<&str> = self.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() { self.status.to_string() } else { lines.join(" ") }
    }
}

/// For work on a whole database of any size.
pub(crate) const NO_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Runs a program to its end; kills it and returns an error if it exceeds the timeout.
///
/// # Errors
/// [`Error::Program`] if it cannot be started or exceeds the timeout. Its exit status is part of the result.
pub fn run(command: &mut Command, patience: Duration) -> Result<Ended, Error> {
    let program = name(command);
    let started = start(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    let guarded =
        started.map_err(|error| Error::Program { program: program.clone(), said: error.to_string() })?;
    finish(&program, guarded, patience)
}

/// Starts a program whose stdin and stdout are set, for [`finish`]. It ends with this process.
pub(crate) fn start(command: &mut Command) -> std::io::Result<Guarded> {
    Guarded::start(command.stderr(Stdio::piped()))
}

/// Waits for the end of a program; kills it and returns an error if it exceeds the timeout.
pub(crate) fn finish(program: &str, mut guarded: Guarded, patience: Duration) -> Result<Ended, Error> {
    let failed = |said: String| Error::Program { program: program.to_owned(), said };
    let stdout = guarded.child.stdout.take().map(reader);
    let stderr = guarded.child.stderr.take().map(reader);
    let status = wait(&mut guarded.child, patience).map_err(|error| failed(error.to_string()))?;
    // Its children hold the pipes, too.
    drop(guarded);
    let (stdout, stderr) = (text(stdout), text(stderr));
    let late = || match is_given_up() {
        true => failed("it was stopped, because the caller stopped waiting".to_owned()),
        false => failed(format!("timed out after {} s; {}", patience.as_secs(), stderr.trim())),
    };
    Ok(Ended { status: status.ok_or_else(late)?, stdout, stderr })
}

/// Like [`run`], but returns stdout, and an error unless the program succeeds.
///
/// # Errors
/// [`Error::Program`] also if the program fails.
pub fn done(command: &mut Command, patience: Duration) -> Result<String, Error> {
    let ended = run(command, patience)?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    Err(Error::Program { program: name(command), said: ended.said() })
}

/// Waits for the end of a program, until the timeout or until the work is given up.
pub(crate) fn wait(child: &mut Child, patience: Duration) -> std::io::Result<Option<ExitStatus>> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begin.elapsed() >= patience || is_given_up() {
            return Ok(None);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn name(command: &Command) -> String {
    let path = std::path::Path::new(command.get_program());
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // The bytes before an error are still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn text(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> Result<String, Error> {
        done(Command::new("sh").args(["-c", script]), patience)
    }

    #[test]
    fn a_program_succeeds_or_its_error_has_the_reason() {
        assert_eq!(shell("echo yes", Duration::from_secs(60)).unwrap(), "yes\n");
        let error = shell("echo no >&2; exit 3", Duration::from_secs(60)).unwrap_err();
        assert_eq!(error.to_string(), "sh failed: no");
        let error = shell("exec sleep 600", Duration::ZERO).unwrap_err();
        assert!(error.to_string().starts_with("sh failed: timed out after 0 s"), "{error}");
    }
}
