//! Payloads in S3 or a compatible store.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ObjectLockLegalHoldStatus};
use bytes::Bytes;
use edgesentry_chain::AuditRecord;
use edgesentry_formats::content_path;
use edgesentry_formats::times::now_ms;

use super::{Leftovers, Locked, PayloadStore, Put, Version, damaged, is_of};
use crate::admission::{Admitted, MAX_PAYLOAD_BYTES};
use crate::error::{BoxError, Component, Error, FailureKind, StoreError};
use crate::files::refuse_key;
use crate::s3::{self, BodyError, milliseconds};
use crate::s3_settings::S3Settings;

/// A bucket. A payload is the object under the name of its record, see [`content_path`].
///
/// Writes are conditional (`If-None-Match: *`) and carry a SHA-256 that the server checks.
///
/// Payloads of earlier releases are found at their old keys: `s3://bucket/lift-01/1.bin`, and also the reference
/// `lift-01/1.bin` without a scheme, at the key `lift-01/1.bin`.
#[derive(Debug, Clone)]
pub struct S3 {
    client: Client,
    bucket: Arc<str>,
    place: Arc<str>,
}

/// The name of a version that was stored without one.
const NO_VERSION: &str = "null";

/// Opens a bucket by name.
pub(crate) async fn open(bucket: &str, settings: &S3Settings) -> Result<Arc<dyn PayloadStore>, Error> {
    Ok(Arc::new(S3::connect(bucket, settings).await?))
}

impl S3 {
    /// Creates a client; [`PayloadStore::check`] checks that the bucket can be reached.
    ///
    /// # Errors
    /// The URL names no bucket, or the credentials of the settings are incomplete.
    pub async fn connect(bucket: &str, settings: &S3Settings) -> Result<S3, Error> {
        if bucket.is_empty() || bucket.contains('/') {
            return Err(Error::Config(format!("payloads: expected s3://BUCKET, got s3://{bucket}")));
        }
        let client = settings.client().await?;
        let place = settings.place(&format!("s3://{bucket}"));
        Ok(S3 { client, bucket: bucket.into(), place: place.into() })
    }

    /// Returns the possible keys of the payload of a record: the name of the record, and its key in earlier releases if
    /// they accepted the object reference.
    pub fn keys(&self, record: &AuditRecord) -> Vec<String> {
        let own = content_path(record);
        let old = self.old_key(&record.object_ref).filter(|old| *old != own);
        std::iter::once(own).chain(old).collect()
    }

    /// Returns the key of an object reference in earlier releases; `None` if they refused it.
    fn old_key(&self, object_ref: &str) -> Option<String> {
        let key = match object_ref.split_once("://") {
            None => object_ref,
            Some(("s3", rest)) => rest.split_once('/').filter(|(bucket, _)| *bucket == &*self.bucket)?.1,
            Some(_) => return None,
        };
        refuse_key(key).ok()?;
        Some(key.to_owned())
    }

    /// Reads a version of [`PayloadStore::versions`]; `None` if the store proves that there is none.
    ///
    /// # Errors
    /// The store fails.
    pub async fn version(&self, version: &Version) -> Result<Option<Bytes>, StoreError> {
        self.read(&version.key, Some(&version.id)).await
    }

    /// Writes a payload as the newest version of `key`, with a SHA-256 that the server checks. In a bucket without
    /// versions it overwrites.
    ///
    /// # Errors
    /// The store fails, or refuses the object.
    pub async fn put_on_top(&self, key: &str, payload: Bytes) -> Result<(), StoreError> {
        let put = self.upload(key.to_owned(), payload).send().await;
        put.map(|_| ()).map_err(|error| self.failed("restore a payload", error))
    }

    fn upload(&self, key: String, payload: Bytes) -> PutObjectFluentBuilder {
        let put = self.client.put_object().bucket(&*self.bucket).key(key).body(ByteStream::from(payload));
        put.checksum_algorithm(ChecksumAlgorithm::Sha256).content_type("application/octet-stream")
    }

