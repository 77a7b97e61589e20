//! A child process that cannot be forgotten.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::program::wait;

/// A running server; it is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where its output goes.
    log: PathBuf,
}

impl Process {
    /// Starts `command`, its output appended to the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Process> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Process { child, log: log.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended by itself.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it has ended; none while it lives.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Lets it live on by itself.
    pub fn release(self) {
        // Nothing but the handle is lost: the process belongs to itself from now on.
        std::mem::forget(self);
    }

    /// The end of what it wrote, for an error that says why it does not work.
    pub fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(2000)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    /// Asks it to end, and kills it where it has not after `patience`.
    pub fn stop(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM);
        match wait(&mut self.child, patience)? {
            Some(status) => Ok(status),
            None => self.kill(),
        }
    }

    /// Waits at most so long for it to end; whether it has.
    pub fn wait(&mut self, patience: Duration) -> io::Result<bool> {
        Ok(wait(&mut self.child, patience)?.is_some())
    }

    /// Kills it, as a crash would (SIGKILL).
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// Kills it and every process that it has started, as a crash of the machine would: none can do anything more.
    pub fn kill_all(&mut self) -> io::Result<ExitStatus> {
        // It starts no more of them while it is stopped.
        self.signal(Signal::STOP);
        for child in children(self.pid()) {
            let _ = kill_process(child, Signal::KILL);
        }
        self.kill()
    }

    /// Sends a signal; one that has ended hears nothing.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The processes that a process has started itself.
fn children(parent: u32) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |id: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // PID (NAME) STATE PARENT; the name may hold anything.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace());
        fields.and_then(|mut fields| fields.nth(1)?.parse().ok()) == Some(parent)
    };
    ids.filter(is_child).filter_map(Pid::from_raw).collect()
}

/// A loopback port on which nobody listens now.
pub fn free_port() -> io::Result<u16> {
    Ok(free_ports::<1>()?[0])
}

/// So many loopback ports on which nobody listens now.
///
/// They lie below those that systems give to outgoing connections, so that none of these takes one before its server
/// does.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn killing_all_leaves_no_child_behind() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "sleep 600 & echo $!; wait";
        let mut process = Process::start(Command::new("sh").args(["-c", script]), &log).unwrap();
        while process.last_words().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let child = process.last_words();
        assert_eq!(children(process.pid()).len(), 1);
        process.kill_all().unwrap();
        // Orphans are buried by whoever adopts them, which may take a moment.
        let state = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        while !state().is_empty() && !state().contains(") Z") {
            std::thread::sleep(Duration::from_millis(5));
        }
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
