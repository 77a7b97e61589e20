//! `eds ops receive-wal`: the WAL receiver, which archives write-ahead log as it is written.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use edgesentry_ops::source::Source;
use edgesentry_ops::textfile::Textfile;
use edgesentry_ops::wal::Receiver;

use super::session::{Session, Telling};
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::Output;
use crate::stores::ConfigFile;

/// Stream the write-ahead log into the archive as it is written, so that a crash loses less than with archive_timeout
/// alone
///
/// Keeps pg_receivewal running with a replication slot, on another machine than PostgreSQL. Complete segments
/// are archived as archive-wal does it; the incomplete one is uploaded at intervals, and a restore falls back
/// to it. On Ctrl-C or SIGTERM the command uploads the received bytes and ends.
#[derive(Args, Debug)]
pub(super) struct ReceiveWal {
    /// Directory for the incomplete segment; keep it over restarts
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Replication slot, created if it does not exist
    #[arg(long, value_name = "NAME", default_value = "edgesentry")]
    slot: String,
    /// Seconds between uploads of the incomplete segment, if it has grown
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    #[command(flatten)]
    file: ConfigFile,
}

impl ReceiveWal {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let archive = session.archive()?;
        let receiver = Receiver {
            folder: self.folder.clone(),
            slot: self.slot.clone(),
            interval: Duration::from_secs(self.interval),
            textfile: session.settings.ops.textfile.as_deref().map(Textfile::open).transpose()?,
        };
        let telling = Telling::new(output.json);
        session.run(async {
            receiver.archive_left(&archive).await?;
            let source = Source::connect(&session.settings).await?;
            receiver.run(&archive, &source, interrupt::asked(), &|event| telling.tell(event)).await
        })?;
        Ok(Exit::Holds)
    }
}
