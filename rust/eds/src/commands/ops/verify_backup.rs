//! `eds ops verify-backup`: whether a backup in the archive can be restored.

use clap::Args;
use edgesentry_ops::check::{Status, verdict};
use edgesentry_ops::textfile::BACKUP_VERIFY_FAILED;
use edgesentry_ops::{backup, dump, source};

use super::checklist;
use super::session::{Session, Signatures, Telling, note, note_refusal};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::stores::ConfigFile;

/// Download a backup, compare its hashes, and verify it with pg_verifybackup
///
/// Exit code 0 if every check passes, 1 if one fails, 3 if one could not run.
#[derive(Args, Debug)]
pub(super) struct VerifyBackup {
    /// The backup, or the dump with --dump [default: the newest]
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Verify a dump instead of a base backup
    #[arg(long)]
    dump: bool,
    #[command(flatten)]
    signatures: Signatures,
    #[command(flatten)]
    file: ConfigFile,
}

impl VerifyBackup {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?.with(&self.signatures);
        let archive = session.archive()?;
        let programs = source::programs(&session.settings)?;
        let telling = Telling::new(output.json);
        let work = async {
            if self.dump {
                let dumps = dump::dumps(&archive).await?.into_iter();
                let named = |dump: &dump::Dump| self.id.as_ref().is_none_or(|id| *id == dump.id);
                let Some(dump) = dumps.rev().find(named) else {
                    let message = "there is no such dump; see eds ops backups".to_owned();
                    return Err(edgesentry_ops::Error::Config(message));
                };
                let checks = dump::verify(&archive, &programs, &dump, &|event| telling.tell(event)).await?;
                return Ok((format!("dump {}", dump.id), checks));
            }
            let found = backup::find(&archive, self.id.as_deref()).await?;
            let checks = backup::verify(&archive, &programs, &found, &|event| telling.tell(event)).await?;
            Ok((format!("backup {}", found.id), checks))
        };
        let worked = session.wait(work);
        drop(telling);
        let kind = if self.dump { "dump" } else { "base" };
        let unproven = BACKUP_VERIFY_FAILED.sample(kind, 1.0);
        let (heading, checks) = note_refusal(&session.settings, worked, unproven, output)?;
        let failed = f64::from(u8::from(verdict(&checks) != Status::Passed));
        note(&session.settings, &[BACKUP_VERIFY_FAILED.sample(kind, failed)], output);
        checklist::answer(output, &heading, &checks)
    }
}
