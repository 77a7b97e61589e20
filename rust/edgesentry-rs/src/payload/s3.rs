//! Payloads in S3 or a compatible store.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use bytes::Bytes;
use edgesentry_chain::AuditRecord;
use edgesentry_formats::content_path;

use super::{PayloadStore, Put, Version, damaged, is_of};
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

/// Opens a bucket by name.
pub(crate) async fn open(bucket: &str, settings: &S3Settings) -> Result<Arc<dyn PayloadStore>, Error> {
    Ok(Arc::new(S3::connect(bucket, settings).await?))
}

impl S3 {
    /// Creates a client; [`PayloadStore::check`] checks that the bucket can be reached.
    pub async fn connect(bucket: &str, settings: &S3Settings) -> Result<S3, Error> {
        if bucket.is_empty() || bucket.contains('/') {
            return Err(Error::Config(format!("payloads: s3://BUCKET is wanted, not s3://{bucket}")));
        }
        let client = settings.client().await?;
        let place = settings.place(&format!("s3://{bucket}"));
        Ok(S3 { client, bucket: bucket.into(), place: place.into() })
    }

    /// Returns the possible keys of the payload of a record: the name of the record, and its key in earlier releases if
    /// they accepted the object reference.
    pub fn keys(&self, record: &AuditRecord) -> Vec<String> {
        std::iter::once(content_path(record)).chain(self.old_key(&record.object_ref)).collect()
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
    pub async fn version(&self, version: &Version) -> Result<Option<Bytes>, StoreError> {
        self.read(&version.key, Some(&version.id)).await
    }

    /// Writes a payload as the newest version of `key`, with a SHA-256 that the server checks. In a bucket without
    /// versions it overwrites.
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
        let list = self.client.list_object_versions().bucket(&*self.bucket).prefix(key);
        let answer =
            list.send().await.map_err(|error| self.failed("list the versions of a payload", error))?;
        let mut versions: Vec<Version> = Vec::new();
        for version in answer.versions() {
            if version.key() == Some(key) {
                versions.push(Version {
                    key: key.to_owned(),
                    id: version.version_id().filter(|id| *id != "null").unwrap_or_default().to_owned(),
                    size_bytes: version.size().unwrap_or(0).cast_unsigned(),
                    stored_at_ms: milliseconds(version.last_modified()),
                    current: version.is_latest().unwrap_or(false),
                    deleted: false,
                });
            }
        }
        for marker in answer.delete_markers() {
            if marker.key() == Some(key) {
                versions.push(Version {
                    key: key.to_owned(),
                    id: marker.version_id().unwrap_or_default().to_owned(),
                    size_bytes: 0,
                    stored_at_ms: milliseconds(marker.last_modified()),
                    current: marker.is_latest().unwrap_or(false),
                    deleted: true,
                });
            }
        }
        versions.sort_by_key(|version| (!version.current, std::cmp::Reverse(version.stored_at_ms)));
        Ok(versions)
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
                let problem = "the object was there and is no longer";
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
}
