//! The servers of the drills, as options.

use std::path::PathBuf;

use clap::Args;
use edgesentry_ops::drill::Tools;
use edgesentry_ops::postgres::Programs;
use edgesentry_ops::servers::find_weed;

use crate::commands::program::EdsArgs;
use crate::exit::Failure;

/// PostgreSQL for a drill.
#[derive(Args, Clone, Debug)]
pub(super) struct PostgresArgs {
    /// Directory of the programs of PostgreSQL [default: the newest ones in the usual directories]
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
