//! `eds ops archive-wal %p %f`: the `archive_command`.

use std::path::PathBuf;

use clap::Args;
use edgesentry_ops::adopt::{Writer, admit};
use edgesentry_ops::textfile::WAL_ARCHIVE_LAST_SUCCESS;
use edgesentry_ops::wal::{Archived, WalName, archive_wal, try_archiving};
use serde_json::json;

use super::session::{Session, note_success};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;

/// Archive a file of the write-ahead log: archive_command = 'eds ops archive-wal --config FILE %p %f'
///
/// Exit code 0 only if the file is durable in the archive, or the archive already holds the same bytes. Other
/// bytes under its name are never overwritten, and a segment of another cluster is refused; PostgreSQL then
/// keeps the file and tries again.
#[derive(Args, Debug)]
pub(super) struct ArchiveWal {
    /// The file: %p
    #[arg(value_name = "PATH", required_unless_present = "check")]
    path: Option<PathBuf>,
    /// Its name: %f
    #[arg(value_name = "NAME", required_unless_present = "check")]
    name: Option<WalName>,
    /// Archive nothing; check that the archive can be reached and written to, with an object trial.json
    #[arg(long, conflicts_with_all = ["path", "name"])]
    check: bool,
    #[command(flatten)]
    file: ConfigFile,
}

impl ArchiveWal {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let archive = session.archive()?;
        let (Some(path), Some(name)) = (&self.path, self.name) else {
            session.wait(try_archiving(&archive))?;
            let text = format!("{} can be written to\n", archive.place());
            let content = json!({"checked": archive.place()});
            output.answer(&Answer { ok: true, name: "wal", content: &content, text, failure: None })?;
            return Ok(Exit::Holds);
        };
        let archived = session.wait(async {
            let writer = Writer::of_file(path, name)?;
            let history = matches!(name, WalName::History(_)).then_some(path.as_path());
            admit(&archive, &writer, history).await?;
            archive_wal(&archive, path, name).await
        })?;
        let content = json!({"name": name.to_string(), "stored": archived == Archived::Stored});
        // PostgreSQL writes the output into its log: a success prints nothing.
        output.answer(&Answer {
            ok: true,
            name: "wal",
            content: &content,
            text: String::new(),
            failure: None,
        })?;
        note_success(&session.settings, &WAL_ARCHIVE_LAST_SUCCESS, "", output);
        Ok(Exit::Holds)
    }
}
