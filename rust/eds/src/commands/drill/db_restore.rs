//! `eds drill db-restore`.

use clap::Args;
use edgesentry_ops::drill::restore::{PLAN, RestoreDrill};

use super::outcome::Outcome;
use super::servers::{EdsArgs, PostgresArgs, WeedArgs};
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Back up, archive, destroy records, and restore to the moment before: every chain must verify
///
/// A primary archives into an S3 of the drill's own. Half of the records are in the base backup, half in the write-ahead
/// log behind it. Records are then deleted in the database, and a new server is restored to the moment before.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill db-restore
  eds drill db-restore --records 1000000           how long it takes at this size")]
pub(super) struct DbRestore {
    /// Records up to the moment that is restored to
    #[arg(long, value_name = "COUNT", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..))]
    records: u64,
    #[command(flatten)]
    postgres: PostgresArgs,
    #[command(flatten)]
    weed: WeedArgs,
    #[command(flatten)]
    eds: EdsArgs,
    #[command(flatten)]
    outcome: Outcome,
}

impl DbRestore {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let drill =
            RestoreDrill { tools: self.eds.tools(&self.postgres, &self.weed)?, records: self.records };
        self.outcome.of(output, &PLAN, async |report| Ok(drill.run(report).await?))
    }
}
