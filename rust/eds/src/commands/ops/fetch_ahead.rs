//! `eds ops fetch-ahead`: the process that a restore runs beside PostgreSQL.

use std::path::PathBuf;

use clap::Args;
use edgesentry_ops::wal::{Segment, fetch_ahead};
use serde_json::json;

use super::session::{Session, Signatures};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;

/// Fetch write-ahead log ahead of replay: run by eds ops restore, as the user whom PostgreSQL runs as
///
/// It ends when the last segment that is archived by now was fetched, or with an error at the first one that cannot be.
#[derive(Args, Debug)]
pub(super) struct FetchAhead {
    /// The first segment
    #[arg(value_name = "SEGMENT")]
    from: Segment,
    /// The folder: edgesentry_ahead in pg_wal
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The timeline that is followed
    #[arg(long, value_name = "N")]
    timeline: u32,
    #[command(flatten)]
    signatures: Signatures,
    #[command(flatten)]
    file: ConfigFile,
}

impl FetchAhead {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?.with(&self.signatures);
        let archive = session.archive()?;
        let segments = session.wait(fetch_ahead(&archive, self.from, self.timeline, &self.folder))?;
        let content = json!({"segments": segments});
        output.answer(&Answer {
            ok: true,
            name: "wal",
            content: &content,
            text: String::new(),
            failure: None,
        })?;
        Ok(Exit::Holds)
    }
}
