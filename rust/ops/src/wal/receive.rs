//! The WAL receiver: `pg_receivewal` streams write-ahead log, which goes into the archive.
//!
//! Complete segments are archived as the server's own archiver does it; the segment that is still being received is
//! stored beside them and replaced periodically, so that a restore has it if the server is lost.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use edgesentry_formats::describe;
use edgesentry_formats::times::now_ms;
use edgesentry_rs::objects::Write;

use super::archive::archive_wal;
use super::name::{Segment, WalName, receiving_key, receiving_subject};
use super::packed;
use crate::adopt::{self, Writer};
use crate::archive::{Archive, Identity};
use crate::blocking::blocking;
use crate::error::Error;
use crate::observe::{Event, Observer};
use crate::process::Process;
use crate::program;
use crate::signature::Content;
use crate::source::Source;
use crate::textfile::{RECEIVER_LAST_SEEN, Textfile};

/// The interval of scanning the directory.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The interval of recording that the receiver is active.
const NOTE_INTERVAL: Duration = Duration::from_secs(15);
/// The timeout of asking the server for that.
const NOTE_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest and the longest pause before an ended receiver is restarted.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The settings of a receiver.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The directory of received segments; it is kept, so that a restart continues there.
    pub folder: PathBuf,
    /// The replication slot, created if it does not exist: the server keeps the log that was not received yet.
    pub slot: String,
    /// The interval at which the incomplete segment is archived, if it has grown.
    pub interval: Duration,
    /// The metrics file for the time of the last reception.
    pub textfile: Option<Textfile>,
}

/// The files archived by one scan.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Received {
    /// Complete segments and histories.
    pub complete: u64,
    /// The number of times that an incomplete segment was replaced.
    pub incomplete: u64,
}

/// The incomplete segment as last archived, and its server.
#[derive(Default)]
struct Sent {
    /// The mark of the server, if it is a restored copy.
    copy: Option<String>,
    at: Option<Instant>,
    modified: Option<(PathBuf, SystemTime)>,
    /// Its content in the archive.
    content: Option<(Segment, Content)>,
}

impl Receiver {
    /// Archives the files that an earlier receiver left in the directory: after its crash they may be the only copy,
    /// and the server may be gone.
    ///
    /// # Errors
    /// The directory cannot be read, or the archive cannot be written.
    pub async fn archive_left(&self, archive: &Archive) -> Result<Received, Error> {
        if !self.folder.is_dir() || archive.stated_identity().await?.is_none() {
            return Ok(Received::default());
        }
        self.archive_received(archive, &mut Sent::default()).await
    }

    /// Creates the slot, then receives and archives until `stop` completes, and archives once more after that.
    ///
    /// # Errors
    /// `pg_receivewal` is missing or cannot be started, the role may not replicate, the archive belongs to another
    /// cluster, the slot cannot be created, or the files cannot be archived at the end. The observer learns of earlier
    /// failures of the archive, after which the receiver tries again.
    pub async fn run(
        &self,
        archive: &Archive,
        source: &Source,
        stop: impl Future<Output = ()>,
        observer: Observer<'_>,
    ) -> Result<(), Error> {
        source.programs.require(&["pg_receivewal"])?;
        source.require_replication().await?;
        adopt::claim(archive, source).await?;
        std::fs::create_dir_all(&self.folder).map_err(Error::io("create a directory", &self.folder))?;
        let mut create = source.sql.client("pg_receivewal");
        create.args(["--create-slot", "--if-not-exists", "--slot", &self.slot]);
        program::done(&mut create, Duration::from_secs(60))?;
        let mut sent = Sent { copy: source.copy.clone(), ..Sent::default() };
        let ended = tokio::select! {
            ended = self.supervise(archive, source, &mut sent, observer) => ended,
            () = stop => Ok(()),
        };
        // Dropping its future killed the receiver; everything that it had written is archived.
        sent.at = None;
        let last = self.archive_received(archive, &mut sent).await;
        ended.and(last.map(|_| ()))
    }

