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

/// Take a logical dump: pg_dump -Fc, checked by pg_restore --list, then into the archive with a manifest
///
/// A dump can be restored after damage to the cluster and into another version, but only to the time of the
/// dump. Base backups and the write-ahead log allow a restore to any time.
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
