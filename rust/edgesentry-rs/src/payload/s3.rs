//! Payloads in S3, or in anything that speaks its protocol.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use bytes::Bytes;
use edgesentry_chain::Hash;

use super::{PayloadStore, Put, Version};
use crate::error::{BoxError, Component, Error, StoreError};
use crate::ingest::verify::{Admitted, LARGEST_PAYLOAD};
use crate::s3::{self, S3Settings, milliseconds};

/// A bucket. `s3://bucket/lift-01/1.bin` is its object `lift-01/1.bin`, and so is the reference `lift-01/1.bin`
/// without a scheme; a reference to another bucket is refused.
///
/// Writes are conditional (`If-None-Match: *`) and carry a SHA-256 that the server checks.
#[derive(Debug, Clone)]
pub struct S3 {
    client: Client,
    bucket: Arc<str>,
    place: Arc<str>,
}

impl S3 {
    /// Makes a client; [`PayloadStore::check`] tells whether the bucket can be reached.
    pub async fn connect(bucket: &str, settings: &S3Settings) -> Result<S3, Error> {
        if bucket.is_empty() || bucket.contains('/') {
            return Err(Error::Config(format!("payloads: s3://BUCKET is wanted, not s3://{bucket}")));
        }
        let client = settings.client().await?;
        let place = settings.place(&format!("s3://{bucket}"));
        Ok(S3 { client, bucket: bucket.into(), place: place.into() })
    }

    /// The key of an object reference, or what is wrong with it.
    fn key(&self, object_ref: &str) -> Result<String, String> {
        let key = match object_ref.split_once("://") {
            None => object_ref,
            Some(("s3", rest)) => match rest.split_once('/') {
                Some((bucket, key)) if bucket == &*self.bucket => key,
                _ => return Err(format!("an object in s3://{}/, not {object_ref:?}", self.bucket)),
            },
            Some(_) => return Err(format!("s3://{}/KEY or KEY, not {object_ref:?}", self.bucket)),
        };
        s3::refuse_key(key)?;
        Ok(key.to_owned())
    }

    /// The payload in a certain version of an object; `None` where the store proves that there is none.
    pub async fn version(&self, object_ref: &str, version: &str) -> Result<Option<Bytes>, StoreError> {
        self.read(object_ref, Some(version)).await
    }

    /// Puts a payload on top of whatever versions there are, with a SHA-256 that the server checks. In a bucket
    /// without versions it overwrites.
    pub async fn put_on_top(&self, object_ref: &str, payload: Bytes) -> Result<(), StoreError> {
        let action = "restore a payload";
        let put = self.upload(self.key_of(object_ref, action)?, payload).send().await;
        put.map(|_| ()).map_err(|error| self.failed(action, error))
    }

    fn upload(&self, key: String, payload: Bytes) -> PutObjectFluentBuilder {
        let put = self.client.put_object().bucket(&*self.bucket).key(key).body(ByteStream::from(payload));
        put.checksum_algorithm(ChecksumAlgorithm::Sha256).content_type("application/octet-stream")
    }

    async fn read(&self, object_ref: &str, version: Option<&str>) -> Result<Option<Bytes>, StoreError> {
        let action = "read a payload";
        let get = self.client.get_object().bucket(&*self.bucket).key(self.key_of(object_ref, action)?);
        let get = get.set_version_id(version.map(str::to_owned)).checksum_mode(ChecksumMode::Enabled);
        match get.send().await {
            Ok(object) => {
                let length = object.content_length().unwrap_or(0);
                if usize::try_from(length).is_ok_and(|length| length > LARGEST_PAYLOAD) {
                    let problem = format!("{object_ref:?} has {length} bytes, more than any payload");
                    return Err(self.error(action, false, problem.into()));
                }
                let bytes = object.body.collect().await;
                Ok(Some(bytes.map_err(|error| self.error(action, true, error.into()))?.into_bytes()))
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => Ok(None),
            Err(error) => Err(self.failed(action, error)),
        }
    }

    fn key_of(&self, object_ref: &str, action: &'static str) -> Result<String, StoreError> {
        self.key(object_ref).map_err(|problem| self.error(action, false, problem.into()))
    }

    fn error(&self, action: &'static str, retryable: bool, source: BoxError) -> StoreError {
        let place = Arc::clone(&self.place);
        StoreError { component: Component::RawDataStore, action, place, retryable, source: Arc::from(source) }
    }

    fn failed<E>(&self, action: &'static str, error: SdkError<E>) -> StoreError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let (retryable, source) = s3::reason(error);
        self.error(action, retryable, source)
    }
}

#[async_trait]
impl PayloadStore for S3 {
    fn place(&self) -> &str {
        &self.place
    }

    fn refuses(&self, object_ref: &str) -> Option<String> {
        self.key(object_ref).err()
    }

    async fn check(&self) -> Result<(), StoreError> {
        let answer = self.client.head_bucket().bucket(&*self.bucket).send().await;
        let Err(error) = answer else { return Ok(()) };
        let (retryable, source) = s3::unreachable(error);
        Err(self.error("reach the bucket", retryable, source))
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        let action = "store a payload";
        let object_ref = &admitted.record().object_ref;
        let key = self.key_of(object_ref, action)?;
        let put = self.upload(key, admitted.payload().clone()).if_none_match("*");
        let Err(error) = put.send().await else { return Ok(Put::Stored) };
        let taken = error.raw_response().is_some_and(|response| response.status().as_u16() == 412);
        if !taken {
            return Err(self.failed(action, error));
        }
        // An earlier attempt of ours whose answer was lost, a resent record, or another payload.
        match self.get(object_ref).await? {
            Some(there) if there == admitted.payload() => Ok(Put::AlreadyThere),
            Some(there) => Ok(Put::Conflict(Hash::of(&there))),
            None => Err(self.error(action, true, "the object was there and is no longer".into())),
        }
    }

    async fn get(&self, object_ref: &str) -> Result<Option<Bytes>, StoreError> {
        self.read(object_ref, None).await
    }

    async fn exists(&self, object_ref: &str) -> Result<bool, StoreError> {
        let action = "look for a payload";
        let head = self.client.head_object().bucket(&*self.bucket).key(self.key_of(object_ref, action)?);
        match head.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => {
                // A missing bucket is answered in the same way.
                self.check().await.map(|()| false)
            }
            Err(error) => Err(self.failed(action, error)),
        }
    }

    async fn versions(&self, object_ref: &str) -> Result<Vec<Version>, StoreError> {
        let action = "list the versions of a payload";
        let key = self.key_of(object_ref, action)?;
        let list = self.client.list_object_versions().bucket(&*self.bucket).prefix(&key);
        let answer = list.send().await.map_err(|error| self.failed(action, error))?;
        let mut versions: Vec<Version> = Vec::new();
        for version in answer.versions() {
            if version.key() == Some(&key) {
                versions.push(Version {
                    id: version.version_id().filter(|id| *id != "null").unwrap_or_default().to_owned(),
                    size_bytes: version.size().unwrap_or(0).cast_unsigned(),
                    stored_at_ms: milliseconds(version.last_modified()),
                    current: version.is_latest().unwrap_or(false),
                    deleted: false,
                });
            }
        }
        for marker in answer.delete_markers() {
            if marker.key() == Some(&key) {
                versions.push(Version {
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
}