    /// Keeps a receiver running, and archives its segments.
    async fn supervise(
        &self,
        archive: &Archive,
        source: &Source,
        sent: &mut Sent,
        observer: Observer<'_>,
    ) -> Result<(), Error> {
        let mut pause = BACKOFF.0;
        loop {
            let log = self.folder.join("pg_receivewal.log");
            // The journal already has its earlier messages.
            let _ = std::fs::remove_file(&log);
            let mut command = source.sql.client("pg_receivewal");
            command.args(["--no-loop", "--synchronous", "--slot", &self.slot, "-D"]).arg(&self.folder);
            let started = Instant::now();
            let mut process =
                Process::start(&mut command, &log).map_err(Error::io("start pg_receivewal", &self.folder))?;
            observer(Event::Step("receiving"));
            let mut noted = None;
            while process.lives() {
                self.note_life(source, &mut noted, observer).await;
                self.tell(self.archive_received(archive, sent).await, observer);
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            // The server may be lost for good: the last bytes count most.
            sent.at = None;
            self.tell(self.archive_received(archive, sent).await, observer);
            observer(Event::Note(&format!(
                "pg_receivewal has ended, and is started again: {}",
                process.last_words()
            )));
            pause = if started.elapsed() > BACKOFF.1 { BACKOFF.0 } else { (pause * 2).min(BACKOFF.1) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Records the time for Prometheus periodically, if the server reports a client on the slot: a running program
    /// does not prove that, because it may be connecting to a server that is gone.
    async fn note_life(&self, source: &Source, noted: &mut Option<Instant>, observer: Observer<'_>) {
        let Some(textfile) = &self.textfile else { return };
        if noted.is_some_and(|noted| noted.elapsed() < NOTE_INTERVAL) {
            return;
        }
        *noted = Some(Instant::now());
        let slot = self.slot.replace('\'', "''");
        let (sql, asked) = (
            source.sql.clone(),
            format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'"),
        );
        let answer = blocking(move || sql.query_within(&asked, NOTE_TIMEOUT)).await;
        if answer.ok().as_deref() != Some("t") {
            // Repeated soon: it may not have connected yet.
            *noted = Instant::now().checked_sub(NOTE_INTERVAL - NOTE_TIMEOUT);
            return;
        }
        let sample = RECEIVER_LAST_SEEN.sample("", (now_ms() / 1000) as f64);
        if let Err(error) = textfile.set(&[sample]) {
            observer(Event::Note(&describe(&error)));
        }
    }

    /// Reports the result of a scan. A failed upload is repeated at the next one; the directory keeps the files, not
    /// the slot.
    fn tell(&self, received: Result<Received, Error>, observer: Observer<'_>) {
        match received {
            Ok(Received { complete: 0, incomplete: 0 }) => {}
            Ok(received) => observer(Event::Step(&format!(
                "archived: {} complete, {} incomplete",
                received.complete, received.incomplete
            ))),
            Err(error) => observer(Event::Note(&format!("not archived, tried again: {}", error.describe()))),
        }
    }

    /// Archives the files in the directory; deletes a complete segment there once a newer file exists.
    async fn archive_received(&self, archive: &Archive, sent: &mut Sent) -> Result<Received, Error> {
        let mut received = Received::default();
        let files = self.files()?;
        let newest = files.iter().filter_map(|(name, _)| name.segment()).max();
        for (name, path) in &files {
            match name {
                WalName::Partial(segment) => {
                    received.incomplete +=
                        u64::from(self.send_beginning(archive, *segment, path, sent).await?);
                }
                name => {
                    // The newest one stays until there is a newer one: pg_receivewal continues after it.
                    let done = self.folder.join(format!("{name}.archived"));
                    if !done.exists() {
                        let history = matches!(name, WalName::History(_)).then_some(path.as_path());
                        adopt::admit(archive, &Writer::of(sent.copy.clone(), *name), history).await?;
                        archive_wal(archive, path, *name).await?;
                        if let Some(segment) = name.segment() {
                            archive.objects().delete(&receiving_key(segment)).await?;
                        }
                        std::fs::write(&done, b"").map_err(Error::io("note the archived file", &done))?;
                        received.complete += 1;
                    }
                    if name.segment() < newest && name.segment().is_some() {
                        std::fs::remove_file(path).map_err(Error::io("delete the archived file", path))?;
                        std::fs::remove_file(&done).map_err(Error::io("delete a note", &done))?;
                    }
                }
            }
        }
        Ok(received)
    }

    /// Archives the incomplete segment, if it has changed and its interval has passed.
    async fn send_beginning(
        &self,
        archive: &Archive,
        segment: Segment,
        path: &Path,
        sent: &mut Sent,
    ) -> Result<bool, Error> {
        if sent.at.is_some_and(|at| at.elapsed() < self.interval) {
            return Ok(false);
        }
        let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        let modified = (path.to_owned(), modified.map_err(Error::io("look at", path))?);
        if sent.modified.as_ref() == Some(&modified) {
            return Ok(false);
        }
        let folder = archive.temporary()?;
        let (copy, packed) = (folder.path().join("copy"), folder.path().join("packed"));
        // A copy does not change while it is packed. It may end in a torn page; recovery ends before that.
        std::fs::copy(path, &copy).map_err(Error::io("copy", path))?;
        // The receiver has not written to it yet.
        let Ok(identity) = super::segment::identity_of(&copy, segment) else { return Ok(false) };
        let content =
            (segment, packed::pack(archive, &copy, &packed, &receiving_subject(segment, identity))?);
        // A locked bucket keeps every version: the same bytes are not written again.
        if sent.content.is_none() {
            sent.content = beginning_in(archive, segment, identity, &folder.path().join("there")).await?;
        }
        if sent.content == Some(content) {
            sent.modified = Some(modified);
            return Ok(false);
        }
        let writer = Writer::of(sent.copy.clone(), WalName::Partial(segment));
        adopt::admit(archive, &writer, None).await?;
        archive.objects().put_file(&receiving_key(segment), &packed, Write::Replace).await?;
        (sent.at, sent.modified, sent.content) = (Some(Instant::now()), Some(modified), Some(content));
        Ok(true)
    }

    /// Returns the received files, oldest first.
    fn files(&self) -> Result<Vec<(WalName, PathBuf)>, Error> {
        let entries = std::fs::read_dir(&self.folder).map_err(Error::io("list", &self.folder))?;
        let named = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().to_str()?.parse().ok()?;
            Some((name, entry.path()))
        });
        let mut files: Vec<(WalName, PathBuf)> = named.collect();
        files.sort_by_key(|(name, _)| (name.segment(), matches!(name, WalName::Partial(_))));
        Ok(files)
    }
}

/// Returns the beginning of a segment that an earlier receiver left in the archive, if it is valid.
async fn beginning_in(
    archive: &Archive,
    segment: Segment,
    identity: Identity,
    file: &Path,
) -> Result<Option<(Segment, Content)>, Error> {
    let key = receiving_key(segment);
    let most = packed::largest(identity.wal_segment_bytes);
    if archive.objects().get_file(&key, file, most).await?.is_none() {
        return Ok(None);
    }
    let is_trusted = packed::inspect(archive, file, &receiving_subject(segment, identity)).is_ok();
    Ok(packed::content_of(file).ok().filter(|_| is_trusted).map(|content| (segment, content)))
}
