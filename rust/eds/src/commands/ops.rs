//! `eds ops`: the operations of a PostgreSQL ledger. One subcommand a file.

mod adopt;
mod archive_wal;
mod backup;
mod backups;
mod bucket;
mod check_archive;
mod checklist;
mod configure_postgres;
mod dump;
mod fetch_ahead;
mod fetch_wal;
mod note_unit;
mod receive_wal;
mod restore;
mod restore_dump;
mod restore_object;
mod retention;
mod s3_check;
mod s3_setup;
mod session;
mod sign_archive;
mod verify_backup;
mod verify_recovery;
mod watch_postgres;

use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Back up, restore and verify PostgreSQL ledgers, with an archive in S3 or in a directory
///
/// The archive is ops.archive of the settings: s3://BUCKET/PREFIX or folder:PATH. See docs/runbook/.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ops configure-postgres --config /etc/eds/ops.toml          the settings that PostgreSQL needs
  eds ops backup --config /etc/eds/ops.toml
  eds ops backups
  eds ops check-archive
  eds ops restore --target-time 2026-01-31T12:00:00Z --data /srv/restored --port 5440
  eds ops verify-recovery --heads heads.json --ledger postgres://…@127.0.0.1:5440/audit")]
pub(crate) struct Ops {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Subcommand, Debug)]
enum Action {
    Backup(backup::Backup),
    VerifyBackup(verify_backup::VerifyBackup),
    Backups(backups::Backups),
    Dump(dump::Dump),
    Retention(retention::Retention),
    ArchiveWal(archive_wal::ArchiveWal),
    FetchWal(fetch_wal::FetchWal),
    #[command(hide = true)]
    FetchAhead(fetch_ahead::FetchAhead),
    ReceiveWal(receive_wal::ReceiveWal),
    CheckArchive(check_archive::CheckArchive),
    ConfigurePostgres(configure_postgres::ConfigurePostgres),
    Restore(restore::RestoreTo),
    RestoreDump(restore_dump::RestoreDumpInto),
    Adopt(adopt::AdoptCopy),
    SignArchive(sign_archive::SignArchive),
    VerifyRecovery(verify_recovery::VerifyRecovery),
    S3Setup(s3_setup::S3Setup),
    S3Check(s3_check::S3Check),
    RestoreObject(restore_object::RestoreObject),
    WatchPostgres(watch_postgres::WatchPostgres),
    NoteUnit(note_unit::NoteUnit),
}

/// The name of the command that PostgreSQL recovers with: every error in it must end recovery.
pub(crate) const FETCH_WAL: &str = "fetch-wal";

impl Ops {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        match &self.action {
            Action::Backup(command) => command.run(output),
            Action::VerifyBackup(command) => command.run(output),
            Action::Backups(command) => command.run(output),
            Action::Dump(command) => command.run(output),
            Action::Retention(command) => command.run(output),
            Action::ArchiveWal(command) => command.run(output),
            Action::FetchWal(command) => command.run(output),
            Action::FetchAhead(command) => command.run(output),
            Action::ReceiveWal(command) => command.run(output),
            Action::CheckArchive(command) => command.run(output),
            Action::ConfigurePostgres(command) => command.run(output),
            Action::Restore(command) => command.run(output),
            Action::RestoreDump(command) => command.run(output),
            Action::Adopt(command) => command.run(output),
            Action::SignArchive(command) => command.run(output),
            Action::VerifyRecovery(command) => command.run(output),
            Action::S3Setup(command) => command.run(output),
            Action::S3Check(command) => command.run(output),
            Action::RestoreObject(command) => command.run(output),
            Action::WatchPostgres(command) => command.run(output),
            Action::NoteUnit(command) => command.run(output),
        }
    }
}
