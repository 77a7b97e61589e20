//! `eds drill s3-object-recovery`.

use clap::Args;
use edgesentry_ops::drill::objects::{ObjectRecovery, PLAN};

use super::outcome::Outcome;
use super::servers::WeedArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Delete and overwrite payloads in S3, and bring them back byte-identical from their versions
///
/// SeaweedFS is started on loopback, with a bucket as eds ops s3-setup makes it. Every version is tried to be deleted
/// for good, which must be refused.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill s3-object-recovery")]
pub(super) struct S3ObjectRecovery {
    /// Records whose payloads are stored
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..))]
    records: u64,
    #[command(flatten)]
    weed: WeedArgs,
    #[command(flatten)]
    outcome: Outcome,
}

impl S3ObjectRecovery {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let drill = ObjectRecovery { weed: self.weed.find()?, records: self.records };
        self.outcome.of(output, &PLAN, async |report| Ok(drill.run(report).await?))
    }
}
