//! `eds ops s3-setup`: a bucket of payloads or of the archive as it must be.

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

/// Set up the bucket of payloads, or of the archive: versions, Object Lock COMPLIANCE, lifecycle, replication; shows what it would do
///
/// Nothing is changed without --apply. A retention in mode COMPLIANCE can be made longer later, never shorter, by nobody.
/// Object Lock holds for what is stored after it was set: of what was stored before the first 1,000 versions are looked at,
/// all with --lock-existing. What the store does not support is said and is no success. Exit code 0 if the bucket is as it must be, 1 if the store
/// refused a step, 3 if something is still to be done or not supported.
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
    /// Days that every new version is kept from everybody
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    retention_days: u32,
    /// ARN of a bucket to which the store copies by itself
    #[arg(long, value_name = "ARN", requires = "replication_role")]
    replicate_to: Option<String>,
    /// ARN of the role that copies
    #[arg(long, value_name = "ARN", requires = "replicate_to")]
    replication_role: Option<String>,
    /// Folder for least-privilege policy documents, one a role: ROLE.json
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Look at all payloads that were stored before, and with --apply lock those that can be deleted
    #[arg(long)]
    lock_existing: bool,
    /// Do it
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
            text.push_str("nothing was changed; --apply does what is to be done\n");
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
