//! Tests of a bucket's protection.
//!
//! The tests leave small objects under `edgesentry-check/`: if Object Lock works, no user can remove them before
//! their retention ends.

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule, ObjectLockMode, ObjectLockRetentionMode};
use edgesentry_chain::count;

use super::{Bucket, Holds, Refusal};
use crate::check::Check;
use crate::error::Error;
use crate::random::random;

/// The prefix of the test objects.
const PREFIX: &str = "edgesentry-check";
const VERSIONS: &str = "an overwritten object is kept as a version";
const LOCKED: &str = "Object Lock COMPLIANCE holds by default";
const UNDELETABLE: &str = "a version cannot be deleted";
const UNSHORTENED: &str = "its retention cannot be shortened";
const CONDITIONAL: &str = "a write under If-None-Match does not overwrite";
const CHECKSUM: &str = "a write with a wrong checksum is refused";
const SECRET: &str = "a wrong secret is refused";
const LIFECYCLE: &str = "the lifecycle deletes no version";
const ARCHIVE_LIFECYCLE: &str = "the lifecycle deletes no current version";
const REPLICATION: &str = "the store replicates";

/// Tests everything that the protection of a bucket rests on. `retention_days` is the minimum default retention.
///
/// # Errors
/// The bucket does not exist, or a request fails. A missing protection is a failed check.
pub async fn check(bucket: &Bucket, holds: Holds, retention_days: u32) -> Result<Vec<Check>, Error> {
    if !bucket.exists().await? {
        return Err(Error::Config(format!("{}: the bucket does not exist", bucket.place())));
    }
    let trial = Trial { bucket, key: format!("{PREFIX}/{}", hex::encode(random::<8>()?)) };
    let mut checks = vec![trial.wrong_secret().await];
    let (overwritten, first) = trial.overwrite().await;
    checks.push(overwritten);
    checks.push(locked(bucket, retention_days, first.as_ref()).await?);
    match &first {
        Some(first) => {
            checks.push(trial.delete_version(first).await);
            checks.push(trial.shorten(first).await);
        }
        None => {
            checks.push(Check::unknown(UNDELETABLE, "no version was stored"));
            checks.push(Check::unknown(UNSHORTENED, "no version was stored"));
        }
    }
    checks.push(trial.conditional().await);
    checks.push(trial.checksum().await);
    checks.push(lifecycle(bucket, holds).await?);
    checks.push(replication(bucket).await?);
    Ok(checks)
}

/// The objects of one run.
struct Trial<'a> {
    bucket: &'a Bucket,
    key: String,
}

/// A stored version, and its retention.
struct Version {
    id: String,
    kept: Option<(ObjectLockMode, DateTime)>,
}

