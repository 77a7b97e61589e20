//! `eds ops s3-check`: tests the protection of a bucket of payloads or of the archive.

use clap::Args;
use edgesentry_ops::s3::check;

use super::bucket::BucketArgs;
use super::checklist;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Check the protection of the bucket of payloads, or of the archive, by trying to break it
///
/// The command overwrites, deletes and damages small test objects under edgesentry-check/, which must be
/// refused or leave versions; they stay until their retention has ended. Exit code 0 if every check holds, 1
/// if one does not, 3 if one could not run or the store does not support it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ops s3-check s3://audit-payloads --retention-days 3650
  eds ops s3-check --archive s3://audit-archive --retention-days 30")]
pub(super) struct S3Check {
    #[command(flatten)]
    bucket: BucketArgs,
    /// Minimum default retention
    #[arg(long, value_name = "DAYS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    retention_days: u32,
}

impl S3Check {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let (session, bucket) = self.bucket.open()?;
        let checks = session.wait_or(
            "objects under edgesentry-check/ stay until their retention is over",
            check(&bucket, self.bucket.holds(), self.retention_days),
        )?;
        checklist::answer(output, &bucket.place(), &checks)
    }
}
