//! Metrics of operations: a drill or a backup ends long before Prometheus could scrape it, so it writes a file that
//! the textfile collector of node_exporter reads.
//!
//! The file is in the Prometheus text format and replaced as a whole. Series of earlier runs stay in it: a drill that
//! fails today keeps its last success.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use edgesentry_formats::{NewFile, Readers};

/// The timeout of locking a metrics file, and the interval between attempts.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// A metric of operations; all are gauges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Family {
    /// The name, part of the interface: alerts and dashboards use it.
    pub name: &'static str,
    /// The help text, one sentence.
    pub help: &'static str,
    /// The name of its label, if it has one.
    pub label: Option<&'static str>,
}

/// Unix seconds of the end of the last run of a drill that passed.
pub const DRILL_LAST_SUCCESS: Family = Family {
    name: "edgesentry_drill_last_success_timestamp_seconds",
    help: "Time when the last passed full run of the drill ended, Unix seconds.",
    label: Some("drill"),
};
/// Unix seconds of the end of the last run of a drill, passed or not.
pub const DRILL_LAST_RUN: Family = Family {
    name: "edgesentry_drill_last_run_timestamp_seconds",
    help: "Time when the last full run of the drill ended, passed or not, Unix seconds.",
    label: Some("drill"),
};
/// The duration of the last run of a drill.
pub const DRILL_DURATION: Family = Family {
    name: "edgesentry_drill_duration_seconds",
    help: "Duration of the last full run of the drill.",
    label: Some("drill"),
};
/// Unix seconds of the end of the last short or partial run of a drill that passed.
pub const DRILL_PARTIAL_LAST_SUCCESS: Family = Family {
    name: "edgesentry_drill_partial_last_success_timestamp_seconds",
    help: "Time when the last passed short or partial run of the drill ended, Unix seconds.",
    label: Some("drill"),
};
/// Unix seconds of the end of the last short or partial run of a drill, passed or not.
pub const DRILL_PARTIAL_LAST_RUN: Family = Family {
    name: "edgesentry_drill_partial_last_run_timestamp_seconds",
    help: "Time when the last short or partial run of the drill ended, passed or not, Unix seconds.",
    label: Some("drill"),
};
/// Unix seconds of the last backup that was made and verified; the label is `base` or `dump`.
pub const BACKUP_LAST_SUCCESS: Family = Family {
    name: "edgesentry_backup_last_success_timestamp_seconds",
    help: "Time when the last backup of this kind was stored and verified, Unix seconds.",
    label: Some("kind"),
};
/// Unix seconds of the last WAL segment that reached the archive.
pub const WAL_ARCHIVE_LAST_SUCCESS: Family = Family {
    name: "edgesentry_wal_archive_last_success_timestamp_seconds",
    help: "Time when the last WAL segment reached the archive, Unix seconds.",
    label: None,
};

/// Unix seconds of the last time that the trusted heads were taken or found unchanged.
pub const HEADS_LAST_SUCCESS: Family = Family {
    name: "edgesentry_heads_last_success_timestamp_seconds",
    help: "Time when the trusted heads were last taken, or found unchanged, Unix seconds.",
    label: None,
};
/// Chains that did not extend the trusted heads at the last run.
pub const HEADS_REWRITTEN: Family = Family {
    name: "edgesentry_heads_rewritten_devices",
    help: "Number of chains that did not extend the trusted heads when heads were last taken.",
    label: None,
};

/// The findings of `check-archive`: missing or damaged write-ahead log, manifests without a valid signature, two
/// servers that archive.
pub const ARCHIVE_GAPS: Family = Family {
    name: "edgesentry_archive_gaps",
    help: "Number of checks that failed when the archive was last checked: missing or damaged log, signatures, \
         timelines.",
    label: None,
};
/// Whether the last verification of a backup failed; the label is `base` or `dump`.
pub const BACKUP_VERIFY_FAILED: Family = Family {
    name: "edgesentry_backup_verify_failed",
    help: "1 if the backup of this kind was not proven when it was last verified, else 0.",
    label: Some("kind"),
};
/// Unix seconds of the last time that the WAL receiver was observed to receive.
pub const RECEIVER_LAST_SEEN: Family = Family {
    name: "edgesentry_wal_receiver_last_seen_timestamp_seconds",
    help: "Time when the server last reported that write-ahead log is received as it is written, Unix seconds.",
    label: None,
};
/// Whether the last run of a systemd unit or a job of cron failed.
pub const UNIT_FAILED: Family = Family {
    name: "edgesentry_unit_failed",
    help: "1 if the last run of the unit failed, else 0.",
    label: Some("unit"),
};
/// Unix seconds of the last time that the PostgreSQL server was observed.
pub const POSTGRES_OBSERVED: Family = Family {
    name: "edgesentry_postgres_observed_timestamp_seconds",
    help: "Time when the PostgreSQL server was last asked for its slots and standbys, Unix seconds.",
    label: None,
};
/// The size of the write-ahead log that a replication slot retains on the server.
pub const SLOT_RETAINED: Family = Family {
    name: "edgesentry_postgres_slot_retained_bytes",
    help: "Write-ahead log that the server keeps for the replication slot.",
    label: Some("slot"),
};
/// The size of the write-ahead log that a standby or a receiver has not written to its disk yet.
pub const STANDBY_LAG: Family = Family {
    name: "edgesentry_postgres_standby_lag_bytes",
    help: "Write-ahead log that the standby or receiver has not written to its disk yet.",
    label: Some("standby"),
};
/// The size of the write-ahead log on the disk of the server.
pub const WAL_SIZE: Family = Family {
    name: "edgesentry_postgres_wal_bytes",
    help: "Size of the write-ahead log on the disk of the server.",
    label: None,
};