impl Trial<'_> {
    async fn put(&self, key: &str, text: &'static str) -> Result<Option<String>, Refusal> {
        let put = self.bucket.client.put_object().bucket(&self.bucket.name).key(key);
        let put = put.body(ByteStream::from_static(text.as_bytes()));
        let put = put.checksum_algorithm(aws_sdk_s3::types::ChecksumAlgorithm::Sha256).send().await;
        put.map(|put| put.version_id).map_err(|error| Refusal::of(&error))
    }

    async fn overwrite(&self) -> (Check, Option<Version>) {
        let stored = async {
            Ok::<_, Refusal>((self.put(&self.key, "first").await?, self.put(&self.key, "second").await?))
        };
        let id = match stored.await {
            Ok((Some(first), Some(second))) if first != second && first != "null" => first,
            Ok(_) => {
                return (
                    Check::new(VERSIONS, false, "the store names no versions: the first one is gone"),
                    None,
                );
            }
            Err(refusal) => return (Check::unknown(VERSIONS, refusal.to_string()), None),
        };
        let get = self.bucket.client.get_object().bucket(&self.bucket.name).key(&self.key).version_id(&id);
        match get.send().await {
            Ok(object) => {
                let kept = object.object_lock_mode.clone().zip(object.object_lock_retain_until_date);
                let bytes = object.body.collect().await.map(|bytes| bytes.into_bytes()).unwrap_or_default();
                let holds = &bytes[..] == b"first";
                let check = Check::new(
                    VERSIONS,
                    holds,
                    format!("version {id} of {} reads {} bytes", self.key, bytes.len()),
                );
                (check, Some(Version { id, kept }))
            }
            Err(error) => {
                (Check::new(VERSIONS, false, format!("version {id}: {}", Refusal::of(&error))), None)
            }
        }
    }

    async fn delete_version(&self, version: &Version) -> Check {
        let delete = |bypass: Option<bool>| {
            let delete = self.bucket.client.delete_object().bucket(&self.bucket.name).key(&self.key);
            delete.version_id(&version.id).set_bypass_governance_retention(bypass).send()
        };
        let mut said = Vec::new();
        for bypass in [None, Some(true)] {
            match delete(bypass).await {
                Ok(_) => {
                    return Check::new(
                        UNDELETABLE,
                        false,
                        format!("version {} of {} was deleted", version.id, self.key),
                    );
                }
                Err(error) => said.push(Refusal::of(&error).to_string()),
            }
        }
        // Rejected, and the version still exists.
        let head =
            self.bucket.client.head_object().bucket(&self.bucket.name).key(&self.key).version_id(&version.id);
        Check::new(UNDELETABLE, head.send().await.is_ok(), said.swap_remove(0))
    }

    async fn shorten(&self, version: &Version) -> Check {
        let Some((ObjectLockMode::Compliance, until)) = &version.kept else {
            return Check::new(UNSHORTENED, false, "the version has no retention in mode COMPLIANCE");
        };
        let sooner = DateTime::from_secs(until.secs() - 3600);
        let retention = aws_sdk_s3::types::ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::Compliance)
            .retain_until_date(sooner)
            .build();
        let put = self.bucket.client.put_object_retention().bucket(&self.bucket.name).key(&self.key);
        match put.version_id(&version.id).retention(retention).send().await {
            Ok(_) => Check::new(UNSHORTENED, false, "it was shortened by an hour"),
            Err(error) => Check::new(UNSHORTENED, true, Refusal::of(&error).to_string()),
        }
    }

    async fn conditional(&self) -> Check {
        let put = self.bucket.client.put_object().bucket(&self.bucket.name).key(&self.key).if_none_match("*");
        let refusal = match put.body(ByteStream::from_static(b"third")).send().await {
            Ok(_) => return Check::new(CONDITIONAL, false, "it overwrote the object"),
            Err(error) => Refusal::of(&error),
        };
        Check::new(CONDITIONAL, refusal.status == 412, refusal.to_string())
    }

    async fn checksum(&self) -> Check {
        // The SHA-256 of empty content, for an object that is not empty.
        const OF_NOTHING: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let key = format!("{}-checksum", self.key);
        let put =
            self.bucket.client.put_object().bucket(&self.bucket.name).key(key).checksum_sha256(OF_NOTHING);
        match put.body(ByteStream::from_static(b"something")).send().await {
            Ok(_) => Check::new(CHECKSUM, false, "it was accepted"),
            Err(error) => {
                let refusal = Refusal::of(&error);
                Check::new(CHECKSUM, refusal.status == 400, refusal.to_string())
            }
        }
    }

    async fn wrong_secret(&self) -> Check {
        let mut settings = self.bucket.settings.clone();
        if settings.access_key_id.is_none() {
            return Check::unknown(
                SECRET,
                "the credentials come from the AWS chain, so no wrong secret was tried",
            );
        }
        settings.secret_access_key = Some("not-the-secret".to_owned().into());
        settings.attempts = 1;
        let client = match settings.client().await {
            Ok(client) => client,
            Err(error) => return Check::unknown(SECRET, edgesentry_rs::error::describe(&error)),
        };
        match client.list_objects_v2().bucket(&self.bucket.name).max_keys(1).send().await {
            Ok(_) => Check::new(SECRET, false, "it was accepted"),
            Err(error) => {
                let refusal = Refusal::of(&error);
                Check::new(SECRET, refusal.status == 403, refusal.to_string())
            }
        }
    }
}

