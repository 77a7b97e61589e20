//! `eds ops adopt`: a restored copy archives from now on.

use std::path::PathBuf;

use clap::Args;
use edgesentry_ops::adopt::{Adopt, Adoption, adopt};
use edgesentry_ops::restore::RestoreCommand;

use super::session::Session;
use crate::commands::program::EdsArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;
use crate::text::name;

/// Allow a restored copy to archive its write-ahead log: into a new archive, or into the archive of the original server,
/// which can then no longer archive
///
/// A restored copy archives nothing before this command. The archive is ops.archive of the settings. If the
/// original archived there, --take-over is required. It is refused if the original responds, or has archived
/// since the copy was restored; afterwards the archive accepts no file of the original. Without it the
/// archive of the original stays unchanged. Take a base backup next.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ops adopt --data /srv/restored --config /etc/eds/restored.toml     into its own archive
  eds ops adopt --data /srv/restored --take-over                         the original has stopped")]
pub(super) struct AdoptCopy {
    /// Data directory of the copy, as given to eds ops restore
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Take over the archive of the original, which has stopped permanently
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    eds: EdsArgs,
    #[command(flatten)]
    file: ConfigFile,
}

impl AdoptCopy {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let archive = session.archive()?;
        let data = std::path::absolute(&self.data)
            .map_err(|error| Failure::usage("config", format!("{}: {error}", self.data.display())))?;
        let options = Adopt {
            data,
            command: RestoreCommand {
                eds: self.eds.find()?,
                config: session.config()?,
                allow_unsigned: false,
            },
            take_over: self.take_over,
        };
        let adoption = session.wait_or(
            "the archive may be handed over already; run it again to continue",
            adopt(&session.settings, &archive, &options),
        )?;
        let text = summary(&adoption);
        output.answer(&Answer { ok: true, name: "adopted", content: &adoption, text, failure: None })?;
        Ok(Exit::Holds)
    }
}

fn summary(adoption: &Adoption) -> String {
    let mut text =
        format!("adopted: timeline {} is archived in {}\n", adoption.timeline, name(&adoption.archive));
    text.push_str(if adoption.taken_over {
        "  original  refused from now on: the archive accepts only this copy and its successors\n"
    } else {
        "  original  as it was, with its own archive\n"
    });
    text.push_str(if adoption.running {
        "  server    reloads its settings\n"
    } else {
        "  server    archives when it is started\n"
    });
    text.push_str("  next      eds ops backup\n");
    text
}
