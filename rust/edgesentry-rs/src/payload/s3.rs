//! Payloads in S3, or in anything that speaks its protocol.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::Bytes;
use edgesentry_chain::Hash;
use serde::Deserialize;

use super::{PayloadStore, Put, Version};
use crate::error::{BoxError, Component, Error, StoreError};
use crate::ingest::verify::{Admitted, LARGEST_PAYLOAD};
use crate::secret::Secret;

/// How to reach S3. What is not set comes from the usual AWS chain: environment, profile, instance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Settings {
    /// The server, such as `http://127.0.0.1:8333`; AWS by default.
    pub endpoint: Option<String>,
    /// The region; `us-east-1` where an endpoint is set and no region.
    pub region: Option<String>,
    /// Whether the bucket stands in the path and not in the host name; true where an endpoint is set.
    pub path_style: Option<bool>,
    /// With `secret_access_key`: credentials, instead of the usual chain.
    pub access_key_id: Option<String>,
    /// See `access_key_id`.
    pub secret_access_key: Option<Secret>,
    /// Seconds that one attempt may take.
    pub timeout_seconds: u64,
    /// How often a request is tried.
    pub attempts: u32,
}

impl Default for S3Settings {
    fn default() -> S3Settings {
        S3Settings {
            endpoint: None,
            region: None,
            path_style: None,
            access_key_id: None,
            secret_access_key: None,
            timeout_seconds: 10,
            attempts: 3,
        }
    }
}

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
        let timeout = Duration::from_secs(settings.timeout_seconds.max(1));
        let attempts = settings.attempts.max(1);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(timeout.min(Duration::from_secs(3)))
            .operation_attempt_timeout(timeout)
            .operation_timeout(timeout * attempts)
            .build();
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .pool_idle_timeout(Duration::from_secs(20))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(attempts));
        if let Some(endpoint) = &settings.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let region =
            settings.region.clone().or_else(|| settings.endpoint.is_some().then(|| "us-east-1".to_owned()));
        if let Some(region) = region {
            loader = loader.region(Region::new(region));
        }
        match (&settings.access_key_id, &settings.secret_access_key) {
            (Some(id), Some(secret)) => {
                loader = loader.credentials_provider(Credentials::new(
                    id,
                    secret.reveal(),
                    None,
                    None,
                    "settings",
                ));
            }
            (None, None) => {}
            _ => {
                let message = "s3: access_key_id and secret_access_key are set together, or neither is";
                return Err(Error::Config(message.to_owned()));
            }
        }
        let path_style = settings.path_style.unwrap_or(settings.endpoint.is_some());
        let config =
            aws_sdk_s3::config::Builder::from(&loader.load().await).force_path_style(path_style).build();
        let place = match &settings.endpoint {
            Some(endpoint) => format!("s3://{bucket} at {endpoint}"),
            None => format!("s3://{bucket}"),
        };
        Ok(S3 { client: Client::from_conf(config), bucket: bucket.into(), place: place.into() })
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
        // Servers that keep objects in folders would take these for other names.
        let ordinary = |name: &str| !name.is_empty() && name != "." && name != "..";
        if key.len() > 1024 || key.contains(char::is_control) || !key.split('/').all(ordinary) {
            return Err(format!(
                "a key of names between slashes, none of them empty, \".\" or \"..\", not {key:?}"
            ));
        }
        Ok(key.to_owned())
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
        E: std::error::Error + Send + Sync + 'static,
    {
        let retryable = match &error {
            SdkError::ConstructionFailure(_) => false,
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                status >= 500 || [408, 409, 429].contains(&status)
            }
            _ => true,
        };
        let source: BoxError = match error {
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                let text = crate::error::describe(&service.into_err());
                format!("HTTP {status}: {text}").into()
            }
            other => Box::new(other),
        };
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
        answer.map(|_| ()).map_err(|error| self.failed("reach the bucket", error))
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        let action = "store a payload";
        let object_ref = &admitted.record().object_ref;
        let put = self
            .client
            .put_object()
            .bucket(&*self.bucket)
            .key(self.key_of(object_ref, action)?)
            .body(ByteStream::from(admitted.payload().clone()))
            .if_none_match("*")
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .content_type("application/octet-stream");
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
        let action = "read a payload";
        let get = self.client.get_object().bucket(&*self.bucket).key(self.key_of(object_ref, action)?);
        match get.checksum_mode(ChecksumMode::Enabled).send().await {
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

fn milliseconds(time: Option<&DateTime>) -> u64 {
    time.and_then(|time| time.to_millis().ok()).and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0)
}
