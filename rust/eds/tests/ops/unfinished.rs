//! Restores that do not get to their end leave nothing, and say so.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use edgesentry_chain::Hash;
use edgesentry_ops::servers::free_port;
use rustix::process::{Pid, Signal, kill_process};

use crate::{EDS, Site, said};

impl Site {
    /// What lies in the folder of the site, without the settings.
    fn folders(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().flatten();
        let folders = entries.filter(|entry| entry.path().is_dir());
        folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    /// Replaces a file of a backup, and what the manifest says of it; the file as it was.
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
    // Recovery hangs in it: the signal comes while the server runs.
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
    assert!(told.contains("restored: what was restored so far is removed again"), "{told}");
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

    // As on a disk that is too small: PostgreSQL's own list of the files says what they need.
    let manifest = site.replace_file(&id, "backup_manifest", |_| {
        br#"{"Files": [{"Path": "base/1", "Size": 1000000000000000000}]}"#.to_vec()
    });
    let full = site.ops(&restore("full"));
    assert_eq!(full.status.code(), Some(2), "{}", said(&full));
    assert!(said(&full).contains("room for the download and the database"), "{}", said(&full));
    assert!(!said(&full).contains("download\n"), "{}", said(&full));
    assert_eq!(site.folders(), Vec::<String>::new());
    site.replace_file(&id, "backup_manifest", |_| manifest);

    // Extraction fails half-way, as it does when the disk fills: a file that comes twice is not written again.
    let twice = "echo 15 >PG_VERSION && tar -cz --format=ustar --hard-dereference PG_VERSION PG_VERSION; rm PG_VERSION";
    let mut shell = Command::new("sh");
    let twice = shell.args(["-c", twice]).current_dir(site.folder.path()).output().unwrap();
    assert!(twice.status.success(), "{}", said(&twice));
    site.replace_file(&id, "base.tar.gz", |_| twice.stdout);
    let half = site.ops(&restore("half"));
    assert_eq!(half.status.code(), Some(3), "{}", said(&half));
    assert!(said(&half).contains("half: what was restored so far is removed again"), "{}", said(&half));
    assert_eq!(site.folders(), Vec::<String>::new());
}
