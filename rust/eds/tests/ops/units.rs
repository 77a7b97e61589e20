//! The shipped units from the documented set-up: user, directories and settings as `deploy/systemd` makes them, each
//! command as its user, and the textfile as the real node_exporter serves it, which runs as another user.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use edgesentry_ops::servers::{Process, free_port};
use eds::fleet::Fleet;

use crate::{EDS, Site, said};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd")
}

/// A machine below a directory, set up according to docs/runbook/backup.md.
struct Machine {
    root: PathBuf,
    user: u32,
    group: u32,
}

impl Machine {
    fn set_up(site: &Site) -> Machine {
        let root = site.path("machine");
        for (file, folder) in [("edgesentry.sysusers", "sysusers.d"), ("edgesentry.tmpfiles", "tmpfiles.d")] {
            let folder = root.join("etc").join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::copy(deploy().join(file), folder.join("edgesentry.conf")).unwrap();
        }
        // The node_exporter package creates it.
        std::fs::create_dir_all(root.join("var/lib/prometheus/node-exporter")).unwrap();
        let set_up = |program: &str, more: &[&str]| {
            let mut command = Command::new(program);
            let output = command.arg(format!("--root={}", root.display())).args(more).output();
            let output =
                output.unwrap_or_else(|error| panic!("{program}: {error}; on Debian: apt install systemd"));
            assert!(output.status.success(), "{program}: {}", said(&output));
        };
        set_up("systemd-sysusers", &[]);
        set_up("systemd-tmpfiles", &["--create", "--prefix=/etc/eds", "--prefix=/var/lib"]);
        let passwd = std::fs::read_to_string(root.join("etc/passwd")).unwrap();
        let line = passwd.lines().find(|line| line.starts_with("edgesentry:")).expect("the user is made");
        let numbers: Vec<u32> = line.split(':').skip(2).take(2).map(|n| n.parse().unwrap()).collect();
        let machine = Machine { root, user: numbers[0], group: numbers[1] };
        let settings = site.settings(crate::BUCKET, "edgesentry-secret");
        let store = site.path("payload-store").display().to_string();
        let textfile = machine.root.join("var/lib/prometheus/node-exporter/edgesentry.prom");
        // One key for the archiver, which runs as postgres, and the units: their group reads it.
        let (key, _) = site.signing_key("ops.seed");
        chown(&key, None, Some(machine.group)).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
        let signing = format!("signing_key = \"{}\"", key.display());
        site.configure("eds.toml", &signing);
        let settings = format!(
            "payloads = \"folder:{store}\"\n{settings}textfile = \"{}\"\n{signing}\n",
            textfile.display()
        );
        let config = machine.root.join("etc/eds/ops.toml");
        std::fs::write(&config, settings).unwrap();
        chown(&config, Some(0), Some(machine.group)).unwrap();
        std::fs::set_permissions(&config, PermissionsExt::from_mode(0o640)).unwrap();
        machine
    }

    /// Returns a program as a user of the machine, without privileges; paths are those of the machine.
    fn run_as(&self, user: u32, words: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args([
            format!("--reuid={user}"),
            format!("--regid={}", self.group),
            "--clear-groups".to_owned(),
        ]);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EDS_")) {
            command.env_remove(name);
        }
        let (etc, var) = (self.root.join("etc/eds"), self.root.join("var/lib"));
        let here = |word: &&str| {
            word.replace("/usr/local/bin/eds", EDS)
                .replace("/etc/eds", &etc.display().to_string())
                .replace("/var/lib", &var.display().to_string())
        };
        command.args(words.iter().map(here)).current_dir("/");
        command
    }

    /// Runs the commands of a unit as its user, until one fails.
    fn run_unit(&self, unit: &str, instance: &str) -> Output {
        let text = std::fs::read_to_string(deploy().join(unit)).unwrap();
        assert!(text.lines().any(|line| line == "User=edgesentry"), "{unit}");
        let commands = text.lines().filter_map(|line| line.strip_prefix("ExecStart="));
        let mut last = None;
        for line in commands {
            let line = line.replace("%i", instance);
            let words: Vec<&str> = line.split_whitespace().collect();
            let output = self.run_as(self.user, &words).output().unwrap();
            let failed = !output.status.success();
            last = Some(output);
            if failed {
                break;
            }
        }
        last.expect(unit)
    }

    fn succeeds(&self, unit: &str, instance: &str) {
        let output = self.run_unit(unit, instance);
        assert_eq!(output.status.code(), Some(0), "{unit}: {}", said(&output));
    }
}

