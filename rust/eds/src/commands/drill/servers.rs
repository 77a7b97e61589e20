//! What the drills run on, as options.

use std::path::PathBuf;

use clap::Args;
use edgesentry_ops::drill::Tools;
use edgesentry_ops::postgres::Programs;
use edgesentry_ops::servers::find_weed;

use crate::exit::Failure;

/// PostgreSQL for a drill.
#[derive(Args, Clone, Debug)]
pub(super) struct PostgresArgs {
    /// Folder of the programs of PostgreSQL [default: the newest ones in the usual places]
    #[arg(long, value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
}

/// SeaweedFS for a drill.
#[derive(Args, Clone, Debug)]
pub(super) struct WeedArgs {
    /// The program weed of SeaweedFS [default: that of the variable WEED, of PATH, or of .venv]
    #[arg(long, value_name = "FILE")]
    weed: Option<PathBuf>,
}

/// The program that PostgreSQL archives and recovers with.
#[derive(Args, Clone, Debug)]
pub(super) struct EdsArgs {
    /// The program eds that PostgreSQL runs [default: this one]
    #[arg(long, value_name = "FILE")]
    eds: Option<PathBuf>,
}

/// Everything that a drill of backup and restore needs.
#[derive(Args, Clone, Debug)]
pub(super) struct ToolArgs {
    #[command(flatten)]
    pub(super) postgres: PostgresArgs,
    #[command(flatten)]
    pub(super) weed: WeedArgs,
    #[command(flatten)]
    pub(super) eds: EdsArgs,
}

impl ToolArgs {
    pub(super) fn find(&self) -> Result<Tools, Failure> {
        Ok(Tools { eds: self.eds.find()?, programs: self.postgres.find()?, weed: self.weed.find()? })
    }
}

impl PostgresArgs {
    pub(super) fn find(&self) -> Result<Programs, Failure> {
        Ok(Programs::find(self.postgres_bin.as_deref())?)
    }
}

impl WeedArgs {
    pub(super) fn find(&self) -> Result<PathBuf, Failure> {
        Ok(find_weed(self.weed.as_deref())?)
    }
}

impl EdsArgs {
    pub(super) fn find(&self) -> Result<PathBuf, Failure> {
        let eds = match &self.eds {
            Some(eds) => eds.clone(),
            None => this_program()?,
        };
        if !eds.is_file() {
            let message = format!("{}: there is no such program; name eds itself", eds.display());
            return Err(Failure::usage("program_missing", message));
        }
        Ok(eds)
    }
}

/// This program; under Python the command beside the interpreter, which is `eds` as well.
fn this_program() -> Result<PathBuf, Failure> {
    let missing =
        |why: String| Failure::usage("program_missing", format!("{why}; name the program with --eds"));
    let this = std::env::current_exe()
        .map_err(|error| missing(format!("cannot tell which program this is: {error}")))?;
    if this.file_stem().is_some_and(|name| name == "eds") {
        return Ok(this);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = this.parent().map(PathBuf::from).into_iter().chain(std::env::split_paths(&path));
    let found = beside.map(|folder| folder.join("eds")).find(|eds| eds.is_file());
    found.ok_or_else(|| missing("the program eds is not in PATH".to_owned()))
}