impl Bucket {
    /// Deletes an object as any user with the permission may: in a bucket with versions it gets a delete marker.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), Error> {
        let delete = self.client.delete_object().bucket(&self.name).key(key).send().await;
        delete.map(|_| ()).map_err(|error| self.failed("delete an object", &Refusal::of(&error)))
    }

    /// Tries to delete a version for good; returns true if the store deleted it.
    pub(crate) async fn delete_version(&self, key: &str, version: &str) -> Result<bool, Error> {
        let delete = self.client.delete_object().bucket(&self.name).key(key).version_id(version);
        match delete.bypass_governance_retention(true).send().await {
            Ok(_) => Ok(true),
            Err(error) => match Refusal::of(&error) {
                refusal if refusal.status == 0 => Err(self.failed("delete a version", &refusal)),
                _ => Ok(false),
            },
        }
    }
}

async fn locked(bucket: &Bucket, least: u32, stored: Option<&Version>) -> Result<Check, Error> {
    let Some(days) = bucket.lock_days().await? else {
        return Ok(Check::new(
            LOCKED,
            false,
            "there is no default retention in mode COMPLIANCE; see eds ops s3-setup",
        ));
    };
    let set = count(days.into(), "day");
    let evidence = match stored.and_then(|version| version.kept.as_ref()) {
        None => format!("the default retention is {set}, but a new version has none"),
        Some((mode, until)) => {
            format!("the default retention is {set}; a new version is kept in mode {mode} until {until}")
        }
    };
    let holds = days >= least
        && stored.is_some_and(|version| matches!(&version.kept, Some((ObjectLockMode::Compliance, _))));
    let evidence = if days < least {
        format!("{evidence}; required: at least {}", count(least.into(), "day"))
    } else {
        evidence
    };
    Ok(Check::new(LOCKED, holds, evidence))
}

async fn lifecycle(bucket: &Bucket, holds: Holds) -> Result<Check, Error> {
    let name = if holds == Holds::Archive { ARCHIVE_LIFECYCLE } else { LIFECYCLE };
    let Some(rules) = bucket.lifecycle().await? else {
        return Ok(Check::unknown(name, "not supported by this store"));
    };
    let on = rules.iter().filter(|rule| rule.status == ExpirationStatus::Enabled);
    let deletes_current = |rule: &&LifecycleRule| {
        rule.expiration
            .as_ref()
            .is_some_and(|expiration| expiration.days().is_some() || expiration.date().is_some())
    };
    let deleting: Vec<&str> = on
        .filter(|rule| match holds {
            Holds::Payloads => rule.expiration.is_some() || rule.noncurrent_version_expiration.is_some(),
            // Versions that retention has deleted must expire eventually; Object Lock sets the earliest time.
            Holds::Archive => deletes_current(rule),
        })
        .map(|rule| rule.id.as_deref().unwrap_or("without a name"))
        .collect();
    let what = if holds == Holds::Archive { "a current version" } else { "an object or a version" };
    let evidence = match deleting.as_slice() {
        [] => format!("{} rules, none of which deletes {what}", rules.len()),
        names => format!("rules that delete: {}", names.join(", ")),
    };
    Ok(Check::new(name, deleting.is_empty(), evidence))
}

async fn replication(bucket: &Bucket) -> Result<Check, Error> {
    Ok(match bucket.replicates_to().await? {
        Some(to) => Check::new(REPLICATION, true, format!("to {to}; whether copies arrive was not tried")),
        None => {
            Check::unknown(REPLICATION, "no replication is configured, or this store does not support it")
        }
    })
}
