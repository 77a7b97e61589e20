//! `eds ops s3-setup`: sets up a bucket of payloads or of the archive.

use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_ops::check::{Check, Status};
use edgesentry_ops::s3::{self, Holds, Replication, Setup, Step};
use serde_json::json;

use super::bucket::BucketArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::outputs::{cannot_write, save_to};
use crate::text::sentence;

/// Set up the bucket of payloads, or of the archive: versions, Object Lock COMPLIANCE, lifecycle,
/// replication; without --apply only show the steps
///
/// Nothing is changed without --apply. A retention in mode COMPLIANCE can be made longer later, but no
/// account can make it shorter. Object Lock holds for objects that are stored after it was set: of older
/// versions the first 1,000 are checked, all of them with --lock-existing. The command reports steps that the
/// store does not support. Exit code 0 if the bucket is set up, 1 if the store refused a step, 3 if a step
/// remains or is not supported.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ops s3-setup s3://audit-payloads --retention-days 3650
  eds ops s3-setup s3://audit-payloads --retention-days 3650 --apply
  eds ops s3-setup s3://audit-payloads --retention-days 3650 --policies policies/
  eds ops s3-setup --archive s3://audit-archive --retention-days 30 --policies policies/")]
pub(super) struct S3Setup {
    #[command(flatten)]
    bucket: BucketArgs,
    /// Days during which no account can delete a new version
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    retention_days: u32,
    /// ARN of a bucket to which the store replicates
    #[arg(long, value_name = "ARN", requires = "replication_role")]
    replicate_to: Option<String>,
    /// ARN of the role that copies
    #[arg(long, value_name = "ARN", requires = "replicate_to")]
    replication_role: Option<String>,
    /// Directory for least-privilege policy documents, one for each role: ROLE.json
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Check all payloads that were stored before, and with --apply lock those that can be deleted
    #[arg(long)]
    lock_existing: bool,
    /// Apply the changes
    #[arg(long)]
    apply: bool,
}

impl S3Setup {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let (session, bucket) = self.bucket.open()?;
        let replication = self.replicate_to.clone().zip(self.replication_role.clone());
        let setup = Setup {
            holds: self.bucket.holds(),
            retention_days: self.retention_days,
            replication: replication.map(|(to, role)| Replication { to, role }),
            existing: self.lock_existing,
        };
        let steps = session.wait_or(
            "steps that were done already stay done; run it again to see which",
            setup.run(&bucket, self.apply),
        )?;
        let files = self
            .policies
            .as_deref()
            .map(|folder| write_policies(folder, bucket.name(), self.bucket.holds()))
            .transpose()?;
        let checks: Vec<Check> = steps
            .iter()
            .map(|step| Check {
                name: step.what.clone(),
                status: step.status,
                evidence: step.evidence.clone(),
            })
            .collect();
        let mut text = super::checklist::text(&bucket.place(), &checks);
        if !self.apply && steps.iter().any(|step| step.change) {
            text.push_str("nothing was changed; --apply carries out the steps\n");
        }
        for file in files.iter().flatten() {
            text.push_str(&format!("policy {}\n", sentence(file)));
        }
        let exit = exit(&steps);
        let content =
            json!({"bucket": bucket.place(), "applied": self.apply, "steps": steps, "policies": files});
        output.answer(&Answer {
            ok: exit == Exit::Holds,
            name: "setup",
            content: &content,
            text,
            failure: None,
        })?;
        Ok(exit)
    }
}

fn exit(steps: &[Step]) -> Exit {
    let has = |status| steps.iter().any(|step| step.status == status);
    if has(Status::Failed) {
        Exit::Findings
    } else if has(Status::Unknown) {
        Exit::Unfinished
    } else {
        Exit::Holds
    }
}

fn write_policies(folder: &Path, bucket: &str, holds: Holds) -> Result<Vec<String>, Failure> {
    std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    let write = |policy: s3::Policy| {
        let path = folder.join(format!("{}.json", policy.role));
        let document = serde_json::to_string_pretty(&policy.document).unwrap_or_default() + "\n";
        save_to(&path, &document)?;
        Ok(path.display().to_string())
    };
    s3::policies(bucket, holds).into_iter().map(write).collect()
}
