//! Sets up a bucket of payloads or of the archive: reports the differences, and changes them only on request.

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketVersioningStatus, DefaultRetention,
    DeleteMarkerReplication, DeleteMarkerReplicationStatus, Destination, ExpirationStatus,
    LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration,
    ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule,
    ObjectVersion, ReplicationConfiguration, ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus,
    VersioningConfiguration,
};
use edgesentry_chain::count;
use edgesentry_formats::times::now_ms;
use futures::StreamExt;
use serde::Serialize;

use super::versions::after_page;
use super::{Bucket, Holds, Refusal};
use crate::check::Status;
use crate::error::Error;

/// Days after which the parts of an unfinished upload are deleted; they are not objects.
const UNFINISHED_DAYS: i32 = 7;

/// The expected set-up of a bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setup {
    /// The content of the bucket.
    pub holds: Holds,
    /// Days for which every new version is locked. They can be increased later, never reduced.
    pub retention_days: u32,
    /// The replication, if requested.
    pub replication: Option<Replication>,
    /// Check every existing version, and lock the unlocked ones; else check only the first ones.
    pub existing: bool,
}

/// A copy in another bucket, made by the store itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replication {
    /// The ARN of the other bucket, such as `arn:aws:s3:::audit-copy`.
    pub to: String,
    /// The ARN of the role that copies.
    pub role: String,
}

/// A step of the set-up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Step {
    /// The description.
    pub what: String,
    /// Passed: it holds, or was done. Failed: the store rejected it. Unknown: not done, or not supported by this
    /// store.
    pub status: Status,
    /// Whether a change was or is needed.
    pub change: bool,
    /// The response of the store.
    pub evidence: String,
}

impl Setup {
    /// Compares a bucket with this set-up; with `apply` changes the differences. Returns every step, also those after
    /// a rejected one.
    ///
    /// # Errors
    /// The retention is out of range or would become shorter, or the bucket cannot be read. A rejected change is a
    /// failed step.
    pub async fn run(&self, bucket: &Bucket, apply: bool) -> Result<Vec<Step>, Error> {
        if self.retention_days == 0 || self.retention_days > 36_500 {
            return Err(Error::Config("the retention must be 1 to 36500 days".to_owned()));
        }
        let mut steps = Vec::new();
        let there = bucket.exists().await?;
        let what = "the bucket exists".to_owned();
        steps.push(step(what, there, apply, || bucket.create()).await);
        let exists = there || (apply && steps[0].status == Status::Passed);

        let what = "versions are kept".to_owned();
        let holds = exists && bucket.keeps_versions().await?;
        steps.push(step(what, holds, apply && exists, || bucket.keep_versions()).await);

        let days = self.retention_days;
        let what = format!("Object Lock COMPLIANCE, {} by default", count(days.into(), "day"));
        let now = if exists { bucket.lock_days().await? } else { None };
        if now.is_some_and(|now| now > days) {
            return Err(Error::Config(format!(
                "{}: its retention is {} and would become shorter; pass at least as many days",
                bucket.place(),
                count(now.unwrap_or_default().into(), "day")
            )));
        }
        steps.push(step(what, now == Some(days), apply && exists, || bucket.lock(days)).await);
        if there && self.holds == Holds::Payloads {
            steps.push(self.existing(bucket, apply).await?);
        }

        let what = match self.holds {
            Holds::Payloads => {
                format!("unfinished uploads are removed after {UNFINISHED_DAYS} days, and nothing else")
            }
            Holds::Archive => format!(
                "unfinished uploads are removed after {UNFINISHED_DAYS} days, deleted and replaced versions after {days}"
            ),
        };
        let rules = self.lifecycle_rules()?;
        let is = if exists { bucket.lifecycle().await? } else { None };
        let holds = is.as_ref() == Some(&rules);
        steps.push(step(what, holds, apply && exists, || bucket.set_lifecycle(rules)).await);

        if let Some(replication) = &self.replication {
            let what = format!("replication to {}", replication.to);
            let holds = exists && bucket.replicates_to().await? == Some(replication.to.clone());
            steps.push(step(what, holds, apply && exists, || bucket.replicate(replication)).await);
        }
        Ok(steps)
    }

