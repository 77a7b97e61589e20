//! `eds drill rpo`.

use std::time::Duration;

use clap::Args;
use edgesentry_ops::drill::rpo::{self, PLAN, Rpo as Drill};

use super::outcome::Outcome;
use super::servers::ToolArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Lose the primary with its disk between two archived segments, and measure the loss without and with the WAL receiver
///
/// The primary is killed with SIGKILL after --seconds of load and abandoned; a new server is restored from
/// the archive. The drill runs with the archive alone, then with the WAL receiver, which receives write-ahead
/// log as it is written.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill rpo
  eds drill rpo --seconds 58                       nearly the worst case of --archive-timeout 60")]
pub(super) struct Rpo {
    /// Seconds of load before the crash
    #[arg(long, value_name = "SECONDS", default_value_t = rpo::LOAD.as_secs(), value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// archive_timeout of the primary, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = rpo::ARCHIVE_TIMEOUT.as_secs(), value_parser = clap::value_parser!(u64).range(1..=3600))]
    archive_timeout: u64,
    #[command(flatten)]
    tools: ToolArgs,
    #[command(flatten)]
    outcome: Outcome,
}

impl Rpo {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let drill = Drill {
            tools: self.tools.find()?,
            load: Duration::from_secs(self.seconds),
            archive_timeout: Duration::from_secs(self.archive_timeout),
        };
        self.outcome.of(output, &PLAN, async |report| Ok(drill.run(report).await?))
    }
}
