//! A server or a long program: watched, signalled, and ended with all its descendants when it is dropped or when this
//! process ends.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::data_folder;
use crate::error::Error;
use crate::guard::Guarded;
use crate::program::wait;

/// A running server; it is killed when this is dropped, and when this process ends for any reason.
#[derive(Debug)]
pub struct Process {
    guarded: Guarded,
    /// The file of its output.
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Process> {
        let file = data_folder::append(log)?;
        let guarded = Guarded::start(command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file))?;
        Ok(Process { guarded, log: log.to_owned() })
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.guarded.child.id()
    }

    /// Returns true if it is still running.
    pub fn lives(&mut self) -> bool {
        matches!(self.guarded.child.try_wait(), Ok(None))
    }

    /// Returns its exit status, or `None` while it runs.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.guarded.child.try_wait()
    }

    /// Releases it from this process; returns its process id.
    pub fn release(self) -> io::Result<u32> {
        self.guarded.release()
    }

    /// Returns the end of its output, for an error message.
    pub fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(2000)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    /// Asks it to end, and kills it if it has not ended in time.
    pub fn stop(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM);
        match wait(&mut self.guarded.child, patience)? {
            Some(status) => Ok(status),
            None => self.kill(),
        }
    }

    /// Waits for its end within a timeout; returns true if it has ended.
    pub fn wait(&mut self, patience: Duration) -> io::Result<bool> {
        Ok(wait(&mut self.guarded.child, patience)?.is_some())
    }

    /// Kills it and all its descendants, as a crash of the machine would (SIGKILL).
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.guarded.kill()
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        self.guarded.signal(signal);
    }
}

/// Returns an unused loopback port.
pub fn free_port() -> io::Result<u16> {
    Ok(free_ports::<1>()?[0])
}

/// Returns unused loopback ports.
///
/// They lie below the range for outgoing connections, so that no such connection takes one before its server does.
pub fn free_ports<const COUNT: usize>() -> io::Result<[u16; COUNT]> {
    const PORTS: std::ops::Range<u16> = 12_000..32_000;
    let mut bound = Vec::with_capacity(COUNT);
    let mut random = RandomState::new().build_hasher();
    for attempt in 0..10_000_u32 {
        random.write_u32(attempt);
        let port = PORTS.start + (random.finish() % u64::from(PORTS.end - PORTS.start)) as u16;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            bound.push((port, listener));
        }
        if bound.len() == COUNT {
            let mut ports = bound.iter().map(|(port, _)| *port);
            return Ok(std::array::from_fn(|_| ports.next().unwrap_or_default()));
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free loopback port"))
}

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
                let said = words(&process.last_words());
                return Err(failed(if said.is_empty() { status.to_string() } else { said }));
            }
        }
    }
}

/// What a program said, on one line and without its progress.
fn words(said: &str) -> String {
    let lines = said.split(['\r', '\n']).map(str::trim);
    let words: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.contains(" kB (")).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_not_part_of_the_error() {
        let said =
            "waiting for checkpoint\r  11824/51377 kB (23%), 0/1 tablespace\npg_basebackup: error: no room\n";
        assert_eq!(words(said), "waiting for checkpoint pg_basebackup: error: no room");
    }

    #[test]
    fn free_ports_are_different_ones() {
        let ports: [u16; 14] = free_ports().unwrap();
        assert_eq!(ports.iter().collect::<std::collections::HashSet<_>>().len(), ports.len());
    }

    #[test]
    fn stopping_a_process_ends_it_and_its_last_words_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo started; exec sleep 60";
        let mut process =
            Process::start(Command::new("sh").args(["-c", script]), &folder.path().join("log")).unwrap();
        while process.last_words().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(process.lives());
        assert!(!process.stop(Duration::from_secs(10)).unwrap().success());
        assert!(!process.lives());
        assert_eq!(process.last_words(), "started");
    }
}
