//! `eds ops restore-dump`: restores a logical dump into an empty database.

use clap::Args;
use edgesentry_ops::dump::{RestoreDump, restore_dump};

use super::session::{Session, Signatures, Telling};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;
use crate::text::name;
use crate::times;

/// Restore a logical dump into an empty database: pg_restore, in one transaction
///
/// Use it after damage to the cluster, or for another version. Records from after the dump are missing. The
/// database must exist and be empty. Owners and privileges are not restored: all objects belong to the role
/// of the URL. Then run the checklist (eds ops verify-recovery).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ops restore-dump --into postgres://…@db-2/audit
  eds ops restore-dump --into postgres://…@db-2/audit --dump 20260131T120000Z")]
pub(super) struct RestoreDumpInto {
    /// Database to restore into
    #[arg(long, value_name = "URL")]
    into: String,
    /// Dump [default: the newest one]
    #[arg(long, value_name = "ID")]
    dump: Option<String>,
    #[command(flatten)]
    signatures: Signatures,
    #[command(flatten)]
    file: ConfigFile,
}

impl RestoreDumpInto {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?.with(&self.signatures);
        let archive = session.archive()?;
        let options = RestoreDump { dump: self.dump.clone(), into: self.into.clone() };
        let telling = Telling::new(output.json);
        let left = "pg_restore works in one transaction: the database is as it was, or has all of the dump if that had ended \
            already; then run ANALYZE in it";
        let restored = session.wait_or(left, async {
            restore_dump(&session.settings, &archive, &options, &|event| telling.tell(event)).await
        });
        drop(telling);
        let restored = restored?;
        let text = format!(
            "restored dump {} into {}\n  holds     the ledger of {}\n  tables    {}\n  took      {:.1} s\n  next      eds ops \
             verify-recovery --heads HEADS --ledger URL\n",
            restored.dump,
            name(&restored.database),
            times::shown(restored.taken_at_ms),
            restored.tables,
            restored.seconds
        );
        output.answer(&Answer {
            ok: true,
            name: "restored_dump",
            content: &restored,
            text,
            failure: None,
        })?;
        Ok(Exit::Holds)
    }
}