    fn lifecycle_rules(&self) -> Result<Vec<LifecycleRule>, Error> {
        let mut rules = vec![unfinished_uploads()?];
        if self.holds == Holds::Archive {
            rules.push(deleted_versions(self.retention_days)?);
        }
        Ok(rules)
    }
}

impl Setup {
    /// Checks that earlier versions are locked, too: the default retention applies to those stored after it was set.
    async fn existing(&self, bucket: &Bucket, apply: bool) -> Result<Step, Error> {
        let what = "payloads that were stored before are locked".to_owned();
        let most = if self.existing { u64::MAX } else { FIRST };
        let lock = (apply && self.existing).then_some(self.retention_days);
        let Existing { looked_at, unlocked, locked, refused } = bucket.existing(most, lock).await?;
        let of = if looked_at == FIRST && !self.existing { "the first " } else { "" };
        let (status, change, evidence) = match (unlocked, refused) {
            (0, _) => (Status::Passed, false, format!("{of}{looked_at} versions were looked at")),
            (_, Some(refusal)) => {
                (Status::Failed, true, format!("{locked} of {unlocked} were locked; then: {refusal}"))
            }
            (_, None) if lock.is_some() && locked == unlocked => {
                (Status::Passed, true, format!("{locked} of {looked_at} versions were locked"))
            }
            (_, None) => {
                let can = "versions can be deleted permanently; --lock-existing --apply locks them";
                (Status::Unknown, true, format!("{unlocked} of {of}{looked_at} {can}"))
            }
        };
        Ok(Step { what, status, change, evidence })
    }
}

async fn step<F>(what: String, holds: bool, apply: bool, change: impl FnOnce() -> F) -> Step
where
    F: Future<Output = Result<(), Refusal>>,
{
    let (status, evidence) = match (holds, apply) {
        (true, _) => (Status::Passed, "it is so already".to_owned()),
        (false, false) => (Status::Unknown, "to be done".to_owned()),
        (false, true) => match change().await {
            Ok(()) => (Status::Passed, "done".to_owned()),
            // SeaweedFS returns 409 for replication, which it does not support.
            Err(refusal)
                if refusal.is_unsupported() || what.starts_with("replication") && refusal.status == 409 =>
            {
                (Status::Unknown, format!("not supported by this store ({refusal})"))
            }
            Err(refusal) => (Status::Failed, refusal.to_string()),
        },
    };
    Step { what, status, change: !holds, evidence }
}

/// Versions that are checked unless all are requested.
const FIRST: u64 = 1000;
/// Versions that are requested concurrently.
const CONCURRENT_OBJECTS: usize = 16;

/// The locks of the existing versions.
#[derive(Default)]
struct Existing {
    looked_at: u64,
    unlocked: u64,
    locked: u64,
    /// Why a version could not be locked.
    refused: Option<Refusal>,
}

fn unfinished_uploads() -> Result<LifecycleRule, Error> {
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(UNFINISHED_DAYS).build();
    LifecycleRule::builder()
        .id("edgesentry-unfinished-uploads")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .abort_incomplete_multipart_upload(abort)
        .build()
        .map_err(|error| Error::internal("a lifecycle rule lacks something", error))
}

/// Expires the objects that retention has deleted or a receiver has replaced, once Object Lock permits it.
fn deleted_versions(days: u32) -> Result<LifecycleRule, Error> {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    LifecycleRule::builder()
        .id("edgesentry-deleted-versions")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .expiration(LifecycleExpiration::builder().expired_object_delete_marker(true).build())
        .noncurrent_version_expiration(NoncurrentVersionExpiration::builder().noncurrent_days(days).build())
        .build()
        .map_err(|error| Error::internal("a lifecycle rule lacks something", error))
}

/// The lock of a version.
enum Look {
    Locked,
    Unlocked,
    LockedNow,
    Refused(Refusal),
}

fn now_s() -> i64 {
    i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX)
}

fn incomplete(error: impl std::fmt::Display) -> Refusal {
    Refusal { status: 0, code: String::new(), said: error.to_string() }
}

