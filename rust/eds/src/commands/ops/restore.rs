//! `eds ops restore`: a ledger as it was at a given time, in a new server.

use std::path::PathBuf;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Args;
use edgesentry_ops::restore::{Restore, RestoreCommand, Restored, Target, restore};

use super::session::{Session, Signatures, Telling};
use crate::commands::program::EdsArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;
use crate::text::{sentence, shell_word};

const CARE: Style = AnsiColor::Yellow.on_default().bold();

/// Restore a backup and the write-ahead log after it into an empty directory, and start the server on loopback
///
/// The command checks all preconditions before it writes anything. The restored server accepts writes, on
/// loopback only; verify it (eds ops verify-recovery) before you start it as your service does. It archives
/// nothing, and the original continues unchanged, until you adopt the copy (eds ops adopt).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ops restore --data /srv/restored --port 5440 --target-time 2026-01-31T12:00:00Z
  eds ops restore --data /srv/restored --port 5440                    to the end of the archive
  eds ops restore --data /srv/restored --port 5440 --timeline 1   on the timeline from before a failover
  eds ops restore --data /tmp/drill --port 5440 --drill               a copy that never archives")]
pub(super) struct RestoreTo {
    /// Data directory: empty or missing
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Port on loopback
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The last commit at or before this moment: RFC 3339 with its zone [default: the end of the archive]
    #[arg(long, value_name = "TIME", value_parser = Target::time)]
    target_time: Option<Target>,
    /// A restore point that was named with pg_create_restore_point; the last one of that name
    #[arg(long, value_name = "NAME", conflicts_with = "target_time")]
    target_name: Option<String>,
    /// Backup to start from [default: the last one before the target]
    #[arg(long, value_name = "ID")]
    backup: Option<String>,
    /// Timeline to follow [default: the current one of the archive, or for an earlier target time the one of that time]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    timeline: Option<u32>,
    /// A temporary copy: archive_mode=off, permanently
    #[arg(long)]
    drill: bool,
    /// Restore to the end of the archive although segments are missing, and lose all records after the gap
    #[arg(long)]
    accept_loss: bool,
    /// Minutes that recovery may take
    #[arg(long, value_name = "MINUTES", default_value_t = 720)]
    patience: u64,
    #[command(flatten)]
    eds: EdsArgs,
    #[command(flatten)]
    signatures: Signatures,
    #[command(flatten)]
    file: ConfigFile,
}

impl RestoreTo {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?.with(&self.signatures);
        let archive = session.archive()?;
        let target = match (&self.target_time, &self.target_name) {
            (Some(target), _) => target.clone(),
            (None, Some(name)) => Target::Point(name.clone()),
            (None, None) => Target::Latest,
        };
        let options = Restore {
            backup: self.backup.clone(),
            target,
            timeline: self.timeline,
            data: self.data.clone(),
            port: self.port,
            command: RestoreCommand {
                eds: self.eds.find()?,
                config: session.config()?,
                allow_unsigned: session.settings.ops.allow_unsigned,
            },
            drill: self.drill,
            accept_loss: self.accept_loss,
            patience: Duration::from_secs(self.patience * 60),
        };
        let telling = Telling::new(output.json);
        let restored =
            session.wait(restore(&session.settings, &archive, &options, &|event| telling.tell(event)));
        drop(telling);
        let restored = restored?;
        let text = summary(&restored);
        output.answer(&Answer { ok: true, name: "restored", content: &restored, text, failure: None })?;
        Ok(Exit::Holds)
    }
}

fn summary(restored: &Restored) -> String {
    let data = restored.data.display().to_string();
    let mut text = format!(
        "restored to {}\n  backup    {}\n  log       timeline {}, left for timeline {}\n  server    127.0.0.1:{}, process {}, data {}\n  commit    {}\n  took      {:.1} s: download {:.1}, extract {:.1}, recover {:.1}\n",
        sentence(&restored.target),
        restored.backup,
        restored.followed,
        restored.timeline,
        restored.port,
        restored.pid,
        shell_word(&data),
        restored.last_commit.as_deref().unwrap_or("none after the backup"),
        restored.download_seconds + restored.extract_seconds + restored.recover_seconds,
        restored.download_seconds,
        restored.extract_seconds,
        restored.recover_seconds,
    );
    for note in &restored.notes {
        text.push_str(&format!("  {CARE}note{CARE:#}      {}\n", sentence(note)));
    }
    text.push_str("  next      eds ops verify-recovery --heads HEADS --ledger URL\n");
    text
}
