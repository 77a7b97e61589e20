//! `eds ops receive-wal`: the sidecar that archives write-ahead log as it is written.

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

/// Receive write-ahead log as it is written, and archive it: what a crash loses shrinks from a minute to nothing
///
/// Keeps pg_receivewal running with a replication slot, on another machine than PostgreSQL. Complete segments are archived
/// as archive-wal does it; the one that is still being received is sent again and again, and a restore falls back to it.
/// Ends on Ctrl-C or SIGTERM, after having sent what it has.
#[derive(Args, Debug)]
pub(super) struct ReceiveWal {
    /// Folder for what is being received; kept over restarts
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Replication slot, made where there is none
    #[arg(long, value_name = "NAME", default_value = "edgesentry")]
    slot: String,
    /// Seconds between two times that the incomplete segment is sent, where it has grown
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