impl Bucket {
    pub(crate) async fn exists(&self) -> Result<bool, Error> {
        match self.client.head_bucket().bucket(&self.name).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(false),
            Err(error) => Err(self.failed("reach the bucket", &Refusal::of(&error))),
        }
    }

    async fn create(&self) -> Result<(), Refusal> {
        let region = self.client.config().region().map(|region| region.as_ref().to_owned());
        let mut create = self.client.create_bucket().bucket(&self.name).object_lock_enabled_for_bucket(true);
        if let Some(region) = region.filter(|region| region != "us-east-1") {
            let constraint = aws_sdk_s3::types::BucketLocationConstraint::from(&*region);
            let place =
                aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(constraint);
            create = create.create_bucket_configuration(place.build());
        }
        create.send().await.map(|_| ()).map_err(|error| Refusal::of(&error))
    }

    pub(crate) async fn keeps_versions(&self) -> Result<bool, Error> {
        let answer = self.client.get_bucket_versioning().bucket(&self.name).send().await;
        let answer = answer.map_err(|error| self.failed("ask for versions", &Refusal::of(&error)))?;
        Ok(answer.status() == Some(&BucketVersioningStatus::Enabled))
    }

    async fn keep_versions(&self) -> Result<(), Refusal> {
        let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let put = self.client.put_bucket_versioning().bucket(&self.name).versioning_configuration(on);
        put.send().await.map(|_| ()).map_err(|error| Refusal::of(&error))
    }

    /// Returns the days of the default retention in mode COMPLIANCE, or `None` if there is no such rule.
    pub(crate) async fn lock_days(&self) -> Result<Option<u32>, Error> {
        let answer = self.client.get_object_lock_configuration().bucket(&self.name).send().await;
        let configuration = match answer {
            Ok(answer) => answer.object_lock_configuration,
            Err(error) => {
                let refusal = Refusal::of(&error);
                if refusal.code == "ObjectLockConfigurationNotFoundError" || refusal.is_unsupported() {
                    return Ok(None);
                }
                return Err(self.failed("ask for Object Lock", &refusal));
            }
        };
        let retention = configuration.and_then(|lock| lock.rule).and_then(|rule| rule.default_retention);
        let Some(retention) =
            retention.filter(|rule| rule.mode() == Some(&ObjectLockRetentionMode::Compliance))
        else {
            return Ok(None);
        };
        let days = retention.days().or_else(|| retention.years().map(|years| years.saturating_mul(365)));
        Ok(days.and_then(|days| u32::try_from(days).ok()))
    }

    async fn lock(&self, days: u32) -> Result<(), Refusal> {
        let days = i32::try_from(days).unwrap_or(i32::MAX);
        let retention =
            DefaultRetention::builder().mode(ObjectLockRetentionMode::Compliance).days(days).build();
        let lock = ObjectLockConfiguration::builder()
            .object_lock_enabled(ObjectLockEnabled::Enabled)
            .rule(ObjectLockRule::builder().default_retention(retention).build())
            .build();
        let put =
            self.client.put_object_lock_configuration().bucket(&self.name).object_lock_configuration(lock);
        put.send().await.map(|_| ()).map_err(|error| Refusal::of(&error))
    }

    /// Checks the retention of at most `most` versions, and locks the unlocked ones for `lock` days from now.
    async fn existing(&self, most: u64, lock: Option<u32>) -> Result<Existing, Error> {
        let mut found = Existing::default();
        let mut after = None;
        loop {
            let page = self.page("", after.as_ref()).await?;
            let left = usize::try_from(most - found.looked_at).unwrap_or(usize::MAX);
            let versions: Vec<_> = page.versions().iter().take(left).collect();
            found.looked_at += versions.len() as u64;
            let looks = versions.into_iter().map(|version| self.look(version, lock));
            let mut looks = futures::stream::iter(looks).buffer_unordered(CONCURRENT_OBJECTS);
            while let Some(look) = looks.next().await {
                match look? {
                    Look::Locked => {}
                    Look::Unlocked => found.unlocked += 1,
                    Look::LockedNow => {
                        (found.unlocked, found.locked) = (found.unlocked + 1, found.locked + 1)
                    }
                    Look::Refused(refusal) => {
                        found.unlocked += 1;
                        found.refused = Some(refusal);
                    }
                }
            }
            let next = after_page(&page);
            if found.refused.is_some() || found.looked_at >= most || next.is_none() || next == after {
                return Ok(found);
            }
            after = next;
        }
    }

    async fn look(&self, version: &ObjectVersion, lock: Option<u32>) -> Result<Look, Error> {
        let (Some(key), Some(id)) = (version.key(), version.version_id()) else { return Ok(Look::Unlocked) };
        let asked =
            self.client.get_object_retention().bucket(&self.name).key(key).version_id(id).send().await;
        let retention = match asked {
            Ok(answer) => answer.retention,
            Err(error) => {
                let refusal = Refusal::of(&error);
                // AWS and compatible stores return 400 if the bucket has no Object Lock, 404 if the version has none.
                if !refusal.is_unsupported() && ![400, 404].contains(&refusal.status) {
                    return Err(self.failed("ask for the retention of a version", &refusal));
                }
                None
            }
        };
        let is_locked = retention.is_some_and(|retention| {
            retention.mode() == Some(&ObjectLockRetentionMode::Compliance)
                && retention.retain_until_date().is_some_and(|until| until.secs() > now_s())
        });
        let Some(days) = lock.filter(|_| !is_locked) else {
            return Ok(if is_locked { Look::Locked } else { Look::Unlocked });
        };
        let until = DateTime::from_secs(now_s() + i64::from(days) * 24 * 3600);
        let retention = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::Compliance)
            .retain_until_date(until)
            .build();
        let put = self.client.put_object_retention().bucket(&self.name).key(key).version_id(id);
        match put.retention(retention).send().await {
            Ok(_) => Ok(Look::LockedNow),
            Err(error) => Ok(Look::Refused(Refusal::of(&error))),
        }
    }

    /// Returns the rules of the lifecycle, or `None` if the store has no lifecycle.
    pub(super) async fn lifecycle(&self) -> Result<Option<Vec<LifecycleRule>>, Error> {
        match self.client.get_bucket_lifecycle_configuration().bucket(&self.name).send().await {
            Ok(answer) => Ok(Some(answer.rules.unwrap_or_default())),
            Err(error) => {
                let refusal = Refusal::of(&error);
                match refusal.code.as_str() {
                    "NoSuchLifecycleConfiguration" => Ok(Some(Vec::new())),
                    _ if refusal.is_unsupported() => Ok(None),
                    _ => Err(self.failed("ask for the lifecycle", &refusal)),
                }
            }
        }
    }

    async fn set_lifecycle(&self, rules: Vec<LifecycleRule>) -> Result<(), Refusal> {
        let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules));
        let rules = rules.build().map_err(incomplete)?;
        let put = self
            .client
            .put_bucket_lifecycle_configuration()
            .bucket(&self.name)
            .lifecycle_configuration(rules);
        put.send().await.map(|_| ()).map_err(|error| Refusal::of(&error))
    }

    /// Returns the bucket that receives the copies.
    pub(super) async fn replicates_to(&self) -> Result<Option<String>, Error> {
        match self.client.get_bucket_replication().bucket(&self.name).send().await {
            Ok(answer) => {
                let rules = answer.replication_configuration.map(|found| found.rules).unwrap_or_default();
                let on = rules.into_iter().find(|rule| rule.status == ReplicationRuleStatus::Enabled);
                Ok(on.and_then(|rule| rule.destination).map(|to| to.bucket))
            }
            Err(error) => {
                let refusal = Refusal::of(&error);
                let none = refusal.code == "ReplicationConfigurationNotFoundError"
                    || refusal.is_unsupported()
                    || refusal.status == 404;
                if none { Ok(None) } else { Err(self.failed("ask for replication", &refusal)) }
            }
        }
    }

    async fn replicate(&self, replication: &Replication) -> Result<(), Refusal> {
        let to = Destination::builder().bucket(&replication.to).build().map_err(incomplete)?;
        // A deletion here must not be replicated.
        let markers =
            DeleteMarkerReplication::builder().status(DeleteMarkerReplicationStatus::Disabled).build();
        let rule = ReplicationRule::builder()
            .id("edgesentry-copy")
            .priority(1)
            .status(ReplicationRuleStatus::Enabled)
            .filter(ReplicationRuleFilter::builder().prefix("").build())
            .delete_marker_replication(markers)
            .destination(to)
            .build()
            .map_err(incomplete)?;
        let rules = ReplicationConfiguration::builder().role(&replication.role).rules(rule).build();
        let rules = rules.map_err(incomplete)?;
        let put = self.client.put_bucket_replication().bucket(&self.name).replication_configuration(rules);
        put.send().await.map(|_| ()).map_err(|error| Refusal::of(&error))
    }
}