/// Returns the metrics that node_exporter serves of a directory, run as a user of its own.
fn served(folder: &Path, site: &Site) -> String {
    let port = free_port().unwrap();
    let mut node = Command::new("prometheus-node-exporter");
    node.args(["--collector.disable-defaults", "--collector.textfile"])
        .arg(format!("--collector.textfile.directory={}", folder.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .uid(65_534)
        .gid(65_534)
        .current_dir("/");
    let mut node = Process::start(&mut node, &site.path("node_exporter.log")).unwrap_or_else(|error| {
        panic!("prometheus-node-exporter: {error}; run scripts/servers/prometheus install")
    });
    loop {
        assert!(node.lives(), "{}", node.last_words());
        let url = format!("http://127.0.0.1:{port}/metrics");
        let asked = Command::new("curl").args(["--fail", "--silent", &url]).output().unwrap();
        if asked.status.success() {
            return String::from_utf8(asked.stdout).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn every_unit_works_as_its_user_and_node_exporter_reads_its_file() {
    if !rustix::process::geteuid().is_root() {
        // Changing users is not permitted here; continuous integration runs it as root.
        return;
    }
    let site = Site::start();
    let settings = site.settings(crate::BUCKET, "edgesentry-secret");
    let store = site.path("payload-store");
    site.write("payloads.toml", &format!("payloads = \"folder:{}\"\n{settings}", store.display()));
    let fleet = Fleet::new(60).unwrap();
    site.write("keys.json", &edgesentry_formats::write_key_ring(&fleet.keys));
    site.ingest(&fleet, 0..30);
    let machine = Machine::set_up(&site);

    machine.succeeds("edgesentry-backup.service", "");
    let segment = site.archive_now();
    for unit in ["heads", "dump", "verify-backup", "retention", "check-archive", "watch-postgres"] {
        machine.succeeds(&format!("edgesentry-{unit}.service"), "");
    }
    machine.succeeds("edgesentry-failed@.service", "edgesentry-dump.service");
    machine.succeeds("edgesentry-succeeded@.service", "edgesentry-backup.service");

    // The archiver of PostgreSQL, a member of the group; its umask prevents others from reading.
    let segment_file = machine.root.join("var/lib/segment");
    let fetched = site.ops(&format!("fetch-wal {segment} {}", segment_file.display()));
    assert_eq!(fetched.status.code(), Some(0), "{}", said(&fetched));
    std::fs::set_permissions(&segment_file, PermissionsExt::from_mode(0o644)).unwrap();
    let archive = "/usr/local/bin/eds ops archive-wal --config /etc/eds/ops.toml /var/lib/segment";
    let mut words = vec!["sh", "-c", "umask 077; exec \"$0\" \"$@\""];
    words.extend(archive.split(' ').chain([segment.as_str()]));
    let output = machine.run_as(65_533, &words).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("warning"), "{}", said(&output));

    let metrics = served(&machine.root.join("var/lib/prometheus/node-exporter"), &site);
    for series in [
        "node_textfile_scrape_error 0",
        "edgesentry_backup_last_success_timestamp_seconds{kind=\"base\"}",
        "edgesentry_backup_last_success_timestamp_seconds{kind=\"dump\"}",
        "edgesentry_wal_archive_last_success_timestamp_seconds ",
        "edgesentry_heads_last_success_timestamp_seconds ",
        "edgesentry_archive_gaps 0",
        "edgesentry_backup_verify_failed{kind=\"base\"} 0",
        "edgesentry_backup_verify_failed{kind=\"dump\"} 0",
        "edgesentry_postgres_wal_bytes ",
        "edgesentry_postgres_observed_timestamp_seconds ",
        "edgesentry_unit_failed{unit=\"edgesentry-dump.service\"} 1",
        "edgesentry_unit_failed{unit=\"edgesentry-backup.service\"} 0",
    ] {
        assert!(metrics.contains(series), "{series} is not in {metrics}");
    }
}