/// Records that a device keeps because their receipts are missing; the label is the device.
pub const RECEIPTS_PENDING: Family = Family {
    name: "edgesentry_outbox_receipts_pending_records",
    help: "Acknowledged records in the outbox of the device that lack their receipts.",
    label: Some("device"),
};
/// The time since the service first acknowledged the oldest of them.
pub const RECEIPTS_AGE: Family = Family {
    name: "edgesentry_outbox_receipts_age_seconds",
    help: "Time since the service acknowledged the oldest record that lacks its receipt; 0 if none does.",
    label: Some("device"),
};

/// All metrics of operations.
pub const FAMILIES: [Family; 19] = [
    DRILL_LAST_SUCCESS,
    DRILL_LAST_RUN,
    DRILL_DURATION,
    DRILL_PARTIAL_LAST_SUCCESS,
    DRILL_PARTIAL_LAST_RUN,
    BACKUP_LAST_SUCCESS,
    WAL_ARCHIVE_LAST_SUCCESS,
    HEADS_LAST_SUCCESS,
    HEADS_REWRITTEN,
    ARCHIVE_GAPS,
    BACKUP_VERIFY_FAILED,
    RECEIVER_LAST_SEEN,
    UNIT_FAILED,
    POSTGRES_OBSERVED,
    SLOT_RETAINED,
    STANDBY_LAG,
    WAL_SIZE,
    RECEIPTS_PENDING,
    RECEIPTS_AGE,
];

impl Family {
    /// Returns a sample of this family; `label` is ignored if the family has none.
    pub fn sample(&self, label: &str, value: f64) -> Sample {
        let series = match self.label {
            None => self.name.to_owned(),
            Some(name) => format!("{}{{{name}=\"{}\"}}", self.name, escaped(label)),
        };
        Sample { series, value }
    }
}

/// A value of a series.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    series: String,
    value: f64,
}

/// Why a textfile cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextfileError {
    /// The textfile collector would not read it.
    #[error("{}: the textfile collector reads only files *.prom; choose such a name", .0.display())]
    Name(PathBuf),
    /// It was not written by this command.
    #[error(
        "{}: line {line} is not a metric of EdgeSentry, so the file was not changed; choose another",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Reading or writing failed.
    #[error("{}: cannot {action} the metrics file", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `write`.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A file for the textfile collector of node_exporter.
#[derive(Clone, Debug)]
pub struct Textfile(PathBuf);

impl Textfile {
    /// Opens the file at `path`; only its directory must exist. Fails if the file could not be written later.
    ///
    /// # Errors
    /// The name does not end in `.prom`, or the file cannot be read.
    pub fn open(path: &Path) -> Result<Textfile, TextfileError> {
        if path.extension().is_none_or(|extension| extension != "prom") {
            return Err(TextfileError::Name(path.to_owned()));
        }
        let textfile = Textfile(path.to_owned());
        textfile.read()?;
        Ok(textfile)
    }

    /// Sets these series and keeps the others. Readers see the previous file or the new one; concurrent writers wait
    /// for each other, for a few seconds.
    ///
    /// # Errors
    /// The file cannot be read or written, or another writer holds its lock too long.
    pub fn set(&self, samples: &[Sample]) -> Result<(), TextfileError> {
        self.renew(&[], samples)
    }

    /// Like [`Textfile::set`], but drops the series of `families` that are not among the samples, such as a removed
    /// standby.
    ///
    /// # Errors
    /// As [`Textfile::set`].
    pub fn renew(&self, families: &[Family], samples: &[Sample]) -> Result<(), TextfileError> {
        let folder = self.folder();
        let write = |source| TextfileError::Io { path: self.0.clone(), action: "write", source };
        let lock = File::open(folder).map_err(write)?;
        take(&lock).map_err(write)?;
        let mut series = self.read()?;
        series.retain(|name, _| !families.iter().any(|family| name.split('{').next() == Some(family.name)));
        series.extend(samples.iter().map(|sample| (sample.series.clone(), sample.value.to_string())));
        // Written under a name that the collector does not read.
        let mut file = NewFile::beside(&self.0, Readers::Umask).map_err(write)?;
        // The collector runs as another user; under the umask of PostgreSQL's archiver it could not read this.
        let everyone = Permissions::from_mode(0o644);
        file.writer().and_then(|writer| writer.set_permissions(everyone)).map_err(write)?;
        file.write_all(render(&series).as_bytes()).and_then(|()| file.replace()).map_err(write)
    }