    async fn read(&self, key: &str, version: Option<&str>) -> Result<Option<Bytes>, StoreError> {
        let action = "read a payload";
        let get = self.client.get_object().bucket(&*self.bucket).key(key);
        let version = version.filter(|version| !version.is_empty()).map(str::to_owned);
        let get = get.set_version_id(version).checksum_mode(ChecksumMode::Enabled);
        match get.send().await {
            Ok(object) => {
                let bytes = s3::body(object, MAX_PAYLOAD_BYTES as u64).await.map_err(|error| match error {
                    BodyError::TooLarge(length) => {
                        let problem = format!("{key:?} has {length} bytes, more than any payload");
                        self.error(action, FailureKind::Setup, problem.into())
                    }
                    BodyError::Broken(error) => self.error(action, FailureKind::Passing, error),
                });
                bytes.map(Some)
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => Ok(None),
            Err(error) => Err(self.failed(action, error)),
        }
    }

    /// Returns the versions of one key, newest first.
    async fn versions_of(&self, key: &str) -> Result<Vec<Version>, StoreError> {
        let mut versions = self.named_versions_of(key).await?;
        for version in &mut versions {
            // The name of the only version in a bucket without versions.
            if version.id == NO_VERSION && !version.deleted {
                version.id.clear();
            }
        }
        versions.sort_by_key(|version| (!version.current, std::cmp::Reverse(version.stored_at_ms)));
        Ok(versions)
    }

    /// Returns the versions of one key, each with the name that deletes it.
    async fn named_versions_of(&self, key: &str) -> Result<Vec<Version>, StoreError> {
        let mut versions: Vec<Version> = Vec::new();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let list = self.client.list_object_versions().bucket(&*self.bucket).prefix(key);
            let list = list.set_key_marker(key_marker.clone()).set_version_id_marker(version_marker.clone());
            let page = list.send().await;
            let page = page.map_err(|error| self.failed("list the versions of a payload", error))?;
            let named = |id: Option<&str>| id.unwrap_or(NO_VERSION).to_owned();
            for version in page.versions().iter().filter(|version| version.key() == Some(key)) {
                versions.push(Version {
                    key: key.to_owned(),
                    id: named(version.version_id()),
                    size_bytes: version.size().unwrap_or(0).cast_unsigned(),
                    stored_at_ms: milliseconds(version.last_modified()),
                    current: version.is_latest().unwrap_or(false),
                    deleted: false,
                });
            }
            for marker in page.delete_markers().iter().filter(|marker| marker.key() == Some(key)) {
                versions.push(Version {
                    key: key.to_owned(),
                    id: named(marker.version_id()),
                    size_bytes: 0,
                    stored_at_ms: milliseconds(marker.last_modified()),
                    current: marker.is_latest().unwrap_or(false),
                    deleted: true,
                });
            }
            if page.is_truncated() != Some(true) {
                return Ok(versions);
            }
            let next = page.next_key_marker().map(str::to_owned);
            let next = (next, page.next_version_id_marker().map(str::to_owned));
            // Keys come in order, so longer ones are behind.
            if next.0.as_deref().is_some_and(|next| next > key) {
                return Ok(versions);
            }
            if next.0.is_none() || next == (key_marker, version_marker) {
                let problem =
                    format!("the list of the versions of {key:?} is cut, and has no marker of its rest");
                return Err(self.error("list the versions of a payload", FailureKind::Setup, problem.into()));
            }
            (key_marker, version_marker) = next;
        }
    }

    /// Deletes one version for good; returns it if Object Lock keeps it.
    async fn erase_version(&self, version: Version) -> Result<Option<Locked>, StoreError> {
        let delete = self.client.delete_object().bucket(&*self.bucket).key(&version.key);
        let Err(error) = delete.version_id(&version.id).send().await else { return Ok(None) };
        let status = error.raw_response().map(|response| response.status().as_u16());
        match status {
            Some(404) => Ok(None),
            Some(400..500) if !version.deleted => match self.lock_of(&version).await? {
                Some(until_ms) => Ok(Some(Locked { version, until_ms })),
                None => Err(self.failed("delete a payload", error)),
            },
            _ => Err(self.failed("delete a payload", error)),
        }
    }

