//! External programs that never outlive this process, however it ends: by a signal, a panic, or SIGKILL.
//!
//! Each runs in the process group of a guard, a shell that reads from a pipe whose other end only this process has.
//! When this process ends, the system closes the pipe, and the guard kills the program, all its descendants, and the
//! rest of its group. The program joins the group before it is executed, so that it is never without a guard.
//! `PR_SET_PDEATHSIG` does not suffice: it follows the thread that started a program, not the process, and does not
//! reach the program's children, such as the second process of pg_basebackup.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Reads the process id of the program, then waits for a word that releases the program, or for the end of the pipe.
///
/// It kills the descendants one by one because PostgreSQL's processes leave the group. Each is stopped first, so that
/// it starts no more of them. If another process has the process id by now, that process is not in the group.
const GUARD: &str = r#"
trap '' HUP INT QUIT TERM
end() {
    kill -STOP "$1"
    for child in $(cat /proc/"$1"/task/*/children); do end "$child"; done
    kill -KILL "$1"
}
group_of() {
    read -r stat </proc/"$1"/stat && set -- ${stat##*) } && echo "$3"
}
if read -r program; then
    read -r word && exit 0
    [ "$(group_of "$program")" = $$ ] && end "$program"
fi
kill -KILL 0
"#;

/// A program and its guard. Dropping it kills the program and all its descendants.
#[derive(Debug)]
pub(crate) struct Guarded {
    /// The program.
    pub(crate) child: Child,
    guard: Guard,
}

/// The shell, and the pipe that keeps it waiting.
#[derive(Debug)]
struct Guard {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guarded {
    /// Starts `command` in the process group of a guard of its own.
    pub(crate) fn start(command: &mut Command) -> io::Result<Guarded> {
        let mut guard = Guard::start()?;
        let group = i32::try_from(guard.shell.id()).map_err(io::Error::other)?;
        let child = command.process_group(group).spawn()?;
        // From here on, dropping the guard ends the program.
        let told = guard.tell(&child.id().to_string());
        let guarded = Guarded { child, guard };
        told.map(|()| guarded)
    }

    /// Releases the program from its guard, and returns its process id.
    pub(crate) fn release(mut self) -> io::Result<u32> {
        self.guard.tell("release")?;
        self.guard.shell.wait()?;
        self.guard.pipe = None;
        Ok(self.child.id())
    }

    /// Kills the program and all its descendants, as a crash of the machine would.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            self.guard.kill_group();
            return Ok(status);
        }
        self.guard.end()?;
        // The guard has killed it, unless the guard itself was killed.
        self.child.kill()?;
        self.child.wait()
    }

    /// Sends a signal to the program, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.guard.pipe.is_some() {
            let _ = self.kill();
        }
    }
}

impl Guard {
    fn start() -> io::Result<Guard> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", GUARD]).current_dir("/").env_clear().env("PATH", "/usr/bin:/bin").process_group(0);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let pipe = shell.stdin.take();
        Ok(Guard { shell, pipe })
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        pipe.write_all(format!("{line}\n").as_bytes())
    }

    /// Makes the guard kill the program, and waits until it has.
    fn end(&mut self) -> io::Result<()> {
        self.pipe = None;
        self.shell.wait().map(|_| ())
    }

    /// Kills the processes of the group, and the guard.
    fn kill_group(&mut self) {
        if self.pipe.take().is_some() {
            let _ = kill_process_group(Pid::from_child(&self.shell), Signal::KILL);
            let _ = self.shell.wait();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.kill_group();
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;
    use std::time::Duration;

    use super::*;

    /// Starts a shell with a child in its group and one that has left it; returns the ids of both.
    fn family() -> (Guarded, Vec<String>) {
        let script = "sleep 600 & echo $!; setsid sleep 600 & echo $!; wait";
        let mut command = Command::new("sh");
        let mut guarded = Guarded::start(command.args(["-c", script]).stdout(Stdio::piped())).unwrap();
        let output = std::io::BufReader::new(guarded.child.stdout.take().unwrap());
        let ids: Vec<String> = output.lines().take(2).map(|line| line.unwrap()).collect();
        // It has left the group once it is executed.
        while std::fs::read_to_string(format!("/proc/{}/comm", ids[1])).unwrap().trim() != "sleep" {
            std::thread::sleep(Duration::from_millis(5));
        }
        (guarded, ids)
    }

    /// Waits until a process has ended: its adopting process may take a moment to reap it.
    fn wait_until_gone(id: &str) {
        let state = || std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        while !state().is_empty() && !state().contains(") Z") {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_program_ends_with_all_its_children() {
        let (guarded, ids) = family();
        drop(guarded);
        ids.iter().for_each(|id| wait_until_gone(id));

        let (mut guarded, ids) = family();
        assert!(!guarded.kill().unwrap().success());
        ids.iter().for_each(|id| wait_until_gone(id));
    }

    #[test]
    fn a_program_that_has_ended_leaves_nothing_in_its_group() {
        let mut command = Command::new("sh");
        let script = "sleep 600 >&- & echo $!";
        let mut guarded = Guarded::start(command.args(["-c", script]).stdout(Stdio::piped())).unwrap();
        let id = io::read_to_string(guarded.child.stdout.take().unwrap()).unwrap();
        assert!(guarded.child.wait().unwrap().success());
        drop(guarded);
        wait_until_gone(id.trim());
    }

    #[test]
    fn a_program_whose_guard_was_killed_is_killed_all_the_same() {
        let mut guarded = Guarded::start(Command::new("sleep").arg("600")).unwrap();
        guarded.guard.shell.kill().unwrap();
        assert!(!guarded.kill().unwrap().success());
    }

    #[test]
    fn a_program_that_is_released_lives_on() {
        let guarded = Guarded::start(Command::new("sleep").arg("600")).unwrap();
        let id = guarded.release().unwrap();
        let pid = Pid::from_raw(id.try_into().unwrap()).unwrap();
        rustix::process::test_kill_process(pid).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }
}
