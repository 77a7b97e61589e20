//! Signals that the command was started to ignore.

use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Folder, fleet};

/// Starts a verification that waits for more on stdin, with SIGINT and SIGHUP ignored.
fn waiting(folder: &Folder) -> Child {
    let mut command = folder.command_in_background();
    command.args(["verify-chain", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // Its signal handlers are in place soon after its start.
    std::thread::sleep(Duration::from_millis(300));
    child
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn signals_ignored_at_the_start_stay_ignored() {
    let (folder, _) = fleet(100);
    let mut child = waiting(&folder);
    for signal in [Signal::INT, Signal::HUP] {
        send(&child, signal);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(child.try_wait().unwrap(), None, "{signal:?}");
    }
    let export = folder.read("export.ndjson");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), export.as_bytes()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn sigterm_ends_it_all_the_same() {
    let (folder, _) = fleet(100);
    let mut child = waiting(&folder);
    // Kept open: the wait would close it, and the end of the input could come before the signal.
    let stdin = child.stdin.take();
    send(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
}
