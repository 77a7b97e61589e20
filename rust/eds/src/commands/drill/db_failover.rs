//! `eds drill db-failover`.

use clap::Args;
use edgesentry_ops::drill::failover::{Failover, PLAN};

use super::outcome::Outcome;
use super::servers::PostgresArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Kill the primary under load, fence it, promote its standby: no acknowledged record may be lost
///
/// A primary and a synchronous standby are started on loopback. Devices send through the list of both hosts while the
/// primary and all its processes are killed with SIGKILL. The old primary is fenced, comes back, and must refuse writes;
/// the new one gets a synchronous standby again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill db-failover
  eds drill db-failover --records 1000000 --report-dir drills
  eds drill db-failover --asynchronous             shows what is lost without a synchronous standby")]
pub(super) struct DbFailover {
    /// Records in the ledger before the load begins
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    records: u64,
    /// Records that the load brings before the crash and after each step
    #[arg(long, value_name = "COUNT", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    load: u64,
    /// With an asynchronous standby that is a second behind: records are lost, and the drill fails
    #[arg(long)]
    asynchronous: bool,
    #[command(flatten)]
    postgres: PostgresArgs,
    #[command(flatten)]
    outcome: Outcome,
}

impl DbFailover {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let drill = Failover {
            programs: self.postgres.find()?,
            records: self.records,
            load: self.load,
            asynchronous: self.asynchronous,
        };
        self.outcome.of(output, &PLAN, async |report| Ok(drill.run(report).await?))
    }
}
