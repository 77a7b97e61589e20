//! `eds drill s3-object-recovery`.

use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_ops::drill::bucket::{self, BucketDrill};
use edgesentry_ops::drill::objects::{self, ObjectRecovery, PLAN};

use super::consent::{Consent, settings_to_touch};
use super::outcome::Outcome;
use super::servers::WeedArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::threads;

/// Delete and overwrite payloads in S3, and bring them back byte-identical from their versions
///
/// SeaweedFS is started on loopback, with a bucket as eds ops s3-setup makes it. The drill tries to delete
/// every version permanently, which must be refused. With --bucket it uses an existing bucket instead: it
/// makes its own objects below devices/edgesentry-drill- and deletes them at the end, unless Object Lock
/// keeps them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill s3-object-recovery
  eds drill s3-object-recovery --bucket staging.toml --yes")]
pub(super) struct S3ObjectRecovery {
    /// Records whose payloads are stored
    #[arg(long, value_name = "COUNT", default_value_t = objects::RECORDS, value_parser = clap::value_parser!(u64).range(10..))]
    records: u64,
    /// Settings of an existing bucket of payloads
    #[arg(long, value_name = "CONFIG", conflicts_with = "weed")]
    bucket: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    weed: WeedArgs,
    #[command(flatten)]
    outcome: Outcome,
}

impl S3ObjectRecovery {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        if let Some(config) = &self.bucket {
            return self.in_bucket(config, output);
        }
        let drill = ObjectRecovery { weed: self.weed.find()?, records: self.records };
        self.outcome.of(output, &PLAN, async |report| Ok(drill.run(report).await?))
    }
    fn in_bucket(&self, config: &Path, output: &Output) -> Result<Exit, Failure> {
        let drill = BucketDrill { settings: settings_to_touch(config)?, records: self.records };
        let runtime = threads::runtime()?;
        let prepared = runtime.block_on(drill.prepare())?;
        drop(runtime);
        self.consent.obtain(output, &prepared.touches)?;
        self.outcome.of(output, &bucket::PLAN, async |report| Ok(prepared.run(report).await?))
    }
}
