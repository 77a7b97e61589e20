//! The servers of the backup and restore drills: a primary that archives into a bucket, and a restored server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use edgesentry_rs::ledger::{Postgres, PostgresSettings};
use edgesentry_rs::payload::Memory;
use edgesentry_rs::{IngestService, Ledger, Limits, PayloadStore};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::DrillReport;
use super::facts::{postgres_version, version_of};
use crate::archive::Archive;
use crate::backup;
use crate::blocking::in_place;
use crate::error::Error;
use crate::observe::ignore;
use crate::postgres::Programs;
use crate::restore::{Restore, RestoreCommand, Restored, Target, restore};
use crate::servers::{Cluster, SeaweedFs, free_port};
use crate::settings::{OpsSettings, Settings};
use crate::source::{self, Source};

/// The bucket and the prefix of the archive.
const ARCHIVE: (&str, &str) = ("drill-archive", "ledger");
/// The location of a transparency log, in the same bucket.
pub(super) const LOG_STORE: &str = "s3://drill-archive/log";
/// The timeout of a recovery; the pass criterion is another figure.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(6 * 3600);

/// The programs that a drill of backup and restore needs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// PostgreSQL.
    pub programs: Programs,
    /// SeaweedFS, for the archive.
    pub weed: PathBuf,
    /// The `eds` program: PostgreSQL archives and recovers with it.
    pub eds: PathBuf,
}

/// A primary that archives.
pub(super) struct Site {
    pub(super) primary: Cluster,
    pub(super) settings: Settings,
    pub(super) archive: Archive,
    pub(super) service: IngestService,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) payloads: Arc<dyn PayloadStore>,
    scratch: Scratch,
    seaweed: SeaweedFs,
}

/// A directory of the drill that the user postgres may enter, with the program and the settings that it runs.
pub(super) struct Scratch {
    folder: TempDir,
    command: RestoreCommand,
}

impl Scratch {
    /// Copies program and settings: the user postgres may not be allowed to read the originals.
    pub(super) fn new(
        programs: &Programs,
        program: &Path,
        settings: Option<&Path>,
        parent: Option<&Path>,
    ) -> Result<Scratch, Error> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let folder = tempfile::Builder::new().prefix("edgesentry-drill-").tempdir_in(&parent);
        let folder = folder.map_err(Error::io("create a directory", &parent))?;
        programs.own(folder.path())?;
        let eds = folder.path().join("eds");
        std::fs::copy(program, &eds).map_err(Error::io("copy the program eds", program))?;
        let config = folder.path().join("eds.toml");
        if let Some(settings) = settings {
            let text = std::fs::read_to_string(settings).map_err(Error::io("read the settings", settings))?;
            write_secret(&config, &text, programs)?;
        }
        let config = settings.is_some().then_some(config);
        Ok(Scratch { folder, command: RestoreCommand { eds, config, allow_unsigned: false } })
    }

    /// Returns the directory.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the command with which a server of the drill archives and fetches.
    pub(super) fn command(&self) -> RestoreCommand {
        self.command.clone()
    }

    /// Writes the settings, after the servers that they name were started.
    fn configure(&mut self, programs: &Programs, text: &str) -> Result<(), Error> {
        let config = self.folder.path().join("eds.toml");
        write_secret(&config, text, programs)?;
        self.command.config = Some(config);
        Ok(())
    }
}

impl Site {
    /// Starts everything; a segment of write-ahead log is archived after `archive_timeout` at the latest.
    pub(super) async fn start(
        tools: &Tools,
        archive_timeout: Duration,
        report: &mut DrillReport,
    ) -> Result<Site, Error> {
        report.version("PostgreSQL", postgres_version(&tools.programs));
        report.version("SeaweedFS", version_of(&tools.weed, "version"));
        let seaweed = in_place(|| SeaweedFs::start(&tools.weed))?;
        let client = seaweed.settings().client().await?;
        client.create_bucket().bucket(ARCHIVE.0).send().await.map_err(|error| Error::Server {
            server: seaweed.endpoint(),
            problem: format!("cannot make a bucket: {error}"),
        })?;
        let mut scratch = Scratch::new(&tools.programs, &tools.eds, None, None)?;
        // The file is written once the port of the server is known.
        let config = Some(scratch.folder().join("eds.toml"));
        let command = RestoreCommand { config, ..scratch.command() };

        let timeout = format!("archive_timeout = {}", archive_timeout.as_secs().max(1));
        let archive_command = format!("archive_command = '{}'", command.archive().replace('\'', "''"));
        let lines =
            ["archive_mode = on", "max_connections = 40", "max_wal_size = '2GB'", &timeout, &archive_command];
        let mut primary = in_place(|| Cluster::create(&tools.programs, "primary", &lines))?;
        let settings = settings(tools, &seaweed, &primary);
        scratch.configure(&tools.programs, &config_text(&settings, &seaweed))?;
        in_place(|| primary.start())?;
        let archive = Archive::open(&settings).await?;
        let source = Source::connect(&settings).await?;
        archive.claim(source.identity).await?;
        report.step(format!(
            "PostgreSQL {} on port {} archives into {}",
            tools.programs.major(),
            primary.port(),
            archive.place()
        ));
        let ledger = connect(primary.url("postgres")).await?;
        let payloads: Arc<dyn PayloadStore> = Arc::new(Memory::default());
        // Devices retry by themselves, so they need not wait for a primary that is lost for good.
        let limits = Limits { attempts: 1, ..Limits::default() };
        let service = IngestService::start(Arc::clone(&ledger), Arc::clone(&payloads), limits);
        Ok(Site { primary, settings, archive, service, ledger, payloads, scratch, seaweed })
    }