    fn folder(&self) -> &Path {
        match self.0.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Returns the series of the file and their values, as they are written there.
    fn read(&self) -> Result<BTreeMap<String, String>, TextfileError> {
        let read = |source| TextfileError::Io { path: self.0.clone(), action: "read", source };
        let text = match std::fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Without its directory it could not be written either.
                return std::fs::read_dir(self.folder()).map(|_| BTreeMap::new()).map_err(read);
            }
            Err(error) => return Err(read(error)),
        };
        let mut series = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let ours = line.rsplit_once(' ').filter(|(series, value)| {
                let name = series.split('{').next().unwrap_or(series);
                FAMILIES.iter().any(|family| family.name == name) && value.parse::<f64>().is_ok()
            });
            let Some((name, value)) = ours else {
                return Err(TextfileError::Foreign { path: self.0.clone(), line: at + 1 });
            };
            series.insert(name.to_owned(), value.to_owned());
        }
        Ok(series)
    }
}

/// Takes a lock. Every user who may open the directory may hold it, and the archiver must not wait for that.
fn take(lock: &File) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begin.elapsed() < LOCK_TIMEOUT => {
                std::thread::sleep(LOCK_INTERVAL)
            }
            Err(TryLockError::WouldBlock) => {
                let problem = "another process keeps its directory locked";
                return Err(io::Error::new(ErrorKind::TimedOut, problem));
            }
        }
    }
}

/// Renders the series by family, each with its help, in the collector's format.
fn render(series: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for Family { name, help, .. } in &FAMILIES {
        let mut of_family =
            series.iter().filter(|(series, _)| series.split('{').next() == Some(name)).peekable();
        if of_family.peek().is_some() {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        }
        for (series, value) in of_family {
            let _ = writeln!(text, "{series} {value}");
        }
    }
    text
}

/// Escapes a label value for the text format of Prometheus.
fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_reads_metrics_that_are_written() {
        let shown = edgesentry_serve::CONSOLE_AGES.iter().chain(&edgesentry_serve::CONSOLE_FAILURES);
        for (name, _) in shown {
            assert!(FAMILIES.iter().any(|family| family.name == *name), "{name}");
        }
    }

    #[test]
    fn a_path_that_cannot_be_written_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str| Textfile::open(&folder.path().join(name)).unwrap_err().to_string();
        assert!(refused("edgesentry.txt").contains(".prom"));
        assert!(refused("missing/edgesentry.prom").contains("cannot read"));
        std::fs::write(folder.path().join("node.prom"), "# HELP\nnode_time 1\n").unwrap();
        assert!(refused("node.prom").contains("line 2"));
    }

    #[test]
    fn the_file_is_readable_under_every_umask() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edgesentry.prom");
        // As an archive_command of an earlier version left it.
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let textfile = Textfile::open(&path).unwrap();
        textfile.set(&[WAL_ARCHIVE_LAST_SUCCESS.sample("", 1.0)]).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn missing_series_are_dropped_when_their_family_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edgesentry.prom");
        let textfile = Textfile::open(&path).unwrap();
        textfile.set(&[STANDBY_LAG.sample("old", 7.0), SLOT_RETAINED.sample("slot", 1.0)]).unwrap();
        textfile.renew(&[STANDBY_LAG], &[STANDBY_LAG.sample("new", 0.0)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("old") && text.contains("new") && text.contains("slot=\"slot\""), "{text}");
    }

    #[test]
    fn the_wait_for_a_held_lock_is_limited() {
        let folder = tempfile::tempdir().unwrap();
        let textfile = Textfile::open(&folder.path().join("edgesentry.prom")).unwrap();
        let held = File::open(folder.path()).unwrap();
        held.lock().unwrap();
        let error = textfile.set(&[WAL_ARCHIVE_LAST_SUCCESS.sample("", 1.0)]).unwrap_err();
        assert!(edgesentry_rs::error::describe(&error).contains("keeps its directory locked"), "{error:?}");
        drop(held);
        textfile.set(&[WAL_ARCHIVE_LAST_SUCCESS.sample("", 1.0)]).unwrap();
    }

    #[test]
    fn writers_wait_for_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let textfile = Textfile::open(&folder.path().join("edgesentry.prom")).unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let textfile = &textfile;
                scope.spawn(move || {
                    textfile.set(&[DRILL_LAST_RUN.sample(&format!("drill \"{number}\""), 1.0)]).unwrap();
                });
            }
        });
        assert_eq!(textfile.read().unwrap().len(), 8);
    }
}
