//! `eds ops fetch-wal %f %p`: the `restore_command`.

use std::path::PathBuf;

use clap::Args;
use edgesentry_ops::wal::{Fetched, Prefetch, WalName, fetch_wal};
use serde_json::json;

use super::session::{Session, Signatures};
use crate::exit::{Exit, Failure, guarded};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;

/// Fetch a file of the write-ahead log: restore_command = 'eds ops fetch-wal --config FILE %f %p'
///
/// Exit code 1 only if the archive was reached and does not hold the file, which PostgreSQL treats as the end
/// of the log; 200 for every other failure, which stops recovery: a failed network or key must not look like
/// the end.
#[derive(Args, Debug)]
pub(super) struct FetchWal {
    /// The name of the file: %f
    #[arg(value_name = "NAME")]
    name: WalName,
    /// Path to write to: %p
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Segments that are prefetched concurrently
    #[arg(long, value_name = "N", default_value_t = Prefetch::default().0, value_parser = clap::value_parser!(u64).range(0..=64))]
    prefetch: u64,
    #[command(flatten)]
    signatures: Signatures,
    #[command(flatten)]
    file: ConfigFile,
}

impl FetchWal {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let fetched =
            guarded(|| self.fetch()).map_err(|failure| Failure { exit: Exit::StopRecovery, ..failure })?;
        let exit = if fetched == Fetched::Absent { Exit::Absent } else { Exit::Holds };
        let from = match fetched {
            Fetched::Archive => "archive",
            Fetched::Spool => "spool",
            Fetched::Ahead => "ahead",
            Fetched::Partial => "partial",
            Fetched::Absent => "absent",
        };
        let content = json!({"name": self.name.to_string(), "from": from});
        let answer = Answer {
            ok: exit == Exit::Holds,
            name: "wal",
            content: &content,
            text: String::new(),
            failure: None,
        };
        output.answer(&answer).map_err(|failure| Failure { exit: Exit::StopRecovery, ..failure })?;
        match fetched {
            Fetched::Partial => output.note(&format!("{}: only its beginning was in the archive", self.name)),
            Fetched::Absent => output.note(&format!("{}: the archive has no such file", self.name)),
            Fetched::Archive | Fetched::Spool | Fetched::Ahead => {}
        }
        Ok(exit)
    }

    fn fetch(&self) -> Result<Fetched, Failure> {
        let session = Session::new(&self.file)?.with(&self.signatures);
        let archive = session.archive()?;
        session.wait(fetch_wal(&archive, self.name, &self.path, Prefetch(self.prefetch)))
    }
}
