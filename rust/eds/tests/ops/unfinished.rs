//! Restores that do not complete leave nothing, and report that.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use edgesentry_chain::Hash;
use edgesentry_ops::servers::free_port;
use rustix::process::{Pid, Signal, kill_process};

use crate::{EDS, Site, said, stop};

impl Site {
    /// Returns the names in the directory of the site, without the settings.
    fn folders(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().flatten();
        let folders = entries.filter(|entry| entry.path().is_dir());
        folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    /// Replaces a file of a backup and its entry in the manifest; returns the original file.
    fn replace_file(&self, id: &str, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
        let (mut before, mut size, mut hash) = (Vec::new(), 0, String::new());
        self.replace_archived(&format!("backups/{id}/{name}"), |bytes| {
            before.clone_from(&bytes);
            let changed = change(bytes);
            (size, hash) = (changed.len(), Hash::of(&changed).to_string());
            changed
        });
        self.replace_archived(&format!("backups/{id}/backup.json"), |bytes| {
            let mut backup: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            for file in backup["files"].as_array_mut().unwrap() {
                if file["name"] == name {
                    file["size_bytes"] = size.into();
                    file["blake3"] = hash.clone().into();
                }
            }
            serde_json::to_vec(&backup).unwrap()
        });
        before
    }
}

#[test]
fn an_interrupted_restore_leaves_nothing() {
    let site = Site::start();
    site.json("backup", 0);
    site.archive_now();
    // Recovery waits in it: the signal arrives while the server runs.
    let slow = site.path("slow-eds");
    let script = format!("#!/bin/sh\ncase \"$*\" in *FFFFFFFF*) exec {EDS} \"$@\";; esac\nexec sleep 600\n");
    std::fs::write(&slow, script).unwrap();
    std::fs::set_permissions(&slow, PermissionsExt::from_mode(0o755)).unwrap();
    let line = format!(
        "ops restore --config eds.toml --data {} --port {} --eds {}",
        site.path("restored").display(),
        free_port().unwrap(),
        slow.display()
    );
    let mut restore = site.eds(&line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(restore.stderr.take().unwrap());
    let mut told = String::new();
    while !told.ends_with("recover\n") {
        assert!(stderr.read_line(&mut told).unwrap() > 0, "{told}");
    }
    let pid = site.path("restored/postmaster.pid");
    while !pid.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // SIGINT may be ignored, as in the background of a script.
    kill_process(Pid::from_child(&restore), Signal::TERM).unwrap();
    stderr.read_to_string(&mut told).unwrap();
    assert_eq!(restore.wait().unwrap().code(), Some(130), "{told}");
    assert!(told.contains("restored: the unfinished copy is removed"), "{told}");
    assert!(told.trim_end().ends_with("interrupted: the work was not finished"), "{told}");
    assert_eq!(site.folders(), Vec::<String>::new());
}

#[test]
fn a_backup_that_cannot_be_extracted_leaves_nothing() {
    let site = Site::start();
    let id = site.json("backup", 0)["backup"]["id"].as_str().unwrap().to_owned();
    site.archive_now();
    let restore =
        |data: &str| format!("restore --data {} --port {}", site.path(data).display(), free_port().unwrap());

    // As on a disk that is too small: PostgreSQL's own list of the files states their size.
    let manifest = site.replace_file(&id, "backup_manifest", |_| {
        br#"{"Files": [{"Path": "base/1", "Size": 1000000000000000000}]}"#.to_vec()
    });
    let full = site.ops(&restore("full"));
    assert_eq!(full.status.code(), Some(3), "{}", said(&full));
    assert!(said(&full).contains("space for the download and the database"), "{}", said(&full));
    assert!(!said(&full).contains("download\n"), "{}", said(&full));
    assert_eq!(site.folders(), Vec::<String>::new());
    site.replace_file(&id, "backup_manifest", |_| manifest);

    // Extraction fails half-way, as it does when the disk fills: a file that occurs twice is not written again.
    let twice = "echo 15 >PG_VERSION && tar -cz --format=ustar --hard-dereference PG_VERSION PG_VERSION; rm PG_VERSION";
    let mut shell = Command::new("sh");
    let twice = shell.args(["-c", twice]).current_dir(site.folder.path()).output().unwrap();
    assert!(twice.status.success(), "{}", said(&twice));
    site.replace_file(&id, "base.tar.gz", |_| twice.stdout);
    let half = site.ops(&restore("half"));
    assert_eq!(half.status.code(), Some(3), "{}", said(&half));
    assert!(said(&half).contains("half: the unfinished copy is removed"), "{}", said(&half));
    assert_eq!(site.folders(), Vec::<String>::new());
}

/// A disk of its own, mounted only for this restore and its server: too small according to the sizes, then full in
/// the middle, then large enough.
#[test]
fn a_full_disk_is_named_and_a_restore_after_it_works() {
    if !rustix::process::geteuid().is_root() {
        // Mounting is not permitted here; continuous integration runs it as root.
        return;
    }
    let site = Site::start();
    site.sql("CREATE TABLE t (n int);\nINSERT INTO t SELECT generate_series(1, 1000)");
    let id = site.json("backup", 0)["backup"]["id"].as_str().unwrap().to_owned();
    site.archive_now();
    let disk = site.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let restore = |options: &str, then: &str| {
        let script = format!(
            "mount -t tmpfs -o mode=755,{options} tmpfs {disk}; {EDS} --json ops restore --config eds.toml --data \
             {disk}/restored --port {port}; echo \"code $?\"; echo \"left $(ls -A {disk})\"; {then}",
            disk = disk.display(),
            port = free_port().unwrap(),
        );
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "sh", "-c", &script]).current_dir(site.folder.path());
        said(&shell.output().unwrap())
    };

    let small = restore("size=100m", "");
    assert!(small.contains("code 3\nleft \n"), "{small}");
    assert!(small.contains("MiB are required, and 100 MiB are free; free space"), "{small}");

    // PostgreSQL's list of the files is empty, so the disk seems large enough, and its last inode is used half-way.
    let manifest = site.replace_file(&id, "backup_manifest", |_| br#"{"Files": []}"#.to_vec());
    let full = restore("size=8g,nr_inodes=300", "");
    assert!(full.contains("code 3\nleft \n"), "{full}");
    assert!(full.contains("the disk is full: ") && full.contains("MiB are required"), "{full}");
    assert!(full.contains("No space left on device"), "{full}");

    site.replace_file(&id, "backup_manifest", |_| manifest);
    let again = restore("size=8g", "");
    assert!(again.contains("code 0\nleft restored\n"), "{again}");
    let pid = again.split("\"pid\":").nth(1).unwrap().trim_start();
    let pid: String = pid.chars().take_while(char::is_ascii_digit).collect();
    stop(pid.parse().unwrap());
}
