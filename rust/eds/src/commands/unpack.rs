//! `eds unpack`: writes the payloads of packs into files.

use std::path::PathBuf;

use clap::Args;
use edgesentry_rs::payload::{Folder, Unpacked};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::text::count;

/// Write the payloads in the packs of a directory into files of their own, and remove the packs
///
/// For a release that cannot read packs, or for other programs. Stop the services that write into the directory, and
/// set folder:PATH in place of packs:PATH. Repeating the command continues after an interruption. A pack with a
/// payload that does not have the hash in its name, or with other bytes, stays. Exit code 0 if no pack is left, 3
/// otherwise.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds unpack /var/lib/eds/payloads")]
pub(crate) struct Unpack {
    /// The directory of payloads
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Unpack {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        if !self.directory.is_dir() {
            let message = format!("{}: there is no such directory", self.directory.display());
            return Err(Failure::usage("payloads_unreadable", message));
        }
        let folder = Folder::open(&self.directory).map_err(Failure::from)?;
        let Unpacked { payloads, packs, damaged } = folder.unpack().map_err(Failure::from)?;
        let failure = (damaged > 0).then(|| {
            let message = format!(
                "{}: {} in packs, without the hash in the name or without a header; these packs stay: keep them as \
                 evidence",
                self.directory.display(),
                count(damaged, "damaged payload")
            );
            Failure::unfinished("payloads_damaged", message)
        });
        let exit = failure.as_ref().map_or(Exit::Holds, |failure| failure.exit);
        let content = json!({"payloads": payloads, "packs": packs, "damaged": damaged});
        let text =
            format!("{} written into files, {} removed\n", count(payloads, "payload"), count(packs, "pack"));
        output.answer(&Answer {
            ok: failure.is_none(),
            name: "unpacked",
            content: &content,
            text,
            failure,
        })?;
        Ok(exit)
    }
}
