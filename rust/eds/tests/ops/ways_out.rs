//! However `eds` ends, everything that it has started ends: nothing is left on this machine, and no walsender or slot
//! of a backup on the server.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use edgesentry_ops::postgres::Programs;
use edgesentry_ops::servers::free_port;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{EDS, Site, said};

const TIMEOUT: Duration = Duration::from_secs(120);

/// The recipient of a signal.
#[derive(Clone, Copy, Debug)]
enum To {
    Process,
    Group,
}

const WAYS: [(Signal, To); 5] = [
    (Signal::INT, To::Process),
    (Signal::TERM, To::Process),
    (Signal::HUP, To::Process),
    (Signal::INT, To::Group),
    (Signal::KILL, To::Process),
];

/// Starts `eds` with the signals of a terminal, in a process group of its own.
fn start(site: &Site, line: &str) -> Child {
    let eds = site.eds(line);
    let mut command = std::process::Command::new("env");
    command.args(["--default-signal=INT,HUP", EDS]).args(eds.get_args()).current_dir(site.folder.path());
    for (name, value) in eds.get_envs() {
        assert!(value.is_none());
        command.env_remove(name);
    }
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn end(mut child: Child, signal: Signal, to: To) {
    let pid = Pid::from_child(&child);
    match to {
        To::Process => kill_process(pid, signal).unwrap(),
        To::Group => kill_process_group(pid, signal).unwrap(),
    }
    let status = child.wait().unwrap();
    assert!(!status.success(), "{signal:?} {to:?}: {status}");
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < TIMEOUT, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns every process: its id, its parent and its name.
fn processes() -> Vec<(u32, u32, String)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let read = |id: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (name, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split_whitespace();
        // A process whose parent has not waited for it has ended.
        let alive = fields.next()? != "Z";
        let parent = fields.next()?.parse().ok()?;
        alive.then(|| (id, parent, name.split_once('(').unwrap().1.to_owned()))
    };
    entries.filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Returns the descendants of a process: ids and names.
fn descendants(of: u32) -> Vec<(u32, String)> {
    let all = processes();
    let (mut found, mut parents) = (Vec::new(), BTreeSet::from([of]));
    loop {
        let next: Vec<_> =
            all.iter().filter(|(id, parent, _)| parents.contains(parent) && !parents.contains(id)).collect();
        if next.is_empty() {
            return found;
        }
        for (id, _, name) in next {
            parents.insert(*id);
            found.push((*id, name.clone()));
        }
    }
}

fn named(descendants: &[(u32, String)], name: &str) -> usize {
    descendants.iter().filter(|(_, found)| found == name).count()
}

fn wait_until_gone(started: &[(u32, String)]) {
    for (id, name) in started {
        wait_until(&format!("{name} {id} is gone"), || {
            !processes().iter().any(|(there, _, now)| (there, now) == (id, name))
        });
    }
}

/// Creates or replaces a program by a script.
fn script(path: &Path, text: &str) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Writes settings whose `pg_basebackup` takes long: its rate is limited.
fn settings_of_a_slow_backup(site: &Site) {
    let real = Programs::find(None).unwrap().folder().to_owned();
    let programs = site.path("programs");
    std::fs::create_dir(&programs).unwrap();
    for entry in std::fs::read_dir(&real).unwrap().flatten() {
        std::os::unix::fs::symlink(entry.path(), programs.join(entry.file_name())).unwrap();
    }
    let slow = format!("exec {}/pg_basebackup --max-rate=32k \"$@\"", real.display());
    script(&programs.join("pg_basebackup"), &slow);
    let settings = site.settings(crate::BUCKET, "edgesentry-secret");
    site.write("slow.toml", &format!("{settings}postgres_bin = \"{}\"\n", programs.display()));
}

#[test]
fn an_ended_backup_leaves_no_process_and_no_slot() {
    let site = Site::start();
    settings_of_a_slow_backup(&site);
    for (signal, to) in WAYS {
        let eds = start(&site, "ops backup --config slow.toml");
        // The backup, and the concurrent write-ahead log from a second process.
        let senders = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'pg_basebackup'";
        let slots = "SELECT count(*) FROM pg_replication_slots";
        wait_until("both receive", || site.sql(senders) == "2" && site.sql(slots) == "1");
        let started = descendants(eds.id());
        assert_eq!(named(&started, "pg_basebackup"), 2, "{started:?}");
        end(eds, signal, to);
        wait_until_gone(&started);
        wait_until(&format!("{signal:?} {to:?}: the server sends nothing"), || {
            site.sql(senders) == "0" && site.sql(slots) == "0"
        });
    }
}

#[test]
fn an_ended_receiver_dump_or_restore_leaves_no_process() {
    let site = Site::start();
    site.sql("CREATE TABLE held (n int)");
    site.json("backup", 0);
    site.archive_now();
    let (signal, to) = (Signal::KILL, To::Process);

    let receiver = start(&site, "ops receive-wal --config eds.toml --folder received");
    let receivers = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'pg_receivewal'";
    wait_until("it receives", || site.sql(receivers) == "1");
    let started = descendants(receiver.id());
    assert_eq!(named(&started, "pg_receivewal"), 1, "{started:?}");
    end(receiver, signal, to);
    wait_until_gone(&started);
    wait_until("nobody receives", || site.sql(receivers) == "0");

    // A dump waits for a table that another session has locked.
    let sql = site.cluster.sql().unwrap();
    let mut holder = sql.client("psql");
    holder.args(["-X", "-q", "-c", "BEGIN; LOCK TABLE held; SELECT pg_sleep(600)"]);
    let mut holder = holder.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let granted = "SELECT count(*) FROM pg_locks WHERE relation = 'held'::regclass AND granted";
    wait_until("the table is held", || site.sql(granted) == "1");
    let dump = start(&site, "ops dump --config eds.toml");
    let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'held'::regclass AND NOT granted";
    wait_until("the dump waits", || site.sql(waits) == "1");
    let started = descendants(dump.id());
    assert_eq!(named(&started, "pg_dump"), 1, "{started:?}");
    end(dump, signal, to);
    wait_until_gone(&started);
    holder.kill().unwrap();
    holder.wait().unwrap();

    // The server's recovery waits for a slow segment: the waiting process has left every group.
    let never = site.path("never.sh");
    script(&never, &format!("case \"$*\" in *nothing) exec {EDS} \"$@\";; esac\nsleep 600"));
    let (data, port) = (site.path("restored"), free_port().unwrap());
    let (data, never) = (data.display(), never.display());
    let line = format!("ops restore --config eds.toml --drill --data {data} --port {port} --eds {never}");
    for (signal, to) in [(Signal::TERM, To::Process), (Signal::KILL, To::Process)] {
        let restore = start(&site, &line);
        // The server, and the process that fetches ahead of it.
        wait_until("recovery waits", || named(&descendants(restore.id()), "sleep") > 1);
        let started = descendants(restore.id());
        assert!(named(&started, "postgres") > 1, "{started:?}");
        end(restore, signal, to);
        wait_until_gone(&started);
        // It removes its files, unless it is killed.
        let _ = std::fs::remove_dir_all(site.path("restored"));
    }
    assert!(said(&site.ops("backups")).contains("Z "));
}
