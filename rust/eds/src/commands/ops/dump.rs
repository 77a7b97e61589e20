//! `eds ops dump`: a logical dump.

use clap::Args;
use edgesentry_ops::dump::dump;
use edgesentry_ops::source::Source;
use edgesentry_ops::textfile::BACKUP_LAST_SUCCESS;

use super::session::{Session, Telling, WITHOUT_MANIFEST, note_success, size};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;
use crate::text::name;

/// Take a logical dump, weekly: pg_dump -Fc, listed by pg_restore, then into the archive with a manifest
///
/// It survives a damaged cluster and a change of version. It cannot be restored to a moment: that is what base backups
/// and the write-ahead log are for.
#[derive(Args, Debug)]
pub(super) struct Dump {
    #[command(flatten)]
    file: ConfigFile,
}

impl Dump {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let archive = session.archive()?;
        let telling = Telling::new(output.json);
        let made = session.wait_or(WITHOUT_MANIFEST, async {
            let source = Source::connect(&session.settings).await?;
            dump(&archive, &source, &|event| telling.tell(event)).await
        });
        drop(telling);
        let made = made?;
        note_success(&session.settings, &BACKUP_LAST_SUCCESS, "dump", output);
        let bytes: u64 = made.files.iter().map(|file| file.size_bytes).sum();
        let text = format!(
            "dump {} of PostgreSQL {} in {}\n  size      {}\n  entries   {}\n",
            made.id,
            made.server_version,
            name(archive.place()),
            size(bytes),
            made.entries
        );
        output.answer(&Answer { ok: true, name: "dump", content: &made, text, failure: None })?;
        Ok(Exit::Holds)
    }
}