    /// Returns the end of the retention of a version, or no time if a legal hold keeps it; `None` if it is not locked.
    async fn lock_of(&self, version: &Version) -> Result<Option<Option<u64>>, StoreError> {
        let head = self.client.head_object().bucket(&*self.bucket).key(&version.key).version_id(&version.id);
        let head =
            head.send().await.map_err(|error| self.failed("read the retention of a payload", error))?;
        if head.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On) {
            return Ok(Some(None));
        }
        let until_ms = milliseconds(head.object_lock_retain_until_date());
        Ok((until_ms > now_ms()).then_some(Some(until_ms)))
    }

    fn error(&self, action: &'static str, kind: FailureKind, source: BoxError) -> StoreError {
        let place = Arc::clone(&self.place);
        StoreError { component: Component::RawDataStore, action, place, kind, source: Arc::from(source) }
    }

    fn failed<E>(&self, action: &'static str, error: SdkError<E>) -> StoreError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let (kind, source) = s3::reason(error);
        self.error(action, kind, source)
    }
}

#[async_trait]
impl PayloadStore for S3 {
    fn place(&self) -> &str {
        &self.place
    }

    async fn check(&self) -> Result<(), StoreError> {
        let answer = self.client.head_bucket().bucket(&*self.bucket).send().await;
        let Err(error) = answer else { return Ok(()) };
        let (kind, source) = s3::unreachable(error);
        Err(self.error("reach the bucket", kind, source))
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        let action = "store the payload";
        let key = content_path(admitted.record());
        let put = self.upload(key.clone(), admitted.payload().clone()).if_none_match("*");
        let Err(error) = put.send().await else { return Ok(Put::Stored) };
        let taken = error.raw_response().is_some_and(|response| response.status().as_u16() == 412);
        if !taken {
            return Err(self.failed(action, error));
        }
        // An earlier attempt whose response was lost, or a resent record.
        match self.read(&key, None).await? {
            Some(there) if there == admitted.payload() => Ok(Put::AlreadyThere),
            Some(_) => Err(self.error(action, FailureKind::Setup, damaged(&key).into())),
            None => {
                let problem = "the object was deleted meanwhile";
                Err(self.error(action, FailureKind::Passing, problem.into()))
            }
        }
    }

    async fn get(&self, record: &AuditRecord) -> Result<Option<Bytes>, StoreError> {
        let own = self.read(&content_path(record), None).await?;
        if own.as_ref().is_some_and(|own| is_of(record, own)) {
            return Ok(own);
        }
        let Some(key) = self.old_key(&record.object_ref) else { return Ok(own) };
        let old = self.read(&key, None).await?;
        let old_is_right = own.is_none() || old.as_ref().is_some_and(|old| is_of(record, old));
        Ok(if old_is_right { old } else { own })
    }

    async fn versions(&self, record: &AuditRecord) -> Result<Vec<Version>, StoreError> {
        let mut versions = Vec::new();
        for key in self.keys(record) {
            versions.extend(self.versions_of(&key).await?);
        }
        Ok(versions)
    }

    fn names(&self, record: &AuditRecord) -> Vec<String> {
        self.keys(record)
    }

    async fn erase(&self, record: &AuditRecord, name: &str) -> Result<Leftovers, StoreError> {
        let is_own = name == content_path(record);
        let mut leftovers = Leftovers::default();
        let versions = self.named_versions_of(name).await?;
        let (markers, versions): (Vec<Version>, Vec<Version>) =
            versions.into_iter().partition(|version| version.deleted);
        for version in versions {
            if !is_own {
                if version.size_bytes > MAX_PAYLOAD_BYTES as u64 {
                    continue;
                }
                let there = self.read(name, Some(&version.id)).await?;
                if !there.is_some_and(|there| is_of(record, &there)) {
                    continue;
                }
            }
            leftovers.locked.extend(self.erase_version(version).await?);
        }
        // A marker hides the versions below it.
        if is_own && leftovers.locked.is_empty() {
            for marker in markers {
                self.erase_version(marker).await?;
            }
        }
        Ok(leftovers)
    }
}
