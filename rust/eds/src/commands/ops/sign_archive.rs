//! `eds ops sign-archive`: signs the two objects that name the owner of an archive.

use clap::Args;
use edgesentry_ops::marks::{Mark, sign};
use serde_json::json;

use super::session::Session;
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;
use crate::text::sentence;

/// Sign archive.json and adopted.json, which name the owner of the archive: for an archive from before they
/// were signed, or after a key was replaced
///
/// Shows their content and their signatures; with --apply the key of ops.signing_key signs them as they are.
/// Compare the cluster and the restored copy with your own first: servers archive, and backups are restored,
/// according to these files. Exit code 0 if a trusted key has signed both, 3 if not.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ops sign-archive
  eds ops sign-archive --apply")]
pub(super) struct SignArchive {
    /// Sign the files
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    file: ConfigFile,
}

impl SignArchive {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let archive = session.archive()?;
        let marks = session.wait(sign(&archive, self.apply))?;
        let all = marks.iter().all(|mark| mark.signed_by.is_some());
        let mut text: String = marks.iter().map(line).collect();
        if !all && !self.apply {
            text.push_str("nothing was signed; --apply signs them as they are\n");
        }
        let content = json!({"archive": archive.place(), "applied": self.apply, "marks": marks});
        output.answer(&Answer { ok: all, name: "signed", content: &content, text, failure: None })?;
        Ok(if all { Exit::Holds } else { Exit::Unfinished })
    }
}

fn line(mark: &Mark) -> String {
    let standing = match (&mark.signed_by, &mark.problem) {
        (Some(key), _) => format!("signed by the key {key}"),
        (None, Some(problem)) => sentence(problem).to_string(),
        (None, None) => "not signed, and no key is named in the settings".to_owned(),
    };
    format!("{}  {}\n  {standing}\n", mark.key, sentence(&mark.content.to_string()))
}
