//! `eds ops backup`: a base backup, proven before it is archived.

use clap::Args;
use edgesentry_formats::times::to_rfc3339;
use edgesentry_ops::backup::{Backup as BaseBackup, backup, sufficient};
use edgesentry_ops::source::Source;
use edgesentry_ops::textfile::BACKUP_LAST_SUCCESS;

use super::session::{Session, Telling, WITHOUT_MANIFEST, note_success, size};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;
use crate::text::{count, name};

/// Take a base backup: pg_basebackup, extraction, pg_verifybackup, then into the archive with a manifest
///
/// The manifest is written last, so an interrupted backup is not listed. The command needs a role that may
/// replicate, and space for the compressed and the extracted database in ops.temp.
#[derive(Args, Debug)]
pub(super) struct Backup {
    /// Take it only if more write-ahead log than this was written since the newest backup, in MiB
    #[arg(long, value_name = "MIB")]
    if_log_exceeds: Option<u32>,
    #[command(flatten)]
    file: ConfigFile,
}

/// A new backup, or an earlier one that suffices.
enum Made {
    Now(BaseBackup),
    Before(BaseBackup),
}

impl Backup {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let archive = session.archive()?;
        let telling = Telling::new(output.json);
        let made = session.wait_or(WITHOUT_MANIFEST, async {
            let source = Source::connect(&session.settings).await?;
            if let Some(mib) = self.if_log_exceeds
                && let Some(newest) = sufficient(&archive, &source, u64::from(mib) << 20).await?
            {
                return Ok(Made::Before(newest));
            }
            backup(&archive, &source, &|event| telling.tell(event)).await.map(Made::Now)
        });
        drop(telling);
        let made = match made? {
            Made::Now(made) => made,
            Made::Before(newest) => {
                let text = format!("no backup was needed: {} suffices\n", newest.id);
                let answer = Answer { ok: true, name: "backup", content: &newest, text, failure: None };
                output.answer(&answer)?;
                return Ok(Exit::Holds);
            }
        };
        note_success(&session.settings, &BACKUP_LAST_SUCCESS, "base", output);
        let text = summary(&made, archive.place());
        output.answer(&Answer { ok: true, name: "backup", content: &made, text, failure: None })?;
        Ok(Exit::Holds)
    }
}

/// Returns a summary of a backup for people.
pub(super) fn summary(backup: &BaseBackup, place: &str) -> String {
    format!(
        "backup {} of PostgreSQL {} in {}\n  size      {} in {}\n  log       {} to {}, timeline {}\n  restores  from {} on\n  proven    {}\n",
        backup.id,
        backup.server_version,
        name(place),
        size(backup.size_bytes()),
        count(backup.files.len() as u64, "file"),
        backup.first_segment,
        backup.last_segment,
        backup.timeline,
        to_rfc3339(backup.finished_at_ms),
        backup.verified,
    )
}