    /// Takes a base backup.
    pub(super) async fn backup(&self, report: &mut DrillReport) -> Result<(), Error> {
        let source = Source::connect(&self.settings).await?;
        let backup = backup::backup(&self.archive, &source, &ignore).await?;
        let seconds = (backup.finished_at_ms.saturating_sub(backup.started_at_ms)) as f64 / 1000.0;
        report.step(format!("base backup {}, {} bytes in the archive", backup.id, backup.size_bytes()));
        report.measure("backup_seconds", seconds, None);
        report.measure("backup_bytes", backup.size_bytes() as f64, None);
        Ok(())
    }

    /// Restores into a directory of the drill, with archiving off.
    pub(super) async fn restore(&self, target: Target) -> Result<(RestoredServer, Restored), Error> {
        let port = free_port().map_err(Error::io("find a free port", self.scratch.folder()))?;
        let data = self.scratch.folder().join(format!("restored-{port}"));
        let wanted = Restore {
            backup: None,
            target,
            data,
            port,
            command: self.scratch.command(),
            drill: true,
            timeline: None,
            accept_loss: false,
            patience: RECOVERY_TIMEOUT,
        };
        let restored = restore(&self.settings, &self.archive, &wanted, &ignore).await?;
        let url = self.primary.url_with([format!("127.0.0.1:{port}")], "postgres");
        Ok((RestoredServer::new(restored.pid, url), restored))
    }

    /// Stops everything.
    pub(super) async fn end(self) {
        self.ledger.close().await;
        in_place(|| drop((self.primary, self.seaweed, self.scratch)));
    }
}

/// A running restored server; it is stopped when dropped.
pub(super) struct RestoredServer {
    pid: u32,
    url: String,
}

impl RestoredServer {
    /// Returns a server that a restore has started.
    pub(super) fn new(pid: u32, url: String) -> RestoredServer {
        RestoredServer { pid, url }
    }

    /// Returns the URL of its database.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Creates another database in it; it is stopped with the server.
    pub(super) fn database(&self, name: &str) -> Result<Database, Error> {
        source::with_database(&self.url, name).map(Database)
    }

    /// Opens its ledger.
    pub(super) async fn ledger(&self) -> Result<Arc<dyn Ledger>, Error> {
        connect(self.url.clone()).await
    }
}

/// The URL of a database of a restored server.
pub(super) struct Database(String);

impl Database {
    /// Returns its URL.
    pub(super) fn url(&self) -> &str {
        &self.0
    }

    /// Opens the ledger in it.
    pub(super) async fn ledger(&self) -> Result<Arc<dyn Ledger>, Error> {
        connect(self.0.clone()).await
    }
}

impl Drop for RestoredServer {
    fn drop(&mut self) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        // To the postmaster this is an immediate shutdown of all its processes.
        let _ = kill_process(pid, Signal::QUIT);
        for _ in 0..500 {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") || rustix::process::test_kill_process(pid).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

async fn connect(url: String) -> Result<Arc<dyn Ledger>, Error> {
    let settings = PostgresSettings { url: url.into(), ..PostgresSettings::default() };
    Ok(Arc::new(Postgres::connect(&settings).await?))
}

fn settings(tools: &Tools, seaweed: &SeaweedFs, primary: &Cluster) -> Settings {
    Settings {
        stores: edgesentry_rs::Settings {
            ledger: primary.url("postgres").into(),
            s3: seaweed.settings(),
            ..edgesentry_rs::Settings::default()
        },
        ops: OpsSettings {
            archive: Some(format!("s3://{}/{}", ARCHIVE.0, ARCHIVE.1)),
            postgres_bin: Some(tools.programs.folder().to_owned()),
            ..OpsSettings::default()
        },
    }
}

/// Returns the same settings as a file, for the commands that PostgreSQL runs.
fn config_text(settings: &Settings, seaweed: &SeaweedFs) -> String {
    let s3: String = seaweed
        .variables()
        .into_iter()
        .map(|(name, value)| format!("{} = {value:?}\n", name.trim_start_matches("EDS_S3__").to_lowercase()))
        .collect();
    let archive = settings.ops.archive.as_deref().unwrap_or_default();
    format!("ledger = {:?}\n\n[s3]\n{s3}\n[ops]\narchive = {archive:?}\n", settings.stores.ledger.reveal())
}

/// Creates a file that only the user postgres may read.
fn write_secret(path: &Path, text: &str, programs: &Programs) -> Result<(), Error> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::io("write settings", path))?;
    programs.own(path)
}
