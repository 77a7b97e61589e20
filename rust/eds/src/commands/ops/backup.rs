//! `eds ops backup`: a base backup, proven before it is archived.

use clap::Args;
use edgesentry_ops::backup::{Backup as BaseBackup, backup};
use edgesentry_ops::source::Source;
use edgesentry_ops::textfile::BACKUP_LAST_SUCCESS;

use super::session::{Session, Telling, WITHOUT_MANIFEST, note_success, size};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;
use crate::text::name;
use crate::times;

/// Take a base backup: pg_basebackup, extraction, pg_verifybackup, then into the archive with a manifest
///
/// The manifest is written last, so that a backup that was broken off is none. It needs a role that may replicate, and
/// room for the compressed and the extracted database in ops.temp.
#[derive(Args, Debug)]
pub(super) struct Backup {
    #[command(flatten)]
    file: ConfigFile,
}

impl Backup {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let archive = session.archive()?;
        let telling = Telling::new(output.json);
        let made = session.wait_or(WITHOUT_MANIFEST, async {
            let source = Source::connect(&session.settings).await?;
            backup(&archive, &source, &|event| telling.tell(event)).await
        });
        drop(telling);
        let made = made?;
        note_success(&session.settings, &BACKUP_LAST_SUCCESS, "base", output);
        let text = summary(&made, archive.place());
        output.answer(&Answer { ok: true, name: "backup", content: &made, text, failure: None })?;
        Ok(Exit::Holds)
    }
}

/// A backup for people.
pub(super) fn summary(backup: &BaseBackup, place: &str) -> String {
    format!(
        "backup {} of PostgreSQL {} in {}\n  size      {} in {} files\n  log       {} to {}, timeline {}\n  restores  from {} on\n  proven    {}\n",
        backup.id,
        backup.server_version,
        name(place),
        size(backup.size_bytes()),
        backup.files.len(),
        backup.first_segment,
        backup.last_segment,
        backup.timeline,
        times::shown(backup.finished_at_ms),
        backup.verified,
    )
}
